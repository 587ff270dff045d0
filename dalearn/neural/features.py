"""Networks as a sum of features: f(z) = W phi(z) + b, where phi are sines or hidden layers.

    phi_1(z) = sin(A z + a) ,    phi_{l+1} = s(A_l phi_l + a_l)    (+ phi_l with `skips`)

The last layer is linear in what it learns, so that least squares finds it exactly
(`last_layer`). The input may come in parts whose first layers are added, A z = A_s s + A_x x: a
network of a state s and of points x multiplies each state and each point once, not each pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..array import check_between, check_count, typed
from .nets import Activation, check_input, check_sizes, made_by


class Sine(nn.Module):
    """The sine, as an activation."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sin()


class Hidden(nn.Module):
    """One hidden layer, x -> s(A x + a), with `skip` x -> x + s(A x + a)."""

    def __init__(self, before: int, after: int, activation: Activation, skip: bool):
        super().__init__()
        self.linear, self.activation = nn.Linear(before, after), made_by(activation)
        self.skip = skip and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.linear(x))
        return x + y if self.skip else y


@typed
class SineMLP(nn.Module):
    """A perceptron of sine features, f(z) = W phi(z) + b with phi = sin(A z + a) or deeper.

    Shapes: `(..., inputs) -> (..., outputs)`. Called with several parts, whose last axes add up
    to `inputs`, it joins them; their other axes broadcast.

    Args:
        inputs: width of what comes in.
        outputs: width of what goes out.
        hidden: widths of the layers between, one or more.
        activation: makes s, also that of the first layer.
        gain: the first weights A are so many times torch's: the larger, the finer the features.
        skips: each further layer of the same width adds to what it sees (a residual network).
        extra: features sin(A' z + a') beside the learned ones, which training leaves alone: 0
            until `last_layer.widened` draws them.

    Raises:
        ValueError: sizes that do not fit.

    Source: V. Sitzmann et al., Implicit neural representations with periodic activation functions,
    NeurIPS 2020.
    """

    extra_weight: Tensor
    extra_bias: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (256,),
        *,
        activation: Activation = Sine,
        gain: float = 3.0,
        skips: bool = False,
        extra: int = 0,
    ):
        super().__init__()
        check_sizes("SineMLP", inputs=inputs, outputs=outputs, hidden=tuple(hidden))
        check_count("extra of SineMLP", extra, 0)
        check_between("gain", gain, 0, 1e6, open_low=True)
        if not hidden:
            raise ValueError("hidden of SineMLP must be one width or more, met ()")
        self.first, self.activation = nn.Linear(inputs, hidden[0]), made_by(activation)
        with torch.no_grad():
            self.first.weight.mul_(gain)
        pairs = pairwise(hidden)
        self.deeper = nn.Sequential(*(Hidden(a, b, activation, skips) for a, b in pairs))
        self.register_buffer("extra_weight", torch.zeros(extra, inputs))
        self.register_buffer("extra_bias", torch.zeros(extra))
        self.last = nn.Linear(hidden[-1] + extra, outputs)
        self.inputs, self.outputs, self.extra = inputs, outputs, extra

    @property
    def plain(self) -> bool:
        """Whether all features are sines of the input: one layer, and no other activation."""
        return isinstance(self.activation, Sine) and not len(self.deeper)

    def waves(self) -> tuple[Tensor, Tensor]:
        """Weights `(h, inputs)` and phases `(h,)` of the first layer, with the extra ones."""
        weight = torch.cat((self.first.weight, self.extra_weight))
        return weight, torch.cat((self.first.bias, self.extra_bias))

    def features(self, *parts: Tensor) -> Tensor:
        """phi of the parts, `(..., hidden[-1] + extra)`."""
        self._check(parts)
        inner = self.activation(_summed(parts, self.first.weight, self.first.bias))
        inner = self.deeper(inner)
        if not self.extra:
            return inner
        more = _summed(parts, self.extra_weight, self.extra_bias).sin()
        return torch.cat((inner, more), dim=-1)

    def forward(self, *parts: Tensor) -> Tensor:
        return self.last(self.features(*parts))

    def _check(self, parts: Sequence[Tensor]) -> None:
        if len(parts) == 1:
            check_input("SineMLP", parts[0], (self.inputs,))
        elif sum(p.shape[-1] for p in parts) != self.inputs:
            widths = [tuple(p.shape) for p in parts]
            raise ValueError(
                f"SineMLP wants parts of {self.inputs} numbers together, met {widths}"
            )


def _summed(parts: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """A z + a of an input in parts: each is multiplied alone, and the products are added."""
    start, total = 0, bias
    for part in parts:
        stop = start + part.shape[-1]
        total = part @ weight[:, start:stop].mT + total
        start = stop
    return total
