"""A problem as it looks from inside a coder's space: the ProblemLike that a latent method solves.

    z_0 = encode(x_0),   z_k = M_z(z_{k-1}),   y_k = H(decode(z_k)) + e_k.

M_z is encode o forecast o decode (see `through`), or a latent model of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ...array import Array, convert_tree, is_tensor, no_grad, root, triangle, where_ok
from ...covariances.base import Covariance
from ...covariances.roots import Rows
from ...problem.belief import Belief, Ensemble, Gaussian
from ...problem.like import FAILURES, ProblemLike, in_library, noise_at, stepping
from ...problem.observe import Observation
from ..base import Cycle
from .observed import Decoded, Encoded


@dataclass(frozen=True, eq=False)
class LatentProblem:
    """The ProblemLike of codes; it gives its model step by step where that has steps.

    Args:
        problem: the ProblemLike of states.
        coder: the Coder, in the problem's library.
        prior: the belief of the first code.
        dynamics: Through, or a Problem of the latent model alone.
        observe: None for H(decode(z)), or Encoded.
    """

    problem: ProblemLike
    coder: Any
    prior: Belief
    dynamics: Any
    observe: Encoded | None = None
    _codes: dict[int, Any] = field(default_factory=dict, init=False, repr=False)
    _operators: dict[int, Any] = field(default_factory=dict, init=False, repr=False)
    _last: list[Observation] = field(default_factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.problem)

    @property
    def batch(self) -> tuple[int, ...]:
        """The axes of independent experiments."""
        return self.problem.batch

    @property
    def n(self) -> int:
        """The dimension r of a code."""
        return self.coder.r

    @property
    def like(self) -> Array:
        """The array that decides library, dtype and device."""
        return self.prior.members if isinstance(self.prior, Ensemble) else self.prior.mean

    def forecast(self, x: Array, k: int, rng: Any = None) -> Array:
        """Codes `(..., N, r)` at observation k - 1, carried to observation k."""
        return self.dynamics.forecast(x, k, rng)

    def stepping(self, k: int) -> list[Callable[[Array], Array]]:
        """The steps of the latent model to observation k, without noise."""
        return stepping(self.dynamics, k)

    def noise_at(self, k: int) -> Covariance | None:
        """The covariance of the latent model's error after each of these steps, None for none."""
        return noise_at(self.dynamics, k)

    def steps_to(self, k: int) -> int:
        """The number of steps of the latent model before observation k."""
        return self.dynamics.steps_to(k)

    @property
    def stochastic(self) -> bool:
        """Whether the model itself draws random numbers."""
        return bool(getattr(self.dynamics, "stochastic", False))

    @property
    def failures(self) -> float:
        """Share of the members that may fail in one interval."""
        return getattr(self.problem, "failures", FAILURES)

    @cached_property
    def truth(self) -> Array | None:
        """The codes of the truth `(..., K, r)`, where it is known."""
        x, encode = getattr(self.problem, "truth", None), getattr(self.coder, "encode", None)
        return None if x is None or encode is None else encode(x)

    def at(self, k: int) -> tuple[Observation, Array]:
        """The observing system of codes and the data at observation k, gaps masked."""
        if self.observe is not None:
            return self.observe.at(self.problem, k, self._codes)
        observe, y = self.problem.at(k)
        if self._last and self._last[0] is observe:  # data without gaps: the same each time
            return self._last[1], y
        known = self._operators.get(id(observe.operator))
        if known is None:  # one object for one operator: some methods look at it only once
            known = observe.operator, self._seen(observe.operator)
            self._operators[id(observe.operator)] = known
        self._last[:] = observe, replace(observe, operator=known[1])
        return self._last[1], y

    def _seen(self, operator: Callable) -> Callable:
        """The operator as one of codes; some coders decode no more than is observed."""
        observed = getattr(self.coder, "observed", None)
        found = None if observed is None else observed(operator, self.like)
        return Decoded(operator, self.coder) if found is None else found

    def decoded(self, belief: Belief) -> Belief:
        """A belief of codes as one of states; NaN marks a diverged experiment.

        Args:
            belief: of codes `(..., r)`.

        Returns:
            The belief of states `(..., n)`; a Gaussian has Rows, r at most.
        """
        if isinstance(belief, Ensemble):
            return Ensemble.unchecked(self.coder.decode(belief.members), belief.weights)
        if isinstance(belief, Gaussian):
            belief = Gaussian.unchecked(belief.mean, Rows(root_rows(belief.cov)))
        return belief.map(Row(self.coder, back=True))

    def to(self, like: Array) -> LatentProblem:
        """The same problem in the library, dtype and device of `like`."""
        problem, dynamics = in_library(self.problem, like), self.dynamics.to(like)
        coder, prior, observe = convert_tree((self.coder, self.prior, self.observe), like)
        return LatentProblem(problem, coder, prior, dynamics, observe)


def decoded_cycles(method: Any, inside: LatentProblem, rng: Any) -> Iterator[Cycle]:
    """The cycles of a method on the codes, their beliefs decoded."""
    like = inside.problem.like
    for cycle in method.run(inside, rng):
        with no_grad(like):
            forecast, analysis = inside.decoded(cycle.forecast), inside.decoded(cycle.analysis)
            info = {
                name: inside.decoded(value) if isinstance(value, Belief) else value
                for name, value in cycle.info.items()
            }
        yield Cycle(forecast, analysis, info)


@dataclass(frozen=True, eq=False)
class Remembering:
    """A coder that keeps its last two results: an ensemble is decoded several times in a cycle."""

    coder: Any
    _kept: list[tuple[Array, Array]] = field(default_factory=list, init=False, repr=False)

    @property
    def n(self) -> int:
        return self.coder.n

    @property
    def r(self) -> int:
        return self.coder.r

    def encode(self, x: Array) -> Array:
        """Codes of states."""
        return self.coder.encode(x)

    def decode(self, z: Array) -> Array:
        """States of codes: those of the same array, if it was decoded just before."""
        if _recorded(z):
            return self.coder.decode(z)
        for known, x in self._kept:
            if known is z:
                return x
        x = self.coder.decode(z)
        self._kept[:] = [*self._kept[-1:], (z, x)]
        return x


def _recorded(z: Array) -> bool:
    """Whether derivatives may be asked of what is computed from `z`."""
    if not is_tensor(z):
        return False
    import torch

    return torch.is_grad_enabled()


def root_rows(cov: Covariance) -> Array:
    """Rows V `(..., c, r)` with V^T V = C, c <= r, also for a C that is singular or not finite."""
    if isinstance(cov, Rows):
        return cov.values if cov.controls <= cov.n else triangle(cov.values)
    V, ok = root(cov.matrix())
    return where_ok(ok, V)


@dataclass(frozen=True, eq=False)
class Row:
    """encode, or `back` decode, of vectors without a member axis: `(..., n) -> (..., r)`.

    The axis is added for the call: in a batch each experiment then comes out to the bit as alone.
    """

    coder: Any
    back: bool = False

    def __call__(self, x: Array) -> Array:
        f = self.coder.decode if self.back else self.coder.encode
        return f(x[..., None, :])[..., 0, :]
