"""Covariances from ensembles, made local, and mixed with a static one.

N members, as anomalies X (rows), know N - 1 directions and invent correlations of 1 / sqrt(N)
between places that have nothing to do with each other. Multiplied entry by entry with a
correlation that ends (a Schur product, which stays positive) the far ones go and the rank rises;
mixed with a static covariance no direction is left out:
    B_e = X^T X / (N - 1),   B_l = B_e o C,   B = w_s B_s + w_e B_l.
Each is applied to control variables, and never made as a matrix: with C = L L^T
    color(z) = sum_i x_i o (z_i L^T) / sqrt(N - 1),   z = (z_1, ..., z_N).

Hamill and Snyder, Mon. Wea. Rev. 128, 2000 (hybrid); Lorenc, Q. J. R. Meteorol. Soc. 129, 2003
(the control variables); Buehner, Q. J. R. Meteorol. Soc. 131, 2005; Wang, Snyder and Hamill, Mon.
Wea. Rev. 135, 2007 (that the two forms are one).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..array import Array, array_namespace, as_floats, convert, row_mean, to_numpy
from .base import Covariance, check_controls
from .matrices import Dense
from .roots import Spanned

LARGEST_INVERSE = 2000  # dimension up to which an inverse is made from the matrix


class WithoutInverse(Covariance):
    """Base class without a cheap inverse; whiten forms the matrix (n <= 2000)."""

    def whiten(self, x: Array) -> Array:
        """By the Cholesky factor of the matrix: z of dimension n, not the controls of `color`.

        Args:
            x: rows of errors, `(..., k, n)`.

        Returns:
            Rows of independent numbers, `(..., k, n)`.

        Raises:
            ValueError: where the matrix is singular, or larger than 2000.
        """
        return self._dense.whiten(x)

    def masked(self, seen: Array) -> Covariance:
        """See Covariance; by the matrix, with the limits of `whiten`."""
        return self._dense.masked(seen)

    @cached_property
    def _dense(self) -> Dense:
        if self.n > LARGEST_INVERSE:
            raise ValueError(
                f"{type(self).__name__} of dimension {self.n} has no inverse that can be applied "
                f"(by its matrix up to {LARGEST_INVERSE}); wanted a method that works with color "
                "alone, such as 3D-Var in control variables"
            )
        return Dense(self.matrix())


def _check_anomalies(X: Any) -> Array:
    X = as_floats(X, "anomalies", axes=("member", "x"))  # pyright: ignore[reportConstantRedefinition]
    if X.ndim < 2 or 0 in X.shape or X.shape[-2] < 2:
        raise ValueError(
            f"anomalies must have shape (..., N, n) with N >= 2 members, met {tuple(X.shape)}; "
            "one member has no spread"
        )
    if not np.isfinite(to_numpy(X)).all():
        raise ValueError("anomalies hold NaN or infinity; wanted finite numbers")
    return X


@dataclass(frozen=True, eq=False)
class LowRank(Spanned):
    """The covariance of an ensemble, C = X^T X / (N - 1), of rank N - 1 at most.

    Its controls are the N weights of the members. There is no inverse: `whiten` raises ValueError.

    Args:
        anomalies: X `(..., N, n)`, members less their mean; see `from_members`.

    Raises:
        ValueError: for fewer than two members, and for NaN.
    """

    anomalies: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "anomalies", _check_anomalies(self.anomalies))

    @classmethod
    def from_members(cls, members: Array) -> LowRank:
        """The covariance of members, whose mean is taken off.

        Args:
            members: `(..., N, n)`.

        Returns:
            The covariance.
        """
        E = as_floats(members, "members", axes=("member", "x"))
        return cls(E - row_mean(E) if E.ndim > 1 else E)

    @cached_property
    def _rows(self) -> Array:
        return self.anomalies / math.sqrt(self.anomalies.shape[-2] - 1)

    def whiten(self, x: Array) -> Array:
        raise ValueError(
            f"the covariance of {self.controls} members has rank {self.controls - 1} at most in "
            f"{self.n} dimensions and no inverse; wanted Localized(anomalies, correlation), or a "
            "Hybrid with a static covariance, or a method that needs color alone"
        )

    def __getitem__(self, b: Any) -> LowRank:
        return LowRank(self.anomalies[b])


@dataclass(frozen=True, eq=False)
class Localized(WithoutInverse):
    """The covariance of an ensemble times a correlation, entry by entry: (X^T X / (N - 1)) o C.

    Its controls are N times those of the correlation, one field of weights for each member; so is
    its cost.

    Args:
        anomalies: X `(..., N, n)`, members less their mean.
        correlation: a Covariance of unit variances, such as `OnGrid(shape, length, gaspari_cohn)`.

    Raises:
        TypeError: where the correlation is no Covariance.
        ValueError: where it has another dimension, or variances other than 1.
    """

    anomalies: Array
    correlation: Covariance

    def __post_init__(self) -> None:
        X = _check_anomalies(self.anomalies)
        object.__setattr__(self, "anomalies", X)
        if not isinstance(self.correlation, Covariance):  # pyright: ignore
            raise TypeError(
                f"correlation must be a Covariance, met {type(self.correlation).__name__}; write "
                "Dense(C) for a matrix"
            )
        if self.correlation.n != X.shape[-1]:
            raise ValueError(
                f"the anomalies have {X.shape[-1]} components but the correlation "
                f"{self.correlation.n}; wanted the same number"
            )
        if self.correlation.batch not in ((), self.batch):
            raise ValueError(
                f"the correlation has batch axes {self.correlation.batch}, wanted () or the "
                f"anomalies' {self.batch}"
            )
        v = to_numpy(self.correlation.variance())
        if abs(v - 1).max() > 1e-6:  # a matrix in single precision, or assembled from a formula
            raise ValueError(
                f"localization wants a correlation, of variances 1, met {v.min():g} to "
                f"{v.max():g}; leave std at 1: the ensemble has the variances"
            )

    @classmethod
    def unchecked(cls, anomalies: Array, correlation: Covariance) -> Localized:
        """From what a method has checked before; NaN marks a diverged experiment.

        Args:
            anomalies: X `(..., N, n)`.
            correlation: a Covariance of unit variances.

        Returns:
            The covariance, without checks.
        """
        self = object.__new__(cls)
        self.__dict__.update(anomalies=anomalies, correlation=correlation)
        return self

    @property
    def n(self) -> int:
        return self.anomalies.shape[-1]

    @property
    def controls(self) -> int:
        return self.anomalies.shape[-2] * self.correlation.controls

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.anomalies.shape[:-2])

    @cached_property
    def _rows(self) -> Array:
        return self.anomalies / math.sqrt(self.anomalies.shape[-2] - 1)

    def color(self, z: Array) -> Array:
        check_controls(z, self.controls)
        xp, lead = array_namespace(z), tuple(z.shape[:-1])
        N, p = self.anomalies.shape[-2], self.correlation.controls
        rows = xp.reshape(z, (*lead[:-1], lead[-1] * N, p))
        fields = self.correlation.color(rows)
        fields = xp.reshape(fields, (*fields.shape[:-2], lead[-1], N, self.n))
        return xp.sum(self._rows[..., None, :, :] * fields, axis=-2)

    def variance(self) -> Array:
        xp = array_namespace(self._rows)
        own = convert(self.correlation.variance(), self._rows)
        return xp.sum(self._rows * self._rows, axis=-2) * own

    def matrix(self) -> Array:
        C = convert(self.correlation.matrix(), self._rows)
        return (self._rows.mT @ self._rows) * C

    def __getitem__(self, b: Any) -> Localized:
        correlation = self.correlation[b] if self.correlation.batch else self.correlation
        return Localized(self.anomalies[b], correlation)
