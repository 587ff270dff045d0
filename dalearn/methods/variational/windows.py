"""The windows of a run: where each begins, what it starts from, and when its cycles are done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...array import (
    Array,
    array_namespace,
    as_tensor,
    convert,
    convert_tree,
    is_tensor,
    lift,
    no_grad,
    to_numpy,
)
from ...covariances.base import Covariance
from ...covariances.hybrid import Hybrid
from ...problem.belief import Gaussian
from ...problem.like import ProblemLike, in_library
from ..base import Cycle, given_covariance
from .cost import Cost
from .paths import Window, window_at


class NotConverged(UserWarning):
    """Windows whose minimisation ended before the step was as short as its tolerance."""


def unfinished(info: dict) -> int:
    """How many experiments have a finite cost and have not converged."""
    cost, converged = to_numpy(info["cost"]), to_numpy(info["converged"])
    return int((np.isfinite(cost) & (converged == 0)).sum())


def warn_of(failed: int, solver: Any) -> None:
    """Warn of NotConverged if there were any; `solver` is what has the settings."""
    if failed:
        warnings.warn(
            f"{failed} minimisations ended before their step was as short as the tolerance of "
            f"{solver}; raise its iterations, shorten the window, or look at `converged` in the "
            "result: the cost may have several minima",
            NotConverged,
            stacklevel=3,
        )


def root_of(method: Any, problem: ProblemLike) -> Hybrid:
    """The background's covariance from the settings `B` and `factor` of a method."""
    wanted = f"give {type(method).__name__}(B=...), a covariance or variances"
    B = given_covariance(method.B, problem, wanted)
    factor = lift(method.factor, problem.like, problem.batch, "factor")
    return Hybrid.unchecked((factor if isinstance(factor, float) else factor[..., 0, 0], B))


def cost_of(method: Any, problem: ProblemLike, first: int, background: Array | None) -> Cost:
    """The cost of a method's window that begins with observation `first`."""
    problem = getattr(problem, "validated", lambda: problem)()  # a stand-in has no such check
    x = problem.prior.mean if background is None else background
    root, window = root_of(method, problem), window_at(problem, first, method.window)
    path = method.path(problem, x[..., None, :], root, window)
    return Cost(problem, path, window, root.controls)


def windows(
    problem: ProblemLike,
    root: Covariance,
    length: int,
    shift: int,
    solver: Callable,
    path: Callable,
    evolved: Callable | None = None,
) -> Iterator[Cycle]:
    """One Cycle for each observation time, from windows of `length` moved on by `shift`.

    `path(problem, x, root, window)` makes the path of a window whose background is `x (..., 1, n)`
    with errors of covariance `root`; the next window begins with the analysis there, and with
    `evolved` of its covariance, or else with `root` again. Data that an earlier window has used do
    not count again. Cycles are yielded when no later window can change them; where a path has a
    start of its own, `smoothed` is the last estimate. Warns of NotConverged at the end.
    """
    like, K = problem.like, len(problem)
    if getattr(solver, "differentiates", False) and not is_tensor(like):
        problem = in_library(problem, as_tensor(like))
    xp = array_namespace(problem.like)
    with no_grad(problem.like):
        given = root = convert_tree(root, problem.like)
        x = xp.broadcast_to(problem.prior.mean, (*problem.batch, problem.n))[..., None, :]
    waiting: dict[int, Cycle] = {}
    first = new = failed = 0
    while new < K:
        window = Window(first, new, min(new + shift, K))
        with no_grad(problem.like):
            steps = path(problem, x, root, window)
            found = solver(Cost(problem, steps, window, root.controls))

            def belief(x: Array, cov: Covariance) -> Gaussian:
                return Gaussian.unchecked(convert(x, like)[..., 0, :], convert_tree(cov, like))

            info = {name: convert(value, like) for name, value in found.info.items()}
            failed += unfinished(found.info)
            left = [found.left(r) for r in found.roots]
            for k in range(window.first, window.end):
                i = k - first
                analysis = belief(found.states[i], left[i])
                if k >= new:
                    forecast = belief(found.background[i], found.roots[i])
                    waiting[k] = Cycle(forecast, analysis, dict(info))
                if not steps.linear:
                    waiting[k].info["smoothed"] = analysis
            if not steps.linear:
                x, cov = steps.start + steps.root.color(found.v), found.left(steps.root)
                if first:
                    waiting[first - 1].info["smoothed"] = belief(x, cov)
            after = max(first, min(window.end + shift, K) - length) if window.end < K else K + 1
            if first < after <= K:
                x, cov = found.states[after - first - 1], left[after - first - 1]
            root = given if evolved is None or after > K else evolved(cov)
        for k in [k for k in waiting if k < after - 1]:
            yield waiting.pop(k)
        first, new = after, window.end
    warn_of(failed, solver)
