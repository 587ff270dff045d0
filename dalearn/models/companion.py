"""The companion matrix of a linear recursion: its eigenvalues, and how they are made smaller."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Array, array_namespace, convert, to_numpy


def companion(A: Array) -> Array:
    """The matrix of a step of windows, (x_1, ..., x_L) -> (x_2, ..., x_L, A (x_1, ..., x_L)).

    Args:
        A: (A_1, ..., A_L) `(n, L n)`.

    Returns:
        `(L n, L n)`.
    """
    xp = array_namespace(A)
    shift = xp.eye(A.shape[1], dtype=A.dtype, device=A.device)
    return xp.concat((shift[A.shape[0] :], A), axis=0)


def spectrum(A: Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Eigenvalues and eigenvectors of the companion matrix.

    Args:
        A: `(n, L n)`.

    Returns:
        Complex `(L n,)`, the largest first, and columns `(L n, L n)`.
    """
    found, vectors = np.linalg.eig(to_numpy(companion(A)).astype(float))
    order = np.argsort(-abs(found), kind="stable")
    return found[order].astype(complex), vectors[:, order].astype(complex)


def damped(A: Array) -> Array:
    """A with all eigenvalues times one factor, where the largest is outside the unit circle.

    A_j q^(L - j + 1) has the eigenvalues of A_j times q.

    Args:
        A: `(n, L n)`.

    Returns:
        `(n, L n)`.
    """
    n, wide = A.shape
    q = 1 / max(1.0, float(abs(spectrum(A)[0][0])))
    return A * convert(np.repeat(q ** np.arange(wide // n, 0, -1.0), n), A)
