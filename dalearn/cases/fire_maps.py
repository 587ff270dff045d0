"""Fires as one map each: the step at which the fire reaches a cell.

    from dalearn.cases import fire_maps
    train, test = fire_maps.fires("train", 10), fire_maps.fires("test", 40)

What has burnt stays burnt, so a whole fire, all of its frames, is one map of arrival times. The
rules are those of Alexandridis et al. (2008), without wind, on made-up landscapes of 64 x 64 cells
of 30 m, 80 steps. Landscapes belong to training, validation or test: a fire of the test burns on
ground that no training has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..array import Purpose, check_count, generator
from ..models import Landscape, Wildfire

SIDE, STEPS = 64, 80
PARTS = {"train": range(1000, 1400), "validation": range(1400, 1420), "test": range(1420, 1440)}
CAUGHT = 0.05  # burnt share of the fuel after a third of the steps: smaller fires are left out
MAPS = 4  # channels of `ground`


@dataclass(frozen=True, eq=False)
class FireMaps:
    """Fires, one a row, and the grounds that they burn on.

    Args:
        arrival: the step at which each cell is alight, infinity where it is not, `(S, h, w)`.
        place: which of the grounds, `(S,)`.
        grounds: maps of each place, see `ground`, `(L, 4, h, w)`.
        seeds: of the landscapes, `(L,)`.
        steps: how many there were.
    """

    arrival: np.ndarray
    place: np.ndarray
    grounds: np.ndarray
    seeds: np.ndarray
    steps: int = STEPS

    def __len__(self) -> int:
        return len(self.arrival)

    def __getitem__(self, rows: Any) -> FireMaps:
        """Some of the fires, by a slice or an array of rows."""
        return replace(self, arrival=self.arrival[rows], place=self.place[rows])

    @property
    def maps(self) -> np.ndarray:
        """The maps of the ground under each fire, `(S, 4, h, w)`."""
        return self.grounds[self.place]

    @property
    def fuel(self) -> np.ndarray:
        """Which cells can burn, booleans `(S, h, w)`."""
        return self.grounds[self.place, 0] > 0

    @property
    def burnt(self) -> np.ndarray:
        """Which cells have been reached, booleans `(S, h, w)`."""
        return self.arrival <= self.steps

    @property
    def ignition(self) -> np.ndarray:
        """Row and column of the cell where each fire begins, `(S, 2)`."""
        first = self.arrival.reshape(len(self), -1).argmin(-1)
        return np.stack(np.unravel_index(first, self.arrival.shape[1:]), axis=-1)

    def states(self) -> np.ndarray:
        """What networks see, float32 `(S, 2, h, w)`: whether, and when in units of all steps.

        Two channels, since one number that must say both leaves no gap between late and never.
        """
        when = np.where(self.burnt, self.arrival / self.steps, 0)
        return np.stack((self.burnt, when), axis=1).astype(np.float32)

    def frames(self, every: int) -> np.ndarray:
        """Which cells have been reached, each `every` steps from 0 on, float32 `(S, T, h, w)`."""
        times = np.arange(0, self.steps + 1, every)[:, None, None]
        return (self.arrival[:, None] <= times).astype(np.float32)


def landscape(seed: int, side: int = SIDE) -> Landscape:
    """The country of a seed."""
    return Landscape.synthetic((side, side), seed=seed)


def ground(land: Landscape) -> np.ndarray:
    """What a network is told of a landscape, float32 `(4, h, w)`.

    Whether there is fuel; the chance that flat ground of its vegetation and density is set alight
    by one neighbour; the slopes to the east and to the north, in units of 20 degrees.
    """
    fire = Wildfire.alexandridis(land)
    chance = float(fire.spread) * (1 + fire.vegetation) * (1 + fire.density)
    north, east = np.gradient(np.asarray(land.elevation), land.cell)
    tilt = [np.degrees(np.arctan(g)) / 20 * land.fuel for g in (east, north)]
    return np.stack((land.fuel, chance, *tilt)).astype(np.float32)


def arrivals(fire: Wildfire, cells: np.ndarray, steps: int, rng: Any) -> np.ndarray:
    """The step at which each cell is alight, infinity where it is not within `steps`.

    The automaton runs in single precision, all fires at once.

    Args:
        fire: the rules, on their landscape.
        cells: where the fires begin, row and column, `(S, 2)`.
        steps: of the automaton.
        rng: for `fire(x, rng)`.

    Returns:
        `(S, h, w)`, float32: 0 where it begins, then up to `steps`, or infinity.
    """
    check_count("steps", steps)
    x = fire.ignite(np.asarray(cells)[:, None], like=np.zeros(1, np.float32))
    return forward(fire, x, np.where(x > 2, np.float32(0), np.float32(np.inf)), 0, steps, rng)


def forward(fire: Wildfire, x: Any, arrival: np.ndarray, now: int, steps: int, rng: Any) -> Any:
    """Arrival times of fires whose states at step `now` are x, up to step `steps`."""
    found = arrival.copy()
    for k in range(now + 1, steps + 1):
        x = fire(x, rng)
        found[(x > 2) & (found > steps)] = k
        if not (x == 3).any():
            break
    return found


def fires(
    part: str | Sequence[int],
    each: int,
    *,
    seed: int = 0,
    side: int = SIDE,
    steps: int = STEPS,
) -> FireMaps:
    """Fires that caught, from random cells with fuel.

    Args:
        part: "train", "validation" or "test", or the seeds of landscapes.
        each: how many on each landscape.
        seed: of cells and fires; another seed gives other fires on the same ground.
        side: cells a side.
        steps: of the automaton.

    Returns:
        FireMaps.

    Raises:
        ValueError: for another part, and for ground on which no fire catches.
    """
    check_count("each", each)
    if isinstance(part, str) and part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, met {part!r}")
    seeds = list(PARTS[part]) if isinstance(part, str) else list(part)
    lands = [landscape(s, side) for s in seeds]
    found = [_caught(land, each, (seed, s), steps) for land, s in zip(lands, seeds, strict=True)]
    grounds = np.stack([ground(land) for land in lands])
    place = np.repeat(np.arange(len(seeds)), each)
    return FireMaps(np.concatenate(found), place, grounds, np.array(seeds), steps)


def _caught(land: Landscape, each: int, seed: tuple[int, int], steps: int) -> np.ndarray:
    fire, cells, found, tried = Wildfire.alexandridis(land), np.argwhere(land.fuel), [], 0
    while sum(map(len, found)) < each:
        if tried > 20 * (each + 10):
            raise ValueError(f"of {tried} fires {len(found)} caught; wanted other ground")
        rng = generator(Purpose.CASE, *seed, 300, tried)
        at = cells[rng.integers(len(cells), size=each + each // 5 + 4)]
        arrival = arrivals(fire, at, steps, rng)
        share = (arrival <= steps // 3).sum((-2, -1)) / land.fuel.sum()
        found.append(arrival[share >= CAUGHT])
        tried += len(at)
    return np.concatenate(found)[:each]


def check_apart(train: FireMaps, *others: FireMaps) -> None:
    """Raise ValueError where other fires, or the ground under them, are among the training's.

    Compared are the maps themselves, not their seeds.

    Args:
        train: the fires that anything was fitted to.
        *others: validation or test fires on other ground.

    Raises:
        ValueError: for a leak.
    """
    known = {g.tobytes() for g in train.grounds[np.unique(train.place)]}
    burnt = {a.tobytes() for a in train.arrival}
    for other in others:
        same = [p for p in np.unique(other.place).tolist() if other.grounds[p].tobytes() in known]
        if same:
            raise ValueError(
                f"{len(same)} landscapes are among those of the training (the first has seed "
                f"{other.seeds[same[0]]}); wanted other ones"
            )
        if again := [i for i, a in enumerate(other.arrival) if a.tobytes() in burnt]:
            raise ValueError(
                f"{len(again)} fires are among those of the training (the first is number "
                f"{again[0]}); wanted other ones"
            )
