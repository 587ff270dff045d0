"""Tests of derivatives, as everyone who minimises wants them: of a gradient, and of an adjoint.

A gradient g of J is right when, along any direction p,
    J(x + e p) - J(x) = e g . p + O(e^2),
so that |1 - (J(x + e p) - J(x)) / (e g . p)| falls in proportion to e, until round-off stops it. A
tangent A and an adjoint A^T belong together when (A p) . q = p . (A^T q) for any p and q, to
round-off.

Navon, Zou, Derber and Sela, Variational data assimilation with an adiabatic version of the NMC
spectral model, Mon. Wea. Rev. 120, 1992; Thepaut and Courtier, Q. J. R. Meteorol. Soc. 117, 1991.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import (
    Array,
    Purpose,
    array_namespace,
    as_floats,
    as_tensor,
    check_count,
    convert,
    convert_tree,
    generator,
    is_array,
    is_tensor,
    no_grad,
    shown,
    to_numpy,
    typed,
)
from ..problem.states import check_state

if TYPE_CHECKING:
    import xarray as xr


@typed
def gradient_test(
    cost: Callable,
    x: Array,
    direction: Array | None = None,
    *,
    gradient: Callable | None = None,
    steps: Any = None,
    seed: int = 0,
) -> xr.Dataset:
    """How well `gradient` is the derivative of `cost` at x: the Taylor test.

        error(e) = |1 - (J(x + e p) - J(x)) / (e g . p)|

    Args:
        cost: J, a function `(..., n) -> (...)`.
        x: the point, `(n,)`.
        direction: p `(n,)`, scaled to length 1; random by default. Lengths count each component
            in units of |x_i|, or of 1 where x_i is 0, so that one in large units hides no other.
        gradient: g, a function `(n,) -> (n,)`; by default `cost.gradient`, or automatic
            differentiation.
        steps: the steps e; by default 1, 0.1, ..., 1e-15, in single precision four for each factor
            of 10, down to 2e-8.
        seed: of the random direction.

    Returns:
        Dataset of `error (step)`. Its attrs are `order`, the slope of the decrease (1 for a right
            gradient), `least`, the smallest error, and `passed`: whether the error falls by first
            order, within 0.1, to a hundred times what the round-off of the cost allows. For a
            linear cost it is round-off at every step, and passes.

    Raises:
        ValueError: the gradient is zero along the direction, where the test says nothing, or x is
            not one point.
    """
    check_count("seed", seed, 0, math.inf)
    import xarray as xr

    check_state(x, "x", axes=1)
    if x.ndim != 1:
        raise ValueError(f"x must be one point (n,), met shape {tuple(x.shape)}")
    xp = array_namespace(x)
    if steps is None:  # single precision leaves so few decades that each is cut in four
        single = xp.finfo(x.dtype).bits < 64
        steps = 10.0 ** -(np.arange(32) / 4 if single else np.arange(16))
    steps = np.asarray(steps, dtype=float)
    unit = xp.where(x != 0, xp.abs(x), xp.ones_like(x))
    if direction is None:
        p = convert(generator(Purpose.TEST, seed).standard_normal(x.shape), x)
    else:
        p = convert(direction, x) / unit
    p = unit * p / xp.sum(p * p) ** 0.5
    g = (gradient or getattr(cost, "gradient", None) or _reverse(cost))(x)
    if not is_array(g):
        raise TypeError(f"the gradient must be an array, met {shown(g)}")
    if tuple(g.shape) != tuple(x.shape):
        raise ValueError(f"the gradient has shape {tuple(g.shape)}, wanted {tuple(x.shape)}")
    with no_grad(x):
        points = convert(np.concatenate([steps, [0.0]]), x)[:, None] * p + x
        J = to_numpy(cost(points))
    slope = float(to_numpy(xp.sum(g * p)))
    if slope == 0:
        raise ValueError(
            "the gradient is zero along the direction; wanted another, or a point x that is not "
            "the minimum"
        )
    error = np.abs(1 - (J[:-1] - J[-1]).astype(float) / (steps * slope))
    eps = float(np.finfo(J.dtype).eps)
    lowest, floor = int(error.argmin()), eps * abs(float(J[-1])) / abs(slope)  # over the step
    falls = (steps > steps[lowest]) & (error < 0.1) & (error > 30 * floor / steps)
    order, least = float("nan"), float(error[lowest])
    right = float(error[steps.argmax()]) < 1e4 * eps  # linear: no error of first order to see
    if falls.sum() > 1:
        # medians: at the largest steps the error is no power of the step yet
        order = float(np.median(np.diff(np.log(error[falls])) / np.diff(np.log(steps[falls]))))
        level = float(np.median(error[falls] / steps[falls]))
        # level e + floor / e is least where the two are equal
        bound = 2 * (level * max(floor, eps)) ** 0.5
        right = abs(order - 1) < 0.1 and least < 100 * bound
    attrs = {"order": order, "least": least, "passed": bool(right)}
    return xr.Dataset({"error": ("step", error)}, {"step": steps}, attrs)


def _reverse(cost: Callable) -> Callable:
    def gradient(x: Array) -> Array:
        import torch

        z = as_tensor(x).detach()
        with torch.enable_grad():
            z = z.clone().requires_grad_()
            value = convert_tree(cost, z)(z)
            if not is_tensor(value) or not value.requires_grad:
                raise ValueError(
                    f"the cost does not depend on x through recorded operations, met "
                    f"{shown(value)}; wanted torch operations throughout, or gradient= your own"
                )
            (g,) = torch.autograd.grad(value, z)
        return convert(g, x)

    return gradient


@typed
def adjoint_test(
    f: Callable,
    x: Array,
    *,
    tangent: Callable | None = None,
    adjoint: Callable | None = None,
    seed: int = 0,
) -> float:
    """Whether tangent and adjoint of f belong together: round-off if they do.

        |(A p) . q - p . (A^T q)| / (|A p| |q|)    for random p and q

    Each component of x and of f(x) is measured in its own size, so that one in large units hides
    no error of the others.

    Args:
        f: a function `(..., n) -> (..., m)`, such as a model or an operator.
        x: where f is linearized, `(..., n)`.
        tangent: `tangent(x, p)` = A p; by default the forward mode of automatic differentiation.
        adjoint: `adjoint(x, q)` = A^T q; by default its reverse mode, which shares no code with
            the forward mode.
        seed: of p and q.

    Returns:
        float: the relative difference of the two products.

    Raises:
        TypeError: f cannot be differentiated, and no pair of your own is given.
        ValueError: the tangent is zero in a random direction.
    """
    check_count("seed", seed, 0, math.inf)
    import torch

    check_state(x, "x", axes=1)
    z = as_tensor(x).detach()
    g = convert_tree(f, z)
    rng = generator(Purpose.TEST, seed)
    p = convert(rng.standard_normal(x.shape), z) * _sizes(z)
    try:
        if tangent is None:
            value, Ap = torch.func.jvp(g, (z,), (p,))[:2]
        else:
            value, Ap = g(z), convert(tangent(x, convert(p, x)), z)
        unit = _sizes(value.detach())
        q = convert(rng.standard_normal(tuple(value.shape)), z) / unit
        if adjoint is None:
            image, Aq = g(at := z.clone().requires_grad_()), 0 * z
            if image.requires_grad:
                Aq = torch.autograd.grad(image, at, q, materialize_grads=True)[0]
        else:
            Aq = convert(adjoint(x, convert(q, x)), z)
    except (TypeError, AttributeError, RuntimeError) as error:
        raise TypeError(
            f"f cannot be differentiated, met {error}; wanted torch or array-API operations, or "
            "tangent= and adjoint= of your own, which return arrays"
        ) from error
    left, right = float((Ap * q).sum()), float((p * Aq).sum())
    size = float(((Ap / unit) ** 2).sum() ** 0.5 * ((q * unit) ** 2).sum() ** 0.5)
    if size == 0:
        raise ValueError("the tangent is zero in a random direction: f is constant, or detached")
    return abs(left - right) / size


def _sizes(x: Any) -> Any:
    """The size of each component of a tensor, a power of 2 so that no rounding is added."""
    import torch

    return torch.where(x == 0, torch.ones_like(x), 2.0 ** torch.log2(x.abs()).round())


@typed
def profile(
    cost: Callable, a: Array, b: Array, *, points: int = 101, beyond: float = 0.5
) -> xr.Dataset:
    """A cost along the line through two points: J(a + s (b - a)).

    It shows the barrier between two minima.

    Args:
        cost: J, a function `(..., n) -> (...)`; if it has `terms`, these are shown too.
        a: the point at s = 0, `(n,)`.
        b: the point at s = 1, `(n,)`.
        points: how many values of s, at least 2.
        beyond: how far the line goes on at both ends, in units of |b - a|.

    Returns:
        Dataset of `cost (along)`, and `background` and `observations` where the cost has terms.

    Raises:
        ValueError: a and b are not two points of one shape, or points < 2.
    """
    import xarray as xr

    a, b = as_floats(a, "a", axes=("x",)), as_floats(b, "b", axes=("x",))
    if tuple(a.shape) != tuple(b.shape) or a.ndim != 1:
        raise ValueError(
            f"a and b must be two points (n,), met {tuple(a.shape)} and {tuple(b.shape)}"
        )
    check_count("points", points, 2)
    array_namespace(a, b)  # one library, or a clear error
    s = np.linspace(-beyond, 1 + beyond, points)
    with no_grad(a):
        line = a + convert(s, a)[:, None] * (b - a)
        terms = cost.terms(line) if hasattr(cost, "terms") else ()
        total = sum(terms) if len(terms) else cost(line)
    names = ("background", "observations") if len(terms) == 2 else ()
    data = {"cost": ("along", to_numpy(total))}
    data |= {n: ("along", to_numpy(t)) for n, t in zip(names, terms, strict=False)}
    return xr.Dataset(data, {"along": s})
