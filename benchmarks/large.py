"""What grows: the state, the batch, the local filter on a fine grid, a sweep over settings."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dalearn.array import Streams
from dalearn.cases import sakov2008
from dalearn.covariances.matrices import Diagonal
from dalearn.diagnostics.scoreboard import score
from dalearn.methods import ETKF, LETKF
from dalearn.methods.ensemble.localization import Localization
from dalearn.problem.belief import Gaussian
from dalearn.problem.observe import Observation, identity
from dalearn.problem.problem import Problem
from dalearn.run.assimilate import assimilate

from .common import Report, gpu_name, in_turn
from .setups import lorenz96, ours


def scaling(report: Report, quick: bool) -> None:
    """Cost against state size, batch and library."""
    rounds = 1 if quick else 3
    method = ETKF(24, inflation=1.013, rotate="haar")
    report.section(
        "Scaling of the Lorenz-96 ETKF (N = 24, m = n, haar)",
        f"Milliseconds per cycle of the whole batch and per experiment, best of {rounds}; CPU "
        "time on the CPU, wall-clock time on a GPU (random numbers drawn there).",
        ("n", "batch", "library", "ms/cycle", "ms per experiment", "us per variable"),
    )

    def row(n: int, batch: int, library: str, cycles: int, seconds: float) -> None:
        ms = seconds / cycles * 1e3
        each = ms / batch
        report.row(n, batch, library, round(ms, 3), round(each, 4), round(each / n * 1e3, 3))

    def sides(problem: Any, with_torch: bool) -> dict[str, Callable]:
        found = {"NumPy": partial(ours, problem, method)}
        if with_torch:
            import torch

            found["torch, CPU"] = partial(
                ours, problem.to(torch.zeros(1, dtype=torch.float64)), method
            )
        return found

    sizes = (40, 400, 4000) if quick else (40, 100, 400, 1000, 4000)
    batches = (4, 64) if quick else (4, 16, 64, 256)
    cases = [(n, 1) for n in sizes] + [(40, b) for b in batches]
    with_torch = {(40, 1), (4000, 1), (40, 64)}
    for n, batch in cases:
        problem = lorenz96(50 if batch > 1 else 200, batch if batch > 1 else (), n=n)
        times = in_turn(sides(problem, (n, batch) in with_torch), rounds)
        for label, seconds in times.items():
            row(n, batch, label, len(problem), min(seconds))
    gpu = gpu_name()
    if gpu is None:
        return report.after("torch sees no GPU here: no GPU rows.")
    for n, batch in ((40, 64), (40, 1024), (4000, 64)):
        block = partial(drawn_there, lorenz96(50, batch, n=n), method, "cuda")
        seconds = in_turn({"gpu": block}, rounds, time.perf_counter)["gpu"]
        row(n, batch, f"torch, {gpu}", 50, min(seconds))
    return None


def drawn_there(problem: Any, method: Any, device: str) -> None:
    """Run on `device`, random numbers too (TorchStreams: equal to Streams only in law)."""
    import torch

    there = problem.to(torch.zeros(1, dtype=torch.float64, device=device))
    ours(there, method, torch.Generator(device=device).manual_seed(0))


# --- the local filter on a fine grid --------------------------------------------------------

GRID_MEMBERS, GRID_RADIUS = 20, 1.88  # 1.88 cells: 145 observations within the taper's reach


def grid_cycles(side: int, workers: int, cycles: int) -> dict[str, Any]:
    """Seconds of each cycle of a LETKF on `side` x `side` cells, all observed, and its memory."""
    n = side * side
    rng = np.random.default_rng(0)
    problem = Problem(
        model=identity,  # the cost is the filter's own
        observation=Observation(identity, Diagonal(np.ones(n))),
        prior=Gaussian(np.zeros(n), Diagonal(np.ones(n))),
        data=rng.standard_normal((cycles, n)),
        times=np.arange(1.0, cycles + 1),
    )
    where = Localization.plane((side, side), GRID_RADIUS)
    method = LETKF(GRID_MEMBERS, localization=where, inflation=1.02, workers=workers)
    reached = np.mean((where.near(where.coordinates)[0].weight > 0).sum(-1))
    wall, cpu = [time.perf_counter()], [time.process_time()]
    for _ in method.run(problem.validated(), Streams(0, 0, ())):
        wall.append(time.perf_counter())
        cpu.append(time.process_time())
    return {
        "reached": float(reached),
        "wall": np.diff(wall).tolist(),
        "cpu": np.diff(cpu).tolist(),
        "memory": peak_memory(),
    }


def peak_memory() -> float:
    """GiB that this process held at most; getrusage would tell of its parent's, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 2**20


def grid(report: Report, quick: bool) -> None:
    """The LETKF on 2-D grids up to 10^5 cells, with one and with two workers."""
    cycles = 3 if quick else 5
    report.section(
        f"LETKF on a 2-D grid (N = {GRID_MEMBERS}, m = n, radius {GRID_RADIUS} cells)",
        "A fresh process for each row; the model is the identity. Seconds per cycle: median of "
        f"{cycles - 1} after the first, which also looks up the neighbours. Memory: the peak of "
        "the process, GiB.",
        ("n", "workers", "local obs", "first, wall", "wall", "CPU", "CPU us per cell", "GiB"),
    )
    sides = (100, 316) if quick else (100, 178, 316)
    for side, workers in [(s, 1) for s in sides] + [(sides[-1], 2)]:
        call = f"grid_cycles({side}, {workers}, {cycles})"
        code = f"import json; from benchmarks.large import *; print(json.dumps({call}))"
        out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        found = json.loads(out.stdout)
        wall, cpu = (statistics.median(found[k][1:]) for k in ("wall", "cpu"))
        report.row(
            side * side, workers, round(found["reached"]), round(found["wall"][0], 1),
            round(wall, 2), round(cpu, 2), round(cpu / side**2 * 1e6, 1),
            round(found["memory"], 2),
        )  # fmt: skip


# --- a sweep over settings ------------------------------------------------------------------


def sweep(report: Report, quick: bool) -> None:
    """15 inflations x 10 radii x 8 seeds of a LETKF with seven members, as one batch."""
    cycles = 100 if quick else 500
    workers = 2
    inflation = np.linspace(1.0, 1.28, 15)[:, None, None]
    radius = np.geomspace(1.0, 16.0, 10)[:, None]
    where = Localization.ring(40, radius)
    problem = lorenz96(cycles, 8).expand((15, 10))
    wall, cpu = time.perf_counter(), time.process_time()
    method = LETKF(7, localization=where, inflation=inflation, rotate="haar", workers=workers)
    result = assimilate(problem, method, progress=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    error = (
        score(result, min(sakov2008.skip // 2, cycles // 2)).sel(stage="analysis")["rmse"].values
    )
    middle = np.nanmedian(error, axis=-1)
    i, j = np.unravel_index(np.argmin(middle), middle.shape)
    report.section(
        f"A sweep in one call: 15 inflations x 10 radii x 8 seeds, LETKF N=7, {cycles} cycles",
        f"{math.prod(problem.batch)} experiments as one batch, {workers} workers.",
        (
            "wall, s",
            "CPU, s",
            "ms per cycle and experiment",
            "least RMSE",
            "at inflation",
            "radius",
        ),
    )
    each = cpu / cycles / math.prod(problem.batch) * 1e3
    report.row(
        round(wall), round(cpu), round(each, 3), round(float(middle[i, j]), 3),
        round(float(inflation[i, 0, 0]), 2), round(float(radius[j, 0]), 1),
    )  # fmt: skip
