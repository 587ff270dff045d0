"""Labelled arrays as figures take them: the dimensions checked, the names of axes found."""

from __future__ import annotations

import numpy as np

from .look import palette, style


def series(result, name, wanted, position):
    if name not in getattr(result, "data_vars", ()):
        kind = type(result).__name__
        raise ValueError(f"this {kind} has no variable {name!r}; pass the Dataset of assimilate")
    return at_position(labelled(result[name], wanted, "result"), wanted[-1], position)


def labelled(data, wanted, name):
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


def at_position(data, dim, position):
    if not -data.sizes[dim] <= position < data.sizes[dim]:
        raise ValueError(f"no position {position} along {dim}, it has {data.sizes[dim]}")
    return data.isel({dim: position})


def stage_of(data):
    """The stage that a selection such as .sel(stage="analysis") has left on the data, or None."""
    stage = data.coords.get("stage") if hasattr(data, "coords") else None
    return str(stage.values) if stage is not None and stage.ndim == 0 else None


def look_of(role, **changes):
    return style(role if role in palette else "analysis", **changes)


def axis_name(data, default):
    name, units = data.attrs.get("long_name", default or data.name), data.attrs.get("units")
    return f"{name} ({units})" if units else f"{name or ''}"
