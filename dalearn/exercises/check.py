"""Answers to the book's exercises: `check("bayes-mean", 22.4)` replies with a hint, not a mark.

An exercise is an entry of `exercises`: a name and a judge. Expected values are computed here from
the formulas of the chapters, in NumPy, apart from the rest of the package: an independent opinion.
"""

from __future__ import annotations

import difflib
import math
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


def _noise(r):
    return r.T @ r / len(r)


def _cov(E):
    return (E - E.mean(0)).T @ (E - E.mean(0)) / (len(E) - 1)


def _mean(E, Y, y, R):
    return _enkf_mean(E, Y, y, R)


def _transform(S):
    return _power(S @ S.T / (len(S) - 1) + np.eye(len(S)), -0.5)


def _weights(logs):
    w = np.exp(logs - logs.max())
    return w / w.sum()


def _smoothed(past, Y, y, R, shrink=0.5, sign=1):
    """Members of an earlier time with the weights of today's analysis, the symmetric root."""
    N, L = len(Y), np.linalg.cholesky(R)
    S = np.linalg.solve(L, (Y - Y.mean(0)).T).T
    d, C = np.linalg.solve(L, y - Y.mean(0)), np.linalg.inv(S @ S.T + (N - 1) * np.eye(N))
    weights = sign * d @ S.T @ C + _power((N - 1) * C, shrink)
    return past.mean(0) + weights @ (past - past.mean(0))


def _log_density(d, V):
    size = len(d) * math.log(2 * math.pi) + np.linalg.slogdet(V)[1]
    return -0.5 * (size + d @ np.linalg.solve(V, d))


def _di01_step(lam, g):
    v = lam + 1
    return np.sum(lam * g**2 / v**2) / np.sum(lam / v), np.sum(g**2 / v**2) / np.sum(1 / v)


def _back(xa, A, M, xb, B, xs, As):
    G = A @ M.T @ np.linalg.inv(B)
    return xa + G @ (xs - xb), A + G @ (As - B) @ G.T


def _rtps(F, A, alpha):
    before, after = F.std(0, ddof=1), A.std(0, ddof=1)
    return A.mean(0) + (A - A.mean(0)) * (1 + alpha * (before - after) / after)


def _block(M, H, Q, R, before=1, after=1, data=1):
    """One state's block of the precision of a chain."""
    held, pulled = np.linalg.inv(Q), M.T @ np.linalg.solve(Q, M)
    return before * held + after * pulled + data * H.T @ np.linalg.solve(R, H)


def _taper(c, N):
    return (N - 1) * c**2 / (1 + N * c**2)


def _r_factor(rho, B, R):
    return rho * (B + R) / (rho * B + R)


def _effective(w):
    return 1 / (w**2).sum()


def _flux(left, right):
    return np.maximum(np.maximum(left, 0) ** 2, np.minimum(right, 0) ** 2) / 2


def _gradient_in_v(v, L, H, d, r):
    return v - L.T @ H.T @ (d - H @ L @ v) / r**2


def _window_gradient(x, y, dt, steps):
    """dJ/dx0 of J = (x_K - y)^2 / 2 for Euler steps of x' = x - x^3: forward, then back."""
    slope = 1.0
    for _ in range(int(steps)):
        slope *= 1 + dt * (1 - 3 * x**2)
        x = x + dt * (x - x**3)
    return slope * (x - y)


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


def _forward(x, dt, steps):
    for _ in range(int(steps)):
        x = x + dt * (x - x**3)
    return x


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


def _spd(n):
    G = _draw(n, n + 1)
    return G @ G.T + 0.5 * np.eye(n)


def _back_case(n):
    A, M = _spd(n), _draw(n, n) + np.eye(n)
    B = M @ A @ M.T + np.eye(n)
    return _draw(n), A, M, _draw(n) + 1, B, _draw(n) - 1, B / 2


_GAINS = (4.0, 1.0), (1.0, 4.0), (0.5, 0.1)

_UPDATES = (20.0, 4.0, 23.0, 1.0), (1.0, 0.5, -2.0, 2.0), (0.0, 9.0, 1.0, 3.0)

_RINGS = (_draw(40), 8.0), (_draw(3, 7), 5.0), (_draw(2, 3, 5), 0.5)

_ENSEMBLES = (3 + _draw(6, 3),), (_draw(10, 4) - 1,), (2 + _draw(4, 4),)

_ENKFS = _enkf_case(6, 3, 2), _enkf_case(12, 4, 4), _enkf_case(5, 8, 3)

_ANOMALIES = tuple((S - S.mean(0),) for S in (_draw(4, 2), _draw(6, 10)))

_PASTS = tuple((_draw(len(E), 4) + 2, *rest) for E, *rest in _ENKFS)

_LOGS = (_draw(5),), (3 * _draw(40),), (-1e4 + 10 * _draw(7),)  # e^-10000 underflows

_WEIGHTS = tuple((_weights(2 * logs),) for (logs,) in _LOGS[:2])

_RESIDUALS = [(np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.5]]),), (np.array([[0.2], [0.4]]),)]

_CHAINS = tuple((_draw(n, n), _draw(m, n), _spd(n), _spd(m)) for n, m in ((3, 2), (2, 4)))

_INNOVATIONS = tuple((_draw(m), _spd(m)) for m in (1, 2, 5))

_BACKS = _back_case(2), _back_case(3)

_CONTROLS = tuple(
    (_draw(n), _draw(n, n), _draw(m, n), _draw(m), r) for n, m, r in ((3, 2, 0.5), (5, 7, 2.0))
)

_STARTS = (0.3, 0.8, 0.1, 12), (-1.4, 0.2, 0.05, 30), (0.7, -0.5, 0.1, 1)

_RATIO = 0.0973  # Q / R, given in the exercise

_STEADY = (math.sqrt(_RATIO**2 + 4 * _RATIO) - _RATIO) / 2

_MEMORY = math.log(0.1) / math.log(1 - _STEADY)

_SPREADS = (3 + _draw(8, 4), 0.3 * _draw(9, 4)[1:], 0.3), (_draw(5, 3), 1 + _draw(6, 3)[1:], 0.9)

_CORRELATIONS = (np.linspace(-1, 1, 9), 7), (np.array([0.0, 0.1, 0.9]), 40)

_WEIGHED = (0.5, 1.0, 1.0), (0.1, 4.0, 0.2), (0.9, 0.3, 2.0)

_EIGEN = (_draw(6) ** 2, _draw(6)), (_draw(9) ** 2, 2 * _draw(9))

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
    "kalman-steady-gain": number(
        _STEADY, "each year moves the estimate by a quarter of the news.",
        hints={
            (math.sqrt(_RATIO**2 + 4 * _RATIO) + _RATIO) / 2:
                "this is `B/R`; the gain is `B/(B + R)`.",
            math.sqrt(_RATIO): "you left out the `1 - K`; solve the quadratic equation.",
            _RATIO: "this is the ratio itself; solve `K**2 / (1 - K) = Q/R` for K.",
            (-math.sqrt(_RATIO**2 + 4 * _RATIO) - _RATIO) / 2:
                "this is the negative root; a gain lies between 0 and 1.",
        }),
    "kalman-memory": number(
        _MEMORY, "this is all that the filter remembers of one number.",
        hints={
            1 / _STEADY: "this is `1/K`, about the time to fall to 1/e; asked for is 1/10.",
            -1 / math.log(1 - _STEADY): "this is the time to fall to 1/e; use `log(0.1)`.",
            math.log(0.1 / _STEADY) / math.log(1 - _STEADY):
                "this is when the weight itself is 0.1; it starts at K and is to fall to `K/10`.",
        }),
    "kalman-surprise": choice(
        "stayed as it was", {
            "stayed as it was": "gain and variance contain no data, only Q, R and the years gone.",
            "grew": "a person would doubt; the filter cannot: its variance contains no data.",
            "fell": "it falls in the first years only, and whatever the data say.",
        }),
    "innovation-density": function(
        _log_density, _INNOVATIONS, "their sum over the cycles is the log-likelihood of the data.",
        hints={
            lambda d, V: _log_density(d, V) + len(d) * math.log(2 * math.pi) / 2:
                "the term `m log(2 pi)` is missing.",
            lambda d, V: _log_density(d, V) + np.linalg.slogdet(V)[1] / 2:
                "the determinant is missing: a large V must cost something.",
            lambda d, V: -_log_density(d, V): "this is minus the logarithm of the density.",
            lambda d, V: np.exp(_log_density(d, V)): "this is the density; give its logarithm.",
            lambda d, V: 2 * _log_density(d, V): "the factor 1/2 in front is missing.",
            lambda d, V: _log_density(d, np.linalg.inv(V)):
                "V is a covariance: divide the square by it, do not multiply.",
        }),
    "rts-step": function(
        _back, _BACKS, "the data are never looked at again.", returns=("xs", "As"),
        hints={
            lambda xa, A, M, xb, B, xs, As: _back(xa, A, M.T, xb, B, xs, As):
                "the covariance of this state and the next is `A M^T`, not `A M`.",
            lambda xa, A, M, xb, B, xs, As: (
                _back(xa, A, M, xb, B, xs, As)[0], _back(xa, A, M, xb, B, xs, As + B)[1]):
                "the covariance takes the difference `As - B`: without news nothing changes.",
            lambda xa, A, M, xb, B, xs, As: _back(xa, A, M, xa, B, xs, As):
                "compare the smoothed state with the forecast `xb` of the same time.",
            lambda xa, A, M, xb, B, xs, As: _back(xa, A, np.eye(len(xa)), xb, B, xs, As):
                "the model is missing: `G = A M^T B^-1`.",
        }),
    "unscented-square": number(
        0.7**2 + 1.3**2, "the points find what curvature adds to the mean, whatever their reach.",
        hints={
            0.7**2: "this is the tangent's answer, the square of the mean.",
            1.3**2: "this is what curvature adds; add the square of the mean.",
            0.7**2 + 1.3: "1.3 is the standard deviation; its square is needed.",
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
    "rtps": function(
        _rtps, _SPREADS, "where the data changed nothing, nothing is stretched.",
        hints={
            lambda F, A, alpha: A * (1 + alpha * (F.std(0, ddof=1) / A.std(0, ddof=1) - 1)):
                "only the anomalies are stretched: take the mean of `A` off, and put it back.",
            lambda F, A, alpha: _rtps(F, A, alpha) - A.mean(0):
                "these are the new anomalies; add the mean of `A`.",
            lambda F, A, alpha: _rtps(F, A, 1 - alpha):
                "alpha and 1 - alpha have changed places: alpha = 0 leaves `A` as it is.",
            lambda F, A, alpha:
                A.mean(0) + (1 - alpha) * (A - A.mean(0)) + alpha * (F - F.mean(0)):
                "this is RTPP, which mixes the members; RTPS stretches those of the analysis.",
        }),
    "optimal-taper": function(
        _taper, _CORRELATIONS, "signal over signal plus noise, one half at c = 1 / sqrt(N).",
        hints={
            lambda c, N: c**2 / (c**2 + (1 - c**2) ** 2 / (N - 1)):
                "this takes the error of a correlation; that of a covariance is "
                "`(1 + c**2) / (N - 1)`.",
            lambda c, N: c**2 / (c**2 + (1 + c**2) / N): "the noise has N - 1, not N.",
            lambda c, N: np.abs(c) / (np.abs(c) + np.sqrt((1 + c**2) / (N - 1))):
                "compare squares: the signal is `c**2`.",
            lambda c, N: c**2 / (c**2 + 1 / (N - 1)):
                "the error of a covariance also grows with itself: `(1 + c**2) / (N - 1)`.",
        }),
    "gaspari-cohn-width": number(
        math.sqrt(10 / 3), "sqrt(10 / 3): hence the 1.82 of many codes.",
        hints={
            math.sqrt(5 / 3): "the Gaussian has `r**2 / (2 l**2)`: mind the two.",
            math.sqrt(3 / 10): "this is l in units of c.",
            10 / 3: "this is the square.",
            2 * math.sqrt(10 / 3): "this is the end of the taper, two half-widths.",
        }),
    "r-localization": function(
        _r_factor, _WEIGHED, "never below `rho`: good data are hardly localized.",
        hints={
            lambda rho, B, R: rho * B / (rho * B + R):
                "this is the gain; divide it by the one without localization, `B / (B + R)`.",
            lambda rho, B, R: rho: "this is the factor of a taper on the covariance.",
            lambda rho, B, R: (B + R) / (B + rho * R):
                "the error variance is divided by `rho`: it grows.",
        }),
    "particle-weights": function(
        _weights, _LOGS, "with the largest logarithm taken off first, nothing underflows.",
        hints={
            lambda logs: np.exp(logs - logs.max()): "divide by the sum: weights sum to 1.",
            lambda logs: _weights(2 * logs): "these are the weights squared, and normalised.",
            lambda logs: np.full(len(logs), 1 / len(logs)): "these do not look at the data.",
            lambda logs: logs / logs.sum():
                "these are shares of the logarithms; take `exp` first.",
        }),
    "effective-size": function(
        _effective, _WEIGHTS, "N for equal weights, 1 when one member has all.",
        hints={
            lambda w: (w**2).sum(): "this is its inverse: between 1/N and 1.",
            lambda w: 1 / (w**2).sum() / len(w): "this is the share of N; leave out the division.",
            lambda w: 1 / w.max(): "a relative of it, from the largest weight alone.",
            lambda w: np.exp(-(w * np.log(w)).sum()): "this one is made of the entropy of `w`.",
            lambda w: float(len(w)): "this is N, whatever the weights.",
        }),
    "smoother-wait": number(
        1.0, "four intervals of 25 steps of 0.01: time that a forecaster does not have.",
        hints={
            100: "that is in model steps; a step is 0.01 time units.",
            4: "that is in observations; there are 25 steps of 0.01 between two.",
            0.25: "that is one observation; the lag counts four.",
            0.04: "the lag counts observations, not model steps.",
        }, unit="time units"),
    "enks-update": function(
        _smoothed, _PASTS, "`past` may be anything that the members have: it never met `H`.",
        hints={
            lambda *a: _smoothed(*a, shrink=0.0):
                "the mean is right, but the members keep their spread: apply `T` as well.",
            lambda *a: _smoothed(*a, shrink=1.0): "`T` is a square root of `(N - 1) C`.",
            lambda *a: _smoothed(*a, sign=-1):
                "the innovation has the wrong sign: it is `y - mean(Y)`.",
            lambda past, Y, y, R: _smoothed(past, Y, y, R).mean(0):
                "this is the smoothed mean; return all members, (N, n).",
            lambda past, Y, y, R: past: "these are the members as they were; give them weights.",
        }),
    "ienks-why": choice(
        "another linearization", {
            "another linearization": "near the answer, at the start, where the cloud is small.",
            "more data": "its analysis at t_k has seen the data up to k, as the ETKF's has.",
            "more members": "both have ten.",
            "more inflation": "both have 1.02.",
        }),
    "second-town": number(
        17.6, "a covariance of 2 over 5, times an innovation of 4.",
        hints={
            19.2: "that is the gain of the first town, 4/5, with a correlation of 1.",
            18.56: "that is the answer for the correlation 0.8 of the text.",
            18.0: "the gain is `B_21 / (B_11 + R)`: do not forget R.",
            1.6: "this is the increment; add the background.",
        }, unit="degrees"),
    "cg-steps": number(
        4, "three that the data bend, and 1 itself; n does not matter.",
        hints={
            1e6: "that is n; but `G^T G` has the rank of the data.",
            3: "three differ from 1; count 1 itself as well.",
        }),
    "gradient-in-v": function(
        _gradient_in_v, _CONTROLS, "from controls to data, and back the same way: no inverse.",
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
    "increment-correlation": number(
        0.5, "an increment is a column of B, so a map of increments is a map of correlations.",
        hints={
            2: "that is the covariance; divide by the variance.",
            0.4: "the increment at i is not the innovation: it is `d B_ii / (B_ii + R) = 4`.",
        }),
    "adjoint-chain": function(
        _window_gradient, _STARTS, "one run forward, one backward, whatever the number of inputs.",
        hints={
            lambda x, y, dt, steps: _window_gradient(x, y, dt, steps) ** 2:
                "this is a square; the gradient has one factor of the misfit.",
            lambda x, y, dt, steps: _forward(x, dt, steps) - y:
                "this is the gradient at the end; carry it back through the steps.",
            lambda x, y, dt, steps:
                (1 + dt * (1 - 3 * x**2)) ** steps * (_forward(x, dt, steps) - y):
                "each step has its own slope: that at its own state, not at the start.",
            lambda x, y, dt, steps: -_window_gradient(x, y, dt, steps):
                "the sign: J grows with `x_K - y`, not with `y - x_K`.",
        }),
    "window-start": number(
        2.0, "the increment at the end, 4, is twice what it was: the model has carried it there.",
        hints={
            4.0: "that is the increment at the end; the model doubles what happens at the start.",
            2.5: "that is the whole innovation, carried back; the data have an error as well.",
            1.0: "the variance at the end is `M B M = 4`, not 2.",
            5.0: "that is the innovation; weigh it, and carry it back.",
        }),
    "gradient-cost": choice(
        "a few", {
            "a few": "one forward and one backward, which costs two to four of them.",
            "n + 1": "so do finite differences; the adjoint carries all n at once.",
            "n^2": "not even the Jacobian costs that many.",
            "2 n": "so do central differences; the adjoint carries all n at once.",
        }),
    "one-observation": number(
        0.8, "half of what it changes at the thermometer, 1.6: the correlation is 0.5.",
        unit="degrees",
        hints={
            1.6: "so much at the thermometer; elsewhere the covariance, 0.5 times 4, is above.",
            1.0: "the error of the thermometer is missing: divide by `4 + 1`.",
            0.2: "the correlation is not the covariance: multiply by the variance, 4.",
            2.0: "this is the covariance; times the innovation 2, over `4 + 1`.",
            0.4: "the innovation is 2 degrees, not 1.",
        }),
    "both-doubled": choice(
        "analysis stays, variance doubles", {
            "analysis stays, variance doubles":
                "the gain knows the ratio alone, the reported variance the size.",
            "both stay": "the gain stays, but `A = (I - K H) B` has one more B.",
            "analysis doubles, variance stays": "the gain is `B / (B + R)`: double both.",
            "both double": "the gain is `B / (B + R)`: double both.",
        }),
    "nmc-factor": number(
        1.25, "the more the two forecasts share, the more the NMC variance is too small.",
        hints={
            0.5: "that is for independent errors; theirs are correlated by 0.6.",
            0.8: "this is the variance of the difference, for variances of 1: invert it.",
            2.5: "the difference has two errors: its variance is `2 (1 - 0.6)`.",
            0.3125: "the covariance is subtracted: `2 (1 - 0.6)`.",
            1 / 0.8**0.5: "the factor is for the variance: no root.",
        }),
    "di01-step": function(
        _di01_step, _EIGEN, "sums of m numbers: that is all that an iteration costs.",
        returns=("s_b", "s_o"),
        hints={
            lambda lam, g: tuple(2 * s for s in _di01_step(lam, g)):
                "twice too large: `J` has a factor 1/2, which the 2 cancels.",
            lambda lam, g: _di01_step(lam, g)[::-1]: "s_b and s_o have changed places.",
            lambda lam, g: (np.sum(lam * g**2 / (lam + 1)) / np.sum(lam / (lam + 1)),
                            np.sum(g**2 / (lam + 1)) / np.sum(1 / (lam + 1))):
                "one `1 / (lam + 1)` for each V^-1, and there are two: square it above.",
            lambda lam, g: (np.sum(lam * g**2 / (lam + 1) ** 2) / len(lam),
                            np.sum(g**2 / (lam + 1) ** 2) / len(lam)):
                "divide by the traces, `sum(lam / (lam + 1))` and the rest, not by m.",
        }),
    "hybrid-controls": number(
        2.1e7, "a field for the static part and one for each member.",
        hints={
            1e6 + 20: "so it is without localization; with it each member has a field of weights.",
            2e7: "the static part has its own million.",
            1e6: "this is n; `controls` counts what `color` takes.",
        }),
    "weak-cost": number(
        2.0, "100 squares, 96 unknowns, and half of what is left: half of the number of data.",
        hints={
            4: "this is 2J: the cost has a half in front of each square.",
            50: "this is J at the truth; the minimum has used up 96 unknowns.",
            48.5: "at the truth, without the background; count the unknowns as well.",
            0.5: "this is without the background, which has three squares more.",
            0.05: "the paper's number; below what the noise of the data alone leaves.",
            0: "with more squares than unknowns not all can vanish.",
        }),
    "weak-block": function(
        _block, _CHAINS, "held from behind, pulled from ahead, and seen.",
        hints={
            lambda *a: _block(*a, before=0): "the state is held by the one before too: `Q^-1`.",
            lambda *a: _block(*a, after=0): "the next state pulls as well: `M^T Q^-1 M`.",
            lambda *a: _block(*a, data=0): "the datum is missing: `H^T R^-1 H`.",
            lambda M, H, Q, R: _block(M.T, H, Q, R): "`M^T Q^-1 M`: the transpose comes first.",
            lambda M, H, Q, R: -np.linalg.solve(Q, M): "this is the block below the diagonal.",
            lambda *a: np.linalg.inv(_block(*a)): "no inverse: the precision itself.",
        }),
    "weak-tail": choice(
        "the first guess", {
            "the first guess": "the mean is made by starts in the basin of a wrong valley.",
            "the tolerance": "they have converged, to the wrong place.",
            "the observation error": "the median would fall a little; the wrong valleys remain.",
            "the order of the sweep": "the linear problem is solved exactly in any order.",
        }),
    "particles-needed": choice(
        "exponential", {
            "exponential": "with the variance of the log-likelihood, which grows with n.",
            "linear": "so the cost of a forecast grows, not the number of members.",
            "quadratic": "so the entries of a covariance grow, not the number of members.",
            "constant": "so it is for a sample mean; here the weights themselves degenerate.",
            "logarithmic": "the other way round: n may grow like the logarithm of N.",
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
    "history-state": number(
        4 * 16, "a method sees the window as one long state.",
        hints={
            16: "this is the newest latent alone; the network also needs those before it.",
            4: "these are the times in the window; each holds 16 numbers.",
            4 + 16: "multiply: each of the 4 times holds 16 numbers.",
            5 * 16: "the new state comes in and the oldest leaves: still 4 times.",
            4 * 1024: "the fields stay with the decoder; the model moves latents of 16 numbers.",
        }),
    "surrogate-noise": function(
        _noise, _RESIDUALS, "its root is what the network adds to the error at each step.",
        hints={
            lambda r: np.cov(r, rowvar=False):
                "this takes the mean away first; a network that errs on one side errs as well.",
            lambda r: r.T @ r: "divide by the number of residuals.",
            lambda r: r @ r.T / len(r): "turned: Q is (n, n), one row for each component.",
            lambda r: (r**2).mean(0):
                "these are the variances; the errors of the components go together: `r.T @ r`.",
            lambda r: np.sqrt((r**2).mean(0)): "these are standard deviations; Q is a covariance.",
        }),
    "split-leak": choice(
        "by trajectory", {
            "by trajectory": "no state of the test set has a neighbour in training.",
            "by time step":
                "the state 0.05 later is nearly the same one: the network has seen the answer.",
            "every other step":
                "each test state then lies between two that were trained on.",
            "by pair":
                "a pair's neighbours, one step earlier and later, are trained on.",
        }),
    "latent-noise": choice(
        "of sensors and networks", {
            "of sensors and networks": "R is all that separates y from H(x) of the true state.",
            "of the sensors":
                "then H is taken for perfect: the network's own error is fitted as if it were "
                "signal.",
            "of the networks": "the sensors err too, and the encoder passes that on.",
            "zero": "then every wiggle of the data is reproduced, the false ones as well.",
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
