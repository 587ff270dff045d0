"""Part of `benchmarks.latent`: tsunamis as scattered sensors see them, and networks of them.

200 of the 64 x 64 cells, the same in all runs or others in each; components in units of their rms.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import Delaunay, KDTree

from dalearn.array import Purpose, generator
from dalearn.cases.ld_ensf import shallow_water
from dalearn.neural import (
    Autoencoder,
    Card,
    GraphAutoencoder,
    OnClouds,
    fit,
    load_weights,
    mean_square,
    save_weights,
    seeded,
)
from dalearn.neural.train import adam, cosine

SENSORS, R = 200, 16
EPOCHS = 20
GRAPH = {"gain": 14.0, "places": 48, "hidden": (256,), "width": 16, "neighbours": 6}
FOLDER = Path("runs/graph")


def interpolation(points: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Linear interpolation from points `(P, 2)` as a matrix `(T, P)`; outside, the nearest."""
    cells = Delaunay(points)
    inside = cells.find_simplex(to)
    corner, shift = cells.transform[inside, :2], to - cells.transform[inside, 2]
    part = np.einsum("tij,tj->ti", corner, shift)
    shares = np.concatenate((part, 1 - part.sum(-1, keepdims=True)), -1)
    found = np.zeros((len(to), len(points)), "float32")
    np.put_along_axis(found, cells.simplices[inside], shares.astype("float32"), -1)
    outside = inside < 0
    found[outside] = 0
    found[outside, KDTree(points).query(to[outside])[1]] = 1
    return found


def lattice(side: int) -> np.ndarray:
    """The points of a grid over the 64 x 64 cells, `(side^2, 2)`."""
    line = (np.arange(side) + 0.5) * 64 / side - 0.5
    return np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class Seen:
    """Runs as their sensors see them.

    Args:
        quick: a few runs alone.
        own: each run has its own cloud, else all have the first.
    """

    quick: bool
    own: bool = False

    @cached_property
    def setup(self) -> Any:
        from .ld_ensf import small

        return small(shallow_water(), self.quick)

    @cached_property
    def fields(self) -> np.ndarray:
        """All runs in units of their components, `(S, T, 3, 4096)`, every fourth state."""
        from .ld_ensf import made

        x = made(self.setup, self.quick)[:, ::4]
        unit = np.asarray(self.setup.rms, "float32")[:, None]
        return x.reshape(*x.shape[:3], -1) / unit

    @cached_property
    def cells(self) -> np.ndarray:
        """The cells of each run's sensors, `(S, SENSORS)`."""
        rng = generator(Purpose.CASE, *b"graph")
        found = [rng.choice(4096, SENSORS, replace=False) for _ in self.fields]
        return np.stack(found if self.own else found[:1] * len(found))

    @cached_property
    def points(self) -> np.ndarray:
        """Their rows and columns, `(S, SENSORS, 2)`."""
        return np.stack(np.divmod(self.cells, 64), -1).astype(float)

    @cached_property
    def states(self) -> torch.Tensor:
        """What they see, `(S, T, 3 SENSORS)`."""
        seen = [x[..., c] for x, c in zip(self.fields, self.cells, strict=True)]
        return torch.from_numpy(np.stack(seen).reshape(*self.fields.shape[:2], -1))

    def part(self, name: str) -> torch.Tensor:
        """The states of training, validation or test."""
        return self.states[getattr(self.setup.split(), name)]

    def trained(self, kind: str, seed: int) -> tuple[Any, float]:
        """A network of a kind, "dense" or the number of rounds of a graph, and its CPU seconds."""
        parts = self.setup.split()
        x, valid = self.part("train"), self.part("validation")
        if kind == "dense":
            net: Any = seeded(seed, Autoencoder.dense, x.shape[-1], R, (256,))
        else:
            settings = {**GRAPH, "rounds": int(kind)}
            net = seeded(seed, GraphAutoencoder, self.points[0], 3, R, **settings)
        net.scaled(x)
        name = f"{kind}-{'own' if self.own else 'one'}-{seed}{'-quick' * self.quick}"
        file = FOLDER / f"{name}.safetensors"
        if file.exists():
            return net, load_weights(net, file).metric["cpu"]
        epochs = 1 if self.quick else EPOCHS
        told: dict[str, Any] = {"epochs": epochs, "schedule": cosine(epochs), "seed": seed}
        if self.own:
            index = (torch.from_numpy(i) for i in (parts.train, parts.validation))
            data = [(s, i) for s, i in zip((x, valid), index, strict=True)]
            told |= {"loss": OnClouds(self.points, GRAPH["neighbours"]), "batch": 2}
        else:
            data = [(s.flatten(0, 1),) * 2 for s in (x, valid)]
            told |= {"loss": mean_square, "batch": 32}
        begun = time.process_time()
        fit(net, *data, optimiser=adam(3e-3), progress=False, **told)
        spent = time.process_time() - begun
        save_weights(
            net, file, Card("python -m benchmarks.latent --only graph", name, seed, {"cpu": spent})
        )
        return net, spent
