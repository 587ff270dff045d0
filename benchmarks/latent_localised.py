"""Part of `benchmarks.latent`: an LETKF among codes that stand on a grid.

The coder is `Autoencoder.on_grid`, 512 numbers on 8 x 8 points, trained on the tsunamis of
`cases.ld_ensf`; the members are moved by the model. Weights go to `runs/ld-ensf`.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dalearn.cases.ld_ensf import SetUp, shallow_water, twin
from dalearn.cases.ld_ensf_twin import localization
from dalearn.methods import ETKF, LETKF, Latent
from dalearn.methods.ensemble.localization import Localization
from dalearn.methods.latent.dynamics import through
from dalearn.models.coders import Extended
from dalearn.neural import Autoencoder, Card, fit, load_weights, save_weights, seeded
from dalearn.neural.train import adam, cosine

from .common import Report
from .ld_ensf_full import FRESH, TUNING, errors, interval, started

MEMBERS, RADII, INFLATIONS = (5, 10, 20, 40), (4.0, 6.0, 8.0, 16.0), (1.0, 1.05, 1.1)
EPOCHS, LATENT = 24, 8


@dataclass(frozen=True, eq=False)
class OnGrid:
    """A Coder of states `(..., n)`: components in their own units through an Autoencoder.

    Args:
        net: the autoencoder of fields.
        unit: of each component, `(c,)`.
    """

    net: Autoencoder
    unit: torch.Tensor

    @property
    def n(self) -> int:
        return int(np.prod(self.net.shape))

    @property
    def r(self) -> int:
        return self.net.latent

    def _encoded(self, x: torch.Tensor) -> torch.Tensor:
        return self.net.encode(x.reshape(*x.shape[:-1], *self.net.shape) / self.unit)

    def _decoded(self, z: torch.Tensor) -> torch.Tensor:
        return (self.net.decode(z) * self.unit).flatten(-3)

    def encode(self, x: Any) -> Any:
        return through(self.net, self._encoded, x)

    def decode(self, z: Any) -> Any:
        return through(self.net, self._decoded, z)


def snapshots(setup: SetUp, states: np.ndarray, every: int) -> torch.Tensor:
    """States of runs in units of their components, `(rows, *shape)`."""
    unit = np.asarray(setup.rms, "float32")[:, None, None]
    return torch.from_numpy((states[:, ::every] / unit).reshape(-1, *setup.shape))


@cache
def coder(quick: bool) -> tuple[OnGrid, float, float]:
    """The coder, made once; its error on test runs, and the CPU seconds of its training."""
    from .ld_ensf import RUNS, made, small

    setup = small(shallow_water(), quick)
    states, parts = made(setup, quick), setup.split()
    net = seeded(0, Autoencoder.on_grid, setup.shape, LATENT)
    file = Path(RUNS) / f"{setup.name}-grid-{sum(setup.runs)}.safetensors"
    if file.exists():
        spent = load_weights(net, file).metric["cpu"]
    else:
        x = snapshots(setup, states[parts.train], 2)
        epochs, begun = EPOCHS // (12 if quick else 1), time.process_time()
        rates = {"optimiser": adam(3e-3), "schedule": cosine(epochs), "batch": 64}
        valid = snapshots(setup, states[parts.validation], 5)
        fit(net, (x, x), (valid, valid), epochs=epochs, progress=False, **rates)
        spent = time.process_time() - begun
        command = "python -m benchmarks.latent --only localised"
        save_weights(net, file, Card(command, f"{setup.name}, training runs", 0, {"cpu": spent}))
    test = snapshots(setup, states[parts.test], 5)
    with torch.no_grad():
        back = torch.cat([net(x) for x in test.split(256)])
    wrong = float((back - test).norm() / test.norm())
    return OnGrid(net, torch.tensor(setup.rms)[:, None, None]), wrong, spent


def localised(report: Report, quick: bool) -> None:
    """Global and local filters among codes, and the local one in the space of the model."""
    setup = shallow_water()
    net, floor, spent = coder(quick)
    code, places = Extended(net, setup.p), net.net.places.numpy()

    def near(radius: float) -> Localization:
        return Localization(places, radius).with_globals(setup.p)

    def chosen(made: Any, settings: Any) -> Any:
        scores = {s: float(errors(setup, valid, made(*s))[0].mean()) for s in settings}
        return min(scores, key=lambda s: scores[s])

    counts, tuned, fresh = (MEMBERS[:2], 2, 2) if quick else (MEMBERS, 4, 10)
    report.section(
        "A tsunami, filters among codes on a grid",
        f"{fresh} new truths, {net.r} codes on 8 x 8 points beside 12 288 numbers, floor of the "
        f"coder {100 * floor:.2g} % on test runs ({spent:.0f} CPU s of training), 10 x 10 "
        "sensors, noise 10 %; relative error of the mean, %, over the second half, and its 95 % "
        f"interval. Chosen on {tuned} validation runs, for each N: radius, or inflation of the "
        "ETKF.",
        ("filter", "N", "radius, inflation", "error, %", "worst", "CPU s"),
    )
    wide, few = [(r, 1.05) for r in RADII], [(f,) for f in INFLATIONS]
    for N in counts:
        u = setup.parameters()[setup.split().validation][:tuned]
        valid = started(twin(setup, u, noise=0.1, seed=TUNING, members=N))
        problem = started(twin(setup, fresh, noise=0.1, seed=FRESH, members=N))
        kinds = {
            "global ETKF among codes": (lambda f, N=N: Latent(ETKF(N, inflation=f), code), few),
            "LETKF among codes": (
                lambda r, f, N=N: Latent(LETKF(N, localization=near(r), inflation=f), code),
                wide,
            ),
            "LETKF, no coder": (
                lambda r, f, N=N: LETKF(N, localization=localization(setup, r), inflation=f),
                wide[:2],
            ),
        }
        for name, (made, settings) in kinds.items():
            best, begun = chosen(made, settings[:1] if quick else settings), time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                e, _ = errors(setup, problem, made(*best))
            told = round(100 * float(e.max()), 1), round(time.process_time() - begun, 1)
            report.row(name, N, ", ".join(f"{v:g}" for v in best), interval(e), *told)


SECTIONS = {"localised": localised}
