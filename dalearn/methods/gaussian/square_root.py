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

from ...array import Array, array_namespace, eye, sane, to_numpy, triangle, where_ok
from ...covariances.base import Covariance
from ...problem.observe import Observation, is_linear
from .one_by_one import condition


class Gain(NamedTuple):
    """What data teach before they are read: T and T^-1 `(..., m, m)`, K, log p(y = h), X_a.

    told: None, or which numbers have a finite variance, `(..., m)`; void: which have none. See
    `one_by_one`. endless: rows of infinite variance, or None.
    """

    T: Array
    inverse: Array
    K: Array
    score: Array
    rows: Array
    told: Array | None = None
    void: Array | None = None
    endless: Array | None = None

    def update(self, x: Array, d: Array, size: Array | None = None) -> tuple[Array, Array]:
        """The mean of the analysis, and the log density of the data.

        A bad sensor may stand before a good one: what round-off leaves of e T = d is sought once
        more, so that what it left of the first is known to the second and corrected.

        Args:
            x: mean of the forecast `(..., n)`.
            d: what differs from it in the data, `weighed`, `(..., 1, m)`; 0 where nothing is seen.
            size: of the numbers that `d` is the difference of, `(..., m)`, for their round-off.

        Returns:
            Mean `(..., n)`, and log p(y) `(...)`: its part of the log-likelihood (Schweppe, IEEE
            Trans. Inf. Theory 11, 1965).

        Raises:
            ValueError: for a perfect datum that contradicts what was known without error.
        """
        e = d @ self.inverse
        e = e + (d - e @ self.T) @ self.inverse
        if self.void is not None and self.told is not None:
            check_agreement(e[..., 0, :] * self.void, size)
            mean = x + (e @ self.K)[..., 0, :]
            e = e * self.told[..., None, :]
            return mean, self.score - array_namespace(d).linalg.vecdot(e, e)[..., 0] / 2
        square = array_namespace(d).linalg.vecdot(e, e)[..., 0]
        return x + (e @ self.K)[..., 0, :], self.score - square / 2


def weighed(R: Covariance, x: Array) -> Array:
    """Rows of data, whitened; as they are where R has no inverse, and 0 where nothing is seen."""
    if not R.singular:
        return R.whiten(x)
    if R.seen is None:
        return x
    xp = array_namespace(x, R.seen)
    return xp.where(R.seen[..., None, :], x, xp.zeros_like(x))


def errors(R: Covariance, like: Array) -> Array:
    """The covariance of the errors of numbers that are `weighed`, `(..., m, m)`."""
    if not R.singular:
        return eye(R.n, like)
    E, seen, one, xp = weighed(R, R.rows()), R.seen, eye(R.n, like), array_namespace(like)
    N = E.mT @ E
    return N if seen is None else N + xp.where(seen[..., None, :], 0 * one, one)


def sums(X: Array, H: Array) -> Array:
    """The size of what makes each of the numbers X H^T, `(..., m)`."""
    xp = array_namespace(X, H)
    return (variance(X)[..., None, :] ** 0.5 @ xp.abs(H).mT)[..., 0, :]


def images(observe: Observation, X: Array, h: Array) -> Array | None:
    """The same of an operator, where R has no inverse, else None."""
    if not observe.noise.singular:
        return None
    xp = array_namespace(X, h)
    if not is_linear(observe.operator):
        return xp.abs(h)
    parts = observe(variance(X)[..., None, :] ** 0.5 * eye(X.shape[-1], X))
    return xp.sum(xp.abs(parts), axis=-2)


def size_of(y: Array, h: Array) -> Array:
    """The size of the numbers in y - h, for their round-off."""
    xp = array_namespace(y, h)
    return xp.abs(y) + xp.abs(h)


def innovation(observe: Observation, y: Array, h: Array) -> tuple[Array, Array]:
    """What data `y (..., m)` differ by from h, `weighed`, `(..., 1, m)`; and their size."""
    return weighed(observe.noise, (y - observe.nearest(h, y))[..., None, :]), size_of(y, h)


def gain(X: Array, Z: Array, R: Covariance, size: Array | None = None) -> Gain:
    """What data of these rows would teach.

    Args:
        X: rows of the state's covariance `(..., c, n)`.
        Z: rows of what would be observed, `weighed`, `(..., c, m)`; 0 where nothing is seen.
        R: the covariance of the data's errors; where it has no inverse see `one_by_one`.
        size: of the numbers that Z is made of by sums, `(..., m)`, for their round-off.

    Returns:
        The gain; NaN for an experiment in which anything is not finite.
    """
    if R.singular:
        return _perfect(X, Z, R, size)
    xp, (m, n) = array_namespace(X, Z), (Z.shape[-1], X.shape[-1])
    U, ok = sane(triangle(join(eye(m + n, Z)[:m], join(Z, X), -2)))
    T = U[..., :m, :m]
    logs = where_ok(ok, xp.log(xp.linalg.diagonal(T)).sum(-1))
    parts = T, xp.linalg.inv(T), U[..., :m, m:], U[..., m:, m:]
    T, inverse, K, rows = parts if ok is True else (where_ok(ok, part) for part in parts)
    count = m if R.seen is None else xp.sum(xp.astype(R.seen, logs.dtype), axis=-1)
    return Gain(T, inverse, K, -(count * log(2 * pi) + R.log_det()) / 2 - logs, rows)


def _perfect(X: Array, Z: Array, R: Covariance, size: Array | None) -> Gain:
    xp, m = array_namespace(X, Z), Z.shape[-1]
    before, E = variance(X) ** 0.5, weighed(R, R.rows())
    B, ok = sane(
        join(join(E, eye(X.shape[-1], X)[:1] * xp.zeros_like(E[..., :1])), join(Z, X), -2)
    )
    scale = variance(B)[..., :m] ** 0.5
    got = condition(B, m, scale if size is None else xp.maximum(scale, size))
    score = -xp.sum(got.told, axis=-1) * log(2 * pi) / 2 - got.size
    rows = triangle(got.rows)
    tiny = 64 * B.shape[-1] * float(xp.finfo(B.dtype).eps)
    known = variance(rows) ** 0.5 <= tiny * before  # all that is left is round-off
    rows = xp.where(known[..., None, :], 0 * rows, rows)
    parts = got.T, xp.linalg.inv(got.T), got.K, score, rows
    T, inverse, K, score, rows = (where_ok(ok, part) for part in parts)
    return Gain(T, inverse, K, score, rows, got.told, got.void)


def check_agreement(gap: Array, size: Array | None) -> None:
    """Raise ValueError for data known before they came, which differ from what was known.

    Args:
        gap: the difference `(..., m)`, 0 for other data.
        size: of the numbers, `(..., m)`.
    """
    xp = array_namespace(gap)
    least = float(xp.finfo(gap.dtype).eps) ** 0.5 * (0 * gap if size is None else size)
    bad = xp.abs(gap) > least
    if bool(xp.any(bad)):
        at = np.argwhere(to_numpy(bad))[0].tolist()
        raise ValueError(
            f"perfect data contradict what is known without error: number {at[-1]}"
            + (f" of experiment {at[:-1]}" if at[:-1] else "")
            + f" is off by {float(gap[tuple(at)]):.3g} where its variance is 0; wanted data that "
            "agree, or an error of theirs or of the model (a variance in R or Q)"
        )


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
