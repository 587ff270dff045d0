"""The exercises of 3D-Var, 4D-Var, weak constraints and error covariances."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .functions import Function, draw, spd
from .numbers import Choice, Judge, Number


def di01_step(lam, g):
    v = lam + 1
    return np.sum(lam * g**2 / v**2) / np.sum(lam / v), np.sum(g**2 / v**2) / np.sum(1 / v)


def block(M, H, Q, R, before=1, after=1, data=1):
    """One state's block of the precision of a chain."""
    held, pulled = np.linalg.inv(Q), M.T @ np.linalg.solve(Q, M)
    return before * held + after * pulled + data * H.T @ np.linalg.solve(R, H)


def gradient_in_v(v, L, H, d, r):
    return v - L.T @ H.T @ (d - H @ L @ v) / r**2


def window_gradient(x, y, dt, steps, late=False):
    """dJ/dx0 of J = (x_K - y)^2 / 2 for Euler steps of x' = x - x^3: forward, then back.

    With `late` each slope is taken at the state after its step, a usual mistake.
    """
    slope = 1.0
    for _ in range(int(steps)):
        before, x = x, x + dt * (x - x**3)
        slope *= 1 + dt * (1 - 3 * (x if late else before) ** 2)
    return slope * (x - y)


def forward(x, dt, steps):
    for _ in range(int(steps)):
        x = x + dt * (x - x**3)
    return x


CHAINS = tuple((draw(n, n), draw(m, n), spd(n), spd(m)) for n, m in ((3, 2), (2, 4)))

CONTROLS = tuple(
    (draw(n), draw(n, n), draw(m, n), draw(m), r) for n, m, r in ((3, 2, 0.5), (5, 7, 2.0))
)

STARTS = (0.3, 0.8, 0.1, 12), (-1.4, 0.2, 0.05, 30), (0.7, -0.5, 0.1, 1)

EIGEN = (draw(6) ** 2, draw(6)), (draw(9) ** 2, 2 * draw(9))

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "second-town": Number(
        17.6, "a covariance of 2 over 5, times an innovation of 4.",
        hints={
            19.2: "that is the gain of the first town, 4/5, with a correlation of 1.",
            18.56: "that is the answer for the correlation 0.8 of the text.",
            18.0: "the gain is `B_21 / (B_11 + R)`: do not forget R.",
            1.6: "this is the increment; add the background.",
        }, unit="degrees"),
    "cg-steps": Number(
        4, "three that the data bend, and 1 itself; n does not matter.",
        hints={
            1e6: "that is n; but `G^T G` has the rank of the data.",
            3: "three differ from 1; count 1 itself as well.",
        }),
    "gradient-in-v": Function(
        gradient_in_v, CONTROLS, "from controls to data, and back the same way: no inverse.",
        hints={
            lambda v, L, H, d, r: v + L.T @ H.T @ (d - H @ L @ v) / r**2:
                "the misfit enters with a minus: more v, less misfit.",
            lambda v, L, H, d, r: v - L.T @ H.T @ (d - H @ L @ v) / r:
                "r is a standard deviation; its square is needed.",
            lambda v, L, H, d, r: v - H.T @ (d - H @ L @ v) / r**2:
                "the last `L.T` is missing: go back to the controls.",
            lambda v, L, H, d, r: v - L @ H.T @ (d - H @ L @ v) / r**2:
                "on the way back L is transposed.",
            lambda v, L, H, d, r: -L.T @ H.T @ (d - H @ L @ v) / r**2:
                "the background's term is missing: its gradient is v.",
            lambda v, L, H, d, r: v - L.T @ H.T @ d / r**2:
                "this is the gradient with `v = 0` in the misfit, `d - H L v`.",
        }),
    "increment-correlation": Number(
        0.5, "an increment is a column of B, so a map of increments is a map of correlations.",
        hints={
            2: "that is the covariance; divide by the variance.",
            0.4: "the increment at i is not the innovation: it is `d B_ii / (B_ii + R) = 4`.",
        }),
    "adjoint-chain": Function(
        window_gradient, STARTS, "one run forward, one backward, whatever the number of inputs.",
        hints={
            lambda x, y, dt, steps: window_gradient(x, y, dt, steps) ** 2:
                "this is a square; the gradient has one factor of the misfit.",
            lambda x, y, dt, steps: forward(x, dt, steps) - y:
                "this is the gradient at the end; carry it back through the steps.",
            lambda x, y, dt, steps:
                (1 + dt * (1 - 3 * x**2)) ** steps * (forward(x, dt, steps) - y):
                "each step has its own slope: that at its own state, not at the start.",
            lambda *a: window_gradient(*a, late=True):
                "the order: a step's slope is that at the state before it, so multiply first, "
                "then step (on the way back: the state of the step that is undone).",
            lambda x, y, dt, steps: -window_gradient(x, y, dt, steps):
                "the sign: J grows with `x_K - y`, not with `y - x_K`.",
        }),
    "window-start": Number(
        2.0, "the increment at the end, 4, is twice what it was: the model has carried it there.",
        hints={
            4.0: "that is the increment at the end; the model doubles what happens at the start.",
            2.5: "that is the whole innovation, carried back; the data have an error as well.",
            1.0: "the variance at the end is `M B M = 4`, not 2.",
            5.0: "that is the innovation; weigh it, and carry it back.",
        }),
    "gradient-cost": Choice(
        "a few", {
            "a few": "one forward and one backward, which costs two to four of them.",
            "n + 1": "so do finite differences; the adjoint carries all n at once.",
            "n^2": "not even the Jacobian costs that many.",
            "2 n": "so do central differences; the adjoint carries all n at once.",
        }),
    "one-observation": Number(
        0.8, "half of what it changes at the thermometer, 1.6: the correlation is 0.5.",
        unit="degrees",
        hints={
            1.6: "so much at the thermometer; elsewhere the covariance, 0.5 times 4, is above.",
            1.0: "the error of the thermometer is missing: divide by `4 + 1`.",
            0.2: "the correlation is not the covariance: multiply by the variance, 4.",
            2.0: "this is the covariance; times the innovation 2, over `4 + 1`.",
            0.4: "the innovation is 2 degrees, not 1.",
        }),
    "both-doubled": Choice(
        "analysis stays, variance doubles", {
            "analysis stays, variance doubles":
                "the gain knows the ratio alone, the reported variance the size.",
            "both stay": "the gain stays, but `A = (I - K H) B` has one more B.",
            "analysis doubles, variance stays": "the gain is `B / (B + R)`: double both.",
            "both double": "the gain is `B / (B + R)`: double both.",
        }),
    "nmc-factor": Number(
        1.25, "the more the two forecasts share, the more the NMC variance is too small.",
        hints={
            0.5: "that is for independent errors; theirs are correlated by 0.6.",
            0.8: "this is the variance of the difference, for variances of 1: invert it.",
            2.5: "the difference has two errors: its variance is `2 (1 - 0.6)`.",
            0.3125: "the covariance is subtracted: `2 (1 - 0.6)`.",
            1 / 0.8**0.5: "the factor is for the variance: no root.",
        }),
    "di01-step": Function(
        di01_step, EIGEN, "sums of m numbers: that is all that an iteration costs.",
        returns=("s_b", "s_o"),
        hints={
            lambda lam, g: tuple(2 * s for s in di01_step(lam, g)):
                "twice too large: `J` has a factor 1/2, which the 2 cancels.",
            lambda lam, g: di01_step(lam, g)[::-1]: "s_b and s_o have changed places.",
            lambda lam, g: (np.sum(lam * g**2 / (lam + 1)) / np.sum(lam / (lam + 1)),
                            np.sum(g**2 / (lam + 1)) / np.sum(1 / (lam + 1))):
                "one `1 / (lam + 1)` for each V^-1, and there are two: square it above.",
            lambda lam, g: (np.sum(lam * g**2 / (lam + 1) ** 2) / len(lam),
                            np.sum(g**2 / (lam + 1) ** 2) / len(lam)):
                "divide by the traces, `sum(lam / (lam + 1))` and the rest, not by m.",
        }),
    "hybrid-controls": Number(
        2.1e7, "a field for the static part and one for each member.",
        hints={
            1e6 + 20: "so it is without localization; with it each member has a field of weights.",
            2e7: "the static part has its own million.",
            1e6: "this is n; `controls` counts what `color` takes.",
        }),
    "weak-cost": Number(
        2.0, "100 squares, 96 unknowns, and half of what is left: half of the number of data.",
        hints={
            4: "this is 2J: the cost has a half in front of each square.",
            50: "this is J at the truth; the minimum has used up 96 unknowns.",
            48.5: "at the truth, without the background; count the unknowns as well.",
            0.5: "this is without the background, which has three squares more.",
            0.05: "the paper's number; below what the noise of the data alone leaves.",
            0: "with more squares than unknowns not all can vanish.",
        }),
    "weak-block": Function(
        block, CHAINS, "held from behind, pulled from ahead, and seen.",
        hints={
            lambda *a: block(*a, before=0): "the state is held by the one before too: `Q^-1`.",
            lambda *a: block(*a, after=0): "the next state pulls as well: `M^T Q^-1 M`.",
            lambda *a: block(*a, data=0): "the datum is missing: `H^T R^-1 H`.",
            lambda M, H, Q, R: block(M.T, H, Q, R): "`M^T Q^-1 M`: the transpose comes first.",
            lambda M, H, Q, R: -np.linalg.solve(Q, M): "this is the block below the diagonal.",
            lambda *a: np.linalg.inv(block(*a)): "no inverse: the precision itself.",
        }),
    "weak-tail": Choice(
        "the first guess", {
            "the first guess": "the mean is made by starts in the basin of a wrong valley.",
            "the tolerance": "they have converged, to the wrong place.",
            "the observation error": "the median would fall a little; the wrong valleys remain.",
            "the order of the sweep": "the linear problem is solved exactly in any order.",
        }),
}
# fmt: on
