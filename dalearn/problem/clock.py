"""Rows of a table in time: at which observation each was made, and how many steps lie between."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array.kinds import NO, number
from .dates import LENGTHS, as_dates, span
from .times import SLACK, _read, _start, length_of, whole_steps


def on_the_clock(
    times: Any, model: Any, start: Any, dt: float | None, unit: Any, window: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Rows at whole model steps, or gathered in windows around the multiples of their length.

    Args:
        times: of the rows, `(rows,)`, in any order; numbers, dates or durations.
        model: one time step; its `dt` is used where none is given.
        start: the time of the prior.
        dt: the model's step in its own units, or None.
        unit: for dates, the length of one model time unit.
        window: rows up to half of it before start + j window, or less than half after, count as
            made then; None: each row stands at a whole model step.

    Returns:
        For each row the observation k and the rank of its own time, `(rows,)`; the observations'
        times `(K,)`; and K numbers of model steps.

    Raises:
        ValueError: naming the first row that is between model steps, or before the start.
    """
    values, ticks, zone = _read(times)
    first, length = _start(start, values, ticks, zone), length_of(model, dt)
    dated = values.dtype.kind in "mM"
    if dated and unit is None:
        raise ValueError("times are dates; pass unit=, the length of a model time unit")
    step = length * (span(unit, "unit") if dated else 1)
    since = np.asarray([t - first for t in ticks.tolist()], dtype=object)
    if window is None:
        count = since.astype(float) / step
        near = np.rint(count)
        eps = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
        size = np.abs(ticks).astype(float) + abs(float(first))
        off = abs(count - near) > SLACK * np.clip(abs(count), 1, 1e3) + 4 * eps * size / step
        if off.any():
            i = int(np.argmax(off))
            raise ValueError(
                f"row {i} comes {count[i]:.6g} model steps after the start, wanted a whole "
                "number: pass window=, which gathers rows around the multiples of its length, or "
                "change dt"
            )
        near = near.astype(int)
    else:
        width = _width(window, dated)
        near = np.asarray([int((2 * t + width) // (2 * width)) for t in since.tolist()])
    if (near < 0).any():
        i = int(np.argmax(near < 0))
        raise ValueError(
            f"{int((near < 0).sum())} rows come before the start, the first is row {i} at "
            f"{values[i]}; wanted start= before all, or those rows left out"
        )
    found, k = np.unique(near, return_inverse=True)
    if window is None:
        order = np.lexsort((ticks.astype(float), k))
        at = [ticks[order[i]] for i in np.searchsorted(k[order], np.arange(len(found)))]
    else:
        at = [first + int(j) * width for j in found]
    labels = _labels([first, *at], values.dtype.kind)
    lead = [0] if at[0] == first else []
    rest = labels[1 + len(lead) :]
    more = whole_steps(labels[0], rest, length, unit) if len(rest) else []
    instant = np.unique(ticks, return_inverse=True)[1]
    return k, instant.reshape(-1), labels[1:], lead + more


def _width(window: Any, dated: bool) -> Any:
    """The length of a window in the numbers of the times."""
    if dated:
        return span(window, "window")
    width = number(window)
    if width is NO or not 0 < width < np.inf:
        raise ValueError(f"window must be a positive number, as times are, met {window!r}")
    return width


def _labels(ticks: list[Any], kind: str) -> np.ndarray:
    """Exact numbers as times: dates, durations or numbers."""
    if kind not in "mM":
        return np.asarray(ticks)
    whole = np.empty(len(ticks), object)
    whole[:] = ticks
    return as_dates(whole) if kind == "M" else (whole // LENGTHS["ns"]).astype("m8[ns]")
