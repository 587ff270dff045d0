"""VIVID in modes, beside optimal interpolation, in other units, at other places and other times.

The draws and settings are those of `inversion_vivid`. What is chosen here, the multiple of P of
VIVID-POD, is chosen on the validation runs, in the first table.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from dalearn.array import Purpose, generator
from dalearn.cases import vivid, vivid_runs
from dalearn.cases import vivid_rivals as ways
from dalearn.methods import LBFGS, VIVID, Var3D
from dalearn.methods.learned.vivid import Incommensurate

from .common import Report
from .inversion_vivid import COLUMNS, DRAWS, STEP, Way, drawn, middle, note, rows

IN_MODES = 1000.0  # of P of VIVID-POD, the least mean error of the first table
FACTORS, COUNTS, TIMES = (1.0, 10.0, 100.0, 1000.0), (25, 50, 100, 200), (2000, 4000, 6000)


def in_modes(count: int, factor: float = IN_MODES, runs: tuple[int, ...] = (0, 1)) -> Way:
    """VIVID-POD."""
    return lambda p: ways.in_modes(p, count, with_network=True, factor=factor, runs=runs)


def chosen(report: Report, quick: bool) -> None:
    """The multiple of P of VIVID-POD: errors on the validation runs."""
    draws, times = (1, (STEP,)) if quick else (3, TIMES)
    report.section(
        "VIVID-POD: multiples of P, validation runs",
        f"Mean relative error of u on each validation run with the P of the other one, at the "
        f"steps {times}, {draws} draws each. P measured on the very run that is analysed would "
        "choose itself.",
        ("sensors", *(f"{f:g} P" for f in FACTORS)),
    )
    for count in (25, 100):
        errors = []
        for run, seed in product((0, 1), range(900, 900 + draws * len(times))):
            truth = vivid_runs.runs("validation")[run, vivid_runs.frame(times[seed % len(times)])]
            where = vivid_runs.sensors(count, generator(Purpose.TEST, 44, seed))
            p = vivid_runs.problem(truth, where, seed=seed)
            states = [in_modes(count, f, (1 - run,))(p).state for f in FACTORS]
            errors.append(vivid_runs.relative(np.stack(states), truth))
        report.row(count, *np.round(np.mean(errors, axis=0), 3))


def projected(p: Any) -> ways.Estimate:
    """The truth itself, in 100 modes."""
    pod = vivid.pod()
    return ways.Estimate(pod.decode(pod.encode(np.asarray(p.truth)))[0])


def modes(report: Report, quick: bool) -> None:
    """VIVID-POD and optimal interpolation."""
    draws = 2 if quick else DRAWS
    report.section(
        "VIVID: in 100 modes, and optimal interpolation",
        note(draws) + " 'Optimal interpolation': one analysis with H linearised about the "
        "background. 'In modes': 3D-Var of the coefficients of 100 modes of the training runs, B "
        "that of the background there. 'Truth in modes': what these modes hold of the truth.",
        ("sensors", *COLUMNS),
    )
    for count in COUNTS:
        found: dict[str, Way] = {
            "3D-Var": ways.var3d,
            "optimal interpolation": ways.linear,
            "truth in modes": projected,
            "3D-Var in modes": lambda p, m=count: ways.in_modes(p, m, with_network=False),
            "VIVID-POD, 1 P": in_modes(count, 1.0),
            f"VIVID-POD, {IN_MODES:g} P": in_modes(count),
            "VIVID, 3 P": lambda p, m=count: ways.both(p, m, factor=3.0),
        }
        rows(report, drawn(found, count, draws), count)


def published(count: int) -> dict[str, Way]:
    """B of variance 1000 and R = 1 for a field of size 0.01, and P of true size or in scale."""
    net = vivid.vivid("unet", count, correlated=False)

    def told(p: Any, method: Any = None) -> ways.Estimate:
        scale = vivid_runs.RATIO / float(p.prior.cov.variance()[0])
        B = vivid_runs.background_errors(np.asarray(p.truth)[0])
        B = replace(B, std=vivid_runs.RATIO**0.5)
        p = replace(p, observation=replace(p.observation, noise=np.ones(count)))
        # the cost is smaller by the scale, its gradient in units of B^1/2 by the root of it
        inner = Var3D(B, solver=LBFGS(400, tolerance=ways.SOLVER.tolerance / scale**0.5))
        if method is None:
            return ways.analysed(inner, p)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Incommensurate)  # which is what is shown
            return ways.analysed(replace(net, method=inner, inflation=method(scale)), p)

    return {
        "3D-Var": ways.var3d,
        "3D-Var, B = 1000, R = 1": told,
        "network alone": ways.network,
        "VIVID, B = 1000, P as measured": lambda p: told(p, lambda scale: 1.0),
        "VIVID, B = 1000, P in its scale": lambda p: told(p, lambda scale: scale),
        "VIVID, 1 P": lambda p: ways.both(p, count),
    }


def units(report: Report, quick: bool) -> None:
    """P in units of the field beside a B that is not."""
    draws = 2 if quick else DRAWS
    report.section(
        "VIVID: units of B",
        note(draws) + " The published B, of variance 1000, and R = 1; P as it is measured, or "
        "multiplied as B is. 'From the network': the difference to the network's field, relative "
        "to the truth.",
        ("sensors", "method", "mean", "median", "from the network"),
    )
    truth = vivid_runs.runs("test")[0, vivid_runs.frame(STEP)]
    for count in (25, 100):
        table = published(count)

        def kept(way: Way, into: list) -> Way:
            def kept_way(p: Any) -> ways.Estimate:
                found = way(p)
                into.append(found.state - ways.network(p).state)
                return found

            return kept_way

        apart: dict[str, list] = {name: [] for name in table}
        found = drawn({n: kept(w, apart[n]) for n, w in table.items()}, count, draws)
        for name, v in found.items():
            far = np.linalg.norm(np.stack(apart[name]), axis=-1) / np.linalg.norm(truth)
            report.row(count, name, middle(v[:, 0]), middle(v[:, 0], np.median), middle(far))


def one_half(count: int, rng: np.random.Generator) -> np.ndarray:
    """Sensors in random cells of the left half."""
    n = vivid_runs.N
    at = rng.choice(n * n // 2, count, replace=False)
    return np.stack((at // (n // 2), at % (n // 2)), -1)


@cache
def measured(count: int, place: Any) -> VIVID:
    """VIVID with a diagonal P of sensors that stand like these, on the validation runs."""

    def draw(states: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        where = np.stack([place(count, rng) for _ in states])
        return vivid_runs.said(states, where, 0.0, rng), where

    start = VIVID(vivid.trained(), np.ones(vivid_runs.N**2))
    states = vivid_runs.runs("validation")[:, ::8]
    return start.measured(draw, states, draws=2, correlated=False, seed=1)


def placed(count: int, place: Any) -> Way:
    """VIVID with three times this P."""
    method = Var3D("prior", solver=ways.SOLVER)
    return lambda p: ways.analysed(
        replace(measured(count, place), method=method, inflation=ways.INFLATION), p
    )


def usual(count: int) -> dict[str, Way]:
    """What is compared at other places and times."""
    return {
        "background": ways.prior,
        "3D-Var": ways.var3d,
        "network alone": ways.network,
        "VIVID, 3 P": lambda p: ways.both(p, count, factor=3.0),
    }


def places(report: Report, quick: bool) -> None:
    """Sensors in one half."""
    draws = 2 if quick else DRAWS
    report.section(
        "VIVID: sensors in one half",
        note(draws).replace("jittered sensors", "sensors in random cells of the left half")
        + " 'VIVID, 3 P' has the P of jittered sensors; 'own P' is measured, on the validation "
        "runs, with sensors that stand like these, and times 3 too.",
        ("sensors", *COLUMNS),
    )
    for count in (25, 100):
        found = usual(count) | {"VIVID, own P": placed(count, one_half)}
        rows(report, drawn(found, count, draws, place=one_half), count)


def mirrored(report: Report, quick: bool) -> None:
    """The network reads mirrored places, H is right."""
    draws = 2 if quick else DRAWS
    report.section(
        "VIVID: mirrored places",
        note(draws) + " Values are those of the true places and H is right; but the places that "
        "the network and the distances of P are told are mirrored, column j as 49 - j.",
        ("sensors", *COLUMNS),
    )
    for count in (25, 100):
        found: dict[str, Way] = {
            n: lambda p, w=w: w(vivid_runs.mirrored(p)) for n, w in usual(count).items()
        }
        rows(report, drawn(found, count, draws), count)


def times(report: Report, quick: bool) -> None:
    """Other times of the test run."""
    draws = 2 if quick else DRAWS
    report.section(
        "VIVID: other times of the test run",
        note(draws).replace(f"step {STEP}", "steps 2000 and 6000"),
        ("step", "sensors", *COLUMNS),
    )
    for step in (2000, 6000):
        for count in (25, 100):
            rows(report, drawn(usual(count), count, draws, step), step, count)


def others(report: Report, quick: bool) -> None:
    """Other methods and other units."""
    for part in (chosen, modes, units):
        part(report, quick)


def elsewhere(report: Report, quick: bool) -> None:
    """Other places."""
    for part in (mirrored, places):
        part(report, quick)


SECTIONS = {"vivid_others": others, "vivid_places": elsewhere, "vivid_times": times}
