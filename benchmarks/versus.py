"""The package against an earlier commit of itself: what a change costs, case by case.

    python -m benchmarks.versus 9078e8d

Each commit runs in a process of its own, and both run the same case in turn: a busy machine slows
whole minutes, so they are compared within a round only. A case is slower for sure where the whole
interval of its ratio old / new lies below 0.95. Cases use public names, which all commits share.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LEAST = 0.95  # a ratio whose interval lies below this is a loss
Case = Callable[[], Any]


# --- the cases: what one call does ---------------------------------------------------------------


def filters() -> dict[str, Case]:
    """Whole runs of the filters and smoothers on Lorenz-96 and Lorenz-63."""
    import numpy as np

    import dalearn as da

    def lorenz96(cycles: int, batch: Any = ()) -> Any:
        prior = da.Gaussian(np.eye(40)[0], da.Diagonal(0.001 * np.ones(40)))
        sensors = da.Observation(da.identity, da.Diagonal(np.ones(40)))
        return da.twin(da.Lorenz96(), sensors, prior, cycles, batch=batch)

    def lorenz63(cycles: int, batch: Any = ()) -> Any:
        prior = da.Gaussian(np.array([1.509, -1.531, 25.46]), da.Diagonal(2 * np.ones(3)))
        sensors = da.Observation(da.identity, da.Diagonal(2 * np.ones(3)))
        return da.twin(da.Lorenz63(), sensors, prior, cycles, steps=25, batch=batch)

    ring = da.Localization.ring(40, 4.0)
    tuned = {"inflation": 1.02, "rotate": "haar"}
    alone = {
        "EnKF N=40": da.EnKF(40, inflation=1.06),
        "DEnKF N=40": da.DEnKF(40, inflation=1.01),
        "ETKF N=24 haar": da.ETKF(24, **tuned),
        "ETKF N=24 householder": da.ETKF(24, inflation=1.02, rotate="householder"),
        "EnSRF N=28": da.EnSRF(28, **tuned),
        "EnKF-N N=24": da.EnKFN(24, rotate="haar"),
        "LETKF N=7": da.LETKF(7, localization=ring, inflation=1.04, rotate="haar"),
        "IEnKS N=40": da.IEnKS(40, lag=1, inflation=1.01, rotate="haar"),
        "EnKS N=28": da.EnKS(28, lag=5, **tuned),
        "particles N=300": da.ParticleFilter(300, regularization=0.7, resample_below=0.5),
        "local particles N=20": da.LocalParticleFilter(20, localization=ring),
        "extended KF": da.ExtendedKF(1.02, jacobian=da.finite_difference),
        "UKF": da.UKF(inflation=1.02),
        "OI": da.OI(factor=0.02),
    }
    one, many, small = lorenz96(60), lorenz96(10, 64), lorenz63(30)
    cases = {f"{k}, alone": _run(one, m) for k, m in alone.items()}
    for name in ("ETKF N=24 haar", "ETKF N=24 householder", "EnKF N=40", "LETKF N=7"):
        cases[f"{name}, batch of 64"] = _run(many, alone[name])
    cases["ETKF N=10, Lorenz-63"] = _run(small, da.ETKF(10, **tuned))
    return cases


def updates() -> dict[str, Case]:
    """One analysis of a large state, with the images of the members given."""
    import numpy as np

    import dalearn as da
    from dalearn.methods import denkf, enkf, etkf

    rng, R = np.random.default_rng(0), da.Diagonal(np.ones(1000))
    E, y, D = (rng.normal(size=s) for s in ((100, 100_000), 1000, (100, 1000)))
    Y = E[:, ::100] + 0.0
    of = "n = 10^5, N = 100, m = 1000"
    own = {f"EnKF, {of}": lambda: enkf(E, Y, y, R, D), f"DEnKF, {of}": lambda: denkf(E, Y, y, R)}
    return own | {f"ETKF, {of}": lambda: etkf(E, Y, y, R)}


def gaussian() -> dict[str, Case]:
    """Whole runs of 1000 times of 4 states, without gaps and with; and of Lorenz-63."""
    import numpy as np

    import dalearn as da

    F = np.eye(4) + np.eye(4, k=2)  # a position and a velocity in the plane, positions observed
    y = np.cumsum(np.random.default_rng(0).normal(size=(1000, 2)), axis=0)
    see = da.Observation(da.Linear(np.eye(4)[:2]), da.Diagonal(np.ones(2)))
    Q = da.Diagonal(np.array([0.1, 0.1, 0.01, 0.01]))
    prior = da.Gaussian(np.zeros(4), da.Diagonal(np.ones(4)))
    some = np.where(np.random.default_rng(1).random(1000)[:, None] < 0.2, np.nan, y)
    whole, gaps = (da.Problem(da.Linear(F), see, prior, d, noise=Q) for d in (y, some))
    cases = {f"{type(m).__name__}, no gaps": _run(whole, m) for m in (da.KF(), da.RTS(), da.UKF())}
    cases |= {f"{type(m).__name__}, a fifth missing": _run(gaps, m) for m in (da.KF(), da.RTS())}
    sensors = da.Observation(da.identity, da.Diagonal(2 * np.ones(3)))
    prior = da.Gaussian(np.array([1.509, -1.531, 25.46]), da.Diagonal(2 * np.ones(3)))
    small = da.twin(da.Lorenz63(), sensors, prior, 60, steps=25)
    cases["UKF, Lorenz-63"] = _run(small, da.UKF(inflation=1.02))
    extended = da.ExtendedKF(1.02, jacobian=da.finite_difference)
    cases["extended KF, Lorenz-63"] = _run(small, extended)
    return cases


def variational() -> dict[str, Case]:
    """Windows of 3D-Var, 4D-Var, weak constraint and 4DEnVar; covariances of fields."""
    import numpy as np

    import dalearn as da

    prior = da.Gaussian(np.eye(40)[0], da.Diagonal(0.001 * np.ones(40)))
    sensors = da.Observation(da.identity, da.Diagonal(np.ones(40)))
    one = da.twin(da.Lorenz96(), sensors, prior, 12)
    many = da.twin(da.Lorenz96(), sensors, prior, 4, batch=16)
    noisy = da.twin(da.Lorenz96(), sensors, prior, 12, noise=da.Diagonal(0.01 * np.ones(40)))
    cases = {
        "3D-Var": _run(one, da.Var3D(factor=0.02)),
        "4D-Var, window 4": _run(one, da.Var4D(window=4, factor=0.02)),
        "4D-Var, window 4, batch of 16": _run(many, da.Var4D(window=4, factor=0.02)),
        "4D-Var, conjugate gradients": _run(
            one, da.Var4D(window=4, factor=0.02, solver=da.IncrementalCG(5))
        ),
        "4DEnVar N=40": _run(one, da.EnVar4D(40, window=4, inflation=1.05)),
        "weak 4D-Var, window 4": _run(noisy, da.WeakVar4D(4)),
    }
    z = np.random.default_rng(0).standard_normal((1, 300 * 300))
    grid = da.OnGrid((300, 300), (10.0, 10.0))
    flat = da.Separable(da.OnGrid(300, 10.0), da.OnGrid(300, 10.0))
    dense = da.Dense(np.eye(200) + 0.5)
    rows = np.random.default_rng(0).standard_normal((50, 200))
    cases["OnGrid 300 x 300, color"] = lambda: grid.color(z)
    cases["Separable 300 x 300, color"] = lambda: flat.color(z)
    cases["Dense n=200, whiten"] = lambda: dense.whiten(rows)
    return cases


def models() -> dict[str, Case]:
    """One step, or a few, of each model."""
    import numpy as np
    import torch

    import dalearn as da

    rng = np.random.default_rng(0)
    made = {
        "Lorenz-63, 64 states": (da.Lorenz63(), (64, 3)),
        "Lorenz-96, 24 members": (da.Lorenz96(), (24, 40)),
        "Lorenz-96, 64 x 24 members": (da.Lorenz96(), (64, 24, 40)),
        "two-scale Lorenz-96, 24 members": (da.Lorenz96TwoScale(), (24, 396)),
        "shallow water, 2 x 100^2": (da.ShallowWater.motion(100), (2, 3, 100, 100)),
        "Kolmogorov, 2 x 64^2": (da.Kolmogorov(64), (2, 64, 64)),
        "Kuramoto-Sivashinsky, 8 states": (da.KuramotoSivashinsky(), (8, 128)),
    }
    cases = {}
    for name, (model, shape) in made.items():
        x = 0.1 * rng.standard_normal(shape)
        cases[name] = _steps(model, x)
        cases[f"{name}, torch"] = _steps(model, torch.from_numpy(x))
    return cases


def _run(problem: Any, method: Any) -> Case:
    import dalearn as da

    return lambda: da.assimilate(problem, method, progress=False)


def _steps(model: Callable, x: Any) -> Case:
    def steps() -> None:
        y = x
        for _ in range(10):
            y = model(y)

    return steps


SECTIONS = {f.__name__: f for f in (filters, updates, gaussian, variational, models)}


# --- a process for each commit -------------------------------------------------------------------


def serve(root: str, section: str) -> None:
    """Run cases of the package in `root` as asked for on stdin; seconds a call on stdout."""
    sys.path.insert(0, root)
    import dalearn

    assert Path(dalearn.__file__ or "").is_relative_to(root)
    cases = SECTIONS[section]()
    print(json.dumps(sorted(cases)), flush=True)
    for line in sys.stdin:
        name, count = json.loads(line)
        cases[name]()
        start = time.process_time()
        for _ in range(count):
            cases[name]()
        print((time.process_time() - start) / count, flush=True)


class Side:
    """A process that runs the cases of one commit."""

    def __init__(self, root: Path, section: str):
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, __file__, "--serve", str(root), section]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        self.cases = json.loads(self.answer())

    def answer(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a process of the benchmark died; its error stands above")
        return line

    def seconds(self, name: str, count: int) -> float:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([name, count]) + "\n")
        self.process.stdin.flush()
        return float(self.answer())

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


def interval(ratios: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """The middle 95 % of bootstrapped medians."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(draws))
    return medians[draws // 40], medians[-draws // 40 - 1]


def main() -> None:
    """Compare this working tree with a commit, and write benchmarks/results/versus*.md."""
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
        return
    from benchmarks.common import Report

    options = argparse.ArgumentParser(prog="python -m benchmarks.versus", description=__doc__)
    options.add_argument("commit", help="the earlier commit")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--block", type=float, default=0.4, help="seconds of a side in a round")
    options.add_argument("--only", choices=SECTIONS)
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    given = options.parse_args()
    only = f" --only {given.only}" if given.only else ""
    command = f"python -m benchmarks.versus {given.commit}{only}"
    report = Report(f"This commit against {given.commit}", command)
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["git", "archive", given.commit, "dalearn"], cwd=ROOT, capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        slower = []
        for section in [given.only] if given.only else SECTIONS:
            slower += compare(report, section, Path(folder), given.rounds, given.block)
    lost = ", ".join(slower) or "none"
    report.after(f"Cases whose interval lies wholly below {LEAST}: {lost}.")
    report.write(given.out, "-".join(filter(None, ("versus", given.only))))


def compare(report: Any, section: str, old: Path, rounds: int, block: float) -> list[str]:
    """The table of one section; the cases that are slower for sure."""
    note = f"CPU seconds, old / new: above 1 is faster now. {rounds} rounds, in turn."
    report.section(section, note, ("case", "ms now", "old / new", "95 % interval"))
    sides = Side(old, section), Side(ROOT, section)
    slower = []
    try:
        for name in [c for c in sides[1].cases if c in sides[0].cases]:
            once = [side.seconds(name, 1) for side in sides]
            count = max(1, int(block / max(*once, 1e-6)))
            pairs = [[side.seconds(name, count) for side in sides] for _ in range(rounds)]
            ratios = [before / now for before, now in pairs]
            low, high = interval(ratios)
            now = 1e3 * statistics.median(p[1] for p in pairs)
            middle = statistics.median(ratios)
            report.row(name, f"{now:.3g}", f"{middle:.2f}", f"{low:.2f}-{high:.2f}")
            slower += [name] * (high < LEAST)
    finally:
        for side in sides:
            side.close()
    return slower


if __name__ == "__main__":
    main()
