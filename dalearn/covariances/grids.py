"""Checks of the settings that covariances on grids share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import as_numbers, shown


def positive(value: Any, name: str, axes: int) -> tuple[float, ...]:
    """`value` as one positive number for each axis, or ValueError."""
    v = as_numbers(value)
    if v.shape not in ((), (1,), (axes,)) or not (np.isfinite(v).all() and (v > 0).all()):
        raise ValueError(f"{name} must be positive, one number or {axes}, met {shown(value)}")
    v = np.broadcast_to(v, (axes,))
    return tuple(v.tolist())


def share(nugget: Any) -> float:
    """A nugget as a float in [0, 1), or ValueError."""
    if isinstance(nugget, bool) or not isinstance(nugget, (int, float)) or not 0 <= nugget < 1:
        raise ValueError(f"nugget must be in [0, 1), met {shown(nugget)}")
    return float(nugget)


def grid_shape(shape: Any) -> tuple[int, ...]:
    """`n`, `(n,)` or `(rows, columns)` as a tuple of positive integers, or ValueError."""
    given: tuple[Any, ...] = (shape,)
    if isinstance(shape, (list, tuple)):
        given = tuple(shape)  # pyright: ignore
    fits = [isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in given]
    if len(given) not in (1, 2) or not all(fits) or not all(1 <= n <= 10**8 for n in given):
        raise ValueError(f"shape must be n, (n,) or (rows, columns), met {shown(shape)}")
    return tuple(int(n) for n in given)
