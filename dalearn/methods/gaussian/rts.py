"""The Rauch-Tung-Striebel smoother: the Kalman filter forward, then back from its last analysis.

With x, P the analysis at one observation, and x_f, P_f and x_s, P_s the forecast and the smoothed
state one observation later,
    G = P M^T P_f^-1,  x + G (x_s - x_f),  P + G (P_s - P_f) G^T.

H. E. Rauch, F. Tung and C. T. Striebel, Maximum likelihood estimates of linear dynamic systems,
AIAA J. 3, 1965.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...array import Array, Jacobian, array_namespace, eye, no_grad, sane, where_ok
from ...array.derivative import linearize
from ...covariances.matrices import Dense
from ...problem.belief import Gaussian
from ...problem.like import ProblemLike, stepwise
from ..base import Cycle
from .affine import linearized_once
from .kalman import filtered


def rts_update(
    x: Array, P: Array, M: Array, Q: Array, xf: Array, Pf: Array, xs: Array, Ps: Array
) -> tuple[Array, Array]:
    """One step back: the analysis, corrected by what the data have said of a later time.

    G = P M^T Pf^-1,  x + G (xs - xf),  (I - G M) P (I - G M)^T + G (Ps + Q) G^T. Directions in
    which the forecast has no variance are left out of the inverse.

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
    xp = array_namespace(x, P, M, Pf, xs, Ps)
    n = x.shape[-1]
    scale = xp.linalg.diagonal(Pf)[..., None, :] ** 0.5
    scale = xp.where(scale > 0, scale, 1 + 0 * scale)
    C, ok = sane(Pf / scale / scale.mT)
    s, V = xp.linalg.eigh(C)
    none = (s < n * float(xp.finfo(s.dtype).eps) * s[..., -1:]) | (s <= 0)  # no variance there
    inverse = xp.where(none, 0.0 * s, 1 / xp.where(s > 0, s, 1 + 0 * s))
    G = (P @ M.mT / scale) @ (V * inverse[..., None, :]) @ V.mT / scale
    rest = eye(n, P) - G @ M
    P = rest @ P @ rest.mT + G @ (Ps + Q) @ G.mT
    x = x + ((xs - xf)[..., None, :] @ G.mT)[..., 0, :]
    return where_ok(ok, x), where_ok(ok, (P + P.mT) / 2)


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
        once = linearized_once(self.jacobian, problem)
        cycles, intervals = zip(*filtered(problem, once, once), strict=True)
        smoothed = [cycles[-1].analysis]
        with no_grad(problem.like):
            for k in range(len(cycles) - 2, -1, -1):
                here, later = cycles[k].analysis, cycles[k + 1].forecast
                parts = _parts(here) + intervals[k + 1] + _parts(later) + _parts(smoothed[-1])
                x, P = rts_update(*parts)
                smoothed.append(Gaussian.unchecked(x, Dense.unchecked(P)))
        for cycle, state in zip(cycles, reversed(smoothed), strict=True):
            yield cycle.with_info(smoothed=state)


def _parts(belief: Any) -> tuple[Array, Array]:
    return belief.mean, belief.cov.matrix()
