"""The exercises of heterogeneous latent spaces: features, samples left out, boxes, doubt."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Judge, Number


def left_out(A, Y, *, power=1.0, share=None):
    h = np.sum(A * np.linalg.pinv(A).T, axis=1)
    h = h if share is None else np.full(len(A), A.shape[1] / len(A))
    return (Y - A @ np.linalg.lstsq(A, Y, rcond=None)[0]) / ((1 - h) ** power)[:, None]


def twice(A, Y):
    h = np.sum(A * np.linalg.pinv(A).T, axis=1)
    return (Y - A @ np.linalg.lstsq(A, Y, rcond=None)[0]) * (1 + h)[:, None]


FITS = [(draw(9, 3), draw(9, 2)), (np.c_[np.ones(6), draw(6, 2)], draw(6, 1))]


def half_axes(G, w, *, power=0.5, one=1.0):
    return w / (one + np.sort(np.linalg.svd(G)[1])[::-1] ** 2) ** power


BOXES = [(3 * draw(5, 3), 1.5), (draw(4, 4), 0.5)]


def doubtful(b, B, c, slope, R, F):
    return b + B * slope / (slope**2 * B + R + F) * (c - slope * b)


DOUBTS = [(0.5, 2.0, 3.0, 1.5, 0.2, 4.0), (-1.0, 0.7, 1.0, -2.0, 1.0, 0.3)]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "gla-features": Number(
        46376.0, "C(34, 4), where the published code has 1000 samples.", rtol=1e-6,
        hints={
            40920.0: "those of degree 4 exactly; the lower degrees count too: C(r + d, d).",
            27405.0: "C(30, 4) takes each number once at most; squares are features too.",
            46375.0: "the constant is a feature too.",
            810000.0: "30^4 counts each product in all of its orders.",
            923521.0: "31^4 counts each product in all of its orders.",
        }),
    "gla-left": Function(
        left_out, FITS, "one fit, and the errors of as many as there are samples.",
        hints={
            lambda A, Y: left_out(A, Y, power=0.0):
                "these are the residuals, which the fit has seen: divide by 1 - h_s.",
            lambda A, Y: left_out(A, Y, power=0.5):
                "(1 - h)^(1/2) gives residuals of equal variance; an error left out has 1 - h.",
            lambda A, Y: left_out(A, Y, share=1):
                "F / S is the mean of the h_s; each sample has its own.",
            twice: "1 + h is the beginning of the series of 1 / (1 - h).",
        }),
    "gla-axes": Function(
        half_axes, BOXES, "what the data know well needs a short side.",
        hints={
            lambda G, w: half_axes(G, w, power=1.0):
                "these are variances; a side is a standard deviation.",
            lambda G, w: half_axes(G, w, one=0.0):
                "without the background's I a direction that is not seen has no end.",
            lambda G, w: half_axes(G, w, power=-0.5):
                "turned: what is seen well becomes short.",
            lambda G, w: half_axes(G, w)[::-1]: "sort them from the largest singular value on.",
            lambda G, w: half_axes(G, 1.0): "w is missing: the sides are w times the deviations.",
        }),
    "gla-doubt": Function(
        doubtful, DOUBTS, "where the polynomial is wrong the background keeps its word.",
        hints={
            lambda b, B, c, s, R, F: doubtful(b, B, c, s, R, 0.0):
                "this believes the polynomial: its errors F stand beside R.",
            lambda b, B, c, s, R, F: doubtful(b, B, c, s, F, 0.0):
                "the data have errors too: R + F.",
            lambda b, B, c, s, R, F: b + B / (B + R + F) * (c - s * b):
                "the gain is B H / (H B H + R + F), with H the slope.",
            lambda b, B, c, s, R, F: doubtful(b, B, c, s, R + F**2 - F, F):
                "F is a variance already.",
        }),
}
# fmt: on
