"""Random numbers: one stream for each experiment of a batch, none of them a user's own.

Whatever dalearn draws comes from `default_rng([ENTROPY, purpose, seed])`. The constant keeps its
numbers apart from those of a user who writes `default_rng(seed)`: NumPy fills entropy up with
zeros, so that `default_rng([0, 1])` would be the user's `default_rng(0)` in other words, a member
of an ensemble could equal the truth, and a filter would look perfect.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

from .library import Array, convert, is_tensor, to_numpy

ENTROPY = 0xC9CD1FEED38BCF42582D1FD9C6E18FB4  # the first 128 bits of SHA-256("dalearn")


class Purpose(IntEnum):
    """What a stream is used for: with one for two uses, a member could equal the truth."""

    TWIN = 0
    ASSIMILATION = 1
    SIMULATION = 2
    PARAMETERS = 3  # what true parameters do with time
    LANDSCAPE = 4
    PROJECTION = 5  # of a randomised singular value decomposition
    SPLIT = 6  # of trajectories into training, validation and test
    WEIGHTS = 7  # at the start of a training
    TRAINING = 8
    TEST = 9  # the directions of derivative tests
    NORMALISATION = 10
    CASE = 11  # data sets of the cases
    RANKS = 12  # which of the ranks that a tie allows
    DESIGN = 13  # points at which a function is learned


def generator(purpose: int, *numbers: int) -> np.random.Generator:
    """The generator of one stream.

    Args:
        purpose: a Purpose, what the stream is used for.
        *numbers: non-negative integers, the seed first.

    Returns:
        `numpy.random.default_rng([ENTROPY, purpose, *numbers])`.
    """
    return np.random.default_rng([ENTROPY, int(purpose), *map(int, numbers)])


def torch_seed(purpose: int, *numbers: int) -> int:
    """A seed for a generator of torch, one that nobody writes.

    Args:
        purpose: a Purpose, what the stream is used for.
        *numbers: non-negative integers, the seed first.

    Returns:
        An integer below 2^63. (Torch on a CPU uses its last 32 bits.)
    """
    return int(generator(purpose, *numbers).integers(2**63))


def seed_array(seed: Any) -> np.ndarray[Any, Any]:
    """Seeds as an array of integers, of Python where one is 2^64 or more.

    Args:
        seed: a non-negative integer, or one per experiment.

    Returns:
        An array `()` or of one for each.

    Raises:
        ValueError: for a seed that is negative or no integer.
    """
    seeds = np.asarray(None) if np.ma.is_masked(seed) else to_numpy(seed)
    held: list[Any] = seeds.ravel().tolist() if seeds.dtype.kind in "iuO" else [None]
    if any(not isinstance(s, int) or isinstance(s, bool) or s < 0 for s in held):
        raise ValueError(f"seed must be a non-negative integer (or one each), met {seed!r}")
    return seeds


class Streams:
    """Random numbers for a batch of experiments, each with a stream of its own.

    Experiment b draws from `default_rng([ENTROPY, purpose, seed + b])`, so that one experiment of
    a batch sees the numbers it would see alone.

    Args:
        purpose: a Purpose, what the streams are used for.
        seed: a non-negative integer, or one per experiment.
        batch: the axes `(...)` of independent experiments.

    Raises:
        ValueError: for a seed that is negative or no integer, and for another number of seeds.
    """

    def __init__(self, purpose: int, seed: int | Sequence[int], batch: tuple[int, ...] = ()):
        count = math.prod(batch)
        seeds = seed_array(seed)
        seeds = seeds.ravel().tolist() if seeds.ndim else [seeds.item() + b for b in range(count)]
        if len(seeds) != count:
            raise ValueError(f"met {len(seeds)} seeds, wanted {count}: one per experiment {batch}")
        self.batch = tuple(batch)
        self._purpose, self._seeds = purpose, seeds

    @cached_property
    def generators(self) -> list[np.random.Generator]:
        """One for each experiment, made when the first number is drawn: many methods draw none."""
        return [generator(self._purpose, s) for s in self._seeds]

    def normal(self, shape: tuple[int, ...], like: Array, where: Any = None) -> Array:
        """Standard normal numbers, the same ones whatever the library.

        Args:
            shape: the axes for one experiment.
            like: the array whose library, dtype and device are wanted.
            where: booleans `(...)`; the experiments that are not in it draw none and get zeros.

        Returns:
            Numbers `(..., *shape)`.
        """
        out = np.zeros((len(self.generators), math.prod(shape)))
        due = np.ones(len(out), bool) if where is None else np.ravel(to_numpy(where))
        for generator, row, draws in zip(self.generators, out, due, strict=True):
            if draws:
                generator.standard_normal(out=row)
        return convert(out.reshape((*self.batch, *shape)), like)

    def uniform(self, like: Array) -> Array:
        """Uniform numbers in [0, 1] for the entries of an array.

        Args:
            like: the array; its leading axes hold the batch.

        Returns:
            Numbers of its shape, library, dtype and device.

        Raises:
            ValueError: where its axes do not hold the batch.
        """
        count = len(self.generators)
        if count == 0 or math.prod(like.shape) % count:
            raise ValueError(
                f"met an array of shape {tuple(like.shape)} and {count} streams; wanted leading "
                f"axes that hold the batch {self.batch}"
            )
        out = np.empty((count, math.prod(like.shape) // count))
        for generator, row in zip(self.generators, out, strict=True):
            generator.random(out=row)
        return convert(out.reshape(like.shape), like)

    def integers(self, high: int, size: int) -> np.ndarray[Any, Any]:
        """Integers in [0, high).

        Args:
            high: one more than the largest.
            size: how many for each experiment.

        Returns:
            A NumPy array `(..., size)`.
        """
        rows = [g.integers(high, size=size) for g in self.generators]
        return np.stack(rows).reshape(*self.batch, size)


class TorchStreams:
    """One `torch.Generator` for the whole batch: fast on a GPU, equal to Streams only in law.

    Args:
        generator: a `torch.Generator`.
        batch: the axes `(...)` of independent experiments.
    """

    def __init__(self, generator: Any, batch: tuple[int, ...] = ()):
        self.generator, self.batch = generator, tuple(batch)

    def normal(self, shape: tuple[int, ...], like: Array, where: Any = None) -> Array:
        """Standard normal numbers `(..., *shape)` on the generator's device, for all."""
        import torch

        g, dtype = self.generator, like.dtype if is_tensor(like) else torch.float64
        size = (*self.batch, *shape)
        return convert(torch.randn(size, generator=g, device=g.device, dtype=dtype), like)

    def uniform(self, like: Array) -> Array:
        """Uniform numbers in [0, 1) for the entries of `like`."""
        import torch

        g = self.generator
        dtype = like.dtype if is_tensor(like) else torch.float64
        return convert(torch.rand(like.shape, generator=g, device=g.device, dtype=dtype), like)

    def integers(self, high: int, size: int) -> np.ndarray[Any, Any]:
        """Integers in [0, high).

        Args:
            high: one more than the largest.
            size: how many for each experiment.

        Returns:
            A NumPy array `(..., size)`.
        """
        import torch

        g = self.generator
        return to_numpy(torch.randint(high, (*self.batch, size), generator=g, device=g.device))


def streams(purpose: int, seed: Any, batch: tuple[int, ...] = ()) -> Streams | TorchStreams:
    """The streams of a batch of experiments.

    Args:
        purpose: a Purpose, what the streams are used for.
        seed: a non-negative integer, or one per experiment; or a `torch.Generator`.
        batch: the axes `(...)` of independent experiments.

    Returns:
        Streams for a seed, TorchStreams for a generator.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(seed, torch.Generator):
        return TorchStreams(seed, batch)
    return Streams(purpose, seed, batch)


def normal(rng: Any, shape: tuple[int, ...], like: Array, where: Any = None) -> Array:
    """Standard normal numbers from any source of them.

    Args:
        rng: Streams or TorchStreams, which put their batch axes before `shape`, or a
            `numpy.random.Generator`.
        shape: the axes for one experiment.
        like: the array whose library, dtype and device are wanted.
        where: booleans `(...)`: the experiments that need numbers, by default all.

    Returns:
        Numbers `(..., *shape)`.
    """
    if isinstance(rng, np.random.Generator):
        return convert(rng.standard_normal(shape), like)
    return rng.normal(shape, like) if where is None else rng.normal(shape, like, where)


def uniform(rng: Any, like: Array) -> Array:
    """Uniform numbers in [0, 1) for the entries of an array, from any source of them.

    Args:
        rng: Streams, TorchStreams, a `numpy.random.Generator` or a `torch.Generator`.
        like: the array; its leading axes hold the batch of the streams.

    Returns:
        Numbers of its shape, library, dtype and device.
    """
    if isinstance(rng, np.random.Generator):
        return convert(rng.random(tuple(like.shape)), like)
    if not hasattr(rng, "uniform"):
        rng = streams(0, rng)
    return rng.uniform(like)
