"""Wrappers that make a network a model, with or without a memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..array import (
    Array,
    Swept,
    array_namespace,
    check_count,
    convert,
    is_array,
    is_module,
    is_tensor,
    shown,
    typed,
)
from .fields import check_positive
from .windows import Windows


@typed
@dataclass(frozen=True, eq=False)
class Surrogate:
    """A torch module as the model (or operator) of a NumPy problem.

    The state crosses to the module's own dtype and device and back, without derivatives; values
    then carry the module's precision. In a torch problem use the module itself, no wrapper.

    Args:
        module: a `torch.nn.Module`, `(..., n) -> (..., m)`.

    Raises:
        TypeError: for anything else.
    """

    module: Any

    def __post_init__(self):
        if not is_module(self.module):
            raise TypeError(f"Surrogate wants a torch.nn.Module, met {type(self.module).__name__}")

    def __call__(self, x: Array) -> Array:
        import torch

        like = next(self.module.parameters(), torch.empty(0, dtype=torch.float64))
        with torch.no_grad():
            return convert(_output(self.module(convert(x, like))), x)


def _output(value: Any) -> Array:
    """What a network returns, without the memory that `nn.LSTM` returns beside it."""
    value = value[0] if isinstance(value, tuple) and value else value
    if not is_array(value):
        raise TypeError(f"a module or function must return an array, met {shown(value)}")
    return value


@typed
@dataclass(frozen=True, eq=False)
class History(Windows):
    """A network that predicts from the last `length` states, as a model of windows of states.

        (x_1, ..., x_L) -> (x_2, ..., x_L, f(x_1, ..., x_L))

    The state of the problem is the window, flattened, oldest first: `(..., length * n)`. With it a
    network with a memory is an ordinary model: one step, pure.

    Args:
        module: f, from windows `(b, length, n)` to `(b, n)`, or to `(b, length, n)`, of which the
            last time counts, or to a tuple that begins with one of them, as
            `torch.nn.LSTM(batch_first=True)` returns. A torch module (in a NumPy problem it goes
            through Surrogate), or any function of arrays.
        length: L, at least 1.
        residual: whether f is what has to be added to the newest state.
        dt: the length of a step, time units.

    Raises:
        TypeError: for what is no function, and a module of another dtype.
        ValueError: for sizes that do not fit.
    """

    module: Any
    length: int
    residual: bool = False
    dt: Swept = 1.0

    def __post_init__(self):
        if not callable(self.module) or isinstance(self.module, type):
            raise TypeError(
                f"History wants a torch module or a function of windows, met {self.module!r}"
            )
        check_count("length of History", self.length)
        check_positive(self, "dt")
        if getattr(self.module, "batch_first", True) is False:
            raise ValueError(
                f"History wants windows (b, length, n) first in b, met {self.module!r}; wanted "
                "batch_first=True: as it is, members would be taken for times"
            )

    def __call__(self, x: Array) -> Array:
        xp, n = array_namespace(x), self._width(x)
        past = xp.reshape(x, (math.prod(x.shape[:-1]), self.length, n))
        new = self._predict(past)
        met = tuple(new.shape)
        if new.ndim == 3 and met[:2] == (len(past), self.length):
            new = new[:, -1]
        if tuple(new.shape) != (len(past), n):
            raise ValueError(
                f"the module of History(length={self.length}) returned shape {met} for windows "
                f"{tuple(past.shape)}, wanted {(len(past), n)}, or {tuple(past.shape)} with the "
                "last time counting"
            )
        new = past[:, -1] + new if self.residual else new
        return xp.reshape(xp.concat((past[:, 1:], new[:, None]), axis=1), tuple(x.shape))

    def _predict(self, past: Array) -> Array:
        if not is_module(self.module):
            return _output(self.module(past))
        if not is_tensor(past):
            return Surrogate(self.module)(past)
        weight = next(self.module.parameters(), past)
        if weight.dtype != past.dtype:
            raise TypeError(
                f"the module of History holds {weight.dtype} but the state is {past.dtype}; "
                "wanted the same: module.to(prior) or prior.to(module)"
            )
        return _output(self.module(past))
