"""Batches of independent experiments: settings swept over them, and one of them picked."""

from __future__ import annotations

from typing import Any

import numpy as np

from .library import Array, convert, is_array


def lift(setting: Any, like: Array, batch: tuple[int, ...], name: str = "setting") -> Any:
    """A setting swept over a batch, `(...)`, as `(..., 1, 1)`; a plain number comes back as it is.

    Raises ValueError when its shape does not broadcast to the problem's batch axes.
    """
    if not is_array(setting) and not isinstance(setting, (list, tuple)):
        return float(setting)  # numpy.float64 would turn a float32 ensemble into float64
    value = convert(setting, like)
    try:
        fits = np.broadcast_shapes(tuple(value.shape), batch) == batch
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, wanted one that broadcasts to the "
            f"problem's batch axes {batch}"
        )
    return value[..., None, None]


def batch_index(b: Any, shape: tuple[int, ...], batch: tuple[int, ...]) -> tuple:
    """What `b`, an index into the axes `batch`, is for axes `shape` that broadcast to them."""
    b = b if isinstance(b, tuple) else (b,)
    if len(b) > len(batch) or any(
        not isinstance(i, slice) and not -size <= i < size
        for i, size in zip(b, batch, strict=False)
    ):
        raise IndexError(f"experiment {b} is outside the batch {batch}")
    b = (*b, *(slice(None),) * (len(batch) - len(b)))[len(batch) - len(shape) :]
    one = {True: slice(None), False: 0}
    return tuple(
        one[isinstance(i, slice)] if size == 1 else i for i, size in zip(b, shape, strict=True)
    )
