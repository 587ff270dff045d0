"""Between the points of a grid: what a field is worth at any place.

On the cell around a place, H(x) is the product of straight lines along each axis: linear on a
line, bilinear on a plane, trilinear in space. It is exact for fields that are linear along each
axis, and a linear function of the state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..array import Array, array_namespace, as_floats, kept, to_numpy


@dataclass(frozen=True, eq=False, repr=False)
class Interpolate:
    """A field on a grid, seen at places between its points: linear along each axis.

        H = Interpolate((latitudes, longitudes), places, period=(0, 360))
        see = Observation(H, R, H.locations)

    It takes fields `(..., *grid)`, and vectors that hold them row by row. Grids may be uneven.

    Args:
        axes: the coordinates of the points along each axis, a tuple of d vectors, or one vector;
            each increases, or decreases.
        places: where the field is seen, `(m, d)`, or `(m,)` on a line, in the same coordinates.
        period: the length after which space repeats, a number or one per axis; 0: it does not.
        component: of a state that holds several fields one after another, `(..., C, *grid)`:
            which one is seen, an integer or one for each place. None: there is one field.

    Raises:
        TypeError: for what holds no numbers.
        ValueError: for axes that turn back or are longer than their period, and places outside
            the grid, naming the first.
    """

    axes: Any
    places: Any
    period: Any = 0.0
    component: Any = None
    _index: Any = field(init=False)  # (2^d, m), positions of the corners in the flat fields
    _weight: Any = field(init=False)
    _store: dict[Any, Any] = field(init=False)
    linear: ClassVar[bool] = True

    def __post_init__(self):
        axes = _axes(self.axes)
        d = len(axes)
        places = _numbers(self.places, "places")
        places = places[:, None] if places.ndim == 1 and d == 1 else places
        if places.ndim != 2 or places.shape[1] != d or not len(places):
            raise ValueError(f"places have shape {places.shape}, wanted (m, {d}), m at least 1")
        if not np.isfinite(places).all():
            bad = int(np.flatnonzero(~np.isfinite(places).all(axis=1))[0])
            raise ValueError(f"places must be finite, met {places[bad]} at place {bad}")
        period = _numbers(self.period, "period")
        if period.shape not in ((), (d,)) or not (np.isfinite(period) & (period >= 0)).all():
            raise ValueError(f"period must be >= 0, one number or {d}, met {self.period!r}")
        period = np.broadcast_to(period, d)
        shape = tuple(map(len, axes))
        index = np.zeros((1, len(places)), int)
        weight = np.ones((1, len(places)))
        for i in range(d):
            low, high, t = _cells(axes[i], places[:, i], float(period[i]), i)
            index = np.concatenate([index * shape[i] + low, index * shape[i] + high])
            weight = np.concatenate([weight * (1 - t), weight * t])
        which = _component(self.component, len(places))
        if which is not None:
            index = index + math.prod(shape) * which
        # as tuples: what changes the library or the precision of a problem leaves them exact
        object.__setattr__(self, "axes", tuple(tuple(a.tolist()) for a in axes))
        object.__setattr__(self, "places", tuple(map(tuple, places.tolist())))
        object.__setattr__(self, "period", tuple(period.tolist()))
        object.__setattr__(self, "component", None if which is None else tuple(which.tolist()))
        object.__setattr__(self, "_index", index)
        object.__setattr__(self, "_weight", weight)
        object.__setattr__(self, "_store", {})

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the grid."""
        return tuple(map(len, self.axes))

    @property
    def locations(self) -> np.ndarray:
        """The places `(m, d)`, for localization."""
        return np.asarray(self.places, dtype=float)

    def __repr__(self) -> str:
        return f"Interpolate({len(self.places)} places on a grid {self.shape})"

    def __call__(self, x: Array) -> Array:
        xp, n = array_namespace(x), math.prod(self.shape)
        own = len(self.shape) + (self.component is not None)
        if x.ndim >= own and tuple(x.shape[x.ndim - len(self.shape) :]) == self.shape:
            x = xp.reshape(x, (*x.shape[: x.ndim - own], math.prod(x.shape[x.ndim - own :])))
        several, size = self.component is not None, x.shape[-1]
        copies = 1 + max(self.component or (0,))
        if not (size % n == 0 and size >= copies * n if several else size == n):
            fields = f"{copies} or more of " if several else ""
            raise ValueError(
                f"the state has shape {tuple(x.shape)}, wanted fields on the grid {self.shape}, "
                f"or vectors that hold {fields}{n} numbers"
            )
        index, weight = kept(self._store, "cell", x, lambda: (self._index, self._weight))
        total = weight[0] * x[..., index[0]]
        for i, w in zip(index[1:], weight[1:], strict=True):
            total = total + w * x[..., i]
        return total


def _numbers(x: Any, name: str) -> np.ndarray:
    return np.asarray(to_numpy(as_floats(x, name)), dtype=float)


def _axes(given: Any) -> list[np.ndarray]:
    """The coordinates along each axis, in float64; ValueError for what is no grid."""
    several = isinstance(given, (tuple, list)) and any(np.ndim(a) for a in given)
    axes = [_numbers(a, "axes") for a in (given if several else (given,))]
    for i, a in enumerate(axes):
        step = np.diff(a) if a.ndim == 1 else np.zeros(0)
        if not (len(step) and ((step > 0).all() or (step < 0).all()) and np.isfinite(a).all()):
            raise ValueError(
                f"axes must be vectors of two or more numbers that increase, or decrease, met "
                f"shape {a.shape} for axis {i}" + (f": {a[:6]}" if a.ndim == 1 else "")
            )
    return axes


def _cells(
    axis: np.ndarray, x: np.ndarray, period: float, i: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points below and above each place along one axis, and how far it is between them."""
    sign = 1.0 if axis[1] > axis[0] else -1.0
    a, x = sign * axis, sign * x
    length = a[-1] - a[0]
    if period:
        if length >= period:
            raise ValueError(
                f"period must be longer than its axis, met {period:g} for axis {i} of length "
                f"{length:g}: a point and its copy one period on are the same, and stand once"
            )
        turns = np.floor((x - a[0]) / period)
        x = np.where(turns == 0, x, np.clip(x - turns * period, a[0], a[0] + period))
        a = np.append(a, a[0] + period)
    outside = np.flatnonzero((x < a[0]) | (x > a[-1]))
    if outside.size:
        k = int(outside[0])
        raise ValueError(
            f"places must lie on the grid, met {sign * x[k]:g} at place {k} along axis {i}, which "
            f"goes from {axis[0]:g} to {axis[-1]:g}; leave them out, or pass period= where space "
            "repeats"
        )
    low = np.clip(np.searchsorted(a, x, side="right") - 1, 0, len(a) - 2)
    t = (x - a[low]) / (a[low + 1] - a[low])
    return low, (low + 1) % len(axis), t


def _component(given: Any, m: int) -> np.ndarray | None:
    """Which field each place sees, `(m,)`; ValueError for what counts no fields."""
    if given is None:
        return None
    which = _numbers(given, "component")
    if (
        which.shape not in ((), (m,))
        or not ((which == np.rint(which)) & (abs(which - 2**30) <= 2**30)).all()
    ):
        raise ValueError(
            f"component must be an integer >= 0, or one for each of {m} places, met {given!r}"
        )
    return np.broadcast_to(which.astype(int), m)
