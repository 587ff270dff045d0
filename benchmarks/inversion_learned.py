"""Part of `benchmarks.inversion`: 4D-Var learned from observations, on windows of Lorenz-96.

Each window is a run of its own with a mask and errors of its own; test windows are new runs. The
networks of `cases.learned_4dvar_networks` have seen windows of all lengths, masks and errors at
once. An answer is judged at the window's first observation and at its last; it is lost where it
errs by more than half of climatology.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

import dalearn as da
from dalearn.array import Purpose, generator
from dalearn.cases import learned_4dvar as case
from dalearn.cases import learned_4dvar_networks as nets

from .common import Report, in_turn, ratio
from .inversion_learned_rivals import (
    Answer,
    carried,
    kriging,
    quasi_static,
    smoothed,
    var4d,
    variances,
)

SETTINGS = [  # observations, share seen, sigma
    (5, 0.5, 1.0), (10, 0.5, 1.0), (20, 0.5, 1.0), (40, 0.5, 1.0),
    (20, 1.0, 1.0), (20, 0.25, 1.0), (20, 0.1, 1.0), (40, 0.25, 1.0),
    (20, 0.5, 0.5), (20, 0.5, 2.0),
]  # fmt: skip
COUNT, CODA_COUNT, MEMBERS = 40, 200, 100
LOST = 0.5
COLUMNS = [
    "times", "seen", "sigma", "method", "first", "median", "lost", "last", "last median",
    "iterations", "local minima",
]  # fmt: skip


def drawn(count: int, part: int, **told: Any) -> tuple[Any, np.ndarray]:
    """Windows of the case and their starts."""
    return case.windows(count, part, **told)


def errors(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Root-mean-square errors of windows, `(S,)`."""
    return np.sqrt(((x - truth) ** 2).mean(-1))


def told(e: np.ndarray) -> str:
    """The mean over windows with its 95 % interval."""
    half = 1.96 * e.std(ddof=1) / len(e) ** 0.5
    return f"{e.mean():.3f} -+ {half:.3f}"


def median(e: np.ndarray) -> float:
    return round(float(np.median(e)), 3)


def lost(e: np.ndarray) -> str:
    """The share of windows whose error is more than half of climatology."""
    climate = float(case.climatology().cov.variance()[0]) ** 0.5
    return f"{(~(e < LOST * climate)).mean():.0%}"


@cache
def tested(times: int, share: float, sigma: float, count: int) -> tuple[Any, np.ndarray]:
    """Test windows, which nobody has chosen anything by."""
    return drawn(count, case.TEST, times=times, share=share, sigma=sigma, seed=1)


def audited(report: Report, problem: Any, dt: float = 0.05) -> None:
    """Say what `da.audit` finds of the splits and masks of an experiment."""
    parts = [
        drawn(c, part, times=len(problem), dt=dt)[0].truth[:, ::10]
        for c, part in ((1000, case.TRAIN), (500, case.VALIDATION))
    ]
    seen = np.isfinite(problem.data)
    filled = np.where(seen, problem.data, 0.0)  # as the network reads it
    found = da.audit(
        train=parts[0],
        validation=parts[1],
        test=problem.truth[:, ::10],
        truth=problem.truth,
        data=filled,
        seen=seen,
    ).check()
    report.after(f"Audit: {len(found.passed)} checks passed, {len(found.doubts)} doubts.")


def answers(problem: Any, x0: np.ndarray) -> dict[str, Answer]:
    """What each method says of the windows."""
    mean = np.broadcast_to(case.climatology().mean, x0.shape)
    guess = {name: nets.trained(name).estimate(problem)[0] for name in nets.NAMES[:3]}
    krige = Answer(kriging(problem, 0), kriging(problem, len(problem) - 1))
    run = smoothed(problem, da.EnKS(MEMBERS, inflation=1.02), (0, -1))
    return {
        "climatology": Answer(mean, mean),
        "kriging": krige,
        "EnKS of 100": Answer(*run[1:]),
        "4D-Var": var4d(problem)[0],
        "4D-Var without a background": var4d(problem, factor=1e4)[0],
        "4D-Var, quasi-static": quasi_static(problem),
        "learned": carried(problem, guess["sweep"]),
        "learned with a background": carried(problem, guess["gaussian"]),
        "supervised": carried(problem, guess["supervised"]),
        "4D-Var from learned": var4d(problem, guess=guess["sweep"])[0],
        "4D-Var from the truth": var4d(problem, guess=x0)[0],
    }


def rows_of(report: Report, times: int, share: float, sigma: float, count: int) -> da.Problem:
    """Rows of all methods in one setting, whose windows come back."""
    problem, x0 = tested(times, share, sigma, count)
    found = answers(problem, x0)
    own = [a for n, a in found.items() if a.cost is not None and "without" not in n]
    best = np.nanmin([a.cost for a in own], axis=0)
    for name, a in found.items():
        e, end = errors(a.first, problem.truth[:, 0]), errors(a.last, problem.truth[:, -1])
        solved = a.cost is not None
        same = solved and "without" not in name
        report.row(
            times, f"{share:.0%}", sigma, name, told(e), median(e), lost(e), told(end),
            median(end), round(float(a.iterations.mean()), 1) if solved else "-",
            f"{(~(a.cost < best + 1)).mean():.0%}" if same else "-",
        )  # fmt: skip
    return problem


def windows(report: Report, quick: bool) -> None:
    """Where a learned inversion beats 4D-Var with and without a background, and where not."""
    report.section(
        "Windows of Lorenz-96",
        f"{COUNT} test windows, one observation time a step of 0.05. Errors at the first and at "
        "the last observation, mean with 95 % interval over windows, median, share of windows "
        "that are lost (error above half of climatology). Iterations of Gauss-Newton, at most 20 "
        "(quasi-static: over all stages). Local minima: windows whose cost, with the background, "
        "is higher by 1 than the lowest that any start has found. 4D-Var from the truth is no "
        "method: it shows the cost's minimum nearby.",
        COLUMNS,
    )
    for told_ in SETTINGS[:1] if quick else SETTINGS:
        problem = rows_of(report, *told_, 8 if quick else COUNT)
    audited(report, problem)


def coda(report: Report, quick: bool) -> None:
    """CODA's set-up beside methods that use the same window."""
    count = 20 if quick else CODA_COUNT
    t = {k: case.CODA[k] for k in ("times", "share", "sigma", "dt")}
    problem, _ = drawn(count, case.TEST, seed=2, **t)
    middle = case.CODA["at"] - 1
    truth = problem.truth[:, middle]
    report.section(
        "CODA's windows",
        f"{count} test windows of 51 observation times at a step of 0.01, a quarter of the "
        "numbers seen, sigma = 1. Error of the state in the middle. Published (stochastic-CODA "
        "notebooks): CODA 0.41, without consistency 0.50, EnKS about 0.7, OI 2.7.",
        ["method", "middle", "median", "lost"],
    )
    method = nets.trained("coda")
    part = drawn(2 if quick else 40, case.TEST, seed=2, **t)[0]
    solver = da.GaussNewton(iterations=20)
    with np.errstate(all="ignore"):
        cost = da.Var4D(len(part), B="prior", solver=solver).cost(part)
        x = np.stack(solver(cost).states, -2)[..., 0, middle, :]
    mean = np.broadcast_to(case.climatology().mean, truth.shape)
    rows = {
        "climatology": mean,
        "kriging": kriging(problem, middle),
        "EnKS of 100": smoothed(problem, da.EnKS(MEMBERS, inflation=1.01), (middle,))[1],
        f"4D-Var, {len(part)} windows": x,
        "learned, CODA's loss": method.estimate(problem)[0][:, middle],
    }
    for name, x in rows.items():
        e = errors(x, truth if len(x) == len(truth) else part.truth[:, middle])
        report.row(name, told(e), median(e), lost(e))
    audited(report, problem, case.CODA["dt"])


def costs(report: Report, quick: bool) -> None:
    """What is counted in the cost, all else alike."""
    count, epochs = (200, 1) if quick else (6000, 6)
    report.section(
        "What the cost counts",
        f"The same network, {epochs} epochs on {count} windows of 5 to 40 times, in batches of "
        "128. Error of the start, mean over 200 test windows, sigma = 1.",
        ["cost", "10 times, 50 %", "40 times, 50 %", "10 times, 10 %", "40 times, 10 %"],
    )
    kinds = {
        "all 40 times": {"reach": 40},
        "the first 10": {"reach": 10},
        "the first 10, a fifth hidden": {"reach": 10, "hide": 0.2},
        "the first 10, a background": {"reach": 10, "background": 1.0},
    }
    for kind, told_ in kinds.items():
        method = nets.fitted("sweep", count=count, epochs=epochs, batch=128, **told_)
        row = []
        for share in (0.5, 0.1):
            for times in (10, 40):
                p, x0 = drawn(200, case.TEST, times=times, share=share, sigma=1.0, seed=4)
                row.append(told(errors(method.estimate(p)[0], x0)))
        report.row(kind, *row)
    audited(report, p)


def covered(E: np.ndarray, truth: np.ndarray) -> tuple[Any, ...]:
    """Error of the mean, spread, CRPS, share of truths within mean -+ 1.645 std: `E (S, N, n)`."""
    mean, std = E.mean(1), E.std(1, ddof=1)
    crps = da.diagnostics.crps_ensemble(np.moveaxis(E, 1, -1), truth)
    inside = np.abs(truth - mean) < 1.645 * std
    e = errors(mean, truth)
    return (
        told(e),
        round(float(np.sqrt((std**2).mean())), 3),
        told(np.asarray(crps).mean(-1)),
        f"{inside.mean():.0%}",
    )


def ensemble_of_4d_vars(problem: Any, members: int) -> np.ndarray:
    """4D-Var of disturbed data and backgrounds: members at the first observation, `(S, N, n)`."""
    rng = generator(Purpose.CASE, 44)
    shape = (members, *problem.data.shape)
    sigma = variances(problem) ** 0.5
    data = problem.data + sigma * rng.standard_normal(shape)
    prior = problem.prior
    mean = prior.mean + prior.cov.color(rng.standard_normal((members, len(problem.data), case.N)))
    one = replace(problem, data=data, prior=da.Gaussian(mean, prior.cov), truth=None)
    return np.moveaxis(var4d(one)[0].first, 0, 1)


def posterior(report: Report, quick: bool) -> None:
    """A learned mean-field posterior beside ensembles."""
    report.section(
        "Uncertainty",
        f"{COUNT} test windows, sigma = 1, the state at the first observation given the whole "
        "window: error of the mean, spread, CRPS, and how many truths lie within mean -+ 1.645 "
        "standard deviations (of a sharp Gaussian: 90 %).",
        ["times", "seen", "method", "error", "spread", "CRPS", "within 90 %"],
    )
    for times, share in ((5, 0.5),) if quick else ((10, 0.5), (10, 0.25), (20, 0.5)):
        problem, _ = tested(times, share, 1.0, 8 if quick else COUNT)
        method = nets.trained("gaussian", members=MEMBERS)
        first = {"learned Gaussian": method, "EnKS of 100": da.EnKS(MEMBERS, inflation=1.02)}
        for name, m in first.items():
            run = smoothed(problem, m, ())[0]
            stage = "smoothed" if "smoothed" in run.stage else "analysis"
            E = run["members"].sel(stage=stage).isel(time=0)
            E = E.transpose(..., "member", "x").values
            report.row(times, f"{share:.0%}", name, *covered(E, problem.truth[:, 0]))
        if times <= 10:
            E = ensemble_of_4d_vars(problem, 2 if quick else 16)
            row = covered(E, problem.truth[:, 0])
            report.row(times, f"{share:.0%}", "16 4D-Vars", *row)
    audited(report, problem)


def cost(report: Report, quick: bool) -> None:
    """CPU time of a window, batched."""
    report.section(
        "Cost of a window",
        "CPU seconds a window in a batch of 64, one thread, both sides in turn; the network's "
        "answer is carried through the window by the model.",
        ["times", "4D-Var, ms", "learned, ms", "ratio", "range"],
    )
    method, count = nets.trained("sweep"), 4 if quick else 64
    for times in (5,) if quick else (10, 20):
        problem, _ = drawn(count, case.TEST, times=times, share=0.5, sigma=1.0, seed=3)
        sides = {
            "4D-Var": lambda p=problem: var4d(p),
            "learned": lambda p=problem: carried(p, method.estimate(p)[0]),
        }
        seconds = in_turn(sides, 1 if quick else 3)
        each = [1e3 * float(np.median(v)) / count for v in seconds.values()]
        middle, span = ratio(seconds["4D-Var"], seconds["learned"], 0)
        report.row(times, round(each[0], 2), round(each[1], 3), middle, span)
    audited(report, problem)


SECTIONS = {
    "learned_windows": windows,
    "learned_coda": coda,
    "learned_costs": costs,
    "learned_posterior": posterior,
    "learned_cost": cost,
}
