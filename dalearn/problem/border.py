"""Between fields and vectors: what a user writes for fields, methods call on vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..array import (
    Array,
    Operator,
    array_namespace,
    batch_index,
    broadcasts,
    is_array,
)
from ..models.windows import Latest


@dataclass(frozen=True, eq=False)
class Border:
    """A function of fields `(b, *shape)` as a function of vectors `(..., n)`.

    What comes after the state (a stochastic model's `rng`) is passed on. A model's parameters
    `(*batch, 1, 1)`, one for each experiment, go to each of its members.

    Args:
        f: a function of fields.
        shape: of one field.
        batch: the axes of independent experiments.
    """

    f: Callable[..., Array]
    shape: tuple[int, ...]
    batch: tuple[int, ...] = ()

    def __call__(self, x: Array, *more: Any) -> Array:
        xp, f = array_namespace(x), self.f
        if self._swept:
            lead = np.broadcast_shapes(tuple(x.shape[:-1]), (*self.batch, 1))
            x = xp.broadcast_to(x, (*lead, x.shape[-1]))

            def each(p, batch):
                return xp.reshape(xp.broadcast_to(p[..., None, :, :], (*lead, 1, 1)), (-1, 1, 1))

            f = change_parameters(f, self.batch, 1, each)
        out = f(xp.reshape(x, (-1, *self.shape)), *more)
        width = math.prod(out.shape[1:]) if 0 in x.shape else -1  # no rows leave -1 undecided
        return xp.reshape(out, (*x.shape[:-1], width))

    @property
    def linear(self) -> bool:
        """Whether the function is known to be linear."""
        return getattr(self.f, "linear", False) is True

    @cached_property
    def _swept(self) -> bool:
        """Whether the model has a parameter for each experiment."""
        alone = change_parameters(self.f, self.batch, 1, lambda p, batch: p[...]) is self.f
        return not alone and len(self.shape) > 1


@dataclass(frozen=True, eq=False)
class OnState:
    """A function of states `(..., n)` as one of `(..., n + p)`: of the first n components.

    Args:
        f: a function of states.
        n: how many components it takes.
    """

    f: Operator
    n: int

    @property
    def linear(self) -> bool:
        """Whether the function is known to be linear."""
        return getattr(self.f, "linear", False) is True

    def __call__(self, z: Array) -> Array:
        return self.f(z[..., : self.n])


@dataclass(frozen=True, eq=False)
class Driven:
    """A model `(x, u)`, or `(x, u, rng)`, with the input of one step, as a function of `x`.

    Args:
        f: the model, of vectors.
        u: what it is told beside the state.
    """

    f: Callable[..., Array]
    u: Array

    @property
    def difference(self) -> Any:
        """How differences of its values are taken, where some are angles; None: as they are."""
        return getattr(self.f, "difference", None)

    def __call__(self, x: Array, *rng: Any) -> Array:
        return self.f(x, self.u, *rng)


def unwrapped(f: Any) -> Any:
    """The function that a user gave: out of the border, the joint state and the history around it.

    Args:
        f: an operator, as a problem hands it to methods.

    Returns:
        The innermost operator.
    """
    while isinstance(f, (Border, Driven, OnState, Latest)):
        f = f.operator if isinstance(f, Latest) else f.f
    return f


def change_parameters(
    model: Any, batch: tuple[int, ...], n: int, change: Callable[[Array, tuple[int, ...]], Array]
) -> Any:
    """The model with `change(p, axes)` for each parameter p `(*axes, 1, 1)` or `(*axes, 1, n)`.

    `axes` are those that broadcast to the batch. Also in the `model` that a wrapper holds, whose
    states have the wrapper's `n` where it has one.
    """
    swept = {}
    for name in getattr(model, "__dataclass_fields__", {}):
        value = getattr(model, name)
        shape = tuple(value.shape) if is_array(value) else ()
        if len(shape) > 2 and shape[-2] == 1 and shape[-1] in (1, n):
            if broadcasts(shape[:-2], batch):
                swept[name] = change(value, shape[:-2])
        elif name == "model":
            inner = change_parameters(value, batch, getattr(model, "n", n), change)
            if inner is not value:
                swept[name] = inner
    return replace(model, **swept) if swept else model


def pick_parameters(model: Any, b: Any, batch: tuple[int, ...], n: int) -> Any:
    """The model with parameters `(*batch, 1, 1)` or `(*batch, 1, n)` cut to experiment b."""
    return change_parameters(model, batch, n, lambda p, axes: p[batch_index(b, axes, batch)])


def has_parameters(problem: Any) -> bool:
    """Whether the model of a problem has a parameter for each experiment of its batch.

    True where the problem does not show its model: it may have one.
    """
    model, batch = getattr(problem, "model", None), problem.batch
    if model is None:
        return True
    return change_parameters(model, batch, problem.n, lambda p, axes: p[...]) is not model
