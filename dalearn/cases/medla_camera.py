"""A camera over droplets: the other case of multi-domain latent assimilation.

Two droplets leave a fixed inlet, one behind the other, each with a concentration of its own, and
an unknown flow carries them (Advection, 32 x 32 cells): a pattern of vortices of unknown strength
and a uniform drift, five numbers that differ from run to run. A camera sees where there is tracer,
and not how much: a soft threshold, a blur of one cell, every second cell, and errors of 0.1. The
background is the truth 16 steps ago, carried on by half of the vortices without the drift: it
knows the concentrations, and is wrong about the places.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, generator
from ..models import Advection
from .medla_burgers import Pairs

if TYPE_CHECKING:
    from ..neural.data import Split

CELLS, RUNS, FRAMES = 32, 600, 10
STEPS, BEHIND = 4, 4  # model steps between two frames; frames from the background to the truth
NOISE, THRESHOLD, SOFT = 0.1, 0.35, 0.1
LATENT, DT, WIDTH = 24, 0.05, 0.35
INLET, GAP = (2.1, 1.6), 1.3  # where the first droplet begins, and how far it has gone
LOW = np.array((0.3, 0.4, -0.4, 0.5, 0.5))  # vortices, drift along x and y, concentrations
HIGH = np.array((1.0, 1.4, 0.4, 1.5, 1.5))


def settings(count: int = RUNS, seed: int = 0) -> np.ndarray:
    """What differs from run to run: strength of the vortices, drift, concentrations, `(S, 5)`."""
    return generator(Purpose.CASE, 15, seed).uniform(LOW, HIGH, (count, 5))


def flow(at: np.ndarray, vortices: float = 1.0, drift: float = 1.0) -> np.ndarray:
    """Motions `(S, 2, 32, 32)`: shares of the vortices and of the drift of the settings."""
    x, y = Advection((CELLS, CELLS)).grid
    cells = np.stack((np.sin(x) * np.cos(y), -np.cos(x) * np.sin(y)))
    return vortices * at[:, 0, None, None, None] * cells + drift * at[:, 1:3, None, None]


def droplets(at: np.ndarray) -> np.ndarray:
    """Two round droplets behind each other, smooth, at the inlet: `(S, 32, 32)`."""
    x, y = Advection((CELLS, CELLS)).grid
    first, second = (
        np.exp(-((x - INLET[0] + back) ** 2 + (y - INLET[1]) ** 2) / (2 * WIDTH**2))
        for back in (0.0, GAP)
    )
    return at[:, 3, None, None] * first + at[:, 4, None, None] * second


def carried(x: np.ndarray, motion: np.ndarray, frames: int) -> np.ndarray:
    """Tracers after each of so many frames, `(S, frames, 32, 32)`."""
    found = []
    model = Advection((CELLS, CELLS), motion=motion.astype("float32"), dt=DT)
    for _ in range(frames):
        for _ in range(STEPS):
            x = model(x)
        found.append(x)
    return np.stack(found, axis=1)


def image(x: Any) -> Any:
    """What the camera sees of tracers `(..., 32, 32)` without its errors, `(..., 16, 16)`."""
    seen = 1 / (1 + np.exp(-(x - THRESHOLD) / SOFT))
    for axis in (-2, -1):
        seen = (np.roll(seen, 1, axis) + 2 * seen + np.roll(seen, -1, axis)) / 4
    return seen[..., ::2, ::2]


def states(at: np.ndarray) -> np.ndarray:
    """The runs of settings, the release first: `(S, 11, 32, 32)`."""
    x0 = droplets(at).astype("float32")
    return np.concatenate((x0[:, None], carried(x0, flow(at), FRAMES)), axis=1)


def paired(at: np.ndarray) -> Pairs:
    """Frames 4 to 10 of the runs of settings: truth, exact images and backgrounds, flat."""
    x, slow = states(at), flow(at, 0.5, 0.0)
    behind = [carried(x[:, k], slow, BEHIND)[:, -1] for k in range(FRAMES - BEHIND + 1)]
    truth, background = x[:, BEHIND:], np.stack(behind, axis=1)
    flat = (
        v.reshape(*v.shape[:2], -1).astype("float32") for v in (truth, image(truth), background)
    )
    return Pairs(*flat)


@cache
def pairs(part: str, count: int = RUNS) -> Pairs:
    """The pairs of the runs of one part: "train", "validation" or "test"."""
    return paired(settings(count)[getattr(parts(count), part)])


def ensemble(at: np.ndarray, frames: np.ndarray, members: int, seed: int = 0) -> np.ndarray:
    """Backgrounds from the truth 16 steps ago, carried by flows drawn from the box of the set-up.

    Args:
        at: settings `(S, 5)`.
        frames: which of the frames of `paired`, one for each run, `(S,)`.
        members: N.
        seed: of the flows.

    Returns:
        `(S, N, 32^2)`.
    """
    rng = generator(Purpose.CASE, 17, seed)
    drawn = rng.uniform(LOW, HIGH, (len(at) * members, len(LOW)))
    begin = np.repeat(states(at)[np.arange(len(at)), frames], members, axis=0)
    return carried(begin, flow(drawn), BEHIND)[:, -1].reshape(len(at), members, -1)


def parts(count: int = RUNS) -> Split:
    """The runs of training, validation and test: 70, 15 and 15 %."""
    from ..neural.data import split

    return split(count, seed=15)
