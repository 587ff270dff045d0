"""Part of `benchmarks.latent`: droplets under a camera, MEDLA and its rivals, five trainings each.

All are trained on the same pairs, with errors of 0.1 in the images drawn anew at each step. The
ensemble of backgrounds is carried from the truth 16 steps ago by flows drawn at random from the
set-up's own box: its spread knows where the tracer may be, and how much of it there is.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

import dalearn as da
from dalearn.array import Purpose, generator
from dalearn.cases import medla
from dalearn.cases import medla_camera as camera
from dalearn.neural import UNet, fit, seeded
from dalearn.neural.train import adam, cosine

from .common import Report

MEMBERS = 40
BOTH, UNET = "U-Net of background and image", (2, 20)  # trainings, epochs of each
DISTURB = medla.Disturb("camera")


def rows(part: str) -> tuple[torch.Tensor, ...]:
    """Truth, exact images and backgrounds, `(b, m)` each."""
    found = camera.pairs(part)
    parts = found.states, found.data, found.background
    return tuple(torch.from_numpy(v).flatten(0, 1) for v in parts)


@cache
def test() -> tuple[np.ndarray, ...]:
    """One frame of each test run: truth, noisy image, background, and 40 backgrounds of each."""
    found = camera.pairs("test")
    rng, count = generator(Purpose.TEST, 41), len(found.states)
    at = rng.integers(found.states.shape[1], size=count)
    members = camera.ensemble(camera.settings()[camera.parts().test], at, MEMBERS)
    pick = np.arange(count), at
    y = medla.disturbed("camera", found.data[pick], camera.NOISE, 3)
    return found.states[pick], y, found.background[pick], members


def problem(prior: Any, y: np.ndarray) -> da.Problem:
    """One analysis of each test state, a batch; what is seen of a state needs no formula."""
    see = da.Observation(da.Subset(range(y.shape[-1])), da.Diagonal(np.ones(y.shape[-1])))
    return da.Problem(_still, see, prior, y[:, None].astype(float))


def _still(x: Any) -> Any:
    return x


def analysed(method: da.MEDLA, prior: Any, y: np.ndarray) -> np.ndarray:
    """Means of the analyses, decoded."""
    result = da.assimilate(problem(prior, y), method, progress=False)
    return result["mean"].sel(stage="analysis").values[:, 0]


def regression(net: Any, data: Any, valid: Any, epochs: int, seed: int) -> Any:
    """The encoder of images and the decoder, trained together as a regression."""
    net.scaled(*data[:2])
    part, (a, a_valid) = net.reduced(data[0], valid[0])

    def loss(part: Any, a: Any, y: Any) -> Any:
        y = DISTURB(y) if part.training else y
        return ((part.decode(part.encode_observation(y)) - a) ** 2).mean()

    told: Any = {"optimiser": adam(medla.RATE), "schedule": cosine(epochs), "batch": 32}
    fit(
        part,
        (a, data[1]),
        (a_valid, valid[1]),
        loss=loss,
        epochs=epochs,
        seed=seed,
        progress=False,
        **told,
    )
    with torch.no_grad():
        return net


class Fused(nn.Module):
    """A U-Net of background and image."""

    def __init__(self):
        super().__init__()
        self.net = UNet(2, 1, (12, 24, 48))

    def forward(self, b: Any, y: Any) -> Any:
        y = nn.functional.interpolate(y.reshape(-1, 1, 16, 16), scale_factor=2)
        return self.net(torch.cat((b.reshape(-1, 1, 32, 32), y), dim=1)).flatten(1)


def fused(data: Any, valid: Any, epochs: int, seed: int) -> Fused:
    """The U-Net, trained."""
    net = seeded(seed, Fused)

    def loss(net: Any, b: Any, y: Any, x: Any) -> Any:
        return ((net(b, DISTURB(y) if net.training else y) - x) ** 2).mean()

    told: Any = {"optimiser": adam(3e-3), "schedule": cosine(epochs), "batch": 32}
    order = [(p[2], p[1], p[0]) for p in (data, valid)]
    fit(net, *order, loss=loss, epochs=epochs, seed=seed, progress=False, **told)
    return net


def made(seed: int, epochs: int) -> da.MEDLA:
    """MEDLA of a training; that of seed 0 comes with the package."""
    if seed:
        return medla.fitted("camera", seed, epochs=epochs)
    net, valid = medla.trained("camera"), camera.pairs("validation")
    y = medla.disturbed("camera", valid.data, camera.NOISE, 1)
    ones = np.ones(net.r)
    return da.MEDLA(da.OI(ones), net, R=ones).measured(valid.states, y, valid.background)


def errors(seed: int, quick: bool) -> dict[str, np.ndarray]:
    """|x_a - x|^2 of each test state, by method."""
    data, valid = rows("train"), rows("validation")
    x, y, b, members = test()
    epochs = 4 if quick else medla.EPOCHS
    method = made(seed, epochs)
    net, prior = method.net, da.Gaussian(b.astype(float), da.Diagonal(np.ones(b.shape[-1])))
    published = da.MEDLA(da.OI(0.04 * np.ones(net.r)), net, R=1e-4 * np.ones(net.r))
    ensemble = da.MEDLA(da.ETKF(MEMBERS), net, R=method.R)
    plain = regression(medla.network("camera", seed), data, valid, epochs, seed)
    both = fused(data, valid, 1 if quick else UNET[1], seed) if seed < UNET[0] else None
    X, Y = torch.from_numpy(x), torch.from_numpy(y)
    with torch.no_grad():
        found = {
            "background, no assimilation": b,
            "mean of the ensemble of backgrounds": members.mean(1),
            "floor of the codes, E then D": net(X).numpy(),
            "regression from the image": plain.decode(plain.encode_observation(Y)).numpy(),
            "MEDLA, image alone": net.decode(net.encode_observation(Y)).numpy(),
            "MEDLA, published gain": analysed(published, prior, y),
            "MEDLA, B and R estimated": analysed(method, prior, y),
            "MEDLA(ETKF), ensemble of backgrounds": analysed(
                ensemble, da.Ensemble(members.astype(float)), y
            ),
        }
        if both is not None:
            found[BOTH] = both(torch.from_numpy(b), Y).numpy()
    return {name: ((v - x).astype(float) ** 2).sum(-1) for name, v in found.items()}


def told(squares: np.ndarray, other: np.ndarray | None = None) -> str:
    """Relative error of `(seeds, states)`, or its difference, with 95 % over states and seeds."""
    x = test()[0]
    size, rng = (x.astype(float) ** 2).sum(-1), generator(Purpose.TEST, 42)
    S, N = squares.shape
    values = []
    for k in range(4001):
        at = np.arange(N) if k == 0 else rng.integers(N, size=N)
        seed = np.arange(S) if k == 0 else rng.integers(S, size=S)
        one, two = (
            0.0 if q is None else np.sqrt(q[seed][:, at].sum(-1) / size[at].sum()).mean()
            for q in (squares, other)
        )
        values.append(one - two)
    low, high = np.quantile(values[1:], (0.025, 0.975))
    sign = "" if other is None else "+"
    return f"{values[0]:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def table(report: Report, quick: bool, seeds: tuple[int, ...] = (0,)) -> None:
    """Errors of all, and differences to MEDLA."""
    by_seed = [errors(seed, quick) for seed in seeds]
    squares = {n: np.stack([e[n] for e in by_seed if n in e]) for n in by_seed[0]}
    report.section(
        "Camera: relative error of the analysis",
        f"One frame of each of {len(test()[0])} test runs, {len(seeds)} training(s) of each. "
        "In brackets the middle 95 % over test runs and trainings, bootstrapped.",
        ("method", "error", "less MEDLA with B and R estimated", "less the regression"),
    )
    bases = [squares[n] for n in ("MEDLA, B and R estimated", "regression from the image")]
    for name, found in squares.items():
        less = (None if found is base else told(found, base[: len(found)]) for base in bases)
        report.row(name, told(found), *less)
    report.after(f"The U-Net had {UNET[1]} epochs, MEDLA {medla.EPOCHS}.")


def trainings(report: Report, quick: bool) -> None:
    """The same with five trainings of each network."""
    table(report, quick, (1, 2) if quick else (1, 2, 3, 4, 5))


SECTIONS = {"medla_camera": table, "medla_camera_seeds": trainings}
