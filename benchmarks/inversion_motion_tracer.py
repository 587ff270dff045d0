"""Part of `benchmarks.inversion`: the flow under a tracer, by optical flow, 4D-Var and a network.

As `inversion_motion`, whose tables and intervals it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import dalearn as da
from dalearn import diagnostics
from dalearn.cases import motion_tracer as tracer
from dalearn.cases import motion_tracer_network as network
from dalearn.diagnostics import Audit

from .common import Report
from .inversion_motion import CHOSEN_ON, COLUMNS, FOLDER, Windows, audited, row, timed

TRACED = 20
WEIGHTS = (0.01, 0.03, 0.1, 0.3)  # of Horn and Schunck's smoothness


def carried(report: Report, quick: bool) -> None:
    """The flow from pictures of a tracer."""
    count = 3 if quick else TRACED
    there = tracer.fields("validation", CHOSEN_ON)
    trial = tracer.problem(there)

    def off(weight: float) -> float:
        w = tracer.horn_schunck(trial, weight)
        return float(diagnostics.end_point_error(w, there[:, 1:]).mean())

    weight = min(WEIGHTS, key=off)
    method, card = network.trained(FOLDER)
    cpu = card.metric["CPU seconds of the training"]
    truth = tracer.fields("test", count)
    problem, w = tracer.problem(truth), truth[:, 1:]
    report.section(
        f"Pictures of a tracer: {count} test windows",
        f"A steady flow without divergence, 32 x 32 points, in units of its speed. Horn and "
        f"Schunck's weight {weight:g} chosen on {CHOSEN_ON} validation windows. 4D-Var has the "
        "lengths and deviations of tracer and flow as its background, each field by itself; the "
        f"network was trained by the same cost on pictures of {network.TRAIN} other windows, in "
        f"{cpu} s of CPU time.",
        COLUMNS[:5],
    )

    def var(iterations: int) -> Callable:
        solver = da.LBFGS(iterations, tolerance=1.0)
        method = da.Var4D(len(problem), B="prior", solver=solver)
        return lambda p: np.asarray(next(method.run(p, None)).analysis.mean)

    row(report, "no motion", 0 * w, w, 0.0, published=False)
    begun = time.process_time()
    found = tracer.horn_schunck(problem, weight)
    ms = float(f"{1e3 * (time.process_time() - begun) / count:.3g}")
    row(report, "optical flow, Horn and Schunck", found, w, ms, published=False)
    for iterations in (30, 150):
        found, ms = timed(var(iterations), Windows(problem, w))
        row(report, f"4D-Var, {iterations} iterations", found, w, ms, published=False)
    found, ms = timed(lambda p: network.answered(method, p), Windows(problem, w))
    row(report, "network, trained on pictures", found, w, ms, published=False)
    audited(report, audit(truth))


def audit(truth: np.ndarray) -> Audit:
    """No window on both sides, no first state that is the truth, no truth in the data."""
    train = tracer.fields("train", network.TRAIN)[:, None]
    there = tracer.fields("validation", network.VALIDATION)[:, None]
    problem = tracer.problem(truth)
    assert problem.truth is not None
    q = np.asarray(problem.truth).reshape(*problem.data.shape[:2], 3, -1)[:, :, 0]
    return da.audit(
        train=train,
        validation=there,
        test=truth[:, None],
        truth=q,
        start=np.zeros_like(q[:, 0]),
        data=problem.data,
        seen=np.ones(q.shape),
    ).check()


TRACER = {"motion_tracer": carried}
