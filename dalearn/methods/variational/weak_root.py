"""The factor of the weak-constraint Hessian, by its blocks or by the whitened rows they come from.

A = J^T J with J the rows of the linearized, whitened misfits of background, model and data. The
blocks of A square how much better some of them are known than others: a sensor 1e8 times better
than the rest, or a very small Q. Where the factor of the blocks has lost them, it is made of J
itself: row after row in time is turned into a triangle, J = U R, so that A = R^T R (square-root
information filter).

Bierman, Factorization Methods for Discrete Sequential Estimation, 1977; Paige and Saunders, Least
squares estimation of discrete linear dynamic systems using orthogonal transformations, SIAM J.
Numer. Anal. 14, 1977.
"""

from __future__ import annotations

from typing import Any

from ...array import Array, Jacobian, array_namespace, eye
from ...array.tridiagonal import BlockCholesky, block_cholesky
from .weak_cost import WeakCost


def factored(cost: WeakCost, X: Array, D: Array, O: Array, jacobian: Jacobian) -> BlockCholesky:
    """The factor of A at the trajectory X, where its blocks are D and O."""
    xp, plain = array_namespace(D), block_cholesky(D, O)
    lost = has_lost(plain, D)
    if not bool(xp.any(lost)):
        return plain
    exact = triangular(cost, X, jacobian)
    if bool(xp.all(lost)):
        return exact

    def each(a: list[Array], b: list[Array]) -> list[Array]:
        return [xp.where(lost[..., None, None], x, y) for x, y in zip(a, b, strict=True)]

    roots = each(exact.inverse_roots, plain.inverse_roots)
    ok = (lost & exact.ok) | (~lost & plain.ok)
    return BlockCholesky(roots, each(exact.links, plain.links), ok)


def has_lost(factor: BlockCholesky, D: Array) -> Any:
    """Where a pivot is what round-off has left of a diagonal, `(...)`; not where A is not finite.

    Pivot and diagonal are of one unit, whatever the units of the state.
    """
    xp, one = array_namespace(D), eye(D.shape[-1], D)
    inverse = xp.sum(xp.stack(factor.inverse_roots, axis=-3) * one, axis=-1)
    share = 1 / (inverse * inverse * xp.sum(D * one, axis=-1))
    small = (
        ~(share >= 1e4 * float(xp.finfo(D.dtype).eps)) | ~xp.asarray(factor.ok)[..., None, None]
    )
    return xp.any(small, axis=(-2, -1)) & xp.all(xp.isfinite(D), axis=(-3, -2, -1))


def triangular(cost: WeakCost, X: Array, jacobian: Jacobian) -> BlockCholesky:
    """The factor of A from the rows of J: for each time a QR of what is known of it so far."""
    xp, (first, W, F, data) = array_namespace(X), cost.rows(X, jacobian)
    n, T = X.shape[-1], X.shape[-2] - 1
    lead = X.shape[:-2]

    def wide(rows: Array) -> Array:
        return xp.broadcast_to(rows, (*lead, *rows.shape[-2:]))

    known = [] if first is None else [wide(first)]
    roots: list[Array] = []
    links: list[Array] = []
    ok: Any = True
    for t in range(T + 1):
        here = [*known, *(wide(G) for G in data.get(t, []))]
        if t < T:
            sides = [
                xp.concat((h, xp.zeros_like(h)), axis=-1) if h.shape[-1] == n else h for h in here
            ]
            after = W[..., min(t, W.shape[-3] - 1), :, :] + 0 * F[..., t, :, :]
            here = [*sides, wide(xp.concat((-F[..., t, :, :], after), axis=-1))]
        rows = xp.concat(here, axis=-2)
        good = xp.all(xp.isfinite(rows), axis=(-2, -1))
        R = xp.linalg.qr(xp.where(good[..., None, None], rows, xp.ones_like(rows)))[1]
        pivot = R[..., :n, :n]
        one = eye(n, pivot)
        good = good & xp.all(xp.any(pivot * one != 0, axis=-1), axis=-1)
        roots.append(
            xp.linalg.solve(xp.where(good[..., None, None], pivot, one), one + 0 * pivot).mT
        )
        ok = good if ok is True else ok & good
        if t < T:
            links.append(R[..., :n, n:].mT)
            known = [R[..., n:, n:]]
    return BlockCholesky(roots, links, ok)
