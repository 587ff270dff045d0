"""How wrong and how rough a motion is: fields of velocity in a plane, beside the true ones.

    end-point error    mean |w - w_t|                  (a particle's error after a unit of time)
    angular error      mean angle between w and w_t
    roughness          |grad w|, |div w|, |lap w|, root sums of squares over the points

Errors are means over the points, so that still water far from the waves counts like their crests.

S. Baker et al., A database and evaluation methodology for optical flow, Int. J. Comput. Vision 92,
2011 (the errors); A. Filoche, D. Béréziat and A. Charantonis, Environ. Data Sci. 2, 2023 (norms).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..array import Array, Bound, check_between, to_numpy, typed
from .scores import gaps_as_nan


class Roughness(NamedTuple):
    """Norms of derivatives of a motion, each `(...)`: of its gradient, divergence and Laplacian.

    (sum u_x^2 + u_y^2 + v_x^2 + v_y^2)^1/2 ,   (sum (u_x + v_y)^2)^1/2 ,
    (sum (u_xx + u_yy)^2 + (v_xx + v_yy)^2)^1/2
    """

    gradient: np.ndarray
    divergence: np.ndarray
    laplacian: np.ndarray


@typed
def end_point_error(estimate: Array, truth: Array) -> Any:
    """The mean length of the difference of two motions, mean |w - w_t|; smaller is better.

    Args:
        estimate: w `(..., 2, rows, columns)`, u along columns and v along rows.
        truth: w_t, of the same shape.

    Returns:
        The error `(...)` in the units of the motions; NaN where one holds NaN.

    Raises:
        ValueError: for shapes that are not those of two motions.
    """
    w, t = _pair(estimate, truth)
    return np.hypot(*_parts(w - t)).mean((-2, -1))


@typed
def angular_error(estimate: Array, truth: Array) -> Any:
    """The mean angle between two motions, in degrees, 0 to 180; smaller is better.

    It says nothing of speed. A point where one of them is 0 has no angle and does not count: for a
    motion that is 0 everywhere the error is NaN.

    Args:
        estimate: w `(..., 2, rows, columns)`, u along columns and v along rows.
        truth: w_t, of the same shape.

    Returns:
        The error `(...)`; NaN where one holds NaN.

    Raises:
        ValueError: for shapes that are not those of two motions.
    """
    (a, b), (c, d) = (_parts(w) for w in _pair(estimate, truth))
    angle = abs(np.degrees(np.arctan2(a * d - b * c, a * c + b * d)))
    counted = ((a != 0) | (b != 0)) & ((c != 0) | (d != 0))  # NaN is not 0
    number = counted.sum((-2, -1))
    total = np.where(counted, angle, 0.0).sum((-2, -1))
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)[()]


@typed
def roughness(motion: Array, spacing: Bound = 1.0) -> Roughness:
    """How rough a motion is: |grad w|, |div w| and |lap w|.

    Forward differences, summed over the points that have neighbours on all sides. Errors of single
    points show in the Laplacian first; sums grow with the number of points.

    Args:
        motion: w `(..., 2, rows, columns)`, u along columns and v along rows, at least 4 points a
            side.
        spacing: of the grid; by default derivatives are differences between neighbours.

    Returns:
        Roughness: the three norms, each `(...)`.

    Raises:
        ValueError: for another shape, or a spacing that is not positive.
    """
    check_between("spacing", spacing, 0, np.inf, open_low=True)
    w = to_numpy(gaps_as_nan(motion))
    _check("the motion", w)
    if min(w.shape[-2:]) < 4:
        raise ValueError(f"roughness wants at least 4 points a side, met shape {w.shape}")
    u, v = _parts(w)
    (ux, uy), (vx, vy) = _slopes(u, spacing), _slopes(v, spacing)
    lap_u, lap_v = (
        _slopes(a, spacing)[0] + _slopes(b, spacing)[1] for a, b in ((ux, uy), (vx, vy))
    )
    return Roughness(_norm(ux, uy, vx, vy), _norm(ux + vy), _norm(lap_u, lap_v))


def _parts(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return w[..., 0, :, :], w[..., 1, :, :]


def _slopes(q: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Forward differences along rows and columns at the points inside."""
    here = q[..., 1:-1, 1:-1]
    return (q[..., 1:-1, 2:] - here) / spacing, (q[..., 2:, 1:-1] - here) / spacing


def _norm(*parts: np.ndarray) -> np.ndarray:
    """The root of the sum of squares of fields, without overflow."""
    top = np.max([abs(p).max((-2, -1), initial=0.0) for p in parts], axis=0)
    scale = np.where((top > 0) & np.isfinite(top), top, 1.0)
    squares = sum(((p / scale[..., None, None]) ** 2).sum((-2, -1)) for p in parts)
    return scale * np.sqrt(squares)


def _pair(estimate: Array, truth: Array) -> tuple[np.ndarray, np.ndarray]:
    w, t = to_numpy(gaps_as_nan(estimate)), to_numpy(gaps_as_nan(truth))
    _check("the estimate", w)
    if w.shape != t.shape:
        raise ValueError(f"the truth must have the estimate's shape {w.shape}, met {t.shape}")
    return w, t


def _check(name: str, w: np.ndarray) -> None:
    if w.ndim < 3 or w.shape[-3] != 2 or 0 in w.shape:
        raise ValueError(f"{name} must be a motion (..., 2, rows, columns), met shape {w.shape}")
