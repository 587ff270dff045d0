"""Two grids, one latent space: the Burgers case of multi-domain latent assimilation, split by run.

A square of fast fluid is released somewhere and runs ahead (Burgers2D, 128 x 128 points). What is
measured is a coarse run of the same release, on 32 x 32 points, with errors that are correlated
in space and grow with the root of the velocity. The pairs are at equal times: 16 fine steps are
one coarse step to the bit. The published set-up has one release and takes training and test from
the same run (S. Cheng et al., Multi-domain encoder-decoder neural networks for latent data
assimilation in dynamical systems, 2024); here 200 releases differ in place and in both
velocities, and no run has frames in two of training, validation and test.

States are u - 1 and v - 1, flat; the background is the state four frames earlier. `medla` trains
the networks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, generator
from ..models import Burgers2D
from ..run.simulate import simulate

if TYPE_CHECKING:
    from ..neural.data import Split

FINE, COARSE, RUNS = 128, 32, 200
STEPS, EVERY, RATIO = 1600, 64, 16  # fine steps, those between two frames, those in a coarse one
LATENT, BEHIND = 15, 4  # numbers in a code; frames from the background to the truth
LEVELS = (0.0, 0.05, 0.15, 0.3, 0.45)  # sigma of the errors, as published
FOLDER = Path("runs/medla")


def model(n: int = FINE) -> Burgers2D:
    """The model on n x n points; the coarse one takes 16 fine steps at once."""
    fine = Burgers2D.medla(FINE)
    return fine if n == FINE else replace(Burgers2D.medla(n), dt=RATIO * fine.dt)


def releases(count: int = RUNS, seed: int = 0) -> np.ndarray:
    """What differs from run to run: the lower corner (x, y) and the excess of u and v, `(S, 4)`.

    The square is a quarter of the side wide, as published, where corner and excess are 0.5 and 1.
    """
    low, high = (0.3, 0.3, 0.5, 0.5), (0.7, 0.7, 1.2, 1.2)
    return generator(Purpose.CASE, 14, seed).uniform(low, high, (count, 4))


def released(at: np.ndarray, n: int = FINE) -> np.ndarray:
    """Initial states `(S, 2, n, n)`; a cell that the square covers in part has that part of it."""
    dx = 2 / (n - 1)
    line = np.linspace(0, 2, n)
    covered = [
        np.clip((np.minimum(line + dx / 2, a + 0.5) - np.maximum(line - dx / 2, a)) / dx, 0, 1)
        for a in (at[:, :1], at[:, 1:2])
    ]
    inside = covered[1][:, :, None] * covered[0][:, None, :]
    return 1 + at[:, 2:, None, None] * inside[:, None]


def runs(n: int, folder: Path | None = FOLDER, count: int = RUNS, seed: int = 0) -> np.ndarray:
    """The 25 frames of each run without the 1, `(S, 25, 2, n, n)`, kept in a folder if given."""
    x0 = released(releases(count, seed), n).astype("float32")
    every = EVERY if n == FINE else EVERY // RATIO
    told: dict[str, Any] = {"every": every, "dtype": "float32", "progress": False}
    if folder is not None:
        told["to"] = folder / f"burgers-{n}-{count}-{seed}.npy"
        Path(folder).mkdir(parents=True, exist_ok=True)
    states = simulate(model(n), x0, every * (STEPS // EVERY), **told)
    return np.asarray(states[:, 1:]) - np.float32(1)


@cache
def root() -> np.ndarray:
    """L with L L^T = C, the correlation of Balgovind over two cells: `(32^2, 32^2)`."""
    at = np.stack(np.meshgrid(*2 * (np.arange(COARSE),), indexing="ij"), -1).reshape(-1, 2)
    r = np.sqrt(((at[:, None] - at[None]) ** 2).sum(-1)) / 2
    return np.linalg.cholesky((1 + r) * np.exp(-r)).astype("float32")


def disturbed(y: np.ndarray, sigma: Any, rng: np.random.Generator) -> np.ndarray:
    """Coarse fields `(..., 2 32^2)` with errors of covariance sigma^2 sqrt|x| C sqrt|x|.

    Args:
        y: exact fields.
        sigma: a number or `(..., 1)`.
        rng: a generator.
    """
    e = rng.standard_normal((*y.shape[:-1], 2, COARSE**2), dtype="float32") @ root().T
    return y + sigma * np.sqrt(np.abs(y)) * e.reshape(y.shape)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Truth, data and background at equal times, flat, by run.

    Args:
        states: `(S, T, 2 128^2)`.
        data: without errors, `(S, T, 2 32^2)`.
        background: the truth four frames earlier, as states.
    """

    states: np.ndarray
    data: np.ndarray
    background: np.ndarray


def paired(fine: np.ndarray, coarse: np.ndarray) -> Pairs:
    """Frames 5 to 25 of runs `(S, 25, 2, n, n)` as pairs, with backgrounds four frames earlier."""
    fine, coarse = (f.reshape(*f.shape[:2], -1) for f in (fine, coarse))
    return Pairs(fine[:, BEHIND:], coarse[:, BEHIND:], fine[:, :-BEHIND])


def pairs(part: str, folder: Path | None = FOLDER, count: int = RUNS) -> Pairs:
    """The pairs of the runs of one part: "train", "validation" or "test"."""
    index = getattr(parts(count), part)
    fine, coarse = (runs(n, folder, count)[index] for n in (FINE, COARSE))
    return paired(fine, coarse)


def parts(count: int = RUNS) -> Split:
    """The runs of training, validation and test: 70, 15 and 15 %."""
    from ..neural.data import split

    return split(count, seed=14)
