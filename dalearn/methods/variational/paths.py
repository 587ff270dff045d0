"""How the states of a window follow from a control: by increments, or through the model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from ...array import Array, Jacobian, array_namespace, convert_tree, is_tensor
from ...covariances.base import Covariance
from ...problem.like import ProblemLike, Stepwise, one_or_all, stepping
from ..base import differentiated

TANGENT_NUMBERS = 1 << 22  # of the tangents of several steps that are made at once


class Window(NamedTuple):
    """The observations `first` to `end` (exclusive), of which those from `new` on count."""

    first: int
    new: int
    end: int


def window_at(problem: ProblemLike, first: int, length: int) -> Window:
    """The window of `length` observations from `first` on, or as many as there are.

    Raises ValueError where the problem has no observation `first`.
    """
    if not 0 <= first < len(problem):
        raise ValueError(f"first must be in 0 to {len(problem) - 1}, met {first}")
    return Window(first, first, min(first + length, len(problem)))


class Path(Protocol):
    """How the states of a window follow from a control v `(..., 1, c)`."""

    linear: bool  # whether the states are linear in v, as far as is known

    @property
    def root(self) -> Covariance:
        """The covariance whose root turns v into errors of the background."""
        ...

    def start(self, v: Array) -> Array:
        """The state `(..., 1, n)` that belongs to v where the window begins."""
        ...

    def follow(self, v: Array) -> list[Array]:
        """The states `(..., 1, n)` that belong to v: at the observations, or at more times."""
        ...

    def seen(self, states: list[Array]) -> list[Array]:
        """Of a list with one entry for each state of `follow`, those at observations."""
        ...

    def rows(self, states: list[Array], one: Array, jacobian: Jacobian) -> list[Array]:
        """dx_k/dv as rows `(..., c, n)` at the observations; `one` is the identity `(c, c)`."""
        ...

    def to(self, problem: Any) -> Path:
        """The same path in the library of `problem`."""
        ...


@dataclass(frozen=True, eq=False)
class Increments:
    """A path that is linear in v: x_k = b_k + v L_k^T.

    Args:
        states: the b_k `(..., 1, n)` at the window's observations.
        roots: for each the covariance whose root is L_k.
    """

    states: list[Array]
    roots: list[Covariance]
    linear = True

    @property
    def root(self) -> Covariance:
        """The first of the roots."""
        return self.roots[0]

    def start(self, v: Array) -> Array:
        """The state at the first observation: increments have no earlier one."""
        return self.states[0] + self.root.color(v)

    def follow(self, v: Array) -> list[Array]:
        """The states `(..., 1, n)` at the observations, from `v (..., 1, c)`."""
        return [b + root.color(v) for b, root in zip(self.states, self.roots, strict=True)]

    def rows(self, states: list[Array], one: Array, jacobian: Jacobian) -> list[Array]:
        """dx_k/dv as rows `(..., c, n)` at the observations; `one` is the identity `(c, c)`."""
        return [root.color(one) for root in self.roots]

    def seen(self, states: list[Array]) -> list[Array]:
        """Those of what `follow` returns that are at observations: all."""
        return states

    def to(self, problem: ProblemLike) -> Increments:
        """The same path in the library of `problem`."""
        return convert_tree(self, problem.like)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The path of strong constraint: x_0 = b + v L^T, and then the model, which is exact.

    Args:
        problem: gives the model step by step.
        background: b, the background at the window's start `(..., 1, n)`.
        root: the covariance L L^T of its errors.
        window: which observations.
        checkpoint: derivatives keep the states at observations only and run the model again
            between them, for long windows (torch).
    """

    problem: Stepwise
    background: Array
    root: Covariance
    window: Window
    checkpoint: bool = False
    linear = False

    def start(self, v: Array) -> Array:
        """The state at the window's start, b + v L^T."""
        return self.background + self.root.color(v)

    def follow(self, v: Array) -> list[Array]:
        """The states `(..., 1, n)` at the start and after each model step."""
        states = [self.start(v)]
        for k in range(self.window.first, self.window.end):
            states += self._interval(states[-1], stepping(self.problem, k))
        return states

    def _interval(self, x: Array, steps: list[Any]) -> list[Array]:
        def run(x: Array) -> list[Array]:
            states = []
            for step in steps:
                x = step(x)
                states.append(x)
            return states

        if not (steps and self.checkpoint and is_tensor(x) and x.requires_grad):
            return run(x)
        from torch.utils.checkpoint import checkpoint

        last = checkpoint(lambda x: run(x)[-1], x, use_reentrant=False)
        return [last] * len(steps)  # only `rows` asks for states between observations

    def rows(self, states: list[Array], one: Array, jacobian: Jacobian) -> list[Array]:
        """dx_k/dv as rows `(..., c, n)` at the observations.

        Times stand on the axis of members: where the steps are alike, one call of `jacobian` gives
        the tangents of many.
        """
        xp, rows, w = array_namespace(one), [self.root.color(one)], self.window
        steps = [step for k in range(w.first, w.end) for step in stepping(self.problem, k)]
        size = max(1, TANGENT_NUMBERS // (states[0].shape[-1] * math.prod(states[0].shape)))
        size = size if steps and one_or_all(steps) is steps[0] else 1
        for s in range(0, len(steps), size):
            at = states[s : min(s + size, len(steps))]
            J = differentiated(jacobian, steps[s], xp.concat(at, axis=-2))[1]
            for i in range(len(at)):
                rows.append(rows[-1] @ J[..., i, :, :].mT)
        return self.seen(rows)

    def to(self, problem: Stepwise) -> Trajectory:
        """The same path in the library of `problem`."""
        b, root = convert_tree((self.background, self.root), problem.like)
        return replace(self, problem=problem, background=b, root=root)

    def seen(self, states: list[Array]) -> list[Array]:
        """Those of a list with one entry for each state that are at observations."""
        w, place, kept = self.window, 0, []
        for k in range(w.first, w.end):
            place += self.problem.steps_to(k)
            kept.append(states[place])
        return kept
