"""Part of `benchmarks.latent`: fires under unknown winds, `cases.wildfire`.

Surrogates are trained on 1500 fires, their ridge and patience on 100 validation fires; B and R
come from 200 others, what is chosen is chosen on 60 others, and 40 fires that begin on other
ground are the test. Errors are sqrt(wrong cells / burnt cells), sums over fires, with the middle
95 % of a bootstrap over fires; ratios are paired.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dalearn as da
from dalearn.array import Purpose, Streams, generator
from dalearn.cases import wildfire as fire
from dalearn.cases import wildfire_latent as lat
from dalearn.cases.wildfire_views import View
from dalearn.neural import (
    LSTM,
    Normalisation,
    Normalised,
    fit,
    load_weights,
    save_weights,
    seeded,
    windows,
)
from dalearn.neural.rollout import rollout, rollout_error
from dalearn.neural.train import adam, cosine
from dalearn.neural.weights import Card

from .common import Report

R, MEMBERS, SEEDS = 64, 24, 5
AFTER = {8: 4, 13: 4, 18: 6}  # frames after data at which forecasts are scored
SOLVER = da.GaussNewton(2, jacobian=lat.one_matrix)
FOLDER = Path("runs/fires")


@cache
def fires(name: str, fastest: float = fire.FASTEST) -> fire.Fires:
    """The fires of a use; those of the test begin on ground of their own."""
    part, count, seed = {
        "train": ("train", 1500, 0),
        "ridge": ("validation", 100, 0),
        "errors": ("validation", 200, 1),
        "choice": ("validation", 60, 5),
        "test": ("test", 40, 7),
    }[name]
    return fire.fires(part, count, seed=seed, fastest=fastest)


@dataclass(frozen=True, eq=False)
class Parts:
    """A view with its coder, a POD or a CAE, codes by use, DMD of four frames, B of windows."""

    view: View
    pod: Any
    codes: dict[str, Any]
    dmd: da.DMD
    B: Any


@cache
def parts(name: str) -> Parts:
    """All that is fitted for a view; "CAE" is that of flags in the autoencoder's codes."""
    if name == "CAE":
        view = View("burnt", np.zeros(fires("train").burnt.shape[-1], np.float32))
        pod, states = fire_coder(), fires("train").burnt
    else:
        view = View.of_fires(name, fires("train"))
        states = view.of(fires("train").burnt)
        pod = da.POD.fit(states[:, ::2], R, mean=False)
    codes = {"train": pod.encode(states)}
    for use in ("ridge", "errors", "choice", "test"):
        codes[use] = pod.encode(view.of(fires(use).burnt))
    dmd = da.DMD.fit(codes["train"], 4, validation=codes["ridge"], ahead=8)
    B = lat.background(dmd, codes["errors"], leads=(5,), shrink=0.02)
    return Parts(view, pod, codes, dmd, B)


def bootstrap(a: np.ndarray, b: np.ndarray | None = None) -> tuple[float, ...]:
    """Error of fires `(S, 2)`, or its ratio to that of others, with its middle 95 %."""
    rng = generator(Purpose.TEST, 0)
    pick = rng.integers(len(a), size=(4000, len(a)))

    def of(x: np.ndarray) -> np.ndarray:
        total = x[pick].sum(1)
        return np.sqrt(total[:, 0] / total[:, 1])

    many = of(a) if b is None else of(a) / of(b)
    one = lat.error(a) if b is None else lat.error(a) / lat.error(b)
    return float(one), *(float(q) for q in np.quantile(many, (0.025, 0.975)))


def told(a: np.ndarray, b: np.ndarray | None = None) -> str:
    """The error or ratio, and its middle 95 %."""
    return "{:.3f} ({:.3f}-{:.3f})".format(*bootstrap(a, b))


def floors(report: Report, quick: bool) -> None:
    """What a coder of r numbers cannot represent."""
    for fastest in (fire.FASTEST, 0.0):
        train, test = fires("train", fastest)[:800], fires("test", fastest)
        burnt = test.burnt
        report.section(
            f"Floors of coders, winds up to {fastest:g} m/s",
            "POD of 800 fires, the error of test fires that are encoded and decoded, all frames "
            "pooled. Naive: relative root-mean-square error of what was coded, whatever it is.",
            ("coded", "r", "naive", "burnt mask"),
        )
        for name in ("cell states 1 to 4", "burnt", "distance"):
            limit = {"burnt": 0.5, "distance": 0.0}.get(name, 2.5)
            sample = train[::2] if name == "distance" else train
            pod = da.POD.fit(as_coded(name, sample)[:, ::2], R)
            x = as_coded(name, test)
            for r in (16, 32, R):
                some = da.POD(pod.modes[:r], pod.mean)
                back = some.decode(some.encode(x))
                naive = float(np.sqrt(((back - x) ** 2).sum() / (x**2).sum()))
                wrong = lat.counts(back > limit, burnt).sum(1)
                report.row(name, r, round(naive, 3), told(wrong))
        if fastest:
            cae = fire_coder()
            back = cae.decode(cae.encode(burnt))
            naive = float(np.sqrt(((back - burnt) ** 2).sum() / (burnt**2).sum()))
            wrong = lat.counts(back > 0.5, burnt).sum(1)
            report.row("burnt, CAE", R, round(naive, 3), told(wrong))


def as_coded(name: str, some: fire.Fires) -> np.ndarray:
    """Fires as a coder sees them, `(S, T, n)`."""
    if name in ("burnt", "distance"):
        return View(name, np.zeros(1, np.float32)).of(some.burnt)
    return some.states.reshape(*some.states.shape[:2], -1).astype(np.float32)


def fire_coder() -> Any:
    """The convolutional autoencoder that comes with the package."""
    from dalearn.cases.wildfire_networks import trained

    return trained()


@cache
def lstm(seed: int) -> Any:
    """An LSTM of codes of flags, trained on roll-outs of 8 frames; kept in `runs/fires`."""
    p = parts("burnt")
    z, valid = (torch.from_numpy(p.codes[use]) for use in ("train", "ridge"))
    net = Normalised(seeded(seed, LSTM, R, 96), Normalisation.fit(z, per=()))
    path = FOLDER / f"lstm-{seed}.safetensors"
    if path.exists():
        load_weights(net, path)
        return net
    start = time.process_time()
    settings: Any = {"epochs": 15, "optimiser": adam(3e-3), "schedule": cosine(15), "clip": 1.0}
    record = fit(
        net,
        windows(z, 4, ahead=8),
        windows(valid, 4, ahead=8),
        loss=rollout_error,
        batch=256,
        patience=4,
        seed=seed,
        progress=False,
        **settings,
    )
    spent = {"CPU seconds": round(time.process_time() - start), "best epoch": record.best}
    card = Card("python -m benchmarks.latent --only fires_surrogates", "fires", seed, spent)
    save_weights(net, path, card)
    return net


def frames(masks: np.ndarray, use: str = "test") -> np.ndarray:
    """Counts of masks of frames 4 to 24 `(S, 21, n)`."""
    return lat.counts(masks, fires(use).burnt[:, 4:])


def automaton_mean(use: str = "test") -> np.ndarray:
    """The mean of automata that know rules and wind, from the true fourth frame: a mask."""
    some, found = fires(use), []
    for i in range(0, len(some), 10):
        f = some[slice(i, i + 10)]
        model = fire.automaton(
            f.land, *(np.repeat(v, MEMBERS) for v in (f.wind_speed, f.wind_direction))
        )
        x = np.repeat(f.states[:, 3], MEMBERS, axis=0).astype(np.float32)
        found.append(run_on(model, x, 21, i))
    return np.concatenate(found) > 0.5


def run_on(model: Any, x: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Mean flags of ensembles after 1, ..., count frames: `(S, count, n)`."""
    rng, found = Streams(Purpose.TEST, 1000 + seed, (len(x),)), []
    for _ in range(count):
        for _ in range(fire.STEPS):
            x = model(x, rng)
        flags = (x >= fire.BURNING).reshape(-1, MEMBERS, x.shape[-1] * x.shape[-2])
        found.append(flags.mean(1))
    return np.stack(found, axis=1)


def surrogates(report: Report, quick: bool) -> None:
    """Forecasts from the true first four frames."""
    p, at = parts("burnt"), (4, 8, 13, 18, 24)
    report.section(
        "Forecasts from the first four frames",
        f"POD of flags, r = {R}; frames 4 steps apart. The automaton knows rules and wind: the "
        f"mean of {MEMBERS} runs is what no deterministic forecast beats. LSTM: {SEEDS} "
        "trainings, their mean error and its 95 % interval (t); DMD of four frames is its rival.",
        ("forecast", *(f"frame {t}" for t in at), "all beside DMD of 4"),
    )
    z, view = p.codes["test"], p.view
    one = da.DMD.fit(p.codes["train"], 1, validation=p.codes["ridge"], ahead=8)
    steps = one.forecast(z[:, 3], 21)
    codes = {"DMD of 1": steps, "DMD of 4": lat.forecast(p.dmd, lat.windows_of(z, 3), 21)}
    base = frames(view.mask(p.pod.decode(codes["DMD of 4"])))

    def row(name: str, count: np.ndarray) -> None:
        cells = [told(count[:, t - 4]) for t in at]
        report.row(name, *cells, told(count.sum(1), base.sum(1)))

    truth = fires("test").burnt
    row("held frame 3", frames(np.repeat(truth[:, 3:4], 21, axis=1) > 0.5))
    row("mean of automata", frames(automaton_mean()))
    row("floor of the coder", frames(view.mask(p.pod.decode(z[:, 4:]))))
    for name, c in codes.items():
        row(name, frames(view.mask(p.pod.decode(c))))
    d = parts("distance")
    c = lat.forecast(d.dmd, lat.windows_of(d.codes["test"], 3), 21)
    row("DMD of 4, distance", frames(d.view.mask(d.pod.decode(c))))
    runs = []
    for seed in range(2 if quick else SEEDS):
        with torch.no_grad():
            c = rollout(lstm(seed), torch.from_numpy(z[:, :4]), 21).numpy()
        runs.append(frames(view.mask(p.pod.decode(c))))
        row(f"LSTM, training {seed}", runs[-1])
    errors = np.array([[float(lat.error(k[:, t - 4])) for t in at] for k in runs])
    ratio = np.array([float(lat.error(k.sum(1)) / lat.error(base.sum(1))) for k in runs])
    from scipy.stats import t as student

    half = student.ppf(0.975, len(runs) - 1) / len(runs) ** 0.5

    def over(v: np.ndarray) -> str:
        m, h = v.mean(), half * v.std(ddof=1)
        return f"{m:.3f} ({m - h:.3f}-{m + h:.3f})"

    report.row("LSTM, all trainings", *(over(e) for e in errors.T), over(ratio))


SECTIONS = {"fires_floors": floors, "fires_surrogates": surrogates}
