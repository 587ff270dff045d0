"""Motion from images: the velocity of shallow water from pictures of its height.

    from dalearn.cases import motion
    problem = motion.problem(motion.starts("test", 50))

A bump of water, 5 m high, is released in a closed basin (ShallowWater, 64 x 64 cells) and left
alone for 1000 steps, in which waves cross the basin eight times. Then the height is photographed
at every third of ten steps, with errors of 5 cm, and the velocity at the first picture is sought.
The set-up is that of A. Filoche, D. Béréziat and A. Charantonis, Deep prior in variational data
assimilation to estimate an ocean circulation without explicit regularization, Environ. Data Sci.
2, 2023, and of their code. Each window is of a run of its own, so that a split is by trajectory.

Water that starts at rest and feels only its own pressure stays free of rotation, and the linear
momentum equation makes the velocity at all other times known, once it is known at one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Array, Purpose, array_namespace, check_between, check_count, generator
from ..covariances.matrices import Diagonal
from ..models import ShallowWater
from ..problem.belief import Gaussian
from ..problem.observe import Observation
from ..problem.problem import Problem
from ..run.simulate import simulate

if TYPE_CHECKING:
    from ..problem.belief import Belief

N, LENGTH, BUMP, SPIN_UP = 64, 1e6, 5.0, 1000  # cells a side, m, m, steps
TIMES, EVERY, NOISE = 10, 3, 0.05  # model steps of a window, those between pictures, m
PARTS = ("train", "validation", "test")
VAGUE = 1.0, 0.3  # m and m/s: several times the deviations of height and velocity


def model(n: int = N) -> ShallowWater:
    """The basin: 1000 km across, 100 m deep, walls all round, Courant number 0.5."""
    return ShallowWater.motion(n)


def releases(part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where bumps are released and how wide they are, in m: `(count, 2)` and `(count,)`.

    Each coordinate of a centre is L / U(3, 7) from the middle, to either side; widths are
    U(2, 10) 10^4 m. The first ones do not depend on `count`.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}, met {part!r}")
    check_count("count", count)
    draws = generator(Purpose.CASE, 21, PARTS.index(part)).random((count, 5))
    off = LENGTH / (3 + 4 * draws[:, :2]) * np.where(draws[:, 2:4] < 0.5, -1, 1)
    return LENGTH / 2 + off, 2e4 + 8e4 * draws[:, 4]


@cache
def starts(part: str, count: int, n: int = N) -> np.ndarray:
    """Every run one step before its first picture, `(count, 3, n, n)`, in single precision."""
    basin, (centre, width) = model(n), releases(part, count)
    bumps = [basin.bump(c, w, BUMP) for c, w in zip(centre, width, strict=True)]
    found = []
    for some in np.array_split(np.array(bumps), -(-count // 64)):  # a few at a time: in the cache
        runs = simulate(basin, some, SPIN_UP - 1, every=SPIN_UP - 1, progress=False)
        found.append(runs[:, -1].astype("float32"))
    return np.concatenate(found)


def height(x: Array) -> Array:
    """What a picture shows: states `(..., 3, n, n)` -> eta `(..., n^2)`."""
    return array_namespace(x).reshape(x[..., 0, :, :], (*x.shape[:-3], -1))


height.linear = True  # type: ignore[attr-defined]


def motion(x: Any) -> Any:
    """The velocity of states `(..., 3 n^2)` or `(..., 3, n, n)`: `(..., 2, n, n)`."""
    if x.ndim < 3 or x.shape[-3] != 3 or x.shape[-2] != x.shape[-1]:  # flat
        side = round((x.shape[-1] / 3) ** 0.5)
        x = x.reshape(*x.shape[:-1], 3, side, side)
    return x[..., 1:, :, :]


def intervals(every: int = EVERY) -> list[int]:
    """Model steps before each picture of a window: one, and then `every` as often as fits."""
    check_count("every", every, 1, TIMES - 1)
    return [1] + [every] * ((TIMES - 1) // every)


def film(problem: Problem) -> Problem:
    """The same windows as pictures at each of the ten steps, of which most show nothing.

    One network so serves any times: `steps` is 1, and pictures that were not taken are gaps.
    """
    counts = [problem.steps_to(k) for k in range(len(problem))]
    xp, data = array_namespace(problem.data), problem.data
    frames = [xp.full_like(data[..., 0, :], xp.nan) for _ in range(TIMES)]
    for k, last in enumerate(np.cumsum(counts)):
        frames[last - 1] = data[..., k, :]
    return replace(problem, data=xp.stack(frames, axis=-2), steps=1, truth=None)


def problem(
    start: np.ndarray,
    *,
    every: int = EVERY,
    noise: float = NOISE,
    kept: float = 1.0,
    seed: int = 0,
    prior: Belief | None = None,
) -> Problem:
    """Windows of pictures as a batch of estimation problems.

    The state of a problem begins one model step before the first picture, so that this picture
    counts like the others: the velocity sought is that of the first analysis.

    Args:
        start: the true states one step before the first picture, `(b, 3, n, n)`.
        every: model steps from one picture to the next.
        noise: standard deviation of the pictures' errors, m.
        kept: the share of each picture's points that are seen, at random and each time anew.
        seed: of errors and gaps.
        prior: of the state at `start`; by default a vague one around water at rest.

    Returns:
        A Problem in double precision whose data are `(b, K, n^2)`, with its truth.
    """
    check_between("noise", noise, 0, 10.0, open_low=True)
    check_between("kept", kept, 0, 1, open_low=True)
    start = np.asarray(start, float)
    count, n = start.shape[0], start.shape[-1]
    steps = intervals(every)
    runs = simulate(model(n), start, sum(steps), progress=False)
    truth = runs[:, np.cumsum(steps)]
    rng = generator(Purpose.CASE, 22, seed)
    data = height(truth) + noise * rng.standard_normal((count, len(steps), n * n))
    if kept < 1:
        data[generator(Purpose.CASE, 23, seed).random(data.shape) >= kept] = np.nan
    std = np.repeat((VAGUE[0], VAGUE[1], VAGUE[1]), n * n)
    return Problem(
        model(n),
        Observation(height, Diagonal(np.full(n * n, float(noise) ** 2))),
        prior or Gaussian(np.zeros(3 * n * n), Diagonal(std**2)),
        data,
        steps=steps,
        shape=(3, n, n),
        truth=truth.reshape(count, len(steps), -1),
    )
