"""Derivatives of any function of arrays: exact by automatic differentiation, or differences."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, cast

import numpy as np

from .constants import eye
from .gradients import wants_gradients
from .library import (
    Array,
    array_namespace,
    as_tensor,
    convert,
    convert_tree,
    is_tensor,
    library,
    to_numpy,
)
from .protocols import Operator

_ADVICE = "wanted array-API operations throughout, or jacobian=finite_difference"


def linearize(f: Operator, x: Array, scale: Array | None = None) -> tuple[Array, Array]:
    """Value and Jacobian of a function by automatic differentiation.

    `f` acts on each row alone, so all m rows of all the Jacobians come from one reverse pass over
    m copies of `x`: row i of J is the gradient of sum_i f(x_i)_i. A NumPy array is converted to
    torch for it, so `f` must be written against the array API (or torch).

    In NumPy a function with `linear = True` that is 0 at 0 needs none of this: the columns of J
    are f(e_i). Where torch is not installed, differences take its place: f(e_i) - f(0) for such
    a function, exact up to round-off, else those of `finite_difference`.

    Args:
        f: a function `(..., n) -> (..., m)`, each row on its own.
        x: states `(..., n)`.
        scale: as for `finite_difference`, which alone needs it.

    Returns:
        `f(x) (..., m)` and `J (..., m, n)` in the library of `x`.

    Raises:
        TypeError: when `f` leaves torch; `finite_difference` differentiates it.
        ValueError: when its result does not depend on `x` through recorded operations.
    """
    if not is_tensor(x):
        zero = f(0 * x) if getattr(f, "linear", False) is True else None
        if zero is not None and not (has_torch() and np.any(zero)):
            return f(x), np.moveaxis(f(0 * x + _units(x)) - zero, 0, -1)
        if not has_torch():
            return finite_difference(f, x, scale)
    import torch

    kept = wants_gradients(x)
    z = as_tensor(x) if kept else as_tensor(x).detach()
    f = convert_tree(f, z)
    try:
        with contextlib.nullcontext() if kept else torch.no_grad():
            value = f(z)
        if not is_tensor(value):
            raise TypeError(f"it returned {library(value)} for a torch tensor")
        with torch.enable_grad():
            copies = z.expand(value.shape[-1], *z.shape).clone()
            copies = copies if copies.requires_grad else copies.requires_grad_()
            out = f(copies)
    except (TypeError, AttributeError, RuntimeError) as error:
        raise TypeError(f"{_name(f)} cannot run on torch tensors ({error}); {_ADVICE}") from error
    g: Any = None
    with torch.enable_grad():
        if is_tensor(out) and out.requires_grad:
            total = out.diagonal(dim1=0, dim2=-1).sum()
            try:
                grads = torch.autograd.grad(total, copies, allow_unused=True, create_graph=kept)  # pyright: ignore
                g = cast(Any, grads[0])  # pyright: ignore
            except RuntimeError as error:  # what a derivative needs was written over
                raise TypeError(f"{_name(f)} has no derivative ({error}); {_ADVICE}") from error
    if g is None:
        raise ValueError(f"{_name(f)} breaks the graph (detached or constant); {_ADVICE}")
    return convert(value, x), convert(torch.movedim(g, 0, -2), x)


def _name(f: Any) -> str:
    return getattr(f, "__name__", type(f).__name__)


@lru_cache(maxsize=1)
def has_torch() -> bool:
    """Whether torch is installed, without importing it: a browser's Python has none.

    Returns:
        True where `import torch` finds a package.
    """
    try:
        return find_spec("torch") is not None
    except (ImportError, ValueError):  # what refuses the import refuses the search too
        return False


def finite_difference(f: Operator, x: Array, scale: Array | None = None) -> tuple[Array, Array]:
    """Value and Jacobian of a function by central differences, differentiable or not.

    `J[..., :, i] = (f(x + h e_i) - f(x - h e_i)) / 2h` with `h = eps^(1/3) max(|x_i|, scale_i)`,
    which balances truncation against round-off: about 1e-10 relative in float64, 1e-4 in float32,
    in whatever units a component has.

    Without a scale, |x_i| may be small by chance, and the step too short. Entries in which
    round-off is seen are taken again with steps 1e3 times as long, up to three times, as long as
    the longer step says the same to round-off. A function with an attribute `difference` gives
    the differences of its values itself, as where they are angles.

    Args:
        f: a function `(..., n) -> (..., m)`, each row on its own.
        x: states `(..., n)`.
        scale: `(..., n)`, a typical size of the components, such as their standard deviations;
            the filters give it. Where it and x_i are 0, h is eps^(1/3).

    Returns:
        `f(x) (..., m)` and `J (..., m, n)` in the library of `x`.
    """
    xp = array_namespace(x, scale)
    eps = float(xp.finfo(x.dtype).eps)
    size = xp.abs(x) if scale is None else xp.maximum(xp.abs(x), scale + 0 * x)
    h = eps ** (1 / 3) * xp.where(size > 0, size, 1.0 + 0 * size)
    slope, noise = _differences(f, x, h)
    for wider in (1e3, 1e6, 1e9) if scale is None else ():
        rough = noise > eps**0.4 * xp.abs(slope)  # 5e-7: a good step leaves eps^(2/3), 4e-11
        # where nothing depends on a component, or the step to it is lost in it
        nothing = xp.all(slope == 0, axis=-2)[..., None, :]
        if not bool(xp.any(rough & ((slope != 0) | nothing))):
            break
        other, less = _differences(f, x, wider * h)
        # not where the function bends, or ends; 8, as both sides of both differences are rounded
        same = rough & (xp.abs(other - slope) <= 8 * noise)
        slope, noise = xp.where(same, other, slope), xp.where(same, less, 0 * noise)
    return f(x), slope


def _differences(f: Operator, x: Array, h: Array) -> tuple[Array, Array]:
    """Central differences with steps `h (..., n)`, and what round-off may add to each entry."""
    xp, steps = array_namespace(x), _units(x)
    forward, backward = x + h * steps, x - h * steps  # (n, ..., n)
    width = xp.sum((forward - backward) * steps, axis=-1)[..., None]  # the step really taken
    above, below = f(forward), f(backward)
    noise = float(xp.finfo(x.dtype).eps) * (xp.abs(above) + xp.abs(below)) / width
    r = getattr(f, "difference", None)  # of angles
    slope = (above - below if r is None else r(above, below)) / width
    return xp.moveaxis(slope, 0, -1), xp.moveaxis(noise, 0, -1)


def _units(x: Array) -> Array:
    """The unit vectors e_i, `(n, 1, ..., 1, n)`, to be added to `x (..., n)`."""
    n = x.shape[-1]
    return array_namespace(x).reshape(eye(n, x), (n, *(1,) * (x.ndim - 1), n))


def pushforward(f: Operator, x: Array, rows: Array) -> tuple[Array, Array]:
    """Value of a function and what small changes of its argument become: rows J^T.

    By forward mode of automatic differentiation, which costs as much as `f` of the rows and makes
    no Jacobian; where torch is not installed by differences, as in `linearize`.

    Args:
        f: a function `(..., n) -> (..., m)`, each row on its own.
        x: states `(..., n)`.
        rows: changes `(..., k, n)`, their leading axes those of `x`, or fewer.

    Returns:
        `f(x) (..., m)` and the images of the rows, `(..., k, m)`, in the library of `x`.

    Raises:
        TypeError: when `f` leaves torch.
        ValueError: when its result does not depend on `x` through recorded operations.
    """
    if not is_tensor(x) and not has_torch():
        value, J = linearize(f, x)
        return value, rows @ J.mT
    import torch

    z, changes = as_tensor(x).detach(), convert(rows, as_tensor(x))
    lead = (*z.shape[:-1], *changes.shape[-2:])
    points, changes = (v.expand(lead).clone() for v in (z[..., None, :], changes))
    try:
        with torch.no_grad():
            own = convert_tree(f, z)
            value, images = own(z), torch.func.jvp(own, (points,), (changes,))[1]
        if bool((images != 0).any()):
            return convert(value, x), convert(images, x)
    except (TypeError, AttributeError, RuntimeError):  # no forward mode: reverse may know better
        pass
    value, slope = linearize(f, x)  # or say what is wrong with f
    return value, rows @ slope.mT


def with_derivative(value: Array, plain: Callable[[], Array]) -> Array:
    """A value that was computed with care, with the derivatives of a plainer formula for it.

    Args:
        value: the value.
        plain: a function without arguments that gives it by the plain formula, called only where
            torch may ask for derivatives.

    Returns:
        The value.
    """
    if is_tensor(value):
        import torch

        if torch.is_grad_enabled():
            same = plain()
            return value.detach() + (same - same.detach())
    return value


def transpose(f: Operator, x: Array, n: int) -> Array:
    """The transpose of a linear function applied to rows.

    Args:
        f: a linear function `(..., n) -> (..., m)`.
        x: rows `(..., m)`; with a torch tensor, derivatives pass through.
        n: the dimension that `f` takes.

    Returns:
        Rows `(..., n)` in the library of `x`.
    """
    if not is_tensor(x) and not has_torch():
        return x @ f(eye(n, x)).mT  # row i of f(I) is column i of the matrix of f
    import torch

    t = as_tensor(x)
    f = convert_tree(f, t)
    with torch.enable_grad():
        z = torch.zeros((*t.shape[:-1], n), dtype=t.dtype, device=t.device, requires_grad=True)
        (g,) = torch.autograd.grad((f(z) * t).sum(), z, create_graph=t.requires_grad)
    return convert(g, x)


def linear(
    forward: Callable[[Array], Array], adjoint: Callable[[Array], Array], x: Array
) -> Array:
    """`forward(x)` for a linear function that knows NumPy only, on any library, with derivatives.

    Each function is the transpose of the other: what a sparse solver needs to be differentiated,
    to any order, in forward and in reverse mode.

    Args:
        forward: a linear function of NumPy arrays, `(..., n) -> (..., m)`.
        adjoint: its transpose, `(..., m) -> (..., n)`.
        x: rows `(..., n)`.

    Returns:
        Rows `(..., m)` in the library of `x`.
    """
    if not is_tensor(x):
        return forward(x)
    return _bridge().apply(x, forward, adjoint)


@lru_cache(maxsize=1)
def _bridge() -> Any:
    import torch

    def apply(*args: Any) -> Any:
        return Bridge.apply(*args)  # pyright: ignore

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(x: Any, forward: Any, adjoint: Any) -> Any:  # pyright: ignore
            return convert(np.ascontiguousarray(forward(to_numpy(x))), x)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            _, ctx.forward, ctx.adjoint = inputs

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:  # pyright: ignore
            return apply(g, ctx.adjoint, ctx.forward), None, None

        @staticmethod
        def jvp(ctx: Any, t: Any, *_: Any) -> Any:  # pyright: ignore
            return apply(t, ctx.forward, ctx.adjoint)

        @staticmethod
        def vmap(info: Any, dims: Any, x: Any, forward: Any, adjoint: Any) -> Any:  # pyright: ignore
            return apply(x.movedim(dims[0], 0), forward, adjoint), 0

    return Bridge
