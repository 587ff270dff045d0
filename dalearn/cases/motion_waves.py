"""Waves in a basin as a prior: what pictures of the height alone tell of its motion.

A closed basin has standing waves, cosines (i, j) along its sides. In each, height a and potential
b (the velocity is the gradient of phi) make an oscillator that knows nothing of the others,

    b <- b - g (dt / dx) a ,    a <- a + H (dt / dx) k^2 b ,    k^2 = 4 sin^2 + 4 sin^2 ,

exactly for the linear scheme. Over a period its energies are equal, g <a^2> = H k^2 <b^2>. So the
spectrum of the height, which pictures show, gives that of the velocity, which nothing shows:

    B = L L^T ,   color(z) = (C^T (s_a z_a) C, grad C^T (s_b z_b) C) ,

C the cosines. `Waves` is this covariance, for 4D-Var; `blue` the best linear estimate of whole
pictures, in which each wave is solved for by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, array_namespace, convert
from ..covariances.base import Covariance, check_width
from ..models import ShallowWater
from ..problem.problem import Problem


def cosines(n: int) -> np.ndarray:
    """The waves of a line of n cells between walls as rows, `(n, n)`, orthonormal."""
    i = np.arange(n)
    rows = np.cos(np.pi * np.outer(i, i + 0.5) / n) * np.sqrt(2 / n)
    rows[0] = np.sqrt(1 / n)
    return rows


def wavenumbers(n: int) -> np.ndarray:
    """k^2 of each wave, in 1 / dx^2, as the scheme's differences have it: `(n, n)`."""
    s = 4 * np.sin(np.pi * np.arange(n) / (2 * n)) ** 2
    return s[:, None] + s


@dataclass(frozen=True, eq=False)
class Waves(Covariance):
    """The covariance of height and of a velocity without rotation, in a closed basin.

    Args:
        height: standard deviations of the waves in the height, `(n, n)`, m.
        potential: those in phi, m/s per cell.
    """

    height: np.ndarray
    potential: np.ndarray

    @property
    def batch(self) -> tuple[int, ...]:
        return ()

    @property
    def side(self) -> int:
        """n."""
        return self.height.shape[0]

    @property
    def n(self) -> int:
        return 3 * self.side**2

    @property
    def controls(self) -> int:
        return 2 * self.side**2

    def color(self, z: Array) -> Array:
        """Rows of independent numbers `(..., k, 2 n^2)` -> states `(..., k, 3 n^2)`."""
        check_width(z, self.controls)
        xp, n = array_namespace(z), self.side
        C, stds = (convert(a, z) for a in (cosines(n), np.stack((self.height, self.potential))))
        q = C.T @ (xp.reshape(z, (*z.shape[:-1], 2, n, n)) * stds) @ C
        eta, phi = q[..., 0, :, :], q[..., 1, :, :]
        u = xp.concat((phi[..., 1:] - phi[..., :-1], 0 * phi[..., :1]), axis=-1)
        v = xp.concat((phi[..., 1:, :] - phi[..., :-1, :], 0 * phi[..., :1, :]), axis=-2)
        return xp.reshape(xp.stack((eta, u, v), axis=-3), (*z.shape[:-1], self.n))

    def whiten(self, x: Array) -> Array:
        """States `(..., k, 3 n^2)` -> rows `(..., k, 2 n^2)`; rotation does not count."""
        check_width(x, self.n)
        xp, n = array_namespace(x), self.side
        stds = np.stack((self.height, wavenumbers(n) * self.potential))
        C, over = (convert(a, x) for a in (cosines(n), stds))
        whole = convert((stds > 0).astype(float), x)
        q = xp.reshape(x, (*x.shape[:-1], 3, n, n))
        u, v = q[..., 1, :, :], q[..., 2, :, :]
        west = xp.concat((0 * u[..., :1], u[..., :-1]), axis=-1)
        south = xp.concat((0 * v[..., :1, :], v[..., :-1, :]), axis=-2)
        z = C @ xp.stack((q[..., 0, :, :], west - u + south - v), axis=-3) @ C.T
        return xp.reshape(z * whole / (over + 1 - whole), (*x.shape[:-1], self.controls))

    def variance(self) -> Array:
        n = self.side
        C = cosines(n)
        D = np.diff(C, axis=1, append=C[:, -1:])
        a, b = self.height**2, self.potential**2
        parts = (C.T**2) @ a @ C**2, (C.T**2) @ b @ D**2, (D.T**2) @ b @ C**2
        return np.stack(parts).reshape(self.n)

    def __getitem__(self, b: Any) -> Covariance:
        return self


def spectrum(problem: Problem) -> Waves:
    """The covariance that whole pictures with errors of known variance imply: no truth is used.

    The variance of each wave over all windows and pictures, less that of the errors, averaged over
    waves of nearly one wavenumber; and equal energies for the velocity.

    Args:
        problem: windows of pictures without gaps, such as `motion.problem(starts("train", 500))`.

    Returns:
        Waves: the covariance.
    """
    model: Any = problem.model
    n = model.cells[0]
    data = np.asarray(problem.data)
    if not np.isfinite(data).all():
        raise ValueError("spectrum wants whole pictures, met gaps (NaN)")
    C = cosines(n)
    waves = C @ data.reshape(-1, n, n) @ C.T
    power = (waves**2).mean(0) - float(problem.observation.at(0).noise.variance()[0])
    k2 = wavenumbers(n)
    ring = np.rint(np.sqrt(k2) * n / np.pi).astype(int)
    mean = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
    floor = 1e-8 * mean.max()
    a = np.sqrt(np.maximum(mean, floor))[ring]
    a[0, 0] = np.sqrt(max(power[0, 0], floor))  # the volume, which no motion changes
    b = a * np.sqrt(model.gravity / (model.depth * np.where(k2 > 0, k2, np.inf)))
    return Waves(a, b)


def blue(problem: Problem, prior: Waves) -> np.ndarray:
    """The best linear estimate of the state at the first picture, wave by wave.

    Each wave has two unknowns and as many data as there are pictures. What the linear scheme
    leaves out, eta in the flux (depth + eta) u, is of the order eta / depth.

    Args:
        problem: windows of whole pictures, a batch `(b,)`.
        prior: the covariance at the first picture.

    Returns:
        States `(b, 3 n^2)`.
    """
    model: Any = problem.model
    n, data = model.cells[0], np.asarray(problem.data)
    C, k2 = cosines(n), wavenumbers(n)
    step = oscillators(model, k2)
    now, rows = np.broadcast_to(np.eye(2), (n, n, 2, 2)), []
    for k in range(len(problem)):
        for _ in range(problem.steps_to(k) if k else 0):
            now = step @ now
        rows.append(now[..., 0, :])
    H = np.stack(rows, -2) * np.stack((prior.height, prior.potential), -1)[..., None, :]
    y = np.moveaxis(C @ data.reshape(*data.shape[:-1], n, n) @ C.T, -3, -1)  # (b, n, n, K)
    r = problem.observation.at(0).noise.variance()[0]
    gain = np.linalg.solve(H.mT @ H / r + np.eye(2), H.mT / r)
    z = np.moveaxis((gain @ y[..., None])[..., 0], -1, -3)
    return prior.color(z.reshape(len(z), 2 * n * n))


def oscillators(model: ShallowWater, k2: np.ndarray) -> np.ndarray:
    """One step of the linear scheme for the (height, potential) of each wave: `(n, n, 2, 2)`."""
    m: Any = model
    g, depth, rate = float(m.gravity), float(m.depth), m.dt / m.dx
    step = np.empty((*k2.shape, 2, 2))
    step[..., 1, 0], step[..., 1, 1] = -g * rate, 1
    step[..., 0, 0] = 1 - g * depth * rate**2 * k2
    step[..., 0, 1] = depth * rate * k2
    return step
