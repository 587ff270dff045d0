"""Differences on a circle, or on a manifold of one's own: where y - h is not the misfit.

The angles 179 and -179 degrees differ by 2 degrees, not by 358. On a circle of period P
    r(a, b) = a - b - P k,  k the integer that makes |r| <= P / 2.
What is predicted for a datum is put on the datum's turn of the circle, h + P k, so that y - h is
r(y, h). Members whose mean and anomalies are wanted are put on one turn about their circular mean
c, the angle of sum_i w_i exp(2 pi i a_i / P), and so is the datum: on that turn all formulas of
Euclidean space hold, as long as the spread is well below the period.

K. V. Mardia and P. E. Jupp, Directional Statistics, 2000.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..array import (
    Array,
    array_namespace,
    as_numbers,
    check_between,
    convert,
    typed,
)
from .belief import Belief, Ensemble

Residual = Callable[[Array, Array], Array]


@typed
@dataclass(frozen=True)
class Angles:
    """Which numbers are angles: called, the difference a - b with those on the shortest way round.

    It is a `residual` for an Observation.

    Args:
        period: length of the circle, positive; a number, or one for each of `which`.
        which: positions of the angles among the numbers; None: all are.

    Raises:
        ValueError: for a period that is not positive, and positions that are no different
            integers from 0 on.
    """

    period: Any = 2 * math.pi
    which: Any = None

    def __post_init__(self):
        check_between("period", self.period, 0, 1e300, open_low=True)
        period = as_numbers(self.period)
        if period.ndim > 1 or not period.size:
            raise ValueError(f"period must be a number or a list, met shape {period.shape}")
        at = None if self.which is None else np.asarray(self.which)
        if at is not None and (
            at.ndim != 1
            or at.dtype.kind not in "iu"
            or not at.size
            or at.min() < 0
            or np.unique(at).size < at.size
        ):
            raise ValueError(
                f"which must be the positions of the angles, different integers from 0 on, met "
                f"{self.which!r}"
            )
        if period.ndim and (at is None or period.shape != at.shape):
            raise ValueError(
                f"period holds {period.size} numbers, wanted one, or one for each of which = "
                f"{self.which!r}"
            )
        object.__setattr__(self, "period", period.tolist())
        object.__setattr__(self, "which", None if at is None else tuple(at.tolist()))

    def __call__(self, a: Array, b: Array) -> Array:
        return self.nearest(a, b) - b

    def check(self, n: int, what: str) -> None:
        """Raise ValueError where one of the positions is not below n, the count of `what`."""
        if self.which is not None and max(self.which) >= n:
            raise ValueError(
                f"which of Angles holds {max(self.which)}, wanted positions below {n}, the number "
                f"of {what}"
            )

    def nearest(self, a: Array, b: Array) -> Array:
        """`a` on the turn of the circle nearest to `b`, both `(..., n)`: a + P k."""
        turn, length = self._lengths(a)
        return a - turn * array_namespace(a, b).round((a - b) / length)

    def wrapped(self, a: Array) -> Array:
        """`a (..., n)` with its angles in [-P / 2, P / 2)."""
        turn, length = self._lengths(a)
        return a - turn * array_namespace(a).floor(a / length + 0.5)

    def centre(self, E: Array, weights: Array | None = None) -> Array:
        """Circular means of members `E (..., N, n)` with `weights (..., N)`: `(..., 1, n)`.

        0 for what is no angle.
        """
        xp, (turn, length) = array_namespace(E), self._lengths(E)
        there = xp.isfinite(E)  # not where a model failed
        w = xp.astype(there, E.dtype) * (1.0 if weights is None else weights[..., None])
        phase = 2 * math.pi / length * xp.where(there, E, xp.zeros_like(E))
        s, c = (xp.sum(w * f(phase), axis=-2, keepdims=True) for f in (xp.sin, xp.cos))
        return turn / (2 * math.pi) * xp.atan2(s, c)

    def gathered(self, E: Array, weights: Array | None = None) -> Array:
        """Members `E (..., N, n)` on one turn, about their circular mean."""
        return self.nearest(E, self.centre(E, weights))

    def _lengths(self, like: Array) -> tuple[Any, Any]:
        """Of each number the period, 0 for what is no angle; and the same with 1 there."""
        if self.which is None:
            return self.period, self.period
        turn = np.zeros(like.shape[-1])
        turn[list(self.which)] = self.period
        turn = convert(turn, like)
        return turn, array_namespace(turn).where(turn > 0, turn, 1.0 + 0 * turn)


@dataclass(frozen=True, eq=False)
class Turning:
    """A function, and the `difference` by which two of its values are compared.

    Args:
        f: the function.
        difference: a residual.
    """

    f: Callable[..., Array]
    difference: Residual

    def __call__(self, x: Array, *more: Any) -> Array:
        return self.f(x, *more)

    @property
    def linear(self) -> bool:
        """Whether the function is known to be linear."""
        return getattr(self.f, "linear", False) is True


def gathered(problem: Any, E: Array, weights: Array | None = None) -> Array:
    """Members `E (..., N, n)` with their angles on one turn: themselves where there are none."""
    angles = getattr(problem, "angles", None)
    return E if angles is None or E.shape[-2] < 2 else angles.gathered(E, weights)


def angles_first(problem: Any) -> Angles | None:
    """The angles of a problem where further components stand after those of its state."""
    angles = problem.angles
    if angles is None or angles.which is not None:
        return angles
    return replace(angles, which=range(problem.n))


def gathered_prior(problem: Any) -> Belief:
    """The prior of a problem, an Ensemble with its angles on one turn."""
    prior = problem.prior
    if not isinstance(prior, Ensemble):
        return prior
    return Ensemble(gathered(problem, prior.members, prior.weights), prior.weights)


def nearest(residual: Residual | None, a: Array, b: Array) -> Array:
    """b + r(a, b): `a` on the turn nearest to `b`; `a` itself without a residual."""
    if residual is None:
        return a
    return residual.nearest(a, b) if isinstance(residual, Angles) else b + residual(a, b)


def centre(residual: Residual, Y: Array) -> Array:
    """The mean on the manifold of members `Y (..., N, m)`, `(..., 1, m)`.

    For a residual of one's own the c of sum_i r(Y_i, c) = 0, from the first member on.
    """
    if isinstance(residual, Angles):
        return residual.centre(Y)
    xp, c = array_namespace(Y), Y[..., :1, :]
    for _ in range(10):
        c = c + xp.mean(residual(Y, c), axis=-2, keepdims=True)
    return c
