"""Two encoders and one decoder: states and what another sensor makes of them, in one latent space.

    z ~ E(x),   z ~ E'(y),   x ~ D(z):

x is a state, y the same thing seen by another sensor, on another grid or with other units. The
branches E, D and E', D are trained in turn, so that the one decoder understands both; `Aligned`
then brings E'(y) to E(x). Unlike a VAE nothing is drawn.

Source: S. Cheng et al., Multi-domain encoder-decoder neural networks for latent data assimilation
in dynamical systems, 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..array import typed
from ..models.coders import reconstruction_error
from .autoencoder import Autoencoder
from .nets import MLP, Activation, check_input, check_sizes
from .products import Products


@typed
class TwoEncoders(nn.Module):
    """A Coder of states that also encodes what another sensor sees of them.

    `TwoEncoders.dense` and `TwoEncoders.convolutional` make one. The networks see states and data
    each in units of two numbers, which `scaled` takes from training data and which are stored with
    the weights. `trained` is False until then.

    Args:
        encoder: of states, `(b, *shape) -> (b, latent)`.
        observer: the encoder of data, `(b, *seen) -> (b, latent)`.
        decoder: `(b, latent) -> (b, *shape)`.
        shape: of a state as the networks see it; `encode` takes it flat, n numbers.
        seen: the shape of the data of one time; `encode_observation` takes them flat, m numbers.
        latent: numbers in a code.

    Raises:
        ValueError: sizes that do not fit.
    """

    units: Tensor
    turn: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        observer: nn.Module,
        decoder: nn.Module,
        shape: Sequence[int],
        seen: Sequence[int],
        latent: int,
    ):
        super().__init__()
        check_sizes("TwoEncoders", shape=tuple(shape), seen=tuple(seen), latent=latent)
        self.encoder, self.decoder, self.observer = encoder, decoder, observer
        self.shape, self.seen, self.r = tuple(shape), tuple(seen), latent
        self.n, self.m = math.prod(self.shape), math.prod(self.seen)
        self.register_buffer("units", torch.tensor([0.0, 0.0, 0.0, 0.0]))
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64))  # steps of `Alternating`

    @classmethod
    @typed
    def dense(cls, n: int, m: int, latent: int, hidden: Sequence[int] = (64,)) -> TwoEncoders:
        """Of vectors, by perceptrons; linear without `hidden` layers."""
        check_sizes("TwoEncoders", n=n, m=m, latent=latent, hidden=tuple(hidden))
        there, seen = (MLP(k, latent, hidden, activation=nn.SiLU) for k in (n, m))
        back = MLP(latent, n, tuple(reversed(hidden)), activation=nn.SiLU)
        return cls(there, seen, back, (n,), (m,), latent)

    @classmethod
    @typed
    def convolutional(
        cls,
        shape: Sequence[int],
        seen: Sequence[int],
        latent: int,
        channels: Sequence[int] = (8, 16, 32),
        observer: Sequence[int] = (8, 16),
        *,
        activation: Activation = nn.SiLU,
    ) -> TwoEncoders:
        """Of fields `(c, h, w)` and `(c', h', w')`, by `Autoencoder.convolutional`.

        Args:
            shape: of a state, h and w divisible by 2^layers.
            seen: of the data, the same of theirs.
            latent: numbers in a code.
            channels: of the layers of encoder and decoder.
            observer: of the layers of the encoder of data.
            activation: makes the functions between the layers.

        Returns:
            TwoEncoders: with first weights of torch.

        Raises:
            ValueError: sizes that do not fit each other.
        """
        one = Autoencoder.convolutional(shape, latent, channels, activation=activation)
        two = Autoencoder.convolutional(seen, latent, observer, activation=activation)
        return cls(one.encoder, two.encoder, one.decoder, shape, seen, latent)

    @classmethod
    @typed
    def separable(
        cls,
        shape: Sequence[int],
        seen: Sequence[int],
        latent: int,
        count: int = 16,
        hidden: Sequence[int] = (128,),
        *,
        activation: Activation = nn.SiLU,
    ) -> TwoEncoders:
        """Of smooth fields `(c, h, w)` and `(c', h', w')`: perceptrons behind `Products`.

        Args:
            shape: of a state.
            seen: of the data.
            latent: numbers in a code.
            count: functions of each coordinate, which `scaled` takes from the training data.
            hidden: widths of the layers of the perceptrons.
            activation: makes the functions between the layers.

        Returns:
            TwoEncoders: with first weights of torch.

        Raises:
            ValueError: sizes that do not fit each other.
        """
        check_sizes("TwoEncoders", latent=latent, hidden=tuple(hidden))
        one, two = Products(shape, count), Products(seen, count)
        back = Products(shape, count, back=True)
        told: Any = {"activation": activation}
        widths = tuple(reversed(hidden))
        there = nn.Sequential(one, MLP(one.outputs, latent, hidden, **told))
        observer = nn.Sequential(two, MLP(two.outputs, latent, hidden, **told))
        decoder = nn.Sequential(MLP(latent, one.outputs, widths, **told), back)
        return cls(there, observer, decoder, shape, seen, latent)

    @property
    def trained(self) -> bool:
        """Whether `scaled` has set the units, as every training does first."""
        return bool((self.units[1::2] > 0).all())

    def scaled(self, states: Tensor, data: Tensor) -> TwoEncoders:
        """These networks, with mean and standard deviation of training states and data.

        First layers that are `Products` get their functions from the same data.
        """
        with torch.no_grad():
            units = [v for part in (states, data) for v in (part.mean(), part.std())]
            self.units.copy_(torch.stack(units))
        if not self.trained:
            raise ValueError(
                "states and data of the training must vary, and be finite; met standard "
                f"deviations {float(self.units[1]):g} and {float(self.units[3]):g}"
            )
        for part, of, at in (
            (self.encoder, states, 0),
            (self.decoder, states, 0),
            (self.observer, data, 2),
        ):
            for layer in part.modules():
                if isinstance(layer, Products):
                    layer.fitted((of - self.units[at]) / self.units[at + 1])
        return self

    def reduced(self, *states: Tensor) -> tuple[TwoEncoders, list[Tensor]]:
        """The same perceptrons without `Products` around them, and states as these see them.

        Products are orthonormal, so that errors of coefficients are those of fields but for a
        constant: training the part trains the whole, some ten times as fast.

        Args:
            *states: `(..., n)` each.

        Returns:
            The part, and the coefficients of the states; this object and the states where it has
            no Products at both ends.
        """
        parts = [
            list(p) if isinstance(p, nn.Sequential) else [] for p in (self.encoder, self.decoder)
        ]
        if [len(p) for p in parts] != [2, 2] or not isinstance(parts[0][0], Products):
            return self, list(states)
        (first, there), (back, _) = parts
        size = (parts[0][0].outputs,)
        part = TwoEncoders(there, self.observer, back, size, self.seen, self.r)
        unit = torch.stack((torch.zeros_like(self.units[0]), torch.ones_like(self.units[0])))
        part.units = torch.cat((unit, self.units[2:]))
        scaled = ((x - self.units[0]) / self.units[1] for x in states)
        with torch.no_grad():
            return part, [
                torch.cat([first(b) for b in x.reshape(-1, *self.shape).split(256)])
                for x in scaled
            ]

    def encode(self, x: Tensor) -> Tensor:
        """States `(..., n)` -> codes `(..., r)`."""
        check_input("states of TwoEncoders", x, (self.n,))
        seen = ((x - self.units[0]) / self.units[1]).reshape(-1, *self.shape)
        return self.encoder(seen).reshape(*x.shape[:-1], self.r)

    def encode_observation(self, y: Tensor) -> Tensor:
        """Data `(..., m)` -> codes `(..., r)`."""
        check_input("data of TwoEncoders", y, (self.m,))
        seen = ((y - self.units[2]) / self.units[3]).reshape(-1, *self.seen)
        return self.observer(seen).reshape(*y.shape[:-1], self.r)

    def decode(self, z: Tensor) -> Tensor:
        """Codes `(..., r)` -> states `(..., n)`."""
        check_input("codes of TwoEncoders", z, (self.r,))
        x = self.decoder(z.reshape(-1, self.r)).reshape(*z.shape[:-1], self.n)
        return x * self.units[1] + self.units[0]

    def forward(self, x: Tensor) -> Tensor:
        """What remains of states `(..., n)`."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def floor(self, test: Tensor) -> float:
        """The error on held-out states `(..., n)`: see `reconstruction_error`."""
        return reconstruction_error(self, test)
