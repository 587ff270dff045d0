"""The minimum of the weak-constraint cost: Gauss-Newton or Levenberg-Marquardt on a chain in time.

The Hessian A of the linearized cost (see weak_cost.py) is block tridiagonal, so the step
dX = -A^-1 grad J costs O(T). Gauss-Newton searches along the line: X <- X + a dX with a = 1, 1/2,
1/4, ... until J falls. Levenberg-Marquardt bends and shortens the step instead: A + l diag(A),
with l divided by 10 after a step that was good and multiplied by 10 after one that was not.

In a linear problem one step is exact, and its end is the Rauch-Tung-Striebel smoother.

Bell, The iterated Kalman smoother as a Gauss-Newton method, SIAM J. Optim. 4, 1994; as Algorithm 1
of Blanke, Fablet and Lelarge, Neural incremental data assimilation, arXiv, 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from ...array import Array, Jacobian, array_namespace, eye, no_grad, typed, where_ok
from ...array.derivative import linearize
from ...array.tridiagonal import block_cholesky
from ...covariances.base import Covariance
from ...covariances.matrices import Dense
from ...problem.belief import Gaussian
from ...problem.like import one_or_all
from ..base import differentiated
from .weak_cost import WeakCost, along
from .weak_root import factored

HALVINGS = 12  # of a step that raises the cost, at most


class Chain(NamedTuple):
    """A Gaussian chain: a minimum of WeakCost and, to second order, what is known of it.

    `states (..., T + 1, n)`, their covariances `(..., T + 1, n, n)`, those of x_{t+1} with x_t,
    `between (..., T, n, n)`, and `info`, numbers for each experiment `(...)`.
    """

    states: Array
    covariances: Array
    between: Array
    info: dict[str, Array]

    def at(self, t: int) -> Gaussian:
        """The belief about x_t."""
        return Gaussian.unchecked(
            self.states[..., t, :], Dense.unchecked(self.covariances[..., t, :, :])
        )


def forecast_chain(
    steps: Sequence[Callable],
    x: Array,
    P: Array,
    noise: Sequence[Covariance],
    jacobian: Jacobian = linearize,
) -> Chain:
    """The mean `x (..., n)` run through the model, its covariance `P` through the tangent model.

    P_{t+1} = M_t P_t M_t^T + Q_t, over the `steps`, each with its noise: what is known without
    data.
    """
    xp, states = array_namespace(x), [x[..., None, :]]
    for step in steps:
        states.append(step(states[-1]))
    X, spreads, between = xp.concat(states, axis=-2), [P], []
    J = along(partial(differentiated, jacobian), one_or_all(list(steps)), X[..., :-1, :])[1]
    matrices = {id(Q): Q.matrix() for Q in noise}
    for t, Q in enumerate(noise):
        between.append(J[..., t, :, :] @ spreads[-1])
        spreads.append(between[-1] @ J[..., t, :, :].mT + matrices[id(Q)])
    spreads[0] = spreads[-1] * 0 + spreads[0]  # batch axes that Q alone has
    return Chain(X, xp.stack(spreads, axis=-3), xp.stack(between, axis=-3), {})


@typed
def weak4d(
    cost: WeakCost,
    start: Array,
    iterations: int = 20,
    tolerance: float = 0.03,
    damping: float = 0.0,
    jacobian: Jacobian = linearize,
) -> Chain:
    """The minimum of the weak-constraint cost that Gauss-Newton reaches from a trajectory.

    Args:
        cost: the cost J.
        start: the first guess `(..., T + 1, n)`.
        iterations: steps at most; an experiment also ends when no step lowers J.
        tolerance: an experiment has converged when the step to the linearized problem's minimum is
            shorter than this in posterior standard deviations, (grad J^T A^-1 grad J)^1/2.
        damping: the first l of Levenberg-Marquardt; 0 for Gauss-Newton.
        jacobian: Jacobian of model and operators, as in ExtendedKF.

    Returns:
        The Chain at the minimum. Its `info` has "cost", the terms "cost_background", "cost_model"
        and "cost_observations", "gradient" (the length above), "iterations" (linearizations from
        which a step was tried) and "converged".
    """
    with no_grad(start):
        return _minimised(cost, start, iterations, tolerance, damping, jacobian)


def _minimised(
    cost: WeakCost, X: Array, iterations: int, tolerance: float, damping: float, jacobian: Jacobian
) -> Chain:
    xp, J = array_namespace(X), cost(X)
    count = xp.zeros_like(J)
    weight = damping + count
    going = good = xp.isfinite(J)
    for i in range(iterations + 1):
        D, O, g = cost.linearized(X, jacobian)
        factor = factored(cost, X, D, O, jacobian)
        dX = factor.solve(-g)
        size = xp.abs(xp.sum(g * dX, axis=(-2, -1))) ** 0.5
        going = going & ~(size <= tolerance) & (xp.isfinite(size) | (weight > 0))
        if i == iterations or not bool(xp.any(going)):
            break
        count = count + xp.astype(going, J.dtype)
        if damping:
            X, J, better = _tried(cost, X, J, _damped(D, O, g, weight), going)
            weight = xp.where(better, weight / 10, xp.where(going, weight * 10, weight))
        else:
            X, J, going = _line_search(cost, X, J, dX, 1e-4 * size * size, going)
    converged = good & (size <= tolerance)
    X = where_ok(good, xp.where(converged[..., None, None], X + dX, X))
    b, e, d = cost.terms(X)
    info = {"cost": b + e + d, "cost_background": b, "cost_model": e, "cost_observations": d}
    info |= {"gradient": size, "iterations": count, "converged": converged}
    covariances, between = factor.inverse()
    return Chain(X, where_ok(good, covariances), where_ok(good, between), info)


def _damped(D: Array, O: Array, g: Array, weight: Array) -> Array:
    """The step of Levenberg-Marquardt, -(A + weight diag(A))^-1 g."""
    one = eye(D.shape[-1], D)
    return block_cholesky(D * (1 + weight[..., None, None, None] * one), O).solve(-g)


def _tried(
    cost: WeakCost, X: Array, J: Array, step: Array, going: Array, fall: Array | float = 0.0
) -> tuple[Array, Array, Array]:
    """Where the step has lowered J by `fall` or more it is taken: X, J, and where `(...)`."""
    xp = array_namespace(X)
    new = X + step
    total = cost(new)
    better = going & (total <= (1 + 64 * float(xp.finfo(X.dtype).eps)) * J - fall)
    X, J = xp.where(better[..., None, None], new, X), xp.where(better, total, J)
    return X, J, better


def _line_search(
    cost: WeakCost, X: Array, J: Array, dX: Array, slope: Array, going: Array
) -> tuple[Array, Array, Array]:
    """The step, halved until J falls by a share of its slope (Armijo), where `going (...)`."""
    xp, share = array_namespace(X), 1 + 0 * J
    for _ in range(HALVINGS):
        tried = _tried(cost, X, J, share[..., None, None] * dX, going, share * slope)
        better = tried[2]
        if bool(xp.all(better | ~going)):
            break
        share = xp.where(better, share, share / 2)
    return tried
