"""Accuracy of the filters and smoothers against the documented scores, over many seeds.

The set-ups are those of Sakov and Oke (Lorenz-96) and of Sakov et al. (Lorenz-63); the settings
and their scores those written in `mods/Lorenz96/sakov2008.py` and `mods/Lorenz63/sakov2012.py` of
DAPPER.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from dalearn.diagnostics.scores import score
from dalearn.methods import (
    ETKF,
    LETKF,
    OI,
    UKF,
    Climatology,
    DEnKF,
    EnKF,
    EnKFN,
    EnSRF,
    ExtendedKF,
    IEnKS,
    ParticleFilter,
)
from dalearn.methods.ensemble.localization import Localization
from dalearn.run.assimilate import assimilate

from . import peers
from .common import Report
from .setups import L63_SKIP, L96_SKIP, lorenz63, lorenz96

RING = Localization.ring
L96_METHODS = (
    ("climatology", Climatology(), 3.6),
    ("OI, B of the climate", OI(cycled=False), 0.95),
    ("OI, 0.02 B, cycled (3D-Var)", OI(factor=0.02), 0.41),
    ("ExtendedKF, 6 on variances a time unit", ExtendedKF(6**0.025), 0.24),
    ("ExtendedKF, 10 on variances a time unit", ExtendedKF(10**0.025), 0.24),
    ("EnKF N=40 x1.06", EnKF(40, inflation=1.06), 0.22),
    ("EnKF N=28 x1.08", EnKF(28, inflation=1.08), 0.24),
    ("DEnKF N=40 x1.01", DEnKF(40, inflation=1.01), 0.18),
    ("EnSRF N=28 x1.02 haar", EnSRF(28, inflation=1.02, rotate="haar"), 0.18),
    ("ETKF N=28 x1.02 haar", ETKF(28, inflation=1.02, rotate="haar"), 0.18),
    ("ETKF N=28 x1.02 householder", ETKF(28, inflation=1.02, rotate="householder"), 0.18),
    ("ETKF N=28 x1.02, no rotation", ETKF(28, inflation=1.02), None),
    ("ETKF N=20 x1.04 haar", ETKF(20, inflation=1.04, rotate="haar"), 0.20),
    ("ETKF N=24 x1.013 haar", ETKF(24, inflation=1.013, rotate="haar"), 0.18),
    ("ETKF N=24 x1.013 householder", ETKF(24, inflation=1.013, rotate="householder"), None),
    ("ETKF N=24 x1.013, no rotation", ETKF(24, inflation=1.013), None),
    ("EnKF-N N=24 haar", EnKFN(24, rotate="haar"), 0.21),
    ("EnKF-N N=24 haar, xN=2", EnKFN(24, rotate="haar", xN=2.0), 0.18),
    (
        "LETKF N=7 x1.04 radius 4 haar",
        LETKF(7, localization=RING(40, 4.0), inflation=1.04, rotate="haar"),
        0.22,
    ),
    (
        "EnSRF N=7 x1.07 radius 6 haar",
        EnSRF(7, inflation=1.07, localization=RING(40, 6.0), rotate="haar"),
        0.23,
    ),
    ("IEnKS N=40 lag 1 x1.01 haar", IEnKS(40, lag=1, inflation=1.01, rotate="haar"), 0.17),
)
PARTICLES = (
    (
        "particles N=3000 reg 0.7 NER 0.5",
        ParticleFilter(3000, regularization=0.7, resample_below=0.5),
        0.26,
    ),
    (
        "particles N=1000 reg 0.7 NER 0.5",
        ParticleFilter(1000, regularization=0.7, resample_below=0.5),
        None,
    ),
)
L63_METHODS = (
    ("climatology", Climatology(), 7.6),
    ("OI, B of the climate", OI(cycled=False), 1.25),
    ("OI, 0.1 B, cycled (3D-Var)", OI(factor=0.1), 1.04),
    ("ExtendedKF x1.9", ExtendedKF(1.9), 0.92),
    ("UKF", UKF(), None),
    ("ETKF N=3 x1.30", ETKF(3, inflation=1.30), 0.80),
    ("ETKF N=10 x1.02 haar", ETKF(10, inflation=1.02, rotate="haar"), 0.60),
    ("ETKF N=10 x1.02 householder", ETKF(10, inflation=1.02, rotate="householder"), None),
    ("EnKF N=10 x1.04", EnKF(10, inflation=1.04), 0.65),
    ("EnKF N=100 x1.01", EnKF(100, inflation=1.01), 0.56),
    ("EnKF-N N=3", EnKFN(3), 0.60),
    ("EnKF-N N=10 haar", EnKFN(10, rotate="haar"), 0.54),
    ("IEnKS N=10 lag 1 x1.02 haar", IEnKS(10, lag=1, inflation=1.02, rotate="haar"), 0.31),
    (
        "particles N=100 reg 2.4 NER 0.3",
        ParticleFilter(100, regularization=2.4, resample_below=0.3),
        0.38,
    ),
    (
        "particles N=800 reg 0.9 NER 0.2",
        ParticleFilter(800, regularization=0.9, resample_below=0.2),
        0.28,
    ),
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
        lost = means["lost"].values & (not isinstance(method, Climatology))  # the yardstick
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
        f"Accuracy, dalearn, Lorenz-96 ({cycles} cycles, scored after {L96_SKIP}, {seeds} seeds)",
        f"{note} Twin and assimilation seeds 0 to {seeds - 1}, one batch. `lost`: dalearn.lost, "
        "RMSE over the last quarter above half the climatological error.",
        COLUMNS,
    )
    accuracy_rows(report, lorenz96(cycles, seeds), L96_METHODS, L96_SKIP)
    few = 2 if quick else seeds
    accuracy_rows(report, lorenz96(cycles, few), PARTICLES, L96_SKIP)
    report.after(
        "Climatology and optimal interpolation take their covariance from the truth run itself, a "
        f"mild oracle. Particle filters: {few} seeds."
    )
    cycles63, seeds63 = (400, 16) if quick else (1000, 32)
    report.section(
        f"Accuracy, dalearn, Lorenz-63 ({cycles63} cycles, scored after {L63_SKIP}, "
        f"{seeds63} seeds)",
        f"{note} Seeds 0 to {seeds63 - 1}. ExtendedKF: 1.9 on standard deviations after each "
        "analysis, which is DAPPER's 180 on variances per unit time (180^(0.25/2) = 1.91).",
        COLUMNS,
    )
    accuracy_rows(report, lorenz63(cycles63, seeds63), L63_METHODS, L63_SKIP)
    if not peers.available():
        return report.after("DAPPER is not installed (`pip install dalearn[bench]`): not run.")
    few, many = (2, 2) if quick else (10, 34)
    report.section(
        f"Accuracy, DAPPER core, Lorenz-96 ({cycles} cycles, scored after {L96_SKIP})",
        f"Its own twins and random numbers, {few} seeds from 1000 on, {many} for the setting on "
        "the edge; `lost` as above. It scores no CRPS here: its statistics are off.",
        COLUMNS,
    )
    problems = [peers.twin("L96", cycles, seed) for seed in range(many)]
    for name, settings, published in PEER_METHODS:
        seeds = many if settings["N"] == 24 else few
        start = time.process_time()
        runs = [peers.scores(peers.method("EnKF", **settings), p) for p in problems[:seeds]]
        cost = (time.process_time() - start) / cycles / seeds * 1e3
        last = np.array([error[3 * cycles // 4 :].mean() for error, _, _ in runs])
        lost = ~(last <= 0.5 * np.array([c for _, _, c in runs]))
        error = np.array([error[L96_SKIP:].mean() for error, _, _ in runs])
        spread = np.array([spread[L96_SKIP:].mean() for _, spread, _ in runs])
        report.row(
            name, *held(error, lost), held(spread, lost)[0], None, f"{lost.sum()} of {seeds}",
            published, round(cost, 2),
        )  # fmt: skip
    return None
