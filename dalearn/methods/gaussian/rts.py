"""The Rauch-Tung-Striebel smoother: the Kalman filter forward, then back from its last analysis.

With x, P the analysis at one observation, and x_f, P_f and x_s, P_s the forecast and the smoothed
state one observation later,
    G = P M^T P_f^-1,  x + G (x_s - x_f),  P + G (P_s - P_f) G^T.
The extended smoother has the filter's linearizations about its means in place of M. See `backward`
for the algebra on rows.

H. E. Rauch, F. Tung and C. T. Striebel, Maximum likelihood estimates of linear dynamic systems,
AIAA J. 3, 1965; S. Särkkä, Bayesian Filtering and Smoothing, 2013 (ch. 9).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ...array import (
    Array,
    Jacobian,
    Swept,
    array_namespace,
    check_factor,
    lift,
    root,
    triangle,
    typed,
    where_ok,
)
from ...array.derivative import linearize
from ...problem.like import ProblemLike, stepwise
from ..base import Cycle
from .affine import Affine
from .backward import Interval, Kernel, back, check_lag, smoothed
from .kalman import affinely_filtered, filtered, linearized
from .square_root import join


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
    G, W = back(Interval(X, X @ M.mT, N))
    rows = triangle(join(W, S @ G, -2))
    x = Kernel(x, xf, G, W).through(xs)
    P = rows.mT @ rows
    for ok in (a, b, c):
        x, P = where_ok(ok, x), where_ok(ok, P)
    return x, P


@typed
@dataclass(frozen=True, eq=False)
class RTS:
    """The Rauch-Tung-Striebel smoother: each smoothed state has seen all the data, or a lag's.

    `info["smoothed"]` at cycle k is the Gaussian at its time given the data up to cycle k + lag,
    so cycles come `lag` late (None: all at the end).

    Args:
        jacobian: the function that makes the matrices, once: see ExtendedKF.
        lag: for how many observation times a state goes on learning, an integer >= 0; None: to
            the last, a fixed-interval smoother.

    Raises:
        ValueError: for a lag out of its range; when run with a model or an operator that is not
            affine, as for KF: see ExtendedRTS.
    """

    residuals = True  # takes observed angles: see Observation
    jacobian: Jacobian = field(default=linearize, repr=False)
    _: KW_ONLY
    lag: int | None = None

    def __post_init__(self):
        check_lag(self.lag)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The Cycles of KF, `lag` of them late, with the Gaussian "smoothed" in `info`."""
        problem = stepwise(problem, "RTS")
        once = Affine(self.jacobian, problem)
        yield from smoothed(affinely_filtered(problem, once), self.lag, problem.like)


@typed
@dataclass(frozen=True, eq=False)
class ExtendedRTS:
    """The extended Rauch-Tung-Striebel smoother: ExtendedKF, and back by its linearizations.

    `info["smoothed"]` as for RTS. Inflation acts on the filter's analyses, and the smoother takes
    these as they are.

    Args:
        inflation: factor on the analysis standard deviations, as for ExtendedKF.
        jacobian: Jacobian of the model's step.
        operator_jacobian: Jacobian of the observation operator.
        lag: for how many observation times a state goes on learning; None: to the last.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: when run on a problem that does not give its model step by step.
    """

    residuals = True  # takes observed angles: see Observation
    inflation: Swept = 1.0
    _: KW_ONLY
    jacobian: Jacobian = field(default=linearize, repr=False)
    operator_jacobian: Jacobian = field(default=linearize, repr=False)
    lag: int | None = None

    def __post_init__(self):
        check_factor("inflation", self.inflation)
        check_lag(self.lag)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The Cycles of ExtendedKF, `lag` of them late, with "smoothed" in `info`."""
        problem = stepwise(problem, "ExtendedRTS")
        factor = lift(self.inflation, problem.like, problem.batch, "inflation")
        model, operator = linearized(self.jacobian), linearized(self.operator_jacobian)
        pairs = filtered(problem, model, operator, factor)
        yield from smoothed(pairs, self.lag, problem.like)
