"""Part of `benchmarks.inversion`: motion from images, first guesses, the deep prior, and sweeps.

As `inversion_motion`, whose methods and settings they take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dalearn import diagnostics
from dalearn.cases import motion, motion_networks, motion_prior, motion_published
from dalearn.cases import motion_rivals as rivals

from .common import Report
from .inversion_motion import (
    COLUMNS,
    FOLDER,
    NETWORKS,
    WINDOWS,
    Windows,
    audit,
    audited,
    chosen,
    error,
    mean,
    network,
    published,
    row,
    signed,
    timed,
    with_waves,
)

DEEP, LONGER, EPOCHS = tuple(range(10)), 3, 2000  # windows, those of 3000 epochs, epochs
GUESSED = 25


def guesses(report: Report, quick: bool) -> None:
    """The network's answer as a first guess of 4D-Var."""
    count = 4 if quick else GUESSED
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
            told = None if start == "water at rest" else signed(apart)
            report.row(name, start, mean(errors[start]), round(its, 1), told)
    row_of = diagnostics.end_point_error(motion.motion(answer), test.motion)
    report.row("none: the network alone", "-", mean(row_of), 0, None)
    audited(report, audit(test, motion.height(answer.reshape(count, 3, motion.N, motion.N))))


def deep_prior(windows: Any, i: int, quick: bool) -> dict[str, Any]:
    """The deep prior of one test window, after half the epochs, all, and for some 3000."""
    epochs, half = (200, 100) if quick else (EPOCHS, EPOCHS // 2)
    last = 3000 if i < LONGER and not quick else epochs
    keep = (half, epochs) if last > epochs else (half,)
    return motion_prior.kept(windows, i, FOLDER / f"deep-{epochs}", epochs=last, keep=keep)


def deep(report: Report, quick: bool) -> None:
    """The deep prior, which takes minutes a window."""
    which = DEEP[: 1 if quick else None]
    every = Windows.of("test", max(which) + 1)
    single, index = every.problem.to(torch.zeros(1)), list(which)
    few: Any = motion.problem(motion.starts("test", WINDOWS)[index])
    data = every.problem.data[index]  # with the errors that these windows have among the others
    test = Windows(replace(few, data=data), every.motion[index])
    report.section(
        f"The deep prior on {len(which)} windows, and the others on the same",
        "A network of its own for each window (seed: its number), Adam; states of the smallest "
        "cost so far. Its output is between -1 and 1, m and m/s. Kept window by window in "
        f"runs/motion, and read from there. Windows {', '.join(map(str, which))} of 50.",
        COLUMNS,
    )
    epochs, half = (200, 100) if quick else (EPOCHS, EPOCHS // 2)
    found = [deep_prior(single, i, quick) for i in which]
    cpu = [float(f["cpu"]) / max(int(k) for k in f if k != "cpu") for f in found]
    for stop in (half, epochs):
        w = motion.motion(np.stack([f[str(stop)] for f in found]))
        ms = float(f"{1e3 * stop * np.mean(cpu):.3g}")
        row(report, f"deep prior, {stop} epochs", w, test.motion, ms)
    longer = [i for i, f in enumerate(found) if "3000" in f]
    for stop in (str(epochs), "3000") if longer else ():
        w = motion.motion(np.stack([found[i][stop] for i in longer]))
        name = f"deep prior, {stop} epochs, the first {len(longer)} windows"
        row(report, name, w, test.motion[longer], None)
    motion_networks.implied()  # not in the time of a window
    for name, method in {
        "4D-Var as published": published,
        "4D-Var with B from pictures": with_waves,
        "network, learned": network("learned"),
    }.items():
        w, ms = timed(method, test)
        row(report, name, w, test.motion, ms)
    audited(report, audit(test))


SETTINGS: tuple[dict[str, Any], ...] = (
    *({"noise": s} for s in (0.01, 0.05, 0.2, 0.5)),
    *({"every": 2}, {"every": 5}, {"kept": 0.5}, {"kept": 0.1}),
)
SWEPT, SMOOTH = 20, 1.0  # windows; the Gaussian that section `motion` chooses for 0.05 m, cells


def sweep(report: Report, quick: bool) -> None:
    """Errors of pictures, times of pictures, and gaps."""
    count = 2 if quick else SWEPT
    ways: dict[str, Callable] = {
        "4D-Var with B from pictures": with_waves,
        **{f"network, {name}": network(name) for name in NETWORKS},
    }
    report.section(
        "Noise, times and gaps: end-point error, m/s",
        f"{count} test windows. Pictures every 3 steps with errors of 0.05 m, of all points, "
        "unless said otherwise. The networks were trained on errors of 0.03 to 0.3 m, every 2, 3 "
        "or 5 steps, at 10 to 100 % of the points; B was estimated on whole pictures with 0.05 m. "
        f"The published cost takes R = I. Smoothed: by a Gaussian of {SMOOTH:g} cell.",
        (
            *("noise, m", "every", "points seen", "no motion"),
            *("4D-Var as published", "then smoothed", *ways),
        ),
    )
    audits = []
    for settings in SETTINGS:
        test = Windows.of("test", count, **settings)
        audits.append(audit(test))
        w = timed(published, test)[0]
        found = [w, rivals.smoothed(w, SMOOTH), *(timed(m, test)[0] for m in ways.values())]
        cells = [mean(diagnostics.end_point_error(w, test.motion)) for w in found]
        still = error(test, 0 * test.motion)
        told = {"noise": motion.NOISE, "every": motion.EVERY, "kept": 1.0} | settings
        report.row(*told.values(), round(still, 4), *cells)
    audited(report, *audits)


MOTION_MORE = {"motion_guess": guesses, "motion_deep": deep, "motion_sweep": sweep}
