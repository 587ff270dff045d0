"""The exercises of latent assimilation: flags without bias, whole windows, when training pays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Judge, Number


def unbiased(flag, f):
    return (flag - f) / (1 - 2 * f), f * (1 - f) / (1 - 2 * f) ** 2


FLAGS = [((draw(9) > 0).astype(float), 0.05), ((draw(7) > 0).astype(float), 0.2)]


def corrected(w, B, y, R):
    return w + B[:, 1] / (B[1, 1] + R) * (y - w[1])


def window() -> tuple:
    """A window, its covariance, a datum and a variance."""
    root = draw(2, 2)
    return draw(2), root @ root.T + 0.1 * np.eye(2), float(draw(1)[0]), 0.3


WINDOWS = [window(), window()]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "flag-bias": Function(
        unbiased, FLAGS, "errors without a bias are what every method assumes.",
        returns=("the data", "the variance"),
        hints={
            lambda flag, f: (flag - f, f * (1 - f)):
                "the mean of this is (1 - 2 f) x: divide, and the variance by the square.",
            lambda flag, f: ((flag - f) / (1 - 2 * f), f * (1 - f)):
                "the data were divided by 1 - 2 f, so their variance is by its square.",
            lambda flag, f: ((flag - f) / (1 - 2 * f), f * (1 - f) / (1 - 2 * f)):
                "a variance is divided by the square of what divides the data.",
            lambda flag, f: (flag / (1 - f), f * (1 - f) / (1 - f) ** 2):
                "flags are wrong both ways: where nothing has burnt their mean is f, not 0.",
        }),
    "training-pays": Number(
        10715.0, "for a few fires, run the automaton.", rtol=1e-4,
        hints={
            214286.0: "this counts frames; a forecast has 20 of them.",
            10000.0: "each frame still costs 20 microseconds.",
            150000.0: "these are seconds over the surrogate's cost; what counts is the saving.",
            11.0: "microseconds: 5.6 ms are saved by a forecast, not 5.6 s.",
        }),
    "window-gain": Function(
        corrected, WINDOWS, "the older code moves by its covariance with the newest.",
        hints={
            lambda w, B, y, R: w + np.array([0, B[1, 1] / (B[1, 1] + R) * (y - w[1])]):
                "this corrects the newest alone; a model of windows takes the jump for motion.",
            lambda w, B, y, R: w + B[:, 0] / (B[0, 0] + R) * (y - w[0]):
                "the datum sees the newest, w[1].",
            lambda w, B, y, R: w + B[1, 1] / (B[1, 1] + R) * (y - w[1]):
                "the older code has a gain of its own, B[0, 1] / (B[1, 1] + R).",
            lambda w, B, y, R: w + B[:, 1] / B[1, 1] * (y - w[1]):
                "the datum errs: R is missing in the gain.",
        }),
}
# fmt: on
