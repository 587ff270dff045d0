"""Part of `benchmarks.inversion`: smaller deep priors, and a second seed of the motion networks.

As `inversion_motion`, whose tables and intervals they take.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from dalearn import diagnostics
from dalearn.cases import motion, motion_networks, motion_prior

from .common import Report
from .inversion_motion import (
    COLUMNS,
    FOLDER,
    WINDOWS,
    Windows,
    audit,
    audited,
    error,
    mean,
    signed,
)
from .inversion_motion_more import EPOCHS as LONG
from .inversion_motion_more import deep_prior

SMALL, TRIED_ON, EPOCHS = (16, 32), 2, (500, 1000, 2000)  # widths, windows, epochs
DEEP = 3
SEEDS = 0, 1


@cache
def prior(part: str, count: int, width: int, last: int) -> tuple[dict[int, np.ndarray], float]:
    """{epochs: motions} of the first windows of a part, and CPU seconds for an epoch."""
    windows = Windows.of(part, count).problem.to(torch.zeros(1))
    keep = tuple(e for e in EPOCHS if e < last)
    folder = FOLDER / f"deep-{part}-{width}-{last}"
    settings: dict[str, Any] = {"width": width, "epochs": last, "keep": keep}
    found = [motion_prior.kept(windows, i, folder, **settings) for i in range(count)]
    cpu = float(np.mean([f["cpu"] for f in found])) / last
    states = {e: np.stack([f[str(e)] for f in found]) for e in (*keep, last)}
    return {e: motion.motion(x) for e, x in states.items()}, cpu


def small(report: Report, quick: bool) -> None:
    """Deep priors of other widths: chosen on validation runs, measured on test runs."""
    tried, count = (1, 1) if quick else (TRIED_ON, DEEP)
    last = 60 if quick else EPOCHS[-1]
    there = Windows.of("validation", tried)
    errors = {
        (width, e): error(there, w)
        for width in SMALL
        for e, w in prior("validation", tried, width, last)[0].items()
    }
    best = min(errors, key=lambda key: errors[key])
    report.section(
        f"Smaller deep priors: chosen on {tried} validation windows, {count} of test",
        "As section motion_deep, with fewer channels; 64, the published width, is from there. Of "
        f"widths {', '.join(map(str, SMALL))} and the epochs, those of the least error on "
        "validation windows are chosen. Weights: of one network. Kept in runs/motion, and read "
        "from there.",
        ("part", "width", "weights", "epochs", "end-point error, m/s", "angular error", "CPU s"),
    )
    for width in SMALL:
        told("validation", report, there, width, prior("validation", tried, width, last))
    test = Windows.of("test", count)
    far = told("test", report, test, best[0], prior("test", count, best[0], last), best[1])
    single = test.problem.to(torch.zeros(1))
    found = [deep_prior(single, i, quick) for i in range(count)]
    at = 200 if quick else LONG
    w = {at: motion.motion(np.stack([f[str(at)] for f in found]))}
    cpu = [float(f["cpu"]) / max(int(k) for k in f if k != "cpu") for f in found]
    large = told("test", report, test, motion_prior.WIDTH, (w, float(np.mean(cpu))))
    report.after(
        f"Chosen: width {best[0]}, {best[1]} epochs ({errors[best]:.4f} m/s on validation). "
        f"Its error less that of the published width: {signed(far - large)} m/s."
    )
    audited(report, audit(test))


def told(
    part: str, report: Report, windows: Windows, width: int, found: Any, only: int = 0
) -> np.ndarray:
    """Rows of one width, one for each number of epochs; the last one's errors."""
    last = np.zeros(0)
    weights = sum(p.numel() for p in motion_prior.network(width=width).parameters())
    for epochs, w in found[0].items():
        if only and epochs != only:
            continue
        far = diagnostics.end_point_error(w, windows.motion)
        angle = diagnostics.angular_error(w, windows.motion)
        cpu = float(f"{epochs * found[1]:.3g}")
        report.row(part, width, weights, epochs, mean(far), mean(angle), cpu)
        last = far
    return last


def seeds(report: Report, quick: bool) -> None:
    """Networks of other first weights and another order of the windows."""
    count = 4 if quick else WINDOWS
    test = Windows.of("test", count)
    report.section(
        f"Two trainings of a network: {count} test windows",
        "The same windows and settings; the seed is of the first weights, of the order of the "
        "windows and of what else the training draws. Seed 0 is the one of the other tables. "
        "Difference: of the end-point errors from seed 0's, paired by window.",
        ("network", "seed", *COLUMNS[1:4], "difference"),
    )
    first = np.zeros(0)
    for seed in SEEDS:
        method = motion_networks.trained("learned", FOLDER, seed)
        w = motion.motion(motion_networks.answered(method, test.problem))
        far = diagnostics.end_point_error(w, test.motion)
        angle = diagnostics.angular_error(w, test.motion)
        gradient = round(float(diagnostics.roughness(w).gradient.mean()), 3)
        first = far if not seed else first
        apart = signed(far - first) if seed else None
        report.row("learned", seed, mean(far), mean(angle), gradient, apart)
    audited(report, audit(test))


SEEDED = {"motion_small": small, "motion_seeds": seeds}
