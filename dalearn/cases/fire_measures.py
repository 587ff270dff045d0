"""What is measured of maps of arrival times: sizes, places, order, and how slopes speed a fire.

All take arrival times `(S, h, w)` in steps, infinity where a fire never came.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def overlap(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of what has burnt, `(S,)`."""
    a, b = np.isfinite(found), np.isfinite(truth)
    return (a & b).sum((-2, -1)) / np.maximum((a | b).sum((-2, -1)), 1)


def share(arrival: np.ndarray, fuel: np.ndarray) -> np.ndarray:
    """The burnt share of the cells of `fuel`, `(S,)`."""
    return (np.isfinite(arrival) & fuel).sum((-2, -1)) / np.maximum(fuel.sum((-2, -1)), 1)


def impossible(arrival: np.ndarray, early: float = 2.0) -> float:
    """The share of burnt cells that burn before all of their eight neighbours.

    Args:
        arrival: steps.
        early: by more than so many steps; half a frame of four. Where the fire begins, cells up to
            twice as late as the first of all, nothing is counted.

    Returns:
        A number in [0, 1]; 0 for the automaton.
    """
    around = _neighbours(arrival).min(0)
    first = arrival.min((-2, -1), keepdims=True)
    burnt = np.isfinite(arrival)
    with np.errstate(invalid="ignore"):
        odd = burnt & (around - arrival > early) & (arrival > first + 2 * early)
    return float(odd.sum() / max(burnt.sum(), 1))


def pieces(arrival: np.ndarray) -> np.ndarray:
    """In how many pieces, each of 8-connected cells, what has burnt lies, `(S,)`."""
    from scipy import ndimage

    labelled: Any = ndimage.label  # gives the labels and how many there are
    return np.array([labelled(np.isfinite(a), np.ones((3, 3)))[1] for a in arrival])


def slope_effect(
    arrival: np.ndarray, maps: np.ndarray, *, half: int = 3, every: int = 3
) -> tuple[float, float]:
    """How the speed of the front grows with the slope it climbs, per degree, and its error.

    In squares of 2 half + 1 cells that have burnt wholly, a plane is fitted to the arrival times.
    Its gradient is the front's slowness; squares where it explains less than half of the variance
    hold no front, and are left out. log speed is regressed on the slope along the front and on
    log chance of the ground.

    Args:
        arrival: steps.
        maps: of the ground, as `fire_maps.ground`.
        half: half the side of a square.
        every: distance of their centres, cells.

    Returns:
        The coefficient of the slope, and its standard error over squares (squares that overlap
            are not independent: fires are what to resample).
    """
    logs, rows = [], []
    side, line = 2 * half + 1, np.arange(-half, half + 1)
    for T, ground in zip(arrival, maps, strict=True):
        squares = np.lib.stride_tricks.sliding_window_view(T, (side, side))[::every, ::every]
        whole = np.isfinite(squares).all((-2, -1))
        t = squares[whole]
        inner = ground[:, half : T.shape[0] - half, half : T.shape[1] - half][:, ::every, ::every]
        _, chance, east, north = inner[:, whole]
        norm = side * (line**2).sum()
        gx, gy = (t * line).sum((-2, -1)) / norm, (t * line[:, None]).sum((-2, -1)) / norm
        spread = ((t - t.mean((-2, -1), keepdims=True)) ** 2).sum((-2, -1))
        slow = np.hypot(gx, gy)
        good = slow**2 * norm > 0.5 * spread
        climb = 20 * (east * gx + north * gy)[good] / slow[good]
        mean = np.log(np.maximum(chance[good], 0.05))
        rows.append(np.stack((np.ones_like(climb), climb, mean), -1))
        logs.append(-np.log(slow[good]))
    X, y = np.concatenate(rows), np.concatenate(logs)
    inverse = np.linalg.inv(X.T @ X)
    b = inverse @ X.T @ y
    left = ((y - X @ b) ** 2).sum() / (len(y) - 3)
    return float(b[1]), float((left * inverse[1, 1]) ** 0.5)


def _neighbours(arrival: np.ndarray) -> np.ndarray:
    """Arrival at the eight neighbours, `(8, S, h, w)`; never beyond the rim."""
    h, w = arrival.shape[-2:]
    wide = np.pad(arrival, ((0, 0), (1, 1), (1, 1)), constant_values=np.inf)
    ways = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return np.stack([wide[:, i : i + h, j : j + w] for i, j in ways])
