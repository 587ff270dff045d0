"""Part of `benchmarks.inversion`: what stands beside learned 4D-Var on windows of Lorenz-96.

kriging       the best linear estimate from all data of the window, in space and time
4D-Var        from the climatology, with it as the background and without
quasi-static  4D-Var of the first 5 data, whose answer begins that of 10, and so on
EnKS          the ensemble Kalman smoother from the climatology
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

import dalearn as da
from dalearn.array import Purpose, generator
from dalearn.cases.learned_4dvar import N, climatology

ITERATIONS = 20


class Answer(NamedTuple):
    """States of a window at its first and last observation, `(S, n)`, and what a solver told."""

    first: np.ndarray
    last: np.ndarray
    cost: Any = None
    iterations: Any = None


@cache
def lagged(dt: float, times: int) -> np.ndarray:
    """C[t, d], the covariance of x_{i+d} at a time with x_i t steps before; of long runs."""
    x = 2 + generator(Purpose.CASE, 43).standard_normal((40, N))
    model = da.Lorenz96(N, dt=dt)
    for _ in range(round(20 / dt)):
        x = model(x)
    x = da.trajectory(model, x, times + round(20 / dt)) - climatology().mean
    f = np.fft.fft(x, axis=-1)
    T = x.shape[1] - times
    every = max(1, round(0.1 / dt))
    C = [(f[:, t : t + T : every] * f[:, :T:every].conj()).mean((0, 1)) for t in range(times)]
    return np.fft.ifft(np.stack(C), axis=-1).real / N


def variances(problem: da.Problem) -> np.ndarray:
    """Of the errors of the data, `(n,)` or `(S, n)`."""
    see: Any = problem.observation
    return see.noise.variance()


def kriging(problem: da.Problem, at: int) -> np.ndarray:
    """The best linear estimate of the state at observation `at` of each window, `(S, n)`."""
    model: Any = problem.model
    C = lagged(float(model.dt), len(problem))
    mean, found = climatology().mean, []
    noise = np.broadcast_to(variances(problem), problem.data[:, 0].shape)
    for y, r in zip(problem.data, noise, strict=True):
        t, i = np.nonzero(np.isfinite(y))
        back, apart = t[:, None] - t, i[:, None] - i
        A = C[np.abs(back), np.where(back >= 0, apart, -apart) % N] + np.diag(r[i])
        j, back = np.arange(N)[:, None], at - t
        b = C[np.abs(back), np.where(back >= 0, j - i, i - j) % N]
        found.append(mean + b @ np.linalg.solve(A, (y - mean)[t, i]))
    return np.array(found)


def var4d(
    problem: da.Problem, *, factor: float = 1.0, guess: np.ndarray | None = None
) -> tuple[Answer, np.ndarray]:
    """4D-Var of whole windows, from the background or a guess of the start; and its start."""
    solver = da.GaussNewton(iterations=ITERATIONS)
    cost = da.Var4D(len(problem), B="prior", factor=factor, solver=solver).cost(problem)
    start = None
    if guess is not None:
        start = climatology().cov.whiten((guess - climatology().mean)[:, None]) / factor**0.5
    with np.errstate(all="ignore"):
        found = solver(cost, start)
        x0 = cost.path.start(found.v)[..., 0, :]
    first, last = found.states[0][..., 0, :], found.states[-1][..., 0, :]
    J, count = found.info["cost"], found.info["iterations"]
    return Answer(first, last, J, count), x0


def quasi_static(problem: da.Problem) -> Answer:
    """4D-Var of windows that grow: 5, 10, 20, ... observations, each from the last one's start."""
    K, total, guess = len(problem), 0.0, None
    answer: Any = None
    for times in [t for t in (5, 10, 20, 40) if t < K] + [K]:
        part = replace(problem, data=problem.data[:, :times], truth=None)
        answer, guess = var4d(part, guess=guess)
        total = total + answer.iterations
    return answer._replace(iterations=total)


def smoothed(problem: da.Problem, method: Any, at: tuple[int, ...]) -> list[Any]:
    """The run, and its smoothed means at observations `(S, n)`, else its analyses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = da.assimilate(problem, method, progress=False, keep=("moments", "members"))
    stage = "smoothed" if "smoothed" in run.stage else "analysis"
    mean = run["mean"].sel(stage=stage)
    return [run, *(mean.isel(time=k).values for k in at)]


def carried(problem: da.Problem, x0: np.ndarray) -> Answer:
    """A start, carried by the model to the first and the last observation."""
    states = [x0[:, None]]
    for k in range(len(problem)):
        states.append(problem.forecast(states[-1], k))
    return Answer(states[1][:, 0], states[-1][:, 0])
