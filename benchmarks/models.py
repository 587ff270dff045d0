"""Models: the cost of a step beside the limit of memory or of the Fourier transforms.

    python -m benchmarks.models [--quick] [--full] [--only SECTION] [--out DIR]

One thread, CPU time. A step and its limit are timed in turn, and a ratio is the median over the
rounds. The limit of memory is `add(out=)` on arrays as large as the states, times the passes or
terms of the formula; that of a spectral model, the transforms that its step executes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dalearn.array import convert
from dalearn.models import (
    Burgers,
    Kolmogorov,
    KuramotoSivashinsky,
    Lorenz96,
    Lorenz96TwoScale,
    ShallowWater,
)
from dalearn.run.simulate import simulate

from . import fields
from .common import Report, caches, gpu_name, parser, run
from .limits import (
    Transforms,
    add,
    libraries,
    middle,
    over,
    passes,
    temporaries,
    timed,
)

# --- one dimension --------------------------------------------------------------------------


def held_in(numbers: float) -> str:
    """Where so many numbers in double precision find room."""
    fits = [f"L{level}" for level, size in sorted(caches().items()) if 8 * numbers <= size]
    return fits[0] if fits else "memory"


def lorenz96(report: Report, quick: bool) -> None:
    """Linear in n above the overhead, and no more memory than the formula needs."""
    sizes = (40, 10**4, 10**5) if quick else (40, 100, 10**3, 10**4, 10**5, 10**6)
    rng = np.random.default_rng(0)
    count = round(passes(Lorenz96(4096), rng.normal(size=4096)))
    report.section(
        "Lorenz-96 against n",
        f"One state. A step makes {count} passes over it, counted: four tendencies of 5 (the "
        "ring's copy and four operations), and 12 to combine them. Limit: as many `add(out=)`. "
        "`held`: the most memory that a step holds at one time, beside its argument, in states, "
        "and where it fits. The formula needs 6: k1, k2, k3, the stage, its ring and a product; "
        "below 256 KiB NumPy does not use the memory of a product again, which makes 7.",
        ("n", "library", "us/step", "ns per number", "limit us", "step / limit", "range", "held",
         "in"),
    )  # fmt: skip
    sides: dict[str, Callable[[], Any]] = {}
    held = {}
    for n in sizes:
        model, x = Lorenz96(n), 8 * rng.normal(size=n)
        held[n] = temporaries(model, x)
        for name, y in libraries(x).items():
            sides |= {f"{name} {n} step": partial(model, y), f"{name} {n} add": add(y)}
    spent = timed(sides, quick)
    us = {k: middle(seconds, 1e-6) for k, seconds in spent.items()}
    for n in sizes:
        for name in ("NumPy", "torch"):
            step, limit = spent[f"{name} {n} step"], [count * s for s in spent[f"{name} {n} add"]]
            room = round(held[n], 1), held_in(held[n] * n)
            report.row(
                n, name, us[f"{name} {n} step"], middle(step, 1e-9 * n), *over(1e-6, step, limit),
                *(room if name == "NumPy" else (None, None)),
            )  # fmt: skip
    for name in ("NumPy", "torch"):
        grown = []
        for low, high in pairwise(n for n in sizes if n >= 10**4):
            p, q = (
                (us[f"{name} {high} {k}"] - us[f"{name} 40 {k}"])
                / (us[f"{name} {low} {k}"] - us[f"{name} 40 {k}"])
                for k in ("step", "add")
            )
            grown.append(f"{p:.3g}-fold from n = {low} to {high} (one add {q:.3g}-fold)")
        report.after(f"{name}: time above that of n = 40 grows {', '.join(grown)}.")


def lines(report: Report, quick: bool) -> None:
    """The other models of one dimension, alone and in a batch."""
    report.section(
        "Other models of one dimension",
        "Microseconds a step of the whole batch. Limit: the transforms that the step executes, or "
        "as many `add(out=)` as it makes passes; both counted.",
        ("model", "n", "batch", "library", "us/step", "limit", "limit us", "step / limit",
         "range"),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    cases: list[tuple[str, Any, int, int]] = []
    for n, batch in ((64, 1), (1024, 1), (16384, 1), (128, 100)):
        cases.append(("Kuramoto-Sivashinsky", KuramotoSivashinsky(n), n, batch))
    for n, batch in ((128, 1), (16384, 1), (128, 100)):
        cases.append(("Burgers, spectral", Burgers(n, dt=1e-6, spectral=True), n, batch))
        cases.append(("Burgers, volumes", Burgers(n, dt=1e-7), n, batch))
    for n, batch in ((36, 1), (36, 100), (9000, 1)):
        cases.append(("two-scale Lorenz-96", Lorenz96TwoScale(n), 11 * n, batch))
    for name, model, n, batch in cases:
        x = rng.normal(size=(batch, n))
        for label, y in libraries(x).items():
            work = Transforms(model, y)
            count = work.planes // batch or round(passes(model, x))
            limit = work if work.planes else add(y)
            spent = timed({"step": partial(model, y), "limit": limit}, quick)
            least = [s * (1 if work.planes else count) for s in spent["limit"]]
            kind = f"{count} {'FFTs' if work.planes else 'adds'}"
            report.row(
                name, n, batch, label, middle(spent["step"], 1e-6), kind,
                *over(1e-6, spent["step"], least),
            )  # fmt: skip


# --- simulate -------------------------------------------------------------------------------


def simulated(count: int, steps: int, every: int, folder: str) -> dict[str, Any]:
    """Trajectories of LD-EnSF to a file in `folder`: seconds, bytes, and the most memory held."""
    model = ShallowWater.ld_ensf()
    x0 = model.bump(np.random.default_rng(0).uniform(0, 5e5, (count, 2)))
    path, before = Path(folder) / "states.npy", memory("VmRSS")
    if before is not None:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    wall, cpu = time.perf_counter(), time.process_time()
    simulate(model, x0, steps, every=every, to=path, dtype="float32", progress=False)
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return seconds | {"bytes": path.stat().st_size, "before": before, "peak": memory("VmHWM")}


def memory(entry: str) -> float | None:
    """MB that this process holds, VmRSS, or has held at most, VmHWM (Linux; else None)."""
    status = Path("/proc/self/status")  # getrusage's figure may be that of the parent
    if not status.exists():
        return None
    found = next(x for x in status.read_text().splitlines() if x.startswith(entry))
    return round(int(found.split()[1]) * 1024 / 1e6)


def dataset(report: Report, quick: bool, full: bool = False) -> None:
    """The trajectories on which LD-EnSF is trained."""
    count, steps, every = (20, 20, 10) if quick else (200, 2000, 40) if full else (200, 40, 20)
    report.section(
        f"simulate: {count} trajectories of LD-EnSF, {steps} steps, every {every}th to a .npy",
        "150^2, NumPy, carried in double precision, kept as float32; in a process of its own, "
        "into a temporary folder. Memory in MB: before, with the initial states, and at most; "
        "pages of the file that the system may drop count as well.",
        ("wall s", "CPU s", "us per step and member", "file MB", "MB/s", "before", "peak",
         "CPU minutes of 200 x 2000 steps"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        call = f"simulated({count}, {steps}, {every}, {folder!r})"
        code = f"import json; from benchmarks.models import simulated; print(json.dumps({call}))"
        command, root = [sys.executable, "-c", code], Path(__file__).parents[1]
        out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root)
    found = json.loads(out.stdout)
    each = found["cpu"] / count / steps
    size = found["bytes"] / 1e6
    report.row(
        round(found["wall"], 1), round(found["cpu"], 1), round(each * 1e6), round(size),
        round(size / found["wall"], 1), found["before"], found["peak"],
        round(each * 200 * 2000 / 60, 1),
    )  # fmt: skip


# --- GPU ------------------------------------------------------------------------------------


def gpu(report: Report, quick: bool) -> None:
    """Steps of batches on a GPU."""
    name = gpu_name()
    report.section(
        f"GPU{'' if name is None else ': ' + name}",
        "torch, milliseconds of wall-clock time a step of the whole batch, waited for. Kolmogorov "
        "128^2, limit: the transforms that the step executes. Shallow water 150^2 with rotation, "
        "limit: 6 `add(out=)`, one a term.",
        ("model", "numbers", "batch", "ms/step", "us per member", "limit ms", "step / limit",
         "range"),
    )  # fmt: skip
    if name is None:
        return report.after("torch sees no GPU here: no rows.")
    import torch

    rng, most = np.random.default_rng(0), 20 if quick else 200
    flow, water = Kolmogorov(128, dt=0.003), ShallowWater.ld_ensf()
    starts = flow.random_flow(rng, (most,)), water.bump(rng.uniform(2e5, 5e5, (most, 2)))
    for model, states in zip((flow, water), starts, strict=True):
        for dtype in ("float32", "float64"):
            like = torch.zeros(1, dtype=getattr(torch, dtype), device="cuda")
            for batch in (1, 20) if quick else (1, 20, 200):
                x = convert(states[:batch], like)
                work = Transforms(model, x)
                limit = work if work.planes else add(x)
                sides = {"step": partial(model, x), "limit": limit}
                wait = torch.cuda.synchronize
                spent = timed(sides, quick, clock=time.perf_counter, finish=wait)
                least = [s * (1 if work.planes else fields.TERMS[True]) for s in spent["limit"]]
                report.row(
                    type(model).__name__, dtype, batch, middle(spent["step"], 1e-3),
                    middle(spent["step"], 1e-6 * batch), *over(1e-3, spent["step"], least),
                )  # fmt: skip
    return None


SECTIONS: dict[str, Callable[[Report, bool], None]] = {
    "lorenz96": lorenz96,
    "lines": lines,
    "shallow-water": fields.shallow_water,
    "kolmogorov": fields.kolmogorov,
    "fields": fields.others,
    "simulate": dataset,
    "gpu": gpu,
}


def main() -> None:
    """Run the chosen sections and write the report."""
    found = parser("models", __doc__, tuple(SECTIONS))
    text = "all 2000 steps of simulate (some minutes, 3 GB of disk)"
    found.add_argument("--full", action="store_true", help=text)
    options = found.parse_args()
    sections = SECTIONS | {"simulate": partial(dataset, full=options.full)}
    run("models", "Models: the cost of a step", options, sections)


if __name__ == "__main__":
    main()
