"""Functions that must be affine, f(x) = A x + b: tested, and their matrix made once."""

from __future__ import annotations

from collections.abc import Callable

from ...array import Array, Jacobian, Store, array_namespace, device
from ...problem.like import ProblemLike
from ...problem.manifold import Turning
from ..base import differentiated, scaled


class Affine:
    """Value and matrix of functions that must be affine: each matrix is made once, and tested.

    A matrix that is the same in all experiments of a batch has no batch axes: then neither has
    the covariance that it carries.

    Args:
        jacobian: what makes the matrices.
        problem: whose prior says where, and at which steps, functions are tried.
    """

    def __init__(self, jacobian: Jacobian, problem: ProblemLike):
        self.jacobian = jacobian
        xp, x, std = array_namespace(problem.like), problem.prior.mean, problem.prior.std
        x = xp.broadcast_to(x, (*problem.batch, problem.n))
        self.anchor = x[..., None, :]  # the same matrix anywhere; finite here
        self.std = xp.where(std < float("inf"), std, 0 * x)[..., None, :]
        self.known = Store(2**28)  # bytes: sensors may move

    def __call__(self, f: Callable, x: Array, X: Array) -> tuple[Array, Array]:
        """f(x) and A for `x (..., n)`; ValueError for an f that is not affine."""
        f = f.f if isinstance(f, Turning) else f  # made anew each time

        def made() -> tuple[Callable, Array]:
            A = differentiated(scaled(self.jacobian, self.std), f, self.anchor)[1]
            check_affine(f, self.anchor, self.std, A)
            return f, _one(A[..., 0, :, :])  # f is kept: no other has its id

        return f(x[..., None, :])[..., 0, :], self.known.get(id(f), made)[1]


def _one(A: Array) -> Array:
    """Matrices without their batch axes, where all are the same."""
    first = A[(0,) * (A.ndim - 2)]
    return first if bool(array_namespace(A).all(first == A)) else A


def check_affine(f: Callable, x: Array, std: Array, A: Array) -> None:
    """Raise ValueError unless f(x + 2a) - 3 f(x) + 2 f(x - a) = 0 for a step of about `std`.

    The steps forth and back differ, or an odd function would pass at 0; and a differs from one
    component to the next, or advection would pass at a uniform state. Where a standard deviation
    is 0 the step is |x|, or 1. Each component is held to the size of what makes it, |A| |x|.
    """
    xp = array_namespace(x)
    i = xp.arange(x.shape[-1], dtype=x.dtype, device=device(x))
    size = xp.where(std > 0, std + 0 * x, xp.abs(x))
    a = xp.where(size > 0, size, 1.0 + 0 * size) * (1.5 + xp.cos(i * i))
    back, zero, two = f(x - a), f(x), f(x + 2 * a)
    made = ((xp.abs(x) + 2 * a)[..., None, :] @ xp.abs(A).mT)[..., 0, :]
    made = made + xp.abs(two) + xp.abs(zero) + xp.abs(back)
    bend = xp.abs(two - 3 * zero + 2 * back)
    bad = ~(bend <= 1e3 * float(xp.finfo(x.dtype).eps) * made)
    if bool(xp.any(bad)):
        share = xp.where(bad, bend / xp.where(made > 0, made, 1.0 + 0 * made), 0 * bend)
        raise ValueError(
            f"the Kalman filter wants linear functions, met curvature in {type(f).__name__}: "
            f"{float(xp.max(share)):.3g} of the size of a component; use ExtendedKF or an "
            "ensemble filter"
        )
