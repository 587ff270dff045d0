"""Twin experiments: a model makes the truth and the data, so that errors are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..array import (
    Array,
    Model,
    Operator,
    Purpose,
    array_namespace,
    check_count,
    convert,
    convert_tree,
    no_grad,
    normal,
    streams,
    to_numpy,
    typed,
)
from .belief import Belief, Ensemble, Gaussian, Point
from .border import Border
from .calls import check_call, check_model
from .checks import check_kind
from .manifold import Angles
from .observe import Moving, Observation
from .problem import Problem


@typed
def twin(
    model: Model,
    observation: Observation | Moving,
    prior: Belief,
    cycles: int,
    *,
    steps: int | Sequence[int] = 1,
    noise: Any = None,
    inputs: Any = None,
    angles: Angles | None = None,
    truth_model: Model | None = None,
    truth_prior: Belief | None = None,
    truth_view: Operator | None = None,
    shape: tuple[int, ...] = (),
    seed: int | Sequence[int] = 0,
    batch: int | tuple[int, ...] = (),
) -> Problem:
    """A twin experiment: a truth drawn from the prior and its noisy observations, as a Problem.

    Nature, which makes the truth, may differ from what the assimilation believes. Angles are in
    [-P / 2, P / 2), in the truth and in the data.

    Args:
        model: one time step, as in Problem.
        observation: an Observation, or Moving.
        prior: a belief about the state before the first step; the truth is drawn from it.
        cycles: the number of observation times K.
        steps: model steps before each observation, an int or one per observation.
        noise: Q, as in Problem.
        inputs: what the model, and nature's, is told at each step, as in Problem.
        angles: which components of the state are angles, as in Problem.
        truth_model: nature's model, which takes the same `steps` (see Subcycled and repeated). The
            noise Q is then the assimilating model's alone: it stands for what that model lacks.
        truth_prior: the belief over nature's own state `(..., n_nature)`.
        truth_view: a function `(..., n_nature) -> (..., n)`, the part of nature that the
            assimilating model describes: it becomes `truth`, and the operator sees it. With a
            view, a `truth_model` that has an attribute `shape` gets fields
            `(b, *truth_model.shape)`, and so does the view.
        shape: of one field, as in Problem.
        seed: a non-negative integer, or one per experiment; experiment b of a batch is the one
            that `seed + b` makes alone.
        batch: the axes of independent experiments, an int or a tuple.

    Returns:
        The problem, with its truth.

    Raises:
        FloatingPointError: when the truth becomes non-finite: a time step too long.
        TypeError: for arguments of another kind.
        ValueError: for arguments that do not fit together.
    """
    batch = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    for name, number in (("cycles", cycles), *(("batch", b) for b in batch)):
        check_count(name, number)
    blank = np.full((*batch, cycles, getattr(observation, "m", 1)), np.nan)
    problem = Problem(
        model, observation, prior, blank, steps, noise, shape, inputs=inputs, angles=angles
    )
    problem = problem.validated()
    batch, like = problem.batch, problem.like
    rng = streams(Purpose.TWIN, seed, batch)
    nature, view = _nature(problem, truth_model, truth_prior, truth_view)
    xp = array_namespace(like)
    prior = nature.prior
    truths, data = [], []
    with no_grad(like):
        x = prior.draw(rng) if isinstance(prior, Ensemble) else prior.sample(rng, 1)
        for k in range(cycles):
            x = nature.forecast(x, k, rng)
            seen, observe = view(x), problem._observe(k)
            y = _drawn(observe, observe(seen), rng)
            y = observe.residual.wrapped(y) if isinstance(observe.residual, Angles) else y
            pad = xp.full((*y.shape[:-1], observation.m - observe.m), np.nan, dtype=y.dtype)
            data.append(xp.concat((y, convert(pad, y)), axis=-1)[..., 0, :])
            truths.append(seen[..., 0, :])
        truth, data = xp.stack(truths, axis=-2), xp.stack(data, axis=-2)
        truth = truth if angles is None else angles.wrapped(truth)
    widths = np.array([problem.observation.at(k).m for k in range(cycles)])
    observed = np.arange(problem.observation.m) < widths[:, None]  # the rest pads a moving network
    for name, values, own in (("truth", truth, True), ("observation operator", data, observed)):
        bad = ~np.isfinite(to_numpy(values)) & own
        if bad.any():
            raise FloatingPointError(
                f"the {name} became non-finite at cycle {int(np.argwhere(bad)[:, -2].min())}; "
                "wanted a stable model (shorten its step) and an operator defined on its states"
            )
    return replace(problem, data=data, truth=truth)


def _drawn(observe: Observation, h: Array, rng: Any) -> Array:
    """Data of what is seen without errors, `h (..., 1, m)`."""
    if observe.law is not None:
        return observe.law.draw(h, observe.noise, rng)
    R = observe.noise
    return h + R.color(normal(rng, (1, R.controls), h))


def _nature(problem: Problem, model: Any, prior: Any, view: Any) -> tuple[Problem, Operator]:
    """The problem that nature solves forward, and how the assimilation sees its states."""
    if view is not None and (model is None or prior is None):
        raise ValueError(
            "truth_view wants truth_model= and truth_prior=, nature's model and a belief over "
            "nature's own state, met "
            + " and ".join(
                f"{name}=None"
                for name, given in (("truth_model", model), ("truth_prior", prior))
                if given is None
            )
        )
    nature, like = problem, problem.like
    if model is not None:
        nature = replace(nature, model=convert_tree(model, like), noise=None)
    if prior is not None:
        check_kind("truth_prior", prior, Point, Gaussian, Ensemble)
        prior, shape = convert_tree(prior, like), problem.shape
        if model is not None and view is not None:
            shape = tuple(getattr(model, "shape", ()))
        nature = replace(nature, prior=prior, shape=shape)
        if view is None and nature.n != problem.n:
            raise ValueError(
                f"nature's state has {nature.n} components but the model's {problem.n}; wanted "
                "truth_view=, a function (..., n_nature) -> (..., n)"
            )
        try:
            fits = nature.batch == problem.batch
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"truth_prior has batch axes {tuple(prior.mean.shape[:-1])}, wanted axes that "
                f"broadcast to the batch {problem.batch}"
            )
    if nature is not problem:
        check_model(nature, "the truth model")
    if view is None:
        return nature, lambda x: x
    check_kind("truth_view", view)
    view = convert_tree(view, like)
    seen = Border(view, nature.shape) if nature.shape else view
    check_call(seen, nature, "truth_view", problem.n)
    return nature, seen
