"""Checks of the settings that covariances on grids share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..array import to_numpy


def positive(value: Any, name: str, axes: int) -> tuple[float, ...]:
    """`value` as one positive number for each axis, or ValueError."""
    try:
        v = np.broadcast_to(np.asarray(to_numpy(value), dtype=float), (axes,))
    except (TypeError, ValueError):
        v = np.asarray(np.nan)
    if not (np.isfinite(v).all() and (v > 0).all()):
        raise ValueError(f"{name} must be positive, one number or {axes}, met {value!r}")
    return tuple(v.tolist())


def share(nugget: Any) -> float:
    """A nugget as a float in [0, 1), or ValueError."""
    if isinstance(nugget, bool) or not isinstance(nugget, (int, float)) or not 0 <= nugget < 1:
        raise ValueError(f"nugget must be in [0, 1), met {nugget!r}")
    return float(nugget)


def grid_shape(shape: Any) -> tuple[int, ...]:
    """`n`, `(n,)` or `(rows, columns)` as a tuple of positive integers, or ValueError."""
    given: tuple[Any, ...] = (shape,)
    if isinstance(shape, Sequence):
        given = tuple(shape)  # pyright: ignore
    if len(given) not in (1, 2) or not all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in given
    ):
        raise ValueError(f"shape must be n, (n,) or (rows, columns), met {shape!r}")
    return tuple(int(n) for n in given)
