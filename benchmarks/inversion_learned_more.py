"""Part of `benchmarks.inversion`: more beside learned 4D-Var, in the windows of its sections.

The windows are those of `learned_windows` and `learned_coda`, with their seeds, so that rows can
be compared. What has settings is tuned in validation windows of the same kind, never in these.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import dalearn as da
from dalearn.cases import learned_4dvar as case
from dalearn.cases import learned_4dvar_networks as nets

from . import inversion_learned as first
from .common import Report
from .inversion_learned import CODA_COUNT, COUNT, audited, drawn, errors, lost, median, told
from .inversion_learned_prior import RATES, chosen, descents
from .inversion_learned_rivals import carried, smoothed

MEMBERS = 40
VALID, RADII, INFLATIONS = 20, (1.5, 3.0, 6.0, 12.0), (1.0, 1.05)
FULL: dict[str, Any] = {}  # settings of trainings
SMALL: dict[str, Any] = {"count": 200, "epochs": 1}
TENTH = [(5, 0.1, 1.0), (10, 0.1, 1.0), (40, 0.1, 1.0)]
PRIORS = [(5, 0.5, 1.0), (10, 0.5, 1.0), (20, 0.5, 1.0), (20, 0.1, 1.0)]
SEEDED = [*PRIORS[:3], (40, 0.5, 1.0), (20, 0.25, 1.0), PRIORS[3]]


def letkf(radius: float, inflation: float) -> da.LETKF:
    """The filter, whose members are drawn from the climatology."""
    ring = da.Localization.ring(case.N, radius)
    return da.LETKF(MEMBERS, localization=ring, inflation=inflation)


def tuned(valid: da.Problem, at: int) -> tuple[float, float]:
    """The radius and the inflation that err least at observation `at` of validation windows."""
    found: dict[Any, float] = {}
    truth: Any = valid.truth
    for radius in RADII:
        for inflation in INFLATIONS:
            x = smoothed(valid, letkf(radius, inflation), (at,))[1]
            found[radius, inflation] = float(errors(x, truth[:, at]).mean())
    return min(found, key=lambda k: found[k])


def filters(report: Report, quick: bool) -> None:
    """The LETKF in the windows of `learned_windows`."""
    report.section(
        "LETKF in the windows of learned 4D-Var",
        f"The {COUNT} test windows of `learned_windows`. {MEMBERS} members, drawn from the "
        "climatology at each window's start, as the other methods begin; radius and inflation "
        f"chosen by the error at the last observation in {VALID} validation windows a setting. "
        "A filter: its answer at the first observation knows the data of that time alone, and "
        "the one at the last observation knows the window.",
        ["times", "seen", "sigma", "first", "last", "last median", "last lost", "radius",
         "inflation"],
    )  # fmt: skip
    for times, share, sigma in first.SETTINGS[:1] if quick else first.SETTINGS:
        told_ = {"times": times, "share": share, "sigma": sigma}
        valid, _ = drawn(8 if quick else VALID, case.VALIDATION, seed=1, **told_)
        problem, _ = first.tested(times, share, sigma, 8 if quick else COUNT)
        best = tuned(valid, times - 1)
        _, start, end = smoothed(problem, letkf(*best), (0, -1))
        e, e1 = errors(start, problem.truth[:, 0]), errors(end, problem.truth[:, -1])
        report.row(times, f"{share:.0%}", sigma, told(e), told(e1), median(e1), lost(e1), *best)
    audited(report, problem)


def coda(report: Report, quick: bool) -> None:
    """CODA's loss with its consistency and without, by seeds of the training, and the LETKF."""
    count, quickly = (20, SMALL) if quick else (CODA_COUNT, FULL)
    t = {k: case.CODA[k] for k in ("times", "share", "sigma", "dt")}
    problem, _ = drawn(count, case.TEST, seed=2, **t)
    middle = case.CODA["at"] - 1
    truth = problem.truth[:, middle]
    report.section(
        "CODA's loss with and without its consistency",
        f"The {count} test windows of `learned_coda`, error of the state in the middle. The same "
        f"network and training ({nets.EPOCHS} epochs on {nets.WINDOWS} windows) with the weight "
        "alpha of the consistency, by seeds of weights and order; seed 0 with alpha = 0.5 is the "
        f"network of the package. LETKF: {MEMBERS} members from the climatology at the window's "
        f"start, tuned in {VALID} validation windows; in the middle it knows the data until then.",
        ["method", "seed", "middle", "median", "lost", "training, CPU s"],
    )
    for alpha, seed in ((0.5, 0), (0.0, 0), (0.0, 1)):
        begun, spent, method = time.process_time(), "-", nets.trained("coda")
        if not alpha:
            method = nets.fitted("coda", seed, consistency=alpha, **quickly)
            spent = round(time.process_time() - begun)
        e = errors(method.estimate(problem)[0][:, middle], truth)
        report.row(f"alpha = {alpha:g}", seed, told(e), median(e), lost(e), spent)
    valid, _ = drawn(8 if quick else VALID, case.VALIDATION, seed=1, **t)
    parts = [replace(p, data=p.data[:, : middle + 1], truth=None) for p in (valid, problem)]
    parts[0] = replace(parts[0], truth=valid.truth[:, : middle + 1])
    best = tuned(parts[0], middle)
    e = errors(smoothed(parts[1], letkf(*best), (middle,))[1], truth)
    report.row("LETKF", "-", told(e), median(e), lost(e), "-")
    report.after(f"LETKF: radius {best[0]:g}, inflation {best[1]:g}.")
    audited(report, problem, case.CODA["dt"])


def deep(report: Report, quick: bool) -> None:
    """The deep prior: an untrained network fitted to one window by the cost of 4D-Var."""
    report.section(
        "The deep prior on windows of Lorenz-96",
        f"The {COUNT} test windows of `learned_windows`. Deep prior: the start is the output of "
        "an untrained network of up-sampling convolutions with 9 400 weights, whose weights "
        "minimise the misfit of one window (Adam, each window anew). Descent: the same in the 40 "
        f"numbers themselves. Stop, and the network's rate, chosen in {VALID} validation windows "
        "a setting, by the true states. CPU seconds a window, of 40 at once, with all steps.",
        ["times", "seen", "sigma", "method", "first", "median", "lost", "rate", "stop", "CPU s"],
    )
    for times, share, sigma in PRIORS[:1] if quick else PRIORS:
        told_ = {"times": times, "share": share, "sigma": sigma}
        valid, x0 = drawn(8 if quick else VALID, case.VALIDATION, seed=1, **told_)
        problem, _ = first.tested(times, share, sigma, 8 if quick else COUNT)
        for kind in RATES:
            rate, stop = chosen(kind, valid, x0)
            starts, cpu = descents(kind, problem, rate)
            e = errors(carried(problem, starts[stop]).first, problem.truth[:, 0])
            report.row(
                times, f"{share:.0%}", sigma, kind, told(e), median(e), lost(e), rate, stop,
                round(cpu, 2),
            )  # fmt: skip
    audited(report, problem)


def seeds(report: Report, quick: bool) -> None:
    """The central network, trained with another seed."""
    quickly = SMALL if quick else FULL
    report.section(
        "Seeds of the training",
        "The network of `learned_windows` (seed 0 is the package's) trained with another seed of "
        f"weights and order, in the {COUNT} windows of that section, sigma = 1: error at the "
        "first observation.",
        ["times", "seen", "seed 0", "seed 1", "1 - 0, paired"],
    )
    begun = time.process_time()
    both = [nets.trained("sweep"), nets.fitted("sweep", 1, **quickly)]
    spent = round(time.process_time() - begun)
    for times, share, sigma in SEEDED[:1] if quick else SEEDED:
        problem, _ = first.tested(times, share, sigma, 8 if quick else COUNT)
        guesses = [carried(problem, m.estimate(problem)[0]).first for m in both]
        found = [errors(x, problem.truth[:, 0]) for x in guesses]
        report.row(times, f"{share:.0%}", *map(told, found), told(found[1] - found[0]))
    report.after(f"A training takes {spent} CPU seconds.")
    audited(report, problem)


def tenth(report: Report, quick: bool) -> None:
    """A tenth of the numbers seen, in windows of other lengths."""
    report.section(
        "A tenth of the numbers seen",
        f"As in `learned_windows` ({COUNT} windows), which has the row of 20 times.",
        first.COLUMNS,
    )
    for told_ in TENTH[:1] if quick else TENTH:
        problem = first.rows_of(report, *told_, 8 if quick else COUNT)
    audited(report, problem)


LEARNED_MORE = {
    "learned_letkf": filters,
    "learned_coda_more": coda,
    "learned_prior": deep,
    "learned_seeds": seeds,
    "learned_tenth": tenth,
}
