"""The default latent model: through the full space at each observation interval.

z_k = encode(M(... M(decode(z_{k-1})) + q_1 ...) + q_s),   q_i ~ N(0, Q) in the full space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...array import Array, array_namespace, convert_tree
from ...array.derivative import linearize
from ...covariances.base import Covariance
from ...covariances.matrices import Dense
from ...problem.like import ProblemLike, in_library, stepwise


@dataclass(frozen=True, eq=False)
class Interval:
    """A latent step: decode, `count` steps of the model, encode.

    Kicks are errors of the model after each of its steps, `(..., count * n)`: with them, as a
    function of the kicks, it has the derivatives that carry Q into the latent space.

    Args:
        step: one step of the model of states.
        count: how many make an interval.
        coder: the Coder.
        start: where the kicked interval begins, `(..., 1, n)`; None: at decode(z).
    """

    step: Callable
    count: int
    coder: Any
    start: Array | None = None

    def __call__(self, z: Array) -> Array:
        x = self.coder.decode(z) if self.start is None else self.start
        for i in range(self.count):
            x = self.step(x)
            if self.start is not None:
                n = self.start.shape[-1]
                x = x + z[..., i * n : (i + 1) * n]
        return self.coder.encode(x)


@dataclass(frozen=True, eq=False)
class Through:
    """The default latent model: encode o forecast o decode over one observation interval.

    Args:
        problem: the ProblemLike of states.
        coder: the Coder.
    """

    problem: ProblemLike
    coder: Any

    @property
    def stochastic(self) -> bool:
        """Whether the model of states draws random numbers."""
        return bool(getattr(self.problem, "stochastic", False))

    def forecast(self, z: Array, k: int, rng: Any = None) -> Array:
        """Codes carried to observation k; the model's errors are drawn in the full space."""
        return self.coder.encode(self.problem.forecast(self.coder.decode(z), k, rng))

    def steps_to(self, k: int) -> int:
        """One latent step an interval."""
        return 1

    @cached_property
    def step(self) -> Interval:
        """The step of all intervals, which must be equally long: else TypeError."""
        problem = stepwise(self.problem, "a step through the full space")
        counts = {problem.steps_to(k) for k in range(len(problem))}
        if len(counts) > 1:
            raise TypeError(
                "a step of encode o forecast o decode is one observation interval, met ones of "
                f"{sorted(counts)} model steps; wanted equal ones, Latent(model=) with a latent "
                "model of its own, or a method that needs no single steps, such as ETKF"
            )
        return Interval(problem.step, counts.pop(), self.coder)

    @cached_property
    def noise(self) -> Dense | None:
        """Q of an interval seen through the coder: sum_i J_i Q J_i^T, J_i of the kick i.

        Raises TypeError where that differs from state to state.
        """
        Q = stepwise(self.problem, "a step through the full space").noise
        if Q is None:
            return None
        xp, prior = array_namespace(self.problem.like), self.problem.prior
        shape = (*self.problem.batch, self.coder.n)
        x, std = (xp.broadcast_to(v, shape)[..., None, :] for v in (prior.mean, prior.std))
        own = xp.where(x != 0, xp.abs(x), 1.0 + 0 * x)  # the way to go where nothing is uncertain
        here, there = self._noise(Q, x), self._noise(Q, x + xp.where(std > 0, std, own))
        s = xp.linalg.diagonal(xp.maximum(here, there)) ** 0.5  # each code in its own units
        slack = float(xp.finfo(here.dtype).eps) ** 0.5 * s[..., None, :] * s[..., :, None]
        if bool(xp.any(xp.abs(here - there) > slack)):
            raise TypeError(
                "the model noise of an interval, seen through the coder, differs from state to "
                "state, and this method wants one covariance; wanted Latent(model=, noise=), "
                "intervals of one step with a linear coder, or an ensemble method"
            )
        return Dense.unchecked(here)

    def _noise(self, Q: Covariance, x: Array) -> Array:
        xp, interval = array_namespace(x), self.step
        kicked = replace(interval, start=x)
        n, s = x.shape[-1], interval.count
        kicks = xp.zeros((*x.shape[:-1], s * n), dtype=x.dtype, device=x.device)
        size = xp.concat([xp.broadcast_to(Q.deviations()[..., None, :], x.shape)] * s, axis=-1)
        J = linearize(kicked, kicks, size)[1][..., 0, :, :]  # (..., r, s n)
        parts = [J[..., i * n : (i + 1) * n] for i in range(s)]
        total = xp.sum(xp.stack([Q.times(part) @ part.mT for part in parts]), axis=0)
        return (total + total.mT) / 2

    def to(self, like: Array) -> Through:
        """The same in the library of `like`."""
        return Through(in_library(self.problem, like), convert_tree(self.coder, like))
