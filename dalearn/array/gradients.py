"""Derivatives through whole runs of a method, where a user asks for them (torch)."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from functools import lru_cache
from typing import Any, cast

from .library import GRADIENTS, Array, is_tensor


@contextlib.contextmanager
def gradients() -> Generator[None]:
    """A context in which methods on torch keep the derivatives of what they return.

        with da.gradients():
            loss = -da.log_likelihood(problem, da.ETKF(20, inflation=a))
            loss.sum().backward()

    Settings (inflation, a localization's radius), covariances, parameters of the model and a
    network in it may be tensors that require gradients. Outside of it methods keep none, which is
    faster and needs no memory. It is the context's thread that counts: threads of their own do not
    inherit it.

    KF and ExtendedKF then carry covariances as matrices: right to half of the digits where some
    errors are far smaller than others.

    Returns:
        A context manager.
    """
    token = GRADIENTS.set(True)
    try:
        yield
    finally:
        GRADIENTS.reset(token)


def wants_gradients(like: Array) -> bool:
    """Whether what is computed from arrays like this one has to keep its derivatives.

    Args:
        like: an array.

    Returns:
        True inside `gradients()`, for tensors, unless torch's own switch is off.
    """
    if not (GRADIENTS.get() and is_tensor(like)):
        return False
    import torch

    return torch.is_grad_enabled()


def inverse_square_root(A: Array) -> Array:
    """A^-1/2, symmetric, with a derivative that exists where eigenvalues coincide too.

    With A = V diag(s) V^T, V^T dB V = F o (V^T dA V), where F_ij is the divided difference of
    s^-1/2, -1 / ((s_i s_j)^1/2 (s_i^1/2 + s_j^1/2)): the derivative of eigh has 1 / (s_i - s_j).

    Args:
        A: tensors `(..., N, N)`, symmetric and positive definite.

    Returns:
        Tensors `(..., N, N)`.

    Source: N. J. Higham, Functions of Matrices, 2008, theorem 3.11 (Daleckii and Krein).
    """
    return _function().apply(A)


@lru_cache(maxsize=1)
def _function() -> Any:
    import torch

    class InverseSquareRoot(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, A: Any) -> Any:
            s, V = (cast(Any, part) for part in torch.linalg.eigh(A))  # pyright: ignore
            r = s**0.5
            ctx.save_for_backward(r, V)
            return (V / r[..., None, :]) @ V.mT

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:  # pyright: ignore
            r, V = ctx.saved_tensors
            i, j = r[..., :, None], r[..., None, :]
            turned = V.mT @ ((g + g.mT) / 2) @ V
            return V @ (-turned / (i * j * (i + j))) @ V.mT

    return InverseSquareRoot
