"""The simplest estimates of a motion from pictures: two pictures' difference, and smoothing.

`differences` is what optical flow is for water. Where Horn and Schunck (Artificial Intelligence
17, 1981) ask for the motion that carries brightness along, here the height changes as the water
runs together, eta_t = -depth div w. The last picture less the first one says div w between them;
without rotation that is Poisson's equation, depth T lap phi = eta_first - eta_last with w = grad
phi, solved wave by wave. The pressure, which pictures show, carries w back to the first of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import check_between
from ..problem.problem import Problem
from .motion_waves import Waves, cosines, wavenumbers


def differences(problem: Problem) -> np.ndarray:
    """The state at the first picture from the difference of the last and the first one.

    Args:
        problem: windows of whole pictures, a batch `(b,)`.

    Returns:
        States `(b, 3 n^2)`: the mean picture's height, and a motion.
    """
    model: Any = problem.model
    n, data = model.cells[0], np.asarray(problem.data)
    if not np.isfinite(data).all():
        raise ValueError("differences wants whole pictures, met gaps (NaN)")
    C, k2 = cosines(n), wavenumbers(n)
    waves = C @ data.reshape(*data.shape[:-1], n, n) @ C.T
    steps = sum(problem.steps_to(k) for k in range(1, len(problem)))
    grown = (waves[:, -1] - waves[:, 0]) * model.dx / (model.depth * model.dt * steps)
    k2 = np.where(k2 > 0, k2, np.inf)
    middle = grown / k2
    # db/dt = -g (dt / dx) a over the steps that lie between, and the half step of the scheme
    back = model.gravity * model.dt / model.dx * (steps + 1) / 2
    height = waves.mean(1)
    phi = np.where(np.isfinite(k2), middle + back * height, 0.0)
    one = Waves(np.ones((n, n)), np.ones((n, n)))
    return one.color(np.stack((height, phi), 1).reshape(len(data), -1))


def smoothed(motion: np.ndarray, width: float) -> np.ndarray:
    """Motions `(..., 2, n, n)` after a Gaussian of a width in cells; 0 leaves them as they are."""
    from scipy.ndimage import gaussian_filter

    check_between("width", width, 0, np.inf, open_low=False)
    return gaussian_filter(motion, width, axes=(-2, -1), mode="nearest") if width else motion
