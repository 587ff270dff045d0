"""Part of `benchmarks.inversion`: the deep prior on windows of Lorenz-96.

    min_theta  sum_k |R^-1/2 (y_k - H(M_k(G_theta(z))))|^2 ,    z fixed, for each window anew

G has seen no data but those of its window. What may smooth is the shape of G, a chain of
up-sampling convolutions on the ring, and that the minimisation is stopped. Beside it the same
descent in the numbers of the state themselves, from the climatology: what the stop alone does.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import dalearn as da
from dalearn.array import Purpose, torch_seed
from dalearn.cases.learned_4dvar import N, climatology
from dalearn.neural.nets import seeded

STOPS = (25, 50, 100, 200, 400)
WIDTH, RATES = 32, {"deep prior": (3e-3, 1e-2), "descent": (0.1,)}


def network(seed: int = 0) -> nn.Sequential:
    """G: latent fields `(32, 5)` -> states `(1, 40)` in units of the climatology."""

    def start() -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(3):
            conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=1, padding_mode="circular")
            layers += [nn.Upsample(scale_factor=2), conv, nn.SiLU()]
        return nn.Sequential(*layers, nn.Conv1d(WIDTH, 1, 3, padding=1, padding_mode="circular"))

    return seeded(seed, start)


def misfits(problem: da.Problem, x: Tensor) -> Tensor:
    """The cost of starts `(S, n)` of each window, and nothing else in it, `(S,)`."""
    see: Any = problem.observation
    r = torch.as_tensor(see.noise.variance(), dtype=x.dtype)
    y = torch.as_tensor(problem.data, dtype=x.dtype)
    total = torch.zeros(len(x))
    for k in range(len(problem)):
        x = problem.model(x)
        gap = torch.where(torch.isnan(y[:, k]), 0, torch.nan_to_num(y[:, k]) - x)
        total = total + (gap**2 / r).sum(-1) / 2
    return total


def descents(kind: str, problem: da.Problem, rate: float) -> tuple[dict[int, np.ndarray], float]:
    """Starts of all windows after each number of steps, and the CPU seconds of one window.

    Windows share nothing: each has weights, a z and a descent of its own; they only run at once.
    What is kept is the start of the smallest cost so far, of each window.
    """
    count, begun = len(problem.data), time.process_time()
    mean, std = climatology().mean[0], float(climatology().cov.variance()[0]) ** 0.5
    if kind == "deep prior":
        nets = [network(i) for i in range(count)]
        weights, _ = torch.func.stack_module_state(nets)
        dice = torch.Generator().manual_seed(torch_seed(Purpose.TRAINING, 0))
        z, body = torch.randn((count, 1, WIDTH, 5), generator=dice), nets[0]

        def of_one(w: Any, z: Tensor) -> Tensor:
            return torch.func.functional_call(body, w, (z,)).flatten()

        def states() -> Tensor:
            return mean + std * torch.func.vmap(of_one)(weights, z)
    else:
        weights = {"x": torch.zeros((count, N), requires_grad=True)}

        def states() -> Tensor:
            return mean + std * weights["x"]

    adam = torch.optim.Adam(list(weights.values()), lr=rate)
    least, kept, found = torch.full((count,), torch.inf), torch.zeros((count, N)), {}
    for step in range(1, max(STOPS) + 1):
        adam.zero_grad()
        x = states()
        cost = misfits(problem, x)
        better = cost.detach() < least
        least = torch.where(better, cost.detach(), least)
        kept = torch.where(better[:, None], x.detach(), kept)
        cost.sum().backward()
        adam.step()
        if step in STOPS:
            found[step] = kept.double().numpy().copy()
    return found, (time.process_time() - begun) / count


def chosen(kind: str, valid: da.Problem, x0: np.ndarray) -> tuple[float, int]:
    """The rate and the stop that err least, in the mean, in validation windows."""
    errors = {}
    for rate in RATES[kind]:
        for stop, x in descents(kind, valid, rate)[0].items():
            errors[rate, stop] = float(np.sqrt(((x - x0) ** 2).mean(-1)).mean())
    return min(errors, key=lambda k: errors[k])
