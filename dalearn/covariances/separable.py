"""Covariances of fields as products of one for each axis: exact to the ends of the grid.

With C = C_1 x C_2 (Kronecker) and a field X `(rows, columns)` in place of its vector,
    C x -> C_1 X C_2,   color(Z) = L_1 Z L_2^T,   whiten(X) = L_1^-1 X L_2^-T,
two small factors, whose own inverses make the inverse.

C. F. Van Loan, The ubiquitous Kronecker product, J. Comput. Appl. Math. 123, 2000.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, array_namespace, typed
from .base import Covariance, check_width

Map = Callable[[Array], Array]


@typed
@dataclass(frozen=True, eq=False, init=False)
class Separable(Covariance):
    """The product of one covariance for each axis: C = C_1 x C_2 x ..., of `n_1 n_2 ...` points.

    `Separable(rows, columns)` is the covariance of fields `(rows, columns)` with
        C[(i, j), (k, l)] = C_1[i, k] C_2[j, l],
    for two Covariances, such as `kernels.at_points` makes: exact up to the ends of the grid,
    without reflection, and its inverse too. Round kernels are no products, but the Gaussian is
    exp(-(a^2 + b^2) / 2) is one, and so is the product of exponentials along the axes. A first
    factor can hold the covariance between variables of a field `(variables, rows, columns)`.
    Costs n (n_1 + n_2) products for dense factors.

    Args:
        factors: one Covariance for each axis, also one after the other.

    Raises:
        TypeError: for what is no Covariance.
    """

    factors: tuple[Covariance, ...]

    def __init__(self, *axes: Covariance, factors: tuple[Covariance, ...] = ()) -> None:
        factors = (*axes, *factors)
        if not factors or not all(isinstance(c, Covariance) for c in factors):  # pyright: ignore
            met = [type(c).__name__ for c in factors]
            raise TypeError(f"Separable wants one Covariance for each axis, met {met}")
        np.broadcast_shapes(*(c.batch for c in factors))
        object.__setattr__(self, "factors", factors)

    @property
    def n(self) -> int:
        return math.prod(c.n for c in self.factors)

    @property
    def controls(self) -> int:
        return math.prod(c.controls for c in self.factors)

    @property
    def batch(self) -> tuple[int, ...]:
        return np.broadcast_shapes(*(c.batch for c in self.factors))

    def color(self, z: Array) -> Array:
        return self._each([c.color for c in self.factors], z, [c.controls for c in self.factors])

    def whiten(self, x: Array) -> Array:
        return self._each([c.whiten for c in self.factors], x, [c.n for c in self.factors])

    def variance(self) -> Array:
        found = self.factors[0].variance()
        for c in self.factors[1:]:
            v = c.variance()
            xp = array_namespace(found, v)
            pair = found[..., :, None] * v[..., None, :]
            found = xp.reshape(pair, (*pair.shape[:-2], -1))
        return found

    def matrix(self) -> Array:
        found = self.factors[0].matrix()
        for c in self.factors[1:]:
            C = c.matrix()
            xp = array_namespace(found, C)
            pair = found[..., :, None, :, None] * C[..., None, :, None, :]
            size = pair.shape[-4] * pair.shape[-3]
            found = xp.reshape(pair, (*pair.shape[:-4], size, size))
        return found

    def __getitem__(self, b: Any) -> Separable:
        return Separable(*(c[b] if c.batch else c for c in self.factors))

    def _each(self, maps: list[Map], x: Array, sizes: list[int]) -> Array:
        """Each map along its own axis of the fields that the rows of `x (..., k, n)` are."""
        check_width(x, math.prod(sizes))
        xp, d = array_namespace(x), len(sizes)
        fields = xp.reshape(x, (*x.shape[:-1], *sizes))
        for a, apply in enumerate(maps):
            fields = apply_along(fields, a - d, d, apply)
        return xp.reshape(fields, (*fields.shape[:-d], -1))


def apply_along(x: Array, axis: int, axes: int, apply: Map) -> Array:
    """A map of rows along one axis of fields; all the other axes are rows of one product.

    Args:
        x: fields `(..., k, *sizes)`.
        axis: along which axis of the field, counted from the end: -1 is the last.
        axes: how many axes a field has.
        apply: a map `(..., k, size) -> (..., k, new size)`; leading axes of its own broadcast.

    Returns:
        Fields `(..., k, *sizes)`, with the new size along the axis.
    """
    xp = array_namespace(x)
    x = xp.moveaxis(x, axis, -1)
    lead, rest, size = x.shape[: -axes - 1], x.shape[-axes - 1 : -1], x.shape[-1]
    y = apply(xp.reshape(x, (*lead, -1, size)))
    y = xp.reshape(y, (*y.shape[:-2], *rest, y.shape[-1]))
    return xp.moveaxis(y, -1, axis)
