"""What every minimisation of a window's cost shares: where it stands, its steps, what it tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...array import Array, array_namespace, check_between, check_count
from ...covariances.base import Covariance
from .cost import Cost

HALVINGS = 20  # of a step that raises the cost, at most


class Found(NamedTuple):
    """The minimum of a window's cost.

    `roots` are the covariances of the background's errors at each observation, and `left(root)` is
    what the data leave of one.
    """

    v: Array  # (..., 1, c), the control
    states: list[Array]  # (..., 1, n) at the observations of the window
    background: list[Array]  # the states from v = 0
    roots: list[Covariance]
    left: Callable
    info: dict[str, Array]  # numbers (...), one for each experiment


def squares(v: Array) -> Array:
    """|v|^2 of each experiment, `(...)`."""
    return array_namespace(v).sum(v * v, axis=(-2, -1))


def check_stop(solver: Any) -> None:
    """Raise ValueError unless `iterations` is an integer >= 1 and `tolerance` in (0, 1e3]."""
    check_count("iterations", solver.iterations)
    check_between("tolerance", solver.tolerance, 0, 1e3, open_low=True)


def zero(cost: Cost) -> Array:
    """The control 0 `(..., 1, c)`, the background."""
    like, batch = cost.problem.like, cost.problem.batch
    shape = (*batch, 1, cost.controls)
    return array_namespace(like).zeros(shape, dtype=like.dtype, device=like.device)


class Step(NamedTuple):
    """Where a step has led."""

    v: Array
    states: list[Array]
    d: Array  # innovations (..., 1, M)
    background: Array  # |v|^2 / 2, (...)
    observations: Array  # |d|^2 / 2, (...)

    @property
    def cost(self) -> Array:
        return self.background + self.observations


def taken(cost: Cost, v: Array) -> Step:
    """The control `v (..., 1, c)` followed to the data."""
    states = cost.path.follow(v)
    d = cost.innovations(states)
    return Step(v, states, d, 0.5 * squares(v), 0.5 * squares(d))


def halved(cost: Cost, at: Step, dv: Array, going: Array, slope: Any = 0.0) -> Step:
    """From `at` by `dv` for the experiments that are `going (...)`, 1 or 0.

    The step is halved while it raises the cost by more than round-off, or leads to NaN; one that
    never lowers it is not taken. With the `slope (...)` of J along dv, which is negative, J must
    fall by a ten-thousandth of what the slope promises (Armijo).
    """
    xp, J, share = array_namespace(dv), at.cost, going
    level = J + 100 * float(xp.finfo(dv.dtype).eps) * xp.abs(J)
    for i in range(HALVINGS + 1):
        new = taken(cost, at.v + share[..., None, None] * dv)
        worse = ~(new.cost <= level + 1e-4 * share * slope) & (share > 0) & xp.isfinite(J)
        if not bool(xp.any(worse)):
            break
        share = xp.where(worse, share / 2 if i + 1 < HALVINGS else 0 * share, share)
    return new


def moved(old: Step, new: Step) -> Array:
    """Which experiments have gone anywhere, `(...)`: from where it was one would stay for ever."""
    return array_namespace(new.v).any(new.v != old.v, axis=(-2, -1))


def told(end: Step, gradient: Array, step: Array, count: Array, converged: Array) -> dict:
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
