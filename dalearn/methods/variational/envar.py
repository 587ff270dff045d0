"""4DEnVar: 4D-Var whose tangents are an ensemble's forecasts, so that no model is differentiated.

With x_k the mean and X_k the anomalies (rows) of an ensemble forecast at each observation k of a
window, increments are sums of anomalies, with the same weights at all times,
    J(v) = |v|^2 / 2 + sum_k |R_k^-1/2 (y_k - H_k(x_k + v X_k / sqrt(N - 1)))|^2 / 2.
Gauss-Newton needs only the linearized H. One step of it is the first iteration of the IEnKS. Made
local, each weight becomes a field (see covariances/ensemble.py); a static covariance may be added,
whose increments do not change with time.

The anomalies: by the symmetric root of the inverse Hessian, X_k <- (I + G^T G)^-1/2 X_k, as in the
ETKF; with localization or a static part, whose Hessian is not in the space of the members, by
an analysis of each member with perturbed observations.

Liu, Xiao and Wang, An ensemble-based four-dimensional variational data assimilation scheme, Mon.
Wea. Rev. 136, 2008; Buehner et al., ibid. 138, 2010; Lorenc, Q. J. R. Meteorol. Soc. 129, 2003.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, cast

from ...array import (
    Jacobian,
    Swept,
    array_namespace,
    check_between,
    check_count,
    convert_tree,
    eye,
    no_grad,
    normal,
    row_mean,
    typed,
)
from ...covariances.base import Covariance
from ...covariances.ensemble import Localized
from ...covariances.hybrid import Hybrid
from ...covariances.roots import Rows
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from ..ensemble.checks import check_ensemble, unless, unseen
from ..ensemble.failures import carried
from ..ensemble.inflation import Evidence, Inflation, begin
from ..ensemble.transform import check_rotation, rotations
from .cost import Cost
from .gauss_newton import GaussNewton
from .hessian import Hessian
from .paths import Increments, Window
from .solver import Found, count_unconverged, warn_unconverged


@typed
@dataclass(frozen=True, eq=False)
class EnVar4D:
    """4DEnVar over windows of observation intervals; with `window=1` it is 3DEnVar.

    Every time of a window has an analysis with all of the window's data: the mean and the members
    there. The next window begins with the members at its end. `info` as in Var4D.

    Args:
        members: ensemble size N, an integer >= 2.
        window: how many observation times a window holds, an integer >= 1.
        localization: None, or a Covariance of unit variances by which the ensemble's covariance is
            multiplied, entry by entry (`OnGrid`, `Dense(gaspari_cohn(...))`). It is not the
            Localization of the ensemble filters.
        static: None, or a Covariance to which the ensemble's is added.
        weight: share of `static` in the background's covariance, in (0, 1]; the ensemble's has the
            rest.
        inflation: factor on the anomalies after each window that has data, as in the ETKF.
        rotate: None, "householder" or "haar", a random rotation of the members after each analysis
            that keeps their mean and covariance: see ETKF.
        solver: a GaussNewton, of which only H is differentiated.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: for a localization, a static part or a solver of another kind.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    window: int = 1
    localization: Covariance | None = None
    static: Covariance | None = None
    weight: float = 0.5
    inflation: Swept | Inflation = 1.0
    rotate: Literal["householder", "haar"] | None = None
    solver: GaussNewton = field(default_factory=GaussNewton)

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)
        check_count("window", self.window)
        check_rotation(self.rotate)
        check_between("weight", self.weight, 0, 1, open_low=True)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle for each observation time; those of a window come when it is done."""
        like, N = problem.like, self.members
        for name in ("localization", "static"):
            given = getattr(self, name)
            if given is not None and given.n != problem.n:
                raise ValueError(f"{name} has dimension {given.n}, wanted {problem.n}")
        with no_grad(like):
            local, static = convert_tree((self.localization, self.static), like)
            inflate = begin(self.inflation, like, problem.batch)
            turns = rotations(self.rotate, rng, N, like)
            E = problem.prior.sample(rng, N)
            E = array_namespace(E).broadcast_to(E, (*problem.batch, *E.shape[-2:]))
        failed = 0
        for first in range(0, len(problem), self.window):
            w = Window(first, first, min(first + self.window, len(problem)))
            with no_grad(like):
                forecasts, counts = [], []
                for k in range(w.first, w.end):
                    E, lost, replace = carried(problem, E, k, rng)
                    if replace is not None:  # the same combinations at the window's other times
                        members = [replace(e.members) for e in forecasts]
                        forecasts = [Ensemble.unchecked(e) for e in members]
                    forecasts.append(Ensemble.unchecked(E))
                    counts.append(lost)
                own = [Rows(e.anomalies / (N - 1) ** 0.5) for e in forecasts]
                roots = [self._mixed(r, local, static) for r in own]
                path = Increments([e._mean for e in forecasts], roots)
                cost = Cost(problem, path, w, roots[0].controls)
                found = self.solver(cost)
                failed += count_unconverged(found.info)
                analysed = transformed if roots[0] is own[0] else perturbed
                X = analysed(cost, found, own, rng, self.solver.jacobian)
                analyses = [
                    Ensemble.of(x, (N - 1) ** 0.5 * A)
                    for x, A in zip(found.states, X, strict=True)
                ]
                observe, y = problem.at(w.end - 1)
                evidence = Evidence(*observe.together(observe(E), y), observe.noise)
                last, more = inflate(forecasts[-1], next(turns)(analyses[-1]), evidence)
                none = unseen(problem, range(w.first, w.end))
                analyses = [
                    unless(none, e, a)
                    for e, a in zip(forecasts, [*analyses[:-1], last], strict=True)
                ]
                E = analyses[-1].members
            for e, a, lost in zip(forecasts, analyses, counts, strict=True):
                yield Cycle(e, a, {**found.info, **more, "failed_members": lost})
        warn_unconverged(failed, self.solver)

    def _mixed(self, own: Rows, local: Covariance | None, static: Covariance | None) -> Covariance:
        """The background's covariance from the ensemble's."""
        N, ensemble = self.members, own
        if local is not None:
            ensemble = Localized.unchecked((N - 1) ** 0.5 * own.values, local)
        if static is None:
            return ensemble
        return Hybrid((self.weight, static), (1 - self.weight, ensemble))


def transformed(cost: Cost, found: Found, own: list[Rows], rng: Any, jacobian: Jacobian) -> list:
    """Analysis anomalies (..., N, n) / (N - 1)^1/2 at each time, by the symmetric root."""
    X = [r.values for r in own]
    W = Hessian(cost.sensitivity(found.states, X, jacobian)).root()
    return [W @ x for x in X]


def perturbed(cost: Cost, found: Found, own: list[Rows], rng: Any, jacobian: Jacobian) -> list:
    """Analysis anomalies (..., N, n) / (N - 1)^1/2 at each time: each member sees its own data.

    The minimum found is that of the mean; a member's departure from it solves the same linear
    problem for its own departure of the background and its own errors of the data.
    """
    path, N = cast(Increments, cost.path), own[0].controls
    one = eye(cost.controls, found.v)
    rows = [root.color(one) for root in path.roots]
    T = cost.sensitivity(found.states, rows, jacobian)
    Y = cost.sensitivity(found.states, [r.values for r in own], jacobian)
    e = normal(rng, (N, Y.shape[-1]), Y)
    e = (e - row_mean(e)) / (N - 1) ** 0.5  # whitened
    v = Hessian(T).step(e - Y, 0 * T[..., None, :, 0])
    return [r.values + root.color(v) for r, root in zip(own, path.roots, strict=True)]
