"""The shallow-water case of latent assimilation: four networks, and the command that trains them.

    python -m dalearn.cases.shallow_water --out runs/shallow-water

A bump of water is released somewhere in a closed basin (ShallowWater, 32 x 32 cells). What is
forecast is the velocity u, what is measured the height h; no equation gives one from the other.

    velocity   autoencoder of u:  u <-> z, 16 numbers
    height     autoencoder of h:  h <-> w, 16 numbers
    across     w = G(z), a perceptron: with the decoder of h it is the observation operator
    forecast   z_{k+1} = f(z_{k-3}, ..., z_k), an LSTM

The task is that of S. Cheng, J. Min, C. Liu and R. Arcucci, TorchDA, Comput. Phys. Commun. 306,
2025, on a smaller grid, and with a split they do not make: their networks saw the one simulation
that they were tested on, these are tested on bumps that they have never seen.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, generator
from ..models import ShallowWater
from ..run.simulate import simulate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..neural.autoencoder import Autoencoder
    from ..neural.data import Split
    from ..neural.nets import Normalised
    from ..neural.train import Record

LATENT, WINDOW, AHEAD = 16, 4, 8

TRAJECTORIES, STEPS, EVERY, FIRST = 160, 128, 2, 4  # states 4 to 64, two model steps apart

COMMAND = "python -m dalearn.cases.shallow_water"

DATA = (
    "160 runs of ShallowWater.motion(32), bumps 1 m high and 120 km wide, centres uniform in "
    "(250 km, 500 km)^2, states 4 to 64, one in two steps; split by trajectory 112 / 24 / 24"
)


@dataclass(frozen=True, eq=False)
class Networks:
    """The four networks; `double()` for a problem in float64."""

    velocity: Autoencoder
    height: Autoencoder
    across: Normalised
    forecast: Normalised

    def double(self) -> Networks:
        """The same networks in double precision (converted in place)."""
        for part in vars(self).values():
            part.double()
        return self

    def see_height(self, z: Tensor) -> Tensor:
        """The learned operator in full space: latent velocity `(..., 16)` -> h `(..., 1024)`."""
        return self.height.decode(self.across(z)).flatten(-3)

    def see_latent(self, z: Tensor) -> Tensor:
        """The learned operator in latent space: latent velocity -> latent height `(..., 16)`."""
        return self.across(z)


def networks() -> Networks:
    """The networks before training, with the first weights of their seeds."""
    from torch import nn

    from ..neural.autoencoder import Autoencoder
    from ..neural.data import Normalisation
    from ..neural.nets import LSTM, MLP, Normalised, seeded

    unit = Normalisation(np.zeros(LATENT), np.ones(LATENT))

    def coder() -> Autoencoder:
        return Autoencoder.convolutional((1, 32, 32), LATENT, (8, 16, 32))

    return Networks(
        seeded(1, coder),
        seeded(2, coder),
        Normalised(seeded(3, MLP, LATENT, LATENT, (96, 96), activation=nn.SiLU), unit),
        Normalised(seeded(4, LSTM, LATENT, 80), unit),
    )


def trained() -> Networks:
    """The networks with the weights that come with the package, in evaluation mode."""
    from ..neural.weights import load_weights, shipped

    nets = networks()
    for name, part in vars(nets).items():
        load_weights(part.float(), shipped(f"shallow-water-{name}"))
    return nets


def model() -> ShallowWater:
    """The basin: 1000 km across, 100 m deep, 32 x 32 cells, walls all round."""
    return ShallowWater.motion(32)


def centres(count: int = TRAJECTORIES) -> np.ndarray:
    """Where the bumps of `states` stand, x and y in m: `(count, 2)`."""
    return generator(Purpose.CASE, 0).uniform(2.5e5, 5e5, (count, 2))


def released(at: np.ndarray, steps: int = STEPS, *, progress: bool = False) -> np.ndarray:
    """Runs from bumps at the centres `(S, 2)`, one state in two steps: `(S, T, 3, 32, 32)`.

    The first states are left out: at the release u is 0 wherever the bump stands.
    """
    basin = model()
    x0 = basin.bump(at, width=1.2e5)
    runs = simulate(basin, x0, steps, every=EVERY, dtype="float32", progress=progress)
    return runs[:, FIRST:]


def states(count: int = TRAJECTORIES, *, progress: bool = False) -> tuple[np.ndarray, Split]:
    """Trajectories `(count, 61, 3, 32, 32)` of eta, u and v, and how they are split."""
    from ..neural.data import split

    return released(centres(count), STEPS, progress=progress), split(count, seed=0)


def rollout(forecast: nn.Module, window: Tensor, count: int) -> Tensor:
    """The network's own future: windows `(b, L, n)` -> the next `count` states `(b, count, n)`."""
    import torch

    made = []
    for _ in range(count):
        new = forecast(window)
        window = torch.cat((window[:, 1:], new[:, None]), dim=1)
        made.append(new)
    return torch.stack(made, dim=1)


def forecast_loss(forecast: Normalised, window: Tensor, future: Tensor) -> Tensor:
    """Mean square error of the next `ahead` states, each forecast from the network's own."""
    scale = forecast.before_std
    return (((rollout(forecast, window, future.shape[1]) - future) / scale) ** 2).mean()


def coder_loss(coder: Autoencoder, x: Tensor) -> Tensor:
    """Mean square error of the fields that come back, in units of their variance."""
    return ((coder(x) - x) ** 2).mean() / coder.std**2


def train(folder: str | Path, *, epochs: int = 120, progress: bool = True) -> Networks:
    """Train all four, one after the other; weights and checkpoints go to the folder.

    Called again after a kill it goes on where it was. `epochs` of the autoencoders and of
    the LSTM; four times as many of the perceptron. The cards' figures are measured on the
    validation trajectories.
    """
    import torch

    from ..neural.data import Normalisation, windows
    from ..neural.train import adam, cosine, fit
    from ..neural.weights import Card, save_weights

    folder, nets = Path(folder), networks()
    runs, parts = states(progress=progress)
    told: dict[str, Any] = {}

    def run(name: str, data: Any, valid: Any, rate: float, **more: Any) -> Record:
        path = folder / f"{name}.checkpoint"
        settings = {"epochs": epochs, "optimiser": adam(rate), "schedule": cosine(epochs), **more}
        net = getattr(nets, name)
        return fit(net, data, valid, checkpoint=path, progress=progress, **settings)

    def fields(index: np.ndarray, channel: int) -> Tensor:
        return torch.from_numpy(runs[index][:, :, channel : channel + 1])

    latents = {}
    for name, channel in (("velocity", 1), ("height", 0)):
        here, there = fields(parts.train, channel), fields(parts.validation, channel)
        coder = getattr(nets, name).scaled(here)
        run(name, here.flatten(0, 1), there.flatten(0, 1), 3e-3, loss=coder_loss)
        with torch.no_grad():
            latents[name] = coder.encode(here), coder.encode(there)
            told[name] = {"relative RMSE": relative(coder(there), there)}
    z, z_valid = latents["velocity"]
    w, w_valid = latents["height"]
    zs, ws = Normalisation.fit(z), Normalisation.fit(w)
    nets.across.scaled(zs, ws)
    here, there = ((a.flatten(0, 1), b.flatten(0, 1)) for a, b in ((z, w), (z_valid, w_valid)))
    run("across", here, there, 3e-3, epochs=4 * epochs, schedule=cosine(4 * epochs))
    with torch.no_grad():
        there = fields(parts.validation, 0)
        seen = nets.height.decode(nets.across(z_valid))
        told["across"] = {"relative RMSE of h": relative(seen, there)}
    nets.forecast.scaled(zs)
    data, valid = windows(z, WINDOW, ahead=AHEAD), windows(z_valid, WINDOW, ahead=AHEAD)
    run("forecast", data, valid, 3e-3, loss=forecast_loss, clip=1.0)
    with torch.no_grad():
        free = rollout(nets.forecast, z_valid[:, :WINDOW], z_valid.shape[1] - WINDOW)
        there = fields(parts.validation, 1)[:, WINDOW:]
        error = nets.velocity.decode(free)
        told["forecast"] = {
            f"relative RMSE of u, {k} steps ahead": relative(error[:, k - 1], there[:, k - 1])
            for k in (1, 10, 25, 50)
            if k <= there.shape[1]
        }
    for name, metric in told.items():
        card = Card(COMMAND, DATA, 0, metric, notes="metric: on the 24 validation trajectories")
        save_weights(getattr(nets, name), folder / f"shallow-water-{name}.safetensors", card)
    return nets


def relative(estimate: Tensor, truth: Tensor) -> float:
    """|estimate - truth| / |truth| over all that is given (the relative RMSE), rounded."""
    return round(float((estimate - truth).norm() / truth.norm()), 4)


def main() -> None:
    """Train, and print the cards' figures."""
    import torch

    from ..neural.weights import read_card

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/shallow-water", help="folder of weights, checkpoints")
    ask.add_argument("--epochs", type=int, default=120)
    ask.add_argument("--threads", type=int, default=1, help="1: the same bits on any machine")
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    train(given.out, epochs=given.epochs)
    for path in sorted(Path(given.out).glob("*.safetensors")):
        print(path.stem, read_card(path).metric)


if __name__ == "__main__":
    main()
