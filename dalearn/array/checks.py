"""Checks of settings, with errors that name the value met and the one wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from .library import to_numpy


def check_between(name: str, value: Any, low: float, high: float, *, open_low: bool) -> None:
    """Raise ValueError unless all of `value` is in [low, high], or in (low, high]."""
    try:
        values = np.asarray(to_numpy(value), dtype=float)
    except (TypeError, ValueError):
        values = np.asarray(np.nan)
    fits = (values > low if open_low else values >= low) & (values <= high)
    if not (fits & np.isfinite(values)).all() or not values.size:
        span = f"{'(' if open_low else '['}{low:g}, {high:g}]"
        raise ValueError(f"{name} must be in {span}, met {value!r}")


def check_factor(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a positive number, or an array of them."""
    try:
        values = np.asarray(to_numpy(value), dtype=float)
    except (TypeError, ValueError):
        values = np.asarray(np.nan)
    if not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(f"{name} must be positive (1 is none), met {value!r}")


def check_count(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is an integer, at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, met {value!r}")
