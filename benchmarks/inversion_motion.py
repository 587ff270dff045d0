"""Part of `benchmarks.inversion`: motion from images, learned, by 4D-Var, and simpler.

The published windows (`cases.motion`): shallow water whose height is photographed at steps 0, 3, 6
and 9 with errors of 5 cm, and whose velocity at the first picture is sought. Settings are chosen
on validation runs; errors are means over test runs, each with its bootstrapped 95 %.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dalearn as da
from dalearn import diagnostics
from dalearn.array import Purpose, generator
from dalearn.cases import motion, motion_networks, motion_published
from dalearn.cases import motion_rivals as rivals
from dalearn.cases import motion_waves as waves
from dalearn.diagnostics import Audit

from .common import Report

WINDOWS, TO_THE_END, CHOSEN_ON = 50, 10, 8
WIDTHS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)  # of Gaussians, cells
ALPHAS, RATIOS = (5e3, 2e4, 8e4), (0.1, 3.0)
PUBLISHED = {  # end-point error, angular error, |grad w|: means over 100 runs that the code stores
    "truth": (None, None, 1.669),
    "4D-Var as published": (0.0423, 28.4, 6.13),
    "4D-Var with Tikhonov terms as published": (0.0156, 9.9, 2.00),
    "deep prior, 2000 epochs": (0.0455, 26.7, 1.94),
}
SOLVER = da.IncrementalCG(2, tolerance=1.0)
FOLDER = Path("runs/motion")
NETWORKS = "learned", "supervised"


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one part, and the motion that is sought."""

    problem: Any
    motion: np.ndarray

    @classmethod
    def of(cls, part: str, count: int, **settings: Any) -> Windows:
        """The first `count` runs of a part."""
        found: Any = motion.problem(motion.starts(part, WINDOWS)[:count], **settings)
        return cls(found, motion.motion(found.truth)[:, 0])

    def __len__(self) -> int:
        return len(self.motion)


def mean(values: np.ndarray) -> str:
    """The mean over windows and its bootstrapped 95 %."""
    pick = generator(Purpose.TEST, 61).integers(len(values), size=(4000, len(values)))
    low, high = np.quantile(values[pick].mean(-1), (0.025, 0.975))
    digits = 4 if values.mean() < 1 else 2
    return f"{values.mean():.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def signed(values: np.ndarray) -> str:
    """A mean difference over windows and its bootstrapped 95 %."""
    pick = generator(Purpose.TEST, 62).integers(len(values), size=(4000, len(values)))
    low, high = np.quantile(values[pick].mean(-1), (0.025, 0.975))
    return f"{values.mean():+.4f} ({low:+.4f} to {high:+.4f})"


COLUMNS = (
    *("method", "end-point error, m/s", "angular error", "gradient", "CPU ms a window"),
    *("published error", "published angle", "published gradient"),
)


def row(
    report: Report,
    name: str,
    estimate: np.ndarray,
    truth: np.ndarray,
    ms: Any,
    published: bool = True,
) -> None:
    """One method: errors and roughness, its cost, and the published numbers if there are any."""
    far = diagnostics.end_point_error(estimate, truth)
    angle = diagnostics.angular_error(estimate, truth)
    cells = [mean(far), mean(angle) if np.isfinite(angle).all() else None]
    cells.append(round(float(diagnostics.roughness(estimate).gradient.mean()), 3))
    there = PUBLISHED.get(name, (None, None, None)) if published else ()
    report.row(name, *cells, ms, *there)


def timed(method: Callable, windows: Windows) -> tuple[np.ndarray, float]:
    """The motions that a method finds, and CPU milliseconds for each window."""
    begun = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", da.NotConverged)
        found = method(windows.problem)
    ms = 1e3 * (time.process_time() - begun) / len(windows)
    return motion.motion(found), float(f"{ms:.3g}")


# --- methods: from a problem to states at the first picture -------------------------------------


def published(problem: Any, start: Any = None, **settings: Any) -> np.ndarray:
    """The published 4D-Var, window by window."""
    single = problem.to(torch.zeros(1))
    many = len(problem.data)
    starts = [None] * many if start is None else start
    found = [
        motion_published.estimate(single[i], start=s, **settings)
        for i, s in zip(range(many), starts, strict=True)
    ]
    return np.stack([f.state for f in found])


def with_waves(problem: Any) -> np.ndarray:
    """4D-Var of the package with the covariance that pictures imply."""
    prior = da.Gaussian(np.zeros(problem.n), motion_networks.implied())
    told = replace(problem, prior=prior)
    cycle = next(da.Var4D(len(problem), B="prior", solver=SOLVER).run(told, None))
    return np.asarray(cycle.analysis.mean)


def without_background(problem: Any, iterations: int) -> np.ndarray:
    """4D-Var of the package with a vague background."""
    solver = da.LBFGS(iterations, tolerance=1.0)
    cycle = next(da.Var4D(len(problem), B="prior", solver=solver).run(problem, None))
    return np.asarray(cycle.analysis.mean)


def network(name: str) -> Callable:
    """A trained network as a method."""
    method = motion_networks.trained(name, FOLDER)
    return lambda problem: motion_networks.answered(method, problem)


def error(windows: Windows, estimate: np.ndarray) -> float:
    """The mean end-point error of motions."""
    return float(diagnostics.end_point_error(estimate, windows.motion).mean())


@cache
def chosen() -> dict[str, Any]:
    """Settings that are best on validation runs: Gaussians, weights of Tikhonov terms."""
    there = Windows.of("validation", CHOSEN_ON)
    found: dict[str, Any] = {}
    rough = {
        "pictures": motion.motion(rivals.differences(there.problem)),
        "4D-Var": motion.motion(published(there.problem)),
    }
    for name, w in rough.items():
        found[name] = min(WIDTHS, key=lambda s: error(there, rivals.smoothed(w, s)))

    def off(weights: tuple[float, float]) -> float:
        alpha, beta = weights
        return error(there, motion.motion(published(there.problem, alpha=alpha, beta=beta)))

    grid = [(a, a * r) for a, r in itertools.product(ALPHAS, RATIOS)]
    found["weights"] = min(grid, key=off)
    return found


def audited(report: Report, first: Audit, *more: Audit) -> None:
    """What the audits of a section found: one line below its table."""
    doubts = sum(len(a.doubts) for a in (first, *more))
    times = f" of {1 + len(more)} settings" if more else ""
    report.after(f"Audit{times}: {'; '.join(first.passed)}; doubts: {doubts}.")


def audit(windows: Windows, start: np.ndarray | None = None) -> Audit:
    """No run on both sides, no first state that is the truth, no truth in a gap.

    What is evaluated begins at the heights `start`, or at water at rest.
    """
    train, valid, test = (motion.starts(p, WINDOWS)[:, None].astype(float) for p in motion.PARTS)
    frames: Any = motion.film(windows.problem).data
    seen = np.isfinite(frames)
    model, x = windows.problem.model, test[: len(windows), 0]
    heights = []
    for _ in range(motion.TIMES):
        x = model(x)
        heights.append(motion.height(x))
    truth = np.stack(heights, 1)
    return da.audit(
        train=train,
        validation=valid,
        test=test,
        truth=truth,
        start=np.zeros_like(truth[:, 0]) if start is None else start,
        data=np.where(seen, frames, 0.0),
        seen=seen,
    ).check()


def compared(report: Report, quick: bool) -> None:
    """All methods on the published windows."""
    count = 4 if quick else WINDOWS
    test, best = Windows.of("test", count), chosen()
    alpha, beta = best["weights"]
    report.section(
        f"Motion from images: {count} test windows of the published set-up",
        f"Chosen on {CHOSEN_ON} validation runs: Gaussians of {best['pictures']:g} and "
        f"{best['4D-Var']:g} cells, Tikhonov weights {alpha:g} and {beta:g}. CPU time of one "
        "thread, all windows of a method together where it can (batched). Published: means over "
        "100 windows.",
        COLUMNS,
    )
    report.row("truth", None, None, _gradient(test.motion), None, *PUBLISHED["truth"])
    row(report, "no motion", 0 * test.motion, test.motion, 0.0)
    ways: dict[str, Callable] = {
        "two pictures' difference": rivals.differences,
        "4D-Var as published": published,
        "4D-Var with Tikhonov terms as published": lambda p: published(
            p, alpha=motion_published.ALPHA, beta=motion_published.BETA
        ),
        "4D-Var with Tikhonov terms, weights chosen": lambda p: published(
            p, alpha=alpha, beta=beta
        ),
        "4D-Var, vague background, 30 iterations": lambda p: without_background(p, 30),
        "waves one by one, prior from pictures": lambda p: waves.blue(
            p, motion_networks.implied()
        ),
        "4D-Var with B from pictures": with_waves,
        **{f"network, {name}": network(name) for name in NETWORKS},
    }
    motion_networks.implied()
    found = {}
    for name, method in ways.items():
        found[name], ms = timed(method, test)
        row(report, name, found[name], test.motion, ms)
        for smooth, of, width in (
            ("difference, smoothed", "two pictures' difference", best["pictures"]),
            ("4D-Var as published, then smoothed", "4D-Var as published", best["4D-Var"]),
        ):
            if name == of:
                row(report, smooth, rivals.smoothed(found[name], width), test.motion, None)
    few = Windows.of("test", min(count, TO_THE_END))
    w, ms = timed(lambda p: published(p, tolerance=0.0), few)
    name = f"4D-Var as published, not stopped, {len(few)} windows"
    row(report, name, w, few.motion, ms)
    audited(report, audit(test))


def _gradient(w: np.ndarray) -> float:
    return round(float(diagnostics.roughness(w).gradient.mean()), 3)


MOTION = {"motion": compared}
