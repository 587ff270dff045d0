"""What ensemble filters share: the cycle around an update, and the gain in the smaller space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...array import Array, array_namespace, definite, eye, largest, no_grad, sane, solve, warn
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ...problem.observe import Observation
from ..base import Cycle
from .checks import blind, check_ensemble, unless
from .failures import Replacement, carried
from .inflation import Evidence, begin
from .localization import check_localization
from .tapering import Tapers, out_of_reach, remembered, tapers
from .transform import check_rotation, factored, replaced, steep

Analysis = Ensemble | tuple[Ensemble, dict[str, Any]]


def check_settings(method: Any) -> None:
    """Raise ValueError or TypeError unless the settings that ensemble filters share are right."""
    check_ensemble(method.members, method.inflation)
    check_rotation(getattr(method, "rotate", None))
    localization = getattr(method, "localization", None)
    if localization is not None:
        check_localization(localization)


def ensemble_cycles(
    problem: ProblemLike,
    rng: Any,
    members: int,
    inflation: Any,
    update: Callable[[Ensemble, Array, Array, Observation], Analysis],
    beyond: Callable[[Observation], Array | None] | None = None,
    leaving: Callable[[Ensemble, Replacement | None], None] | None = None,
) -> Iterator[Cycle]:
    """Forecast, `update(forecast, Y, y, observe)`, inflate: one Cycle for each observation time.

    `Y = H(E) (..., N, m)`; `update` returns the analysis, or (analysis, info). Where an experiment
    saw nothing, the analysis is the forecast, and components `beyond(observe) (..., n)` of the
    reach of all that was seen are not inflated. Members whose forecast failed are replaced, and
    counted in `info["failed_members"]`; `leaving` is told the ensemble that each forecast starts
    from, those replaced too, and what replaced them.
    """
    like = problem.like
    with no_grad(like):
        analysis = Ensemble.unchecked(problem.prior.sample(rng, members))
        inflate = begin(inflation, like, problem.batch)
    for k in range(len(problem)):
        with no_grad(like):
            E, failed, replace = carried(problem, analysis.members, k, rng)
            if leaving is not None:
                before = analysis.members if replace is None else replace(analysis.members)
                leaving(analysis if replace is None else Ensemble.unchecked(before), replace)
            forecast = Ensemble.unchecked(E)
            observe, y = problem.at(k)
            Y, y = observe.together(observe(forecast.members), y)
            new = update(forecast, Y, y, observe)
            analysis, info = new if isinstance(new, tuple) else (new, {})
            inflated, more = inflate(forecast, analysis, Evidence(Y, y, observe.noise))
            if beyond is not None and inflated is not analysis:
                inflated = sparing(beyond(observe), analysis, inflated)
            analysis = unless(blind(observe.noise), forecast, inflated)
        yield Cycle(forecast, analysis, {**info, **more, "failed_members": failed})


def sparing(which: Array | None, analysis: Ensemble, inflated: Ensemble) -> Ensemble:
    """The inflated anomalies, and in the components of `which (..., n)` those of the analysis."""
    if which is None:
        return inflated
    xp, X = array_namespace(inflated.members), inflated.anomalies
    return Ensemble.of(inflated._mean, xp.where(which[..., None, :], analysis.anomalies, X))


def tapered_cycles(
    problem: ProblemLike,
    rng: Any,
    method: Any,
    update: Callable[[Ensemble, Array, Array, Observation, Tapers | None], Analysis],
    *,
    solved: bool,
) -> Iterator[Cycle]:
    """`ensemble_cycles` of a method with a `localization`, whose tapers `update` is given too.

    `solved`: whether the update solves a system with the tapered covariances.
    """
    tapers_of = tapers(problem, method.localization, solved=solved)

    def tapered(forecast: Ensemble, Y: Array, y: Array, observe: Observation) -> Analysis:
        return update(forecast, Y, y, observe, tapers_of(observe))

    @remembered
    def ever(observe: Observation) -> Array | None:
        return out_of_reach(tapers_of(observe), None)

    def beyond(observe: Observation) -> Array | None:
        seen = observe.noise.seen
        return ever(observe) if seen is None else out_of_reach(tapers_of(observe), seen)

    settings = problem, rng, method.members, method.inflation
    return ensemble_cycles(*settings, tapered, None if method.localization is None else beyond)


def stacked(S: Array, d: Array) -> Array:
    """Rows `S (..., N, m)` and under them the row `d (..., 1, m)`, over the batch axes of both."""
    xp = array_namespace(S, d)
    lead = np.broadcast_shapes(tuple(S.shape[:-2]), tuple(d.shape[:-2]))
    return xp.concat([xp.broadcast_to(a, (*lead, *a.shape[-2:])) for a in (S, d)], axis=-2)


def weights(d: Array, S: Array) -> tuple[Array, Any]:
    """Rows of innovations `d (..., k, m)` as weights of the anomalies, `(..., k, N)`; and `ok`.

    d S^T (S S^T + (N - 1) I)^-1 = d (S^T S + (N - 1) I)^-1 S^T, whichever is smaller to solve.
    """
    xp = array_namespace(d, S)
    N, m = S.shape[-2:]
    small = min(N, m)
    A, ok = sane((S @ S.mT if m >= N else S.mT @ S) + (N - 1) * eye(small, S))
    hidden = None
    if largest(A) > steep(N, A) / small:  # errors far smaller than the spread?
        hidden = xp.linalg.trace(A) > steep(N, A)
        A = xp.where(hidden[..., None, None], eye(small, A), A)
    W = solve(A, S @ d.mT).mT if m >= N else d @ solve(A, S.mT)
    if hidden is not None and bool(xp.any(hidden)):
        lead = np.broadcast_shapes(tuple(W.shape[:-2]), tuple(hidden.shape))
        (W,) = replaced(xp.broadcast_to(hidden, lead), lambda *a: factored(*a)[:1], (S, d), (W,))
    return W, ok


def correction(d: Array, S: Array, X: Array, tapers: Tapers | None = None) -> tuple[Array, Any]:
    """Rows of innovations `d (..., k, m)` times the ensemble's gain, `(..., k, n)`; and `ok`.

    d (S^T S + (N - 1) I)^-1 S^T X with whitened `S (..., N, m)`, anomalies `X (..., N, n)`. With
    tapers both products are multiplied by them, entry by entry (Schur); without, they are
    `weights` of the anomalies.
    """
    if tapers is None:
        W, ok = weights(d, S)
        return W @ X, ok
    N, m = S.shape[-2:]
    A, ok = sane(tapers.observed * (S.mT @ S) + (N - 1) * eye(m, S))
    if tapers.indefinite and not definite(A):
        warn(
            "the tapered H B H^T + R is indefinite, and the analysis meaningless: the taper "
            "is no correlation function; wanted gaspari_cohn with a reach below half of the "
            "period, or a filter without this need (LETKF, EnSRF)",
            RuntimeWarning,
        )
    B, xp = tapers.state * (S.mT @ X), array_namespace(S)
    step = d @ solve(A, B)
    hidden = xp.max(A, axis=(-2, -1)) > steep(N, A)
    if not tapers.indefinite and bool(xp.any(hidden)):
        lead = np.broadcast_shapes(tuple(step.shape[:-2]), tuple(hidden.shape))
        given = d, B, S, tapers.observed
        (step,) = replaced(xp.broadcast_to(hidden, lead), _by_root, given, (step,))
    return step, ok


def _by_root(d: Array, B: Array, S: Array, taper: Array) -> tuple[Array]:
    """d (taper o S^T S + (N - 1) I)^-1 B without that sum, in which good data hide the others.

    With taper = L L^T it is U^T U, where U is the triangle of a QR of the rows L^T diag(s_i), for
    each row s_i of S, and of (N - 1)^1/2 I.
    """
    xp = array_namespace(d, S)
    N, m = S.shape[-2:]
    e, L = xp.linalg.eigh(taper)
    L = L * xp.clip(e, 0, None)[..., None, :] ** 0.5
    rows = xp.reshape(L.mT[..., None, :, :] * S[..., :, None, :], (*S.shape[:-2], N * m, m))
    own = xp.broadcast_to((N - 1) ** 0.5 * eye(m, S), (*S.shape[:-2], m, m))
    U = xp.linalg.qr(xp.concat((rows, own), axis=-2)).R
    both = xp.linalg.solve(  # turned around, U^T is a triangle that LU leaves as it is
        xp.flip(U.mT, axis=(-2, -1)), xp.flip(xp.concat((d.mT, B), axis=-1), axis=-2)
    )
    k = d.shape[-2]
    return (both[..., :k].mT @ both[..., k:],)
