"""Part of `benchmarks.ld_ensf`: a latent state that is 0 before the first time, or at it."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch

from dalearn.cases import ld_ensf_networks as networks
from dalearn.cases import ld_ensf_training as training
from dalearn.cases.ld_ensf import CASES, SetUp
from dalearn.cases.ld_ensf_errors import field_error
from dalearn.cases.ld_ensf_recipes import ERROR, RECIPES

from .common import Report

STARTS = {"before": "before the first time", "first": "at the first time"}
SHOWN = (0, 1, 2, 3, 5, 10, -1)


def errors(setup: SetUp, net: Any, u: Any, states: Any) -> list[float]:
    """Of test runs, %: all times, then those of SHOWN."""
    test = setup.split().test
    truth, v = states[test], u[torch.as_tensor(test)]
    every, by_time = (field_error(setup, net, truth, v, keep) for keep in (None, 0))
    return [float(f"{float(e):.3g}") for e in (every, *(by_time[k] for k in SHOWN))]


def start(name: str, report: Report, quick: bool) -> None:
    """Both networks trained alike, and their errors by time."""
    from .ld_ensf import made, small

    setup = small(CASES[name](), quick)
    states, recipe = made(setup, quick), RECIPES[name]
    report.section(
        f"{name}: where the latent state is 0",
        "Two LDNets of the shipped recipe, one training each; relative error of test runs, %, "
        "over all times and at the k-th state that is kept. After stage 1, that is with the last "
        "layer as it was trained (of validation runs), and with the last layers solved.",
        ("s = 0", "last layer", "CPU s", "all times", *(f"k = {k}" for k in SHOWN[:-1]), "last"),
    )
    for where, told in STARTS.items():
        net = networks.dynamics(setup, start=where)
        data, begun = training.data_of(setup, states, net), time.process_time()
        shown = {"progress": False} | ({"epochs": 3} if quick else {})
        net, first = training.stage_one(setup, net, data, **shown)
        spent = round(time.process_time() - begun, 1)
        report.row(told, "trained", spent, float(f"{first:.3g}"), *("-" * len(SHOWN)))
        for kind, share in (("robust", ERROR), ("sharp", 0.0)):
            solved, _ = training.stage_two(setup, net, data, getattr(recipe, kind), share)
            report.row(told, kind, "-", *errors(setup, solved, data.u, states))


SECTIONS = {f"start-{name}": partial(start, name) for name in CASES}
