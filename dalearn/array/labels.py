"""Axes with names: what their names say is honoured, and never contradicted in silence."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

# What the names of axes mean, here and in files of others. A name that is not here means nothing.
MEANINGS = {
    **dict.fromkeys(("time", "times", "t", "date", "dates", "datetime", "valid_time"), "time"),
    **dict.fromkeys(("member", "members", "ensemble", "ens", "realization", "number"), "member"),
    **dict.fromkeys(("x", "state"), "x"),
    **dict.fromkeys(("y", "obs", "observation", "sensor", "station"), "y"),
    **dict.fromkeys(("case", "seed", "experiment", "batch"), "case"),
    "stage": "stage",
    "scheme": "scheme",
}


def is_labelled(x: Any) -> bool:
    """Whether `x` has labelled axes: of xarray, or a table of pandas that names one.

    Args:
        x: anything.

    Returns:
        True for a DataArray, a Variable, a Dataset and a DataFrame.
    """
    xarray, pandas = sys.modules.get("xarray"), sys.modules.get("pandas")
    if xarray is not None and isinstance(x, (xarray.DataArray, xarray.Variable, xarray.Dataset)):
        return True
    return pandas is not None and isinstance(x, pandas.DataFrame) and any(meanings_of(x)[1])


def values_by_name(x: Any, name: str, axes: tuple[str, ...]) -> Any:
    """The numbers of a labelled array with its axes in the order that is wanted.

    Args:
        x: an array of xarray, or a DataFrame.
        name: what it is, for messages.
        axes: what the last axes are; those before them are independent experiments, and after
            a first "..." whatever they are named.

    Returns:
        An array without labels: a NumPy array, or what pandas makes of a table.

    Raises:
        TypeError: for a Dataset.
        ValueError: where the names do not say which axis is which, labels stand in another order
            than they count, and numbers are packed or stand for gaps.
    """
    if not hasattr(x, "iloc") and hasattr(x, "data_vars"):
        raise TypeError(f"{name} must be one array, met a Dataset of {list(x.data_vars)[:5]}")
    dims, meanings = meanings_of(x)
    order = _order(meanings, axes)
    if order is None:
        wanted = f"({', '.join(dict.fromkeys(('...', *axes)))})" if axes else "one axis"
        raise ValueError(
            f"{name} has the labelled axes {dims}, wanted {wanted}: select, rename or transpose "
            "(leading axes are experiments, named case), or pass x.values, whose axes are taken "
            "in their order"
            + ("; Problem.from_xarray takes a time axis" if "time" in meanings else "")
        )
    named = [a for a in axes if a != "..."]
    places = dict(zip(order[len(order) - len(named) :], named, strict=False))
    check_order(x, name, [i for i in order if not axes or places.get(i, "member") != "member"])
    check_decoded(x, name)
    values = x if hasattr(x, "iloc") else x.values
    if order == list(range(len(order))):
        return values
    return (x.to_numpy() if hasattr(x, "iloc") else values).transpose(order)


def check_order(x: Any, name: str, axes: Any = None) -> None:
    """Raise where the labels of an axis are its places, 0 to n - 1, in another order.

    Args:
        x: an array of xarray or pandas.
        name: what it is, for messages.
        axes: which of its axes are looked at; None for all.

    Raises:
        ValueError: naming the axis, and its labels.
    """
    table = hasattr(x, "iloc")
    dims = range(x.ndim) if table else x.dims
    for i in range(x.ndim) if axes is None else axes:
        labels = x.axes[i] if table else getattr(x, "coords", {}).get(dims[i])
        if getattr(getattr(labels, "dtype", None), "kind", "") not in ("i", "u"):
            continue
        found: list[Any] = np.asarray(labels).tolist()
        if found != sorted(found) and sorted(found) == list(range(len(found))):
            how = f"sort_index(axis={i})" if table else f"sortby({dims[i]!r})"
            raise ValueError(
                f"{name} has labels along axis {dims[i]!r} in the order {found[:4]}...; "
                f"wanted 0, 1, 2, ...: x.{how}, or x.to_numpy(), which is taken as it stands"
            )


def check_decoded(x: Any, name: str) -> None:
    """Raise where an array of xarray holds numbers as a file has them: packed, or for gaps.

    Args:
        x: an array of xarray or pandas.
        name: what it is, for messages.

    Raises:
        ValueError: naming the attribute that says so.
    """
    about: dict[str, Any] = {} if hasattr(x, "iloc") else x.attrs
    packed = [k for k in ("scale_factor", "add_offset") if k in about]
    gaps = [k for k in ("_FillValue", "missing_value") if k in about]
    for k in packed + [k for k in gaps if np.isin(x.values, about[k]).any()]:
        raise ValueError(
            f"{name} is as a file has it, met the attribute {k} = {about[k]!r}; wanted it "
            "decoded: xarray.decode_cf(dataset), or the attribute removed"
        )


def meanings_of(x: Any) -> tuple[tuple[Any, ...], list[str]]:
    """The names of the axes of a labelled array and what each means, "" where nothing is known.

    Args:
        x: an array of xarray, or a DataFrame.

    Returns:
        The names, and one word of MEANINGS for each; an axis along which dates stand is "time".
    """
    if hasattr(x, "iloc"):  # a table: its rows and columns
        found = [_meaning(a.name, a) for a in (x.index, x.columns)]
        return tuple(
            a.name or way for a, way in ((x.index, "rows"), (x.columns, "columns"))
        ), found
    coords = getattr(x, "coords", {})
    return tuple(x.dims), [_meaning(d, coords.get(d)) for d in x.dims]


def _meaning(name: Any, coordinate: Any) -> str:
    kind = getattr(getattr(coordinate, "dtype", None), "kind", "")
    if kind == "M":
        return "time"
    if kind == "O" and len(coordinate):
        first = np.asarray(coordinate, dtype=object).reshape(-1)[0]
        if hasattr(first, "year") and hasattr(first, "month"):  # dates with a zone, or of cftime
            return "time"
    word = str(name).lower()
    return MEANINGS.get(word, "case" if word.startswith("case") else "")


def _order(meanings: list[str], axes: tuple[str, ...]) -> list[int] | None:
    """The axes of the array in the order wanted; None where the names do not tell, or forbid."""
    any_lead, axes = axes[:1] == ("...",), tuple(a for a in axes if a != "...")
    if len(meanings) < max(len(axes), 2):
        return list(range(len(meanings)))
    if not axes:
        return None
    alike = {"x": "y", "y": "x"}  # a state that is observed, an observation that is a state
    left = list(range(len(meanings)))
    place: dict[int, int] = {}
    for a, axis in enumerate(axes):  # those that are named
        for word in (axis, alike.get(axis, axis)):
            if word != axis and word in axes:
                continue  # that name has a place of its own
            found = [i for i in left if meanings[i] == word]
            if found and a not in place:
                place[a] = found[-1] if axis in axes[:a] else found[0]
                left.remove(place[a])
    free = [a for a in range(len(axes)) if a not in place]
    unknown = [i for i in left if not meanings[i]]
    if any_lead:
        unknown = unknown[len(unknown) - len(free) :]
    batch = [i for i in left if i not in unknown and (any_lead or meanings[i] == "case")]
    if len(unknown) != len(free) or len(unknown) + len(batch) != len(left):
        return None
    place.update(zip(free, unknown, strict=True))
    order = [*batch, *(place[a] for a in range(len(axes)))]
    moved = order != list(range(len(order)))
    return None if moved and len(free) > 1 else order
