"""Parts of `benchmarks.ld_ensf`: filters in the space of the model, and what the model costs."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import t

from dalearn.array import no_grad
from dalearn.cases.ld_ensf import CASES, SetUp, twin
from dalearn.cases.ld_ensf_twin import localization
from dalearn.methods import ETKF, LETKF
from dalearn.models import Kolmogorov, ShallowWater
from dalearn.problem.belief import Ensemble
from dalearn.problem.parameters import state_and_parameters
from dalearn.problem.problem import Problem
from dalearn.run.assimilate import assimilate

from .common import Report

NOISES = (0.0, 0.1, 0.2)
TUNING, FRESH = 5000, 9000  # seeds of the twins of validation runs, and of new truths


def started(problem: Problem) -> Problem:
    """The same problem from one interval before its first data: what methods share runs once."""
    first, gap = problem.steps_to(0), problem.steps_to(1)
    if first == gap:
        return problem
    x = problem.like
    with no_grad(x):
        for _ in range(first - gap):
            x = problem.carry(x)
    return replace(problem, prior=Ensemble(x), steps=gap, times=problem.time)


def fields(setup: SetUp, x: Any) -> np.ndarray:
    """States `(..., n + p)` as fields `(..., *shape)`."""
    x = np.asarray(x)[..., : -setup.p]
    return x.reshape(*x.shape[:-1], *setup.shape)


def errors(setup: SetUp, problem: Problem, method: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of each truth: the relative error of the second half, and that of u (width 2) at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means in float32 with a spread below it
        result = assimilate(problem, method, progress=False)
    state, u = state_and_parameters(result, problem)
    half = len(problem) // 2
    mean = state["mean"].sel(stage="analysis").isel(time=slice(half, None))
    truth = fields(setup, problem.truth)[..., half:, :, :, :]
    found = setup.relative(np.asarray(mean).reshape(truth.shape), truth, -1)
    last = u["mean"].sel(stage="analysis").isel(time=-1), u["truth"].isel(time=-1)
    wrong = setup.unit(np.asarray(last[0])) - setup.unit(np.asarray(last[1]))
    return found, np.abs(wrong).mean(-1)


def interval(values: np.ndarray, scale: float = 100) -> str:
    """The mean over truths, and half of its 95 % interval."""
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{scale * values.mean():.3g} -+ {scale * half:.2g}"


def unassimilated(setup: SetUp, problem: Problem) -> np.ndarray:
    """The error of the mean of the members that see no data."""
    blank = replace(problem, data=np.full_like(problem.data, np.nan))
    return errors(setup, blank, ETKF(problem.like.shape[-2]))[0]


def tune(report: Report, setup: SetUp, problem: Problem, quick: bool) -> list[Any]:
    """The best ETKF and the best LETKF on validation runs; each radius first, then inflations."""

    def best(methods: list[Any]) -> Any:
        scores = []
        for m in methods:
            start = time.process_time()
            e, _ = errors(setup, problem, m)
            scores.append(float(np.where(np.isfinite(e), e, np.inf).mean()))
            told = (round(100 * float(v), 2) for v in (np.median(e), e.mean(), e.max()))
            report.row(label(m), *told, round(time.process_time() - start, 1))
        return methods[int(np.argmin(scores))]

    factors, radii = ((1.0, 1.05), (6.0,)) if quick else ((1.0, 1.02, 1.05, 1.1), (4, 6, 12, 24))
    near = [localization(setup, float(r)) for r in radii]
    first = best([LETKF(20, localization=c, inflation=factors[1]) for c in near])
    others = [replace(first, inflation=f) for f in factors if f != factors[1]]
    return [best([ETKF(20, inflation=f) for f in factors]), best([first, *others[:2]])]


def full(report: Report, quick: bool) -> None:
    """ETKF and LETKF with the parameter in the state."""
    count, tuned = (2, 2) if quick else (10, 4)
    for name in CASES:
        setup = CASES[name]()
        u = setup.parameters()[setup.split().validation][:tuned]
        valid = started(twin(setup, u, noise=0.1, seed=TUNING))
        report.section(
            f"{name}: tuning of filters in the space of the model",
            f"{tuned} validation runs, noise 10 %, N = 20, 10 x 10 sensors; relative error of the "
            "mean, %, over the second half.",
            ("method", "median", "mean", "worst", "CPU s"),
        )
        chosen = tune(report, setup, valid, quick)
        report.section(
            f"{name}: filters in the space of the model, state and parameter",
            f"{count} new truths, N = 20, 10 x 10 sensors; relative error of the mean, %, second "
            "half: mean over truths with 95 % interval, median, worst; error of the parameter at "
            "the last time, where the prior has width 2.",
            ("method", "noise, %", "error, %", "median", "worst", "parameter", "CPU s"),
        )
        for noise in NOISES[::2] if quick else NOISES:
            problem = started(twin(setup, count, noise=noise, seed=FRESH))
            if noise == NOISES[0]:
                e = unassimilated(setup, problem)
                told = (round(100 * float(v), 2) for v in (np.median(e), e.max()))
                report.row("without data", "-", interval(e), *told, "-", "-")
            for m in chosen:
                start = time.process_time()
                e, p = errors(setup, problem, m)
                spent = time.process_time() - start
                told = (round(100 * float(v), 2) for v in (np.median(e), e.max()))
                row = interval(e), *told, interval(p, 1), round(spent, 1)
                report.row(label(m), round(100 * noise), *row)


def label(method: Any) -> str:
    """A method in a few words."""
    where = getattr(method, "localization", None)
    reach = f", radius {float(where.radius):g}" if where is not None else ""
    factor = getattr(method, "inflation", 1.0)
    return f"{type(method).__name__}{reach}, inflation {factor}"


# --- cost -------------------------------------------------------------------------------------


def cost(report: Report, quick: bool) -> None:
    """CPU seconds of the full dynamics of an assimilation, N = 100, float32."""
    N = 10 if quick else 100
    report.section(
        f"T_d: the model's own time for {N} members, float32",
        "CPU seconds from the start of a run to its last state. Steps timed: the rest is "
        "extrapolated, since each step costs the same. Courant numbers are those of waves.",
        ("model", "steps", "steps timed", "ms/step", "T_d, s"),
    )
    rng = np.random.default_rng(0)
    u = rng.uniform(0, 5e5, (N, 2))
    for n, width, steps in ((64, 1e5, 850), (150, 5e4, 2000)):
        water = ShallowWater.ld_ensf(n, rotating=False)
        for courant, count in ((0.1, steps), (0.5, steps // 5)):
            model = replace(water, dt=courant / 0.1 * water.dt)
            x = model.bump(u, width).astype("float32")
            report.row(f"shallow water {n}^2, Courant {courant}", count, *timed(model, x, count))
    re = rng.uniform(500, 1500, (N, 1, 1)).astype("float32")
    for n, substeps, count in ((64, 2, 200), (150, 10, 300)):
        model = Kolmogorov(n=n, reynolds=re, dt=0.04, substeps=substeps)
        flow = model.random_flow(np.random.default_rng(42)).astype("float32")
        x = np.broadcast_to(flow, (N, *flow.shape)).copy()
        report.row(f"Kolmogorov {n}^2, {substeps} substeps", count, *timed(model, x, count))


def timed(model: Any, x: np.ndarray, count: int) -> tuple[int, float, float]:
    """Steps timed, milliseconds a step, and seconds for all; about ten seconds at most."""
    x = model(x)
    start = time.process_time()
    done = 0
    while done < count and time.process_time() - start < 10:
        x = model(x)
        done += 1
    each = (time.process_time() - start) / done
    return done, round(1000 * each, 2), round(each * count, 2)
