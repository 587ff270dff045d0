"""What models of fields share: checks, wavenumbers, neighbours, blocks for the cache.

A field model's state is `(..., *shape)`. Its parameters are numbers, or arrays that broadcast
against one component of the field: `(b, 1, 1)` is one value for each of b members on a plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..array import (
    Array,
    array_namespace,
    as_floats,
    convert,
    is_array,
    is_float,
    is_tensor,
)

# Freeing one large block tells the C library to keep memory: the temporaries of a step on a field
# would otherwise go back to the system and be asked for again, a third of the step's time.
np.empty(2**22, np.uint8)

STATE_BLOCK = (
    2**17
)  # numbers of a state that are carried at once: with its temporaries, a core's cache


def check_shape(model: Any, x: Array, shape: tuple[int, ...]) -> None:
    """Raise unless states have the shape of a model, and are floats.

    Among integers a model's constants, which take the dtype of the state, would lose their digits.

    Args:
        model: the model, for messages.
        x: states `(..., *shape)`.
        shape: of one state.

    Raises:
        TypeError: for integers.
        ValueError: for another shape.
    """
    if tuple(x.shape[-len(shape) :]) != tuple(shape):
        wanted = ", ".join(map(str, shape))
        raise ValueError(
            f"{type(model).__name__} wants states (..., {wanted}), met shape {tuple(x.shape)}"
        )
    if not is_float(x):
        raise TypeError(f"{type(model).__name__} wants states of floats, met dtype {x.dtype}")


def check_members(model: Any, axes: int, *names: str, chart: tuple[int, ...] = ()) -> None:
    """Raise unless arrays of settings end in axes of length 1: one value for each member.

    On a plane `(b,)` or `(b, 1)` would act on the rows of the field.

    Args:
        model: the model that holds the settings.
        axes: how many axes one component of the field has.
        *names: of the settings.
        chart: the shape of a map, where a setting may also be one.

    Raises:
        ValueError: for arrays of other shapes.
    """
    for name in names:
        value = getattr(model, name)
        if not is_array(value):
            continue
        tail = tuple(value.shape[-axes:])
        if math.prod(tail) != 1 and tail != chart:
            ones, a_map = ", ".join("1" * axes), f", or a map (..., {', '.join(map(str, chart))})"
            raise ValueError(
                f"{type(model).__name__} wants {name} as a number, or (..., {ones}) for members"
                f"{a_map * bool(chart)}, met shape {tuple(value.shape)}"
            )


def check_positive(
    model: Any, *names: str, zero: bool = False, axes: int = 0, chart: tuple[int, ...] = ()
) -> None:
    """Raise unless settings are finite and positive.

    The values of arrays are left to `valid`: one bad member of an ensemble must not stop the
    others.

    Args:
        model: the model that holds the settings.
        *names: of the settings.
        zero: whether 0 is allowed.
        axes: if not 0, the shapes of arrays are checked too, by `check_members`.
        chart: the shape of a map, where a setting may be one.

    Raises:
        ValueError: for a number out of range, and an array of another shape.
    """
    if axes:
        check_members(model, axes, *names, chart=chart)
    for name in names:
        value = getattr(model, name)
        if is_array(value):
            continue
        number = float(value)
        if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
            sign = "at least 0" if zero else "positive"
            raise ValueError(f"{type(model).__name__} wants {name} {sign}, met {number:g}")
        if isinstance(value, np.generic):  # numpy.float64 would turn a float32 state into float64
            object.__setattr__(model, name, number)


def valid(value: Any, top: Any = math.inf, zero: bool = False, like: Array | None = None) -> Any:
    """A parameter with its entries outside (0, top] made NaN.

    The members with NaN become NaN and are reported as diverged; the others are not touched.

    Args:
        value: the parameter, a number or an array.
        top: its largest value, a number or an array.
        zero: whether 0 is allowed.
        like: a state, whose library, dtype and device an array takes.

    Returns:
        An array, or the number as it is where both are numbers.
    """
    if is_array(value):
        value = as_floats(value, "a parameter")  # among integers there is no NaN
        value = value if like is None else convert(value, like)
    if is_array(top):
        value = value + 0 * top
    if not is_array(value):
        return value
    xp = array_namespace(value)
    above = value >= 0 if zero else value > 0
    return xp.where(above & (value <= top), value, xp.full_like(value, math.nan))


def modes(n: int, length: float) -> np.ndarray:
    """Wavenumbers 2 pi j / length of a real transform.

    Args:
        n: how many points are transformed.
        length: of the ring.

    Returns:
        The wavenumbers `(n // 2 + 1,)`.
    """
    return 2 * np.pi / length * np.arange(n // 2 + 1)


def all_modes(n: int, length: float) -> np.ndarray:
    """Wavenumbers of a full transform, in its order.

    Args:
        n: how many points are transformed.
        length: of the ring.

    Returns:
        The wavenumbers `(n,)`.
    """
    return 2 * np.pi / length * np.fft.fftfreq(n, 1 / n)


def following(q: Array, axis: int, periodic: bool = True) -> Array:
    """The value of the next cell; beyond a wall, the last cell's own.

    Args:
        q: fields `(..., rows, columns)`.
        axis: -1 or -2.
        periodic: whether the first cell follows the last.

    Returns:
        Fields of the same shape.
    """
    first, rest = (q[..., :1], q[..., 1:]) if axis == -1 else (q[..., :1, :], q[..., 1:, :])
    if not periodic:
        first = q[..., -1:] if axis == -1 else q[..., -1:, :]
    return array_namespace(q).concat((rest, first), axis=axis)


def preceding(q: Array, axis: int) -> Array:
    """The value of the cell before, on a ring.

    Args:
        q: fields `(..., rows, columns)`.
        axis: -1 or -2.

    Returns:
        Fields of the same shape.
    """
    last, rest = (q[..., -1:], q[..., :-1]) if axis == -1 else (q[..., -1:, :], q[..., :-1, :])
    return array_namespace(q).concat((last, rest), axis=axis)


def blockwise(step: Callable[..., Array], x: Array, core: int, *parameters: Any) -> Array:
    """`step(x, *parameters)` on blocks of members that fit the cache.

    The results are the same as at once. On a GPU the whole batch goes at once.

    Args:
        step: a function of states and parameters.
        x: states `(..., *shape)`.
        core: the number of axes of one state.
        *parameters: numbers, or arrays whose leading axes (all but the last `core`, or two if that
            is less) broadcast against those of `x`.

    Returns:
        What `step` returns, `(..., *shape)`.
    """
    lead, shape = tuple(x.shape[:-core]), tuple(x.shape[-core:])
    rows = max(1, STATE_BLOCK // math.prod(shape))
    count = math.prod(lead)
    if count == 0:  # torch has no transforms of nothing
        return x + 0
    if count <= rows or (is_tensor(x) and x.device.type != "cpu"):
        return step(x, *parameters)
    xp, own = array_namespace(x), min(core, 2)
    leads = [tuple(p.shape[:-own]) for p in parameters if is_array(p)]
    if np.broadcast_shapes(lead, *leads) != lead:  # one state for many parameters
        return step(x, *parameters)
    flat = xp.reshape(x, (count, *shape))
    swept = [_rows(p, lead, own) if is_array(p) and p.ndim > own else p for p in parameters]
    parts = []
    out = np.empty_like(flat) if not is_tensor(x) else None
    for i in range(0, count, rows):
        block = slice(i, i + rows)
        given = (p[block] if is_array(p) and p.ndim > own else p for p in swept)
        part = step(flat[block], *given)
        if out is None:
            parts.append(part)
        else:
            out[block] = part
    return xp.reshape(xp.concat(parts, axis=0) if out is None else out, tuple(x.shape))


def _rows(p: Array, lead: tuple[int, ...], own: int) -> Array:
    """A parameter `(..., h, w)`, or `(..., n)` where `own` is 1, with one row for each member."""
    xp, core = array_namespace(p), tuple(p.shape[-own:])
    return xp.reshape(xp.broadcast_to(p, (*lead, *core)), (-1, *core))
