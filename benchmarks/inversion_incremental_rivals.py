"""What `inversion_incremental` puts beside the networks: weak 4D-Var and a particle smoother."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

import dalearn as da
from dalearn.array import Purpose, generator
from dalearn.cases.neural_incremental_setup import SETUPS
from dalearn.methods import systematic, weak4d
from dalearn.methods.variational.weak_cost import WeakCost

from .inversion_incremental_setups import TestSet

ITERATIONS, DAMPING, TOLERANCE = 60, 1.0, 0.03  # Levenberg-Marquardt
WORSE = 2.0  # a minimum this much above that from the truth is another one


class Variational(NamedTuple):
    """Minima of 4D-Var in the network's units, their costs, iterations, and which have ended."""

    x: torch.Tensor
    cost: np.ndarray
    iterations: np.ndarray
    converged: np.ndarray


def cost_of(name: str, net: Any, test: TestSet, background: bool) -> WeakCost:
    """J of weak 4D-Var: the model that made the trajectories, its Q, the data's R.

    With a background, the mean and covariance of the first state over the training set.
    """
    setup = SETUPS[name]
    mean, cov = (v.double().numpy() for v in net.climatology())
    std, seen = (test.std * net.std).double().numpy(), []
    y = (test.y * net.std + net.mean).double().numpy()
    for t in range(setup.T):
        mask = test.mask[:, t].numpy()
        if mask.any():
            see = da.Observation(da.identity, da.Diagonal(std[t] ** 2)).masked(mask)
            seen.append((t, see, np.where(mask, y[:, t], 0.0)))
    Q = da.Diagonal(np.full(setup.n, setup.noise or setup.Q))
    first = np.broadcast_to(mean[0], (len(y), setup.n))
    B = cov[0] + 1e-9 * np.eye(setup.n) * np.trace(cov[0])
    return WeakCost(setup.model, first, B if background else None, Q, seen)


def variational(
    name: str,
    net: Any,
    test: TestSet,
    start: torch.Tensor,
    *,
    background: bool = True,
    damping: float = DAMPING,
) -> Variational:
    """4D-Var from a first guess in the network's units."""
    J = cost_of(name, net, test, background)
    X = (start * net.std + net.mean).double().numpy()
    found = weak4d(J, X, ITERATIONS, TOLERANCE, damping)
    x = (torch.as_tensor(found.states).float() - net.mean) / net.std
    info = found.info
    return Variational(
        x, np.asarray(info["cost"]), np.asarray(info["iterations"]), np.asarray(info["converged"])
    )


def particles(name: str, net: Any, test: TestSet, members: int = 16_384) -> torch.Tensor:
    """Means of whole paths given all data, by a bootstrap filter that keeps its members' paths.

    The start is drawn from the law that the trajectories' own start was drawn from.
    """
    setup, rng = SETUPS[name], generator(Purpose.CASE, 9000 + SETUPS[name].key)
    std, y = test.std.numpy(), test.y.numpy()
    scale, mean = net.std.numpy(), net.mean.numpy()
    found = []
    for b in range(len(y)):
        path = setup.start(rng, members)[:, None]
        log_w = np.full(members, -math.log(members))
        for t in range(setup.T):
            if t:
                x = setup.model(path[:, -1])
                x = x + math.sqrt(setup.noise) * rng.standard_normal(x.shape)
                path = np.concatenate((path, x[:, None]), 1)
            mask = test.mask[b, t].numpy()
            if mask.any():
                d = (y[b, t] - (path[:, -1] - mean[t]) / scale[t]) / std[t]
                log_w = log_w - 0.5 * np.where(mask, d * d, 0.0).sum(-1)
                w = np.exp(log_w - log_w.max())
                w = w / w.sum()
                if 1 / (w * w).sum() < members / 2 and t + 1 < setup.T:
                    path = path[systematic(w, rng.uniform())]
                    log_w = np.full(members, -math.log(members))
        w = np.exp(log_w - log_w.max())
        found.append((w[:, None, None] * path).sum(0) / w.sum())
    return (torch.as_tensor(np.stack(found)).float() - net.mean) / net.std
