"""LDEnSF on the set-ups of its paper, with the networks that come with the package.

    setup = ld_ensf.kolmogorov()
    result = assimilate(ld_ensf.twin(setup, 1), latent(setup))                    # LD-EnSF
    result = assimilate(ld_ensf.twin(setup, 1), latent(setup, ETKF(20), data="raw"))

`python -m dalearn.cases.ld_ensf --train` makes the networks.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..array import typed
from ..methods.latent.fitting import for_codes
from ..methods.latent.ld_ensf import LDEnSF
from ..models.interpolated import InterpolatedRuns
from . import ld_ensf_networks as networks
from .ld_ensf_errors import VARIANCES
from .ld_ensf_setup import SetUp


@typed
def latent(
    setup: SetUp,
    method: Any = None,
    *,
    nets: Any = None,
    net: Literal["robust", "sharp"] = "robust",
    encoder: Literal["encoder", "exact"] = "encoder",
    noise: Any = None,
    **settings: Any,
) -> LDEnSF:
    """LDEnSF on a set-up.

    Args:
        setup: the set-up.
        method: the method in the latent space; EnSF by default, in units in which eps_beta is
            0.3 of the variance of the encoder's errors: of 0.3, 1 and 3 the best on validation
            runs of both set-ups.
        nets: the networks, `networks.Trained`; those of the package by default.
        net: the last layer for latent states that err, or that for exact ones.
        encoder: the one trained with noise, or the one trained on exact data.
        noise: variances of the encoder's errors `(r + p,)`; those at 10 % noise by default.
        settings: those of LDEnSF, such as data="raw".

    Returns:
        LDEnSF: for problems that `twin` makes.
    """
    nets = networks.trained(setup) if nets is None else nets
    R = variances(setup, encoder) if noise is None else np.asarray(noise)
    if method is None:
        method = for_codes(R)
    given = {
        "points": networks.grid(setup),
        "encoder": getattr(nets, encoder),
        "noise": R,
        "first": setup.first,
        "every": setup.every,
    }
    return LDEnSF(getattr(nets, net), method=method, **{**given, **settings})


def variances(setup: SetUp, encoder: str = "encoder") -> np.ndarray:
    """The variances of an encoder's errors at 10 % noise, from the card of its weights.

    Args:
        setup: the set-up.
        encoder: "encoder" or "exact".

    Returns:
        `(r + p,)`.
    """
    from ..neural.weights import read_card, shipped

    return np.array(read_card(shipped(f"ld-ensf-{setup.name}-{encoder}")).metric[VARIANCES])


@typed
def interpolated(setup: SetUp, states: Any, modes: int = 256) -> Any:
    """The training runs, interpolated in the parameter, in the place of a network.

    Args:
        setup: the set-up.
        states: of all its runs, `(S, T, *shape)`.
        modes: POD modes in which they are kept.

    Returns:
        RunsNet: for `LDEnSF(net, points=networks.grid(setup), data="raw", ...)`.
    """
    from ..models.pod import POD
    from ..neural.runs import RunsNet

    train = setup.split().train
    x = np.asarray(states)[train].reshape(len(train), setup.times, -1)
    scale = np.repeat(np.asarray(setup.rms, "float32"), x.shape[-1] // len(setup.rms))
    pod = POD.fit(x, modes, scale=scale, randomised=True)
    u = setup.parameters()[train].astype("float32")
    return RunsNet(InterpolatedRuns(u, pod.encode(x), pod), networks.grid(setup))
