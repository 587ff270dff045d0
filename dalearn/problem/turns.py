"""Data that look like angles, of an observation that takes plain differences of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..array import array_namespace, no_grad, to_numpy, warn
from .observe import is_linear

PERIODS = (2 * math.pi, "2 pi"), (360.0, "360 degrees")
NEAR = 0.9  # a jump of this share of the period is one across the cut
LARGEST = 1000  # components of a state up to which the operator is tried


def warn_of_turns(problem: Any) -> None:
    """UserWarning where data jump by about a period and their Observation has no residual.

    The data of one number lie within a period of 2 pi or 360, from -P / 2 or from 0 on, jump from
    one end to the other between times that follow each other, and the operator stays within these
    ends, however far the state is moved.
    """
    observations = getattr(problem.observation, "observations", None)
    observe = problem.observation if observations is None else observations[0]
    if observe.residual is not None or (observations and len({o.m for o in observations}) > 1):
        return
    y = to_numpy(problem.data)
    if y.shape[-2] < 2:
        return
    jumps = np.abs(np.diff(y, axis=-2))
    axes = tuple(range(y.ndim - 1))
    for period, words in PERIODS:
        across = (jumps > NEAR * period) & (jumps < period)
        if not across.any():
            continue
        noise = to_numpy(observe.noise.variance())
        noise = (noise.max(axis=tuple(range(noise.ndim - 1))) if noise.ndim > 1 else noise) ** 0.5
        for low in (-period / 2, 0.0):
            with np.errstate(invalid="ignore"):
                inside = (np.isnan(y) | (np.abs(y - low - period / 2) <= period / 2)).all(
                    axis=axes
                )
            found = np.flatnonzero(across.any(axis=axes) & inside & (noise < period / 8))
            found = [j for j in found if _bounded(problem, observe, int(j), low, period)]
            if found:
                j = found[0]
                *_, k = np.argwhere(across[..., j])[0]
                size = float(jumps[..., j][across[..., j]][0])
                warn(
                    f"observed number {j} looks like an angle whose differences are taken as they "
                    f"are: the data jump by {size:.3g}, nearly {words}, between cycles {k} and "
                    f"{k + 1}; wanted Observation(..., residual=da.Angles({_setting(period, y)}))",
                    UserWarning,
                )
                return


def _setting(period: float, y: np.ndarray) -> str:
    turn = "" if period < 7 else f"{period:g}"
    which = ("which=[...]",) if y.shape[-1] > 1 else ()
    return ", ".join((*((turn,) if turn else ()), *which))


def _bounded(problem: Any, observe: Any, j: int, low: float, period: float) -> bool:
    """Whether the operator's number j stays between low and low + P, far from the prior too."""
    if is_linear(observe.operator) or problem.n > LARGEST:
        return False
    prior, operator = problem.prior, problem._observe(0).operator
    xp = array_namespace(prior.mean)
    with no_grad(prior.mean):
        x, std = prior.mean[..., None, :], prior.std[..., None, :]
        step = xp.where(std > 0, std, xp.abs(x) + 1)
        eye = xp.eye(problem.n, dtype=x.dtype, device=x.device)
        points = [x + sign * 10.0**s * step * eye for s in range(5) for sign in (1, -1)]
        h = to_numpy(operator(xp.concat(points, axis=-2)))[..., j]
    h = h[np.isfinite(h)]
    return bool(h.size) and bool(
        ((h >= low - 1e-5 * period) & (h <= low + (1 + 1e-5) * period)).all()
        and np.ptp(h) > period / 4
    )
