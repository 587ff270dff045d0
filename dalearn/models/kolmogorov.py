"""Kolmogorov flow: two-dimensional turbulence driven by a sinusoidal force."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, Swept, array_namespace, check_count, constant, fft, is_array, typed
from .fields import all_modes, blockwise, check_positive, check_shape, modes, valid
from .integrate import imex3


@typed
@dataclass(frozen=True, eq=False)
class Kolmogorov:
    """u_t + u . grad u = -grad p + lap u / Re - drag u + amplitude sin(k y) e_x, div u = 0.

    An incompressible flow on the doubly periodic square [0, 2 pi]^2. The laminar state
    u = sin(k y) / (k^2/Re + drag), v = 0 is stationary; above Re of about 100 it gives way to
    turbulence that is statistically steady thanks to the drag.

    Pseudo-spectral in vorticity, 2/3 dealiased: the state is projected on divergence-free
    flows of the wavenumbers kept, whatever comes in (its mean velocity stays). Viscosity and drag
    implicit, advection and forcing explicit (`imex3`, third order): 12 forward or inverse
    transforms of one component a step in the three stages, 4 at the ends.

    Shapes: `(..., 2, n, n) -> (..., 2, n, n)`, u and v, rows along y and columns along x. Members
    with Re <= 0 become NaN. Stable where `courant` is below 1, and beyond: dt = 0.02 at 64^2 and
    0.005 at 128^2 hold for Re = 1000.

    Args:
        n: points a side, even, at least 8.
        reynolds: Re, a number or `(b, 1, 1)`, one for each member.
        drag: per time, a number or such an array.
        wavenumber: k of the forcing, an integer below n / 3.
        amplitude: of the forcing.
        dt: the step, time units.
        substeps: steps of dt / substeps in one call, without leaving Fourier space.

    Raises:
        ValueError: for settings out of range, and when called with a state of another shape.

    Sources: the set-up (Re 500-1500, forcing sin(4y), drag 0.1) is that of P. Xiao, P. Si and P.
    Chen, LD-EnSF, 2024, and D. Kochkov et al., PNAS 118, 2021; the four-transform form of the
    advection is from C. Basdevant, J. Comput. Phys. 50, 1983.
    """

    n: int = 64
    reynolds: Swept = 1000.0
    drag: Swept = 0.1
    wavenumber: int = 4
    amplitude: float = 1.0
    dt: float = 0.02
    substeps: int = 1

    def __post_init__(self):
        check_count("n", self.n, 8, 10**5)
        check_count("substeps", self.substeps)
        top = (self.n - 1) // 3
        if self.n % 2 or not 0 <= self.wavenumber <= top:
            raise ValueError(
                f"Kolmogorov wants n even and wavenumber 0 to {top} (below n / 3), met "
                f"n={self.n}, wavenumber={self.wavenumber}"
            )
        check_positive(self, "reynolds", "dt", axes=2)
        check_positive(self, "drag", zero=True, axes=2)

    @classmethod
    @typed
    def ld_ensf(cls, reynolds: Swept = 1000.0) -> Kolmogorov:
        """LD-EnSF (Xiao, Si and Chen 2024): 150^2, Re 500-1500, 0.04 cut in ten."""
        return cls(n=150, reynolds=reynolds, dt=0.04, substeps=10)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one state, (2, n, n)."""
        return 2, self.n, self.n

    @property
    def grid(self) -> tuple[np.ndarray, ...]:
        """The points (x, y), each `(n, n)`."""
        return tuple(np.meshgrid(*2 * (2 * np.pi / self.n * np.arange(self.n),)))

    def __call__(self, x: Array) -> Array:
        check_shape(self, x, self.shape)
        reynolds, drag = valid(self.reynolds, like=x), valid(self.drag, zero=True, like=x)
        return blockwise(self._steps, x, 3, reynolds, drag)

    def _steps(self, x: Array, reynolds: Any, drag: Any) -> Array:
        F, xp, n, h = fft(x), array_namespace(x), self.n, self.dt / self.substeps
        k = constant(_operators, n, like=x)
        source = constant(_forcing, n, self.wavenumber, float(self.amplitude), like=x)
        rate = -(k.square / reynolds + drag)
        mean = xp.mean(x, axis=(-2, -1), keepdims=True)
        fade = math.exp if not is_array(drag) else xp.exp
        share = drag[..., None, :, :] if is_array(drag) and drag.ndim > 2 else drag

        def velocity(w):  # w is i times the transform of the vorticity: all multipliers are real
            return F.irfft2(k.flow * w[..., None, :, :], s=(n, n)) + mean

        def tendency(w):  # i times the transform of curl(forcing - u . grad u)
            flow = velocity(w)
            u, v = flow[..., 0, :, :], flow[..., 1, :, :]
            hat = F.rfft2(xp.stack((u * v, (v - u) * (v + u)), axis=-3))
            curl = k.advect[0] * hat[..., 0, :, :] + k.advect[1] * hat[..., 1, :, :]
            return 1j * (curl + source)

        hat = F.rfft2(x)
        w = -(k.curl[0] * hat[..., 0, :, :] + k.curl[1] * hat[..., 1, :, :])
        for _ in range(self.substeps):
            w = imex3(tendency, rate, w, h)
            mean = mean * fade(-h * share)
        return velocity(w)

    def vorticity(self, x: Array) -> Array:
        """dv/dx - du/dy, `(..., 2, n, n) -> (..., n, n)`."""
        return self._first_derivative(x, "curl")

    def divergence(self, x: Array) -> Array:
        """du/dx + dv/dy, `(..., 2, n, n) -> (..., n, n)`."""
        return self._first_derivative(x, "gradient")

    def _first_derivative(self, x: Array, which: str) -> Array:
        check_shape(self, x, self.shape)
        k = getattr(constant(_operators, self.n, like=x), which)
        hat = array_namespace(x).sum(k * fft(x).rfft2(x), axis=-3)
        return fft(x).irfft2(1j * hat, s=(self.n, self.n))

    def energy(self, x: Array) -> Array:
        """Mean kinetic energy |u|^2 / 2, `(..., 2, n, n) -> (...)`."""
        return array_namespace(x).mean(x**2, axis=(-3, -2, -1))

    def budget(self, x: Array) -> tuple[Array, Array, Array]:
        """What changes the energy: work of the forcing, drag, viscosity, each `(...)`.

        dE/dt = <amplitude sin(k y) u> - drag <|u|^2> - <vorticity^2> / Re, means over the square.
        """
        xp = array_namespace(x)
        wind = constant(_wind, self.n, self.wavenumber, float(self.amplitude), like=x)
        work = xp.mean(wind * x[..., 0, :, :], axis=(-2, -1))
        drag = xp.mean(-valid(self.drag, zero=True, like=x) * xp.sum(x**2, axis=-3), axis=(-2, -1))
        viscous = -(self.vorticity(x) ** 2) / valid(self.reynolds, like=x)
        return work, drag, xp.mean(viscous, axis=(-2, -1))

    def spectrum(self, x: Array) -> Array:
        """Energy in shells of wavenumber 0 to n/2, `(..., n/2 + 1)`; their sum is `energy`."""
        check_shape(self, x, self.shape)
        xp, hat = array_namespace(x), fft(x).rfft2(x) / self.n**2
        power = xp.sum(xp.real(hat) ** 2 + xp.imag(hat) ** 2, axis=-3)
        shells = constant(_shells, self.n, like=x)
        return xp.reshape(power, (*power.shape[:-2], -1)) @ shells

    def courant(self, x: Array) -> Array:
        """max(|u| + |v|) h K / 1.73 for the substep h and largest wavenumber K: `(...)`."""
        xp = array_namespace(x)
        speed = xp.max(xp.sum(xp.abs(x), axis=-3), axis=(-2, -1))
        return speed * (self.dt / self.substeps * ((self.n - 1) // 3) / 3**0.5)

    def laminar(self) -> np.ndarray:
        """The stationary u = amplitude sin(k y) / (k^2/Re + drag), v = 0: `(..., 2, n, n)`."""
        rate = self.wavenumber**2 / valid(self.reynolds) + valid(self.drag, zero=True)
        u = _wind(self.n, self.wavenumber, float(self.amplitude)) / rate
        return np.stack([u, 0 * u], axis=-3)

    def random_flow(self, rng: np.random.Generator, lead: tuple[int, ...] = ()) -> np.ndarray:
        """Random flows `(*lead, 2, n, n)` without divergence, wavenumbers around 4, top speed 3.

        White noise of vorticity filtered by k^2 exp(-(k/4)^2).
        """
        k = _operators(self.n)
        w = np.fft.rfft2(rng.standard_normal((*lead, self.n, self.n)))
        w *= k.square * np.exp(-k.square / 16)
        x = np.fft.irfft2(1j * (k.flow * w[..., None, :, :]), s=(self.n, self.n))
        speed = np.sqrt((x**2).sum(-3)).max((-2, -1))
        return 3 * x / speed[..., None, None, None]


@dataclass(frozen=True)
class _Operators:
    """Multipliers of transforms `(n, n/2 + 1)`, zero where wavenumbers are cut; i is left out."""

    square: Any  # kx^2 + ky^2
    gradient: Any  # (kx, ky)
    curl: Any  # (-ky, kx)
    flow: Any  # (ky, -kx) / k^2: from vorticity to velocity
    advect: Any  # (kx^2 - ky^2, kx ky): from F(uv), F(v^2 - u^2) to -curl(u . grad u)


def _operators(n: int) -> _Operators:
    kx, ky = np.meshgrid(modes(n, 2 * np.pi), all_modes(n, 2 * np.pi))
    keep = (np.abs(kx) < n / 3) & (np.abs(ky) < n / 3)  # products alias to none of them
    square = kx**2 + ky**2
    flow = keep * np.stack([ky, -kx]) / np.where(square > 0, square, 1)
    own = (np.abs(kx) < n // 2) & (np.abs(ky) < n // 2)  # the highest wave has no derivative
    advect = keep * np.stack([kx**2 - ky**2, kx * ky])
    return _Operators(square, own * np.stack([kx, ky]), keep * np.stack([-ky, kx]), flow, advect)


def _wind(n: int, k: int, amplitude: float) -> np.ndarray:
    return amplitude * np.sin(k * 2 * np.pi / n * np.arange(n))[:, None] + np.zeros((n, n))


def _forcing(n: int, k: int, amplitude: float) -> np.ndarray:
    """The transform of -d/dy of the wind: real, since it is a cosine."""
    source = np.zeros((n, n // 2 + 1))
    source[[k, -k], 0] = -amplitude * k * n**2 / 2
    return source


def _shells(n: int) -> np.ndarray:
    """`(n (n/2 + 1), n/2 + 1)`: 1 where a mode is in a shell, 1/2 if it has no conjugate twin."""
    kx, ky = np.meshgrid(modes(n, 2 * np.pi), all_modes(n, 2 * np.pi))
    shell = np.minimum(np.rint(np.hypot(kx, ky)).astype(int), n // 2)
    weight = np.where((kx == 0) | (kx == n // 2), 0.5, 1.0)
    out = np.zeros((kx.size, n // 2 + 1))
    out[np.arange(kx.size), shell.ravel()] = weight.ravel()
    return out
