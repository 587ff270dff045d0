"""Independent groups of variables side by side: a block-diagonal covariance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, array_namespace, batch_index
from .base import Covariance, Masked, check_controls, check_width
from .matrices import Diagonal


def concatenated(*parts: Array) -> Array:
    """The parts side by side along the last axis, their other axes broadcast.

    Args:
        *parts: arrays `(..., n_i)` of one library.

    Returns:
        An array `(..., sum n_i)`.
    """
    xp = array_namespace(*parts)
    lead = np.broadcast_shapes(*(tuple(x.shape[:-1]) for x in parts))
    return xp.concat([xp.broadcast_to(x, (*lead, x.shape[-1])) for x in parts], axis=-1)


@dataclass(frozen=True, eq=False)
class Blocks(Covariance):
    """Independent groups of errors, one after the other: a block-diagonal covariance.

    Args:
        parts: the covariances of the groups.
    """

    parts: tuple[Covariance, ...]

    @property
    def n(self) -> int:
        return sum(c.n for c in self.parts)

    @property
    def controls(self) -> int:
        return sum(c.controls for c in self.parts)

    @property
    def batch(self) -> tuple[int, ...]:
        return np.broadcast_shapes(*(c.batch for c in self.parts))

    def _each(self, maps: list[Callable[[Array], Array]], x: Array, sizes: list[int]) -> Array:
        """Each map on its own columns of `x`."""
        ends = np.cumsum(sizes).tolist()
        pairs = zip(maps, sizes, ends, strict=True)
        return concatenated(*(f(x[..., end - size : end]) for f, size, end in pairs))

    def color(self, z: Array) -> Array:
        check_controls(z, self.controls)
        return self._each([c.color for c in self.parts], z, [c.controls for c in self.parts])

    def whiten(self, x: Array) -> Array:
        check_width(x, self.n)
        return self._each([c.whiten for c in self.parts], x, [c.n for c in self.parts])

    def times(self, x: Array) -> Array:
        check_width(x, self.n)
        return self._each([c.times for c in self.parts], x, [c.n for c in self.parts])

    def variance(self) -> Array:
        return concatenated(*(c.variance() for c in self.parts))

    def matrix(self) -> Array:
        rows: list[Array] = []
        before = 0
        for c in self.parts:
            C = c.matrix()
            xp, lead = array_namespace(C), (*C.shape[:-2], c.n)
            left = xp.zeros((*lead, before), dtype=C.dtype, device=C.device)
            right = xp.zeros((*lead, self.n - before - c.n), dtype=C.dtype, device=C.device)
            rows.append(xp.concat((left, C, right), axis=-1).mT)
            before += c.n
        return concatenated(*rows).mT

    def masked(self, seen: Array) -> Masked:
        ends = np.cumsum([c.n for c in self.parts]).tolist()
        pairs = zip(self.parts, ends, strict=True)
        own = [c.masked(seen[..., end - c.n : end]) for c, end in pairs]
        return Masked(Blocks(tuple(own)), seen)

    def __getitem__(self, b: Any) -> Blocks:
        own = self.batch
        return Blocks(tuple(c[batch_index(b, c.batch, own)] if c.batch else c for c in self.parts))


def beside(a: Covariance, b: Covariance) -> Covariance:
    """The covariance of two independent groups, the second behind the first.

    Args:
        a: the covariance of the first group.
        b: the covariance of the second.

    Returns:
        A Diagonal where both are, so that a large state needs no matrix; else Blocks.
    """
    if isinstance(a, Diagonal) and isinstance(b, Diagonal):
        return Diagonal(concatenated(a.variances, b.variances))
    return Blocks((a, b))
