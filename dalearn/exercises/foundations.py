"""The exercises of the foundations: Bayes for two Gaussians, chaos, and numerical models.

Each entry of `exercises` is a name and a judge. Right answers are computed from the formulas of
the chapters, in NumPy, apart from the rest of the package: an independent opinion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Judge, Number


def gain(B, R):
    return B / (B + R)


def update(xb, B, y, R):
    return xb + gain(B, R) * (y - xb), (1 - gain(B, R)) * B


def tendency(x, F):
    return np.roll(x, 1, -1) * (np.roll(x, -1, -1) - np.roll(x, 2, -1)) - x + F


def flux(left, right):
    return np.maximum(np.maximum(left, 0) ** 2, np.minimum(right, 0) ** 2) / 2


def h(u):
    return np.sqrt(u[:, 0] ** 2 + u[:, 1] ** 2).reshape(len(u), -1)


def weighted(values, variances):
    """The mean of independent Gaussian statements about one number: weights 1 / variance."""
    weights = 1 / np.asarray(variances)
    return float(weights @ np.asarray(values) / weights.sum())


def wing(rho=28, beta=8 / 3):
    return math.sqrt(beta * (rho - 1)), math.sqrt(beta * (rho - 1)), rho - 1


GAINS = (4.0, 1.0), (1.0, 4.0), (0.5, 0.1)

UPDATES = (20.0, 4.0, 23.0, 1.0), (1.0, 0.5, -2.0, 2.0), (0.0, 9.0, 1.0, 3.0)

RINGS = (draw(40), 8.0), (draw(3, 7), 5.0), (draw(2, 3, 5), 0.5)

WINDS = (draw(1, 2, 8, 8),), (draw(3, 2, 8, 8),)

SPEEDS = (draw(30), -draw(31)[1:]), (draw(4, 20), draw(20, 4).T)

LONGEST = 10e3 / math.sqrt(2 * 9.81 * 4000)  # cells of 10 km on an ocean 4 km deep

FIRST, SECOND = update(20, 4, 23, 1), update(20, 4, 21, 2)  # prior N(20, 4) and one sensor

GROWTH = 1.67  # leading Lyapunov exponent of Lorenz-96 (n = 40, F = 8), given in the exercise

NATURAL = "growth by `exp` calls for the natural logarithm, `np.log`"

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "bayes-mean": Number(
        FIRST[0],
        "the sensor has four times the precision, so the mean moves 4/5 of the way to it.",
        hints={
            update(20, 1, 23, 4)[0]:
                "the weights are swapped: the source with the smaller variance pulls harder.",
            update(20, 2, 23, 1)[0]:
                "you weighted by standard deviations; the weights are the inverse variances.",
            (20 + 23) / 2:
                "this is the plain average; weight each source by its inverse variance.",
            20: "this is the prior mean: the observation has not been used.",
            23: "this is the observation: the prior has not been used.",
            FIRST[1]: "this is the posterior variance; the exercise asks for the mean.",
        }),
    "bayes-variance": Number(
        FIRST[1], "precisions add, 1/4 + 1, and the result is surer than either source.",
        hints={
            4 + 1: "you added the variances; their inverses, the precisions, add. "
                "Two sources leave less doubt than one.",
            FIRST[1] ** 0.5: "this is the standard deviation; the exercise asks for its square.",
            1 / 4 + 1: "this is the precision; the variance is its inverse.",
            (4 + 1) / 2: "you averaged the variances; add the precisions 1/4 and 1/1 and invert.",
            gain(4, 1) * 4: "this is `K B`; what is left after the update is `(1 - K) B`.",
            1 / (1 / 2 + 1): "you added inverse standard deviations; add inverse variances.",
        }),
    "bayes-two-sensors": Number(
        weighted((20, 23, 21), (4, 1, 2)),
        "the precisions of all three add, in whatever order the sensors come.",
        hints={
            FIRST[0]: "the second sensor has not been used; its prior is this posterior.",
            SECOND[0]: "the first sensor has not been used.",
            (20 + 23 + 21) / 3: "this is the plain average; weight by the inverse variances.",
            20: "this is the prior mean: neither sensor has been used.",
            weighted((23, 21), (1, 2)): "the prior has not been used; its weight is 1/4.",
            update(FIRST[0], 4, 21, 2)[0]:
                "you updated the mean and kept the variance 4; the first sensor made it smaller.",
            weighted((FIRST[0], SECOND[0]), (FIRST[1], SECOND[1])):
                "the prior is counted twice: update the result of one sensor with the other.",
            weighted((20, 23, 21), (2, 1, 2**0.5)):
                "you weighted by standard deviations; the weights are the inverse variances.",
        }),
    "gain-function": Function(
        gain, GAINS, "near 1 the analysis follows the sensor, near 0 the background.",
        hints={
            lambda B, R: R / (B + R):
                "swapped: this is the weight of the background. For an exact sensor, `R = 0`, "
                "the gain must be 1.",
            lambda B, R: B / R: "this is `B/R`; the gain `B/(B + R)` never exceeds 1.",
            lambda B, R: 1 / (B + R): "the factor `B` before the inverse is missing.",
            lambda B, R: B**0.5 / (B**0.5 + R**0.5):
                "these are standard deviations; the gain is made of variances.",
            lambda B, R: B * R / (B + R):
                "this is the analysis variance; leave out the factor `R`.",
        }),
    "bayes-update-function": Function(
        update, UPDATES, "these two lines are the heart of every Kalman filter.",
        returns=("xa", "A"),
        hints={
            lambda *a: update(*a)[::-1]: "the outputs are in the other order; return `xa, A`.",
            lambda xb, B, y, R: (update(xb, R, y, B)[0], update(xb, B, y, R)[1]):
                "the gain in `xa` is swapped: it is `B/(B + R)`, not `R/(B + R)`.",
            lambda xb, B, y, R: (update(xb, B, 2 * xb - y, R)[0], update(xb, B, y, R)[1]):
                "the innovation has the wrong sign: it is `y - xb`, observation minus background.",
            lambda xb, B, y, R: (update(xb, B, y, R)[0], B + R):
                "`A` is the sum of the variances; the precisions add, so that `A = (1 - K) B`.",
            lambda xb, B, y, R: (update(xb, B, y, R)[0], gain(B, R) * B):
                "`A` is `K B`; what is left after the update is `(1 - K) B`.",
            lambda xb, B, y, R: (update(xb, B, y, R)[0], gain(B, R)):
                "the second output is the gain; return the variance `A = (1 - K) B`.",
            lambda xb, B, y, R: (update(xb, B, y, R)[0], update(xb, B, y, R)[1] ** 0.5):
                "`A` is a standard deviation; return the variance.",
            lambda xb, B, y, R: (update(xb, B, y, R)[0], 1 / B + 1 / R):
                "`A` is a precision, `1/B + 1/R`; the variance is its inverse.",
            lambda xb, B, y, R: (update(xb, R, y, B)[0], 1 / (B + R)):
                "you took B and R for precisions; they are variances, so the weights are "
                "`1/B` and `1/R`.",
            lambda xb, B, y, R: (update(xb, B, y, R)[0], B):
                "`A` is still `B`; the observation must reduce it: `A = (1 - K) B`.",
        }),
    "rk4-order": Number(
        2**4, "the global error of a method of order 4 falls like `dt**4`.",
        hints={
            4: "this is the order; the error falls like `dt**4`: halve `dt` in it.",
            2: "that is Euler's method, of order 1.",
            2**5: "that is the error of one step, `dt**5`; a fixed time takes twice as many.",
            2**3: "this would be order 3; RK4 has order 4.",
            2**-4: "the error is multiplied by this; the exercise asks what it is divided by.",
        }),
    "lorenz96-tendency": Function(
        tendency, RINGS, "and it works for any number of leading axes.",
        hints={
            lambda x, F: tendency(x[..., ::-1], F)[..., ::-1]:
                "the ring runs the other way round: `np.roll(x, 1)` has `x_{i-1}` at place i.",
            lambda x, F: np.roll(x, 1) * (np.roll(x, -1) - np.roll(x, 2)) - x + F:
                "right for one state, wrong for a batch: without `axis=-1`, "
                "`np.roll` runs through all axes.",
            lambda x, F: np.roll(x, 1, 0) * (np.roll(x, -1, 0) - np.roll(x, 2, 0)) - x + F:
                "right for one state, wrong for a batch: the ring is the last axis, `axis=-1`.",
            lambda x, F: tendency(x, F) + x: "the damping `- x_i` is missing.",
            lambda x, F: tendency(x, 0): "the forcing `+ F` is missing.",
            lambda x, F: tendency(x, F) + 2 * x: "the damping has the wrong sign: it is `- x_i`.",
            lambda x, F: -tendency(x, 0) - 2 * x + F:
                "the difference in brackets has the wrong sign: it is `x_{i+1} - x_{i-2}`.",
        }),
    "doubling-time": Number(
        math.log(2) / GROWTH, "this solves `exp(lambda t) = 2`.", unit="time units",
        hints={
            1 / GROWTH:
                "in `1/lambda` an error grows by the factor e; solve `exp(lambda t) = 2`.",
            math.log(2) * GROWTH:
                "you multiplied by lambda; a larger lambda gives a shorter time.",
            math.log(2): "this is `ln 2`; divide it by lambda.",
            math.log10(2) / GROWTH: f"this is the logarithm to base 10; {NATURAL}.",
            2 / GROWTH: "the growth is exponential, not linear: solve `exp(lambda t) = 2`.",
            5 * math.log(2) / GROWTH: "this is in days; give it in the time units of the model.",
        }),
    "lorenz63-fixed-point": Number(
        wing(), "the centre of one wing of the butterfly.",
        hints={
            (-wing()[0], -wing()[1], 27): "this is the other one, C-; C+ has x and y positive.",
            (0, 0, 0): "the origin is a fixed point too; look for the one with x > 0.",
            (wing()[0] ** 2, wing()[1] ** 2, 27):
                "you have `x**2` for `x`: take the square root.",
            (*wing()[:2], 28): "z is `rho - 1`: put x = y into the second equation at rest.",
            wing(rho=29):
                "you have `rho` for `rho - 1`: put x = y into the second equation at rest.",
            wing(beta=10):
                "you took sigma for beta: the third equation at rest is `x y = beta z`.",
            (-wing()[0], wing()[1], 27): "at rest the first equation says x = y.",
            (wing()[0], -wing()[1], 27): "at rest the first equation says x = y.",
        }),
    "predictability-horizon": Number(
        math.log(1000) / GROWTH,
        "ten times better observations buy only `ln(10)/lambda`, about 1.4, more.",
        unit="time units",
        hints={
            math.log10(1000) / GROWTH: f"this is the logarithm to base 10; {NATURAL}.",
            math.log2(1000) / GROWTH: f"this is the logarithm to base 2; {NATURAL}.",
            math.log2(1000): "this is the number of doublings; each takes `ln(2)/lambda`.",
            math.log(1000): "this is `ln(1000)`; divide it by lambda.",
            math.log(1000) * GROWTH:
                "you multiplied by lambda; a larger lambda gives a shorter time.",
            1000 / GROWTH:
                "the growth is exponential, not linear: solve `1e-3 exp(lambda t) = 1`.",
            5 * math.log(1000) / GROWTH:
                "this is in days; give it in the time units of the model.",
        }),
    "ks-wavelength": Number(
        math.sqrt(2) * math.pi, "a quarter of the viscosity: half the length, 4 times the rate.",
        hints={
            math.sqrt(2): "this is the wavenumber k; the wave is `2 pi / k` long.",
            2: "this is `k**2 = 1 / (2 nu)`; take the root, then `2 pi / k`.",
            2 * math.sqrt(2) * math.pi: "this is the wave for nu = 1.",
            4 * math.sqrt(2) * math.pi:
                "less viscosity lets shorter waves grow: `k**2` is `1 / (2 nu)`.",
            math.pi: "this wave neither grows nor dies, `s = 0`; look for the largest s.",
            1: "this is the rate at which it grows, `1 / (4 nu)`.",
        }),
    "courant-step": Number(
        LONGEST, "a tsunami crosses at most 0.7 cells a step, in whatever direction.",
        unit="s",
        hints={
            LONGEST * 2**0.5: "the `sqrt(2)` of two dimensions is missing: u and v act together.",
            LONGEST / 2**0.5: "the factor is `sqrt(2)`, once; you divided by 2.",
            LONGEST / 1000: "the cells are 10 km, that is 10000 m, wide.",
            1e4 / 9.81 / 4000: "the speed of the waves is the square root, `sqrt(g D)`.",
            math.sqrt(9.81 * 4000): "this is the speed of the waves, in m/s.",
        }),
    "laminar-amplitude": Number(
        1 / (16 / 1000 + 0.1), "without the drag it would be seven times larger.",
        hints={
            1000 / 16: "the drag is missing: it acts beside the viscosity, `k**2/Re + drag`.",
            1 / 0.1: "the viscosity is missing: two derivatives of sin(4y) bring 16.",
            1 / (4 / 1000 + 0.1): "two derivatives of sin(4y) bring 4**2.",
            16 / 1000 + 0.1: "this is the rate of damping; it divides the forcing.",
        }),
    "four-stages": Number(
        8**0.5, "0.71 for each stage, where three stages have 0.58: the fourth pays.",
        hints={
            8: "this is its square.",
            3**0.5: "this is the limit of three stages: add `z**4 / 24` to the real part.",
            2: "multiply out again: `1 - theta**6/72 + theta**8/576` is the squared modulus.",
            2.7853: "this is the limit on the negative real axis; oscillations are imaginary.",
            0: "this holds for two stages; with four, small steps are stable.",
        }),
    "godunov-flux": Function(
        flux, SPEEDS, "with it mass is conserved and shocks move at the right speed.",
        hints={
            lambda left, right: left**2 / 2:
                "this looks to the left only; where both speeds are negative, upwind is right.",
            lambda left, right: (left**2 + right**2) / 4:
                "this is the mean of both sides: central, and unstable with Euler's step.",
            lambda left, right: ((left + right) / 2) ** 2 / 2:
                "this takes the mean speed: central, and unstable with Euler's step.",
            lambda left, right: np.maximum(left**2, right**2) / 2:
                "where fluid parts, left < 0 < right, nothing crosses the face: the flux is 0.",
            lambda left, right:
                (np.maximum(left, 0) ** 2 + np.minimum(right, 0) ** 2) / 2:
                "where two streams meet, left > 0 > right, the stronger one wins: take the larger "
                "of the two, not their sum.",
            lambda left, right: np.where(left + right > 0, left, right) ** 2 / 2:
                "right for shocks; where fluid parts, left < 0 < right, the flux is 0.",
            lambda left, right: 2 * flux(left, right): "the flux is `u**2 / 2`.",
        }),
    "own-operator": Function(
        h, WINDS, "any function of this form is an observation operator.",
        hints={
            lambda u: (u**2).sum(1).reshape(len(u), -1):
                "take the square root: the speed is `sqrt(u**2 + v**2)`.",
            lambda u: np.sqrt((u**2).sum(1)): "flatten the grid: return (b, 64), not (b, 8, 8).",
            lambda u: h(u).reshape(-1): "flatten the grid only and keep the first axis, (b, 64).",
            lambda u: u.sum(1).reshape(len(u), -1):
                "this is `u + v`; the speed is `sqrt(u**2 + v**2)`.",
            lambda u: u.reshape(len(u), -1):
                "these are both components, (b, 128); the speed joins them, (b, 64).",
            lambda u: h(u.swapaxes(2, 3)):
                "the grid is flattened column by column; go row by row, as `reshape` does.",
        }),
}
# fmt: on
