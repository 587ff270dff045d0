"""The networks of learned 4D-Var on Lorenz-96, and the command that trains them.

    python -m dalearn.cases.learned_4dvar_networks --out runs/learned-4dvar

    sweep       windows of 5 to 40 observations, any mask and error: the cost of 4D-Var alone
    gaussian    the same windows, mean and standard deviations, the evidence lower bound
    supervised  the same windows, the true states: what an archive of truth would teach
    coda        CODA's windows and loss, misfit and consistency

All see each number of a window and its precision, on five layers of convolutions along the ring.
Files hold half precision.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..methods.learned.learned_4dvar import Learned4DVar
from .learned_4dvar import CODA, TRAIN, VALIDATION, network, windows

COMMAND = "python -m dalearn.cases.learned_4dvar_networks"
NAMES = ("sweep", "gaussian", "supervised", "coda")
WINDOWS, EPOCHS, BATCH, RATE = 12_000, 16, 64, 2e-3
REACH = 10  # observations whose misfit counts, of the 40 that the network may see
SHAPE = {"times": CODA["times"] + CODA["reach"]} | {k: CODA[k] for k in ("dt", "share", "sigma")}


def untrained(name: str, seed: int = 0) -> Any:
    """The network of a name, with the first weights of a seed."""
    if name not in NAMES:
        raise ValueError(f"name must be one of {NAMES}, met {name!r}")
    if name == "coda":
        return network(CODA["times"], seed=seed)
    return network(spread=name == "gaussian", seed=seed)


def trained(name: str, members: int = 0) -> Learned4DVar:
    """The method with the weights that come with the package.

    Args:
        name: "sweep", "gaussian", "supervised" or "coda".
        members: drawn from "gaussian".
    """
    from ..neural.weights import load_weights, shipped

    net = untrained(name)
    load_weights(net.half(), shipped(f"learned-4dvar-{name}"))
    at = CODA["at"] if name == "coda" else 0
    return Learned4DVar(net.float(), at=at, members=members)


def fitted(
    name: str,
    seed: int = 0,
    *,
    count: int = WINDOWS,
    epochs: int = EPOCHS,
    folder: Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Learned4DVar:
    """A network of a name, trained with a seed.

    Args:
        name: "sweep", "gaussian", "supervised" or "coda".
        seed: of weights and order.
        count: windows of training.
        epochs: passes over them.
        folder: of checkpoints, or None.
        progress: whether to show bars.
        settings: of `Learned4DVar.fit`, in the place of those of the name.
    """
    told: dict[str, Any] = {"epochs": epochs, "batch": BATCH, "rate": RATE, "seed": seed}
    shape: dict[str, Any] = {}
    if name == "coda":
        told |= {"at": CODA["at"], "reach": CODA["reach"], "consistency": 0.5}
        shape = SHAPE if settings.get("consistency", 0.5) else SHAPE | {"times": CODA["times"]}
    else:
        told |= {"reach": REACH}
    (train, x), (valid, z) = (
        windows(c, part, **shape) for c, part in ((count, TRAIN), (500, VALIDATION))
    )
    if name == "supervised":
        told["truth"] = x, z
    told |= {"checkpoint": folder and folder / f"{name}-{seed}.checkpoint", **settings}
    return Learned4DVar.fit(untrained(name, seed), train, valid, progress=progress, **told)


def errors(name: str, method: Learned4DVar) -> dict[str, float]:
    """Errors of the state sought on validation windows, which stand in the card."""
    found = {}
    settings = [(10, 0.5), (40, 0.5), (10, 0.25), (40, 0.25)]
    if name == "coda":
        settings = [(CODA["times"], CODA["share"])]
    for times, share in settings:
        dt = CODA["dt"] if name == "coda" else 0.05
        p, x = windows(300, VALIDATION, times=times, share=share, sigma=1.0, dt=dt, seed=7)
        found[f"rmse, {times} times, {share:.0%} seen, sigma 1"] = round(error(method, p, x), 3)
    return found


def error(method: Learned4DVar, problem: Any, x: Any) -> float:
    """The mean over windows of the error of the state that the network gives."""
    guess, _ = method.estimate(problem)
    if method.at:
        guess, x = guess[:, method.at - 1], problem.truth[:, method.at - 1]
    return float((((guess - x) ** 2).mean(-1) ** 0.5).mean())


def train(
    folder: str | Path, *, names: tuple[str, ...] = NAMES, progress: bool = True, **settings: Any
) -> None:
    """Train all; weights and checkpoints go to the folder. After a kill it goes on."""
    from ..neural.weights import Card, save_weights

    folder = Path(folder)
    for name in names:
        method = fitted(name, folder=folder, progress=progress, **settings)
        net = method.net.half().float()
        data = f"windows of Lorenz-96, each a run of its own, {WINDOWS} and 500 for validation"
        notes = "metric: errors of the state sought on 300 validation windows"
        card = Card(COMMAND, data, 0, errors(name, Learned4DVar(net, at=method.at)), notes=notes)
        save_weights(net.half(), folder / f"learned-4dvar-{name}.safetensors", card)


def main() -> None:
    """Train, and print the cards' figures."""
    import torch

    from ..neural.weights import read_card

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/learned-4dvar", help="folder of weights, checkpoints")
    ask.add_argument("--epochs", type=int, default=EPOCHS)
    ask.add_argument("--only", choices=NAMES, help="one network instead of all")
    ask.add_argument("--threads", type=int, default=1, help="1: the same bits on any machine")
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    names = (given.only,) if given.only else NAMES
    train(given.out, names=names, epochs=given.epochs)
    for path in sorted(Path(given.out).glob("learned-4dvar-*.safetensors")):
        print(path.stem, read_card(path).metric)


if __name__ == "__main__":
    main()
