"""Networks that see a window of pictures and tell the motion, trained without seeing a motion.

    python -m dalearn.cases.motion_networks --out runs/motion

A U-Net answers a film, ten pictures of which most are gaps, with two fields: a height, and how the
water runs together. Poisson's equation makes the second a velocity without rotation, as it is of
water that has started at rest. Three trainings of it, by `Learned4DVar.fit`:

    learned      on pictures, by the cost of 4D-Var with the background that pictures imply
    held         on pictures, without a background; some points are not shown and only they count
    supervised   on pictures and true states, for comparison

In training each window has its own times, errors and gaps.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, generator
from ..covariances.matrices import Diagonal
from ..methods.learned.learned_4dvar import Learned4DVar
from ..problem.belief import Gaussian
from ..problem.problem import Problem
from . import motion
from .motion_waves import Waves, cosines, spectrum, wavenumbers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..neural.window_net import WindowNet

NAMES = "learned", "held", "supervised"
COMMAND = "python -m dalearn.cases.motion_networks"
WIDTHS, UNITS = (
    (8, 16, 32, 32),
    (0.4, 0.08, 0.08),
)  # of the U-Net; of height and velocity, m and m/s
TRAIN, VALIDATION, EPOCHS, BATCH, RATE, HIDE = 800, 80, 15, 16, 4e-3, 0.3
NOISES, GAPS = (0.03, 0.3), (2, 3, 5)  # m, least and most; steps between pictures

DATA = (
    f"{TRAIN} windows of cases.motion, each of a run of its own, pictures every 2, 3 or 5 steps, "
    "errors of 0.03 to 0.3 m, half of the windows whole, the others seen at 10 to 100 % of the "
    f"points; {VALIDATION} other runs for validation"
)


def units() -> Gaussian:
    """A belief that tells no more than the units of a state."""
    n = motion.N**2
    return Gaussian(np.zeros(3 * n), Diagonal(np.repeat(UNITS, n) ** 2))


def without_rotation(body: nn.Module, n: int = motion.N) -> nn.Module:
    """A body of two fields as one of three: height, and the velocity whose divergence is known.

    (a, b) -> (a, grad lap^-1 b) ,   in units, with walls, solved by cosines.
    """
    import torch
    from torch import nn

    class WithoutRotation(nn.Module):
        cosines: Tensor
        inverse: Tensor

        def __init__(self):
            super().__init__()
            self.body = body
            k2 = wavenumbers(n)
            inverse = np.where(k2 > 0, 0.03 / UNITS[1] / np.where(k2 > 0, k2, 1), 0)
            for name, value in (("cosines", cosines(n)), ("inverse", inverse)):
                self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32))

        def forward(self, x: Tensor) -> Tensor:
            C = self.cosines
            eta, spread = self.body(x).unbind(1)
            phi = C.T @ (self.inverse * (C @ spread @ C.T)) @ C
            u = torch.cat((phi[..., 1:] - phi[..., :-1], 0 * phi[..., :1]), -1)
            v = torch.cat((phi[:, 1:] - phi[:, :-1], 0 * phi[:, :1]), -2)
            return torch.stack((eta, u, v), 1)

    return WithoutRotation()


def network(seed: int = 0) -> WindowNet:
    """The network before training: 31 thousand weights."""
    from ..neural.nets import seeded
    from ..neural.unet import UNet
    from ..neural.window_net import WindowNet

    body = seeded(seed, UNet, 2 * motion.TIMES, 2, WIDTHS, periodic=False)
    grid = motion.N, motion.N
    return WindowNet(without_rotation(body), motion.TIMES, (1, *grid), (3, *grid))


def mixed(part: str, count: int, seed: int = 0) -> tuple[Problem, Tensor]:
    """Windows of many kinds as films, and the true states one step before the first picture."""
    import torch

    start = motion.starts(part, count)
    rng = generator(Purpose.CASE, 24, seed)
    sigma = np.exp(rng.uniform(np.log(NOISES[0]), np.log(NOISES[1]), count))
    share = np.where(rng.random(count) < 0.5, 1.0, rng.uniform(0.1, 1, count))
    kind = rng.integers(len(GAPS), size=count)
    frames = np.full((count, motion.TIMES, motion.N**2), np.nan, "float32")
    for i, every in enumerate(GAPS):
        rows = np.flatnonzero(kind == i)
        if not len(rows):
            continue
        whole = motion.problem(start[rows], every=every, noise=1e-6, seed=seed)
        told = motion.film(whole).data
        told = told + sigma[rows, None, None] * rng.standard_normal(told.shape)
        told[rng.random(told.shape) >= share[rows, None, None]] = np.nan
        frames[rows] = told
    R = Diagonal(np.broadcast_to(sigma[:, None] ** 2, (count, motion.N**2)))
    made = motion.problem(start[:1], prior=units())
    seen = replace(made.observation, noise=R)
    made = replace(made, data=frames, observation=seen, steps=1, truth=None)
    return made.to(torch.zeros(1)), torch.as_tensor(start).flatten(1)


@dataclass(frozen=True, eq=False)
class Background:
    """|B^-1/2 x|^2 / 2 of states `(b, 3, n, n)`, a cost `(b,)`.

    Args:
        waves: B.
    """

    waves: Waves

    def __call__(self, x: Tensor) -> Tensor:
        z = self.waves.whiten(x.reshape(len(x), 1, -1))
        return 0.5 * (z**2).sum((-2, -1))


@cache
def implied() -> Waves:
    """The covariance that the pictures of the training runs imply."""
    return spectrum(motion.problem(motion.starts("train", TRAIN), seed=2))


def train(
    name: str,
    folder: str | Path,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    progress: bool = True,
) -> Any:
    """Train one of the networks; weights and a checkpoint go to the folder.

    The seed is of the first weights and of the training; the windows are the same.

    Called again after a kill it goes on where it was.
    """
    from ..neural.weights import Card, save_weights

    if name not in NAMES:
        raise ValueError(f"name must be one of {NAMES}, met {name!r}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = f"{name}-{seed}" if seed else name
    here, there = mixed("train", TRAIN, 0), mixed("validation", VALIDATION, 1)
    ways: dict[str, dict[str, Any]] = {
        "learned": {"penalty": Background(implied())},
        "held": {"hide": HIDE},
        "supervised": {"truth": (here[1], there[1])},
    }
    method = Learned4DVar.fit(
        network(seed),
        here[0],
        there[0],
        epochs=epochs,
        batch=BATCH,
        rate=RATE,
        checkpoint=folder / f"{file}.checkpoint",
        seed=seed,
        progress=progress,
        **ways[name],
    )
    metric = {"end-point error, m/s, published windows": error_of(method)}
    card = Card(COMMAND, DATA, seed, metric, notes=f"metric: on {VALIDATION} validation runs")
    save_weights(method.net, folder / f"motion-{file}.safetensors", card)
    return method


def trained(
    name: str = "learned", folder: str | Path = "runs/motion", seed: int = 0
) -> Learned4DVar:
    """The method with its weights: "learned" comes with the package, others are in a folder.

    What is not there yet is trained and kept there, which takes minutes.
    """
    from ..neural.weights import load_weights, shipped

    net = network()
    path = Path(folder) / f"motion-{name}{f'-{seed}' * bool(seed)}.safetensors"
    if name == NAMES[0] and not seed:
        path = shipped("motion-learned")
    elif not path.exists():
        train(name, folder, seed=seed, progress=False)
    load_weights(net, path)
    return Learned4DVar(net)


def answered(method: Learned4DVar, problem: Problem) -> np.ndarray:
    """The states at the first picture that a network gives for windows, `(b, 3 n^2)`."""
    import torch

    film = motion.film(replace(problem, prior=units())).to(torch.zeros(1))
    return next(method.run(film, None)).analysis.mean.numpy()


def error_of(method: Learned4DVar) -> float:
    """The end-point error on the published windows of the validation runs."""
    from ..diagnostics.motion import end_point_error

    there: Any = motion.problem(motion.starts("validation", VALIDATION))
    estimate = motion.motion(answered(method, there))
    return round(float(end_point_error(estimate, motion.motion(there.truth)[:, 0]).mean()), 5)


def main() -> None:
    """Train all, and print the cards' figures."""
    import torch

    from ..neural.weights import read_card

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/motion", help="folder of weights and checkpoints")
    ask.add_argument("--only", choices=NAMES, help="one of them")
    ask.add_argument("--epochs", type=int, default=EPOCHS)
    ask.add_argument("--seed", type=int, default=0, help="of the first weights, the training")
    ask.add_argument("--threads", type=int, default=1, help="1: the same bits on any machine")
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    for name in [given.only] if given.only else NAMES:
        train(name, given.out, epochs=given.epochs, seed=given.seed)
        file = f"{name}-{given.seed}" if given.seed else name
        print(name, read_card(Path(given.out) / f"motion-{file}.safetensors").metric)


if __name__ == "__main__":
    main()
