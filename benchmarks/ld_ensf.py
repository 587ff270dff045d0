"""LD-EnSF: what its set-ups allow, what needs no network, and what everything costs.

    python -m benchmarks.ld_ensf [--quick] [--only SECTION] [--out DIR]

    window   why the reduced Kolmogorov flow ends at step 200
    floors   POD, and the interpolation of training runs in the parameter
    full     ETKF and LETKF on state and parameter, in the space of the model
    cost     the model's own time, N = 100
    latent-CASE, sparse-CASE   LD-EnSF, its parts and rivals, by noise; by sensors
    exact                      what the data leave open, beside the latent filters
    latent_cost                what LD-EnSF costs beside the model
    updates                    what a training at the size of the paper takes
    start-CASE                 a latent state of 0 before the first time, or at it
    vae-CASE, published-CASE   the autoencoder of Latent-EnSF; EnSF and Latent-EnSF

Errors are relative, each component in units of its rms; settings are chosen on validation runs,
and errors are of test runs or of new truths. One thread, CPU time. Training runs go to
`runs/ld-ensf` and are made once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dalearn.cases.ld_ensf import CASES, SetUp, kolmogorov
from dalearn.models import POD, InterpolatedRuns

from .common import Report, parser, run
from .ld_ensf_full import cost, full
from .ld_ensf_latent import SECTIONS as LATENT
from .ld_ensf_paper import updates
from .ld_ensf_start import SECTIONS as STARTS
from .ld_ensf_vae import SECTIONS as PUBLISHED

RUNS = Path("runs/ld-ensf")


def small(setup: SetUp, quick: bool) -> SetUp:
    """The set-up, with few runs where it should be quick."""
    return replace(setup, runs=(24, 4, 4)) if quick else setup


def made(setup: SetUp, quick: bool) -> np.ndarray:
    """All its runs, from a file of an earlier call, `(S, T, *shape)`."""
    return np.asarray(setup.trajectories(to=RUNS / f"{setup.name}-reduced{'-quick' * quick}")[:])


def window(report: Report, quick: bool) -> None:
    """Runs of neighbouring Reynolds numbers over time."""
    setup = replace(small(kolmogorov(), quick), first=0, every=25, steps=300)
    u, x, parts = setup.parameters(), setup.trajectories(), setup.split()
    few = tuple(len(parts.train) // k for k in (1, 2, 4))
    report.section(
        "Kolmogorov flow, 64^2: what runs of other Reynolds numbers say, by step",
        "The published window is 100-300. Spread: rms of test runs about their mean, over the rms "
        "of the flow. Then errors of test runs between training runs, %: of the straight line "
        f"between neighbours among {few[0]} runs, and of the cubic spline in Re through {few}.",
        ("step", "spread / norm", f"line, {few[0]}", *(f"spline, {s}" for s in few)),
    )
    known = u[parts.train]
    low, high = known[: few[2]].min(), known[: few[2]].max()
    inside = parts.test[(u[parts.test, 0] > low) & (u[parts.test, 0] < high)]
    truth, apart = x[inside], setup.relative(x[parts.test].mean(0), x[parts.test], 0)
    guesses = [between(known[:, 0], x[parts.train], u[inside, 0])]
    guesses += [InterpolatedRuns(known[:s], x[parts.train][:s])(u[inside]) for s in few]
    errors = [setup.relative(g, truth, 0) for g in guesses]
    for k in range(2, setup.times, 2):
        told = (round(100 * float(e[k]), 2) for e in errors)
        report.row(25 * k, round(float(apart[k]), 3), *told)
    starts(report, quick)
    late = slice(4, None)  # steps 100 to 300
    states = x[:, late].reshape(len(u), -1, int(np.prod(setup.shape)))
    report.section(
        "Kolmogorov flow, window 100-300: floor of POD",
        "Per cent, of test runs and of the training runs that the modes were made of (every 25 "
        "steps).",
        ("modes", "test", "training"),
    )
    most = min(512, states[parts.train].shape[0] * states.shape[1])
    pod = POD.fit(states[parts.train].reshape(-1, states.shape[-1]), most)
    for r in [r for r in (8, 32, 128, 256, 512) if r <= most]:
        report.row(
            r, *(_floor(setup, pod.truncated(r), states[i]) for i in (parts.test, parts.train))
        )


def between(known: np.ndarray, runs: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The straight line between the two neighbours of each u."""
    order = np.argsort(known)
    right = np.searchsorted(known[order], u)
    a, b = order[right - 1], order[right]
    share = ((u - known[a]) / (known[b] - known[a]))[(...,) + (None,) * (runs.ndim - 1)]
    return (1 - share) * runs[a] + share * runs[b]


def starts(report: Report, quick: bool) -> None:
    """Two Reynolds numbers a spacing of training runs apart, from other initial flows."""
    report.section(
        "Reynolds numbers 1000 and 1008.3: relative difference, %",
        "A spacing of 120 training runs apart, from other random initial flows (seeds of "
        "`numpy.random.default_rng`), and at 150^2 as published.",
        ("points", "initial flow", "step 100", "step 200", "step 250", "step 300"),
    )
    pair = np.array([[1000.0], [1000 + 1000 / 120]])
    published = () if quick else (42,)
    for whole, seeds in ((kolmogorov(), (42, 0, 1, 2, 3, 4)), (kolmogorov("paper"), published)):
        setup = replace(whole, first=0, every=50, steps=300)
        for seed in seeds:
            flow = setup.model(pair).random_flow(np.random.default_rng(seed))
            one = replace(setup, start=lambda u, flow=flow: np.stack(len(u) * [flow]))
            x = one.trajectories(pair)
            e = setup.relative(x[:1], x[1:], 0)
            report.row(
                f"{setup.shape[-1]}^2", seed, *(round(100 * float(e[k]), 1) for k in (2, 4, 5, 6))
            )


def floors(report: Report, quick: bool) -> None:
    """What POD leaves out, and what interpolation in the parameter gives."""
    for name in CASES:
        setup = small(CASES[name](), quick)
        u, parts = setup.parameters(), setup.split()
        x = made(setup, quick)
        n = int(np.prod(setup.shape))
        states = x.reshape(*x.shape[:2], n)
        scale = np.repeat(np.asarray(setup.rms, "float32"), n // len(setup.rms))
        most = min(512, len(parts.train) * setup.times)
        pod = POD.fit(states[parts.train], most, scale=scale)
        report.section(
            f"{name}: floor of POD",
            f"Error of test runs, %, modes of {len(parts.train)} training runs.",
            ("modes", "test"),
        )
        for r in [r for r in (8, 16, 32, 64, 128, 192, 256, 384, 512) if r <= most]:
            report.row(r, _floor(setup, pod.truncated(r), states[parts.test]))
        kind = "cubic spline" if setup.p == 1 else "radial cubics"
        report.section(
            f"{name}: interpolation of the training runs in the parameter ({kind}), no network",
            "Error, %, of test runs: all times, the first and the last one, the median and the "
            f"worst run. Alone, and on {min(256, most)} POD coefficients of all training runs.",
            ("training runs", "POD", "all times", "first", "last", "median run", "worst run"),
        )
        coder = pod.truncated(min(256, most))
        every = [k for k in (1, 2, 4, 8) if len(parts.train) // k >= 8]
        for k in every:
            chosen = parts.train[: len(parts.train) // k]
            for c in (None, coder) if k == 1 else (None,):
                known = states[chosen] if c is None else c.encode(states[chosen])
                guess = InterpolatedRuns(u[chosen], known, c)(u[parts.test])
                guess = guess.reshape(x[parts.test].shape)
                told = told_of(setup, guess, x[parts.test])
                report.row(len(chosen), "-" if c is None else c.r, *told)


def told_of(setup: SetUp, estimate: Any, truth: Any) -> list[float]:
    """All times, first, last; median and worst run: relative errors in per cent."""
    by_time, by_run = (setup.relative(estimate, truth, a) for a in (0, -1))
    found = (
        setup.relative(estimate, truth),
        by_time[0],
        by_time[-1],
        np.median(by_run),
        max(by_run),
    )
    return [float(f"{100 * e:.3g}") for e in found]


def _floor(setup: SetUp, pod: POD, states: np.ndarray) -> float:
    fields = (*states.shape[:-1], *setup.shape)
    back = pod.decode(pod.encode(states))
    return float(f"{100 * setup.relative(back.reshape(fields), states.reshape(fields)):.3g}")


SECTIONS = {
    "window": window,
    "floors": floors,
    "full": full,
    "cost": cost,
    **PUBLISHED,
    **LATENT,
    **STARTS,
    "updates": updates,
}


def main() -> None:
    """Run the chosen sections and write the report."""
    options = parser("ld_ensf", __doc__, tuple(SECTIONS)).parse_args()
    run("ld_ensf", "LD-EnSF: set-ups, rivals, cost", options, SECTIONS)


if __name__ == "__main__":
    main()
