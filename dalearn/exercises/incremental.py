"""The exercises of neural incremental assimilation: levels, the solve, and published indices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Judge, Number


def step(z, z0, x, k, levels, *, printed=False, of=None):
    """The guess of the next level; the settings make the usual mistakes."""
    share = 1 - k / (levels + 1) if printed else 1 / levels
    return z + share * (x - (z0 if of is None else of))


def solved(mu, L, G, g, *, turned=False, early=False, covariance=False):
    """The analysis with the precision L L^T."""
    A = L.T @ L if turned else L @ L.T
    A = np.linalg.inv(A) if covariance else A
    return mu + np.linalg.solve(A + G, g if early else g - G @ mu)


def systems(rows, *, ordered=False, flat=False):
    """How many different sets of indices there are among rows."""
    if flat:
        return len(set(np.ravel(rows).tolist()))
    return len({tuple(r) if ordered else frozenset(r) for r in np.asarray(rows).tolist()})


LEVELS = [(draw(4, 3), draw(4, 3)[::-1], draw(4, 3) + 0.5, k, n) for k, n in ((1, 3), (0, 5))]
LOWER = np.tril(draw(4, 4)) + 2 * np.eye(4)
SEEN = np.diag([400.0, 0, 0, 25.0])
SOLVES = [
    (draw(4), LOWER, SEEN, SEEN @ (draw(4)[::-1] + 1)),
    (draw(4)[::-1], LOWER + np.eye(4), SEEN / 100, SEEN @ draw(4) / 100),
]
PROCESSES = np.array([[(24 * j + 3 * i) % 96 for j in range(4)] for i in range(16)])
ROWS = [(PROCESSES,), (PROCESSES[:5],), (np.array([[1, 2], [2, 1], [2, 3]]),)]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "incremental-times": Number(
        5, "each is counted twice in H^T H, as if its error were smaller by the root of 2.",
        hints={
            10: "ten numbers, but 20 j mod 100 comes back to where it was.",
            100: "this is the number of times of the trajectory.",
            20: "this is the stride.",
        }),
    "incremental-level": Function(
        step, LEVELS, "were each x the truth, z would reach s z0 + (1 - s) x at every level.",
        hints={
            lambda z, z0, x, k, levels: step(z, z0, x, k, levels, printed=True):
                "this is the printed step; its shares sum to more than 1.",
            lambda z, z0, x, k, levels: step(z, z0, x, k, levels, of=z):
                "the step is along x - z0, not x - z.",
            lambda z, z0, x, k, levels: z0 + (x - z0) / levels:
                "what the levels before have done is lost: begin at z.",
        }),
    "incremental-solve": Function(
        solved, SOLVES, "no inverse of a covariance and no gain: one solve with a band.",
        hints={
            lambda mu, L, G, g: solved(mu, L, G, g, turned=True): "the precision is L L^T.",
            lambda mu, L, G, g: solved(mu, L, G, g, early=True):
                "g is H^T R^-1 y; mu is seen too: g - G mu.",
            lambda mu, L, G, g: solved(mu, L, G, g, covariance=True):
                "L L^T is the precision already, not the covariance.",
            lambda mu, L, G, g: solved(mu, L, G, g) - mu: "the increment alone: add it to mu.",
        }),
    "incremental-systems": Function(
        systems, ROWS, "of the sixteen published ones: 8. The test set is a part of the training.",
        hints={
            lambda rows: systems(rows, ordered=True):
                "the order of the observed numbers does not matter to H^T H.",
            lambda rows: systems(rows, flat=True):
                "these are the places seen by any; count the sets.",
        }),
}
# fmt: on
