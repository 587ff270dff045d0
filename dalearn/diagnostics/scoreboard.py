"""Scores of whole runs: time means, which experiments lost the truth, a row for each method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .scores import check_scheme, climatology, crps, from_cycle, rmse, spread

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def lost(result: xr.Dataset, skip: int | None = None, fraction: float = 0.5) -> xr.DataArray:
    """Which experiments lost the truth: their analysis is useless, finite or not.

    True where the mean analysis RMSE exceeds `fraction` of the error of the climatological mean,
    or is not finite. On the set-ups of this book a filter that tracks has a fifth of the
    climatological error or less, and one that lost the truth about all of it or more, so the
    fraction hardly matters.

    Args:
        result: the Dataset of `assimilate` or `compare`.
        skip: the first cycle that counts; by default the last quarter counts.
        fraction: of the climatological error.

    Returns:
        DataArray of bool `(case...)`.

    Raises:
        ValueError: no truth, or `skip` leaves no cycle.
    """
    error = rmse(result).sel(stage="analysis")
    skip = 3 * error.sizes["time"] // 4 if skip is None else skip
    mean = from_cycle(error, skip).mean("time", skipna=False)
    limit = fraction * climatology(result)
    return (~(mean <= limit) & ((limit != 0) | ~np.isfinite(mean))).rename("lost")


def score(result: xr.Dataset, skip: int = 0) -> xr.Dataset:
    """Time means of rmse, spread and crps, and whether an experiment lost the truth.

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


def scoreboard(result: xr.Dataset, skip: int = 0, round_to: int | None = 3) -> pd.DataFrame:
    """A row for each method: medians over the seeds that track, and how many lost the truth.

    Args:
        result: of `compare`.
        skip: the first cycle that counts.
        round_to: digits behind the point; None for all.

    Returns:
        DataFrame with the columns rmse, spread, crps (time means of the analysis), lost, seeds,
        and ms, wall-clock milliseconds for one cycle of one experiment.

    Raises:
        ValueError: the result of a single run, or of an older form.
    """
    import pandas as pd

    check_scheme(result)
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
    return table if round_to is None else table.round(round_to)
