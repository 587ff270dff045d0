"""Gauss-Newton without matrices, for large states: each linear problem by conjugate gradients.

They need only products with the tangent G of the window's innovations and its transpose. A reverse
pass gives u G; as it is linear in u, a second one through it gives G p: no tangent code, and no
forward mode, which costs eager torch ten times more. Conjugate gradients solve each
linear problem of Gauss-Newton, and their residuals hold the leading eigenvectors of its Hessian
(Lanczos), which say what the data leave of the background's errors.

Hestenes and Stiefel, J. Res. Nat. Bur. Stand. 49, 1952; Fisher and Courtier, Estimating the
covariance matrices of analysis and forecast error in variational data assimilation, ECMWF Tech.
Memo. 220, 1995.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from ...array import Array, array_namespace, check_count, eye, sane, where_ok
from ...covariances.base import Covariance
from ...covariances.roots import Updated
from .cost import BROKEN, Cost
from .solver import Found, check_stop, halved, moved, squares, taken, told, zero


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
        """The transpose applied to `u (..., 1, M)`: `(..., 1, c)`."""
        return self._grad(self.d, self.v, u, retain_graph=True)[0]

    def along(self, p: Array) -> Array:
        """The change of d along `p (..., 1, c)`: `(..., 1, M)`."""
        return self._grad(self.g, self.u, p, retain_graph=True)[0]

    def gradient(self) -> Array:
        """The gradient of J, `(..., 1, c)`."""
        return self.v.detach() + self.back(self.d.detach())

    def hessian(self, p: Array) -> Array:
        """(I + G^T G) p."""
        return p + self.back(self.along(p))


def conjugate_gradients(product: Any, b: Array, count: int, tolerance: float) -> tuple:
    """x with A x = b for rows `b (..., 1, c)`, A >= I symmetric, and A's leading eigenvectors.

    Each experiment stops when its residual is `tolerance` times |b|, or after `count` products.
    Residuals are kept orthogonal to all earlier ones. Returns x, how many products `(...)`, and
    the Ritz vectors `(..., r, c)` and values `(..., r)`; 1 where a direction was not needed.
    """
    xp, length = array_namespace(b), squares(b) ** 0.5
    b = b / xp.where(length > 0, length, xp.ones_like(length))[..., None, None]
    x, r, p, old = xp.zeros_like(b), b, b, squares(b)  # of length 1: no overflow in float32
    limit, products = tolerance**2 * old, xp.zeros_like(old)
    active, basis, diagonal, beside = old > 0, [], [], []
    alpha_before, beta = xp.ones_like(old), xp.zeros_like(old)
    for _ in range(min(count, b.shape[-1])):
        unit = xp.where(active, old, xp.ones_like(old)) ** -0.5
        basis.append(xp.where(active, unit, 0 * unit)[..., None, None] * r)
        Ap = product(p)
        curvature = xp.sum(p * Ap, axis=(-2, -1))
        alpha = xp.where(active, old / xp.where(active, curvature, xp.ones_like(old)), 0 * old)
        safe = xp.where(active, alpha, xp.ones_like(old))
        diagonal.append(xp.where(active, 1 / safe + beta / alpha_before, xp.ones_like(old)))
        x, r = x + alpha[..., None, None] * p, r - alpha[..., None, None] * Ap
        Q = xp.concat(basis, axis=-2)
        r = r - (r @ Q.mT) @ Q
        products = products + xp.astype(active, b.dtype)
        new = squares(r)
        beta = xp.where(active, new / xp.where(active, old, xp.ones_like(old)), 0 * old)
        active, alpha_before, old = active & (new > limit), safe, new
        if not bool(xp.any(active)):
            break
        beside.append(xp.where(active, -(beta**0.5) / safe, 0 * beta))
        p = r + beta[..., None, None] * p
    vectors, values = ritz(xp.concat(basis, axis=-2), diagonal, beside[: len(basis) - 1])
    return x * length[..., None, None], products, vectors, values


def ritz(Q: Array, diagonal: list[Array], beside: list[Array]) -> tuple[Array, Array]:
    """Eigenvectors `(..., r, c)` and values `(..., r)` on the basis `Q`, from Lanczos' matrix."""
    xp, r = array_namespace(Q), len(diagonal)
    T = xp.stack(diagonal, axis=-1)[..., None] * eye(r, Q)
    if beside:
        b = xp.stack(beside, axis=-1)[..., None]
        shifted = eye(r, Q)
        T = T + xp.concat((b * shifted[1:], 0 * T[..., :1, :]), axis=-2)
        T = T + xp.concat((0 * T[..., :1, :], b * shifted[:-1]), axis=-2)
    values, S = xp.linalg.eigh(sane(T)[0])
    return S.mT @ Q, xp.clip(values, 1.0, None)


@dataclass(frozen=True, eq=False)
class IncrementalCG:
    """Gauss-Newton without matrices: each linear problem by conjugate gradients.

    Arguments: `iterations`, outer loops (linearizations) at most; `tolerance` as in GaussNewton;
    `inner`, products with the Hessian in each, at most; `accuracy`, the residual at which they
    end, over the gradient's length. A product is a forward and a backward pass of the window.

    What the data leave of the background's errors is told by the leading eigenvectors of the
    last Hessian: where they are too few, too large. Errors are not carried by the model within a
    window: every observation time has those of the start.
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
        at = before = taken(cost, zero(cost))
        xp = array_namespace(at.v)
        count = work = most = step = slope = xp.zeros_like(at.cost)
        going, ended = xp.ones_like(count) > 0, xp.ones_like(count) < 0
        kept: list[Array] = []
        for _ in range(self.iterations):
            tangent = Tangent(cost, at.v)
            b = -tangent.gradient()
            slope = xp.where(going, squares(b) ** 0.5, slope)
            right = (going & xp.isfinite(slope))[..., None, None]
            b = xp.where(right, b, xp.zeros_like(b))
            solved = conjugate_gradients(tangent.hessian, b, self.inner, self.accuracy)
            dv, products, *leading = solved
            dv = where_ok(xp.isfinite(at.cost), dv)
            del tangent  # and its graph
            more = going & (products >= most)  # a gradient of round-off tells nothing
            kept = merged(more, leading, kept) if kept else leading
            most = xp.where(more, products, most)
            size = xp.sum(dv * b, axis=(-2, -1)) ** 0.5
            count, work = count + xp.astype(going, b.dtype), work + products
            step = xp.where(going, size, step)
            old, at = at, halved(cost, at, dv, xp.astype(going, b.dtype))
            done = (size <= self.tolerance) | ((products < self.inner) & cost.linear)
            ended = xp.where(going, done, ended)
            going = going & ~done & moved(old, at)
            if not bool(xp.any(going)):
                break
        info = {**told(at, slope, step, count, ended), "products": work}

        def left(root: Covariance) -> Updated:
            return Updated(root, *kept)

        states, first = cost.path.seen(at.states), cost.path.seen(before.states)
        return Found(at.v, states, first, [cost.path.root] * len(states), left, info)


def merged(now: Array, new: list[Array], old: list[Array]) -> list[Array]:
    """The new eigenvectors and values where `now (...)`, else the old, padded to one size."""
    xp = array_namespace(now)
    r = max(new[1].shape[-1], old[1].shape[-1])

    def padded(pair: list[Array]) -> list[Array]:
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
