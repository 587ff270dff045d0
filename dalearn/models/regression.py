"""Linear regression of the next state on a window of states, for all ridges at once.

W = (windows, next states), centred, is factored once, W = Q R; what is asked afterwards needs the
triangle alone. R holds no squares of the data, so that a fit without ridge is right to round-off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..array import Array, array_namespace, as_floats, check_between, convert, is_array, shown
from .coders import check_scale, check_states

RIDGE = 1e-6  # where nothing chooses one
RIDGES = tuple(10.0**k for k in range(-10, 1))  # of which validation runs choose


@dataclass(frozen=True, eq=False)
class Regression:
    """The singular value decomposition of centred windows, and the next states in its terms.

    Args:
        values: singular values s `(c,)`.
        right: right singular vectors V^T `(c, L n)`.
        targets: U^T Y `(c, n)`.
        mean: the mean window and the mean next state `(L n + n,)`, None for no offset.
        count: how many windows there are.
    """

    values: Array
    right: Array
    targets: Array
    mean: Array | None
    count: int

    @classmethod
    def of(cls, series: list[Array], length: int, offset: bool) -> Regression:
        """The regression of runs `(S, T, n)`, each of more than `length` times."""
        xp, n = array_namespace(*series), series[0].shape[-1]
        rows = []
        for x in series:
            times = x.shape[1] - length
            parts = [x[:, j : j + times] for j in range(length + 1)]
            rows.append(xp.reshape(xp.concat(parts, axis=-1), (-1, (length + 1) * n)))
        W = xp.concat(rows, axis=0)
        mean = xp.mean(W, axis=0) if offset else None
        R = xp.linalg.qr(W if mean is None else W - mean)[1]
        U, s, right = xp.linalg.svd(R[:, : length * n], full_matrices=False)
        return cls(s, right, U.mT @ R[:, length * n :], mean, W.shape[0])

    @property
    def most(self) -> int:
        """The largest rank that so many windows can have."""
        return min(self.right.shape[1], self.count - (self.mean is not None))

    def matrix(self, ridge: float, rank: int | None = None) -> Array:
        """A `(n, L n)` = sum_i V_i s_i / (s_i^2 + ridge g) targets_i, g the mean diagonal."""
        s, xp = self.values, array_namespace(self.values)
        size = max(self.count, self.right.shape[1]) * float(xp.finfo(s.dtype).eps)
        kept = s > size * s[0]
        if rank is not None:
            kept = kept & (xp.arange(s.shape[0], device=s.device) < rank)
        g = xp.sum(s * s) / self.right.shape[1]
        s = xp.where(kept, s, xp.ones_like(s))
        factor = xp.where(kept, s / (s * s + ridge * g), xp.zeros_like(s))
        return (factor[:, None] * self.targets).mT @ self.right

    def offset(self, A: Array) -> Array | None:
        """c: the mean next state without what A makes of the mean window."""
        if self.mean is None:
            return None
        k = self.right.shape[1]
        return self.mean[k:] - A @ self.mean[:k]


def check_runs(runs: Any, name: str, times: int, n: int | None = None) -> list[Array]:
    """Trajectories as a list of arrays `(S, T, n)`, or an error.

    Args:
        runs: an array `(..., T, n)`, or a list of such arrays.
        name: what they are, for messages.
        times: the least T.
        n: the number of components wanted, None for that of the first.

    Returns:
        The arrays, in one library.

    Raises:
        TypeError: for what is no array and no list of them.
        ValueError: for another shape, too few times, and NaN.
    """
    if isinstance(runs, (str, bytes)) or not (is_array(runs) or isinstance(runs, Sequence)):
        runs = as_floats(runs, name, axes=("...", "time", "x"))
    listed = isinstance(runs, Sequence) and not is_array(runs) and any(map(is_array, runs))
    found: list[Array] = []
    for i, one in enumerate(runs if listed else [runs]):
        where = f"the states of {name}" + f"[{i}]" * listed
        x = as_floats(one, name, axes=("...", "time", "x"))
        if x.ndim < 2:
            raise ValueError(
                f"{name} have shape {tuple(x.shape)}, wanted (..., T, n) or a list of such "
                f"arrays, met {shown(one)}"
            )
        x = check_states(x, n, where)
        n = x.shape[-1]
        if x.shape[-2] < times:
            raise ValueError(
                f"{where} have {x.shape[-2]} times, wanted at least {times}: a window and what "
                "follows it"
            )
        xp = array_namespace(x)
        x = xp.reshape(x, (-1, *x.shape[-2:]))
        found.append(convert(x, found[0]) if found else x)
    return found


def check_unit(scale: Any, series: list[Array]) -> Array:
    """The unit `(n,)` of components: `scale`, times what makes the largest number 1."""
    like = series[0]
    xp = array_namespace(like)
    unit = xp.ones_like(like[0, 0])
    if scale is not None:
        unit = convert(as_floats(scale, "scale"), like)
        check_scale(unit, like.shape[-1])
    size = max(float(xp.max(xp.abs(x / unit))) for x in series) or 1.0
    return unit * size


def candidates(ridge: Any, validation: Any) -> tuple[float, ...]:
    """The ridges to try: more than one only where validation runs can choose.

    Args:
        ridge: a number, several, or None for what is usual.
        validation: runs, or None.

    Returns:
        At least one.

    Raises:
        ValueError: for what is not finite and >= 0, and several without validation runs.
    """
    if ridge is None:
        return (RIDGE,) if validation is None else RIDGES
    given = tuple(ridge) if isinstance(ridge, Sequence) else (ridge,)
    check_between("ridge", given, 0, math.inf, open_low=False)
    if math.inf in given:
        raise ValueError(f"ridge must be finite, met {given}")
    if len(given) > 1 and validation is None:
        raise ValueError(
            f"ridge has {len(given)} values, of which validation runs choose; met none"
        )
    return given
