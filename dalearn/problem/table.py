"""A table of observations as a problem: each row a time, a sensor or place, a value, its error.

Rows may come in any order. They are sorted by time, sensor or kind, place, value and error, so
that the problem is the same to the bit whatever their order. Rows of one time make one
observation. What is left out is NaN there or nowhere, and its flag says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .network import Network, Places
from .observe import Moving, Observation
from .problem import Problem
from .rows import Rows
from .superob import cells, merged

if TYPE_CHECKING:
    import pandas as pd


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
