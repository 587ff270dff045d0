"""Covariances of fields as products of one for each axis: exact to the ends of the grid.

With C = C_1 x C_2 (Kronecker) and a field X `(rows, columns)` in place of its vector,
    C x -> C_1 X C_2,   color(Z) = L_1 Z L_2^T,   whiten(X) = L_1^-1 X L_2^-T,
two small factors, whose own inverses make the inverse.

C. F. Van Loan, The ubiquitous Kronecker product, J. Comput. Appl. Math. 123, 2000.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..array import Array, array_namespace
from .base import Covariance


@dataclass(frozen=True, eq=False, init=False)
class Separable(Covariance):
    """The product of one covariance for each axis: C = C_1 x C_2 x ..., of `n_1 n_2 ...` points.

    `Separable(rows, columns)` is the covariance of fields `(rows, columns)` with
        C[(i, j), (k, l)] = C_1[i, k] C_2[j, l],
    for two Covariances, such as `kernels.at_points` makes: exact up to the ends of the grid,
    without reflection, and its inverse too. Round kernels are no products, but the Gaussian is
    (exp(-(a^2 + b^2) / 2)), and exponentials along the axes are a kernel of their own. A first
    factor can hold the covariance between variables of a field `(variables, rows, columns)`.

    Costs n (n_1 + n_2) products for dense factors. Raises TypeError for what is no Covariance.
    """

    factors: tuple[Covariance, ...]

    def __init__(self, *axes: Covariance, factors: tuple[Covariance, ...] = ()):
        factors = (*axes, *factors)
        if not factors or not all(isinstance(c, Covariance) for c in factors):
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

    def color(self, z):
        return self._along([c.color for c in self.factors], z, [c.controls for c in self.factors])

    def whiten(self, x):
        return self._along([c.whiten for c in self.factors], x, [c.n for c in self.factors])

    def variance(self):
        found = self.factors[0].variance()
        for c in self.factors[1:]:
            v = c.variance()
            xp = array_namespace(found, v)
            pair = found[..., :, None] * v[..., None, :]
            found = xp.reshape(pair, (*pair.shape[:-2], -1))
        return found

    def matrix(self):
        found = self.factors[0].matrix()
        for c in self.factors[1:]:
            C = c.matrix()
            xp = array_namespace(found, C)
            pair = found[..., :, None, :, None] * C[..., None, :, None, :]
            size = pair.shape[-4] * pair.shape[-3]
            found = xp.reshape(pair, (*pair.shape[:-4], size, size))
        return found

    def __getitem__(self, b):
        return Separable(*(c[b] if c.batch else c for c in self.factors))

    def _along(self, maps: list, x: Array, sizes: list[int]) -> Array:
        """Each map along its own axis of the field that a row of `x (..., k, n)` is."""
        if x.shape[-1] != math.prod(sizes):
            raise ValueError(
                f"met rows of shape {tuple(x.shape)} for a covariance of dimension "
                f"{math.prod(sizes)}; wanted (..., k, {math.prod(sizes)})"
            )
        xp, lead, d = array_namespace(x), tuple(x.shape[:-2]), len(sizes)
        x = xp.reshape(x, (*lead, x.shape[-2], *sizes))
        for a, apply in enumerate(maps):  # a row of every column, every layer: one product
            x = xp.moveaxis(x, a - d, -1)
            shape = tuple(x.shape)
            y = apply(xp.reshape(x, (*lead, -1, shape[-1])))
            lead = tuple(y.shape[:-2])  # the factor's batch, if it has one
            rest = shape[len(shape) - d - 1 : -1]
            x = xp.moveaxis(xp.reshape(y, (*lead, *rest, y.shape[-1])), -1, a - d)
        return xp.reshape(x, (*lead, x.shape[-d - 1], -1))
