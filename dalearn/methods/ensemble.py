"""What ensemble filters share: the cycle around an update, and where observations are."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..array import Array, array_namespace, convert, device, eye, no_grad, sane, to_numpy
from ..belief import Ensemble
from ..border import Border
from ..inflate import Evidence, begin
from ..joint import OnState
from ..localize import Localization
from ..observe import Every, Observation, Subset, identity
from ..problem import Problem
from .base import Cycle, check_independent, definite, solve


def ensemble_cycles(
    problem: Problem,
    rng: Any,
    members: int,
    inflation: Any,
    update: Callable[[Ensemble, Array, Array, Observation], Any],
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


def locations(observe: Observation, localization: Localization, problem: Problem) -> np.ndarray:
    """Where the observed numbers are, `(m, d)`: given, or those of the components picked out.

    Raises ValueError for an operator whose locations are neither.
    """
    x = localization.coordinates
    if localization.n != problem.n:
        raise ValueError(
            f"the localization is for {localization.n} components, wanted the state's {problem.n}"
        )
    radius, batch = localization.radius.shape, problem.batch
    try:
        fits = np.broadcast_shapes(radius, batch) == batch
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"radius has shape {radius}, wanted one that broadcasts to the problem's batch axes "
            f"{batch}"
        )
    if observe.locations is not None:
        where = np.asarray(to_numpy(observe.locations), dtype=float)
    else:
        pick = observe.operator
        while isinstance(pick, (Border, OnState)):
            pick = pick.f
        if pick is not identity and not isinstance(pick, (Every, Subset)):
            raise ValueError(
                "localization wants to know where the observations are: give the Observation "
                f"locations (m, {x.shape[1]}); only those of identity, Every and Subset are known"
            )
        numbers = convert(np.arange(problem.n)[None], problem.like)
        where = x[to_numpy(observe.operator(numbers)).reshape(-1)]  # which components it picks
    if where.shape[1] != x.shape[1] or not np.isfinite(where).all():
        raise ValueError(
            f"observations have locations {where.shape}, wanted ({observe.m}, {x.shape[1]}) and "
            "finite, in the coordinates of the localization"
        )
    return where


HELD = 32  # observing systems for which neighbours or tapers are held


class Tapers(NamedTuple):
    """The weight of each observation at each component and at each other observation."""

    state: Array  # (..., m, n)
    observed: Array  # (..., m, m)
    sharp: bool = False  # whether `observed` is no correlation matrix: an eigenvalue below 0


def tapers(
    problem: Problem, localization: Localization | None, solved: bool = False
) -> Callable[[Observation], Any]:
    """Tapers of an observing system, made once for each; None without localization.

    `solved`: say if they are `sharp`, for who solves with them.
    """
    if localization is None:
        return lambda observe: None
    check_localization(localization)

    @remembered
    def make(observe: Observation) -> Tapers:
        at = locations(observe, localization, problem)
        both = (localization.weights(at, to) for to in (localization.coordinates, at))
        state, observed = (convert(w, problem.like) for w in both)
        if not solved:
            return Tapers(state, observed)
        least = float(np.linalg.eigvalsh(to_numpy(observed).astype(float)).min())
        return Tapers(state, observed, least < -1e-6)  # float32 weights: round-off of 1

    def checked(observe: Observation) -> Tapers:
        check_independent(observe.noise)
        return make(observe)

    return checked


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
        if tapers.sharp and not definite(A):
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


def systematic(w: Array, u: Array) -> Array:
    """Ancestors `(..., N)`, ascending, of N draws with chances `w (..., N)`; `u (...)` in [0, 1).

    Member i is drawn floor or ceil of N w_i times, N w_i on average.
    """
    xp = array_namespace(w, u)
    N = w.shape[-1]
    before = xp.ceil(N * xp.cumulative_sum(w, axis=-1) - u[..., None])  # draws that are i or less
    before = xp.where(xp.isfinite(before), xp.clip(before, 0, N), 0.0)
    j = xp.arange(N, dtype=xp.int64, device=device(w))
    before = xp.where(j == N - 1, N, xp.astype(before, xp.int64))  # round-off leaves no draw over
    count = math.prod(w.shape[:-1])
    shift = (N + 1) * xp.arange(count, dtype=xp.int64, device=device(w))[:, None]  # all at once
    ends = xp.reshape(xp.reshape(before, (count, N)) + shift, (-1,))
    found = xp.searchsorted(ends, xp.reshape(j + shift, (-1,)), side="right")
    return xp.reshape(xp.reshape(found, (count, N)) - shift // (N + 1) * N, w.shape)


def check_localization(localization: Any) -> None:
    """Raise TypeError for anything but a Localization."""
    if not isinstance(localization, Localization):
        raise TypeError(
            "localization must be a Localization such as Localization.ring(40, radius=4), met "
            f"{localization!r}"
        )


def remembered(make: Callable[[Observation], Any]) -> Callable[[Observation], Any]:
    """`make(observe)`, once for each operator and its locations: gaps change only the noise.

    Of sensors that move, what was made for the last `HELD` of them is held.
    """
    known: dict[tuple[int, int], tuple] = {}

    def recall(observe: Observation) -> Any:
        key = id(observe.operator), id(observe.locations)
        if key not in known:  # what is held keeps its id its own
            known[key] = observe.operator, observe.locations, make(observe)
            if len(known) > HELD:
                del known[next(iter(known))]
        return known[key][2]

    return recall
