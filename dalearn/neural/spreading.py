"""What spreads and stays: a network that says how likely each cell is reached in the next frame.

    p_{k+1} = p_k + (1 - p_k) f s(q) c ,     q = N(p_k, p_{k-1}, .., a) ,
    c = 1 - (1 - max_near (p_k - p_{k-L}))^3

p_k is the probability that a cell has been reached by frame k, f whether it can be, a are maps of
the place and s the logistic function. Three things hold by construction: what has been reached
stays, nothing spreads to where it cannot, and no cell is reached unless one within `reach` cells
was in the last L frames. N is a few convolutions, so that the weights serve fields of any size,
and places that were not in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..array import check_count, typed
from .nets import check_input, check_sizes


@typed
class Spreading(nn.Module):
    """A surrogate of a spreading process, told of maps: the next p from the last `window` of them.

        net = seeded(0, Spreading, 4)
        p = net.rollout(masks[:, :3], maps, 12)         # (b, 3, h, w) -> (b, 12, h, w)

    Called: `(b, window, h, w)` and maps `(b, maps, h, w)` -> the next `(b, h, w)`.

    Args:
        maps: channels of the maps; the first is f, 1 where something can spread to, else 0.
        window: L + 1, how many frames it reads.
        reach: cells that it may spread in a frame.
        hidden: channels of the layers, 3 x 3 convolutions.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self, maps: int, window: int = 3, *, reach: int = 3, hidden: Sequence[int] = (16, 16, 16)
    ):
        super().__init__()
        check_sizes("Spreading", maps=maps, window=window, reach=reach, hidden=tuple(hidden))
        if window < 2:
            raise ValueError(f"Spreading wants a window of 2 frames or more, met window {window}")
        layers: list[nn.Module] = []
        before = maps + window
        for wide in hidden:
            layers += [nn.Conv2d(before, wide, 3, padding=1), nn.SiLU()]
            before = wide
        self.net = nn.Sequential(*layers, nn.Conv2d(before, 1, 1))
        self.maps, self.window, self.reach = maps, window, reach

    def forward(self, p: Tensor, maps: Tensor) -> Tensor:
        check_input("Spreading", p, (self.window, *p.shape[-2:]), "b")
        check_input("maps of Spreading", maps, (self.maps, *p.shape[-2:]), "b")
        q = self.net(torch.cat((p, maps), dim=1))[:, 0]
        size = 2 * self.reach + 1
        fresh = (p[:, -1:] - p[:, :1]).clamp(min=0)
        near = nn.functional.max_pool2d(fresh, size, stride=1, padding=self.reach)[:, 0]
        now = p[:, -1]
        return now + (1 - now) * maps[:, 0] * torch.sigmoid(q) * (1 - (1 - near) ** 3)

    def rollout(self, p: Tensor, maps: Tensor, frames: int) -> Tensor:
        """The next frames from a window `(b, window, h, w)`, `(b, frames, h, w)`."""
        check_count("frames", frames)
        found = []
        for _ in range(frames):
            new = self(p, maps)
            found.append(new)
            p = torch.cat((p[:, 1:], new[:, None]), dim=1)
        return torch.stack(found, dim=1)

    def loss(self, masks: Tensor, maps: Tensor) -> Tensor:
        """The cross-entropy of a roll-out, for `fit(net, (masks, maps), loss=Spreading.loss)`.

        Masks `(b, window + frames, h, w)` are 0 or 1. The mean over cells to which something can
        spread.
        """
        frames = masks.shape[1] - self.window
        found = self.rollout(masks[:, : self.window], maps, frames).clamp(1e-5, 1 - 1e-5)
        cost = nn.functional.binary_cross_entropy(found, masks[:, self.window :], reduction="none")
        return (cost * maps[:, :1]).sum() / (maps[:, 0].sum() * frames)
