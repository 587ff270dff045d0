"""The exercises of several sensors in one latent space: gains, codes and leaks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Judge, Number


def blue(zb, zo, B, R, *, turned=False, swapped=False):
    """The analysis of rows of codes; the settings make the usual mistakes."""
    first, second = (R, B) if swapped else (B, R)
    K = first @ np.linalg.inv(first + second)
    return zb + (zo - zb) @ (K if turned else K.T)


def moment(z, z_true, *, centred=False, less=0, turned=False):
    e = z - z_true
    e = e - e.mean(0) if centred else e
    return e @ e.T / len(e) if turned else e.T @ e / (len(e) - less)


def shared(train, test, *, both=False, frames=False):
    """The share of test frames `(count, 2)` of run and time whose run is trained on too."""
    if frames:
        return float(np.mean([(row == train).all(1).any() for row in test]))
    inside = np.isin(test[:, 0], train[:, 0])
    return float(np.isin(train[:, 0], test[:, 0]).mean() if both else inside.mean())


B3, R3 = np.array([[2.0, 0.8, 0], [0.8, 1, 0.3], [0, 0.3, 0.5]]), np.diag([0.3, 1.0, 2.0])
B2, R2 = np.array([[1.0, -0.4], [-0.4, 2]]), np.array([[0.5, 0.2], [0.2, 0.4]])
GAINS = [(draw(5, 3), 2 * draw(5, 3)[::-1] + 1, B3, R3), (draw(1, 2), 1 - draw(1, 2), B2, R2)]
CODES = [(draw(8, 3) + 0.5, draw(8, 3)[::-1]), (draw(5, 2), 2 * draw(5, 2)[::-1] - 1)]
FRAMES = [(r, t) for r in range(6) for t in range(4)]
EVEN = np.array([f for f in FRAMES if f[1] % 2 == 0])
ODD = np.array([f for f in FRAMES if f[1] % 2])
SPLITS = [
    (EVEN[EVEN[:, 0] < 5], ODD[ODD[:, 0] > 1]),
    (np.array(FRAMES)[:12], np.array(FRAMES)[12:]),
    (np.array(FRAMES)[:10], np.array(FRAMES)[8:]),
]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "sensors-gain": Number(
        0.9975, "the background is thrown away: the analysis is the code of the data.", rtol=2e-4,
        hints={
            0.0025: "this is what is left of the background, 1 - K.",
            400.0: "K = B / (B + R), not B / R.",
            0.04: "this is B; divide it by B + R.",
        }),
    "sensors-blue": Function(
        blue, GAINS, "no operator: both codes are of the same kind.",
        hints={
            lambda zb, zo, B, R: blue(zb, zo, B, R, turned=True):
                "for rows it is (zo - zb) K^T; B (B + R)^-1 is not symmetric.",
            lambda zb, zo, B, R: blue(zb, zo, B, R, swapped=True):
                "this is the weight of the background, R (B + R)^-1.",
            lambda zb, zo, B, R: blue(zb, zo, B, R) - zb: "the increment alone: add it to zb.",
            lambda zb, zo, B, R: zb + 0.5 * (zo - zb): "with B = R; here they differ.",
        }),
    "sensors-errors": Function(
        moment, CODES, "a mean error is an error too: BLUE takes it for part of R.",
        hints={
            lambda z, t: moment(z, t, centred=True):
                "the mean error was taken off; BLUE does not know it, so it belongs to R.",
            lambda z, t: np.cov(z - t, rowvar=False):
                "np.cov takes the mean error off, and divides by the count less 1.",
            lambda z, t: moment(z, t, less=1):
                "no mean was estimated before: divide by the count.",
            lambda z, t: moment(z, t, turned=True): "rows are pairs: (r, r) is e.T @ e.",
            lambda z, t: np.cov(z, rowvar=False): "of the errors z - z_true, not of the codes.",
        }),
    "sensors-leak": Function(
        shared, SPLITS, "even and odd frames of one run share all of it: 1, and the test is void.",
        hints={
            lambda a, b: shared(a, b, frames=True):
                "no frame need be the same: its neighbour of the same run gives it away.",
            lambda a, b: shared(a, b, both=True):
                "turned: the share of the test frames, not of the training's.",
            lambda a, b: float(np.isin(b[:, 1], a[:, 1]).mean()):
                "times may repeat; runs may not. The run is in the first column.",
        }),
}
# fmt: on
