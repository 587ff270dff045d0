"""Gauss-Newton with matrices: the window linearized, solved exactly, and again.

Gauss-Newton solves the problem that is linear in the control exactly: with d the whitened
innovations at v and G their sensitivity,
    (I + G^T G) dv = G^T d - v,    v <- v + dv,
which is incremental 4D-Var, one linear problem for each outer loop. The inverse of the Hessian
I + G^T G is the covariance of v given the data (see hessian.py). A step that raises J is halved.

Lawless, Gratton and Nichols, An investigation of incremental 4D-Var using non-tangent linear
models, Q. J. R. Meteorol. Soc. 131, 2005.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

from ...array import Array, Jacobian, array_namespace, eye, typed
from ...array.derivative import linearize
from ...covariances.base import Covariance
from ...covariances.roots import Rows
from ...problem.border import has_parameters
from ..base import differentiated
from .cost import Cost
from .hessian import Hessian
from .solver import (
    Found,
    as_promised,
    check_stop,
    evaluated,
    first_iterate,
    has_moved,
    line_search,
    round_off,
    squares,
    summary,
)


def where_going(going: Array, jacobian: Jacobian, cost: Cost) -> Jacobian:
    """`jacobian` for the experiments that are `going (...)`, zero for the others.

    All are done where the model has a parameter for each experiment.
    """
    xp, batch = array_namespace(going), cost.problem.batch
    if bool(xp.all(going)) or has_parameters(cost.problem):
        return jacobian

    def some(f: Callable, x: Array) -> tuple[Array, Array]:
        x = xp.broadcast_to(x, (*batch, *x.shape[-2:]))
        found = differentiated(jacobian, f, x[going])
        full = [xp.zeros((*batch, *a.shape[1:]), dtype=a.dtype, device=a.device) for a in found]
        for a, b in zip(full, found, strict=True):
            a[going] = b
        return full[0], full[1]

    return some


@typed
@dataclass(frozen=True, eq=False)
class GaussNewton:
    """Gauss-Newton with matrices: for some thousands of controls, or of observations.

    A quadratic cost is solved by one step, and by a second where its round-off hides whether the
    first has reached the minimum: data far better than the background. The covariance found is
    that of the last linearization, one step before the minimum.

    Args:
        iterations: linearizations at most, an integer >= 1.
        tolerance: a step shorter than this, in standard deviations of the analysis over all
            directions, (dv A dv)^1/2, is the last: the next would be far shorter, as convergence
            is nearly quadratic.
        jacobian: `linearize` or `finite_difference`, or another function of their form, called
            once for the tangents of all model steps of a window.

    Raises:
        ValueError: for a setting out of its range.
    """

    iterations: int = 20
    _: KW_ONLY
    tolerance: float = 0.1
    jacobian: Jacobian = field(default=linearize, repr=False)
    differentiates = False

    def __post_init__(self):
        check_stop(self)

    def __call__(self, cost: Cost, start: Array | None = None) -> Found:
        """The minimum from v = 0, or from `start (..., 1, c)`; each experiment stops alone."""
        at = before = first_iterate(cost)
        if start is not None:
            at = evaluated(cost, start)
        xp, one = array_namespace(at.v), eye(cost.controls, at.v)
        count = 0 * at.cost
        step = gradient = floor = count
        going, proved = xp.ones_like(count) > 0, xp.ones_like(count) < 0
        rows: list[Array] = []
        hessian = Hessian(one)
        for _ in range(max(2, self.iterations) if cost.linear else self.iterations):
            jacobian = where_going(going, self.jacobian, cost)
            new = cost.path.rows(at.states, one, jacobian)
            new = [*new, cost.sensitivity(at.states, new, jacobian)]
            still = going[..., None, None]  # what has stopped keeps what it had
            rows = [xp.where(still, a, b) for a, b in zip(new, rows, strict=False)] or new
            hessian = Hessian(rows[-1])
            dv = hessian.step(at.d, at.v)
            slope = squares(at.d @ rows[-1].mT - at.v) ** 0.5
            size = (squares(dv) + squares(dv @ rows[-1])) ** 0.5
            count = count + xp.astype(going, size.dtype)
            old, at = at, line_search(cost, at, dv, xp.astype(going, size.dtype))
            step = xp.where(going, size, step)
            gradient = xp.where(going, slope, gradient)
            floor = xp.where(going, round_off(hessian.largest, dv), floor)
            if cost.linear:
                proved = proved | (going & as_promised(old, at, size, self.tolerance))
            going = going & (size > self.tolerance) & ~proved & has_moved(old, at)
            if not bool(xp.any(going)):
                break
        W = hessian.half()
        near = (step <= self.tolerance) & (floor <= self.tolerance)
        info = summary(at, gradient, step, count, proved | near)

        def posterior(root: Covariance) -> Rows:
            return Rows(W @ (root.values if isinstance(root, Rows) else root.color(one)))

        roots: list[Covariance] = [Rows(D) for D in rows[:-1]]
        states, first = cost.path.seen(at.states), cost.path.seen(before.states)
        return Found(at.v, states, first, roots, posterior, info)
