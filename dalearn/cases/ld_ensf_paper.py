"""LD-EnSF at the size of its paper: 150^2 points and the networks of its text, by one command.

    python -m dalearn.cases.ld_ensf --case shallow-water --size paper --train --out runs/ld-ensf

The runs, the dynamics, the encoder and the last layer are made in turn, the latter three as
`LDEnSF.fit` does; a call after a kill goes on from the last epoch, to the same bits on a CPU. The
states, 1.5 and 2.8 GB, stay in their file: a step gathers points, the last layer adds up run by
run. A GPU takes them if they fill half of its free memory at most.

The paper trains for 2000 epochs of 120 runs in batches of 6 (Kolmogorov) and 2 (shallow water):
40 000 and 120 000 updates; and its encoder, all runs at once, for 30 000. Here a tenth: 4000,
12 000 and 3000. Widths, depths, ReLU, first weights (Glorot) and batches are the paper's. Other
than there, points and times are drawn anew at each step, 2000 of the 22 500 points and a third of
the times (5000 points there, always the same ones in its code), the rate falls to 0 as a cosine,
the encoder learns from data with errors up to 20 %, and the last layer of the reconstruction is
solved instead of trained once more. On a CPU it is solved, and errors are measured, at 2000 points
of each run.

On one CPU core an update of the dynamics takes 43 s (Kolmogorov, with 12 GB of memory) and 1.3 s
(shallow water), all of them 48 and 4.3 hours; a step gathers its points from the file in 1 to 3 ms
(`python -m benchmarks.ld_ensf --only updates`). Nobody has run such a training so far: what errors
it gives, and how long it takes a GPU, is not known.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.whole import whole
from ..methods.latent import fitting
from ..methods.latent.ld_ensf import LDEnSF
from . import ld_ensf_networks as networks
from .ld_ensf_errors import VARIANCES, code_errors
from .ld_ensf_recipes import PUBLISHED, SENSORS, Published
from .ld_ensf_setup import SetUp
from .ld_ensf_twin import sensors_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..neural.encoder import HistoryEncoder
    from ..neural.ldnet import LDNet

NOISE, LEVEL = 0.2, 0.1  # of the data: the largest in training, and where codes are measured


def dynamics(setup: SetUp, recipe: Published | None = None, seed: int = 0) -> LDNet:
    """The paper's LDNet before training: ReLU, first weights as Glorot has them."""
    from torch import nn

    from ..neural.ldnet import LDNet
    from ..neural.nets import seeded
    from ..neural.reconstruction import AtPoints

    r = recipe or PUBLISHED[setup.name]

    def made() -> LDNet:
        R = AtPoints(r.latent, 2, setup.shape[0], r.reconstruction, activation=nn.ReLU)
        net = LDNet(setup.p, R, r.dynamics, activation=nn.ReLU, dt=r.dt)
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        return net

    return seeded(seed, made)


def encoder(setup: SetUp, recipe: Published | None = None, seed: int = 1) -> HistoryEncoder:
    """The paper's encoder before training, behind a layer that knows of gaps in the data."""
    from ..neural.encoder import HistoryEncoder
    from ..neural.nets import seeded

    r, m = recipe or PUBLISHED[setup.name], setup.shape[0] * SENSORS**2
    return seeded(seed, HistoryEncoder, m, r.latent + setup.p, r.memory, layers=r.layers)


def as_fields(setup: SetUp, states: np.memmap) -> Tensor:
    """States in a file `(S, T, *shape)` as fields at points `(S, T, P, C)`, a view of the file."""
    import torch

    mine = np.load(str(states.filename), mmap_mode="c")  # torch wants what can be written
    return torch.from_numpy(mine).flatten(-2).mT


def train(
    setup: SetUp,
    folder: str | Path,
    states: np.memmap,
    *,
    device: Any = None,
    recipe: Published | None = None,
    progress: bool = True,
) -> tuple[LDEnSF, dict[str, Any]]:
    """Train the networks of the paper; weights, checkpoints and `card.json` go to the folder.

    Called again after a kill it goes on where it was.

    Args:
        setup: the set-up.
        folder: of the files.
        states: of all its runs, from `setup.trajectories(to=...)`.
        device: of torch; the CPU if None.
        recipe: other networks and numbers of updates.
        progress: whether to show bars.

    Returns:
        The trained LDEnSF, and what the card says: errors, beside those of the paper, and seconds.
    """
    import torch

    from ..neural.data import Normalisation
    from ..neural.train import adam, cosine

    r, folder = recipe or PUBLISHED[setup.name], Path(folder)
    place = torch.device("cpu" if device is None else device)
    fields, points = as_fields(setup, states), networks.grid(setup)
    u = torch.as_tensor(setup.parameters(), dtype=torch.float32)
    learn, check, test = ((u[k[0] : k[-1] + 1], fields[k[0] : k[-1] + 1]) for k in setup.split())
    rms, H = np.asarray(setup.rms, "float32"), sensors_of(setup, SENSORS)
    net, reader = dynamics(setup, r), encoder(setup, r)
    rates = [
        {"epochs": n, "optimiser": adam(1e-3), "schedule": cosine(n)}
        for n in (r.epochs, r.encoder)
    ]
    found = fitting.trained(
        net,
        reader,
        learn,
        check,
        points=points,
        see=lambda x: H(x.unflatten(-1, setup.shape)),
        unit=torch.from_numpy(np.repeat(rms, SENSORS**2)),
        noise=NOISE,
        level=LEVEL,
        gaps=0.0,
        extra=0,
        count=looked_at(r, place),
        normalisation=Normalisation(np.zeros_like(rms), rms),
        skip=setup.times - len(setup.seen),
        dynamics={"count": r.points, "mixed": True, "batch": r.batch, **rates[0]},
        reading={"batch": len(learn[0]), **rates[1]},
        checkpoint=folder,
        device=place,
        seed=0,
        progress=progress,
    )
    told = measured(setup, r, net, reader, found, test, place)
    keep(setup, folder, found["net"], reader, told, found["limits"])
    return method(setup, found["net"], reader, found["noise"], found["limits"]), told


def measured(
    setup: SetUp,
    r: Published,
    net: LDNet,
    reader: HistoryEncoder,
    found: dict[str, Any],
    test: tuple[Tensor, Tensor],
    place: Any,
) -> dict[str, Any]:
    """What a card says: errors on test runs, beside those of the paper, and seconds."""
    import torch

    layer, (u, fields), start = found["layer"], test, time.monotonic()
    sharp = layer.at(min(layer.errors, key=lambda k: layer.errors[k][0]))
    nets = {"stage 1": net, "last layer": sharp, "last layer, robust": found["net"]}
    count = looked_at(r, place)
    wrong = {k: of_fields(setup, n, u, fields, count, place) for k, n in nets.items()}
    y = sensors_of(setup, SENSORS)(fields.mT.unflatten(-1, setup.shape[1:]))[:, setup.seen]
    z = fitting.codes_of(net, u, setup.times)[:, setup.seen]
    codes = {f"{a:g}": code_errors(setup, reader, y, z, a) for a in (0.0, LEVEL, NOISE)}
    seconds = (*found["seconds"], time.monotonic() - start)
    names = ("dynamics", "encoder", "last layer", "errors")
    return {
        "error of fields, test runs, %": wrong,
        "published, stage 1 and stage 2, %": list(r.errors),
        "error of codes, test runs, % by noise: latent states, parameters": codes,
        "published, exact data, %": r.codes,
        "validation by ridge, %: exact latent states, with the encoder's error": {
            f"{k:g}": [round(100 * v, 3) for v in e] for k, e in layer.errors.items()
        },
        "latent error of the encoder, %": round(100 * found["measured"]["latent error"], 3),
        "updates of dynamics and encoder": [r.epochs * -(-setup.runs[0] // r.batch), r.encoder],
        "seconds": {k: round(v, 1) for k, v in zip(names, seconds, strict=True)},
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
        VARIANCES: found["noise"].tolist(),
    }


def looked_at(r: Published, place: Any) -> int | None:
    """Points of a run for the last layer and for errors: on a CPU not all."""
    return r.points if place.type == "cpu" else None


def of_fields(
    setup: SetUp, net: LDNet, u: Tensor, fields: Tensor, count: int | None, place: Any
) -> float:
    """The relative error of the fields of parameters, per cent."""
    import torch

    from ..neural.last_layer import error_at

    net.to(place)
    with torch.no_grad():
        s, x = net.latents(u.to(place), fields.shape[1]), networks.grid(setup).to(place)
        found = 100 * error_at(net, s, fields, x, count)
    net.cpu()
    return round(found, 3)


def keep(
    setup: SetUp, folder: Path, net: LDNet, reader: HistoryEncoder, told: Any, limits: Any
) -> None:
    """Write the weights with their cards, and `card.json`."""
    from ..neural.weights import Card, save_weights

    n = setup.shape[-1]
    command = f"python -m dalearn.cases.ld_ensf --case {setup.name} --size paper --train"
    about = f"{sum(setup.runs)} runs, {setup.runs} for training, validation, test; {n}^2 points"
    known = {"limits": [v.tolist() for v in limits]}
    for name, module, more in (("dynamics", net, {}), ("encoder", reader, known)):
        card = Card(command, about, 0, {**told, **more}, told["device"])
        save_weights(module, folder / f"{name}.safetensors", card)
    with whole(folder / "card.json") as part:
        Path(part).write_text(json.dumps({"command": command, "data": about, **told}, indent=1))


def load(setup: SetUp, folder: str | Path, recipe: Published | None = None) -> LDEnSF:
    """The LDEnSF that `train` left in a folder."""
    from ..neural.weights import load_weights

    net, reader = dynamics(setup, recipe), encoder(setup, recipe)
    load_weights(net, Path(folder) / "dynamics.safetensors")
    told = load_weights(reader, Path(folder) / "encoder.safetensors").metric
    limits = tuple(np.array(v, "float32") for v in told["limits"])
    return method(setup, net, reader, np.array(told[VARIANCES]), limits)


def method(setup: SetUp, net: LDNet, reader: HistoryEncoder, noise: Any, limits: Any) -> LDEnSF:
    """LDEnSF of trained networks, for problems that `twin` makes."""
    return LDEnSF(
        net,
        points=networks.grid(setup),
        encoder=reader,
        noise=noise,
        method=fitting.for_codes(noise),
        limits=limits,
        first=setup.first,
        every=setup.every,
    )


def table(told: dict[str, Any]) -> str:
    """What a card says, in Markdown."""
    rows = [f"| {k} | {json.dumps(v)} |" for k, v in told.items()]
    return "\n".join(("| what | found |", "|---|---|", *rows))
