"""How LDEnSF is trained: the dynamics, the encoder, then the last layer for the encoder's error.

1. The LDNet, on points and times drawn anew at each step.
2. The encoder, on the network's own codes, from data with errors of every size up to `noise`.
3. The errors of its codes on validation runs, at the `level` of noise that is expected.
4. The last layer of the reconstruction, exactly, with the ridge that is best at these errors: a
   sharper one turns 1 % of latent error into 50 % of the field.

The fields may be larger than memory, `torch.from_numpy` of a file: each step gathers its points,
and the last layer adds up its sums a run at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...array import (
    Purpose,
    check_between,
    check_count,
    convert,
    generator,
    is_module,
    is_tensor,
    shown,
    to_numpy,
    warn,
)
from ..base import Cycle
from ..score.ensf import EnSF

DRAWN = ("count", "share", "noise", "mixed")  # settings of Subsampled
SHARE = 0.3  # of 0.3, 1 and 3 the best on validation runs of both set-ups of LD-EnSF
TOO_MUCH = 2.0  # how many times its own error a decoder may make of that of the encoder


class Sensitive(UserWarning):
    """A decoder that makes more of the encoder's errors than it errs itself."""


class OutOfRange(UserWarning):
    """Data or states that lie outside of what an encoder was trained on."""


def trained(
    net: Any,
    encoder: Any,
    train: tuple[Any, Any],
    validation: tuple[Any, Any],
    *,
    points: Any,
    see: Callable,
    unit: Any,
    noise: float,
    level: float,
    gaps: float,
    extra: int,
    count: int | None,
    normalisation: Any,
    skip: int,
    dynamics: Mapping[str, Any],
    reading: Mapping[str, Any],
    checkpoint: Any,
    device: Any,
    seed: int,
    progress: bool,
) -> dict[str, Any]:
    """The parts of a trained LDEnSF, and what was measured on the way; see `LDEnSF.fit`.

    "layer" is what `refit` found, "seconds" are those of the dynamics, the encoder and the layer.
    All networks come back on the CPU.
    """
    import torch

    from ...neural.checks import known_device
    from ...neural.data import Normalisation
    from ...neural.last_layer import refit
    from ...neural.subsampled import Subsampled
    from ...neural.train import fit

    train, validation = check_runs("train", train), check_runs("validation", validation)
    check_parts(net, encoder, see(flat(train[1][:1])).shape[-1], unit)
    check_between("level", level, 0, 1e6, open_low=False)
    check_count("skip", skip, 0)
    if count is not None:
        check_count("count", count)
    if normalisation is not None and not isinstance(normalisation, Normalisation):
        raise TypeError(f"normalisation must be a Normalisation, met {shown(normalisation)}")
    folder = None if checkpoint is None else Path(checkpoint)
    place = known_device("cpu" if device is None else device)
    (u, fields), (u_valid, fields_valid) = train, validation
    rows = torch.arange(len(u) + len(u_valid))
    net.scaled(u, points, fields if normalisation is None else normalisation)
    fields, fields_valid = held((fields, fields_valid), place)
    told = {"progress": progress, "seed": seed, "device": place}
    told_first = {"checkpoint": folder and folder / "dynamics.checkpoint"}
    drawn = {k: v for k, v in dynamics.items() if k in DRAWN}
    settings = {k: v for k, v in dynamics.items() if k not in DRAWN}
    loss = Subsampled((fields, fields_valid), points, **drawn)
    first = fit(
        net,
        (u, rows[: len(u)]),
        (u_valid, rows[len(u) :]),
        **{"loss": loss, **told, **told_first, **settings},
    )
    codes, codes_valid = (
        codes_of(net, v.to(place), fields.shape[1])[:, skip:].cpu() for v in (u, u_valid)
    )
    y, y_valid = (see(flat(f))[:, skip:].cpu() for f in (fields, fields_valid))
    unit = torch.as_tensor(unit, dtype=y.dtype)
    told_second = {"checkpoint": folder and folder / "encoder.checkpoint"}
    second = fit_encoder(
        encoder,
        (y, codes),
        (y_valid, codes_valid),
        unit=unit,
        noise=noise,
        gaps=gaps,
        **{**told, **told_second, **reading},
    )
    encoder.cpu()
    rng = generator(Purpose.TRAINING, seed, 1)
    variances = code_variances(encoder, y_valid, codes_valid, level * unit, rng)
    share = float((variances / encoder.z_std**2)[: net.latent].mean()) ** 0.5
    start = time.monotonic()
    found = refit(
        net,
        (u, fields),
        points,
        validation=(u_valid, fields_valid),
        count=count,
        latent_error=min(share, 1.0),
        extra=extra,
        seed=seed,
    )
    exact, shaken = found.errors[found.ridge]
    tell_sensitive(share, exact, shaken)
    net.cpu()
    slack = 4 * noise * unit
    return {
        "net": found.net.cpu(),
        "noise": variances.double().numpy(),
        "limits": ((y.amin((0, 1)) - slack).numpy(), (y.amax((0, 1)) + slack).numpy()),
        "measured": {
            "latent error": share,
            "ridge": found.ridge,
            "error at exact latents": exact,
            "error at the encoder's": shaken,
        },
        "layer": found,
        "seconds": (first.seconds, second.seconds, time.monotonic() - start),
    }


def fit_encoder(
    encoder: Any,
    data: tuple[Any, Any],
    validation: tuple[Any, Any] | None = None,
    *,
    unit: Any,
    noise: float,
    gaps: float,
    **settings: Any,
) -> Any:
    """Train an encoder on data and codes, with errors drawn anew: the Record of `neural.fit`."""
    from ...neural.encoder import NoisySensors
    from ...neural.train import fit

    encoder.scaled(*data)
    return fit(encoder, data, validation, loss=NoisySensors(unit, noise, gaps), **settings)


def held(fields: tuple[Any, ...], place: Any) -> tuple[Any, ...]:
    """Fields on a GPU where half of its free memory holds them all; otherwise as they are."""
    import torch

    if place.type != "cuda":
        return fields
    fit = sum(f.nbytes for f in fields) <= torch.cuda.mem_get_info(place)[0] / 2
    return tuple(f.to(place) for f in fields) if fit else fields


def check_parts(net: Any, encoder: Any, m: int, unit: Any) -> None:
    """Raise TypeError or ValueError unless these are the parts of an LDEnSF of m numbers."""
    for name, module, needs in (("net", net, "latents"), ("encoder", encoder, "scaled")):
        if not is_module(module) or not hasattr(module, needs):
            wanted = "an LDNet" if name == "net" else "a HistoryEncoder"
            raise TypeError(f"{name} must be {wanted}, met {shown(module)}")
    if tuple(unit.shape) != (m,):
        raise ValueError(f"unit must be ({m},), one for each number, met {tuple(unit.shape)}")


def code_variances(encoder: Any, y: Any, codes: Any, size: Any, rng: np.random.Generator) -> Any:
    """Mean squares of an encoder's errors, `(r + p,)`, on data with errors of a size `(m,)`."""
    import torch

    e = torch.from_numpy(rng.standard_normal(tuple(y.shape))).to(y)
    with torch.no_grad():
        return ((encoder(y + size * e) - codes) ** 2).mean((0, 1))


def tell_sensitive(share: float, exact: float, shaken: float) -> None:
    """Warn of Sensitive where latent errors of a share cost more than TOO_MUCH times `exact`."""
    if shaken > TOO_MUCH * exact:
        warn(
            f"the decoder turns the encoder's error of {share:.2%} into {shaken:.2%} of the "
            f"field, and errs by {exact:.2%} itself; wanted a better encoder, fewer latent "
            'numbers, or data beside the reconstruction, data="raw"',
            Sensitive,
        )


def for_codes(variances: Any) -> EnSF:
    """EnSF on codes, in units in which eps_beta is SHARE of the variance of their errors."""
    scale = np.sqrt(SHARE * np.asarray(variances) / EnSF(2).eps_beta)
    return EnSF(20, centred=True, scale=scale)


def check_runs(name: str, runs: Any) -> tuple[Any, Any]:
    """Parameters and fields of runs, or an error."""
    parts = list(runs) if isinstance(runs, (tuple, list)) else []
    if len(parts) != 2 or not all(is_tensor(v) for v in parts):
        raise TypeError(f"{name} must be tensors (parameters, fields), met {shown(runs)}")
    u, fields = parts
    if u.ndim != 2 or fields.ndim != 4 or len(u) != len(fields):
        raise ValueError(
            f"{name} must be parameters (S, p) and fields (S, T, P, C), met {tuple(u.shape)} and "
            f"{tuple(fields.shape)}"
        )
    return u, fields


def codes_of(net: Any, u: Any, times: int) -> Any:
    """The codes (s, v) of parameters, `(S, T, r + p)`."""
    import torch

    with torch.no_grad():
        s = net.latents(u, times)
        v = ((u - net.u_mean) / net.u_half)[:, None].expand(-1, times, -1)
    return torch.cat((s, v), dim=-1)


def flat(fields: Any) -> Any:
    """Fields `(..., P, C)` as states, component by component: `(..., C P)`."""
    return fields.movedim(-1, -2).flatten(-2)


def outside(y: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """The share of data `(..., m)` outside of limits `(m,)`, `(...)`; gaps count as inside."""
    return ((y < low) | (y > high)).mean(-1)


def share_outside(problem: Any, k: int, limits: tuple[Any, Any]) -> np.ndarray:
    """The share of the data at observation k that lie outside of limits, `(...)`."""
    observe, y = problem.at(k)
    y, seen = to_numpy(y), observe.noise.seen
    y = y if seen is None else np.where(to_numpy(seen), y, np.nan)
    return np.asarray(outside(y, *limits))


def watched(
    cycles: Iterator[Cycle], problem: Any, limits: tuple[Any, Any] | None, *, told: bool = False
) -> Iterator[Cycle]:
    """Cycles with the share of their data outside of limits as `outside`; OutOfRange, once."""
    for k, cycle in enumerate(cycles):
        if limits is not None:
            share = share_outside(problem, k, limits)
            if share.any() and not told:
                told = True
                warn_outside(share, k)
            cycle = cycle.with_info(outside=convert(share, problem.like))
        yield cycle


def warn_outside(share: np.ndarray, k: int) -> None:
    """Warn of data at observation k of which a share lies outside of the training's range."""
    warn(
        f"at observation {k}, {share.max():.1%} of the data lie outside of the range that the "
        "encoder was trained on: its codes mean nothing there; wanted training runs that reach "
        'so far, or data="raw"',
        OutOfRange,
    )
