"""Figures of results: xarray in, matplotlib axes out.

Each function takes `ax` and returns it. Without one it opens a figure in the look of the book and
leaves the settings of matplotlib alone (`use_style` changes them for a session).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from ..array import typed
from .labels import at_position, axis_name, labelled, look_of, series
from .look import axes_or_new, legend, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataArray, Dataset


@typed
def trajectories(
    result: Dataset,
    component: int = 0,
    *,
    stages: str | Sequence[str] = ("analysis",),
    interval: float = 2.0,
    observed: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One component of the state over time: truth, estimates and, if asked for, observations.

    Args:
        result: one experiment from `assimilate`: `mean`, `std` (time, stage, x), perhaps `truth`.
        component: position along x.
        stages: the estimates to draw; the last one carries the band of mean ± interval · std.
        interval: half the width of the band in standard deviations; 0 leaves it out.
        observed: position along y of the sensor that sees this very component, drawn as crosses;
            by default none, since an observation need not be a component of the state.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: an unknown stage, a position out of range, or several experiments.
    """
    stages = (stages,) if isinstance(stages, str) else tuple(stages)
    mean, std = (series(result, v, ("time", "stage", "x"), component) for v in ("mean", "std"))
    known = [str(s) for s in mean["stage"].values]
    if unknown := [s for s in stages if s not in known]:
        raise ValueError(f"the result has no stage {unknown[0]!r}, it has {', '.join(known)}")
    lines = [(s, mean.sel(stage=s)) for s in stages]
    if "truth" in result:
        lines.insert(0, ("truth", series(result, "truth", ("time", "x"), component)))
    if observed is not None:
        lines.append(("observation", series(result, "observation", ("time", "y"), observed)))
    ax, time = axes_or_new(ax), mean["time"].values
    for role, line in lines:
        ax.plot(time, line.values, **look_of(role, label=role))
    if stages and interval > 0:
        middle, width = (a.sel(stage=stages[-1]).values for a in (mean, interval * std))
        shade = {"color": look_of(stages[-1])["color"], "alpha": 0.22, "linewidth": 0}
        shade["label"] = f"± {interval:g} std"
        ax.fill_between(time, middle - width, middle + width, **shade)
    ax.set(xlabel=axis_name(mean["time"], "time"), ylabel=f"component {component} of the state")
    return legend(ax)


@typed
def ensemble(
    members: Any, time: Any = None, component: int = 0, *, ax: Axes | None = None
) -> Axes:
    """The path of every member as a thin grey line.

    Args:
        members: DataArray (time, member, x), as `result.members.sel(stage="forecast")`, or an
            array (K, N, n).
        time: (K,) times; by default those of the DataArray, or 0, 1, ..., K - 1.
        component: position along x.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    x = at_position(labelled(members, ("time", "member", "x"), "members"), "x", component)
    time = x["time"].values if time is None else np.asarray(time)
    if time.shape != (x.sizes["time"],):
        raise ValueError(f"time has shape {time.shape}, wanted ({x.sizes['time']},) as members")
    ax = axes_or_new(ax)
    alpha = float(np.clip(6 / np.sqrt(x.shape[1]), 0.3, 1.0))  # many are faint: density shows
    lines = ax.plot(time, x.values, **style("ensemble", alpha=alpha))
    lines[0].set_label(f"{len(lines)} members")
    ax.set(xlabel=axis_name(x["time"], "time"), ylabel=f"component {component} of the state")
    return legend(ax)


@typed
def hovmoeller(
    data: DataArray,
    *,
    ax: Axes | None = None,
    cmap: Any = None,
    label: str | None = None,
    symmetric: bool = False,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """A field on a line over space and time, a Hovmöller diagram.

    Space runs to the right and time upwards; `ax.invert_yaxis()` makes time run down, as on
    weather charts. Missing values are grey.

    Args:
        data: DataArray (time, x), such as `result.mean.sel(stage="analysis")`.
        ax: axes to draw on; new ones by default.
        cmap: a colour map; by default viridis, or blue-white-red when symmetric.
        label: what the colours mean; by default the name and units of the data.
        symmetric: colours from -a to a around 0, for differences and anomalies.
        limits: (lowest, highest), to compare panels; by default those of the data.

    Returns:
        The axes.

    Raises:
        ValueError: dimensions other than time and x.

    Source: Hovmöller, The trough-and-ridge diagram, Tellus 1, 1949.
    """
    data = labelled(data, ("time", "x"), "data")
    values, ax = np.asarray(data.values, dtype=float), axes_or_new(ax)
    cells = _scale([values], cmap, symmetric, limits) | {"shading": "nearest", "rasterized": True}
    image = ax.pcolormesh(data["x"].values, data["time"].values, values, **cells)
    ax.figure.colorbar(image, ax=ax, pad=0.02, label=label or axis_name(data, ""))
    ax.set(xlabel=axis_name(data["x"], "x"), ylabel=axis_name(data["time"], "time"))
    return ax


@typed
def field(
    panels: Any,
    *,
    axes: Any = None,
    cmap: Any = None,
    label: str | None = None,
    symmetric: bool = False,
    limits: tuple[float, float] | None = None,
) -> np.ndarray:
    """Fields on a plane as images with one scale of colours; rows run upwards, NaN is grey.

    Args:
        panels: an array (rows, columns), or a mapping from titles to arrays.
        axes: one for each panel; new ones by default.
        cmap: a colour map; by default viridis, or blue-white-red when symmetric.
        label: what the colours mean; with a label there is a colour bar.
        symmetric: colours from -a to a around 0, for differences and anomalies.
        limits: (lowest, highest); by default those of all panels.

    Returns:
        The axes, one for each panel.

    Raises:
        ValueError: a panel that is not two-dimensional.
    """
    panels = panels if isinstance(panels, Mapping) else {"": panels}
    axes = np.asarray(axes_or_new(axes, ncols=len(panels)), dtype=object).reshape(-1)
    scale = _scale(map(np.asarray, panels.values()), cmap, symmetric, limits) | {"origin": "lower"}
    for ax, (title, value) in zip(axes, panels.items(), strict=True):
        value = np.asarray(value)  # a DataArray may have any names for its two axes
        image = ax.imshow(labelled(value, ("rows", "columns"), "a field"), **scale)
        ax.set(title=title, xticks=[], yticks=[])
        ax.spines[:].set_visible(True)
    if label is not None:
        ax.figure.colorbar(image, ax=list(axes), pad=0.02, label=label)
    return axes


@typed
def attractor(
    x: Any, *, components: Sequence[int] = (0, 2), ax: Axes | None = None, **changes: Any
) -> Axes:
    """Trajectories in the plane or the space of two or three components of the state.

    Args:
        x: array (..., K, n) or DataArray (..., time, x); leading axes are more trajectories.
        components: two positions along x, or three for a figure in space.
        ax: axes to draw on; new ones by default.
        **changes: arguments of `ax.plot` beyond a thin black line, such as **style("analysis").

    Returns:
        The axes.

    Raises:
        ValueError: another number of components, or a position out of range.
    """
    if hasattr(x, "dims"):
        more = [d for d in x.dims if d not in ("time", "x", "stage")]
        x = labelled(x, (*more, "time", "x"), "x").values
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
    low, high = own if limits is None else limits
    colours = mpl.colormaps.get_cmap(cmap or ("RdBu_r" if symmetric else "viridis"))
    return {"cmap": colours.with_extremes(bad="0.75"), "vmin": low, "vmax": high}
