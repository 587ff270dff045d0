"""Covariances of fields with a million points, and DI01: parts of `benchmarks.variational`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np

from dalearn.covariances.base import Covariance
from dalearn.covariances.diffusion import Diffusion
from dalearn.covariances.kernels import at_points, exponential
from dalearn.covariances.on_grid import OnGrid
from dalearn.covariances.separable import Separable
from dalearn.diagnostics.di01 import di01

from .common import Report, in_turn
from .limits import middle, temporaries

# --- operators ------------------------------------------------------------------------------


def island(rows: int) -> np.ndarray:
    """A square sea, True, with a dike that leaves a way around, and an island in the south."""
    wet = np.ones((rows, rows), bool)
    wet[3 * rows // 10 : 32 * rows // 100, : 7 * rows // 10] = False
    y, x = np.mgrid[:rows, :rows] / rows
    return wet & ((y - 0.7) ** 2 + (x - 0.5) ** 2 > 0.01)


def kinds(rows: int, quick: bool) -> dict[str, Callable[[], Covariance]]:
    """What makes each covariance of a field of `rows` squared points, lengths of 20 points."""
    shape, line = (rows, rows), partial(at_points, np.arange(rows), 20.0, exponential)
    few = 4 if quick else 20
    return {
        "OnGrid, SOAR, periodic": partial(OnGrid, shape, 20.0),
        "OnGrid, SOAR, walls": partial(OnGrid, shape, 20.0, periodic=False),
        "OnGrid, SOAR, channel": partial(OnGrid, shape, 20.0, periodic=(False, True)),
        "Separable, exponential": lambda: Separable(line(), line()),
        "Diffusion, lines": partial(Diffusion, island(rows), 20.0, lines=True, samples=few),
        "Diffusion": partial(Diffusion, island(rows), 20.0, samples=few),
    }


def operators(report: Report, quick: bool) -> None:
    """What color and whiten cost on 1000 x 1000 points, and what they hold in memory."""
    rows = 200 if quick else 1000
    report.section(
        f"Covariances of {rows} x {rows} points",
        "CPU milliseconds of one call on one row, the median of "
        f"{2 if quick else 5}; `set-up`: seconds until the first call has returned, for diffusion "
        "with the draws for its variance (20; 4 if quick). Peak: what a call holds at a time, in "
        "states. Inverse: the largest entry of whiten(color(z)) - z. Target: 200 ms for each.",
        ("covariance", "set-up s", "color ms", "whiten ms", "peak, color", "peak, whiten",
         "inverse", "target ms"),
    )  # fmt: skip
    z = np.random.default_rng(0).standard_normal((1, rows * rows))
    for name, make in kinds(rows, quick).items():
        start = time.process_time()
        C = make()
        x = C.color(z)
        begun = time.process_time() - start
        off = float(abs(C.whiten(x) - z).max())
        sides = {"color": partial(C.color, z), "whiten": partial(C.whiten, x)}
        spent = in_turn(sides, 2 if quick else 5)
        report.row(
            name, round(begun, 2), middle(spent["color"], 1e-3), middle(spent["whiten"], 1e-3),
            round(temporaries(C.color, z), 1), round(temporaries(C.whiten, x), 1),
            f"{off:.0e}", 200,
        )  # fmt: skip
    report.after(
        "Diffusion in the plane solves with a sparse factorisation; along lines it needs none, "
        "which is the form for a million points. Its memory is that of the factors, not counted "
        "as the peak of a call."
    )


# --- DI01 -----------------------------------------------------------------------------------


def innovations(count: int, times: int, m: int = 100) -> np.ndarray:
    """Draws `(count, times, m)` whose B (SOAR of length 10) is 4 times, R 1/4 of the assumed."""
    B, out = OnGrid(m, 10.0), np.empty((count, times, m))
    for seed in range(count):
        rng = np.random.default_rng(seed)
        e = 0.5 * rng.normal(size=(times, m))
        out[seed] = 2 * B.color(rng.normal(size=(times, m))) + e
    return out


def scales(report: Report, quick: bool) -> None:
    """How often DI01 finds the scales of B and R, from one vector to fifty."""
    draws = 20 if quick else 1000
    report.section(
        "DI01: B x 4 and R x 0.25, 100 numbers, SOAR",
        f"{draws} draws, seeds 0 to {draws - 1}. Hit: both scales within 15 %. Scatter: standard "
        "deviation of the logarithm; bar: the median error bar that `di01` gives. Doubled: the "
        "published variant (J without 1/2) over ours. Target: 19 of 20 from 50 vectors.",
        ("vectors", "hit %", "first 20", "B within 30 %", "scatter B", "bar B", "scatter R",
         "bar R", "doubled B", "doubled R", "ms a draw"),
    )  # fmt: skip
    B, R = OnGrid(100, 10.0), np.ones(100)
    for times in (1, 2, 5, 10, 20, 50):
        d = innovations(draws, times)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one vector is too few, which the table shows
            start = time.process_time()
            found = di01(d, B, R)
            spent = time.process_time() - start
            other = di01(d, B, R, cost_factor=1.0)
        near = abs(found.s_b / 4 - 1)
        hit = (near < 0.15) & (abs(found.s_o / 0.25 - 1) < 0.15)
        cells = []
        for s, e in ((found.s_b, found.error_b), (found.s_o, found.error_o)):
            cells += [round(float(np.log(s).std()), 3), round(float(np.median(e)), 3)]
        double = (other.s_b / found.s_b, other.s_o / found.s_o)
        report.row(
            times, round(100 * hit.mean(), 1), f"{hit[:20].sum()} of 20",
            f"{100 * (near < 0.3).mean():.0f} %", *cells,
            *(round(float(np.median(q)), 3) for q in double), round(1e3 * spent / draws, 3),
        )  # fmt: skip
