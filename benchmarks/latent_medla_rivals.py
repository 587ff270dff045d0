"""Rivals of MEDLA in `benchmarks.latent`: up-sampling, ridge regression, networks of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import dalearn as da
from dalearn.array import Purpose, generator
from dalearn.cases import medla
from dalearn.cases import medla_burgers as burgers
from dalearn.neural import MLP, UNet, fit, seeded
from dalearn.neural.products import Products
from dalearn.neural.train import adam, cosine

F, C = burgers.FINE, burgers.COARSE


def upsampled(mode: str) -> Callable[[Tensor], Tensor]:
    """Data `(N, 2 32^2)` on the fine points, `(N, 2 128^2)`."""

    def up(y: Tensor) -> Tensor:
        y = y.reshape(-1, 2, C, C)
        return nn.functional.interpolate(y, size=(F, F), mode=mode, align_corners=True).flatten(1)

    return up


@dataclass(frozen=True, eq=False)
class Coded:
    """A coder of states, and data that are made states first."""

    net: Any
    up: Callable

    @property
    def n(self) -> int:
        return self.net.n

    @property
    def r(self) -> int:
        return self.net.r

    @torch.no_grad()
    def encode(self, x: Any) -> Any:
        return _like(x, self.net.encode)

    @torch.no_grad()
    def decode(self, z: Any) -> Any:
        return _like(z, self.net.decode)

    @torch.no_grad()
    def encode_observation(self, y: Any) -> Any:
        return _like(y, lambda y: self.net.encode(self.up(y)))


def _like(x: Any, f: Callable) -> Any:
    """`f(x)` of a tensor, a part at a time, in the library of x."""
    made = torch.cat([f(part) for part in torch.as_tensor(x).float().split(256)])
    return made if isinstance(x, Tensor) else made.numpy()


@dataclass(frozen=True, eq=False)
class Regressed:
    """A POD of states, and a ridge regression from data to its codes."""

    pod: Any
    weights: np.ndarray

    n = property(lambda self: self.pod.n)
    r = property(lambda self: self.pod.r)

    def encode(self, x: Any) -> Any:
        return self.pod.encode(x) if isinstance(x, np.ndarray) else self._torch("encode", x)

    def decode(self, z: Any) -> Any:
        return self.pod.decode(z) if isinstance(z, np.ndarray) else self._torch("decode", z)

    def _torch(self, part: str, x: Tensor) -> Tensor:
        return torch.from_numpy(getattr(self.pod, part)(x.numpy()))

    def encode_observation(self, y: Any) -> Any:
        z = np.asarray(y) @ self.weights[:-1] + self.weights[-1]
        return z if isinstance(y, np.ndarray) else torch.from_numpy(z)


def ridge(train: Any, valid: Any, r: int, noise: bool = True) -> Regressed:
    """POD of the training states and the ridge that is best on the validation runs."""
    x, y = (v.reshape(-1, v.shape[-1]) for v in (train.states, train.data))
    pod = da.POD.fit(x, r)
    z = pod.encode(x)
    draws = [medla.disturbed("burgers", y, _sizes(len(y), k), 10 + k) for k in range(3)]
    Y = np.concatenate(draws if noise else [y])
    Z = np.concatenate([z] * (3 if noise else 1))
    Y1 = np.concatenate((Y, np.ones((len(Y), 1), Y.dtype)), axis=1).astype(float)
    G, g = Y1.T @ Y1, Y1.T @ Z
    xv, yv = (v.reshape(-1, v.shape[-1]) for v in (valid.states, valid.data))
    yv = medla.disturbed("burgers", yv, _sizes(len(yv), 9), 19) if noise else yv
    zv, best = pod.encode(xv), (np.inf, None)
    for size in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
        w = np.linalg.solve(G + size * np.trace(G) / len(G) * np.eye(len(G)), g).astype("float32")
        wrong = float(((yv @ w[:-1] + w[-1] - zv) ** 2).sum())
        best = min(best, (wrong, w), key=lambda pair: pair[0])
    return Regressed(pod, best[1])  # type: ignore[arg-type]


def _sizes(count: int, seed: int) -> np.ndarray:
    rng = generator(Purpose.TEST, 33, seed)
    return rng.uniform(0, burgers.LEVELS[-1], (count, 1)).astype("float32")


class Both(nn.Module):
    """Background and data to the state: perceptrons behind `Products`, or a U-Net on 64^2."""

    def __init__(self, unet: bool):
        super().__init__()
        self.unet, K = unet, medla.COUNT
        self.fine, self.coarse = Products((2, F, F), K), Products((2, C, C), K)
        self.back = Products((2, F, F), K, back=True)
        m = self.fine.outputs
        self.net = (
            UNet(4, 2, (8, 16, 32, 32), periodic=False)
            if unet
            else MLP(2 * m, m, (128,), activation=nn.SiLU)
        )

    def forward(self, b: Tensor, y: Tensor) -> Tensor:
        """States `(N, n)`, flat."""
        if not self.unet:
            parts = self.fine(b.reshape(-1, 2, F, F)), self.coarse(y.reshape(-1, 2, C, C))
            return self.back(self.net(torch.cat(parts, dim=1))).flatten(1)
        resize = nn.functional.interpolate
        told = {"mode": "bicubic", "align_corners": True}
        parts = [
            resize(v.reshape(-1, 2, s, s), size=(64, 64), **told) for v, s in ((b, F), (y, C))
        ]
        return resize(self.net(torch.cat(parts, dim=1)), size=(F, F), **told).flatten(1)


def loss(net: Both, b: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Mean square error, with errors of the data drawn anew."""
    y = DISTURB(y) if net.training else y
    return ((net(b, y) - x) ** 2).mean()


DISTURB = medla.Disturb("burgers")


@cache
def networks_of_both(quick: bool) -> dict[str, Callable]:
    """Networks of (background, data), trained on the same pairs and errors."""
    train, valid = (burgers.pairs(part) for part in ("train", "validation"))
    found = {}
    for name, unet, epochs, thin in (
        ("perceptron of background and data", False, 60, 2),
        ("CNN of background and data (U-Net)", True, 15, 3),
    ):
        net = seeded(0, Both, unet)
        rows = [
            [torch.from_numpy(v[:, ::k]).flatten(0, 1) for v in (p.background, p.data, p.states)]
            for p, k in ((train, thin), (valid, 4))
        ]
        net.fine.fitted(rows[0][2])
        net.back.fitted(rows[0][2])
        net.coarse.fitted(rows[0][1])
        epochs = 1 if quick else epochs
        told: Any = {"optimiser": adam(2e-3), "schedule": cosine(epochs), "batch": 32}
        fit(net, *map(tuple, rows), loss=loss, epochs=epochs, progress=False, **told)
        found[name] = torch.no_grad()(net)
    return found
