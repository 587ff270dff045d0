"""Independent groups of variables side by side: a block-diagonal covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..array import Array, array_namespace, batch_index
from .base import Covariance
from .matrices import Diagonal


def _concat(*parts: Array) -> Array:
    """The parts side by side along the last axis, their other axes broadcast."""
    xp = array_namespace(*parts)
    lead = np.broadcast_shapes(*(tuple(x.shape[:-1]) for x in parts))
    return xp.concat([xp.broadcast_to(x, (*lead, x.shape[-1])) for x in parts], axis=-1)


@dataclass(frozen=True, eq=False)
class Blocks(Covariance):
    """Independent groups of errors, one after the other: a block-diagonal covariance."""

    parts: tuple[Covariance, ...]

    @property
    def n(self) -> int:
        return sum(c.n for c in self.parts)

    @property
    def batch(self) -> tuple[int, ...]:
        return np.broadcast_shapes(*(c.batch for c in self.parts))

    def _each(self, x: Array) -> list[Array]:
        ends = np.cumsum([c.n for c in self.parts]).tolist()
        return [x[..., end - c.n : end] for c, end in zip(self.parts, ends, strict=True)]

    def color(self, z):
        pairs = zip(self.parts, self._each(z), strict=True)
        return _concat(*(c.color(part) for c, part in pairs))

    def whiten(self, x):
        pairs = zip(self.parts, self._each(x), strict=True)
        return _concat(*(c.whiten(part) for c, part in pairs))

    def variance(self):
        return _concat(*(c.variance() for c in self.parts))

    def matrix(self):
        rows, before = [], 0
        for c in self.parts:
            C = c.matrix()
            xp, lead = array_namespace(C), (*C.shape[:-2], c.n)
            left = xp.zeros((*lead, before), dtype=C.dtype, device=C.device)
            right = xp.zeros((*lead, self.n - before - c.n), dtype=C.dtype, device=C.device)
            rows.append(xp.concat((left, C, right), axis=-1).mT)
            before += c.n
        return _concat(*rows).mT

    def __getitem__(self, b):
        own = self.batch
        return Blocks(tuple(c[batch_index(b, c.batch, own)] if c.batch else c for c in self.parts))


def beside(a: Covariance, b: Covariance) -> Covariance:
    """The covariance of two independent groups, the second behind the first."""
    if isinstance(a, Diagonal) and isinstance(b, Diagonal):  # a large state stays a vector
        return Diagonal(_concat(a.variances, b.variances))
    return Blocks((a, b))
