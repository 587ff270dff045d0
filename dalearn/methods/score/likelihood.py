"""How the data pull at a member: the gradient of log p(y | x), and its curvature.

    G(x) = J^T R^-1 (y - H(x)),   C = J^T R^-1 J   (Gauss-Newton),   J = H'(x).

Two forms. Number by number, where H picks components or acts on each alone and the errors are
independent: G and C are vectors. Else by the singular vectors V of R^-1/2 J: C = V^T c V.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...array import (
    Array,
    array_namespace,
    as_tensor,
    convert,
    convert_tree,
    row_mean,
    sane,
    where_ok,
)
from ...array.derivative import linearize, transpose
from ...covariances.matrices import Diagonal
from ...problem.observe import Observation, is_linear, is_selection
from ...problem.pointwise import Pointwise, pointwise

LARGEST = 1000  # the most numbers, of states or of data, whose Jacobian is factored


@dataclass(frozen=True, eq=False)
class Each:
    """A curvature that is a number for each component, `(..., n)`."""

    c: Any

    def functions(self, f: Callable) -> tuple[Each, ...]:
        """`f(C)`, several functions of it."""
        return tuple(Each(c) for c in f(self.c))

    def times(self, v: Array) -> Array:
        """`C v`."""
        return self.c * v


@dataclass(frozen=True, eq=False)
class Among:
    """A curvature V^T c V of orthonormal rows V `(..., k, n)` and c `(..., 1, k)`, `rest` else."""

    c: Array
    V: Array
    rest: float = 0.0

    def functions(self, f: Callable) -> tuple[Among, ...]:
        """`f(C)`, several functions of it."""
        pairs = zip(f(self.c), f(self.rest), strict=True)
        return tuple(Among(c, self.V, rest) for c, rest in pairs)

    def times(self, v: Array) -> Array:
        """`C v`, of rows that each have their own V, or share one."""
        shared = self.V.ndim <= v.ndim
        rows = v if shared else v[..., None, :]
        inside = ((rows @ self.V.mT) * (self.c - self.rest)) @ self.V
        return self.rest * v + (inside if shared else inside[..., 0, :])


@dataclass(frozen=True, eq=False)
class PointwiseData:
    """The data of components that are seen one by one.

    Args:
        of: what is done to each.
        y: the data `(..., 1, n)`, anything where nothing was seen.
        weight: 1 / variance, 0 where nothing was seen, `(..., 1, n)`.
        linear: whether f(x) = x.
        scale: the unit of x, a number, `(n,)` or `(..., 1, n)`.
        index: which component each number is, `(m,)`, or None for all, in order.
        whole: whether all components are seen.
        offset: where x = 0 lies, `(..., 1, n)`, or 0.
    """

    of: Pointwise
    y: Array
    weight: Array
    linear: bool
    scale: Any
    index: np.ndarray | None = None
    whole: bool = False
    offset: Any = 0.0

    def seeing(self, y: Array, offset: Any = 0.0) -> PointwiseData:
        """The same with other data `(..., m)`, and x measured from another place."""
        y = y[..., None, :]
        if self.index is not None:
            y = spread(y, self.index, self.weight.shape[-1])
        return replace(self, y=y, offset=offset)

    def pull(self, x: Array) -> tuple[Array, Each]:
        """G and C at `x (..., N, n)`, in units of scale."""
        w = self.weight * self.scale
        if self.linear:
            return w * (self.y - self.offset - self.scale * x), Each(w * self.scale)
        own = isinstance(self.scale, float) and self.scale == 1
        x = x if own else self.scale * x
        if not (isinstance(self.offset, float) and self.offset == 0):
            x = x + self.offset
        bent = self.of.slope(x)
        pull = w * bent
        if self.whole:
            d = self.y - self.of.f(x)
            d *= pull
            pull *= bent
            return d, Each(pull if own else pull * self.scale)
        xp = array_namespace(x)
        d = xp.where(self.weight > 0, self.y - self.of.f(x), 0.0)
        bent = xp.where(self.weight > 0, bent, 0.0)
        pull = xp.where(self.weight > 0, pull, 0.0)
        return pull * d, Each(pull * bent * self.scale)

    def largest(self, x: Array) -> float:
        """The largest curvature at `x`."""
        return _largest(self.pull(x)[1].c)

    def columns(self, at: slice) -> PointwiseData:
        """The data of some of the components."""
        scale = self.scale if isinstance(self.scale, float) else self.scale[..., at]
        y, weight = self.y[..., at], self.weight[..., at]
        offset = self.offset if isinstance(self.offset, float) else self.offset[..., at]
        return replace(self, y=y, weight=weight, scale=scale, index=None, offset=offset)


@dataclass(frozen=True, eq=False)
class MixedData:
    """The data of an operator that mixes components.

    Args:
        observe: H and R.
        y: the data `(..., m)`.
        scale: the unit of x, a number, `(n,)` or `(..., 1, n)`.
        vjp: (x, w) -> J(x)^T w of rows `(..., n)` and `(..., m)`, or None.
        curved: whether the curvature is wanted.
        offset: where x = 0 lies, `(..., 1, n)`, or 0.
    """

    observe: Observation
    y: Array
    scale: Any
    vjp: Callable | None = None
    curved: bool = True
    offset: Any = 0.0
    _known: list[Any] = field(default_factory=list, repr=False)

    def seeing(self, y: Array, offset: Any = 0.0) -> MixedData:
        """The same with other data `(..., m)`; what is known of a linear operator stays."""
        return replace(self, y=y, offset=offset)

    def pull(self, x: Array) -> tuple[Array, Any]:
        """G and C at `x (..., N, n)`, in units of scale."""
        if not self.curved:
            return self.gradient(x), Each(0.0)
        R, H = self.observe.noise, self.observe.operator
        z = self.scale * x + self.offset
        if is_linear(H):
            if not self._known:  # of all members and steps
                J = linearize(H, z[..., :1, :])[1][..., 0, :, :]
                self._known.append(self._factored(J))
            U, c, V, ok = self._known[0]
            d = R.whiten(self._misfit(H(z)))
            G = ((d @ U) * c) @ V
        else:
            value, J = linearize(H, z)
            U, c, V, ok = self._factored(J)
            d = R.whiten(self._misfit(value))
            G = (((d[..., None, :] @ U) * c) @ V)[..., 0, :]
        return where_ok(ok, G), Among(c**2, V)

    def _misfit(self, h: Array) -> Array:
        """y - h, or the residual that takes its place."""
        y = self.y[..., None, :]
        return y - self.observe.nearest(h, y)

    def _factored(self, J: Array) -> tuple[Array, Array, Array, Any]:
        """R^-1/2 J = U c V of Jacobians `(..., m, n)`, and which are finite."""
        xp, lead = array_namespace(J), len(self.y.shape)
        scale = self.scale
        if not isinstance(scale, float) and 1 < scale.ndim < J.ndim:  # a Jacobian of each member
            scale = scale[..., None, :, :]
        rows = (J * scale).mT
        flat = xp.reshape(rows, (*rows.shape[: lead - 1], -1, rows.shape[-1]))
        S, ok = sane(xp.reshape(self.observe.noise.whiten(flat), rows.shape).mT)
        U, c, V = xp.linalg.svd(S, full_matrices=False)
        return U, c[..., None, :], V, ok

    def largest(self, x: Array) -> float:
        """The largest curvature at the mean of `x`."""
        return _largest(self.pull(row_mean(x))[1].c)

    def gradient(self, x: Array) -> Array:
        """G at `x (..., N, n)`, by one reverse sweep or the `vjp` that was given."""
        R, H = self.observe.noise, self.observe.operator
        z = self.scale * x + self.offset
        d = R.whiten(self._misfit(H(z)))
        w = transpose(Whiten(R), d, R.n)
        if self.vjp is not None:
            return self.scale * self.vjp(z, w)
        return self.scale * swept(H, z, w)


@dataclass(frozen=True, eq=False)
class Whiten:
    """R.whiten as an operator that moves between libraries."""

    R: Any

    def __call__(self, x: Array) -> Array:
        return self.R.whiten(x)


def swept(H: Callable, x: Array, w: Array) -> Array:
    """J(x)^T w by reverse mode; by the Jacobian where H leaves torch."""
    if is_linear(H):
        return transpose(H, w, x.shape[-1])
    try:
        import torch

        with torch.enable_grad():
            t = as_tensor(x).detach().clone().requires_grad_()
            value = convert_tree(H, t)(t)
            (g,) = torch.autograd.grad((value * as_tensor(w)).sum(), t)
        return convert(g, x)
    except (ImportError, TypeError, AttributeError, RuntimeError):
        J = linearize(H, x)[1]
        return (w[..., None, :] @ J)[..., 0, :]


def data_of(
    observe: Observation, y: Array, like: Array, scale: Any, *, vjp: Any, curved: bool
) -> PointwiseData | MixedData:
    """The data in the form that their operator and errors allow.

    Args:
        observe: the observing system, its noise masked where nothing was seen.
        y: the data `(..., m)`.
        like: members `(..., N, n)`.
        scale: the unit of the state, a number, `(n,)` or `(..., 1, n)`.
        vjp: (x, w) -> J(x)^T w, or None.
        curved: whether the curvature is wanted.

    Returns:
        PointwiseData or MixedData.

    Raises:
        ValueError: for a curvature whose Jacobians are too large to be factored.
    """
    n, R = like.shape[-1], observe.noise
    inner = getattr(R, "inner", R)
    plain = observe.residual is None or is_selection(observe.operator)
    plain = plain and isinstance(inner, Diagonal)
    found = pointwise(observe.operator, n, like) if plain else None
    if found is not None and np.bincount(found[1]).max() < 2:
        xp, weight = array_namespace(like), 1 / inner.variance()
        if R.seen is not None:
            weight = xp.where(R.seen, weight, 0.0)
        of, index = found
        if len(index) == n and (np.diff(index) == 1).all():
            index = None
        weight = weight[..., None, :] if index is None else spread(weight[..., None, :], index, n)
        whole = R.seen is None and weight.shape[-1] == inner.n
        linear = is_selection(observe.operator)
        return PointwiseData(of, y, weight, linear, scale, index, whole).seeing(y)
    if curved and min(n, observe.m) > LARGEST:
        raise ValueError(
            f"the exponential step factors Jacobians ({observe.m}, {n}) of an operator that mixes "
            f"components, wanted one side of at most {LARGEST}: Pointwise for an operator that "
            'acts number by number, independent errors, or sampler="euler"'
        )
    return MixedData(observe, y, scale, vjp, curved)


def _largest(c: Array) -> float:
    """The largest of what is finite, at least 0."""
    xp = array_namespace(c)
    return float(xp.max(xp.where(xp.isfinite(c), c, xp.zeros_like(c))))


def spread(v: Array, index: np.ndarray, n: int) -> Array:
    """Numbers `(..., m)` at the places of an index, `(..., n)`, and 0 elsewhere."""
    xp, rest = array_namespace(v), np.setdiff1d(np.arange(n), index)
    zeros = xp.zeros((*v.shape[:-1], len(rest)), dtype=v.dtype, device=v.device)
    order = np.argsort(np.concatenate((index, rest)))
    return xp.concat((v, zeros), axis=-1)[..., convert(order, v)]
