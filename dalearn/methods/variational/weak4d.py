"""Weak-constraint 4D-Var: the whole trajectory is sought, and the model may err at every step.

The unknown is X = (x_0, ..., x_T), a state for each model step of a window, and the cost J(X) has
three terms: of background, model and observations (see chain.py). Linearized about X its Hessian
A is block tridiagonal, so Gauss-Newton has its step dX = -A^-1 grad J at a cost that grows with T,
and searches along the line: X <- X + a dX with a = 1, 1/2, 1/4, ... until J falls.
Levenberg-Marquardt bends and shortens the step instead: A + l diag(A), with l divided by 10 after
a step that was good and multiplied by 10 after one that was not.

In a linear problem one step is exact, and its end is the Rauch-Tung-Striebel smoother. As Q tends
to 0 the minimum tends to that of strong-constraint 4D-Var, but A gets worse conditioned, like 1/Q.

Tremolet, Model-error estimation in 4D-Var, Q. J. R. Meteorol. Soc. 133, 2007; Fisher et al.,
Weak-constraint and long-window 4D-Var, ECMWF Tech. Memo. 655, 2011; Bell, The iterated Kalman
smoother as a Gauss-Newton method, SIAM J. Optim. 4, 1994. As Algorithm 1 of Blanke, Fablet and
Lelarge, Neural incremental data assimilation, arXiv, 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from ...array import (
    Array,
    array_namespace,
    check_between,
    check_count,
    check_factor,
    convert,
    convert_tree,
    definite,
    eye,
    lift,
    no_grad,
    where_ok,
)
from ...array.derivative import linearize
from ...array.tridiagonal import block_cholesky
from ...covariances.matrices import as_covariance
from ...problem.like import ProblemLike, Stepwise, stepwise
from ..base import Cycle, check_batch, moments
from .weak_cost import Found, WeakCost, forecast_chain
from .windows import unfinished, warn_of

HALVINGS = 12  # of a step that raises the cost, at most


def weak4d(
    cost: WeakCost,
    start: Array,
    iterations: int = 20,
    tolerance: float = 0.03,
    damping: float = 0.0,
    jacobian: Callable = linearize,
) -> Found:
    """The minimum of `cost` that Gauss-Newton reaches from `start (..., T + 1, n)`.

    An experiment has converged when the step to the linearized problem's minimum is shorter than
    `tolerance` posterior standard deviations: (grad J^T A^-1 grad J)^1/2, the "gradient" of
    `info`. Else it ends after `iterations`, or when no step lowers J. `damping` > 0 is the first l
    of Levenberg-Marquardt. `info` also has "cost", its terms "cost_background", "cost_model" and
    "cost_observations", "iterations" (linearizations from which a step was tried) and "converged".
    """
    with no_grad(start):
        return _minimised(cost, start, iterations, tolerance, damping, jacobian)


def _minimised(
    cost: WeakCost, X: Array, iterations: int, tolerance: float, damping: float, jacobian: Callable
) -> Found:
    xp, one = array_namespace(X), eye(X.shape[-1], X)
    J = cost(X)
    count, fit = xp.zeros_like(J), 1 + 64 * float(xp.finfo(X.dtype).eps)
    weight = damping + count
    going = good = xp.isfinite(J)
    for i in range(iterations + 1):
        D, O, g = cost.linearized(X, jacobian)
        factor = block_cholesky(D, O)
        dX = factor.solve(-g)
        size = xp.abs(xp.sum(g * dX, axis=(-2, -1))) ** 0.5
        going = going & ~(size <= tolerance) & (xp.isfinite(size) | (weight > 0))
        if i == iterations or not bool(xp.any(going)):
            break
        count = count + xp.astype(going, J.dtype)
        if damping:
            step = block_cholesky(D * (1 + weight[..., None, None, None] * one), O).solve(-g)
            new = X + step
            total = cost(new)
            better = going & (total <= fit * J)
            weight = xp.where(better, weight / 10, xp.where(going, weight * 10, weight))
        else:
            share, slope = 1 + 0 * J, 1e-4 * size * size
            for _ in range(HALVINGS):
                new = X + share[..., None, None] * dX
                total = cost(new)
                better = going & (total <= fit * J - share * slope)
                if bool(xp.all(better | ~going)):
                    break
                share = xp.where(better, share, share / 2)
            going = better
        X, J = xp.where(better[..., None, None], new, X), xp.where(better, total, J)
    converged = good & (size <= tolerance)
    X = where_ok(good, xp.where(converged[..., None, None], X + dX, X))
    b, e, d = cost.terms(X)
    info = {"cost": b + e + d, "cost_background": b, "cost_model": e, "cost_observations": d}
    info |= {"gradient": size, "iterations": count, "converged": converged}
    covariances, between = factor.inverse()
    return Found(X, where_ok(good, covariances), where_ok(good, between), info)


@dataclass(frozen=True, eq=False)
class WeakVar4D:
    """Weak-constraint 4D-Var over windows of `window` observation times (None: one for all).

    Arguments: `B`, the covariance of the background at the start of the first window, a
    Covariance, a matrix or variances; None: the prior's; `evolve`: each other window has what the
    one before left where it ended, so that in linear problems nothing is lost between windows; if
    False, all have B; `factor`, on that covariance, a number or an array over the batch;
    `background=False` leaves the term out: data and model alone decide; `Q`, the covariance of the
    model's error at each step, by default the problem's `noise` (with batch axes: a sweep); `start
    (..., S + 1, n)`, a first guess at all model steps of the run, instead of each window's
    background run through the model; `iterations`, `tolerance`, `damping`, `jacobian`: see weak4d.

    A window's background mean is the state where the last window ended. `forecast` is it, run
    through the model without data; `analysis` is the window's estimate given all of its data;
    `info["smoothed"]` the same, and at a window's end its estimate as the start of the next.
    `info` also has what `weak4d` reports; where not "converged", look again. Windows of one
    observation make the (iterated) extended Kalman filter. Raises ValueError without a Q, or for a
    background whose covariance has no inverse.
    """

    window: int | None = None
    _: KW_ONLY
    B: Any = None
    factor: Any = 1.0
    evolve: bool = True
    background: bool = True
    Q: Any = None
    start: Any = field(default=None, repr=False)
    iterations: int = 20
    tolerance: float = 0.03
    damping: float = 0.0
    jacobian: Callable = field(default=linearize, repr=False)

    def __post_init__(self):
        check_count("window", 1 if self.window is None else self.window)
        check_count("iterations", self.iterations)
        check_factor("factor", self.factor)
        check_between("tolerance", self.tolerance, 0, 1e3, open_low=False)
        check_between("damping", self.damping, 0, 1e12, open_low=False)
        object.__setattr__(self, "B", as_covariance(self.B, "B"))
        object.__setattr__(self, "Q", as_covariance(self.Q, "Q"))

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle for each observation time; a window's last comes with the next window."""
        problem = stepwise(problem, "WeakVar4D")
        K, place, held, failed = len(problem), 0, None, 0
        with no_grad(problem.like):
            x, P, Q, start, factor = self._given(problem)
        for first in range(0, K, self.window or K):
            with no_grad(problem.like):
                times = range(first, min(first + (self.window or K), K))
                ends = np.cumsum([problem.steps_to(k) for k in times]).tolist()
                free = forecast_chain(problem.step, x, P, Q, ends[-1], self.jacobian)
                seen = [(t, *problem.at(k)) for k, t in zip(times, ends, strict=True)]
                cost = WeakCost(problem.step, x, P if self.background else None, Q, seen)
                later = place + ends[-1]
                guess = free.states if start is None else start[..., place : later + 1, :]
                options = self.iterations, self.tolerance, self.damping, self.jacobian
                found, cycles = weak4d(cost, guess, *options), []
                failed += unfinished(found.info)
                for t in ends:
                    info = found.info | {"smoothed": found.at(t)}
                    cycles.append(Cycle(free.at(t), found.at(t), info))
                x, place = found.states[..., -1, :], later
                P = factor * found.covariances[..., -1, :, :] if self.evolve else P
            if held is not None:
                yield held._replace(info=held.info | {"smoothed": found.at(0)})
            yield from cycles[:-1]
            held = cycles[-1]
        if held is not None:
            yield held
        warn_of(failed, f"WeakVar4D(iterations={self.iterations}, tolerance={self.tolerance})")

    def _given(self, problem: Stepwise) -> tuple:
        """Background mean and covariance at time 0, Q, the first guess or None, the factor."""
        like, n = problem.like, problem.n
        x, P = moments(problem)
        Q = problem.noise if self.Q is None else convert_tree(self.Q, like)
        for name, C in (("Q", Q), ("B", self.B or Q)):
            if C is None or C.n != n:
                met = "none" if C is None else f"dimension {C.n}"
                raise ValueError(
                    f"WeakVar4D wants {name} of the state's dimension {n}, met {met}; give the "
                    "problem noise=, or WeakVar4D(Q=...); Var4D is for a model without errors"
                )
            check_batch(C, problem, name)
        P = P if self.B is None else convert_tree(self.B, like).matrix() + 0 * P
        factor = lift(self.factor, like, problem.batch, "factor")
        if self.background and not definite(P):
            given = f"a {type(problem.prior).__name__} prior" if self.B is None else "the B given"
            raise ValueError(
                f"the background's covariance has no inverse, met that of {given}; wanted "
                "WeakVar4D(B=...) of full rank"
            )
        start, S = self.start, 1 + sum(problem.steps_to(k) for k in range(len(problem)))
        if start is not None:
            start = convert(start, like)
            if tuple(start.shape[-2:]) != (S, n):
                raise ValueError(f"start has shape {tuple(start.shape)}, wanted (..., {S}, {n})")
            start = array_namespace(like).broadcast_to(start, (*problem.batch, S, n))
        return x, factor * P, Q, start, factor
