"""4DVarNet on Lorenz-63 in its published set-up, and the command that trains the networks.

    python -m dalearn.cases.lorenz63_fourdvarnet --out runs/fourdvarnet

Windows of 200 states 0.01 apart; every eighth state is observed with errors of variance 2: all
three components ("all"), or x alone ("x"). Four networks:

    all, x       a bilinear prior and a descent, trained together
    model        the true model as the prior, and a descent, for "all"
    direct       a U-Net of the interpolated data, the simplest rival, for "all"
    direct-x     the same for "x"

Windows are dealt by run: no run stands on both sides of a split. (The published notebooks cut
their patches from one run.)
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
    from ..methods import FourDVarNet
    from ..neural.learned_solver import OfWindows
    from ..problem.problem import Problem

COMMAND = "python -m dalearn.cases.lorenz63_fourdvarnet"
LENGTH, EVERY, VARIANCE, SPIN_UP = 200, 8, 2.0, 500
RUNS = {"train": 500, "validation": 100, "test": 100}  # runs of a part
WINDOWS = {"train": 20, "validation": 4, "test": 2}  # windows of a run, one behind the other
NETWORKS = ("all", "x", "model", "direct", "direct-x")
STEPS = 10  # of the descent

DATA = "10 000 windows of 200 states of 500 runs of Lorenz63; 400 of 100 other runs for validation"


def windows(part: str, seed: int = 0) -> np.ndarray:
    """The truth of the windows of a part, `(runs, windows, 200, 3)`.

    Args:
        part: "train", "validation" or "test".
        seed: of a further draw; the networks are trained on 0.
    """
    rng = generator(Purpose.CASE, 63, list(RUNS).index(part), seed)
    x0 = rng.normal([0, 0, 25], 5, (RUNS[part], 3))
    steps = SPIN_UP + LENGTH * WINDOWS[part] - 1
    runs = simulate(Lorenz63(), x0, steps, progress=False)[:, SPIN_UP:]
    return runs.reshape(RUNS[part], WINDOWS[part], LENGTH, 3)


def observed(x: np.ndarray, seen: str, seed: int = 0) -> np.ndarray:
    """Data of windows `(..., 200, 3)`, NaN where nothing was seen.

    Args:
        x: the truth.
        seen: "all", or "x".
        seed: of the errors.
    """
    rng = generator(Purpose.CASE, 64, seed)
    y = x + VARIANCE**0.5 * rng.standard_normal(x.shape)
    there = np.zeros((LENGTH, 3), bool)
    there[::EVERY, : 1 if seen == "x" else 3] = True
    return np.where(there, y, np.nan)


def problem(x: np.ndarray, y: np.ndarray) -> Problem:
    """Windows `(b, 200, 3)` and their data as a Problem; its prior is the climatology.

    The prior is that of the state one step before the window. Each of the 200 steps is an
    observation time, most without data.
    """
    from ..covariances.matrices import Dense, Diagonal
    from ..problem.belief import Gaussian
    from ..problem.observe import Observation, identity
    from ..problem.problem import Problem

    rows = windows("validation").reshape(-1, 3)
    prior = Gaussian(rows.mean(0), Dense(np.cov(rows.T)))
    observation = Observation(identity, Diagonal(VARIANCE * np.ones(3)))
    return Problem(Lorenz63(), observation, prior, y, truth=x)


def network(name: str) -> OfWindows:
    """A network before training: "all", "x", "model", "direct" or "direct-x"."""
    from ..neural.learned_solver import BilinearPrior, Direct, LearnedSolver, ModelPrior
    from ..neural.nets import seeded
    from ..neural.unet import UNet

    def made() -> OfWindows:
        if name.startswith("direct"):
            return Direct(UNet(6, 3, (24, 48, 48), axes=1, kernel=5, periodic=False), 3)
        if name == "model":
            return LearnedSolver(ModelPrior(Lorenz63(), 3), 3)
        return LearnedSolver(BilinearPrior(3), 3)

    if name not in NETWORKS:
        raise ValueError(f"name must be one of {NETWORKS}, met {name!r}")
    return seeded(0, made)


def seen_by(name: str) -> str:
    """What a network was trained to see: "all" or "x"."""
    return "x" if name.endswith("x") else "all"


def trained(name: str) -> FourDVarNet:
    """A network with the weights that come with the package, as a method."""
    from ..methods import FourDVarNet
    from ..neural.weights import load_weights, shipped

    net = network(name).float()
    load_weights(net, shipped(f"fourdvarnet-{name}"))
    return FourDVarNet(net, steps=STEPS)


def fitted(
    name: str, *, epochs: int, checkpoint: Path | None = None, progress: bool = False
) -> FourDVarNet:
    """A network, trained."""
    from ..methods import FourDVarNet

    seen = seen_by(name)
    pairs = []
    for i, part in enumerate(("train", "validation")):
        x = windows(part).reshape(-1, LENGTH, 3)
        y = observed(x, seen, i)
        pairs.append((x.astype("float32"), y.astype("float32")))
    error = VARIANCE**0.5 * np.array([1.0, seen == "all", seen == "all"])
    return FourDVarNet.fit(
        network(name),
        *pairs,
        error=error,
        steps=STEPS,
        epochs=epochs,
        rate=2e-3 if name.startswith("direct") else 3e-3,
        checkpoint=checkpoint,
        progress=progress,
    )


def rmse(method: FourDVarNet, x: np.ndarray, y: np.ndarray) -> float:
    """The root of the mean square error over windows, times and components."""
    found = method.trajectory(problem(x, y).validated())
    return float(((found - x) ** 2).mean() ** 0.5)


EPOCHS = {"all": 4, "x": 2, "model": 4, "direct": 12, "direct-x": 12}


def train(
    folder: str | Path, names: tuple[str, ...] = NETWORKS, *, progress: bool = True
) -> dict[str, Any]:
    """Train the networks; weights and checkpoints go to the folder. After a kill it goes on."""
    from ..neural.weights import Card, save_weights

    folder, told = Path(folder), {}
    x = windows("validation").reshape(-1, LENGTH, 3)
    for name in names:
        file = folder / f"{name}.checkpoint"
        method = fitted(name, epochs=EPOCHS[name], checkpoint=file, progress=progress)
        value = rmse(method, x, observed(x, seen_by(name), 1))
        told[name] = {"RMSE": round(value, 3)}
        card = Card(COMMAND, DATA, 0, told[name], notes="metric: on the validation windows")
        save_weights(method.net, folder / f"fourdvarnet-{name}.safetensors", card)
    return told


def main() -> None:
    """Train, and print the cards' figures."""
    import torch

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/fourdvarnet", help="folder of weights, checkpoints")
    ask.add_argument("--only", nargs="*", default=NETWORKS, choices=NETWORKS)
    ask.add_argument("--threads", type=int, default=1, help="1: the same bits on any machine")
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    for name, metric in train(given.out, tuple(given.only)).items():
        print(name, metric)


if __name__ == "__main__":
    main()
