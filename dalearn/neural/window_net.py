"""From a window of data and their precisions to a state: the form of a learned inversion.

    x = f(Y, R^-1),   Y = (y_1, ..., y_K),

Each number comes with how much it can be trusted, g = V / (V + R), where V is the variance of what
is observed: 0 where nothing was seen, near 1 where the error is small. One network so serves any
mask, any noise, and windows shorter than its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..array import check_count, shown, typed


@typed
class WindowNet(nn.Module):
    """A network of windows of observations, `(b, K, m)` and precisions `(b, K, m) -> (b, n)`.

    The body sees, for each observation time, the numbers in units of their own variability times
    g, and g. Its units are found by `scaled`, on data and a prior, never on a truth.

    Args:
        body: a module `(b, 2 K c, *grid) -> (b, C, *grid)`; twice as many channels come out where
            `spread`. Without a grid, `(b, 2 K m) -> (b, n)`.
        times: K, the observation times of a window.
        observed: the shape of one observation as the body sees it, `(c, *grid)` with product m.
        state: the shape of the state, `(C, *grid)` with product n.
        spread: whether the body gives, beside the mean, the logarithm of a standard deviation.

    Raises:
        ValueError: sizes that are no counts.
    """

    y_mean: Tensor
    y_variance: Tensor
    x_mean: Tensor
    x_std: Tensor

    def __init__(
        self,
        body: nn.Module,
        times: int,
        observed: Sequence[int],
        state: Sequence[int],
        *,
        spread: bool = False,
    ):
        super().__init__()
        check_count("times", times)
        for name, shape in (("observed", observed), ("state", state)):
            if not len(shape):
                raise ValueError(f"{name} must be a shape (c, *grid), met ()")
            for size in shape:
                check_count(f"{name} of WindowNet", size)
        self.body, self.times, self.spread = body, int(times), bool(spread)
        self.observed = tuple(int(s) for s in observed)
        self.state = tuple(int(s) for s in state)
        self.m, self.n = math.prod(self.observed), math.prod(self.state)
        one = torch.ones((), dtype=torch.get_default_dtype())
        self.register_buffer("y_mean", 0 * one.repeat(self.observed[0]))
        self.register_buffer("y_variance", 0 * one.repeat(self.observed[0]))
        self.register_buffer("x_mean", 0 * one.repeat(self.n))
        self.register_buffer("x_std", 0 * one.repeat(self.n))

    @property
    def trained(self) -> bool:
        """Whether the units are known: they come with a training, or with its weights."""
        return bool((self.x_std > 0).all())

    @torch.no_grad()
    def scaled(self, y: Tensor, precision: Tensor, mean: Any, std: Any) -> WindowNet:
        """This network in the units of data and of a prior.

        Args:
            y: data `(b, K, m)`; what was not seen does not count.
            precision: 1 / variance of their errors, 0 where not seen, `(b, K, m)`.
            mean: of the prior, `(n,)`.
            std: its standard deviations, `(n,)`.

        Returns:
            WindowNet: itself.

        Raises:
            ValueError: a channel without data, and standard deviations that are not positive.
        """
        c = self.observed[0]
        y, p = (v.reshape(-1, c, self.m // c).transpose(0, 1).flatten(1) for v in (y, precision))
        seen = (p > 0).to(y)
        count = seen.sum(1)
        if not bool((count > 1).all()):
            raise ValueError(
                "a channel of the data has no two numbers; wanted windows in which all are seen"
            )
        centre = (y * seen).sum(1) / count
        total = ((y - centre[:, None]) ** 2 * seen).sum(1) / count
        error = torch.where(p > 0, 1 / p.clamp(min=1e-30), 0 * p).sum(1) / count
        if not bool((total > 0).all()):
            raise ValueError("a channel of the data never changes, met a variance of 0")
        mean, std = (torch.as_tensor(v).to(self.x_std) for v in (mean, std))
        if not bool((std > 0).all() and torch.isfinite(std).all() and torch.isfinite(mean).all()):
            raise ValueError(f"std must be positive and mean finite, met {shown(std)}")
        self.y_mean.copy_(centre)
        self.y_variance.copy_(torch.maximum(total - error, 0.1 * total))
        self.x_mean.copy_(mean)
        self.x_std.copy_(std)
        return self

    def forward(self, y: Tensor, precision: Tensor) -> Any:
        shape = tuple(y.shape)
        if shape[1:] != (self.times, self.m) or tuple(precision.shape) != shape:
            raise ValueError(
                f"WindowNet wants data and precisions (b, {self.times}, {self.m}), met {shape} "
                f"and {tuple(precision.shape)}"
            )
        b, c = shape[0], self.observed[0]
        y, p = (v.reshape(b, self.times * c, -1) for v in (y, precision))
        mean, variance = (v.repeat(self.times)[:, None] for v in (self.y_mean, self.y_variance))
        trust = variance * p / (1 + variance * p)
        told = torch.cat((trust * (y - mean) / variance**0.5, trust), 1)
        grid = self.observed[1:]
        out = self.body(told.reshape(b, -1, *grid) if grid else told.flatten(1)).flatten(1)
        if out.shape[1] != self.n * (1 + self.spread):
            raise ValueError(
                f"the body gave {out.shape[1]} numbers, wanted {self.n * (1 + self.spread)} "
                f"for a state of shape {self.state}" + " and its spread" * self.spread
            )
        x = self.x_mean + self.x_std * out[:, : self.n]
        if not self.spread:
            return x
        return x, self.x_std * torch.exp(out[:, self.n :].clamp(-8, 2) - 1)
