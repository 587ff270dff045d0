"""A codebook: vectors of a network, each replaced by the nearest of K that are learned.

    k(z) = argmin_k |z - e_k| ,     q(z) = e_{k(z)}

k has no useful derivative, so that of q with respect to z is taken for the identity (straight
through). The vectors e_k are no parameters of the optimiser: each is the running mean of what fell
to it, which is k-means on the vectors of the last batches. A vector to which hardly anything falls
is dead, and is put where some vector of the batch is.

Source: A. van den Oord, O. Vinyals and K. Kavukcuoglu, Neural discrete representation learning,
NeurIPS 2017 (its appendix has the running means).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..array import check_between, typed
from .nets import check_input, check_sizes


@typed
class Codebook(nn.Module):
    """K vectors of one width, and the nearest of them to any vector.

    Training mode moves them, evaluation mode does not. All that moves is stored with the weights.

    Args:
        codes: K, how many.
        width: numbers in each.
        decay: of the running means, in (0, 1]: how much of them a step keeps.
        least: a code used less than this share of 1 / K is dead.

    Raises:
        ValueError: for sizes below 1, and shares out of range.
    """

    vectors: Tensor
    uses: Tensor
    sums: Tensor

    def __init__(self, codes: int, width: int, *, decay: float = 0.95, least: float = 0.05):
        super().__init__()
        check_sizes("Codebook", codes=codes, width=width)
        check_between("decay", decay, 0, 1, open_low=True)
        check_between("least", least, 0, 1, open_low=False)
        self.codes, self.width, self.decay, self.least = codes, width, decay, least
        self.register_buffer("vectors", torch.zeros(codes, width))
        self.register_buffer("uses", torch.zeros(codes))  # vectors a batch, running mean
        self.register_buffer("sums", torch.zeros(codes, width))

    @property
    def trained(self) -> bool:
        """Whether any vector has been seen in training."""
        return bool((self.uses > 0).any())

    def nearest(self, z: Tensor) -> Tensor:
        """The index `(...)` of the code nearest to each vector `(..., width)`."""
        check_input("Codebook", z, (self.width,))
        far = (self.vectors**2).sum(-1) - 2 * z @ self.vectors.mT  # + |z|^2
        return far.argmin(-1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Codes q(z) `(..., width)`, derivative straight through, and what committing costs.

        The second is mean |z - q(z)|^2, with q held fixed: it keeps the encoder near the codes.
        Vectors with NaN come back as NaN and teach nothing.
        """
        if self.training:
            with torch.no_grad():
                self._learn(z.detach().reshape(-1, self.width))
        q = self.vectors[self.nearest(z)]
        return z + (q - z).detach(), ((z - q) ** 2).mean()

    def _learn(self, z: Tensor) -> None:
        """Move each code towards the mean of its vectors, and replace the dead."""
        z = z[torch.isfinite(z).all(-1)]
        if not len(z):
            return
        mean = len(z) / self.codes
        if not self.trained:
            self._place(torch.ones_like(self.uses, dtype=torch.bool), z, mean)
        near = self.nearest(z)
        count = torch.zeros_like(self.uses).index_add_(0, near, torch.ones_like(z[:, 0]))
        total = torch.zeros_like(self.sums).index_add_(0, near, z)
        self.uses.mul_(self.decay).add_(count, alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(total, alpha=1 - self.decay)
        self._place(self.uses < self.least * mean, z, mean)
        self.vectors.copy_(self.sums / self.uses[:, None])

    def _place(self, where: Tensor, z: Tensor, mean: float) -> None:
        """Put the codes `where` on vectors of the batch, as if they had been used like others."""
        count = int(where.sum())
        if not count:
            return
        pick = torch.randperm(len(z), device=z.device)[:count]
        pick = pick.repeat(-(-count // len(pick)))[:count]  # fewer vectors than codes
        self.vectors[where] = z[pick]
        self.uses[where] = mean
        self.sums[where] = mean * z[pick]
