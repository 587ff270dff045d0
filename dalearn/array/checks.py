"""Checks of settings, with errors that name the value met and the one wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from .library import to_numpy


def check_between(name: str, value: Any, low: float, high: float, *, open_low: bool) -> None:
    """Raise unless all of `value` is in [low, high], or in (low, high].

    Args:
        name: of the setting, for the message.
        value: a number, or an array of them.
        low: the lower end.
        high: the upper end.
        open_low: whether the lower end itself is refused.

    Raises:
        ValueError: for a value outside, NaN, or no number.
    """
    values = _numbers(value)
    fits = (values > low if open_low else values >= low) & (values <= high)
    if not (fits & np.isfinite(values)).all() or not values.size:
        span = f"{'(' if open_low else '['}{low:g}, {high:g}]"
        raise ValueError(f"{name} must be in {span}, met {value!r}")


def check_factor(name: str, value: Any) -> None:
    """Raise unless `value` is a positive number, or an array of them.

    Args:
        name: of the setting, for the message.
        value: a number, or an array of them.

    Raises:
        ValueError: for a value that is not positive, not finite, or no number.
    """
    values = _numbers(value)
    if not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(f"{name} must be positive (1 is none), met {value!r}")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise unless `value` is an integer, Python's or NumPy's, and not below `least`.

    Args:
        name: of the setting, for the message.
        value: what was given.
        least: the smallest integer allowed.

    Raises:
        ValueError: for anything else; True and 2.0 are no integers here.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, met {value!r}")


def _numbers(value: Any) -> np.ndarray[Any, Any]:
    """`value` as an array of floats; NaN where it is no number."""
    try:
        return np.asarray(to_numpy(value), dtype=float)
    except (TypeError, ValueError):
        return np.asarray(np.nan)
