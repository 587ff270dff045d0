"""A wildfire as a cellular automaton: each burning cell may set its eight neighbours alight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..array import (
    Array,
    Swept,
    array_namespace,
    as_floats,
    convert,
    is_array,
    kept,
    to_numpy,
    typed,
    uniform,
)
from .fields import blockwise, check_positive, check_shape, valid
from .landscape import WAYS, Landscape, slopes

NO_FUEL, FUEL, BURNING, BURNT = 1, 2, 3, 4

TOPS = {"spread": 1, "persistence": 1, "wind_speed": 200, "wind_direction": 1e6}


@typed
@dataclass(frozen=True, eq=False)
class Wildfire:
    """Cells that hold 1 (no fuel), 2 (fuel), 3 (burning) or 4 (burnt); one call is one step.

    A burning cell is burnt one step later, or burns on with probability `persistence`. It sets
    each neighbour with fuel alight with probability

        p = p_h (1 + p_veg) (1 + p_den) exp(V (c1 + c2 (cos theta - 1))) exp(a theta_s),

    clipped to [0, 1]; P(ignite) = 1 - prod(1 - p) over the burning neighbours. theta is the angle
    between spread and wind; theta_s = atan((E_target - E_source) / distance), degrees: fire runs
    uphill. Rows grow northward, columns eastward: plot with `origin="lower"`. On uniform ground,
    flat and calm, what burns is a cluster of bond percolation: fires die out for p below about
    0.25; near 1 the front gains a cell a step on all sides and is square.

    `fire(x, rng)`: `(..., h, w) -> (..., h, w)`, rng as for `dalearn.array.uniform`. Each step
    draws one number for each cell of `x`, so runs with equal seeds use the same random numbers.
    Entries of `x` count as the nearest state (`snap`), as an analysis leaves them. NaN stays NaN
    and lights nothing. Members with a parameter out of range become NaN.

    Args:
        elevation: m, `(h, w)`.
        vegetation: p_veg of the cell that may ignite, `(h, w)` or a number; -1 is no fuel.
        density: p_den of the cell that may ignite, `(h, w)` or a number; -1 is no fuel.
        cell: the side of a cell, m.
        spread: p_h in [0, 1]; a number, or an array against `(..., h, w)`, such as `(b, 1, 1)` for
            members or a map.
        wind_speed: V in [0, 200] m/s, a number or such an array.
        wind_direction: where the wind blows to, radians anticlockwise from east; a number or such
            an array.
        slope: a, 1/degree.
        c1: s/m.
        c2: s/m.
        persistence: the probability that a burning cell burns on.

    Raises:
        TypeError: when called without rng.
        ValueError: for numbers out of range and wrong shapes.

    Source: A. Alexandridis et al., A cellular automata model for forest fire spread prediction,
    Appl. Math. Comput. 204, 2008.
    """

    stochastic: ClassVar[bool] = True

    elevation: Any = field(repr=False)
    vegetation: Any = field(default=0.0, repr=False)
    density: Any = field(default=0.0, repr=False)
    cell: float = 30.0
    spread: Swept = 0.58
    wind_speed: Swept = 0.0
    wind_direction: Swept = 0.0
    slope: float = 0.078
    c1: float = 0.045
    c2: float = 0.131
    persistence: float = 0.0
    _kept: dict = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self):
        for name in ("elevation", "vegetation", "density"):
            chart = as_floats(getattr(self, name), name, axes=("y", "x"))
            object.__setattr__(self, name, chart)
            if len(self.shape) != 2 or tuple(chart.shape) not in ((), self.shape):
                met = f"elevation {self.shape} and {name} {tuple(chart.shape)}"
                raise ValueError(f"Wildfire wants maps (rows, columns) of one shape, met {met}")
            least = -math.inf if name == "elevation" else -1
            if not bool(((chart >= least) & (abs(chart) < math.inf)).all()):
                met = f"{float(chart.min()):g} to {float(chart.max()):g}"
                raise ValueError(f"Wildfire wants {name} finite and at least {least}, met {met}")
        check_positive(self, "cell")
        check_positive(self, "spread", "wind_speed", "slope", "c1", "c2", "persistence", zero=True)
        for name, top in TOPS.items():
            value = getattr(self, name)
            if not is_array(value) or not value.ndim:
                if not bool(abs(value) <= top):
                    raise ValueError(f"Wildfire wants {name} at most {top}, met {value}")
                continue
            object.__setattr__(self, name, as_floats(value, name, axes=("y", "x")))
            (*_, rows, columns), (h, w) = (0, 0, *value.shape), self.shape
            if rows not in (1, h) or columns not in (1, w):
                wanted = f"wants {name} as a number, (b, 1, 1) or a map {self.shape}"
                raise ValueError(f"Wildfire {wanted}, met shape {tuple(value.shape)}")

    @classmethod
    @typed
    def alexandridis(cls, landscape: Landscape, **settings: Any) -> Wildfire:
        """The rules of Alexandridis et al. 2008 on a landscape; `settings` replace defaults.

        p_veg: farmland -0.3, thickets 0, pine 0.4. p_den: sparse -0.4, normal 0, dense 0.3.
        """
        return cls._on(landscape, np.array([-0.3, 0.0, 0.4])[landscape.vegetation], settings)

    @classmethod
    @typed
    def latent_assimilation(cls, landscape: Landscape, **settings: Any) -> Wildfire:
        """The fires of latent assimilation, as the paper's released code makes them.

        Its quirks: 1 + p_veg is 1/2 + 10 canopy / max(canopy), so p is mostly clipped to 1 and
        fronts are square; a cell burns on with probability 0.4; V = 10 m/s but every wind angle
        is 0, a factor exp(c1 V) all round (here c2 = 0); the rim never burns; the cell's side is 1
        (`cell=1`), 1.414 on diagonals (not here); ground without trees burns (here not water).
        Source: S. Cheng et al., Data-driven surrogate model with latent data assimilation:
        application to wildfire forecasting, J. Comput. Phys. 464, 2022.
        """
        canopy = np.asarray(landscape.canopy) / (np.max(landscape.canopy) or 1)
        vegetation = np.pad(10 * canopy[1:-1, 1:-1] - 0.5, 1, constant_values=-1)
        quirks = {"wind_speed": 10.0, "c2": 0.0, "persistence": 0.4}
        return cls._on(landscape, vegetation, quirks | settings)

    @classmethod
    def _on(cls, land: Landscape, vegetation: np.ndarray, settings: dict) -> Wildfire:
        maps = np.where(land.fuel, vegetation, -1.0), np.array([-0.4, 0.0, 0.3])[land.density]
        return cls(land.elevation, *maps, **({"cell": land.cell} | settings))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state, (rows, columns)."""
        return tuple(self.elevation.shape)

    def __call__(self, x: Array, rng: Any = None) -> Array:
        if rng is None:
            raise TypeError(
                "Wildfire is stochastic: call fire(x, rng), rng Streams or a generator"
            )
        return self._blocks(self._step, s := self.snap(x), uniform(rng, s))

    def probability(self, x: Array) -> Array:
        """The probability `(..., h, w)` that each cell is set alight in the next step.

        0 where there is no fuel left. Differentiable in `spread` and the wind.
        """
        return self._blocks(self._ignition, self.snap(x))

    def snap(self, x: Array) -> Array:
        """The nearest of the states 1, 2, 3, 4 (2.5 is 2, 3.5 is 4); NaN where not finite."""
        x = as_floats(x, "a state of Wildfire")
        check_shape(self, x, self.shape)
        with np.errstate(invalid="ignore"):  # 0 times infinity
            return array_namespace(x).clip(x.round(), NO_FUEL, BURNT) + 0 * x

    def burnt(self, x: Array) -> Array:
        """The share `(...)` of the cells with fuel that burn or have burnt (0 without fuel)."""
        xp, s = array_namespace(x), self.snap(x)
        gone, fuel = (xp.sum((s >= k) + 0 * s, axis=(-2, -1)) for k in (BURNING, FUEL))
        return gone / xp.clip(fuel, 1, None)

    def ignite(self, cells: Any, like: Array | None = None) -> Array:
        """The state `(..., h, w)` with fire at `cells (..., k, 2)`, the row and column of each.

        Elsewhere fuel, or none where vegetation or density is -1. An array like `like` (NumPy,
        float64). Raises ValueError for cells outside or without fuel.
        """
        cells, (h, w) = np.atleast_2d(cells), self.shape
        if cells.dtype.kind not in "iu" or cells.shape[-1] != 2:
            raise ValueError(f"wanted integers (..., k, 2), row and column, met {cells.shape}")
        blank = np.where(np.broadcast_to(self._fuel() > 0, (h, w)), float(FUEL), NO_FUEL)
        for r, c in cells.reshape(-1, 2).tolist():
            if not (0 <= r < h and 0 <= c < w and blank[r, c] == FUEL):
                raise ValueError(f"cell ({r}, {c}) is outside {self.shape} or has no fuel")
        x = np.tile(blank.ravel(), (*cells.shape[:-2], 1))
        np.put_along_axis(x, cells[..., 0] * w + cells[..., 1], BURNING, axis=-1)
        return convert(x.reshape(*x.shape[:-1], h, w), x if like is None else like)

    def _blocks(self, step: Callable[..., Array], *states: Array) -> Array:
        """`step(*states, *chances)` on blocks of members."""
        chances = self._chances(states[0])
        lead = np.broadcast_shapes(tuple(states[0].shape), tuple(chances[0].shape))
        xp = array_namespace(states[0])
        x, *drawn = (xp.broadcast_to(v, lead) for v in states)
        return blockwise(step, x, 2, *drawn, *chances)

    def _chances(self, x: Array) -> list[Array]:
        """For each way into a cell the probability p that fire takes it.

        One map `(h, w)` where spread and wind are the same for all members. Where they are not,
        p without the factor of the ground, `(b, 1, 1)` or `(b, h, w)`: `_ignition` puts it in.
        """
        wanted = self.spread, self.wind_speed, self.wind_direction
        xp = array_namespace(x, *(v for v in wanted if is_array(v)))
        spread, speed, to = (
            convert(v, x) if is_array(v) else xp.asarray(float(v), dtype=x.dtype, device=x.device)
            for v in (valid(wanted[0], 1, True), valid(wanted[1], 200, True), wanted[2])
        )
        to = xp.where(xp.isfinite(to), to, xp.full_like(to, math.nan))
        chances = []
        for (i, j), ground in zip(WAYS, self._ground(x), strict=True):
            along = xp.cos(to - math.atan2(i, j)) - 1
            chance = spread * xp.exp(speed * (self.c1 + self.c2 * along))
            chances.append(chance if chance.ndim > 2 else xp.clip(chance * ground, None, 1))
        return chances

    def _step(self, s: Array, u: Array, *chances: Array) -> Array:
        P = self._ignition(s, *chances)
        lit = (s == FUEL) & ((u < P) | (P == 1))  # in single precision u may round up to 1
        out = (s == BURNING) & ((u >= self.persistence) & (self.persistence < 1))
        return s + array_namespace(s).astype(lit | out, s.dtype) + 0 * P  # NaN of P stays

    def _ignition(self, s: Array, *chances: Array) -> Array:
        xp, (h, w) = array_namespace(s), self.shape
        fire = xp.astype(s == BURNING, s.dtype)
        fire = xp.concat((side := 0 * fire[..., :1], fire, side), axis=-1)
        fire = xp.concat((side := 0 * fire[..., :1, :], fire, side), axis=-2)
        survive = 1.0
        for (i, j), p, ground in zip(WAYS, chances, self._ground(s), strict=True):
            p = p if p.ndim == 2 else xp.clip(p * ground, None, 1)
            survive = survive * (1 - fire[..., 1 - i : 1 - i + h, 1 - j : 1 - j + w] * p)
        return xp.astype(s == FUEL, s.dtype) * (1 - survive) + 0 * s  # NaN of any factor stays

    def _ground(self, like: Array) -> Array:
        """(1 + p_veg) (1 + p_den) exp(a theta_s) for each way into a cell, `(8, h, w)`; kept."""

        def ground() -> np.ndarray:
            return self._fuel() * np.exp(self.slope * slopes(to_numpy(self.elevation), self.cell))

        return kept(self._kept, "ground", like, ground)

    def _fuel(self) -> np.ndarray:
        return (1.0 + to_numpy(self.vegetation)) * (1.0 + to_numpy(self.density))
