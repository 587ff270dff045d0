"""The default latent model: through the full space at each observation interval.

z_k = encode(M(... M(decode(z_{k-1})) + q_1 ...) + q_s),   q_i ~ N(0, Q) in the full space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...array import Array, array_namespace, convert_tree
from ...array.derivative import linearize
from ...covariances.base import Covariance
from ...covariances.matrices import Dense
from ...problem.like import ProblemLike, in_library, noise_at, stepping, stepwise


@dataclass(frozen=True, eq=False)
class Interval:
    """A latent step: decode, the model's steps of an observation interval, encode.

    Kicks are errors of the model after each of its steps, `(..., count * n)`: with them, as a
    function of the kicks, it has the derivatives that carry Q into the latent space.

    Args:
        steps: those of the model of states.
        coder: the Coder.
        start: where the kicked interval begins, `(..., 1, n)`; None: at decode(z).
    """

    steps: Sequence[Callable]
    coder: Any
    start: Array | None = None

    def __call__(self, z: Array) -> Array:
        x = self.coder.decode(z) if self.start is None else self.start
        for i, step in enumerate(self.steps):
            x = step(x)
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
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

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

    def stepping(self, k: int) -> list[Interval]:
        """The step to observation k; the same object where the model's steps are the same."""
        steps = stepping(stepwise(self.problem, "a step through the full space"), k)
        key = tuple(map(id, steps))
        if key not in self._known:
            self._known[key] = Interval(steps, self.coder)  # it keeps them: no other has their ids
        return [self._known[key]]

    def noise_at(self, k: int) -> Dense | None:
        """Q of interval k seen through the coder: sum_i J_i Q J_i^T, J_i of the kick i.

        Raises TypeError where that differs from state to state.
        """
        Q, interval = noise_at(self.problem, k), self.stepping(k)[0]
        if Q is None or not interval.steps:
            return None
        key = id(Q), id(interval)
        if key not in self._known:
            self._known[key] = Q, self._checked(Q, interval)
        return self._known[key][1]

    def _checked(self, Q: Covariance, interval: Interval) -> Dense:
        xp, prior = array_namespace(self.problem.like), self.problem.prior
        shape = (*self.problem.batch, self.coder.n)
        x, std = (xp.broadcast_to(v, shape)[..., None, :] for v in (prior.mean, prior.std))
        own = xp.where(x != 0, xp.abs(x), 1.0 + 0 * x)  # the way to go where nothing is uncertain
        far = x + xp.where(std > 0, std, own)
        here, there = self._noise(Q, interval, x), self._noise(Q, interval, far)
        s = xp.linalg.diagonal(xp.maximum(here, there)) ** 0.5  # each code in its own units
        slack = float(xp.finfo(here.dtype).eps) ** 0.5 * s[..., None, :] * s[..., :, None]
        if bool(xp.any(xp.abs(here - there) > slack)):
            raise TypeError(
                "the model noise of an interval, seen through the coder, differs from state to "
                "state, and this method wants one covariance; wanted Latent(model=, noise=), "
                "intervals of one step with a linear coder, or an ensemble method"
            )
        return Dense.unchecked(here)

    def _noise(self, Q: Covariance, interval: Interval, x: Array) -> Array:
        xp, kicked = array_namespace(x), replace(interval, start=x)
        n, s = x.shape[-1], len(interval.steps)
        kicks = xp.zeros((*x.shape[:-1], s * n), dtype=x.dtype, device=x.device)
        size = xp.concat([xp.broadcast_to(Q.deviations()[..., None, :], x.shape)] * s, axis=-1)
        J = linearize(kicked, kicks, size)[1][..., 0, :, :]  # (..., r, s n)
        parts = [J[..., i * n : (i + 1) * n] for i in range(s)]
        total = xp.sum(xp.stack([Q.times(part) @ part.mT for part in parts]), axis=0)
        return (total + total.mT) / 2

    def to(self, like: Array) -> Through:
        """The same in the library of `like`."""
        return Through(in_library(self.problem, like), convert_tree(self.coder, like))
