"""The networks of both cases of MEDLA, and the command that trains them.

    python -m dalearn.cases.medla --out runs/medla

    burgers   fields of 128^2 points and coarse ones of 32^2, 15 numbers (`medla_burgers`)
    camera    droplets on 32^2 cells and their images of 16^2, 24 numbers (`medla_camera`)

Both are TwoEncoders.separable, perceptrons behind products of 16 functions of x and y, trained on
data with errors drawn anew at each step. Files hold half precision.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, generator
from . import medla_burgers as burgers
from . import medla_camera as camera

if TYPE_CHECKING:
    from torch import Tensor

    from ..methods import MEDLA
    from ..neural.two_encoders import TwoEncoders

COMMAND = "python -m dalearn.cases.medla"
CASES = ("burgers", "camera")
COUNT, HIDDEN, EPOCHS, RATE, THIN = 16, (128,), 200, 2e-3, 2

DATA = {
    "burgers": "200 runs of Burgers2D from a square of random place and velocities, 128^2 and "
    "32^2 points, split by run 140 / 30 / 30, every second frame; errors of sigma up to 0.45",
    "camera": "600 runs of two droplets in a random flow, 32^2 cells, and their images, split by "
    "run 420 / 90 / 90; errors of 0.1",
}


def network(name: str, seed: int = 0) -> TwoEncoders:
    """The networks of a case before training, with the first weights of a seed."""
    from ..neural.nets import seeded
    from ..neural.two_encoders import TwoEncoders

    shapes = {
        "burgers": ((2, burgers.FINE, burgers.FINE), (2, burgers.COARSE, burgers.COARSE)),
        "camera": ((1, camera.CELLS, camera.CELLS), (1, camera.CELLS // 2, camera.CELLS // 2)),
    }
    latent = burgers.LATENT if name == "burgers" else camera.LATENT
    return seeded(seed, TwoEncoders.separable, *shapes[name], latent, COUNT, HIDDEN)


def trained(name: str) -> TwoEncoders:
    """The networks with the weights that come with the package, in evaluation mode."""
    from ..neural.weights import load_weights, shipped

    net = network(name)
    load_weights(net.half(), shipped(f"medla-{name}"))
    return net.float()


def pairs(name: str, part: str, folder: Path | None = burgers.FOLDER) -> burgers.Pairs:
    """Truth, exact data and background of the runs of one part, of either case."""
    return burgers.pairs(part, folder) if name == "burgers" else camera.pairs(part)


def disturbed(name: str, y: np.ndarray, sigma: Any, seed: int) -> np.ndarray:
    """Data `(..., m)` of a case with errors of a size, drawn from a seed."""
    rng = generator(Purpose.CASE, 16, seed)
    if name == "burgers":
        return burgers.disturbed(y, sigma, rng)
    return y + np.asarray(sigma * rng.standard_normal(y.shape), y.dtype)


class Disturb:
    """Errors of the training, by torch's random numbers.

    Args:
        name: of the case.
    """

    def __init__(self, name: str):
        self.name = name

    def __call__(self, y: Tensor) -> Tensor:
        import torch

        if self.name == "camera":
            return y + camera.NOISE * torch.randn_like(y)
        root = torch.from_numpy(burgers.root()).to(y)
        e = torch.randn(2 * len(y), len(root), dtype=y.dtype) @ root.mT
        sigma = burgers.LEVELS[-1] * torch.rand(len(y), 1, dtype=y.dtype)
        return y + sigma * y.abs().sqrt() * e.reshape(y.shape)


def fitted(
    name: str,
    seed: int = 0,
    *,
    noise: bool = True,
    epochs: int = EPOCHS,
    folder: Path | None = None,
    progress: bool = False,
) -> MEDLA:
    """MEDLA of a case, trained with a seed; B and R are those at sigma = 0.15, or 0.1.

    Args:
        name: of the case.
        seed: of weights and training.
        noise: whether data have errors in training.
        epochs: of the two branches; half as many of the alignment.
        folder: of checkpoints and runs, or None.
        progress: whether to show bars.
    """
    from ..methods import MEDLA

    train, valid = (pairs(name, part) for part in ("train", "validation"))
    sigma = camera.NOISE if name == "camera" else burgers.LEVELS[2]
    thin = THIN if name == "burgers" else 1
    return MEDLA.fit(
        network(name, seed),
        (train.states[:, ::thin], train.data[:, ::thin]),
        (valid.states, disturbed(name, valid.data, sigma, 1), valid.background),
        disturb=Disturb(name) if noise else None,
        epochs=epochs,
        align=epochs // 2,
        rate=RATE,
        checkpoint=folder and folder / f"{name}-{seed}-{noise:d}",
        seed=seed,
        progress=progress,
    )


def train(folder: str | Path, *, epochs: int = EPOCHS, progress: bool = True) -> None:
    """Train both; weights and checkpoints go to the folder. After a kill it goes on."""
    import torch

    from ..neural.weights import Card, save_weights

    folder = Path(folder)
    for name in CASES:
        method = fitted(name, epochs=epochs, folder=folder, progress=progress)
        net = method.net.half().float()
        valid = pairs(name, "validation")
        x, y = (torch.from_numpy(v).flatten(0, -2) for v in (valid.states, valid.data))
        with torch.no_grad():
            told = {
                "floor": relative(net(x), x),
                "from exact data": relative(net.decode(net.encode_observation(y)), x),
            }
        notes = "metric: relative errors on the validation runs"
        card = Card(COMMAND, DATA[name], 0, told, notes=notes)
        save_weights(net.half(), folder / f"medla-{name}.safetensors", card)


def relative(estimate: Any, truth: Any) -> float:
    """|estimate - truth| / |truth| over all that is given, rounded."""
    size = [float((v**2).sum()) ** 0.5 for v in (estimate - truth, truth)]
    return round(size[0] / size[1], 4)


def main() -> None:
    """Train, and print the cards' figures."""
    import torch

    from ..neural.weights import read_card

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/medla", help="folder of weights, runs, checkpoints")
    ask.add_argument("--epochs", type=int, default=EPOCHS)
    ask.add_argument("--threads", type=int, default=1, help="1: the same bits on any machine")
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    train(given.out, epochs=given.epochs)
    for path in sorted(Path(given.out).glob("medla-*.safetensors")):
        print(path.stem, read_card(path).metric)


if __name__ == "__main__":
    main()
