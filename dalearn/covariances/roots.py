"""Covariances given by a factor L, possibly not square: rows, and what data have left of another.

L of C = L L^T turns independent numbers, the controls z, into errors z L^T. It has as many columns
as there are controls: for an ensemble, one for each member. Variational methods need only L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..array import Array, array_namespace
from .base import Covariance, check_controls
from .matrices import Dense


class Spanned(Covariance):
    """Base class of C = V^T V: a subclass has the rows V `(..., c, n)` as `_rows`."""

    _rows: Array

    @property
    def n(self) -> int:
        return self._rows.shape[-1]

    @property
    def controls(self) -> int:
        return self._rows.shape[-2]

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self._rows.shape[:-2])

    def color(self, z: Array) -> Array:
        check_controls(z, self.controls)
        return z @ self._rows

    def variance(self) -> Array:
        return array_namespace(self._rows).sum(self._rows * self._rows, axis=-2)

    def matrix(self) -> Array:
        return self._rows.mT @ self._rows


@dataclass(frozen=True, eq=False)
class Rows(Spanned):
    """C = V^T V, given by the rows of V: one for each control, errors are their sums.

    Args:
        values: V `(..., c, n)`.
    """

    values: Array

    @property
    def _rows(self) -> Array:
        return self.values

    def whiten(self, x: Array) -> Array:
        """By the Cholesky factor of V^T V, where there are at least n rows; else ValueError."""
        if self.controls < self.n:
            raise ValueError(
                f"a covariance of rank {self.controls} in {self.n} dimensions cannot be whitened; "
                "wanted at least as many rows, or an analysis in the space of the rows"
            )
        return Dense.unchecked(self.matrix()).whiten(x)

    def __getitem__(self, b: Any) -> Rows:
        return Rows(self.values[b])


@dataclass(frozen=True, eq=False)
class Updated(Covariance):
    """What data leave of a covariance, by some eigenvectors of the Hessian I + G^T G.

    C = L (I - sum_j (1 - 1/theta_j) u_j u_j^T) L^T. Directions that are not among the eigenvectors
    keep the errors of `cov`, so that the variance is never too small.

    Args:
        cov: the covariance before the data, L L^T.
        vectors: u `(..., r, c)`, orthonormal rows in the space of the controls.
        theta: their eigenvalues `(..., r)`, at least 1.
    """

    cov: Covariance
    vectors: Array
    theta: Array

    @property
    def n(self) -> int:
        return self.cov.n

    @property
    def controls(self) -> int:
        return self.cov.controls

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.theta.shape[:-1])

    def _along(self, z: Array, factor: Array) -> Array:
        return z + ((z @ self.vectors.mT) * factor[..., None, :]) @ self.vectors

    def color(self, z: Array) -> Array:
        check_controls(z, self.controls)
        return self.cov.color(self._along(z, self.theta**-0.5 - 1))

    def whiten(self, x: Array) -> Array:
        return self._along(self.cov.whiten(x), self.theta**0.5 - 1)

    def _removed(self) -> Array:
        """Rows W with C = L L^T - W^T W."""
        return self.cov.color((1 - 1 / self.theta)[..., None] ** 0.5 * self.vectors)

    def variance(self) -> Array:
        W = self._removed()
        return self.cov.variance() - array_namespace(W).sum(W * W, axis=-2)

    def matrix(self) -> Array:
        W = self._removed()
        return self.cov.matrix() - W.mT @ W

    def __getitem__(self, b: Any) -> Updated:
        cov = self.cov[b] if self.cov.batch else self.cov
        return Updated(cov, self.vectors[b], self.theta[b])
