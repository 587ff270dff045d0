"""A surrogate of fires for any landscape: the next map of what has burnt, told of the ground.

    python -m dalearn.cases.spreading_fires --out runs/spreading-fires

`Spreading` reads three maps and the ground, and gives the probability that each cell has burnt
three steps of the automaton later. It is trained on roll-outs over six frames, on fires of forty
landscapes of 32 x 32 cells, and is meant for landscapes that it has not seen, which a surrogate of
POD coefficients cannot know.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import fire_maps
from .fire_maps import MAPS, FireMaps

if TYPE_CHECKING:
    from ..neural import Spreading

SIDE, STEPS, EVERY = 32, 48, 3  # cells a side, automaton steps of a fire, steps a frame
GIVEN, AHEAD = 3, 6  # frames that a forecast is given; frames of a roll-out in training
LANDS, EACH, EPOCHS = 40, 10, 22

COMMAND = "python -m dalearn.cases.spreading_fires"
DATA = "400 fires of 17 frames on 40 landscapes of 32 x 32 cells, seeds 1000 to 1039; no wind"


def fires(part: str, lands: int, each: int, seed: int = 0) -> FireMaps:
    """Fires on the first landscapes of a part of `fire_maps.PARTS`."""
    seeds = list(fire_maps.PARTS[part])[:lands]
    return fire_maps.fires(seeds, each, seed=seed, side=SIDE, steps=STEPS)


def network(seed: int = 0) -> Spreading:
    """The network before training, 5.7 thousand weights."""
    from ..neural import Spreading, seeded

    return seeded(seed, Spreading, MAPS, GIVEN, reach=EVERY)


def trained() -> Spreading:
    """The network with the weights that come with the package, in evaluation mode."""
    from ..neural import load_weights, shipped

    net = network()
    load_weights(net, shipped("fire-spread"))
    return net


def forecast(net: Any, frames: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """All frames from the first three, probabilities `(S, T, h, w)` like `frames`."""
    import torch

    x = torch.from_numpy(frames)
    with torch.no_grad():
        later = net.rollout(x[:, :GIVEN], torch.from_numpy(maps), x.shape[1] - GIVEN)
    return torch.cat((x[:, :GIVEN], later), dim=1).numpy()


def relative(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|found - truth| / |truth| of each frame over all fires, `(T,)`."""
    axes = (0, -2, -1)
    return (((found - truth) ** 2).sum(axes) / (truth**2).sum(axes)) ** 0.5


def train(
    folder: str | Path, *, epochs: int = EPOCHS, seed: int = 0, progress: bool = True
) -> Spreading:
    """Train, and write the weights with their card; called again after a kill it goes on."""
    import torch

    from ..neural import Card, Spreading, fit, save_weights
    from ..neural.train import adam, cosine

    folder, begun = Path(folder), time.process_time()
    data, valid = fires("train", LANDS, EACH), fires("validation", 8, 6)
    fire_maps.check_apart(data, valid)
    frames, length = data.frames(EVERY), GIVEN + AHEAD
    parts = [frames[:, i : i + length] for i in range(0, frames.shape[1] - length + 1, 2)]
    rows = [torch.from_numpy(np.concatenate(v)) for v in (parts, [data.maps] * len(parts))]
    held = [torch.from_numpy(v) for v in (valid.frames(EVERY), valid.maps)]
    net = network(seed)
    settings: Any = {"optimiser": adam(5e-3), "schedule": cosine(epochs), "batch": 20}
    settings |= {"seed": seed, "progress": progress, "checkpoint": folder / "spread.checkpoint"}
    fit(net, rows, held, loss=Spreading.loss, epochs=epochs, **settings)
    spent = time.process_time() - begun
    truth = valid.frames(EVERY)
    error = relative(forecast(net, truth, valid.maps), truth)
    metric = {
        "relative RMSE, validation, frames 5, 8, 11, 15": error[[5, 8, 11, 15]].round(3),
        "CPU s": round(spent),
    }
    save_weights(net, folder / "fire-spread.safetensors", Card(COMMAND, DATA, seed, metric))
    return net


def main() -> None:
    """Train, and print the card's figures."""
    import torch

    from ..neural import read_card

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/spreading-fires", help="folder of weights, checkpoint")
    torch.set_num_threads(1)
    folder = Path(ask.parse_args().out)
    train(folder)
    print(read_card(folder / "fire-spread.safetensors").metric)


if __name__ == "__main__":
    main()
