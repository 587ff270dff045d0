"""The entrance for numbers of the user's: what they hold is taken as it is meant, or refused.

Arrays come with more than numbers: a mask, a byte order, labels of their axes, units, missing
entries that are no NaN. None of it is dropped in silence.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .labels import check_order, is_labelled, values_by_name
from .library import Array, is_float, is_tensor

_MASKED: Any = np.ma.MaskedArray


def as_floats(x: Any, name: str, *, axes: tuple[str, ...] = (), gaps: bool = False) -> Array:
    """`x` as a floating-point array; integers become float64.

    Args:
        x: a number, a list or an array; also of xarray or pandas.
        name: what it is, for messages.
        axes: what its last axes are, such as ("time", "y"): labelled axes are matched by name.
        gaps: whether an entry that is masked, None or NA becomes NaN; else it is an error.

    Returns:
        An array; a floating-point array in the machine's byte order comes back as it is.

    Raises:
        TypeError: for complex numbers, text, units and other things that are no real numbers.
        ValueError: for lists of different lengths, entries that are missing, and labelled axes
            that are not those wanted.
    """
    if type(x) is np.ndarray and x.dtype.str[1:] in ("f8", "f4") and x.dtype.isnative:
        return x
    if isinstance(x, (bool, np.bool_)):
        raise TypeError(f"{name} must hold real numbers, met {x}")
    if is_tensor(x):
        return _tensor(x, name)
    if is_labelled(x):
        x = values_by_name(x, name, axes)
    elif hasattr(x, "iloc"):  # of pandas; its rows may be examples in any order
        check_order(x, name, None if axes[:1] != ("...",) else (x.ndim - 1,))
    x = _array(x, name)
    if isinstance(x, _MASKED):
        hidden = np.ma.getmaskarray(x)
        if hidden.any() and not gaps:
            _refuse_missing(name, hidden, "a masked value")
        floats = _plain(np.ma.getdata(x), name, gaps)
        return np.where(hidden, np.asarray(np.nan, floats.dtype), floats) if gaps else floats
    return _plain(x, name, gaps)


def _tensor(x: Any, name: str) -> Array:
    """A dense tensor of real numbers, as floats."""
    kinds = {"is_meta": "on the device meta", "is_quantized": "quantised", "is_nested": "nested"}
    odd = [word for flag, word in kinds.items() if getattr(x, flag)]
    odd += ["masked"] * (type(x).__name__ == "MaskedTensor")
    if odd:
        raise TypeError(
            f"{name} must hold real numbers, met a tensor that is {odd[0]}; wanted a plain one"
        )
    if x.layout.__repr__() != "torch.strided":
        raise TypeError(f"{name} must be dense, met a tensor of {x.layout}; wanted x.to_dense()")
    if is_float(x):
        return x
    if x.dtype.is_complex:
        raise TypeError(f"{name} must hold real numbers, met dtype {x.dtype}; wanted x.real")
    return x.double()


def _array(x: Any, name: str) -> np.ndarray[Any, Any]:
    """`x` as an array of NumPy, masked where `x` is, or holds what is."""
    foreign = type(x).__module__.split(".")[0]
    if foreign == "pandas" and hasattr(x, "to_numpy"):
        return np.asarray(x.to_numpy())
    if foreign not in ("numpy", "builtins", "xarray"):  # astropy and pint carry units along
        unit = getattr(x, "units", getattr(x, "unit", None))
        if unit is not None:
            raise TypeError(
                f"{name} must hold plain real numbers, met a {type(x).__name__} with the unit "
                f"{unit}; convert it and pass its numbers"
            )
    try:
        if _holds_masked(x):
            return _with_masks(x)
        return np.asarray(x)  # also takes off a subclass, such as np.matrix
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{name} must be an array of real numbers: {error}") from error


def _holds_masked(x: Any) -> bool:
    """Whether nested lists hold a masked array."""
    if isinstance(x, (list, tuple)):
        return any(_holds_masked(part) for part in x)  # pyright: ignore[reportUnknownVariableType]
    return isinstance(x, _MASKED)


def _with_masks(x: Any) -> Any:
    """Nested lists as one masked array."""
    ma: Any = np.ma
    if isinstance(x, (list, tuple)):
        return ma.stack([_with_masks(part) for part in x])  # pyright: ignore
    return ma.array(0.0, mask=True) if x is ma.masked else ma.asarray(x)


def _plain(x: np.ndarray[Any, Any], name: str, gaps: bool) -> np.ndarray[Any, Any]:
    """Real floating-point numbers in the machine's byte order."""
    kind = x.dtype.kind
    if kind == "O":
        return _objects(x, name, gaps)
    if kind not in "biuf":
        hint = "; wanted x.real" if kind == "c" else ""
        raise TypeError(f"{name} must hold real numbers, met dtype {x.dtype}{hint}")
    if kind != "f" or x.dtype.itemsize > 8:  # no library computes with more than 64 bits
        return x.astype(np.float64)
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _objects(x: np.ndarray[Any, Any], name: str, gaps: bool) -> np.ndarray[Any, Any]:
    """Python's numbers (also Decimal and Fraction), None and NA, one by one, as float64."""
    if x.ndim == 0 and x.item() is None:
        raise TypeError(f"{name} must hold real numbers, met None (dtype object)")
    out, missing = np.empty(x.shape), np.zeros(x.shape, bool)
    for index, value in np.ndenumerate(x):
        if value is None or _is_na(value) or value is np.ma.masked:
            out[index], missing[index] = np.nan, True
            continue
        try:
            if isinstance(value, (str, bytes)) or np.ndim(value):
                raise TypeError
            out[index] = value.item() if is_tensor(value) else float(value)
        except (TypeError, ValueError, OverflowError):
            what = f"{value!r}"[:60] + (f" at {_place(index)}" if index else "")
            raise TypeError(
                f"{name} must hold real numbers, met dtype object with {what}"
            ) from None
    if missing.any() and not gaps:
        _refuse_missing(name, missing, "a missing value (None or NA) in dtype object")
    return out


def _is_na(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and (value is pandas.NA or value is pandas.NaT)


def _refuse_missing(name: str, missing: np.ndarray[Any, Any], what: str) -> None:
    index = tuple(int(i) for i in np.argwhere(missing)[0])
    raise ValueError(
        f"{name} must hold real numbers, met {what} {f'at {_place(index)} ' if index else ''}"
        f"({int(missing.sum())} of {missing.size}); wanted a number everywhere: fill the gaps "
        "(only data may have some)"
    )


def _place(index: tuple[int, ...]) -> str:
    return f"entry {index[0] if len(index) == 1 else index}"
