"""What a step of a model is measured against: passes over memory, transforms, temporaries."""

from __future__ import annotations

import math
import statistics
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

from dalearn.array import Array, array_namespace, fft, no_grad
from dalearn.models import fields

from .common import per_call, ratio

# By `quick`: rounds, and seconds of a block. A busy machine slows some milliseconds and not the
# next: many short blocks in turn give steadier ratios than a few long ones.
ROUNDS, BLOCK = {False: 15, True: 5}, {False: 0.01, True: 0.003}
TRANSFORMS = ("rfft", "irfft", "rfft2", "irfft2")
SUMS = ("sum", "mean", "max", "min")  # a pass reads all and writes little
NO_PASS = ("reshape", "broadcast_to", "empty_like", "broadcast_arrays", "may_share_memory")


def add(x: Array) -> Callable[[], Any]:
    """One pass over memory: x + y into an array that exists."""
    xp = array_namespace(x)
    y, out = xp.ones_like(x), xp.empty_like(x)
    return partial(xp.add, x, y, out=out)


class _Counting(np.ndarray):
    """An array that counts the numbers that operations on it write (or read, in a sum)."""

    written = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        plain = [_plain(value) for value in inputs]
        result = np.asarray(getattr(ufunc, method)(*plain, **_plain(settings)))
        read = [value.size for value in plain if isinstance(value, np.ndarray)]
        _Counting.written += result.size if method == "__call__" else max(read)
        return result.view(_Counting)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = np.asarray(func(*_plain(args), **_plain(kwargs)))
        whole = args[0] if func.__name__ in SUMS else result
        _Counting.written += 0 if func.__name__ in NO_PASS else whole.size
        return result.view(_Counting)

    def __setitem__(self, where: Any, value: Any) -> None:
        _Counting.written += value.size
        super().__setitem__(where, value)


def _plain(value: Any) -> Any:
    if isinstance(value, _Counting):
        return value.view(np.ndarray)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def passes(step: Callable, x: np.ndarray) -> float:
    """How many passes over the state `step(x)` makes: numbers that its operations write.

    In units of the numbers of `x`. Counts sums, arithmetic, where, concatenations and copies into
    blocks; transforms are not NumPy's own and are left out.
    """
    _Counting.written = 0
    step(x.view(_Counting))
    return _Counting.written / x.size


class Transforms:
    """The Fourier transforms of one step, recorded; calling this executes them again.

    `calls`: for each function and shape of input the call, on one such input, and how many there
    were. `planes`: how many transforms of a single plane (or line) that makes.
    """

    def __init__(self, step: Callable, x: Array):
        library = fft(x)
        self.calls: dict[tuple, list] = {}
        self.planes = 0

        def recorded(f: Callable, dimensions: int, value: Array, *args: Any, **kwargs: Any) -> Any:
            key = f.__name__, tuple(value.shape), args, tuple(kwargs.items())
            self.calls.setdefault(key, [lambda: f(value, *args, **kwargs), 0])[1] += 1
            self.planes += math.prod(value.shape[:-dimensions])
            return f(value, *args, **kwargs)

        with ExitStack() as patches:
            for name in TRANSFORMS:
                f = getattr(library, name)
                wrapper = partial(recorded, f, 2 if name.endswith("2") else 1)
                patches.enter_context(patch.object(library, name, wrapper))
            step(x)

    def __call__(self) -> None:
        """Execute them again, on inputs of the same shapes."""
        for call, count in self.calls.values():
            for _ in range(count):
                call()


def in_blocks(step: Callable, numbers: int = 2**62) -> Callable:
    """The step with blocks of at most so many numbers of a batch, or on all of it at once."""

    def blocked(x: Array) -> Array:
        with patch.object(fields, "STATE_BLOCK", numbers):
            return step(x)

    return blocked


def temporaries(step: Callable, x: np.ndarray) -> float:
    """The most memory that `step(x)` holds at one time, its result included, in states of `x`."""
    step(x)  # what is made once and kept is not counted
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        step(x)
        return (tracemalloc.get_traced_memory()[1] - before) / x.nbytes
    finally:
        tracemalloc.stop()


def timed(
    sides: Mapping[str, Callable[[], Any]], quick: bool, **settings: Any
) -> dict[str, list[float]]:
    """Seconds of one call of each side in each round, in turn; settings as for `per_call`.

    Without derivatives, and overflow is silent, as methods call a model.
    """
    import torch

    with no_grad(np.empty(0)), no_grad(torch.empty(0)):
        return per_call(sides, ROUNDS[quick], BLOCK[quick], **settings)


def libraries(x: np.ndarray) -> dict[str, Array]:
    """A state in each library."""
    import torch

    return {"NumPy": x, "torch": torch.from_numpy(x.copy())}


def middle(seconds: Sequence[float], share: float) -> float:
    """Median over the rounds, in units of `share` seconds, with three digits."""
    return float(f"{statistics.median(seconds) / share:.3g}")


def over(share: float, seconds: Sequence[float], limit: Sequence[float]) -> tuple:
    """The limit in units of `share` seconds, then seconds / limit and its range."""
    return middle(limit, share), *ratio(seconds, limit, 2)
