"""Weighted sums of covariances: a static one beside that of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, as_floats, convert, is_array, to_numpy
from .base import Covariance
from .ensemble import _check_rows, _Made


@dataclass(frozen=True, eq=False, init=False)
class Hybrid(_Made):
    """A weighted sum of covariances, such as a static one and an ensemble's.

    `Hybrid((0.3, static), (0.7, Localized(X, C)))`, or one pair for a multiple of a covariance.
    Weights are not negative, numbers or arrays over the batch axes. Variances and matrices add;
    so do the controls: `color` splits z into a part for each and adds the errors. One part
    whitens as it does alone; several through the matrix, up to n = 2000.

    Raises ValueError for negative weights and dimensions that differ, TypeError for what is no
    pair of a weight and a Covariance.
    """

    parts: tuple[tuple[Any, Covariance], ...]

    def __init__(self, *pairs: Any, parts: tuple = ()):
        parts = tuple(_pair(p) for p in (*pairs, *parts))
        if not parts:
            raise ValueError("Hybrid wants at least one (weight, covariance), met none")
        sizes = {C.n for _, C in parts}
        if len(sizes) > 1:
            raise ValueError(
                f"the covariances have the dimensions {sorted(sizes)}; wanted the same for all"
            )
        object.__setattr__(self, "parts", parts)
        _ = self.batch

    @property
    def n(self) -> int:
        return next(C.n for _, C in self.parts)

    @property
    def controls(self) -> int:
        return sum(C.controls for _, C in self.parts)

    @property
    def batch(self) -> tuple[int, ...]:
        axes = [tuple(w.shape) if is_array(w) else () for w, _ in self.parts]
        try:
            return np.broadcast_shapes(*axes, *(C.batch for _, C in self.parts))
        except ValueError:
            raise ValueError(
                f"weights of shapes {axes} and covariances of batches "
                f"{[C.batch for _, C in self.parts]} do not broadcast"
            ) from None

    def color(self, z):
        _check_rows(z, self.controls)
        total, start = 0.0, 0
        for w, C in self.parts:
            x = C.color(z[..., start : start + C.controls])
            total = total + _lifted(w, x, 2) ** 0.5 * x
            start += C.controls
        return total

    def whiten(self, x):
        if len(self.parts) > 1:
            return super().whiten(x)
        w, C = next(iter(self.parts))
        if float(to_numpy(w).min()) == 0:
            raise ValueError("a covariance of weight 0 cannot be whitened; wanted a positive one")
        return C.whiten(x) / _lifted(w, x, 2) ** 0.5

    def variance(self):
        return self._sum([C.variance() for _, C in self.parts], 1)

    def matrix(self):
        return self._sum([C.matrix() for _, C in self.parts], 2)

    def _sum(self, found: list, axes: int) -> Array:
        like = next((a for a in found if not isinstance(a, np.ndarray)), found[0])
        total = 0.0
        for (w, _), a in zip(self.parts, found, strict=True):
            total = total + _lifted(w, like, axes) * convert(a, like)
        return total

    def __getitem__(self, b):
        shape = self.batch

        def pick(w, C):
            w = np.broadcast_to(to_numpy(w), shape)[b] if is_array(w) and w.ndim else w
            return w, C[b] if C.batch else C

        return Hybrid(*(pick(w, C) for w, C in self.parts))


def _pair(part: Any) -> tuple[Any, Covariance]:
    if not isinstance(part, tuple) or len(part) != 2 or not isinstance(part[1], Covariance):
        raise TypeError(f"wanted pairs (weight, Covariance), met {part!r}")
    w = as_floats(part[0], "a weight")
    seen = to_numpy(w)
    if not (np.isfinite(seen).all() and (seen >= 0).all()):
        raise ValueError(f"a weight must be finite and not negative, met {part[0]!r}")
    return (w if w.ndim else float(w)), part[1]


def _lifted(w: Any, like: Array, axes: int) -> Any:
    return convert(w, like)[(..., *(None,) * axes)] if is_array(w) else w
