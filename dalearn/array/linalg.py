"""Linear algebra on batches in which one matrix may be broken: guards, solves, factors."""

from __future__ import annotations

import math
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


def sane(A: Array) -> tuple[Array, Any]:
    """Matrices that can be factored: those with NaN or infinity are replaced by the identity.

    One NaN makes eigh, svd and cholesky raise for a whole batch. With this guard the other
    experiments stay exact to the bit; `where_ok` then makes the results of the bad ones NaN.

    Args:
        A: matrices `(..., n, n)`.

    Returns:
        `(A, ok)` with booleans `ok (...)`, or `(A, True)` when all are finite.
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
        n, largest = A.shape[-1], float(xp.max(xp.abs(A)))
        more = 8 * n * float(xp.finfo(A.dtype).eps) * largest
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
