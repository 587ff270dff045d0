"""Background errors from forecasts alone: two of them, made at different times, for the same time.

Nobody knows the errors of a forecast, but the difference of two is known, and their errors have
made most of it: with x_l and x_s forecasts over a long and a short lead, valid at one time,
    B = factor * cov(x_l - x_s).
Where both have errors of the same size, independent of each other, factor is 1/2. They are
neither, so the shape is of more use than the size, which `di01` can mend.

Parrish and Derber, Mon. Wea. Rev. 120, 1992; what is wrong with it: Fisher, in Proc. ECMWF Seminar
on Recent Developments in Data Assimilation for Atmosphere and Ocean, 2003; Berre, Stefanescu and
Belo Pereira, Tellus 58A, 2006.
"""

from __future__ import annotations

from typing import Any

from ..array import (
    Array,
    Swept,
    array_namespace,
    as_floats,
    convert,
    library,
    lift,
    no_grad,
    row_mean,
    typed,
)
from ..covariances.ensemble import LowRank
from ..problem.problem import Problem


@typed
def nmc(long: Array, short: Array, factor: Swept = 0.5) -> LowRank:
    """B from pairs of forecasts valid at the same times (the NMC method).

        B = factor cov(x_long - x_short)

    The mean difference, which is a drift and no error covariance, is taken off.

    Args:
        long: forecasts from an earlier analysis, `(..., K, n)`.
        short: forecasts from a later analysis, for the same times, `(..., K, n)`.
        factor: > 0, a number or an array over the batch; 1/2 for errors that are equal and
            independent.

    Returns:
        LowRank: of rank K - 1 at most. `Dense(B.matrix())` serves where K is well above n,
            `Localized(B.anomalies, correlation)` where it is not.

    Raises:
        ValueError: shapes that differ, K < 2, NaN, or a factor that is not positive.

    Source: Parrish and Derber, The National Meteorological Center's spectral statistical-
    interpolation analysis system, Mon. Wea. Rev. 120, 1992.
    """
    long = as_floats(long, "the long forecasts", axes=("...", "x"))
    short = as_floats(short, "the short forecasts", axes=("...", "x"))
    if library(long) != library(short):
        raise TypeError(
            f"long and short must be of one library, met {library(long)} and {library(short)}"
        )
    if tuple(long.shape) != tuple(short.shape) or long.ndim < 2:
        raise ValueError(
            f"met long {tuple(long.shape)} and short {tuple(short.shape)}; "
            "wanted (..., K, n) for both, valid at the same K times"
        )
    apart = long - short
    scale = lift(factor, apart, tuple(apart.shape[:-2]), "factor")
    if not bool(array_namespace(apart).all(convert(scale, apart) > 0)):
        raise ValueError(f"factor must be positive, met {factor!r}")
    return LowRank(scale**0.5 * (apart - row_mean(apart)))


@typed
def forecast_pairs(
    problem: Problem, analyses: Any, short: int = 1, long: int = 2
) -> tuple[Array, Array]:
    """Forecasts over a long and over a short lead from a cycle's analyses, for `nmc`.

    Forecasts are of the model alone, without noise.

    Args:
        problem: whose model and times are used.
        analyses: `(..., K, n)` at its observation times, or the Dataset of a run, whose analysis
            means are taken.
        short: the short lead, in intervals between observations.
        long: the long lead, in the same unit.

    Returns:
        `(long, short)`, each `(..., K - long, n)`, valid at observations long, ..., K - 1.

    Raises:
        ValueError: leads that do not fit the number of times, or analyses of another shape.
    """
    problem = problem.validated()
    if hasattr(analyses, "data_vars"):
        means = analyses["mean"].sel(stage="analysis").transpose(..., "time", "x")
        analyses = means.values
    x = convert(as_floats(analyses, "analyses", axes=("time", "x")), problem.like)
    K = len(problem)
    if tuple(x.shape[-2:]) != (K, problem.n):
        raise ValueError(
            f"analyses have shape {tuple(x.shape)}, wanted (..., {K}, {problem.n}): one at each "
            "observation time"
        )
    if not 0 < short < long < K:
        raise ValueError(
            f"met leads short = {short} and long = {long} over {K} observation times; wanted "
            "0 < short < long < K"
        )
    with no_grad(problem.like):
        return _ahead(problem, x, long, long), _ahead(problem, x, short, long)


def _ahead(problem: Problem, x: Array, lead: int, first: int) -> Array:
    """Forecasts over `lead` intervals, valid at observations first, ..., K - 1."""
    K = len(problem)
    x = x[..., first - lead : K - lead, :]
    counts = {problem.steps_to(k) for k in range(1, K)}
    if len(counts) == 1 and problem.inputs is None:  # all starts as members of one call
        for _ in range(lead):
            x = problem.forecast(x, 1)
        return x
    rows = []
    for i in range(K - first):
        row = x[..., i : i + 1, :]
        for k in range(first + i - lead + 1, first + i + 1):
            row = problem.forecast(row, k)
        rows.append(row)
    return array_namespace(x).concat(rows, axis=-2)
