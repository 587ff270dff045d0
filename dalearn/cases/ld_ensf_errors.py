"""How wrong the networks of LD-EnSF are: fields of parameters, and codes of observations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, generator
from . import ld_ensf_networks as networks
from .ld_ensf_recipes import SENSORS
from .ld_ensf_setup import SetUp

if TYPE_CHECKING:
    from torch import Tensor

    from ..neural.encoder import HistoryEncoder
    from ..neural.ldnet import LDNet

VARIANCES = "variances of the codes' errors on validation runs, noise 0.1"  # in a card


def code_errors(
    setup: SetUp, net: HistoryEncoder, y: Tensor, z: Tensor, noise: float, seed: int = 0
) -> tuple[float, float]:
    """Relative errors of latent states and of parameters, all times together, in per cent."""
    import torch

    rng = generator(Purpose.CASE, seed)
    unit = np.repeat(np.asarray(setup.rms, "float32"), SENSORS**2)
    e = torch.from_numpy(noise * unit * rng.standard_normal(y.shape, "float32"))
    with torch.no_grad():
        gap, r = net(y + e) - z, z.shape[-1] - setup.p
    first, last = (slice(r), slice(r, None))
    one, two = (float(gap[..., k].norm() / z[..., k].norm()) for k in (first, last))
    return round(100 * one, 3), round(100 * two, 3)


def field_error(setup: SetUp, net: LDNet, states: Any, u: Tensor, keep: Any = None) -> Any:
    """The relative error of the fields of parameters, per cent: see `SetUp.relative`."""
    import torch

    with torch.no_grad():
        found = [net(one[None], networks.grid(setup), setup.times)[0] for one in u]
    return 100 * setup.relative(networks.as_states(setup, torch.stack(found)), states, keep)


def code_variances(
    setup: SetUp, net: LDNet, encoder: HistoryEncoder, states: Any, noise: float, seed: int = 0
) -> np.ndarray:
    """The variances of an encoder's errors on validation runs.

    Args:
        setup: the set-up.
        net: the dynamics, of parameters as the set-up has them.
        encoder: the encoder.
        states: of all runs, `(S, T, *shape)`.
        noise: standard deviation of the data's errors, as a share of `setup.rms`.
        seed: of these errors.

    Returns:
        `(r + p,)`, of latent states and of parameters in (-1, 1).
    """
    import torch

    from ..methods.latent import fitting

    some = setup.split().validation
    u = torch.as_tensor(setup.parameters()[some], dtype=torch.float32)
    y = networks.observations(setup, np.asarray(states)[some])
    unit = torch.as_tensor(np.repeat(np.asarray(setup.rms, "float32"), SENSORS**2))
    codes = fitting.codes_of(net, u, setup.times)[:, setup.seen]
    rng = generator(Purpose.CASE, seed)
    return fitting.code_variances(encoder, y, codes, noise * unit, rng).double().numpy()
