"""Burgers' equation: waves steepen into shocks, and viscosity keeps the shocks smooth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, Swept, array_namespace, check_count, constant, fft, is_array, typed
from .fields import check_positive, check_shape, following, modes, preceding, valid
from .integrate import etd_coefficients, etdrk4


@typed
@dataclass(frozen=True, eq=False)
class Burgers:
    """u_t + (u^2 / 2)_x = viscosity u_xx on a ring of circumference `length`.

    The mean of u is conserved, its energy decays. The Cole-Hopf transform solves it exactly:
    u = -2 viscosity theta_x / theta, where theta_t = viscosity theta_xx.

    Two schemes. Finite volumes: u are means over cells, Godunov's upwind flux, central
    diffusion, forward Euler. First order; while `courant` is at most 1 it makes no new extrema,
    so that shocks stay clean, and viscosity may be 0. `spectral`: u are values at points,
    2/3-dealiased Fourier modes, exponential Runge-Kutta (`etdrk4`); fourth order in time and
    better than any power of 1/n in space, once n resolves the shocks, 4 viscosity / (jump of u)
    wide; diffusion does not limit its step.

    Shapes: `(..., n) -> (..., n)`, any leading axes. Members whose viscosity is out of range
    become NaN.

    Args:
        n: cells or points, at least 8.
        length: circumference of the ring.
        viscosity: length^2 per time, a number or an array that broadcasts against
            `(..., members, 1)`.
        dt: the step, time units.
        spectral: which scheme: Fourier modes, or finite volumes.

    Raises:
        ValueError: for settings out of range, an unstable diffusion number (finite volumes), and
            when called with a state of another size.

    Sources: J. M. Burgers, Adv. Appl. Mech. 1, 1948; E. Hopf, Commun. Pure Appl. Math. 3, 1950;
    S. K. Godunov, Mat. Sb. 47, 1959.
    """

    n: int = 128
    length: float = 2 * math.pi
    viscosity: Swept = 0.05
    dt: float = 0.01
    spectral: bool = False

    def __post_init__(self):
        check_count("n of Burgers", self.n, 8)
        check_positive(self, "length", "dt")
        check_positive(self, "viscosity", zero=not self.spectral, axes=1)
        if not self.spectral:
            check_diffusion(self, 2, self.length / self.n)

    @property
    def shape(self) -> tuple[int]:
        """The shape of one state, (n,)."""
        return (self.n,)

    @property
    def grid(self) -> np.ndarray:
        """The points, or the centres of the cells, `(n,)`."""
        return self.length * np.arange(self.n) / self.n

    def courant(self, u: Array) -> Array:
        """How near a state is to the limit of stability, which is 1: `(..., n) -> (...)`.

        max|u| dt/dx + 2 viscosity dt/dx^2; if spectral max|u| dt K / 2.8, K the largest
        wavenumber that is advected.
        """
        xp, dx = array_namespace(u), self.length / self.n
        speed = xp.max(xp.abs(u), axis=-1) * self.dt
        if self.spectral:
            return speed * (2 * math.pi / self.length * ((self.n - 1) // 3) / 2.8)
        nu = self.viscosity
        nu = nu[..., 0] if is_array(nu) and nu.ndim else nu
        return speed / dx + (2 * self.dt / dx**2) * nu

    def __call__(self, u: Array) -> Array:
        check_shape(self, u, self.shape)
        return self._spectral(u) if self.spectral else self._volumes(u)

    def _volumes(self, u: Array) -> Array:
        xp, dx = array_namespace(u), self.length / self.n
        nu = valid(self.viscosity, most_viscous(self.dt, 2, dx), zero=True, like=u)
        ahead = following(u, -1)
        # Godunov's flux is max(u+, -ahead-)^2 / 2, with + and - the positive and negative parts
        fastest = xp.maximum(xp.maximum(u, -ahead), xp.zeros_like(u))
        flux = fastest**2 / 2 - nu * ((ahead - u) / dx)
        return u - (self.dt / dx) * (flux - preceding(flux, -1))

    def _spectral(self, u: Array) -> Array:
        F, n, nu = fft(u), self.n, self.viscosity
        if 0 in u.shape:  # torch has no transforms of nothing
            return u + 0
        if is_array(nu):
            k = constant(modes, n, self.length, like=u)
            coefficients = etd_coefficients(-valid(nu, like=u) * k**2, self.dt)
        else:
            coefficients = constant(_coefficients, n, self.length, float(nu), self.dt, like=u)
        keep, half_k = constant(_dealiased, n, self.length, like=u)

        def steepen(v):  # the transform of -(u^2 / 2)_x
            return -1j * half_k * F.rfft(F.irfft(keep * v, n) ** 2)

        return F.irfft(etdrk4(steepen, F.rfft(u), coefficients), n)


def most_viscous(dt: float, neighbours: int, dx: float) -> float:
    """The viscosity at which neighbours * viscosity dt/dx^2 is 1, with a little for round-off."""
    return (1 + 1e-9) * dx**2 / (neighbours * dt)


def check_diffusion(model: Any, neighbours: int, dx: float) -> None:
    """Raise ValueError where a plain viscosity makes explicit diffusion unstable."""
    nu = model.viscosity
    if not is_array(nu) and nu > most_viscous(model.dt, neighbours, dx):
        number = neighbours * nu * model.dt / dx**2
        raise ValueError(
            f"{type(model).__name__} is unstable at dt = {model.dt:g}: met the diffusion number "
            f"{neighbours} viscosity dt/dx^2 = {number:.3g} (dx = "
            f"length / n), wanted at most 1: take dt at most {model.dt / number:.3g}"
        )


def _coefficients(n: int, length: float, viscosity: float, dt: float) -> tuple:
    return etd_coefficients(-viscosity * modes(n, length) ** 2, dt)


def _dealiased(n: int, length: float) -> tuple[np.ndarray, np.ndarray]:
    """1 for the modes below n / 3, whose products alias to none of them, and k / 2 for those."""
    keep = (np.arange(n // 2 + 1) < n / 3).astype(float)
    return keep, keep * modes(n, length) / 2
