"""How the inverse operator of VIVID is trained, with sensors drawn anew at each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...array import (
    Purpose,
    as_floats,
    check_between,
    check_count,
    generator,
    is_module,
    shown,
    to_numpy,
)
from ...covariances.matrices import Dense
from ..latent.pairs import tell_shared
from .network_fields import estimated

ALIKE = 0.05  # mean square of a state, in units of s^2, below which its error counts no more


def trained(
    net: Any,
    draw: Callable,
    train: Any,
    validation: Any,
    *,
    epochs: int,
    batch: int,
    rate: float,
    periodic: bool,
    **how: Any,
) -> None:
    """Train `net` in place; see `VIVID.fit`. `how`: checkpoint, seed and progress."""
    import torch

    from ...neural.train import adam, cosine, fit

    check_between("rate", rate, 0, math.inf, open_low=True)
    check_count("epochs", epochs)
    check_net(net)
    if not callable(draw) or isinstance(draw, type):
        raise TypeError(f"draw must be a function of states and a generator, met {shown(draw)}")
    like = next(net.parameters())
    told = []
    for name, part in (("train", train), ("validation", validation)):
        x = to_numpy(as_floats(part, name))
        if x.ndim != 3 or x.shape[-1] != math.prod(net.shape):
            raise ValueError(
                f"{name} has shape {x.shape}, wanted runs (S, T, {math.prod(net.shape)})"
            )
        told.append(torch.as_tensor(x.reshape(-1, x.shape[-1]), dtype=like.dtype))
    tell_shared(*told)
    fit(
        net,
        (told[0],),
        (told[1],),
        loss=Reconstruction(draw, periodic, how["seed"]),
        optimiser=adam(rate),
        schedule=cosine(epochs),
        epochs=epochs,
        clip=1.0,
        batch=batch,
        **how,
    )
    settle = getattr(net, "settle", None)
    if settle is not None:
        settle()


def check_net(net: Any) -> None:
    """Raise unless `net` is a module with a `shape`."""
    if not is_module(net) or len(getattr(net, "shape", ())) != 2:
        raise TypeError(
            f"net must be a torch module with shape = (rows, columns), such as neural.Inverse, "
            f"met {shown(net)}"
        )


@dataclass(eq=False)
class Reconstruction:
    """The mean square of errors relative to the state, of data drawn anew."""

    draw: Callable
    periodic: bool
    seed: int

    def __call__(self, module: Any, states: Any) -> Any:
        import torch

        from ...neural.voronoi import tessellated

        learns = module.training
        number = int(torch.randint(2**31, (1,))) if learns else len(states)
        rng = generator(Purpose.TRAINING, 15, self.seed, learns, number)
        values, positions = self.draw(states.numpy(), rng)
        images = tessellated(values, positions, tuple(module.shape), self.periodic)[0]
        found = module(torch.from_numpy(images).to(states))
        square = (states * states).mean(1)
        return (((found - states) ** 2).mean(1) / (square + ALIKE * square.mean())).mean()


def estimates(
    net: Any, draw: Callable, states: Any, draws: int, batch: int, seed: int, periodic: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fields, states and distances to the nearest sensor, `(S draws, n)` each."""
    check_count("draws", draws)
    check_count("batch", batch)
    x = to_numpy(as_floats(states, "states"))
    n = math.prod(net.shape)
    if x.ndim < 2 or x.shape[-1] != n:
        raise ValueError(f"states have shape {x.shape}, wanted (..., {n})")
    x = np.tile(x.reshape(-1, n), (draws, 1))
    rng = generator(Purpose.TRAINING, 16, seed)
    order = rng.permutation(len(x))
    parts = [x[rows] for rows in np.array_split(order, math.ceil(len(x) / batch))]
    found = []
    for part in parts:
        values, positions = draw(part, rng)
        found.append(estimated(net, values, positions, periodic))
    field, distance = (np.concatenate(v) for v in zip(*found, strict=True))
    return field, np.concatenate(parts), distance


def code_errors(coder: Any, found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Dense:
    """The second moments of errors of codes of fields."""
    error = coder.encode(found[0]) - coder.encode(found[1])
    if len(error) < 2 * error.shape[-1]:
        raise ValueError(
            f"met {len(error)} states for a covariance of {error.shape[-1]} numbers; wanted "
            f"twice as many at least: more states, or more draws"
        )
    return Dense(error.T @ error / len(error))
