"""The networks of the two reduced set-ups of LD-EnSF, and what trains them.

    dynamics   s_t = s_{t-1} + F(s_{t-1}, u), fields as sums of harmonics of s_t: an LDNet
    encoder    observations until t -> (s_t, u): an LSTM

Parameters u are in units in which the box of the set-up is (-1, 1), coordinates in units of the
side of the square, (i + 1/2) / n at point i. The last layer of the dynamics comes twice: `sharp`
is best at exact latent states, `robust` where they err by a per cent, as those of the encoder do.
Both ridges are chosen on the validation runs. Files hold half precision: a layer is solved after
those before it have been rounded. `ld_ensf_training` trains them all.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .ld_ensf_recipes import RECIPES, SENSORS, Layer
from .ld_ensf_setup import SetUp
from .ld_ensf_twin import sensors_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..neural.encoder import HistoryEncoder
    from ..neural.ldnet import LDNet


@dataclass(frozen=True, eq=False)
class Trained:
    """The networks of a set-up.

    Args:
        setup: the set-up.
        robust: the dynamics, for latent states that err.
        sharp: the dynamics, for exact ones.
        encoder: trained on data with errors and gaps.
        exact: the encoder trained on exact data.
    """

    setup: SetUp
    robust: LDNet
    sharp: LDNet
    encoder: HistoryEncoder
    exact: HistoryEncoder


def grid(setup: SetUp) -> Tensor:
    """The points of the model's grid, row by row, x and y in units of the side: `(P, 2)`."""
    import torch

    n = setup.shape[-1]
    line = (torch.arange(n, dtype=torch.float32) + 0.5) / n
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x, y), dim=-1).reshape(-1, 2)


def as_fields(setup: SetUp, states: Any) -> Tensor:
    """States `(..., C, n, n)` as fields at points `(..., P, C)`, in single precision."""
    import torch

    flat = np.asarray(states, "float32").reshape(*np.shape(states)[:-2], -1)
    return torch.from_numpy(np.ascontiguousarray(np.swapaxes(flat, -1, -2)))


def as_states(setup: SetUp, fields: Tensor) -> np.ndarray:
    """Fields at the points of the grid `(..., P, C)` as states `(..., C, n, n)`."""
    return fields.mT.reshape(*fields.shape[:-2], *setup.shape).numpy()


def units(setup: SetUp) -> np.ndarray:
    """Units of the components in the network: one for all where they share a stream function."""
    rms = np.asarray(setup.rms, "float16").astype("float32")  # as a file will hold them
    return np.ones_like(rms) if setup.name == "kolmogorov" else rms


def dynamics(
    setup: SetUp, seed: int = 0, *, layer: Layer | None = None, start: Any = "before"
) -> LDNet:
    """The dynamics before training, with the first weights of a seed; or with that last layer."""
    import torch

    from ..neural.basis import Harmonics, Modes
    from ..neural.chosen import Chosen, Solenoidal
    from ..neural.data import Normalisation
    from ..neural.ldnet import LDNet
    from ..neural.nets import seeded
    from ..neural.reconstruction import InBasis

    r, c = RECIPES[setup.name], setup.shape[0]
    features, modes = r.features, r.modes
    if layer is not None:
        features, modes = layer.learned + layer.drawn, layer.modes
    side = 2 * (r.harmonics,)
    waves = Chosen(Harmonics(side, c), r.kept) if r.kept else Solenoidal(side)
    basis = Modes(waves, modes)

    def made() -> LDNet:
        R = InBasis(r.latent, basis, (features,), gain=r.gain)
        return LDNet(setup.p, R, (64, 64), dt=r.dt, start=start)

    unit = Normalisation(np.zeros(c, "float32"), units(setup))
    box, square = torch.ones(2, setup.p), torch.ones(2, 2)
    box[0], square[0] = -1, 0
    return seeded(seed, made).scaled(box, square, unit)


def encoder(setup: SetUp, sensors: int = SENSORS, seed: int = 1) -> HistoryEncoder:
    """The encoder before training."""
    from ..neural.encoder import HistoryEncoder
    from ..neural.nets import seeded

    m = setup.shape[0] * sensors**2
    return seeded(seed, HistoryEncoder, m, RECIPES[setup.name].latent + setup.p)


def trained(setup: SetUp) -> Trained:
    """The networks with the weights that come with the package, in evaluation mode.

    The dynamics take parameters as the set-up has them; the encoder gives them in (-1, 1).
    """
    from ..neural.weights import load_weights, shipped

    r = RECIPES[setup.name]
    both = (dynamics(setup, layer=layer) for layer in (r.robust, r.sharp))
    robust, sharp = both
    nets = robust, sharp, encoder(setup), encoder(setup)
    for part, net in zip(("robust", "sharp", "encoder", "exact"), nets, strict=True):
        load_weights(net.half(), shipped(f"ld-ensf-{setup.name}-{part}"))
        net.float()
    return Trained(setup, natural(setup, robust), natural(setup, sharp), *nets[2:])


def natural(setup: SetUp, net: LDNet) -> LDNet:
    """A network trained on parameters in (-1, 1), changed to take them as the set-up has them."""
    import torch

    low, high = torch.tensor(setup.low), torch.tensor(setup.high)
    net.u_mean.copy_((low + high) / 2)
    net.u_half.copy_((high - low) / 2)
    return net


def rounded(net: Any) -> Any:
    """A copy whose numbers are those of half precision."""
    return copy.deepcopy(net).half().float()


def codes(setup: SetUp, net: LDNet, u: Tensor) -> Tensor:
    """What the encoder is to give, (s_t, u) at the times of data: `(S, K, r + p)`."""
    import torch

    with torch.no_grad():
        s = net.latents(u, setup.times)[:, setup.seen]
    return torch.cat((s, u[:, None].expand(*s.shape[:-1], -1)), dim=-1)


def observations(setup: SetUp, states: Any, sensors: int = SENSORS) -> Tensor:
    """Exact data at the times of data, of states `(S, T, *shape)`: `(S, K, m)`."""
    import torch

    x = np.asarray(states, "float32")[:, setup.seen]
    return torch.from_numpy(sensors_of(setup, sensors)(x))
