"""Ensemble filters: accuracy against the papers, cost against DAPPER, scaling and import time.

    python -m benchmarks.filters [--quick] [--only accuracy|cost|scaling|import] [--out DIR]

One thread, CPU time; the sides of a comparison run in turn, and a ratio is the median over the
rounds. The set-ups are those of Sakov and Oke (Lorenz-96) and of Sakov et al. (Lorenz-63).
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from dalearn.belief import Gaussian
from dalearn.cycle import assimilate
from dalearn.diagnostics import rmse, score
from dalearn.gaussian import Diagonal
from dalearn.methods import ETKF, EnKF, ExtendedKF
from dalearn.models import Lorenz63, Lorenz96
from dalearn.nature import twin
from dalearn.observe import Observation, identity

from . import peers
from .common import Report, gpu_name, in_turn, parser, ratio, run

L96_SKIP, L63_SKIP = 400, 64  # cycles not scored


def lorenz96(cycles: int, batch: int | tuple[int, ...] = (), n: int = 40, seed: int = 0) -> Any:
    """Sakov and Oke, Mon. Wea. Rev. 136, 2008: everything observed with unit variance."""
    first = np.eye(n)[0]
    return twin(
        Lorenz96(n=n),
        Observation(identity, Diagonal(np.ones(n))),
        Gaussian(first, Diagonal(0.001 * np.ones(n))),
        cycles,
        seed=seed,
        batch=batch,
    )


def lorenz63(cycles: int, batch: int | tuple[int, ...] = (), seed: int = 0) -> Any:
    """Sakov, Oliver and Bertino, Mon. Wea. Rev. 140, 2012: observed every 25 steps."""
    return twin(
        Lorenz63(),
        Observation(identity, Diagonal(2 * np.ones(3))),
        Gaussian(np.array([1.509, -1.531, 25.46]), Diagonal(2 * np.ones(3))),
        cycles,
        steps=25,
        seed=seed,
        batch=batch,
    )


# --- accuracy -------------------------------------------------------------------------------

L96_METHODS = (
    ("ETKF N=28 x1.02 haar", ETKF(28, 1.02, "haar"), 0.18),
    ("ETKF N=28 x1.02 householder", ETKF(28, 1.02, "householder"), 0.18),
    ("ETKF N=28 x1.02, no rotation", ETKF(28, 1.02), None),
    ("ETKF N=20 x1.04 haar", ETKF(20, 1.04, "haar"), 0.20),
    ("EnKF N=40 x1.06", EnKF(40, 1.06), 0.22),
    ("ETKF N=24 x1.013 haar", ETKF(24, 1.013, "haar"), 0.18),
    ("ETKF N=24 x1.013 householder", ETKF(24, 1.013, "householder"), None),
    ("ETKF N=24 x1.013, no rotation", ETKF(24, 1.013), None),
)
L63_METHODS = (
    ("ETKF N=10 x1.02 haar", ETKF(10, 1.02, "haar"), 0.60),
    ("ETKF N=10 x1.02 householder", ETKF(10, 1.02, "householder"), None),
    ("EnKF N=100 x1.01", EnKF(100, 1.01), 0.56),
    ("ExtendedKF x1.9", ExtendedKF(1.9), 0.92),
)
PEER_METHODS = (
    ("ETKF N=28 x1.02 rot", {"upd_a": "Sqrt", "N": 28, "infl": 1.02, "rot": True}, 0.18),
    ("ETKF N=20 x1.04 rot", {"upd_a": "Sqrt", "N": 20, "infl": 1.04, "rot": True}, 0.20),
    ("EnKF N=40 x1.06", {"upd_a": "PertObs", "N": 40, "infl": 1.06}, 0.22),
    ("ETKF N=24 x1.013 rot", {"upd_a": "Sqrt", "N": 24, "infl": 1.013, "rot": True}, 0.18),
)
COLUMNS = ("method", "RMSE", "min-max", "spread", "CRPS", "lost", "published", "ms/cycle")


def held(values: np.ndarray, lost: np.ndarray) -> tuple[float | None, str]:
    """Median, and the range as text, over the seeds that hold the truth."""
    kept = values[~lost]
    if not kept.size:
        return None, "-"
    return round(float(np.median(kept)), 3), f"{kept.min():.3f}-{kept.max():.3f}"


def accuracy_rows(report: Report, problem: Any, methods: tuple, skip: int) -> None:
    """One row a method, all seeds in one batch."""
    count = problem.batch[0]
    for name, method, published in methods:
        start = time.process_time()
        result = assimilate(problem, method, progress=False)
        cost = (time.process_time() - start) / len(problem) / count * 1e3
        means = score(result, skip).sel(stage="analysis")
        lost = means["lost"].values
        median, span = held(means["rmse"].values, lost)
        spread, crps = (held(means[k].values, lost)[0] for k in ("spread", "crps"))
        report.row(
            name, median, span, spread, crps, f"{lost.sum()} of {count}", published, round(cost, 3)
        )


def accuracy(report: Report, quick: bool) -> None:
    """dalearn, then DAPPER, against the published scores."""
    cycles, seeds = (1500, 10) if quick else (4000, 20)
    note = "RMSE, spread and CRPS of the analysis: medians of time means over the seeds that hold."
    report.section(
        f"Accuracy, dalearn, Lorenz-96 ({cycles} cycles, scored after {L96_SKIP}, {seeds} seeds)",
        f"{note} Twin and assimilation seeds 0 to {seeds - 1}, one batch. `lost`: dalearn.lost, "
        "RMSE over the last quarter above half the climatological error.",
        COLUMNS,
    )
    accuracy_rows(report, lorenz96(cycles, seeds), L96_METHODS, L96_SKIP)
    cycles63, seeds63 = (400, 16) if quick else (1000, 32)
    report.section(
        f"Accuracy, dalearn, Lorenz-63 ({cycles63} cycles, scored after {L63_SKIP}, "
        f"{seeds63} seeds)",
        f"{note} Seeds 0 to {seeds63 - 1}. ExtendedKF: 1.9 on standard deviations after each "
        "analysis, which is DAPPER's 180 on variances per unit time (180^(0.25/2) = 1.91).",
        COLUMNS,
    )
    accuracy_rows(report, lorenz63(cycles63, seeds63), L63_METHODS, L63_SKIP)
    if not peers.available():
        return report.after("DAPPER is not installed (`pip install dalearn[bench]`): not run.")
    few, many = (2, 2) if quick else (10, 34)
    report.section(
        f"Accuracy, DAPPER core, Lorenz-96 ({cycles} cycles, scored after {L96_SKIP})",
        f"Its own twins and random numbers, {few} seeds from 1000 on, {many} for the setting on "
        "the edge; `lost` as above. It scores no CRPS here: its statistics are off.",
        COLUMNS,
    )
    problems = [peers.twin("L96", cycles, seed) for seed in range(many)]
    for name, settings, published in PEER_METHODS:
        seeds = many if settings == ETKF_24 else few
        start = time.process_time()
        runs = [peers.scores(peers.method("EnKF", **settings), p) for p in problems[:seeds]]
        cost = (time.process_time() - start) / cycles / seeds * 1e3
        last = np.array([error[3 * cycles // 4 :].mean() for error, _, _ in runs])
        lost = ~(last <= 0.5 * np.array([c for _, _, c in runs]))
        error = np.array([error[L96_SKIP:].mean() for error, _, _ in runs])
        spread = np.array([spread[L96_SKIP:].mean() for _, spread, _ in runs])
        report.row(
            name, *held(error, lost), held(spread, lost)[0], None, f"{lost.sum()} of {seeds}",
            published, round(cost, 2),
        )  # fmt: skip
    return None


# --- cost -----------------------------------------------------------------------------------

ETKF_24 = {"upd_a": "Sqrt", "N": 24, "infl": 1.013, "rot": True}
ENKF_40 = {"upd_a": "PertObs", "N": 40, "infl": 1.06}
ETKF_10 = {"upd_a": "Sqrt", "N": 10, "infl": 1.02, "rot": True}
# set-up, twin, ours, theirs, cycles, targets: (alone/full, alone/core, batch/full, batch/core)
COSTS: tuple[tuple[str, Callable, Any, dict, int, tuple], ...] = (
    ("L96 ETKF N=24 x1.013 haar", lorenz96, ETKF(24, 1.013, "haar"), ETKF_24, 400,
     (10, 2, 45, 9)),
    ("L96 ETKF N=24 x1.013 householder", lorenz96, ETKF(24, 1.013, "householder"), ETKF_24, 400,
     (10, 2, 45, 9)),
    ("L96 EnKF N=40 x1.06", lorenz96, EnKF(40, 1.06), ENKF_40, 400, (None,) * 4),
    ("L63 ETKF N=10 x1.02 haar", lorenz63, ETKF(10, 1.02, "haar"), ETKF_10, 200,
     (2.5, None, 40, None)),
)  # fmt: skip
COST_COLUMNS = ("set-up", "side", "best ms", "median ms",
                "full / this", "range", "target", "core / this", "range", "target")  # fmt: skip


def ours(problem: Any, method: Any, seed: Any = 0) -> None:
    """What a user does: run, then score."""
    rmse(assimilate(problem, method, progress=False, seed=seed))


def cost(report: Report, quick: bool) -> None:
    """A cycle of ours against a cycle of DAPPER's."""
    rounds = 2 if quick else 7
    report.section(
        "Cost of a cycle, dalearn and DAPPER in turn",
        "CPU milliseconds per cycle and experiment. dalearn: `assimilate` (moments kept, no bar) "
        "and `rmse`, one experiment or a batch of 64. DAPPER full: `xp.assimilate` and its time "
        "means, as shipped; core: its statistics switched off. Ratios: DAPPER / dalearn, the "
        f"median of {rounds} rounds, with their range and the target.",
        COST_COLUMNS,
    )
    for name, make, method, settings, cycles, targets in COSTS:
        cycles = cycles // 2 if quick else cycles
        sides: dict[str, Callable] = {
            "dalearn, alone": partial(ours, make(cycles), method),
            "dalearn, batch of 64": partial(ours, make(cycles, 64), method),
        }
        if peers.available():
            model = peers.twin(name[:3], cycles, 0, burn_in=False)
            for label, run in (("DAPPER full", peers.full), ("DAPPER core", peers.core)):
                sides[label] = partial(run, peers.method("EnKF", **settings), model)
        seconds = in_turn(sides, rounds)
        share = {"dalearn, batch of 64": 64}
        each = {k: [s / cycles / share.get(k, 1) * 1e3 for s in v] for k, v in seconds.items()}
        for i, (label, ms) in enumerate(each.items()):
            cells: list[Any] = []
            for j, slow in enumerate(("DAPPER full", "DAPPER core")):
                if slow in each and not label.startswith("DAPPER"):
                    cells += [*ratio(each[slow], ms), targets[2 * i + j]]
                else:
                    cells += [None] * 3
            report.row(name, label, round(min(ms), 4), round(statistics.median(ms), 4), *cells)
    if not peers.available():
        report.after("DAPPER is not installed (`pip install dalearn[bench]`): not compared.")


# --- scaling --------------------------------------------------------------------------------


def scaling(report: Report, quick: bool) -> None:
    """Cost against state size, batch and library."""
    rounds = 1 if quick else 3
    method = ETKF(24, 1.013, "haar")
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


# --- import ---------------------------------------------------------------------------------

HEAVY = ("torch", "matplotlib", "xarray", "scipy", "pandas", "ipywidgets")


def child(code: str) -> tuple[float, float]:
    """Wall-clock and CPU milliseconds of a fresh interpreter that runs `code`."""

    def used() -> float:
        r = resource.getrusage(resource.RUSAGE_CHILDREN)
        return r.ru_utime + r.ru_stime

    cpu, start = used(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - start) * 1e3, (used() - cpu) * 1e3


def imports(report: Report, quick: bool) -> None:
    """What `import dalearn` costs, and what it does not load."""
    count = 3 if quick else 10
    report.section(
        "Import time",
        f"Median of {count} fresh interpreters each, in turn, less a bare one; milliseconds.",
        ("statement", "wall", "CPU"),
    )
    codes = {
        "import numpy": "import numpy",
        "import dalearn": "import dalearn",
        "from dalearn import ETKF, Lorenz96, twin, assimilate": (
            "from dalearn import ETKF, Lorenz96, twin, assimilate"
        ),
    }
    runs: dict[str, list] = {name: [] for name in ("", *codes)}
    for _ in range(count):
        for name in runs:
            runs[name].append(child(codes.get(name, "pass")))
    middle = {k: [statistics.median(column) for column in zip(*v, strict=True)]
              for k, v in runs.items()}  # fmt: skip
    for name in codes:
        wall, cpu = (a - b for a, b in zip(middle[name], middle[""], strict=True))
        report.row(f"`{name}`", round(wall, 1), round(cpu, 1))
    code = f"import sys, dalearn; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found = out.stdout.split()
    report.after(
        f"Loaded by `import dalearn` of {', '.join(HEAVY)}: {', '.join(found) or 'none'}."
    )


SECTIONS = {"accuracy": accuracy, "cost": cost, "scaling": scaling, "import": imports}


def main() -> None:
    """Run the chosen sections and write the report."""
    options = parser("filters", __doc__, tuple(SECTIONS)).parse_args()
    run("filters", "Filters: accuracy, cost, scaling", options, SECTIONS)


if __name__ == "__main__":
    main()
