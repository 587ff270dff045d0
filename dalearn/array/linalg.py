"""Linear algebra on batches in which one matrix may be broken: guards, solves, factors."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from .constants import eye
from .library import Array, array_namespace, is_tensor


def where_ok(ok: Any, x: Array) -> Array:
    """`x` with the rows of experiments that are not `ok` set to NaN.

    Args:
        ok: booleans `(...)`, or True, as `sane` gives them.
        x: an array `(..., *any)`.

    Returns:
        An array of the shape of `x`; `x` itself where `ok` is True.
    """
    if ok is True:
        return x
    x, ok = (v if is_tensor(v) else np.asarray(v) for v in (x, ok))  # one experiment: scalars
    xp = array_namespace(x)
    ok = xp.reshape(ok, (*ok.shape, *(1,) * (x.ndim - ok.ndim)))
    return xp.where(ok, x, xp.full_like(x, math.nan))


@lru_cache(maxsize=64)
def _above(rows: int, columns: int, dtype: str) -> np.ndarray[Any, Any]:
    return np.triu(np.ones((min(rows, columns), columns), dtype))


def triangle(A: Array) -> Array:
    """The triangle U of A = Q U, so that U^T U = A^T A, which is not formed: by QR.

    Where U^T U is a covariance, no digit of a small standard deviation beside a large one is lost,
    and columns may have different units. Rows above n are folded into n.

    Args:
        A: rows `(..., c, n)`; NaN is allowed, and stays in its own experiment.

    Returns:
        U, upper triangular, `(..., min(c, n), n)`, with a diagonal >= 0.
    """
    if is_tensor(A):
        xp = array_namespace(A)
        U = xp.linalg.qr(A, mode="r")[1]
        return U * xp.copysign(xp.ones_like(U[..., :1]), xp.linalg.diagonal(U)[..., None])
    factored = np.linalg.qr(A, mode="raw")[0].mT[..., : min(A.shape[-2:]), :]
    signs = factored.diagonal(0, -2, -1)[..., None]
    return factored * np.copysign(_above(*A.shape[-2:], A.dtype.char), signs)


def largest(A: Array) -> float:
    """The largest entry of an array, as a number without derivatives.

    Args:
        A: an array.

    Returns:
        A float.
    """
    return float(array_namespace(A).max(A.detach() if is_tensor(A) else A))


def sane(A: Array) -> tuple[Array, Any]:
    """Matrices that can be factored: those with NaN or infinity are replaced by the identity.

    One NaN makes eigh, svd and cholesky raise for a whole batch. With this guard the other
    experiments stay exact to the bit; `where_ok` then makes the results of the bad ones NaN.

    Args:
        A: matrices `(..., c, n)`.

    Returns:
        `(A, ok)` with booleans `ok (...)`, or `(A, True)` when all are finite.
    """
    total = (A.detach() if is_tensor(A) else A).sum()  # one pass; NaN and infinity survive it
    if math.isfinite(float(total)):
        return A, True
    xp = array_namespace(A)
    ok = xp.all(xp.isfinite(A), axis=(-2, -1))
    if bool(xp.all(ok)):  # finite, and only their sum is not
        return A, True
    c, n = A.shape[-2:]
    return xp.where(ok[..., None, None], A, eye(max(c, n), A)[:c, :n]), ok


def solve(A: Array, B: Array) -> Array:
    """A^-1 B for an A that is at least the identity, even where round-off has made it singular.

    That happens where errors are 1e8 times smaller than the spread (1e4 in float32). Such an A,
    and no other of the batch, gets a little more on its diagonal, of the size of the round-off.

    Args:
        A: matrices `(..., n, n)`.
        B: right-hand sides `(..., n, k)`.

    Returns:
        The solutions `(..., n, k)`.
    """
    xp = array_namespace(A, B)
    try:
        return xp.linalg.solve(A, B)
    except (np.linalg.LinAlgError, RuntimeError):  # torch's is a RuntimeError
        if A.ndim > 2:  # each on its own
            lead = np.broadcast_shapes(tuple(A.shape[:-2]), tuple(B.shape[:-2]))
            a, b = (xp.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (A, B))
            found = [solve(a[i], b[i]) for i in np.ndindex(lead)]
            return xp.reshape(xp.stack(found), b.shape)
        n, most = A.shape[-1], largest(xp.abs(A))
        more = 8 * n * float(xp.finfo(A.dtype).eps) * most
        return xp.linalg.solve(A + more * eye(n, A), B)


def definite(A: Array) -> bool:
    """Whether all of the symmetric matrices are positive definite: they have a Cholesky factor.

    Args:
        A: symmetric matrices `(..., n, n)`.

    Returns:
        One answer for all.
    """
    try:
        array_namespace(A).linalg.cholesky(A)
    except (np.linalg.LinAlgError, RuntimeError):  # torch's is a RuntimeError
        return False
    return True


def unbiased(w: Array) -> Array:
    """The factor 1 / (1 - sum_i w_i^2) of a weighted variance; 0 where one member has all weight.

    It is 1 / (2 sum_{i<j} w_i w_j), of which no digit is lost where one weight is nearly 1.

    Args:
        w: weights `(..., N)` of sum 1.

    Returns:
        The factor `(..., 1)`.
    """
    xp = array_namespace(w)
    left = 2 * xp.linalg.vecdot(xp.cumulative_sum(w, axis=-1)[..., :-1], w[..., 1:])[..., None]
    alone = left < 8 * float(xp.finfo(w.dtype).eps)
    return xp.where(alone, 0 * left, 1 / xp.where(alone, 1.0 + 0 * left, left))


def correlations(A: Array) -> tuple[Array, Array]:
    """A symmetric matrix freed of its units: A_ij / (s_i s_j) with s_i = A_ii^1/2.

    Args:
        A: symmetric matrices `(..., n, n)`.

    Returns:
        The correlations, with 1 on the diagonal where A_ii <= 0 and 0 beside it, and `s (..., n)`,
        which is 0 there.
    """
    xp = array_namespace(A)
    v = xp.linalg.diagonal(A)
    some = v > 0
    s = xp.where(some, xp.where(some, v, 1.0 + 0 * v) ** 0.5, 1.0 + 0 * v)
    both = some[..., None, :] & some[..., :, None]
    C = xp.where(both, A / s[..., None, :] / s[..., :, None], eye(A.shape[-1], A))
    return C, xp.where(some, s, 0 * s)


def root(A: Array) -> tuple[Array, Any]:
    """Rows X of a covariance A = X^T X, which may be singular; the same for any units of it.

    Args:
        A: covariances `(..., n, n)`.

    Returns:
        `(X, ok)` with rows `X (..., n, n)` and `ok (...)`, or True: where A was finite, and its
        variances and the eigenvalues of its correlations were not negative, but for round-off of
        these. X is triangular where A is definite.
    """
    xp = array_namespace(A)
    below = xp.any(xp.linalg.diagonal(A) < 0, axis=-1)
    if bool(xp.any(below)):
        return root(xp.where(below[..., None, None], math.nan + 0 * A, A))
    finite, ok = sane(A)
    C, s = correlations(finite)
    try:
        return xp.linalg.cholesky(C).mT * s[..., None, :], ok
    except (np.linalg.LinAlgError, RuntimeError):  # torch's is a RuntimeError
        pass
    if A.ndim > 2:  # each on its own, so that it is what it would be alone
        lead = tuple(A.shape[:-2])
        found = [root(A[i]) for i in np.ndindex(lead)]
        rows = xp.reshape(xp.stack([x for x, _ in found]), A.shape)
        good = xp.reshape(xp.asarray([bool(g) for _, g in found], device=A.device), lead)
        return rows, good
    w, V = xp.linalg.eigh(C)
    fine = w[0] >= -(float(xp.finfo(A.dtype).eps) ** 0.5)
    w = xp.where(w > 0, xp.where(w > 0, w, 1.0 + 0 * w) ** 0.5, 0 * w)
    return w[:, None] * V.mT * s, fine


def inverse_root(A: Array) -> tuple[Array, Any]:
    """L^-1 for A = L L^T. A matrix that is not finite or not definite counts as the identity.

    Args:
        A: symmetric matrices `(..., n, n)`.

    Returns:
        `(L^-1, ok)` with `ok (...)`, or True: where A was finite and positive definite.
    """
    xp, one = array_namespace(A), eye(A.shape[-1], A)
    finite, ok = sane(A)
    try:
        root = xp.linalg.cholesky(finite)
    except (np.linalg.LinAlgError, RuntimeError):  # some have a factor: each is asked on its own
        lead = tuple(A.shape[:-2])
        good = xp.asarray([definite(finite[i]) for i in np.ndindex(lead)], device=A.device)
        good = xp.reshape(good, lead)
        root = xp.linalg.cholesky(xp.where(good[..., None, None], finite, one))
        ok = good if ok is True else good & ok
    return xp.linalg.solve(root, xp.broadcast_to(one, root.shape)), ok
