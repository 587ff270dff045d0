"""How two encoders and a decoder are trained: the branches in turn, then the observer alone.

Source: S. Cheng et al., Multi-domain encoder-decoder neural networks for latent data assimilation
in dynamical systems, 2024, who take turns from epoch to epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..array import check_count, typed
from .two_encoders import TwoEncoders

Disturb = Callable[[Tensor], Tensor]


@typed
@dataclass(frozen=True, eq=False)
class Alternating:
    """The loss of the two branches in turn, `loss(net, x, y)` of states and data of equal times.

        mean |D(E(x)) - x|^2  and  mean |D(E'(y)) - x|^2,  in units of the states' variance.

    In evaluation mode it is the mean of the two, and nothing is drawn.

    Args:
        every: steps with one branch before it is the other's turn.
        disturb: adds errors to the data `(b, m)` of a step, by torch's random numbers; or None.

    Raises:
        ValueError: for an `every` below 1.
    """

    every: int = 1
    disturb: Disturb | None = None

    def __post_init__(self):
        check_count("every", self.every)

    def __call__(self, net: TwoEncoders, x: Tensor, y: Tensor) -> Tensor:
        if not net.training:
            both = net.encode(x), net.encode_observation(y)
            return sum(self._miss(net, z, x) for z in both) / 2  # type: ignore[return-value]
        first = int(net.turn) // self.every % 2 == 0
        net.turn += 1
        if first:
            return self._miss(net, net.encode(x), x)
        y = y if self.disturb is None else self.disturb(y)
        return self._miss(net, net.encode_observation(y), x)

    def _miss(self, net: TwoEncoders, z: Tensor, x: Tensor) -> Tensor:
        return (((net.decode(z) - x) / net.units[1]) ** 2).mean()


@typed
@dataclass(frozen=True, eq=False)
class Aligned:
    """The loss of the encoder of data, `loss(net, y, z)` with codes z of states: |E'(y) - z|^2.

    Args:
        disturb: adds errors to the data `(b, m)` of a step, by torch's random numbers; or None.
    """

    disturb: Disturb | None = None

    def __call__(self, net: TwoEncoders, y: Tensor, z: Tensor) -> Tensor:
        if net.training and self.disturb is not None:
            y = self.disturb(y)
        return ((net.encode_observation(y) - z) ** 2).mean()
