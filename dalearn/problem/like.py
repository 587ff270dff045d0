"""What a method needs of a problem: the protocols that a stand-in of your own has to follow.

A `Problem` follows both. A latent space, a joint state or your own code may stand in its place.

Every method runs on a `ProblemLike`, except those that need more and say so:
    step by step: KF, UKF, RTS and their extended kin, Var4D, WeakVar4D, and IEnKS with lag > 0
        want the model's single steps and its noise Q: a `Stepwise`;
    truth: OI, Var3D, Var4D with B="climatology", OI(cycled=False) and Climatology() without a
        mean want `truth (..., K, n)`, from which the climatology is taken;
    failures: share of the members that may fail in one interval; FAILURES without it;
    another library: IncrementalCG and LBFGS differentiate with torch; on a NumPy problem they,
        and the gradient of a Cost, want `to(like)`, the same problem in the library of `like`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from ..array import Array, library
from ..covariances.base import Covariance
from .belief import Belief
from .observe import Observation

FAILURES = 0.5  # share of an ensemble's members that may fail, unless a problem says otherwise

P = TypeVar("P", bound="ProblemLike")


class ProblemLike(Protocol):
    """The estimation problem as most methods see it, for a batch of independent experiments.

    `len(problem)` is K, the number of observation times.
    """

    def __len__(self) -> int: ...

    @property
    def batch(self) -> tuple[int, ...]:
        """The axes of independent experiments, `()` for one."""
        ...

    @property
    def n(self) -> int:
        """The dimension of the state."""
        ...

    @property
    def like(self) -> Array:
        """An array that decides library, dtype and device of everything else."""
        ...

    @property
    def prior(self) -> Belief:
        """What is known of the state before the first interval."""
        ...

    def forecast(self, x: Array, k: int, rng: Any = None) -> Array:
        """States `x (..., N, n)` at observation k - 1 (the start for k = 0), carried to k.

        With `rng` (Streams) the model's random errors are drawn too.
        """
        ...

    def at(self, k: int) -> tuple[Observation, Array]:
        """The observing system and the data `(..., m)` at observation k.

        The data are finite: gaps are masked in the observation's noise.
        """
        ...


class Stepwise(ProblemLike, Protocol):
    """A problem that also gives its model step by step, for methods that linearize each step.

    Where steps or their errors differ in time it has `stepping(k)` and `noise_at(k)` beside.
    """

    @property
    def noise(self) -> Covariance | None:
        """Q, the covariance of the error added after every step; None for none."""
        ...

    @property
    def step(self) -> Callable[[Array], Array]:
        """One step of the model without noise, `(..., N, n) -> (..., N, n)`."""
        ...

    def steps_to(self, k: int) -> int:
        """The number of steps from observation k - 1 (the start for k = 0) to k."""
        ...


def stepping(problem: Any, k: int) -> list[Callable[[Array], Array]]:
    """The steps of the model from observation k - 1 (the start for k = 0) to k, without noise.

    Args:
        problem: a Stepwise problem.
        k: which observation.

    Returns:
        Functions of states `(..., N, n)`; one and the same where the model has no inputs.
    """
    own = getattr(problem, "stepping", None)
    return [problem.step] * problem.steps_to(k) if own is None else own(k)


def noise_at(problem: Any, k: int) -> Covariance | None:
    """Q of the steps of `stepping(problem, k)`; None for none."""
    own = getattr(problem, "noise_at", None)
    return problem.noise if own is None else own(k)


def one_or_all(parts: list[Any]) -> Any:
    """The one thing that a list holds again and again, else the list."""
    return parts[0] if all(part is parts[0] for part in parts) else parts


def stepwise(problem: ProblemLike, method: str, *, alike: bool = False) -> Stepwise:
    """The problem, which has to give its model step by step.

    Args:
        problem: what the method was given.
        method: the method's name, for the message.
        alike: whether all steps have to be the same, and to have the same noise.

    Returns:
        The same problem.

    Raises:
        TypeError: when it has no `step`, `steps_to` or `noise`, or its model is stochastic, or
            told inputs where all steps have to be alike.
    """
    if alike:
        check_alike(problem, method)
    names = ("stepping", "steps_to") if hasattr(problem, "stepping") else STEPWISE
    if getattr(problem, "stochastic", False):
        getattr(problem, "step", None)  # says so
    lacks = [name for name in names if not hasattr(problem, name)]
    if lacks:
        raise TypeError(
            f"{method} wants a problem that gives its model step by step, met a "
            f"{type(problem).__name__} without {', '.join(lacks)}; see "
            "dalearn.problem.like.Stepwise"
        )
    return cast(Stepwise, problem)


STEPWISE = "step", "steps_to", "noise"


def check_alike(problem: Any, method: str) -> None:
    """Raise TypeError where the model is told inputs, or its noise differs from time to time."""
    told = getattr(problem, "inputs", None) is not None
    if told or isinstance(getattr(problem, "noise", None), tuple):
        raise TypeError(
            f"{method} wants a model whose steps are all alike, met "
            + ("one that is told inputs" if told else "a noise of its own for each interval")
        )


def in_library(problem: P, like: Array) -> P:
    """The problem with its arrays in the library, dtype and device of another array.

    Args:
        problem: a Problem, or a stand-in.
        like: the array.

    Returns:
        The same problem where it is there already, else `problem.to(like)`.

    Raises:
        TypeError: when it would have to be converted and has no `to`.
    """
    here = problem.like
    if (library(here), here.dtype, here.device) == (library(like), like.dtype, like.device):
        return problem
    to = getattr(problem, "to", None)
    if to is None:
        raise TypeError(
            f"a {library(here)} problem was wanted in {library(like)}, met a "
            f"{type(problem).__name__} without to(like); make it with {library(like)} arrays"
        )
    return to(like)
