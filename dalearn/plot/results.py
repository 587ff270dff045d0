"""Figures of results and scores: xarray in, matplotlib axes out.

Scores come from `dalearn.diagnostics`; these functions place them on axes. Each takes `ax` and
returns it; without one it opens a figure in the book's look and leaves matplotlib's own settings
alone (`use_style` changes them for a session).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from ..diagnostics.scores import check_scheme
from .look import axes_or_new, legend, palette, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataArray, Dataset


_POINTS = (("#0072B2", "o"), ("#D55E00", "^"), ("#009E73", "s"), ("#CC79A7", "D"), ("black", "v"))


def trajectories(
    result: Dataset, component=0, *, stages=("analysis",), interval=2.0, observed=None, ax=None
) -> Axes:
    """One component of the state over time: truth, estimates and, if asked for, observations.

    result     one experiment from `assimilate`: `mean`, `std` (time, stage, x), perhaps `truth`
    component  position along x
    stages     the estimates to draw; the last one carries the band of mean ± interval · std
    interval   half the width of the band in standard deviations; 0 leaves it out
    observed   position along y of the sensor that sees this very component, drawn as crosses;
               by default none, since an observation need not be a component of the state
    """
    stages = (stages,) if isinstance(stages, str) else tuple(stages)
    mean, std = (_one(result, v, ("time", "stage", "x"), component) for v in ("mean", "std"))
    known = [str(s) for s in mean["stage"].values]
    if unknown := [s for s in stages if s not in known]:
        raise ValueError(f"the result has no stage {unknown[0]!r}, it has {', '.join(known)}")
    lines = [(s, mean.sel(stage=s)) for s in stages]
    if "truth" in result:
        lines.insert(0, ("truth", _one(result, "truth", ("time", "x"), component)))
    if observed is not None:
        lines.append(("observation", _one(result, "observation", ("time", "y"), observed)))
    ax, time = axes_or_new(ax), mean["time"].values
    for role, line in lines:
        ax.plot(time, line.values, **_look(role, label=role))
    if stages and interval > 0:
        middle, width = (a.sel(stage=stages[-1]).values for a in (mean, interval * std))
        shade = {"color": _look(stages[-1])["color"], "alpha": 0.22, "linewidth": 0}
        shade["label"] = f"± {interval:g} std"
        ax.fill_between(time, middle - width, middle + width, **shade)
    ax.set(xlabel=_name(mean["time"], "time"), ylabel=f"component {component} of the state")
    return legend(ax)


def ensemble(members: Any, time=None, component=0, *, ax=None) -> Axes:
    """The path of every member as a thin grey line.

    members    DataArray (time, member, x), as `result.members.sel(stage="forecast")`, or (K, N, n)
    time       (K,) times; by default those of the DataArray, or 0, 1, ..., K - 1
    component  position along x
    """
    x = _at(_labelled(members, ("time", "member", "x"), "members"), "x", component)
    time = x["time"].values if time is None else np.asarray(time)
    if time.shape != (x.sizes["time"],):
        raise ValueError(f"time has shape {time.shape}, wanted ({x.sizes['time']},) as members")
    ax = axes_or_new(ax)
    alpha = float(np.clip(6 / np.sqrt(x.shape[1]), 0.3, 1.0))  # many are faint: density shows
    lines = ax.plot(time, x.values, **style("ensemble", alpha=alpha))
    lines[0].set_label(f"{len(lines)} members")
    ax.set(xlabel=_name(x["time"], "time"), ylabel=f"component {component} of the state")
    return legend(ax)


def hovmoeller(
    data: DataArray, *, ax=None, cmap=None, label=None, symmetric=False, limits=None
) -> Axes:
    """A field on a line over space and time (Hovmöller, "The trough-and-ridge diagram", 1949).

    Space runs to the right and time upwards; `ax.invert_yaxis()` gives the weather charts on which
    time runs down. Missing values are grey.

    data       DataArray (time, x), such as `result.mean.sel(stage="analysis")`
    cmap       a colour map; by default viridis, or blue-white-red when symmetric
    label      what the colours mean; by default the name and units of the data
    symmetric  colours from -a to a around 0, for differences and anomalies
    limits     (lowest, highest), to compare panels; by default those of the data
    """
    data = _labelled(data, ("time", "x"), "data")
    values, ax = np.asarray(data.values, dtype=float), axes_or_new(ax)
    cells = _scale([values], cmap, symmetric, limits) | {"shading": "nearest", "rasterized": True}
    image = ax.pcolormesh(data["x"].values, data["time"].values, values, **cells)
    ax.figure.colorbar(image, ax=ax, pad=0.02, label=label or _name(data, ""))
    ax.set(xlabel=_name(data["x"], "x"), ylabel=_name(data["time"], "time"))
    return ax


def field(panels, *, axes=None, cmap=None, label=None, symmetric=False, limits=None) -> np.ndarray:
    """Fields on a plane as images with one scale of colours; rows run upwards, NaN is grey.

    Panels are an array (rows, columns), or a mapping from titles to arrays; axes, one for each,
    are returned. With a label there is a bar; cmap, symmetric and limits as in `hovmoeller`.
    """
    panels = panels if isinstance(panels, Mapping) else {"": panels}
    axes = np.asarray(axes_or_new(axes, ncols=len(panels)), dtype=object).reshape(-1)
    scale = _scale(map(np.asarray, panels.values()), cmap, symmetric, limits) | {"origin": "lower"}
    for ax, (title, value) in zip(axes, panels.items(), strict=True):
        image = ax.imshow(_labelled(value, ("rows", "columns"), "a field"), **scale)
        ax.set(title=title, xticks=[], yticks=[])
        ax.spines[:].set_visible(True)
    if label is not None:
        ax.figure.colorbar(image, ax=list(axes), pad=0.02, label=label)
    return axes


def rank_histogram(counts: Any, *, independent=None, ax=None) -> Axes:
    """How often the truth takes each rank among N members, and what a reliable ensemble gives.

    The line is 1 / (N + 1); the band holds, bar by bar, 95 % of the draws from
    Binomial(independent, 1 / (N + 1)) / independent. A U tells of too little spread, a dome of too
    much, a slope of a bias (Hamill, "Interpretation of rank histograms for verifying ensemble
    forecasts", 2001, which also says when a U means something else).

    counts       (N + 1,) whole numbers: how many times the truth had rank 0, ..., N
    independent  how many of them are; by default all, a band too narrow if neighbours are related
    """
    from scipy.stats import binom

    stage = _stage(counts)
    counts = _labelled(counts, ("rank",), "counts").values
    bins, total = counts.size, counts.sum()
    if bins < 2 or not (np.isfinite(total) and np.all((counts >= 0) & (counts % 1 == 0))):
        raise ValueError("counts must be two or more whole numbers (how often, not what share)")
    draws = int(total if independent is None else independent)
    if total == 0 or draws < 1:
        raise ValueError(f"no ranks to show: counts sum to {total}, independent is {draws}")
    (low, high), ax = binom.ppf([0.025, 0.975], draws, 1 / bins) / draws, axes_or_new(ax)
    look = {"color": _look(stage)["color"], "alpha": 0.75, "edgecolor": "white"}
    ax.bar(np.arange(bins), counts / total, width=1.0, linewidth=0.5, **look)
    ax.axhspan(low, high, color="black", alpha=0.2, linewidth=0, label="95 % of reliable draws")
    ax.axhline(1 / bins, color="black", linestyle="--", linewidth=1.2, label="reliable")
    ax.set(xlabel=f"rank of the truth among {bins - 1} members", ylabel="relative frequency")
    ax.locator_params(axis="x", integer=True)
    return legend(ax)


def spread_skill(rmse: DataArray, spread: DataArray, *, ax=None) -> Axes:
    """Error and spread over time: for a reliable ensemble the line follows the grey hill.

    rmse, spread  DataArrays (time,), such as `rmse(result).sel(stage="analysis")`
    """
    stage = _stage(rmse)
    rmse, spread = _pair(rmse, spread, ("time",))
    ax, time = axes_or_new(ax), rmse["time"].values
    ax.fill_between(time, 0, spread.values, color="0.85", linewidth=0)
    ax.plot(time, spread.values, color="0.3", linestyle=":", linewidth=1.4, label="spread")
    look = _look(stage, label=f"RMSE of the {stage}" if stage else "RMSE", linewidth=1.6)
    ax.plot(time, rmse.values, **look)
    ax.set(xlabel=_name(rmse["time"], "time"), ylabel="RMSE and spread", ylim=(0, None))
    return legend(ax)


def spread_skill_scatter(rmse: DataArray, spread: DataArray, *, ax=None) -> Axes:
    """Error against spread, a point an experiment, with the line of a reliable ensemble.

    Points above the line have too little spread. Scores that are not finite are only counted.

    rmse, spread  DataArrays of equal dims without time and stage, averages over time such as
                  `rmse(result).sel(stage="analysis").mean("time")`; "scheme" sets the marker
    """
    taken = {"time", "stage", "x", "y", "member"}
    rest = [d for d in getattr(rmse, "dims", ()) if d not in taken]
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
        color, marker = _POINTS[k % len(_POINTS)]
        shown = np.isfinite(e) & np.isfinite(s)
        lost = "" if shown.all() else f"{np.sum(~shown)} not finite"
        label = ", ".join(filter(None, (name, lost))) or None
        ax.plot(s[shown], e[shown], marker, color=color, alpha=0.8, label=label)
    ax.set(xlabel="spread", ylabel="RMSE", xlim=(0, top), ylim=(0, top), aspect="equal")
    ax.legend(loc="best", frameon=False, fontsize="small")
    return ax


def attractor(x: Any, *, components=(0, 2), ax=None, **changes: Any) -> Axes:
    """Trajectories in the plane or the space of two or three components of the state.

    x           array (..., K, n) or DataArray (..., time, x); leading axes: more trajectories
    components  two positions along x, or three for a figure in space
    changes     arguments of `ax.plot` beyond a thin black line, such as **style("analysis")
    """
    components = tuple(components)
    if hasattr(x, "dims"):
        more = [d for d in x.dims if d not in ("time", "x", "stage")]
        x = _labelled(x, (*more, "time", "x"), "x").values
    x = np.asarray(x)
    if x.ndim < 2:
        raise ValueError(f"x has shape {x.shape}, wanted (..., K, n): times, then components")
    n, space = x.shape[-1], len(components) == 3
    if len(components) not in (2, 3) or not all(-n <= i < n for i in components):
        raise ValueError(f"components are {components}, wanted two or three of {n} positions")
    if ax is not None and (ax.name == "3d") != space:
        raise ValueError(f"{len(components)} components do not fit axes of kind {ax.name!r}")
    ax = axes_or_new(ax, figsize=(4.4, 3.8), subplot_kw={"projection": "3d" if space else None})
    thin = {"color": "black", "linewidth": 0.5, "linestyle": "-"}
    for path in x.reshape(-1, *x.shape[-2:]):
        ax.plot(*path[:, components].T, **(thin | changes))
    if space:
        ax.set_box_aspect(None, zoom=0.88)  # type: ignore  # room for the labels on the right
    ax.set(**{f"{axis}label": f"component {i}" for axis, i in zip("xyz", components)})  # noqa: B905
    return ax


def _scale(values, cmap, symmetric, limits):
    shown = np.concatenate([v[np.isfinite(v)] for v in values])
    most = float(np.abs(shown).max(initial=0.0)) or 1.0
    own = (-most, most) if symmetric or not shown.size else (shown.min(), shown.max())
    low, high = limits or own
    colours = mpl.colormaps.get_cmap(cmap or ("RdBu_r" if symmetric else "viridis"))
    return {"cmap": colours.with_extremes(bad="0.75"), "vmin": low, "vmax": high}


def _one(result, name, wanted, position):
    if name not in getattr(result, "data_vars", ()):
        kind = type(result).__name__
        raise ValueError(f"this {kind} has no variable {name!r}; pass the Dataset of assimilate")
    return _at(_labelled(result[name], wanted, "result"), wanted[-1], position)


def _labelled(data, wanted, name):
    """`data` with the wanted dims in this order; a bare array takes their names."""
    if not hasattr(data, "dims"):
        if np.ndim(data) != len(wanted):
            raise ValueError(f"{name} has shape {np.shape(data)}, wanted ({', '.join(wanted)})")
        import xarray as xr

        return xr.DataArray(np.asarray(data), dims=wanted)
    extra = [d for d in data.dims if d not in wanted]
    lacks = [d for d in wanted if d not in data.dims]
    if extra or lacks:
        met, want = ", ".join(map(str, data.dims)), ", ".join(wanted)
        special = {"stage": '.sel(stage="analysis")', "time": '.mean("time")', "x": '.mean("x")'}
        picks = "".join(special.get(str(d), f".isel({d}=0)") for d in extra)
        advice = f"it lacks {', '.join(lacks)}" if lacks else f"select one, as in {name}{picks}"
        raise ValueError(f"{name} has dims ({met}), wanted ({want}): {advice}")
    return data.transpose(*wanted)


def _pair(rmse, spread, wanted):
    rmse, spread = _labelled(rmse, wanted, "rmse"), _labelled(spread, wanted, "spread")
    if rmse.shape != spread.shape:
        raise ValueError(f"rmse is {rmse.shape}, spread {spread.shape}: take both from one result")
    return rmse, spread


def _at(data, dim, position):
    if not -data.sizes[dim] <= position < data.sizes[dim]:
        raise ValueError(f"no position {position} along {dim}, it has {data.sizes[dim]}")
    return data.isel({dim: position})


def _stage(data):
    """The stage that a selection such as .sel(stage="analysis") has left on the data, or None."""
    stage = data.coords.get("stage") if hasattr(data, "coords") else None
    return str(stage.values) if stage is not None and stage.ndim == 0 else None


def _look(role, **changes):
    return style(role if role in palette else "analysis", **changes)


def _name(data, default):
    name, units = data.attrs.get("long_name", default or data.name), data.attrs.get("units")
    return f"{name} ({units})" if units else f"{name or ''}"
