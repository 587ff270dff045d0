"""Fits to samples in a box, and the errors of data that are compared with a fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...array import Array, array_namespace, convert, sane, where_ok
from ...covariances.base import Covariance
from ..variational.hessian import decomposed
from .perceptrons import Perceptron, trained
from .polynomials import Design, Polynomial

HELD = 5  # every fifth sample judges a network and does not train it


@dataclass(frozen=True, eq=False)
class Doubted(Covariance):
    """R + F: the errors of data, and of the polynomials beside them.

    Args:
        inner: R.
        axes: the principal axes of F in the unit of R, rows `(..., r, m)`.
        shrink: (1 + s^2)^-1/2 - 1 for the standard deviation s along each, `(..., r)`.
    """

    inner: Covariance
    axes: Array
    shrink: Array

    @property
    def batch(self) -> tuple[int, ...]:
        return self.inner.batch

    @property
    def n(self) -> int:
        return self.inner.n

    def variance(self) -> Array:
        """That of R, for checks."""
        return self.inner.variance()

    def whiten(self, x: Array) -> Array:
        return self.shrunk(self.inner.whiten(x))

    def shrunk(self, w: Array) -> Array:
        """From the unit of R `(..., k, m)` to that of R + F."""
        return w + ((w @ self.axes.mT) * self.shrink[..., None, :]) @ self.axes

    @classmethod
    def by(cls, inner: Covariance, gaps: Array) -> Doubted:
        """R + F with F the mean of g^T g over the rows g of `gaps (..., S, m)`, in unit of R."""
        _, s, axes = decomposed(gaps / gaps.shape[-2] ** 0.5)
        return cls(inner, axes, (1 + s * s) ** -0.5 - 1)


@dataclass(frozen=True, eq=False)
class Box:
    """Fits in a box.

    Args:
        points: samples in its units.
        centre: `(..., 1, c)`.
        sides: rows that span it, `(..., c, c)`.
        hidden: units of a network; 0 for none.
        seed: of its first weights.
    """

    points: Design
    centre: Array
    sides: Array
    hidden: int
    seed: int

    @cached_property
    def inverse(self) -> Array:
        """Of the sides."""
        return inverted(self.sides)

    @property
    def samples(self) -> Array:
        """Where the operator is called, `(..., S, c)`."""
        return self.centre + convert(self.points.points, self.centre) @ self.sides

    def fitted(self, Y: Array) -> tuple[Any, Array]:
        """A function that is near values `Y (..., S, m)`, and its errors where left out."""
        known = self.points
        solve, left, features = (convert(a, Y) for a in (known.solve, known.left, known.features))
        p = Polynomial(known.basis, solve @ Y, self.centre, self.inverse)
        rest = Y - features @ p.coefficients
        gaps = rest / left[:, None]
        if not self.hidden:
            return p, gaps
        held = np.arange(len(known.points)) % HELD == HELD - 1
        seen, place = (known.points[~held], rest[..., ~held, :]), (self.centre, self.inverse)
        net = trained(*seen, self.hidden, self.seed, *place)
        return Both(p, net), (gaps - net(self.samples))[..., held, :]


@dataclass(frozen=True, eq=False)
class Both:
    """A polynomial and the network of what it leaves."""

    polynomial: Polynomial
    net: Perceptron

    def __call__(self, v: Array) -> Array:
        return self.polynomial(v) + self.net(v)

    def derivative(self, v: Array) -> Array:
        return self.polynomial.derivative(v) + self.net.derivative(v)


def inverted(sides: Array) -> Array:
    """S^-1 of symmetric S `(..., c, c)`; NaN where that is not finite."""
    S, ok = sane(sides)
    return where_ok(ok, array_namespace(S).linalg.inv(S))
