"""Fields as sums of products of a few functions of one coordinate: a first layer that is known.

    x_c(i, j) = sum_kl  a_ckl f_k(i) g_l(j) ,    a_ckl = sum_ij x_c(i, j) f_k(i) g_l(j),

f and g orthonormal: the leading eigenvectors of the mean squares of columns and of rows. Smooth
fields need few of them, and a perceptron behind them learns in seconds what convolutions on the
whole grid learn in hours. Unlike the modes of a POD they are small: (h + w) K numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..array import check_count, typed
from .nets import check_input, check_sizes


@typed
class Products(nn.Module):
    """Fields `(b, c, h, w)` -> coefficients `(b, c K^2)`; `back` is its transpose.

    The functions are stored with the weights and do not learn. `fitted` takes them from training
    fields; before it, they are 0. Coefficients are divided by the root of h w / K^2, so that those
    of a field of size 1 are of the order of 1.

    Args:
        shape: of a field, (c, h, w).
        count: K, functions of each coordinate, at most h and w.
        back: from coefficients to fields.

    Raises:
        ValueError: sizes that do not fit.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, shape: Sequence[int], count: int, *, back: bool = False):
        super().__init__()
        check_sizes("Products", shape=tuple(shape))
        check_count("count", count)
        if len(shape) != 3 or count > min(shape[1:]):
            raise ValueError(
                f"Products wants a shape (c, h, w) and count of at most h and w functions, met "
                f"{tuple(shape)} and count = {count}"
            )
        self.shape, self.count, self.back = tuple(shape), count, back
        self.outputs = shape[0] * count**2
        self.register_buffer("rows", torch.zeros(shape[1], count))
        self.register_buffer("columns", torch.zeros(shape[2], count))

    def fitted(self, fields: Tensor) -> Products:
        """This layer, with the functions that leave least of the training fields `(..., c h w)`.

        Args:
            fields: flat or not; in the units that the layer will see.

        Returns:
            Products: the same object.

        Raises:
            ValueError: fields of another size, or not finite.
        """
        x = fields.detach().reshape(-1, *self.shape)
        if not bool(torch.isfinite(x).all()):
            raise ValueError("fields hold NaN or infinity; wanted them left out first")
        with torch.no_grad():
            for part, sums in (
                (self.rows, torch.einsum("bcij,bckj->ik", x, x)),
                (self.columns, torch.einsum("bcij,bcik->jk", x, x)),
            ):
                vectors = torch.linalg.eigh(sums.double())[1]
                part.copy_(vectors[:, -self.count :].flip(-1))
        return self

    @property
    def scale(self) -> float:
        """The root of h w / K^2."""
        return (self.shape[1] * self.shape[2]) ** 0.5 / self.count

    def forward(self, x: Tensor) -> Tensor:
        c, K = self.shape[0], self.count
        if self.back:
            check_input("Products back", x, (self.outputs,))
            a = x.reshape(-1, c, K, K) * self.scale
            return self.rows @ a @ self.columns.mT
        check_input("Products", x, self.shape)
        return (self.rows.mT @ x @ self.columns).flatten(1) / self.scale
