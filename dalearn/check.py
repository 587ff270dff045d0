"""Answers to the book's exercises: `check("bayes-mean", 22.4)` replies with a hint, not a mark.

An exercise is an entry of `exercises`: a name and a judge. Expected values are computed here from
the formulas of the chapters, in NumPy, apart from the rest of the package: an independent opinion.
"""

from __future__ import annotations

import difflib
import math
import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from .judges import Feedback, Judge, choice, function, near, not_yet, number, quote, unsolved


def check(name: str, answer: Any = None) -> Feedback:
    """Judge the answer to an exercise, with a hint where it is not right yet.

    name    the name of the exercise, as the chapter gives it
    answer  what the exercise asks for: a number, an array (NumPy, torch, xarray or a list), a
            function, or one of the offered statements; `None` or `...` while it is unsolved
    Never raises because of the answer. Raises ValueError for a name that no exercise has.
    """
    if name not in exercises:
        close = difflib.get_close_matches(str(name), exercises, n=3, cutoff=0.4)
        names = ", ".join(close or sorted(exercises))
        raise ValueError(f"no exercise is called {name!r}; did you mean {names}?")
    if unsolved(answer):
        return Feedback(False, "put your answer in place of `...` and run the cell again.", False)
    try:
        return exercises[name](answer)
    except Exception as error:  # an answer of a strange type must not break the reader's notebook
        return not_yet(f"your answer could not be read: {quote(error)}.")


# The right answers, under the names that the exercises give them (and an underscore).


def _gain(B, R):
    return B / (B + R)


def _update(xb, B, y, R):
    return xb + _gain(B, R) * (y - xb), (1 - _gain(B, R)) * B


def _tendency(x, F):
    return np.roll(x, 1, -1) * (np.roll(x, -1, -1) - np.roll(x, 2, -1)) - x + F


def _cov(E):
    return (E - E.mean(0)).T @ (E - E.mean(0)) / (len(E) - 1)


def _mean(E, Y, y, R):
    return _enkf_mean(E, Y, y, R)


def _transform(S):
    return _power(S @ S.T / (len(S) - 1) + np.eye(len(S)), -0.5)


def _flux(left, right):
    return np.maximum(np.maximum(left, 0) ** 2, np.minimum(right, 0) ** 2) / 2


def _h(u):
    return np.sqrt(u[:, 0] ** 2 + u[:, 1] ** 2).reshape(len(u), -1)


# Their parts, and the parts of wrong answers.


def _enkf_mean(E, Y, y, R, degrees=1, centred=True, sign=1):
    """Analysis mean of the EnKF; other values of the last three make the usual mistakes."""
    N, X, S = len(E), E - E.mean(0), Y - Y.mean(0) * centred
    C = S.T @ S / (N - degrees) + R
    return E.mean(0) + sign * X.T @ S / (N - degrees) @ np.linalg.solve(C, y - Y.mean(0))


def _all_moved(E, Y, y, R):
    """Each member moved by the gain, as its mean should be."""
    N, X, S = len(E), E - E.mean(0), Y - Y.mean(0)
    return E + (y - Y) @ np.linalg.solve(S.T @ S / (N - 1) + R, S.T @ X / (N - 1))


def _power(A, exponent):
    s, V = np.linalg.eigh(A)
    return (V * s**exponent) @ V.T


def _weighted(values, variances):
    """The mean of independent Gaussian statements about one number: weights 1 / variance."""
    weights = 1 / np.asarray(variances)
    return float(weights @ np.asarray(values) / weights.sum())


def _wing(rho=28, beta=8 / 3):
    return math.sqrt(beta * (rho - 1)), math.sqrt(beta * (rho - 1)), rho - 1


def _draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape)


def _enkf_case(N, n, m):
    E, H, A = 3 + _draw(N, n), _draw(m, n), _draw(m, m)
    return E, E @ H.T, _draw(m), A @ A.T / m + 0.5 * np.eye(m)


_GAINS = (4.0, 1.0), (1.0, 4.0), (0.5, 0.1)
_UPDATES = (20.0, 4.0, 23.0, 1.0), (1.0, 0.5, -2.0, 2.0), (0.0, 9.0, 1.0, 3.0)
_RINGS = (_draw(40), 8.0), (_draw(3, 7), 5.0), (_draw(2, 3, 5), 0.5)
_ENSEMBLES = (3 + _draw(6, 3),), (_draw(10, 4) - 1,), (2 + _draw(4, 4),)
_ENKFS = _enkf_case(6, 3, 2), _enkf_case(12, 4, 4), _enkf_case(5, 8, 3)
_ANOMALIES = tuple((S - S.mean(0),) for S in (_draw(4, 2), _draw(6, 10)))
_WINDS = (_draw(1, 2, 8, 8),), (_draw(3, 2, 8, 8),)
_SPEEDS = (_draw(30), -_draw(31)[1:]), (_draw(4, 20), _draw(20, 4).T)
_LONGEST = 10e3 / math.sqrt(2 * 9.81 * 4000)  # cells of 10 km on an ocean 4 km deep
_FIRST, _SECOND = _update(20, 4, 23, 1), _update(20, 4, 21, 2)  # prior N(20, 4) and one sensor
_GROWTH = 1.67  # leading Lyapunov exponent of Lorenz-96 (n = 40, F = 8), given in the exercise
_NATURAL = "growth by `exp` calls for the natural logarithm, `np.log`"

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "bayes-mean": number(
        _FIRST[0],
        "the sensor has four times the precision, so the mean moves 4/5 of the way to it.",
        hints={
            _update(20, 1, 23, 4)[0]:
                "the weights are swapped: the source with the smaller variance pulls harder.",
            _update(20, 2, 23, 1)[0]:
                "you weighted by standard deviations; the weights are the inverse variances.",
            (20 + 23) / 2:
                "this is the plain average; weight each source by its inverse variance.",
            20: "this is the prior mean: the observation has not been used.",
            23: "this is the observation: the prior has not been used.",
            _FIRST[1]: "this is the posterior variance; the exercise asks for the mean.",
        }),
    "bayes-variance": number(
        _FIRST[1], "precisions add, 1/4 + 1, and the result is surer than either source.",
        hints={
            4 + 1: "you added the variances; their inverses, the precisions, add. "
                "Two sources leave less doubt than one.",
            _FIRST[1] ** 0.5: "this is the standard deviation; the exercise asks for its square.",
            1 / 4 + 1: "this is the precision; the variance is its inverse.",
            (4 + 1) / 2: "you averaged the variances; add the precisions 1/4 and 1/1 and invert.",
            _gain(4, 1) * 4: "this is `K B`; what is left after the update is `(1 - K) B`.",
            1 / (1 / 2 + 1): "you added inverse standard deviations; add inverse variances.",
        }),
    "bayes-two-sensors": number(
        _weighted((20, 23, 21), (4, 1, 2)),
        "the precisions of all three add, in whatever order the sensors come.",
        hints={
            _FIRST[0]: "the second sensor has not been used; its prior is this posterior.",
            _SECOND[0]: "the first sensor has not been used.",
            (20 + 23 + 21) / 3: "this is the plain average; weight by the inverse variances.",
            20: "this is the prior mean: neither sensor has been used.",
            _weighted((23, 21), (1, 2)): "the prior has not been used; its weight is 1/4.",
            _update(_FIRST[0], 4, 21, 2)[0]:
                "you updated the mean and kept the variance 4; the first sensor made it smaller.",
            _weighted((_FIRST[0], _SECOND[0]), (_FIRST[1], _SECOND[1])):
                "the prior is counted twice: update the result of one sensor with the other.",
            _weighted((20, 23, 21), (2, 1, 2**0.5)):
                "you weighted by standard deviations; the weights are the inverse variances.",
        }),
    "gain-function": function(
        _gain, _GAINS, "near 1 the analysis follows the sensor, near 0 the background.",
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
    "bayes-update-function": function(
        _update, _UPDATES, "these two lines are the heart of every Kalman filter.",
        returns=("xa", "A"),
        hints={
            lambda *a: _update(*a)[::-1]: "the outputs are in the other order; return `xa, A`.",
            lambda xb, B, y, R: (_update(xb, R, y, B)[0], _update(xb, B, y, R)[1]):
                "the gain in `xa` is swapped: it is `B/(B + R)`, not `R/(B + R)`.",
            lambda xb, B, y, R: (_update(xb, B, 2 * xb - y, R)[0], _update(xb, B, y, R)[1]):
                "the innovation has the wrong sign: it is `y - xb`, observation minus background.",
            lambda xb, B, y, R: (_update(xb, B, y, R)[0], B + R):
                "`A` is the sum of the variances; the precisions add, so that `A = (1 - K) B`.",
            lambda xb, B, y, R: (_update(xb, B, y, R)[0], _gain(B, R) * B):
                "`A` is `K B`; what is left after the update is `(1 - K) B`.",
            lambda xb, B, y, R: (_update(xb, B, y, R)[0], _gain(B, R)):
                "the second output is the gain; return the variance `A = (1 - K) B`.",
            lambda xb, B, y, R: (_update(xb, B, y, R)[0], _update(xb, B, y, R)[1] ** 0.5):
                "`A` is a standard deviation; return the variance.",
            lambda xb, B, y, R: (_update(xb, B, y, R)[0], B):
                "`A` is still `B`; the observation must reduce it: `A = (1 - K) B`.",
        }),
    "rk4-order": number(
        2**4, "the global error of a method of order 4 falls like `dt**4`.",
        hints={
            4: "this is the order; the error falls like `dt**4`: halve `dt` in it.",
            2: "that is Euler's method, of order 1.",
            2**5: "that is the error of one step, `dt**5`; a fixed time takes twice as many.",
            2**3: "this would be order 3; RK4 has order 4.",
            2**-4: "the error is multiplied by this; the exercise asks what it is divided by.",
        }),
    "lorenz96-tendency": function(
        _tendency, _RINGS, "and it works for any number of leading axes.",
        hints={
            lambda x, F: _tendency(x[..., ::-1], F)[..., ::-1]:
                "the ring runs the other way round: `np.roll(x, 1)` has `x_{i-1}` at place i.",
            lambda x, F: np.roll(x, 1) * (np.roll(x, -1) - np.roll(x, 2)) - x + F:
                "right for one state, wrong for a batch: without `axis=-1`, "
                "`np.roll` runs through all axes.",
            lambda x, F: np.roll(x, 1, 0) * (np.roll(x, -1, 0) - np.roll(x, 2, 0)) - x + F:
                "right for one state, wrong for a batch: the ring is the last axis, `axis=-1`.",
            lambda x, F: _tendency(x, F) + x: "the damping `- x_i` is missing.",
            lambda x, F: _tendency(x, 0): "the forcing `+ F` is missing.",
            lambda x, F: _tendency(x, F) + 2 * x: "the damping has the wrong sign: it is `- x_i`.",
            lambda x, F: -_tendency(x, 0) - 2 * x + F:
                "the difference in brackets has the wrong sign: it is `x_{i+1} - x_{i-2}`.",
        }),
    "doubling-time": number(
        math.log(2) / _GROWTH, "this solves `exp(lambda t) = 2`.", unit="time units",
        hints={
            1 / _GROWTH:
                "in `1/lambda` an error grows by the factor e; solve `exp(lambda t) = 2`.",
            math.log(2) * _GROWTH:
                "you multiplied by lambda; a larger lambda gives a shorter time.",
            math.log(2): "this is `ln 2`; divide it by lambda.",
            math.log10(2) / _GROWTH: f"this is the logarithm to base 10; {_NATURAL}.",
            2 / _GROWTH: "the growth is exponential, not linear: solve `exp(lambda t) = 2`.",
            5 * math.log(2) / _GROWTH: "this is in days; give it in the time units of the model.",
        }),
    "lorenz63-fixed-point": number(
        _wing(), "the centre of one wing of the butterfly.",
        hints={
            (-_wing()[0], -_wing()[1], 27): "this is the other one, C-; C+ has x and y positive.",
            (0, 0, 0): "the origin is a fixed point too; look for the one with x > 0.",
            (_wing()[0] ** 2, _wing()[1] ** 2, 27):
                "you have `x**2` for `x`: take the square root.",
            (*_wing()[:2], 28): "z is `rho - 1`: put x = y into the second equation at rest.",
            _wing(rho=29):
                "you have `rho` for `rho - 1`: put x = y into the second equation at rest.",
            _wing(beta=10):
                "you took sigma for beta: the third equation at rest is `x y = beta z`.",
            (-_wing()[0], _wing()[1], 27): "at rest the first equation says x = y.",
            (_wing()[0], -_wing()[1], 27): "at rest the first equation says x = y.",
        }),
    "predictability-horizon": number(
        math.log(1000) / _GROWTH,
        "ten times better observations buy only `ln(10)/lambda`, about 1.4, more.",
        unit="time units",
        hints={
            math.log10(1000) / _GROWTH: f"this is the logarithm to base 10; {_NATURAL}.",
            math.log2(1000) / _GROWTH: f"this is the logarithm to base 2; {_NATURAL}.",
            math.log2(1000): "this is the number of doublings; each takes `ln(2)/lambda`.",
            math.log(1000): "this is `ln(1000)`; divide it by lambda.",
            math.log(1000) * _GROWTH:
                "you multiplied by lambda; a larger lambda gives a shorter time.",
            1000 / _GROWTH:
                "the growth is exponential, not linear: solve `1e-3 exp(lambda t) = 1`.",
            5 * math.log(1000) / _GROWTH:
                "this is in days; give it in the time units of the model.",
        }),
    "ks-wavelength": number(
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
    "ensemble-covariance": function(
        _cov, _ENSEMBLES, "N - 1 pays for the mean, which was estimated from the same members.",
        hints={
            lambda E: _cov(E) * (len(E) - 1) / len(E):
                "you divided by N; the mean took one degree of freedom, so divide by N - 1.",
            np.cov: "you took columns for members; the rows are (`np.cov` wants `rowvar=False`).",
            lambda E: (E - E.mean(0)) @ (E - E.mean(0)).T / (len(E) - 1):
                "this is `X X^T`, members by members; the covariance is `X^T X / (N - 1)`.",
            lambda E: E.T @ E / (len(E) - 1): "subtract the mean of the members first.",
            lambda E: E.T @ E / len(E): "subtract the mean of the members, and divide by N - 1.",
            lambda E: _cov(E) * (len(E) - 1): "divide by N - 1.",
            lambda E: E.var(0, ddof=1): "these are the variances; return the whole (n, n) matrix.",
            lambda E: np.corrcoef(E, rowvar=False):
                "these are correlations; leave out the division by the standard deviations.",
        }),
    "enkf-analysis-mean": function(
        _mean, _ENKFS, "no matrix `H` was needed: the ensemble carries it in `Y`.",
        hints={
            lambda *a: _enkf_mean(*a, degrees=0):
                "you divided by N; sample covariances take N - 1.",
            lambda *a: _enkf_mean(*a, centred=False): "subtract the mean of `Y` from it first.",
            lambda *a: _enkf_mean(*a, sign=-1):
                "the innovation has the wrong sign: it is `y - mean(Y)`.",
            lambda E, Y, y, R: _enkf_mean(E, Y, y, 0 * R):
                "the bracket lacks `R`: the gain is `C_xy (C_yy + R)^-1`.",
            lambda E, Y, y, R: E.mean(0): "this is the forecast mean; add `K (y - mean(Y))`.",
            _all_moved: "this is a whole ensemble; return its mean over the members, (n,).",
        }),
    "etkf-transform": function(
        _transform, _ANOMALIES, "being symmetric, it leaves the mean of the members where it is.",
        hints={
            lambda S: _transform(S) @ _transform(S): "this is `T T^T`: take its square root.",
            lambda S: _transform(S) / (len(S) - 1) ** 0.5:
                "the factor N - 1 before the inverse is missing: `S = 0` must give the identity.",
            lambda S: _power(S @ S.T + np.eye(len(S)), -0.5):
                "the identity in the bracket comes with the factor N - 1.",
            lambda S: _power(S @ S.T / len(S) + np.eye(len(S)), -0.5):
                "you have N where N - 1 belongs, as in every sample covariance.",
            lambda S: _power(_transform(S), -1):
                "this is the inverse of T: observations must shrink the ensemble.",
            lambda S: _power(S.T @ S / (len(S) - 1) + np.eye(S.shape[1]), -0.5):
                "this is (m, m), from `S^T S`; T acts on members, (N, N), from `S S^T`.",
        },
        traits={
            lambda T, S: near(T @ T.T, _transform(S) @ _transform(S), 1e-4):
                "a square root, but not the symmetric one, and it would move the mean: "
                "with `s, V = eigh(...)`, multiply by `V.T` on the right too.",
        }),
    "sampling-error-order": choice(
        "1/sqrt(N)", {
            "1/sqrt(N)": "four times the members halve the error.",
            "1/N": "this is how the variance falls; the RMS error is its square root.",
            "1/N^2": "too good: the variance of a mean of N independent draws falls like 1/N.",
            "exp(-N)": "too good: the variance of a mean of N independent draws falls like 1/N.",
            "constant": "the errors of independent draws partly cancel in the mean.",
        },
        also={"1/N**0.5": "1/sqrt(N)", "N**-0.5": "1/sqrt(N)", "N^(-1/2)": "1/sqrt(N)",
              "N**(-1/2)": "1/sqrt(N)", "1/N**2": "1/N^2"}),
    "enkf-perturbations": choice(
        "spread too small", {
            "spread too small":
                "all members are pulled to the same y, and the covariance "
                "`(I - K H) B (I - K H)^T` lacks the part `K R K^T`.",
            "spread too large":
                "the other way round: members that are all pulled to the same y come too close.",
            "mean biased":
                "the perturbations have mean zero: one analysis has the same mean without them. "
                "Look at the covariance.",
            "nothing":
                "the mean of one analysis is right; but compute the covariance of "
                "`(I - K H) (x - mean)` and compare it with `(I - K H) B`.",
        }),
    "courant-step": number(
        _LONGEST, "a tsunami crosses at most 0.7 cells a step, in whatever direction.",
        unit="s",
        hints={
            _LONGEST * 2**0.5: "the `sqrt(2)` of two dimensions is missing: u and v act together.",
            _LONGEST / 2**0.5: "the factor is `sqrt(2)`, once; you divided by 2.",
            _LONGEST / 1000: "the cells are 10 km, that is 10000 m, wide.",
            1e4 / 9.81 / 4000: "the speed of the waves is the square root, `sqrt(g D)`.",
            math.sqrt(9.81 * 4000): "this is the speed of the waves, in m/s.",
        }),
    "laminar-amplitude": number(
        1 / (16 / 1000 + 0.1), "without the drag it would be seven times larger.",
        hints={
            1000 / 16: "the drag is missing: it acts beside the viscosity, `k**2/Re + drag`.",
            1 / 0.1: "the viscosity is missing: two derivatives of sin(4y) bring 16.",
            1 / (4 / 1000 + 0.1): "two derivatives of sin(4y) bring 4**2.",
            16 / 1000 + 0.1: "this is the rate of damping; it divides the forcing.",
        }),
    "four-stages": number(
        8**0.5, "0.71 for each stage, where three stages have 0.58: the fourth pays.",
        hints={
            8: "this is its square.",
            3**0.5: "this is the limit of three stages: add `z**4 / 24` to the real part.",
            2: "multiply out again: `1 - theta**6/72 + theta**8/576` is the squared modulus.",
            2.7853: "this is the limit on the negative real axis; oscillations are imaginary.",
            0: "this holds for two stages; with four, small steps are stable.",
        }),
    "godunov-flux": function(
        _flux, _SPEEDS, "with it mass is conserved and shocks move at the right speed.",
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
            lambda left, right: 2 * _flux(left, right): "the flux is `u**2 / 2`.",
        }),
    "own-operator": function(
        _h, _WINDS, "any function of this form is an observation operator.",
        hints={
            lambda u: (u**2).sum(1).reshape(len(u), -1):
                "take the square root: the speed is `sqrt(u**2 + v**2)`.",
            lambda u: np.sqrt((u**2).sum(1)): "flatten the grid: return (b, 64), not (b, 8, 8).",
            lambda u: _h(u).reshape(-1): "flatten the grid only and keep the first axis, (b, 64).",
            lambda u: u.sum(1).reshape(len(u), -1):
                "this is `u + v`; the speed is `sqrt(u**2 + v**2)`.",
            lambda u: u.reshape(len(u), -1):
                "these are both components, (b, 128); the speed joins them, (b, 64).",
            lambda u: _h(u.swapaxes(2, 3)):
                "the grid is flattened column by column; go row by row, as `reshape` does.",
        }),
}
# fmt: on


class _Callable(types.ModuleType):
    """`import dalearn.check` puts this module in place of the function of that name: both work."""

    def __call__(self, name, answer=None):
        return check(name, answer)


sys.modules[__name__].__class__ = _Callable
