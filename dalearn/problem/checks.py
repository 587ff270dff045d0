"""The one-time check of a problem, before any cycle: one bad shape here, none later."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import array_namespace, broadcasts, is_array, shown
from .calls import check_call, check_model
from .inputs import check_inputs
from .residuals import check_residual
from .states import check_state


def check_problem(problem: Any) -> None:
    """Raise on the first thing in `problem` that could go silently wrong later."""
    n, K, m = problem.n, len(problem), problem.observation.m
    like = problem.like
    check_state(like, "the prior", axes=1)
    if array_namespace(like).finfo(like.dtype).bits not in (32, 64):
        raise TypeError(
            f"the prior has dtype {like.dtype}, wanted float32 or float64: linear algebra knows "
            "no other"
        )
    try:
        batch = problem.batch
    except ValueError:
        raise ValueError(
            f"batch axes differ: the prior's {tuple(problem.prior.mean.shape[:-1])} and the "
            f"data's {tuple(problem.data.shape[:-2])}; wanted shapes that broadcast"
        ) from None
    if problem.shape and int(np.prod(problem.shape)) != n:
        raise ValueError(
            f"shape {problem.shape} holds {int(np.prod(problem.shape))} numbers but the prior's "
            f"state has {n}; flatten fields into the last axis of the prior"
        )
    moving = getattr(problem.observation, "observations", None)
    if moving is not None and len(moving) != K:
        raise ValueError(
            f"Moving holds {len(moving)} observations, wanted {K}: one per observation time"
        )
    if problem.data.shape[-1] != m:
        raise ValueError(
            f"data have {problem.data.shape[-1]} numbers at each time (shape "
            f"{tuple(problem.data.shape)}) but the observation noise {m}; wanted (..., {K}, {m})"
        )
    truth = problem.truth
    if truth is not None and not _fits(tuple(truth.shape), (*batch, K, n)):
        raise ValueError(
            f"truth has shape {tuple(truth.shape)}, wanted (..., {K}, {n}) with leading axes that "
            f"broadcast to the batch {batch}"
        )
    for Q in problem.noise if isinstance(problem.noise, tuple) else (problem.noise,):
        if Q is not None and Q.n != n:
            raise ValueError(f"the model noise has dimension {Q.n}, wanted the state's {n}")
        _check_batch("model noise", Q, batch)
    check_inputs(problem)
    len(problem.time)  # a model.dt that is no number shows here, not after the run
    check_model(problem, "the model")
    xp, known = array_namespace(like), {}
    for k in range(K):
        observe = problem._observe(k)
        if id(observe) not in known:
            known[id(observe)] = observe
            _check_batch("observation noise", observe.noise, batch)
            check_call(observe.operator, problem, "the observation operator", observe.m)
            check_residual(observe, like)
            if not problem._complete[k] and bool(xp.any(problem._seen)):
                problem.at(k)  # a covariance that cannot mask says so
        if observe.m < m and bool(xp.any(problem._seen[..., k, observe.m :])):
            raise ValueError(
                f"data at time {k} hold more than the {observe.m} numbers observed then; wanted "
                f"NaN from column {observe.m} on"
            )


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether `shape` is `wanted`, up to broadcasting in all but its last two axes."""
    return len(shape) > 1 and shape[-2:] == wanted[-2:] and broadcasts(shape, wanted)


def _check_batch(name: str, cov: Any, batch: tuple[int, ...]) -> None:
    if cov is not None and not broadcasts(cov.batch, batch):
        raise ValueError(
            f"the {name} has batch axes {cov.batch}, wanted axes that broadcast to {batch}"
        )


def check_kind(name: str, value: Any, *kinds: type) -> None:
    """Raise TypeError unless `value` is of one of `kinds`; of no kind: a callable, not a class."""
    if kinds and not isinstance(value, kinds):
        wanted = ", ".join(k.__name__ for k in kinds)
        raise TypeError(f"the {name} must be one of {wanted}, met {shown(value)}")
    if not kinds and (not callable(value) or isinstance(value, type)):
        raise TypeError(
            f"the {name} must be a callable, met {value!r}; wanted a function or an instance such "
            "as Lorenz96()"
        )


def one_each(steps: Any, K: int) -> list[int]:
    """`steps`, one positive integer or K that may be 0, as K integers; else ValueError."""
    counts = np.asarray(steps)
    if (
        np.ma.is_masked(steps)
        or counts.dtype.kind not in "iu"
        or counts.shape not in ((), (K,))
        or ((counts < (counts.ndim == 0)) | (counts > 10**8)).any()
    ):
        raise ValueError(
            f"steps must be a positive integer, or one per observation ({K} of them; 0 for data "
            f"at the same time as those before, or as the prior), met {steps!r}"
        )
    return np.broadcast_to(counts, (K,)).tolist()


def step_length(model: Any) -> float:
    """The model's `dt`, or 1; ValueError for what is no number."""
    dt = getattr(model, "dt", 1.0)
    if np.ndim(dt) or not (isinstance(dt, (int, float, np.number)) or is_array(dt)):
        met = f"has shape {np.shape(dt)}" if np.ndim(dt) else f"is {dt!r}"
        raise ValueError(f"model.dt {met}, wanted one number: pass times= for the rest")
    return float(dt)


def check_certain(problem: Any) -> None:
    """Raise TypeError for a stochastic model, where its steps are wanted without `rng`."""
    if problem.stochastic:
        raise TypeError(
            f"{type(problem.model).__name__} is stochastic: without rng it has no forecast and "
            "no derivative, which this method wants; use an ensemble method"
        )


def check_still(problem: Any) -> None:
    """Raise TypeError unless the model has one step, the same at all times, without `rng`."""
    check_certain(problem)
    if problem.inputs is not None:
        raise TypeError(
            f"{type(problem.model).__name__} is told inputs, so that its steps differ; wanted a "
            "method that takes them one by one (problem.stepping), or a model without inputs"
        )
