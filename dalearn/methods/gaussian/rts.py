"""The Rauch-Tung-Striebel smoother: the Kalman filter forward, then back from its last analysis.

With x, P the analysis at one observation, and x_f, P_f and x_s, P_s the forecast and the smoothed
state one observation later,
    G = P M^T P_f^-1,  x + G (x_s - x_f),  P + G (P_s - P_f) G^T.
On rows, P = X^T X and Q = N^T N, one QR factorization gives P_f = F^T F, G and what is left:
    [[X M^T, X], [N, 0]] = Q [[F, Y], [0, W]],  G^T = F^-1 Y,  P - G P_f G^T = W^T W.

H. E. Rauch, F. Tung and C. T. Striebel, Maximum likelihood estimates of linear dynamic systems,
AIAA J. 3, 1965.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...array import (
    Array,
    Jacobian,
    Recall,
    array_namespace,
    eye,
    no_grad,
    root,
    sane,
    triangle,
    typed,
    where_ok,
)
from ...array.derivative import linearize
from ...covariances.roots import Rows
from ...problem.belief import Gaussian
from ...problem.like import ProblemLike, stepwise
from ..base import Cycle
from .affine import Affine
from .kalman import Interval, filtered
from .square_root import join, settled, variance


@typed
def rts_update(
    x: Array, P: Array, M: Array, Q: Array, xf: Array, Pf: Array, xs: Array, Ps: Array
) -> tuple[Array, Array]:
    """One step back: the analysis, corrected by what the data have said of a later time.

    G = P M^T Pf^-1,  x + G (xs - xf),  P - G Pf G^T + G Ps G^T, with Pf = M P M^T + Q. Directions
    in which the forecast has no variance are left out of the inverse.

    Args:
        x: mean of the analysis `(..., n)`.
        P: its covariance `(..., n, n)`.
        M: the model's matrix over the interval, `(..., n, n)`.
        Q: covariance of its error over the interval, `(..., n, n)`.
        xf: mean of the forecast at the interval's end `(..., n)`.
        Pf: its covariance.
        xs: mean of the smoothed state there `(..., n)`.
        Ps: its covariance.

    Returns:
        Mean `(..., n)` and covariance `(..., n, n)` of the smoothed state.
    """
    array_namespace(x, P, M, Q, xf, Pf, xs, Ps)
    (X, a), (N, b), (S, c) = (root(C) for C in (P, Q, Ps))
    G, rows = _back(X, Interval(X @ M.mT, N), S)
    x = x + ((xs - xf)[..., None, :] @ G)[..., 0, :]
    P = rows.mT @ rows
    for ok in (a, b, c):
        x, P = where_ok(ok, x), where_ok(ok, P)
    return x, P


def _back(X: Array, interval: Interval, S: Array) -> tuple[Array, Array]:
    """G^T `(..., n, n)`, and rows of the smoothed covariance.

    X: rows of the analysis; S: rows of the smoothed covariance at the interval's end.
    """
    n, J, N = X.shape[-1], join(interval.carried, X), interval.noise
    if N is not None:
        J = join(J, join(N, 0 * N), -2)
    U, ok = sane(triangle(J))
    r = min(U.shape[-2], n)
    F, Y, W = U[..., :r, :n], U[..., :r, n:], U[..., r:, n:]
    V, rest = _inverse(F, Y)
    G = V @ Y
    rows = join(W, S @ G, -2)
    rows = triangle(rows if rest is None else join(rows, rest, -2))
    return where_ok(ok, G), where_ok(ok, rows)


def _inverse(F: Array, Y: Array) -> tuple[Array, Array | None]:
    """F^-1 and None; where F is singular, its pseudo-inverse and the rows of Y that it leaves.

    Columns are measured by their own size: units do not matter.
    """
    xp, (r, n) = array_namespace(F), F.shape[-2:]
    s, tiny = variance(F) ** 0.5, n * float(xp.finfo(F.dtype).eps)
    regular = xp.all(xp.linalg.diagonal(F) > tiny * s[..., :r], axis=-1) & (r == n)
    if bool(xp.all(regular)):
        return xp.linalg.inv(F), None
    s = xp.where(s > 0, s, 1.0 + 0 * s)[..., None, :]
    V = xp.linalg.inv(xp.where(regular[..., None, None], F, eye(n, F))) if r == n else None
    U, w, Z = xp.linalg.svd(F / s, full_matrices=False)
    keep = w > tiny * w[..., :1]
    inverse = xp.where(keep, 1 / xp.where(keep, w, 1.0 + 0 * w), 0 * w)
    pseudo = (Z.mT * inverse[..., None, :]) @ U.mT / s.mT
    kept = U * xp.astype(keep, w.dtype)[..., None, :]
    rest = Y - kept @ (kept.mT @ Y)
    if V is None:
        return pseudo, rest
    here = regular[..., None, None]
    return xp.where(here, V, pseudo), xp.where(here, 0 * rest, rest)


@typed
@dataclass(frozen=True, eq=False)
class RTS:
    """The Rauch-Tung-Striebel smoother: each smoothed state has seen all the data.

    Args:
        jacobian: the function that makes the matrices, once: see ExtendedKF.

    Raises:
        ValueError: when run with a model or an operator that is not affine, as for KF.
    """

    jacobian: Jacobian = field(default=linearize, repr=False)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The Cycles of KF, after the last is done, with the Gaussian "smoothed" in `info`."""
        problem = stepwise(problem, "RTS")
        once = Affine(self.jacobian, problem)
        cycles, intervals = zip(*filtered(problem, once, once), strict=True)
        smoothed, recall = [cycles[-1].analysis], Recall()
        with no_grad(problem.like):
            for k in range(len(cycles) - 2, -1, -1):
                here, later, end = cycles[k].analysis, cycles[k + 1].forecast, smoothed[-1]
                X, S = here.cov.values, end.cov.values
                back = partial(_smoothed, X, intervals[k + 1], S)
                G, cov = recall(S, (X, intervals[k + 1]), back)
                x = here.mean + ((end.mean - later.mean)[..., None, :] @ G)[..., 0, :]
                smoothed.append(Gaussian.unchecked(x, cov))
        for cycle, state in zip(cycles, reversed(smoothed), strict=True):
            yield cycle.with_info(smoothed=state)


def _smoothed(X: Array, interval: Interval, S: Array) -> tuple[Array, Rows]:
    G, rows = _back(X, interval, S)
    return G, Rows(settled(rows))
