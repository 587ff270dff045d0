"""Ridge regression from a stream of data, in float64.

    W, b = argmin  sum_i |W phi_i + b - y_i|^2 + lambda |W|^2 ,    lambda = ridge * mean_h G_hh

with the Gram matrix G of the centred features. Only sums are kept, of h features an h x h matrix;
all ridges share one eigendecomposition of G.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Normal:
    """The sums of a regression, in float64: of features phi `(h,)` on targets y `(c,)`.

    Args:
        h: how many features.
        c: how many targets.
    """

    def __init__(self, h: int, c: int):
        double: Any = {"dtype": torch.float64}
        self.count, self.roots = 0, None
        self.phi, self.y = torch.zeros(h, **double), torch.zeros(c, **double)
        self.gram, self.cross = torch.zeros(h, h, **double), torch.zeros(c, h, **double)

    def add(self, phi: Tensor, y: Tensor) -> None:
        """Rows `(..., h)` and `(..., c)`."""
        phi, y = phi.reshape(-1, len(self.phi)).double(), y.reshape(-1, len(self.y)).double()
        self.count += len(phi)
        self._plus(phi.sum(0), y.sum(0), phi.mT @ phi, y.mT @ phi)

    def add_products(self, left: Tensor, right: Tensor, y: Tensor) -> None:
        """Features that are products, of all pairs of a state and a point, without making them.

        phi_h = L_h Q_h + L_{h+H} Q_{h+H} of `left (S, 2 H)` and `right (P, 2 H)`, see
        `AtPoints.halves`; y `(S, P, c)`. Sums over pairs are products of sums.
        """
        left, right, y = left.double(), right.double(), y.double()
        self.count += len(left) * len(right)
        folded = (left.mT @ left) * (right.mT @ right)
        H = len(self.phi)
        gram = folded.unflatten(0, (2, H)).sum(0).unflatten(-1, (2, H)).sum(-2)
        cross = ((y.mT @ right) * left[:, None]).sum(0).unflatten(-1, (2, H)).sum(-2)
        phi = (left.sum(0) * right.sum(0)).unflatten(-1, (2, H)).sum(0)
        self._plus(phi, y.sum((0, 1)), gram, cross)

    def _plus(self, phi: Tensor, y: Tensor, gram: Tensor, cross: Tensor) -> None:
        self.roots = None
        for name, more in (("phi", phi), ("y", y), ("gram", gram), ("cross", cross)):
            setattr(self, name, getattr(self, name) + more.cpu())

    def solve(self, ridge: float) -> tuple[Tensor, Tensor]:
        """W `(c, h)` and b `(c,)`; the bias is not shrunk."""
        m, y = self.phi / self.count, self.y / self.count
        if self.roots is None:
            G = self.gram - self.count * m[:, None] * m
            self.roots = torch.linalg.eigh((G + G.mT) / 2)
        values, V = self.roots
        least = torch.finfo(torch.float64).eps * len(m) * values[-1].abs()  # of round-off
        size = (values + ridge * values.mean()).clamp_min(least)
        W = ((self.cross - self.count * y[:, None] * m) @ V / size) @ V.mT
        return W, y - W @ m
