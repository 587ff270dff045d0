"""VIVID's published experiment: shallow water on a torus, seen by sensors that square.

A disc of water is raised in the middle of 50 x 50 cells, everything moves with v = 1 and slows
down by friction (`ShallowWater.vivid`). Sought is u, 2500 numbers; a sensor says

    y_j = sum_i w_ij u_i^2 ,    w = 1.5 within 1.5 cells, 0.5 within 2.9,

so that the sign of u is lost. Published: four runs of discs of radius R and height h to train on,
(4, 0.1), (4, 0.15), (5, 0.1), (5, 0.15), one, (6, 0.2), to test. They resemble each other: between
the frames of two of them at one time lies little more than a factor. Here the validation has runs
of its own, (4.5, 0.125) between those of the training, and (5.5, 0.175) beyond them, as the test
is. Published data have no noise; here R is a setting.

Cheng, Liu, Guo and Arcucci, J. Comput. Phys. 496, 2024; code DL-WG/VIVID.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ..array import Array, Purpose, array_namespace, generator
from ..covariances.matrices import Diagonal
from ..covariances.on_grid import OnGrid
from ..models import ShallowWater
from ..problem.belief import Gaussian
from ..problem.observe import Observation, identity
from ..problem.problem import Problem

N, EVERY, STEPS, FIRST = 50, 20, 10_000, 500  # cells a side; steps; the first that counts
SHAPE = (N, N)
DISCS = {
    "train": ((4, 0.1), (4, 0.15), (5, 0.1), (5, 0.15)),
    "validation": ((4.5, 0.125), (5.5, 0.175)),
    "test": ((6, 0.2),),
}
STRATA = {25: (5, 5), 50: (5, 10), 100: (10, 10), 200: (10, 20)}
UNIT = 21.5  # what a sensor says where u = 1 everywhere, far from the rim
PRIOR = 0.781  # error of the published background, relative to the truth
RATIO = 1000.0  # of VIVID's B to its R = 1; the baseline's is 100, with L = 1


@cache
def runs(part: str) -> np.ndarray:
    """u of the runs of a part, `(S, 476, 2500)`: every 20 steps from 500 to 10 000."""
    return simulated(DISCS[part])


def simulated(discs: tuple[tuple[float, float], ...]) -> np.ndarray:
    """u of runs from discs (radius in cells, height), `(S, 476, 2500)`."""
    model = ShallowWater.vivid()
    x, kept = np.stack([model.disc(*d) for d in discs]), []
    for k in range(1, STEPS + 1):
        x = model(x)
        if k % EVERY == 0 and k >= FIRST:
            kept.append(x[:, 1].reshape(len(x), -1))
    return np.stack(kept, 1)


def frame(step: int) -> int:
    """The place of a step in the runs."""
    if step % EVERY or not FIRST <= step <= STEPS:
        raise ValueError(f"frames are every {EVERY} steps from {FIRST} to {STEPS}, met {step}")
    return (step - FIRST) // EVERY


@dataclass(frozen=True, eq=False)
class Squares:
    """What sensors say: sum_i w_ij u_i^2 over the cells around each; nothing beyond the rim.

    Args:
        index: cells around each sensor `(m, 25)`.
        weights: theirs `(m, 25)`, 0 beyond the rim.
    """

    index: Array
    weights: Array
    linear: ClassVar[bool] = False

    @classmethod
    def at(cls, sensors: np.ndarray) -> Squares:
        """The operator of sensors in cells (row, column), `(..., m, 2)`."""
        reach = np.stack(np.meshgrid(*2 * (np.arange(-2, 3),), indexing="ij"), -1).reshape(-1, 2)
        d = np.hypot(*reach.T)
        cells = sensors[..., None, :] + reach
        inside = ((cells >= 0) & (cells < N)).all(-1)
        cells = np.clip(cells, 0, N - 1)
        return cls(cells[..., 0] * N + cells[..., 1], inside * (0.5 * (d <= 2.9) + (d <= 1.5)))

    def __call__(self, x: Array) -> Array:
        near = x[..., self.index]
        return array_namespace(x).sum(near * near * self.weights, axis=-1)


def sensors(count: int, rng: np.random.Generator, placement: str = "jittered") -> np.ndarray:
    """Cells of sensors `(count, 2)`: "jittered", one in each block as published, or "random"."""
    if placement == "random":
        at = rng.choice(N * N, count, replace=False)
        return np.stack((at // N, at % N), -1)
    if placement != "jittered" or count not in STRATA:
        raise ValueError(
            f'placement is "random", or "jittered" for one of {list(STRATA)} sensors; met '
            f"{placement!r} and {count}"
        )
    corners, sizes = [], []
    for parts in STRATA[count]:
        corners.append(N * np.arange(parts) // parts)
        sizes.append(-(-3 * (N // parts) // 5))  # of 5 cells the first 3
    at = np.stack(np.meshgrid(*corners, indexing="ij"), -1).reshape(-1, 2)
    return at + np.stack([rng.integers(0, size, count) for size in sizes], -1)


def said(
    states: np.ndarray, where: np.ndarray, noise: Any, rng: np.random.Generator
) -> np.ndarray:
    """Data `(b, m)` of states `(b, 2500)` by sensors `(b, m, 2)`, with errors.

    `noise` is in units of the standard deviation of exact data over the field, as if a sensor
    stood in each cell.
    """
    operator = Squares.at(where)
    rows = np.arange(len(states))[:, None, None]
    y = (states[rows, operator.index] ** 2 * operator.weights).sum(-1)
    return y + noise * spread(states)[:, None] * rng.standard_normal(y.shape)


def spread(states: np.ndarray) -> np.ndarray:
    """The standard deviation of exact data over the field, `(b, 2500) -> (b,)`."""
    return _everywhere(states).std(-1)


def _everywhere(states: np.ndarray) -> np.ndarray:
    cells = np.stack(np.meshgrid(*2 * (np.arange(N),), indexing="ij"), -1).reshape(-1, 2)
    return Squares.at(cells)(states)


def problem(
    truth: np.ndarray,
    where: np.ndarray,
    *,
    noise: float = 0.0,
    seed: int = 0,
    prior: float = PRIOR,
) -> Problem:
    """One analysis: a background, sensors, their data and the truth `(2500,)`.

    The background is the truth with errors of SOAR correlation over 5 cells (Balgovind's), of the
    published size. B is exact, P(u) = Gaussian(background, B), and R is what the published ratio
    makes of 1 where B is 1000, and the noise's variance on top.
    """
    rng = generator(Purpose.CASE, 17, seed)
    B = background_errors(truth, prior)
    x = truth + B.color(rng.standard_normal((1, N * N)))[0]
    y = said(truth[None], where[None], noise, rng)
    R = float(B.variance()[0]) / RATIO + (noise * float(spread(truth[None])[0])) ** 2
    observe = Observation(Squares.at(where), Diagonal(np.full(len(where), R)), where)
    return Problem(identity, observe, Gaussian(x, B), y, truth=truth[None])


def background_errors(
    truth: np.ndarray, prior: float = PRIOR, length: float = 5, share: float = 1.0
) -> OnGrid:
    """B: SOAR over `length` cells; `share` of the variance of the background's errors."""
    std = prior * float(np.sqrt((truth**2).mean()))
    return OnGrid(SHAPE, length, std=share**0.5 * std)


def small_background(truth: np.ndarray, prior: float = PRIOR) -> OnGrid:
    """The B of the published baseline: 100 with L = 1, where VIVID had 1000 and L = 5."""
    return background_errors(truth, prior, 1, 0.1)


def mirrored(problem: Problem) -> Problem:
    """The same data with locations that are mirrored: the published trap, for tests of it."""
    observe: Any = problem.observation
    turned = np.stack((observe.locations[:, 0], N - 1 - observe.locations[:, 1]), -1)
    return replace(problem, observation=replace(observe, locations=turned))


def relative(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|x - truth| / |truth| of states `(..., 2500) -> (...)`."""
    return np.linalg.norm(x - truth, axis=-1) / np.linalg.norm(truth, axis=-1)


def similarity(x: np.ndarray, truth: np.ndarray) -> float:
    """SSIM of two states: Gaussian windows of 1.5 cells, the range that of the truth.

    Wang, Bovik, Sheikh and Simoncelli, Image quality assessment, IEEE Trans. Image Process. 13,
    2004.
    """
    from scipy.ndimage import gaussian_filter

    a, b = x.reshape(SHAPE), truth.reshape(SHAPE)
    span = float(b.max() - b.min())
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2

    def blur(f: np.ndarray) -> np.ndarray:
        return gaussian_filter(f, 1.5, mode="wrap")

    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    one = (2 * ma * mb + c1) * (2 * cov + c2)
    return float((one / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())
