"""Part of `benchmarks.inversion`: three errors of protocol, rebuilt, and what the audit says.

An evaluation that begins at the truth (as in the released code of FlowDAS), data that hold the
truth where nothing was observed (found and repaired in 4dvarnet-fm), and windows of one run on
both sides of a split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import dalearn as da
from dalearn.cases import lorenz63_fourdvarnet as windows
from dalearn.cases import lorenz63_sda as sda

from .common import Report
from .inversion_rivals import MEMBERS, first_guess
from .inversion_rivals import windows as problem_of

COLUMNS = ("protocol", "method", "RMSE", "what the audit says")
STEPS, PARTICLES = 15, 4096


def arctan(x: Any) -> Any:
    """arctan of x, in units of its deviation."""
    return da.array.array_namespace(x).atan(x[..., :1] / float(sda.UNIT[0]))


def said(found: Any) -> str:
    """The errors of an audit, or its doubts, or that it passed."""
    return "; ".join((*found.errors, *found.doubts)) or "passed"


def starts(report: Report, quick: bool) -> None:
    """15 steps from the truth, and from the climatology: free run and particle filter."""
    chains = sda.chains()
    rows = chains["validation"].reshape(-1, 3)
    climate = da.Gaussian(rows.mean(0), da.Dense(np.cov(rows.T)))
    x = chains["test"][: 8 if quick else 64, : STEPS + 1]
    report.section(
        "An evaluation that begins at the truth",
        f"{len(x)} test chains of Lorenz-63, {STEPS} steps of 0.025 with noise, arctan of x seen "
        "after each with errors of 0.25; RMSE in units of (8, 9, 8.6), over all steps. The free "
        f"run is the mean of {PARTICLES} members without data.",
        COLUMNS,
    )
    noise = da.Diagonal(sda.DT * np.ones(3))
    see = da.Observation(arctan, da.Diagonal([0.25**2]))
    rng = da.array.generator(da.array.Purpose.TEST, 64)
    y = arctan(x[:, 1:]) + 0.25 * rng.standard_normal((*x[:, 1:].shape[:2], 1))
    for name, prior in (("from the truth", da.Point(x[:, 0])), ("from the climatology", climate)):
        problem = da.Problem(da.Lorenz63(dt=sda.DT), see, prior, y, noise=noise, truth=x[:, 1:])
        unseen = replace(problem, data=np.full_like(y, np.nan))
        free, filtered = (
            da.assimilate(p, da.ParticleFilter(PARTICLES), progress=False)["mean"]
            .sel(stage="analysis")
            .values
            for p in (unseen, problem)
        )
        first = np.broadcast_to(problem.prior.mean, x[:, 0].shape)
        found = da.audit(
            start=first,
            truth=x,
            free=np.concatenate((first[:, None], free), 1),
            analysis=np.concatenate((first[:, None], filtered), 1),
        )
        for label, states in (("free run", free), ("particle filter", filtered)):
            error = (((states - x[:, 1:]) / sda.UNIT) ** 2).mean() ** 0.5
            report.row(name, label, f"{error:.3f}", said(found))


def masks(report: Report, quick: bool) -> None:
    """Data that hold the truth where nothing was observed."""
    problem = problem_of("test", "all")
    data, truth = np.asarray(problem.data), problem.truth
    leaky = np.where(np.isfinite(data), data, truth)
    report.section(
        "Data that hold the truth where nothing was observed",
        "The test windows of 4DVarNet: seven of eight states are not observed. Leaked: the truth "
        "stands there, and the method takes it for data.",
        COLUMNS,
    )
    methods: dict[str, Callable] = {
        "interpolation": first_guess,
        f"EnKS, {MEMBERS} members": lambda p: (
            da.assimilate(p, da.EnKS(MEMBERS), progress=False)["mean"].sel(stage="smoothed").values
        ),
        "4DVarNet": lambda p: windows.trained("all").trajectory(p.validated()),
    }
    for name, y in (("as observed", data), ("leaked", leaky)):
        found = da.audit(truth=truth, data=np.nan_to_num(y), seen=np.isfinite(data))
        for label, method in methods.items():
            error = ((method(replace(problem, data=y)) - truth) ** 2).mean() ** 0.5
            report.row(name, label, f"{error:.3f}", said(found))


def splits(report: Report, quick: bool) -> None:
    """Windows of one run dealt to training and test, and windows dealt by run."""
    count = 200 if quick else 2000
    x0 = windows.windows("validation")[0, 0, 0]
    long = da.trajectory(da.Lorenz63(), x0, windows.LENGTH + count - 1)
    patches = np.lib.stride_tricks.sliding_window_view(long, windows.LENGTH, 0).mT
    order = da.array.generator(da.array.Purpose.TEST, 65).permutation(len(patches))
    one = patches[order[:-100]], patches[order[-100:]]
    other = windows.windows("train")[:, :4].reshape(-1, windows.LENGTH, 3), one[1]
    by_run = other[0], windows.windows("test", 7)[:100, 0]
    report.section(
        "Windows of one run on both sides of a split",
        "The method is the nearest analogue: the training window whose noisy data are most like "
        "those of the test window gives its truth. Leaked: windows of 200 states of one run, one "
        "step apart, dealt at random; else by run.",
        COLUMNS,
    )
    for name, (train, test) in (("leaked", one), ("by run", by_run)):
        y = windows.observed(train, "all", 3)[:, :: windows.EVERY].reshape(len(train), -1)
        z = windows.observed(test, "all", 4)[:, :: windows.EVERY].reshape(len(test), -1)
        far = (y**2).sum(-1) - 2 * z @ y.T
        error = ((train[far.argmin(1)] - test) ** 2).mean() ** 0.5
        found = da.audit(train=train, test=test)
        report.row(name, f"analogue of {len(train)}", f"{error:.3f}", said(found))


def protocol(report: Report, quick: bool) -> None:
    """All three."""
    starts(report, quick)
    masks(report, quick)
    splits(report, quick)


PROTOCOL: dict[str, Callable] = {"rivals_protocol": protocol}
