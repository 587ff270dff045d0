"""The rows of a table of observations as numbers, each with a flag that says what became of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..array import as_numbers, shown
from .frames import Columns
from .network import Places

PLACES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}


class Rows(NamedTuple):
    """The rows of a table, as numbers: `(rows,)` each, places `(rows, d)` or None."""

    k: np.ndarray  # of which observation
    code: np.ndarray  # of the sensor, or of the kind
    places: Any
    instant: np.ndarray  # the rank of its time
    value: np.ndarray
    error: np.ndarray
    flag: np.ndarray
    out: np.ndarray  # withheld

    def sorted(self) -> np.ndarray:
        """Their order, which does not depend on that of the table; later copies are flagged."""
        where = () if self.places is None else tuple(self.places.T)
        keys = [self.k, self.code, *where, self.instant, self.value, self.error]
        order = np.lexsort(keys[::-1])
        pairs = [(c[order][1:], c[order][:-1]) for c in keys]
        same = np.all([(a == b) | ((a != a) & (b != b)) for a, b in pairs], axis=0)
        self.flag[order[1:][same]] = "duplicate"
        return order


def rows_of(
    found: Columns, see: Any, clock: Any, error: Any, limits: Any, withhold: Any
) -> tuple[Rows, np.ndarray, list[int]]:
    """The rows of a table as numbers, the times of its observations, and the steps to each.

    Args:
        found: the columns.
        see: Sensors or Places.
        clock: from a column of times to `on_the_clock`'s result.
        error: the standard deviation of all rows, or None for a column of them.
        limits: (low, high), or a mapping to such by sensor or kind, or None.
        withhold: names of sensors, or a boolean for each row, or None.

    Returns:
        The rows, times `(K,)`, and K numbers of steps.
    """
    n = len(found)
    if not n:
        raise ValueError("the table has no rows; wanted at least one")
    k, instant, times, steps = clock(found.times())
    names = found.words("sensor") if "sensor" in found or not isinstance(see, Places) else None
    kinds = found.words("kind") if see.kinds else None
    if isinstance(see, Places):
        code = see.codes(kinds) if kinds else np.zeros(n, int)
    else:
        code = see.codes(names or [], kinds)
    value, places = found.numbers("value"), _places(found, see)
    gap = np.isnan(value)
    if np.isinf(value).any():
        raise ValueError(f"the value of row {int(np.argmax(np.isinf(value)))} is infinite")
    s = found.numbers("error") if error is None else np.full(n, as_numbers(error), float)
    s = np.where(gap & np.isnan(s), 1.0, s)  # of no weight
    if not ((s > 0) & (s < np.inf)).all():
        i = int(np.argmin((s > 0) & (s < np.inf)))
        raise ValueError(f"the error of row {i} is {s[i]:g}, wanted a standard deviation above 0")
    out = _withheld(withhold, names, n)
    flag = np.where(out, "withheld", "good").astype(object)
    if limits is not None:
        low, high = _limits(limits, kinds, names, n)
        flag[(value < low) | (value > high)] = "limits"
    flag[gap] = "missing"
    return Rows(k, code, places, instant, value, s, flag, out), times, steps


def _places(found: Columns, see: Any) -> np.ndarray | None:
    """The places of the rows, `(rows, d)`; sensors have them where they are named in columns=."""
    given = found.names.get("place")
    if given is None and not isinstance(see, Places):
        return None
    d = len(see.grid[0]) if isinstance(see, Places) else None
    given = PLACES.get(d or 0, ()) if given is None else given
    given = (given,) if isinstance(given, str) else tuple(given)
    if d is not None and len(given) != d:
        raise ValueError(f"the place has the columns {given}, wanted {d}: one for each axis")
    places = np.stack([found.numbers("place", name) for name in given], axis=-1)
    bad = np.flatnonzero(~np.isfinite(places).all(axis=1))
    if bad.size:
        raise ValueError(f"the place of row {bad[0]} is {places[bad[0]]}, wanted finite numbers")
    return places


def _withheld(given: Any, names: list[Any] | None, n: int) -> np.ndarray:
    """Which rows are kept out, `(rows,)`."""
    if given is None:
        return np.zeros(n, bool)
    mask = np.asarray(given)
    if mask.dtype == bool:
        if mask.shape != (n,):
            raise ValueError(f"withhold has shape {mask.shape}, wanted ({n},) or sensors' names")
        return mask
    chosen, known = {given} if isinstance(given, (str, int)) else set(given), set(names or ())
    if chosen - known:
        raise ValueError(
            f"withhold names {min(chosen - known, key=str)!r}, wanted sensors of the table, or a "
            "boolean for each row"
        )
    return np.asarray([name in chosen for name in names or known], dtype=bool)


def _limits(
    given: Any, kinds: list[Any] | None, names: list[Any] | None, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest value of each row that is possible."""
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    pairs = given.items() if hasattr(given, "items") else [(None, given)]
    for name, pair in pairs:
        ends = as_numbers(pair) if np.shape(pair) == (2,) else np.zeros(0)
        if ends.shape != (2,) or not ends[0] < ends[1]:
            raise ValueError(f"limits must be (low, high), met {shown(pair)}")
        mine = np.zeros(n, bool) | (name is None)
        for column in (kinds, names):
            mine |= np.asarray([word == name for word in column or (None,) * n])
        if not mine.any():
            raise ValueError(f"limits name {name!r}, wanted sensors or kinds of the table")
        low[mine], high[mine] = ends
    return low, high
