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


def part(problem: Any, first: int, end: int, prior: Any = None) -> Any:
    """The problem of the observations `first` to `end` (exclusive), without its truth.

    Args:
        problem: a Problem.
        first: the first observation.
        end: behind the last.
        prior: the belief at observation `first` - 1; None: that of the problem.

    Returns:
        A Problem.
    """
    obs, u, Q = problem.observation, problem.inputs, problem.noise
    counts = [problem.steps_to(k) for k in range(len(problem))]
    rows = slice(sum(counts[:first]), sum(counts[:end]))
    if u is not None:
        u = u[rows] if u.ndim < 2 else u[..., rows, :]
    if isinstance(obs, Moving):
        obs = replace(obs, observations=obs.observations[first:end])
        data = problem.data[..., first:end, : obs.m]
    else:
        data = problem.data[..., first:end, :]
    return replace(
        problem,
        prior=problem.prior if prior is None else prior,
        observation=obs,
        data=data,
        steps=counts[first:end],
        noise=Q[first:end] if isinstance(Q, tuple) else Q,
        truth=None,
        times=None if problem.times is None else problem.times[first:end],
        inputs=u,
    )
