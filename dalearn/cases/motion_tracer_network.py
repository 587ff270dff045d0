"""A network that sees four pictures of a tracer and tells the flow, trained without seeing a flow.

    python -m dalearn.cases.motion_tracer_network --out runs/motion

A U-Net on the torus, followed by a filter that keeps the waves which the prior of `motion_tracer`
allows. It is trained by `Learned4DVar.fit`, by the cost of 4D-Var with that prior's B and with R:

    min over weights   sum over windows   sum_k |R^-1/2 (y_k - H M_k(x))|^2 / 2 + |B^-1/2 x|^2 / 2

Beside the pictures the U-Net is told what optical flow makes of them in small squares (B. D. Lucas
and T. Kanade, An iterative image registration technique, IJCAI 1981), so that it need not learn
to divide a change by a slope.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..methods.learned.learned_4dvar import Learned4DVar
from ..problem.problem import Problem
from . import motion_tracer as tracer
from .motion import intervals, motion

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..neural.weights import Card
    from ..neural.window_net import WindowNet

COMMAND = "python -m dalearn.cases.motion_tracer_network"
NAME, PICTURES = "motion-tracer", 4
WIDTHS = (16, 32, 32)
PULL, FLOOR = 0.02, 0.01  # of optical flow towards rest; variance of a wave that is halved
TRAIN, VALIDATION, EPOCHS, BATCH, RATE = 2000, 80, 10, 16, 4e-3


def told(seen: Tensor) -> Tensor:
    """Pictures and their trust `(b, 2 K, n, n)` with what optical flow makes of them beside.

    With y the mean of neighbouring pictures and d their difference: y_x^2, y_y^2, y_x y_y, y_x d
    and y_y d, summed over pairs, and the motions that these imply if each holds in a square of 3
    or 5 cells, pulled towards rest where the pictures have no slope.
    """
    import torch
    from torch.nn.functional import avg_pool2d, pad

    y = seen[:, : seen.shape[1] // 2]
    mean, d = (y[:, 1:] + y[:, :-1]) / 2, y[:, 1:] - y[:, :-1]
    x, z = ((mean.roll(-1, a) - mean.roll(1, a)) / 2 for a in (-1, -2))
    products = torch.stack(
        [(a * b).sum(1) for a, b in ((x, x), (z, z), (x, z), (x, d), (z, d))], 1
    )
    flows = []
    for reach in (1, 2):
        square = avg_pool2d(pad(products, (reach,) * 4, mode="circular"), 2 * reach + 1, 1)
        xx, zz, xz, xd, zd = square.unbind(1)
        xx, zz = xx + PULL, zz + PULL
        flows += [(xz * zd - zz * xd) / (xx * zz - xz**2), (xz * xd - xx * zd) / (xx * zz - xz**2)]
    return torch.cat((seen, products, torch.stack(flows, 1)), 1)


def smooth(body: nn.Module, n: int) -> nn.Module:
    """A body whose fields are passed through the waves that the prior allows.

    f_k -> f_k c_k / (c_k + FLOOR) ,   c_k the variance of a wave, 1 for the longest.
    """
    import torch
    from torch import nn

    class Smooth(nn.Module):
        gain: Tensor

        def __init__(self):
            super().__init__()
            self.body = body
            k = np.fft.fftfreq(n, 1 / n)
            k2 = (k**2)[:, None] + k[: n // 2 + 1] ** 2
            c = np.stack(
                [np.exp(-k2 * L**2 / 2) for L in (tracer.PATTERN, tracer.FLOW, tracer.FLOW)]
            )
            self.register_buffer("gain", torch.as_tensor(c / (c + FLOOR), dtype=torch.float32))

        def forward(self, seen: Tensor) -> Tensor:
            f = torch.fft.rfft2(self.body(told(seen))) * self.gain
            return torch.fft.irfft2(f, s=seen.shape[-2:])

    return Smooth()


def network(seed: int = 0, n: int = tracer.N) -> WindowNet:
    """The network before training."""
    from ..neural.nets import seeded
    from ..neural.unet import UNet
    from ..neural.window_net import WindowNet

    channels = 2 * PICTURES + 5 + 4
    body = seeded(seed, UNet, channels, 3, WIDTHS)
    return WindowNet(smooth(body, n), PICTURES, (1, n, n), (3, n, n))


@cache
def windows(part: str, count: int, seed: int) -> Problem:
    """Windows of pictures of one part in single precision, without their truth."""
    import torch

    made = tracer.problem(tracer.fields(part, count), seed=seed)
    return replace(made, truth=None).to(torch.zeros(1))


def train(
    folder: str | Path, *, epochs: int = EPOCHS, seed: int = 0, progress: bool = True
) -> Any:
    """Train it; weights and a checkpoint go to the folder.

    Called again after a kill it goes on where it was.
    """
    from ..neural.weights import Card, save_weights

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.process_time()
    name = f"{NAME}-{seed}" if seed else NAME
    method = Learned4DVar.fit(
        network(seed),
        windows("train", TRAIN, 1),
        windows("validation", VALIDATION, 2),
        background=1.0,
        epochs=epochs,
        batch=BATCH,
        rate=RATE,
        checkpoint=folder / f"{name}.checkpoint",
        seed=seed,
        progress=progress,
    )
    metric = {
        "end-point error": error_of(method),
        "CPU seconds of the training": round(time.process_time() - begun),
    }
    data = f"{TRAIN} windows of cases.motion_tracer, and {VALIDATION} others for validation"
    card = Card(COMMAND, data, seed, metric, notes=f"metric: on {VALIDATION} validation windows")
    save_weights(method.net, folder / f"{name}.safetensors", card)
    return method


def answered(method: Learned4DVar, problem: Problem) -> np.ndarray:
    """The states at the first picture that a network gives for windows, `(b, 3 n^2)`."""
    import torch

    given = problem.to(torch.zeros(1))
    return next(method.run(given, None)).analysis.mean.numpy()


def error_of(method: Learned4DVar) -> float:
    """The end-point error on the validation windows."""
    from ..diagnostics.motion import end_point_error

    truth = tracer.fields("validation", VALIDATION)
    found = motion(answered(method, tracer.problem(truth, seed=2)))
    return round(float(end_point_error(found, truth[:, 1:]).mean()), 5)


def trained(folder: str | Path = "runs/motion", seed: int = 0) -> tuple[Learned4DVar, Card]:
    """The method with its weights, and their card.

    What is not in the folder yet is trained and kept there, which takes minutes.
    """
    from ..neural.weights import load_weights, read_card

    path = Path(folder) / f"{NAME}{f'-{seed}' * bool(seed)}.safetensors"
    if not path.exists():
        train(folder, seed=seed, progress=False)
    net = network(seed)
    load_weights(net, path)
    return Learned4DVar(net, steps=tuple(intervals())), read_card(path)


def main() -> None:
    """Train it, and print the card's figures."""
    import torch

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/motion", help="folder of weights and checkpoint")
    ask.add_argument("--epochs", type=int, default=EPOCHS)
    ask.add_argument("--seed", type=int, default=0)
    given = ask.parse_args()
    torch.set_num_threads(1)  # the same bits on any machine
    train(given.out, epochs=given.epochs, seed=given.seed)
    print(trained(given.out, given.seed)[1].metric)


if __name__ == "__main__":
    main()
