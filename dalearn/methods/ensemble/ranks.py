"""The rank histogram as the law of single numbers: see `array.histogram` for its formulas.

Anderson, A non-Gaussian ensemble filter update for data assimilation, Mon. Wea. Rev. 138, 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...array import (
    Array,
    Swept,
    array_namespace,
    broadcasts,
    convert,
    row_mean,
    shown,
    to_numpy,
    typed,
)
from ...array.histogram import Histogram
from ...array.special import probit
from ...covariances.matrices import Diagonal
from ...problem.laws import ErrorLaw
from .marginals import deviations, one_of


@typed
@dataclass(frozen=True, eq=False)
class RankHistogram:
    """The rank histogram of the members, with normal tails that end at bounds.

    Members keep within the bounds and may lie on them. For bounds that some components have and
    others have not, give arrays with -inf or inf where there is none.

    It takes data whose errors have another law, such as Student(4) or Poisson().

    Args:
        lower: the least value, a number or one for each component `(n,)`; None for none.
        upper: the largest, in the same way.

    Raises:
        ValueError: where lower is not below upper, and for members that lie outside.

    Source: Anderson, Mon. Wea. Rev. 138, 2010; 150, 2022.
    """

    laws = True  # takes any law of errors: see Observation
    lower: Swept | None = None
    upper: Swept | None = None

    def __post_init__(self):
        low, high = (np.asarray(to_numpy(b), float) for b in self._bounds)
        if max(low.ndim, high.ndim) > 1 or not broadcasts(low.shape, high.shape or low.shape):
            raise ValueError(
                f"bounds must be numbers, or one for each component (n,), met lower of shape "
                f"{low.shape} and upper of shape {high.shape}"
            )
        if not (low < high).all():
            raise ValueError(
                f"lower must be below upper, met {shown(self.lower)} and {shown(self.upper)}"
            )

    @property
    def _bounds(self) -> tuple[Array, Array]:
        low = -np.inf if self.lower is None else self.lower
        return low, np.inf if self.upper is None else self.upper

    def fitted(self, x: Array) -> _Ranked:
        """The rank histogram of each component."""
        xp, n = array_namespace(x), x.shape[-1]
        lower, upper = (convert(np.asarray(to_numpy(b), float), x) for b in self._bounds)
        for bound in (lower, upper):
            if not broadcasts(tuple(bound.shape), (n,)):
                raise ValueError(
                    f"met bounds of {tuple(bound.shape)} numbers, wanted one or {n}, one for each "
                    "component"
                )
        lower, upper = (b + xp.zeros_like(x[..., :1, :]) for b in (lower, upper))
        order = xp.argsort(x, axis=-2, stable=True)
        ascending = xp.take_along_axis(x, order, axis=-2)
        law = Histogram(ascending, deviations(x - row_mean(x)), lower, upper)
        for side, far, beyond in (
            ("lower", ascending[..., :1, :], ascending[..., :1, :] < lower),
            ("upper", ascending[..., -1:, :], ascending[..., -1:, :] > upper),
        ):
            if bool(xp.any(beyond)):
                c = int(np.argwhere(to_numpy(beyond))[0][-1])
                met = to_numpy(far)[to_numpy(beyond)][0]
                raise ValueError(
                    f"component {c} has a member {met:.6g} beyond its {side} bound; wanted "
                    "members within the bounds: a prior Ensemble and a model that keep them"
                )
        return _Ranked(law, order)

    def updated(self, x: Array, y: Array, r: Array, law: ErrorLaw | None = None) -> Array:
        """Members moved to their quantiles in the histogram times a likelihood.

        That of normal errors, or for one component, n = 1, of any `law`.
        """
        own = self.fitted(x)
        if law is None:
            return own.updated(-((own.law.x - y) ** 2) / (2 * r))
        return own.updated(law.log_likelihood(y, own.law.x, Diagonal(r[..., 0, :]))[..., None])

    def one(self, j: int, count: int) -> RankHistogram:
        """The rank histogram of the j-th of `count` numbers."""
        low, high = (b if b is None else one_of(b, j, count) for b in (self.lower, self.upper))
        return self if low is self.lower and high is self.upper else RankHistogram(low, high)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """A Histogram and the order `(..., N, n)` that sorts its members."""

    law: Histogram
    order: Array

    def members(self) -> Array:
        q = self._quantiles()
        return self._unsorted(probit(q, 1 - q))

    def probits(self, v: Array) -> Array:
        return self.law.probits(v)

    def values(self, z: Array) -> Array:
        return self.law.values(z)

    def updated(self, log_likelihood: Array) -> Array:
        """The members given the logarithm of the likelihood of each, ascending, up to a number."""
        xp, q = array_namespace(log_likelihood), self._quantiles()
        like = xp.exp(log_likelihood - xp.max(log_likelihood, axis=-2, keepdims=True))
        ends = xp.concat((like[..., :1, :], like, like[..., -1:, :]), axis=-2)
        shares = (ends[..., 1:, :] + ends[..., :-1, :]) / 2
        shares = shares / xp.sum(shares, axis=-2, keepdims=True)
        return self._unsorted(self.law.at(q, 1 - q, shares))

    def _quantiles(self) -> Array:
        """Those of the ascending members: members that coincide share the mean of theirs."""
        x = self.law.x
        xp, N = array_namespace(x), x.shape[-2]
        rank = xp.arange(1, N + 1, dtype=x.dtype, device=x.device)[:, None] + 0 * x
        same = x[..., 1:, :] == x[..., :-1, :]
        if not bool(xp.any(same)):
            return self.law.of_ranks(x, rank - 1, rank)
        first, last = ([rank[..., i, :] for i in range(N)] for _ in range(2))
        for i in range(1, N):
            first[i] = xp.where(same[..., i - 1, :], first[i - 1], first[i])
            j = N - 1 - i
            last[j] = xp.where(same[..., j, :], last[j + 1], last[j])
        return self.law.of_ranks(x, xp.stack(first, axis=-2) - 1, xp.stack(last, axis=-2))

    def _unsorted(self, v: Array) -> Array:
        xp = array_namespace(v)
        return xp.take_along_axis(v, xp.argsort(self.order, axis=-2), axis=-2)
