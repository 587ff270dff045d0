"""The autoencoder: fields to a few numbers and back, dense or by convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..array import typed
from .nets import MLP, Activation, check_input, check_sizes, made_by


@typed
class Autoencoder(nn.Module):
    """Two networks back to back, x ~ D(E(x)): fields `(..., *shape)` <-> latents `(..., latent)`.

    `Autoencoder.dense`, `.convolutional` and `.on_grid` make both. `encode` and `decode` take any
    leading axes; the module itself is D o E, as training needs it. Networks see fields in units
    of `mean` and `std`, two numbers that are stored with the weights: 0 and 1 unless `scaled` has
    set them. Fields of several units come through a Normalisation first: one number would hide
    those in small units.

    Args:
        encoder: a network E, `(b, *shape) -> (b, latent)`.
        decoder: a network D, `(b, latent) -> (b, *shape)`.
        shape: of a field.
        latent: numbers in a latent vector.

    Raises:
        ValueError: sizes that do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, shape: Sequence[int], latent: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        if not shape:
            raise ValueError("shape of Autoencoder must have one axis or more, met ()")
        check_sizes("Autoencoder", shape=tuple(shape), latent=latent)
        self.encoder, self.decoder = encoder, decoder
        self.shape, self.latent = tuple(shape), latent
        self.grid: tuple[int, ...] | None = None

    @classmethod
    @typed
    def dense(
        cls,
        n: int,
        latent: int,
        hidden: Sequence[int] = (64,),
        *,
        activation: Activation = nn.SiLU,
    ) -> Autoencoder:
        """Of vectors `(..., n)`, by two MLPs that mirror each other."""
        check_sizes("Autoencoder", n=n, latent=latent)
        there = MLP(n, latent, hidden, activation=activation)
        back = MLP(latent, n, tuple(reversed(hidden)), activation=activation)
        return cls(there, back, (n,), latent)

    @classmethod
    @typed
    def convolutional(
        cls,
        shape: Sequence[int],
        latent: int,
        channels: Sequence[int] = (8, 16, 32),
        *,
        activation: Activation = nn.SiLU,
    ) -> Autoencoder:
        """Of fields `(..., c, h, w)`; each of the layers halves the grid and sees 4 x 4 points.

        h and w must be divisible by 2^layers. Points beyond the rim count as 0.
        """
        check_sizes("Autoencoder", shape=tuple(shape), channels=tuple(channels), latent=latent)
        if not channels:
            raise ValueError("channels of Autoencoder must be one or more, met ()")
        times = 2 ** len(channels)
        if len(shape) != 3 or shape[1] % times or shape[2] % times:
            raise ValueError(
                f"a convolutional Autoencoder of {len(channels)} layers wants a shape (c, h, w) "
                f"with h and w divisible by {times}, met {tuple(shape)}"
            )
        small = (channels[-1], shape[1] // times, shape[2] // times)
        down, up = halving((shape[0], *channels), activation)
        n = math.prod(small)
        there = nn.Sequential(*down, nn.Flatten(), nn.Linear(n, latent))
        up = [nn.Linear(latent, n), nn.Unflatten(1, small), made_by(activation), *up]
        return cls(there, nn.Sequential(*up), shape, latent)

    @classmethod
    @typed
    def on_grid(
        cls,
        shape: Sequence[int],
        latent: int,
        channels: Sequence[int] = (16, 32, 32),
        *,
        activation: Activation = nn.SiLU,
    ) -> Autoencoder:
        """Of fields `(..., c, h, w)` whose codes are fields themselves, on a coarser grid.

        Convolutions alone: a code number knows its neighbourhood only, so that a filter may be
        localized among codes, and the weights serve fields of any size. Each of the layers halves
        the grid; `latent` numbers stand at each point of the coarsest one, at `places`. A code is
        `(..., latent h' w')`, component by component.
        """
        check_sizes("Autoencoder", shape=tuple(shape), channels=tuple(channels), latent=latent)
        times = 2 ** len(channels)
        if not channels or len(shape) != 3 or shape[1] % times or shape[2] % times:
            raise ValueError(
                f"an Autoencoder on a grid of {len(channels)} layers wants at least one, and a "
                f"shape (c, h, w) with h and w divisible by {times}, met {tuple(shape)}"
            )
        small, wide = (latent, shape[1] // times, shape[2] // times), channels[-1]
        down, up = halving((shape[0], *channels), activation)
        down += [nn.Conv2d(wide, wide, 3, padding=1), made_by(activation)]
        back = [nn.Conv2d(wide, wide, 3, padding=1), made_by(activation)]
        there = nn.Sequential(*down, nn.Conv2d(wide, latent, 1), nn.Flatten())
        first = [nn.Unflatten(1, small), nn.Conv2d(latent, wide, 1), made_by(activation)]
        made = cls(there, nn.Sequential(*first, *back, *up), shape, math.prod(small))
        made.grid = small
        return made

    @property
    def places(self) -> Tensor:
        """Where the numbers of a code of `on_grid` stand, (row, column) in cells, `(latent, 2)`.

        Raises:
            ValueError: for an autoencoder whose codes stand nowhere.
        """
        if self.grid is None:
            raise ValueError(
                "codes of this Autoencoder have no places; wanted Autoencoder.on_grid"
            )
        c, *sides = self.grid
        lines = [
            (torch.arange(n) + 0.5) * (size / n) - 0.5
            for n, size in zip(sides, self.shape[1:], strict=True)
        ]
        at = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).reshape(-1, 2)
        return at.repeat(c, 1)

    @typed
    def on_shape(self, shape: Sequence[int]) -> Autoencoder:
        """This network `on_grid` for fields of another size; it shares the weights.

        Away from the rims a code number is the same as on the smaller field. What lies further
        apart than training has seen, codes of their own stand for.

        Args:
            shape: (c, h, w), of as many channels.

        Returns:
            Autoencoder: with as many codes a point, at its own `places`.

        Raises:
            ValueError: for other channels, sides that the layers cannot halve, and for an
                autoencoder whose codes do not stand on a grid.
        """
        if self.grid is None:
            raise ValueError(
                "this Autoencoder has weights for one size of field alone; wanted one made by "
                "Autoencoder.on_grid"
            )
        times = self.shape[1] // self.grid[1]
        check_sizes("Autoencoder", shape=tuple(shape))
        if len(shape) != 3 or shape[0] != self.shape[0] or shape[1] % times or shape[2] % times:
            raise ValueError(
                f"wanted a shape ({self.shape[0]}, h, w) with h and w divisible by {times}, met "
                f"{tuple(shape)}"
            )
        small = (self.grid[0], shape[1] // times, shape[2] // times)
        layers: Any = self.decoder
        back = nn.Sequential(nn.Unflatten(1, small), *layers[1:])
        other = Autoencoder(self.encoder, back, shape, math.prod(small))
        other.mean, other.std, other.grid = self.mean, self.std, small
        return other.train(self.training)

    def scaled(self, train: Tensor) -> Autoencoder:
        """This autoencoder, with the mean and standard deviation of the training data."""
        with torch.no_grad():
            self.mean.copy_(train.mean())
            self.std.copy_(train.std())
        return self

    def encode(self, x: Tensor) -> Tensor:
        """Fields `(..., *shape)` -> latents `(..., latent)`."""
        check_input("Autoencoder.encode", x, self.shape)
        lead = x.shape[: x.ndim - len(self.shape)]
        x = (x.reshape(-1, *self.shape) - self.mean) / self.std
        return self.encoder(x).reshape(*lead, self.latent)

    def decode(self, z: Tensor) -> Tensor:
        """Latents `(..., latent)` -> fields `(..., *shape)`."""
        check_input("Autoencoder.decode", z, (self.latent,))
        x = self.decoder(z.reshape(-1, self.latent)) * self.std + self.mean
        return x.reshape(*z.shape[:-1], *self.shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


def halving(widths: Sequence[int], activation: Activation) -> tuple[list[nn.Module], ...]:
    """Convolutions that halve the grid, with these channels between, and their mirror image."""
    down: list[nn.Module] = []
    up: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        down += [nn.Conv2d(a, b, 4, stride=2, padding=1), made_by(activation)]
        out = nn.ConvTranspose2d(b, a, 4, stride=2, padding=1)
        up = [out, *([made_by(activation)] if i else []), *up]
    return down, up
