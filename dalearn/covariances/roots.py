"""Covariances known by a root: rows that span them, a factor, or what data have left of another.

A root L of C = L L^T turns independent numbers, the controls z, into errors z L^T. It need not be
square: an ensemble has one column for each member. Variational methods ask for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..array import Array, array_namespace
from .base import Covariance
from .matrices import Dense


@dataclass(frozen=True, eq=False)
class Rows(Covariance):
    """C = V^T V from `values` V `(..., c, n)`: one row for each control, errors are their sums."""

    values: Array

    @property
    def n(self) -> int:
        return self.values.shape[-1]

    @property
    def controls(self) -> int:
        return self.values.shape[-2]

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.values.shape[:-2])

    def color(self, z):
        return z @ self.values

    def whiten(self, x):
        """By the matrix V^T V, which must be positive definite: with c < n it is not."""
        if self.controls < self.n:
            raise ValueError(
                f"a covariance of rank {self.controls} in {self.n} dimensions cannot be whitened; "
                "wanted at least as many rows, or an analysis in the space of the rows"
            )
        return Dense.unchecked(self.matrix()).whiten(x)

    def variance(self):
        return array_namespace(self.values).sum(self.values * self.values, axis=-2)

    def matrix(self):
        return self.values.mT @ self.values

    def __getitem__(self, b):
        return Rows(self.values[b])


@dataclass(frozen=True, eq=False)
class _Changed(Covariance):
    """A covariance made from another, `cov`, of the same dimension and controls."""

    cov: Covariance

    @property
    def n(self) -> int:
        return self.cov.n

    @property
    def controls(self) -> int:
        return self.cov.controls


@dataclass(frozen=True, eq=False)
class Scaled(_Changed):
    """`scale`^2 C: errors of the covariance `cov` times a number, or `(..., 1, 1)`, one each."""

    scale: Any

    @property
    def batch(self) -> tuple[int, ...]:
        return self.cov.batch or tuple(getattr(self.scale, "shape", (1, 1))[:-2])

    def color(self, z):
        return self.scale * self.cov.color(z)

    def whiten(self, x):
        return self.cov.whiten(x) / self.scale

    def variance(self):
        scale = self.scale if isinstance(self.scale, float) else self.scale[..., 0]
        return scale * scale * self.cov.variance()

    def matrix(self):
        return self.scale * self.scale * self.cov.matrix()

    def __getitem__(self, b):
        cov = self.cov[b] if self.cov.batch else self.cov
        return Scaled(cov, self.scale if isinstance(self.scale, float) else self.scale[b])


@dataclass(frozen=True, eq=False)
class Updated(_Changed):
    """What data leave of `cov` = L L^T, by some eigenvectors of the Hessian I + G^T G.

    C = L (I - sum_j (1 - 1/theta_j) u_j u_j^T) L^T with `vectors` u `(..., r, c)`, orthonormal
    rows, and eigenvalues `theta (..., r)`, at least 1. Directions that are not among them keep
    the errors of `cov`: the variance is never too small by it.
    """

    vectors: Array
    theta: Array

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.theta.shape[:-1])

    def _along(self, z: Array, factor: Array) -> Array:
        return z + ((z @ self.vectors.mT) * factor[..., None, :]) @ self.vectors

    def color(self, z):
        return self.cov.color(self._along(z, self.theta**-0.5 - 1))

    def whiten(self, x):
        return self._along(self.cov.whiten(x), self.theta**0.5 - 1)

    def _taken(self) -> Array:
        return self.cov.color((1 - 1 / self.theta)[..., None] ** 0.5 * self.vectors)

    def variance(self):
        W = self._taken()
        return self.cov.variance() - array_namespace(W).sum(W * W, axis=-2)

    def matrix(self):
        W = self._taken()
        return self.cov.matrix() - W.mT @ W

    def __getitem__(self, b):
        cov = self.cov[b] if self.cov.batch else self.cov
        return Updated(cov, self.vectors[b], self.theta[b])
