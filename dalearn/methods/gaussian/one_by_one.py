"""Data one number after the other: for errors without an inverse, and for priors of no end.

A number y_j that is known without error, or of which nothing is known, has no weight that could
be written. The joint Gaussian of data and state still has rows B, of covariance B^T B, and if
some directions have infinite variance, rows C beside them:
    B = [[E, 0], [Z, X]],   C = [Z', X'],   covariance  k C^T C + B^T B  for k to infinity,
with E the rows of R. Conditioning on y_j, with b = C_j and e = B_j their columns, is
    where b is not 0:  c = b^T C / |b|, then C <- C - b c / |b| and B <- B - e c / |b|;
    else              r = e^T B / |e|, then B <- B - e r / |e|;
    where both are 0, the number was known before it came: it is left out, or contradicts.
The c or r are the rows of T and K, as in one QR factorization of all data.

J. Durbin and S. J. Koopman, Time Series Analysis by State Space Methods, 2nd ed. 2012 (ch. 5 and
6.4: exact initial filtering, and univariate treatment).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...array import Array, array_namespace, eye


class Conditioned(NamedTuple):
    """What is left of rows B and C, and the rows of T and K.

    told: 1 for a number with a finite variance before it came, 0 else, `(..., m)`.
    void: 1 for a number that was known before it came.
    size: the sum of log T_jj over the numbers that are not void, `(...)`.
    """

    T: Array
    K: Array
    rows: Array
    endless: Array | None
    told: Array
    void: Array
    size: Array


def condition(
    B: Array, m: int, scale: Array, C: Array | None = None, wide: Array | None = None
) -> Conditioned:
    """Condition a joint Gaussian of m numbers and a state on the m numbers.

    Args:
        B: rows of its covariance `(..., c, m + n)`.
        m: how many numbers come first.
        scale: the size of what makes each number `(..., m)`: a variance below its round-off is 0.
        C: rows of infinite variance `(..., d, m + n)`, or None.
        wide: as `scale`, for C.

    Returns:
        T `(..., m, m)`, upper triangular, K `(..., m, n)`, and the rows left, `(..., c, n)` and
        `(..., d, n)`.
    """
    xp, p = array_namespace(B), B.shape[-1]
    tiny, unit = 64 * p * float(xp.finfo(B.dtype).eps), eye(p, B)
    lines, told, void, size = [], [], [], 0.0 * xp.sum(B[..., 0], axis=-1)
    for j in range(m):
        rest = 1 - unit[j]  # a column that is done
        along = fresh = None
        if C is not None and wide is not None:
            C, along, fresh = _endless(C, j, tiny * wide[..., j])
            C = C * rest
            share = along / xp.where(fresh, along[..., j], 1.0 + 0 * along[..., j])[..., None]
            scale = xp.maximum(scale, scale[..., j : j + 1] * xp.abs(share[..., :m]))
            B = B - B[..., j : j + 1] * share[..., None, :]
        e = B[..., j]
        f = xp.linalg.vecdot(e, e) ** 0.5
        some = f > tiny * scale[..., j]
        w = e / xp.where(some, f, 1.0 + 0 * f)[..., None]
        w = xp.where(some[..., None], w, 0 * w)[..., None, :]
        r = w @ B
        B = (B - w.mT @ r) * rest
        B = B - w.mT @ (w @ B)  # what round-off has left
        line, known = xp.where(some[..., None], r[..., 0, :], unit[j] + 0 * r[..., 0, :]), some
        if along is not None and fresh is not None:
            line, known = xp.where(fresh[..., None], along, line), some | fresh
            some = some & ~fresh
        lines.append(line)
        told.append(xp.astype(some, B.dtype) + 0 * size)
        void.append(xp.astype(~known, B.dtype) + 0 * size)
        size = size + xp.log(line[..., j])  # log 1 where void
    whole = _stack(lines)
    left = None if C is None else C[..., m:]
    told, void = xp.stack(told, axis=-1), xp.stack(void, axis=-1)
    return Conditioned(whole[..., :m], whole[..., m:], B[..., m:], left, told, void, size)


def _endless(C: Array, j: int, least: Array) -> tuple[Array, Array, Array]:
    """Rows C less the direction of column j, that direction, and where there was one.

    A reflection leaves the column in the first row, which then goes: each direction that is spent
    leaves a row of zeros at the end, and no round-off.
    """
    xp, b = array_namespace(C), C[..., j]
    g = xp.linalg.vecdot(b, b) ** 0.5
    fresh = g > least
    sign = xp.where(b[..., :1] < 0, -1.0 + 0 * g[..., None], 1.0 + 0 * g[..., None])
    first = eye(C.shape[-2], C)[0]
    v = b + sign * g[..., None] * first
    square = xp.linalg.vecdot(v, v)
    turn = xp.where(fresh, 2 / xp.where(square > 0, square, 1.0 + 0 * square), 0 * square)
    turned = C - (turn[..., None] * v)[..., None] * (v[..., None, :] @ C)
    along = xp.where(fresh[..., None], -sign * turned[..., 0, :], 0 * turned[..., 0, :])
    moved = xp.concat((turned[..., 1:, :], 0 * turned[..., :1, :]), axis=-2)
    return xp.where(fresh[..., None, None], moved, C), along, fresh


def _stack(lines: list[Array]) -> Array:
    xp = array_namespace(*lines)
    shape = np.broadcast_shapes(*(tuple(line.shape) for line in lines))
    return xp.stack([xp.broadcast_to(line, shape) for line in lines], axis=-2)
