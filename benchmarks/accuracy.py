"""Accuracy of the filters and smoothers against the documented scores, over many seeds.

The set-ups, the settings and their documented scores are those of `dalearn.cases`: `sakov2008`
(Lorenz-96) and `sakov2012` (Lorenz-63).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from dalearn.cases import Case, sakov2008, sakov2012
from dalearn.diagnostics.scoreboard import CLAIMED, score
from dalearn.methods import ETKF, UKF, ParticleFilter
from dalearn.run.assimilate import assimilate

from . import peers
from .common import Report


def documented(case: Case) -> list[tuple]:
    """Name, method and documented score of each row of a set-up."""
    return [(s.name, s.method, s.documented) for s in case.scores]


L96 = documented(sakov2008)
L96_METHODS = (
    *(row for row in L96 if not isinstance(row[1], ParticleFilter)),
    ("ETKF N=28 x1.02, no rotation", ETKF(28, inflation=1.02), None),
    ("ETKF N=24 x1.013 householder", ETKF(24, inflation=1.013, rotate="householder"), None),
    ("ETKF N=24 x1.013, no rotation", ETKF(24, inflation=1.013), None),
)
PARTICLES = (
    *(row for row in L96 if isinstance(row[1], ParticleFilter)),
    (
        "particles N=1000 reg 0.7 NER 0.5",
        ParticleFilter(1000, regularization=0.7, resample_below=0.5),
        None,
    ),
)
L63_METHODS = (
    *documented(sakov2012),
    ("UKF", UKF(), None),
    ("ETKF N=10 x1.02 householder", ETKF(10, inflation=1.02, rotate="householder"), None),
)
PEER_METHODS = (
    ("ETKF N=28 x1.02 rot", {"upd_a": "Sqrt", "N": 28, "infl": 1.02, "rot": True}, 0.18),
    ("ETKF N=20 x1.04 rot", {"upd_a": "Sqrt", "N": 20, "infl": 1.04, "rot": True}, 0.20),
    ("EnKF N=40 x1.06", {"upd_a": "PertObs", "N": 40, "infl": 1.06}, 0.22),
    ("ETKF N=24 x1.013 rot", {"upd_a": "Sqrt", "N": 24, "infl": 1.013, "rot": True}, 0.18),
)
COLUMNS = ("method", "RMSE", "min-max", "spread", "CRPS", "lost", "published", "ms/cycle")


def held(values: np.ndarray, lost: np.ndarray) -> tuple[float | None, str]:
    """Median, and the range as text, over the seeds that hold the truth."""
    kept = values[~lost]
    if not kept.size:
        return None, "-"
    return round(float(np.median(kept)), 3), f"{kept.min():.3f}-{kept.max():.3f}"


def accuracy_rows(report: Report, problem: Any, methods: tuple, skip: int) -> None:
    """One row a method, all seeds in one batch."""
    count = problem.batch[0]
    for name, method, published in methods:
        start = time.process_time()
        result = assimilate(problem, method, progress=False)
        cost = (time.process_time() - start) / len(problem) / count * 1e3
        means = score(result, skip).sel(stage="analysis")
        lost = means["lost"].values
        median, span = held(means["rmse"].values, lost)
        spread, crps = (held(means[k].values, lost)[0] for k in ("spread", "crps"))
        report.row(
            name, median, span, spread, crps, f"{lost.sum()} of {count}", published, round(cost, 3)
        )


def accuracy(report: Report, quick: bool) -> None:
    """dalearn, then DAPPER, against the published scores."""
    cycles, seeds = (1500, 10) if quick else (4000, 20)
    note = "RMSE, spread and CRPS of the analysis: medians of time means over the seeds that hold."
    report.section(
        f"Accuracy, dalearn, Lorenz-96 ({cycles} cycles, scored after {sakov2008.skip}, "
        f"{seeds} seeds)",
        f"{note} Twin and assimilation seeds 0 to {seeds - 1}, one batch. `lost`: dalearn.lost, "
        "an error over the last quarter above half the climatological one and twice the spread.",
        COLUMNS,
    )
    accuracy_rows(report, sakov2008.problem(cycles, seeds), L96_METHODS, sakov2008.skip)
    few = 2 if quick else seeds
    accuracy_rows(report, sakov2008.problem(cycles, few), PARTICLES, sakov2008.skip)
    report.after(
        "Climatology and optimal interpolation take their covariance from the truth run itself, a "
        f"mild oracle. Particle filters: {few} seeds."
    )
    cycles63, seeds63 = (400, 16) if quick else (1000, 32)
    report.section(
        f"Accuracy, dalearn, Lorenz-63 ({cycles63} cycles, scored after {sakov2012.skip}, "
        f"{seeds63} seeds)",
        f"{note} Seeds 0 to {seeds63 - 1}. ExtendedKF: 1.9 on standard deviations after each "
        "analysis, which is DAPPER's 180 on variances per unit time (180^(0.25/2) = 1.91).",
        COLUMNS,
    )
    accuracy_rows(report, sakov2012.problem(cycles63, seeds63), L63_METHODS, sakov2012.skip)
    if not peers.available():
        return report.after("DAPPER is not installed (`pip install dalearn[bench]`): not run.")
    few, many = (2, 2) if quick else (10, 34)
    report.section(
        f"Accuracy, DAPPER core, Lorenz-96 ({cycles} cycles, scored after {sakov2008.skip})",
        f"Its own twins and random numbers, {few} seeds from 1000 on, {many} for the setting on "
        "the edge; `lost` by the same rule. It scores no CRPS here: its statistics are off.",
        COLUMNS,
    )
    problems = [peers.twin("L96", cycles, seed) for seed in range(many)]
    for name, settings, published in PEER_METHODS:
        seeds = many if settings["N"] == 24 else few
        start = time.process_time()
        runs = [peers.scores(peers.method("EnKF", **settings), p) for p in problems[:seeds]]
        cost = (time.process_time() - start) / cycles / seeds * 1e3
        late = np.array([[e[3 * cycles // 4 :].mean() for e in run[:2]] for run in runs])
        bound = np.maximum(0.5 * np.array([c for _, _, c in runs]), CLAIMED * late[:, 1])
        lost = ~(late[:, 0] <= bound)
        error = np.array([error[sakov2008.skip :].mean() for error, _, _ in runs])
        spread = np.array([spread[sakov2008.skip :].mean() for _, spread, _ in runs])
        report.row(
            name, *held(error, lost), held(spread, lost)[0], None, f"{lost.sum()} of {seeds}",
            published, round(cost, 2),
        )  # fmt: skip
    return None
