"""The exercises of motion from images: errors of differences, energies of waves, angles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Choice, Judge, Number


def potential(a, k2, g, depth, *, root=True, turned=False, still=True):
    """Standard deviations of the potential from those of the height, wave by wave."""
    ratio = depth / g if turned else g / depth
    inside = np.where(k2 > 0, k2, np.inf if still else 1.0)
    return a * (np.sqrt(ratio / inside) if root else ratio / inside)


def angle(w, t, *, degrees=True, lengths=True):
    """The mean angle between motions `(2, h, w)`."""
    dot = (w * t).sum(0)
    size = np.sqrt((w**2).sum(0) * (t**2).sum(0)) if lengths else 1.0
    found = np.arccos(np.clip(dot / size, -1, 1)).mean()
    return np.degrees(found) if degrees else found


K2 = np.array([[0.0, 0.3, 1.0], [0.3, 0.6, 1.3], [1.0, 1.3, 2.0]])
WAVES = [(1 + draw(3, 3) ** 2, K2, 9.81, 100.0), (0.5 + draw(3, 3) ** 2, 2 * K2, 2.0, 7.0)]
FLOWS = [(draw(2, 4, 5), draw(2, 4, 5)[:, ::-1] + 0.3), (draw(2, 3, 3), 2 * draw(2, 3, 3)[::-1])]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "motion-noise": Number(
        3.1e-7, "5 mm/s a cell; the true divergence is 26 mm/s a cell.", rtol=2e-2,
        unit="1/s",
        hints={
            2.19e-7: "both pictures err: the error of a difference is sqrt(2) times that of one.",
            3.1e-5: "eta_t = -depth div w: divide by the depth too.",
            4.39e-7: "independent errors add up in their squares, not as they are.",
            7.07e-4: "divide by the time between them too: nine steps of 253.4 s.",
            2.79e-6: "there are nine steps between the pictures.",
        }),
    "motion-waves": Function(
        potential, WAVES, "pictures of the height tell how fast water moves, on average.",
        hints={
            lambda a, k2, g, depth: potential(a, k2, g, depth, root=False):
                "energies are squares: take the root.",
            lambda a, k2, g, depth: potential(a, k2, g, depth, turned=True):
                "turned: g a^2 = depth k^2 b^2.",
            lambda a, k2, g, depth: potential(a, k2, g, depth, still=False):
                "where k^2 = 0 nothing moves: b = 0.",
            lambda a, k2, g, depth: potential(a**2, k2, g, depth, root=False):
                "this is b^2, the variance.",
        }),
    "motion-angle": Function(
        angle, FLOWS, "it says nothing of speed: a motion ten times too fast errs by 0.",
        hints={
            lambda w, t: angle(w, t, degrees=False): "in degrees, not radians.",
            lambda w, t: angle(w, t, lengths=False):
                "divide by both lengths: the cosine is w . t / (|w| |t|).",
            lambda w, t: angle(w.ravel(), t.ravel()):
                "this is one angle of all points together; take one at each point, then the mean.",
            lambda w, t: np.cos(np.radians(angle(w, t))): "this is a cosine.",
        }),
    "motion-stop": Choice(
        "the stop was the regularisation", {
            "the stop was the regularisation":
                "with no background, what the pictures hardly see is filled with noise last.",
            "the optimiser diverged":
                "the cost fell all the way: it found a better minimum, and a worse motion.",
            "single precision was not enough":
                "in double precision the same happens; look at what the cost leaves open.",
            "the model is wrong":
                "it is exact here: the truth runs through the same model.",
        }),
}
# fmt: on
