"""Trajectories as training sets: split by trajectory, scaled by what training may know.

Two neighbouring times of one trajectory are nearly the same state. A split that deals single
times to training and test tests the memory of a network, not what it has learned; here whole
trajectories are dealt. In the same spirit a Normalisation is fitted on training data alone.
Leakage in published work: S. Kapoor and A. Narayanan, Leakage and the reproducibility crisis in
machine-learning-based science, Patterns 4, 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..array import (
    Array,
    Purpose,
    array_namespace,
    as_floats,
    check_count,
    convert,
    generator,
    is_array,
    shown,
    typed,
)


class Split(NamedTuple):
    """Numbers of trajectories for training, validation (early stop, settings) and test."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@typed
def split(count: int, fractions: Sequence[float] = (0.7, 0.15, 0.15), *, seed: int = 0) -> Split:
    """Deal trajectories to training, validation and test, each to one of them.

        parts = split(len(states), seed=1)          # states (trajectories, times, *shape)
        train = states[parts.train]

    Args:
        count: how many trajectories.
        fractions: for training, validation and test; they sum to 1. A part whose fraction is not 0
            gets at least one trajectory.
        seed: of the order in which they are dealt.

    Returns:
        Split: sorted numbers of the trajectories of each part.

    Raises:
        ValueError: other fractions, or fewer trajectories than parts.
    """
    f = np.asarray(fractions, float)
    if f.shape != (3,) or (f < 0).any() or abs(f.sum() - 1) > 1e-9 or f[0] == 0:
        raise ValueError(
            "split wants three fractions that sum to 1, for training (not 0), validation and "
            f"test, met {fractions!r}"
        )
    check_count("count", count, 0)
    check_count("seed", seed, 0, math.inf)
    if count < (f > 0).sum():
        raise ValueError(
            f"split deals whole trajectories, met count = {count} of them for {(f > 0).sum()} "
            "parts; wanted at least one each. One long run can be cut into stretches first, with "
            "gaps between them that are longer than the memory of the system"
        )
    sizes = np.maximum(np.floor(f * count + 0.5).astype(int), f > 0)
    sizes[0] = count - sizes[1:].sum()
    while sizes[0] < 1:  # rounding and minima together may have given too much away
        sizes[1 + int(np.argmax(sizes[1:]))] -= 1
        sizes[0] += 1
    order = generator(Purpose.SPLIT, seed).permutation(count)
    cuts = np.cumsum(sizes)[:-1]
    return Split(*(np.sort(part) for part in np.split(order, cuts)))


@typed
@dataclass(frozen=True, eq=False)
class Normalisation:
    """x -> (x - mean) / std, and back. From `Normalisation.fit`, on training data only.

    Args:
        mean: an array that broadcasts against states.
        std: likewise, > 0.
    """

    mean: Array
    std: Array

    def __post_init__(self):
        for name in ("mean", "std"):
            object.__setattr__(self, name, as_floats(getattr(self, name), name))
        xp = array_namespace(self.mean, self.std)
        good = (
            xp.all(self.std > 0)
            and xp.all(xp.isfinite(self.mean))
            and xp.all(xp.isfinite(self.std))
        )
        if not bool(good):
            raise ValueError(
                f"mean must be finite and std finite and positive, met {shown(self.mean)} and "
                f"{shown(self.std)} with others"
            )

    @classmethod
    @typed
    def fit(cls, train: Array, *, per: Sequence[int] = (-1,)) -> Normalisation:
        """Mean and standard deviation of the training data.

        Args:
            train: the data `(..., *shape)`.
            per: the axes, counted from the end, whose entries each have their own: (-1,) for the
                components of vectors, (-3,) for the channels of fields `(..., c, h, w)`, () for
                one number for all. An entry that never changes gets the standard deviation 1.

        Returns:
            Normalisation: of the shape of these axes.

        Raises:
            ValueError: NaN, or axes that the data do not have.
        """
        if not is_array(train) or isinstance(train, np.ma.MaskedArray):
            raise TypeError(f"train must be a plain array of numbers, met {shown(train)}")
        xp = array_namespace(train)
        if any(a >= 0 or -a > train.ndim for a in per):
            raise ValueError(f"per must be axes from -1 to -{train.ndim}, met {tuple(per)}")
        if not bool(xp.all(xp.isfinite(train))):
            raise ValueError("train, the data, hold NaN or infinity; wanted them left out first")
        axes = tuple(i for i in range(train.ndim) if i - train.ndim not in per)
        last = -min(per, default=0)
        mean, std = xp.mean(train, axis=axes, keepdims=True), None
        std = xp.std(train, axis=axes, keepdims=True)
        # round-off alone gives a constant a standard deviation of eps |mean|
        least = 8 * math.sqrt(train.size if isinstance(train, np.ndarray) else train.numel())
        still = std <= least * float(xp.finfo(train.dtype).eps) * xp.abs(mean)
        std = xp.where(still, xp.ones_like(std), std)
        shape = tuple(mean.shape[mean.ndim - last :])
        return cls(xp.reshape(mean, shape), xp.reshape(std, shape))

    def __call__(self, x: Array) -> Array:
        """States in units of their own variability."""
        return (x - convert(self.mean, x)) / convert(self.std, x)

    def inverse(self, x: Array) -> Array:
        """Back to the units of the data."""
        return x * convert(self.std, x) + convert(self.mean, x)


@typed
def pairs(states: Array, *, step: int = 1) -> tuple[Array, Array]:
    """All pairs (now, `step` times later) of trajectories.

    No pair reaches from one trajectory into another.

    Args:
        states: `(S, T, *shape)`.
        step: how many times later.

    Returns:
        Two arrays `(S (T - step), *shape)`.

    Raises:
        ValueError: T is too short.
    """
    now, later = windows(states, 1, step=step)
    return now[:, 0], later


@typed
def windows(states: Array, length: int, *, step: int = 1, ahead: int = 0) -> tuple[Array, Array]:
    """Windows of consecutive states, and the state that follows each.

    No window reaches from one trajectory into another.

    Args:
        states: `(S, T, *shape)`.
        length: states in a window.
        step: the target is so many times after the window's end.
        ahead: if not 0, the targets are the next `ahead` states, for training on the network's own
            forecasts.

    Returns:
        `(S w, length, *shape)` and `(S w, *shape)`, or `(S w, ahead, *shape)`, with
            w = T - length - step + 1 windows (T - length - ahead + 1) in each trajectory.

    Raises:
        ValueError: T is too short.
    """
    for name, value in (("length", length), ("step", step), ("ahead + 1", ahead + 1)):
        check_count(name, value)
    if states.ndim < 3:
        raise ValueError(
            f"wanted trajectories (S, T, *shape), met shape {tuple(states.shape)}; for one "
            "trajectory use states[None]"
        )
    S, T = states.shape[:2]
    reach = ahead if ahead else step
    w = T - length - reach + 1
    if w < 1:
        raise ValueError(
            f"trajectories of {T} times hold no window of {length} and a target {reach} later; "
            f"wanted at least {length + reach} times"
        )
    xp = array_namespace(states)

    def gathered(first: int, count: int) -> Any:
        parts = [states[:, first + i : first + i + w] for i in range(count)]
        out = xp.stack(parts, axis=2)
        return xp.reshape(out, (S * w, count, *states.shape[2:]))

    before = gathered(0, length)
    after = gathered(length, ahead) if ahead else gathered(length + step - 1, 1)[:, 0]
    return before, after
