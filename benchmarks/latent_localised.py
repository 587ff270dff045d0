"""Part of `benchmarks.latent`: an LETKF among codes that stand on a grid.

The coder is `Autoencoder.on_grid`, 512 numbers on 8 x 8 points, trained on the tsunamis of
`cases.ld_ensf`; the members are moved by the model. Weights go to `runs/ld-ensf`.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dalearn.cases.ld_ensf import Released, SetUp, shallow_water, twin
from dalearn.cases.ld_ensf_twin import localization
from dalearn.methods import ETKF, LETKF, Latent
from dalearn.methods.ensemble.localization import Localization
from dalearn.models import ShallowWater
from dalearn.models.coders import Extended
from dalearn.neural import (
    Autoencoder,
    Card,
    FieldCoder,
    fit,
    load_weights,
    save_weights,
    seeded,
)
from dalearn.neural.train import adam, cosine

from .common import Report
from .ld_ensf_full import FRESH, TUNING, errors, interval, started

MEMBERS, RADII, INFLATIONS = (5, 10, 20, 40), (4.0, 6.0, 8.0, 16.0), (1.0, 1.05, 1.1)
EPOCHS, LATENT = 24, 8


def snapshots(setup: SetUp, states: np.ndarray, every: int) -> torch.Tensor:
    """States of runs in units of their components, `(rows, *shape)`."""
    unit = np.asarray(setup.rms, "float32")[:, None, None]
    return torch.from_numpy((states[:, ::every] / unit).reshape(-1, *setup.shape))


@cache
def coder(quick: bool) -> tuple[FieldCoder, float, float]:
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
    return FieldCoder(net, torch.tensor(setup.rms)), wrong, spent


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


def _sea(cells: int, u: np.ndarray) -> Released:
    """The basin with so many cells of the same size a side."""
    made = ShallowWater.ld_ensf(64, rotating=False)
    return Released(replace(made, cells=(cells, cells)), np.asarray(u))


def _raised(cells: int, u: np.ndarray) -> np.ndarray:
    return _sea(cells, u).model.bump(u, 1e5)


def sea(setup: SetUp, times: int) -> SetUp:
    """A basin with so many times the sides, and a box of origins that grows with it."""
    cells = 64 * times
    high = tuple(times * h for h in setup.high)
    made = {"model": partial(_sea, cells), "start": partial(_raised, cells), "high": high}
    return replace(setup, name=f"{setup.name}-{times}", **made)


def larger(report: Report, quick: bool) -> None:
    """The weights of the small basin in one of four times the area."""
    net, _, _ = coder(quick)
    fresh, counts = (2, (5,)) if quick else (5, (10, 20))
    report.section(
        "The same weights in a larger basin",
        f"{fresh} new truths in basins of one and two times the sides, with as many sensors a "
        "cell (10 x 10 in the small one) and the same noise; radius and inflation as chosen in "
        "the small basin. Floor: of the coder on these truths; relative errors, %, with 95 % "
        "intervals.",
        ("basin", "numbers", "codes", "floor, %", "filter", "N", "error, %", "worst", "CPU s"),
    )
    for times in (1, 2):
        setup = sea(shallow_water(), times)
        wide: Any = net.net.on_shape(setup.shape)
        own = FieldCoder(wide, net.unit)
        code, places = Extended(own, setup.p), wide.places.numpy()
        near = Localization(places, 4.0).with_globals(setup.p)
        for N in counts:
            problem = started(
                twin(setup, fresh, sensors=10 * times, noise=0.1, seed=FRESH, members=N)
            )
            truth: Any = problem.truth
            x = truth[..., : own.n]
            floors = np.array([setup.relative(*_fields(setup, own, x[b])) for b in range(fresh)])
            both = {
                "global ETKF among codes": Latent(ETKF(N, inflation=1.1), code),
                "LETKF among codes": Latent(LETKF(N, localization=near, inflation=1.05), code),
                "LETKF, no coder": LETKF(N, localization=localization(setup, 4.0), inflation=1.05),
            }
            for name, method in both.items():
                begun = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    e, _ = errors(setup, problem, method)
                last = round(100 * float(e.max()), 1), round(time.process_time() - begun, 1)
                sizes = f"{setup.shape[-1]}^2", own.n, own.r
                report.row(*sizes, interval(floors), name, N, interval(e), *last)


def _fields(setup: SetUp, code: FieldCoder, x: Any) -> tuple[np.ndarray, np.ndarray]:
    """States `(T, n)` encoded and decoded, and themselves, as fields."""
    with torch.no_grad():
        back = np.concatenate([code.decode(code.encode(part)) for part in np.array_split(x, 10)])
    return back.reshape(-1, *setup.shape), np.asarray(x).reshape(-1, *setup.shape)


SECTIONS = {"localised": localised, "larger": larger}
