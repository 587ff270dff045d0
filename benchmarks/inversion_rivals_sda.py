"""Part of `benchmarks.inversion`: SDA on Lorenz-63 beside particles.

The published set-up (`cases.lorenz63_sda`), on test chains. The distance of two sets of
trajectories depends on how many there are: that of two sets of particles, of as many, is the
least that can be reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import dalearn as da
from dalearn.array import Purpose, generator
from dalearn.cases import lorenz63_sda as case
from dalearn.diagnostics import crps_ensemble

from .common import Report

SAMPLES, CORRECTIONS, CHAINS = 128, (0, 1, 4, 16), 1
FEWER = 64  # samples, where the start of the particles is looked at
OTHERS = (1, 2)  # other trajectories, with 16
FALL = ((0, 47.0), (1, 13.0), (2, 10.0), (4, 8.0), (8, 7.0), (16, 6.0))
PUBLISHED = {  # W1 of 1024 samples, means over 64 trajectories, read off a figure, +-5-10 %
    ("lo", "particles, other seed"): 5.0,
    ("hi", "particles, other seed"): 6.5,
    **{("lo", f"SDA, C = {c}"): w for c, w in FALL},
    **{("hi", f"SDA, C = {c}"): w for c, w in ((0, 27.0), (1, 12.0), (16, 8.0))},
}
COLUMNS = (
    *("data", "method", "W1", "each", "published W1", "log p(x | x_1)"),
    *("log p(y | x)", "CPU s for 64 samples"),
)


@cache
def truths(count: int) -> np.ndarray:
    """The first 65 states of so many test chains."""
    return case.chains()["test"][:count, : case.LENGTH]


def audited(report: Report, count: int) -> None:
    """No chain on two sides, and no window that begins at the truth."""
    chains, truth = case.chains(), truths(count)
    problem = case.problem(truth, "lo")
    first = problem.prior.sample(np.random.default_rng(0), count * 4).reshape(count, 4, 3)
    data = np.concatenate((np.asarray(problem.data), np.full((count, 65, 2), np.nan)), -1)
    parts: dict[str, Any] = {part: x[:, :65] for part, x in chains.items()}
    found = da.audit(
        **parts,
        start=first,
        truth=truth,
        data=np.nan_to_num(data),
        seen=np.isfinite(data),
    ).check()
    report.after(f"Audit: {'; '.join(found.passed)}; doubts: {len(found.doubts)}.")


def compared(
    report: Report, methods: dict[str, Callable], which: tuple[int, ...], samples: int
) -> None:
    """Rows of W1 to particles, log densities and cost, means over trajectories.

    Args:
        report: to it.
        methods: by name, `(problem, seed) -> trajectories`.
        which: numbers of the trajectories.
        samples: of each.
    """
    for system in case.SYSTEMS:
        table: dict[str, list[tuple[float, ...]]] = {}
        for i in which:
            problem: Any = case.problem(truths(i + 1)[i], system, seed=i).validated()
            known = case.reference(problem, samples, seed=i)
            for name, method in methods.items():
                begun = time.process_time()
                found = method(problem, i)
                seconds = (time.process_time() - begun) * 64 / samples
                measured = (case.wasserstein(found, known), case.log_prior(found))
                measured += (case.log_likelihood(found, problem, system), seconds)
                table.setdefault(name, []).append(measured)
                print(system, i, name, measured, flush=True)
        for name, rows in table.items():
            w, prior, fit, seconds = (list(v) for v in zip(*rows, strict=True))
            report.row(
                *(system, name, round(float(np.mean(w)), 1), ", ".join(f"{v:.1f}" for v in w)),
                *(PUBLISHED.get((system, name)), round(float(np.mean(prior)), 1)),
                *(round(float(np.mean(fit)), 1), float(f"{np.mean(seconds):.2g}")),
            )
    audited(report, max(which) + 1)


def particles(samples: int) -> dict[str, Callable]:
    """The reference with another seed: the least distance that as many samples can have."""
    return {"particles, other seed": lambda p, i: case.reference(p, samples, seed=100 + i)}


def drawn(corrections: int, samples: int) -> Callable:
    """Samples of SDA, `(problem, seed) -> trajectories`."""
    method = case.trained(members=samples, corrections=corrections)
    return lambda problem, seed: method.trajectories(problem, seed=seed)


def distances(report: Report, quick: bool) -> None:
    """W1 to the particles, log densities and cost, by the number of corrections."""
    samples, chains = (32, 1) if quick else (SAMPLES, CHAINS)
    report.section(
        f"SDA beside particles: {chains} trajectories, {samples} samples of each",
        "W1, raw units, to a particle smoother of 16 384 that begins with states of the climate "
        "(trajectories drawn backwards); mean "
        "over the trajectories, and each. Published: of 1024 samples, 64 trajectories, read "
        "off a figure. The network here is narrower (64, not 256). CPU time of one thread.",
        COLUMNS,
    )
    methods = particles(samples)
    methods["particles, ancestors"] = lambda p, i: case.ancestors(p, samples, seed=200 + i)
    for c in CORRECTIONS[: 2 if quick else None]:
        methods[f"SDA, C = {c}"] = drawn(c, samples)
    compared(report, methods, tuple(range(chains)), samples)


def chained(report: Report, quick: bool) -> None:
    """Other trajectories, as many corrections as were published."""
    samples, c = (32, 1) if quick else (SAMPLES, max(CORRECTIONS))
    report.section(
        f"SDA, other trajectories: {len(OTHERS)}, {samples} samples of each",
        "As rivals_sda, of the test chains behind the first.",
        COLUMNS,
    )
    methods = particles(samples) | {f"SDA, C = {c}": drawn(c, samples)}
    compared(report, methods, OTHERS, samples)


def starts(report: Report, quick: bool) -> None:
    """A reference whose first state is not of the law that the network learned."""
    samples, c = (32, 1) if quick else (FEWER, max(CORRECTIONS))
    report.section(
        f"Where particles begin: the second trajectory, hi, {samples} samples",
        "Particles that begin with the Gaussian of the climate's mean and covariance, and with "
        "states of the validation chains. SDA learned its first state from such chains. W1, raw "
        "units.",
        ("method", "W1 to particles from the Gaussian", "W1 to particles from the climate"),
    )
    problem: Any = case.problem(truths(2)[1], "hi", seed=1).validated()
    rows = case.chains()["validation"].reshape(-1, 3)
    who = generator(Purpose.TEST, 67).choice(len(rows), case.PARTICLES, replace=False)
    begun = {"Gaussian": problem.prior, "climate": da.Ensemble(rows[who])}
    known = [case.reference(problem, samples, first=b, seed=1) for b in begun.values()]
    sets = {
        f"particles from the {name}, other seed": case.reference(
            problem, samples, first=b, seed=101
        )
        for name, b in begun.items()
    }
    sets[f"SDA, C = {c}"] = drawn(c, samples)(problem, 1)
    for name, found in sets.items():
        report.row(name, *(round(case.wasserstein(found, to), 1) for to in known))
    audited(report, 2)


def spread(report: Report, quick: bool) -> None:
    """Whether samples are as wide as they should be, over more trajectories."""
    chains, samples = (2, 16) if quick else (8, 64)
    report.section(
        f"How sure: {samples} samples on {chains} trajectories, lo",
        "In units of (8, 9, 8.6), over all 65 states and three components: RMSE of the mean, the "
        "spread, the share of truths within the middle 90 % of the samples (of so many samples "
        "89 % would be right), CRPS; means over trajectories and their standard errors.",
        ("method", "RMSE", "spread", "covered", "CRPS"),
    )
    found: dict[str, list[tuple[float, ...]]] = {}
    for i, x in enumerate(truths(chains)):
        problem: Any = case.problem(x, "lo", seed=50 + i).validated()
        enks = da.assimilate(problem, da.EnKS(samples), seed=i, progress=False, keep=("members",))
        sets = {
            "particle smoother, 16 384": case.reference(
                problem, samples, first=problem.prior, seed=i
            ),
            "SDA, C = 1": case.trained(members=samples).trajectories(problem, seed=i),
            "SDA, C = 4": case.trained(members=samples, corrections=4).trajectories(
                problem, seed=i
            ),
            f"EnKS, {samples} members": np.moveaxis(
                enks["members"].sel(stage="smoothed").values, 1, 0
            ),
        }
        for name, E in sets.items():
            E, truth = E / case.UNIT, x / case.UNIT
            low, high = np.quantile(E, (0.05, 0.95), axis=0)
            crps = crps_ensemble(np.moveaxis(E, 0, -1), truth).mean()
            rmse = ((E.mean(0) - truth) ** 2).mean() ** 0.5
            wide = (E.var(0, ddof=1)).mean() ** 0.5
            inside = ((low <= truth) & (truth <= high)).mean()
            found.setdefault(name, []).append((rmse, wide, inside, float(crps)))
            print(name, found[name][-1], flush=True)
    for name, rows in found.items():
        values = np.array(rows)
        error = values.std(0, ddof=1) / len(values) ** 0.5
        pairs = zip(values.mean(0), error, strict=True)
        report.row(name, *(f"{m:.3f} +- {e:.3f}" for m, e in pairs))


SDA: dict[str, Callable] = {
    "rivals_sda": distances,
    "rivals_chains": chained,
    "rivals_starts": starts,
    "rivals_spread": spread,
}
