"""Burnt flags as a satellite gives them, and what can be made of them without any model.

Some flags are wrong, none is seen under clouds, and both are undone as far as a look at the
neighbours can: a majority vote, the nearest known flag, the distance to the edge of the fire.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Purpose, check_between, generator

FLIPS = 0.05  # share of wrong flags


def seen(burnt: np.ndarray, seed: int = 0, *, flips: float = FLIPS, cover: float = 0.0) -> Any:
    """Flags as a satellite gives them: some wrong, none under clouds, without bias.

        y = (flag - f) / (1 - 2 f),   E y = burnt,   Var y = f (1 - f) / (1 - 2 f)^2

    Args:
        burnt: 0 or 1, `(..., h w)` on square ground.
        seed: of flips and clouds.
        flips: f, the probability that a flag is wrong, below 1/2.
        cover: the share of the ground under clouds, smooth shapes some 15 cells across.

    Returns:
        y `(..., h w)`, NaN under clouds.
    """
    check_between("flips", flips, 0, 0.499, open_low=False)
    check_between("cover", cover, 0, 1, open_low=False)
    rng = generator(Purpose.CASE, seed, 200)
    wrong = rng.random(burnt.shape) < flips
    y = (np.where(wrong, 1 - burnt, burnt) - flips) / (1 - 2 * flips)
    if cover:
        y = np.where(clouds(burnt.shape, cover, rng), np.nan, y)
    return y.astype(burnt.dtype)


def variance(flips: float = FLIPS) -> float:
    """The variance of a flag's error, Var y of `seen`."""
    return flips * (1 - flips) / (1 - 2 * flips) ** 2


def clouds(shape: tuple[int, ...], cover: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth shapes that hide a share of square ground, True where hidden, `shape`."""
    side = round(shape[-1] ** 0.5)
    if side * side != shape[-1]:
        raise ValueError(f"clouds lie over square ground (..., h h), met shape {shape}")
    k = np.hypot(np.fft.fftfreq(2 * side)[:, None], np.fft.rfftfreq(2 * side))
    smooth = np.exp(-0.5 * (2 * np.pi * k * 4) ** 2)
    noise = rng.standard_normal((*shape[:-1], 2 * side, 2 * side))
    field = np.fft.irfft2(np.fft.rfft2(noise) * smooth, (2 * side, 2 * side))
    field = field[..., :side, :side].reshape(shape)
    return field <= np.quantile(field, cover, axis=-1, keepdims=True)


def distance(burnt: np.ndarray, scale: float = 5.0) -> np.ndarray:
    """The signed distance to the edge of the fire as tanh(d / scale), positive inside.

    Args:
        burnt: 0 or 1, `(..., h w)` on square ground.
        scale: cells.

    Returns:
        Numbers in (-1, 1), float32; the edge, 0, lies between burnt cells and others.
    """
    from scipy import ndimage

    side = round(burnt.shape[-1] ** 0.5)
    flags = (burnt > 0.5).reshape(-1, side, side)
    out, far = np.empty(flags.shape, np.float32), lambda f: ndimage.distance_transform_edt(f)
    for row, f in zip(out, flags, strict=True):
        inside, outside = (np.asarray(far(v)) if not v.all() else 2.0 * side for v in (f, ~f))
        row[:] = np.tanh(np.where(f, inside - 0.5, 0.5 - outside) / scale)
    return out.reshape(burnt.shape)


def majority(flags: np.ndarray, side: int = 5) -> np.ndarray:
    """What most of the known flags around say, 0 or 1: the median filter of flags.

    Args:
        flags: `(..., n)` on square ground, NaN where unknown.
        side: of the square around each cell, odd.

    Returns:
        `(..., n)`, NaN where no flag around is known or as many say yes as no.
    """
    from scipy.ndimage import uniform_filter

    square = round(flags.shape[-1] ** 0.5)
    votes = np.nan_to_num(np.sign(flags - 0.5)).reshape(*flags.shape[:-1], square, square)
    size: Any = (*[1] * (flags.ndim - 1), side, side)
    total = np.rint(uniform_filter(votes, size, mode="constant") * side**2)
    total = total.reshape(flags.shape)
    return np.where(total == 0, np.nan, total > 0).astype(flags.dtype)


def filled(flags: np.ndarray) -> np.ndarray:
    """Flags `(..., n)` on square ground, NaN replaced by the nearest that is known."""
    from scipy.ndimage import distance_transform_edt

    side = round(flags.shape[-1] ** 0.5)
    rows = flags.reshape(-1, side, side).copy()
    for row in rows:
        if (gaps := np.isnan(row)).any() and not gaps.all():
            at: Any = distance_transform_edt(gaps, return_distances=False, return_indices=True)
            row[:] = row[at[0], at[1]]
    return np.nan_to_num(rows).reshape(flags.shape)
