"""Weighted sums of covariances: a static one beside that of an ensemble, or a multiple of one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..array import Array, as_floats, convert, is_array, is_tensor, to_numpy, typed
from .base import Covariance, Masked, check_controls
from .ensemble import WithoutInverse
from .matrices import Dense, Diagonal

Weighted = tuple[Any, Covariance]


@typed
@dataclass(frozen=True, eq=False, init=False)
class Hybrid(WithoutInverse):
    """A weighted sum of covariances, such as a static one and an ensemble's.

    `Hybrid((0.3, static), (0.7, Localized(X, C)))`, also written `0.3 * static + 0.7 * local`.
    Variances and matrices add; so do the controls: `color` splits z into a part for each and adds
    the errors. One part whitens as it does alone; several through the matrix, up to n = 2000.

    Args:
        parts: pairs of a weight and a Covariance, also one after the other. Weights are not
            negative, numbers or arrays over the batch axes.

    Raises:
        TypeError: for what is no pair of a weight and a Covariance.
        ValueError: for negative weights, dimensions that differ, and no pairs.
    """

    parts: tuple[Weighted, ...]

    def __init__(self, *pairs: Any, parts: tuple[Any, ...] = ()) -> None:
        checked = tuple(_pair(p) for p in (*pairs, *parts))
        if not checked:
            raise ValueError("Hybrid wants at least one (weight, covariance), met none")
        sizes = {C.n for _, C in checked}
        if len(sizes) > 1:
            raise ValueError(
                f"the covariances have the dimensions {sorted(sizes)}; wanted the same for all"
            )
        object.__setattr__(self, "parts", checked)
        _ = self.batch

    @classmethod
    def unchecked(cls, *pairs: Weighted) -> Hybrid:
        """From what a method has checked before; NaN marks a diverged experiment.

        Args:
            *pairs: weights, floats or arrays `(...)`, each with a Covariance.

        Returns:
            The sum, without checks.
        """
        self = object.__new__(cls)
        object.__setattr__(self, "parts", pairs)
        return self

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

    def color(self, z: Array) -> Array:
        if len(self.parts) == 1:  # a variational method's background: asked in each iteration
            weight, only = self.parts[0]
            x = only.color(z)
            return (
                x
                if isinstance(weight, float) and weight == 1.0
                else _lifted(weight, x, 2) ** 0.5 * x
            )
        check_controls(z, self.controls)
        summed, start = 0.0, 0
        for w, C in self.parts:
            x = C.color(z[..., start : start + C.controls])
            summed = summed + _lifted(w, x, 2) ** 0.5 * x
            start += C.controls
        return summed

    def whiten(self, x: Array) -> Array:
        if len(self.parts) > 1:
            return super().whiten(x)
        if self._empty:
            raise ValueError("a covariance of weight 0 cannot be whitened; wanted a positive one")
        w, C = next(iter(self.parts))
        return C.whiten(x) / _lifted(w, x, 2) ** 0.5

    @cached_property
    def _empty(self) -> bool:
        """Whether the first weight is 0 in some experiment."""
        return float(to_numpy(self.parts[0][0]).min()) == 0

    def times(self, x: Array) -> Array:
        summed = 0.0
        for w, C in self.parts:
            y = C.times(x)
            summed = summed + _lifted(w, y, 2) * y
        return summed

    def variance(self) -> Array:
        return self._sum([C.variance() for _, C in self.parts], 1)

    def matrix(self) -> Array:
        return self._sum([C.matrix() for _, C in self.parts], 2)

    def _sum(self, found: list[Array], axes: int) -> Array:
        like = next((a for a in found if not isinstance(a, np.ndarray)), found[0])
        summed = 0.0
        for (w, _), a in zip(self.parts, found, strict=True):
            summed = summed + _lifted(w, like, axes) * convert(a, like)
        return summed

    def __getitem__(self, b: Any) -> Hybrid:
        shape = self.batch

        def pick(w: Any, C: Covariance) -> Weighted:
            w = np.broadcast_to(to_numpy(w), shape)[b] if is_array(w) and w.ndim else w
            return w, C[b] if C.batch else C

        return Hybrid(*(pick(w, C) for w, C in self.parts))


def _weight(w: Any) -> Any:
    """A weight as a float, or as an array over batch axes; finite and not negative."""
    value = as_floats(w, "a weight")
    seen = to_numpy(value)
    if not (np.isfinite(seen).all() and (seen >= 0).all()):
        raise ValueError(f"a weight must be finite and not negative, met {w!r}")
    return value if value.ndim else float(value)


def _pair(part: Any) -> Weighted:
    if isinstance(part, tuple) and len(part) == 2:  # pyright: ignore[reportUnknownArgumentType]
        weight, C = part  # pyright: ignore[reportUnknownVariableType]
        if isinstance(C, Covariance):
            return _weight(weight), C
    raise TypeError(f"wanted pairs (weight, Covariance), met {part!r}")


def _lifted(w: Any, like: Array, axes: int) -> Any:
    return convert(w, like)[(..., *(None,) * axes)] if is_array(w) else w


def _parts(C: Covariance) -> tuple[Weighted, ...]:
    return C.parts if isinstance(C, Hybrid) else ((1.0, C),)


def total(a: Covariance, b: Covariance) -> Covariance:
    """The covariance of the sum of two independent errors, `a + b`.

    Args:
        a: a covariance.
        b: another, of the same dimension.

    Returns:
        A Diagonal of two Diagonals, a Dense of two matrices, else a Hybrid. Entries are observed
        where they are in both.

    Raises:
        ValueError: for dimensions or batch axes that differ.
    """
    seen = [C.seen for C in (a, b) if C.seen is not None]
    if seen:
        a, b = (C.inner if isinstance(C, Masked) else C for C in (a, b))
        return total(a, b).masked(seen[0] if len(seen) == 1 else seen[0] & seen[1])
    whole = Hybrid(*_parts(a), *_parts(b))  # checks that they fit
    pair = a, b
    if not all(isinstance(C, (Diagonal, Dense)) for C in pair):
        return whole
    if is_tensor(a.variance()) != is_tensor(b.variance()):
        return whole
    if isinstance(a, Diagonal) and isinstance(b, Diagonal):
        return Diagonal(a.variances + b.variances)
    return Dense.unchecked(a.matrix() + b.matrix())


def multiple(C: Covariance, weight: Any) -> Covariance:
    """A covariance times a number, `weight * C`: errors grow by its square root.

    Args:
        C: a covariance.
        weight: not negative, a number or an array over batch axes `(...)`.

    Returns:
        A Diagonal of a Diagonal, a Dense of a Dense, else a Hybrid of one part more or the same.

    Raises:
        ValueError: for a weight that is negative or not finite, and axes that do not broadcast.
    """
    if isinstance(C, Masked):
        return multiple(C.inner, weight).masked(C.seen)
    w = _weight(weight)
    whole = Hybrid(*((w * (convert(v, w) if is_array(w) else v), part) for v, part in _parts(C)))
    if isinstance(C, Diagonal):
        return Diagonal(_lifted(w, C.variances, 1) * C.variances)
    if isinstance(C, Dense) and (to_numpy(w) > 0).all():
        return Dense.unchecked(_lifted(w, C.values, 2) * C.values)
    return whole
