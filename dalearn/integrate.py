"""One step of dx/dt = f(x), and many: the model's time stepping as pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import Array, array_namespace


def euler(f: Callable, x: Array, dt: float) -> Array:
    """Forward Euler, first order: x + dt f(x)."""
    return x + dt * f(x)


def rk4(f: Callable, x: Array, dt: float) -> Array:
    """The classical Runge-Kutta step, fourth order (Kutta 1901).

    k1 = f(x), k2 = f(x + dt k1/2), k3 = f(x + dt k2/2), k4 = f(x + dt k3);
    x + dt (k1 + 2 k2 + 2 k3 + k4) / 6.
    """
    k1 = f(x)
    k2 = f(x + (dt / 2) * k1)
    k3 = f(x + (dt / 2) * k2)
    k4 = f(x + dt * k3)
    return x + (dt / 6) * (k1 + 2 * (k2 + k3) + k4)


def semi_implicit_euler(force: Callable, q: Array, p: Array, dt: float) -> tuple[Array, Array]:
    """Symplectic Euler for q' = p, p' = force(q): the momentum first, then the position with it.

    First order, but the energy of a conservative system oscillates instead of drifting.
    """
    p = p + dt * force(q)
    return q + dt * p, p


def repeated(step: Callable, times: int) -> Callable:
    """The model that takes `times` steps at once."""
    if times < 1:
        raise ValueError(f"times must be at least 1, met {times}")

    def many(x):
        for _ in range(times):
            x = step(x)
        return x

    return many


def trajectory(step: Callable, x: Array, steps: int) -> Array:
    """The states after 0, 1, ..., `steps` steps: `(..., n) -> (..., steps + 1, n)`."""
    if steps < 0:
        raise ValueError(f"steps must not be negative, met {steps}")
    xp = array_namespace(x)
    states = [x]
    for _ in range(steps):
        states.append(step(states[-1]))
    return xp.stack(states, axis=-2)


def whole_steps(start: Any, times: np.ndarray, dt: float, unit: Any = None) -> list[int]:
    """How many steps of length `dt` lie between `start` and consecutive `times`: integers >= 1.

    For dates, `unit` is the length of one model time unit (a timedelta). Raises ValueError naming
    the first interval that is not a whole number of steps.
    """
    dates = times.dtype.kind == "M"
    if dates and isinstance(start, (int, float)):
        raise ValueError(f"times are dates; pass start=, the date of the prior, met {start!r}")
    first = np.asarray(start, times.dtype) if dates else np.asarray(start)
    lengths = np.diff(np.concatenate([np.atleast_1d(first), times]))
    if lengths.dtype.kind == "m":
        if unit is None:
            raise ValueError("times are dates; pass unit=, the length of a model time unit")
        lengths = lengths / np.timedelta64(unit)
    counts = lengths / dt
    steps = np.rint(counts).astype(int)
    off = (np.abs(counts - steps) > 1e-6 * np.maximum(1, np.abs(counts))) | (steps < 1)
    if off.any():
        k = int(np.argmax(off))
        raise ValueError(
            f"observation {k} comes {counts[k]:.6g} model steps after the one before it (or "
            f"the start); wanted a whole number >= 1: change dt = {dt:g}, sort or regrid"
        )
    return steps.tolist()
