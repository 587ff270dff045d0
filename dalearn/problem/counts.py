"""Counts as data: Poisson's law, whose spread follows from its mean.

    p(y | h) = h^y e^-h / y!,   -log p = (h - y + y log(y / h)) + constant,
with h = h(x) > 0 the mean of a count, its rate times the time or area that was counted. The first
term is half the deviance, the square of a misfit that is 0 at h = y.

McCullagh and Nelder, Generalized Linear Models, 1989, section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..array import Array, array_namespace, convert, to_numpy, typed, uniform
from ..array.special import special
from ..covariances.base import Covariance


@typed
@dataclass(frozen=True)
class Poisson:
    """Counts y with the mean h(x): -log p = h - y log h + log y!. R only says which are seen.

    The operator gives rates, positive: a member with one that is not has no weight, unless both
    are 0. Give the Observation variances all the same, such as 1 for each: nothing else uses them.
    """

    def log_likelihood(self, y: Array, h: Array, R: Covariance) -> Array:
        """sum of y log h - h - log y!, `(..., N)`."""
        r = self.misfits(y, h, R)
        xp, f = array_namespace(r), special(r)
        best = f.xlogy(y, y) - y - f.gammaln(y + 1)
        if R.seen is not None:
            best = xp.where(_rows(R.seen, best), best, xp.zeros_like(best))
        return xp.sum(best, axis=-1) - 0.5 * xp.linalg.vecdot(r, r)

    def misfits(self, y: Array, h: Array, R: Covariance) -> Array:
        """sign(y - h) (2 (y log(y / h) - y + h))^1/2, the residuals of the deviance."""
        xp = array_namespace(y, h)
        r, _ = self._parts(y, h)
        return r if R.seen is None else xp.where(_rows(R.seen, r), r, xp.zeros_like(r))

    def sensitivity(self, y: Array, h: Array, R: Covariance, D: Array) -> Array:
        """D (y / h - 1) / r."""
        xp = array_namespace(y, h)
        _, slope = self._parts(y, h)
        G = D * slope
        return G if R.seen is None else xp.where(_rows(R.seen, G), G, xp.zeros_like(G))

    def draw(self, h: Array, R: Covariance, rng: Any) -> Array:
        """Counts of mean h, by their quantiles."""
        import scipy.stats  # pyright: ignore[reportMissingTypeStubs]

        u, mean = to_numpy(uniform(rng, h)), to_numpy(h)
        return convert(scipy.stats.poisson.ppf(u, mean).astype(float), h)

    def _parts(self, y: Array, h: Array) -> tuple[Array, Array]:
        """r and -dr/dh; r is infinite where no such count can be."""
        xp = array_namespace(y, h)
        y = y + xp.zeros_like(h)
        fine, none = (h > 0) & (y > 0), (h >= 0) & (y == 0)
        one = xp.ones_like(h)
        s = xp.where(fine, h, one) / xp.where(fine, y, one)
        t = s - 1  # with phi(s) = s - 1 - log s, r = -t (2 y phi / t^2)^1/2
        near = xp.abs(t) < 1e-4
        away = xp.where(near, one, t)
        q = xp.where(near, 0.5 - t / 3 + t * t / 4, (away - xp.log1p(away)) / (away * away))
        size = (2 * xp.where(fine, y, one) * q) ** 0.5
        least = float(xp.finfo(h.dtype).tiny)
        zero = (2 * xp.where(none & (h > least), h, least + 0 * h)) ** 0.5
        r = xp.where(fine, -t * size, xp.where(none, -zero, float("inf")))
        # -dr/dh = (y / h - 1) / r = (1 / s) / (2 y phi / t^2)^1/2
        return r, xp.where(fine, 1 / (s * size), 1 / zero)


def _rows(seen: Array, like: Array) -> Array:
    """Flags `(..., m)` for rows `(..., k, m)`."""
    return array_namespace(seen).broadcast_to(seen[..., None, :], like.shape)
