"""Covariances, with two operations: color and whiten.

With C = L L^T, `color` turns independent numbers into errors of covariance C (z L^T) and `whiten`
turns errors into independent numbers (x L^-T). Both act on rows, `(..., k, n)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..array import (
    Array,
    array_namespace,
    as_floats,
    convert,
    correlations,
    definite,
    eye,
    no_grad,
)
from .base import Covariance, Masked, check_width

PERFECT = "; as errors of data, only KF, ExtendedKF, UKF, OI and the RTS smoothers take them"


def check_symmetric(C: Array) -> None:
    """Raise ValueError unless C is finite, square and symmetric, each entry in its own units.

    Args:
        C: matrices `(..., n, n)`.

    Raises:
        TypeError: for half precision, which no factorisation knows.
        ValueError: naming the shape, or the largest asymmetry.
    """
    if C.ndim < 2 or C.shape[-1] != C.shape[-2]:
        raise ValueError(
            f"a dense covariance must be square, (..., n, n), met shape {tuple(C.shape)}; "
            "variances go into Diagonal"
        )
    xp = array_namespace(C)
    if xp.finfo(C.dtype).bits < 32:
        raise TypeError(f"the covariance has dtype {C.dtype}, wanted float32 or float64")
    if not bool(xp.all(xp.isfinite(C))):
        raise ValueError("the covariance holds NaN or infinity; wanted finite numbers")
    v = xp.abs(xp.linalg.diagonal(C))
    s = xp.where(v > 0, v, 1.0 + 0 * v) ** 0.5
    gap = xp.abs(C - C.mT)
    apart = gap / s[..., None, :] / s[..., :, None]
    if float(xp.max(apart)) > 1e3 * float(xp.finfo(C.dtype).eps):  # what assembling leaves
        raise ValueError(
            f"the covariance is not symmetric, met |C - C^T| up to {float(xp.max(gap)):.3g}, "
            f"{float(xp.max(apart)):.3g} of the standard deviations; pass (C + C.T) / 2 if the "
            "difference is only round-off"
        )


@dataclass(frozen=True, eq=False)
class Diagonal(Covariance):
    """Independent errors: C = diag(variances).

    Variances, not standard deviations. Zero is allowed (no noise there) where nothing is whitened.

    Args:
        variances: `(..., n)`, an array or a list, finite and not negative.

    Raises:
        ValueError: for a single number, and for a negative or non-finite variance, naming its
            place.
    """

    variances: Array

    def __post_init__(self) -> None:
        v = as_floats(self.variances, "variances", axes=("x",))
        object.__setattr__(self, "variances", v)
        if v.ndim == 0:
            raise ValueError(
                "variances must be a vector (n,), met a single number; "
                f"write Diagonal({float(v):g} * ones(n))"
            )
        xp = array_namespace(v)
        bad = ~(xp.isfinite(v) & (v >= 0))
        if bool(xp.any(bad)):
            i = int(xp.argmax(xp.reshape(xp.astype(bad, xp.int8), (-1,))))
            value = float(xp.reshape(v, (-1,))[i])
            raise ValueError(
                f"variances must be finite and not negative, met {value:g} at entry {i} "
                "of the flattened array"
            )

    @property
    def n(self) -> int:
        return self.variances.shape[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.variances.shape[:-1])

    @cached_property
    def singular(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return bool(array_namespace(self.variances).any(self.variances == 0))

    @cached_property
    def _std(self) -> Array:
        return self.variances[..., None, :] ** 0.5

    @cached_property
    def _inverse_std(self) -> Array:
        if self.singular:
            raise ValueError(
                f"a zero variance cannot be whitened; wanted positive variances{PERFECT}"
            )
        return 1 / self._std

    def color(self, z: Array) -> Array:
        check_width(z, self.n)  # a product would broadcast one number in silence
        return z * self._std

    def whiten(self, x: Array) -> Array:
        check_width(x, self.n)
        return x * self._inverse_std

    def times(self, x: Array) -> Array:
        check_width(x, self.n)
        return x * convert(self.variances, x)[..., None, :]

    def variance(self) -> Array:
        return self.variances

    def matrix(self) -> Array:
        return self.variances[..., None, :] * eye(self.n, self.variances)

    @cached_property
    def _log_det(self) -> Array:
        xp = array_namespace(self.variances)
        return xp.sum(xp.log(self.variances), axis=-1)

    def log_det(self) -> Array:
        return self._log_det

    def masked(self, seen: Array) -> Masked:
        xp = array_namespace(self.variances, seen)
        return Masked(Diagonal(xp.where(seen, self.variances, xp.ones_like(self.variances))), seen)

    def __getitem__(self, b: Any) -> Diagonal:
        return Diagonal(self.variances[b])


@dataclass(frozen=True, eq=False)
class Dense(Covariance):
    """A full covariance matrix, symmetric and positive definite.

    Args:
        values: the matrix `(..., n, n)`, an array or a list.

    Raises:
        TypeError: for half precision, which no factorisation knows.
        ValueError: for a matrix that is not square, finite, symmetric and positive definite,
            naming the shape, the largest asymmetry, or the smallest eigenvalue, measured among
            correlations: units do not matter.
    """

    values: Array

    def __post_init__(self) -> None:
        C = as_floats(self.values, "the covariance", axes=("x", "x"))
        object.__setattr__(self, "values", C)
        with no_grad(C):
            self._check(C)

    def _check(self, C: Array) -> None:
        xp = array_namespace(C)
        check_symmetric(C)
        v = float(xp.min(xp.linalg.diagonal(C)))
        A, _ = correlations(C)
        least = float(xp.min(xp.linalg.eigvalsh(A)))
        if v <= 0 or least <= self.n * float(xp.finfo(C.dtype).eps) or not definite(A):
            met = f"the variance {v:.3g}" if v <= 0 else f"correlations of eigenvalue {least:.3g}"
            raise ValueError(
                f"the covariance is not positive definite, met {met}; wanted one with an inverse. "
                "A singular one serves as model noise or prior: give the matrix itself, or "
                "Rows(V) with C = V^T V. Errors of data elsewhere than in an Observation: add a "
                "small variance to each (R + v times the identity)"
            )

    @classmethod
    def unchecked(cls, values: Array) -> Dense:
        """A covariance that is positive definite by its construction; it may hold NaN.

        Args:
            values: the matrix `(..., n, n)`.

        Returns:
            The covariance, without checks.
        """
        self = object.__new__(cls)
        object.__setattr__(self, "values", values)
        return self

    @property
    def n(self) -> int:
        return self.values.shape[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.values.shape[:-2])

    @cached_property
    def _root(self) -> Array:  # L^T
        xp = array_namespace(self.values)
        return xp.linalg.cholesky(self.values).mT

    @cached_property
    def _inverse_root(self) -> Array:  # L^-T
        xp = array_namespace(self.values)
        one = xp.broadcast_to(eye(self.n, self.values), self.values.shape)
        return xp.linalg.solve(self._root, one)

    def color(self, z: Array) -> Array:
        check_width(z, self.n)
        return z @ self._root

    def whiten(self, x: Array) -> Array:
        check_width(x, self.n)
        return x @ self._inverse_root

    def times(self, x: Array) -> Array:
        return x @ convert(self.values, x)

    def variance(self) -> Array:
        xp = array_namespace(self.values)
        return xp.linalg.diagonal(self.values)

    def matrix(self) -> Array:
        return self.values

    @cached_property
    def _log_det(self) -> Array:
        xp = array_namespace(self.values)
        return 2 * xp.sum(xp.log(xp.linalg.diagonal(self._root)), axis=-1)

    def log_det(self) -> Array:
        return self._log_det

    def masked(self, seen: Array) -> Masked:
        xp = array_namespace(self.values, seen)
        both = seen[..., None, :] & seen[..., :, None]
        # unseen entries decouple, so the seen block is factored as if the others were not there
        return Masked(Dense.unchecked(xp.where(both, self.values, eye(self.n, self.values))), seen)

    def __getitem__(self, b: Any) -> Dense:
        return Dense.unchecked(self.values[b])
