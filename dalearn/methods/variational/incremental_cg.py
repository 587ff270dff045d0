"""Gauss-Newton without matrices, for large states: each linear problem by conjugate gradients.

They need only products with the tangent G of the window's innovations and its transpose. A reverse
pass gives u G; as it is linear in u, a second one through it gives G p: no tangent code, and no
forward mode, which costs eager torch ten times more. The space of the conjugate gradients holds
the leading eigenvectors of the Hessian: what the data leave of the background's errors.

Fisher and Courtier, Estimating the covariance matrices of analysis and forecast error in
variational data assimilation, ECMWF Tech. Memo. 220, 1995.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from ...array import Array, array_namespace, check_count, typed, where_ok
from ...covariances.base import Covariance
from ...covariances.roots import Updated
from .conjugate_gradients import krylov, spectrum
from .cost import BROKEN, Cost
from .hessian import Hessian
from .solver import (
    Found,
    check_stop,
    first_iterate,
    has_moved,
    line_search,
    round_off,
    squares,
    summary,
)


class Tangent:
    """The innovations d of a window linearized at `v (..., 1, c)`: products with dd/dv = -G."""

    def __init__(self, cost: Cost, v: Array):
        import torch

        self._grad = torch.autograd.grad
        with torch.enable_grad():
            self.v = v.detach().clone().requires_grad_()
            try:
                self.d = cost.innovations(cost.path.follow(self.v))
            except RuntimeError as error:
                raise TypeError(f"no tangent of the window ({error}); {BROKEN}") from error
            if not self.d.requires_grad:
                raise ValueError(f"the innovations do not depend on the control; {BROKEN}")
            self.u = torch.zeros_like(self.d).requires_grad_()
            try:
                (self.g,) = self._grad(self.d, self.v, self.u, create_graph=True)
            except RuntimeError as error:
                raise TypeError(f"no tangent of the window ({error}); {BROKEN}") from error

    def back(self, u: Array) -> Array:
        """u G for `u (..., 1, M)`: `(..., 1, c)`."""
        return -self._grad(self.d, self.v, u, retain_graph=True)[0]

    def forward(self, p: Array) -> Array:
        """p G^T, what is seen of a change `p (..., 1, c)`: `(..., 1, M)`."""
        return -self._grad(self.g, self.u, p, retain_graph=True)[0]


@typed
@dataclass(frozen=True, eq=False)
class IncrementalCG:
    """Gauss-Newton without matrices: each linear problem by conjugate gradients.

    The analysis covariance comes from the leading eigenvectors of a Hessian: an upper bound of the
    variance, near it where the products have found all that the data say. Errors are not carried
    by the model within a window: every observation time has those of the start.

    Args:
        iterations: outer loops (linearizations) at most, an integer >= 1.
        tolerance: length of the last step, as in GaussNewton; what its linear problem may still
            have to gain counts as a part of it.
        inner: products with the Hessian in each outer loop, at most. A product is a forward and a
            backward pass of the window.
        accuracy: how near to the minimum of each linear problem they end, in standard deviations
            of the analysis over all directions, in (0, 1); in a window that is not linear, in
            units of a step that is longer than 1.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: when run with a model or an operator that cannot be differentiated.
    """

    iterations: int = 5
    _: KW_ONLY
    tolerance: float = 0.1
    inner: int = 40
    accuracy: float = 1e-3
    differentiates = True

    def __post_init__(self):
        check_stop(self)
        check_count("inner", self.inner)
        if not 0 < self.accuracy < 1:
            raise ValueError(f"accuracy must be in (0, 1), met {self.accuracy!r}")

    def __call__(self, cost: Cost) -> Found:
        """The minimum from v = 0. Each experiment stops on its own."""
        at = before = first_iterate(cost)
        xp = array_namespace(at.v)
        count = work = most = step = slope = xp.zeros_like(at.cost)
        going, ended = xp.ones_like(count) > 0, xp.ones_like(count) < 0
        kept: list[Array] = []
        for _ in range(self.iterations):
            tangent = Tangent(cost, at.v)
            usable = going & xp.isfinite(at.cost)
            d, v = (xp.where(usable[..., None, None], x, 0 * x) for x in (at.d, at.v))
            space = krylov(tangent, d, v, self.inner, self.accuracy, not cost.linear)
            del tangent  # and its graph
            hessian = Hessian(space.images)
            y = hessian.step(d, v @ space.basis.mT)
            dv = where_ok(xp.isfinite(at.cost), y @ space.basis)
            more = going & (space.products >= most)  # a gradient of round-off tells nothing
            kept = merged(more, spectrum(space), kept) if kept else list(spectrum(space))
            most = xp.where(more, space.products, most)
            size = (squares(dv) + squares(y @ space.images) + space.left**2) ** 0.5
            count, work = count + xp.astype(going, d.dtype), work + space.products
            step, slope = xp.where(going, size, step), xp.where(going, space.slope, slope)
            old, at = at, line_search(cost, at, dv, xp.astype(going, d.dtype))
            left = space.left + round_off(hessian.largest, dv)
            whole = xp.all(at.v == old.v + dv, axis=(-2, -1)) & cost.linear
            done = (left <= self.tolerance) & (whole | (size <= self.tolerance))
            ended = xp.where(going, done, ended)
            going = going & ~done & has_moved(old, at)
            if not bool(xp.any(going)):
                break
        info = {**summary(at, slope, step, count, ended), "products": work}

        def posterior(root: Covariance) -> Updated:
            return Updated(root, *kept)

        states, first = cost.path.seen(at.states), cost.path.seen(before.states)
        return Found(at.v, states, first, [cost.path.root] * len(states), posterior, info)


def merged(now: Array, new: Sequence[Array], old: Sequence[Array]) -> list[Array]:
    """The new eigenvectors and values where `now (...)`, else the old, padded to one size."""
    xp = array_namespace(now)
    r = max(new[1].shape[-1], old[1].shape[-1])

    def padded(pair: Sequence[Array]) -> Sequence[Array]:
        U, theta = pair
        more = r - theta.shape[-1]
        if not more:
            return pair
        wide = xp.zeros((*U.shape[:-2], more, U.shape[-1]), dtype=U.dtype, device=U.device)
        ones = xp.ones((*theta.shape[:-1], more), dtype=U.dtype, device=U.device)
        return [xp.concat((U, wide), axis=-2), xp.concat((theta, ones), axis=-1)]

    new, old = padded(new), padded(old)
    now = now[..., None]
    return [xp.where(now[..., None], new[0], old[0]), xp.where(now, new[1], old[1])]
