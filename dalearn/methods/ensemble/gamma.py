"""The gamma law of a number above a bound, fitted to an ensemble.

    p(x) ~ x^(k - 1) exp(-x / s),   log k - psi(k) = log(mean x) - mean of log x,   s = mean / k,
the k and s of largest likelihood. A gamma likelihood of mean y and variance r has k_y = y^2 / r
and s_y = r / y, and the product of the two is a gamma law with
    k_a = k + k_y - 1,   s_a = s s_y / (s + s_y).

Anderson, A quantile-conserving ensemble filter framework, part I, Mon. Wea. Rev. 150, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...array import Array, Swept, array_namespace, as_numbers, convert, shown, to_numpy, typed
from ...array.special import gamma_quantile, probit, special
from .marginals import one_of

STEPS = 8  # of Newton's iteration for k: after four no digit changes


@typed
@dataclass(frozen=True, eq=False)
class GammaMarginal:
    """A gamma law of the members' distances from a bound, of largest likelihood.

    As the law of an observed number it takes the error of the datum for gamma distributed too, of
    mean y. Its quantiles are computed by SciPy on the CPU.

    Args:
        lower: the bound, a number or one for each component `(n,)`; all members lie above it.

    Raises:
        ValueError: for members and data that are not above the bound, and for data so close to it,
            within an error, that the product of the laws has no integral.

    Source: Anderson, Mon. Wea. Rev. 150, 2022.
    """

    lower: Swept = 0.0

    def __post_init__(self):
        lower = as_numbers(self.lower)
        if lower.ndim > 1 or not np.isfinite(lower).all():
            raise ValueError(
                f"lower must be a number, or one for each component (n,), met {shown(self.lower)}"
            )

    def fitted(self, x: Array) -> _Gamma:
        """The gamma law of each component."""
        xp, f = array_namespace(x), special(x)
        lower = convert(np.asarray(to_numpy(self.lower), float), x)
        if lower.ndim and tuple(lower.shape) != (x.shape[-1],):
            raise ValueError(
                f"met {tuple(lower.shape)} lower bounds, wanted one or {x.shape[-1]}, one for "
                "each component"
            )
        v = x - lower
        if bool(xp.any(v <= 0)):
            raise ValueError(
                f"a gamma law wants members above its bound, met one at {float(xp.min(v)):.6g} "
                "from it; RankHistogram(lower=) takes members on a bound"
            )
        mean = xp.mean(v, axis=-2, keepdims=True)
        gap = -xp.mean(xp.log(v / mean), axis=-2, keepdims=True)
        one = xp.ones_like(gap)
        spread = gap > 4 * float(xp.finfo(x.dtype).eps)  # else all members are one value
        gap = xp.where(spread, gap, one)
        k = (3 - gap + ((gap - 3) ** 2 + 24 * gap) ** 0.5) / (12 * gap)
        for _ in range(STEPS):
            step = xp.log(k) - f.digamma(k) - gap
            k = 1 / (1 / k + step / (k * k * (1 / k - f.polygamma(1, k))))
        return _Gamma(v, lower, k, mean / k, spread)

    def updated(self, x: Array, y: Array, r: Array) -> Array:
        """Members moved to their quantiles in the product of two gamma laws."""
        law, xp = self.fitted(x), array_namespace(x)
        d = y - law.lower
        k = law.shape + d * d / r - 1
        if bool(xp.any((d <= 0) | (k <= 0))):
            raise ValueError(
                f"a gamma law wants data above its bound, met one at {float(xp.min(d)):.6g} from "
                "it, or one within an error of it; RankHistogram(lower=) takes any"
            )
        scale = law.scale * (r / d) / (law.scale + r / d)
        new = law.lower + scale * gamma_quantile(k, *law.probabilities(law.x))
        return xp.where(law.spread, new, x)

    def one(self, j: int, count: int) -> GammaMarginal:
        """The law of the j-th of `count` numbers."""
        lower = one_of(self.lower, j, count)
        return self if lower is self.lower else GammaMarginal(lower)


@dataclass(frozen=True, eq=False)
class _Gamma:
    """Laws of `x = members - lower`: shape and scale `(..., 1, n)`."""

    x: Array
    lower: Array
    shape: Array
    scale: Array
    spread: Array  # whether the members differ

    def probabilities(self, x: Array) -> tuple[Array, Array]:
        """Those below and above."""
        xp, f = array_namespace(x), special(x)
        z, k = x / self.scale, self.shape + xp.zeros_like(x)
        return f.gammainc(k, z), f.gammaincc(k, z)

    def members(self) -> Array:
        return probit(*self.probabilities(self.x))

    def probits(self, v: Array) -> Array:
        return probit(*self.probabilities(v - self.lower))

    def values(self, z: Array) -> Array:
        xp, f = array_namespace(z), special(z)
        new = self.scale * gamma_quantile(self.shape, f.ndtr(z), f.ndtr(-z))
        return self.lower + xp.where(self.spread, new, self.shape * self.scale)
