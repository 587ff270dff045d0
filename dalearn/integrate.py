"""One step of dx/dt = f(x), and many: the model's time stepping as pure functions."""

from __future__ import annotations

from collections.abc import Callable

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
