"""A table of observations as a problem: each row a time, a sensor or place, a value, its error.

Rows may come in any order. They are sorted by time, sensor or kind, place, value and error, so
that the problem is the same to the bit whatever their order. Rows of one time make one
observation. What is left out is NaN there or nowhere, and its flag says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..array import as_numbers, shown
from .frames import Columns
from .network import Network, Places
from .observe import Moving, Observation
from .problem import Problem
from .superob import cells, merged

if TYPE_CHECKING:
    import pandas as pd

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


class Table:
    """A table, and where its rows went.

    Args:
        columns: as they came, by name.
        rows: the same as numbers.
        j: the position of each row in its observation, among the data or among what is withheld;
            -1 for nowhere.
        held: what sees the withheld rows of each observation, None for none.
    """

    fingerprint = "a table"  # of a stored result: what it holds is in the data

    def __init__(self, columns: dict[str, Any], rows: Rows, j: np.ndarray, held: list[Any]):
        self.columns, self.rows, self.j, self.held = columns, rows, j, held

    def flagged(self, gone: np.ndarray) -> Table:
        """The table with the flag "background" for rows whose datum is one of `gone (K, m)`."""
        rows = self.rows
        hit = (rows.flag == "good") & (self.j >= 0)
        hit[hit] = gone[rows.k[hit], self.j[hit]]
        flag = np.where(hit, "background", rows.flag)
        return Table(self.columns, rows._replace(flag=flag), self.j, self.held)


@dataclass(frozen=True, eq=False)
class Tabled(Problem):
    """A Problem that knows the table its data came from: what `Problem.from_table` makes.

    Args:
        origin: the table, and where its rows went.
    """

    origin: Any = None

    @property
    def table(self) -> pd.DataFrame:
        """The rows as they came, with `k`, the observation each belongs to, and its `flag`."""
        import pandas as pd

        rows = self.origin.rows
        return pd.DataFrame({**self.origin.columns, "k": rows.k, "flag": rows.flag})

    @property
    def withheld(self) -> pd.DataFrame:
        """The rows that were kept out of the data, a table of their own."""
        return self.table.loc[self.origin.rows.out].reset_index(drop=True)


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


def gathered(
    rows: Rows, see: Any, K: int, superob: Any, correlation: float
) -> tuple[np.ndarray, Observation | Moving, np.ndarray, list[Any]]:
    """The data and what sees them.

    Args:
        rows: of the table; duplicates are flagged.
        see: Sensors or Places.
        K: the number of observation times.
        superob: None; True, the rows of one sensor and time make one datum; the size of a cell.
        correlation: of the errors of two such rows.

    Returns:
        Data `(K, m)`, the observing system, each row's position, and what sees the withheld.
    """
    order, network = rows.sorted(), Network(see)
    first = order[rows.flag[order] != "duplicate"]
    j = np.full(len(rows.k), -1)
    value = np.where(np.isin(rows.flag, ("good", "withheld")), rows.value, np.nan)
    taken, kept_out = first[~rows.out[first]], first[rows.out[first]]
    k, code, error, y = rows.k[taken], rows.code[taken], rows.error[taken], value[taken]
    where: Any = None if rows.places is None else rows.places[taken]
    group = np.arange(len(taken))
    if superob is not None and superob is not False and len(taken):
        key = [k, code]
        if isinstance(see, Places):
            cell, where = cells(where, *see.grid, superob)
            key += list(cell.T)
        _, begin, group = np.unique(
            np.stack(key, -1), axis=0, return_index=True, return_inverse=True
        )
        group = group.reshape(-1)
        y, error, where = merged(group, y, error, where, correlation)
        k, code = k[begin], code[begin]
    seen = [_at(network, i, k, code, where, error) for i in range(K)]
    held = [
        _at(
            network,
            i,
            rows.k[kept_out],
            rows.code[kept_out],
            None if rows.places is None else rows.places[kept_out],
            rows.error[kept_out],
        )
        for i in range(K)
    ]
    place = np.arange(len(k)) - np.searchsorted(k, k)
    j[taken] = place[group]
    late = rows.k[kept_out]
    j[kept_out] = np.arange(len(late)) - np.searchsorted(late, late)
    systems: list[Any] = [a or b for a, b in zip(seen, held, strict=True)]
    data = np.full((K, max(s.m for s in systems)), np.nan)
    data[k, place] = y
    alike = all(s is systems[0] for s in systems)
    return data, systems[0] if alike else Moving(systems), j, held


def _at(
    network: Network, i: int, k: np.ndarray, code: np.ndarray, where: Any, error: np.ndarray
) -> Observation | None:
    """What sees the rows of observation i, which stand together; None for none."""
    part = slice(*np.searchsorted(k, (i, i + 1)))
    if part.start == part.stop:
        return None
    return network(code[part], None if where is None else where[part], error[part])


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
