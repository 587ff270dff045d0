"""Kuramoto-Sivashinsky: flame fronts, chaos in one of the simplest field equations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, Swept, check_count, constant, fft, is_array, typed
from .fields import check_positive, check_shape, modes, valid
from .integrate import etd_coefficients, etdrk4


@typed
@dataclass(frozen=True, eq=False)
class KuramotoSivashinsky:
    """u_t = -u u_x - u_xx - viscosity u_xxxx on a ring of circumference `length`.

    Long waves grow, short ones are damped, and the nonlinear term carries energy from the first
    to the second. The mean of u is conserved; waves with wavenumber below viscosity^(-1/2) are
    unstable. At the standard n = 128, length = 32 pi, dt = 0.25 the leading Lyapunov exponent is
    0.09 per time unit and the standard deviation of u 1.3.

    Pseudo-spectral in space, exponential Runge-Kutta of fourth order in time (`etdrk4`).

    Shapes: `(..., n) -> (..., n)`, any leading axes. Members whose viscosity is not positive
    become NaN.

    Args:
        n: grid points, at least 8.
        length: circumference of the ring.
        viscosity: positive, a number or an array that broadcasts against `(..., members, 1)`.
        dt: the step, time units.

    Raises:
        ValueError: for settings out of range, and when called with a state of another size.

    Sources: Y. Kuramoto and T. Tsuzuki, Prog. Theor. Phys. 55, 1976; G. Sivashinsky, Acta
    Astronautica 4, 1977; the scheme and the set-up: Kassam and Trefethen, SIAM J. Sci. Comput.
    26, 2005 (whose time is the same and whose dt is 0.25).
    """

    n: int = 128
    length: float = 32 * math.pi
    viscosity: Swept = 1.0
    dt: float = 0.25

    def __post_init__(self):
        check_count("n of KuramotoSivashinsky", self.n, 8)
        check_positive(self, "length", "viscosity", "dt", axes=1)

    @property
    def grid(self) -> np.ndarray:
        """The points x, `(n,)`."""
        return self.length * np.arange(self.n) / self.n

    def growth(self, k: Any) -> Any:
        """The rate k^2 - viscosity k^4 at which a small wave of wavenumber k grows."""
        return k**2 - valid(self.viscosity, like=k if is_array(k) else None) * k**4

    def __call__(self, u: Array) -> Array:
        check_shape(self, u, (self.n,))
        F, n = fft(u), self.n
        if 0 in u.shape:  # torch has no transforms of nothing
            return u + 0
        if is_array(self.viscosity):
            k = constant(modes, n, self.length, like=u)
            coefficients = etd_coefficients(self.growth(k), self.dt)
        else:
            args = n, self.length, float(self.viscosity), self.dt
            coefficients = constant(_coefficients, *args, like=u)
        half_k = constant(_half, n, self.length, like=u) * 1j

        def steepen(square):  # the transform of -(u^2 / 2)_x
            return -half_k * F.rfft(square)

        v = etdrk4(lambda v: steepen(F.irfft(v, n) ** 2), F.rfft(u), coefficients, steepen(u**2))
        return F.irfft(v, n)


def _half(n: int, length: float) -> np.ndarray:
    """k / 2, and 0 for the highest wave of an even grid, whose derivative vanishes on the grid."""
    k = modes(n, length) / 2
    k[n // 2 :] *= n % 2
    return k


def _coefficients(n: int, length: float, viscosity: float, dt: float) -> tuple:
    k = modes(n, length)
    return etd_coefficients(k**2 - viscosity * k**4, dt)
