"""The labels of a result: its dimensions, its attributes, and what a problem gives to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import to_numpy
from ..problem.problem import Problem

if TYPE_CHECKING:
    import xarray as xr


def seed_words(seed: Any) -> Any:
    """A seed as an attribute that every file format holds: text from 2^31 on."""
    small = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and seed < 2**31
    return int(seed) if small else str(seed)


def portable(data: xr.Dataset) -> xr.Dataset:
    """The same, to be written with doubles where netCDF 3 has no integers for a coordinate.

    Seeds from 2^31 on, and dates with parts of a second; exact below 2^53.
    """
    for name, c in data.coords.items():
        whole = c.dtype.kind in "iu" and c.size and int(c.values.max()) >= 2**31
        if whole or (c.dtype.kind == "M" and (c.values.astype("M8[s]") != c.values).any()):
            data[name].encoding["dtype"] = "float64"
    return data


def given(p: Problem, cases: tuple[str, ...]) -> dict[str, tuple]:
    """The observations and the truth of a problem whose batch axes are `cases`."""
    arrays = {"observation": (p.data, "y", p.observation.m)}
    if p.truth is not None:
        arrays["truth"] = (p.truth, "x", p.n)
    return {
        name: ((*cases, "time", dim), np.broadcast_to(to_numpy(a), (*p.batch, len(p), size)))
        for name, (a, dim, size) in arrays.items()
    }


def in_batch(values: list, batch: tuple[int, ...]) -> np.ndarray:
    """Values of each time, with the batch axes of the problem."""
    return np.stack([v if v.shape == batch else np.broadcast_to(v, batch) for v in values])


def case_dims(batch: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the batch dimensions: none, "case", or "case0", "case1", ..."""
    return ("case",) if len(batch) == 1 else tuple(f"case{i}" for i in range(len(batch)))
