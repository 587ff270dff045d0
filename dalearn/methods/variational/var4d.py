"""Strong-constraint 4D-Var: the start of a window from which the model fits all of its data.

    min_v J(v) = |v|^2 / 2 + sum_k |R_k^-1/2 (y_k - H_k(x_k))|^2 / 2,
    x_0 = x_b + v L^T,   x_k = M(x_{k-1}),   B = L L^T.

Within a window the model is taken as exact. Minimised by Gauss-Newton this is incremental 4D-Var;
the tangents and adjoints come from automatic differentiation.

Le Dimet and Talagrand, Variational algorithms for analysis and assimilation of meteorological
observations, Tellus 38A, 1986; Courtier, Thepaut and Hollingsworth, A strategy for operational
implementation of 4D-Var, using an incremental approach, Q. J. R. Meteorol. Soc. 120, 1994.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ...array import Array, Swept, check_between, check_count, check_factor, lift, typed
from ...covariances.base import Covariance
from ...covariances.hybrid import Hybrid
from ...problem.like import ProblemLike, stepwise
from ..background import as_background
from ..base import Cycle
from ..ensemble.checks import where_seen
from .cost import Cost
from .gauss_newton import GaussNewton
from .paths import Trajectory, Window
from .solver import Solver
from .windows import cost_of, root_of, windows


@typed
@dataclass(frozen=True, eq=False)
class Var4D:
    """4D-Var over windows of observation intervals.

    The background of a window is the analysis at its start. Cycle k's `analysis` is the state at
    observation k given its window's data, and `info["smoothed"]` the last estimate of it: for the
    last observation of a window that is the start of the next. `info` also has `cost` and its two
    terms, `gradient` (its length where the last step began), `step` (its length), `iterations`
    and `converged`. Model noise Q is ignored: see WeakVar4D.

    Args:
        window: how many observation times a window holds, an integer >= 1.
        shift: by how many it moves on, at most `window`; by default all. With less, windows
            overlap, and only new data count.
        B: covariance of the background at the first window's start, a Covariance, a matrix or a
            vector of variances; "climatology", that of the problem's truth run, or "prior", that
            of its prior.
        factor: a multiple of B, on variances, a number or an array over the batch.
        evolve: whether later windows have, instead of B, the previous window's analysis
            covariance, propagated to their start by the tangent model.
        inflation: factor on the standard deviations of that propagated covariance, a number or an
            array over the batch; not after a window without data.
        solver: GaussNewton (matrices), IncrementalCG or LBFGS (none, for large states), or a
            function of a Cost that returns a Found.
        checkpoint: whether solvers without matrices keep a window's states at observations only,
            and run the model again between them.

    Raises:
        ValueError: for a setting out of its range, a B that is None or has another dimension, or
            when run with a climatology that the problem has no truth for.
        TypeError: when run with a model that cannot be differentiated (see `finite_difference`),
            or on a problem that does not give its model step by step.
    """

    residuals = laws = True  # takes observed angles, and any law of errors: see Observation
    window: int = 1
    _: KW_ONLY
    shift: int | None = None
    B: Any = "climatology"
    factor: Swept = 1.0
    evolve: bool = False
    inflation: Swept = 1.0
    solver: Solver = field(default_factory=GaussNewton)
    checkpoint: bool = False

    def __post_init__(self):
        check_count("window", self.window)
        check_count("shift", self._shift)
        if self._shift > self.window:
            raise ValueError(
                f"shift must be at most the window's {self.window} observations, met {self.shift}"
            )
        if self.evolve and getattr(self.solver, "differentiates", False):
            raise ValueError(
                f"evolve=True carries covariances as matrices, met {type(self.solver).__name__}, "
                "which has none; wanted GaussNewton"
            )
        check_between("factor", self.factor, 0, 1e12, open_low=True)
        check_factor("inflation", self.inflation)
        object.__setattr__(self, "B", as_background(self.B))

    @property
    def _shift(self) -> int:
        return self.window if self.shift is None else self.shift

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle for each observation time; those of a window come when it is done."""
        scale = lift(self.inflation, problem.like, problem.batch, "inflation")
        settings = root_of(self, problem), self.window, self._shift, self.solver, self.path

        def evolved(errors: Covariance, none: Array | None) -> Hybrid:
            factor = where_seen(scale, none, problem.like)
            weight = factor if isinstance(factor, float) else factor[..., 0, 0]
            return Hybrid.unchecked((weight**2, errors))

        yield from windows(problem, *settings, evolved if self.evolve else None)

    def cost(self, problem: ProblemLike, first: int = 0, background: Array | None = None) -> Cost:
        """J of the window that begins before observation `first`, as a function of v.

        `background (..., n)` is the state at its start, by default the prior's mean.
        """
        return cost_of(self, problem, first, background)

    def path(self, problem: ProblemLike, x: Array, root: Covariance, window: Window) -> Trajectory:
        """How states follow from the control, from the background `x (..., 1, n)` on."""
        return Trajectory(stepwise(problem, "Var4D"), x, root, window, self.checkpoint)
