"""Functions that must be affine, f(x) = A x + b: tested, and their matrix made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...array import Array, Jacobian, array_namespace, device
from ...problem.like import ProblemLike
from ..base import moments


def linearized_once(jacobian: Jacobian, problem: ProblemLike) -> Jacobian:
    """`jacobian`, but called once for each function, which must be affine: else ValueError."""
    known: dict[int, Any] = {}
    anchor = moments(problem)[0][..., None, :]  # the same matrix anywhere; here it is finite

    def once(f: Callable, x: Array) -> tuple[Array, Array]:
        if id(f) not in known:
            check_affine(f, anchor)
            known[id(f)] = (f, jacobian(f, anchor)[1])  # f is kept, so that no other has its id
        return f(x), known[id(f)][1]

    return once


def check_affine(f: Callable, x: Array) -> None:
    """Raise ValueError unless f(x + 2a) - 3 f(x) + 2 f(x - a) = 0 for a step a of order 1.

    The steps forth and back differ, or an odd function would pass at 0; and a differs from one
    component to the next, or advection would pass at a uniform state.
    """
    xp = array_namespace(x)
    i = xp.arange(x.shape[-1], dtype=x.dtype, device=device(x))
    a = (1.0 + xp.abs(x)) * (1.5 + xp.cos(i * i))
    back, zero, two = f(x - a), f(x), f(x + 2 * a)
    size = float(xp.max(xp.abs(two) + xp.abs(zero) + xp.abs(back)))
    bend = float(xp.max(xp.abs(two - 3 * zero + 2 * back)))
    if not bend <= 1e3 * float(xp.finfo(x.dtype).eps) * size:
        raise ValueError(
            f"the Kalman filter wants linear functions, met curvature {bend:.3g} in "
            f"{type(f).__name__}; use ExtendedKF or an ensemble filter"
        )
