"""Wrappers that make something else a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..array import Array, convert, is_module


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A torch module as the model (or operator) of a NumPy problem.

    The state crosses to the module's own dtype and device and back, without derivatives; values
    then carry the module's precision. In a torch problem use the module itself, no wrapper.
    Raises TypeError when `module` is not a `torch.nn.Module`.
    """

    module: Any

    def __post_init__(self):
        if not is_module(self.module):
            raise TypeError(f"Surrogate wants a torch.nn.Module, met {type(self.module).__name__}")

    def __call__(self, x: Array) -> Array:
        import torch

        like = next(self.module.parameters(), torch.empty(0, dtype=torch.float64))
        with torch.no_grad():
            return convert(self.module(convert(x, like)), x)
