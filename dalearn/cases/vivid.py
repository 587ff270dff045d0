"""The networks of VIVID's experiment, and the command that trains them.

    python -m dalearn.cases.vivid --out runs/vivid

    plain   convolutions as published, 8 channels in the place of 48
    unet    a U-Net on blocks of 2 x 2 cells
    masked  a masked autoencoder, which reads the sensors and not the cells around them

All are trained on the same four runs (`vivid_runs`), with 20 to 260 sensors drawn anew for each
state, half of the times with noise up to 0.3 of the data's standard deviation. Frames of two runs
at one time are combined too, u + a (u - u') with a of size 0.7: what a network learns otherwise is
four runs by heart. Files hold half precision.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, generator
from ..models import POD
from . import vivid_runs as case

if TYPE_CHECKING:
    from ..methods import VIVID
    from ..neural.inverse import Inverse

COMMAND = "python -m dalearn.cases.vivid"
NAMES = ("unet", "masked", "plain")
MODES, MIXED = 100, 0.7
EPOCHS = {"unet": 8, "masked": 8, "plain": 2}
RATES = {"unet": 4e-3, "masked": 3e-3, "plain": 2e-3}
DATA = (
    "ShallowWater.vivid, runs of discs (R, h) = (4, .1), (4, .15), (5, .1), (5, .15), every 20 "
    "steps from 500 to 10000; validation (4.5, .125), (5.5, .175)"
)


@cache
def pod() -> POD:
    """The POD of the training runs, each frame in units of its own size, 100 modes."""
    x = case.runs("train")[:, ::2]
    x = x / np.sqrt((x**2).mean(-1, keepdims=True))
    return POD.fit(x, MODES, mean=False, randomised=False)


def network(name: str, seed: int = 0) -> Inverse:
    """A network before training, with the first weights of a seed."""
    from ..neural import inverse
    from ..neural.nets import seeded

    if name == "masked":
        net = seeded(seed, inverse.MaskedMixer, case.SHAPE)
    elif name == "plain":
        net = seeded(seed, inverse.Plain, 8)
    elif name == "unet":
        net = seeded(seed, inverse.FoldedUNet)
    else:
        raise ValueError(f"name must be one of {NAMES}, met {name!r}")
    return inverse.Inverse(net, case.SHAPE, power=2.0, unit=case.UNIT)


@cache
def trained(name: str = "unet") -> Inverse:
    """A network with the weights that come with the package, in evaluation mode."""
    from ..neural.weights import load_weights, shipped

    net = network(name)
    load_weights(net.half(), shipped(f"vivid-{name}"))
    return net.float()


def draw(states: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sensors and what they say, as in the training: a number for all, places for each state."""
    if rng.random() < 0.5:
        count, placement = int(rng.choice(list(case.STRATA))), "jittered"
    else:
        count, placement = int(np.exp(rng.uniform(np.log(20), np.log(260)))), "random"
    where = np.stack([case.sensors(count, rng, placement) for _ in states])
    noise = rng.uniform(0, 0.3, (len(states), 1)) * (rng.random((len(states), 1)) < 0.5)
    return said(states, where, noise, rng), where


def said(states: np.ndarray, where: np.ndarray, noise: Any, rng: Any) -> np.ndarray:
    """What `vivid_runs.said` says, in single precision."""
    return case.said(states, where, noise, rng).astype(np.float32)


def drawn(count: int, noise: float = 0.0) -> Any:
    """A `draw` of so many jittered sensors and this noise, for measurements of P."""

    def draw(states: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        where = np.stack([case.sensors(count, rng) for _ in states])
        return case.said(states, where, noise, rng), where

    return draw


@cache
def combined() -> np.ndarray:
    """The training runs, and 12 combinations u + a (u - u') of two at one time, a ~ N(0, 0.5).

    Each run in units of its height: `(16, 476, 2500)`, single precision.
    """
    x = case.runs("train") / np.array([h for _, h in case.DISCS["train"]])[:, None, None]
    rng = generator(Purpose.CASE, 18, 0)
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    a = MIXED * rng.standard_normal(len(pairs))
    more = [x[i] + c * (x[i] - x[j]) for (i, j), c in zip(pairs, a, strict=True)]
    return np.concatenate((x, np.stack(more))).astype(np.float32)


def fitted(
    name: str,
    seed: int = 0,
    *,
    epochs: int | None = None,
    folder: Path | None = None,
    progress: bool = False,
) -> VIVID:
    """VIVID with a network trained with a seed, P from the validation runs.

    Args:
        name: of the network.
        seed: of weights and training.
        epochs: None for those of the shipped weights.
        folder: of checkpoints, or None.
        progress: whether to show a bar.
    """
    from ..methods import VIVID

    return VIVID.fit(
        network(name, seed),
        draw,
        combined(),
        case.runs("validation")[:, ::4],
        epochs=EPOCHS[name] if epochs is None else epochs,
        rate=RATES[name],
        checkpoint=folder and folder / f"{name}-{seed}",
        seed=seed,
        progress=progress,
    )


@cache
def vivid(
    name: str = "unet", count: int = 100, noise: float = 0.0, correlated: bool = True
) -> VIVID:
    """VIVID with shipped weights, and P of the validation runs.

    Args:
        name: of the network.
        count: of jittered sensors, 25, 50, 100 or 200.
        noise: in units of the data's standard deviation over the field.
        correlated: whether P is correlated.
    """
    from ..methods import VIVID

    start = VIVID(trained(name), np.ones(case.N**2))
    states = case.runs("validation")[:, ::8]
    return start.measured(drawn(count, noise), states, draws=2, correlated=correlated, seed=1)


def score(net: Any, part: str, count: int, noise: float = 0.0, seed: int = 0) -> float:
    """The mean relative error of a network alone, over the frames of a part."""
    from ..methods.learned.vivid_fit import estimates

    found = estimates(net, drawn(count, noise), case.runs(part)[:, ::8], 1, 64, seed, True)
    return float(case.relative(found[0], found[1]).mean())


def train(folder: str | Path, names: tuple[str, ...] = NAMES, *, progress: bool = True) -> None:
    """Train the networks; weights and checkpoints go to the folder. After a kill it goes on."""
    from ..neural.weights import Card, save_weights

    folder = Path(folder)
    for name in names:
        net = fitted(name, folder=folder, progress=progress).net.half().float()
        told = {f"{m} sensors": round(score(net, "validation", m), 3) for m in case.STRATA}
        notes = "metric: mean relative error of the network alone on the validation runs, no noise"
        card = Card(COMMAND, DATA, 0, told, notes=notes)
        save_weights(net.half(), folder / f"vivid-{name}.safetensors", card)


def main() -> None:
    """Train, and print the cards' figures."""
    import torch

    from ..neural.weights import read_card

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/vivid", help="folder of weights and checkpoints")
    ask.add_argument("--only", choices=NAMES, help="one network instead of all")
    ask.add_argument("--threads", type=int, default=1, help="1: the same bits on any machine")
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    train(given.out, NAMES if given.only is None else (given.only,))
    for path in sorted(Path(given.out).glob("vivid-*.safetensors")):
        print(path.stem, read_card(path).metric)


if __name__ == "__main__":
    main()
