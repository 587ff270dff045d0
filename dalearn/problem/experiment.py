"""One experiment of a batch: every part of a problem without the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..array import Array, batch_index
from ..covariances.base import Covariance
from .border import pick_parameters
from .inputs import each_noise
from .observe import Moving, Observation


def experiment(problem: Any, b: Any) -> dict[str, Any]:
    """The settings of the Problem that experiment `b` of a batch makes alone.

    Args:
        problem: a Problem with batch axes.
        b: an index, or a tuple of them.

    Returns:
        The settings that differ, by name.
    """
    batch = problem.batch

    def pick(x: Array, core: int) -> Array:  # batch axes in front of `core` axes
        return x[batch_index(b, tuple(x.shape[:-core]), batch)]

    def covariance(c: Covariance) -> Covariance:
        return c[batch_index(b, c.batch, batch)] if c.batch else c  # pyright: ignore

    def seen(o: Observation) -> Observation:
        return replace(o, noise=covariance(o.noise)) if o.noise.batch else o

    prior, obs, u = problem.prior, problem.observation, problem.inputs
    moving = isinstance(obs, Moving)
    return {
        "prior": prior[batch_index(b, tuple(prior.mean.shape[:-1]), batch)],
        "observation": replace(obs, observations=[seen(o) for o in obs.observations])
        if moving
        else seen(obs),
        "data": pick(problem.data, 2),
        "noise": each_noise(problem.noise, covariance),
        "truth": None if problem.truth is None else pick(problem.truth, 2),
        "inputs": pick(u, 2) if np.ndim(u) > 2 else u,
        "model": pick_parameters(problem.model, b, batch, problem.n),
    }
