"""Networks of whole trajectories, `(b, c, T, n) -> (b, 1 + k, T, n)`: the bodies of a NeuralPrior.

The second channel that comes in is the level, one number for the whole trajectory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .nets import MLP, check_sizes


class Perceptron(nn.Module):
    """A perceptron of whole trajectories, for a fixed T.

    Args:
        T: times.
        n: components.
        channels: c.
        more: k, numbers for each entry beside its own; through a layer of `neck` units.
        hidden: widths.
        neck: units.
    """

    def __init__(self, T: int, n: int, channels: int, more: int, hidden: Sequence[int], neck: int):
        super().__init__()
        self.shape, d = (more, T, n), T * n
        self.body = MLP((channels - 1) * d + 1, hidden[-1], hidden[:-1], activation=nn.SiLU)
        self.first = nn.Linear(hidden[-1], d)
        self.more = nn.Sequential(nn.Linear(hidden[-1], neck), nn.Linear(neck, more * d))

    def forward(self, x: Tensor) -> Tensor:
        s = x[:, 1, :1, 0]
        rest = torch.cat((x[:, :1], x[:, 2:]), 1).flatten(1)
        h = nn.functional.silu(self.body(torch.cat((rest, s), 1)))
        first = self.first(h).view(-1, 1, *self.shape[1:])
        return torch.cat((first, self.more(h).view(-1, *self.shape)), 1)


class Ring(nn.Module):
    """Convolutions over time and a ring of n points: the same weights everywhere.

    Args:
        channels: c.
        more: k, numbers for each entry beside its own.
        widths: channels of the layers between.
        kernel: width of a convolution in both directions, odd.
    """

    def __init__(
        self, channels: int, more: int, widths: Sequence[int] = (32, 32), kernel: int = 5
    ):
        super().__init__()
        check_sizes("Ring", widths=tuple(widths), kernel=kernel)
        before, self.rim = channels + 2, kernel // 2
        self.layers = nn.ModuleList()
        for width in (*widths, 1 + more):
            self.layers.append(nn.Conv2d(before, width, kernel))
            before = width

    def forward(self, x: Tensor) -> Tensor:
        at = torch.linspace(-1, 1, x.shape[-2], dtype=x.dtype, device=x.device)
        place = torch.stack((at, at * at))[..., None].expand(len(x), 2, *x.shape[-2:])
        h, p = torch.cat((x, place), 1), self.rim
        for i, layer in enumerate(self.layers):
            h = nn.functional.pad(h, (p, p, 0, 0), mode="circular")
            h = layer(nn.functional.pad(h, (0, 0, p, p), mode="replicate"))
            h = nn.functional.silu(h) if i + 1 < len(self.layers) else h
        return h
