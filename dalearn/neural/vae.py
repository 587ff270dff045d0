"""The coupled variational autoencoder: states and observations into one latent space.

    q(z | x) = N(mu(x), sigma(x)^2) ,   q(z | y) = N(mu'(y), sigma'(y)^2) ,   x ~ D(z)

One decoder serves both encoders, and a matching term holds their codes together, so that an
observation, encoded, is a direct observation of the latent state: the set-up of Latent-EnSF. Of
the variational idea remains a weak pull towards N(0, I), which keeps the latent space smooth.

Source: P. Si and P. Chen, Latent-EnSF: A latent ensemble score filter for high-dimensional data
assimilation with sparse observation data, ICLR 2025.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..array import check_between, is_array, shown, typed
from ..models.coders import reconstruction_error
from .autoencoder import Autoencoder
from .nets import MLP, Activation, check_input, check_sizes


@typed
class VAE(nn.Module):
    """A coupled variational autoencoder: a Coder of states that also encodes observations.

    `VAE.dense` and `VAE.convolutional` make one. As a Coder it is deterministic: `encode` and
    `encode_observation` give means, `sample` draws. The networks see states and observations in
    units of two Normalisations, which are stored with the weights.

    Args:
        encoder: of states, `(b, *shape) -> (b, 2 latent)`, means and logarithms of variances.
        decoder: `(b, latent) -> (b, *shape)`.
        observer: the encoder of observations, `(b, m) -> (b, 2 latent)`.
        shape: of a state as the networks see it; `encode` takes it flat.
        m: numbers in an observation.
        latent: numbers in a code.

    Raises:
        ValueError: sizes that do not fit.
    """

    x_mean: Tensor
    x_std: Tensor
    y_mean: Tensor
    y_std: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        observer: nn.Module,
        shape: Sequence[int],
        m: int,
        latent: int,
    ):
        super().__init__()
        check_sizes("VAE", shape=tuple(shape), m=m, latent=latent)
        self.encoder, self.decoder, self.observer = encoder, decoder, observer
        self.shape, self.m, self.r = tuple(shape), m, latent
        self.n = math.prod(self.shape)
        for name, size in (("x", self.n), ("y", m)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    @classmethod
    @typed
    def dense(
        cls,
        n: int,
        m: int,
        latent: int,
        hidden: Sequence[int] = (256,),
        *,
        pod: Any = None,
        activation: Activation = nn.SiLU,
    ) -> VAE:
        """Of vectors, by perceptrons.

        Args:
            n: numbers in a state.
            m: numbers in an observation.
            latent: numbers in a code.
            hidden: widths of the layers between.
            pod: a POD of states of n numbers, in the units that the networks see: the networks
                then work on its coefficients, and learn nothing of the full space.
            activation: makes the function between two layers.

        Returns:
            VAE: with first weights of torch.

        Raises:
            ValueError: sizes that do not fit each other.
        """
        check_sizes("VAE", n=n, m=m, latent=latent, hidden=tuple(hidden))
        if pod is not None and not all(is_array(getattr(pod, a, None)) for a in ("modes", "mean")):
            raise TypeError(f"pod must be a POD, met {shown(pod)}")
        if pod is not None and pod.n != n:
            raise ValueError(f"pod is of states of {pod.n} numbers, wanted n = {n}")
        seen = n if pod is None else pod.r
        there: nn.Module = MLP(seen, 2 * latent, hidden, activation=activation)
        back: nn.Module = MLP(latent, seen, tuple(reversed(hidden)), activation=activation)
        if pod is not None:
            there = nn.Sequential(_fixed(pod, True), there)
            back = nn.Sequential(back, _fixed(pod, False))
        observer = MLP(m, 2 * latent, hidden, activation=activation)
        return cls(there, back, observer, (n,), m, latent)

    @classmethod
    @typed
    def convolutional(
        cls,
        shape: Sequence[int],
        m: int,
        latent: int,
        channels: Sequence[int] = (8, 16, 32),
        hidden: Sequence[int] = (256,),
        *,
        activation: Activation = nn.SiLU,
    ) -> VAE:
        """Of fields `(c, h, w)`, by the convolutions of `Autoencoder.convolutional`.

        Args:
            shape: (c, h, w), h and w divisible by 2^layers; states are these, flat.
            m: numbers in an observation.
            latent: numbers in a code.
            channels: of the layers.
            hidden: widths of the layers of the observation encoder, a perceptron.
            activation: makes the function between two layers.

        Returns:
            VAE: with first weights of torch.

        Raises:
            ValueError: sizes that do not fit each other.
        """
        check_sizes("VAE", m=m, latent=latent)
        make, told = Autoencoder.convolutional, {"activation": activation}
        there = make(shape, 2 * latent, channels, **told).encoder
        back = make(shape, latent, channels, **told).decoder
        observer = MLP(m, 2 * latent, hidden, activation=activation)
        return cls(there, back, observer, shape, m, latent)

    @typed
    def scaled(self, states: Any, observations: Any) -> VAE:
        """This autoencoder, with the Normalisations of training data.

        Args:
            states: a Normalisation whose arrays broadcast to `(n,)`.
            observations: one whose arrays broadcast to `(m,)`.

        Returns:
            VAE: the same object.
        """
        with torch.no_grad():
            for name, unit in (("x", states), ("y", observations)):
                for part in ("mean", "std"):
                    there = getattr(self, f"{name}_{part}")
                    value = torch.as_tensor(getattr(unit, part)).to(there)
                    there.copy_(value.flatten().expand_as(there))
        return self

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z | x): `(..., n)` -> twice `(..., r)`."""
        check_input("states of VAE", x, (self.n,))
        seen = ((x - self.x_mean) / self.x_std).reshape(-1, *self.shape)
        return self._halves(self.encoder(seen), x)

    def observed(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z | y): `(..., m)` -> twice `(..., r)`."""
        check_input("observations of VAE", y, (self.m,))
        seen = ((y - self.y_mean) / self.y_std).reshape(-1, self.m)
        return self._halves(self.observer(seen), y)

    def _halves(self, found: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = found.reshape(*like.shape[:-1], 2 * self.r).chunk(2, dim=-1)
        return mean, (log_variance / 2).exp()

    def encode(self, x: Tensor) -> Tensor:
        """States `(..., n)` -> the means of their codes `(..., r)`."""
        return self.posterior(x)[0]

    def encode_observation(self, y: Tensor) -> Tensor:
        """Observations `(..., m)` -> the means of their codes `(..., r)`."""
        return self.observed(y)[0]

    def sample(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Codes z ~ q(z | x), `(..., n)` -> `(..., r)`.

        Args:
            x: states.
            generator: of torch, on the device of x; torch's own unless given.

        Returns:
            Tensor: one draw a state.
        """
        return _drawn(*self.posterior(x), generator)

    def decode(self, z: Tensor) -> Tensor:
        """Codes `(..., r)` -> states `(..., n)`."""
        check_input("codes of VAE", z, (self.r,))
        x = self.decoder(z.reshape(-1, self.r)).reshape(*z.shape[:-1], self.n)
        return x * self.x_std + self.x_mean

    def floor(self, test: Tensor) -> float:
        """The error that remains without any assimilation: see `reconstruction_error`."""
        with torch.no_grad():
            return reconstruction_error(self, test)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


@typed
@dataclass(frozen=True, eq=False)
class Coupled:
    """The loss of a VAE, `loss(net, x, y)` of states `(b, n)` and what is observed of them.

        |D(z) - x|^2 + |D(z') - x|^2 + matching (|mu - mu'|^2 + |sigma - sigma'|^2)
            + kl (KL(q(z|x) | N(0, I)) + KL(q(z|y) | N(0, I))) ,    z ~ q(z|x), z' ~ q(z|y)

    Means over the numbers of a state, in units of the Normalisation; KL is a sum over those of a
    code. In evaluation mode nothing is drawn: z and z' are the means.

    Args:
        kl: weight of the pull towards N(0, I).
        matching: weight of the term that holds the two codes of a state together.

    Raises:
        ValueError: negative weights.
    """

    kl: float = 1e-5
    matching: float = 0.02

    def __post_init__(self):
        check_between("kl", self.kl, 0, math.inf, open_low=False)
        check_between("matching", self.matching, 0, math.inf, open_low=False)

    def __call__(self, net: VAE, x: Tensor, y: Tensor) -> Tensor:
        total = self.matching * self.apart(net, x, y)
        for mean, std in (net.posterior(x), net.observed(y)):
            z = _drawn(mean, std, None) if net.training else mean
            gap = (net.decode(z) - x) / net.x_std
            pull = (mean**2 + std**2 - 1).sum(-1) / 2 - std.log().sum(-1)
            total = total + (gap**2).mean() + self.kl * pull.mean()
        return total

    def apart(self, net: VAE, x: Tensor, y: Tensor) -> Tensor:
        """How far the codes of states and of their observations are apart, the matching term."""
        (mean, std), (mean_y, std_y) = net.posterior(x), net.observed(y)
        return ((mean - mean_y) ** 2 + (std - std_y) ** 2).sum(-1).mean()


def _drawn(mean: Tensor, std: Tensor, generator: torch.Generator | None) -> Tensor:
    kind: Any = {"dtype": mean.dtype, "device": mean.device}
    return mean + std * torch.randn(mean.shape, generator=generator, **kind)


def _fixed(pod: Any, there: bool) -> nn.Linear:
    """A POD's encode or decode as a layer that does not learn, of codes divided by sqrt(n)."""
    modes, mean = (torch.as_tensor(v).to(torch.get_default_dtype()) for v in (pod.modes, pod.mean))
    unit = torch.ones_like(mean) if pod.scale is None else torch.as_tensor(pod.scale).to(mean)
    size = math.sqrt(pod.n)  # of a state of n numbers of size 1
    weight = modes / unit / size if there else (modes * unit).mT * size
    layer = nn.Linear(weight.shape[1], weight.shape[0]).requires_grad_(False)
    layer.weight.copy_(weight)
    layer.bias.copy_(-mean @ weight.mT if there else mean)
    return layer
