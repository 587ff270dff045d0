"""The check of a state before anything is done with it: finite floats of the right shape."""

from __future__ import annotations

from typing import Any

from ..array import Array, array_namespace, as_floats, is_array, is_float


def as_state(x: Any, name: str, axes: int) -> Array:
    """A state, or a list of its numbers, as a finite array of floats.

    Args:
        x: an array or a list; integers become float64.
        name: what it is, for messages.
        axes: how many axes it has at least: 1 for states, 2 for ensembles.

    Returns:
        The array.

    Raises:
        TypeError: for what holds no real numbers.
        ValueError: for another shape, NaN and infinity.
    """
    x = as_floats(x, name, axes=("x",) if axes == 1 else ("member", "x"))
    check_state(x, name, axes)
    return x


def check_state(x: Any, name: str, axes: int) -> None:
    """Raise unless a state is a finite array of floats.

    Args:
        x: the state.
        name: what it is, for messages.
        axes: how many axes it has at least: 1 for states, 2 for ensembles.

    Raises:
        TypeError: for what is no array, and other numbers than floats.
        ValueError: for another shape, NaN and infinity.
    """
    if not is_array(x):
        raise TypeError(f"{name} must be a NumPy array or a torch tensor, met {type(x).__name__}")
    if not is_float(x):
        raise TypeError(f"{name} must hold floating-point numbers, met dtype {x.dtype}")
    if x.ndim < axes or 0 in x.shape:
        wanted = "(..., n)" if axes == 1 else "(..., members, n)"
        raise ValueError(f"{name} must have shape {wanted}, met {tuple(x.shape)}")
    xp = array_namespace(x)
    bad = int(xp.sum(xp.astype(~xp.isfinite(x), xp.int64)))
    if bad:
        raise ValueError(f"{name} holds {bad} values that are NaN or infinite; wanted none")
