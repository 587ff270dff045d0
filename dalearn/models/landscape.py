"""Landscapes for wildfires: terrain, vegetation and what cannot burn, made up or measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Purpose, check_between, check_count, generator, shown, typed

WAYS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]  # cells north, cells east


@typed
@dataclass(frozen=True, eq=False)
class Landscape:
    """What a fire meets: maps `(rows, columns)`; rows grow northward, columns eastward.

    Args:
        elevation: m.
        canopy: the share of ground under tree crowns, in [0, 1].
        vegetation: the class: 0 farmland, 1 thickets, 2 pine.
        density: the class: 0 sparse, 1 normal, 2 dense.
        fuel: booleans, False where nothing can burn.
        cell: the side of a cell, m.

    Raises:
        ValueError: for maps of different shapes, canopy outside [0, 1] and other classes.
    """

    elevation: Any
    canopy: Any
    vegetation: Any
    density: Any
    fuel: Any
    cell: float = 30.0

    def __post_init__(self):
        check_between("cell", self.cell, 0, np.inf, open_low=True)
        shapes = {n: np.shape(getattr(self, n)) for n in list(self.__dataclass_fields__)[:5]}
        if len(set(shapes.values())) > 1 or len(shapes["elevation"]) != 2:
            raise ValueError(
                f"Landscape wants five maps (rows, columns) of one shape, met {shapes}"
            )
        if not np.all((np.asarray(self.canopy) >= 0) & (np.asarray(self.canopy) <= 1)):
            raise ValueError(f"Landscape wants canopy in [0, 1], met {shown(self.canopy)}")
        for name in ("vegetation", "density"):
            odd = np.setdiff1d(getattr(self, name), (0, 1, 2))
            if odd.size:
                raise ValueError(f"Landscape wants {name} classes 0, 1 and 2, met {odd[0]}")

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns)."""
        return tuple(self.elevation.shape)

    @classmethod
    @typed
    def synthetic(
        cls,
        shape: tuple[int, int] = (128, 128),
        seed: int = 0,
        cell: float = 30.0,
        relief: float = 350.0,
        river: bool = True,
    ) -> Landscape:
        """A made-up country: hills and a ridge, farmland low down, woods, bare rock, a river.

        Hills are smooth random fields; the ridge and the river run roughly from south to north.
        Vegetation comes in patches of some 300 m.

        Args:
            shape: (rows, columns), at least 8 x 8.
            seed: of the country, a non-negative integer.
            cell: the side of a cell, m.
            relief: highest minus lowest point, m.
            river: whether there is one, which no fire can cross.

        Returns:
            The landscape.

        Raises:
            ValueError: for another shape and lengths that are not positive.
        """
        check_count("seed", seed, 0, math.inf)
        h, w = shape
        if h < 8 or w < 8:
            raise ValueError(f"Landscape.synthetic wants at least 8 x 8 cells, met shape {shape}")
        if not (cell > 0 and relief > 0):
            raise ValueError(
                f"wanted cell and relief positive, met cell = {cell}, relief = {relief}"
            )
        rng = generator(Purpose.LANDSCAPE, seed)
        north, east = cell * np.arange(h)[:, None], cell * np.arange(w)

        hills = _noise(rng, shape, 350 / cell, 3)
        lean, offset = np.tan(rng.uniform(-0.6, 0.6)), rng.uniform(0.3, 0.7) * east[-1]
        crest = offset + lean * (north - north.mean()) + 100 * _noise(rng, shape, 300 / cell, 4)
        height = hills + 2.5 * np.exp(-(((east - crest) / (0.16 * east[-1])) ** 2))
        height = (height - height.min()) / np.ptp(height)
        if river:
            away = np.abs(east - east[_lowest_path(height)][:, None])  # from the river (m)
            height = height * (1 - 0.6 * np.exp(-((away / 300) ** 2)))
            height = (height - height.min()) / np.ptp(height)

        patches, soil = _noise(rng, shape, 100 / cell, 3), _noise(rng, shape, 40 / cell, 3)
        bare = 6 * np.maximum(0, height - 0.75)  # fewer trees towards the tops
        canopy = 1 / (1 + np.exp(-(0.3 + 1.5 * patches + 0.3 * soil - bare)))
        low = height + 0.05 * patches
        farmed = low < np.quantile(low, 0.15)
        canopy = np.where(farmed, 0.3 * canopy, canopy)
        vegetation = np.where(farmed, 0, np.where(canopy > 0.55, 2, 1))
        thick = canopy + 0.1 * soil
        high = height + 0.03 * soil
        fuel = high < np.quantile(high, 0.985)
        if river:  # wide enough that no fire passes at a bend
            fuel = fuel & (away > 1.5 * max(cell, 30))
        density = (thick > 0.35).astype(int) + (thick > 0.7)
        return cls(relief * height, np.where(fuel, canopy, 0), vegetation, density, fuel, cell)


def slopes(elevation: np.ndarray, cell: float) -> np.ndarray:
    """How steep the last step into each cell is, for each of `WAYS`: degrees, `(8, h, w)`.

    Positive uphill. Steps from outside the map have no meaning: nothing burns there.
    """
    E, (h, w) = elevation.astype(np.float64), elevation.shape
    source = np.pad(E, 1, mode="edge")
    rise = [E - source[1 - i : 1 - i + h, 1 - j : 1 - j + w] for i, j in WAYS]
    far = cell * np.hypot(*np.array(WAYS).T)[:, None, None]
    return np.degrees(np.arctan(np.stack(rise) / far))


def _noise(rng: np.random.Generator, shape: tuple[int, int], length: float, power: float) -> Any:
    """A random field, mean 0 and variance 1: amplitude (1 + (k length)^2)^(-power/2), in cells.

    Cut out of a periodic field of twice the size, so that opposite sides do not match.
    """
    h, w = 2 * shape[0], 2 * shape[1]
    k2 = (2 * np.pi) ** 2 * (np.fft.fftfreq(h)[:, None] ** 2 + np.fft.rfftfreq(w) ** 2)
    shaped = np.fft.rfft2(rng.standard_normal((h, w))) * (1 + length**2 * k2) ** (-power / 2)
    field = np.fft.irfft2(shaped, (h, w))[: shape[0], : shape[1]]
    return (field - field.mean()) / field.std()


def _lowest_path(height: np.ndarray) -> np.ndarray:
    """The column in each row of the path from south to north with the least sum of heights.

    It moves by at most one column a row: dynamic programming, row by row.
    """
    banks = np.linspace(-1, 1, height.shape[1]) ** 8  # keeps off the edges of the map
    worth = height**2 + banks
    cost = worth[:1]
    for row in worth[1:]:
        ahead = np.pad(cost[-1], 1, constant_values=np.inf)
        best = np.min([ahead[:-2], ahead[1:-1], ahead[2:]], axis=0)
        cost = np.concatenate([cost, [row + best]])
    path = [int(np.argmin(cost[-1]))]
    for before in cost[-2::-1]:
        j = path[-1]
        near = np.arange(max(j - 1, 0), min(j + 2, before.size))
        path.append(int(near[np.argmin(before[near])]))
    smooth = np.convolve(np.pad(path[::-1], 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
    return np.rint(smooth).astype(int)
