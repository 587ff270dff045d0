"""What is minimised in training, and what is said where it cannot be computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..array import shown, typed

Loss = Callable[..., Tensor]


@typed
def mean_square(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The mean square error of a regression, mean |f(inputs) - targets|^2.

    Args:
        module: f.
        inputs: `(b, ...)`.
        targets: `(b, ...)`, of the shape of f(inputs).

    Returns:
        A tensor `()`.

    Raises:
        ValueError: outputs of another shape than the targets.
    """
    outputs = module(inputs)
    if outputs.shape != targets.shape:
        raise ValueError(
            f"the module returned {tuple(outputs.shape)} for targets {tuple(targets.shape)}; "
            "wanted the same shape (broadcast, the loss would compare all with all)"
        )
    return ((outputs - targets) ** 2).mean()


def loss_of(loss: Loss, module: nn.Module, rows: Sequence[Tensor]) -> Tensor:
    """`loss(module, *rows)`; where torch cannot mix the number types, an error names them."""
    try:
        return loss(module, *rows)
    except RuntimeError as error:
        kinds = {v.dtype for v in module.parameters() if v.is_floating_point()}
        data = {v.dtype for v in rows if v.is_floating_point()}
        if kinds == data or not kinds or not data:
            raise
        met, own = (", ".join(sorted(str(k) for k in x)) for x in (data, kinds))
        raise TypeError(
            f"the data are {met} and the module {own}; wanted one type for both: "
            f"module.to(torch.float64), or data of the type of the module ({error})"
        ) from error


def check_finite(value: Tensor, name: str, epoch: int) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"the loss must return a tensor, met {shown(value)}")
    value = value.detach()
    if value.ndim or not bool(torch.isfinite(value)):
        if value.ndim:
            raise ValueError(f"the loss must be one number, met shape {tuple(value.shape)}")
        raise FloatingPointError(
            f"the {name} loss is {float(value)} in epoch {epoch}; look for NaN in the data, then "
            "try a lower rate (optimiser=adam(1e-4)), clip=1.0, or normalised data"
        )
