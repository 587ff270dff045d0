"""Localization: the weight of an observation fades with its distance.

An ensemble of N members sees correlations of about 1 / sqrt(N) between things that have nothing to
do with each other. Where correlations are known to be short, a taper removes the distant ones.

Gaspari and Cohn, Q. J. R. Meteorol. Soc. 125, 1999; Hamill, Whitaker and Snyder, Mon. Wea. Rev.
129, 2001.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...array import Array, broadcasts, convert, to_numpy
from ...covariances.tapers import Taper, gaspari_cohn
from ...problem.like import ProblemLike
from ...problem.observe import Observation, is_selection
from .checks import check_independent


class Neighbours(NamedTuple):
    """For P points with C components each, the p observations near them and their weights."""

    components: np.ndarray  # (P, C), positions in the state
    index: np.ndarray  # (P, p), positions among the observations; past the near ones 0
    weight: np.ndarray  # (..., P, p), 0 past the near ones


def reached(weight: np.ndarray) -> np.ndarray:
    """How many of the nearest observations each point needs, `(P,)`, of `weight (..., P, p)`."""
    P, p = weight.shape[-2:]
    some = (weight > 0).reshape(-1, P, p).any(axis=0)
    return (some * np.arange(1, p + 1)).max(axis=-1, initial=0)


@dataclass(frozen=True, eq=False)
class Localization:
    """Where the components of the state are, and how far an observation reaches.

    Arguments: `coordinates (n, d)`, NaN for a component that is nowhere, such as a parameter of
    the model, which every observation reaches; `radius > 0`, in the units of the coordinates, a
    number or an array over the problem's batch axes; `period`, the length after which space
    repeats, a number or one per axis (0: it does not); `taper`, a function of distance / radius:
    `gaspari_cohn`, `boxcar`, `hann`, or another `Taper`.

    Observations have their `locations (m, d)` in the same coordinates. Distances are Euclidean.
    `ring`, `line` and `plane` make the usual grids. Raises ValueError for shapes that differ.
    """

    coordinates: Any
    radius: Any
    period: Any = 0.0
    taper: Taper = gaspari_cohn

    def __post_init__(self):
        x = np.asarray(to_numpy(self.coordinates), dtype=float)
        x = x[:, None] if x.ndim == 1 else x
        if x.ndim != 2 or 0 in x.shape:
            raise ValueError(f"coordinates have shape {x.shape}, wanted (n, d)")
        there = np.isfinite(x)
        if (there.any(axis=1) != there.all(axis=1)).any() or np.isinf(x).any():
            raise ValueError("coordinates must be finite, or NaN in every axis (nowhere)")
        try:
            radius = np.asarray(to_numpy(self.radius), dtype=float)
        except (TypeError, ValueError):
            radius = np.asarray(np.nan)
        if np.isnan(radius).any() or (radius <= 0).any() or not radius.size:
            raise ValueError(f"radius must be positive, met {self.radius!r}")
        if not isinstance(self.taper, Taper):
            raise TypeError(f"taper must be a Taper such as gaspari_cohn, met {self.taper!r}")
        period = np.asarray(self.period, dtype=float)
        if period.shape not in ((), (x.shape[1],)) or not (period >= 0).all():
            raise ValueError(
                f"period must be >= 0, one number or {x.shape[1]}, met {self.period!r}"
            )
        object.__setattr__(self, "coordinates", x)
        object.__setattr__(self, "radius", radius)
        object.__setattr__(self, "period", np.broadcast_to(period, x.shape[1:]))

    @classmethod
    def ring(cls, n: int, radius: Any, taper: Taper = gaspari_cohn) -> Localization:
        """Components 0, 1, ..., n - 1 on a ring, one unit apart (Lorenz-96)."""
        return cls(np.arange(n), radius, n, taper)

    @classmethod
    def line(cls, n: int, radius: Any, taper: Taper = gaspari_cohn) -> Localization:
        """Components 0, 1, ..., n - 1 on a line with ends, one unit apart."""
        return cls(np.arange(n), radius, 0, taper)

    @classmethod
    def plane(
        cls,
        shape: tuple[int, ...],
        radius: Any,
        taper: Taper = gaspari_cohn,
        *,
        spacing: float = 1.0,
        periodic: bool = False,
    ) -> Localization:
        """Fields `(..., rows, columns)`: coordinates (row, column) times `spacing`."""
        if len(shape) < 2:
            raise ValueError(f"a plane wants a shape (..., rows, columns), met {shape}")
        *copies, rows, columns = shape
        cell = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
        x = np.tile(spacing * cell.reshape(-1, 2), (math.prod(copies), 1))
        return cls(x, radius, np.array([rows, columns]) * spacing * periodic, taper)

    def with_globals(self, count: int) -> Localization:
        """With `count` more components at the end that are nowhere (parameters)."""
        more = np.full((count, self.coordinates.shape[1]), np.nan)
        return replace(self, coordinates=np.concatenate([self.coordinates, more]))

    @property
    def n(self) -> int:
        """The dimension of the state."""
        return len(self.coordinates)

    def __repr__(self) -> str:
        radius = self.radius.tolist()
        return f"Localization(n={self.n}, radius={radius}, taper={self.taper!r})"

    def weights(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The taper between all of `a (p, d)` and all of `b (q, d)`: `(..., p, q)`."""
        away = np.abs(a[:, None, :] - b)
        away = np.where(self.period > 0, away % np.where(self.period > 0, self.period, 1), away)
        away = np.where(self.period > 0, np.minimum(away, self.period - away), away)
        return self._taper(np.sqrt((np.nan_to_num(away, nan=0.0) ** 2).sum(-1)))

    def _taper(self, distance: np.ndarray) -> np.ndarray:
        return self.taper(distance / self.radius[..., None, None])

    @cached_property
    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        """Different places `(P, d)`, and the components at each, `(P, C)`."""
        here = np.flatnonzero(np.isfinite(self.coordinates).all(axis=1))
        places, first, which, counts = np.unique(
            self.coordinates[here],
            axis=0,
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        if len(set(counts.tolist())) != 1:  # not as many at each: every component on its own
            return self.coordinates[here], here[:, None]
        order = np.argsort(which.reshape(-1), kind="stable").reshape(len(places), counts[0])
        order = order[np.argsort(first)]  # as they come in the state: neighbours stay neighbours
        return self.coordinates[here[order[:, 0]]], here[order]

    def near(self, locations: np.ndarray) -> list[Neighbours]:
        """The observations at `locations (m, d)` that reach each point of the state.

        One group for the points that are somewhere and one for components that are not.
        """
        from scipy.spatial import KDTree

        m, groups = len(locations), []
        points, components = self._points
        if len(points):
            reach = float(np.max(self.radius)) * self.taper.reach
            box = np.where(self.period > 0, self.period, 0)

            def wrap(x):
                inside = np.mod(x, np.where(box > 0, box, 1))
                return np.where(box > 0, np.where(inside >= box, 0, inside), x)

            tree = KDTree(wrap(locations), boxsize=box if box.any() else None)
            points = wrap(points)
            if np.isfinite(reach):
                counts = tree.query_ball_point(points, reach, return_length=True)
                most = max(1, int(counts.max()))
            else:
                most = m
            found = tree.query(points, most, distance_upper_bound=reach)
            distance, index = (part.reshape(len(points), most) for part in found)
            index = np.where(index < m, index, 0)
            groups.append(Neighbours(components, index, self._taper(distance)))
        nowhere = np.flatnonzero(~np.isfinite(self.coordinates).all(axis=1))
        if len(nowhere):
            whole = np.ones((*self.radius.shape, 1, m))
            groups.append(Neighbours(nowhere[None], np.arange(m)[None], whole))
        return groups


def locations(
    observe: Observation, localization: Localization, problem: ProblemLike
) -> np.ndarray:
    """Where the observed numbers are, `(m, d)`: given, or those of the components picked out.

    Raises ValueError for an operator whose locations are neither.
    """
    x = localization.coordinates
    if localization.n != problem.n:
        raise ValueError(
            f"the localization is for {localization.n} components, wanted the state's {problem.n}"
        )
    radius, batch = localization.radius.shape, problem.batch
    if not broadcasts(radius, batch):
        raise ValueError(
            f"radius has shape {radius}, wanted one that broadcasts to the problem's batch axes "
            f"{batch}"
        )
    if observe.locations is not None:
        where = np.asarray(to_numpy(observe.locations), dtype=float)
    else:
        if not is_selection(observe.operator):
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
    problem: ProblemLike, localization: Localization | None, solved: bool = False
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
