"""Part of `benchmarks.inversion`: 4DVarNet on Lorenz-63 beside what it competes with.

The published set-up (`cases.lorenz63_fourdvarnet`): windows of 200 states, each eighth observed
with errors of variance 2. Settings of all methods are chosen on validation windows; errors are
means over test windows, one of each run, each with its bootstrapped 95 %.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

import dalearn as da
from dalearn.array import Purpose, generator
from dalearn.cases import lorenz63_fourdvarnet as case
from dalearn.methods.learned.seen import interpolated

from .common import Report

WINDOWS, MEMBERS = 100, 30
Q, INFLATIONS = (1e-5, 1e-3, 1e-2, 1e-1, 1.0), (1.0, 1.02, 1.05, 1.1, 1.3)
WRONG = da.Lorenz63(sigma=11.0, rho=30.8, beta=2.93)  # each parameter 10 % too large
PUBLISHED = {"4DVarNet": ("0.945", "0.707", "0.971")}  # roots of .893, .4997 and .942
Method = Callable[[Any], np.ndarray]


@cache
def windows(part: str, seen: str) -> Any:
    """The problem of the first window of each run of a part; test windows of a seed of their own.

    Args:
        part: "validation" or "test".
        seen: "all", or "x".
    """
    x = case.windows(part, seed=7 if part == "test" else 0)[:WINDOWS, 0]
    return case.problem(x, case.observed(x, seen, 7 if part == "test" else 1))


def first_guess(problem: Any) -> np.ndarray:
    """Cubic splines; the climatological mean of components that are not seen."""
    found = interpolated(np.asarray(problem.data))
    never = ~np.isfinite(problem.data).any((0, 1))
    found[..., never] = problem.prior.mean[never]
    return found


def weak(problem: Any, q: float, model: Any = None) -> np.ndarray:
    """Weak 4D-Var of the whole window, from the interpolation."""
    guess = first_guess(problem)
    start = np.concatenate((guess[:, :1], guess), axis=1)
    if model is not None:
        problem = replace(problem, model=model)
    out = da.assimilate(problem, da.WeakVar4D(Q=q * np.ones(3), start=start), progress=False)
    return out["mean"].sel(stage="smoothed").values


def run(problem: Any, method: Any, stage: str = "smoothed") -> np.ndarray:
    """The states that a method of the package finds."""
    return da.assimilate(problem, method, progress=False)["mean"].sel(stage=stage).values


def rmse(found: np.ndarray, problem: Any) -> np.ndarray:
    """The root of the mean square error of each window."""
    return ((found - problem.truth) ** 2).mean((1, 2)) ** 0.5


def best(settings: tuple[float, ...], make: Callable, seen: str) -> float:
    """The setting with the least mean error on validation windows."""
    problem = windows("validation", seen)

    def off(setting: float) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            error = rmse(make(problem, setting), problem)
        return float(np.where(np.isfinite(error), error, 1e3).mean())

    return min(settings, key=off)


def mean(values: np.ndarray) -> str:
    """The root of the mean square over windows, and its bootstrapped 95 %."""
    pick = generator(Purpose.TEST, 63).integers(len(values), size=(4000, len(values)))
    low, high = np.quantile((values[pick] ** 2).mean(-1) ** 0.5, (0.025, 0.975))
    return f"{(values**2).mean() ** 0.5:.3f} ({low:.3f}-{high:.3f})"


def methods(seen: str) -> dict[str, Method]:
    """All methods by name, their settings chosen."""

    def enks(problem: Any, inflation: float, stage: str = "smoothed") -> np.ndarray:
        return run(problem, da.EnKS(MEMBERS, inflation=inflation), stage)

    def wrong(problem: Any, q: float) -> np.ndarray:
        return weak(problem, q, WRONG)

    def filtered(problem: Any, inflation: float) -> np.ndarray:
        return enks(problem, inflation, "analysis")

    q, q_wrong = best(Q, weak, seen), best(Q, wrong, seen)
    smoother, ahead = best(INFLATIONS, enks, seen), best(INFLATIONS, filtered, seen)
    net = "all" if seen == "all" else "x"
    found: dict[str, Method] = {
        "cubic interpolation": first_guess,
        "strong 4D-Var, climatology as background": lambda p: run(p, da.Var4D(200, B="prior")),
        f"weak 4D-Var, true model, Q = {q:g} I": lambda p: weak(p, q),
        f"weak 4D-Var, model 10 % wrong, Q = {q_wrong:g} I": lambda p: wrong(p, q_wrong),
        f"EnKS, {MEMBERS} members, x {smoother:g}": lambda p: enks(p, smoother),
        f"ETKF, the filter, x {ahead:g}": lambda p: filtered(p, ahead),
    }
    direct = "direct" if seen == "all" else "direct-x"
    for name, label in ((direct, "U-Net of the interpolation"), (net, "4DVarNet")):
        found[label] = lambda p, name=name: case.trained(name).trajectory(p.validated())
    for steps in (5, 20):
        found[f"4DVarNet, {steps} steps instead of {case.STEPS}"] = lambda p, s=steps: replace(
            case.trained(net), steps=s
        ).trajectory(p.validated())
    return found


def audited(report: Report, problem: Any) -> None:
    """No run on two sides, no window that begins at the truth, no truth in a gap."""
    parts: dict[str, Any] = {part: case.windows(part)[:, 0] for part in ("train", "validation")}
    data, truth = np.asarray(problem.data), problem.truth
    found = da.audit(
        **parts,
        test=truth,
        truth=truth,
        start=first_guess(problem)[:, 0],
        data=np.nan_to_num(data),
        seen=np.isfinite(data),
    ).check()
    report.after(f"Audit: {'; '.join(found.passed)}; doubts: {len(found.doubts)}.")


def compared(report: Report, quick: bool, seen: str) -> None:
    """All methods, all three components seen, or x alone."""
    problem = windows("test", seen)
    what = "all three components" if seen == "all" else "x alone"
    report.section(
        f"4DVarNet and its rivals, {what}: {WINDOWS} test windows",
        "Root mean square error over all times and components, at observed and at other times; "
        "the median over windows; CPU time of one thread, all windows together. Chosen on "
        f"validation windows: Q of {Q}, inflation of {INFLATIONS}. Published: validation.",
        (
            *("method", "RMSE", "observed times", "other times", "median", "CPU ms a window"),
            *("published RMSE", "published observed", "published other"),
        ),
    )
    there = np.isfinite(problem.data).any((0, 2))
    for name, method in methods(seen).items():
        begun = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = method(problem)
        ms = 1e3 * (time.process_time() - begun) / WINDOWS
        error = (found - problem.truth) ** 2
        parts = (error[:, part].mean((1, 2)) ** 0.5 for part in (there, ~there))
        told = PUBLISHED.get(name, (None,) * 3) if seen == "all" else (None,) * 3
        each = rmse(found, problem)
        report.row(
            *(name, mean(each), *(mean(p) for p in parts), f"{np.median(each):.3f}"),
            *(float(f"{ms:.2g}"), *told),
        )
    audited(report, problem)


RIVALS: dict[str, Callable] = {
    "rivals": partial(compared, seen="all"),
    "rivals_x": partial(compared, seen="x"),
}
