"""How MEDLA is trained on pairs of states and data, and its covariances estimated on others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...array import check_between, check_count, convert, is_module, no_grad, shown, to_numpy, warn
from ...covariances.matrices import Dense
from ...models.coders import reconstruction_error


class Leak(UserWarning):
    """States of the training among those that a method is judged by."""


def fitted(
    net: Any,
    train: tuple[Any, Any],
    validation: tuple[Any, Any, Any],
    *,
    disturb: Callable | None,
    epochs: int,
    align: int,
    every: int,
    rate: float,
    batch: int,
    checkpoint: Any,
    seed: int,
    progress: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Train two encoders in place; the range of the training data. See `MEDLA.fit`."""
    from ...neural.alternating import Alternating
    from ...neural.train import adam, cosine, fit

    if not is_module(net) or not hasattr(net, "encode_observation"):
        raise TypeError(f"net must be a TwoEncoders, met {shown(net)}")
    check_count("align", align, 0)
    check_between("rate", rate, 0, np.inf, open_low=True)
    if checkpoint is not None and not str(checkpoint):
        raise ValueError("checkpoint must name a folder, met ''")
    x, y = rows(net, train, "train")
    valid = rows(net, validation, "validation")
    tell_shared(x, valid[0])
    net.scaled(x, y)
    folder = None if checkpoint is None else Path(checkpoint)
    part, (a, a_valid) = net.reduced(x, valid[0])
    fit(
        part,
        (a, y),
        (a_valid, valid[1]),
        loss=Alternating(every, disturb),
        epochs=epochs,
        batch=batch,
        optimiser=adam(rate),
        schedule=cosine(epochs),
        checkpoint=folder and folder / "branches.checkpoint",
        seed=seed,
        progress=progress,
    )
    if align:
        file = folder and folder / "alignment.checkpoint"
        told = {"checkpoint": file, "seed": seed, "progress": progress, "batch": batch}
        aligned(
            net, (x, y), (valid[0], valid[1]), disturb=disturb, epochs=align, rate=rate / 3, **told
        )
    reach = (y.amax(0) - y.amin(0)) / 4
    return (y.amin(0) - reach).numpy(), (y.amax(0) + reach).numpy()


def aligned(
    net: Any,
    train: tuple[Any, Any],
    validation: tuple[Any, Any],
    *,
    disturb: Callable | None,
    epochs: int,
    rate: float,
    **settings: Any,
) -> Any:
    """Train the encoder of data alone on the codes of states: the Record of `neural.fit`.

    Args:
        net: a TwoEncoders; its other parts stay as they are.
        train: states `(b, n)` and data `(b, m)`.
        validation: the same of other runs.
        disturb: as in `MEDLA.fit`.
        epochs: passes over the data.
        rate: of Adam at the start.
        **settings: of `neural.fit`.
    """
    from ...neural.alternating import Aligned
    from ...neural.train import adam, cosine, fit

    still = [p for part in (net.encoder, net.decoder) for p in part.parameters()]
    (x, y), (x_valid, y_valid) = train, validation
    learned = [p for p in still if p.requires_grad]
    for p in learned:
        p.requires_grad_(False)
    try:
        data = (y, called(net, net.encode, x)), (y_valid, called(net, net.encode, x_valid))
        rates = {"optimiser": adam(rate), "schedule": cosine(epochs)}
        return fit(net, *data, loss=Aligned(disturb), epochs=epochs, **rates, **settings)
    finally:
        for p in learned:
            p.requires_grad_(True)


def code_errors(net: Any, states: Any, data: Any, background: Any) -> tuple[Dense, Dense]:
    """B and R: second moments of E(x_b) - E(x) and of E'(y) - E(x), in double precision.

    Untrained is warned of where the mean of the states errs no more than their codes.
    """
    x, y, b = rows(net, (states, data, background), "the pairs to measure")
    if len(x) < 2 * net.r:
        raise ValueError(
            f"covariances of {net.r} numbers want {2 * net.r} pairs at least, met {len(x)}"
        )
    z, w, c = (
        called(net, f, v)
        for f, v in ((net.encode, x), (net.encode_observation, y), (net.encode, b))
    )
    with no_grad(x):
        reconstruction_error(coder_of(net), x)  # warns of Untrained
    e_b, e_o = (to_numpy(part).astype(float) for part in (c - z, w - z))
    return Dense(e_b.T @ e_b / len(z)), Dense(e_o.T @ e_o / len(z))


def coder_of(net: Any) -> Any:
    """Two encoders as a Coder of states, in the library of whoever calls."""
    if not is_module(net):
        return net
    from ...neural.coders import FieldCoder

    return FieldCoder(net)


def called(net: Any, f: Callable, x: Any) -> Any:
    """`f(x)` of rows, a part of them at a time, without derivatives."""
    if not is_module(net):
        return f(x)
    import torch

    with torch.no_grad():
        return torch.cat([f(part) for part in x.split(256)])


def rows(net: Any, parts: Any, name: str) -> list[Any]:
    """States, data and perhaps backgrounds as rows `(b, n)` and `(b, m)` that the network takes.

    Raises:
        TypeError: for what is no pair, or no triple.
        ValueError: for sizes that do not fit each other or the network, and for NaN.
    """
    wanted = 2 if name == "train" else 3
    if not isinstance(parts, (tuple, list)) or len(parts) != wanted:
        what = "(states, data)" if wanted == 2 else "(states, data, background)"
        raise TypeError(f"{name} must be {what}, met {shown(parts)}")
    found, sizes = [], (net.n, getattr(net, "m", None), net.n)
    lead = tuple(parts[0].shape[:-1])
    for label, part, size in zip(("states", "data", "background"), parts, sizes, strict=False):
        shape = tuple(part.shape)
        if shape[:-1] != lead or not lead or (size is not None and shape[-1] != size):
            raise ValueError(
                f"{label} of {name} have shape {shape}, wanted {(*lead, size or 'm')}: one row "
                "for each state, of the network's size"
            )
        flat = to_numpy(part).reshape(-1, shape[-1])
        if not np.isfinite(flat).all():
            raise ValueError(f"{label} of {name} hold NaN or infinity; wanted them left out first")
        found.append(flat)
    if not is_module(net):
        return found
    like = next(net.parameters())
    return [convert(np.ascontiguousarray(flat), like) for flat in found]


def shared(one: np.ndarray, other: np.ndarray) -> int:
    """How many rows of `other` are rows of `one` too, to the bit."""
    known = {row.tobytes() for row in one}
    return sum(row.tobytes() in known for row in other)


def tell_shared(train: Any, other: Any) -> None:
    """Warn of Leak where a state of the training is one of the others too, to the bit."""
    count = shared(to_numpy(train), to_numpy(other))
    if count:
        warn(
            f"{count} of {len(other)} states of validation stand in the training too: what is "
            "measured on them is too good; wanted whole runs in one of the two, neural.split",
            Leak,
        )
