"""The exercises of generated fires: nearest letters, their means, what a word costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Judge, Number


def nearest(z, e):
    far = ((z[:, None] - e) ** 2).sum(-1)
    return far.argmin(-1)


def moved(z, e, *, divide=True, by=None, empty=1.0):
    """Means of what falls to each letter; the settings make the usual mistakes."""
    k = nearest(z, e)
    found = []
    for i in range(len(e)):
        mine = z[k == i]
        count = (by or len(mine)) if divide else 1
        found.append(mine.sum(0) / count if len(mine) else empty * e[i])
    return np.stack(found)


WORDS = [
    (draw(9, 2), draw(4, 2) * np.array([[1.0], [2.0], [0.5], [3.0]])),
    (draw(6, 3), draw(5, 3)),
]
FALLEN = [
    (
        np.concatenate((draw(5, 2), draw(4, 2) + 4)),
        np.array([[0.0, 0.0], [4.0, 4.0], [-9.0, 9.0]]),
    ),
    (draw(7, 3), np.concatenate((draw(2, 3), 20 + draw(1, 3)))),
]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "nearest-letter": Function(
        nearest, WORDS, "the letter of a vector is the cell of the codebook it falls into.",
        hints={
            lambda z, e: ((z[:, None] - e) ** 2).sum(-1).argmax(-1): "this is the farthest one.",
            lambda z, e: (z @ e.T).argmax(-1):
                "the largest product favours long vectors: |z - e|^2 has -2 z.e and |e|^2.",
            lambda z, e: ((z[:, None] - e) ** 2).sum(-1).argmin(0):
                "turned: one letter for each z, not one z for each letter.",
            lambda z, e: e[nearest(z, e)]: "these are the vectors; wanted are their numbers.",
            lambda z, e: ((z[:, None] - e) ** 2).sum(-1).min(-1):
                "these are the distances; wanted is at which letter.",
        }),
    "letter-means": Function(
        moved, FALLEN, "k-means; a letter to which nothing falls stays, until it is replaced.",
        hints={
            lambda z, e: moved(z, e, divide=False):
                "divide the sum by how many fell to the letter.",
            lambda z, e: moved(z, e, by=len(z)):
                "divide by how many fell to this letter, not by all.",
            lambda z, e: moved(z, e, empty=0.0):
                "a letter to which nothing falls keeps its vector.",
        }),
    "straight-through": Number(
        -2.0, "the derivative at the letter, as if the step were not there.",
        hints={
            0.0: "this is the derivative of a step, and with it no encoder learns; straight "
                 "through, dq/dz is taken for 1.",
            -2.2: "the loss is taken at q = 1, not at z = 0.8.",
            2.0: "mind the sign: dL/dq = q - 3.",
            -0.2: "this is z - q, the pull of the commitment.",
        }),
    "word-bits": Number(
        42.5, "against 4096 cells with a time each.", rtol=5e-3,
        hints={
            384.0: "64 letters of 6 bits each is a word without a prior.",
            29.44: "these are nats; a bit is ln 2 of them.",
            0.664: "this is one letter; a word has 64.",
            20.4: "nats are divided by ln 2 to make bits, not multiplied.",
        }),
}
# fmt: on
