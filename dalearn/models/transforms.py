"""Changes of variables, component by component, as coders: methods then work without bounds.

    z = log(x - lower),   z = -log(upper - x),   z = log((x - lower) / (upper - x)),   z = x,
for a lower bound, an upper one, both, and none; or normal scores z = Phi^-1(F(x)), with F the law
of a sample: a Gaussian anamorphosis. `Latent(method, coder)` takes priors, models, operators and
data in the user's units, and gives results in them.

Bertino, Evensen and Wackernagel, Sequential data assimilation techniques in oceanography, Int.
Stat. Rev. 71, 2003; Simon and Bertino, Application of the Gaussian anamorphosis to assimilation in
a 3-D coupled physical-ecosystem model, Ocean Sci. 5, 2009; lognormal errors: Fletcher and
Zupanski, Q. J. R. Meteorol. Soc. 132, 2006.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..array import (
    Array,
    Swept,
    array_namespace,
    as_floats,
    broadcasts,
    check_count,
    convert,
    is_float,
    shown,
    to_numpy,
    typed,
)
from ..array.histogram import Histogram
from .coders import check_states, reconstruction_error


def bounds_of(n: int, lower: Any, upper: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both bounds as arrays `(n,)`, -inf and inf where there is none; or ValueError."""
    low, high = (
        np.asarray(to_numpy(end if value is None else value), float)
        for value, end in ((lower, -np.inf), (upper, np.inf))
    )
    if not broadcasts(low.shape, (n,)) or not broadcasts(high.shape, (n,)):
        raise ValueError(
            f"bounds must be numbers, or one for each of {n} components, met lower of shape "
            f"{low.shape} and upper of shape {high.shape}"
        )
    low, high = (np.broadcast_to(b, (n,)) for b in (low, high))
    if not (low < high).all():
        raise ValueError(f"lower must be below upper, met {shown(lower)} and {shown(upper)}")
    return low, high


def rows_of(x: Array, n: int, name: str) -> Array:
    """`x` as floats `(..., n)`, or ValueError."""
    if tuple(x.shape[-1:]) != (n,):
        raise ValueError(f"{name} have shape {tuple(x.shape)}, wanted (..., {n})")
    return x if is_float(x) else as_floats(x, name)


@typed
@dataclass(frozen=True, eq=False)
class Bounded:
    """Components within bounds as numbers without: logarithms of the distances from the bounds.

    z = log(x - lower), -log(upper - x) or the log of their ratio (logit); x where there is none. A
    Gaussian in z is lognormal, or logit-normal, in x. A Gaussian prior N(m, C) of states becomes,
    to first order, one of codes about that of m. States on a bound, or beyond, have no finite
    code: a model that leaves the bounds makes the experiment diverge.

    Args:
        n: how many numbers a state has.
        lower: the bound below, a number or one for each component `(n,)`, -inf where there is
            none; None: for all none.
        upper: the bound above, in the same way, inf where there is none.

    Raises:
        ValueError: for bounds of another size, and where lower is not below upper.

    Source: Fletcher and Zupanski, Q. J. R. Meteorol. Soc. 132, 2006.
    """

    n: int
    lower: Swept | None = None
    upper: Swept | None = None

    def __post_init__(self):
        check_count("n", self.n)
        bounds_of(self.n, self.lower, self.upper)

    @property
    def r(self) -> int:
        """As many numbers as a state has."""
        return self.n

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, ...]:
        """Which components have a bound below and above, and the bounds, 0 where there is none."""
        both = bounds_of(self.n, self.lower, self.upper)
        some = [np.isfinite(b) for b in both]
        return *some, *(np.where(s, b, 0.0) for s, b in zip(some, both, strict=True))

    def encode(self, x: Array) -> Array:
        """States `(..., n)` -> codes `(..., n)`; NaN beyond a bound, infinite on one."""
        x = rows_of(x, self.n, "states")
        xp = array_namespace(x)
        below, above, low, high = (convert(b, x) for b in self._bounds)
        one = xp.ones_like(x)
        up = xp.log(xp.where(below, x - low, one)) - xp.log(xp.where(above, high - x, one))
        return xp.where(below | above, up, x)

    def decode(self, z: Array) -> Array:
        """Codes `(..., n)` -> states `(..., n)`, within the bounds."""
        z = rows_of(z, self.n, "codes")
        xp = array_namespace(z)
        below, above, low, high = (convert(b, z) for b in self._bounds)
        zero = xp.zeros_like(z)
        small = xp.exp(-xp.abs(xp.where(below & above, z, zero)))
        part = xp.where(z >= 0, xp.ones_like(z), small) / (1 + small)
        out = xp.exp(xp.where(below ^ above, xp.where(below, z, -z), zero))
        one = xp.where(below, low + out, high - out)
        return xp.where(below & above, low + (high - low) * part, xp.where(below ^ above, one, z))

    def floor(self, test: Array) -> float:
        """Round-off alone: see `reconstruction_error`."""
        return reconstruction_error(self, test)


@typed
@dataclass(frozen=True, eq=False, repr=False)
class Anamorphosis:
    """Normal scores by the law of a sample: z = Phi^-1(F(x)), each component by its own F.

    Made by `Anamorphosis.fit(sample)`, of a climatology say. F is the rank histogram of quantiles
    of the sample: linear between them, with normal tails that end at bounds. Many values may be
    the same, such as no rain: they have the middle of their scores, and all scores of theirs are
    decoded as that value.

    Args:
        points: quantiles of the sample in ascending order `(p, n)`, at levels i / (p + 1).
        std: deviations of the sample `(n,)`: those of the tails.
        lower: the least values, a number or `(n,)`, -inf where there is none; None: for all none.
        upper: the largest values, in the same way, inf where there is none.

    Raises:
        ValueError: for shapes that do not fit, points that fall or lie beyond the bounds, and
            deviations that are not positive.

    Source: Simon and Bertino, Ocean Sci. 5, 2009.
    """

    points: Array
    std: Array
    lower: Swept | None = None
    upper: Swept | None = None

    def __post_init__(self):
        for name in ("points", "std"):
            object.__setattr__(self, name, as_floats(getattr(self, name), name))
        if self.points.ndim != 2 or len(self.points) < 2 or not self.points.shape[1]:
            raise ValueError(f"points have shape {tuple(self.points.shape)}, wanted (p, n), p > 1")
        if tuple(self.std.shape) != (self.n,):
            raise ValueError(f"std has shape {tuple(self.std.shape)}, wanted ({self.n},)")
        if not (to_numpy(self.std) > 0).all():
            raise ValueError(f"std must be positive, met {shown(self.std)}")
        low, high = bounds_of(self.n, self.lower, self.upper)
        x = to_numpy(self.points)
        if not ((np.diff(x, axis=0) >= 0).all() and (x >= low).all() and (x <= high).all()):
            raise ValueError(
                "points must ascend and lie within the bounds, met "
                f"{float(x.min()):.6g} to {float(x.max()):.6g}"
            )

    @classmethod
    @typed
    def fit(
        cls,
        states: Array,
        points: int = 100,
        lower: Swept | None = None,
        upper: Swept | None = None,
    ) -> Anamorphosis:
        """The normal scores of a sample.

        Args:
            states: `(..., n)`, at least twice as many as points: a climatology, say.
            points: how many quantiles hold the law, an integer >= 2.
            lower: the least value, a number or one for each component, -inf for none.
            upper: the largest value, in the same way.

        Returns:
            The coder.

        Raises:
            ValueError: for fewer states, states that are not finite or beyond the bounds, and
                components that do not vary.
        """
        check_count("points", points, 2)
        x = check_states(states, None, "the states")
        rows = to_numpy(x).reshape(-1, x.shape[-1]).astype(float)
        if len(rows) < 2 * points:
            raise ValueError(
                f"met {len(rows)} states and {points} points, wanted twice as many states or more"
            )
        low, high = bounds_of(rows.shape[1], lower, upper)
        beyond = (rows < low) | (rows > high)
        if beyond.any():
            raise ValueError(
                f"states hold {rows[beyond][0]:.6g}, wanted values from lower = "
                f"{shown(lower)} to upper = {shown(upper)}"
            )
        levels = np.arange(1, points + 1) / (points + 1)
        quantiles = np.quantile(rows, levels, axis=0, method="weibull")
        return cls(convert(quantiles, x), convert(rows.std(0, ddof=1), x), lower, upper)

    @property
    def n(self) -> int:
        """How many numbers a state has."""
        return self.points.shape[1]

    @property
    def r(self) -> int:
        """As many numbers as a state has."""
        return self.n

    def __repr__(self) -> str:
        return f"Anamorphosis(n={self.n}, points={len(self.points)})"

    def encode(self, x: Array) -> Array:
        """States `(..., n)` -> normal scores `(..., n)`; NaN beyond a bound."""
        x = rows_of(x, self.n, "states")
        law, xp = self._law(x), array_namespace(x)
        z = law.probits(xp.reshape(x, (-1, self.n)))
        z = xp.reshape(z, x.shape)
        beyond = (x < law.lower[0]) | (x > law.upper[0])
        return xp.where(beyond, float("nan"), z)

    def decode(self, z: Array) -> Array:
        """Normal scores `(..., n)` -> states `(..., n)`, within the bounds."""
        z = rows_of(z, self.n, "codes")
        xp = array_namespace(z)
        return xp.reshape(self._law(z).values(xp.reshape(z, (-1, self.n))), z.shape)

    def floor(self, test: Array) -> float:
        """Round-off, but for values that the sample has again and again."""
        return reconstruction_error(self, test)

    def _law(self, like: Array) -> Histogram:
        bounds = bounds_of(self.n, self.lower, self.upper)
        low, high, std, points = (convert(v, like) for v in (*bounds, self.std, self.points))
        return Histogram(points, std[None], low[None], high[None])
