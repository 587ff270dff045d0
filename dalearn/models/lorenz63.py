"""Lorenz-63: convection in three equations, the classical chaotic system."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..array import Array, Swept, array_namespace, is_array, typed
from .fields import check_members, check_positive
from .integrate import rk4


@typed
@dataclass(frozen=True, eq=False)
class Lorenz63:
    """x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z.

    Convection in a fluid layer heated from below, cut down to three modes. At the classical
    parameters its Lyapunov exponents are 0.906, 0 and -14.57 per time unit.

    Shapes: `(..., 3) -> (..., 3)`, any leading axes.

    Args:
        sigma: the Prandtl number; a number or an array against `(..., members, 1)`.
        rho: the relative Rayleigh number; a number or such an array.
        beta: from the shape of the rolls; a number or such an array.
        dt: the Runge-Kutta step, time units.

    Raises:
        ValueError: when called with a state of another size.

    Source: E. N. Lorenz, Deterministic nonperiodic flow, J. Atmos. Sci. 20, 1963.
    """

    sigma: Swept = 10.0
    rho: Swept = 28.0
    beta: Swept = 8 / 3
    dt: Swept = 0.01

    def __post_init__(self):
        check_positive(self, "dt")
        check_members(self, 1, "sigma", "rho", "beta", "dt")

    def tendency(self, u: Array) -> Array:
        """du/dt, `(..., 3) -> (..., 3)`."""
        xp = array_namespace(u)
        sigma, rho, beta = self._parameters
        x, y, z = u[..., 0], u[..., 1], u[..., 2]
        dx, dy, dz = sigma * (y - x), x * (rho - z) - y, x * y - beta * z
        return xp.concat((dx[..., None], dy[..., None], dz[..., None]), axis=-1)

    @cached_property
    def _parameters(self) -> tuple:
        """Without their last axis, as the components: a third faster than slices that keep it."""
        given = self.sigma, self.rho, self.beta
        return tuple(p[..., 0] if is_array(p) and p.ndim else p for p in given)

    def __call__(self, u: Array) -> Array:
        if u.shape[-1] != 3:
            raise ValueError(f"Lorenz63 wants states (..., 3), met shape {tuple(u.shape)}")
        return rk4(self.tendency, u, self.dt)
