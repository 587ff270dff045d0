"""Localization: the weight of an observation fades with its distance.

An ensemble of N members sees correlations of about 1 / sqrt(N) between things that have nothing to
do with each other. Where correlations are known to be short, a taper removes the distant ones.

Gaspari and Cohn, Q. J. R. Meteorol. Soc. 125, 1999; Hamill, Whitaker and Snyder, Mon. Wea. Rev.
129, 2001.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...array import (
    Array,
    as_floats,
    as_numbers,
    check_between,
    check_count,
    is_tensor,
    to_numpy,
    typed,
)
from ...covariances.tapers import Taper, gaspari_cohn


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


@typed
@dataclass(frozen=True, eq=False)
class Localization:
    """Where the components of the state are, and how far an observation reaches.

    Observations have their `locations (m, d)` in the same coordinates. Distances are Euclidean.
    `ring`, `line` and `plane` make the usual grids.

    Args:
        coordinates: `(n, d)`, NaN for a component that is nowhere, such as a parameter of the
            model, which every observation reaches.
        radius: above 0, in the units of the coordinates, a number or an array over the problem's
            batch axes. A tensor that requires gradients gets them, in the LETKF (see `gradients`).
        period: the length after which space repeats, a number or one per axis; 0: it does not.
        taper: weight as a function of distance / radius: `gaspari_cohn`, `boxcar`, `hann`, or
            another `Taper`.

    Raises:
        ValueError: for shapes that differ, or a radius that is not positive.
        TypeError: for a taper of another kind.
    """

    coordinates: Any
    radius: Any
    period: Any = 0.0
    taper: Taper = gaspari_cohn
    learned: Array | None = field(default=None, init=False, repr=False)  # a radius with gradients

    def __post_init__(self):
        x = np.asarray(to_numpy(as_floats(self.coordinates, "coordinates")), dtype=float)
        x = x[:, None] if x.ndim == 1 else x
        if x.ndim != 2 or 0 in x.shape:
            raise ValueError(f"coordinates must be (n, d), met shape {x.shape}")
        there = np.isfinite(x)
        if (there.any(axis=1) != there.all(axis=1)).any() or np.isinf(x).any():
            bad = int((there.any(axis=1) != there.all(axis=1)).sum() + np.isinf(x).sum())
            raise ValueError(
                f"coordinates must be finite, or NaN in every axis (nowhere), met {bad} others"
            )
        check_between("radius", self.radius, 0, math.inf, open_low=True)
        if is_tensor(self.radius) and self.radius.requires_grad:
            object.__setattr__(self, "learned", self.radius)
        radius, period = as_numbers(self.radius), as_numbers(self.period)
        good = (period >= 0) & np.isfinite(period)
        if period.shape not in ((), (x.shape[1],)) or not good.all():
            raise ValueError(
                f"period must be >= 0, one number or {x.shape[1]}, met {self.period!r}"
            )
        object.__setattr__(self, "coordinates", x)
        object.__setattr__(self, "radius", radius)
        object.__setattr__(self, "period", np.broadcast_to(period, x.shape[1:]))

    @classmethod
    @typed
    def ring(cls, n: int, radius: Any, taper: Taper = gaspari_cohn) -> Localization:
        """Components 0, 1, ..., n - 1 on a ring, one unit apart (Lorenz-96)."""
        check_count("n", n)
        return cls(np.arange(n), radius, n, taper)

    @classmethod
    @typed
    def line(cls, n: int, radius: Any, taper: Taper = gaspari_cohn) -> Localization:
        """Components 0, 1, ..., n - 1 on a line with ends, one unit apart."""
        check_count("n", n)
        return cls(np.arange(n), radius, 0, taper)

    @classmethod
    @typed
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
            raise ValueError(f"shape of a plane must be (..., rows, columns), met {shape}")
        for size in shape:
            check_count("shape of a plane", size)
        check_between("spacing", spacing, 0, math.inf, open_low=True)
        *copies, rows, columns = shape
        cell = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
        x = np.tile(spacing * cell.reshape(-1, 2), (math.prod(copies), 1))
        return cls(x, radius, np.array([rows, columns]) * spacing * periodic, taper)

    def with_globals(self, count: int) -> Localization:
        """With `count` more components at the end that are nowhere (parameters)."""
        more = np.full((count, self.coordinates.shape[1]), np.nan)
        radius = self.radius if self.learned is None else self.learned
        return replace(self, coordinates=np.concatenate([self.coordinates, more]), radius=radius)

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
        return self._weight(np.sqrt((np.nan_to_num(away, nan=0.0) ** 2).sum(-1)))

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
        return [Neighbours(c, i, self._weight(r)) for c, i, r in self._near(locations)]

    def slopes(self, locations: np.ndarray) -> list[np.ndarray]:
        """For each group of `near` the derivatives of the roots of its weights by the radius.

        By central differences, so that any taper has them.
        """
        radius, h = self.radius[..., None, None], 1e-5  # eps^1/3, the best step of the formula
        found = []
        for _, _, r in self._near(locations):
            above, below = (self._weight(r, 1 + s) ** 0.5 for s in (h, -h))
            found.append((above - below) / (2 * h * radius))
        return found

    def _weight(self, distance: np.ndarray, share: float = 1.0) -> np.ndarray:
        """The taper at distances `(P, p)`, with `share` of the radius; of -1, nowhere: 1."""
        weight = self.taper(np.abs(distance) / (share * self.radius[..., None, None]))
        return np.where(distance < 0, 1.0, weight)

    def _near(self, locations: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Components, observations and distances of the groups; -1 from what is nowhere."""
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
            groups.append((components, index, distance))
        nowhere = np.flatnonzero(~np.isfinite(self.coordinates).all(axis=1))
        if len(nowhere):
            groups.append((nowhere[None], np.arange(m)[None], -np.ones((1, m))))
        return groups


def check_localization(localization: Any) -> None:
    """Raise TypeError for anything but a Localization."""
    if not isinstance(localization, Localization):
        raise TypeError(
            "localization of an ensemble filter must be a Localization, such as "
            f"Localization.ring(40, radius=4), met {localization!r}; EnVar4D is the method whose "
            "localization is a Covariance"
        )
