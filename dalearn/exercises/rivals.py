"""The exercises of learned solvers and score smoothers: guidance, and what a start gives away."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .functions import Function, draw
from .numbers import Judge, Number


def pull(y, x, e, mu, sigma, R, gamma, *, raw=False, plain=False, single=False):
    """The gradient of log N(y; x^, R + gamma (sigma / mu)^2) to x^; settings are mistakes."""
    clean = x if raw else (x - sigma * e) / mu
    blur = 0.0 if plain else gamma * (sigma / mu) ** (1 if single else 2)
    return (y - clean) / (R + blur)


GROWTH = math.exp(0.906 * 15 * 0.025)
PULLS = [
    (draw(4, 1)[:, 0], draw(4, 1)[::-1, 0], 0.5 + draw(4, 1)[:, 0], 0.8, 0.6, 0.25, 0.5),
    (draw(3, 1)[:, 0], 1 + draw(3, 1)[:, 0], -draw(3, 1)[:, 0], 0.3, 0.95, 0.1, 0.03),
]

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "rivals-growth": Number(
        GROWTH, "an error of nothing stays next to nothing: such a test needs no data.", rtol=0.02,
        hints={
            0.906 * 0.375: "this is the exponent; the factor is its exponential.",
            0.375: "these are the time units; multiply by the Lyapunov exponent, then exp.",
            math.exp(0.906 * 15): "a step is 0.025 time units long.",
        }),
    "rivals-pull": Function(
        pull, PULLS, "at t = 1 hardly any pull is left, and at t = 0 it is that of the data.",
        hints={
            lambda *a: pull(*a, raw=True): "the data speak of x^, the state behind the noise.",
            lambda *a: pull(*a, plain=True): "x^ errs too: add gamma (sigma / mu)^2 to R.",
            lambda *a: pull(*a, single=True): "a variance: (sigma / mu) squared.",
            lambda *a: -pull(*a): "turned: it points from x^ to y.",
        }),
}
# fmt: on
