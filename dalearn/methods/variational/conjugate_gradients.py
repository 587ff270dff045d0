"""Conjugate gradients, and the eigenvectors that their residuals hold (Lanczos).

For A x = b with A >= I symmetric, known only by its products. The residuals, made orthogonal to
all earlier ones, are a basis in which A is tridiagonal; its eigenvectors there (Ritz vectors)
approach the leading ones of A.

Hestenes and Stiefel, J. Res. Nat. Bur. Stand. 49, 1952; Lanczos, ibid. 45, 1950.
"""

from __future__ import annotations

from collections.abc import Callable

from ...array import Array, array_namespace, eye, sane
from .solver import squares


def conjugate_gradients(
    product: Callable[[Array], Array], b: Array, count: int, tolerance: float
) -> tuple:
    """x with A x = b for rows `b (..., 1, c)`, and the leading eigenvectors of A.

    `product(p)` is A p for rows p. Each experiment stops when its residual is `tolerance` times
    |b|, or after `count` products. Returns x, how many products `(...)`, and the Ritz vectors
    `(..., r, c)` and values `(..., r)`; 1 where a direction was not needed.
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
