"""Part of `benchmarks.inversion`: neural incremental assimilation beside 4D-Var and particles.

Errors are those of whole trajectories in units of the training set's standard deviations: the
root mean square over all, the mean over trajectories of each one's own, with its 95 % interval,
and the median. A reconstruction has failed where its own is above 0.5.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from dalearn.cases import neural_incremental as cases
from dalearn.cases.neural_incremental_setup import SETUPS
from dalearn.neural import Regular

from . import inversion_incremental_parts as parts
from .common import Report
from .inversion_incremental_parts import COLUMNS, audited, cells, each, fields
from .inversion_incremental_rivals import WORSE, Variational, particles, variational
from .inversion_incremental_setups import EPOCHS, NEW, SEEDS, SYSTEMS, drawn, network

MAIN = "u1 at 4 times, spacing 8"


def lorenz(report: Report, name: str, count: int, some: int) -> None:
    """All ways on one test set of Lorenz-63."""
    fast = name == "lorenz63-025"
    net = cases.trained(name).net
    draw = Regular(32, 3, 8, NEW) if fast else SYSTEMS[MAIN]
    test = drawn(name, net, draw, count)
    where = "first times 2 and 5, which no training saw" if fast else "any first time"
    report.section(
        f"Lorenz-63, dt {SETUPS[name].model.dt:g}",
        f"{count} fresh trajectories, u1 at every eighth of 32 times, {where}. The particle "
        f"smoother runs on the first {some}, where the row below it has the best other way.",
        ("way", *COLUMNS),
    )
    with torch.no_grad():
        z = net.first(test.seen)
    rows: dict[str, torch.Tensor] = {"Gaussian first guess": z}
    if not fast:
        for way in ("none", "low-rank", "banded", "reads", "family"):
            rows[LABELS[way]] = fields(network(way), test)
            rows[f"{LABELS[way]}, 3 levels"] = fields(network(way), test, 3)
    rows["shipped network, one shot"] = fields(net, test)
    rows["shipped network, 3 levels"] = fields(net, test, 3)
    for label, start in (("Gaussian guess", z), ("network", rows["shipped network, 3 levels"])):
        rows[f"4D-Var without background, from the {label}"] = variational(
            name, net, test, start, background=False
        ).x
        rows[f"4D-Var with background, from the {label}"] = variational(name, net, test, start).x
    for label, x in rows.items():
        report.row(label, *cells(each(x, test)))
    best = "4D-Var with background, from the network"
    part = test.rows(some)
    report.row("particle smoother, 16384", *cells(each(particles(name, net, part), part)))
    report.row(f"{best}, the same", *cells(each(rows[best][:some], part)))
    if not fast:
        other = drawn(name, net, Regular(32, 3, 8, NEW), 1000, 21)
        for levels in (1, 3):
            told = cells(each(fields(network("family"), other, levels), other))
            report.after(
                f"{LABELS['family']}, at first times 2 and 5, which it has not seen, 1000 "
                f"trajectories, {levels} levels: RMSE {told[0]}, mean {told[1]}, median {told[2]}."
            )
    audited(report, name, test, z)


LABELS = {
    "none": "no solve (cold diffusion)",
    "low-rank": "precision I + L L^T of rank 5",
    "banded": "banded precision",
    "reads": "banded, and the network reads the data",
    "family": "banded, trained on this family, 6 of 8 first times",
    "family, none": "no solve, trained on this family",
}


def lorenz63(report: Report, quick: bool) -> None:
    """dt 0.05: the ways beside each other."""
    lorenz(report, "lorenz63-05", 100 if quick else 400, 5 if quick else 100)


def fast(report: Report, quick: bool) -> None:
    """dt 0.025, the set-up of the paper."""
    lorenz(report, "lorenz63-025", 100 if quick else 400, 5 if quick else 100)


def seeds(report: Report, quick: bool) -> None:
    """The solve and its absence, over trainings."""
    net = cases.trained("lorenz63-05").net
    tests = {
        MAIN: ("none", "banded"),
        "u1, u2 at 3 to 8 random places": ("none", "banded"),
        "the same, first times 2 and 5": ("family, none", "family"),
    }
    report.section(
        "Trainings",
        "Lorenz-63, dt 0.05, 2000 fresh trajectories for each kind of observing system, "
        f"{EPOCHS} epochs for each network. RMSE over all in one shot (without the solve more "
        "levels do not help) and with three levels, and by how much the mean over trajectories is "
        "lower with the solve, seed by seed. The last system: networks of its family, spacing 8.",
        (
            "system",
            "seed",
            "no solve",
            "banded, one shot",
            "3 levels",
            "RMSE less by, %",
            "mean less by, %",
        ),
    )
    for i, (label, ways) in enumerate(tests.items()):
        test = drawn("lorenz63-05", net, SYSTEMS[label], 200 if quick else 2000, 50 + i)
        for seed in range(SEEDS[ways[0]]):
            ablated, own = (network(way, seed) for way in ways)
            errors = [each(fields(ablated, test), test)]
            errors += [each(fields(own, test, levels), test) for levels in (1, 3)]
            sizes = [float((e**2).mean() ** 0.5) for e in errors]
            less = 1 - sizes[2] / sizes[0], 1 - errors[2].mean() / errors[0].mean()
            told = (*(f"{v:.3f}" for v in sizes), *(f"{100 * v:.1f}" for v in less))
            report.row(label, seed, *told)


def unseen(report: Report, quick: bool) -> None:
    """Observing systems that no training met."""
    name, net = "lorenz63-05", cases.trained("lorenz63-05").net
    count = 100 if quick else 400
    report.section(
        "Unseen observing systems",
        f"Lorenz-63, dt 0.05, {count} fresh trajectories each: RMSE over all. The shipped network "
        "was trained on 3 to 8 random places of u1 and u2, drawn anew at each step; the family on "
        "u1 at spacing 8 from first times 0, 1, 3, 4, 6 and 7. The last column is the mean of "
        "each trajectory's error of the best way, 4D-Var from the network.",
        (
            "system",
            "first guess",
            "no solve",
            "network, one shot",
            "3 levels",
            "family",
            "4D-Var from the Gaussian guess",
            "4D-Var from the network",
            "its mean",
        ),
    )
    ablated, family = network("none"), network("family")
    for i, (label, draw) in enumerate(SYSTEMS.items()):
        test = drawn(name, net, draw, count, 1 + i)
        with torch.no_grad():
            z = net.first(test.seen)
        three = fields(net, test, 3)
        found = variational(name, net, test, three).x
        columns = [z, fields(ablated, test), fields(net, test), three, fields(family, test)]
        columns += [variational(name, net, test, z).x, found]
        sizes = [float((x - test.truth).square().mean().sqrt()) for x in columns]
        report.row(label, *(f"{v:.3f}" for v in sizes), cells(each(found, test))[1])
    report.after(
        "u3 alone cannot tell (u1, u2, u3) from (-u1, -u2, u3), which obeys the same equations: "
        "no method can, and a mean square error leads to the mean of both."
    )


def guesses(report: Report, quick: bool) -> None:
    """4D-Var from two first guesses: minima, iterations, errors, paired."""
    name, net = "lorenz63-05", cases.trained("lorenz63-05").net
    test = drawn(name, net, SYSTEMS[MAIN], 100 if quick else 600, 20)
    report.section(
        "4D-Var from the network's guess",
        f"Lorenz-63, dt 0.05, {len(test.truth)} fresh trajectories, u1 at spacing 8. Another "
        f"minimum: J ends more than {WORSE:g} above where it ends from the truth. The background "
        "is the law of the first state over the training set. Levenberg-Marquardt as published, "
        "and Gauss-Newton with a line search.",
        ("minimiser", "background", "from", *COLUMNS, "other minima, %", "iterations"),
    )
    with torch.no_grad():
        z = net.first(test.seen)
    starts = {"Gaussian guess": z, "network": fields(net, test, 3), "truth": test.truth}
    kept: dict[tuple[str, str, str], Variational] = {}
    for minimiser, damping in (("Levenberg-Marquardt", 1.0), ("Gauss-Newton", 0.0)):
        for background in ("yes", "no"):
            for label, start in starts.items():
                kept[minimiser, background, label] = variational(
                    name, net, test, start, background=background == "yes", damping=damping
                )
            least = kept[minimiser, background, "truth"].cost
            for label in starts:
                found = kept[minimiser, background, label]
                other = round(100 * float((found.cost > least + WORSE).mean()), 1)
                told = f"{found.iterations.mean():.1f}"
                report.row(minimiser, background, label, *cells(each(found.x, test)), other, told)
    e = {k: each(v.x, test) for k, v in kept.items()}
    own, lm = each(starts["network"], test), "Levenberg-Marquardt"
    best, rival = e[lm, "yes", "network"], e[lm, "yes", "Gaussian guess"]
    for label, d in (
        ("4D-Var from the Gaussian guess", best - rival),
        ("the network", best - own),
    ):
        half = 1.96 * d.std(ddof=1) / len(d) ** 0.5
        report.after(
            f"4D-Var with background from the network minus {label}, paired: "
            f"{d.mean():.3f} ± {half:.3f}."
        )


SECTIONS: dict[str, Callable] = {
    "incremental": lorenz63,
    "incremental_fast": fast,
    "incremental_seeds": seeds,
    "incremental_unseen": unseen,
    "incremental_guesses": guesses,
    "incremental_levels": parts.levels,
    "incremental_pendulum": parts.pendulum,
    "incremental_cost": parts.cost,
    "incremental_bound": parts.bound,
    "incremental_lorenz96": parts.lorenz96,
}
