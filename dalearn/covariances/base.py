"""The contract of a covariance, and a covariance of which only some rows are observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..array import Array, array_namespace, convert, convert_tree
from ..array.derivative import as_tensor, transpose


class Covariance:
    """What every covariance does; `n` is its dimension, `batch` the axes that come before k."""

    n: int
    batch: tuple[int, ...]

    @property
    def controls(self) -> int:
        """How many independent numbers `color` takes for one error: n, unless L is not square."""
        return self.n

    def color(self, z: Array) -> Array:
        """`z (..., k, controls)` with independent entries -> `z L^T` with covariance C."""
        raise NotImplementedError

    def whiten(self, x: Array) -> Array:
        """`x (..., k, n)` with covariance C -> `x L^-T` with independent entries."""
        raise NotImplementedError

    def times(self, x: Array) -> Array:
        """`x (..., k, n) -> x C`, the matrix never made: `color` after its own transpose.

        A row of the identity gives a column of C: what one observation there would change.
        """
        t, inside = as_tensor(x), convert_tree(self, as_tensor(x))
        return convert(inside.color(transpose(inside.color, t, self.controls)), x)

    def variance(self) -> Array:
        """The diagonal of C, `(..., n)`."""
        raise NotImplementedError

    def matrix(self) -> Array:
        """C itself, `(..., n, n)`."""
        raise NotImplementedError

    def masked(self, seen: Array) -> Covariance:
        """The covariance when only `seen (..., n)` is observed; unseen entries whiten to 0."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot mask unobserved entries; give a Diagonal or Dense "
            "covariance, or data without NaN"
        )

    def __getitem__(self, b: Any) -> Covariance:
        raise NotImplementedError


_WIDTH = "met rows of shape {0} for a covariance of dimension {1}; wanted (..., k, {1})"


@dataclass(frozen=True, eq=False)
class Masked(Covariance):
    """A covariance with unobserved entries: they whiten to 0, which equals removing their rows."""

    inner: Covariance
    seen: Array

    @property
    def n(self) -> int:
        return self.inner.n

    @property
    def batch(self) -> tuple[int, ...]:
        return self.inner.batch

    def color(self, z):
        return self.inner.color(z)

    def whiten(self, x):
        xp = array_namespace(x, self.seen)
        return self.inner.whiten(xp.where(self.seen[..., None, :], x, xp.zeros_like(x)))

    def variance(self):
        return self.inner.variance()

    def matrix(self):
        return self.inner.matrix()
