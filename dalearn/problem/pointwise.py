"""Operators that act on the state number by number: y_j = f(x_i), with i = i(j)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..array import (
    Array,
    Operator,
    array_namespace,
    as_tensor,
    convert,
    is_tensor,
    shown,
    to_numpy,
    typed,
)
from ..array.derivative import has_torch
from .border import Border, OnState, unwrapped
from .observe import identity, is_selection


@typed
@dataclass(frozen=True, eq=False)
class Pointwise:
    """H(x) = f(x) of each component that is picked: an instrument that is not linear.

        Observation(Pointwise(arctan, at=Every(2)), Diagonal(variances))

    Filters that know that each observed number belongs to one component of the state need no
    Jacobian, and localization needs no locations.

    Args:
        f: a function of numbers, applied entry by entry: `(...) -> (...)`.
        at: which components: identity, Every or Subset.
        derivative: f', `(...) -> (...)`; None: by automatic differentiation, or by differences
            where f leaves torch.

    Raises:
        TypeError: for an `at` that does not pick components.
    """

    f: Callable
    at: Any = identity
    derivative: Callable | None = None

    def __post_init__(self):
        if not is_selection(self.at):
            raise TypeError(f"at must be identity, Every or Subset, met {shown(self.at)}")

    def __call__(self, x: Array) -> Array:
        return self.f(self.at(x))

    def slope(self, x: Array) -> Array:
        """f'(x), entry by entry.

        Args:
            x: numbers `(...)`, picked already.

        Returns:
            The derivatives, of their shape.
        """
        return self.derivative(x) if self.derivative is not None else slope(self.f, x)


def slope(f: Callable, x: Array) -> Array:
    """The derivative of a function that acts entry by entry.

    Args:
        f: the function.
        x: numbers `(...)`.

    Returns:
        f'(x) of their shape: by reverse mode, or by central differences where f leaves torch.
    """
    if is_tensor(x) or has_torch():
        import torch

        try:
            with torch.enable_grad():
                t = as_tensor(x).detach().clone().requires_grad_()
                (g,) = torch.autograd.grad(f(t).sum(), t)
            return convert(g, x)
        except (TypeError, AttributeError, RuntimeError):  # f is one of NumPy
            pass
    xp = array_namespace(x)
    h = float(xp.finfo(x.dtype).eps) ** (1 / 3) * (1 + xp.abs(x))
    return (f(x + h) - f(x - h)) / (2 * h)


def pointwise(operator: Operator, n: int, like: Array) -> tuple[Pointwise, np.ndarray] | None:
    """What an operator does to each number, and which component each observed number is.

    Args:
        operator: an operator, as a user or a problem gives it.
        n: the dimension of the state.
        like: an array of the problem.

    Returns:
        A Pointwise and integers `(m,)`, or None for an operator that mixes components.
    """
    own = unwrapped(operator)
    if not (isinstance(own, Pointwise) or is_selection(operator)):
        return None
    if not isinstance(own, Pointwise):
        own = Pointwise(own_value, own, _one)
    pick = rewrapped(operator, own.at)
    numbers = convert(np.arange(n)[None], like)
    return own, np.asarray(to_numpy(pick(numbers))).reshape(-1).astype(int)


def rewrapped(operator: Any, inner: Any) -> Any:
    """The operator with another function in its border and joint state.

    Args:
        operator: an operator, as a problem hands it to methods.
        inner: what takes the place of the innermost one.

    Returns:
        The function that stands in its place.
    """
    if isinstance(operator, (Border, OnState)):
        return replace(operator, f=rewrapped(operator.f, inner))
    return replace(operator, operator=inner) if hasattr(operator, "operator") else inner


def own_value(x: Array) -> Array:
    """f(x) = x."""
    return x


def _one(x: Array) -> Array:
    return array_namespace(x).ones_like(x)
