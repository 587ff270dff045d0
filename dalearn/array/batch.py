"""Batches of independent experiments: settings swept over them, and one of them picked."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from .library import Array, convert, is_array

# what stands for more than one kind of value; `typed` reads the marks
Bound = Annotated[Any, "bound"]  # a number, or infinity
Filled = Annotated[Any, "filled"]  # a number, or None, for which the class puts one
Flags = Annotated[Any, "flags"]  # True or False, or one each axis
Sizes = Annotated[Any, "sizes"]  # an integer, or one each axis
Swept = Annotated[Any, "swept"]  # a number, or an array or list over batch axes


def broadcasts(shape: tuple[int, ...], batch: tuple[int, ...]) -> bool:
    """Whether arrays of this shape broadcast to the axes `batch`, without adding to them.

    Args:
        shape: the axes of the array.
        batch: the axes wanted.

    Returns:
        True where `np.broadcast_shapes(shape, batch) == batch`.
    """
    try:
        return np.broadcast_shapes(shape, batch) == tuple(batch)
    except ValueError:
        return False


def lift(setting: Any, like: Array, batch: tuple[int, ...], name: str = "setting") -> Any:
    """A setting swept over a batch, `(...)`, as `(..., 1, 1)`, to multiply ensembles.

    Args:
        setting: a number, or an array or list with the problem's batch axes.
        like: the array whose library, dtype and device are wanted.
        batch: the problem's batch axes.
        name: of the setting, for messages.

    Returns:
        An array `(..., 1, 1)`; a plain number comes back as a float.

    Raises:
        ValueError: where its shape does not broadcast to the batch axes.
    """
    if not is_array(setting) and not isinstance(setting, (list, tuple)):
        return float(setting)  # numpy.float64 would turn a float32 ensemble into float64
    value = convert(setting, like)
    if not broadcasts(tuple(value.shape), batch):
        raise ValueError(
            f"{name} must have a shape that broadcasts to the problem's batch axes {batch}, met "
            f"{tuple(value.shape)}"
        )
    return value[..., None, None]


def batch_index(b: Any, shape: tuple[int, ...], batch: tuple[int, ...]) -> tuple[Any, ...]:
    """What `b`, an index into the axes `batch`, is for axes `shape` that broadcast to them.

    Args:
        b: an integer or a slice, or a tuple of them.
        shape: the leading axes of the array to be indexed.
        batch: the axes that `b` is an index into.

    Returns:
        An index for an array with the axes `shape` in front.

    Raises:
        IndexError: for an experiment outside the batch.
    """
    given: tuple[Any, ...] = (b,)
    if isinstance(b, tuple):
        given = b  # pyright: ignore[reportUnknownVariableType]
    if len(given) > len(batch) or any(
        not isinstance(i, slice) and not -size <= i < size
        for i, size in zip(given, batch, strict=False)
    ):
        raise IndexError(f"experiment {given} is outside the batch {batch}")
    rest = (slice(None),) * (len(batch) - len(given))
    own = (*given, *rest)[len(batch) - len(shape) :]
    one = {True: slice(None), False: 0}
    return tuple(
        one[isinstance(i, slice)] if size == 1 else i for i, size in zip(own, shape, strict=True)
    )
