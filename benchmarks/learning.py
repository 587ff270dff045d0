"""Learning through a filter: what gradients of the log-likelihood find, and what it costs.

    python -m benchmarks.learning [--quick] [--only SECTION] [--out DIR]

Settings are learned from the data of runs that no table uses, and measured on fresh seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import dalearn as da
from dalearn.cases import sakov2008

from .common import Report, parser, run
from .learning_model import model, spread

INFLATIONS = (1.0, 1.01, 1.02, 1.04, 1.06, 1.08, 1.1, 1.15)
RADII = (1.0, 2.0, 3.0, 4.0, 5.0, 7.0)
MEMBERS, SPIN_UP = 7, 100
SWEEP, LEARN, TEST = 11, 500, 9000  # seeds of runs
STARTS = ((1.1, 8.0), (1.01, 1.0), (1.3, 4.0))


def letkf(inflation: Any, radius: Any) -> da.LETKF:
    """The filter of this section."""
    return da.LETKF(MEMBERS, localization=da.Localization.ring(40, radius), inflation=inflation)


def learned(start: tuple[float, float], seed: int, cycles: int = 260) -> tuple[np.ndarray, float]:
    """Inflation and radius from a first guess, and the CPU seconds of it."""
    problem = sakov2008.problem(cycles, (4,), seed).to(torch.zeros(1, dtype=torch.float64))
    begin = time.process_time()
    u = torch.tensor([start[0] - 1, start[1]], dtype=torch.float64).log().requires_grad_()

    def make() -> tuple[da.Problem, da.LETKF]:
        return problem, letkf(1 + u[0].exp(), u[1].exp())

    da.learn(make, [u], window=5, rate=0.2, seed=seed)
    found = np.array([1.0, 0.0]) + u.detach().exp().numpy()
    return found, time.process_time() - begin


def errors(problem: Any, inflation: Any, radius: Any, seed: int = 0) -> np.ndarray:
    """The RMSE of the analysis after the spin-up, `(case...)`."""
    result = da.assimilate(problem, letkf(inflation, radius), seed=seed, progress=False)
    return da.rmse(result).sel(stage="analysis")[..., SPIN_UP:].mean("time").values


def inflation(report: Report, quick: bool) -> None:
    """Inflation and radius of the LETKF: a sweep of 48 settings, and gradients from 3 guesses."""
    cycles, runs = (300, 4) if quick else (1000, 16)
    grid = np.meshgrid(INFLATIONS, RADII, indexing="ij")
    begin = time.process_time()
    sweep = errors(sakov2008.problem(cycles, (), SWEEP).expand(grid[0].shape), *grid)
    seconds = time.process_time() - begin
    best = np.unravel_index(np.nanargmin(sweep), sweep.shape)
    settings: dict[str, tuple[Any, float]] = {
        "the best of the sweep": (np.array([g[best] for g in grid]), seconds)
    }
    learned(STARTS[0], LEARN, cycles=10)  # what torch does once is not counted
    for i, start in enumerate(STARTS if not quick else STARTS[:1]):
        name = f"learned from {start[0]:g}, {start[1]:g}"
        settings[name] = learned(start, LEARN + 10 * i)
    test = sakov2008.problem(cycles, (runs,), TEST)
    found = {name: errors(test, *where) for name, (where, _) in settings.items()}
    each = {(i, r): errors(test, i, r) for i in INFLATIONS for r in RADII} if not quick else {}
    if each:
        least = min(each, key=lambda at: each[at].mean())
        settings["the best on the test runs"] = np.array(least), float("nan")
        found["the best on the test runs"] = each[least]
    report.section(
        f"Inflation and radius of the LETKF, Lorenz-96, {MEMBERS} members",
        f"Everything observed at each step of 0.05, R = I. The sweep: {len(INFLATIONS)} "
        f"inflations x {len(RADII)} radii x {cycles} cycles of one run, all settings side by side "
        "in NumPy. Learned: 52 windows of 5 cycles of 4 other runs, one step of Adam each, by "
        "the marginal log-likelihood; no truth is used. RMSE of the analysis on "
        f"{runs} fresh runs of {cycles} cycles, the first {SPIN_UP} left out, with its 95 % "
        "interval; the difference is paired with the best of the sweep. The best on the test "
        "runs is chosen with their truth, for comparison alone.",
        ["settings", "inflation", "radius", "RMSE", "difference, %", "CPU s", "share of sweep"],
    )
    base = found["the best of the sweep"]
    for name, (where, cost) in settings.items():
        apart = 100 * (found[name] / base - 1)
        report.row(
            name,
            round(float(where[0]), 3),
            round(float(where[1]), 2),
            spread(found[name]),
            None if found[name] is base else spread(apart, "{:+.1f}"),
            None if np.isnan(cost) else round(cost, 1),
            None if np.isnan(cost) else round(cost / seconds, 3),
        )


SECTIONS: dict[str, Callable] = {"inflation": inflation, "model": model}


def main() -> None:
    """Run the chosen sections and write the report."""
    options = parser("learning", __doc__, tuple(SECTIONS)).parse_args()
    run("learning", "Learning through a filter", options, SECTIONS)


if __name__ == "__main__":
    main()
