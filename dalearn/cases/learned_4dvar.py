"""Windows of Lorenz-96 for learned 4D-Var: random masks, random errors, and CODA's set-up.

    sweep   a step of 0.05, an observation of each step, 5 to 40 of them; each number is seen with
            a probability, and errs by sigma, that differ from window to window
    coda    a step of 0.01, 51 observations around the state that is sought, a quarter of the
            numbers seen, sigma = 1 (Zinchenko and Greenberg 2024)

Each window is a run of its own, from a state that has forgotten its first one: no run, and so no
frame of one, stands in two of training, validation and test.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..array import Purpose, generator
from ..covariances.matrices import Dense, Diagonal
from ..models import Lorenz96
from ..models.integrate import trajectory
from ..problem.belief import Gaussian
from ..problem.observe import Observation, identity
from ..problem.problem import Problem

if TYPE_CHECKING:
    from ..neural.window_net import WindowNet

N, TIMES = 40, 40  # points of the ring; observations of the longest window
SHARES, SIGMAS, LENGTHS = (0.1, 1.0), (0.3, 2.0), (5, TIMES)  # of the sweep's training
CODA = {"times": 51, "at": 26, "reach": 25, "dt": 0.01, "share": 0.25, "sigma": 1.0}
TRAIN, VALIDATION, TEST = 0, 1, 2


@cache
def climatology() -> Gaussian:
    """Mean and covariance of long runs; both are averages around the ring, which has no seams."""
    x = generator(Purpose.CASE, 40).standard_normal((50, N)) + 2
    x = trajectory(Lorenz96(N), x, 1400)[:, 400::4]
    x = x.reshape(-1, N)
    mean = x.mean()
    power = (np.abs(np.fft.fft(x - mean, axis=-1)) ** 2).mean(0) / N
    row = np.fft.ifft(power).real
    i = np.arange(N)
    return Gaussian(np.full(N, mean), Dense(row[(i[:, None] - i) % N]))


def starts(count: int, part: int, seed: int = 0) -> np.ndarray:
    """States on the attractor `(count, 40)`, each from a run of its own of 20 time units.

    Args:
        count: how many.
        part: TRAIN, VALIDATION or TEST.
        seed: of the first states.
    """
    x = 2 + 3.6 * generator(Purpose.CASE, 41, part, seed).standard_normal((count, N))
    model = Lorenz96(N)
    for _ in range(400):
        x = model(x)
    return x


def windows(
    count: int,
    part: int,
    *,
    times: int = TIMES,
    share: float | None = None,
    sigma: float | None = None,
    dt: float = 0.05,
    seed: int = 0,
) -> tuple[Problem, np.ndarray]:
    """Windows of observations as the experiments of a Problem, and the states they begin with.

    Args:
        count: how many windows.
        part: TRAIN, VALIDATION or TEST: of other runs, with other errors.
        times: observations of a window.
        share: of the numbers that are seen, drawn one by one; None: another in each window, from
            0.1 to 1, and another length from 5 on, the rest unseen.
        sigma: standard deviation of the errors; None: another in each window, from 0.3 to 2.
        dt: the model's step, and the time between observations.
        seed: of starts, masks and errors.

    Returns:
        The Problem, whose prior is the climatology, with its truth; and the starts `(count, 40)`.
    """
    x0 = starts(count, part, seed)
    model = Lorenz96(N, dt=dt)
    truth = trajectory(model, x0, times)[:, 1:]
    rng = generator(Purpose.CASE, 42, part, seed)
    shares = rng.uniform(*SHARES, (count, 1, 1)) if share is None else share
    seen = rng.random(truth.shape) < shares
    if share is None:
        ends = rng.integers(min(LENGTHS[0], times), times + 1, (count, 1, 1))
        seen &= np.arange(times)[:, None] < ends
    scale = np.full((count, 1), sigma if sigma else 0.0)
    if sigma is None:
        scale = np.exp(rng.uniform(np.log(SIGMAS[0]), np.log(SIGMAS[1]), (count, 1)))
    y = truth + scale[:, None] * rng.standard_normal(truth.shape)
    R = Diagonal((scale**2 if sigma is None else scale[0] ** 2) * np.ones(N))
    data = np.where(seen, y, np.nan)
    return Problem(model, Observation(identity, R), climatology(), data, truth=truth), x0


def network(
    times: int = TIMES, hidden: tuple[int, ...] = (64,) * 5, *, spread: bool = False, seed: int = 0
) -> WindowNet:
    """Convolutions along the ring, whose channels are the times of the window."""
    from ..neural.nets import CNN, seeded
    from ..neural.window_net import WindowNet

    body = seeded(seed, CNN, 2 * times, 1 + spread, hidden, axes=1)
    return WindowNet(body, times, (1, N), (1, N), spread=spread)
