"""From observation times to whole model steps."""

from __future__ import annotations

from typing import Any

import numpy as np


def whole_steps(start: Any, times: np.ndarray, dt: float, unit: Any = None) -> list[int]:
    """How many steps of length `dt` lie between `start` and consecutive `times`: integers >= 1.

    For dates, `unit` is the length of one model time unit (a timedelta). Raises ValueError naming
    the first interval that is not a whole number of steps.
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
