"""Part of `benchmarks.ld_ensf`: what a training at the size of the paper takes, by few updates."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dalearn.cases import ld_ensf_networks as networks
from dalearn.cases import ld_ensf_paper as paper
from dalearn.cases.ld_ensf import CASES, SetUp
from dalearn.neural.last_layer import gathered
from dalearn.neural.subsampled import Subsampled

from .common import Report
from .ld_ensf_latent import best


def updates(report: Report, quick: bool) -> None:
    """Seconds of an update, and how many there are."""
    report.section(
        "A training at the size of the paper: what an update takes",
        "CPU seconds of one thread, the least of 3 updates (of 20 gatherings); states of random "
        "numbers in a file of the true size. Hours: all updates, without validation. Last layer: "
        "the sums over all training runs, at so many points of each as an update sees.",
        ("set-up", "GB", "part", "gathering, ms", "update, s", "updates", "hours"),
    )
    for name in CASES:
        setup = CASES[name]("reduced" if quick else "paper")
        with tempfile.TemporaryDirectory() as folder:
            fields = paper.as_fields(setup, states(setup, Path(folder) / "states.npy"))
            size = round(fields.nbytes / 1e9, 2)
            for row in parts(setup, fields, 20 if quick else 0):
                report.row(name, size, *row)


def parts(setup: SetUp, fields: torch.Tensor, few: int) -> Any:
    """The rows of a set-up; `few`: points in an update, or 0 for those of the recipe."""
    r, S = paper.PUBLISHED[setup.name], setup.runs[0]
    x, u = networks.grid(setup), torch.rand(S, setup.p)
    net, encoder = paper.dynamics(setup), paper.encoder(setup)
    loss = Subsampled(fields, x, count=few or r.points)
    y = torch.randn(S, len(setup.seen), encoder.inputs)
    z = torch.randn(S, len(setup.seen), encoder.outputs)

    def rows() -> torch.Tensor:
        return torch.randperm(S)[: r.batch]

    def gather() -> None:
        T, P = fields.shape[1:3]
        times = loss.chosen(T, round(loss.share * T), True)
        loss.gathered(rows(), times, loss.chosen(P, loss.count, True))

    def moved() -> torch.Tensor:
        i = rows()
        return loss(net, u[i], i)

    def told(spent: float, count: int) -> tuple[Any, ...]:
        return float(f"{spent:.3g}"), count, float(f"{spent * count / 3600:.2g}")

    count, gathering = r.epochs * -(-S // r.batch), round(1000 * best(gather, 20), 1)
    yield "dynamics", gathering, *told(best(step(net, moved), 3), count)
    spent = best(step(encoder, lambda: ((encoder(y) - z) ** 2).mean()), 3)
    yield "encoder", "-", *told(spent, r.encoder)
    start = time.process_time()
    with torch.no_grad():
        gathered(net, u[:1], fields[:1], x, loss.count)
    yield "last layer", "-", *told(time.process_time() - start, S)


def states(setup: SetUp, path: Path) -> np.memmap:
    """A file of random numbers, of the size of the states of all runs."""
    shape = (sum(setup.runs), setup.times, *setup.shape)
    found = np.lib.format.open_memmap(path, mode="w+", dtype="float32", shape=shape)
    one = np.random.default_rng(0).standard_normal(shape[1:], dtype="float32")
    for i in range(len(found)):
        found[i] = one
    found.flush()
    return found


def step(net: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """One update of a network."""
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)

    def call() -> None:
        value = loss()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()

    return call
