"""From observation times to whole model steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import shown, warn
from ..array.entrance import as_floats
from ..array.kinds import NO, number
from ..array.labels import check_decoded, check_order, is_labelled, meanings_of
from .dates import as_dates, instants, span

FAR = 100  # intervals from the start to the first observation that no record begins with

SLACK = 1e-6  # of a step, and of up to 1000 steps: how whole a number of them must be

DRIFT = 0.1  # of a step, between the time that the model has reached and the data's, after all


def as_times(times: Any, K: int) -> np.ndarray:
    """Observation times as a result is labelled by them.

    Args:
        times: numbers, dates or durations, `(K,)`; dates with a zone become UTC.
        K: how many observations there are.

    Returns:
        An array of NumPy that increases.

    Raises:
        TypeError: for what are no times.
        ValueError: for another number of them, NaN or NaT, and times that do not increase.
    """
    if np.shape(times) != (K,):
        raise ValueError(f"times have shape {np.shape(times)}, wanted ({K},)")
    values, ticks, _ = _read(times)
    behind = np.flatnonzero(ticks[1:] <= ticks[:-1])
    if behind.size:
        k = int(behind[0]) + 1
        raise ValueError(
            f"times must increase, met {values[k]} at observation {k} after {values[k - 1]}: sort "
            "them, and keep one of those that come twice"
        )
    return values


def times_of(times: Any, data: Any, truth: Any, steps: list[int]) -> np.ndarray | None:
    """The times of a problem: those it is told, or those that labelled data bring along.

    Args:
        times: as given to Problem, or None.
        data: as given to Problem.
        truth: as given to Problem.
        steps: model steps before each observation.

    Returns:
        Times `(K,)`; None where there are none, and the data have no labels, or other ones.

    Raises:
        ValueError: where the times do not fit the steps, and for a truth of other times.
    """
    found = _of_data(data, steps) if times is None else as_times(times, len(steps))
    if found is not None and truth is not None:
        _check_alike(_labels(truth, len(steps)), found)
    return found


def _of_data(data: Any, steps: list[int]) -> np.ndarray | None:
    times = _labels(data, len(steps))
    if times is None:
        return None
    values, ticks, _ = _read(times)
    values = as_times(values, len(steps))
    lengths = np.diff(ticks).astype(float) / np.asarray(steps[1:])
    wrong = np.flatnonzero(abs(lengths - np.median(lengths)) > 1e-3 * np.median(lengths))
    if wrong.size:
        k = int(wrong[0]) + 1
        raise ValueError(
            f"the data's times do not fit steps: {values[k - 1]} to {values[k]} (observation {k}) "
            f"is not as long for {steps[k]} steps as the others; wanted steps= to count them, as "
            "Problem.from_xarray does, or the data as plain numbers"
        )
    return values


def _labels(x: Any, K: int) -> Any:
    """The times along an axis of labelled numbers; None where there are none."""
    if not is_labelled(x):
        return None
    dims, meanings = meanings_of(x)
    if meanings.count("time") != 1:
        return None
    at = meanings.index("time")
    if hasattr(x, "iloc"):
        times = (x.index, x.columns)[at]
    elif dims[at] in getattr(x, "coords", {}):
        times = x.indexes[dims[at]] if dims[at] in x.indexes else x[dims[at]].values
    else:
        return None
    return None if len(times) != K or np.asarray(times).dtype.kind in "US" else times


def _check_alike(found: Any, times: np.ndarray) -> None:
    """Raise where a labelled truth is of other times than the data."""
    if found is None:
        return
    (values, met, _), (_, wanted, _) = _read(found), _read(times)
    if values.dtype.kind in "mM" or times.dtype.kind in "mM":
        apart = met != wanted if values.dtype.kind == times.dtype.kind else met == met
    else:
        apart = abs(met - wanted) > 1e-3 * np.min(np.diff(wanted), initial=np.inf)
    if np.any(apart):
        k = int(np.argmax(apart))
        raise ValueError(
            f"the truth is of other times than the data, met {values[k]} at place {k} for "
            f"{times[k]}; wanted the same: truth.sel(time=...), or its plain numbers"
        )


def _read(times: Any) -> tuple[np.ndarray, np.ndarray, bool | None]:
    """Times; the same as exact numbers, floats or integers of Python; whether dates have zones."""
    if np.ma.is_masked(times):
        raise ValueError(f"times must be given everywhere, met a masked one in {shown(times)}")
    times = times.detach() if hasattr(times, "detach") else times
    dates = instants(times, "times")
    if dates is not None:
        values = np.asarray(times)
        keep = values.dtype.kind == "M" and np.datetime_data(values.dtype)[0] in ("ms", "us", "ns")
        plain = keep and not dates[1]
        return (values if plain else as_dates(dates[0])), *dates
    values = times if hasattr(times, "detach") else np.asarray(times)
    kind = getattr(values.dtype, "kind", "f")
    if kind == "m":
        if np.isnat(values).any():
            raise ValueError(f"times hold NaT, the first at {int(np.argmax(np.isnat(values)))}")
        base = np.asarray(values.astype(np.int64).astype(object))
        return values, base * span(np.ones((), values.dtype), "times"), None
    if kind == "b":
        raise TypeError("times must be numbers or dates, met booleans")
    if kind in "iu":
        return values, values.astype(object), None
    floats = as_floats(times, "times")
    floats = floats.detach().cpu().numpy() if hasattr(floats, "detach") else floats
    bad = np.flatnonzero(~np.isfinite(floats))
    if bad.size:
        raise ValueError(f"times hold {floats[bad[0]]}, the first at {bad[0]}; wanted numbers")
    return floats, floats.astype(np.float64), None


def whole_steps(start: Any, times: Any, dt: float, unit: Any = None) -> list[int]:
    """How many model steps lie between the start and consecutive observation times.

    Args:
        start: the time of the prior; None is 0 where times are numbers.
        times: of the observations, `(K,)`, numbers or dates.
        dt: the length of a step in model time units.
        unit: for dates, the length of one model time unit, a timedelta.

    Returns:
        K integers, at least 1.

    Raises:
        TypeError: for a start, times or a unit of another kind.
        ValueError: naming the first interval that is not a whole number of steps; where only the
            start or only the times have a zone; where the first interval is far longer than the
            others and no start was given.
    """
    values, ticks, zone = _read(times)
    first, scale = _start(start, values, ticks, zone), 1
    if values.dtype.kind in "mM":
        if unit is None:
            raise ValueError("times are dates; pass unit=, the length of a model time unit")
        scale = span(unit, "unit")
    elif unit is not None:
        raise ValueError(f"unit= is for dates; times are numbers, met unit = {unit!r}")
    dt = float(dt)
    line = np.concatenate([np.asarray([first], dtype=np.asarray(first, ticks.dtype).dtype), ticks])
    counts = np.asarray([length / scale for length in np.diff(line)], float) / dt
    eps = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    size = np.maximum(abs(line[1:]), abs(line[:-1])).astype(float) if eps else 0.0
    rounding = 4 * eps * size / dt
    if np.max(rounding) > 0.25:
        raise ValueError(
            f"times in {values.dtype} up to {values[-1]:g} cannot tell steps of dt = {dt:g}; "
            "wanted float64 or dates"
        )
    steps = np.rint(counts)
    slack = SLACK * np.clip(abs(counts), 1, 1e3) + rounding
    off = (abs(counts - steps) > slack) | (steps < 1)
    _check_far(start, counts, off)
    if off.any():
        k = int(np.argmax(off))
        raise ValueError(
            f"observation {k} comes {counts[k]:.6g} model steps after the one before it (or "
            f"the start); wanted a whole number >= 1: change dt = {dt:g}, sort or regrid"
        )
    drift = abs(np.cumsum(counts) - np.cumsum(steps)) > DRIFT + np.max(rounding)
    if drift.any():
        k = int(np.argmax(drift))
        raise ValueError(
            f"the model's steps of dt = {dt:g} drift away from the times: by observation {k} they "
            f"are {DRIFT} of a step apart; wanted the exact length of a step"
        )
    return steps.astype(int).tolist()


def _start(start: Any, values: np.ndarray, ticks: np.ndarray, zone: bool | None) -> Any:
    """The start in the numbers of the times."""
    given = start.values if hasattr(start, "dims") else start
    if zone is not None:
        found = None if given is None else instants(given, "start")
        if found is None:
            raise ValueError(f"times are dates; pass start=, the date of the prior, met {start!r}")
        if found[1] != zone:
            who = ("the times have a time zone and start has", "start has one and the times have")
            raise ValueError(
                f"{who[found[1]]} none, met start = {start!r}; wanted both with a zone (they "
                "become UTC), or neither"
            )
        return np.asarray(found[0], object).item()
    if given is None:
        return 0
    number = np.asarray(given)
    if values.dtype.kind == "m":
        none = number.dtype.kind in "iuf" and number.ndim == 0 and number == 0
        return 0 if none else span(given, "start", positive=False)
    if number.dtype.kind not in "iuf" or number.ndim:
        raise TypeError(f"times are numbers; wanted start= as a number, met {start!r}")
    if not np.isfinite(number):
        raise ValueError(f"start must be a number, met {start!r}")
    return number.item()


def _check_far(start: Any, counts: np.ndarray, off: np.ndarray) -> None:
    """A first interval as long as a hundred others: is the start meant?"""
    if len(counts) < 2 or off[1:].any() or counts[0] <= FAR * np.median(counts[1:]):
        return
    message = (
        f"the first observation comes {counts[0]:.6g} model steps after the start, the others "
        f"{np.median(counts[1:]):.6g} after each other"
    )
    if start is None:
        raise ValueError(f"{message}: pass start=, the time of the prior (0 if that is meant)")
    warn(f"{message}: is start = {start!r} the time of the prior?")


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
    length = length_of(model, dt)
    check_order(data, "data")
    check_decoded(data, "data")
    if time not in data.coords:
        raise ValueError(
            f"the dimension {time!r} needs a coordinate of numbers or numpy dates, met none; see "
            "assign_coords"
        )
    times = data.indexes[time] if time in data.indexes else data[time].values
    return values, whole_steps(start, times, length, unit), as_times(times, len(values))


def length_of(model: Any, dt: float | None) -> float:
    """The length of a model step: dt, or that of the model; ValueError for none."""
    dt = getattr(model, "dt", None) if dt is None else dt
    if dt is None:
        raise ValueError("the model has no attribute dt; pass dt=, the length of its step")
    length = number(dt)
    if length is NO or not length > 0:
        raise ValueError(f"dt must be one positive number, the length of a step, met {dt!r}")
    return length
