"""Voronoi tessellation: numbers of scattered sensors as an image, for any number of them.

    image(c) = y_j ,  j = argmin_i |c - p_i| ,      mask(c) = 1 where a sensor stands in cell c.

Every cell of a grid takes the number of the sensor that is nearest to its centre, found in a k-d
tree. A convolutional network can then read data whose sensors move, come and go.

Fukami, Maulik, Ramachandra, Fukagata and Taira, Global field reconstruction from sparse sensors
with Voronoi tessellation-assisted deep learning, Nature Machine Intelligence 3, 2021.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..array import Array, as_floats, constant, convert, shown, to_numpy, typed, warn


class SharedCell(UserWarning):
    """Sensors that stand in one cell, or at one place: an image shows one of them."""


class Nearest(NamedTuple):
    """For each cell of a grid the nearest sensor: its number, its distance; and who stands there.

    All are `(*shape)`; `mask` is 1 in cells that hold a sensor.
    """

    index: np.ndarray
    distance: np.ndarray
    mask: np.ndarray


@typed
def nearest(positions: Array, shape: tuple[int, int], *, periodic: bool = False) -> Nearest:
    """The nearest sensor of each cell.

    Args:
        positions: rows and columns `(m, 2)`, in cells: (0, 0) is the centre of the first one.
        shape: of the grid, (rows, columns).
        periodic: whether the grid closes on itself.

    Returns:
        Nearest: numbers of sensors, distances in cells, and which cells hold one.

    Raises:
        ValueError: no sensors, positions of another shape, outside the grid, or not finite.
    """
    at = _checked(positions, shape)
    if at.ndim != 2:
        raise ValueError(f"positions have shape {at.shape}, wanted (m, 2)")
    return _nearest(at, shape, periodic)


@typed
def voronoi(
    values: Array, positions: Array, shape: tuple[int, int], *, periodic: bool = False
) -> Array:
    """Images of scattered sensors: the nearest one's number in each cell, and where they stand.

        image = voronoi(y, sensors, (50, 50))       # (2, 50, 50): numbers, and a mask

    Sensors that were not observed (NaN) are left out, in each experiment its own. Warns of
    SharedCell where two stand in one cell.

    Args:
        values: what the sensors say `(..., m)`, NaN where nothing.
        positions: rows and columns of all experiments, `(m, 2)`, or of each, `(..., m, 2)`, in
            cells: (0, 0) is the centre of the first one.
        shape: of the grid, (rows, columns).
        periodic: whether the grid closes on itself.

    Returns:
        Images `(..., 2, rows, columns)`, in the library and dtype of `values`.

    Raises:
        ValueError: an experiment without any observed sensor, shapes that do not fit, and
            positions outside the grid.

    Source: Fukami et al., Nature Machine Intelligence 3, 2021.
    """
    y = as_floats(values, "values")
    return convert(tessellated(to_numpy(y), positions, shape, periodic)[0], y)


def tessellated(
    values: np.ndarray, positions: Any, shape: tuple[int, int], periodic: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Images `(..., 2, rows, columns)` as `voronoi`, and distances to the sensors observed.

    Args:
        values: what the sensors say `(..., m)`, NaN where nothing.
        positions: `(m, 2)` or `(..., m, 2)`.
        shape: of the grid.
        periodic: whether the grid closes on itself.

    Returns:
        Images in the dtype of `values`, and distances `(..., rows, columns)`.

    Raises:
        ValueError: as `voronoi`.
    """
    at = _checked(positions, shape)
    m = at.shape[-2]
    if not values.ndim or values.shape[-1] != m or at.shape[:-2] not in ((), values.shape[:-1]):
        raise ValueError(
            f"values have shape {tuple(values.shape)} and positions {at.shape}, wanted (..., m) "
            "and (m, 2) or (..., m, 2)"
        )
    rows = values.reshape(-1, m)
    seen = ~np.isnan(rows)
    none = np.flatnonzero(~seen.any(-1))
    if none.size:
        raise ValueError(
            f"no sensor is observed in {none.size} of {len(rows)} experiments; wanted at least "
            "one number that is not NaN"
        )
    images, distance = (
        np.empty((len(rows), 2, *shape), values.dtype),
        np.empty((len(rows), *shape)),
    )
    if at.ndim == 2:  # experiments that see the same sensors share one search
        patterns, which = np.unique(seen, axis=0, return_inverse=True)
        groups = [(at, p, np.flatnonzero(which.reshape(-1) == i)) for i, p in enumerate(patterns)]
    else:
        places = at.reshape(-1, m, 2)
        groups = [(places[i], seen[i], np.array([i])) for i in range(len(rows))]
    for where, pattern, of in groups:
        found = _nearest(where[pattern], shape, periodic)
        images[of, 0] = rows[of][:, pattern][:, found.index]
        images[of, 1], distance[of] = found.mask, found.distance
    lead = values.shape[:-1]
    return images.reshape(*lead, 2, *shape), distance.reshape(*lead, *shape)


def _checked(positions: Any, shape: tuple[int, int]) -> np.ndarray:
    """Positions as floats `(..., m, 2)` inside the grid, or ValueError."""
    at = to_numpy(as_floats(positions, "positions")).astype(float, copy=False)
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape must be (rows, columns), met {shown(shape)}")
    if at.ndim < 2 or at.shape[-1] != 2:
        raise ValueError(f"positions have shape {at.shape}, wanted (m, 2) or (..., m, 2)")
    if not at.shape[-2]:
        raise ValueError("no sensors: positions have shape (0, 2); wanted at least one")
    outside = ~((at >= -0.5) & (at <= np.array(shape) - 0.5)).all(-1)
    if outside.any():
        raise ValueError(
            f"{int(outside.sum())} of {outside.size} sensors stand outside the grid of {shape} "
            f"cells, one at {at[outside][0].tolist()}; wanted rows from -0.5 to {shape[0] - 0.5} "
            f"and columns from -0.5 to {shape[1] - 0.5}: positions count in cells"
        )
    return at


def _nearest(at: np.ndarray, shape: tuple[int, int], periodic: bool) -> Nearest:
    from scipy import spatial  # pyright: ignore[reportMissingTypeStubs]

    cKDTree: Any = spatial.cKDTree  # pyright: ignore

    size = np.array(shape)
    cell = np.minimum(np.floor(at + 0.5).astype(int), size - 1)
    mask = np.zeros(shape)
    mask[cell[:, 0], cell[:, 1]] = 1
    if (hidden := len(at) - int(mask.sum())) > 0:
        warn(
            f"{hidden} of {len(at)} sensors stand in a cell with another: the image shows the "
            "one that is nearest to the centre; average their numbers first, or take a finer grid",
            SharedCell,
        )
    (centres,) = constant(_centres, *shape, like=at)
    if periodic:
        tree = cKDTree((at + 0.5) % size, boxsize=size)
        distance, index = tree.query(centres + 0.5)
    else:
        distance, index = cKDTree(at).query(centres)
    return Nearest(index.reshape(shape), distance.reshape(shape), mask)


def _centres(rows: int, columns: int) -> tuple[np.ndarray]:
    """Centres of cells, `(rows columns, 2)`."""
    grid = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return (np.stack(grid, -1).reshape(-1, 2).astype(float),)
