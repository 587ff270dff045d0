"""The true parameters of a joint problem: what is told, or what the model holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..array import Array, array_namespace, as_floats, broadcasts, convert
from ..covariances.blocks import concatenated
from .joint import Joint, quoted, setting_of
from .problem import Problem


def true_parameters(problem: Problem, model: Joint, truth: Any) -> Array:
    """The true parameters of a joint problem.

    Args:
        problem: the problem of the state.
        model: the joint model, which names the parameters.
        truth: a number, an array, a mapping from names to values, or None: what the model holds.

    Returns:
        Values `(..., K or 1, p)`.

    Raises:
        TypeError: for values that are no numbers.
        ValueError: for other names or shapes.
    """
    if truth is None:
        truth = {name: setting_of(problem.model, name) for name in model.names}
    if isinstance(truth, Mapping):
        if set(truth) != set(model.names):
            raise ValueError(
                f"truth names {quoted(truth)}, wanted {quoted(model.names)}: a value for each"
            )
        parts = zip(model.names, model.shapes, strict=True)
        return concatenated(*(_constant(problem, name, truth[name], s) for name, s in parts))
    wanted = (*problem.batch, len(problem), model.p)
    name = "the truth of the parameters"
    values = convert(as_floats(truth, name, axes=("time", "parameter")), problem.like)
    if not broadcasts(tuple(values.shape), wanted):
        raise ValueError(
            f"the truth of the parameters has shape {tuple(values.shape)}, wanted one that "
            f"broadcasts to {wanted}: (..., K, p)"
        )
    xp = array_namespace(values)
    if bool(xp.any(xp.isinf(values))):
        raise ValueError(f"{name} holds infinite values; wanted numbers, or NaN where unknown")
    lead = tuple(values.shape[:-1]) or (1,)
    return xp.broadcast_to(values, (*lead, model.p))


def _constant(problem: Problem, name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """A parameter that does not change, `(..., 1, its size)`: one value, or one per experiment."""
    advice = f"wanted {shape}: the shape given with the name, or give truth="
    try:
        value = convert(as_floats(value, name), problem.like)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} is {value!r}; {advice}") from error
    xp, met = array_namespace(value), tuple(value.shape)
    lead, entries = _axes(met, len(shape), vectors=not problem.shape)
    try:
        np.broadcast_shapes(lead, problem.batch)
        whole = xp.broadcast_to(xp.reshape(value, (*lead, *entries)), (*lead, *shape))
    except (ValueError, RuntimeError):
        raise ValueError(f"{name} has shape {met}; {advice}") from None
    return xp.reshape(whole, (*lead, 1, -1))


def _axes(met: tuple[int, ...], axes: int, vectors: bool) -> tuple[tuple[int, ...], ...]:
    """The batch axes of the value of a parameter with so many axes, and the axes of its entries.

    What a model may hold, where a 1 stands for the members:

        shape met                   batch    entries
        one number, of any shape    ()       ()
        (*batch, 1, *entries)       batch    entries    where states are `vectors`
        (*batch, 1, 1)              batch    ()         the same, for a number
        entries                     ()       entries
    """
    core = axes or 1
    if vectors and len(met) > core:
        lead, members, entries = met[: -core - 1], met[-core - 1 : -core], met[-core:]
        if not axes and entries == (1,):
            entries = ()
        return lead, entries if members == (1,) else (*members, *entries)
    return (), () if math.prod(met) == 1 else met
