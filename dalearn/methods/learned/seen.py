"""Data that are components of the state, as arrays with NaN, and a first guess from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...array import Array, to_numpy
from ...array.derivative import linearize
from ...problem.like import ProblemLike


def components(problem: ProblemLike, at: list[int], method: str) -> tuple[Array, np.ndarray]:
    """The data of a window as states with NaN, and the standard deviation of their errors.

    Args:
        problem: its operators must choose components of the state.
        at: for each observation the number of its state.
        method: its name, for messages.

    Returns:
        Data `(..., L, n)` in NumPy, and the errors of the components `(n,)`, 0 where none is seen.

    Raises:
        ValueError: for an operator that does not choose components.
    """
    n, batch = problem.n, problem.batch
    y, error = np.full((*batch, at[-1] + 1, n), np.nan), np.zeros(n)
    known: dict[int, tuple[Any, np.ndarray]] = {}
    for k, i in enumerate(at):
        observe, data = problem.at(k)
        operator = observe.operator
        if id(operator) not in known:
            known[id(operator)] = operator, chosen(operator, problem, method)
        which = known[id(operator)][1]
        data, seen = to_numpy(data), observe.noise.seen
        y[..., i, which] = data if seen is None else np.where(to_numpy(seen), data, np.nan)
        there = np.isfinite(y[..., i, which]).reshape(-1, len(which)).any(0)
        variance = to_numpy(observe.noise.variance()).reshape(-1, len(which))[0]
        error[which[there]] = variance[there] ** 0.5
    return y, error


def chosen(operator: Any, problem: ProblemLike, method: str) -> np.ndarray:
    """Which components an operator gives, `(m,)`; ValueError where it computes anything else."""
    x = problem.prior.mean.reshape(-1, problem.n)[:1]
    value, J = (to_numpy(part)[0] for part in linearize(operator, x))
    which = np.abs(J).argmax(-1)
    same = np.array_equal(J, np.eye(problem.n)[which])
    if not same or len(set(which)) < len(which) or not np.allclose(value, to_numpy(x)[0, which]):
        raise ValueError(
            f"{method} was trained on data that are components of the state, met an operator "
            "that gives other numbers; wanted identity, Subset or Every"
        )
    return which


def interpolated(y: np.ndarray) -> np.ndarray:
    """Data `(..., L, n)` with NaN, filled by cubic splines in time.

    Beyond the first and the last datum its value is kept; a component that is never seen is 0, and
    one that is seen less than four times is interpolated linearly.

    Args:
        y: data, NaN where nothing was seen.

    Returns:
        Numbers of the same shape.
    """
    from scipy.interpolate import CubicSpline

    L = y.shape[-2]
    rows = np.moveaxis(y, -2, -1).reshape(-1, L)
    seen, filled = np.isfinite(rows), np.zeros_like(rows)
    masks, group = np.unique(seen, axis=0, return_inverse=True)
    for g, mask in enumerate(masks):
        at, which = np.flatnonzero(mask), np.flatnonzero(group.ravel() == g)
        if not len(at):
            continue
        inside = np.clip(np.arange(L), at[0], at[-1])
        values = rows[np.ix_(which, at)]
        if len(at) < 4:
            filled[which] = [np.interp(inside, at, v) for v in values]
        else:
            filled[which] = CubicSpline(at, values, axis=1)(inside)
    return np.moveaxis(filled.reshape(*y.shape[:-2], y.shape[-1], L), -1, -2)
