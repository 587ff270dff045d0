"""The tapers of an observing system: how much each observation counts at each component."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...array import Array, Store, array_namespace, broadcasts, convert, to_numpy
from ...problem.like import ProblemLike
from ...problem.observe import Observation
from ...problem.pointwise import pointwise
from .checks import check_independent
from .localization import Localization, Neighbours, check_localization


def locations(
    observe: Observation, localization: Localization, problem: ProblemLike
) -> np.ndarray:
    """Where the observed numbers are, `(m, d)`: given, or those of the components picked out.

    Raises ValueError for an operator whose locations are neither.
    """
    x = localization.coordinates
    if localization.n != problem.n:
        raise ValueError(
            f"met a localization of {localization.n} components, wanted the state's {problem.n}"
        )
    radius, batch = localization.radius.shape, problem.batch
    if not broadcasts(radius, batch):
        raise ValueError(
            f"radius must broadcast to the problem's batch axes, met shape {radius} and "
            f"batch axes {batch}"
        )
    if observe.locations is not None:
        where = np.asarray(to_numpy(observe.locations), dtype=float)
    else:
        found = pointwise(observe.operator, problem.n, problem.like)
        if found is None:
            raise ValueError(
                "localization wants to know where the observations are: give the Observation "
                f"locations (m, {x.shape[1]}); only those of identity, Every, Subset and "
                "Pointwise are known"
            )
        where = x[found[1]]
    if where.shape[1] != x.shape[1] or not np.isfinite(where).all():
        raise ValueError(
            f"observations have locations {where.shape}, wanted ({observe.m}, {x.shape[1]}) and "
            "finite, in the coordinates of the localization"
        )
    return where


REMEMBERED = 32  # observing systems whose neighbours or tapers are kept during a run

BYTES = 2**28  # and of how many bytes in all


class Tapers(NamedTuple):
    """The weight of each observation at each component and at each other observation."""

    state: Array  # (..., m, n)
    observed: Array  # (..., m, m)
    indefinite: bool = False  # whether `observed` has an eigenvalue below 0: no correlation


def out_of_reach(tapers: Tapers, seen: Array | None) -> Array | None:
    """Which components no datum `seen (..., m)` reaches, `(..., n)`; None where all are."""
    xp, near = array_namespace(tapers.state), tapers.state > 0
    none = ~xp.any(near if seen is None else near & seen[..., None], axis=-2)
    return none if bool(xp.any(none)) else None


def beyond_of(near: list[Neighbours], seen: Array | None, like: Array) -> Array | None:
    """The same of the observations near each point."""
    given = None if seen is None else to_numpy(seen)
    places = np.concatenate([group.components.reshape(-1) for group in near])
    parts = []
    for components, index, weight in near:
        none = ~((weight > 0) & (True if given is None else given[..., index])).any(-1)
        parts.append(np.repeat(none, components.shape[-1], axis=-1))
    lead = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
    none = np.concatenate([np.broadcast_to(p, (*lead, p.shape[-1])) for p in parts], axis=-1)
    return convert(none[..., np.argsort(places)], like) if none.any() else None


def tapers(
    problem: ProblemLike, localization: Localization | None, solved: bool = False
) -> Callable[[Observation], Any]:
    """Tapers of an observing system, made once for each; None without localization.

    `solved`: also test whether the taper matrix is indefinite, for filters that solve with it.
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


def remembered(make: Callable[[Observation], Any]) -> Callable[[Observation], Any]:
    """`make(observe)`, once for each operator and its locations: gaps change only the noise.

    Of sensors that move, what was made for the last `REMEMBERED` of them is kept, up to `BYTES`.
    """
    known = Store(BYTES, REMEMBERED)

    def recall(observe: Observation) -> Any:
        held = observe.operator, observe.locations  # kept too, so that no other has their ids
        return known.get((id(held[0]), id(held[1])), lambda: (make(observe), *held))[0]

    return recall
