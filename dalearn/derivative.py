"""Derivatives of any function of arrays: exact by automatic differentiation, or differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import Array, array_namespace, convert, convert_tree, eye, is_tensor, library


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
            (g,) = torch.autograd.grad(total, copies, allow_unused=True)
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
