"""Figures of scores: rank histograms, error against spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import typed
from ..diagnostics.scores import check_scheme
from .labels import axis_name, labelled, look_of, stage_of
from .look import axes_or_new, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataArray


POINTS = (("#0072B2", "o"), ("#D55E00", "^"), ("#009E73", "s"), ("#CC79A7", "D"), ("black", "v"))


@typed
def rank_histogram(
    counts: Any, *, independent: float | None = None, ax: Axes | None = None
) -> Axes:
    """How often the truth takes each rank among N members, and what a reliable ensemble gives.

    The line is 1 / (N + 1). The band holds, bar by bar, 95 % of the draws from
    Binomial(independent, 1 / (N + 1)) / independent. A U is a sign of too little spread, a dome of
    too much, a slope of a bias.

    Args:
        counts: (N + 1,) whole numbers: how many times the truth had rank 0, ..., N.
        independent: how many of them are independent; by default all, which makes the band too
            narrow where neighbours are related.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: counts that are not whole numbers, or none at all.

    Source: Hamill, Interpretation of rank histograms for verifying ensemble forecasts, Mon. Wea.
    Rev. 129, 2001, which also says when a U means something else.
    """
    from scipy.stats import binom

    stage = stage_of(counts)
    counts = labelled(counts, ("rank",), "counts").values
    bins, total = counts.size, counts.sum()
    if bins < 2 or not (np.isfinite(total) and np.all((counts >= 0) & (counts % 1 == 0))):
        raise ValueError("counts must be two or more whole numbers (how often, not what share)")
    draws = int(total if independent is None else independent)
    if total == 0 or draws < 1:
        raise ValueError(f"no ranks to show: counts sum to {total}, independent is {draws}")
    (low, high), ax = binom.ppf([0.025, 0.975], draws, 1 / bins) / draws, axes_or_new(ax)
    look = {"color": look_of(stage)["color"], "alpha": 0.75, "edgecolor": "white"}
    ax.bar(np.arange(bins), counts / total, width=1.0, linewidth=0.5, **look)
    ax.axhspan(low, high, color="black", alpha=0.2, linewidth=0, label="95 % of reliable draws")
    ax.axhline(1 / bins, color="black", linestyle="--", linewidth=1.2, label="reliable")
    ax.set(xlabel=f"rank of the truth among {bins - 1} members", ylabel="relative frequency")
    ax.locator_params(axis="x", integer=True)
    return legend(ax)


@typed
def spread_skill(rmse: DataArray, spread: DataArray, *, ax: Axes | None = None) -> Axes:
    """Error and spread over time: for a reliable ensemble the line follows the grey edge.

    Args:
        rmse: DataArray (time,), such as `rmse(result).sel(stage="analysis")`.
        spread: DataArray (time,), of the same run and stage.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: dimensions other than time, or different lengths.
    """
    stage = stage_of(rmse)
    rmse, spread = _pair(rmse, spread, ("time",))
    ax, time = axes_or_new(ax), rmse["time"].values
    ax.fill_between(time, 0, spread.values, color="0.85", linewidth=0)
    ax.plot(time, spread.values, color="0.3", linestyle=":", linewidth=1.4, label="spread")
    look = look_of(stage, label=f"RMSE of the {stage}" if stage else "RMSE", linewidth=1.6)
    ax.plot(time, rmse.values, **look)
    ax.set(xlabel=axis_name(rmse["time"], "time"), ylabel="RMSE and spread", ylim=(0, None))
    return legend(ax)


@typed
def spread_skill_scatter(rmse: DataArray, spread: DataArray, *, ax: Axes | None = None) -> Axes:
    """Error against spread, a point for each experiment, with the line of a reliable ensemble.

    Points above the line have too little spread. Scores that are not finite are only counted.

    Args:
        rmse: DataArray without time and stage, an average over time such as
            `rmse(result).sel(stage="analysis").mean("time")`; "scheme" sets the marker.
        spread: DataArray of the same dimensions.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: dimensions that differ.
    """
    averaged = {"time", "stage", "x", "y", "member"}
    rest = [d for d in getattr(rmse, "dims", ()) if d not in averaged]
    rmse, spread = _pair(rmse, spread, rest)
    check_scheme(rmse)
    if "scheme" not in rest:
        rmse, spread = rmse.expand_dims("scheme"), spread.expand_dims("scheme")
    names = [str(m) for m in rmse["scheme"].values] if "scheme" in rmse.coords else [""]
    error, width = (a.transpose("scheme", ...).values for a in (rmse, spread))
    top = 1.08 * np.nanmax(np.where(np.isfinite([error, width]), [error, width], 0)) or 1.0
    ax = axes_or_new(ax, figsize=(4.4, 3.8))
    ax.plot([0, top], [0, top], color="black", linestyle="--", linewidth=1, label="reliable")
    for k, (name, e, s) in enumerate(zip(names, error, width, strict=True)):
        color, marker = POINTS[k % len(POINTS)]
        shown = np.isfinite(e) & np.isfinite(s)
        lost = "" if shown.all() else f"{np.sum(~shown)} not finite"
        label = ", ".join(filter(None, (name, lost))) or None
        ax.plot(s[shown], e[shown], marker, color=color, alpha=0.8, label=label)
    ax.set(xlabel="spread", ylabel="RMSE", xlim=(0, top), ylim=(0, top), aspect="equal")
    ax.legend(loc="best", frameon=False, fontsize="small")
    return ax


def _pair(rmse, spread, wanted):
    rmse, spread = labelled(rmse, wanted, "rmse"), labelled(spread, wanted, "spread")
    if rmse.shape != spread.shape:
        raise ValueError(f"rmse is {rmse.shape}, spread {spread.shape}: take both from one result")
    return rmse, spread
