"""Parts of `benchmarks.score`: large states, by number of steps, in seconds, under shocks."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from itertools import product
from typing import Any

from dalearn.cases.score_filters import SHOCKS, arctan, arctan_ring, arctan_slope
from dalearn.methods.ensemble.inflation import Adaptive
from dalearn.problem.problem import Problem

from .common import Report, ratio
from .score_setups import FRESH, VALIDATION, Setting, enff, ensf, label, letkf, scores

PUBLISHED = {  # RMSE by steps, d = 10^6, best over the authors' settings
    "EnSF": {5: 7.77, 10: 3.31, 20: 1.84, 50: 0.775, 100: 0.403},
    "F2P": {5: 0.584, 10: 0.178, 20: 0.1725, 50: 0.1723, 100: 0.1723},
    "OT": {5: 0.479, 10: 0.356, 20: 0.227, 50: 0.185, 100: 0.172},
}


def by_steps(K: int) -> dict[str, tuple[Setting, str | None]]:
    """The methods of the curve with K steps, and whose published row stands beside."""
    euler: dict[str, Any] = {"steps": K, "sampler": "euler"}
    rows: dict[str, tuple[Setting, str | None]] = {
        "EnSF, Euler, one-sample score, as published": (ensf(clip=1000.0, **euler), "EnSF"),
    }
    if K <= 10:
        rows["EnSF, Euler, mixture"] = ensf(clip=1000.0, score="mixture", **euler), None
    if K <= 20:
        rows["EnSF, exponential"] = ensf(steps=K), None
        for name in ("F2P", "OT"):
            rows[f"EnFF {name}, Euler"] = enff(coupling=name, **euler), name
            rows[f"EnFF {name}, exponential"] = enff(coupling=name, steps=K), None
    return rows


def steps(n: int, report: Report, quick: bool) -> None:
    """RMSE against the number of steps."""
    import torch

    n, cycles, counts = (1000, 10, (5, 10)) if quick else (n, 80, (5, 10, 20, 50, 100))
    problem = arctan_ring(cycles, n=n, seed=FRESH, like=torch.zeros(1))
    report.section(
        f"RMSE against sampling steps, d = {n}",
        f"Set-up of Bao et al., everything observed, {cycles} observation times, N = 20, "
        "float32, published settings (eps 0.5, 0.025; score at most 1000; sigma_min 0.05, "
        "guidance 0.05); mean RMSE of the second half. One truth: so many variables are their "
        "own average. Published: d = 10^6, best over the authors' settings. What is good with "
        "few steps was run with few.",
        ("method", *(f"K = {K}" for K in counts), "published"),
    )
    found: dict[str, list[str]] = {}
    beside = {}
    for K in counts:
        for name, (setting, source) in by_steps(K).items():
            g = torch.Generator().manual_seed(FRESH)
            e = float(scores(problem, setting, g)["rmse"][0])
            found.setdefault(name, []).append(f"{e:.3g}" if e < 1e3 else "lost")
            print(name, K, f"{e:.4g}", flush=True)
            if source:
                beside[name] = ", ".join(f"{v:g}" for v in PUBLISHED[source].values())
    for name, row in found.items():
        report.row(name, *row, *["-"] * (len(counts) - len(row)), beside.get(name))


def struck(n: int, truths: int, seed: int, quick: bool) -> Problem:
    """Truths with profiles of shocks of their own, float32."""
    import torch

    like, cycles = torch.zeros(1), 30 if quick else 150
    return arctan_ring(cycles, n=n, shocks=SHOCKS, batch=truths, seed=seed, like=like)


def late(problem: Problem, setting: Setting) -> dict[str, Any]:
    """Scores of the last third of the analyses."""
    import torch

    g = torch.Generator().manual_seed(FRESH)
    return scores(problem, setting, g, last=len(problem) // 3)


def candidates(n: int) -> dict[str, list[Setting]]:
    """What is chosen from under shocks; LETKF may take the errors for larger than they are."""
    return {
        "EnSF, eps chosen": [ensf(0.5, b) for b in (0.025, 0.05, 0.1, 0.2, 0.4)],
        "EnFF F2P, guidance chosen": [enff(0.05, g) for g in (0.05, 0.1, 0.2, 0.4)],
        "LETKF, adaptive inflation": [
            letkf(n, r, Adaptive(1.05, drift=v), k)
            for r, v, k in product((2, 3), (0.01, 0.05), (1.5, 3.0))
        ],
    }


def shocks(n: int, truths: int, report: Report, quick: bool) -> None:
    """The last third of a run whose truth is struck."""
    tried = struck(100, 1 if quick else 8, VALIDATION, quick)
    report.section(
        "Tuning under shocks, d = 100",
        "8 validation truths with profiles of their own; mean RMSE of the last third.",
        ("settings", "mean over truths"),
    )
    n, best = 500 if quick else n, {}
    for kind, settings in candidates(100).items():
        few = settings[:1] if quick else settings
        found = [float(late(tried, s)["rmse"].mean()) for s in few]
        for s, e in zip(few, found, strict=True):
            report.row(label(s), float(f"{e:.3g}"))
        best[kind] = candidates(n)[kind][found.index(min(found))]
    problem = struck(n, truths, FRESH, quick)
    report.section(
        f"Shocks, d = {n}",
        f"Fresh truths with profiles of shocks of their own, {len(problem)} analyses, N = 20, "
        "float32; mean RMSE of the last third. Published, d = 10^6, one profile: EnSF 0.87, LETKF "
        "7.23.",
        ("method", "mean over truths", "of each truth", "CPU s a truth"),
    )
    methods = {
        "EnSF": ensf(),
        "EnFF F2P": enff(),
        "LETKF, published settings": letkf(n, 4, 1.1),
        **best,
    }
    for name, setting in methods.items():
        r = late(problem, setting)
        e, each = r["rmse"], ", ".join(f"{v:.2f}" for v in r["rmse"])
        seconds = round(r["seconds"] / truths, 1)
        report.row(f"{name}: {label(setting)}", float(f"{e.mean():.3g}"), each, seconds)


# --- one analysis ------------------------------------------------------------------------------


def straightforward(E: Any, y: Any, variance: float, K: int, count: int, g: Any) -> float:
    """CPU seconds of one of K Euler steps, written down as the equations are."""
    import torch

    x, a0 = torch.randn(E.shape, generator=g), 0.5
    start = time.process_time()
    for k in range(count):
        t = 1 - k / K
        a, b2 = 1 - (1 - a0) * t, 0.025 + 0.975 * t
        f = -(1 - a0) / a
        g2 = 0.975 - 2 * f * b2
        score = -(x - a * E) / b2
        score = score - (torch.atan(x) - y) / variance * (1 / (1 + x**2)) * (1 - t)
        score = torch.clip(score, -1000, 1000)
        x = x + (-f * x + g2 * score) / K + (g2 / K) ** 0.5 * torch.randn(E.shape, generator=g)
    return (time.process_time() - start) / count


def child(d: int, rounds: int) -> None:
    """One size in a process of its own: peak memory of an analysis, then both sides in turn."""
    import torch

    from dalearn.array.random import TorchStreams
    from dalearn.covariances.matrices import Diagonal
    from dalearn.methods import ensf as analysis
    from dalearn.problem.observe import Observation, identity
    from dalearn.problem.pointwise import Pointwise

    torch.set_num_threads(1)
    g = torch.Generator().manual_seed(0)
    x = 4 * torch.randn(d, generator=g)
    E, y = x + torch.randn(20, d, generator=g), torch.atan(x) + 0.05 * torch.randn(d, generator=g)
    R = Diagonal(torch.full((d,), 0.0025))
    bent = Observation(Pointwise(arctan, derivative=arctan_slope), R)
    rng, own = TorchStreams(g), ensf().method
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found: dict[str, Any] = {"before": held, "arctan": [], "identity": [], "euler": []}
    with torch.no_grad():
        for k in range(rounds + 1):
            for name, see, data in (
                ("arctan", bent, y),
                ("identity", Observation(identity, R), x),
            ):
                start = time.process_time()
                analysis(E, data, see, rng, own)
                if k:
                    found[name].append(time.process_time() - start)
            if not k:
                found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            if k:
                count = 5 if d < 10**6 else 2
                found["euler"].append(500 * straightforward(E, y, 0.0025, 500, count, g))
    print(json.dumps(found))


def size(report: Report, quick: bool) -> None:
    """One analysis against the dimension."""
    rounds = 1 if quick else 3
    report.section(
        "One analysis of EnSF, N = 20, float32, one core",
        f"CPU seconds, least of {rounds} rounds, 20 exponential steps; beside it the loop of "
        "500 Euler steps as the equations are written, extrapolated from its first 5 (2 for the "
        "largest) in the same rounds; ratio: median and range over rounds. Peak memory of a "
        "process that makes one analysis, its libraries and the ensemble included.",
        ("d", "arctan s", "ns a number and step", "identity s", "Euler K = 500 s",
         "Euler / arctan", "range", "peak GiB", "before GiB"),
    )  # fmt: skip
    for d in (1000, 10_000) if quick else (10_000, 100_000, 1_000_000):
        command = [sys.executable, "-m", "benchmarks.score_large", str(d), str(rounds)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        r = json.loads(out.splitlines()[-1])
        best = {k: min(r[k]) for k in ("arctan", "identity", "euler")}
        each = best["arctan"] / (20 * 20 * d) * 1e9
        shown = (
            float(f"{v:.3g}") for v in (best["arctan"], each, best["identity"], best["euler"])
        )
        memory = round(r["peak"], 2), round(r["before"], 2)
        report.row(f"{d:.0e}", *shown, *ratio(r["euler"], r["arctan"], 0), *memory)


if __name__ == "__main__":
    child(int(sys.argv[1]), int(sys.argv[2]))
