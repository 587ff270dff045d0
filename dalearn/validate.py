"""The one-time check of a problem, before any cycle: one bad shape here, none later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import array_namespace, is_array, is_module, library, no_grad
from .gaussian import check_state


def check_problem(problem: Any) -> None:
    """Raise on the first thing in `problem` that could go silently wrong later."""
    n, K, m = problem.n, len(problem), problem.observation.m
    like = problem.like
    check_state(like, "the prior", axes=1)
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
    if problem.truth is not None and (
        problem.truth.ndim < 2 or tuple(problem.truth.shape[-2:]) != (K, n)
    ):
        raise ValueError(f"truth has shape {tuple(problem.truth.shape)}, wanted (..., {K}, {n})")
    if problem.noise is not None and problem.noise.n != n:
        raise ValueError(
            f"the model noise has dimension {problem.noise.n}, wanted the state's {n}"
        )
    R = None if moving is not None else problem.observation.noise
    for name, cov in (("model noise", problem.noise), ("observation noise", R)):
        if cov is not None and cov.batch not in ((), batch):
            raise ValueError(f"the {name} has batch axes {cov.batch}, wanted () or {batch}")
    check_call(problem.step, problem, "the model", n)
    known = set()
    for k in range(K):
        observe = problem._observe(k)
        if id(observe) not in known:
            known.add(id(observe))
            check_call(observe.operator, problem, "the observation operator", observe.m)


def check_call(f: Callable, problem: Any, name: str, width: int) -> None:
    """Call `f` on two rows around the prior's mean and compare what comes back with the contract.

    Caught: another library, dtype or shape; input written in place; NaN; and rows that change
    each other (a roll without an axis, batch normalisation in training mode).
    """
    xp = array_namespace(problem.like)
    _check_module(problem.model if name != "the observation operator" else f, problem.like, name)
    mean, std = problem.prior.mean, problem.prior.std
    shape = (*problem.batch, problem.n)
    a = xp.broadcast_to(mean, shape)[..., None, :] + 0.0
    b = xp.broadcast_to(mean + std, shape)[..., None, :]
    rows = xp.concat((a, b), axis=-2)
    before = rows + 0.0
    outer = f"(b, {', '.join(map(str, problem.shape))})" if problem.shape else tuple(rows.shape)
    with no_grad(rows):
        try:
            both, one = f(rows), f(a)
        except Exception as error:
            raise (
                type(error)(
                    f"{name} failed on an array of shape {outer}: {error}. It must take any leading "
                    "axes (..., n), or (b, *shape) where the problem has a field shape"
                )
                if type(error) in (ValueError, TypeError, IndexError, RuntimeError)
                else error
            )
    if not is_array(both) or library(both) != library(rows):
        raise TypeError(
            f"{name} returned {library(both)} for a {library(rows)} array; the prior's library "
            "decides: write it with that library's (or array-API) operations"
        )
    if both.dtype != rows.dtype:
        raise TypeError(
            f"{name} changed the dtype from {rows.dtype} to {both.dtype}; wanted it kept: "
            "convert its constants, or give the prior that dtype"
        )
    wanted = (*rows.shape[:-1], width)
    if tuple(both.shape) != wanted:
        raise ValueError(
            f"{name} returned shape {tuple(both.shape)} for rows {tuple(rows.shape)}, wanted "
            f"{wanted}; it must act on the last axis and keep the others"
        )
    if not bool(xp.all(rows == before)):
        raise ValueError(f"{name} wrote into its input; wanted a pure function (copy first)")
    if not bool(xp.all(xp.isfinite(one))):
        raise ValueError(f"{name} returned NaN or infinity at the prior's mean")
    slack = 1e4 * float(xp.finfo(rows.dtype).eps)  # libraries may sum rows in another order
    size = float(xp.max(xp.abs(one)))
    if float(xp.max(xp.abs(both[..., :1, :] - one))) > slack * max(size, 1e-300):
        raise ValueError(
            f"{name} gives a row another value when a second row stands beside it; wanted each "
            "row on its own and no randomness (roll along axis=-1? module.eval()?)"
        )


def _check_module(f: Any, like: Any, name: str) -> None:
    """A torch module must be in a torch problem, of its dtype and device, and not training."""
    f = getattr(f, "f", f)  # behind a Border
    if not is_module(f):
        return
    if library(like) != "torch":
        raise TypeError(
            f"{name} is a torch module but the prior is a NumPy array; wrap it as "
            "Surrogate(module), or give the prior as a torch tensor"
        )
    for p in f.parameters():
        if p.dtype != like.dtype or p.device != like.device:
            raise TypeError(
                f"{name} holds {p.dtype} on {p.device} but the prior is {like.dtype} on "
                f"{like.device}; wanted the same: module.to(prior) or prior.to(module)"
            )
    random = ("Dropout", "BatchNorm")
    noisy = [type(s).__name__ for s in f.modules() if s.training and random[0] in type(s).__name__]
    noisy += [
        type(s).__name__ for s in f.modules() if s.training and random[1] in type(s).__name__
    ]
    if noisy:
        raise ValueError(f"{name} is in training mode with {noisy[0]}; call module.eval() first")
