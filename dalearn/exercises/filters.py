"""The exercises of ensemble filters, inflation and localization, particles and smoothers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .functions import Function, draw
from .numbers import Choice, Judge, Number, near


def cov(E):
    return (E - E.mean(0)).T @ (E - E.mean(0)) / (len(E) - 1)


def mean(E, Y, y, R):
    return enkf_mean(E, Y, y, R)


def transform(S):
    return power(S @ S.T / (len(S) - 1) + np.eye(len(S)), -0.5)


def weights(logs):
    w = np.exp(logs - logs.max())
    return w / w.sum()


def smoothed(past, Y, y, R, shrink=0.5, sign=1):
    """Members of an earlier time with the weights of today's analysis, the symmetric root."""
    N, L = len(Y), np.linalg.cholesky(R)
    S = np.linalg.solve(L, (Y - Y.mean(0)).T).T
    d, C = np.linalg.solve(L, y - Y.mean(0)), np.linalg.inv(S @ S.T + (N - 1) * np.eye(N))
    weights = sign * d @ S.T @ C + power((N - 1) * C, shrink)
    return past.mean(0) + weights @ (past - past.mean(0))


def rtps(F, A, alpha):
    before, after = F.std(0, ddof=1), A.std(0, ddof=1)
    return A.mean(0) + (A - A.mean(0)) * (1 + alpha * (before - after) / after)


def taper(c, N):
    return (N - 1) * c**2 / (1 + N * c**2)


def r_factor(rho, B, R):
    return rho * (B + R) / (rho * B + R)


def effective(w):
    return 1 / (w**2).sum()


def enkf_mean(E, Y, y, R, degrees=1, centred=True, sign=1):
    """Analysis mean of the EnKF; other values of the last three make the usual mistakes."""
    N, X, S = len(E), E - E.mean(0), Y - Y.mean(0) * centred
    C = S.T @ S / (N - degrees) + R
    return E.mean(0) + sign * X.T @ S / (N - degrees) @ np.linalg.solve(C, y - Y.mean(0))


def all_moved(E, Y, y, R):
    """Each member moved by the gain, as its mean should be."""
    N, X, S = len(E), E - E.mean(0), Y - Y.mean(0)
    return E + (y - Y) @ np.linalg.solve(S.T @ S / (N - 1) + R, S.T @ X / (N - 1))


def power(A, exponent):
    s, V = np.linalg.eigh(A)
    return (V * s**exponent) @ V.T


def enkf_case(N, n, m):
    E, H, A = 3 + draw(N, n), draw(m, n), draw(m, m)
    return E, E @ H.T, draw(m), A @ A.T / m + 0.5 * np.eye(m)


ENSEMBLES = (3 + draw(6, 3),), (draw(10, 4) - 1,), (2 + draw(4, 4),)

ENKFS = enkf_case(6, 3, 2), enkf_case(12, 4, 4), enkf_case(5, 8, 3)

ANOMALIES = tuple((S - S.mean(0),) for S in (draw(4, 2), draw(6, 10)))

PASTS = tuple((draw(len(E), 4) + 2, *rest) for E, *rest in ENKFS)

LOGS = (draw(5),), (3 * draw(40),), (-1e4 + 10 * draw(7),), (900 + draw(6),)  # beyond exp

WEIGHTS = tuple((weights(2 * logs),) for (logs,) in LOGS[:2])

SPREADS = (3 + draw(8, 4), 0.3 * draw(9, 4)[1:], 0.3), (draw(5, 3), 1 + draw(6, 3)[1:], 0.9)

CORRELATIONS = (np.linspace(-1, 1, 9), 7), (np.array([0.0, 0.1, 0.9]), 40)

WEIGHED = (0.5, 1.0, 1.0), (0.1, 4.0, 0.2), (0.9, 0.3, 2.0)

# A table, laid out by hand: a mistake, then its hint.
# fmt: off
exercises: Mapping[str, Judge] = {
    "ensemble-covariance": Function(
        cov, ENSEMBLES, "N - 1 pays for the mean, which was estimated from the same members.",
        hints={
            lambda E: cov(E) * (len(E) - 1) / len(E):
                "you divided by N; the mean took one degree of freedom, so divide by N - 1.",
            np.cov: "you took columns for members; the rows are (`np.cov` wants `rowvar=False`).",
            lambda E: (E - E.mean(0)) @ (E - E.mean(0)).T / (len(E) - 1):
                "this is `X X^T`, members by members; the covariance is `X^T X / (N - 1)`.",
            lambda E: E.T @ E / (len(E) - 1): "subtract the mean of the members first.",
            lambda E: E.T @ E / len(E): "subtract the mean of the members, and divide by N - 1.",
            lambda E: cov(E) * (len(E) - 1): "divide by N - 1.",
            lambda E: E.var(0, ddof=1): "these are the variances; return the whole (n, n) matrix.",
            lambda E: np.corrcoef(E, rowvar=False):
                "these are correlations; leave out the division by the standard deviations.",
        }),
    "enkf-analysis-mean": Function(
        mean, ENKFS, "no matrix `H` was needed: the ensemble carries it in `Y`.",
        hints={
            lambda *a: enkf_mean(*a, degrees=0):
                "you divided by N; sample covariances take N - 1.",
            lambda *a: enkf_mean(*a, centred=False): "subtract the mean of `Y` from it first.",
            lambda *a: enkf_mean(*a, sign=-1):
                "the innovation has the wrong sign: it is `y - mean(Y)`.",
            lambda E, Y, y, R: enkf_mean(E, Y, y, 0 * R):
                "the bracket lacks `R`: the gain is `C_xy (C_yy + R)^-1`.",
            lambda E, Y, y, R: E.mean(0): "this is the forecast mean; add `K (y - mean(Y))`.",
            all_moved: "this is a whole ensemble; return its mean over the members, (n,).",
        }),
    "etkf-transform": Function(
        transform, ANOMALIES, "being symmetric, it leaves the mean of the members where it is.",
        hints={
            lambda S: transform(S) @ transform(S): "this is `T T^T`: take its square root.",
            lambda S: transform(S) / (len(S) - 1) ** 0.5:
                "the factor N - 1 before the inverse is missing: `S = 0` must give the identity.",
            lambda S: power(S @ S.T + np.eye(len(S)), -0.5):
                "the identity in the bracket comes with the factor N - 1.",
            lambda S: power(S @ S.T / len(S) + np.eye(len(S)), -0.5):
                "you have N where N - 1 belongs, as in every sample covariance.",
            lambda S: power(transform(S), -1):
                "this is the inverse of T: observations must shrink the ensemble.",
            lambda S: power(S.T @ S / (len(S) - 1) + np.eye(S.shape[1]), -0.5):
                "this is (m, m), from `S^T S`; T acts on members, (N, N), from `S S^T`.",
        },
        traits={
            lambda T, S: near(T @ T.T, transform(S) @ transform(S), 1e-4):
                "a square root, but not the symmetric one, and it would move the mean: "
                "with `s, V = eigh(...)`, multiply by `V.T` on the right too.",
        }),
    "sampling-error-order": Choice(
        "1/sqrt(N)", {
            "1/sqrt(N)": "four times the members halve the error.",
            "1/N": "this is how the variance falls; the RMS error is its square root.",
            "1/N^2": "too good: the variance of a mean of N independent draws falls like 1/N.",
            "exp(-N)": "too good: the variance of a mean of N independent draws falls like 1/N.",
            "constant": "the errors of independent draws partly cancel in the mean.",
        },
        also={"1/N**0.5": "1/sqrt(N)", "N**-0.5": "1/sqrt(N)", "N^(-1/2)": "1/sqrt(N)",
              "N**(-1/2)": "1/sqrt(N)", "1/N**2": "1/N^2"}),
    "enkf-perturbations": Choice(
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
    "rtps": Function(
        rtps, SPREADS, "where the data changed nothing, nothing is stretched.",
        hints={
            lambda F, A, alpha: A * (1 + alpha * (F.std(0, ddof=1) / A.std(0, ddof=1) - 1)):
                "only the anomalies are stretched: take the mean of `A` off, and put it back.",
            lambda F, A, alpha: rtps(F, A, alpha) - A.mean(0):
                "these are the new anomalies; add the mean of `A`.",
            lambda F, A, alpha: rtps(F, A, 1 - alpha):
                "alpha and 1 - alpha have changed places: alpha = 0 leaves `A` as it is.",
            lambda F, A, alpha:
                A.mean(0) + (1 - alpha) * (A - A.mean(0)) + alpha * (F - F.mean(0)):
                "this is RTPP, which mixes the members; RTPS stretches those of the analysis.",
        }),
    "optimal-taper": Function(
        taper, CORRELATIONS, "signal over signal plus noise, one half at c = 1 / sqrt(N).",
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
    "gaspari-cohn-width": Number(
        math.sqrt(10 / 3), "sqrt(10 / 3): hence the 1.82 of many codes.",
        hints={
            math.sqrt(5 / 3): "the Gaussian has `r**2 / (2 l**2)`: mind the two.",
            math.sqrt(3 / 10): "this is l in units of c.",
            10 / 3: "this is the square.",
            2 * math.sqrt(10 / 3): "this is the end of the taper, two half-widths.",
        }),
    "r-localization": Function(
        r_factor, WEIGHED, "never below `rho`: good data are hardly localized.",
        hints={
            lambda rho, B, R: rho * B / (rho * B + R):
                "this is the gain; divide it by the one without localization, `B / (B + R)`.",
            lambda rho, B, R: rho: "this is the factor of a taper on the covariance.",
            lambda rho, B, R: (B + R) / (B + rho * R):
                "the error variance is divided by `rho`: it grows.",
        }),
    "particle-weights": Function(
        weights, LOGS, "with the largest logarithm taken off first, nothing underflows.",
        hints={
            lambda logs: np.exp(logs) / np.exp(logs).sum():
                "`exp` of a large logarithm is infinite, of one far below zero 0, and their "
                "quotient is NaN: subtract the largest logarithm first.",
            lambda logs: np.exp(logs - logs.max()): "divide by the sum: weights sum to 1.",
            lambda logs: weights(2 * logs): "these are the weights squared, and normalised.",
            lambda logs: np.full(len(logs), 1 / len(logs)): "these do not look at the data.",
            lambda logs: logs / logs.sum():
                "these are shares of the logarithms; take `exp` first.",
        }),
    "effective-size": Function(
        effective, WEIGHTS, "N for equal weights, 1 when one member has all.",
        hints={
            lambda w: (w**2).sum(): "this is its inverse: between 1/N and 1.",
            lambda w: 1 / (w**2).sum() / len(w): "this is the share of N; leave out the division.",
            lambda w: 1 / w.max(): "a relative of it, from the largest weight alone.",
            lambda w: np.exp(-(w * np.log(w)).sum()): "this one is made of the entropy of `w`.",
            lambda w: float(len(w)): "this is N, whatever the weights.",
        }),
    "smoother-wait": Number(
        1.0, "four intervals of 25 steps of 0.01: time that a forecaster does not have.",
        hints={
            100: "that is in model steps; a step is 0.01 time units.",
            4: "that is in observations; there are 25 steps of 0.01 between two.",
            0.25: "that is one observation; the lag counts four.",
            0.04: "the lag counts observations, not model steps.",
        }, unit="time units"),
    "enks-update": Function(
        smoothed, PASTS, "`past` may be anything that the members have: it never met `H`.",
        hints={
            lambda *a: smoothed(*a, shrink=0.0):
                "the mean is right, but the members keep their spread: apply `T` as well.",
            lambda *a: smoothed(*a, shrink=1.0): "`T` is a square root of `(N - 1) C`.",
            lambda *a: smoothed(*a, sign=-1):
                "the innovation has the wrong sign: it is `y - mean(Y)`.",
            lambda past, Y, y, R: smoothed(past, Y, y, R).mean(0):
                "this is the smoothed mean; return all members, (N, n).",
            lambda past, Y, y, R: past: "these are the members as they were; give them weights.",
        }),
    "ienks-why": Choice(
        "another linearization", {
            "another linearization": "near the answer, at the start, where the cloud is small.",
            "more data": "its analysis at t_k has seen the data up to k, as the ETKF's has.",
            "more members": "both have ten.",
            "more inflation": "both have 1.02.",
        }),
    "particles-needed": Choice(
        "exponential", {
            "exponential": "with the variance of the log-likelihood, which grows with n.",
            "linear": "so the cost of a forecast grows, not the number of members.",
            "quadratic": "so the entries of a covariance grow, not the number of members.",
            "constant": "so it is for a sample mean; here the weights themselves degenerate.",
            "logarithmic": "the other way round: n may grow like the logarithm of N.",
        }),
}
# fmt: on
