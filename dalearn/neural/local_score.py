"""The score of short pieces of a trajectory, put together to the score of all of it.

A state x is blurred in pseudo-time t, from 0 to 1, until nothing but noise is left,

    x_t = mu(t) x + sigma(t) e,  e ~ N(0, I),
    mu = cos^2(w t),  sigma^2 = 1 - mu^2 + 10^-6,  w = arccos(10^-3/2),

and the network finds e in a blurred trajectory. The score is -e / sigma(t). If each state depends
on the others through its 2 k nearest neighbours alone, then the component i of the score of the
whole trajectory is that of the window x_(i-k), ..., x_(i+k): one small network of 2 k + 1 states
serves trajectories of any length. At both ends it is that of the first and of the last window.

F. Rozet and G. Louppe, Score-based data assimilation, NeurIPS 2023.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..array import typed
from .nets import check_input, check_sizes

LEAST = 1e-3  # mu(1)
FLOOR = 1e-6  # sigma^2(0)


def signal(t: Any) -> Any:
    """The factor mu on the state at pseudo-time t, a number or a tensor."""
    cos = torch.cos if isinstance(t, Tensor) else math.cos
    return cos(math.acos(LEAST**0.5) * t) ** 2


def noise(t: Any) -> Any:
    """The standard deviation sigma of the noise at pseudo-time t, a number or a tensor."""
    return (1 - signal(t) ** 2 + FLOOR) ** 0.5


@typed
class LocalScore(nn.Module):
    """The noise in a blurred trajectory, from windows of 2 k + 1 states.

    Shapes: `(b, L, n)` in units of `mean` and `std`, and t, a number or `(b,)`, -> `(b, L, n)`,
    for any L >= 2 k + 1; with `at`, integers `(A,)`, the noise of these states alone, from their
    windows alone, `(b, A, n)`. A residual perceptron, h <- h + W' s(W h + V c(t)), with cosines
    and sines c of t.

    Args:
        n: size of a state.
        k: neighbours on either side.
        width: of the hidden layers.
        depth: how many residual layers.
        waves: how many frequencies of t.

    Raises:
        ValueError: sizes that do not fit, and trajectories shorter than a window.

    Source: F. Rozet and G. Louppe, Score-based data assimilation, NeurIPS 2023.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n: int, k: int = 4, *, width: int = 128, depth: int = 3, waves: int = 8):
        super().__init__()
        check_sizes("LocalScore", n=n, k=k, width=width, depth=depth, waves=waves)
        self.n, self.k, self.waves = n, k, waves
        self.read = nn.Linear((2 * k + 1) * n, width)
        self.time = nn.Linear(2 * waves, width * (depth + 1))
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.outer = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.write = nn.Linear(width, (2 * k + 1) * n)
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("std", torch.zeros(n))

    @property
    def trained(self) -> bool:
        """Whether it knows the units of the states, which a training or a file of weights sets."""
        return bool((self.std > 0).all())

    def scaled(self, unit: Any) -> LocalScore:
        """This network, for states in the units of a Normalisation `(n,)`."""
        with torch.no_grad():
            self.mean.copy_(torch.as_tensor(unit.mean))
            self.std.copy_(torch.as_tensor(unit.std))
        return self

    def forward(self, x: Tensor, t: Any, at: Tensor | None = None) -> Tensor:
        check_input("LocalScore", x, (self.n,), "b, L")
        k, length = self.k, x.shape[1]
        if x.ndim != 3 or length < 2 * k + 1:
            raise ValueError(
                f"LocalScore wants (b, L, {self.n}) with L >= {2 * k + 1}, the states of a "
                f"window, met shape {tuple(x.shape)}"
            )
        windows = x.unfold(1, 2 * k + 1, 1).mT  # (b, L - 2 k, 2 k + 1, n)
        if at is None:
            out = self._noise(windows, t)
            return torch.cat((out[:, 0, :k], out[:, :, k], out[:, -1, k + 1 :]), dim=1)
        which = (at - k).clamp(0, length - 2 * k - 1)
        return self._noise(windows[:, which], t)[:, torch.arange(len(at)), at - which]

    def _noise(self, windows: Tensor, t: Any) -> Tensor:
        return self.write(self._hidden(windows.flatten(2), t)).view(windows.shape)

    def _hidden(self, x: Tensor, t: Any) -> Tensor:
        t = torch.as_tensor(t, dtype=x.dtype, device=x.device).reshape(-1, 1)
        angle = math.pi * torch.arange(1, self.waves + 1, dtype=x.dtype, device=x.device) * t
        shift = self.time(torch.cat((angle.cos(), angle.sin()), dim=1))[:, None]
        first, *shifts = shift.chunk(len(self.inner) + 1, dim=2)
        h = self.read(x) + first
        for inner, outer, s in zip(self.inner, self.outer, shifts, strict=True):
            h = h + outer(nn.functional.silu(inner(h) + s))
        return h


def denoising(net: LocalScore, x: Tensor) -> Tensor:
    """The mean square error of the noise found in pieces `(b, L, n)`, over all pseudo-times.

    The times of a batch are evenly spaced from a random one on: the mean has less noise so.

    Args:
        net: a LocalScore, or a network of the same arguments with `mean` and `std`.
        x: trajectories in their own units.

    Returns:
        A tensor `()`.
    """
    x = (x - net.mean) / net.std
    t = (torch.rand((), dtype=x.dtype) + torch.arange(len(x)).to(x) / len(x)) % 1
    e = torch.randn_like(x)
    blurred = signal(t)[:, None, None] * x + noise(t)[:, None, None] * e
    return ((net(blurred, t) - e) ** 2).mean()
