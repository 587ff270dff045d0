"""The law of a sampler where everything is observed as it is: an affine map of each number.

With G(x) = c (y - x) each step of a sampler is affine in x, in the member x_j and in y. Its steps
compose to x_a = forecast x_j + data y + noise z, so that one draw does the work of all of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .likelihood import Each


class Law(NamedTuple):
    """What an analysis makes of a number: forecast * x_j + data * y + noise * z, z ~ N(0, 1)."""

    forecast: Any
    data: Any
    noise: Any


def law(path: list[Any], c: Any) -> Law:
    """The composition of a sampler's steps from x ~ N(0, 1).

    Args:
        path: the steps.
        c: 1 / variance of the datum's error, a number or an array.

    Returns:
        Law: three numbers, or arrays of the shape of c; huge or not finite where Euler steps are
        too long.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return _composed(path, c)


def _composed(path: list[Any], c: Any) -> Law:
    C = Each(c)
    start, forecast, data, variance = 1.0, 0.0, 0.0, 0.0
    for step in path:
        shares = step.shares(C)
        kept = step.mean(1.0, 0.0, -c, shares)
        start = kept * start
        forecast = step.mean(forecast, 1.0, -c * forecast, shares)
        data = step.mean(data, 0.0, c * (1.0 - data), shares)
        variance = kept**2 * variance + (0.0 if step.flow else step.noise(1.0, shares) ** 2)
    return Law(forecast, data, (start**2 + variance) ** 0.5)
