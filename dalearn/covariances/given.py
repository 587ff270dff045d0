"""A covariance from whatever a user may give for one."""

from __future__ import annotations

from typing import Any, overload

from ..array import Array, array_namespace, as_floats, correlations, eye, no_grad
from .base import Covariance
from .matrices import Dense, Diagonal, check_symmetric
from .roots import Rows


@overload
def as_covariance(  # pyright: ignore[reportOverlappingOverload]
    C: None, name: str, n: int | None = None, *, definite: bool = False, whitened: bool = False
) -> None: ...
@overload
def as_covariance(
    C: Any, name: str, n: int | None = None, *, definite: bool = False, whitened: bool = False
) -> Covariance: ...
def as_covariance(
    C: Any, name: str, n: int | None = None, *, definite: bool = False, whitened: bool = False
) -> Covariance | None:
    """A covariance from whatever may stand for one.

    Args:
        C: a Covariance; a matrix `(..., n, n)`; variances `(..., n)`; or one number, the variance
            of each of n independent errors. None stays None.
        name: what it is, for messages.
        n: the dimension, which a single number needs.
        definite: whether it is going to be whitened: then a singular matrix is refused.
        whitened: whether it is whitened where it can be: then Rows stay only where they cannot.

    Returns:
        The Covariance as it is, a Diagonal, a Dense, or Rows for a matrix that is singular, such
        as G G^T with fewer columns than rows.

    Raises:
        TypeError: for what holds no real numbers.
        ValueError: for a number where n is not known, and what Dense and Diagonal refuse.
    """
    if C is None or isinstance(C, Covariance):
        if definite and isinstance(C, Rows):
            return Dense(C.matrix())  # whether it has an inverse shows here, not in a cycle
        if whitened and isinstance(C, Rows):
            return _singular(V := C.matrix()) or Dense(V)
        return C
    values = as_floats(C, name, axes=("x",) if getattr(C, "ndim", 0) < 2 else ("x", "x"))
    if values.ndim == 0 and n is not None:
        values = values + 0 * eye(n, values)[0]
    try:
        if values.ndim < 2:
            return Diagonal(values)
        with no_grad(values):
            singular = None if definite else _singular(values)
        return _singular(values) or Dense(values) if singular else Dense(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _singular(C: Array) -> Rows | None:
    """Rows V with V^T V = C, as few as span all the matrices, if some of those have no inverse.

    None where all have one, or where one is no covariance by more than round-off.
    """
    check_symmetric(C)
    xp = array_namespace(C)
    A, s = correlations(C)
    known = s == 0  # such a component has no covariance with another, or C is none
    if bool(xp.any(known[..., None] & (C != 0))):
        return None
    w, V = xp.linalg.eigh(A - known[..., None] * eye(C.shape[-1], C))
    slack = C.shape[-1] * float(xp.finfo(C.dtype).eps)
    least = float(xp.min(w))
    if least > slack or least < -1e3 * slack:
        return None
    rank = int(xp.max(xp.sum(xp.astype(w > slack, xp.int32), axis=-1)))
    rows = xp.clip(w, 0.0, None)[..., None] ** 0.5 * V.mT * s[..., None, :]
    return Rows(rows[..., -max(1, rank) :, :])
