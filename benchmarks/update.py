"""The update of one ensemble of a large state, beside the ES-MDA step of another package."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from dalearn.covariances.matrices import Diagonal
from dalearn.methods import denkf, enkf, etkf

from .common import Report, in_turn, ratio

PEER = "iterative_ensemble_smoother"


def update(report: Report, quick: bool) -> None:
    """One analysis for n = 10^5, N = 100, m = 1000."""
    n, N, m = (10_000 if quick else 100_000), 100, 1000
    rounds = 2 if quick else 9
    report.section(
        f"The update of an ensemble, n = {n}, N = {N}, m = {m}",
        "CPU milliseconds of one analysis with the images of the members given, best of "
        f"{rounds}; ratio: median of ES-MDA / dalearn within a round. ES-MDA: one step "
        f"(alpha 1) of {PEER}, which perturbs the data as the EnKF does. Product alone: an N x N "
        "matrix times the members, which no such update can do without.",
        ("side", "best ms", "ES-MDA / this", "range"),
    )
    rng = np.random.default_rng(0)
    E, R, y = rng.normal(size=(N, n)), Diagonal(np.ones(m)), rng.normal(size=m)
    Y, D, W = E[:, :: n // m] + 0.0, rng.normal(size=(N, m)), rng.normal(size=(N, N))
    sides: dict[str, Callable[[], Any]] = {
        "EnKF": lambda: enkf(E, Y, y, R, D),
        "DEnKF": lambda: denkf(E, Y, y, R),
        "ETKF": lambda: etkf(E, Y, y, R),
        "product alone": lambda: W @ E,
    }
    if find_spec(PEER):
        from iterative_ensemble_smoother import ESMDA  # pyright: ignore

        X, one = np.ascontiguousarray(E.T), np.ones(m)

        def step() -> Any:
            peer = ESMDA(covariance=one, observations=y, alpha=np.ones(1), seed=0)
            peer.prepare_assimilation(Y=np.ascontiguousarray(Y.T))
            return peer.assimilate_batch(X=X)

        sides["ES-MDA"] = step
    seconds = in_turn(sides, rounds)
    for name, taken in seconds.items():
        beside = ratio(seconds["ES-MDA"], taken, 2) if "ES-MDA" in seconds else (None, None)
        report.row(name, round(min(taken) * 1e3, 1), *beside)
    if "ES-MDA" not in seconds:
        report.after(f"{PEER} is not installed (`pip install dalearn[bench]`): not compared.")
