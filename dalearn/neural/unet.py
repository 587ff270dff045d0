"""The U-Net: convolutions on a grid and on coarser ones, with all fine detail carried across.

    a_0 = C_0(x) ,   a_l = C_l(down a_{l-1}) ,   b_L = a_L ,   b_l = D_l(a_l, up b_{l+1})

with y = W b_0.

A point of the coarsest grid sees 2^L times as far as a convolution: waves that cross half the
field in one step, or corrections that depend on sparse data far away, want few layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..array import typed
from .nets import Activation, check_sizes, made_by


@typed
class UNet(nn.Module):
    """A U-Net on a line or in a plane, for any grid that 2^levels divides.

    Shapes: `(b, channels, [h,] w) -> (b, outputs, [h,] w)`. Grids are coarsened by means of 2 (or
    2 x 2) points and refined by repeating them; on a torus the network then commutes with shifts
    by 2^levels points.

    Args:
        channels: of what comes in.
        outputs: channels of what goes out.
        widths: channels at each level, the finest first; there are one fewer coarsenings.
        axes: 1 or 2.
        kernel: width of a convolution, odd.
        residual: x + f(x), for as many channels out as in.
        periodic: the grid is a ring or a torus. Otherwise the value at the rim is repeated beyond
            it, which assumes that the field has no gradient across the rim.
        activation: makes the function after each convolution.

    Raises:
        ValueError: sizes that do not fit.

    Source: O. Ronneberger, P. Fischer and T. Brox, U-Net: Convolutional networks for biomedical
    image segmentation, MICCAI 2015.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        widths: Sequence[int] = (16, 32, 64),
        *,
        axes: int = 2,
        kernel: int = 3,
        residual: bool = False,
        periodic: bool = True,
        activation: Activation = nn.SiLU,
    ):
        super().__init__()
        check_sizes(
            "UNet", channels=channels, outputs=outputs, widths=tuple(widths), kernel=kernel
        )
        if axes not in (1, 2) or kernel % 2 == 0 or not widths:
            raise ValueError(
                f"UNet wants axes 1 or 2, an odd kernel and one width or more, met {axes}, "
                f"{kernel} and {tuple(widths)}"
            )
        if residual and channels != outputs:
            raise ValueError(
                f"a residual UNet wants outputs = channels, met {channels} and {outputs}"
            )
        conv = (nn.Conv1d, nn.Conv2d)[axes - 1]
        pad: Any = {"padding": kernel // 2}
        pad["padding_mode"] = "circular" if periodic else "replicate"

        def block(before: int, after: int) -> nn.Sequential:
            first, second = conv(before, after, kernel, **pad), conv(after, after, kernel, **pad)
            return nn.Sequential(first, made_by(activation), second, made_by(activation))

        self.down = nn.ModuleList(block(a, b) for a, b in pairwise((channels, *widths)))
        self.up = nn.ModuleList(block(a + b, a) for a, b in pairwise(widths))
        self.pool = (nn.AvgPool1d, nn.AvgPool2d)[axes - 1](2)
        self.refine = nn.Upsample(scale_factor=2)
        self.out = conv(widths[0], outputs, 1)
        self.channels, self.axes, self.residual = channels, axes, residual
        self.factor = 2 ** (len(widths) - 1)
        self.least = self.factor * (kernel // 2 + 1 if periodic else 1)

    def forward(self, x: Tensor) -> Tensor:
        self._check(tuple(x.shape))
        kept = []
        a = x
        for i, block in enumerate(self.down):
            a = block(self.pool(a) if i else a)
            kept.append(a)
        b = kept.pop()
        for block in reversed(self.up):
            b = block(torch.cat((kept.pop(), self.refine(b)), dim=1))
        y = self.out(b)
        return x + y if self.residual else y

    def _check(self, shape: tuple[int, ...]) -> None:
        grid = shape[-self.axes :]
        fits = len(shape) == self.axes + 2 and shape[1] == self.channels
        if not fits or any(s % self.factor or s < self.least for s in grid):
            axes = ", ".join("hw"[2 - self.axes :])
            raise ValueError(
                f"UNet wants (b, {self.channels}, {axes}) with a grid that {self.factor} divides, "
                f"at least {self.least} points a side, met shape {shape}"
            )
