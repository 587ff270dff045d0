"""Linear algebra on batches in which one matrix may be broken: guards, solves, factors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .library import Array, array_namespace, eye, is_tensor


def where_ok(ok: Any, x: Array) -> Array:
    """`x` with the rows of experiments that are not `ok` set to NaN; `ok` as `sane` gives it."""
    if ok is True:
        return x
    x, ok = (v if is_tensor(v) else np.asarray(v) for v in (x, ok))  # one experiment: scalars
    xp = array_namespace(x)
    ok = xp.reshape(ok, (*ok.shape, *(1,) * (x.ndim - ok.ndim)))
    return xp.where(ok, x, xp.full_like(x, math.nan))


def sane(A: Array) -> tuple[Array, Any]:
    """Guard before a factorisation: `A (..., n, n)` with non-finite matrices replaced by I.

    Returns `(A, ok)` with `ok (...)`, or `(A, True)` when all are finite. One NaN makes eigh, svd
    and cholesky raise for a whole batch; with the guard the other experiments stay exact to the
    bit, and the caller turns the results of the bad ones into NaN with `where_ok`.
    """
    xp = array_namespace(A)
    if math.isfinite(float(xp.sum(A))):  # one pass; NaN and infinity survive any sum
        return A, True
    ok = xp.all(xp.isfinite(A), axis=(-2, -1))
    if bool(xp.all(ok)):  # finite, and only their sum is not
        return A, True
    return xp.where(ok[..., None, None], A, eye(A.shape[-1], A)), ok


def solve(A: Array, B: Array) -> Array:
    """A^-1 B for an A that is at least the identity, even where round-off has made it singular.

    That happens where errors are 1e8 times smaller than the spread (1e4 in float32); such an A,
    and no other of the batch, gets a little more on its diagonal, of the size of the round-off.
    """
    xp = array_namespace(A, B)
    try:
        return xp.linalg.solve(A, B)
    except (np.linalg.LinAlgError, RuntimeError):  # torch's is a RuntimeError
        if A.ndim > 2:  # each on its own
            lead = np.broadcast_shapes(tuple(A.shape[:-2]), tuple(B.shape[:-2]))
            A, B = (xp.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (A, B))
            found = [solve(A[i], B[i]) for i in np.ndindex(lead)]
            return xp.reshape(xp.stack(found), B.shape)
        n, largest = A.shape[-1], float(xp.max(xp.abs(A)))
        more = 8 * n * float(xp.finfo(A.dtype).eps) * largest
        return xp.linalg.solve(A + more * eye(n, A), B)


def definite(A: Array) -> bool:
    """Whether all of the symmetric `A (..., n, n)` are positive definite."""
    try:
        array_namespace(A).linalg.cholesky(A)
    except (np.linalg.LinAlgError, RuntimeError):  # torch's is a RuntimeError
        return False
    return True


def inverse_root(A: Array) -> tuple[Array, Array, Any]:
    """L^-1 for A = L L^T `(..., n, n)`, log |A| `(...)`, and `ok (...)` or True.

    A matrix that is not finite or not positive definite counts as the identity, not `ok`.
    """
    xp, one = array_namespace(A), eye(A.shape[-1], A)
    A, ok = sane(A)
    try:
        L = xp.linalg.cholesky(A)
    except (np.linalg.LinAlgError, RuntimeError):  # torch's is a RuntimeError; some have a factor
        good = _definite(A)
        A, ok = xp.where(good[..., None, None], A, one), good if ok is True else good & ok
        L = xp.linalg.cholesky(A)
    root = xp.linalg.solve(L, xp.broadcast_to(one, L.shape))
    return root, 2 * xp.sum(xp.log(xp.linalg.diagonal(L)), axis=-1), ok


def _definite(A: Array) -> Array:
    """Which of `A (..., n, n)` have a Cholesky factor, `(...)`: each asked on its own."""
    xp = array_namespace(A)

    def factors(A: Array) -> bool:
        try:
            xp.linalg.cholesky(A)
        except (np.linalg.LinAlgError, RuntimeError):
            return False
        return True

    found = [factors(A[i]) for i in np.ndindex(tuple(A.shape[:-2]))]
    return xp.reshape(xp.asarray(found, device=A.device), tuple(A.shape[:-2]))
