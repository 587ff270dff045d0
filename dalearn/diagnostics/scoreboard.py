"""Scores of whole runs: time means, which experiments lost the truth, a row for each method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..array import check_between, typed
from .scores import check_scheme, crps, from_cycle, rmse, spread, truth_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


CLAIMED = 2.0  # times its own spread: an error up to which a run knows how wrong it is

USELESS = 1.5  # times the error of the climatological mean: that of a run that knows nothing

LARGEST = 2.0  # the same, for one component: beyond it no component counts more


@typed
def lost(result: xr.Dataset, skip: int | None = None, fraction: float = 0.5) -> xr.DataArray:
    """Which experiments lost the truth: their analysis is wrong without knowing it, or useless.

    With e the error and s the spread of the analysis, over the cycles that count and all of x,
    each component in units of its climatological deviation (2 at most), an experiment is lost if
    e is not finite, or e > 1.5, or both e > fraction and e > 2 s. So a filter of few or bad data
    that errs as much as it says is not lost; one that collapsed is; and no unit matters.

        e^2 = mean_x min(4, mean_t (mean - truth)^2 / var_t truth),   s^2 with std^2 likewise

    Components whose truth never changes have no climate, and do not count.

    Args:
        result: the Dataset of `assimilate` or `compare`.
        skip: the first cycle that counts; by default the last quarter counts.
        fraction: of the climatological error; below it no experiment is lost.

    Returns:
        DataArray of bool `(case...)`.

    Raises:
        ValueError: no truth, or `skip` leaves no cycle.
    """
    truth = truth_of(result, "mean", "std", "time", "stage", "x").astype(float)
    skip = 3 * result.sizes["time"] // 4 if skip is None else skip
    late = from_cycle(result.sel(stage="analysis"), skip)
    round_off = 16 * np.finfo(truth_of(result).dtype).eps * abs(truth).max("time")
    climate = truth.var("time")
    climate = climate.where(climate > round_off**2)

    def size(square: xr.DataArray) -> xr.DataArray:
        each = square.mean("time", skipna=False) / climate
        return (
            each.where(~(each > LARGEST**2), LARGEST**2).where(climate.notnull()).mean("x") ** 0.5
        )

    error = late["mean"] - from_cycle(truth, skip)
    finite = np.isfinite(error).all(("time", "x"))
    e, s = size(error**2), size(late["std"].astype(float) ** 2)
    bad = (e > USELESS) | ((e > fraction) & ~(e <= CLAIMED * s))
    return (bad | ~finite).rename("lost")


@typed
def score(result: xr.Dataset, skip: int = 0) -> xr.Dataset:
    """Time means of rmse, spread and crps, and whether an experiment lost the truth.

    The first three are those of a state in one unit (see rmse); `lost` hangs on no unit.

    Args:
        result: the Dataset of `assimilate` or `compare`.
        skip: the first cycle that counts.

    Returns:
        Dataset of rmse, spread, crps `(case..., stage)` and lost `(case...)`.

    Raises:
        ValueError: no truth, or `skip` leaves no cycle.
    """
    import xarray as xr

    late = from_cycle(result, skip)
    means = {f.__name__: f(late).mean("time", skipna=False) for f in (rmse, spread, crps)}
    return xr.Dataset({**means, "lost": lost(result)})


@typed
def scoreboard(result: xr.Dataset, skip: int = 0, round_to: int | None = 3) -> pd.DataFrame:
    """A row for each method: medians over the seeds that track, and how many lost the truth.

    As `score`, which it tabulates, it is for states in one unit.

    Args:
        result: of `compare`.
        skip: the first cycle that counts.
        round_to: digits behind the point; a column whose largest number is below 0.1 has more, so
            that this number keeps `round_to` digits. None for all.

    Returns:
        DataFrame with the columns rmse, spread, crps (time means of the analysis), lost, seeds,
        and ms, wall-clock milliseconds for one cycle of one experiment.

    Raises:
        ValueError: the result of a single run, or of an older form.
    """
    import pandas as pd

    check_scheme(result)
    check_between("round_to", round_to or 0, -100, 100, open_low=False)
    if "scheme" not in result.dims or "seed" not in result.dims:
        raise ValueError(
            f"a scoreboard wants the result of compare(...), met the dimensions {result.dims}; "
            "for one run use score(result)"
        )
    s = score(result, skip).sel(stage="analysis").load()
    rows = {}
    for name in result["scheme"].values:
        one = s.sel(scheme=name)
        tracking = one.where(~one["lost"]).median("seed")
        count = one.sizes["seed"]
        rows[str(name)] = {
            **{k: float(tracking[k]) for k in ("rmse", "spread", "crps")},
            "lost": int(one["lost"].sum()),
            "seeds": count,
            "ms": float(result["seconds"].sel(scheme=name)) / result.sizes["time"] / count * 1e3,
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "scheme"
    if round_to is None:
        return table
    return table.round({name: _digits(table[name].to_numpy(), round_to) for name in table.columns})


def _digits(column: np.ndarray, round_to: int) -> int:
    """How many digits behind the point leave `round_to` of the largest number of a column."""
    most = float(np.nan_to_num(abs(column.astype(float)), posinf=0.0).max(initial=0.0))
    return max(round_to, round_to - 1 - int(np.floor(np.log10(most or 1.0))))
