"""Laws of single numbers, fitted to an ensemble: normal, rank histogram; gamma is in `gamma`.

A quantile-conserving filter meets each datum in two steps. First the members of the observed
number h move to where the law given the datum has as much below them as the prior law had:
    F_a(h_a) = F_f(h_f).
Then the state follows by regression; where its components have laws of their own, on their probits
z = Phi^-1(F(x)), which no bound limits and which are standard normal where the law is right.

Anderson, A quantile-conserving ensemble filter framework, parts I and II, Mon. Wea. Rev. 150, 2022
and 151, 2023; the gamma law of both prior and likelihood: part I.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ...array import (
    Array,
    array_namespace,
    row_mean,
    to_numpy,
)


class Fitted(Protocol):
    """A law fitted to members `(..., N, n)`, one for each component."""

    def members(self) -> Array:
        """The probits of the members themselves, in their order."""
        ...

    def probits(self, v: Array) -> Array:
        """Probits of values `(..., M, n)`."""
        ...

    def values(self, z: Array) -> Array:
        """Values with the probits `z (..., M, n)`."""
        ...


class Marginal(Protocol):
    """A kind of law for one number: NormalMarginal, RankHistogram or GammaMarginal."""

    def fitted(self, x: Array) -> Fitted:
        """The law of each component of members `(..., N, n)`."""
        ...

    def updated(self, x: Array, y: Array, r: Array) -> Array:
        """Members `(..., N, n)` given a datum `y` of variance `r (..., 1, n)` of each component.

        Each member keeps its quantile.
        """
        ...

    def one(self, j: int, count: int) -> Marginal:
        """The law of the j-th of `count` numbers, where it is not the same for all."""
        ...


def one_of(bound: Any, j: int, count: int) -> Any:
    """The j-th of `count` bounds, of which there may be one for all."""
    values = to_numpy(bound)
    if values.ndim and values.shape != (count,):
        raise ValueError(f"met {values.shape} bounds, wanted one or {count}, one for each number")
    return values[j : j + 1] if values.ndim else bound


@dataclass(frozen=True, eq=False)
class NormalMarginal:
    """A normal law with the members' mean and variance: the EAKF, and linear regression.

    Source: Anderson, Mon. Wea. Rev. 129, 2001; 131, 2003.
    """

    def fitted(self, x: Array) -> Fitted:
        """The normal law of each component."""
        m = row_mean(x)
        return _Normal(x, m, deviations(x - m))

    def updated(self, x: Array, y: Array, r: Array) -> Array:
        """Members shifted and drawn together: a new mean, and anomalies times a factor."""
        m = row_mean(x)
        v = deviations(x - m) ** 2
        return m + (y - m) * v / (v + r) + (x - m) * (r / (v + r)) ** 0.5

    def one(self, j: int, count: int) -> NormalMarginal:
        """The same for each."""
        return self


@dataclass(frozen=True, eq=False)
class _Normal:
    x: Array
    mean: Array
    std: Array

    def members(self) -> Array:
        return self.probits(self.x)

    def probits(self, v: Array) -> Array:
        xp = array_namespace(v)
        return (v - self.mean) / xp.where(self.std > 0, self.std, xp.ones_like(self.std))

    def values(self, z: Array) -> Array:
        return self.mean + self.std * z


def deviations(X: Array) -> Array:
    """Standard deviations `(..., 1, n)` of anomalies."""
    xp = array_namespace(X)
    return (xp.sum(X * X, axis=-2, keepdims=True) / (X.shape[-2] - 1)) ** 0.5
