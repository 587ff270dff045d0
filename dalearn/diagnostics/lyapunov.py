"""Lyapunov exponents: how fast small differences between trajectories grow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..array import Array, array_namespace, check_count, device, eye, to_numpy, typed


@typed
def lyapunov_exponents(
    model: Callable, x: Array, steps: int, count: int | None = None, spinup: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """Lyapunov exponents of a model, per unit of its time, with their standard errors.

    `count` tangent vectors are carried along each trajectory and made orthogonal by QR after every
    step; exponent i is the mean of log |R_ii| / dt. Tangents are central differences of the model,
    exact to about nine digits, to six where components vary by a millionth of their values. Each
    is measured in units of its largest value in the spin-up: the units of x do not matter.

    Args:
        model: one step, for states `(..., n)`.
        x: starting points on the attractor, `(b, n)` with b >= 2; their scatter gives the errors.
        steps: steps that count.
        count: how many exponents; all n by default.
        spinup: steps before, in which the vectors align.

    Returns:
        Exponents and their standard errors, each `(count,)`, the largest first.

    Raises:
        ValueError: fewer than two starting points, or numbers out of range.

    Source: Benettin, Galgani, Giorgilli and Strelcyn, Lyapunov characteristic exponents for smooth
    dynamical systems, Meccanica 15, 1980.
    """
    check_count("steps", steps)
    check_count("spinup", spinup, 0)
    if x.ndim != 2 or x.shape[0] < 2:
        raise ValueError(f"x must be (b, n) with b >= 2 trajectories, met {tuple(x.shape)}")
    n = int(x.shape[-1])
    count = n if count is None else int(count)
    if steps < 1 or spinup < 0 or not 1 <= count <= n:
        raise ValueError(
            f"met steps = {steps}, spinup = {spinup}, count = {count}; wanted steps >= 1, "
            f"spinup >= 0 and count 1 to {n}"
        )
    xp = array_namespace(x)
    x = xp.astype(x, xp.float64)
    total = xp.zeros((x.shape[0], count), dtype=x.dtype, device=device(x))
    Q = xp.broadcast_to(eye(n, x)[:, :count], (x.shape[0], n, count))
    low, high, unit, share = x, x, xp.ones_like(x[0]), 1.0
    for k in range(spinup + steps):
        if k in (0, spinup):
            before, (unit, share) = unit, _units(low, high)
            Q = xp.linalg.qr(Q * (before / unit)[:, None])[0]
        h = 1e-6 * share * max(1.0, float(xp.max(xp.abs(x) / unit)))
        away = h * unit * xp.moveaxis(Q, -1, 0)  # (count, b, n)
        ahead = 1 * model(x + away)  # a copy: the model may use its memory again
        tangents = (ahead - model(x - away)) / (2 * h * unit)
        Q, R = xp.linalg.qr(xp.moveaxis(tangents, 0, -1))
        x = 1 * model(x)
        if k >= spinup:
            total = total + xp.log(xp.abs(xp.linalg.diagonal(R)))
        else:
            low, high = xp.minimum(low, x), xp.maximum(high, x)
    rates = to_numpy(total) / (steps * float(getattr(model, "dt", 1.0)))
    return rates.mean(0), rates.std(0, ddof=1) / len(rates) ** 0.5


def _units(low: Array, high: Array) -> tuple[Array, float]:
    """The largest size of each component, `(n,)`, and the share of it that a difference may be.

    That is less than 1 where a component varies little about a large value: a step of a millionth
    of the value would leave its range. A power of 2/3 balances round-off and curvature.

    Args:
        low: the least values `(b, n)` of each trajectory.
        high: the largest.
    """
    xp = array_namespace(low)
    most = xp.max(xp.maximum(xp.abs(low), xp.abs(high)), axis=0)
    unit = xp.where(most > 0, most, xp.ones_like(most))
    varied = (xp.max(high, axis=0) - xp.min(low, axis=0)) / unit
    varied = xp.where(varied > 0, varied, xp.ones_like(varied))  # not of a constant
    return unit, min(1.0, max(1e-6, 100 * float(xp.min(varied)))) ** (2 / 3)
