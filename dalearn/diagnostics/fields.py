"""Results of field problems, with the axes of the field in place of the flat `x`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..array import typed

if TYPE_CHECKING:
    import xarray as xr

AXES = ("field", "y", "x")


@typed
def fields(result: xr.Dataset, dims: Sequence[str] | None = None) -> xr.Dataset:
    """The variables of a result over the axes of the field that the state is.

        da.plot.field(fields(result)["mean"].sel(stage="analysis")[-1])

    What lies along the observations (`observation`, `predicted`) is left out: their dimension is
    called y too.

    Args:
        result: the Dataset of `assimilate` or `compare`; its attrs hold the shape of a state.
        dims: names of the field's axes; by default the last of "field", "y", "x".

    Returns:
        Dataset whose variables have these dimensions in place of `x`, such as mean
            `(case..., time, stage, y, x)`.

    Raises:
        ValueError: the shape is not that of `x` (a result with parameters: see
            `state_and_parameters`), or the number of names is not that of its axes.
    """
    import xarray as xr

    shape = tuple(int(n) for n in np.atleast_1d(result.attrs.get("shape", result.sizes["x"])))
    if math.prod(shape) != result.sizes["x"]:
        raise ValueError(
            f"a state of shape {shape} does not have the {result.sizes['x']} components of this "
            "result; with parameters take state_and_parameters(result) first"
        )
    dims = tuple(dims or AXES[-len(shape) :])
    if len(dims) != len(shape):
        raise ValueError(f"met the names {dims} for a state of shape {shape}; wanted one each")
    flat = result.drop_dims("y", errors="ignore").drop_vars("x", errors="ignore")
    shaped = {}
    for name, v in flat.data_vars.items():
        if "x" in v.dims:
            v = v.transpose(..., "x")
            shaped[name] = ((*v.dims[:-1], *dims), v.data.reshape(*v.shape[:-1], *shape))
        else:
            shaped[name] = v
    return xr.Dataset(shaped, flat.coords, result.attrs)
