"""The vector-quantised autoencoder: a field as a small grid of integers, and back.

    z = E(x, a) ,     k_i = argmin_k |z_i - e_k| ,     x ~ D(e_k, a)

at each place i of a coarse grid. E and D are convolutions; both may be told of what does not
change from field to field, maps a of the place (its terrain, say). A field becomes a word of h' w'
letters of an alphabet of K, and a `CodePrior` can learn which words occur.

Source: A. van den Oord, O. Vinyals and K. Kavukcuoglu, Neural discrete representation learning,
NeurIPS 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..array import check_between, typed
from ..models.coders import reconstruction_error
from .codebook import Codebook
from .nets import Activation, check_input, check_sizes, made_by


@typed
class VQVAE(nn.Module):
    """A vector-quantised autoencoder of fields `(c, h, w)`.

        net = seeded(0, VQVAE, (1, 32, 32), 64)
        fit(net, (train,), loss=Committed(), ...)           # fields (S, 1, 32, 32)
        words = net.codes(x)                                # (..., n) -> integers (..., 4, 4)
        x = net.decode(net.embed(words))

    As a Coder its codes are the vectors of the letters, `(..., r)` with r = width h' w', place by
    place; `encode` gives the nearest ones, `decode` takes any. With maps, `at(a)` is the Coder of
    one place.

    Args:
        shape: (c, h, w), h and w divisible by 2^layers; states are these, flat.
        codes: K, letters of the alphabet.
        width: numbers in the vector of a letter.
        channels: of the layers; each halves the grid.
        maps: channels of the maps a `(maps, h, w)`; 0: none.
        outputs: channels that the decoder gives, where they are other ones than c: the loss has
            to know what they mean.
        decay: of the running means of the codebook, in (0, 1].
        activation: makes the function between two layers.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    def __init__(
        self,
        shape: Sequence[int],
        codes: int,
        width: int = 32,
        channels: Sequence[int] = (16, 32, 32),
        *,
        maps: int = 0,
        outputs: int | None = None,
        decay: float = 0.95,
        activation: Activation = nn.SiLU,
    ):
        super().__init__()
        check_sizes("VQVAE", shape=tuple(shape), channels=tuple(channels))
        if maps:
            check_sizes("VQVAE", maps=maps)
        times = 2 ** len(channels)
        if not channels or len(shape) != 3 or shape[1] % times or shape[2] % times:
            raise ValueError(
                f"a VQVAE of {len(channels)} layers wants one at least, and a shape (c, h, w) "
                f"with h and w divisible by {times}, met shape {tuple(shape)}"
            )
        outputs = shape[0] if outputs is None else outputs
        check_sizes("VQVAE", outputs=outputs)
        self.shape, self.maps = tuple(shape), maps
        self.outputs = (outputs, *self.shape[1:])
        self.codebook = Codebook(codes, width, decay=decay)
        self.grid = (shape[1] // times, shape[2] // times)
        self.n, self.r = math.prod(self.shape), width * math.prod(self.grid)
        last = channels[-1]
        down: list[nn.Module] = []
        for a, b in zip((shape[0] + maps, *channels), channels, strict=False):
            down += [nn.Conv2d(a, b, 4, stride=2, padding=1), made_by(activation)]
        down += [nn.Conv2d(last, last, 3, padding=1), made_by(activation)]
        self.down = nn.Sequential(*down, nn.Conv2d(last, width, 1))
        self.up = Refining(width, channels[::-1], outputs, maps, activation)

    def codes(self, x: Tensor, maps: Tensor | None = None) -> Tensor:
        """States `(..., n)` -> integers `(..., h', w')`.

        Raises:
            ValueError: for a network that is not trained, and for NaN, which no integer can hold.
        """
        z = self._seen(x, maps)
        self._check_trained()
        if not bool(torch.isfinite(z).all()):
            raise ValueError("states of VQVAE hold NaN or infinity; wanted them left out first")
        return self.codebook.nearest(z).reshape(*x.shape[:-1], *self.grid)

    def embed(self, codes: Tensor) -> Tensor:
        """Integers `(..., h', w')` -> their vectors `(..., r)`, for `decode`.

        Raises:
            ValueError: for a network that is not trained, and for what is no integer of [0, K).
        """
        self._check_trained()
        check_codes(codes, self.codebook.codes, self.grid)
        return self.codebook.vectors[codes].flatten(-3)

    def encode(self, x: Tensor, maps: Tensor | None = None) -> Tensor:
        """States `(..., n)` -> the vectors of their codes `(..., r)`; NaN where not finite."""
        z = self._seen(x, maps)
        if not self.training:
            self._check_trained()
        return self.codebook(z)[0].reshape(*x.shape[:-1], self.r)

    def decode(self, z: Tensor, maps: Tensor | None = None) -> Tensor:
        """Vectors `(..., r)` -> states `(..., n)`, or `(..., outputs h w)`."""
        check_input("codes of VQVAE", z, (self.r,))
        lead = z.shape[:-1]
        z = z.reshape(-1, *self.grid, self.codebook.width).movedim(-1, 1)
        return self.up(z, self._laid(maps, lead)).reshape(*lead, -1)

    def floor(self, test: Tensor) -> float:
        """The error that remains without any assimilation: see `reconstruction_error`."""
        with torch.no_grad():
            return reconstruction_error(self, test)

    def at(self, maps: Tensor) -> AtPlace:
        """The Coder of the place that has these maps `(maps, h, w)`."""
        return AtPlace(self, maps)

    def forward(self, x: Tensor, maps: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Fields `(b, c, h, w)` -> what they are decoded to, and what committing costs."""
        check_input("VQVAE", x, self.shape, "b")
        q, cost = self.codebook(self._seen(x.flatten(-3), maps))
        z = q.reshape(-1, *self.grid, self.codebook.width).movedim(-1, 1)
        return self.up(z, self._laid(maps, x.shape[:1])), cost

    def _seen(self, x: Tensor, maps: Tensor | None) -> Tensor:
        """Vectors `(b, h', w', width)` of the encoder."""
        check_input("states of VQVAE", x, (self.n,))
        seen = x.reshape(-1, *self.shape)
        if (laid := self._laid(maps, x.shape[:-1])) is not None:
            seen = torch.cat((seen, laid.to(seen)), dim=1)
        return self.down(seen).movedim(1, -1)

    def _laid(self, maps: Tensor | None, lead: Sequence[int]) -> Tensor | None:
        """The maps for each field, `(b, maps, h, w)`."""
        if (maps is None) == bool(self.maps):
            met = "none" if maps is None else f"maps {tuple(maps.shape)}"
            raise ValueError(f"this VQVAE has {self.maps} maps (maps={self.maps}), met {met}")
        if maps is None:
            return None
        check_input("maps of VQVAE", maps, (self.maps, *self.shape[1:]))
        return maps.expand(*lead, *maps.shape[-3:]).reshape(-1, *maps.shape[-3:])

    def _check_trained(self) -> None:
        if not self.codebook.trained:
            raise ValueError(
                "this VQVAE is not trained: all letters are the same vector; wanted fit(net, "
                "(fields,), loss=Committed()) or load_weights first"
            )


class Refining(nn.Module):
    """The decoder: vectors on a coarse grid to fields, told of the maps on each grid it passes."""

    def __init__(
        self, width: int, channels: Sequence[int], outputs: int, maps: int, activation: Activation
    ):
        super().__init__()
        first, *rest = channels
        self.enter = nn.Conv2d(width + maps, first, 3, padding=1)
        widths = (first, *rest, channels[-1])
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(a + maps * (i > 0), b, 4, stride=2, padding=1)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.leave = nn.Conv2d(channels[-1] + maps, channels[-1], 3, padding=1)
        self.out = nn.Conv2d(channels[-1], outputs, 3, padding=1)
        self.acts = nn.ModuleList(made_by(activation) for _ in range(len(self.rise) + 2))

    def forward(self, z: Tensor, maps: Tensor | None) -> Tensor:
        def told(x: Tensor) -> Tensor:
            if maps is None:
                return x
            return torch.cat((x, _pooled(maps, maps.shape[-1] // x.shape[-1]).to(x)), dim=1)

        x = self.acts[0](self.enter(told(z)))
        for i, (rise, act) in enumerate(zip(self.rise, self.acts[1:], strict=False)):
            x = act(rise(told(x) if i else x))
        return self.out(self.acts[-1](self.leave(told(x))))


def _pooled(maps: Tensor, times: int) -> Tensor:
    return nn.functional.avg_pool2d(maps, times) if times > 1 else maps


@typed
@dataclass(frozen=True, eq=False)
class AtPlace:
    """The Coder that a VQVAE with maps is at one place.

    Args:
        net: the VQVAE.
        maps: `(maps, h, w)`.
    """

    net: Any
    maps: Any

    @property
    def n(self) -> int:
        return self.net.n

    @property
    def r(self) -> int:
        return self.net.r

    def encode(self, x: Tensor) -> Tensor:
        """States `(..., n)` -> codes `(..., r)`."""
        return self.net.encode(x, self.maps)

    def decode(self, z: Tensor) -> Tensor:
        """Codes `(..., r)` -> states `(..., n)`."""
        return self.net.decode(z, self.maps)

    def floor(self, test: Tensor) -> float:
        """The error that remains without any assimilation: see `reconstruction_error`."""
        with torch.no_grad():
            return reconstruction_error(self, test)


@typed
@dataclass(frozen=True, eq=False)
class Committed:
    """The loss of a VQVAE, `loss(net, x)` or `loss(net, x, maps)` of fields `(b, c, h, w)`.

        fidelity(D(q), x) + weight mean |z - q|^2 ,     q the codes nearest to z = E(x)

    Args:
        weight: of the pull of the encoder towards its codes.
        fidelity: of what is decoded to x, a mean over the rows; by default the mean square error.

    Raises:
        ValueError: a negative weight.
    """

    weight: float = 0.25
    fidelity: Callable[..., Tensor] | None = None

    def __post_init__(self):
        check_between("weight", self.weight, 0, math.inf, open_low=False)

    def __call__(self, net: VQVAE, x: Tensor, maps: Tensor | None = None) -> Tensor:
        found, cost = net(x, maps)
        gap = (self.fidelity or nn.functional.mse_loss)(found, x)
        return gap + self.weight * cost


def check_codes(codes: Tensor, count: int, grid: Sequence[int]) -> None:
    """Refuse what are not integers of [0, count) on the grid."""
    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise ValueError(f"codes must be integers on a grid {tuple(grid)}, met {codes.dtype}")
    check_input("codes", codes, tuple(grid))
    if codes.numel() and not bool(((codes >= 0) & (codes < count)).all()):
        met = f"{int(codes.min())} to {int(codes.max())}"
        raise ValueError(f"codes must be integers from 0 to {count - 1}, met {met}")
