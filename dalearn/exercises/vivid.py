"""The exercises of VIVID: three estimates weighed, and an image of scattered sensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Judge, Number


def nearest(values, at, cells, *, far=False, turned=False):
    """The number of the nearest sensor in each cell; the settings make the usual mistakes."""
    places = np.asarray(at)[:, ::-1] if turned else np.asarray(at)
    d = ((cells[:, :, None] - places) ** 2).sum(-1)
    return np.asarray(values)[d.argmax(-1) if far else d.argmin(-1)]


AT = np.array([[0.2, 4.1], [3.3, 0.9], [2.1, 2.8], [4.4, 4.6]])
CELLS = np.moveaxis(np.indices((5, 6)), 0, -1)
IMAGES = [(draw(4), AT, CELLS), (draw(3), AT[1:], CELLS[:, :5])]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "vivid-voices": Number(
        8 / 7, "each estimate counts with the inverse of its variance.",
        hints={
            1.0: "this is the plain mean; variances say how much each counts.",
            1 / 1.75: "these are variances as weights; precisions are wanted.",
            4 / 3: "the background counts too, with precision 1.",
        },
    ),
    "vivid-image": Function(
        nearest, IMAGES, "each cell holds the number of its nearest sensor.",
        hints={
            lambda v, at, c: nearest(v, at, c, far=True): "this is the farthest sensor: argmin.",
            lambda v, at, c: nearest(v, at, c, turned=True): "rows come first, then columns.",
        },
    ),
}
