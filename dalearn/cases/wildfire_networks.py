"""The convolutional autoencoder of burnt flags that comes with the package.

    python -m dalearn.cases.wildfire_networks --out runs/fires

64 numbers for 64 x 64 flags, as POD has them. S. Cheng, I. C. Prentice, Y. Huang, Y. Jin, Y.-K.
Guo and R. Arcucci, J. Comput. Phys. 464, 2022, code their fires in both ways.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import wildfire as fire

if TYPE_CHECKING:
    from ..neural.autoencoder import Autoencoder
    from ..neural.coders import FieldCoder

LATENT, CHANNELS = 64, (8, 16, 32, 32)
NAME = "wildfire-flags"
COMMAND = "python -m dalearn.cases.wildfire_networks"
DATA = (
    "burnt flags of 1000 fires of cases.wildfire, seed 0, every third frame from the third on; "
    "validation: 60 fires that begin on other ground"
)


def network() -> Autoencoder:
    """The network before training."""
    from ..neural.autoencoder import Autoencoder
    from ..neural.nets import seeded

    return seeded(0, Autoencoder.convolutional, (1, fire.SIDE, fire.SIDE), LATENT, CHANNELS)


def trained() -> FieldCoder:
    """The coder of flags `(..., 4096)` with the weights that come with the package."""
    from ..neural.coders import FieldCoder
    from ..neural.weights import load_weights, shipped

    net = network()
    load_weights(net, shipped(NAME))
    return FieldCoder(net)


def floor(coder: Any, fires: fire.Fires) -> float:
    """sqrt(wrong cells / burnt cells) of flags encoded and decoded, all frames."""
    burnt = fires.burnt
    wrong = (coder.decode(coder.encode(burnt)) > 0.5) != (burnt > 0.5)
    return float(np.sqrt(wrong.sum() / burnt.sum()))


def train(
    folder: str | Path, *, epochs: int = 15, fires: int = 1000, progress: bool = True
) -> FieldCoder:
    """Train the network; weights and a checkpoint go to the folder.

    Called again after a kill it goes on where it was.
    """
    import torch

    from ..neural.coders import FieldCoder
    from ..neural.train import adam, cosine, fit
    from ..neural.weights import Card, save_weights

    folder = Path(folder)
    known = fire.fires("train", fires), fire.fires("validation", min(60, fires))
    fire.check_unseen(*known)
    data = [torch.from_numpy(f.burnt[:, 2::3]).reshape(-1, 1, fire.SIDE, fire.SIDE) for f in known]
    net = network().scaled(data[0])
    settings: Any = {"batch": 32, "optimiser": adam(2e-3), "schedule": cosine(epochs)}
    path = folder / f"{NAME}.checkpoint"
    pairs = [(x, x) for x in data]
    record = fit(net, *pairs, epochs=epochs, checkpoint=path, progress=progress, **settings)
    coder = FieldCoder(net)
    metric = {
        "burnt mask, validation": round(floor(coder, known[1]), 4),
        "mean square error, validation": round(min(record.validation), 5),
    }
    notes = "metric: sqrt(wrong cells / burnt cells), all frames"
    save_weights(net, folder / f"{NAME}.safetensors", Card(COMMAND, DATA, 0, metric, notes=notes))
    return coder


def main() -> None:
    """Train, and print the card's figures."""
    import torch

    from ..neural.weights import read_card

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/fires", help="folder of weights and checkpoints")
    torch.set_num_threads(1)
    folder = Path(ask.parse_args().out)
    train(folder)
    print(read_card(folder / f"{NAME}.safetensors").metric)


if __name__ == "__main__":
    main()
