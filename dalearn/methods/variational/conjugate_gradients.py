"""Conjugate gradients by bidiagonalization, and what they still have to gain.

The least |d - G x|^2 + |v + x|^2 over x, with a G known only by its products. It is A x = b with
A = I + G^T G and b = G^T d - v. Vectors that span the Krylov space of A and b, each orthogonal to
all before, turn K = (G; I) into a matrix with two diagonals (Golub and Kahan), from which LSQR
reads the gain of each step. No product with A is made: its round-off would hide what ordinary data
say beside data 1e8 times better.

What is still to gain is bounded from above, as no eigenvalue of A is below 1 (Gauss-Radau): the
error e of x has |e|_A^2 = e A e^T <= g |r|^2, with r the residual and g at most 1. It is measured
in standard deviations of the answer, whatever the units are and whatever |b| is.

Paige and Saunders, LSQR, ACM Trans. Math. Softw. 8, 1982; Golub and Kahan, SIAM J. Numer. Anal. 2,
1965; Meurant and Tichy, On computing quadrature-based bounds for the A-norm of the error in
conjugate gradients, Numer. Algorithms 62, 2013.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ...array import Array, array_namespace
from .hessian import decomposed
from .solver import squares

LEAST = 0.9  # taken for the least eigenvalue, which is 1: round-off must not make the bound 0


class Linear(Protocol):
    """A linear map G, known by its products."""

    def forward(self, p: Array) -> Array:
        """p G^T for rows `p (..., 1, c)`: `(..., 1, M)`."""
        ...

    def back(self, u: Array) -> Array:
        """u G for rows `u (..., 1, M)`: `(..., 1, c)`."""
        ...


class Krylov(NamedTuple):
    """What conjugate gradients have learned of G: `basis` V and `images` V G^T.

    Args:
        basis: orthonormal rows `(..., k, c)`, zero where an experiment had ended.
        images: their images under G, `(..., k, M)`.
        products: how many products with G and its transpose `(...)`.
        left: an upper bound of |e|_A `(...)`, the error in standard deviations.
        slope: |b|, the length of the gradient at first `(...)`.
        closed: whether the rows span all that can be reached `(...)`.
    """

    basis: Array
    images: Array
    products: Array
    left: Array
    slope: Array
    closed: Array


def krylov(
    tangent: Linear,
    d: Array,
    v: Array,
    count: int,
    accuracy: float,
    relative: bool = False,
) -> Krylov:
    """The space in which conjugate gradients find the least |d - G x|^2 + |v + x|^2.

    Args:
        tangent: gives products with G.
        d: whitened innovations `(..., 1, M)`.
        v: the control `(..., 1, c)`.
        count: products at most.
        accuracy: an experiment ends when its error is less, in standard deviations of the answer.
        relative: whether in units of the length of x instead, where that is more than 1.

    Returns:
        The space; each experiment stops on its own.
    """
    xp, eps = array_namespace(d), float(array_namespace(d).finfo(d.dtype).eps)
    left_over = (squares(d) + squares(v)) ** 0.5
    u, w = over(d, left_over), over(-v, left_over)
    q = tangent.back(u) + w
    alpha = squares(q) ** 0.5
    q, rho_bar, phi_bar = over(q, alpha), alpha, left_over
    active = (left_over * alpha > accuracy) & xp.isfinite(alpha)
    left = slope = first = left_over * alpha  # |b|, as A is at least the identity
    gamma = xp.ones_like(alpha) / LEAST
    products, gain, size = xp.zeros_like(alpha), xp.zeros_like(alpha), alpha
    closed, basis, images = left == 0, [], []
    for _ in range(min(count, v.shape[-1])):
        if not bool(xp.any(active)):
            break
        q = xp.where(active[..., None, None], q, xp.zeros_like(q))
        basis.append(q)
        V, g = xp.concat(basis, axis=-2), tangent.forward(q)
        images.append(g)
        u, w = g - alpha[..., None, None] * u, q - alpha[..., None, None] * w
        beta = (squares(u) + squares(w)) ** 0.5
        size = xp.maximum(size, beta)
        beta = xp.where(beta > 8 * eps * size, beta, xp.zeros_like(beta))
        u, w = over(u, beta), over(w, beta)
        back = tangent.back(u) + w
        size = xp.maximum(size, squares(back) ** 0.5)  # what is left of it below is round-off
        q = back - beta[..., None, None] * q
        q = q - (q @ V.mT) @ V
        q = q - (q @ V.mT) @ V
        rest = squares(q) ** 0.5  # of round-off it leads nowhere, and may hide what is to gain
        alpha = xp.where(rest > 64 * eps * size, rest, xp.zeros_like(rest))
        q = over(q, alpha)
        rho = (rho_bar**2 + beta**2) ** 0.5
        rho = xp.where(active, rho, xp.ones_like(rho))
        c, s = rho_bar / rho, beta / rho
        phi, rho_bar, phi_bar = c * phi_bar, -c * alpha, s * phi_bar
        before, slope = slope, xp.abs(phi_bar * rest * c)
        more = xp.clip(gamma - rho**-2, 0.0, None)
        share = (slope / xp.where(before > 0, before, xp.ones_like(before))) ** 2
        down = LEAST * more + share
        gamma = xp.where(down > 0, more / xp.where(down > 0, down, xp.ones_like(down)), 0 * down)
        products = products + xp.astype(active, d.dtype)
        now = xp.clip(gamma, None, 1.0) ** 0.5 * slope
        left = xp.where(active, now, left)
        gain = gain + phi**2  # |x|_A^2
        enough = accuracy * xp.clip(gain, 1.0, None) ** 0.5 if relative else accuracy
        closed = closed | (active & (alpha == 0))
        active = active & (left > enough) & ~closed
    if not basis:
        basis, images = [0 * v], [0 * d]
    return Krylov(
        xp.concat(basis, axis=-2), xp.concat(images, axis=-2), products, left, first, closed
    )


def over(x: Array, size: Array) -> Array:
    """`x (..., 1, k)` over its length `(...)`; 0 where that is 0."""
    xp = array_namespace(x)
    good = size > 0
    inverse = xp.where(good, 1 / xp.where(good, size, xp.ones_like(size)), xp.zeros_like(size))
    return inverse[..., None, None] * x


def spectrum(space: Krylov) -> tuple[Array, Array]:
    """Eigenvectors `(..., r, c)` and values `(..., r)` of an A' <= A that the space knows exactly.

    A' = I + G^T Y^T Y G sees the data along the rows of Y alone, orthonormal and in the span of
    the images, those whose G^T Y^T lies in the space again: all, or all but the last. As A' <= A,
    its inverse is nowhere less than that of A: no variance is too small.
    """
    xp, V, F = array_namespace(space.images), space.basis, space.images
    i = xp.arange(F.shape[-2], dtype=F.dtype, device=F.device)
    last = xp.sum(xp.astype(xp.any(V != 0, axis=-1), F.dtype), axis=-1) - 1
    known = (i != last[..., None]) | space.closed[..., None]
    Y, s = decomposed(xp.where(known[..., None], F, xp.zeros_like(F)))[2:0:-1]
    least = F.shape[-2] * float(xp.finfo(F.dtype).eps) * s[..., :1]
    Y = xp.where((s > least)[..., None], Y, xp.zeros_like(Y))
    X, s, _ = decomposed(F @ Y.mT)
    return X.mT @ V, 1 + s * s
