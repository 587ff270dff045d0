"""The networks of neural incremental assimilation, and the command that trains them.

    python -m dalearn.cases.neural_incremental --out runs/neural_incremental

One network a set-up (`neural_incremental_setup`), each trained over observing systems that are
drawn anew at each step. Files hold half precision.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .neural_incremental_setup import SETUPS, spring

if TYPE_CHECKING:
    from ..methods import NeuralIncremental
    from ..neural.incremental import NeuralPrior

COMMAND = "python -m dalearn.cases.neural_incremental"
HIDDEN = {"lorenz63-05": (256,) * 3, "lorenz63-025": (160,) * 3, "pendulum": (128,) * 3}
EPOCHS = {"lorenz63-05": 16, "lorenz63-025": 12, "pendulum": 16, "lorenz96": 4}
LEVELS = {"lorenz63-05": 3, "lorenz63-025": 3, "pendulum": 1, "lorenz96": 3}
SIZE = {"lorenz96": 48}  # trajectories in a step, 256 elsewhere


def network(name: str, seed: int = 0, **settings: Any) -> NeuralPrior:
    """The network of a set-up before training, with the first weights of a seed.

    Args:
        name: of the set-up.
        seed: of the weights.
        settings: of NeuralPrior, in the place of those of the shipped networks.
    """
    from ..neural.incremental import NeuralPrior
    from ..neural.nets import seeded
    from ..neural.trajectory_nets import Ring

    setup = SETUPS[name]
    told: dict[str, Any] = {"hidden": HIDDEN[name]} if name in HIDDEN else {}
    if name == "lorenz96":
        told = {"reach": 1, "modes": 200, "reads": True, "body": lambda c, k: Ring(c, k)}
    return seeded(seed, NeuralPrior, setup.T, setup.n, **{**told, **settings})


def fitted(
    name: str,
    seed: int = 0,
    *,
    draw: Any = None,
    epochs: int | None = None,
    count: int | None = None,
    folder: Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> NeuralIncremental:
    """A set-up's method, trained with a seed.

    Args:
        name: of the set-up.
        seed: of weights and training.
        draw: observing systems, in the place of the set-up's.
        epochs: passes over the training set.
        count: training trajectories.
        folder: of the checkpoint, or None.
        progress: whether to show a bar.
        settings: of the network.
    """
    import torch

    from ..methods import NeuralIncremental

    setup = SETUPS[name]
    train = setup.trajectories("train", count)
    first = tuple(torch.as_tensor(v) for v in spring(setup)) if name == "pendulum" else None
    return NeuralIncremental.fit(
        network(name, seed, **settings),
        train,
        setup.trajectories("validation"),
        draw=draw or setup.draw(),
        std=setup.std(train),
        levels=LEVELS[name],
        one=1.0 if LEVELS[name] == 1 else 0.5,
        moments=first,
        epochs=epochs or EPOCHS[name],
        batch=SIZE.get(name, 256),
        checkpoint=folder and folder / f"neural-incremental-{name}-{seed}.checkpoint",
        seed=seed,
        progress=progress,
    )


def trained(name: str) -> NeuralIncremental:
    """A set-up's method with the weights that come with the package."""
    from ..methods import NeuralIncremental
    from ..neural.weights import load_weights, shipped

    net = network(name)
    load_weights(net.half(), shipped(f"neural-incremental-{name}"))
    return NeuralIncremental(net.float(), levels=LEVELS[name])


def errors(method: NeuralIncremental, name: str, draw: Any = None) -> dict[str, float]:
    """Root mean square errors on validation trajectories, in the network's units.

    Of the first guess, and of each level.
    """
    import torch

    from ..array import Purpose, torch_seed
    from ..neural.draws import Draws
    from ..neural.reconstruct import Reconstruction

    setup, net = SETUPS[name], method.net
    x = torch.as_tensor(setup.trajectories("validation")).float()
    std = setup.error * (net.std if setup.relative else torch.ones_like(net.std))
    with torch.no_grad(), Draws(torch_seed(Purpose.CASE, setup.key), []).turn():
        seen = Reconstruction(draw or setup.draw(), std).data(net, x)
        truth = (x - net.mean) / net.std
        found = {"first guess": net.first(seen)}
        for k, v in enumerate(net.assimilate(seen, method.levels)):
            found[f"level {k + 1} of {method.levels}"] = v
    return {k: round(float((v - truth).square().mean().sqrt()), 4) for k, v in found.items()}


def train(name: str, folder: Path, *, epochs: int | None = None, progress: bool = True) -> None:
    """Train the network of a set-up; weights and checkpoint go to the folder."""
    from ..neural.weights import Card, save_weights

    setup = SETUPS[name]
    method = fitted(name, epochs=epochs, folder=folder, progress=progress)
    method.net.half().float()  # as a file will hold it
    about = f"{setup.count} trajectories of {setup.T} times; a fresh {setup.draw()} at each step"
    told = errors(method, name)
    card = Card(COMMAND, about, 0, told, notes="metric: RMSE on validation trajectories")
    save_weights(method.net.half(), folder / f"neural-incremental-{name}.safetensors", card)


def main() -> None:
    """Train, and print the cards' figures."""
    import torch

    from ..neural.weights import read_card

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/neural_incremental", help="folder of the weights")
    ask.add_argument("--only", choices=sorted(SETUPS), help="one set-up; all without it")
    ask.add_argument("--epochs", type=int, help="fewer or more than recorded")
    ask.add_argument("--threads", type=int, default=1, help="1: the same bits on any machine")
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    folder = Path(given.out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in [given.only] if given.only else sorted(SETUPS):
        train(name, folder, epochs=given.epochs)
        print(name, read_card(folder / f"neural-incremental-{name}.safetensors").metric)


if __name__ == "__main__":
    main()
