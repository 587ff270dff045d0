"""Derivatives of any function of arrays: exact by automatic differentiation, or differences."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from .library import (
    Array,
    array_namespace,
    convert,
    convert_tree,
    eye,
    is_tensor,
    library,
    to_numpy,
)


def linearize(f: Callable, x: Array) -> tuple[Array, Array]:
    """Value and Jacobian of `f` at `x` by automatic differentiation.

    `f: (..., n) -> (..., m)` acts on each row alone, so all m rows of all the Jacobians come
    from one reverse pass over m copies of `x`: row i of J is the gradient of sum_i f(x_i)_i.
    Returns `f(x) (..., m)` and `J (..., m, n)` in the library of `x`; NumPy is converted at the
    border, so `f` must be written against the array API (or torch) to be differentiable.

    Raises TypeError when `f` leaves torch (use `finite_difference`) and ValueError when its
    result does not depend on `x` through recorded operations.
    """
    import torch

    z = x.detach() if is_tensor(x) else convert(x, torch.from_numpy(np.empty(0, x.dtype)))
    f = convert_tree(f, z)
    try:
        with torch.no_grad():
            value = f(z)
        if not is_tensor(value):
            raise TypeError(f"it returned {library(value)} for a torch tensor")
        with torch.enable_grad():
            copies = z.expand(value.shape[-1], *z.shape).clone().requires_grad_()
            out = f(copies)
    except (TypeError, AttributeError, RuntimeError) as error:
        raise TypeError(f"{_name(f)} cannot run on torch tensors ({error}); {_ADVICE}") from error
    g = None
    with torch.enable_grad():
        if is_tensor(out) and out.requires_grad:
            total = out.diagonal(dim1=0, dim2=-1).sum()
            try:
                (g,) = torch.autograd.grad(total, copies, allow_unused=True)
            except RuntimeError as error:  # what a derivative needs was written over
                raise TypeError(f"{_name(f)} has no derivative ({error}); {_ADVICE}") from error
    if g is None:
        raise ValueError(f"{_name(f)} breaks the graph (detached or constant); {_ADVICE}")
    return convert(value, x), convert(torch.movedim(g, 0, -2), x)


_ADVICE = "wanted array-API operations throughout, or jacobian=finite_difference"


def _name(f: Any) -> str:
    return getattr(f, "__name__", type(f).__name__)


def finite_difference(f: Callable, x: Array) -> tuple[Array, Array]:
    """Value and Jacobian of `f` at `x` by central differences, for any `f`, differentiable or not.

    `J[..., :, i] = (f(x + h e_i) - f(x - h e_i)) / 2h` with `h = eps^(1/3) max(1, |x_i|)`, which
    balances truncation against round-off: about 1e-10 relative in float64, 1e-4 in float32.
    Shapes as in `linearize`.
    """
    xp = array_namespace(x)
    h = float(xp.finfo(x.dtype).eps) ** (1 / 3) * xp.maximum(xp.abs(x), xp.ones_like(x))
    steps = xp.reshape(eye(x.shape[-1], x), (x.shape[-1], *(1,) * (x.ndim - 1), x.shape[-1]))
    forward, backward = x + h * steps, x - h * steps  # (n, ..., n)
    width = xp.sum((forward - backward) * steps, axis=-1)[..., None]  # the step really taken
    return f(x), xp.moveaxis((f(forward) - f(backward)) / width, 0, -1)


def as_tensor(x: Array) -> Any:
    """`x` as a torch tensor of its own dtype; a tensor as it is."""
    import torch

    return x if is_tensor(x) else convert(x, torch.from_numpy(np.empty(0, x.dtype)))


def transpose(f: Callable, x: Any, n: int) -> Any:
    """The transpose of a linear `f: (..., n) -> (..., m)` applied to a tensor `x (..., m)`."""
    import torch

    with torch.enable_grad():
        z = torch.zeros((*x.shape[:-1], n), dtype=x.dtype, device=x.device, requires_grad=True)
        (g,) = torch.autograd.grad((f(z) * x).sum(), z, create_graph=x.requires_grad)
    return g


def linear(forward: Callable, adjoint: Callable, x: Array) -> Array:
    """`forward(x)` for a linear function that knows NumPy only, on any library, with derivatives.

    `forward` and `adjoint` take and give `(..., n)` and `(..., m)` and are each other's transpose:
    what a sparse solver needs to be differentiated. Derivatives of any order, both ways.
    """
    if not is_tensor(x):
        return forward(x)
    return _bridge().apply(x, forward, adjoint)


@lru_cache(maxsize=1)
def _bridge() -> Any:
    import torch

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(x, forward, adjoint):
            return convert(np.ascontiguousarray(forward(to_numpy(x))), x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            _, ctx.forward, ctx.adjoint = inputs

        @staticmethod
        def backward(ctx, g):  # type: ignore[override]
            return Bridge.apply(g, ctx.adjoint, ctx.forward), None, None

        @staticmethod
        def jvp(ctx, t, *_):  # type: ignore[override]
            return Bridge.apply(t, ctx.forward, ctx.adjoint)

        @staticmethod
        def vmap(info, dims, x, forward, adjoint):
            return Bridge.apply(x.movedim(dims[0], 0), forward, adjoint), 0

    return Bridge
