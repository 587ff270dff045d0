"""Two surrogates of Lorenz-63, a perceptron and an LSTM, and the command that trains them.

    python -m dalearn.cases.lorenz63 --out runs/lorenz63

Both step 0.05 time units, five steps of the model. The perceptron reads one state, which is all
there is to know of a system without memory; the LSTM reads a window of four, as a network must
where a part of the state is hidden. In `History` that window is the state of the model.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, generator
from ..models import Lorenz63
from ..run.simulate import simulate

if TYPE_CHECKING:
    from torch import Tensor

    from ..neural.data import Split
    from ..neural.nets import Normalised

STEP, WINDOW, AHEAD = 5, 4, 4  # model steps in a step of the surrogate; states read, forecast

COMMAND = "python -m dalearn.cases.lorenz63"

DATA = "64 runs of Lorenz63 on its attractor, 200 states 0.05 apart, split by trajectory 44/10/10"


def states(count: int = 64, times: int = 200) -> tuple[np.ndarray, Split]:
    """Trajectories `(count, times, 3)` on the attractor, 0.05 time units apart; the split."""
    from ..neural.data import split

    x0 = generator(Purpose.CASE, 0).normal([0, 0, 25], 5, (count, 3))
    runs = simulate(Lorenz63(), x0, STEP * (times + 199), every=STEP, progress=False)
    return runs[:, 200:], split(count, (0.7, 0.15, 0.15), seed=0)


def perceptron() -> Normalised:
    """x -> x + f(x), two layers of 64, before training; `(..., 3) -> (..., 3)`."""
    from ..neural.data import Normalisation
    from ..neural.nets import MLP, Normalised, seeded

    unit = Normalisation(np.zeros(3), np.ones(3))
    return Normalised(seeded(1, MLP, 3, 3, (64, 64), residual=True), unit)


def lstm() -> Normalised:
    """The module of `History(lstm(), 4)`, before training; windows `(b, 4, 3) -> (b, 3)`."""
    from ..neural.data import Normalisation
    from ..neural.nets import LSTM, Normalised, seeded

    unit = Normalisation(np.zeros(3), np.ones(3))
    return Normalised(seeded(2, LSTM, 3, 64), unit)


def trained(name: str) -> Normalised:
    """ "perceptron" or "lstm" with the weights that come with the package, in evaluation mode."""
    from ..neural.weights import load_weights, shipped

    made = {"perceptron": perceptron, "lstm": lstm}
    if name not in made:
        raise ValueError(f"the surrogates of Lorenz-63 are {sorted(made)}, met {name!r}")
    net = made[name]().float()  # whatever torch's default dtype is
    load_weights(net, shipped(f"lorenz63-{name}"))
    return net


def rollout_loss(net: Normalised, window: Tensor, future: Tensor) -> Tensor:
    """Mean square error of the network's own forecasts, one to `ahead` steps long.

    `window (b, L, 3)`, `future (b, ahead, 3)`, in units of the variance of each component. A
    perceptron reads the last state of the window.
    """
    import torch

    total = torch.zeros((), dtype=window.dtype)
    for k in range(future.shape[1]):
        new = net(window if getattr(net.module, "memory", None) is not None else window[:, -1])
        window = torch.cat((window[:, 1:], new[:, None]), dim=1)
        total = total + (((new - future[:, k]) / net.before_std) ** 2).mean()
    return total / future.shape[1]


def train(folder: str | Path, *, epochs: int = 60, progress: bool = True) -> dict[str, Any]:
    """Train both; weights and checkpoints go to the folder. Returns what was measured."""
    import torch

    from ..neural.data import Normalisation, windows
    from ..neural.train import adam, cosine, fit
    from ..neural.weights import Card, save_weights

    folder, told = Path(folder), {}
    runs, parts = states()
    runs = torch.from_numpy(runs.astype("float32"))
    here, there = runs[parts.train], runs[parts.validation]
    scale = Normalisation.fit(here)
    for name, net in (("perceptron", perceptron()), ("lstm", lstm())):
        net.scaled(scale)
        data, valid = (windows(x, WINDOW, ahead=AHEAD) for x in (here, there))
        fit(
            net,
            data,
            valid,
            loss=rollout_loss,
            epochs=epochs,
            batch=256,
            optimiser=adam(5e-3),
            schedule=cosine(epochs),
            clip=1.0,
            checkpoint=folder / f"{name}.checkpoint",
            progress=progress,
        )
        with torch.no_grad():
            error = float(rollout_loss(net, valid[0], valid[1][:, :1])) ** 0.5
        told[name] = {"RMSE of one step, in standard deviations": round(error, 5)}
        card = Card(COMMAND, DATA, 0, told[name], notes="metric: on the validation trajectories")
        save_weights(net, folder / f"lorenz63-{name}.safetensors", card)
    return told


def main() -> None:
    """Train, and print the cards' figures."""
    import torch

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/lorenz63", help="folder of weights and checkpoints")
    ask.add_argument("--epochs", type=int, default=60)
    ask.add_argument("--threads", type=int, default=1, help="the bits depend on it")
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    for name, metric in train(given.out, epochs=given.epochs).items():
        print(name, metric)


if __name__ == "__main__":
    main()
