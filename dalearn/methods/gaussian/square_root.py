"""The algebra of Gaussian beliefs on roots: P = X^T X is known by its rows X and never formed.

A covariance that holds a standard deviation of 1e-9 beside one of 1 has no digit left for the
first, as a matrix; its rows have seven. With Z the rows of what would be observed, whitened, one
QR factorization gives all of an analysis, and none of its parts is a difference:
    [[I, 0], [Z, X]] = Q [[T, K], [0, X_a]],
    I + Z^T Z = T^T T,   e = d T^-1,   x_a = x + e K,   P_a = X_a^T X_a.

G. J. Bierman, Factorization Methods for Discrete Sequential Estimation, 1977;
M. Morf and T. Kailath, Square-root algorithms for least-squares estimation, IEEE Trans. Autom.
Control 20, 1975.
"""

from __future__ import annotations

from math import log, pi
from typing import NamedTuple

import numpy as np

from ...array import Array, array_namespace, eye, sane, triangle, where_ok
from ...covariances.base import Covariance


class Gain(NamedTuple):
    """What data teach before they are read: T and T^-1 `(..., m, m)`, K, log p(y = h), X_a."""

    T: Array
    inverse: Array
    K: Array
    score: Array
    rows: Array

    def update(self, x: Array, d: Array) -> tuple[Array, Array]:
        """The mean of the analysis, and the log density of the data.

        A bad sensor may stand before a good one: what round-off leaves of e T = d is sought once
        more, so that what it left of the first is known to the second and corrected.

        Args:
            x: mean of the forecast `(..., n)`.
            d: what differs from it in the data, whitened, `(..., 1, m)`; 0 where nothing is seen.

        Returns:
            Mean `(..., n)`, and log p(y) `(...)`: its part of the log-likelihood (Schweppe, IEEE
            Trans. Inf. Theory 11, 1965).
        """
        e = d @ self.inverse
        e = e + (d - e @ self.T) @ self.inverse
        square = array_namespace(d).linalg.vecdot(e, e)[..., 0]
        return x + (e @ self.K)[..., 0, :], self.score - square / 2


def gain(X: Array, Z: Array, R: Covariance) -> Gain:
    """What data of these rows would teach.

    Args:
        X: rows of the state's covariance `(..., c, n)`.
        Z: rows of what would be observed, whitened, `(..., c, m)`; 0 where nothing is seen.
        R: the covariance of the data's errors.

    Returns:
        The gain; NaN for an experiment in which anything is not finite.
    """
    xp, (m, n) = array_namespace(X, Z), (Z.shape[-1], X.shape[-1])
    U, ok = sane(triangle(join(eye(m + n, Z)[:m], join(Z, X), -2)))
    T = U[..., :m, :m]
    size = where_ok(ok, xp.log(xp.linalg.diagonal(T)).sum(-1))
    parts = T, xp.linalg.inv(T), U[..., :m, m:], U[..., m:, m:]
    T, inverse, K, rows = parts if ok is True else (where_ok(ok, part) for part in parts)
    count = m if R.seen is None else xp.sum(xp.astype(R.seen, size.dtype), axis=-1)
    return Gain(T, inverse, K, -(count * log(2 * pi) + R.log_det()) / 2 - size, rows)


def variance(X: Array) -> Array:
    """The diagonal of X^T X, `(..., n)`, from rows X."""
    return array_namespace(X).linalg.vecdot(X, X, axis=-2)


def settled(X: Array) -> Array:
    """Rows to 49 binary digits of the 53, so that a covariance that has settled repeats.

    Matrices that stay the same carry a covariance to a limit, and round-off would move it there
    for ever. Four digits less, and after a while it repeats to the bit: Recall knows what follows.

    Args:
        X: a triangle `(..., c, n)` with a diagonal >= 0: other rows of the same covariance would
            not repeat.

    Returns:
        X, each number within a share of 2^-49 of itself; tensors and single precision as they are.
    """
    if not isinstance(X, np.ndarray) or X.dtype != np.float64:
        return X
    return ((X.view(np.int64) + 8) & -16).view(np.float64)


def join(a: Array, b: Array, axis: int = -1) -> Array:
    """Two blocks side by side, or one upon the other (`axis=-2`), their batch axes broadcast.

    Args:
        a: an array `(..., p, q)`.
        b: an array that fits.
        axis: along which.

    Returns:
        One array.
    """
    xp = array_namespace(a, b)
    if a.ndim > 2 or b.ndim > 2:
        lead = np.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
        a, b = (xp.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (a, b))
    return xp.concat((a, b), axis=axis)
