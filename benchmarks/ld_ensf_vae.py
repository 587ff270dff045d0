"""Parts of `benchmarks.ld_ensf`: the autoencoder of Latent-EnSF, and what it is compared with.

The coupled autoencoder works on POD coefficients of the training runs, so that it is trained in
the time of an LDNet. Weights go to `runs/ld-ensf`, with the CPU time of their training.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dalearn.cases.ld_ensf import CASES, SetUp, twin
from dalearn.cases.ld_ensf_twin import sensors_of
from dalearn.methods import EnSF, Latent
from dalearn.methods.latent.dynamics import through
from dalearn.methods.latent.observed import Encoded
from dalearn.models import POD
from dalearn.models.coders import Extended
from dalearn.neural import (
    VAE,
    Card,
    Coupled,
    Normalisation,
    fit,
    load_weights,
    save_weights,
    seeded,
)
from dalearn.neural.train import adam, cosine
from dalearn.problem.observe import Subset
from dalearn.problem.problem import Problem

from .common import Report
from .ld_ensf_full import FRESH, TUNING, errors, interval, started, unassimilated

MODES, SENSORS = 256, 10
LATENT = {"kolmogorov": 32, "shallow-water": 64}
BATCH = {"kolmogorov": 128, "shallow-water": 256}
NOISES = (0.0, 0.05, 0.1, 0.2)
LEFT = 1e-3  # eps_alpha: an analysis shrinks what is not observed by eps_alpha^2 eps_beta
STILL = 1e-6  # the unit of a parameter in EnSF, in halves of its box: it is not moved by noise


@dataclass(frozen=True)
class Recipe:
    """How an autoencoder is trained.

    Args:
        name: for files.
        epochs: by set-up.
        hidden: widths of the layers between.
        noise: the largest noise on the data in training, as a share of each component's rms.
        rate: of Adam at the start; it falls to 0 as a cosine.
    """

    name: str
    epochs: dict[str, int]
    hidden: tuple[int, ...] = (256,)
    noise: float = 0.0
    rate: float = 5e-3


@dataclass(frozen=True)
class Noisy:
    """The loss of data that get new errors each time: sizes are uniform up to the largest.

    Args:
        loss: of exact data.
        largest: standard deviation of the errors `(m,)`.
    """

    loss: Coupled
    largest: torch.Tensor

    def __call__(self, net: VAE, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if net.training:
            y = y + torch.rand(len(y), 1) * self.largest * torch.randn_like(y)
        return self.loss(net, x, y)


@dataclass(frozen=True, eq=False)
class OnModes:
    """A Coder: the codes of a network on the coefficients of a POD.

    Args:
        pod: of states.
        net: of coefficients and of what sensors see.
    """

    pod: POD
    net: VAE

    @property
    def n(self) -> int:
        return self.pod.n

    @property
    def r(self) -> int:
        return self.net.r

    def encode(self, x: Any) -> Any:
        return through(self.net, self.net.encode, self.pod.encode(x))

    def decode(self, z: Any) -> Any:
        return self.pod.decode(through(self.net, self.net.decode, z))

    def observed(self, y: Any) -> Any:
        """Data `(..., m)` -> codes `(..., r)`."""
        return through(self.net, self.net.encode_observation, y)


class Material:
    """What networks are trained on and judged by: runs, their coefficients, and what is seen."""

    def __init__(self, setup: SetUp, quick: bool):
        from .ld_ensf import made

        self.setup, self.parts, self.x = setup, setup.split(), made(setup, quick)
        n = int(np.prod(setup.shape))
        scale = np.repeat(np.asarray(setup.rms, "float32"), n // len(setup.rms))
        self.pod = pod_of(setup, self.states[self.parts.train], scale)
        self.codes = self.pod.encode(self.states)
        self.y = sensors_of(setup, SENSORS)(self.x)
        self.unit = np.repeat(np.asarray(setup.rms, "float32"), SENSORS**2)

    @property
    def states(self) -> np.ndarray:
        """The runs, each state a vector."""
        return self.x.reshape(*self.x.shape[:2], -1)

    def noisy(self, runs: np.ndarray, noise: float) -> np.ndarray:
        """What sensors see of these runs, with errors."""
        e = np.random.default_rng(TUNING).standard_normal(self.y[runs].shape, "float32")
        return self.y[runs] + np.float32(noise) * self.unit * e

    def rows(self, runs: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """States as coefficients, and data, a row each."""
        x, y = (torch.from_numpy(v[runs].reshape(-1, v.shape[-1])) for v in (self.codes, self.y))
        return x, y

    def error(self, back: Any, runs: np.ndarray, over: Any = None) -> Any:
        """Relative error of fields of these runs."""
        return self.setup.relative(back.reshape(self.x[runs].shape), self.x[runs], over)

    def paths(self, coder: OnModes, runs: np.ndarray, noises: Any = NOISES) -> list[float]:
        """Errors of states encoded and decoded, and of data encoded and decoded, %."""
        found = [coder.decode(coder.encode(self.states[runs]))]
        found += [coder.decode(coder.observed(self.noisy(runs, v))) for v in noises]
        return [round(100 * float(self.error(x, runs)), 2) for x in found]


def folder(setup: SetUp) -> Path:
    """Where networks and modes of a set-up are kept."""
    from .ld_ensf import RUNS

    return RUNS / f"{setup.name}-vae-{sum(setup.runs)}"


def pod_of(setup: SetUp, train: np.ndarray, scale: np.ndarray) -> POD:
    """The POD of the training runs; made once."""
    file = folder(setup) / "pod.npz"
    if not file.exists():
        made = POD.fit(train, min(MODES, len(train) * setup.times // 2), scale=scale)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, modes=made.modes, mean=made.mean)
    return POD(**np.load(file), scale=scale)


def trained(what: Material, recipe: Recipe) -> tuple[OnModes, float]:
    """The autoencoder and the CPU seconds of its training; made once, into `runs/ld-ensf`."""
    setup, train = what.setup, what.rows(what.parts.train)
    latent = LATENT[setup.name]
    size = (train[0].shape[1], train[1].shape[1], latent, recipe.hidden)
    net = seeded(0, VAE.dense, *size)
    one = float((train[0] ** 2).mean() ** 0.5)
    net.scaled(Normalisation(np.zeros(1), np.full(1, one)), Normalisation.fit(train[1]))
    file = folder(setup) / f"{recipe.name}.safetensors"
    if file.exists():
        return OnModes(what.pod, net), load_weights(net, file).metric["cpu"]
    loss: Any = Coupled()
    if recipe.noise:
        loss = Noisy(loss, torch.from_numpy(recipe.noise * what.unit))
    epochs = recipe.epochs[setup.name]
    told = {"loss": loss, "epochs": epochs, "batch": BATCH[setup.name], "progress": False}
    start = time.process_time()
    fit(
        net,
        train,
        what.rows(what.parts.validation),
        optimiser=adam(recipe.rate),
        schedule=cosine(epochs),
        **told,
    )
    spent = time.process_time() - start
    command = f"python -m benchmarks.ld_ensf --only vae-{setup.name}"
    save_weights(net, file, Card(command, f"{setup.name}, training runs", 0, {"cpu": spent}))
    return OnModes(what.pod, net), spent


def recipes(quick: bool) -> list[Recipe]:
    """As published, with noise in training, and a short one."""
    full = {"kolmogorov": 100, "shallow-water": 36}
    long, short = (
        {k: v // (10 if quick else 1) // part for k, v in full.items()} for part in (1, 2)
    )
    return [Recipe("published", long), Recipe("noisy", long, noise=0.2), Recipe("short", short)]


def vae(name: str, report: Report, quick: bool) -> None:
    """Errors of the autoencoder on test runs."""
    from .ld_ensf import small

    setup = small(CASES[name](), quick)
    what, test = Material(setup, quick), setup.split().test
    told = ", ".join(f"{v:.0%}" for v in NOISES)
    report.section(
        f"{name}: the autoencoder of Latent-EnSF",
        f"{LATENT[name]} latents, on {what.pod.r} POD coefficients of "
        f"{setup.runs[0]} runs; {SENSORS} x {SENSORS} sensors. Errors on test runs, %: a state "
        "encoded and decoded, and data encoded and decoded, by the size of their errors.",
        ("trained", "CPU s", "state", *(f"data, noise {v}" for v in told.split(", "))),
    )
    for modes in (LATENT[name], what.pod.r):
        pod = what.pod.truncated(modes)
        e = what.error(pod.decode(pod.encode(what.states[test])), test)
        report.row(f"POD, {modes} modes", "-", round(100 * float(e), 2), *("-" * len(NOISES)))
    for recipe in recipes(quick):
        coder, spent = trained(what, recipe)
        report.row(LABELS[recipe.name], round(spent, 1), *what.paths(coder, test))


LABELS = {
    "published": "exact data",
    "noisy": "noise up to 20 %",
    "short": "exact data, half of the epochs",
}


# --- the twins --------------------------------------------------------------------------------


def whole(setup: SetUp, eps_beta: float) -> EnSF:
    """EnSF in the space of the model; noise does not move the parameter."""
    n = int(np.prod(setup.shape)) // len(setup.rms)
    return EnSF(20, eps_alpha=LEFT, eps_beta=eps_beta, scale=units(setup, np.repeat(setup.rms, n)))


def coded(what: Material, coder: OnModes, eps_beta: float, noise: float) -> Latent:
    """Latent-EnSF: encoded data, the variances of their codes' errors those of validation runs."""
    some = what.parts.validation
    z = coder.encode(what.states[some])
    R = ((coder.observed(what.noisy(some, noise)) - z).astype(float) ** 2).mean((0, 1))
    scale = units(what.setup, z.reshape(-1, coder.r).std(0))
    seen = Encoded(coder.observed, R, Subset(np.arange(coder.r)))
    inner = EnSF(20, eps_alpha=LEFT, eps_beta=eps_beta, scale=scale)
    return Latent(inner, Extended(coder, what.setup.p), observe=seen)


def units(setup: SetUp, state: np.ndarray) -> np.ndarray:
    """The units of EnSF: those of the state, and one for parameters that leaves them alone."""
    box = (np.asarray(setup.high) - setup.low) / 2
    return np.concatenate((state, STILL * box)).astype("float32")


def problems(setup: SetUp, truths: Any, seed: int, noises: Any) -> list[Problem]:
    """Twins that differ by the errors of their data; members run to the first data once."""
    first, *others = (twin(setup, truths, noise=v, seed=seed) for v in noises)
    first = started(first)
    same = {"prior": first.prior, "steps": first.steps, "times": first.times}
    return [first, *(replace(p, **same) for p in others)]


def published(name: str, report: Report, quick: bool) -> None:
    """EnSF and Latent-EnSF beside members that see no data."""
    from .ld_ensf import small

    setup, count, tuned = small(CASES[name](), quick), *((2, 2) if quick else (10, 3))
    what = Material(setup, quick)
    coder, other = (trained(what, r)[0] for r in recipes(quick)[:2])
    u = setup.parameters()[what.parts.validation][:tuned]
    (valid,) = problems(setup, u, TUNING, (0.1,))
    report.section(
        f"{name}: eps_beta of EnSF and of Latent-EnSF",
        f"{tuned} validation runs, noise 10 %, N = 20, {SENSORS} x {SENSORS} sensors; relative "
        "error of the mean, %, over the second half.",
        ("method", "eps_beta", "error"),
    )
    ways = {
        "EnSF": lambda eps, noise: whole(setup, eps),
        "Latent-EnSF": lambda eps, noise: coded(what, coder, eps, noise),
    }
    best = {}
    for label, make in ways.items():
        scores = {}
        for eps in EPS[label][:: 2 if quick else 1]:
            scores[eps] = float(
                np.nan_to_num(errors(setup, valid, make(eps, 0.1))[0], nan=1e9).mean()
            )
            report.row(label, str(eps), round(100 * scores[eps], 2))
        best[label] = min(scores, key=lambda eps: scores[eps])
    ways["Latent-EnSF, noise in training"] = lambda eps, noise: coded(what, other, eps, noise)
    report.section(
        f"{name}: EnSF and Latent-EnSF",
        f"{count} new truths, N = 20, {SENSORS} x {SENSORS} sensors; relative error of the mean, "
        "%, over the second half: mean over truths with 95 % interval, median, worst. Each member "
        f"keeps its parameter. eps_beta = {best['EnSF']:g} and {best['Latent-EnSF']:g}.",
        ("method", "noise, %", "error, %", "median", "worst", "CPU s"),
    )
    noises = (0.0, 0.1, 0.2)
    for noise, problem in zip(noises, problems(setup, count, FRESH, noises), strict=True):
        if noise == 0:
            e = unassimilated(setup, problem)
            report.row("without data", "-", *summary(e), "-")
        for label, make in ways.items():
            start = time.process_time()
            e, _ = errors(setup, problem, make(best[label.split(",")[0]], noise))
            spent = round(time.process_time() - start, 1)
            report.row(label, round(100 * noise), *summary(e), spent)


def summary(e: np.ndarray) -> tuple[str, float, float]:
    """Mean with interval, median and worst, %."""
    return interval(e), round(100 * float(np.median(e)), 2), round(100 * float(e.max()), 2)


EPS = {"EnSF": (1e-4, 1e-3, 1e-2, 1e-1), "Latent-EnSF": (1e-4, 1e-3, 1e-2, 1e-1)}

SECTIONS = {
    f"{part.__name__}-{name}": partial(part, name) for part in (vae, published) for name in CASES
}
