"""The exercises of learned models: histories, their errors, splits of the data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function
from .numbers import Choice, Judge, Number


def noise(r):
    return r.T @ r / len(r)


RESIDUALS = [(np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.5]]),), (np.array([[0.2], [0.4]]),)]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "history-state": Number(
        4 * 16, "a method sees the window as one long state.",
        hints={
            16: "this is the newest latent alone; the network also needs those before it.",
            4: "these are the times in the window; each holds 16 numbers.",
            4 + 16: "multiply: each of the 4 times holds 16 numbers.",
            5 * 16: "the new state comes in and the oldest leaves: still 4 times.",
            4 * 1024: "the fields stay with the decoder; the model moves latents of 16 numbers.",
        }),
    "surrogate-noise": Function(
        noise, RESIDUALS, "its root is what the network adds to the error at each step.",
        hints={
            lambda r: np.cov(r, rowvar=False):
                "this takes the mean away first; a network that errs on one side errs as well.",
            lambda r: r.T @ r: "divide by the number of residuals.",
            lambda r: r @ r.T / len(r): "turned: Q is (n, n), one row for each component.",
            lambda r: (r**2).mean(0):
                "these are the variances; the errors of the components go together: `r.T @ r`.",
            lambda r: np.sqrt((r**2).mean(0)): "these are standard deviations; Q is a covariance.",
        }),
    "split-leak": Choice(
        "by trajectory", {
            "by trajectory": "no state of the test set has a neighbour in training.",
            "by time step":
                "the state 0.05 later is nearly the same one: the network has seen the answer.",
            "every other step":
                "each test state then lies between two that were trained on.",
            "by pair":
                "a pair's neighbours, one step earlier and later, are trained on.",
        }),
    "latent-noise": Choice(
        "of sensors and networks", {
            "of sensors and networks": "R is all that separates y from H(x) of the true state.",
            "of the sensors":
                "then H is taken for perfect: the network's own error is fitted as if it were "
                "signal.",
            "of the networks": "the sensors err too, and the encoder passes that on.",
            "zero": "then every wiggle of the data is reproduced, the false ones as well.",
        }),
}
# fmt: on
