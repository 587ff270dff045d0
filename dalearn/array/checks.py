"""Checks of settings, with errors that name the value met and the one wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import MARKED, NO, shown
from .library import to_numpy


def check_between(name: str, value: Any, low: float, high: float, *, open_low: bool) -> None:
    """Raise unless all of `value` is in [low, high], or in (low, high].

    Args:
        name: of the setting, for the message.
        value: a number, or an array of them.
        low: the lower end.
        high: the upper end; infinity for none, which is then allowed too.
        open_low: whether the lower end itself is refused.

    Raises:
        ValueError: for a value outside, NaN, or no number.
    """
    values = as_numbers(value)
    fits = (values > low if open_low else values >= low) & (values <= high)
    if not fits.all() or not values.size:
        span = f"in {'(' if open_low else '['}{low:g}, {high:g}]"
        if high == np.inf:
            span = (
                "positive" if (low, open_low) == (0, True) else f"{'>' * open_low or '>='} {low:g}"
            )
        raise ValueError(f"{name} must be {span}, met {shown(value)}")


def check_factor(name: str, value: Any) -> None:
    """Raise unless `value` is a positive number, or an array of them.

    Args:
        name: of the setting, for the message.
        value: a number, or an array of them.

    Raises:
        ValueError: for a value that is not positive, not finite, or no number.
    """
    values = as_numbers(value)
    if not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(f"{name} must be positive (1 is none), met {shown(value)}")


def check_count(name: str, value: Any, least: int = 1, most: float = 10**8) -> None:
    """Raise unless `value` is an integer, Python's or NumPy's, from `least` to `most`.

    Args:
        name: of the setting, for the message.
        value: what was given.
        least: the smallest integer allowed.
        most: the largest; so many numbers fill a computer's memory.

    Raises:
        ValueError: for anything else; True and 2.0 are no integers here.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, met {shown(value)}")
    if value > most:
        raise ValueError(f"{name} must be an integer <= {most}, met {value}")


def as_numbers(value: Any) -> np.ndarray[Any, Any]:
    """`value` as an array of floats, NaN where it is no number and no array of them.

    Args:
        value: what was given as a number or an array of numbers: not text, True or an array with
            gaps.

    Returns:
        An array.
    """
    kind = "swept" if getattr(value, "ndim", 0) or isinstance(value, (list, tuple)) else "bound"
    taken = MARKED[kind].take(value)
    return np.asarray(np.nan if taken is NO else to_numpy(taken), dtype=float)
