"""Covariances of which some directions have no bound: nothing is known there before the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

from ..array import Array, array_namespace, as_floats, eye, where_ok
from .base import Covariance
from .given import as_covariance


@dataclass(frozen=True, eq=False)
class Diffuse(Covariance):
    """C = k D^T D + P for k to infinity: a prior that says nothing of some directions.

    `Gaussian(mean, Diffuse(eye(n)))` says nothing of any component, `Diffuse(eye(n)[:1], P)` of
    the first, whose variance in P is that of its finite part, usually 0. KF and RTS begin so,
    exactly; other methods want a finite prior. A log-likelihood depends on the size of the rows D.

    Args:
        endless: rows D `(d, n)` or `(..., d, n)`, one for each direction.
        cov: P, of dimension n, a Covariance, a matrix or a vector of variances; None for 0.

    Raises:
        ValueError: for shapes that do not fit, and rows that are not finite.
    """

    endless: Array
    cov: Covariance | Any = None

    def __post_init__(self) -> None:
        D = as_floats(self.endless, "endless", axes=("row", "x"))
        object.__setattr__(self, "endless", D)
        if D.ndim < 2 or 0 in D.shape or not bool(array_namespace(D).all(abs(D) < math.inf)):
            raise ValueError(
                f"endless must be finite rows (d, n), met shape {tuple(D.shape)}; for the first "
                "of n components give eye(n)[:1]"
            )
        given = 0 * D[..., 0, :] if self.cov is None else self.cov
        C: Covariance = as_covariance(given, "cov", D.shape[-1])
        object.__setattr__(self, "cov", C)
        if C.n != D.shape[-1]:
            raise ValueError(f"cov has dimension {C.n}, wanted that of the rows, {D.shape[-1]}")

    @classmethod
    def unchecked(cls, endless: Array, cov: Covariance) -> Diffuse:
        """One made by a method."""
        self = object.__new__(cls)
        self.__dict__.update(endless=endless, cov=cov)
        return self

    @property
    def n(self) -> int:
        return self.endless.shape[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.endless.shape[:-2]) or self.cov.batch

    def variance(self) -> Array:
        """The diagonal of C `(..., n)`, infinite where a row reaches."""
        xp = array_namespace(self.endless)
        v, open_ = self.cov.variance(), xp.any(self.endless != 0, axis=-2)
        return xp.where(open_, math.inf + 0 * v, v)

    def matrix(self) -> Array:
        """P, with infinite variances, and NaN for the covariances of these."""
        xp, v = array_namespace(self.endless), self.variance()
        bounded, own = v < math.inf, eye(self.n, v) > 0
        C = where_ok(bounded, where_ok(bounded, self.cov.matrix() + 0 * own).mT)
        return xp.where(own, v[..., None, :], C)

    def _refuse(self) -> NoReturn:
        raise ValueError(
            "a Diffuse prior has infinite variances, met in a method that wants finite ones; "
            "wanted KF or RTS, or a wide Gaussian"
        )

    def color(self, z: Array) -> Array:
        self._refuse()

    def whiten(self, x: Array) -> Array:
        self._refuse()

    def rows(self) -> Array:
        self._refuse()

    def __getitem__(self, b: Any) -> Diffuse:
        D, C = self.endless, self.cov
        return Diffuse.unchecked(D[b] if D.ndim > 2 else D, C[b] if C.batch else C)
