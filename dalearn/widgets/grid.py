"""The grid of values a figure is drawn over: up to three named lists, numbered frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

MOST_CONTROLS = 3


@dataclass(frozen=True)
class Control:
    """One argument of the drawing function, and the values it takes."""

    name: str
    label: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    ordered: bool  # three numbers or more get a slider and a play button, the rest get buttons


def is_number(value: Any) -> bool:
    """Whether a value belongs on a slider: a real number, and no switch."""
    return isinstance(value, Real) and not isinstance(value, bool)


def written(values: tuple[Any, ...]) -> tuple[str, ...]:
    """Values as the reader sees them; numbers in one list share their number of decimals."""
    if not all(is_number(v) for v in values):
        return tuple(("off", "on")[v] if isinstance(v, bool) else str(v) for v in values)
    for decimals in range(4):
        texts = tuple(f"{v:.{decimals}f}" for v in values)
        if all(
            math.isclose(float(t), v, rel_tol=1e-9) for t, v in zip(texts, values, strict=True)
        ):
            return texts
    texts = tuple(f"{v:.4g}" for v in values)
    return texts if len(set(texts)) == len(texts) else tuple(str(v) for v in values)


def read_control(name: str, values: Any, label: str | None = None) -> Control:
    """Check one list of values."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name}={values!r}: give a list of values, such as {name}=[{values!r}]")
    values = tuple(v.item() if isinstance(v, np.generic) else v for v in values)
    if not values:
        raise ValueError(f"{name} has 0 values; give at least 1")
    for v in values:
        if not isinstance(v, str | Real):
            raise ValueError(f"{name} holds {v!r} ({type(v).__name__}); give numbers or strings")
    differ = len(set(values))
    if differ < len(values):
        raise ValueError(f"{name} has {len(values)} values, {differ} different; give each once")
    ordered = len(values) != 2 and all(is_number(v) for v in values)
    return Control(name, label or name.replace("_", " "), values, written(values), ordered)


def read_controls(lists: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[Control, ...]:
    """Check the whole grid.

    Raises:
        ValueError: no control or more than three, a list that is empty, repeats itself or holds
            something else than numbers and strings, a label for an unknown name.
    """
    if not 1 <= len(lists) <= MOST_CONTROLS:
        met = f"{len(lists)} controls" + (f" ({', '.join(lists)})" if lists else "")
        wanted = f"give 1 to {MOST_CONTROLS} lists of values, such as members=[5, 10, 20]"
        raise ValueError(f"{met}; {wanted}")
    known("labels", labels, lists)
    return tuple(read_control(name, lists[name], labels.get(name)) for name in lists)


def known(what: str, given: Iterable[str], names: Iterable[str]) -> None:
    """Every name given is the name of a control."""
    strange = sorted(set(given) - set(names))
    if strange:
        raise ValueError(f"{what} names {strange[0]!r}; the controls are {', '.join(names)}")


def count(controls: tuple[Control, ...]) -> int:
    """Number of frames."""
    return math.prod(len(c.values) for c in controls)


def index_of(controls: tuple[Control, ...], start: Mapping[str, Any]) -> int:
    """Number of the frame at these values; a control not named stands at its first value."""
    known("start", start, [c.name for c in controls])
    places = []
    for c in controls:
        value = start.get(c.name, c.values[0])
        if value not in c.values:
            raise ValueError(f"start {c.name}={value!r}; give one of {list(c.values)}")
        places.append(c.values.index(value))
    return int(np.ravel_multi_index(places, [len(c.values) for c in controls]))


def places_of(controls: tuple[Control, ...], index: int) -> tuple[int, ...]:
    """Where each control stands in frame `index`; the last control turns fastest."""
    return tuple(map(int, np.unravel_index(index, [len(c.values) for c in controls])))


def values_at(controls: tuple[Control, ...], index: int) -> dict[str, Any]:
    """The arguments of frame `index`."""
    places = places_of(controls, index)
    return {c.name: c.values[i] for c, i in zip(controls, places, strict=True)}


def told(controls: tuple[Control, ...], index: int) -> str:
    """The values of frame `index` in words, as the reader sees them."""
    places = places_of(controls, index)
    return ", ".join(f"{c.label} {c.texts[i]}" for c, i in zip(controls, places, strict=True))
