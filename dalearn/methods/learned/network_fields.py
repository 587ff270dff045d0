"""What an inverse operator says of the data at a time: fields, on the problem's side of things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...array import Array, array_namespace, convert, to_numpy
from ...problem.observe import Observation


@dataclass(frozen=True, eq=False)
class Fields:
    """f(V(y)) of a network, in the library of the data.

    Args:
        net: a module from images to states, with `shape`.
        periodic: whether the grid closes on itself.
    """

    net: Any
    periodic: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Of the grid."""
        rows, columns = self.net.shape
        return int(rows), int(columns)

    def __call__(self, observe: Observation, y: Array) -> tuple[Array, np.ndarray, Any] | None:
        """Fields, distances to the nearest sensor, and what is known at all.

        Args:
            observe: the observing system of a time.
            y: its data `(..., m)`, gaps filled and masked in its noise.

        Returns:
            Fields `(..., n)`, distances `(..., n)`, and booleans `(..., n)` where some experiments
            have no data, else None; None where none has.
        """
        if observe.locations is None:
            raise ValueError(
                "the observations do not say where their sensors stand; wanted "
                "Observation(operator, noise, locations), rows and columns in cells `(m, 2)`"
            )
        where, seen = to_numpy(observe.locations).astype(float), observe.noise.seen
        numbers = to_numpy(y)
        some: np.ndarray = np.ones(numbers.shape[:-1], bool)
        if seen is not None:
            mask = np.broadcast_to(to_numpy(seen), numbers.shape)
            some = np.asarray(mask.any(-1))
            if not some.any():
                return None
            numbers = np.where(mask | ~some[..., None], numbers, np.nan)
        field, distance = estimated(self.net, numbers, where, self.periodic)
        known = None
        if not some.all():
            known = np.broadcast_to(some[..., None], field.shape)
            field, known = np.where(known, field, 0), convert_bool(known, y)
        return convert(np.ascontiguousarray(field), y), distance, known


def estimated(
    net: Any, values: np.ndarray, positions: np.ndarray, periodic: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The network's fields `(..., n)` of data `(..., m)`, and distances to the nearest sensor.

    Args:
        net: the inverse operator.
        values: data, NaN where not observed.
        positions: `(m, 2)` or `(..., m, 2)`.
        periodic: whether the grid closes on itself.

    Returns:
        Fields in double precision and distances, both `(..., n)`.
    """
    import torch

    from ...neural.voronoi import tessellated

    images, distance = tessellated(values, positions, tuple(net.shape), periodic)
    lead = values.shape[:-1]
    like = next((p for p in net.parameters()), torch.zeros(()))
    with torch.no_grad():
        stack = images.reshape(-1, *images.shape[len(lead) :])
        out = net(torch.as_tensor(stack, dtype=like.dtype, device=like.device))
    field = to_numpy(out).astype(float).reshape(*lead, -1)
    return field, distance.reshape(*lead, -1)


def convert_bool(mask: np.ndarray, like: Array) -> Array:
    """Booleans in the library of `like`."""
    xp = array_namespace(like)
    return convert(mask.astype(float), like) > xp.zeros_like(convert(np.zeros(()), like))
