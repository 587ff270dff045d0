"""What `fit` checks: that data, device, optimiser and losses are what they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..array import check_count, shown

Make = type | Callable[[Any], Any]


def made(name: str, make: Make, of: Any, needs: str) -> Any:
    """What an optimiser or a schedule is made by, called; TypeError where it makes neither."""
    found = None if isinstance(make, type) and not hasattr(make, needs) else make(of)
    if not hasattr(found, needs):
        raise TypeError(f"{name} must make one of torch's, with {needs}(), met {shown(make)}")
    return found


def known_device(device: Any) -> torch.device:
    """The device as torch's, or ValueError."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f'device must be one that torch knows, such as "cuda", met {shown(device)}'
        ) from error


def settled(
    data: Any, validation: Any, patience: int | None, loss_of_pairs: bool
) -> tuple[list, list | None]:
    """`data` and `validation` as lists of tensors of one length, at least 1; else ValueError.

    `loss_of_pairs`: whether the loss wants (inputs, targets).
    """
    if patience is not None:
        check_count("patience", patience)
    if patience is not None and validation is None:
        raise ValueError("patience needs validation data: trajectories that are not trained on")
    found: list[Any] = []
    for name, value in (("data", data), ("validation", validation)):
        if value is None and name == "validation":
            found.append(None)
            continue
        alone = isinstance(value, (Tensor, np.ndarray)) or not isinstance(value, Iterable)
        parts = [value] if alone else list(cast("Iterable[Any]", value))
        numeric = [isinstance(v, np.ndarray) and v.dtype.kind in "biuf" for v in parts]
        parts = [torch.from_numpy(v) if n else v for v, n in zip(parts, numeric, strict=True)]
        good = all(isinstance(v, Tensor) and v.ndim for v in parts)
        if not good or len({len(v) for v in parts}) != 1 or not len(parts[0]):
            raise ValueError(
                f"{name} must be tensors of one length, at least 1: (inputs, targets); met "
                f"{', '.join(map(shown, parts)) or 'none'}"
            )
        if loss_of_pairs and len(parts) != 2:
            raise ValueError(f"{name} must be (inputs, targets), met {len(parts)} tensors")
        found.append(parts)
    return found[0], found[1]
