"""Gauss-Newton with matrices: the window linearized, solved exactly, and again.

Gauss-Newton solves the problem that is linear in the control exactly: with d the whitened
innovations at v and G their sensitivity,
    (I + G^T G) dv = G^T d - v,    v <- v + dv,
which is incremental 4D-Var, one linear problem for each outer loop. The inverse of the Hessian
I + G^T G is the covariance of v given the data. It is solved in the smaller of the two spaces, of
controls or of observations. A step that raises J is halved.

Lawless, Gratton and Nichols, An investigation of incremental 4D-Var using non-tangent linear
models, Q. J. R. Meteorol. Soc. 131, 2005.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property

import numpy as np

from ...array import Array, Jacobian, array_namespace, eye, sane, solve, where_ok
from ...array.derivative import linearize
from ...covariances.base import Covariance
from ...covariances.roots import Rows
from ...problem.border import has_parameters
from .cost import Cost
from .solver import (
    Found,
    check_stop,
    first_iterate,
    has_moved,
    line_search,
    squares,
    summary,
)


@dataclass(frozen=True, eq=False)
class Hessian:
    """I + G^T G from `transposed`, G^T `(..., c, M)`, in the smaller of the two spaces."""

    transposed: Array

    @property
    def _dual(self) -> bool:
        return self.transposed.shape[-1] < self.transposed.shape[-2]

    @cached_property
    def _gram(self) -> Array:
        T = self.transposed
        return T.mT @ T if self._dual else T @ T.mT

    def solve(self, b: Array) -> Array:
        """(I + G^T G)^-1 b^T for rows `b (..., j, c)`, as rows."""
        T = self.transposed
        A, ok = sane(self._gram + eye(self._gram.shape[-1], T))
        if self._dual:
            return where_ok(ok, b - solve(A, T.mT @ b.mT).mT @ T.mT)
        return where_ok(ok, solve(A, b.mT).mT)

    def half(self) -> Array:
        """A square root W of the inverse, W^T W, `(..., c, c)`: the cheapest one."""
        if self._dual:
            return self.root()
        one = eye(self._gram.shape[-1], self._gram)
        A, ok = sane(self._gram + one)
        try:
            L = array_namespace(A).linalg.cholesky(A)
        except (np.linalg.LinAlgError, RuntimeError):  # round-off, where data are far too good
            return self.root()
        return where_ok(ok, solve(L, one))

    def root(self) -> Array:
        """The symmetric square root of the inverse, `(..., c, c)`."""
        T = self.transposed
        xp = array_namespace(T)
        S, ok = sane(self._gram)
        s, U = xp.linalg.eigh(S)
        s = xp.clip(s, 0.0, None)
        f = (1 + s) ** -0.5
        if not self._dual:
            return where_ok(ok, (U * f[..., None, :]) @ U.mT)
        V, f = T @ U, -f / (1 + (1 + s) ** 0.5)  # (f - 1) / s, without 0 / 0
        return where_ok(ok, eye(T.shape[-2], T) + (V * f[..., None, :]) @ V.mT)


def where_going(going: Array, jacobian: Jacobian, cost: Cost) -> Jacobian:
    """`jacobian` for the experiments that are `going (...)`, zero for the others.

    All are done where the model has a parameter for each experiment.
    """
    xp, batch = array_namespace(going), cost.problem.batch
    if bool(xp.all(going)) or has_parameters(cost.problem):
        return jacobian

    def some(f: Callable, x: Array) -> tuple[Array, Array]:
        x = xp.broadcast_to(x, (*batch, *x.shape[-2:]))
        found = jacobian(f, x[going])
        full = [xp.zeros((*batch, *a.shape[1:]), dtype=a.dtype, device=a.device) for a in found]
        for a, b in zip(full, found, strict=True):
            a[going] = b
        return full[0], full[1]

    return some


@dataclass(frozen=True, eq=False)
class GaussNewton:
    """Gauss-Newton with matrices: for some thousands of controls, or of observations.

    A quadratic cost is solved by one step. The covariance found is that of the last linearization,
    one step before the minimum.

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

    def __call__(self, cost: Cost) -> Found:
        """The minimum from v = 0. Each experiment stops on its own."""
        at = before = first_iterate(cost)
        xp, one = array_namespace(at.v), eye(cost.controls, at.v)
        count = 0 * at.cost
        step = gradient = count
        going = xp.ones_like(count) > 0
        rows: list[Array] = []
        for _ in range(1 if cost.linear else self.iterations):
            jacobian = where_going(going, self.jacobian, cost)
            new = cost.path.rows(at.states, one, jacobian)
            new = [*new, cost.sensitivity(at.states, new, jacobian)]
            still = going[..., None, None]  # what has stopped keeps what it had
            rows = [xp.where(still, a, b) for a, b in zip(new, rows, strict=False)] or new
            b = at.d @ rows[-1].mT - at.v
            dv = Hessian(rows[-1]).solve(b)
            count = count + xp.astype(going, b.dtype)
            old, at = at, line_search(cost, at, dv, xp.astype(going, b.dtype))
            size, slope = (dv @ b.mT)[..., 0, 0] ** 0.5, squares(b) ** 0.5
            step = xp.where(going, size, step)
            gradient = xp.where(going, slope, gradient)
            going = going & (size > self.tolerance) & (not cost.linear) & has_moved(old, at)
            if not bool(xp.any(going)):
                break
        W = Hessian(rows[-1]).half()
        info = summary(at, gradient, step, count, cost.linear | (step <= self.tolerance))

        def posterior(root: Covariance) -> Rows:
            return Rows(W @ (root.values if isinstance(root, Rows) else root.color(one)))

        roots: list[Covariance] = [Rows(D) for D in rows[:-1]]
        states, first = cost.path.seen(at.states), cost.path.seen(before.states)
        return Found(at.v, states, first, roots, posterior, info)
