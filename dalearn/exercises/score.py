"""The exercises of score filters: scores, the law of one sample, steps, flows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function
from .numbers import Judge, Number


def score(x, m, v):
    return (m - x) / v


SCORES = [(np.array([0.5, -1.0, 3.0]), 1.0, 0.25), (np.array([2.0]), -0.5, 4.0)]


def gained(forecast, analysis, y, R):
    d = y - forecast
    return ((analysis - forecast) * d).sum() / (d * d).sum()


def background(forecast, analysis, y, R):
    gain = gained(forecast, analysis, y, R)
    return R * gain / (1 - gain)


FORECAST = np.array([0.0, 1.0, -0.5, 2.0])
ANALYSES = [  # gains of about 0.7 and 0.3, and a little noise
    (FORECAST, FORECAST + 0.7 * (1.5 - FORECAST) + np.array([0.1, -0.1, 0.05, 0.02]), 1.5, 0.04),
    (2 * FORECAST, 1.4 * FORECAST - 0.3 + np.array([0.0, 0.1, -0.1, 0.05]), -1.0, 0.5),
]


def noiseless(forecast, analysis, y, R):
    gain = (analysis - forecast).mean() / (y - forecast).mean()
    return R * gain / (1 - gain)


def ot(guidance, R, low):
    return 1 - low ** (guidance * low / (R * (1 - low)))


FLOWS = [(0.05, 0.01, 0.05), (0.1, 0.04, 0.1), (0.02, 0.25, 0.02)]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "score-gaussian": Function(
        score, SCORES, "a line through the mean, the steeper the surer.",
        hints={
            lambda x, m, v: (x - m) / v:
                "turned: the score points to where the density grows, towards the mean.",
            lambda x, m, v: (m - x) / np.sqrt(v):
                "divide by the variance v, not by the standard deviation.",
            lambda x, m, v: -(x - m) ** 2 / (2 * v):
                "this is the logarithm of the density; the score is its derivative.",
            lambda x, m, v: (m - x) / v * np.exp(-(x - m) ** 2 / (2 * v)) / np.sqrt(2 * np.pi * v):
                "this is the derivative of the density; take that of its logarithm.",
            lambda x, m, v: m - x: "divide by the variance.",
        }),
    "score-gain": Number(
        0.1 / (0.1 + 0.2**2), "the spread of the ensemble, 2, is nowhere in it.", rtol=5e-3,
        hints={
            4 / 4.04:
                "this is the Kalman gain of the ensemble; the one-sample score does not know its "
                "spread.",
            0.04 / 0.14: "this share of the forecast stays; the datum gets the rest.",
            0.1 / 0.3: "0.2 is a standard deviation: square it.",
            0.1**2 / (0.1**2 + 0.2**2): "eps_beta is a variance already.",
        }),
    "score-steps": Number(
        1270.0, "a sensor five times as good needs twenty-five times as many.",
        rtol=2e-3,
        hints={
            1250.0: "this is the share of the data; the forecast's score has its 1 / eps_beta.",
            1125.0: "0.45 / sigma^2 is a rule of thumb, and a little too few.",
            1145.0: "the limit is a half of the sum, by dt times the rate below 2.",
            2540.0: "the rate times dt may reach 2, not 1.",
            635.0: "half of it is enough for the probability flow; the diffusion needs all.",
            25.5: "square the standard deviation.",
        }),
    "score-background": Function(
        background, ANALYSES, "the background variance in which such an analysis believes.",
        rtol=1e-3,
        hints={
            gained: "this is the gain K; solve K = B / (B + R) for B.",
            lambda f, a, y, R: R * (1 / gained(f, a, y, R) - 1):
                "turned: B is R times K / (1 - K).",
            lambda f, a, y, R: R * gained(f, a, y, R):
                "K R is the variance of the analysis; divide by 1 - K.",
            noiseless:
                "the ratio of two means wastes what the members differ in: use least squares, "
                "sums of d * dx and of d * d.",
            lambda f, a, y, R: ((y - f) ** 2).mean() - R:
                "this is the variance of the innovations less R: what B should be, not what the "
                "analysis makes of it.",
        }),
    "flow-gain": Function(
        ot, FLOWS, "early guidance is forgotten: the path from noise contracts to its end.",
        hints={
            lambda g, R, low: 1 - np.exp(-g / R):
                "this is F2P, whose paths keep their width; here it shrinks to sigma_min.",
            lambda g, R, low: low ** (g * low / (R * (1 - low))):
                "this share of the difference is left; the gain is the rest.",
            lambda g, R, low: 1 - low ** (g * low / R):
                "ds = -(1 - low) dt: the exponent has a factor 1 / (1 - low).",
            lambda g, R, low: 1 - low ** (g / (R * (1 - low))):
                "the end that the guidance sees moves by low / s of what the member moves.",
            lambda g, R, low: 1 - low ** (1 + g * low / (R * (1 - low))):
                "this is the factor on the noise at the start, not on the difference.",
        }),
}
# fmt: on
