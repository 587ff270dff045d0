"""Lorenz-96: waves on a ring of latitude, the classical testbed of data assimilation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from ..array import Array, Swept, array_namespace, check_count, typed
from .fields import blockwise, check_members, check_positive
from .integrate import rk4


@typed
@dataclass(frozen=True, eq=False)
class Lorenz96:
    """dx_i/dt = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F on a ring of n points.

    Advection that conserves sum x_i^2 / 2, linear damping, constant forcing; one time unit is
    about five days. Chaotic for F = 8: leading Lyapunov exponent about 1.67 per unit at n = 40.

    Shapes: `(..., n) -> (..., n)`, any leading axes.

    Args:
        n: the number of points, at least 4.
        forcing: F, a number or an array that broadcasts against `(..., members, n)`, such as
            `(..., 1, 1)` for one F per experiment.
        dt: the Runge-Kutta step; 0.05 time units are six hours.

    Raises:
        ValueError: for n < 4, and when called with a state of another size.

    Source: E. N. Lorenz, Predictability: a problem partly solved, ECMWF seminar, 1996.
    """

    n: int = 40
    forcing: Swept = 8.0
    dt: Swept = 0.05

    def __post_init__(self):
        check_count("n of Lorenz96 (x_i meets i-2 to i+1)", self.n, 4)
        check_positive(self, "dt")
        check_members(self, 1, "forcing", "dt", chart=(self.n,))

    def tendency(self, x: Array) -> Array:
        """dx/dt, `(..., n) -> (..., n)`; one concatenation does the work of three rolls."""
        return self._flow(x, self.forcing)

    def _flow(self, x: Array, forcing: Any) -> Array:
        xp = array_namespace(x)
        ring = xp.concat((x[..., -2:], x, x[..., :1]), axis=-1)
        return (ring[..., 3:] - ring[..., :-3]) * ring[..., 1:-2] - x + forcing

    def __call__(self, x: Array) -> Array:
        if x.shape[-1] != self.n:
            raise ValueError(f"Lorenz96(n={self.n}) met a state of shape {tuple(x.shape)}")
        return blockwise(self._step, x, 1, self.forcing)

    def _step(self, x: Array, forcing: Any) -> Array:
        return rk4(partial(self._flow, forcing=forcing), x, self.dt)
