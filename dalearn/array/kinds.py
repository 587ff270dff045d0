"""Kinds of values: each function gives the value back, in plain form, or NO where it is none."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Set
from math import isfinite, isinf
from operator import index
from typing import Any

import numpy as np

from .entrance import as_floats
from .labels import check_order, is_labelled
from .library import is_tensor

NO = object()
_PLAIN: Any = np.ndarray
_ORDERED = (KeysView, ItemsView)  # sets that remember an order
_READ_OTHERWISE = (str, bytes, bytearray, type, Mapping, Iterator, Set)


def is_a(value: Any, *kinds: type) -> bool:
    """isinstance, after which a type checker still takes the value as it was: Any."""
    return isinstance(value, kinds)


def anything(value: Any) -> Any:
    """Whatever it is."""
    return value


def none(value: Any) -> Any:
    """None."""
    return None if value is None else NO


def choice(parts: tuple[Any, ...], value: Any) -> Any:
    """One of these words."""
    return value if isinstance(value, str) and value in parts else NO


def instance(kinds: tuple[type, ...], value: Any) -> Any:
    """An object of one of these classes."""
    return value if isinstance(value, kinds) else NO


def subclass(kind: type, value: Any) -> Any:
    """A class below this one."""
    return value if is_a(value, type) and issubclass(value, kind) else NO


def plain_function(value: Any) -> Any:
    """What can be called and is no class."""
    return value if callable(value) and not is_a(value, type) else NO


def plain(value: Any) -> Any:
    """A number in an array of no axes, of any library, as Python's; anything else as it is."""
    if getattr(value, "shape", None) != () or not hasattr(value, "item"):
        return value
    hidden = is_a(value, np.ma.MaskedArray) and bool(value.mask)
    kind = getattr(getattr(value, "dtype", None), "kind", "f")  # torch has no kinds
    return value.item() if kind in "biuf" and not hidden else NO


def integer(value: Any) -> Any:
    """An integer of any library; neither True nor 2.0."""
    value = plain(value)
    try:
        return NO if is_a(value, bool) else index(value)
    except TypeError:
        return NO


def flag(value: Any) -> Any:
    """True or False; neither 1 nor a word."""
    value = plain(value)
    return value if isinstance(value, bool) else NO


def number(value: Any) -> Any:
    """Also Fraction, Decimal and what else can say which real number it is."""
    if is_tensor(value) and not value.ndim and value.dtype.is_floating_point:
        return value if _finite(value) else NO  # as it is: it may carry a derivative
    value = plain(value)
    known = hasattr(value, "__float__") and not is_a(value, bool, type)
    if not known or getattr(value, "shape", ()):
        return NO
    try:
        real = float(value)
    except (ArithmeticError, TypeError, ValueError):
        return NO
    whole = is_a(value, int) and abs(value) < 2**53  # NumPy knows no larger ones
    return NO if not isfinite(real) else value if whole else real


def _finite(tensor: Any) -> bool:
    try:
        return isfinite(tensor.detach().item())
    except RuntimeError:  # inside a transform of torch.func, where no number is known
        return True


def bound(value: Any) -> Any:
    """A number, or infinity."""
    value = plain(value)
    return value if isinstance(value, float) and isinf(value) else number(value)


def filled(value: Any) -> Any:
    """A number, or None."""
    return None if value is None else number(value)


def parts(value: Any) -> Any:
    """What is in a list, or in anything else that can be read in order, and again."""
    if is_a(value, *_READ_OTHERWISE) and not is_a(value, *_ORDERED):
        return NO
    try:
        return list(value)
    except TypeError:
        return NO


def array(value: Any) -> Any:
    """What holds real numbers, as an array; what has gaps or labels is left to the body."""
    if type(value) is _PLAIN and value.dtype.char in "dfe" and value.dtype.isnative:
        return value
    if is_tensor(value) and value.is_meta:
        return value  # it holds no numbers: the body says what device is wanted
    labelled = is_labelled(value) or _out_of_order(value)
    for gaps in (False, True):
        try:
            floats = as_floats(np.asarray(value) if labelled else value, "it", gaps=gaps)
        except (TypeError, ValueError):
            continue
        return value if gaps or labelled else floats
    return NO


def _out_of_order(value: Any) -> bool:
    """Whether rows or columns of pandas stand in another order than their labels count."""
    if not hasattr(value, "iloc"):
        return False
    try:
        check_order(value, "it")
    except ValueError:
        return True
    return False


def swept(value: Any) -> Any:
    """A number, or an array of numbers without gaps, and without labels but for one axis."""
    if not getattr(value, "ndim", 0) and not is_a(value, list, tuple):
        return number(value)
    if str(getattr(value, "dtype", "")) in ("bool", "object", "torch.bool"):
        return NO
    try:
        floats = as_floats(value, "it")
    except (TypeError, ValueError):
        return NO
    return floats if floats.ndim and floats.shape != (0,) else NO
