"""Lyapunov exponents: how fast small differences between trajectories grow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..array import Array, array_namespace, device, eye, to_numpy


def lyapunov_exponents(
    model: Callable, x: Array, steps: int, count: int | None = None, spinup: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """Lyapunov exponents of a model, per unit of its time, with their standard errors.

    Carries `count` tangent vectors along each trajectory and re-orthogonalises them by QR after
    every step: exponent i is the mean of log |R_ii| / dt (Benettin et al., Meccanica 15, 1980).
    Tangents are central differences of the model itself, exact to about nine digits.

    Arguments: `model`, for states `(..., n)`; `x (b, n)`, at least two starting points on the
    attractor, whose scatter gives the standard error; `steps`, after `spinup` steps that let the
    vectors align. Returns (exponents, errors), each `(count,)`, largest first.
    """
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
    u = xp.astype(x, xp.float64)
    Q = xp.broadcast_to(eye(n, u)[:, :count], (u.shape[0], n, count))
    total = xp.zeros((u.shape[0], count), dtype=u.dtype, device=device(u))
    for k in range(spinup + steps):
        h = 1e-6 * max(1.0, float(xp.max(xp.abs(u))))
        away = h * xp.moveaxis(Q, -1, 0)  # (count, b, n)
        tangents = (model(u + away) - model(u - away)) / (2 * h)
        Q, R = xp.linalg.qr(xp.moveaxis(tangents, 0, -1))
        u = model(u)
        if k >= spinup:
            total = total + xp.log(xp.abs(xp.linalg.diagonal(R)))
    rates = to_numpy(total) / (steps * float(getattr(model, "dt", 1.0)))
    return rates.mean(0), rates.std(0, ddof=1) / len(rates) ** 0.5
