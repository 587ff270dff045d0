"""The unscented Rauch-Tung-Striebel smoother: back by what the sigma points of the filter say.

The points that carry an analysis x, P to a forecast x_f, P_f also have the covariance C of the
two, from which
    G = C P_f^-1,  x + G (x_s - x_f),  P + G (P_s - P_f) G^T.
Where model noise makes new points after each step, C goes through all of them.

S. Särkkä, Unscented Rauch-Tung-Striebel smoother, IEEE Trans. Autom. Control 53, 2008.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

from ...array import Swept, typed
from ...problem.like import ProblemLike, stepwise
from ..base import Cycle
from .backward import check_lag, smoothed
from .unscented import UKF, sigma_filtered


@typed
@dataclass(frozen=True, eq=False)
class UnscentedRTS:
    """The unscented Rauch-Tung-Striebel smoother: the UKF, and back without a further model run.

    `info["smoothed"]` as for RTS. Inflation acts on the filter's analyses, and the smoother takes
    these as they are.

    Args:
        alpha: how far out the points are, in (0, 1]: see UKF.
        beta: >= 0, what is known of the fourth moment, 2 for a Gaussian.
        kappa: above -n, adds to n in the distance of the points.
        inflation: factor on the analysis standard deviations, a number or an array over the batch.
        lag: for how many observation times a state goes on learning; None: to the last.

    Raises:
        ValueError: for settings out of range; when run, as for UKF.
        TypeError: when run on a problem that does not give its model step by step.
    """

    residuals = UKF.residuals
    alpha: float = 1.0
    _: KW_ONLY
    beta: float = 2.0
    kappa: float = 0.0
    inflation: Swept = 1.0
    lag: int | None = None

    def __post_init__(self):
        self._filter()
        check_lag(self.lag)

    def _filter(self) -> UKF:
        return UKF(self.alpha, beta=self.beta, kappa=self.kappa, inflation=self.inflation)

    def enlarged(self, n: int) -> float:
        """How much the mean of the sigma points enlarges the round-off of their images: see UKF.

        Args:
            n: the state's dimension.

        Returns:
            1 / c^2 where they lie c < 1 standard deviations from the mean, else 1.
        """
        return self._filter().enlarged(n)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The Cycles of UKF, `lag` of them late, with the Gaussian "smoothed" in `info`."""
        problem = stepwise(problem, "UnscentedRTS")
        pairs = sigma_filtered(problem, self._filter(), past=True)
        yield from smoothed(pairs, self.lag, problem.like)
