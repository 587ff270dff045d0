"""Burgers' equation in the plane: two velocity components that carry each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, Filled, Swept, array_namespace, check_count, convert, is_array, typed
from .burgers import check_diffusion, most_viscous
from .fields import blockwise, check_positive, check_shape, valid


@typed
@dataclass(frozen=True, eq=False)
class Burgers2D:
    """w_t + u w_x + v w_y = viscosity lap w for w = u and w = v on the square [0, length]^2.

    The rim keeps the value `boundary`, or what it has if that is None. Upwind differences by the
    signs of u and v, central diffusion, forward Euler: first order. While `courant` is at most
    1, no interior value leaves the range of the state.

    Shapes: `(..., 2, n, n) -> (..., 2, n, n)`, u and v, rows along y and columns along x. Members
    whose viscosity is out of range become NaN.

    Args:
        n: points a side, the rim included, at least 4; dx = length / (n - 1).
        viscosity: length^2 per time, a number or `(b, 1, 1)`, one for each member.
        dt: the step; by default half the longest stable one at u = v = 2.
        length: of a side.
        boundary: the value of the rim, or None to leave it as it is.

    Raises:
        ValueError: for settings out of range, an unstable diffusion number, and when called with
            a state of another shape.

    Source: the set-up `medla`.
    """

    n: int = 128
    viscosity: Swept = 0.01
    dt: Filled = None
    length: float = 2.0
    boundary: float | None = 1.0

    def __post_init__(self):
        check_count("n of Burgers2D", self.n, 4, 10**5)
        check_positive(self, "length")
        check_positive(self, "viscosity", zero=True, axes=2)
        if self.dt is None:
            if is_array(self.viscosity):
                raise ValueError("Burgers2D wants dt= where viscosity is an array, met None")
            rate = 4 / self.dx + 4 * self.viscosity / self.dx**2
            object.__setattr__(self, "dt", 0.5 / rate)
        check_positive(self, "dt")
        check_diffusion(self, 4, self.dx)

    @classmethod
    @typed
    def medla(cls, n: int = 128) -> Burgers2D:
        """The set-up of MEDLA: viscosity 0.01, dt = 0.009 dx^2 / viscosity, from `initial`.

        Their grids are 128^2 (1601 steps) and 32^2, whose steps are 16.8 times longer; they pair
        its 101 snapshots with every 16th of the fine grid, so that the pairs drift apart by 5 %
        of the time. Their scheme always looks backward, which is the upwind side here, where u
        and v stay between 1 and 2. The first-order scheme smears the fronts of the coarse grid:
        at the last common time the two differ by 5 % (relative norm).
        Source: S. Cheng et al., Multi-domain encoder-decoder neural networks for latent data
        assimilation in dynamical systems, 2024.
        """
        return cls(n, 0.01, dt=0.009 * (2 / (n - 1)) ** 2 / 0.01)

    @property
    def dx(self) -> float:
        """The distance of the points."""
        return self.length / (self.n - 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one state, (2, n, n)."""
        return 2, self.n, self.n

    def initial(self, like: Array | None = None) -> Array:
        """u = v = 2 on the square between a quarter and half of each side, else 1: `(2, n, n)`."""
        s = np.linspace(0, 1, self.n)
        inside = (s >= 0.25) & (s <= 0.5)
        field = 1.0 + (inside[:, None] & inside)
        both = np.stack([field, field])
        return both if like is None else convert(both, like)

    def courant(self, x: Array) -> Array:
        """max(|u| + |v|) dt/dx + 4 viscosity dt/dx^2, stable up to 1: `(...)`."""
        xp, nu = array_namespace(x), self.viscosity
        nu = nu[..., 0, 0] if is_array(nu) and nu.ndim > 1 else nu
        speed = xp.max(xp.sum(xp.abs(x), axis=-3), axis=(-2, -1))
        return speed * (self.dt / self.dx) + (4 * self.dt / self.dx**2) * nu

    def __call__(self, x: Array) -> Array:
        check_shape(self, x, self.shape)
        nu = valid(self.viscosity, most_viscous(self.dt, 4, self.dx), zero=True, like=x)
        return blockwise(self._step, x, 3, nu)

    def _step(self, x: Array, nu: Any) -> Array:
        xp, ratio = array_namespace(x), self.dt / self.dx
        nu = nu[..., None, :, :] if is_array(nu) and nu.ndim > 1 else nu
        mid = x[..., 1:-1, 1:-1]
        west, east = mid - x[..., 1:-1, :-2], x[..., 1:-1, 2:] - mid
        south, north = mid - x[..., :-2, 1:-1], x[..., 2:, 1:-1] - mid
        u, v, zero = mid[..., :1, :, :], mid[..., 1:, :, :], xp.zeros_like(mid[..., :1, :, :])
        slope = xp.maximum(u, zero) * west + xp.minimum(u, zero) * east
        slope = slope + xp.maximum(v, zero) * south + xp.minimum(v, zero) * north
        new = mid - ratio * slope + (ratio / self.dx * nu) * (east - west + north - south)
        rim = x[..., 1:-1, :1], x[..., 1:-1, -1:], x[..., :1, :], x[..., -1:, :]
        if self.boundary is not None:
            rim = tuple(xp.full_like(side, self.boundary) for side in rim)
        new = xp.concat((rim[0], new, rim[1]), axis=-1)
        return xp.concat((rim[2], new, rim[3]), axis=-2)
