"""From observation times to whole model steps."""

from __future__ import annotations

from typing import Any

import numpy as np


def whole_steps(start: Any, times: np.ndarray, dt: float, unit: Any = None) -> list[int]:
    """How many model steps lie between the start and consecutive observation times.

    Args:
        start: the time of the prior.
        times: of the observations, `(K,)`, numbers or dates.
        dt: the length of a step in model time units.
        unit: for dates, the length of one model time unit, a timedelta.

    Returns:
        K integers, at least 1.

    Raises:
        ValueError: naming the first interval that is not a whole number of steps.
    """
    dates = times.dtype.kind == "M"
    if dates and isinstance(start, (int, float)):
        raise ValueError(f"times are dates; pass start=, the date of the prior, met {start!r}")
    first = np.asarray(start, times.dtype) if dates else np.asarray(start)
    lengths = np.diff(np.concatenate([np.atleast_1d(first), times]))
    if lengths.dtype.kind == "m":
        if unit is None:
            raise ValueError("times are dates; pass unit=, the length of a model time unit")
        lengths = lengths / np.timedelta64(unit)
    counts = lengths / dt
    steps = np.rint(counts).astype(int)
    off = (np.abs(counts - steps) > 1e-6 * np.maximum(1, np.abs(counts))) | (steps < 1)
    if off.any():
        k = int(np.argmax(off))
        raise ValueError(
            f"observation {k} comes {counts[k]:.6g} model steps after the one before it (or "
            f"the start); wanted a whole number >= 1: change dt = {dt:g}, sort or regrid"
        )
    return steps.tolist()


def labelled(
    data: Any, model: Any, start: Any, dt: float | None, unit: Any, time: str
) -> tuple[np.ndarray, list[int], np.ndarray]:
    """What labelled data say: the numbers, the model steps before each, and the times.

    Args:
        data: an `xarray.DataArray`, as in `Problem.from_xarray`.
        model: one time step; its `dt` is used where none is given.
        start: the time of the prior.
        dt: the model's step in its own units, or None.
        unit: for dates, the length of one model time unit.
        time: the name of the dimension.

    Returns:
        Values `(K, m)`, K integers, and times `(K,)`.

    Raises:
        TypeError: for other data.
        ValueError: for other dimensions, and observations that do not fall on model steps.
    """
    if not hasattr(data, "dims") or not hasattr(data, "values") or callable(data.values):
        raise TypeError(f"data must be an xarray.DataArray, met {type(data).__name__}")
    if time not in data.dims or data.ndim > 2:
        raise ValueError(
            f"data must have the dimension {time!r} and at most one other, met {data.dims}; "
            "stack sensors into one dimension with .stack(y=...)"
        )
    values = data.transpose(time, ...).values
    values = values if data.ndim == 2 else values[:, None]
    dt = getattr(model, "dt", None) if dt is None else dt
    if dt is None:
        raise ValueError("the model has no attribute dt; pass dt=, the length of its step")
    times = data[time].values
    if time not in data.coords or times.dtype.kind == "O":
        raise ValueError(
            f"the dimension {time!r} needs a coordinate of numbers or numpy dates, met "
            f"{'none' if time not in data.coords else type(times[0]).__name__}; see "
            "assign_coords and convert_calendar"
        )
    return values, whole_steps(start, times, dt, unit), times
