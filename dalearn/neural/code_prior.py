"""A prior over grids of codes: a small causal transformer, letter by letter.

    p(k_1 .. k_L | a) = prod_i p(k_i | k_1 .. k_{i-1}, a)

in the order of reading, rows first, given maps a of the place where there are any. What makes a
word of codes likely is learned from the words of the training fields; new fields are drawn by
drawing letters.

Source: A. Vaswani et al., Attention is all you need, NeurIPS 2017; over codes of a VQVAE:
P. Esser, R. Rombach and B. Ommer, Taming transformers for high-resolution image synthesis,
CVPR 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..array import check_between, check_count, typed, uniform
from .nets import check_input, check_sizes
from .vqvae import check_codes


@typed
class CodePrior(nn.Module):
    """The law of grids of codes `(h', w')`, as a causal transformer.

        prior = seeded(0, CodePrior, (8, 8), 64)
        fit(prior, (net.codes(train),), loss=CodePrior.nats)
        words = prior.sample(100, streams(Purpose.SIMULATION, 0))

    Args:
        grid: (h', w').
        codes: K, letters of the alphabet.
        width: numbers in each vector, a multiple of `heads`.
        layers: of attention.
        heads: of each layer.
        maps: channels of maps `(maps, h, w)` of the place; 0: none.
        times: h = times h', w = times w': a power of two.

    Raises:
        ValueError: sizes that do not fit each other.

    Convolutions read the maps: the vector of a place knows the maps some `2.5 times` cells around.
    """

    def __init__(
        self,
        grid: Sequence[int],
        codes: int,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        *,
        maps: int = 0,
        times: int = 1,
    ):
        super().__init__()
        sizes = {"codes": codes, "width": width, "layers": layers, "heads": heads, "times": times}
        check_sizes("CodePrior", grid=tuple(grid), **sizes)
        if len(grid) != 2 or width % heads or times & (times - 1):
            raise ValueError(
                "CodePrior wants a grid (h', w'), a width that heads divide and times a power of "
                f"two, met grid {tuple(grid)}, width {width}, heads {heads}, times {times}"
            )
        if maps:
            check_sizes("CodePrior", maps=maps)
        self.grid, self.codes, self.maps, self.times = tuple(grid), codes, maps, times
        self.length = math.prod(self.grid)
        self.letters = nn.Embedding(codes + 1, width)  # the last one: nothing yet
        self.places = nn.Parameter(0.02 * torch.randn(self.length, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, codes))
        self.read = _reader(maps, width, times) if maps else None

    def logits(self, codes: Tensor, maps: Tensor | None = None) -> Tensor:
        """Logits of each letter given those before it: `(b, h', w')` -> `(b, L, K)`."""
        check_codes(codes, self.codes, self.grid)
        lead = codes.shape[:-2]
        flat = codes.reshape(-1, self.length)
        start = torch.full_like(flat[:, :1], self.codes)
        x = self.letters(torch.cat((start, flat[:, :-1]), dim=1)) + self.places
        if (told := self._told(maps, len(flat))) is not None:
            x = x + told
        for block in self.blocks:
            x = block(x)
        return self.out(x).reshape(*lead, self.length, self.codes)

    def nats(self, codes: Tensor, maps: Tensor | None = None) -> Tensor:
        """The mean of -log p(letter | those before it): what `fit` minimises."""
        found = self.logits(codes, maps)
        return nn.functional.cross_entropy(found.flatten(0, -2), codes.flatten())

    def forward(self, codes: Tensor, maps: Tensor | None = None) -> Tensor:
        """log p(codes), `(b, h', w')` -> `(b,)`."""
        found = self.logits(codes, maps).log_softmax(-1)
        return found.gather(-1, codes.flatten(-2)[..., None])[..., 0].sum(-1)

    @torch.no_grad()
    def sample(
        self, count: int, rng: Any, maps: Tensor | None = None, *, temperature: float = 1.0
    ) -> Tensor:
        """Grids of codes drawn from the prior.

        Args:
            count: how many.
            rng: Streams, a `numpy.random.Generator` or whatever `dalearn.array.uniform` takes.
            maps: of the place, `(maps, h, w)`, or of each draw, `(count, maps, h, w)`.
            temperature: below 1 the likelier letters are drawn more often than they occur.

        Returns:
            Tensor: integers `(count, h', w')`.

        Raises:
            ValueError: for maps of another shape, and none where there must be some.
        """
        check_count("count", count)
        check_between("temperature", temperature, 0, math.inf, open_low=True)
        told = self._told(maps, count)
        u = uniform(rng, self.places.new_zeros(count, self.length))
        letter = torch.full((count,), self.codes, device=self.places.device)
        found, known = [], [_Known() for _ in self.blocks]
        for i in range(self.length):
            x = (self.letters(letter) + self.places[i])[:, None]
            x = x if told is None else x + told[:, i : i + 1]
            for block, past in zip(self.blocks, known, strict=True):
                x = block(x, past)
            chance = (self.out(x[:, 0]) / temperature).softmax(-1).cumsum(-1)
            letter = (chance < u[:, i : i + 1]).sum(-1).clamp(max=self.codes - 1)
            found.append(letter)
        return torch.stack(found, dim=1).reshape(count, *self.grid)

    def _told(self, maps: Tensor | None, count: int) -> Tensor | None:
        """What the maps say at each place, `(b, L, width)`."""
        if (maps is None) == bool(self.maps):
            met = "none" if maps is None else f"maps {tuple(maps.shape)}"
            raise ValueError(f"this CodePrior has {self.maps} maps (maps={self.maps}), met {met}")
        if maps is None or self.read is None:
            return None
        check_input("maps of CodePrior", maps, (self.maps, *(self.times * s for s in self.grid)))
        seen = self.read(maps.to(self.places).reshape(-1, *maps.shape[-3:]))
        return seen.flatten(-2).mT.expand(count, -1, -1)


class _Known:
    """Keys and values of the places before."""

    def __init__(self):
        self.parts: list[Tensor] = []

    def and_now(self, *new: Tensor) -> list[Tensor]:
        old = self.parts or [v[:, :, :0] for v in new]
        self.parts = [torch.cat(p, dim=2) for p in zip(old, new, strict=True)]
        return self.parts


class _Block(nn.Module):
    """Causal attention and a perceptron, each added to what came in."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.answer = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, known: _Known | None = None) -> Tensor:
        """All places at once, or the next one, after the `known` ones."""
        parts = self.ask(self.before(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        if known is not None:
            k, v = known.and_now(k, v)
        attend = nn.functional.scaled_dot_product_attention
        seen = attend(q, k, v, is_causal=known is None)
        x = x + self.answer(seen.transpose(1, 2).flatten(-2))
        return x + self.think(self.between(x))


def _reader(maps: int, width: int, times: int) -> nn.Sequential:
    """Convolutions from maps to the grid of codes."""
    layers: list[nn.Module] = []
    a = maps
    for i in range(int(math.log2(times))):
        b = min(8 * 2**i, width)
        layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.SiLU()]
        a = b
    layers += [nn.Conv2d(a, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 1)]
    return nn.Sequential(*layers)
