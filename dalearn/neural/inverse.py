"""Inverse operators: networks from an image of scattered sensors to the field behind the data.

    x ~ s N( v / s, mask, place ) ,   v = sign(y) |y / unit|^(1/power) ,   s = rms of v at sensors,

with y the Voronoi image of the data. Where data grow with the state to some power, the rule with
s makes the estimate grow as it must: a field twice as large gives an estimate twice as large, also
beyond what was trained on. `place` are sines and cosines of rows and columns, which tell a
convolution where it is.

Three networks N: convolutions as VIVID published them (`Plain`), a U-Net (`FoldedUNet`), and a
masked autoencoder (`MaskedMixer`), which sees patches with a sensor in them and fills in the rest.

Cheng, Liu, Guo and Arcucci, Efficient deep data assimilation with sparse observations and
time-varying sensors, J. Comput. Phys. 496, 2024 (VIVID); He et al., Masked autoencoders are
scalable vision learners, CVPR 2022; Tolstikhin et al., MLP-Mixer, NeurIPS 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..array import check_between, typed
from .nets import check_sizes
from .unet import UNet

CHANNELS = 6  # of what a network gets: numbers, mask, and four of the place


@typed
class Inverse(nn.Module):
    """An inverse operator: Voronoi images to fields, in the units of the state.

    Shapes: `(b, 2, rows, columns) -> (b, rows columns)`.

    Args:
        net: from `(b, 6, rows, columns)`, all of size 1, to `(b, rows, columns)`.
        shape: of the grid.
        power: the data grow with the state to this power.
        unit: the data where the state is 1 everywhere.

    Raises:
        ValueError: numbers out of range; when called, an image of another shape.
    """

    def __init__(
        self, net: nn.Module, shape: tuple[int, int], *, power: float = 1.0, unit: float = 1.0
    ):
        super().__init__()
        check_sizes("Inverse", shape=shape)
        check_between("power", power, 0, 16, open_low=True)
        check_between("unit", unit, 0, 1e12, open_low=True)
        self.net, self.shape, self.power, self.unit = net, shape, power, unit
        angles = [2 * torch.pi * torch.arange(n) / n for n in shape]
        grid = torch.meshgrid(*angles, indexing="ij")
        place = torch.stack([f(a) for a in grid for f in (torch.sin, torch.cos)])
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("done", torch.zeros(()))

    @property
    def trained(self) -> bool:
        """Whether it has been trained, or has the weights of a training."""
        return bool(self.get_buffer("done") > 0)

    def settle(self) -> None:
        """Say that the weights are those of a training."""
        self.get_buffer("done").fill_(1)

    def forward(self, image: Tensor) -> Tensor:
        if image.ndim != 4 or tuple(image.shape[1:]) != (2, *self.shape):
            wanted = ", ".join(map(str, (2, *self.shape)))
            raise ValueError(
                f"Inverse wants images (b, {wanted}) of voronoi, met shape {tuple(image.shape)}"
            )
        x, size = self.scaled(image)
        return (self.net(x) * size[:, None, None]).flatten(1)

    def scaled(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is given `(b, 6, rows, columns)`, and the size s of the state `(b)`."""
        y, mask = image[:, 0], image[:, 1]
        v = y.sign() * (y / self.unit).abs() ** (1 / self.power)
        size = ((v * v * mask).sum((1, 2)) / mask.sum((1, 2))).sqrt()
        size = size.clamp_min(torch.finfo(v.dtype).tiny)
        place = self.get_buffer("place").to(v).expand(len(v), -1, -1, -1)
        parts = ((v / size[:, None, None])[:, None], mask[:, None], place)
        return torch.cat(parts, 1), size


@typed
class Plain(nn.Module):
    """Convolutions of one width with zeros beyond the rim, as VIVID published them.

    Shapes: `(b, 6, rows, columns) -> (b, rows, columns)`.

    Args:
        width: channels of each layer; published 48.
        layers: how many, without the last; published 6.
        kernel: width of a convolution; published 8.
    """

    def __init__(self, width: int = 48, layers: int = 6, kernel: int = 8):
        super().__init__()
        check_sizes("Plain", width=width, layers=layers, kernel=kernel)
        before, parts = CHANNELS, []
        low, high = (kernel - 1) // 2, kernel // 2
        for after in (*(width,) * layers, 1):
            parts += [
                nn.ZeroPad2d((low, high, low, high)),
                nn.Conv2d(before, after, kernel),
                nn.ReLU(),
            ]
            before = after
        self.layers = nn.Sequential(*parts[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[:, 0]


@typed
class FoldedUNet(nn.Module):
    """A U-Net on blocks of 2 x 2 cells, whose numbers are its channels, on a torus.

    Shapes: `(b, 6, rows, columns) -> (b, rows, columns)`, both even. Where the blocks are not a
    multiple of what the U-Net wants, those of the other side are repeated beyond the rim.

    Args:
        widths: channels at each level.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 64)):
        super().__init__()
        self.unet = UNet(4 * CHANNELS, 4, widths)

    def forward(self, x: Tensor) -> Tensor:
        blocks = F.pixel_unshuffle(x, 2)
        h, w = blocks.shape[-2:]
        down, right = (-h % self.unet.factor, -w % self.unet.factor)
        pad = (right // 2, right - right // 2, down // 2, down - down // 2)
        y = self.unet(F.pad(blocks, pad, mode="circular"))
        y = y[..., pad[2] : pad[2] + h, pad[0] : pad[0] + w]
        return F.pixel_shuffle(y, 2)[:, 0]


@typed
class MaskedMixer(nn.Module):
    """A masked autoencoder: patches without a sensor are one learned token, and are filled in.

    Layers mix patches and channels in turn. It reads the sensors alone, not the Voronoi cells
    around them. Shapes: `(b, 6, rows, columns) -> (b, rows, columns)`.

    Args:
        shape: of the grid.
        patch: side of a patch, which divides rows and columns.
        width: numbers in a token.
        layers: how many of each kind.
        hidden: width inside a layer that mixes patches.

    Raises:
        ValueError: a patch that does not divide the grid.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        patch: int = 5,
        width: int = 64,
        layers: int = 4,
        hidden: int = 96,
    ):
        super().__init__()
        check_sizes(
            "MaskedMixer", shape=shape, patch=patch, width=width, layers=layers, hidden=hidden
        )
        if shape[0] % patch or shape[1] % patch:
            raise ValueError(f"patch must divide the grid {shape}, met {patch}")
        count, cells = shape[0] * shape[1] // patch**2, patch**2
        self.shape, self.patch = shape, patch
        self.read, self.write = nn.Linear(2 * cells, width), nn.Linear(width, cells)
        self.place = nn.Parameter(0.02 * torch.randn(count, width))
        self.unseen = nn.Parameter(0.02 * torch.randn(width))

        def two(n: int, inside: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(n, inside), nn.SiLU(), nn.Linear(inside, n))

        self.patches = nn.ModuleList(two(count, hidden) for _ in range(layers))
        self.channels = nn.ModuleList(two(width, 2 * width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))

    def forward(self, x: Tensor) -> Tensor:
        at_sensors = torch.cat((x[:, :1] * x[:, 1:2], x[:, 1:2]), 1)
        tokens = F.unfold(at_sensors, self.patch, stride=self.patch).mT
        cells = self.patch**2
        seen = tokens[..., cells:].sum(-1, keepdim=True) > 0
        h = torch.where(seen, self.read(tokens), self.unseen) + self.place
        norms = iter(self.norms)
        for patches, channels in zip(self.patches, self.channels, strict=True):
            h = h + patches(next(norms)(h).mT).mT
            h = h + channels(next(norms)(h))
        out = self.write(h).mT
        return F.fold(out, self.shape, self.patch, stride=self.patch)[:, 0]
