"""The windows of a run: where each begins, what it starts from, and when its cycles are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ...array import (
    Array,
    array_namespace,
    as_tensor,
    convert,
    convert_tree,
    is_tensor,
    lift,
    no_grad,
    shown,
)
from ...covariances.base import Covariance
from ...covariances.hybrid import Hybrid
from ...problem.belief import Gaussian
from ...problem.like import ProblemLike, in_library
from ..background import background
from ..base import Cycle
from ..ensemble.checks import unseen
from .cost import Cost
from .paths import Path, Window, window_at
from .solver import Found, Solver, count_unconverged, warn_unconverged

MakePath = Callable[[ProblemLike, Array, Covariance, Window], Path]


def root_of(method: Any, problem: ProblemLike) -> Hybrid:
    """The background's covariance from the settings `B` and `factor` of a method."""
    B = background(method.B, problem, f"{type(method).__name__}(B=...)")
    factor = lift(method.factor, problem.like, problem.batch, "factor")
    return Hybrid.unchecked((factor if isinstance(factor, float) else factor[..., 0, 0], B))


def cost_of(method: Any, problem: ProblemLike, first: int, background: Array | None) -> Cost:
    """The cost of a method's window that begins with observation `first`."""
    problem = getattr(problem, "validated", lambda: problem)()  # a stand-in has no such check
    x = problem.prior.mean if background is None else background
    root, window = root_of(method, problem), window_at(problem, first, method.window)
    path = method.path(problem, x[..., None, :], root, window)
    return Cost(problem, path, window, root.controls)


def schedule(K: int, length: int, shift: int) -> Iterator[Window]:
    """Windows of `length` that move on by `shift` until all K observations have counted.

    The first ones are shorter where length > shift: a window never begins before the run.
    """
    first = new = 0
    while new < K:
        end = min(new + shift, K)
        yield Window(first, new, end)
        first, new = max(first, min(end + shift, K) - length), end


class Solved(NamedTuple):
    """A window whose cost has been minimised."""

    window: Window
    path: Path
    found: Found
    errors: list[Covariance]  # of the analyses at the window's observations

    def at(self, k: int) -> tuple[Array, Covariance]:
        """Analysis `(..., 1, n)` and its errors at observation k; one before: at the start."""
        i = k - self.window.first
        if i < 0:
            return self.path.start(self.found.v), self.found.posterior(self.path.root)
        return self.found.states[i], self.errors[i]


def solve_window(
    problem: ProblemLike,
    x: Array,
    root: Covariance,
    window: Window,
    solver: Solver,
    path: MakePath,
) -> Solved:
    """The window whose background is `x (..., 1, n)`, with errors of covariance `root`."""
    steps = path(problem, x, root, window)
    found = solver(Cost(problem, steps, window, root.controls))
    if not isinstance(found, Found):
        raise TypeError(f"a solver must return a Found, met {shown(found)} from {shown(solver)}")
    return Solved(window, steps, found, [found.posterior(r) for r in found.roots])


def enter(waiting: dict[int, Cycle], solved: Solved, like: Array) -> None:
    """Put the cycles of a window among those that wait, in the library of `like`.

    Where the start is sought too, what the window says of earlier cycles is their "smoothed".
    """
    window, found = solved.window, solved.found

    def belief(x: Array, cov: Covariance) -> Gaussian:
        return Gaussian.unchecked(convert(x, like)[..., 0, :], convert_tree(cov, like))

    info = {name: convert(value, like) for name, value in found.info.items()}
    for k in range(window.new, window.end):
        i = k - window.first
        forecast = belief(found.background[i], found.roots[i])
        waiting[k] = Cycle(forecast, belief(*solved.at(k)), info)
    if not solved.path.linear:
        for k in range(max(window.first - 1, 0), window.end):
            now = waiting[k].analysis if k >= window.new else belief(*solved.at(k))
            waiting[k] = waiting[k].with_info(smoothed=now)


def windows(
    problem: ProblemLike,
    root: Covariance,
    length: int,
    shift: int,
    solver: Solver,
    path: MakePath,
    evolved: Callable[[Covariance, Array | None], Covariance] | None = None,
) -> Iterator[Cycle]:
    """One Cycle for each observation time, from windows of `length` moved on by `shift`.

    `path(problem, x, root, window)` makes the path of a window. The next window begins with the
    analysis at its start, and with `evolved(its covariance, none)`, where `none (...)` says which
    experiments had no new data, or else with `root` again. Data that an earlier window has used do
    not count again. A cycle is yielded when no later window can change it. Warns of NotConverged
    at the end.
    """
    like, failed, waiting = problem.like, 0, {}
    if getattr(solver, "differentiates", False) and not is_tensor(like):
        problem = in_library(problem, as_tensor(like))
    with no_grad(problem.like):
        xp = array_namespace(problem.like)
        x = xp.broadcast_to(problem.prior.mean, (*problem.batch, problem.n))[..., None, :]
        given = root = convert_tree(root, problem.like)
    plan = list(schedule(len(problem), length, shift))
    for window, later in zip(plan, [*plan[1:], None], strict=True):
        with no_grad(problem.like):
            solved = solve_window(problem, x, root, window, solver, path)
            failed += count_unconverged(solved.found.info)
            enter(waiting, solved, like)
            if later is not None:
                x, cov = solved.at(later.first - 1)
                if evolved is not None:
                    root = evolved(cov, unseen(problem, range(window.new, window.end)))
                else:
                    root = given
        final = len(problem) if later is None else later.first - 1
        for k in [k for k in waiting if k < final]:
            yield waiting.pop(k)
    warn_unconverged(failed, solver)
