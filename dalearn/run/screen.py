"""The background check: data that a forecast does not believe possible are left out.

A filter runs through the data once. Before each analysis its forecast is compared with the data of
that time, and

    |y_j - H_j(x)| > limit (H B H^T + R)_jj^1/2

leaves y_j out of this analysis, so that it harms no later forecast. To have the forecast before
the data, the filter is given each time twice: first without data, then, no step later, with those
that passed.

Lorenc, Q. J. R. Meteorol. Soc. 107, 1981; Ingleby and Lorenc, Bayesian quality control using
multivariate normal distributions, Q. J. R. Meteorol. Soc. 119, 1993.
"""

from __future__ import annotations

from dataclasses import replace
from math import erfc
from typing import Any

import numpy as np

from ..array import (
    Purpose,
    array_namespace,
    check_between,
    convert,
    no_grad,
    streams,
    to_numpy,
    typed,
    warn,
)
from ..methods.base import Method, check_residuals
from ..problem.problem import Problem
from ..problem.table import Tabled
from .assimilate import checked
from .innovations import innovation
from .twice import Twice

MANY = 0.1  # of the data: more are no gross errors


@typed
def screen(problem: Problem, method: Method, *, limit: float = 4.0, seed: int = 0) -> Problem:
    """The problem without the data that a filter's forecasts contradict: they become NaN.

        |y_j - H_j(x)| > limit (H B H^T + R)_jj^1/2,   before the analysis of each time

    `limit` counts standard deviations of what is expected: of good data 6 in 100 000 are beyond 4
    where B and R are right, and 27 in 10 000 beyond 3. A spread that is too small refuses good
    data, and a filter that refuses all of them never comes back: a warning says where it refuses
    a tenth. With a filter that draws no random numbers after its first ensemble,
    `assimilate(screened, method)` is the run that was made here. The table of
    `Problem.from_table` gets the flag "background".

    Args:
        problem: a Problem.
        method: a filter with a spread, such as `ETKF(20)` or `KF()`; no smoother, which looks at
            data before they are judged.
        limit: how many standard deviations are believed, above 0.
        seed: as in `assimilate`.

    Returns:
        The problem with other data; the same one where all passed.

    Raises:
        TypeError: for a smoother, or a method whose forecast has no spread.

    Source: Lorenc, A global three-dimensional multivariate statistical interpolation scheme, Mon.
    Wea. Rev. 109, 1981.
    """
    check_between("limit", limit, 0, float("inf"), open_low=True)
    whole, _ = checked(problem, [method], ())
    check_residuals(whole, method)
    twice = Twice.of(whole)
    cycles = iter(method.run(twice, streams(Purpose.ASSIMILATION, seed, whole.batch)))
    kept = np.ones((*twice.data.shape[:-2], len(whole), twice.data.shape[-1]), bool)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(len(whole)):
            forecast = next(cycles).forecast
            with no_grad(whole.like):
                observe, y = whole.at(k)
                d, Z = innovation(forecast, observe, y)
                xp = array_namespace(d)
                expected = xp.sum(Z * Z, axis=-2) + observe.noise.variance()
                good = ~(xp.abs(d[..., 0, :]) > limit * expected**0.5)  # NaN is not refused
            twice.judge(k, good)
            kept[..., k, : observe.m] = to_numpy(good)
            next(cycles)
    seen = np.broadcast_to(to_numpy(~array_namespace(whole.data).isnan(whole.data)), kept.shape)
    share = (seen & ~kept).sum() / max(1, seen.sum())
    if share > max(MANY, 3 * erfc(limit / 2**0.5)):
        warn(
            f"screen refused {100 * share:.0f} % of the data: so many are no gross errors; the "
            "spread of the forecast, or the errors of the data, are likely too small",
            RuntimeWarning,
        )
    return without(problem, kept)


def without(problem: Problem, kept: np.ndarray) -> Problem:
    """A problem with NaN in the place of some data.

    Args:
        problem: the problem.
        kept: booleans that broadcast against its data.

    Returns:
        The problem; the table of one that has it says "background" where any experiment lacks it.
    """
    data: Any = problem.data
    xp = array_namespace(data)
    gone = to_numpy(~xp.isnan(data)) & ~kept
    if not gone.any():
        return problem
    keep = convert(~gone, data)
    new: dict[str, Any] = {
        "data": xp.where(keep, data, xp.asarray(float("nan"), dtype=data.dtype))
    }
    if isinstance(problem, Tabled):
        new["origin"] = problem.origin.flagged(gone.reshape(-1, *gone.shape[-2:]).any(axis=0))
    return replace(problem, **new)
