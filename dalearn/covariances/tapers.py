"""Tapers: weights that fall from 1 to 0 with the distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Bound, check_between, shown, typed

Numbers = np.ndarray[Any, Any]


def counted(n: int) -> Numbers:
    """The integers 0, 1, ..., n - 1: the places along an axis of n points.

    Args:
        n: how many.

    Returns:
        A vector `(n,)`.
    """
    return np.arange(n)  # pyright: ignore


@typed
@dataclass(frozen=True)
class Taper:
    """A weight that falls from 1 to 0 with the distance.

    Args:
        function: of the distance in radii, r, an array: 1 at r = 0, in [0, 1].
        reach: the distance, in radii, from which on the weight is 0.
    """

    function: Callable[[Numbers], Numbers]
    reach: Bound

    def __post_init__(self) -> None:
        check_between("reach", self.reach, 0, np.inf, open_low=True)

    def __call__(self, r: Any) -> Numbers:
        r = np.asarray(r, dtype=float)
        near = r < self.reach
        given = self.function(np.where(near, r, 0.0))
        if np.shape(given) != r.shape or np.asarray(given).dtype.kind not in "biuf":
            raise TypeError(
                f"function of a Taper must return numbers of shape {r.shape}, met {shown(given)}"
            )
        weight = np.where(near, given, 0.0)
        good = (weight >= 0) & (weight <= 1)
        if not good.all():
            raise ValueError(
                f"a taper must be in [0, 1]; {self!r} is {weight[~good][0]:g} at r = "
                f"{r[~good][0]:g} radii"
            )
        return weight

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", "Taper").strip("_<>")


HALF_WIDTH = 1.82  # radii; then the function below is close to exp(-r^2 / 2)


def _gaspari_cohn(r: Numbers) -> Numbers:
    z = r / HALF_WIDTH
    inner = 1 + z**2 * (-5 / 3 + z * (5 / 8 + z * (1 / 2 - z / 4)))
    s = np.maximum(z, 1.0)
    outer = 4 - 2 / (3 * s) + s * (-5 + s * (5 / 3 + s * (5 / 8 + s * (s / 12 - 1 / 2))))
    return np.where(z <= 1, inner, np.maximum(outer, 0.0))  # not below 0 by round-off


def _boxcar(r: Numbers) -> Numbers:
    return np.ones_like(r)


def _hann(r: Numbers) -> Numbers:
    return np.cos(np.pi / 2 * r) ** 2


gaspari_cohn = Taper(_gaspari_cohn, 2 * HALF_WIDTH)
"""The fifth-order piecewise rational function of Gaspari and Cohn (1999, eq. 4.10).

Its half-width is 1.82 radii (Sakov and Bertino, Comput. Geosci. 15, 2011): exp(-r^2 / 2) up to
0.032, and 0 from 3.64 radii on. A correlation function in up to three dimensions.
"""

boxcar = Taper(_boxcar, 1 + 1e-9)
"""1 up to the radius (inclusive) and 0 beyond: observations are taken or left."""

hann = Taper(_hann, 1.0)
"""cos^2(pi r / 2), 0 from the radius on."""
