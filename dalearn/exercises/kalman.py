"""The exercises of the Kalman filter and of the smoother that goes back from it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .functions import Function, draw, spd
from .numbers import Choice, Judge, Number


def log_density(d, V):
    size = len(d) * math.log(2 * math.pi) + np.linalg.slogdet(V)[1]
    return -0.5 * (size + d @ np.linalg.solve(V, d))


def back(xa, A, M, xb, B, xs, As):
    G = A @ M.T @ np.linalg.inv(B)
    return xa + G @ (xs - xb), A + G @ (As - B) @ G.T


def back_case(n):
    A, M = spd(n), draw(n, n) + np.eye(n)
    B = M @ A @ M.T + np.eye(n)
    return draw(n), A, M, draw(n) + 1, B, draw(n) - 1, B / 2


INNOVATIONS = tuple((draw(m), spd(m)) for m in (1, 2, 5))

BACKS = back_case(2), back_case(3)

RATIO = 0.0973  # Q / R, given in the exercise

STEADY = (math.sqrt(RATIO**2 + 4 * RATIO) - RATIO) / 2

MEMORY = math.log(0.1) / math.log(1 - STEADY)

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "kalman-steady-gain": Number(
        STEADY, "each year moves the estimate by a quarter of the news.",
        hints={
            (math.sqrt(RATIO**2 + 4 * RATIO) + RATIO) / 2:
                "this is `B/R`; the gain is `B/(B + R)`.",
            math.sqrt(RATIO): "you left out the `1 - K`; solve the quadratic equation.",
            RATIO: "this is the ratio itself; solve `K**2 / (1 - K) = Q/R` for K.",
            (-math.sqrt(RATIO**2 + 4 * RATIO) - RATIO) / 2:
                "this is the negative root; a gain lies between 0 and 1.",
        }),
    "kalman-memory": Number(
        MEMORY, "this is all that the filter remembers of one number.",
        hints={
            1 / STEADY: "this is `1/K`, about the time to fall to 1/e; asked for is 1/10.",
            -1 / math.log(1 - STEADY): "this is the time to fall to 1/e; use `log(0.1)`.",
            math.log(0.1 / STEADY) / math.log(1 - STEADY):
                "this is when the weight itself is 0.1; it starts at K and is to fall to `K/10`.",
        }),
    "kalman-surprise": Choice(
        "stayed as it was", {
            "stayed as it was": "gain and variance contain no data, only Q, R and the years gone.",
            "grew": "a person would doubt; the filter cannot: its variance contains no data.",
            "fell": "it falls in the first years only, and whatever the data say.",
        }),
    "innovation-density": Function(
        log_density, INNOVATIONS, "their sum over the cycles is the log-likelihood of the data.",
        hints={
            lambda d, V: log_density(d, V) + len(d) * math.log(2 * math.pi) / 2:
                "the term `m log(2 pi)` is missing.",
            lambda d, V: log_density(d, V) + np.linalg.slogdet(V)[1] / 2:
                "the determinant is missing: a large V must cost something.",
            lambda d, V: -log_density(d, V): "this is minus the logarithm of the density.",
            lambda d, V: np.exp(log_density(d, V)): "this is the density; give its logarithm.",
            lambda d, V: 2 * log_density(d, V): "the factor 1/2 in front is missing.",
            lambda d, V: log_density(d, np.linalg.inv(V)):
                "V is a covariance: divide the square by it, do not multiply.",
        }),
    "rts-step": Function(
        back, BACKS, "the data are never looked at again.", returns=("xs", "As"),
        hints={
            lambda xa, A, M, xb, B, xs, As: back(xa, A, M.T, xb, B, xs, As):
                "the covariance of this state and the next is `A M^T`, not `A M`.",
            lambda xa, A, M, xb, B, xs, As: (
                back(xa, A, M, xb, B, xs, As)[0], back(xa, A, M, xb, B, xs, As + B)[1]):
                "the covariance takes the difference `As - B`: without news nothing changes.",
            lambda xa, A, M, xb, B, xs, As: back(xa, A, M, xa, B, xs, As):
                "compare the smoothed state with the forecast `xb` of the same time.",
            lambda xa, A, M, xb, B, xs, As: back(xa, A, np.eye(len(xa)), xb, B, xs, As):
                "the model is missing: `G = A M^T B^-1`.",
        }),
    "unscented-square": Number(
        0.7**2 + 1.3**2, "the points find what curvature adds to the mean, whatever their reach.",
        hints={
            0.7**2: "this is the tangent's answer, the square of the mean.",
            1.3**2: "this is what curvature adds; add the square of the mean.",
            0.7**2 + 1.3: "1.3 is the standard deviation; its square is needed.",
        }),
}
# fmt: on
