"""Training of the networks of LD-EnSF: the dynamics in two stages, then two encoders.

Stage 1 fits principal coefficients of the training fields: sums over all points, without looking
at points. Stage 2 solves the last layer for all harmonics, by ridge regression (`refit` does the
same for one network and one ridge). Then the encoder learns what the dynamics made: its latent
states are those of the trained dynamics, at the times of the data.

`LDEnSF.fit`, by which `ld_ensf_paper` trains, has the same stages and shares the encoder's. The
others differ here because the fields are sums of fixed functions, and the files hold half
precision: each layer is rounded to it before the last one is solved.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..methods.latent import fitting
from . import ld_ensf_networks as networks
from .ld_ensf_errors import VARIANCES, code_errors, code_variances, field_error
from .ld_ensf_recipes import ERROR, RECIPES, RIDGES, SENSORS, Layer
from .ld_ensf_setup import SetUp

if TYPE_CHECKING:
    from torch import Tensor

    from ..neural.encoder import HistoryEncoder
    from ..neural.ldnet import LDNet


@dataclass(frozen=True, eq=False)
class Principal:
    """The loss of stage 1, mean sum_k size_k^2 |c_k(s_t) - target_k|^2, at a share of the times.

    Args:
        target: principal coefficients of all runs, each in units of its own size, `(S, T, K)`.
        size: squares of these units `(K,)`.
        share: of the times, drawn at each step.
    """

    target: Tensor
    size: Tensor
    share: float = 1 / 3

    def __call__(self, net: LDNet, u: Tensor, rows: Tensor) -> Tensor:
        import torch

        from ..neural.reconstruction import features_of

        T = self.target.shape[1]
        count = max(1, round(self.share * T))
        times = torch.randperm(T)[:count].sort().values
        c = features_of(net)(net.latents(u, T)[:, times])
        return ((c - self.target[rows[:, None], times]) ** 2 * self.size).sum(-1).mean()


@dataclass(frozen=True, eq=False)
class Data:
    """The runs of a set-up as a network sees them.

    Args:
        u: parameters in (-1, 1), `(S, p)`.
        coefficients: of the network's modes, `(S, T, K)`.
        lost: the mean square of the validation runs that the modes do not hold, as a share.
        parts: numbers of the runs for training, validation and test.
    """

    u: Tensor
    coefficients: Tensor
    parts: tuple[Tensor, Tensor, Tensor]
    lost: float


def data_of(setup: SetUp, states: Any, net: LDNet) -> Data:
    """The data for a network, in whose basis the harmonics are chosen first."""
    import torch

    from ..neural.chosen import Chosen

    train, valid, test = (torch.as_tensor(i) for i in setup.split())
    x, unit = networks.grid(setup), net.y_std
    basis: Any = net.reconstruction.basis
    waves, at = basis.harmonics, (x - net.x_mean) / net.x_half
    if isinstance(waves, Chosen):
        some = networks.as_fields(setup, states[train[:40].numpy()]) / unit
        waves.index.copy_(Chosen.fit(some, at, waves.harmonics, waves.count).index)
    fields = (networks.as_fields(setup, run) / unit for run in states)
    c = torch.stack([waves.project(run, at) for run in fields])
    known = c[train].flatten(0, 1).double()
    V = torch.linalg.eigh(known.mT @ known).eigenvectors.flip(-1)[:, : basis.count]
    basis.matrix.copy_(V.mT.half().float())  # as a file will hold them
    u = torch.as_tensor(setup.unit(setup.parameters()), dtype=torch.float32)
    low = c @ V.to(c)
    lost = 1 - float(low[valid].square().sum() / c[valid].square().sum())
    return Data(u, low, (train, valid, test), lost)


def stage_one(
    setup: SetUp, net: LDNet, data: Data, *, checkpoint: Any = None, **settings: Any
) -> tuple[LDNet, float]:
    """Train dynamics and features: the network, in half precision, and its validation error.

    The error is relative, in per cent, with the last layer as it was trained: the network that is
    returned waits for stage 2.
    """
    import torch

    from ..neural.reconstruction import features_of
    from ..neural.train import adam, cosine, fit

    recipe, (train, valid, _) = RECIPES[setup.name], data.parts
    c, inner = data.coefficients, features_of(net)
    size = c[train].flatten(0, 1).square().mean(0).sqrt()
    loss = Principal(c / size, size**2 / net.outputs)
    epochs = settings.pop("epochs", recipe.epochs)
    rates = {"optimiser": adam(recipe.rate), "schedule": cosine(epochs)}
    told = {"epochs": epochs, "batch": 60, "checkpoint": checkpoint, **rates, **settings}
    fit(net, (data.u[train], train), loss=loss, **told)
    with torch.no_grad():
        found = inner(net.latents(data.u[valid], setup.times)) * size
    error = float((found - c[valid]).norm() / c[valid].norm())
    return networks.rounded(net), 100 * (error**2 * (1 - data.lost) + data.lost) ** 0.5


def stage_two(
    setup: SetUp, net: LDNet, data: Data, layer: Layer, share: float
) -> tuple[LDNet, dict[float, tuple[float, float]]]:
    """The network with another last layer, solved; and validation errors of each ridge.

    The ridge is the best one where latent states err by `share` of their standard deviation.
    Errors are relative, at exact latent states and at those that err by `ERROR`.
    """
    import torch

    from ..neural.last_layer import install, shaken
    from ..neural.normal import Normal
    from ..neural.reconstruction import features_of

    (train, valid, _), made = data.parts, with_layer(setup, net, layer)
    inner, low = features_of(made), data.coefficients[..., : layer.modes]
    whole = data.coefficients[valid].square().sum() / (1 - data.lost)
    lost = 1 - float(low[valid].square().sum() / whole)
    sums = Normal(inner.last.in_features, layer.modes)
    errors: dict[float, tuple[float, float]] = {}
    best, least = made, np.inf
    with torch.no_grad():
        for s, c in zip(net.latents(data.u[train], setup.times), low[train], strict=True):
            sums.add(inner.features(s), c)
        s, c = net.latents(data.u[valid], setup.times), low[valid]
        for ridge in RIDGES:
            W, b = sums.solve(ridge)
            tried = networks.rounded(install(made, W, b))
            found = (features_of(tried)(shaken(s, e, 0)) for e in (0.0, ERROR, share))
            gaps = (float((z - c).norm() / c.norm()) for z in found)
            exact, shook, asked = ((e**2 * (1 - lost) + lost) ** 0.5 for e in gaps)
            errors[ridge] = exact, shook
            if asked < least:
                best, least = tried, asked
    return best, errors


def with_layer(setup: SetUp, net: LDNet, layer: Layer) -> LDNet:
    """The same dynamics with other features and fewer modes; its last layer is not solved yet."""
    import torch

    from ..neural.last_layer import widened
    from ..neural.reconstruction import features_of

    made = networks.dynamics(setup, layer=layer, start=net.start)
    weight, bias = features_of(widened(net, layer.drawn, size=layer.size)).waves()
    learned = len(weight) - layer.drawn
    kept = torch.cat((torch.arange(layer.learned), torch.arange(learned, len(weight))))
    state = {k: v for k, v in net.state_dict().items() if "reconstruction.net" not in k}
    matrix = "reconstruction.basis.matrix"
    state[matrix] = state[matrix][: layer.modes]
    state |= {
        f"reconstruction.net.first.{k}": v[kept] for k, v in (("weight", weight), ("bias", bias))
    }
    missing, _ = made.load_state_dict(state, strict=False)
    assert all(".last." in name or ".extra_" in name for name in missing)
    return networks.rounded(made)


def train_encoder(
    setup: SetUp, net: LDNet, states: Any, *, noise: float, gaps: float, **settings: Any
) -> HistoryEncoder:
    """An encoder for the latent states of a network, of data with errors up to `noise`."""
    import torch

    from ..neural.train import adam, cosine

    train = setup.split().train
    u = torch.as_tensor(setup.unit(setup.parameters()[train]), dtype=torch.float32)
    y, z = networks.observations(setup, states[train]), networks.codes(setup, net, u)
    unit = torch.as_tensor(np.repeat(np.asarray(setup.rms, "float32"), SENSORS**2))
    made = networks.encoder(setup)
    epochs = settings.pop("epochs", RECIPES[setup.name].encoder)
    rates = {"optimiser": adam(3e-3), "schedule": cosine(epochs), "epochs": epochs, "batch": 60}
    told = {"unit": unit, "noise": noise, "gaps": gaps}
    fitting.fit_encoder(made, (y, z), **told, **rates, **settings)
    return networks.rounded(made)


def train(setup: SetUp, folder: str | Path, states: Any, *, progress: bool = True) -> Any:
    """Train all networks of a reduced set-up; weights, cards and checkpoints go to the folder.

    Called again after a kill it goes on where it was.
    """

    from ..neural.weights import Card, save_weights

    folder = Path(folder)
    shown = {"progress": progress}
    net = networks.dynamics(setup)
    data = data_of(setup, states, net)
    net, first = stage_one(setup, net, data, checkpoint=folder / "dynamics.checkpoint", **shown)
    recipe = RECIPES[setup.name]
    robust, by_robust = stage_two(setup, net, data, recipe.robust, ERROR)
    sharp, by_sharp = stage_two(setup, net, data, recipe.sharp, 0.0)
    kinds = {"encoder": {"noise": 0.2, "gaps": 0.3}, "exact": {"noise": 0.0, "gaps": 0.0}}
    encoders = {
        k: train_encoder(
            setup, robust, states, checkpoint=folder / f"{k}.checkpoint", **given, **shown
        )
        for k, given in kinds.items()
    }
    test = data.parts[2]
    truth, u = states[test.numpy()], data.u[test]
    told: dict[str, dict[str, Any]] = {
        k: {"relative error of test runs, %": round(float(field_error(setup, n, truth, u)), 3)}
        for k, n in (("robust", robust), ("sharp", sharp))
    }
    for k, errors in (("robust", by_robust), ("sharp", by_sharp)):
        told[k]["validation error of stage 1, %"] = round(first, 2)
        told[k]["validation, by ridge: exact, with 1 % of latent error"] = {
            f"{r:g}": [round(100 * v, 2) for v in e] for r, e in errors.items()
        }
    y, z = networks.observations(setup, truth), networks.codes(setup, robust, u)
    for k, n in encoders.items():
        told[k] = {
            f"latent states and parameters of test runs, % at noise {a:g}": code_errors(
                setup, n, y, z, a
            )
            for a in (0.0, 0.05, 0.1, 0.2)
        }
        own = networks.natural(setup, copy.deepcopy(robust))
        spread = code_variances(setup, own, n, states, 0.1)
        told[k][VARIANCES] = [float(f"{v:.4g}") for v in spread]
    command = f"python -m dalearn.cases.ld_ensf --case {setup.name} --train"
    about = f"{sum(setup.runs)} runs, {setup.runs} for training, validation, test; 64^2 points"
    parts = {"robust": robust, "sharp": sharp, **encoders}
    for k, n in parts.items():
        path = folder / f"ld-ensf-{setup.name}-{k}.safetensors"
        save_weights(copy.deepcopy(n).half(), path, Card(command, about, 0, told[k]))
    return networks.Trained(setup, **parts), told
