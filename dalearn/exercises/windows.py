"""The exercises of learning 4D-Var from observations: costs, trust, least squares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Judge, Number


def misfit(Y, seen, sigma, X, *, whole=False, mean=False, root=False):
    """sum over what was seen of (Y - X)^2 / (2 sigma^2) of windows `(S, K, m)`, `(S,)`."""
    d = np.where(seen > 0, Y - X, 0.0) if not whole else Y - X
    total = (d**2 / (sigma if root else sigma**2)).sum((-2, -1)) / 2
    return total / seen.sum((-2, -1)) if mean else total


def trust(V, R, seen, *, turned=False, gap=0.0):
    """V / (V + R), 0 where nothing was seen."""
    g = (R if turned else V) / (V + R)
    return np.where(seen > 0, g, gap)


def shrunk(Y, B, R, *, least=False):
    """The best linear map of one noisy datum to its truth, for rows of data, mean 0."""
    return Y if least else Y @ np.linalg.inv(B + R) @ B


SEEN = 1.0 * (draw(3, 4, 5) > -0.2)  # 1 where seen
WINDOWS = [
    (draw(3, 4, 5), SEEN, 0.5, draw(3, 4, 5)[::-1] + 0.1),
    (2 * draw(2, 3, 4), 1.0 * (draw(2, 3, 4) > 0.1), 2.0, draw(2, 3, 4)[::-1]),
]
TRUSTS = [
    (13.0, np.array([0.25, 1.0, 4.0]), np.array([1.0, 0.0, 1.0])),
    (2.0, np.array([1.0, 3.0, 0.5, 9.0]), np.array([1.0, 1.0, 0.0, 1.0])),
]
B2, R2 = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([[0.5, 0.1], [0.1, 1.5]])
DATA = [(draw(6, 2), B2, R2), (3 * draw(4, 2), R2, B2)]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "windows-share": Number(
        0.2, "R^2 / (B + R): the larger the error, the more it pays not to fit it.", rtol=1e-3,
        hints={
            1.0: "this is the error of the answer y. How much less is that of g y?",
            0.8: "this is the error of g y, B R / (B + R). How much less than R is it?",
            0.25: "R / B; wanted is R - B R / (B + R).",
        }),
    "windows-cost": Function(
        misfit, WINDOWS, "what was not seen costs nothing, whatever stands in its place.",
        hints={
            lambda Y, s, q, X: misfit(Y, s, q, X, whole=True):
                "entries that were not seen count here.",
            lambda Y, s, q, X: 2 * misfit(Y, s, q, X): "the half is missing.",
            lambda Y, s, q, X: misfit(Y, s, q, X, mean=True):
                "the sum, not the mean: more data weigh more.",
            lambda Y, s, q, X: misfit(Y, s, q, X, root=True): "divide by sigma squared.",
            lambda Y, s, q, X: misfit(Y, s, q, X).mean(): "one cost a window, (S,).",
        }),
    "windows-trust": Function(
        trust, TRUSTS, "it has no unit, and lies between 0 and 1.",
        hints={
            lambda V, R, s: trust(V, R, s, turned=True): "this is the share of the error.",
            lambda V, R, s: trust(V, R, np.ones_like(s)): "a gap must be 0: nothing was seen.",
            lambda V, R, s: np.where(s > 0, 1 / R, 0.0): "the precision has a unit; V / (V + R).",
            lambda V, R, s: trust(V**0.5, R**0.5, s): "of variances, not standard deviations.",
        }),
    "windows-hidden": Function(
        shrunk, DATA, "the same gain that a background covariance B would give.",
        hints={
            lambda Y, B, R: shrunk(Y, B, R, least=True):
                "this is the minimum of the cost of data that were shown: it fits their errors.",
            lambda Y, B, R: Y @ np.linalg.inv(B + R) @ R: "R and B have changed places.",
            lambda Y, B, R: Y @ B @ np.linalg.inv(B + R):
                "for rows it is y (B + R)^-1 B; (B + R)^-1 B is not symmetric.",
        }),
}
# fmt: on
