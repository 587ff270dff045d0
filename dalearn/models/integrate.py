"""One step of dx/dt = f(x), and many: the model's time stepping as pure functions."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from ..array import (
    Array,
    Operator,
    array_namespace,
    as_numbers,
    check_count,
    is_tensor,
    shown,
    typed,
)


def euler(f: Operator, x: Array, dt: float) -> Array:
    """Forward Euler, first order: x + dt f(x).

    Args:
        f: the tendency dx/dt, a function of states.
        x: states.
        dt: the step, time units.

    Returns:
        The states one step later.
    """
    _check(f, x, dt)
    return x + dt * f(x)


def _check(f: Any, x: Any, dt: Any) -> None:
    """Raise unless f is a function, x states and dt a number or an array of them.

    Not `typed`: states may be complex here, and a step is taken a million times.
    """
    if not callable(f) or isinstance(f, type):
        raise TypeError(f"f must be a function of states, met {shown(f)}")
    kind = getattr(getattr(x, "dtype", None), "kind", "f")  # torch has no kinds
    if kind not in "biufc" or not (hasattr(x, "dtype") or isinstance(x, numbers.Real)):
        raise TypeError(f"x must be an array of states, met {shown(x)}")
    if type(dt) is not float and not np.isfinite(as_numbers(dt)).all():
        raise ValueError(f"dt must be a number, met {shown(dt)}")


def rk4(f: Operator, x: Array, dt: float) -> Array:
    """The classical Runge-Kutta step, fourth order (Kutta 1901).

    k1 = f(x), k2 = f(x + dt k1/2), k3 = f(x + dt k2/2), k4 = f(x + dt k3);
    x + dt (k1 + 2 k2 + 2 k3 + k4) / 6.

    Args:
        f: the tendency dx/dt, a function of states.
        x: states.
        dt: the step, time units.

    Returns:
        The states one step later.
    """
    _check(f, x, dt)
    k1 = f(x)
    k2 = f(x + (dt / 2) * k1)
    k3 = f(x + (dt / 2) * k2)
    k4 = f(x + dt * k3)
    if _shared(k1, k2, k3):
        return rk4(_copying(f), x, dt)
    return x + (dt / 6) * (k1 + 2 * (k2 + k3) + k4)


def _shared(a: Any, b: Any, c: Any = None) -> bool:
    """Whether results of a function lie in the same memory, so that the first are lost."""
    if a is b or c is a or c is b:
        return True
    view = "_base" if is_tensor(a) else "base"  # of what it is a view, or None
    first = getattr(a, view, None)
    return first is not None and any(first is getattr(k, view, None) for k in (b, c))


def _copying(f: Operator) -> Operator:
    return lambda x: f(x) + 0.0


def imex3(f: Operator, rate: Any, x: Array, dt: float) -> Array:
    """One step of dx/dt = f(x) + rate x: f explicit in three stages, a diagonal `rate` implicit.

    Third order in both parts, and stationary states stay exactly stationary. The explicit part
    is as stable as any third-order Runge-Kutta method: |rate of oscillation| dt < 1.73.

    Args:
        f: the explicit part, a function of states.
        rate: the diagonal of the implicit part.
        x: states.
        dt: the step, time units.

    Returns:
        The states one step later.

    Source: Ascher, Ruuth and Spiteri, Implicit-explicit Runge-Kutta methods, Appl. Numer. Math.
    25, 1997, their scheme (2, 3, 3).
    """
    _check(f, x, dt)
    g = (3 + 3**0.5) / 6
    solve = 1 / (1 - (g * dt) * rate)
    f1 = f(x)
    x2 = (x + (g * dt) * f1) * solve
    f2, r2 = f(x2), rate * x2
    if _shared(f1, f2):
        return imex3(_copying(f), rate, x, dt)
    x3 = (x + dt * ((g - 1) * f1 + 2 * (1 - g) * f2 + (1 - 2 * g) * r2)) * solve
    return x + (dt / 2) * ((f2 + r2) + (f(x3) + rate * x3))


@typed
def etd_coefficients(rate: Any, dt: float) -> tuple[Array, ...]:
    """What `etdrk4` needs for a diagonal linear part; with z = dt rate: (e^{z/2}, e^z, ...).

    The quotients that lose all digits near z = 0 are means over a circle around z.

    Args:
        rate: the diagonal of the linear part.
        dt: the step, time units.

    Returns:
        Six arrays of the shape of `rate`.

    Source: Kassam and Trefethen, Fourth-order time-stepping for stiff PDEs, SIAM J. Sci. Comput.
    26, 2005.
    """
    xp = array_namespace(rate)
    z = dt * rate
    circle = np.exp(1j * np.pi * (np.arange(1, 33) - 0.5) / 32)  # its upper half, by symmetry
    total: Any = 0
    for r in circle.tolist():
        w = z + r
        e = xp.exp(w)
        total = total + xp.stack(
            [
                (xp.exp(w / 2) - 1) / w,
                (-4 - w + e * (4 - 3 * w + w**2)) / w**3,
                (2 + w + e * (w - 2)) / w**3,
                (-4 - 3 * w - w**2 + e * (4 - w)) / w**3,
            ]
        )
    parts = xp.real(total) * (dt / 32)
    return xp.exp(z / 2), xp.exp(z), parts[0], parts[1], parts[2], parts[3]


def etdrk4(
    f: Operator, v: Array, coefficients: tuple[Array, ...], f1: Array | None = None
) -> Array:
    """One exponential Runge-Kutta step, fourth order, of dv/dt = rate v + f(v).

    Args:
        f: the nonlinear part, a function of states.
        v: states.
        coefficients: of `etd_coefficients`.
        f1: f(v), where the caller has it already.

    Returns:
        The states one step later.

    Source: Cox and Matthews, J. Comput. Phys. 176, 2002; Kassam and Trefethen 2005.
    """
    half, whole, Q, c1, c2, c3 = coefficients
    f1 = f(v) if f1 is None else f1
    a = half * v + Q * f1
    fa = f(a)
    fb = f(half * v + Q * fa)
    fc = f(half * a + Q * (2 * fb - f1))
    if _shared(f1, fa, fb):
        return etdrk4(_copying(f), v, coefficients)
    return whole * v + c1 * f1 + (2 * c2) * (fa + fb) + c3 * fc


@typed
def repeated(step: Operator, times: int) -> Operator:
    """The model that takes several steps at once.

    Args:
        step: a model.
        times: how many of its steps, at least 1.

    Returns:
        A function of states.

    Raises:
        ValueError: for another number of times.
    """
    check_count("times", times)

    def many(x: Array) -> Array:
        for _ in range(times):
            x = step(x)
        return x

    return many


@typed
def trajectory(step: Operator, x: Array, steps: int) -> Array:
    """The states after 0, 1, ..., `steps` steps.

    Args:
        step: a model, `(..., n) -> (..., n)`.
        x: the first states, `(..., n)`.
        steps: how many steps, at least 0.

    Returns:
        States `(..., steps + 1, n)`.

    Raises:
        ValueError: for another number of steps.
    """
    check_count("steps", steps, 0)
    xp = array_namespace(x)
    states = [x]
    copied = type(x).clone if is_tensor(x) else np.copy
    x = copied(x)
    for _ in range(steps):  # a step may write into what it took, or into what it gave
        x = step(x)
        states.append(copied(x))
    return xp.stack(states, axis=-2)
