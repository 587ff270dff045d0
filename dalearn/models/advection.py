"""Advection: a tracer carried by a motion, known or to be recovered from images of the tracer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, array_namespace, as_floats, convert
from .fields import blockwise, check_positive, check_shape


@dataclass(frozen=True, eq=False)
class Advection:
    """q_t + u q_x + v q_y = 0 on a doubly periodic plane: q keeps its value along trajectories.

    Semi-Lagrangian: the new q at a point is the old one where the particle came from, however far
    that is; only the trajectories want dt |grad w| well below 1, w = (u, v). Fields are
    interpolated by tensor-product Lagrange polynomials. Bilinear, `order` 1, keeps q within its
    range and smears it; bicubic, 3, smears far less, and overshoots where the motion tears q to
    the size of the cells: by a quarter of its range around a vortex, and more where the motion
    converges. The error is O(dx^order) at a fixed number of cells a step, and O(dt^2) from the
    trajectories. Uniform motions keep the mean of q; others do not: over a turnover of a vortex
    of 64 points a wavelength it moved by 0.5 % of q's standard deviation with order 1, 0.25 %
    with order 3.

    With `motion` the state is the tracer. Without, the motion is part of the state, to be
    assimilated: tracer, u, v; steady, or with `inertia` carried by itself, w_t + w . grad w = 0,
    each particle keeping its velocity. Differentiable in q and w; where a particle comes exactly
    from a grid point (w = 0) the derivative in w is that of one side.

    Arguments: `cells`, (rows, columns), at least `order` + 1 each; `length` of a row of cells,
    which are squares; `motion`, `(..., 2, rows, columns)`, u along columns and v along rows
    (length per time), its leading axes those of the members, or None; `dt`; `order`, 1 or 3;
    `inertia`, only without a motion.
    Shapes: `(..., rows, columns)` with a motion, else `(..., 3, rows, columns)`. Raises ValueError
    for other shapes and settings. Members with NaN in their motion become NaN where it was used.
    Sources: A. Staniforth and J. Côté, Mon. Wea. Rev. 119, 1991 (the schemes); motion as the
    unknown: I. Herlin and D. Béréziat; A. Filoche, D. Béréziat and A. Charantonis, Environ. Data
    Sci., 2023.
    """

    cells: tuple[int, int] = (64, 64)
    length: float = 2 * math.pi
    motion: Any = None
    dt: float = 0.05
    order: int = 3
    inertia: bool = False

    def __post_init__(self):
        if self.order not in (1, 3):
            raise ValueError(f"Advection wants order 1 or 3, met {self.order}")
        if min(self.cells) < self.order + 1:
            raise ValueError(
                f"Advection wants at least {self.order + 1} cells a side, met {self.cells}"
            )
        check_positive(self, "length", "dt")
        if self.motion is None:
            return
        if self.inertia:
            raise ValueError("Advection wants motion=None with inertia: it is then in the state")
        object.__setattr__(self, "motion", as_floats(self.motion, "the motion"))
        if tuple(self.motion.shape[-3:]) != (2, *self.cells):
            raise ValueError(
                f"Advection wants a motion (..., 2, {self.cells[0]}, {self.cells[1]}), met shape "
                f"{tuple(self.motion.shape)}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state: cells, or (3, *cells) where the motion is part of it."""
        return tuple(self.cells) if self.motion is not None else (3, *self.cells)

    @property
    def dx(self) -> float:
        """The side of a cell."""
        return self.length / self.cells[1]

    @property
    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """The points (x, y), each `(rows, columns)`."""
        x, y = np.meshgrid(*(self.dx * np.arange(n) for n in self.cells[::-1]))
        return x, y

    def displacement(self, x: Array) -> Array:
        """How far the fastest particle goes in a step, in cells, `(...)`, without a bound."""
        xp = array_namespace(x)
        w = x[..., 1:, :, :] if self.motion is None else convert(self.motion, x)
        lead = tuple(x.shape[: -len(self.shape)])
        far = xp.max(xp.abs(w), axis=(-3, -2, -1)) * (self.dt / self.dx)
        return xp.broadcast_to(far, lead) if tuple(far.shape) != lead else far

    def __call__(self, x: Array) -> Array:
        check_shape(self, x, self.shape)
        if self.motion is None:
            return blockwise(self._carry_all, x, 3)
        w = convert(self.motion, x)
        u, v = w[..., 0, :, :], w[..., 1, :, :]
        if u.ndim > 2:
            u, v = (array_namespace(x).broadcast_to(c, x.shape) for c in (u, v))
            return blockwise(self._carry, x, 2, u, v)
        came_from = self._trajectories(u, v)  # one motion for all members
        return blockwise(lambda q: self._at(q, came_from), x, 2)

    def _carry(self, q: Array, u: Array, v: Array) -> Array:
        return self._at(q, self._trajectories(u, v))

    def _carry_all(self, x: Array) -> Array:
        xp = array_namespace(x)
        q, u, v = (x[..., i, :, :] for i in range(3))
        came_from = self._trajectories(u, v)
        if self.inertia:
            u, v = self._at(u, came_from), self._at(v, came_from)
        return xp.stack((self._at(q, came_from), u, v), axis=-3)

    def _trajectories(self, u: Array, v: Array) -> tuple:
        """Where particles came from, by w in the middle of their way, as `_at` wants it.

        With inertia w is the same all along the way, and that of its beginning.
        """
        scale = self.dt / self.dx
        part = scale if self.inertia else scale / 2
        way = self._stencil(-part * u, -part * v)
        return self._stencil(-scale * self._at(u, way), -scale * self._at(v, way))

    def _stencil(self, right: Array, up: Array) -> tuple:
        """What `_at` wants to read fields at displaced points; displacements in cells.

        Weights of the neighbours along rows and columns, and the index of the first of them in
        the padded planes of all members, laid flat.
        """
        xp, (rows, columns) = array_namespace(right), self.cells
        (i, across), (j, down) = self._along(right, columns, -1), self._along(up, rows, -2)
        index = j * (columns + self.order) + i
        if right.ndim > 2:  # the members' planes stand one after the other
            lead = tuple(right.shape[:-2])
            plane = xp.reshape(xp.arange(math.prod(lead), device=right.device), (*lead, 1, 1))
            index = index + plane * ((rows + self.order) * (columns + self.order))
        return xp.reshape(index, (-1,)), across, down

    def _along(self, shift: Array, n: int, axis: int) -> tuple[Array, tuple]:
        """Along one axis: the index of the first neighbour, and the weights of all."""
        xp = array_namespace(shift)
        whole = xp.floor(shift)
        f = shift - whole  # NaN where the shift is, and so are the weights: only indices need care
        here = xp.arange(n, dtype=shift.dtype, device=shift.device)
        cell = whole + (here if axis == -1 else here[:, None])
        cell = xp.where(xp.isfinite(cell), cell, xp.zeros_like(cell))
        first = xp.astype(xp.remainder(cell, xp.full_like(cell, n)), xp.int64)
        if self.order == 1:
            return first, (1 - f, f)
        g, h, k = f + 1, f - 1, f - 2
        return first, (-f * h * k / 6, g * h * k / 2, -g * f * k / 2, g * f * h / 6)

    def _at(self, q: Array, stencil: tuple) -> Array:
        """Fields `(..., rows, columns)` interpolated at the points of a stencil."""
        xp, (index, across, down) = array_namespace(q), stencil
        left, right = self.order // 2, self.order // 2 + 1  # neighbours before and after a point
        wide = xp.concat((q[..., self.cells[1] - left :], q, q[..., :right]), axis=-1)
        top = wide[..., self.cells[0] - left :, :]
        wide = xp.concat((top, wide, wide[..., :right, :]), axis=-2)
        size = wide.shape[-2] * wide.shape[-1]
        lead = tuple(q.shape[:-2])
        flat = (*lead, size) if down[0].ndim == 2 else (math.prod(lead) * size,)
        flat, total = xp.reshape(wide, flat), 0
        for row, b in enumerate(down):
            line = 0
            for column, a in enumerate(across):
                offset = row * wide.shape[-1] + column
                line = line + a * xp.reshape(xp.take(flat, index + offset, axis=-1), q.shape)
            total = total + b * line
        return total
