"""Whether means have the digits that their standard deviations speak of: if not, a warning.

An analysis is a forecast and an increment. Where the round-off of these is not far below the
standard deviation that comes out, the mean is wrong by a part of it, and no number is NaN: a
spread of 1e13 times the errors of the data (2e4 in float32), or a mean far from 0 and known well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Array, array_namespace, to_numpy, warn
from ..problem.belief import Belief, Ensemble

if TYPE_CHECKING:
    import xarray as xr

LIMIT = 400  # units of round-off in a standard deviation: means come within four of them


def still(belief: Belief) -> Array:
    """Components `(..., n)` without any spread, such as known parameters; all if it has weights.

    The mean of equal members has a round-off, which is no spread; and members that are only
    weighted anew lose no digits, nor does one that is left alone.
    """
    if not isinstance(belief, Ensemble):
        return belief.std == 0
    E, xp = belief.members, array_namespace(belief.members)
    alike = xp.all(E[..., :1, :] == E, axis=-2)
    return alike if belief.weights is None else xp.ones_like(alike)


def has_perfect(problem: Any) -> bool:
    """Whether data without error may leave any component without a spread."""
    o = getattr(problem, "observation", None)
    return any(part.noise.singular for part in getattr(o, "observations", (o,)) if part)


def unresolved(
    mean: np.ndarray, std: np.ndarray, fixed: np.ndarray, limit: float = LIMIT
) -> np.ndarray:
    """Where the mean may be wrong by more than 0.01 of its standard deviation, from round-off.

    Args:
        mean: by stage, each made from those before, `(..., stages, n)`.
        std: standard deviations, the same.
        fixed: components that may have none, `(..., n)`.
        limit: units of round-off in a standard deviation, from which on it is resolved.

    Returns:
        Booleans `(..., stages, n)`. A standard deviation of 0 counts where there was one before.
    """
    eps = limit * np.finfo(mean.dtype).eps
    before = np.zeros_like(std[..., :1, :])
    with np.errstate(over="ignore", invalid="ignore"):
        own = abs(mean)
        size = np.maximum.accumulate(own + std, axis=-2)
        wide = np.maximum.accumulate(np.concatenate([before, std[..., :-1, :]], -2), axis=-2)
        some = (std > 0) | (wide > 0)
        bad = (std < eps * size) & np.isfinite(size) & some
        return bad & ~(fixed[..., None, :] & (std <= eps * own))


def warn_unresolved(result: xr.Dataset, prior: Belief, fixed: Array, method: Any) -> None:
    """RuntimeWarning where a result, or already the prior, is not resolved by its numbers.

    Experiments that have diverged are marked as such, and not told of.

    Args:
        result: with `mean` and `std (case..., time, stage, x)`, and `diverged`.
        prior: what it began with.
        fixed: `still` of the first forecast; all of it where there are perfect data.
        method: named in the warning.
    """
    x, d, none = (to_numpy(a)[..., None, :] for a in (prior.mean, prior.std, still(prior)))
    d = np.broadcast_to(d, x.shape)
    bad = unresolved(x, d, none[..., 0, :])[..., 0, :]
    if bad.any():
        at = tuple(np.argwhere(bad)[0])
        x, d = x[..., 0, :], d[..., 0, :]
        _warn(method, "the prior", at, x.dtype, abs(float(x[at])), float(d[at]), int(bad.sum()))
    mean, std = (result[name].values for name in ("mean", "std"))
    size = max(float(mean.max()), -float(mean.min())) + float(std.max())
    enlarged = getattr(method, "enlarged", None)  # by differences of numbers close together
    limit = LIMIT * (1.0 if enlarged is None else enlarged(mean.shape[-1]))
    if std.min() > limit * np.finfo(mean.dtype).eps * size:  # the usual case, with no array made
        return
    bad = unresolved(mean, std, to_numpy(fixed)[..., None, :], limit)
    bad &= ~result["diverged"].values[..., None, None, None]  # these are marked
    if not bad.any():
        return
    k = int(bad.any(axis=(*range(bad.ndim - 3), -2, -1)).argmax())
    s = int(bad[..., k, :, :].any(axis=(*range(bad.ndim - 3), -1)).argmax())
    at = tuple(np.argwhere(bad[..., k, s, :])[0])
    size = float((abs(mean) + std)[..., k, : s + 1, :].max(axis=-2)[at])
    stage = f"the {result['stage'].values[s]} at time {result['time'].values[k]}"
    _warn(method, stage, at, mean.dtype, size, float(std[..., k, s, :][at]), int(bad.sum()))


def _warn(
    method: Any, what: str, at: tuple[int, ...], dtype: Any, size: float, std: float, count: int
) -> None:
    *case, component = at
    of = f" of case {', '.join(map(str, case))}" if case else ""
    more = f" ({count} such values)" if count > 1 else ""
    wider = "take float64, " if np.finfo(dtype).bits < 64 else ""
    warn(
        f"{method!r}: the mean of component {component}{of} in {what} is not resolved: numbers up "
        f"to {size:.3g} made it, whose round-off in {dtype} is {np.finfo(dtype).eps * size:.2g}, "
        f"and its standard deviation is {std:.3g}{more}; {wider}measure the state from "
        "a value near it, or see why the spread grew so far beyond the errors of the data",
        RuntimeWarning,
    )
