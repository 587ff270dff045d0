"""Part of `benchmarks.inversion`: motion from images, first guesses, the deep prior, and sweeps.

As `inversion_motion`, whose methods and settings they take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dalearn import diagnostics
from dalearn.array import Purpose, generator
from dalearn.cases import motion, motion_networks, motion_prior, motion_published

from .common import Report
from .inversion_motion import (
    COLUMNS,
    FOLDER,
    WINDOWS,
    Windows,
    chosen,
    error,
    mean,
    network,
    published,
    row,
    timed,
    with_waves,
)

DEEP = 10


def guesses(report: Report, quick: bool) -> None:
    """The network's answer as a first guess of 4D-Var."""
    count = 4 if quick else WINDOWS
    test = Windows.of("test", count)
    answer = motion_networks.answered(motion_networks.trained("learned"), test.problem)
    best = chosen()["weights"]
    settings = {
        "no background, stopped early": {},
        "Tikhonov terms, weights chosen": {"alpha": best[0], "beta": best[1]},
    }
    report.section(
        "The network's answer as a first guess of 4D-Var",
        f"The published 4D-Var of {count} test windows, from the first picture over water at rest "
        "and from the network's state. Difference: error from the guess less error from rest, "
        "paired by window.",
        ("4D-Var", "start", "end-point error, m/s", "iterations", "difference"),
    )
    single = test.problem.to(torch.zeros(1))
    for name, weights in settings.items():
        errors = {}
        for start, states in (("water at rest", [None] * count), ("network", answer)):
            found = [
                motion_published.estimate(single[i], start=s, **weights)
                for i, s in zip(range(count), states, strict=True)
            ]
            w = motion.motion(np.stack([f.state for f in found]))
            errors[start] = diagnostics.end_point_error(w, test.motion)
            apart = errors[start] - errors["water at rest"]
            its = float(np.mean([f.iterations for f in found]))
            told = None if start == "water at rest" else _signed(apart)
            report.row(name, start, mean(errors[start]), round(its, 1), told)
    row_of = diagnostics.end_point_error(motion.motion(answer), test.motion)
    report.row("none: the network alone", "-", mean(row_of), 0, None)


def _signed(values: np.ndarray) -> str:
    pick = generator(Purpose.TEST, 62).integers(len(values), size=(4000, len(values)))
    low, high = np.quantile(values[pick].mean(-1), (0.025, 0.975))
    return f"{values.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def deep(report: Report, quick: bool) -> None:
    """The deep prior, which takes minutes a window."""
    count = 1 if quick else DEEP
    test = Windows.of("test", count)
    single = test.problem.to(torch.zeros(1))
    report.section(
        f"The deep prior on {count} windows, and the others on the same",
        "A network of its own for each window (seed: its number), Adam; states of the smallest "
        "cost so far. Its output is between -1 and 1, m and m/s. Kept window by window in "
        "runs/motion, and read from there.",
        COLUMNS,
    )
    sizes = {64: 300 if quick else motion_prior.EPOCHS, 16: 300 if quick else motion_prior.EPOCHS}
    for width, epochs in sizes.items():
        keep = (1000, 2000) if epochs > 2000 else ()
        folder = FOLDER / f"deep-{width}-{epochs}"
        found = [
            motion_prior.kept(single, i, folder, width=width, epochs=epochs, keep=keep)
            for i in range(count)
        ]
        ms = 1e3 * float(np.mean([f["cpu"] for f in found]))
        for stop in (*keep, epochs):
            w = motion.motion(np.stack([f[str(stop)] for f in found]))
            name = f"deep prior, {stop} epochs" + f", width {width}" * (width != 64)
            row(report, name, w, test.motion, float(f"{ms * stop / epochs:.3g}"))
    for name, method in {
        "4D-Var as published": published,
        "4D-Var with B from pictures": with_waves,
        "network, learned": network("learned"),
    }.items():
        w, ms = timed(method, test)
        row(report, name, w, test.motion, ms)


SETTINGS: tuple[dict[str, Any], ...] = (
    *({"noise": s} for s in (0.01, 0.05, 0.1, 0.2, 0.5)),
    *({"every": e} for e in (2, 5)),
    *({"kept": k} for k in (0.5, 0.1)),
    {"kept": 0.1, "noise": 0.2},
)


def sweep(report: Report, quick: bool) -> None:
    """Errors of pictures, times of pictures, and gaps."""
    count = 3 if quick else 20
    names = [f"network, {name}" for name in motion_networks.NAMES]
    alpha, beta = chosen()["weights"]
    ways: dict[str, Callable] = {
        "4D-Var as published": published,
        "4D-Var with Tikhonov terms, weights chosen": lambda p: published(
            p, alpha=alpha, beta=beta
        ),
        "4D-Var with B from pictures": with_waves,
        **dict(zip(names, map(network, motion_networks.NAMES), strict=True)),
    }
    report.section(
        "Noise, times and gaps: end-point error, m/s",
        f"{count} test windows. Pictures every 3 steps with errors of 0.05 m, of all points, "
        "unless said otherwise. The networks were trained on errors of 0.03 to 0.3 m, every 2, 3 "
        "or 5 steps, at 10 to 100 % of the points; B was estimated on whole pictures with 0.05 m. "
        "The published cost takes R = I, and Tikhonov weights were chosen for 0.05 m.",
        ("noise, m", "every", "points seen", "no motion", *ways),
    )
    for settings in SETTINGS:
        test = Windows.of("test", count, **settings)
        cells = []
        for method in ways.values():
            w = timed(method, test)[0]
            cells.append(mean(diagnostics.end_point_error(w, test.motion)))
        still = error(test, 0 * test.motion)
        told = {"noise": motion.NOISE, "every": motion.EVERY, "kept": 1.0} | settings
        report.row(*told.values(), round(still, 4), *cells)


MOTION_MORE = {"motion_guess": guesses, "motion_deep": deep, "motion_sweep": sweep}
