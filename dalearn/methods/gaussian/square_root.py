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

from ...array import Array, array_namespace, device, eye, sane, triangle, where_ok
from ...covariances.base import Covariance


class Gain(NamedTuple):
    """What data teach, before they are read: T `(..., m, m)`, K, log |T|, and X_a."""

    T: Array
    K: Array
    size: Array
    rows: Array

    def update(self, x: Array, d: Array, R: Covariance) -> tuple[Array, Array]:
        """The mean of the analysis, and the log density of the data.

        Args:
            x: mean of the forecast `(..., n)`.
            d: what differs from it in the data, whitened, `(..., 1, m)`; 0 where nothing is seen.
            R: their covariance.

        Returns:
            Mean `(..., n)`, and log p(y) `(...)`: its part of the log-likelihood (Schweppe, IEEE
            Trans. Inf. Theory 11, 1965).
        """
        xp = array_namespace(x, d)
        e = _substituted(self.T, d)
        m = R.n if R.seen is None else xp.sum(xp.astype(R.seen, d.dtype), axis=-1)
        square = xp.linalg.vecdot(e, e)[..., 0]
        score = -(m * log(2 * pi) + R.log_det() + square) / 2 - self.size
        return x + (e @ self.K)[..., 0, :], score


def gain(X: Array, Z: Array) -> Gain:
    """What data of these rows would teach.

    Args:
        X: rows of the state's covariance `(..., c, n)`.
        Z: rows of what would be observed, whitened, `(..., c, m)`; 0 where nothing is seen.

    Returns:
        The gain; NaN for an experiment in which anything is not finite.
    """
    xp, m = array_namespace(X, Z), Z.shape[-1]
    zero = xp.zeros((m, X.shape[-1]), dtype=X.dtype, device=device(X))
    U, ok = sane(triangle(join(join(eye(m, Z), zero), join(Z, X), -2)))
    T = U[..., :m, :m]
    size = xp.sum(xp.log(xp.abs(xp.linalg.diagonal(T))), axis=-1)
    parts = T, U[..., :m, m:], size, U[..., m:, m:]
    return Gain(*(where_ok(ok, part) for part in parts))


def _substituted(T: Array, d: Array) -> Array:
    """e `(..., 1, m)` with e T = d, one datum after the other.

    A bad sensor may stand before a good one: what round-off leaves of the first is then known to
    the second and corrected. Neither an inverse of T nor an exchange of rows would do that.
    """
    m = T.shape[-1]
    if m <= 8:  # element by element: the same to the bit in a batch and alone
        parts = [d[..., :1] / T[..., :1, :1]]
        for i in range(1, m):
            d = d[..., 1:] - parts[-1] * T[..., i - 1 : i, i:]
            parts.append(d[..., :1] / T[..., i : i + 1, i : i + 1])
        return array_namespace(d).concat(parts, axis=-1)
    xp = array_namespace(T, d)  # T^T upside down is upper triangular: no rows are exchanged
    T, d = xp.flip(T, axis=(-2, -1)), xp.flip(d, axis=-1)
    lead = np.broadcast_shapes(tuple(T.shape[:-2]), tuple(d.shape[:-2]))
    T, d = (xp.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (T, d))
    return xp.flip(xp.linalg.solve(T.mT, d.mT).mT, axis=-1)


def variance(X: Array) -> Array:
    """The diagonal of X^T X, `(..., n)`, from rows X."""
    return array_namespace(X).linalg.vecdot(X, X, axis=-2)


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
