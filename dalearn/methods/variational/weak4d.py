"""Weak-constraint 4D-Var: the whole trajectory is sought, and the model may err at every step.

The unknown is X = (x_0, ..., x_T), a state for each model step of a window, and the cost J(X) has
three terms: of background, model and observations (see weak_cost.py). It is minimised by
Gauss-Newton at a cost that grows with T (see weak_gauss_newton.py).

As Q tends to 0 the minimum tends to that of strong-constraint 4D-Var, but the Hessian gets worse
conditioned, like 1/Q.

Tremolet, Model-error estimation in 4D-Var, Q. J. R. Meteorol. Soc. 133, 2007; Fisher et al.,
Weak-constraint and long-window 4D-Var, ECMWF Tech. Memo. 655, 2011.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from ...array import (
    Array,
    Jacobian,
    Swept,
    array_namespace,
    as_floats,
    check_between,
    check_count,
    check_factor,
    convert,
    convert_tree,
    definite,
    lift,
    no_grad,
    typed,
)
from ...array.derivative import linearize
from ...covariances.base import Covariance
from ...covariances.given import as_covariance
from ...covariances.roots import Rows
from ...problem.like import ProblemLike, Stepwise, noise_at, one_or_all, stepping, stepwise
from ..background import as_background, background, check_batch
from ..base import Cycle, start
from ..ensemble.checks import unseen, where_seen
from .solver import count_unconverged, warn_unconverged
from .weak_cost import WeakCost
from .weak_gauss_newton import forecast_chain, weak4d


@typed
@dataclass(frozen=True, eq=False)
class WeakVar4D:
    """Weak-constraint 4D-Var over windows of observation times.

    A window's background mean is the state where the last window ended. The forecast is the
    background mean, run through the model without data; `analysis` is the window's estimate given
    all of its data; `info["smoothed"]` the same, and at a window's end its estimate as the start
    of the next. `info` also has what `weak4d` reports; where not "converged", look again. Windows
    of one observation make the (iterated) extended Kalman filter.

    Args:
        window: how many observation times a window holds, an integer >= 1; None for one window.
        B: covariance of the background at the first window's start, a Covariance, a matrix or a
            vector of variances; "prior", that of the problem's prior, or "climatology", that of
            its truth run.
        factor: a multiple of the background's covariance, on variances, a number or an array over
            the batch; not after a window without data, where `evolve` is True.
        evolve: whether each later window has the covariance that the one before ended with, so
            that in linear problems nothing is lost between windows; if False, all have B.
        background: whether J has the background's term; if False, data and model alone decide.
        Q: covariance of the model's error at each step, by default the problem's `noise`; with
            batch axes, a sweep.
        start: first guess `(..., S + 1, n)` at all model steps of the run, by default each
            window's background run through the model.
        iterations: steps of the minimisation at most: see weak4d.
        tolerance: length of its last step: see weak4d.
        damping: see weak4d.
        jacobian: Jacobian of model and operators, as in ExtendedKF.

    Raises:
        ValueError: for a setting out of its range; when run without a Q, or with a background
            whose covariance has no inverse.
        TypeError: when run on a problem that does not give its model step by step.
    """

    residuals = True  # takes observed angles: see Observation
    window: int | None = None
    _: KW_ONLY
    B: Any = "prior"
    factor: Swept = 1.0
    evolve: bool = True
    background: bool = True
    Q: Any = None
    start: Any = field(default=None, repr=False)
    iterations: int = 20
    tolerance: float = 0.03
    damping: float = 0.0
    jacobian: Jacobian = field(default=linearize, repr=False)

    def __post_init__(self):
        check_count("window", 1 if self.window is None else self.window)
        check_count("iterations", self.iterations)
        check_factor("factor", self.factor)
        check_between("tolerance", self.tolerance, 0, 1e3, open_low=False)
        check_between("damping", self.damping, 0, 1e12, open_low=False)
        object.__setattr__(self, "B", as_background(self.B))
        if self.start is not None:
            start = as_floats(self.start, "start")
            object.__setattr__(self, "start", start)
            if start.ndim < 2:
                raise ValueError(f"start must be (..., S, n), met shape {tuple(start.shape)}")
        object.__setattr__(self, "Q", as_covariance(self.Q, "Q"))

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle for each observation time; a window's last comes with the next window."""
        problem = stepwise(problem, "WeakVar4D")
        K, place, last, failed = len(problem), 0, None, 0
        with no_grad(problem.like):
            factor = lift(self.factor, problem.like, problem.batch, "factor")
            x, P = self._background(problem)
            P, start = factor * P, self._first_guess(problem)
        for first in range(0, K, self.window or K):
            with no_grad(problem.like):
                times = range(first, min(first + (self.window or K), K))
                ends = np.cumsum([problem.steps_to(k) for k in times]).tolist()
                steps, noise = self._steps(problem, times)
                free = forecast_chain(steps, x, P, noise, self.jacobian)
                seen = [(t, *problem.at(k)) for k, t in zip(times, ends, strict=True)]
                told = one_or_all(steps), x, P if self.background else None, one_or_all(noise)
                cost = WeakCost(*told, seen)
                later = place + ends[-1]
                guess = free.states if start is None else start[..., place : later + 1, :]
                options = self.iterations, self.tolerance, self.damping, self.jacobian
                found = weak4d(cost, guess, *options)
                failed += count_unconverged(found.info)
                cycles = [
                    Cycle(free.at(t), found.at(t), {**found.info, "smoothed": found.at(t)})
                    for t in ends
                ]
                x, place = found.states[..., -1, :], later
                if self.evolve:
                    P = found.covariances[..., -1, :, :]
                    P = where_seen(factor, unseen(problem, times), P) * P
            if last is not None:
                yield last.with_info(smoothed=found.at(0))
            yield from cycles[:-1]
            last = cycles[-1]
        if last is not None:
            yield last
        settings = f"WeakVar4D(iterations={self.iterations}, tolerance={self.tolerance})"
        warn_unconverged(failed, settings)

    def _background(self, problem: ProblemLike) -> tuple[Array, Array]:
        """Mean `(..., n)` and covariance `(..., n, n)` of the background at time 0."""
        x, X = start(problem)
        P = X.mT @ X + 0 * x[..., None]  # over the batch axes
        if self.background or self.B != "prior":  # else the prior may be a Point
            P = background(self.B, problem, "WeakVar4D(B=...)").matrix() + 0 * P
        if self.background and not definite(P):
            named = isinstance(self.B, str)
            raise ValueError(
                "the background's covariance has no inverse, met that of the "
                f"{self.B if named else 'B given'}; wanted WeakVar4D(B=...) of full rank"
            )
        return x, P

    def _steps(self, problem: Stepwise, times: range) -> tuple[list[Any], list[Covariance]]:
        """The model's steps in a window, and the covariance of the error of each."""
        steps, noise = [], []
        given = None if self.Q is None else convert_tree(self.Q, problem.like)
        for k in times:
            here = stepping(problem, k)
            Q = self._model_error(problem, noise_at(problem, k) if given is None else given)
            steps += here
            noise += [Q] * len(here)
        if not steps:
            raise ValueError(
                f"WeakVar4D wants a model step in every window, met none before the observations "
                f"{times[0]} to {times[-1]}; wanted a longer window="
            )
        return steps, noise

    def _model_error(self, problem: Stepwise, Q: Covariance | None) -> Covariance:
        """Q of an interval, which has to have an inverse."""
        if Q is None or Q.n != problem.n:
            met = "none" if Q is None else f"dimension {Q.n}"
            raise ValueError(
                f"WeakVar4D wants Q of the state's dimension {problem.n}, met {met}; give the "
                "problem noise=, or WeakVar4D(Q=...); Var4D is for a model without errors"
            )
        if isinstance(Q, Rows) and Q.controls < Q.n:
            raise ValueError(
                f"WeakVar4D wants a Q with an inverse, met one of rank {Q.controls} in {Q.n} "
                "dimensions; give WeakVar4D(Q=...) of full rank, with small variances where the "
                "model has no errors, or use RTS or ExtendedKF"
            )
        check_batch(Q, problem, "Q")
        return Q

    def _first_guess(self, problem: Stepwise) -> Array | None:
        """The setting `start` over the problem's batch, or None."""
        if self.start is None:
            return None
        n, S = problem.n, 1 + sum(problem.steps_to(k) for k in range(len(problem)))
        start = convert(self.start, problem.like)
        if tuple(start.shape[-2:]) != (S, n):
            raise ValueError(f"start must be (..., {S}, {n}), met shape {tuple(start.shape)}")
        return array_namespace(start).broadcast_to(start, (*problem.batch, S, n))
