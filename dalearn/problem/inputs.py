"""What changes with time: what a model is told at each step, and the covariance of its error.

x <- M(x, u_s) + q,   q ~ N(0, Q_k) after each model step s before observation k.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..array import Array, array_namespace, as_floats, broadcasts
from ..array.kinds import NO, number
from ..covariances.base import Covariance
from ..covariances.given import as_covariance
from .border import Driven


def as_inputs(given: Any, counts: list[int], model: Any) -> Array | None:
    """What the model is told beside the state: a row for each of its steps.

    Args:
        given: as given to Problem: None, "time", or numbers `(S,)` or `(..., S, p)`.
        counts: model steps before each observation, S in all.
        model: its `dt`, or 1, is the length of a step.

    Returns:
        The array, or None.

    Raises:
        TypeError: for what holds no numbers.
        ValueError: for another number of rows, and numbers that are not finite.
    """
    if given is None:
        return None
    S = sum(counts)
    if isinstance(given, str):
        dt = number(getattr(model, "dt", 1.0))
        if given != "time" or dt is NO:
            raise ValueError(
                f'inputs must be an array with a row for each model step or "time" (for a model '
                f"whose dt is one number), met {given!r}"
            )
        return np.arange(S) * float(dt)
    u = as_floats(given, "inputs")
    rows = u.shape[max(0, u.ndim - 2)] if u.ndim else 0
    if rows != S:
        raise ValueError(
            f"inputs have shape {tuple(u.shape)}, wanted ({S},) or (..., {S}, p): one row for "
            f"each of the {S} model steps"
        )
    if not bool(array_namespace(u).all(abs(u) < float("inf"))):
        raise ValueError("inputs hold NaN or infinity; wanted a finite number for each model step")
    return u


def driven(f: Callable[..., Array], u: Array | None, first: int, count: int) -> list[Any]:
    """The model's steps `first` to `first + count`, each with its input: functions of the state.

    Args:
        f: the model, of vectors.
        u: what `as_inputs` returned; None: the step is the same at all times.
        first: how many steps have gone before.
        count: how many are wanted.

    Returns:
        `count` functions.
    """
    if u is None:
        return [f] * count
    rows = range(first, first + count)
    if u.ndim < 3:
        return [Driven(f, u[s, ...]) for s in rows]  # an array, though it be one number
    return [Driven(f, u[..., s, None, :]) for s in rows]  # `(..., 1, p)`: one for all members


def as_noise(given: Any, n: int, K: int) -> Covariance | tuple[Covariance | None, ...] | None:
    """Q, or one for each observation interval where it is given as a list of covariances.

    Args:
        given: as given to Problem.
        n: the size of the state.
        K: the number of observation times.

    Returns:
        A Covariance, K of them (None where the model has no error), or None.

    Raises:
        TypeError: for what is no covariance.
        ValueError: for another number of them.
    """
    several = isinstance(given, (list, tuple)) and any(isinstance(Q, Covariance) for Q in given)
    if not several:
        return as_covariance(given, "the model noise", n)
    if len(given) != K:
        raise ValueError(
            f"the model noise has {len(given)} covariances, wanted one, or {K}: one for the steps "
            "before each observation"
        )
    return tuple(as_covariance(Q, f"the model noise {k}", n) for k, Q in enumerate(given))


def each_noise(noise: Any, change: Callable[[Covariance], Covariance | None]) -> Any:
    """What `as_noise` returned, with `change` for each covariance in it."""
    if isinstance(noise, tuple):
        return tuple(None if Q is None else change(Q) for Q in noise)
    return None if noise is None else change(noise)


def check_inputs(problem: Any) -> None:
    """Raise ValueError for inputs whose batch axes are not the problem's."""
    u = problem.inputs
    if u is None:
        return
    lead = tuple(u.shape[:-2])
    if not broadcasts(lead, problem.batch):
        raise ValueError(
            f"inputs have shape {tuple(u.shape)}, wanted leading axes that broadcast to the batch "
            f"{problem.batch}"
        )
    if lead and problem.shape:
        raise ValueError(
            f"inputs have batch axes {lead}, and models of fields {problem.shape} are told the "
            "same in all experiments; wanted (S,) or (S, p)"
        )
