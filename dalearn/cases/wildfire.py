"""Fires on made-up ground, each under a wind that nobody knows: data for latent assimilation.

    from dalearn.cases import wildfire
    train, test = wildfire.fires("train", 800), wildfire.fires("test", 40)

The rules are those of Alexandridis et al. (2008) on `Landscape.synthetic`, 64 x 64 cells of 30 m.
A frame is 4 steps of the automaton. Every fire has its own wind, 0 to 7 m/s in any direction, in
training as well, and no surrogate is told of it. The ground is cut into squares of 4 x 4 cells,
and each belongs to training, validation or test: a fire of the test starts where none of the
training did. What is seen of a fire is which cells burn or have burnt: one flag a cell, flipped
with probability 1/20, and nothing under clouds.

The task is that of S. Cheng, I. C. Prentice, Y. Huang, Y. Jin, Y.-K. Guo and R. Arcucci,
Data-driven surrogate model with latent data assimilation: application to wildfire forecasting,
J. Comput. Phys. 464, 2022, where the ground is that of real fires and no wind is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..array import Purpose, check_between, check_count, generator
from ..models import Landscape, Wildfire
from ..run.simulate import simulate
from .wildfire_flags import FLIPS, clouds, distance, seen, variance

__all__ = [
    "FLIPS",
    "Fires",
    "burn",
    "cells_of",
    "check_unseen",
    "clouds",
    "distance",
    "fires",
    "landscape",
    "seen",
    "variance",
]

SIDE, STEPS, FRAMES = 64, 4, 25  # cells a side, automaton steps a frame, frames of a fire
FASTEST = 7.0  # m/s
DAYS = (8, 13, 18)  # frames with data
SQUARE = 4  # cells a side of the squares that are dealt
CAUGHT = 0.05  # burnt share of the fuel after a third of the frames: smaller fires are left out
PARTS = {"train": 0, "validation": 1, "test": 2}
SHARES = (0.7, 0.15, 0.15)
COLUMNS = ("states", "ignition", "wind_speed", "wind_direction")
BURNING = 3  # cells of this state or the next burn or have burnt


@dataclass(frozen=True, eq=False)
class Fires:
    """Fires, one a row.

    Args:
        states: of the cells, 1 to 4, small integers `(S, T, h, w)`.
        ignition: row and column where each began, `(S, 2)`.
        wind_speed: m/s, `(S,)`.
        wind_direction: where it blows to, radians anticlockwise from east, `(S,)`.
        land: the Landscape.
    """

    states: np.ndarray
    ignition: np.ndarray
    wind_speed: np.ndarray
    wind_direction: np.ndarray
    land: Landscape

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, rows: Any) -> Fires:
        """Some of the fires, by a slice or an array of rows."""
        return replace(self, **{n: getattr(self, n)[rows] for n in COLUMNS})

    @property
    def burnt(self) -> np.ndarray:
        """Which cells burn or have burnt, 0 or 1, float32 `(S, T, h w)`."""
        flags = self.states >= BURNING
        return flags.reshape(*flags.shape[:2], -1).astype(np.float32)


def landscape(seed: int = 0, side: int = SIDE) -> Landscape:
    """The country: hills, woods, farmland, bare rock and a river."""
    return Landscape.synthetic((side, side), seed=seed)


def automaton(land: Landscape, wind_speed: Any = 0.0, wind_direction: Any = 0.0) -> Wildfire:
    """The rules; winds `(b,)` belong to b fires."""
    wind = [np.asarray(w, np.float32) for w in (wind_speed, wind_direction)]
    speed, direction = (w[:, None, None] if w.ndim else float(w) for w in wind)
    return Wildfire.alexandridis(land, wind_speed=speed, wind_direction=direction)


def cells_of(part: str, land: Landscape) -> np.ndarray:
    """The cells with fuel where fires of a part may begin, `(c, 2)`."""
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, met {part!r}")
    h, w = land.shape
    rows, columns = -(-h // SQUARE), -(-w // SQUARE)
    order = generator(Purpose.SPLIT, 0).permutation(rows * columns)
    cuts = np.rint(np.cumsum(SHARES)[:2] * len(order)).astype(int)
    mine = np.zeros(rows * columns, bool)
    mine[np.split(order, cuts)[PARTS[part]]] = True
    cells = np.argwhere(land.fuel)
    return cells[mine[(cells[:, 0] // SQUARE) * columns + cells[:, 1] // SQUARE]]


def burn(
    land: Landscape,
    ignition: np.ndarray,
    wind_speed: Any,
    wind_direction: Any,
    seeds: Any,
    *,
    frames: int = FRAMES,
    steps: int = STEPS,
) -> np.ndarray:
    """Fires from cells `(S, 2)` under winds `(S,)`: small integers `(S, frames, h, w)`.

    Each draws from the stream of its own seed, whatever the others are.
    """
    fire = automaton(land, wind_speed, wind_direction)
    x0 = fire.ignite(ignition[:, None], like=np.zeros((), np.float32))
    many = {"every": steps, "seed": seeds, "rows": 256, "progress": False}
    return simulate(fire, x0, (frames - 1) * steps, **many).astype(np.uint8)


def fires(
    part: str,
    count: int,
    *,
    seed: int = 0,
    land: Landscape | None = None,
    frames: int = FRAMES,
    steps: int = STEPS,
    fastest: float = FASTEST,
) -> Fires:
    """Fires that caught, each from a random cell of a part of the ground under a random wind.

    Args:
        part: "train", "validation" or "test".
        count: how many.
        seed: of cells, winds and fires; another seed gives other fires.
        land: the ground, `landscape()` if None.
        frames: of a fire, the ignition among them.
        steps: of the automaton from frame to frame.
        fastest: the strongest wind, m/s; 0 for calm.

    Returns:
        Fires.

    Raises:
        ValueError: for another part, and for ground on which no fire catches.
    """
    check_count("count", count)
    check_count("frames", frames, 2)
    check_count("steps", steps)
    check_between("fastest", fastest, 0, 200, open_low=False)
    land = landscape() if land is None else land
    cells, found, tried = cells_of(part, land), [], 0
    fuel = np.asarray(land.fuel).sum()
    while sum(map(len, found)) < count:
        if tried > 20 * (count + 10):
            raise ValueError(
                f"of {tried} fires {sum(map(len, found))} caught; wanted other ground"
            )
        more = max(8, count - sum(map(len, found)))
        rng = generator(Purpose.CASE, seed, 100 + PARTS[part], tried)
        at = cells[rng.integers(len(cells), size=more)]
        speed, to = rng.uniform(0, fastest, more), rng.uniform(-np.pi, np.pi, more)
        seeds = rng.integers(2**62, size=more)
        states = burn(land, at, speed, to, seeds, frames=frames, steps=steps)
        share = (states[:, (frames - 1) // 3] >= BURNING).sum((-2, -1)) / fuel
        found.append(Fires(states, at, speed, to, land)[share >= CAUGHT])
        tried += more
    parts = {n: np.concatenate([getattr(f, n) for f in found])[:count] for n in COLUMNS}
    return Fires(**parts, land=land)


def check_unseen(train: Fires, *others: Fires) -> None:
    """Raise ValueError where a fire begins in a square in which a training fire does.

    Args:
        train: the fires that anything was fitted to.
        *others: validation or test fires on the same ground.

    Raises:
        ValueError: for a leak, with the number of fires.
    """
    known = {tuple(c) for c in (train.ignition // SQUARE).tolist()}
    for other in others:
        leaks = [i for i, c in enumerate((other.ignition // SQUARE).tolist()) if tuple(c) in known]
        if leaks:
            raise ValueError(
                f"{len(leaks)} of {len(other)} fires begin where training fires did (the first is "
                f"number {leaks[0]}); wanted fires of another part of the ground"
            )
