"""VIVID beside 3D-Var with the same B, the network alone, and simpler rivals.

Settings were chosen on the validation runs (`cases.vivid_rivals`): the network by its error there,
three times a diagonal P, the length of kriging and the radius of the LETKF. Sensors, background
and noise of each draw have seeds that nothing else uses. A failure is an error above half of the
background's, 0.39.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dalearn.array import Purpose, generator
from dalearn.cases import vivid_rivals as ways
from dalearn.cases import vivid_runs as case
from dalearn.neural import voronoi

from .common import Report

DRAWS, STEP, FAILED, FIRST = 20, 4000, case.PRIOR / 2, 5000
COLUMNS = ("method", "mean", "median", "SSIM", "failures", "iterations", "less 3D-Var")
Way = Callable[[Any], ways.Estimate]


def all_ways(count: int, noise: float = 0.0) -> dict[str, Way]:
    """What is compared, by name."""
    found: dict[str, Way] = {
        "background": ways.prior,
        "3D-Var, small B": ways.small_b,
        "3D-Var": ways.var3d,
        "kriging": ways.kriging,
        "LETKF": ways.letkf,
        "network alone": ways.network,
        "3D-Var from the network": lambda p: ways.on_network(p, count, noise),
    }
    for factor in (0.1, 1.0, 3.0, 10.0):
        name = f"VIVID, {factor:g} P"
        found[name] = lambda p, f=factor: ways.both(p, count, noise, factor=f)
    found["VIVID, P correlated"] = lambda p: ways.both(p, count, noise, correlated=True)
    return found


def drawn(
    table: dict[str, Way],
    count: int,
    draws: int,
    step: int = STEP,
    noise: float = 0.0,
    place: Callable = case.sensors,
) -> dict[str, np.ndarray]:
    """Error, SSIM and iterations of each way and draw, `(draws, 3)`; `place(count, rng)`."""
    truth = case.runs("test")[0, case.frame(step)]
    found: dict[str, list[Any]] = {name: [] for name in table}
    for d in range(draws):
        seed = FIRST + d
        where = place(count, generator(Purpose.TEST, 41, seed))
        problem = case.problem(truth, where, noise=noise, seed=seed)
        for name, way in table.items():
            x, iterations = way(problem)
            line = (case.relative(x, truth), case.similarity(x, truth), iterations or np.nan)
            found[name].append(line)
    return {name: np.array(v, float) for name, v in found.items()}


def middle(values: np.ndarray, f: Any = np.mean, sign: str = "") -> str:
    """A mean or median with 95 % over the draws, bootstrapped."""
    pick = generator(Purpose.TEST, 42).integers(len(values), size=(4000, len(values)))
    low, high = np.quantile(f(values[pick], axis=1), (0.025, 0.975))
    return f"{f(values):{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def rows(report: Report, found: dict[str, np.ndarray], *before: Any) -> None:
    """A row for each way, which begins with `before`."""
    base = found["3D-Var"][:, 0]
    for name, v in found.items():
        e = v[:, 0]
        apart = "-" if name == "3D-Var" else middle(e - base, sign="+")
        steps = None if np.isnan(v[:, 2]).all() else round(float(np.nanmean(v[:, 2])))
        failed = f"{int((e > FAILED).sum())} of {len(e)}"
        ssim = round(float(v[:, 1].mean()), 3)
        report.row(*before, name, middle(e), middle(e, np.median), ssim, failed, steps, apart)


def note(draws: int, noise: str = "no noise") -> str:
    """What stands above a table."""
    return (
        f"Relative error of u at step {STEP} of the test run (6, 0.2); {draws} draws of jittered "
        f"sensors and of the background, the same for all, {noise}. In brackets 95 % over the "
        "draws. 'less 3D-Var': the difference in pairs, negative where the method is better. "
        f"A failure: above {FAILED:.2f}. {ways.audited()}."
    )


def counts_of(report: Report, quick: bool, counts: tuple[int, ...]) -> None:
    draws = 2 if quick else DRAWS
    for count in counts:
        report.section(f"VIVID: {count} sensors of 2500", note(draws), COLUMNS)
        rows(report, drawn(all_ways(count), count, draws))


def table(report: Report, quick: bool) -> None:
    """The published number of sensors and a quarter of it."""
    counts_of(report, quick, (100, 25))


def more(report: Report, quick: bool) -> None:
    """Other numbers of sensors."""
    counts_of(report, quick, (50, 200))


def noisy(report: Report, quick: bool) -> None:
    """Errors against noise, in standard deviations of the data, with 100 sensors."""
    draws, levels = (2, (0.1, 0.3)) if quick else (DRAWS, (0.05, 0.1, 0.2, 0.3))
    keep = ("background", "3D-Var", "network alone", "VIVID, 3 P")
    report.section(
        "VIVID: 100 sensors, noise",
        note(draws, "noise in standard deviations of the data over the field, which R knows"),
        ("method", *(f"noise {s:g}" for s in levels)),
    )
    found = []
    for level in levels:
        some = {k: v for k, v in all_ways(100, level).items() if k in keep}
        found.append(drawn(some, 100, draws, noise=level))
    for name in keep:
        report.row(name, *(middle(f[name][:, 0]) for f in found))
    apart = [middle(f["VIVID, 3 P"][:, 0] - f["3D-Var"][:, 0], sign="+") for f in found]
    report.row("VIVID, 3 P, less 3D-Var", *apart)


def networks(report: Report, quick: bool) -> None:
    """The networks alone, and VIVID with each."""
    draws = 2 if quick else 10
    report.section(
        "VIVID: three networks, 100 sensors",
        note(draws),
        ("network", "alone", "VIVID, 3 P", "less 3D-Var"),
    )
    for name in ("unet", "masked", "plain"):
        some: dict[str, Way] = {
            "3D-Var": ways.var3d,
            "alone": lambda p, name=name: ways.network(p, name),
            "both": lambda p, name=name: ways.both(p, 100, factor=3.0, name=name),
        }
        found = {k: v[:, 0] for k, v in drawn(some, 100, draws).items()}
        apart = middle(found["both"] - found["3D-Var"], sign="+")
        report.row(name, middle(found["alone"]), middle(found["both"]), apart)


def images(report: Report, quick: bool) -> None:
    """How long an image takes."""
    report.section(
        "Voronoi images",
        "Milliseconds of CPU for one image, one core: the least of 20; sensors at random places.",
        ("grid", "sensors", "plane", "torus"),
    )
    for n, count in ((50, 100), (200, 1000)):
        at = generator(Purpose.TEST, 43).choice(n * n, count, replace=False)
        at = np.stack((at // n, at % n), -1)
        row = []
        for periodic in (False, True):
            seconds = []
            for _ in range(3 if quick else 20):
                start = time.process_time()
                voronoi(np.ones(count), at, (n, n), periodic=periodic)
                seconds.append(time.process_time() - start)
            row.append(round(1e3 * min(seconds), 2))
        report.row(f"{n} x {n}", count, *row)


SECTIONS = {
    "vivid": table,
    "vivid_more": more,
    "vivid_noise": noisy,
    "vivid_networks": networks,
    "vivid_voronoi": images,
}
