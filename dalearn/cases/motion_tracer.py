"""Motion from images of a tracer: what a moving pattern tells, and what it cannot.

A tracer is carried by a steady flow without divergence on a doubly periodic plane (`Advection`),
and photographed at every third of ten steps. The flow at all points is sought. Of it a picture
shows only what crosses the lines of equal tracer; what runs along them moves nothing (the
*aperture problem*), and has to come from a prior that flows are smooth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Purpose, check_between, check_count, generator
from ..covariances.blocks import Blocks
from ..covariances.kernels import gaussian
from ..covariances.matrices import Diagonal
from ..covariances.on_grid import OnGrid
from ..models import Advection
from ..problem.belief import Gaussian
from ..problem.observe import Observation
from ..problem.problem import Problem
from ..run.simulate import simulate
from .motion import EVERY, PARTS, height, intervals

N, NOISE, SPEED = 32, 0.05, 1.0  # cells a side; of a tracer of deviation 1; root mean square
PATTERN, FLOW = 0.4, 0.8  # lengths of the tracer and of the stream function, in a plane of 2 pi


def fields(part: str, count: int, n: int = N) -> np.ndarray:
    """True states, tracer and flow `(count, 3, n, n)`, for one part of the data."""
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}, met {part!r}")
    check_count("count", count)
    rng = generator(Purpose.CASE, 25, PARTS.index(part))
    grid = _plane(n)
    z = rng.standard_normal((count, 2, n * n))
    q = OnGrid((n, n), PATTERN, **grid).color(z[:, :1]).reshape(count, n, n)
    psi = OnGrid((n, n), FLOW, **grid).color(z[:, 1:]).reshape(count, n, n)
    k = 1j * np.fft.fftfreq(n, 1 / n)
    k[n // 2] = 0  # of the shortest wave the slope is not known
    waves = np.fft.fft2(psi)
    u, v = (np.fft.ifft2(a * waves).real for a in (-k[:, None], k))
    scale = SPEED * FLOW / np.sqrt(2)  # psi has deviation 1, its slopes 1 / FLOW
    return np.stack((q, scale * u, scale * v), 1)


def _plane(n: int) -> dict[str, Any]:
    """Settings of correlations on the plane; a nugget where a smooth kernel meets round-off."""
    return {"kernel": gaussian, "nugget": 1e-8, "spacing": 2 * np.pi / n, "periodic": True}


def problem(
    state: np.ndarray, *, every: int = EVERY, noise: float = NOISE, seed: int = 0
) -> Problem:
    """Windows of pictures of the tracer as a batch of estimation problems.

    Args:
        state: true tracer and flow one step before the first picture, `(b, 3, n, n)`.
        every: model steps from one picture to the next.
        noise: standard deviation of the pictures' errors.
        seed: of the errors.

    Returns:
        A Problem with its truth, and a prior that knows how smooth tracer and flow are, but not
        that the flow has no divergence.
    """
    check_between("noise", noise, 0, 10.0, open_low=True)
    count, n = state.shape[0], state.shape[-1]
    model, steps = Advection((n, n)), intervals(every)
    truth = simulate(model, np.asarray(state, float), sum(steps), progress=False)
    truth = truth[:, np.cumsum(steps)]
    rng = generator(Purpose.CASE, 26, seed)
    data = height(truth) + noise * rng.standard_normal((count, len(steps), n * n))
    grid = _plane(n)
    flow = OnGrid((n, n), FLOW, std=SPEED / 2**0.5, fields=2, **grid)
    prior = Gaussian(np.zeros(3 * n * n), Blocks((OnGrid((n, n), PATTERN, **grid), flow)))
    see = Observation(height, Diagonal(np.full(n * n, float(noise) ** 2)))
    flat = truth.reshape(count, len(steps), -1)
    return Problem(model, see, prior, data, steps=steps, shape=(3, n, n), truth=flat)


def horn_schunck(problem: Problem, weight: float, rounds: int = 200) -> np.ndarray:
    """Optical flow: the smooth motion that carries each picture into the next.

        min over w   sum_k |(y_{k+1} - y_k) / T + w . grad y|^2 + weight |grad w|^2

    with y the mean of the two, by Horn and Schunck's own iteration: w is the mean of its
    neighbours, less what the pictures object to.

    Args:
        problem: windows of whole pictures, a batch.
        weight: of the smoothness.
        rounds: of the iteration.

    Returns:
        Motions `(b, 2, n, n)`.
    """
    check_between("weight", weight, 0, np.inf, open_low=True)
    model: Any = problem.model
    data = np.asarray(problem.data)
    y = data.reshape(*data.shape[:-1], *model.cells)
    T = np.array([problem.steps_to(k) for k in range(1, len(problem))]) * model.dt
    middle = (y[:, 1:] + y[:, :-1]) / 2
    grown = (y[:, 1:] - y[:, :-1]) / T[:, None, None]
    qx, qy = ((np.roll(middle, -1, a) - np.roll(middle, 1, a)) / (2 * model.dx) for a in (-1, -2))
    xx, xy, yy = ((a * b).sum(1) for a, b in ((qx, qx), (qx, qy), (qy, qy)))
    bx, by = ((a * grown).sum(1) for a in (qx, qy))
    pull = 4 * weight / model.dx**2
    det = (xx + pull) * (yy + pull) - xy**2
    w = np.zeros((len(y), 2, *model.cells))
    for _ in range(rounds):
        near = np.mean([np.roll(w, s, a) for a in (-1, -2) for s in (1, -1)], axis=0)
        u, v = pull * near[:, 0] - bx, pull * near[:, 1] - by
        w = np.stack(((yy + pull) * u - xy * v, (xx + pull) * v - xy * u), 1) / det[:, None]
    return w
