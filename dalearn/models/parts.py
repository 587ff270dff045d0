"""The singular value decomposition of snapshots that never lie in memory together.

With what is known of the rows so far, their mean m_a and B = diag(values) V^T, of N_a rows, and a
new part A of N_b rows and mean m_b,
    B <- the first `keep` singular values and vectors of (B; A - m_b; w (m_b - m_a)),
    w^2 = N_a N_b / (N_a + N_b),
the last row being what the mean moves. Nothing is lost while the rows so far have no more than
`keep` independent directions.

Ross, Lim, Lin and Yang, Incremental learning for robust visual tracking, Int. J. Comput. Vis. 77,
2008.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from ..array import Array, array_namespace, as_floats, convert, shown
from .coders import check_scale, check_states


class Merged:
    """Singular values and vectors of rows that come in parts, about their mean.

    Args:
        keep: how many directions are kept from part to part.
        mean: whether the rows' mean is taken off.
    """

    def __init__(self, keep: int, mean: bool):
        self.keep, self.centred = keep, mean
        self.count, self.total = 0, 0.0  # rows, and the sum of squares of what was centred
        self.rows: Any = None  # diag(values) V^T
        self.values: Any = None
        self.right: Any = None
        self.mean: Any = None

    def add(self, A: Array) -> None:
        """Take in rows `(b, n)`."""
        xp, b = array_namespace(A), A.shape[0]
        old = [] if self.rows is None else [self.rows]
        middle = xp.zeros_like(A[0])
        if self.centred:
            middle = xp.mean(A, axis=0)
            A = A - middle
        if old and self.centred:
            moved = middle - self.mean
            share = b / (self.count + b)
            old.append((self.count * share) ** 0.5 * moved[None])
            self.total += float(xp.sum(old[-1] * old[-1]))
            middle = self.mean + share * moved
        self.total += float(xp.sum(A * A))
        _, values, right = xp.linalg.svd(xp.concat((*old, A), axis=0), full_matrices=False)
        self.values, self.right = values[: self.keep], right[: self.keep]
        self.rows = self.values[:, None] * self.right
        self.mean, self.count = middle, self.count + b


def merged(
    parts: Iterable[Any], r: int, keep: int, mean: bool, scale: Any
) -> tuple[Merged, Array, float]:
    """The decomposition of all parts, in units of `scale` and of the first part's largest number.

    Args:
        parts: arrays `(..., n)`; small ones are put together until they are `keep` rows.
        r: how many directions are wanted.
        keep: how many are kept from part to part.
        mean: whether the mean is taken off.
        scale: the unit of each component `(n,)`, None for 1.

    Returns:
        The decomposition, the scale in its library, and the unit of its numbers.

    Raises:
        ValueError: for parts of different n, with NaN, or of fewer than r states in all.
    """
    if getattr(parts, "ndim", 1) == 0 or isinstance(parts, (str, bytes, dict)):
        raise TypeError(f"parts must be several arrays (..., n), met {shown(parts)}")
    if "x" in getattr(parts, "dims", ()):
        parts = cast(Any, parts).transpose(..., "x")  # of xarray, which may still be in a file
    found, waiting, size, unit = Merged(keep, mean), [], 1.0, None
    for i, part in enumerate(parts):
        n = None if unit is None else unit.shape[0]
        x = check_states(part, n, f"the states of parts[{i}]")
        xp = array_namespace(x)
        x = xp.reshape(x, (-1, x.shape[-1]))
        if unit is None:
            if r > x.shape[1]:
                raise ValueError(
                    f"met r = {r} directions of states of {x.shape[1]} numbers; wanted r <= "
                    f"{x.shape[1]}"
                )
            unit = xp.ones_like(x[0])
            if scale is not None:
                unit = convert(as_floats(scale, "scale"), x)
                check_scale(unit, x.shape[1])
            size = float(xp.max(xp.abs(x / unit))) or 1.0  # squares neither overflow nor vanish
        waiting.append(convert(x, unit) / unit / size)  # a copy: the next part may overwrite it
        if sum(len(w) for w in waiting) >= keep:
            found.add(xp.concat(waiting, axis=0))
            waiting = []
    if waiting:
        found.add(array_namespace(*waiting).concat(waiting, axis=0))
    if unit is None or r > found.count:
        raise ValueError(
            f"met parts of {found.count} states in all, wanted at least r = {r}: each direction "
            "needs one (a generator that was used before is empty)"
        )
    return found, unit, size
