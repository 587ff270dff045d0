"""3D-Var: the state nearest to the background and to the data, each by its own errors.

    min_v J(v) = |v|^2 / 2 + sum_k |R_k^-1/2 (y_k - H_k(x_k))|^2 / 2,   x_k = b_k + v L^T,
B = L L^T. With one observation time and a linear H the minimum is the best linear unbiased
estimate, x_b + B H^T (H B H^T + R)^-1 (y - H x_b), and one step of Gauss-Newton finds it. With
several times in a window (first guess at appropriate time, FGAT) the background follows the model,
so that data are compared with it when they were taken; the increment is the same at all times.

Lorenc, Analysis methods for numerical weather prediction, Q. J. R. Meteorol. Soc. 112, 1986;
Courtier et al., The ECMWF implementation of 3D-Var, I: formulation, ibid. 124, 1998; FGAT: Rabier
et al., Extended assimilation and forecast experiments with a four-dimensional variational
assimilation system, ibid. 124, 1998.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ...array import Array, Swept, check_between, check_count, typed
from ...covariances.base import Covariance
from ...problem.like import ProblemLike
from ..background import as_background
from ..base import Cycle
from .cost import Cost
from .gauss_newton import GaussNewton
from .paths import Increments, Window
from .solver import Solver
from .windows import cost_of, root_of, windows


@typed
@dataclass(frozen=True, eq=False)
class Var3D:
    """3D-Var, or 3D-Var-FGAT where the window is longer than one observation time.

    The background is the forecast from the last analysis. Forecast and analysis report the
    covariances that B claims. `info` has `cost` and its two terms, `gradient` (its length where
    the last step began), `step` (its length), `iterations` and `converged`.

    Args:
        B: the background's covariance, a Covariance (also one that is an operator, an ensemble, or
            a hybrid of both), a matrix or a vector of variances; "climatology", that of the
            problem's truth run, or "prior", that of its prior.
        factor: a multiple of B, on variances, a number or an array over the batch.
        window: how many observation times share one increment, an integer >= 1.
        solver: GaussNewton (matrices), IncrementalCG or LBFGS (none, for large states), or a
            function of a Cost that returns a Found.

    Raises:
        ValueError: for a setting out of its range, a B that is None or has another dimension, or
            when run with a climatology that the problem has no truth for.
    """

    residuals = laws = True  # takes observed angles, and any law of errors: see Observation
    B: Any = "climatology"
    _: KW_ONLY
    factor: Swept = 1.0
    window: int = 1
    solver: Solver = field(default_factory=GaussNewton)

    def __post_init__(self):
        check_count("window", self.window)
        check_between("factor", self.factor, 0, 1e12, open_low=True)
        object.__setattr__(self, "B", as_background(self.B))

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle for each observation time; those of a window come when it is done."""
        settings = root_of(self, problem), self.window, self.window, self.solver, self.path
        yield from windows(problem, *settings)

    def cost(self, problem: ProblemLike, first: int = 0, background: Array | None = None) -> Cost:
        """J of the window that begins with observation `first`, as a function of v.

        `background (..., n)` is the state before its forecast, by default the prior's mean.
        """
        return cost_of(self, problem, first, background)

    def path(self, problem: ProblemLike, x: Array, root: Covariance, window: Window) -> Increments:
        """How states follow from the control, from the background `x (..., 1, n)` on."""
        states = []
        for k in range(window.first, window.end):
            x = problem.forecast(x, k)
            states.append(x)
        return Increments(states, [root] * len(states))
