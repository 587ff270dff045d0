"""The exercises of reduced-order models: floors, fronts, delays, and sums over points."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Judge, Number


def pod_floor(sigma, r):
    return np.sqrt((np.asarray(sigma)[r:] ** 2).sum() / (np.asarray(sigma) ** 2).sum())


VALUES = [(np.array([3.0, 2.0, 1.0, 0.5]), 2), (np.abs(draw(6)), 4)]


def delays(omega):
    return np.array([-1.0, 2 * np.cos(omega)])


def pooled(x, points, b):
    return (x[:, None] * b(points)).mean(0)


def waves(points):
    return np.stack((np.ones(len(points)), np.sin(points[:, 0]), np.cos(points[:, 1])), -1)


CLOUDS = [(draw(7), draw(7, 2), waves), (draw(4), 2 * draw(4, 2), waves)]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "pod-floor": Function(
        pod_floor, VALUES, "known before anything is encoded; runs that nobody fitted have more.",
        hints={
            lambda s, r: pod_floor(s, r) ** 2: "this is the share of the energy; take its root.",
            lambda s, r: np.sqrt(1 - pod_floor(s, r) ** 2):
                "this is what the r directions keep; what do they leave?",
            lambda s, r: np.sum(s[r:]) / np.sum(s): "squares add up, the values do not.",
            lambda s, r: s[r] / s[0]: "all values that are left out count, not the first of them.",
            lambda s, r: np.sqrt((s[r:] ** 2).sum()):
                "relative: divide by the same of all values.",
            lambda s, r: pod_floor(s, r - 1): "s[r - 1] is the last one that is kept.",
        }),
    "front-modes": Number(
        4053.0, "and two numbers, cos and sin of its place, say all.", rtol=2e-3,
        hints={
            64.0: "the error falls with the root of r: square.",
            6366.0: "(2 / (pi e))^2, not 2 / (pi e^2).",
            2026.0: "each odd harmonic has a sine and a cosine: two modes.",
            8106.0: "r counts both modes of a harmonic already.",
            40.5: "1 % is 0.01, not 0.1.",
        }),
    "two-delays": Function(
        delays, [(0.3,), (1.2,), (2.5,)], "any amplitude and phase: two states know the velocity.",
        hints={
            lambda w: delays(w)[::-1]: "turned: the older state comes first.",
            lambda w: np.array([1.0, 2 * np.cos(w)]): "the sign of the older state.",
            lambda w: np.array([-1.0, np.cos(w)]):
                "cos(a + w) + cos(a - w) = 2 cos a cos w: twice.",
            lambda w: np.array([0.0, np.cos(w)]):
                "this is the best that one state can do; it loses the velocity.",
        }),
    "any-order": Function(
        pooled, CLOUDS, "another order is the same sum, and more points the same integral.",
        hints={
            lambda x, p, b: pooled(x, p, b) * len(x):
                "a sum grows with the number of points: take the mean.",
            lambda x, p, b: np.full(3, x.mean()):
                "the mean of the values alone does not know where they are: weigh by b(points).",
            lambda x, p, b: x.mean() * b(p).mean(0):
                "each value belongs to its own place: multiply before you average.",
            lambda x, p, b: np.linalg.lstsq(b(p), x, rcond=None)[0]:
                "this is the least-squares fit, which `GraphAutoencoder` uses; here the mean is "
                "asked for.",
        }),
}
# fmt: on
