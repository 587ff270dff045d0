"""What ensemble filters share: the cycle around an update, and the gain in the smaller space."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...array import Array, array_namespace, definite, eye, no_grad, sane, solve
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ...problem.observe import Observation
from ..base import Cycle
from .checks import check_ensemble
from .inflation import Evidence, begin
from .localization import check_localization
from .tapering import Tapers, tapers
from .transform import check_rotation

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
) -> Iterator[Cycle]:
    """Forecast, `update(forecast, Y, y, observe)`, inflate: one Cycle for each observation time.

    `Y = H(E) (..., N, m)`; `update` returns the analysis, or (analysis, info).
    """
    like = problem.like
    with no_grad(like):
        analysis = Ensemble.unchecked(problem.prior.sample(rng, members))
        inflate = begin(inflation, like, problem.batch)
    for k in range(len(problem)):
        with no_grad(like):
            forecast = Ensemble.unchecked(problem.forecast(analysis.members, k, rng))
            observe, y = problem.at(k)
            Y = observe(forecast.members)
            new = update(forecast, Y, y, observe)
            analysis, info = new if isinstance(new, tuple) else (new, {})
            analysis, more = inflate(forecast, analysis, Evidence(Y, y, observe.noise))
        yield Cycle(forecast, analysis, info | more)


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

    return ensemble_cycles(problem, rng, method.members, method.inflation, tapered)


def stacked(S: Array, d: Array) -> Array:
    """Rows `S (..., N, m)` and under them the row `d (..., 1, m)`, over the batch axes of both."""
    xp = array_namespace(S, d)
    lead = np.broadcast_shapes(tuple(S.shape[:-2]), tuple(d.shape[:-2]))
    return xp.concat([xp.broadcast_to(a, (*lead, *a.shape[-2:])) for a in (S, d)], axis=-2)


def correction(d: Array, S: Array, X: Array, tapers: Tapers | None = None) -> tuple[Array, Any]:
    """Rows of innovations `d (..., k, m)` times the ensemble's gain, `(..., k, n)`; and `ok`.

    d (S^T S + (N - 1) I)^-1 S^T X with whitened `S (..., N, m)`, anomalies `X (..., N, n)`. With
    tapers both products are multiplied by them, entry by entry (Schur); without, the system
    solved has min(N, m) unknowns.
    """
    N, m = S.shape[-2:]
    if tapers is not None:
        A, ok = sane(tapers.observed * (S.mT @ S) + (N - 1) * eye(m, S))
        if tapers.indefinite and not definite(A):
            warnings.warn(
                "the tapered H B H^T + R is indefinite, and the analysis meaningless: the taper "
                "is no correlation function; wanted gaspari_cohn with a reach below half of the "
                "period, or a filter without this need (LETKF, EnSRF)",
                RuntimeWarning,
                stacklevel=2,
            )
        return d @ solve(A, tapers.state * (S.mT @ X)), ok
    if m >= N:  # the same from the members' side
        A, ok = sane(S @ S.mT + (N - 1) * eye(N, S))
        return (d @ S.mT) @ solve(A, X), ok
    A, ok = sane(S.mT @ S + (N - 1) * eye(m, S))
    return d @ solve(A, S.mT @ X), ok
