"""Covariances given by a factor L, possibly not square: rows, and what data have left of another.

L of C = L L^T turns independent numbers, the controls z, into errors z L^T. It has as many columns
as there are controls: for an ensemble, one for each member. Variational methods need only L.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..array import Array, array_namespace, correlations, definite, eye, is_array, shown
from .base import Covariance, Masked, check_controls
from .matrices import PERFECT, Dense

LARGEST = 1 << 22  # numbers of a matrix that is made where sums would lose a small variance


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

    def rows(self) -> Array:
        return self._rows

    @cached_property
    def _variance(self) -> Array:  # a filter in its steady state shows the same rows for long
        return array_namespace(self._rows).linalg.vecdot(self._rows, self._rows, axis=-2)

    @cached_property
    def _std(self) -> Array:
        return self._variance**0.5

    def variance(self) -> Array:
        return self._variance

    def deviations(self) -> Array:
        return self._std

    def matrix(self) -> Array:
        return self._rows.mT @ self._rows


@dataclass(frozen=True, eq=False)
class Rows(Spanned):
    """C = V^T V, given by the rows of V: one for each control, errors are their sums.

    Args:
        values: V `(..., c, n)`.
    """

    values: Array

    def __post_init__(self) -> None:
        if not is_array(self.values) or self.values.ndim < 2:
            raise TypeError(f"values must be an array (..., c, n), met {shown(self.values)}")

    @property
    def _rows(self) -> Array:
        return self.values

    singular = True  # as errors of data: where they have an inverse, an Observation makes it

    def whiten(self, x: Array) -> Array:
        """By the Cholesky factor of V^T V, where there are at least n rows; else ValueError."""
        V = self.matrix() if self.controls >= self.n else None
        if V is None or not definite(correlations(V)[0]):
            raise ValueError(
                f"a covariance of rank {self.controls} in {self.n} dimensions cannot be whitened; "
                f"wanted one with an inverse{PERFECT}"
            )
        return Dense.unchecked(V).whiten(x)

    def masked(self, seen: Array) -> Covariance:
        xp = array_namespace(self.values, seen)
        return Masked(Rows(xp.where(seen[..., None, :], self.values, 0 * self.values)), seen)

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

    def variance(self) -> Array:
        """Diagonal of C `(..., n)`; of large ones (`LARGEST`) to round-off of that of `cov`."""
        xp, before, U = (
            array_namespace(self.theta),
            self.cov.variance(),
            self.cov.color(self.vectors),
        )
        left = before - xp.sum(U * U, axis=-2)  # of the directions that are no eigenvectors
        few = self.controls * self.n <= LARGEST
        if few and not bool(xp.all(left > float(xp.finfo(left.dtype).eps) ** 0.5 * before)):
            V = self.color(eye(self.controls, self.theta))  # where data are far too good for sums
            return xp.sum(V * V, axis=-2)
        return xp.clip(left, 0.0, None) + xp.sum(U * U / self.theta[..., None], axis=-2)

    def matrix(self) -> Array:
        V = self.color(eye(self.controls, self.theta))
        return V.mT @ V

    def __getitem__(self, b: Any) -> Updated:
        cov = self.cov[b] if self.cov.batch else self.cov
        return Updated(cov, self.vectors[b], self.theta[b])
