"""A model's error learned through a filter: the truth has a fast scale that the model lacks.

A section of `python -m benchmarks.learning`. Only observations are used; a fit that sees the truth
stands beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

import dalearn as da
from dalearn.neural import seeded

from .common import Report

N, FORCING, MEMBERS, SPIN_UP = 8, 20.0, 20, 50
TRAIN, VALIDATION, TEST = 100, 5, 9000  # seeds of runs
INFLATIONS = (1.02, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0)
DOUBLE = torch.zeros(1, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Ten:
    """Ten steps of nature, 0.05 time units."""

    model: Any

    def __call__(self, z: Any) -> Any:
        for _ in range(10):
            z = self.model(z)
        return z


def twin(seed: int, runs: int, cycles: int) -> da.Problem:
    """All X observed each 0.05 with errors of variance 1; nature has 32 fast Y for each."""
    one = da.Lorenz96(N, forcing=FORCING, dt=0.05)
    slow, fast = np.ones(N), np.ones(32 * N)
    nature = da.Gaussian(
        np.concatenate([3 * slow, 0 * fast]),
        da.Diagonal(np.concatenate([20 * slow, 0.1 * fast])),
    )
    return da.twin(
        one,
        da.Observation(da.identity, da.Diagonal(slow)),
        da.Gaussian(3 * slow, da.Diagonal(20 * slow)),
        cycles,
        truth_model=Ten(da.Lorenz96TwoScale(N, 32, forcing=FORCING)),
        truth_prior=nature,
        truth_view=lambda z: z[..., :N],
        seed=seed,
        batch=runs,
    )


class Corrected(torch.nn.Module):
    """A step of Lorenz-96 and what is added to it, the same function at each place."""

    def __init__(self, added: torch.nn.Module):
        super().__init__()
        self.added = added
        self.one = da.Lorenz96(N, forcing=FORCING, dt=0.05)

    def forward(self, x: Any) -> Any:
        return self.one(x) + self.added(x)


class Cubic(torch.nn.Module):
    """A polynomial of degree 3 of the place's own X."""

    def __init__(self) -> None:
        super().__init__()
        self.c = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))

    def forward(self, x: Any) -> Any:
        return sum(c * (x / 10) ** i for i, c in enumerate(self.c))


class Network(torch.nn.Module):
    """A convolution over five places with 16 channels, tanh, and a sum: 113 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Conv1d(1, 16, 5, padding=2, padding_mode="circular")
        self.b = torch.nn.Conv1d(16, 1, 1)
        torch.nn.init.zeros_(self.b.weight)
        torch.nn.init.zeros_(self.b.bias)  # pyright: ignore
        self.double()

    def forward(self, x: Any) -> Any:
        return self.b(torch.tanh(self.a(x.reshape(-1, 1, N) / 5))).reshape(x.shape)


def learned(kind: Callable[[], torch.nn.Module], seed: int, quick: bool) -> tuple[Any, float]:
    """A correction learned from observations, and the CPU seconds of it."""
    problem = twin(TRAIN + 100 * seed, 8, 80 if quick else 400).to(DOUBLE)
    begin = time.process_time()
    model = Corrected(seeded(seed, kind))
    u = torch.tensor(0.3, dtype=torch.float64).log().requires_grad_()

    def make() -> tuple[da.Problem, da.ETKF]:
        return replace(problem, model=model), da.ETKF(MEMBERS, inflation=1 + u.exp())

    weights = [u, *model.parameters()]
    da.learn(make, weights, window=4, rate=0.02, seed=seed)
    for q in weights:
        q.requires_grad_(False)
    return model, time.process_time() - begin


def fitted(quick: bool) -> tuple[Any, float]:
    """The cubic of least squares to the error of one step from the truth: it sees the truth."""
    problem = twin(TRAIN, 8, 80 if quick else 400)
    begin = time.process_time()
    x = np.asarray(problem.truth)
    error = (x[:, 1:] - problem.step(x[:, :-1])).reshape(-1)
    powers = (x[:, :-1].reshape(-1, 1) / 10) ** np.arange(4)
    cubic = Cubic()
    cubic.c.data = torch.as_tensor(np.linalg.lstsq(powers, error)[0])
    cubic.c.requires_grad_(False)
    return Corrected(cubic), time.process_time() - begin


def errors(problem: da.Problem, model: Any, inflation: float) -> np.ndarray:
    """The RMSE of the analysis after the spin-up, of each run; spread over it."""
    there = problem if model is None else replace(problem.to(DOUBLE), model=model)
    result = da.assimilate(there, da.ETKF(MEMBERS, inflation=inflation), progress=False)
    return da.rmse(result).sel(stage="analysis")[:, SPIN_UP:].mean("time").values


def model(report: Report, quick: bool) -> None:
    """One-scale Lorenz-96 beside a truth of two scales: corrections learned from data alone."""
    cycles, runs = (100, 3) if quick else (400, 20)
    kinds: dict[str, Callable[[], tuple[Any, float]]] = {
        "none": lambda: (None, 0.0),
        "cubic, learned": lambda: learned(Cubic, 0, quick),
        "network, learned": lambda: learned(Network, 0, quick),
        "network, learned, other runs and weights": lambda: learned(Network, 1, quick),
        "cubic, fitted to the truth": lambda: fitted(quick),
    }
    report.section(
        f"A correction of the model, two-scale Lorenz-96, {MEMBERS} members",
        f"n = {N}, 32 fast variables for each, F = {FORCING:g}; all X observed each 0.05, R = I. "
        "Learned: through the ETKF from the observations of 8 runs of 400 cycles, windows of 4, "
        "one pass, by the marginal log-likelihood, with an inflation beside. Then for each "
        "correction, and for none, the inflation is chosen on 8 validation runs. RMSE of the "
        f"analysis on {runs} fresh runs of {cycles} cycles, the first {SPIN_UP} left out, with "
        "its 95 % interval; the difference is paired with no correction.",
        ["correction", "inflation", "RMSE", "difference, %", "CPU s of training"],
    )
    validation, test = twin(VALIDATION, 8, cycles), twin(TEST, runs, cycles)
    base = None
    for name, made in kinds.items():
        found, seconds = made()
        scores = {i: errors(validation, found, i).mean() for i in INFLATIONS}
        best = min(scores, key=lambda i: scores[i])
        e = errors(test, found, best)
        base = e if base is None else base
        apart = None if found is None else spread(100 * (e / base - 1), "{:+.1f}")
        report.row(name, best, spread(e), apart, round(seconds, 1) if seconds else None)


def spread(values: np.ndarray, form: str = "{:.4f}") -> str:
    """A mean with its 95 % interval over runs."""
    from scipy.stats import t

    mean, half = values.mean(), values.std(ddof=1) / len(values) ** 0.5
    half = half * t.ppf(0.975, len(values) - 1)
    low, high = (form.format(v) for v in (mean - half, mean + half))
    return f"{form.format(mean)} ({low} to {high})"
