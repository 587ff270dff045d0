"""Rows near each other as one datum: their mean, with the error of a mean.

    y = sum_i w_i y_i,   w_i proportional to 1 / s_i^2,
    s^2 = (1 - c) sum_i w_i^2 s_i^2 + c (sum_i w_i s_i)^2,

for errors s_i of which each two are correlated by c: s_i / sqrt(n) for n equal ones and c = 0, and
s_i again for c = 1.

Lorenc, A global three-dimensional multivariate statistical interpolation scheme, Mon. Wea. Rev.
109, 1981, has such "super-observations".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import as_numbers


def cells(places: np.ndarray, axes: Any, period: Any, size: Any) -> tuple[np.ndarray, np.ndarray]:
    """In which cell each place is, counted from the first point of the grid.

    Args:
        places: `(rows, d)`.
        axes: the coordinates of the grid along each axis, d vectors.
        period: after which length each axis repeats, `(d,)`; 0: it does not.
        size: of a cell, one number or d.

    Returns:
        Integers `(rows, d)`, and the places within one period of the grid's first point.

    Raises:
        ValueError: for a size that is not positive.
    """
    length = as_numbers(size)
    if length.shape not in ((), (len(axes),)) or not (np.isfinite(length) & (length > 0)).all():
        raise ValueError(
            f"superob must be the size of a cell, above 0, one number or {len(axes)}, met {size!r}"
        )
    first = np.asarray([min(a[0], a[-1]) for a in axes])
    turn = np.where(np.asarray(period) > 0, period, np.inf)
    away = places - first
    turns = np.where(np.isfinite(turn), np.floor(away / turn), 0)
    away = np.where(turns == 0, away, away - np.where(turns == 0, 0, turns * turn))
    return np.floor(away / length).astype(int), first + away


def merged(
    group: np.ndarray, value: np.ndarray, error: np.ndarray, places: Any, correlation: float
) -> tuple[np.ndarray, np.ndarray, Any]:
    """The mean of each group of rows, its error, and the mean of its places.

    Args:
        group: of each row, integers 0 to G - 1, `(rows,)`.
        value: of each row, NaN where it does not count.
        error: standard deviations.
        places: `(rows, d)`, or None.
        correlation: c, of the errors of two rows of one group, 0 to 1.

    Returns:
        Values `(G,)`, NaN for a group without any; errors `(G,)`; places `(G, d)`, or None.
    """
    G = int(group.max()) + 1 if len(group) else 0

    def total(x: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights=x, minlength=G)

    seen = ~np.isnan(value)
    some = total(seen.astype(float)) > 0
    counts = seen | ~some[group]  # where none counts, all do: for the place and the error
    w = np.where(counts, error**-2.0, 0.0)
    w = w / total(w)[group]
    mean = np.where(some, total(w * np.where(seen, value, 0.0)), np.nan)
    alone, alike = total(w**2 * error**2), total(w * error) ** 2
    at = None if places is None else np.stack([total(w * x) for x in places.T], axis=-1)
    return mean, ((1 - correlation) * alone + correlation * alike) ** 0.5, at
