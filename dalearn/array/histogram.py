"""The rank histogram: the law of one number that N members stand for, without a shape assumed.

Between two neighbours of the sorted members lies p = 1 / (N + 1) of the probability, evenly.
Beyond the smallest and the largest lies as much, as the tail of a normal law with the members'
standard deviation s; where the number has a bound, the tail ends there and is scaled to its share:
    F(x) = p (Phi(z) - Phi(z_b)) / (p - Phi(z_b)),   z = (x - x_1) / s + Phi^-1(p),
with z_b that of the lower bound; above in the same way. Members may lie on a bound, or coincide.

Bayes' rule multiplies the share of each bin by the likelihood there: the mean of its two ends, and
in a tail that of the outermost member. A member keeps its quantile, and so moves to where the new
law has as much below it.

Anderson, A non-Gaussian ensemble filter update for data assimilation, Mon. Wea. Rev. 138, 2010;
Anderson, A quantile-conserving ensemble filter framework, part I, Mon. Wea. Rev. 150, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .library import Array, array_namespace
from .special import probit, special

NEAR = 0.01  # a tail whose bound cuts off all but this share of it is uniform


@dataclass(frozen=True, eq=False)
class Histogram:
    """The rank histogram of members along the axis before the last, for each component.

    Args:
        x: the members, ascending, `(..., N, n)`.
        std: their standard deviation `(..., 1, n)`.
        lower: bounds `(..., 1, n)` or fewer axes, -inf for none.
        upper: the same above, inf for none.
    """

    x: Array
    std: Array
    lower: Array
    upper: Array

    @property
    def N(self) -> int:
        """How many members."""
        return self.x.shape[-2]

    def cdf(self, v: Array) -> tuple[Array, Array]:
        """The probabilities below and above values `v (..., M, n)`.

        A value that members share has the mean of their quantiles; on a bound, half of the share
        that lies there.
        """
        xp, N = array_namespace(v), self.N
        less, upto = counts(self.x, v, equal=False), counts(self.x, v, equal=True)
        edges = less - 1, less
        less, upto = (xp.astype(i, v.dtype) for i in (less, upto))
        share = self.of_ranks(v, less, upto)
        a, b = (xp.take_along_axis(self.x, xp.clip(i, 0, N - 1), axis=-2) for i in edges)
        width = xp.where(b > a, b - a, xp.ones_like(a))
        inside = (less + (v - a) / width) / (N + 1)
        low = self._tail_share(self.x[..., :1, :] - v, self.x[..., :1, :] - self.lower)
        high = self._tail_share(v - self.x[..., -1:, :], self.upper - self.x[..., -1:, :])
        below = xp.where(less == 0, low, xp.where(less == N, 1 - high, inside))
        above = xp.where(less == N, high, 1 - below)
        met = upto > less
        return xp.where(met, share, below), xp.where(met, 1 - share, above)

    def of_ranks(self, v: Array, less: Array, upto: Array) -> Array:
        """The quantile of members `v` of which `less` are smaller and `upto` not larger."""
        xp, N = array_namespace(v), self.N
        first = xp.where(v <= self.lower, xp.zeros_like(less), less + 1)
        last = xp.where(v >= self.upper, (N + 1) + xp.zeros_like(upto), upto)
        return (first + last) / (2 * (N + 1))

    def at(self, below: Array, above: Array, shares: Array | None = None) -> Array:
        """The values with these probabilities below and above, `(..., M, n)`.

        Args:
            below: `(..., M, n)`.
            above: 1 - below.
            shares: of the N + 1 bins, `(..., N + 1, n)`, of sum 1; None: equal ones.
        """
        xp, N, x = array_namespace(below), self.N, self.x
        if shares is None:
            at = xp.floor(below * (N + 1))
            start, first, share, last = at / (N + 1), 1 / (N + 1), 1 / (N + 1), 1 / (N + 1)
            which = _index(at, N)
        else:
            ends = xp.cumulative_sum(shares, axis=-2)
            which = counts(ends[..., :-1, :], below, equal=True)
            start = xp.concat((xp.zeros_like(ends[..., :1, :]), ends), axis=-2)
            start, share = (xp.take_along_axis(v, which, axis=-2) for v in (start, shares))
            share = _positive(share)
            first, last = (_positive(shares[..., i, :]) for i in (slice(0, 1), slice(N, N + 1)))
        a, b = (xp.take_along_axis(x, xp.clip(i, 0, N - 1), axis=-2) for i in (which - 1, which))
        part = xp.clip((below - start) / share, 0, 1)
        low, high = xp.where(below > first, first, below), xp.where(above > last, last, above)
        low = x[..., :1, :] - self._tail(low / first, x[..., :1, :] - self.lower)
        high = x[..., -1:, :] + self._tail(high / last, self.upper - x[..., -1:, :])
        found = xp.where(which == 0, low, xp.where(which == N, high, a + part * (b - a)))
        found = xp.where(found < self.lower, self.lower, found)
        return xp.where(found > self.upper, self.upper, found)

    def probits(self, v: Array) -> Array:
        """The probits of values `v (..., M, n)`: linear in a tail without end."""
        xp = array_namespace(v)
        z, (x, X), t, s = probit(*self.cdf(v)), self._outermost, self._t, _positive(self.std)
        z = xp.where(xp.isinf(self.lower) & (v < x), t + (v - x) / s, z)
        return xp.where(xp.isinf(self.upper) & (v > X), (v - X) / s - t, z)

    def values(self, z: Array) -> Array:
        """The values whose probits are `z (..., M, n)`: linear in a tail without end."""
        xp, f = array_namespace(z), special(z)
        v, (x, X), t = self.at(f.ndtr(z), f.ndtr(-z)), self._outermost, self._t
        v = xp.where(xp.isinf(self.lower) & (z < t), x + self.std * (z - t), v)
        return xp.where(xp.isinf(self.upper) & (z > -t), X + self.std * (z + t), v)

    @property
    def _outermost(self) -> tuple[Array, Array]:
        return self.x[..., :1, :], self.x[..., -1:, :]

    @property
    def _t(self) -> Array:
        """Phi^-1(1 / (N + 1)), where the lower tail begins, `(..., 1, n)`."""
        return special(self.x).ndtri(1 / (self.N + 1) + 0 * self.x[..., :1, :])

    def _tail_share(self, away: Array, room: Array) -> Array:
        """The probability beyond a distance `away` from the outermost member, in its tail.

        Args:
            away: outward distance `(..., M, n)`.
            room: that of the bound, inf for none.
        """
        xp, f = array_namespace(away), special(away)
        p, t, cut, flat = self._ends(room)
        z = t - xp.where(away > 0, away, xp.zeros_like(away)) / _positive(self.std)
        bent = p * (f.ndtr(z) - cut) / xp.where(flat, xp.ones_like(cut), p - cut)
        even = p * (1 - away / xp.where(flat, _positive(room), xp.ones_like(room)))
        return xp.clip(xp.where(flat, even, bent), 0, 1)

    def _tail(self, part: Array, room: Array) -> Array:
        """The outward distance beyond which lies this part of the probability of a tail."""
        xp, f = array_namespace(part), special(part)
        p, t, cut, flat = self._ends(room)
        part = xp.clip(part, 0, 1)
        tiny = float(xp.finfo(part.dtype).tiny)
        level = cut + part * (p - cut)
        bent = self.std * (t - f.ndtri(xp.where(level < tiny, tiny + 0 * level, level)))
        return xp.where(flat, (1 - part) * xp.where(flat, room, xp.zeros_like(room)), bent)

    def _ends(self, room: Array) -> tuple[float, Array, Array, Array]:
        """p, Phi^-1(p), the normal tail's probability beyond the bound, whether it is uniform."""
        f, p, t = special(self.x), 1 / (self.N + 1), self._t
        cut = f.ndtr(t - room / _positive(self.std))
        return p, t, cut, (p - cut) < NEAR * p


def counts(ends: Array, v: Array, *, equal: bool) -> Array:
    """How many of `ends (..., N, n)` are below each of `v (..., M, n)`; `equal`: or the same."""
    xp, N, M = array_namespace(ends, v), ends.shape[-2], v.shape[-2]
    lead = np.broadcast_shapes(tuple(ends.shape[:-2]), tuple(v.shape[:-2]))
    ends, v = (xp.broadcast_to(a, (*lead, *a.shape[-2:])) for a in (ends, v))
    order = xp.argsort(xp.concat((ends, v) if equal else (v, ends), axis=-2), axis=-2, stable=True)
    mine = order < N if equal else order >= M
    passed = xp.cumulative_sum(xp.astype(mine, xp.int64), axis=-2)
    place = xp.argsort(order, axis=-2)
    return xp.take_along_axis(passed, place[..., N:, :] if equal else place[..., :M, :], axis=-2)


def _positive(a: Array) -> Array:
    xp = array_namespace(a)
    return xp.where(a <= 0, xp.ones_like(a), a)  # what is NaN stays so


def _index(at: Array, N: int) -> Array:
    """Whole numbers in [0, N] as indices; those that are not finite are 0."""
    xp = array_namespace(at)
    return xp.astype(xp.clip(xp.where(xp.isfinite(at), at, xp.zeros_like(at)), 0, N), xp.int64)
