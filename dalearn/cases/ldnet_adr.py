"""The first test of LDNets: a wave that is carried, spreads and decays, on a ring.

    python -m dalearn.cases.ldnet_adr --out runs/ldnet-adr

    z_t = mu_1 z_xx + mu_2 z_x - mu_3 z ,   x in (-1, 1) periodic,   z(0, x) = cos(pi x)

has the solution z = exp(-(mu_1 pi^2 + mu_3) t) cos(pi (x + mu_2 t)): amplitude and phase, two
numbers, say all, and a latent state of two numbers must find them without being told. Nothing is
assumed of the equation. Test case 1a of F. Regazzoni, S. Pagani, M. Salvador, L. Dede' and
A. Quarteroni, Learning the intrinsic dynamics of spatio-temporal processes through Latent Dynamics
Networks, Nature Communications 15, 2024, whose RMSE over the range is 8.58e-3.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, check_count, generator

if TYPE_CHECKING:
    from torch import Tensor

    from ..neural.ldnet import LDNet

LOW, HIGH = (0.0, -0.1, 0.0), (0.05, 0.1, 0.01)  # of mu_1, mu_2, mu_3
TIMES = np.linspace(0, 5, 101)
POINTS = -1 + np.arange(100) / 50
RUNS = 100  # for training, for validation, for the test
FEW = 5  # the training sees one in so many times and points

COMMAND = "python -m dalearn.cases.ldnet_adr"
DATA = (
    "the exact solution for 100 / 100 / 100 uniform draws of mu in [0, .05] x [-.1, .1] x "
    "[0, .01], 101 times up to 5; training on 21 times and 20 points, the rest on all 101 x 100"
)


def exact(mu: np.ndarray, times: np.ndarray = TIMES, points: np.ndarray = POINTS) -> np.ndarray:
    """The solution for parameters `(S, 3)`: `(S, T, P, 1)`."""
    diffusion, speed, decay = (mu[:, i, None, None] for i in range(3))
    t = times[:, None]
    size = np.exp(-(diffusion * math.pi**2 + decay) * t)
    return (size * np.cos(math.pi * (points + speed * t)))[..., None]


def samples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters `(100, 3)` for training, validation and test."""
    draws = generator(Purpose.CASE, 1).uniform(LOW, HIGH, (3, RUNS, 3))
    return draws[0], draws[1], draws[2]


def network(seed: int = 0) -> LDNet:
    """The network before training: 2 latent numbers, 352 weights, the start of the paper."""
    import torch
    from torch import nn

    from ..neural.data import Normalisation
    from ..neural.ldnet import LDNet
    from ..neural.nets import seeded
    from ..neural.reconstruction import AtPoints

    def make() -> LDNet:
        R = AtPoints(2, 1, 1, (11, 11), activation=nn.Tanh, gain=1.0)
        return LDNet(3, R, (9, 9), dt=0.1, start="first")

    box = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    unit = Normalisation(np.zeros(1), np.ones(1))
    corners = torch.tensor([LOW, HIGH], dtype=torch.float64)
    return seeded(seed, make).double().scaled(corners, box, unit)


def trained() -> LDNet:
    """The network with the weights that come with the package, in evaluation mode."""
    from ..neural.weights import load_weights, shipped

    net = network()
    load_weights(net, shipped("ldnet-adr"))
    return net


def loss(net: LDNet, mu: Tensor, fields: Tensor) -> Tensor:
    """Mean square error at the times and points that the training sees."""
    import torch

    seen = net.latents(mu, len(TIMES))[:, ::FEW]
    points = torch.from_numpy(POINTS[::FEW, None]).to(mu)
    return ((net.reconstruct(seen, points) - fields) ** 2).mean()


def over_range(net: LDNet, mu: np.ndarray) -> float:
    """The root-mean-square error over all times and points, over the range of z, which is 2."""
    import torch

    with torch.no_grad():
        found = net(torch.from_numpy(mu), torch.from_numpy(POINTS[:, None]), len(TIMES))
    return float((found - torch.from_numpy(exact(mu))).square().mean().sqrt()) / 2


def train(
    folder: str | Path,
    *,
    starts: Sequence[int] = (0, 1, 2),
    adams: int = 30,
    searches: int = 24,
    progress: bool = True,
) -> LDNet:
    """Train from several starts, and keep the one with the least error on the validation data.

    Each first by Adam, then by L-BFGS with all data in each step, `searches` times 25 of its
    steps. Called again after a kill it goes on where it was. The test data are used once, for the
    card.
    """
    import torch

    from ..neural.train import adam, cosine, fit
    from ..neural.weights import Card, save_weights

    for name, value in (("adams", adams), ("searches", searches)):
        check_count(name, value)
    folder, (mu, valid, test) = Path(folder), samples()
    data = torch.from_numpy(mu), torch.from_numpy(exact(mu)[:, ::FEW, ::FEW])
    newton: Any = partial(
        torch.optim.LBFGS, max_iter=25, history_size=100, line_search_fn="strong_wolfe",
        tolerance_grad=0.0, tolerance_change=0.0,
    )  # fmt: skip
    found = []
    for start in starts:
        net, told = network(start), {"loss": loss, "seed": start, "progress": progress}
        path = folder / f"adam-{start}.checkpoint"
        first: Any = {"optimiser": adam(1e-2), "schedule": cosine(adams), "batch": 25}
        fit(net, data, epochs=adams, checkpoint=path, **first, **told)
        path = folder / f"lbfgs-{start}.checkpoint"
        fit(net, data, epochs=searches, batch=RUNS, optimiser=newton, checkpoint=path, **told)
        found.append((over_range(net, valid), start, net))
    _, start, net = min(found, key=lambda f: f[:2])
    metric = {
        "RMSE over range, validation, each start": [float(f"{error:.3e}") for error, *_ in found],
        "RMSE over range, test": float(f"{over_range(net, test):.3e}"),
    }
    card = Card(COMMAND, DATA, start, metric, notes="published: 8.576e-3")
    save_weights(net, folder / "ldnet-adr.safetensors", card)
    return net


def main() -> None:
    """Train, and print the card's figures."""
    import torch

    from ..neural.weights import read_card

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/ldnet-adr", help="folder of weights and checkpoints")
    torch.set_num_threads(1)
    folder = Path(ask.parse_args().out)
    train(folder)
    print(read_card(folder / "ldnet-adr.safetensors").metric)


if __name__ == "__main__":
    main()
