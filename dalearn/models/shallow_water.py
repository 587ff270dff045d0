"""The shallow-water equations: waves on a layer of fluid, on a plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, Filled, Swept, array_namespace, check_count, constant, is_array, typed
from . import fields


@typed
@dataclass(frozen=True, eq=False)
class ShallowWater:
    """u_t = f v - g eta_x - drag u, v_t = -f u - g eta_y - drag v, eta_t = -div((depth + eta) u).

    Momentum is linear, continuity is not; f = coriolis + beta y with y = 0 in the middle.
    Small waves travel at sqrt(g depth). Settings choose the terms; one that is zero costs nothing.

    Two discretisations. `staggered`: u on the east and v on the north face of each cell
    (Arakawa's C grid), momentum first, then continuity, upwind and with the new velocities; first
    order; nothing flows through the rim unless `periodic`; stable while C^2 = 2 g depth (dt/dx)^2
    <= 1 - drag dt / 2. Rotation takes u and v as if at one point: the shortest waves then grow by
    0.4 to 0.6 C f dt a step. Otherwise everything stands at one point, with central differences
    and forward Euler; periodic only, and stable while 2 g depth (dt / dx)^2 <= drag dt <= 2.

    Shapes: `(..., 3, rows, columns)`: eta (m), u along columns and v along rows (m/s). Members
    whose parameters are out of range or unstable become NaN.

    Args:
        cells: (rows, columns).
        dx: the size of a cell, m.
        depth: at rest, m; a number, `(b, 1, 1)` for members, or a map `(..., rows, columns)`.
        gravity: m/s^2, a number or `(b, 1, 1)`.
        dt: the step, s; by default 0.5 dx / sqrt(g depth).
        coriolis: f in the middle, 1/s.
        beta: the slope of f along y, 1/(m s).
        drag: 1/s, a number or `(b, 1, 1)`.
        periodic: whether the plane closes on itself; else nothing flows through the rim.
        staggered: which discretisation.

    Raises:
        ValueError: for an unstable step, settings out of range, and when called with a state of
            another shape.

    Sources: the set-ups below; A. Arakawa and V. Lamb, Methods in Comp. Phys. 17, 1977 (C grid).
    """

    cells: tuple[int, int] = (64, 64)
    dx: float = 1e6 / 63
    depth: Swept = 100.0
    gravity: Swept = 9.81
    dt: Filled = None
    coriolis: float = 0.0
    beta: float = 0.0
    drag: Swept = 0.0
    periodic: bool = False
    staggered: bool = True

    def __post_init__(self):
        if min(self.cells) < 2 or not (self.staggered or self.periodic):
            raise ValueError(
                "ShallowWater wants at least 2 x 2 cells, and staggered=True unless periodic; met "
                f"cells={self.cells}, staggered={self.staggered}, periodic={self.periodic}"
            )
        fields.check_positive(self, "dx", "gravity", axes=2)
        fields.check_positive(self, "depth", axes=2, chart=tuple(self.cells))
        fields.check_positive(self, "drag", zero=True, axes=2)
        swept = any(is_array(p) for p in (self.depth, self.gravity, self.drag))
        if self.dt is None:
            if swept:
                raise ValueError(
                    "ShallowWater wants dt= where depth, gravity or drag is an array, met None"
                )
            object.__setattr__(self, "dt", 0.5 * self.dx / math.sqrt(self.gravity * self.depth))
        fields.check_positive(self, "dt")
        if not swept and self.depth > (top := self._deepest(self.gravity, self.drag)):
            step: Any = self.dt
            crossed = step * math.sqrt(self.gravity * self.depth) / self.dx
            raise ValueError(
                f"ShallowWater is unstable: met dt = {self.dt:g}: waves cross {crossed:.3g} cells "
                f"a step; with drag = {self.drag:g} wanted depth at most {top:.4g}, or shorter dt"
            )

    def _deepest(self, gravity: Any, drag: Any) -> Any:
        """The largest depth at which the step is stable (with a little for round-off)."""
        slowed = drag * self.dt
        top = 1 - slowed / 2 if self.staggered else slowed * (slowed <= 2)
        return (1 + 1e-9) * top * self.dx**2 / (2 * gravity * self.dt**2)

    @classmethod
    @typed
    def ld_ensf(cls, n: int = 150, rotating: bool = True) -> ShallowWater:
        """The tsunami of LD-EnSF (Xiao, Si and Chen 2024): 1000 km, 100 m deep, from a `bump`.

        dt = 0.1 dx / sqrt(g depth), 21.43 s at 150^2. Their code turns Coriolis on (1e-4 +
        2e-11 y), the first version of their text has none: `rotating`. As in their code, f acts as
        if u and v stood at the same point, and dx is length / (n - 1).
        """
        check_count("n", n, 2, 10**5)
        dx = 1e6 / (n - 1)
        dt = 0.1 * dx / math.sqrt(9.81 * 100)
        return cls((n, n), dx, 100.0, 9.81, dt, 1e-4 * rotating, 2e-11 * rotating)

    @classmethod
    @typed
    def motion(cls, n: int = 64) -> ShallowWater:
        """Motion estimation (Filoche, Béréziat, Charantonis 2023): no Coriolis, Courant 0.5."""
        check_count("n", n, 2, 10**5)
        return cls((n, n), 1e6 / (n - 1))

    @classmethod
    @typed
    def vivid(cls) -> ShallowWater:
        """The set-up of VIVID (Cheng, Liu, Guo and Arcucci 2023): 50^2, periodic, from a `disc`.

        Their code divides central differences by 2 dx + 0.01 with dx = 0.01: the grid really used
        has dx = 0.015. Their h is 1 + eta; drag is 2, and runs begin with v = 1 everywhere.
        """
        return cls((50, 50), 0.015, 1.0, 1.0, 1e-4, drag=2.0, periodic=True, staggered=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one state, (3, rows, columns)."""
        return 3, *self.cells

    def __call__(self, x: Array) -> Array:
        fields.check_shape(self, x, self.shape)
        g, drag = fields.valid(self.gravity, like=x), fields.valid(self.drag, zero=True, like=x)
        depth = fields.valid(self.depth, self._deepest(g, drag), like=x)
        step = self._staggered if self.staggered else self._collocated
        return fields.blockwise(step, x, 3, depth, g, drag)

    def _staggered(self, x: Array, depth: Any, gravity: Any, drag: Any) -> Array:
        eta, u, v = x[..., 0, :, :], x[..., 1, :, :], x[..., 2, :, :]
        xp, ratio = array_namespace(x), self.dt / self.dx
        east, north = (fields.following(eta, axis, self.periodic) for axis in (-1, -2))
        floor = depth if is_array(depth) and depth.ndim and depth.shape[-1] > 1 else None  # a map
        still = not is_array(drag) and drag == 0

        def velocity(u, ahead):
            out = u - (gravity * ratio) * (ahead - eta)
            return out if still else out - (self.dt * drag) * u

        def flux(u, ahead, axis):  # at a wall u is 0, so the ring of `preceding` brings nothing in
            up = u > 0
            below = depth
            if floor is not None:
                below = xp.where(up, floor, fields.following(floor, axis, self.periodic))
            f = u * (xp.where(up, eta, ahead) + below)
            return f - fields.preceding(f, axis)

        new_u, new_v = velocity(u, east), velocity(v, north)
        if self.coriolis or self.beta:
            given = self.cells[0], self.dx, self.dt, self.coriolis, self.beta
            a, b, scale = constant(_rotation, *given, like=x)
            new_u, new_v = scale * (new_u - b * u + a * v), scale * (new_v - b * v - a * u)
        if not self.periodic:
            inside_u, inside_v = constant(_walls, *self.cells, like=x)
            new_u, new_v = new_u * inside_u, new_v * inside_v
        outflow = flux(new_u, east, -1) + flux(new_v, north, -2)
        return xp.stack((eta - ratio * outflow, new_u, new_v), axis=-3)

    def _collocated(self, x: Array, depth: Any, gravity: Any, drag: Any) -> Array:
        eta, u, v = x[..., 0, :, :], x[..., 1, :, :], x[..., 2, :, :]

        def slope(q, axis):  # dt times the central difference
            return (fields.following(q, axis) - fields.preceding(q, axis)) * (
                self.dt / (2 * self.dx)
            )

        h, keep = depth + eta, 1 - self.dt * drag
        new_eta = eta - slope(h * u, -1) - slope(h * v, -2)
        new_u, new_v = (keep * q - gravity * slope(eta, axis) for q, axis in ((u, -1), (v, -2)))
        return array_namespace(x).stack((new_eta, new_u, new_v), axis=-3)

    def bump(self, centre: Any, width: float = 5e4, height: Any = 1.0) -> np.ndarray:
        """Water at rest with a bump: centres `(..., 2)`, x and y (m) -> `(..., 3, rows, columns)`.

        eta = height exp(-r^2 / (2 width^2)), r the distance to the centre; cell 0 is at x = y = 0.
        """
        c = np.asarray(centre, float)[..., None, None]
        y, x = (self.dx * np.arange(n) for n in self.cells)
        r2 = (x - c[..., 0, :, :]) ** 2 + (y[:, None] - c[..., 1, :, :]) ** 2
        eta = np.asarray(height)[..., None, None] * np.exp(-r2 / (2 * width**2))
        return np.stack([eta, 0 * eta, 0 * eta], axis=-3)

    def disc(self, radius: float = 6, height: float = 0.2) -> np.ndarray:
        """VIVID's start: a disc (radius in cells) raised in the middle, u = 0 and v = 1."""
        j, i = np.indices(self.cells) - np.array(self.cells)[:, None, None] // 2
        eta = height * (i**2 + j**2 <= radius**2)
        return np.stack([eta, 0 * eta, 0 * eta + 1])

    def mass(self, x: Array) -> Array:
        """The volume above the level of rest, sum(eta) dx^2 (m^3): `(..., 3, h, w) -> (...)`."""
        return array_namespace(x).sum(x[..., 0, :, :], axis=(-2, -1)) * self.dx**2

    def energy(self, x: Array) -> Array:
        """sum(g eta^2 + depth u . (u - g dt grad eta)) dx^2 / 2 (m^5/s^2, per density): `(...)`.

        The staggered scheme's own energy (the other one's without the last term): without rotation
        its linear part conserves it exactly; upwinding takes from it; rotation feeds it.
        """
        eta, total, k = x[..., 0, :, :], 0, self.gravity * self.dt / self.dx * self.staggered
        for i, axis in ((1, -1), (2, -2)):
            slope = fields.following(eta, axis, self.periodic) - eta
            total = total + x[..., i, :, :] * (x[..., i, :, :] - k * slope)
        dense = self.gravity * eta**2 + self.depth * total
        return array_namespace(x).sum(dense, axis=(-2, -1)) * (self.dx**2 / 2)

    def courant(self, x: Array) -> Array:
        """sqrt(2) (largest speed + sqrt(g (depth + eta))) dt / dx: `(..., 3, h, w) -> (...)`."""
        xp = array_namespace(x)
        wave = (self.gravity * xp.clip(self.depth + x[..., 0, :, :], 0, None)) ** 0.5  # 0: dry
        speed = wave + xp.maximum(xp.abs(x[..., 1, :, :]), xp.abs(x[..., 2, :, :]))
        return xp.max(speed, axis=(-2, -1)) * (2**0.5 * self.dt / self.dx)


def _walls(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors that stop the flow through the east and the north rim."""
    east, north = np.ones((1, columns)), np.ones((rows, 1))
    east[0, -1] = north[-1, 0] = 0
    return east, north


def _rotation(rows: int, dx: float, dt: float, f: float, beta: float) -> tuple:
    """a = f dt, b = a^2 / 4 and 1 / (1 + b), each `(rows, 1)`: the rotation is half implicit."""
    a = dt * (f + beta * dx * (np.arange(rows) - (rows - 1) / 2))[:, None]
    return a, a**2 / 4, 1 / (1 + a**2 / 4)
