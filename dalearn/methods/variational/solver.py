"""What every minimisation of a window's cost shares: its result, its steps, its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...array import Array, array_namespace, check_between, check_count, to_numpy, warn
from ...covariances.base import Covariance
from .cost import Cost

HALVINGS = 20  # of a step that raises the cost, at most


class Found(NamedTuple):
    """The minimum of a window's cost.

    `roots` are the covariances of the background's errors at each observation;
    `posterior(root)` is the covariance that the data leave of one of them.
    """

    v: Array  # (..., 1, c), the control
    states: list[Array]  # (..., 1, n) at the observations of the window
    background: list[Array]  # the states from v = 0
    roots: list[Covariance]
    posterior: Callable[[Covariance], Covariance]
    info: dict[str, Array]  # numbers (...), one for each experiment


class Solver(Protocol):
    """What minimises a Cost, from v = 0: GaussNewton, IncrementalCG, LBFGS or your own function.

    One with the attribute `differentiates = True` is given torch costs, whatever the problem.
    """

    def __call__(self, cost: Cost) -> Found:
        """The minimum; each experiment of the batch stops on its own."""
        ...


class NotConverged(UserWarning):
    """Windows whose minimisation ended before the step was as short as its tolerance."""


def count_unconverged(info: Mapping[str, Array]) -> int:
    """How many experiments have not converged; NaN is another matter, it has diverged."""
    cost, converged = to_numpy(info["cost"]), to_numpy(info["converged"])
    return int((~np.isnan(cost) & (converged == 0)).sum())


def warn_unconverged(failed: int, solver: Any) -> None:
    """Warn of NotConverged if there were any; `solver` is what has the settings."""
    if failed:
        warn(
            f"{failed} minimisations ended before their step was as short as the tolerance of "
            f"{solver}; raise its iterations, shorten the window, or look at `converged` in the "
            "result: the cost may have several minima",
            NotConverged,
        )


def check_stop(solver: Any) -> None:
    """Raise ValueError unless `iterations` is an integer >= 1 and `tolerance` in (0, 1e3]."""
    check_count("iterations", solver.iterations)
    check_between("tolerance", solver.tolerance, 0, 1e3, open_low=True)


def squares(v: Array) -> Array:
    """|v|^2 of each experiment, `(...)`."""
    return array_namespace(v).sum(v * v, axis=(-2, -1))


class Iterate(NamedTuple):
    """A control, the states that follow from it, and the terms of its cost."""

    v: Array  # (..., 1, c)
    states: list[Array]
    d: Array  # innovations (..., 1, M)
    background: Array  # |v|^2 / 2, (...)
    observations: Array  # |d|^2 / 2, (...)

    @property
    def cost(self) -> Array:
        return self.background + self.observations


def evaluated(cost: Cost, v: Array) -> Iterate:
    """The control `v (..., 1, c)`, followed through the window."""
    states = cost.path.follow(v)
    d = cost.innovations(states)
    return Iterate(v, states, d, 0.5 * squares(v), 0.5 * squares(d))


def first_iterate(cost: Cost) -> Iterate:
    """Where every minimisation begins: v = 0, the background."""
    like, batch = cost.problem.like, cost.problem.batch
    shape = (*batch, 1, cost.controls)
    zero = array_namespace(like).zeros(shape, dtype=like.dtype, device=like.device)
    return evaluated(cost, zero)


def line_search(cost: Cost, at: Iterate, dv: Array, going: Array, slope: Any = 0.0) -> Iterate:
    """From `at` by `dv` for the experiments that are `going (...)`, 1 or 0.

    The step is halved while it raises the cost by more than round-off, or leads to NaN; one that
    never lowers it is not taken. With the `slope (...)` of J along dv, which is negative, J must
    fall by a ten-thousandth of what the slope promises (Armijo).
    """
    xp, J, share = array_namespace(dv), at.cost, going
    level = J + 100 * float(xp.finfo(dv.dtype).eps) * xp.abs(J)
    for i in range(HALVINGS + 1):
        new = evaluated(cost, at.v + share[..., None, None] * dv)
        worse = ~(new.cost <= level + 1e-4 * share * slope) & (share > 0) & xp.isfinite(J)
        if not bool(xp.any(worse)):
            break
        share = xp.where(worse, share / 2 if i + 1 < HALVINGS else 0 * share, share)
    return new


def as_promised(old: Iterate, new: Iterate, size: Array, tolerance: float) -> Array:
    """Where J has fallen as it does in a quadratic cost, by half the square of the step, `(...)`.

    `size` is the step's length in standard deviations of the answer. What is missing is half the
    square of the error, which is then less than the tolerance; False where round-off hides it.
    """
    hidden = 32 * float(array_namespace(new.v).finfo(new.v.dtype).eps) * old.cost
    missing = abs(new.cost - (old.cost - size * size / 2))
    return (missing <= tolerance**2 / 2) & (hidden <= tolerance**2 / 2)


def round_off(largest: Array, dv: Array) -> Array:
    """The error of a step dv, in standard deviations of the answer, by round-off: `(...)`.

    `largest` is the largest singular value of G: how much better the data are than the background.
    The next step mends it.
    """
    xp = array_namespace(dv)
    return 4 * float(xp.finfo(dv.dtype).eps) * largest * squares(dv) ** 0.5


def has_moved(old: Iterate, new: Iterate) -> Array:
    """Which experiments' control has changed, `(...)`; the others can stop."""
    return array_namespace(new.v).any(new.v != old.v, axis=(-2, -1))


def summary(end: Iterate, gradient: Array, step: Array, count: Array, converged: Array) -> dict:
    """The info of a minimisation: numbers `(...)` for each experiment; NaN has not converged."""
    xp = array_namespace(step)
    converged = converged & xp.isfinite(end.cost) & xp.isfinite(gradient) & xp.isfinite(step)
    return {
        "cost": end.cost,
        "cost_background": end.background,
        "cost_observations": end.observations,
        "gradient": gradient,
        "step": step,
        "iterations": count,
        "converged": xp.astype(converged, step.dtype),
    }
