"""Laws of observation errors that are not normal: outliers, and a norm that is robust.

With d = R^-1/2 (y - h), the misfit of what is predicted in units of the errors' scale, a law is
    -log p(y | h) = sum_i rho(d_i) + constant,   normal: rho = d^2 / 2.
R holds squares of scales here, which are variances for the normal law alone. A particle filter
needs rho; a variational method the misfits r_i = sign(d_i) (2 rho(d_i))^1/2, whose squares add up
to twice the cost, and their derivatives: what is known of least squares then holds for any law.

Student: Roth, Özkan and Gustafsson, A Student's t filter for heavy tailed process and measurement
noise, ICASSP, 2013; the Huber norm in data assimilation: Tavolato and Isaksen, On the use of a
Huber norm for observation quality control in the ECMWF 4D-Var, Q. J. R. Meteorol. Soc. 141, 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from ..array import Array, array_namespace, check_between, convert, to_numpy, typed, uniform
from ..array.special import special
from ..covariances.base import Covariance

ROUND = 0.01  # the Laplace law's edge is rounded within so much of a scale, for derivatives


class ErrorLaw(Protocol):
    """What an Observation's `law` does: Student, Laplace, Huber, Poisson, or one of your own."""

    def log_likelihood(self, y: Array, h: Array, R: Covariance) -> Array:
        """log p(y | h) of rows `y (..., 1, m)` and `h (..., N, m)`: `(..., N)`."""
        ...

    def misfits(self, y: Array, h: Array, R: Covariance) -> Array:
        """Signed roots r of twice the cost, `(..., m)`, smooth in h: -log p = |r|^2 / 2."""
        ...

    def sensitivity(self, y: Array, h: Array, R: Covariance, D: Array) -> Array:
        """-dr for changes `D (..., c, m)` of `h (..., 1, m)`."""
        ...

    def draw(self, h: Array, R: Covariance, rng: Any) -> Array:
        """Data drawn for what is predicted, `h (..., 1, m)`."""
        ...


class Scaled:
    """A law of whitened misfits d = R^-1/2 (y - h), each on its own: what three of them share."""

    def root(self, d: Array) -> Array:
        """r = sign(d) (2 rho(d))^1/2."""
        raise NotImplementedError

    def slope(self, d: Array) -> Array:
        """dr/dd."""
        raise NotImplementedError

    def quantile(self, u: Array) -> Array:
        """The d below which a share u of all errors lies."""
        raise NotImplementedError

    def cost(self, d: Array) -> Array:
        """sum rho(d), `(...)`."""
        r = self.root(d)
        return 0.5 * array_namespace(r).linalg.vecdot(r, r)

    @property
    def log_mass(self) -> float:
        """log of the integral of exp(-rho)."""
        raise NotImplementedError

    def log_likelihood(self, y: Array, h: Array, R: Covariance) -> Array:
        """log p(y | h), `(..., N)`: -sum rho(d), less what makes it a density of what was seen."""
        cost = self.cost(R.whiten(y - h))
        xp = array_namespace(cost)
        m = R.n if R.seen is None else xp.sum(xp.astype(R.seen, cost.dtype), axis=-1)
        whole = m * self.log_mass + R.log_det() / 2
        return -cost - whole[..., None]

    def misfits(self, y: Array, h: Array, R: Covariance) -> Array:
        """Signed roots of twice the cost, `(..., m)`."""
        return self.root(R.whiten(y - h))

    def sensitivity(self, y: Array, h: Array, R: Covariance, D: Array) -> Array:
        """-dr for changes `D (..., c, m)` of h."""
        return R.whiten(D) * self.slope(R.whiten(y - h))

    def draw(self, h: Array, R: Covariance, rng: Any) -> Array:
        """Data drawn for what is predicted, `h (..., 1, m)`."""
        return h + R.color(self.quantile(uniform(rng, h)))


@typed
@dataclass(frozen=True)
class Student(Scaled):
    """Student's t: rho(d) = (nu + 1) / 2 log(1 + d^2 / nu), for data among which are outliers.

    Its pull on the analysis falls as 1 / d far out. Posteriors may then have two modes, of which a
    variational method finds the one near its background: data that contradict a wrong background
    are taken for outliers. The pull of Huber and Laplace stays.

    Args:
        nu: degrees of freedom, above 0: 1 is Cauchy's law, 4 usual, many nearly normal. The
            variance is R nu / (nu - 2) for nu > 2.

    Raises:
        ValueError: when nu is not positive.
    """

    nu: float = 4.0

    def __post_init__(self):
        check_between("nu", self.nu, 0, 1e9, open_low=True)

    def root(self, d: Array) -> Array:
        """d ((nu + 1) log(1 + s) / (nu s))^1/2, s = d^2 / nu."""
        return d * ((self.nu + 1) / self.nu * self._share(d)) ** 0.5

    def slope(self, d: Array) -> Array:
        """(nu + 1) d / (nu + d^2) / r."""
        weight = (self.nu + 1) / (self.nu + d * d)
        return weight / ((self.nu + 1) / self.nu * self._share(d)) ** 0.5

    def quantile(self, u: Array) -> Array:
        """By SciPy."""
        import scipy.special  # pyright: ignore[reportMissingTypeStubs]

        return convert(scipy.special.stdtrit(self.nu, to_numpy(_inside(u))), u)

    @property
    def log_mass(self) -> float:
        """log of (nu pi)^1/2 Gamma(nu / 2) / Gamma((nu + 1) / 2)."""
        ratio = math.lgamma(self.nu / 2) - math.lgamma((self.nu + 1) / 2)
        return 0.5 * math.log(self.nu * math.pi) + ratio

    def _share(self, d: Array) -> Array:
        """log(1 + s) / s, 1 at s = 0."""
        xp, s = array_namespace(d), d * d / self.nu
        some = s > 1e-8
        safe = xp.where(some, s, xp.ones_like(s))
        return xp.where(some, xp.log1p(safe) / safe, 1 - s / 2)


@typed
@dataclass(frozen=True)
class Laplace(Scaled):
    """Laplace's law: rho(d) = |d|, the double exponential; the variance is 2 R.

    Variational methods take (d^2 + e^2)^1/2 - e with e = 0.01 for |d|, which has a derivative.
    """

    def root(self, d: Array) -> Array:
        """d (2 / ((d^2 + e^2)^1/2 + e))^1/2."""
        return d * (2 / ((d * d + ROUND**2) ** 0.5 + ROUND)) ** 0.5

    def slope(self, d: Array) -> Array:
        """d / (d^2 + e^2)^1/2 / r."""
        size = (d * d + ROUND**2) ** 0.5
        return (0.5 * (size + ROUND)) ** 0.5 / size

    def cost(self, d: Array) -> Array:
        """sum |d|, `(...)`: the edge as it is."""
        xp = array_namespace(d)
        return xp.sum(xp.abs(d), axis=-1)

    @property
    def log_mass(self) -> float:
        """log 2."""
        return math.log(2)

    def quantile(self, u: Array) -> Array:
        """log 2u, or -log 2(1 - u)."""
        u = _inside(u)
        xp = array_namespace(u)
        tail = xp.log(2 * xp.where(u < 0.5, u, 1 - u))
        return xp.where(u < 0.5, tail, -tail)


@typed
@dataclass(frozen=True)
class Huber(Scaled):
    """The Huber norm: rho(d) = d^2 / 2 up to |d| = c, and c |d| - c^2 / 2 beyond.

    A normal law with exponential tails: data beyond c errors pull with a constant strength.

    Args:
        c: where the tails begin, above 0, in units of the scale.

    Raises:
        ValueError: when c is not positive.
    """

    c: float = 1.345

    def __post_init__(self):
        check_between("c", self.c, 0, 1e9, open_low=True)

    def root(self, d: Array) -> Array:
        """d, and (2 c |d| - c^2)^1/2 with the sign of d."""
        xp, a = array_namespace(d), abs(d)
        far = a > self.c
        size = xp.where(far, 2 * self.c * a - self.c**2, xp.ones_like(a)) ** 0.5
        return xp.where(far, xp.where(d > 0, size, -size), d)

    def slope(self, d: Array) -> Array:
        """1, and c / |r|."""
        xp, a = array_namespace(d), abs(d)
        far = a > self.c
        size = xp.where(far, 2 * self.c * a - self.c**2, xp.ones_like(a)) ** 0.5
        return xp.where(far, self.c / size, xp.ones_like(d))

    @property
    def log_mass(self) -> float:
        """log of the middle and the two tails."""
        middle, tail = self._masses
        return math.log(middle + 2 * tail)

    @property
    def _masses(self) -> tuple[float, float]:
        """The integrals of exp(-rho) from -c to c, and beyond c."""
        c = self.c
        return math.sqrt(2 * math.pi) * math.erf(c / math.sqrt(2)), math.exp(-0.5 * c * c) / c

    def quantile(self, u: Array) -> Array:
        """Of the normal part in the middle and the two exponential tails."""
        u, c = _inside(u), self.c
        xp, f = array_namespace(u), special(u)
        middle, tail = self._masses
        least = xp.where(u < 0.5, u, 1 - u) * (middle + 2 * tail)  # the mass below -|d|
        out = -c + xp.log(xp.where(least < tail, least, tail + 0 * u) / tail) / c
        low = 0.5 * math.erfc(c / math.sqrt(2))
        inside = f.ndtri(
            low + xp.where(least < tail, 0 * u, least - tail) / math.sqrt(2 * math.pi)
        )
        d = xp.where(least < tail, out, inside)
        return xp.where(u < 0.5, d, -d)


def _inside(u: Array) -> Array:
    """Uniform numbers away from 0 and 1."""
    xp = array_namespace(u)
    eps = float(xp.finfo(u.dtype).eps)
    return xp.clip(u, eps / 2, 1 - eps)


def check_law(law: Any) -> None:
    """Raise TypeError for anything but an ErrorLaw or None."""
    names = "log_likelihood", "misfits", "sensitivity", "draw"
    if law is not None and (isinstance(law, type) or not all(hasattr(law, a) for a in names)):
        raise TypeError(
            "law must be None (normal errors), or one such as Student(4), Laplace(), Huber() or "
            f"Poisson(), with {', '.join(names)}; met {law!r}"
        )
