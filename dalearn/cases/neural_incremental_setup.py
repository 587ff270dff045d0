"""The set-ups of neural incremental assimilation: trajectories, and what is seen of them.

    lorenz63-05    as in the authors' code: dt 0.05, x_0 ~ N((0, 0, 25), 100 I), no spin-up
    lorenz63-025   as in the paper: dt 0.025, x_0 from the stationary law
    pendulum       q' = p, p' = -2 sin q - 0.1 p, dt 0.05, T = 100, no model error
    lorenz96       beyond the paper: 40 variables, dt 0.05, T = 10

On both Lorenz systems N(0, dt I) is added after each step. Data of Lorenz-63 err by 0.05 in units
of the training set's standard deviation, one for each component and time; normalised by training
trajectories alone (the code takes those of the test set too).

M. Blanke, R. Fablet and M. Lelarge, Neural incremental data assimilation, 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Purpose, generator
from ..models import Lorenz63, Lorenz96, Pendulum, Subcycled

KNOWN = 0, 1, 3, 4, 6, 7  # first times of a family; 2 and 5 are for tests
PARTS = {"train": 0, "validation": 1, "test": 2}  # each draws its own trajectories


@dataclass(frozen=True, eq=False)
class SetUp:
    """A family of trajectories and of observing systems.

    Args:
        name: as in the list above.
        key: its random numbers.
        model: one step.
        start: states at the first time, `(S, n)`, from a generator and a count.
        T: times.
        n: components.
        noise: variance of the model's error in a step, 0 for none.
        error: standard deviation of the data, in units of the training set's where `relative`.
        relative: see `error`.
        counts: least and most of the data that a training draws.
        components: that can be seen.
        count: training trajectories.
        family: spacing and first times of systems that see u1 at regular times, from which a
            training draws in the place of random ones.
        Q: variances of the model's error that 4D-Var takes where there is none.
    """

    name: str
    key: int
    model: Any
    start: Callable
    T: int
    n: int
    noise: float
    error: float
    relative: bool
    counts: tuple[int, int]
    components: tuple[int, ...]
    count: int
    family: tuple[int, tuple[int, ...]] | None = None
    Q: float = 0.0

    def trajectories(self, part: str, count: int | None = None, seed: int = 0) -> np.ndarray:
        """Trajectories `(S, T, n)` of a part: "train", "validation" or "test"."""
        rng = generator(Purpose.CASE, self.key, 100 * PARTS[part] + seed)
        size = count or (self.count if part == "train" else min(2000, self.count // 20))
        x = [self.start(rng, size)]
        for _ in range(self.T - 1):
            e = math.sqrt(self.noise) * rng.standard_normal(x[-1].shape) if self.noise else 0.0
            x.append(self.model(x[-1]) + e)
        return np.stack(x, axis=1)

    def std(self, train: Any) -> Any:
        """Standard deviation of the data, against `(T, n)`."""
        return self.error * (train.std(0) if self.relative else np.ones((self.T, self.n)))

    def draw(self) -> Any:
        """The observing systems of a training: any places, any number in a range, or a family."""
        from ..neural.masks import Regular, Scattered

        if self.family:
            return Regular(self.T, self.n, *self.family)
        return Scattered(self.T, self.n, *self.counts, self.components)


def _far(rng: Any, count: int) -> np.ndarray:
    return np.array([0.0, 0.0, 25.0]) + 10 * rng.standard_normal((count, 3))


def _stationary(rng: Any, count: int) -> np.ndarray:
    x, model = _far(rng, count), Lorenz63(dt=0.025)
    for _ in range(400):
        x = model(x)
    return x


def _swings(rng: Any, count: int) -> np.ndarray:
    width = np.array([0.75 * math.pi, 1.0])
    return width * rng.uniform(-1, 1, (count, 2))


def _ring(rng: Any, count: int) -> np.ndarray:
    x, model = 3 + rng.standard_normal((count, 40)), Lorenz96(dt=0.05)
    for _ in range(200):
        x = model(x)
    return x


SETUPS = {
    s.name: s
    for s in (
        SetUp(
            "lorenz63-05",
            41,
            Subcycled(Lorenz63(dt=0.05), 2),
            _far,
            T=32,
            n=3,
            noise=0.05,
            error=0.05,
            relative=True,
            counts=(3, 8),
            components=(0, 1),
            count=60_000,
        ),
        SetUp(
            "lorenz63-025",
            42,
            Lorenz63(dt=0.025),
            _stationary,
            T=32,
            n=3,
            noise=0.025,
            error=0.05,
            relative=True,
            counts=(4, 4),
            components=(0,),
            count=60_000,
            family=(8, KNOWN),
        ),
        SetUp(
            "pendulum",
            43,
            Pendulum(omega=math.sqrt(2), damping=0.1, dt=0.05),
            _swings,
            T=100,
            n=2,
            noise=0.0,
            error=0.01,
            relative=False,
            counts=(6, 14),
            components=(0,),
            count=30_000,
            Q=1e-6,
        ),
        SetUp(
            "lorenz96",
            44,
            Lorenz96(dt=0.05),
            _ring,
            T=10,
            n=40,
            noise=0.05,
            error=0.5,
            relative=False,
            counts=(60, 180),
            components=tuple(range(40)),
            count=10_000,
        ),
    )
}


def spring(setup: SetUp) -> tuple[np.ndarray, np.ndarray]:
    """The published first guess of the pendulum: the moments of a damped spring.

    Explicit Euler steps of q' = p, p' = -2 q - 0.1 p with errors of 0.01 dt, from q_0 ~ N(0, 1)
    and p_0 ~ N(0, 0.01).

    Args:
        setup: that of the pendulum.

    Returns:
        Mean `(2 T,)` and covariance `(2 T, 2 T)`.
    """
    dt = setup.model.dt
    M = np.eye(2) + dt * np.array([[0.0, 1.0], [-2.0, -0.1]])
    P = np.diag([1.0, 0.01])
    cov = np.zeros((setup.T, 2, setup.T, 2))
    for t in range(setup.T):
        block = P
        for s in range(t, setup.T):
            cov[s, :, t], cov[t, :, s] = block, block.T
            block = M @ block
        P = M @ P @ M.T + (0.01 * dt) ** 2 * np.eye(2)
    return np.zeros(2 * setup.T), cov.reshape(2 * setup.T, -1)
