"""Banded systems inside a network: LAPACK forward, one more solve with the same factor backward.

With x = A^-1 b and v the derivative of a loss with respect to x, the implicit function theorem
gives, without a derivative of the factorisation,
    g = A^-1 v,   dl/db = g,   dl/dA_{i+k,i} = -(g_{i+k} x_i + g_i x_{i+k}),   -g_i x_i for k = 0,
at the cost of the forward pass again. The factorisation's own derivative would need all of its
intermediate steps.

S. G. Johnson, Notes on adjoint methods for 18.335, 2012; M. Blondel et al., Efficient and modular
implicit differentiation, NeurIPS 2022.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..array.banded import band_cholesky


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bands: Tensor, b: Tensor) -> Tensor:  # pyright: ignore
        factor = band_cholesky(bands.detach().cpu().numpy())
        x = torch.as_tensor(factor.solve(b.detach().cpu().numpy())).to(b)
        ctx.factor, ctx.width = factor, bands.shape[-2]
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        (x,) = ctx.saved_tensors
        g = torch.as_tensor(ctx.factor.solve(v.detach().cpu().numpy())).to(v)
        d = x.shape[-1]
        rows = [-(g * x)]
        for k in range(1, ctx.width):
            row = -(g[..., k:] * x[..., : d - k] + g[..., : d - k] * x[..., k:])
            rows.append(torch.nn.functional.pad(row, (0, k)))
        return torch.stack(rows, dim=-2), g


def band_solve(bands: Tensor, b: Tensor) -> Tensor:
    """The x with A x = b, for symmetric positive definite banded matrices; once differentiable.

    Args:
        bands: the diagonal and those below it, `(..., w + 1, d)`: `bands[..., k, i]` is
            A_{i+k, i}.
        b: right-hand sides `(..., d)`.

    Returns:
        The solutions `(..., d)`; NaN where A is not positive definite.
    """
    lead = torch.broadcast_shapes(bands.shape[:-2], b.shape[:-1])
    bands, b = bands.expand(*lead, *bands.shape[-2:]), b.expand(*lead, b.shape[-1])
    return _Solve.apply(bands, b)  # pyright: ignore


def band_product(factor: dict[int, Tensor]) -> Tensor:
    """The bands of L L^T for a lower triangular L that has few diagonals.

    Args:
        factor: the diagonals of L by their distance k below the main one, each `(..., d)` with
            entries L_{i+k, i}, and 0 where i + k >= d.

    Returns:
        Bands of the product, `(..., w + 1, d)`, w the largest distance.
    """
    d = factor[0].shape[-1]
    made: dict[int, Tensor] = {}
    for a, upper in factor.items():  # (L L^T)_{i+a-c, i} = sum_c L_{i+a-c, i-c} L_{i, i-c}
        for c, lower in factor.items():
            if a < c:
                continue
            part = (upper * lower)[..., : d - c]
            part = torch.nn.functional.pad(part, (c, 0))
            made[a - c] = made[a - c] + part if a - c in made else part
    zero = torch.zeros_like(factor[0])
    return torch.stack([made.get(k, zero) for k in range(max(factor) + 1)], dim=-2)


def markov_links(T: int, n: int, reach: int) -> tuple[list[int], Tensor]:
    """Where the factor L of a Markov chain's precision has entries, L_{i+k, i}.

    Args:
        T: times.
        n: components of a state.
        reach: components at most this far apart are linked.

    Returns:
        The distances k, from 0 to at most 2 n - 1, and for each of them booleans `(T n,)`: whether
        i + k is inside, at the same time as i or the next, and near.
    """
    i = torch.arange(T * n)
    k = torch.arange(2 * n)[:, None]
    near = ((i + k) % n - i % n).abs() <= reach
    valid = near & (i % n + k < 2 * n) & (i + k < T * n)
    some = valid.any(-1)
    return k[some, 0].tolist(), valid[some]
