"""What a NeuralPrior is trained for: trajectories reconstructed from data drawn anew each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .incremental import NeuralPrior


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The mean square error of A(s z_0 + (1 - s) x, y) at levels s, in the network's units.

    Each call draws an observing system, data and a level for each trajectory. s is 1, that of the
    first guess, for a share `one` of them, else uniform in (0, 1).

    Args:
        draw: masks `(b, T, n)` of a count b, by torch's random numbers.
        std: of the data's errors, in the units of the trajectories, against `(b, T, n)`.
        one: the share.
    """

    draw: Callable[[int], Tensor]
    std: Tensor
    one: float = 0.5

    def __call__(self, net: NeuralPrior, x: Tensor) -> Tensor:
        seen = self.data(net, x)
        s = torch.where(torch.rand(len(x)) < self.one, 1.0, torch.rand(len(x))).to(x)
        truth = (x - net.mean) / net.std
        with torch.no_grad():
            z = s[:, None, None] * net.first(seen) + (1 - s[:, None, None]) * truth
        return (net.step(z, s, seen) - truth).square().mean()

    def data(self, net: NeuralPrior, x: Tensor):
        """Fresh data of trajectories `x (b, T, n)`."""
        y = x + self.std.to(x) * torch.randn_like(x)
        return net.seen(y, self.draw(len(x)), self.std.to(x))


@torch.no_grad()
def calibrate(
    net: NeuralPrior, loss: Reconstruction, x: Tensor, levels: int, seed: int = 0
) -> None:
    """Set `spread`, so that validation errors have the mean square that the covariances claim.

    Args:
        net: after training.
        loss: what it was trained for.
        x: validation trajectories `(V, T, n)`.
        levels: of the analysis.
        seed: of the data drawn.
    """
    from ..array import Purpose, torch_seed
    from .draws import Draws

    with Draws(torch_seed(Purpose.TRAINING, seed), []).turn():
        seen = loss.data(net, x)
    net.spread.fill_(1.0)
    error = claimed = 0.0
    for rows in torch.arange(len(x)).split(100):
        found, cov = net.analysed(seen.G[rows], seen.g[rows], levels)
        error += float((found - (x[rows] - net.mean) / net.std).square().sum())
        claimed += float(cov.diagonal(dim1=-2, dim2=-1).sum())
    net.spread.fill_(error / claimed)
