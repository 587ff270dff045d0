"""The pendulum: the smallest nonlinear system, with energy to conserve."""

from __future__ import annotations

from dataclasses import dataclass

from ..array import Array, Swept, array_namespace, typed
from .fields import check_members, check_positive
from .integrate import rk4


@typed
@dataclass(frozen=True, eq=False)
class Pendulum:
    """q' = p, p' = -omega^2 sin q - damping p.

    Without damping the energy E = p^2/2 + omega^2 (1 - cos q) is constant, and a swing of
    amplitude q0 has the period 4 K(sin(q0/2)) / omega, with K the complete elliptic integral.

    The state is the angle q (radians) and the angular velocity p: `(..., 2) -> (..., 2)`.

    Args:
        omega: angular frequency of small swings, radians per time unit; a number or an array that
            broadcasts against `(..., members, 1)`.
        damping: per time unit; a number or an array like `omega`.
        dt: the Runge-Kutta step, time units.

    Raises:
        ValueError: when called with a state of another size.
    """

    omega: Swept = 1.0
    damping: Swept = 0.0
    dt: Swept = 0.05

    def __post_init__(self):
        check_positive(self, "dt")
        check_members(self, 1, "omega", "damping", "dt")

    def tendency(self, x: Array) -> Array:
        """dx/dt, `(..., 2) -> (..., 2)`."""
        xp = array_namespace(x)
        q, p = x[..., :1], x[..., 1:]
        return xp.concat((p, -(self.omega**2) * xp.sin(q) - self.damping * p), axis=-1)

    def energy(self, x: Array) -> Array:
        """p^2/2 + omega^2 (1 - cos q), `(..., 2) -> (..., 1)`."""
        xp = array_namespace(x)
        q, p = x[..., :1], x[..., 1:]
        return p**2 / 2 + self.omega**2 * (1 - xp.cos(q))

    def __call__(self, x: Array) -> Array:
        if x.shape[-1] != 2:
            raise ValueError(f"Pendulum wants states (..., 2), met shape {tuple(x.shape)}")
        return rk4(self.tendency, x, self.dt)
