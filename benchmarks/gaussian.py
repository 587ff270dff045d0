"""The Kalman filter and smoother beside simdkalman, which filters many series at once.

A position and a velocity in the plane, positions observed: four states, two data, 1000 times.
Both give filtered means, standard deviations and log-likelihoods; the smoothers smoothed ones too.
It needs `pip install simdkalman`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

import dalearn as da

from .common import Report, in_turn, parser, ratio, run

F = np.array([[1.0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
H, Q, R = np.eye(4)[:2], np.array([0.1, 0.1, 0.01, 0.01]), np.ones(2)


def walks(series: int, times: int) -> da.Problem:
    """Random walks in the plane: independent experiments with the same matrices."""
    y = np.cumsum(np.random.default_rng(0).normal(size=(series, times, 2)), axis=1)
    prior = da.Gaussian(np.zeros((series, 4)), da.Diagonal(np.ones(4)))
    see = da.Observation(da.Linear(H), da.Diagonal(R))
    return da.Problem(da.Linear(F), see, prior, y, noise=da.Diagonal(Q))


def peer(problem: da.Problem, smoothed: bool) -> Any:
    """simdkalman's results for the same data; its first step observes, so its prior is ours."""
    import simdkalman  # pyright: ignore

    kf = simdkalman.KalmanFilter(F, np.diag(Q), H, np.diag(R))
    return kf.compute(
        np.asarray(problem.data),
        0,
        initial_value=np.zeros(4),
        initial_covariance=F @ F.T + np.diag(Q),
        filtered=True,
        smoothed=smoothed,
        log_likelihood=True,
    )


def speed(report: Report, quick: bool) -> None:
    """1000 series at once, and one alone."""
    report.section(
        "1000 times of 4 states",
        "CPU seconds, the best of the rounds; in brackets the range of the ratio over the rounds.",
        ["method", "series", "dalearn", "simdkalman", "times as fast"],
    )
    if find_spec("simdkalman") is None:
        report.after("simdkalman is not installed: pip install simdkalman.")
        return
    times, rounds = (50, 2) if quick else (1000, 3)
    for series in (10,) if quick else (1, 1000):
        problem = walks(series, times)
        for method in (da.KF(), da.RTS()):
            smoothed = isinstance(method, da.RTS)
            ours = da.assimilate(problem, method, progress=False)
            theirs = peer(problem, smoothed)
            mean = (theirs.smoothed if smoothed else theirs.filtered).states.mean
            stage = "smoothed" if smoothed else "analysis"
            assert np.allclose(ours["mean"].sel(stage=stage), mean, atol=1e-8)
            sides = {
                "ours": lambda p=problem, m=method: da.assimilate(p, m, progress=False),
                "theirs": lambda p=problem, s=smoothed: peer(p, s),
            }
            seconds = in_turn(sides, rounds)
            median, span = ratio(seconds["theirs"], seconds["ours"])
            best = (round(min(seconds[name]), 3) for name in ("ours", "theirs"))
            report.row(type(method).__name__, series, *best, f"{median} ({span})")


SECTIONS = {"speed": speed}


if __name__ == "__main__":
    options = parser("gaussian", __doc__, list(SECTIONS)).parse_args()
    run("gaussian", "The Gaussian family", options, SECTIONS)
