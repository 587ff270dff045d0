"""Parts of `benchmarks.score`: accuracy on fresh truths, with settings that others chose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dalearn.cases.score_filters import arctan_ring, flames
from dalearn.methods import EnKF
from dalearn.problem.problem import Problem

from .common import Report
from .score_chosen import CHOSEN, FLAMES
from .score_setups import FRESH, LOST, TOLD, VALIDATION, Setting, enff, ensf, label, scores, told

SHARE = {1: "all", 2: "a half", 4: "a quarter"}


def ring_methods(every: int) -> dict[str, Setting]:
    """What is compared where each `every`-th variable is observed."""
    found = CHOSEN[every]
    if every > 1:
        return found
    a, b = found["EnSF"].method.eps_alpha, found["EnSF"].method.eps_beta
    f2p = found["EnFF F2P"].method
    pair = f2p.sigma_min, f2p.guidance
    more = {f"EnSF, {K} steps": ensf(a, b, steps=K) for K in (10, 40)}
    more |= {
        "EnSF, 20 steps, published eps": ensf(),
        "EnSF, mixture": ensf(a, b, score="mixture"),
        "EnSF, as published": ensf(steps=500, sampler="euler", clip=1000.0),
        "EnFF F2P, 20 steps": enff(*pair, steps=20),
        "EnFF F2P, 10 steps, published settings": enff(),
        "EnFF F2P, 20 steps, published settings": enff(steps=20),
        "EnFF OT, 20 steps, published settings": enff(coupling="OT", steps=20),
    }
    return found | more


def accuracy(every: int, report: Report, quick: bool) -> None:
    """The ring, with all, a half or a quarter observed."""
    truths, cycles = (2, 30) if quick else (10, 150)
    problem = arctan_ring(cycles, every=every, batch=truths, seed=FRESH)
    report.section(
        f"Lorenz-96, n = 100, arctan of {SHARE[every]} of the variables",
        f"{truths} fresh truths, {cycles} analyses, N = 20, sigma 0.05, every 10 steps of "
        f"0.01. RMSE of the second half; lost: above {LOST:g}. Settings of `tuning_*`.",
        ("method", "settings", *TOLD),
    )
    for name, setting in ring_methods(every).items():
        report.row(name, label(setting), *told(scores(problem, setting)))
    blank = replace(problem, data=np.full_like(problem.data, np.nan))
    report.row("no assimilation", "", *told(scores(blank, EnKF(20))))
    tried = arctan_ring(cycles, every=every, batch=truths, seed=VALIDATION)
    bounds = (3.0, 5.0, 8.0, 12.0)
    bound = min(bounds, key=lambda b: inverted(tried, every, b)["rmse"].mean())
    of = f"|x| <= {bound:g}" + ", straight lines between" * (every > 1)
    report.row("data turned around, tan(y)", of, *told(inverted(problem, every, bound)))


def inverted(problem: Problem, every: int, bound: float) -> dict[str, Any]:
    """What the data of a time say alone: tan(y), at most `bound`, straight lines between."""
    limit, truth = np.arctan(bound), np.asarray(problem.truth)
    x = np.tan(np.clip(problem.data, -limit, limit))
    if every > 1:
        ahead = np.roll(x, -1, axis=-1)
        shares = np.arange(every) / every
        x = (x[..., None] * (1 - shares) + ahead[..., None] * shares).reshape(truth.shape)
    half = len(problem) // 2
    e = (((x - truth)[..., half:, :] ** 2).mean(-1) ** 0.5).mean(-1)
    return {"rmse": e, "spread": np.full(1, np.nan), "seconds": 0.0}


def identity(report: Report, quick: bool) -> None:
    """Kuramoto-Sivashinsky, everything observed as it is."""
    truths, cycles = (1, 10) if quick else (10, 100)
    problem = flames(cycles, batch=truths, seed=FRESH)
    report.section(
        "Kuramoto-Sivashinsky, n = 1024, identity observations",
        f"{truths} fresh truths, {cycles} analyses, N = 20, sigma 0.1, every 4 steps of 0.25; "
        "RMSE of the second half. Published: EnKF-PO localized 0.0209, LETKF 0.0210, OT 0.0585, "
        "F2P 0.068, EnSF 0.101. Settings of `tuning_flames`.",
        ("method", "settings", *TOLD),
    )
    for name, setting in FLAMES.items():
        report.row(name, label(setting), *told(scores(problem, setting)))
