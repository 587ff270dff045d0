"""Right answers pass, each usual mistake gets its own hint, and no answer raises."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

import dalearn
from dalearn.exercises.check import check, exercises
from dalearn.exercises.functions import Function
from dalearn.exercises.numbers import Choice, Feedback, Number

C = math.sqrt(72)  # beta (rho - 1) = 8/3 * 27 = 72
LAMBDA = 1.67


def gain(B, R):
    return B / (B + R)


def update(xb, B, y, R):
    K = B / (B + R)
    return xb + K * (y - xb), (1 - K) * B


def tendency(x, F):
    """The definition, entry by entry."""
    n = x.shape[-1]
    f = [x[..., i - 1] * (x[..., (i + 1) % n] - x[..., i - 2]) - x[..., i] + F for i in range(n)]
    return np.stack(f, axis=-1)


def mean(E, Y, y, R):
    joint = np.cov(E, Y, rowvar=False)
    n = E.shape[1]
    return E.mean(0) + joint[:n, n:] @ np.linalg.inv(joint[n:, n:] + R) @ (y - Y.mean(0))


def transform(S):
    from scipy.linalg import inv, sqrtm

    N = len(S)
    return sqrtm((N - 1) * inv(S @ S.T + (N - 1) * np.eye(N)))


def wind(u):
    return np.hypot(u[:, 0], u[:, 1]).reshape(-1, 64)


def flux(left, right):
    """Of the solution of the Riemann problem at the face, case by case."""
    shock = np.where(left + right > 0, left, right)
    fan = np.clip(0, left, right)  # the speed that stands still, or the nearest there is
    return np.where(left > right, shock, fan) ** 2 / 2


def back(xa, A, M, xb, B, xs, As):
    """By the joint Gaussian of this state and the next, conditioned on a noisy view of the next.

    The smoothed N(xs, As) is what data of precision As^-1 - B^-1 would make of N(xb, B).
    """
    R = np.linalg.inv(np.linalg.inv(As) - np.linalg.inv(B))
    y = xb + (B + R) @ np.linalg.inv(B) @ (xs - xb)
    K = A @ M.T @ np.linalg.inv(B + R)
    return xa + K @ (y - xb), A - K @ M @ A


def chained(M, H, Q, R):
    """Half the curvature of the three squares that hold this state, by differences."""
    n = len(M)

    def cost(x):
        squares = (x, Q), (M @ x, Q), (H @ x, R)
        return 0.5 * sum(v @ np.linalg.inv(C) @ v for v, C in squares)

    e = np.eye(n)
    return np.array([[cost(a + b) - cost(a) - cost(b) for a in e] for b in e])


def relaxed(F, A, alpha):
    """Each spread part of the way back, by its definition."""
    wanted = (1 - alpha) * A.std(0, ddof=1) + alpha * F.std(0, ddof=1)
    return A.mean(0) + (A - A.mean(0)) / A.std(0, ddof=1) * wanted


def earlier(past, Y, y, R):
    """The ETKF of the package on the past and the present as one long state."""
    from dalearn.methods import etkf

    both = etkf(np.hstack([past, Y]), Y, y, dalearn.Dense(R)).members
    return both[:, : past.shape[1]]


def _earlier_moved(past, Y, y, R):
    return past + earlier(past, Y, y, R).mean(0) - past.mean(0)


def _earlier_twice(past, Y, y, R):
    Z = Y - Y.mean(0)
    C = (len(Y) - 1) * np.linalg.inv(Z @ np.linalg.inv(R) @ Z.T + (len(Y) - 1) * np.eye(len(Y)))
    return earlier(past, Y, y, R).mean(0) + C @ (past - past.mean(0))


def _density(d, V):
    return stats.multivariate_normal(np.zeros(len(d)), V).logpdf(d)


def _sum(A, M, B, As):
    G = A @ M.T @ np.linalg.inv(B)
    return A + G @ As @ G.T


def chain(x, y, dt, steps, sign=1, slope=lambda path, dt: 1 + dt * (1 - 3 * path[:-1] ** 2)):
    """The gradient at the start of a window of Euler steps: all states, then their slopes."""
    path = [x]
    for _ in range(int(steps)):
        path.append(path[-1] + dt * (path[-1] - path[-1] ** 3))
    path = np.array(path)
    return sign * np.prod(slope(path, dt)) * (path[-1] - y)


def _slope_after(path, dt):
    return 1 + dt * (1 - 3 * path[1:] ** 2)


def _slope_at_start(path, dt):
    return (1 + dt * (1 - 3 * path[0] ** 2)) * np.ones(len(path) - 1)


def di01_step(lam, g):
    inverse = np.diag(1 / (1 + lam))  # V^-1 for R = I
    solved = inverse @ g
    gain = np.diag(lam) @ inverse
    return (
        solved @ np.diag(lam) @ solved / np.trace(gain),
        solved @ solved / np.trace(np.eye(len(lam)) - gain),
    )


def effective(f, a, y, R):
    """By the slope of the increments over the innovations."""
    K = np.linalg.lstsq((y - f)[:, None], a - f, rcond=None)[0][0]
    return R / (1 / K - 1)


def moved(W, V, u, T, s=0.0):
    """By recursion."""
    if T == 0:
        return np.zeros((0, len(W)))
    s = s + np.tanh(W @ (s * np.ones(len(W))) + V @ u)
    return np.vstack((s, moved(W, V, u, T - 1, s)))


def ridged(phi, y, ridge):
    """By least squares on data to which the ridge is added as rows."""
    h = phi.shape[1]
    more = np.sqrt(ridge * (phi**2).sum() / h) * np.eye(h)
    rows = np.concatenate((y, np.zeros((h, y.shape[1]))))
    return np.linalg.lstsq(np.concatenate((phi, more)), rows, rcond=None)[0].T


def felt(W, A, sigma):
    """The sum over features, one by one."""
    return sigma * sum(w @ w * (a @ a) / 2 for w, a in zip(W.T, A, strict=True)) ** 0.5


def true_flags(flag, f):
    """From the two values that the data can have, and their chances."""
    low, high = -f / (1 - 2 * f), (1 - f) / (1 - 2 * f)
    assert abs((1 - f) * low + f * high) < 1e-12  # no bias where nothing has burnt
    return np.where(flag > 0.5, high, low), (1 - f) * low**2 + f * high**2


def by_regression(w, B, y, R):
    """The minimum of the cost, by its normal equations."""
    H = np.array([[0.0, 1.0]])
    inverse = np.linalg.inv(B)
    return np.linalg.solve(inverse + H.T @ H / R, inverse @ w + H[0] * y / R)


def analysed(zb, zo, B, R):
    return zb + np.linalg.solve((B + R).T, B.T).T.dot((zo - zb).T).T


def second(z, t):
    return np.mean([np.outer(e, e) for e in z - t], axis=0)


def drawn_to(y, x, e, mu, sigma, R, gamma):
    """By differences of the log density of the data."""
    x = (x - sigma * e) / mu

    def fit(x):
        return stats.norm(x, (R + gamma * sigma**2 / mu**2) ** 0.5).logpdf(y)

    return (fit(x + 1e-5) - fit(x - 1e-5)) / 2e-5


def of_trained_runs(train, test):
    runs = {int(run) for run, _ in train}
    return sum(int(run) in runs for run, _ in test) / len(test)


def left_out(sigma, r):
    """What is left, one square after another."""
    kept = sum(s * s for s in sigma[:r])
    return (1 - kept / sum(s * s for s in sigma)) ** 0.5


def cloud_mean(x, points, b):
    """A loop over points."""
    return sum(v * f for v, f in zip(x, b(points), strict=True)) / len(x)


def cells(z, e, stay=1.0, scale=None):
    """By a matrix of who belongs to whom."""
    one = np.eye(len(e))[np.argmin((e**2).sum(-1) - 2 * z @ e.T, -1)]
    n = one.sum(0)[:, None]
    return np.where(n > 0, one.T @ z / (scale or np.maximum(n, 1)), stay * e)


def left_out_one_by_one(A, Y):
    """By as many fits as there are samples."""
    found = []
    for i in range(len(A)):
        rest = np.arange(len(A)) != i
        found.append(Y[i] - A[i] @ np.linalg.lstsq(A[rest], Y[rest], rcond=None)[0])
    return np.array(found)


def residuals(A, Y):
    return Y - A @ np.linalg.solve(A.T @ A, A.T @ Y)


def own_share(A):
    return np.diag(A @ np.linalg.solve(A.T @ A, A.T))[:, None]


def slow(a, k2, g, depth):
    """Wave by wave."""
    b = [
        x * np.sqrt(g / depth) / np.sqrt(k) if k else 0.0
        for x, k in zip(a.flat, k2.flat, strict=True)
    ]
    return np.reshape(b, a.shape)


def turned_by(w, t):
    """From the directions of both."""
    apart = np.arctan2(w[1], w[0]) - np.arctan2(t[1], t[0])
    return abs(np.degrees(np.angle(np.exp(1j * apart)))).mean()


def in_cells(values, at, cells, sign=1):
    """The nearest sensor's number, cell by cell."""
    found = np.empty(cells.shape[:2])
    for i in np.ndindex(*found.shape):
        found[i] = values[np.argmin(sign * ((cells[i] - at) ** 2).sum(-1))]
    return found


def solved_with(mu, L, G, g):
    return mu + np.linalg.inv(L @ L.T + G) @ (g - G @ mu)


def costs_one_by_one(Y, seen, sigma, X):
    """A loop over windows, what was not seen left out."""
    pairs = zip(Y, seen, X, strict=True)
    return np.array([((y - x)[s > 0] ** 2).sum() / (2 * sigma**2) for y, s, x in pairs])


RIGHT = {
    "motion-noise": 3.1e-7,  # 0.05 sqrt(2) / (100 * 9 * 253.4)
    "motion-waves": slow,
    "motion-angle": turned_by,
    "motion-stop": "the stop was the regularisation",
    "incremental-times": len({20 * j % 100 for j in range(10)}),
    "incremental-level": lambda z, z0, x, k, levels: z + (x - z0) / levels,
    "incremental-solve": solved_with,
    "incremental-systems": lambda rows: len({tuple(sorted(r)) for r in rows.tolist()}),
    "windows-share": 1 - 4 / 5,
    "windows-cost": costs_one_by_one,
    "windows-trust": lambda V, R, seen: seen / (1 + R / V),
    "windows-hidden": lambda Y, B, R: np.linalg.solve(B + R, Y.T).T @ B,
    "vivid-voices": (2 / 0.5 + 1 / 0.25) / (1 + 2 + 4),
    "vivid-image": in_cells,
    "pod-floor": left_out,
    "front-modes": 4053,  # (2 / (pi 0.01))^2
    "two-delays": lambda w: [-1, np.sin(2 * w) / np.sin(w)],
    "any-order": cloud_mean,
    "rivals-growth": 1.405,
    "rivals-pull": drawn_to,
    "sensors-gain": 0.04 / 0.0401,
    "sensors-blue": analysed,
    "sensors-errors": second,
    "sensors-leak": of_trained_runs,
    "nearest-letter": lambda z, e: np.argmin((e**2).sum(-1) - 2 * z @ e.T, -1),
    "letter-means": cells,
    "straight-through": -2,  # q - 3 at q = 1
    "word-bits": 42.5,  # 64 * 0.46 / ln 2
    "latent-states": moved,
    "latent-forgets": 6,  # 0.643^5 = 0.110, 0.643^6 = 0.071
    "last-layer": ridged,
    "decoder-sensitivity": felt,
    "code-data": 10,  # 50 * (1 - 2/3) / (1 + 2/3)
    "flag-bias": true_flags,
    "gla-features": 46376,  # 34 * 33 * 32 * 31 / 24
    "gla-left": left_out_one_by_one,
    "gla-axes": lambda G, w: (
        w * np.linalg.eigvalsh(np.linalg.inv(np.eye(G.shape[1]) + G.T @ G)) ** 0.5
    ),
    "gla-doubt": lambda b, B, c, s, R, F: (b / B + s * c / (R + F)) / (1 / B + s * s / (R + F)),
    "training-pays": 10715,  # 60 / (20 * 280e-6) = 10714.3
    "window-gain": by_regression,
    "history-state": 64,
    "surrogate-noise": lambda r: np.einsum("si,sj->ij", r, r) / r.shape[0],
    "split-leak": "by trajectory",
    "latent-noise": "of sensors and networks",
    "score-gaussian": lambda x, m, v: -(x - m) / v,
    "score-gain": 0.714,  # 0.1 / 0.14
    "score-steps": 1270,  # (1 / 0.02^2 + 1 / 0.025) / 2
    "score-background": effective,
    "flow-gain": lambda g, R, low: -np.expm1(np.log(low) * g / R * low / (1 - low)),
    "bayes-mean": 22.4,  # 20 + 4/5 * 3
    "bayes-variance": 0.8,  # 1 / (1/4 + 1)
    "bayes-two-sensors": 22.0,  # (20/4 + 23 + 21/2) / (1/4 + 1 + 1/2) = 38.5 / 1.75
    "gain-function": gain,
    "bayes-update-function": update,
    "rk4-order": 16,
    "lorenz96-tendency": tendency,
    "doubling-time": 0.415,
    "lorenz63-fixed-point": [C, C, 27],
    "predictability-horizon": 4.136,
    "ks-wavelength": 4.443,
    "one-observation": 0.8,  # 0.5 * 4 * 2 / (4 + 1)
    "both-doubled": "analysis stays, variance doubles",
    "nmc-factor": 1.25,  # 1 / (2 - 2 * 0.6)
    "di01-step": di01_step,
    "hybrid-controls": 21_000_000,
    "kalman-steady-gain": 0.26705,  # K^2 = 0.0973 (1 - K)
    "kalman-memory": 7.411,  # log 0.1 / log 0.73295
    "kalman-surprise": "stayed as it was",
    "innovation-density": lambda d, V: _density(d, V),
    "rts-step": back,
    "unscented-square": 2.18,
    "ensemble-covariance": lambda E: np.cov(E, rowvar=False),
    "enkf-analysis-mean": mean,
    "etkf-transform": transform,
    "sampling-error-order": "1/sqrt(N)",
    "enkf-perturbations": "spread too small",
    "rtps": relaxed,
    "optimal-taper": lambda c, N: 1 / (1 + (1 + c**2) / (N - 1) / np.maximum(c**2, 1e-300)),
    "gaspari-cohn-width": 1.8257,
    "r-localization": lambda rho, B, R: (B / (B + R / rho)) / (B / (B + R)),
    "particle-weights": lambda logs: np.exp(logs - np.logaddexp.reduce(logs)),
    "effective-size": lambda w: w.sum() ** 2 / (w @ w),
    "smoother-wait": 1.0,  # 4 * 25 * 0.01
    "enks-update": earlier,
    "ienks-why": "another linearization",
    "second-town": 17.6,  # 16 + 2 / 5 * 4
    "cg-steps": 4,
    "gradient-in-v": lambda v, L, H, d, r: v - (H @ L).T @ (d - (H @ L) @ v) / r**2,
    "increment-correlation": 0.5,  # 2 = 5 B_ij / 5
    "adjoint-chain": lambda x, y, dt, steps: chain(x, y, dt, steps),
    "window-start": 2.0,  # 2 / (4 + 1) * 5
    "gradient-cost": "a few",
    "weak-cost": 0.5 * (3 + 31 * 3 + 4 - 96),
    "weak-block": chained,
    "weak-tail": "the first guess",
    "particles-needed": "exponential",
    "courant-step": 35.696,
    "laminar-amplitude": 8.6207,
    "four-stages": 2.8284,
    "godunov-flux": flux,
    "own-operator": wind,
}


def test_every_exercise_has_a_right_answer_here():
    assert set(RIGHT) == set(exercises)


@pytest.mark.parametrize("name", exercises)
def test_right(name):
    reply = check(name, RIGHT[name])
    assert reply.passed, reply
    assert reply
    assert repr(reply).startswith("correct - ")
    assert reply._repr_markdown_().startswith("**correct** - ")


def centred(E):
    return E - E.mean(0)


def cholesky(S):
    return np.linalg.cholesky(transform(S) @ transform(S))


def eigenvectors_only(S):
    s, V = np.linalg.eigh(S @ S.T + (len(S) - 1) * np.eye(len(S)))
    return V * np.sqrt((len(S) - 1) / s)


def roll(x, F, **axis):
    x1, x2, x3 = np.roll(x, 1, **axis), np.roll(x, -1, **axis), np.roll(x, 2, **axis)
    return x1 * (x2 - x3) - x + F


def in_place(E):
    E -= E.mean(0)
    return E.T @ E / (len(E) - 1)


def blank(B, R):
    raise NotImplementedError


def unperturbed(E, Y, y, R):
    N, X, S = len(E), centred(E), centred(Y)
    return E + (y - Y) @ (X.T @ S / (N - 1) @ np.linalg.inv(S.T @ S / (N - 1) + R)).T


def underflown(logs):
    with np.errstate(invalid="ignore", over="ignore"):
        return np.exp(logs) / np.exp(logs).sum()


WRONG = [
    ("vivid-voices", 1.0, "plain mean"),
    ("vivid-voices", 1 / 1.75, "variances as weights"),
    ("vivid-voices", 4 / 3, "background counts"),
    ("vivid-image", lambda v, at, c: in_cells(v, at, c, -1), "farthest"),
    ("vivid-image", lambda v, at, c: in_cells(v, at[:, ::-1], c), "rows come first"),
    ("incremental-times", 10, "comes back"),
    ("incremental-times", 100, "of the trajectory"),
    ("incremental-times", 20, "the stride"),
    ("incremental-level", lambda z, z0, x, k, n: z + (1 - k / (n + 1)) * (x - z0), "printed step"),
    ("incremental-level", lambda z, z0, x, k, n: z + (x - z) / n, "not x - z"),
    ("incremental-level", lambda z, z0, x, k, n: z0 + (x - z0) / n, "begin at z"),
    ("incremental-solve", lambda mu, L, G, g: solved_with(mu, L.T, G, g), "is L L^T"),
    (
        "incremental-solve",
        lambda mu, L, G, g: mu + np.linalg.solve(L @ L.T + G, g),
        "mu is seen too",
    ),
    (
        "incremental-solve",
        lambda mu, L, G, g: solved_with(mu, np.linalg.inv(L).T, G, g),
        "precision already",
    ),
    ("incremental-solve", lambda mu, L, G, g: solved_with(mu, L, G, g) - mu, "increment alone"),
    ("incremental-systems", lambda rows: len({tuple(r) for r in rows.tolist()}), "order"),
    ("incremental-systems", lambda rows: len(np.unique(rows)), "count the sets"),
    ("one-observation", 1.6, "at the thermometer"),
    ("one-observation", 1, "error of the thermometer"),
    ("one-observation", 0.2, "multiply by the variance"),
    ("one-observation", 2, "this is the covariance"),
    ("one-observation", 0.4, "2 degrees, not 1"),
    ("both-doubled", "both stay", "one more B"),
    ("both-doubled", "analysis doubles, variance stays", "double both"),
    ("both-doubled", "both double", "double both"),
    ("nmc-factor", 0.5, "independent"),
    ("nmc-factor", 0.8, "invert it"),
    ("nmc-factor", 2.5, "two errors"),
    ("nmc-factor", 0.3125, "subtracted"),
    ("nmc-factor", 1.118, "no root"),
    ("di01-step", lambda a, g: tuple(2 * s for s in di01_step(a, g)), "factor 1/2"),
    ("di01-step", lambda a, g: di01_step(a, g)[::-1], "changed places"),
    (
        "di01-step",
        lambda a, g: (
            (g**2 * a / (1 + a)).sum() / (a / (1 + a)).sum(),
            (g**2 / (1 + a)).sum() / (1 / (1 + a)).sum(),
        ),
        "square it",
    ),
    (
        "di01-step",
        lambda a, g: ((g**2 * a / (1 + a) ** 2).mean(), (g**2 / (1 + a) ** 2).mean()),
        "not by m",
    ),
    ("hybrid-controls", 1_000_020, "field of weights"),
    ("hybrid-controls", 2e7, "its own million"),
    ("hybrid-controls", 1e6, "this is n"),
    ("history-state", 16, "newest latent alone"),
    ("history-state", 4, "times in the window"),
    ("history-state", 20, "multiply"),
    ("history-state", 80, "oldest leaves"),
    ("history-state", 4096, "the decoder"),
    ("surrogate-noise", lambda r: np.cov(r, rowvar=False), "on one side"),
    ("surrogate-noise", lambda r: r.T @ r, "divide by"),
    ("surrogate-noise", lambda r: r @ r.T / len(r), "turned"),
    ("surrogate-noise", lambda r: (r**2).mean(0), "go together"),
    ("surrogate-noise", lambda r: (r**2).mean(0) ** 0.5, "standard deviations"),
    ("split-leak", "by time step", "seen the answer"),
    ("split-leak", "every other step", "between two"),
    ("split-leak", "by pair", "neighbours"),
    ("score-gaussian", lambda x, m, v: (x - m) / v, "towards the mean"),
    ("score-gaussian", lambda x, m, v: (m - x) / v**0.5, "not by the standard"),
    ("score-gaussian", lambda x, m, v: -((x - m) ** 2) / 2 / v, "its derivative"),
    (
        "score-gaussian",
        lambda x, m, v: (m - x) / v * stats.norm(m, v**0.5).pdf(x),
        "that of its logarithm",
    ),
    ("score-gaussian", lambda x, m, v: m - x, "divide by the variance"),
    ("score-gain", 0.990, "does not know its"),
    ("score-gain", 0.286, "the datum gets"),
    ("score-gain", 0.333, "square it"),
    ("score-gain", 0.2, "a variance already"),
    ("score-steps", 1250, "share of the data"),
    ("score-steps", 1125, "rule of thumb"),
    ("score-steps", 1145, "half of the sum"),
    ("score-steps", 2540, "may reach 2"),
    ("score-steps", 635, "probability flow"),
    ("score-steps", 25.5, "square the"),
    (
        "score-background",
        lambda f, a, y, R: effective(f, a, y, 1) / (1 + effective(f, a, y, 1)),
        "solve K",
    ),
    ("score-background", lambda f, a, y, R: R * R / effective(f, a, y, R), "turned"),
    (
        "score-background",
        lambda f, a, y, R: 1 / (1 / R + 1 / effective(f, a, y, R)),
        "of the analysis",
    ),
    (
        "score-background",
        lambda f, a, y, R: R * (a - f).sum() / ((y - f).sum() - (a - f).sum()),
        "least squares",
    ),
    ("score-background", lambda f, a, y, R: ((y - f) ** 2).mean() - R, "should be"),
    ("flow-gain", lambda g, R, low: 1 - np.exp(-g / R), "keep their width"),
    ("flow-gain", lambda g, R, low: low ** (g * low / R / (1 - low)), "the gain is the rest"),
    ("flow-gain", lambda g, R, low: 1 - low ** (g * low / R), "the exponent"),
    ("flow-gain", lambda g, R, low: 1 - low ** (g / R / (1 - low)), "low / s"),
    (
        "flow-gain",
        lambda g, R, low: 1 - low ** (1 + g * low / R / (1 - low)),
        "not on the difference",
    ),
    (
        "latent-states",
        lambda W, V, u, T: np.vstack((np.zeros(len(W)), moved(W, V, u, T - 1))),
        "one step before",
    ),
    ("latent-states", lambda W, V, u, T: moved(W, V, u, T + 1)[1:], "first state is lost"),
    (
        "latent-states",
        lambda W, V, u, T: np.diff(moved(W, V, u, T), axis=0, prepend=0.0),
        "is the change",
    ),
    ("latent-states", lambda W, V, u, T: np.zeros((T, len(W))), "all runs are alike"),
    ("nearest-letter", lambda z, e: np.argmax(z @ e.T, 1), "favours long"),
    ("nearest-letter", lambda z, e: np.linalg.norm(z[:, None] - e, axis=-1).argmax(1), "farthest"),
    ("nearest-letter", lambda z, e: np.linalg.norm(z[:, None] - e, axis=-1).argmin(0), "turned"),
    ("nearest-letter", lambda z, e: e[np.argmin((e**2).sum(-1) - 2 * z @ e.T, -1)], "numbers"),
    ("nearest-letter", lambda z, e: ((z[:, None] - e) ** 2).sum(-1).min(1), "distances"),
    ("letter-means", lambda z, e: cells(z, e, 0.0), "keeps its vector"),
    ("letter-means", lambda z, e: cells(z, e, scale=1), "how many fell to the letter"),
    ("letter-means", lambda z, e: cells(z, e, scale=len(z)), "not by all"),
    ("straight-through", 0, "a step"),
    ("straight-through", -2.2, "at q = 1"),
    ("straight-through", 2, "the sign"),
    ("straight-through", -0.2, "commitment"),
    ("word-bits", 384, "without a prior"),
    ("word-bits", 29.44, "are nats"),
    ("word-bits", 0.664, "one letter"),
    ("word-bits", 20.4, "not multiplied"),
    ("latent-forgets", 5, "0.643^5"),
    ("latent-forgets", 0.64, "after one analysis"),
    ("latent-forgets", 2.28, "the datum's share"),
    ("latent-forgets", 3, "left of the forecast"),
    ("latent-forgets", 5.22, "round up"),
    ("last-layer", lambda phi, y, r: np.linalg.lstsq(phi, y, rcond=None)[0].T, "without a ridge"),
    (
        "last-layer",
        lambda phi, y, r: ridged(phi, y, r / (phi**2).sum() * phi.shape[1]),
        "in units of",
    ),
    ("last-layer", lambda phi, y, r: ridged(phi, y, r * phi.shape[1]), "not its sum"),
    ("last-layer", lambda phi, y, r: ridged(phi, y, r).T, "turned"),
    ("last-layer", lambda phi, y, r: ridged(phi, y, r * r), "not squared"),
    ("decoder-sensitivity", lambda W, A, s: 2**0.5 * felt(W, A, s), "is a half"),
    ("decoder-sensitivity", lambda W, A, s: s * felt(W, A, s), "proportional to sigma"),
    ("decoder-sensitivity", lambda W, A, s: felt(W, A, s) ** 2, "take its root"),
    ("decoder-sensitivity", lambda W, A, s: s * np.linalg.norm(W) / 2**0.5, "are missing"),
    ("decoder-sensitivity", lambda W, A, s: s * np.linalg.norm(W @ A) / 2**0.5, "phases differ"),
    ("code-data", 50, "are correlated"),
    ("code-data", 16.67, "divide by 1 + rho"),
    ("code-data", 250, "turned"),
    ("code-data", 33.33, "should shrink"),
    ("code-data", 30, "half of the codes"),
    ("gla-features", 40920, "lower degrees count too"),
    ("gla-features", 27405, "squares are features"),
    ("gla-features", 46375, "the constant"),
    ("gla-features", 810000, "30^4 counts"),
    ("gla-features", 923521, "31^4 counts"),
    ("gla-left", residuals, "which the fit has seen"),
    ("gla-left", lambda A, Y: residuals(A, Y) / (1 - own_share(A)) ** 0.5, "equal variance"),
    ("gla-left", lambda A, Y: residuals(A, Y) / (1 - A.shape[1] / len(A)), "has its own"),
    ("gla-left", lambda A, Y: residuals(A, Y) * (1 + own_share(A)), "the series"),
    ("gla-axes", lambda G, w: w / (1 + np.linalg.svd(G)[1] ** 2), "these are variances"),
    ("gla-axes", lambda G, w: w / np.linalg.svd(G)[1], "has no end"),
    ("gla-axes", lambda G, w: w * (1 + np.linalg.svd(G)[1] ** 2) ** 0.5, "turned"),
    ("gla-axes", lambda G, w: w / (1 + np.linalg.svd(G)[1][::-1] ** 2) ** 0.5, "sort them"),
    ("gla-axes", lambda G, w: 1 / (1 + np.linalg.svd(G)[1] ** 2) ** 0.5, "w is missing"),
    ("gla-doubt", lambda b, B, c, s, R, F: b + B * s / (s * s * B + R) * (c - s * b), "believes"),
    (
        "gla-doubt",
        lambda b, B, c, s, R, F: b + B * s / (s * s * B + F) * (c - s * b),
        "errors too",
    ),
    ("gla-doubt", lambda b, B, c, s, R, F: b + B / (B + R + F) * (c - s * b), "H the slope"),
    (
        "gla-doubt",
        lambda b, B, c, s, R, F: b + B * s / (s * s * B + R + F * F) * (c - s * b),
        "a variance already",
    ),
    ("flag-bias", lambda g, f: (g - f, f * (1 - f)), "divide"),
    ("flag-bias", lambda g, f: ((g - f) / (1 - 2 * f), f * (1 - f)), "by its square"),
    (
        "flag-bias",
        lambda g, f: ((g - f) / (1 - 2 * f), f * (1 - f) / (1 - 2 * f)),
        "square of what",
    ),
    ("flag-bias", lambda g, f: (g / (1 - f), f / (1 - f)), "both ways"),
    ("training-pays", 214286, "counts frames"),
    ("training-pays", 10000, "still costs"),
    ("training-pays", 150000, "is the saving"),
    ("training-pays", 11, "not 5.6 s"),
    (
        "window-gain",
        lambda w, B, y, R: w + np.array([0, 1]) * (y - w[1]) * B[1, 1] / (B[1, 1] + R),
        "newest alone",
    ),
    ("window-gain", lambda w, B, y, R: w + B[0] / (B[0, 0] + R) * (y - w[0]), "the newest, w"),
    (
        "window-gain",
        lambda w, B, y, R: w + B[1, 1] / (B[1, 1] + R) * (y - w[1]),
        "gain of its own",
    ),
    ("window-gain", lambda w, B, y, R: w + B[1] / B[1, 1] * (y - w[1]), "R is missing"),
    ("motion-noise", 2.193e-7, "both pictures err"),
    ("motion-noise", 3.1e-5, "by the depth too"),
    ("motion-noise", 4.385e-7, "in their squares"),
    ("motion-noise", 7.07e-4, "the time between"),
    ("motion-noise", 2.79e-6, "nine steps"),
    ("motion-waves", lambda a, k, g, H: slow(a, k, H, g), "turned"),
    ("motion-waves", lambda a, k, g, H: slow(a, k + (k == 0), g, H), "nothing moves"),
    ("motion-waves", lambda a, k, g, H: slow(a, k, g, H) ** 2, "the variance"),
    ("motion-waves", lambda a, k, g, H: slow(a, k, g, H) ** 2 / a, "take the root"),
    ("motion-angle", lambda w, t: np.radians(turned_by(w, t)), "not radians"),
    ("motion-angle", lambda w, t: np.cos(np.radians(turned_by(w, t))), "a cosine"),
    (
        "motion-angle",
        lambda w, t: np.degrees(np.arccos(np.clip((w * t).sum(0), -1, 1))).mean(),
        "by both lengths",
    ),
    (
        "motion-angle",
        lambda w, t: np.degrees(np.arccos((w * t).sum() / np.linalg.norm(w) / np.linalg.norm(t))),
        "of all points together",
    ),
    ("motion-stop", "the optimiser diverged", "the cost fell"),
    ("motion-stop", "single precision was not enough", "in double precision"),
    ("motion-stop", "the model is wrong", "it is exact here"),
    ("windows-share", 1, "error of the answer y"),
    ("windows-share", 0.8, "error of g y"),
    ("windows-share", 0.25, "R / B"),
    ("windows-cost", lambda Y, s, q, X: costs_one_by_one(Y, s + 1, q, X), "not seen count"),
    ("windows-cost", lambda *a: 2 * costs_one_by_one(*a), "half is missing"),
    (
        "windows-cost",
        lambda Y, s, q, X: costs_one_by_one(Y, s, q, X) / s.sum((1, 2)),
        "not the mean",
    ),
    ("windows-cost", lambda Y, s, q, X: costs_one_by_one(Y, s, q**0.5, X), "sigma squared"),
    ("windows-cost", lambda *a: costs_one_by_one(*a).mean(), "one cost a window"),
    ("windows-trust", lambda V, R, s: s * R / (V + R), "share of the error"),
    ("windows-trust", lambda V, R, s: V / (V + R), "must be 0"),
    ("windows-trust", lambda V, R, s: s / R, "has a unit"),
    ("windows-trust", lambda V, R, s: s / (1 + (R / V) ** 0.5), "not standard deviations"),
    ("windows-hidden", lambda Y, B, R: Y, "fits their errors"),
    ("windows-hidden", lambda Y, B, R: np.linalg.solve(B + R, Y.T).T @ R, "changed places"),
    ("windows-hidden", lambda Y, B, R: Y @ (B @ np.linalg.inv(B + R)), "for rows"),
    ("rivals-growth", 0.34, "this is the exponent"),
    ("rivals-growth", 0.375, "time units"),
    ("rivals-growth", math.exp(0.906 * 15), "0.025 time units long"),
    ("rivals-pull", lambda y, x, e, m, s, R, g: (y - x) / (R + g * s * s / m / m), "behind"),
    ("rivals-pull", lambda y, x, e, m, s, R, g: (y - (x - s * e) / m) / R, "errs too"),
    ("rivals-pull", lambda y, x, e, m, s, R, g: (y - (x - s * e) / m) / (R + g * s / m), "square"),
    ("rivals-pull", lambda *a: -drawn_to(*a), "turned"),
    ("sensors-gain", 0.0025, "left of the background"),
    ("sensors-gain", 400, "not B / R"),
    ("sensors-gain", 0.04, "this is B"),
    (
        "sensors-blue",
        lambda b, o, B, R: b + (o - b) @ (B @ np.linalg.inv(B + R)),
        "is not symmetric",
    ),
    ("sensors-blue", lambda b, o, B, R: analysed(b, o, R, B), "weight of the background"),
    ("sensors-blue", lambda b, o, B, R: analysed(b, o, B, R) - b, "increment alone"),
    ("sensors-blue", lambda b, o, B, R: (b + o) / 2, "with B = R"),
    (
        "sensors-errors",
        lambda z, t: np.cov(z - t, rowvar=False, ddof=0),
        "mean error was taken off",
    ),
    ("sensors-errors", lambda z, t: np.cov(z - t, rowvar=False), "np.cov takes"),
    (
        "sensors-errors",
        lambda z, t: second(z, t) * len(z) / (len(z) - 1),
        "divide by the count",
    ),
    ("sensors-errors", lambda z, t: (z - t) @ (z - t).T / len(z), "rows are pairs"),
    ("sensors-errors", lambda z, t: np.cov(z, rowvar=False), "of the errors"),
    (
        "sensors-leak",
        lambda a, b: np.mean([any((row == other).all() for other in a) for row in b]),
        "its neighbour",
    ),
    ("sensors-leak", lambda a, b: of_trained_runs(b, a), "turned"),
    ("sensors-leak", lambda a, b: of_trained_runs(a[:, ::-1], b[:, ::-1]), "times may repeat"),
    ("pod-floor", lambda s, r: left_out(s, r) ** 2, "take its root"),
    ("pod-floor", lambda s, r: (1 - left_out(s, r) ** 2) ** 0.5, "what do they leave"),
    ("pod-floor", lambda s, r: sum(s[r:]) / sum(s), "squares add up"),
    ("pod-floor", lambda s, r: s[r] / max(s[:1]), "not the first of them"),
    ("pod-floor", lambda s, r: np.linalg.norm(s[r:]), "divide by"),
    ("pod-floor", lambda s, r: left_out(s, r - 1), "the last one that is kept"),
    ("front-modes", 64, "square"),
    ("front-modes", 6366, "not 2 /"),
    ("front-modes", 2026, "two modes"),
    ("front-modes", 8106, "both modes"),
    ("front-modes", 40.5, "not 0.1"),
    ("two-delays", lambda w: (2 * np.cos(w), -1), "turned"),
    ("two-delays", lambda w: (1, 2 * np.cos(w)), "the sign"),
    ("two-delays", lambda w: (-1, np.cos(w)), "twice"),
    ("two-delays", lambda w: (0, np.cos(w)), "loses the velocity"),
    ("any-order", lambda x, p, b: b(p).T @ x, "take the mean"),
    ("any-order", lambda x, p, b: [np.mean(x)] * 3, "where they are"),
    ("any-order", lambda x, p, b: b(p).mean(0) * np.mean(x), "before you average"),
    ("any-order", lambda x, p, b: np.linalg.pinv(b(p)) @ x, "least-squares fit"),
    ("latent-noise", "of the sensors", "taken for perfect"),
    ("latent-noise", "of the networks", "sensors err too"),
    ("latent-noise", "zero", "false ones"),
    ("rtps", lambda F, A, a: A * (1 + a * (F.std(0) / A.std(0) - 1)), "anomalies"),
    ("rtps", lambda F, A, a: relaxed(F, A, a) - A.mean(0), "add the mean"),
    ("rtps", lambda F, A, a: relaxed(F, A, 1 - a), "changed places"),
    ("rtps", lambda F, A, a: A + a * (centred(F) - centred(A)), "RTPP"),
    ("optimal-taper", lambda c, N: c**2 / (c**2 + (1 - c**2) ** 2 / (N - 1)), "of a covariance"),
    ("optimal-taper", lambda c, N: c**2 / (c**2 + (1 + c**2) / N), "not N"),
    ("optimal-taper", lambda c, N: abs(c) / (abs(c) + ((1 + c**2) / (N - 1)) ** 0.5), "squares"),
    ("optimal-taper", lambda c, N: c**2 / (c**2 + 1 / (N - 1)), "grows with itself"),
    ("gaspari-cohn-width", 1.291, "mind the two"),
    ("gaspari-cohn-width", 0.5477, "l in units of c"),
    ("gaspari-cohn-width", 3.333, "the square"),
    ("gaspari-cohn-width", 3.651, "two half-widths"),
    ("r-localization", lambda rho, B, R: rho * B / (rho * B + R), "divide it by"),
    ("r-localization", lambda rho, B, R: rho, "on the covariance"),
    ("r-localization", lambda rho, B, R: (B + R) / (B + rho * R), "it grows"),
    ("courant-step", 50.48, "two dimensions"),
    ("courant-step", 25.24, "divided by 2"),
    ("courant-step", 0.0357, "10000 m"),
    ("courant-step", 0.2548, "square root"),
    ("courant-step", 198.09, "in m/s"),
    ("laminar-amplitude", 62.5, "drag is missing"),
    ("laminar-amplitude", 10, "viscosity is missing"),
    ("laminar-amplitude", 9.615, "bring 4**2"),
    ("laminar-amplitude", 0.116, "rate of damping"),
    ("four-stages", 8, "square"),
    ("four-stages", 1.732, "three stages"),
    ("four-stages", 2, "multiply out"),
    ("four-stages", 2.785, "real axis"),
    ("four-stages", 0, "two stages"),
    ("godunov-flux", lambda a, b: a**2 / 2, "left only"),
    ("godunov-flux", lambda a, b: (a**2 + b**2) / 4, "mean of both sides"),
    ("godunov-flux", lambda a, b: (a + b) ** 2 / 8, "mean speed"),
    ("godunov-flux", lambda a, b: np.maximum(a**2, b**2) / 2, "nothing crosses"),
    ("godunov-flux", lambda a, b: (a * (a > 0)) ** 2 / 2 + (b * (b < 0)) ** 2 / 2, "meet"),
    ("godunov-flux", lambda a, b: np.where(a + b > 0, a, b) ** 2 / 2, "right for shocks"),
    ("godunov-flux", lambda a, b: 2 * flux(a, b), "u**2 / 2"),
    ("ks-wavelength", 1.414, "wavenumber"),
    ("ks-wavelength", 2, "take the root"),
    ("ks-wavelength", 8.886, "nu = 1"),
    ("ks-wavelength", 17.77, "shorter waves"),
    ("ks-wavelength", 3.1416, "neither grows nor dies"),
    ("ks-wavelength", 1, "rate"),
    ("bayes-mean", 20.6, "swapped"),
    ("bayes-mean", 22, "standard deviations"),
    ("bayes-mean", 21.5, "plain average"),
    ("bayes-mean", 20, "observation has not been used"),
    ("bayes-mean", 23, "prior has not been used"),
    ("bayes-mean", 0.8, "asks for the mean"),
    ("bayes-mean", -22.4, "sign"),
    ("bayes-mean", 30, "30 is too large"),
    ("bayes-mean", 21, "21 is too small"),
    ("bayes-variance", 5, "added the variances"),
    ("bayes-variance", math.sqrt(0.8), "standard deviation"),
    ("bayes-variance", 1.25, "precision"),
    ("bayes-variance", 2.5, "averaged"),
    ("bayes-variance", 3.2, "(1 - K) B"),
    ("bayes-variance", 2 / 3, "inverse standard deviations"),
    ("bayes-two-sensors", 22.4, "second sensor has not"),
    ("bayes-two-sensors", 62 / 3, "first sensor has not"),
    ("bayes-two-sensors", 64 / 3, "plain average"),
    ("bayes-two-sensors", 67 / 3, "prior has not been used"),
    ("bayes-two-sensors", 22.33, "prior has not been used"),
    ("bayes-two-sensors", 20, "neither sensor"),
    ("bayes-two-sensors", 22.4 - 1.4 * 4 / 6, "kept the variance"),
    ("bayes-two-sensors", 21.75, "counted twice"),
    (
        "bayes-two-sensors",
        (20 / 2 + 23 + 21 / 2**0.5) / (1 / 2 + 1 + 1 / 2**0.5),
        "standard deviations",
    ),
    ("kalman-steady-gain", 0.3643, "this is `B/R`"),
    ("kalman-steady-gain", 0.3119, "1 - K"),
    ("kalman-steady-gain", 0.0973, "ratio itself"),
    ("kalman-steady-gain", -0.3643, "negative root"),
    ("kalman-memory", 3.745, "`1/K`"),
    ("kalman-memory", 3.2186, "1/e; use"),
    ("kalman-memory", 3.1617, "starts at K"),
    ("kalman-surprise", "grew", "cannot"),
    ("kalman-surprise", "fell", "first years"),
    ("innovation-density", lambda d, V: _density(d, V) + len(d) * np.log(2 * np.pi) / 2, "2 pi"),
    (
        "innovation-density",
        lambda d, V: _density(d, V) + np.linalg.slogdet(V)[1] / 2,
        "determinant",
    ),
    ("innovation-density", lambda d, V: -_density(d, V), "minus the logarithm"),
    ("innovation-density", lambda d, V: np.exp(_density(d, V)), "give its logarithm"),
    ("innovation-density", lambda d, V: 2 * _density(d, V), "factor 1/2"),
    ("innovation-density", lambda d, V: _density(d, np.linalg.inv(V)), "do not multiply"),
    ("rts-step", lambda x, A, M, *rest: back(x, A, M.T, *rest), "not `A M`"),
    (
        "rts-step",
        lambda x, A, M, xb, B, xs, As: (back(x, A, M, xb, B, xs, As)[0], _sum(A, M, B, As)),
        "difference",
    ),
    ("rts-step", lambda x, A, M, xb, B, xs, As: back(x, A, M, x, B, xs, As), "forecast `xb`"),
    ("rts-step", lambda x, A, M, *rest: back(x, A, np.eye(len(x)), *rest), "model is missing"),
    ("unscented-square", 0.49, "tangent"),
    ("unscented-square", 1.69, "square of the mean"),
    ("unscented-square", 1.79, "standard deviation"),
    ("gain-function", lambda B, R: R / (B + R), "swapped"),
    ("gain-function", lambda B, R: B / R, "never exceeds 1"),
    ("gain-function", lambda B, R: 1 / (B + R), "factor `B`"),
    ("gain-function", lambda B, R: B**0.5 / (B**0.5 + R**0.5), "standard deviations"),
    ("gain-function", lambda B, R: B * R / (B + R), "leave out the factor `R`"),
    ("gain-function", lambda B, R: 0.5, "is 0.5, wanted 0.8, for `B = 4`, `R = 1`"),
    ("gain-function", lambda B: B, "raised `TypeError"),
    ("gain-function", lambda B, R: 1 / 0, "raised `ZeroDivisionError"),
    ("gain-function", lambda B, R: float("nan"), "not finite"),
    ("gain-function", 0.8, "give the function itself"),
    ("bayes-update-function", lambda *a: update(*a)[::-1], "other order"),
    ("bayes-update-function", lambda *a: update(*a)[0], "cannot be read as `xa` and `A`"),
    (
        "bayes-update-function",
        lambda b, B, y, R: (b + R / (B + R) * (y - b), B * R / (B + R)),
        "swapped",
    ),
    (
        "bayes-update-function",
        lambda b, B, y, R: (b + B / (B + R) * (b - y), B * R / (B + R)),
        "innovation has the wrong sign",
    ),
    ("bayes-update-function", lambda b, B, y, R: (update(b, B, y, R)[0], B + R), "sum of the var"),
    (
        "bayes-update-function",
        lambda b, B, y, R: (update(b, B, y, R)[0], B * B / (B + R)),
        "`A` is `K B`",
    ),
    ("bayes-update-function", lambda b, B, y, R: (update(b, B, y, R)[0], B / (B + R)), "gain"),
    (
        "bayes-update-function",
        lambda b, B, y, R: (update(b, B, y, R)[0], (B * R / (B + R)) ** 0.5),
        "standard deviation",
    ),
    ("bayes-update-function", lambda b, B, y, R: (update(b, B, y, R)[0], B), "still `B`"),
    (
        "bayes-update-function",
        lambda b, B, y, R: (update(b, B, y, R)[0], 1 / update(b, B, y, R)[1]),
        "`A` is a precision",
    ),
    (
        "bayes-update-function",
        lambda b, B, y, R: ((B * b + R * y) / (B + R), 1 / (B + R)),
        "for precisions",
    ),
    ("bayes-update-function", lambda b, B, y, R: (y, B * R / (B + R)), "`xa` of `update"),
    ("rk4-order", 4, "this is the order"),
    ("rk4-order", 2, "Euler"),
    ("rk4-order", 32, "error of one step"),
    ("rk4-order", 8, "order 3"),
    ("rk4-order", 1 / 16, "multiplied"),
    ("lorenz96-tendency", lambda x, F: roll(x, F), "batch: without `axis=-1`"),
    ("lorenz96-tendency", lambda x, F: roll(x, F, axis=0), "the ring is the last axis"),
    ("lorenz96-tendency", lambda x, F: tendency(x[..., ::-1], F)[..., ::-1], "other way round"),
    ("lorenz96-tendency", lambda x, F: tendency(x, F) + x, "damping `- x_i` is missing"),
    ("lorenz96-tendency", lambda x, F: tendency(x, 0), "forcing"),
    ("lorenz96-tendency", lambda x, F: tendency(x, F) + 2 * x, "damping has the wrong sign"),
    ("lorenz96-tendency", lambda x, F: -(tendency(x, 0) + x) - x + F, "difference in brackets"),
    ("lorenz96-tendency", lambda x, F: x[..., 1:], "has shape (39,), wanted (40,)"),
    ("doubling-time", 1 / LAMBDA, "factor e"),
    ("doubling-time", 0.6, "factor e"),
    ("doubling-time", math.log(2) * LAMBDA, "multiplied by lambda"),
    ("doubling-time", math.log(2), "divide it by lambda"),
    ("doubling-time", math.log10(2) / LAMBDA, "base 10"),
    ("doubling-time", 2 / LAMBDA, "not linear"),
    ("doubling-time", 5 * math.log(2) / LAMBDA, "in days"),
    ("doubling-time", 0.42, "keep at least four digits"),
    ("lorenz63-fixed-point", [-C, -C, 27], "C-"),
    ("lorenz63-fixed-point", [0, 0, 0], "origin"),
    ("lorenz63-fixed-point", [72, 72, 27], "square root"),
    ("lorenz63-fixed-point", [C, C, 28], "`rho - 1`"),
    ("lorenz63-fixed-point", [math.sqrt(8 / 3 * 28)] * 2 + [28], "`rho` for `rho - 1`"),
    ("lorenz63-fixed-point", [math.sqrt(270)] * 2 + [27], "sigma for beta"),
    ("lorenz63-fixed-point", [-C, C, 27], "x = y"),
    ("lorenz63-fixed-point", [C, -C, 27], "x = y"),
    ("lorenz63-fixed-point", [C, 1, 27], "entries with index 1"),
    ("lorenz63-fixed-point", [C, C], "give 3 numbers; your answer has shape (2,)"),
    ("predictability-horizon", 3 / LAMBDA, "base 10"),
    ("predictability-horizon", math.log2(1000) / LAMBDA, "base 2"),
    ("predictability-horizon", math.log2(1000), "number of doublings"),
    ("predictability-horizon", math.log(1000), "divide it by lambda"),
    ("predictability-horizon", math.log(1000) * LAMBDA, "multiplied by lambda"),
    ("predictability-horizon", 1000 / LAMBDA, "not linear"),
    ("predictability-horizon", 5 * math.log(1000) / LAMBDA, "in days"),
    ("predictability-horizon", 4.1, "four digits"),
    ("ensemble-covariance", lambda E: np.cov(E, rowvar=False, bias=True), "divided by N;"),
    ("ensemble-covariance", lambda E: np.cov(E), "columns for members"),
    ("ensemble-covariance", lambda E: centred(E) @ centred(E).T / (len(E) - 1), "`X X^T`"),
    (
        "ensemble-covariance",
        lambda E: E.T @ E / (len(E) - 1),
        "subtract the mean of the members f",
    ),
    ("ensemble-covariance", lambda E: E.T @ E / len(E), "and divide by N - 1"),
    ("ensemble-covariance", lambda E: centred(E).T @ centred(E), "divide by N - 1."),
    ("ensemble-covariance", lambda E: E.var(0, ddof=1), "whole (n, n) matrix"),
    ("ensemble-covariance", lambda E: np.corrcoef(E, rowvar=False), "correlations"),
    ("ensemble-covariance", in_place, "changes its arguments"),
    ("enkf-analysis-mean", lambda E, *_: E.mean(0), "forecast mean"),
    ("enkf-analysis-mean", unperturbed, "whole ensemble"),
    ("enkf-analysis-mean", lambda E, Y, y, R: mean(E, Y, y, 0 * R), "lacks `R`"),
    ("enkf-analysis-mean", lambda E, Y, y, R: 2 * E.mean(0) - mean(E, Y, y, R), "wrong sign"),
    (
        "enkf-analysis-mean",
        # dividing by N in both covariances is the right formula with R N / (N - 1)
        lambda E, Y, y, R: mean(E, Y, y, R * len(E) / (len(E) - 1)),
        "divided by N;",
    ),
    (
        "enkf-analysis-mean",
        lambda E, Y, y, R: (
            E.mean(0)
            + centred(E).T @ Y @ np.linalg.inv(Y.T @ Y + (len(E) - 1) * R) @ (y - Y.mean(0))
        ),
        "subtract the mean of `Y`",
    ),
    ("etkf-transform", lambda S: transform(S) @ transform(S), "square root"),
    ("etkf-transform", lambda S: transform(S) / math.sqrt(len(S) - 1), "before the inverse"),
    ("etkf-transform", lambda S: transform(S * math.sqrt(len(S) - 1)), "identity in the bracket"),
    ("etkf-transform", lambda S: transform(S * math.sqrt(1 - 1 / len(S))), "N where N - 1"),
    ("etkf-transform", lambda S: np.linalg.inv(transform(S)), "inverse of T"),
    # S^T S + (N - 1) I, of size m, with the right factor
    (
        "etkf-transform",
        lambda S: transform(S.T * math.sqrt((S.shape[1] - 1) / (len(S) - 1))),
        "(m, m)",
    ),
    ("etkf-transform", cholesky, "not the symmetric one"),
    ("etkf-transform", eigenvectors_only, "not the symmetric one"),
    ("sampling-error-order", "1/N", "variance"),
    ("sampling-error-order", "1/N**2", "too good"),
    ("sampling-error-order", "exp(-N)", "too good"),
    ("sampling-error-order", "constant", "cancel"),
    ("sampling-error-order", "log N", 'choose one of `"1/sqrt(N)"`'),
    ("sampling-error-order", 0.5, "choose one of"),
    ("enkf-perturbations", "spread too large", "other way round"),
    ("enkf-perturbations", "mean biased", "covariance"),
    ("enkf-perturbations", "nothing", "covariance"),
    ("particle-weights", underflown, "subtract the largest"),
    ("particle-weights", lambda logs: np.exp(logs - logs.max()), "divide by the sum"),
    ("particle-weights", lambda logs: logs / logs.sum(), "take `exp` first"),
    (
        "particle-weights",
        lambda logs: np.exp(2 * (logs - np.logaddexp.reduce(2 * logs) / 2)),
        "squared",
    ),
    ("particle-weights", lambda logs: np.full(len(logs), 1 / len(logs)), "look at the data"),
    ("effective-size", lambda w: w @ w, "inverse"),
    ("effective-size", lambda w: 1 / (w @ w) / len(w), "share of N"),
    ("effective-size", lambda w: 1 / w.max(), "largest weight"),
    ("effective-size", lambda w: np.exp(-w @ np.log(w)), "entropy"),
    ("effective-size", lambda w: len(w), "whatever the weights"),
    ("smoother-wait", 100, "model steps"),
    ("smoother-wait", 4, "in observations"),
    ("smoother-wait", 0.25, "one observation"),
    ("smoother-wait", 0.04, "not model steps"),
    ("enks-update", _earlier_moved, "keep their spread"),
    ("enks-update", _earlier_twice, "square root"),
    ("enks-update", lambda past, Y, y, R: earlier(past, Y, 2 * Y.mean(0) - y, R), "wrong sign"),
    ("enks-update", lambda *a: earlier(*a).mean(0), "smoothed mean"),
    ("enks-update", lambda past, Y, y, R: past, "as they were"),
    ("ienks-why", "more data", "up to k"),
    ("ienks-why", "more members", "ten"),
    ("ienks-why", "more inflation", "1.02"),
    ("second-town", 19.2, "correlation of 1"),
    ("second-town", 18.56, "0.8 of the text"),
    ("second-town", 18.0, "forget R"),
    ("second-town", 1.6, "add the background"),
    ("cg-steps", 1_000_000, "rank of the data"),
    ("cg-steps", 3, "1 itself"),
    ("gradient-in-v", lambda v, L, H, d, r: v + (H @ L).T @ (d - H @ L @ v) / r**2, "minus"),
    ("gradient-in-v", lambda v, L, H, d, r: v - (H @ L).T @ (d - H @ L @ v) / r, "its square"),
    ("gradient-in-v", lambda v, L, H, d, r: v - H.T @ (d - H @ L @ v) / r**2, "is missing: go"),
    ("gradient-in-v", lambda v, L, H, d, r: v - L @ H.T @ (d - H @ L @ v) / r**2, "transposed"),
    ("gradient-in-v", lambda v, L, H, d, r: -(H @ L).T @ (d - H @ L @ v) / r**2, "term is mis"),
    ("gradient-in-v", lambda v, L, H, d, r: v - (H @ L).T @ d / r**2, "`v = 0` in the misfit"),
    ("increment-correlation", 2, "the covariance"),
    ("increment-correlation", 0.4, "not the innovation"),
    ("adjoint-chain", lambda *a: chain(*a) ** 2, "a square"),
    ("adjoint-chain", lambda *a: chain(*a, slope=lambda p, dt: np.ones(1)), "at the end"),
    ("adjoint-chain", lambda *a: chain(*a, slope=_slope_at_start), "its own slope"),
    ("adjoint-chain", lambda *a: chain(*a, slope=_slope_after), "the order"),
    ("adjoint-chain", lambda *a: chain(*a, sign=-1), "the sign"),
    ("window-start", 4.0, "at the end"),
    ("window-start", 2.5, "have an error"),
    ("window-start", 1.0, "not 2"),
    ("window-start", 5.0, "weigh it"),
    ("gradient-cost", "n + 1", "finite differences"),
    ("gradient-cost", "n^2", "not even"),
    ("gradient-cost", "2 n", "central"),
    ("weak-cost", 4, "this is 2J"),
    ("weak-cost", 50, "at the truth"),
    ("weak-cost", 48.5, "without the background"),
    ("weak-cost", 0.5, "three squares more"),
    ("weak-cost", 0.05, "the noise"),
    ("weak-cost", 0, "not all can vanish"),
    ("weak-block", lambda M, H, Q, R: chained(M, H, Q, R) - np.linalg.inv(Q), "one before"),
    ("weak-block", lambda M, H, Q, R: chained(0 * M, H, Q, R), "next state pulls"),
    ("weak-block", lambda M, H, Q, R: chained(M, 0 * H, Q, R), "datum is missing"),
    ("weak-block", lambda M, H, Q, R: chained(M.T, H, Q, R), "transpose comes first"),
    ("weak-block", lambda M, H, Q, R: -np.linalg.inv(Q) @ M, "below the diagonal"),
    ("weak-block", lambda *a: np.linalg.inv(chained(*a)), "precision itself"),
    ("weak-tail", "the tolerance", "wrong place"),
    ("weak-tail", "the observation error", "remain"),
    ("weak-tail", "the order of the sweep", "any order"),
    ("particles-needed", "linear", "forecast"),
    ("particles-needed", "quadratic", "covariance"),
    ("particles-needed", "constant", "degenerate"),
    ("particles-needed", "logarithmic", "other way round"),
    ("own-operator", lambda u: (u**2).sum(1).reshape(len(u), 64), "square root"),
    ("own-operator", lambda u: np.hypot(u[:, 0], u[:, 1]), "flatten the grid: return"),
    ("own-operator", lambda u: np.hypot(u[:, 0], u[:, 1]).ravel(), "keep the first axis"),
    ("own-operator", lambda u: u.sum(1).reshape(-1, 64), "`u + v`"),
    ("own-operator", lambda u: u.reshape(-1, 128), "both components"),
    ("own-operator", lambda u: wind(u.swapaxes(2, 3)), "column by column"),
]


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_each_mistake_has_its_hint(name, answer, hint):
    reply = check(name, answer)
    assert not reply.passed
    assert reply.answered
    assert hint in reply.message
    assert repr(reply).startswith("not yet - ")


def test_no_hint_is_out_of_reach():
    """Each hint in the table belongs to a mistake above: none is hidden behind an earlier one."""
    hints = set()
    for judge in exercises.values():
        if isinstance(judge, Choice):
            hints |= {text for statement, text in judge.why.items() if statement != judge.right}
        else:
            hints |= set(judge.hints.values()) | set(getattr(judge, "traits", {}).values())
    assert hints - {check(name, answer).message for name, answer, _ in WRONG} == set()


@pytest.mark.parametrize("name", exercises)
@pytest.mark.parametrize("answer", [None, ..., NotImplemented])
def test_unsolved_is_friendly(name, answer):
    reply = check(name, answer)
    assert not reply.passed
    assert not reply.answered
    assert repr(reply).startswith("not answered yet - ")
    assert repr(check(name)) == repr(check(name, None))


@pytest.mark.parametrize("skeleton", [lambda B, R: None, lambda B, R: ..., blank])
def test_a_skeleton_is_unsolved(skeleton):
    reply = check("gain-function", skeleton)
    assert not reply.answered
    assert "`return`" in reply.message


class Hostile:
    @property
    def __array__(self):
        raise OSError("no")


STRANGE = [
    "text", b"bytes", "", {}, [], [[1], [2, 3]], object(), Hostile(), np.array([]), np.array("a"),
    1 + 2j, True, np.nan, [None, 1], print, np.linalg.inv, torch.nn.Linear(2, 2), type, float,
    lambda: 0, lambda *a: "text", lambda *a: object(), lambda *a: a, np.zeros((2, 3, 4)),
]  # fmt: skip


@pytest.mark.parametrize("name", exercises)
def test_a_strange_answer_gets_a_hint_and_never_raises(name):
    for answer in STRANGE:
        reply = check(name, answer)
        assert not reply.passed, answer
        assert reply.message, answer
        assert "\n" not in repr(reply), answer


def test_numbers_of_every_kind():
    tensor = torch.tensor(22.4, requires_grad=True)
    for value in (22.4, np.float32(22.4), np.array([22.4]), xr.DataArray(22.4), tensor, [[22.4]]):
        assert check("bayes-mean", value).passed
    assert check("rk4-order", torch.tensor(16)).passed
    fixed = (torch.tensor([C, C, 27.0]), xr.DataArray([C, C, 27.0], dims="x"), (C, C, 27))
    assert all(check("lorenz63-fixed-point", f).passed for f in fixed)
    tensors = [torch.tensor(C), torch.tensor(C), torch.tensor(27.0)]
    assert check("lorenz63-fixed-point", tensors).passed


def test_texts_and_functions_where_numbers_belong():
    assert "without quotes" in check("bayes-mean", "22.4").message
    assert "this is a function" in check("bayes-mean", gain).message
    assert "`complex` cannot be read" in check("bayes-mean", 1j).message


def test_functions_written_for_torch():
    assert check("own-operator", lambda u: u.square().sum(1).sqrt().flatten(1)).passed
    assert check("ensemble-covariance", lambda E: torch.cov(E.mT)).passed
    single = check("own-operator", lambda u: u.float().square().sum(1).sqrt().flatten(1))
    assert single.passed  # float32 is well inside the tolerance of 1e-4
    assert check("own-operator", torch.nn.Flatten()).message.startswith("these are both")
    assert "changes its arguments" in check("own-operator", lambda u: u.zero_().flatten(1)).message


def test_choices_forgive_spelling():
    for text in (
        "The spread too small"[4:],
        "Spread too small.",
        "spread_too-small",
        " 'spread too small' ",
    ):
        assert check("enkf-perturbations", text).passed
    for text in ("1 / sqrt(n)", "N**-0.5", "N^(-1/2)", "1/sqrt(N)"):
        assert check("sampling-error-order", text).passed


def test_unknown_name_lists_close_ones():
    with pytest.raises(ValueError, match=r"no exercise is called 'bayes-men'.*bayes-mean"):
        check("bayes-men", 1)
    with pytest.raises(ValueError, match="gain-function"):
        check("#", 1)


def test_an_error_in_a_function_is_quoted_on_one_line():
    def broken(B, R):
        raise RuntimeError("first `line`\nsecond" + 500 * "!")

    message = check("gain-function", broken).message
    assert "RuntimeError: first 'line' second" in message
    assert "\n" not in message
    assert len(message) < 300


def test_makers():
    third = Number(1 / 3, "yes", hints={0.3: "one digit is not enough"}, unit="m")
    assert third(0.33333) == Feedback(True, "0.3333 m: yes")
    assert third(0.3) == Feedback(False, "one digit is not enough")
    assert third(1.0) == Feedback(False, "1 m is too large.")
    assert third(np.inf).message.startswith("your answer is not finite")
    double = Function(lambda x: 2 * x, [(np.ones(2),)], "yes")
    assert double(lambda x: x + x).passed
    assert (
        "off most at index (1,), 3 where 2 is right"
        in double(lambda x: x + np.array([1, 2])).message
    )
    assert Choice("a", {"a": "yes", "b": "no"})("B") == Feedback(False, "no")


def test_the_exercises_load_no_library_of_tensors():
    heavy = "{'torch', 'matplotlib', 'xarray'} & set(sys.modules)"
    code = f"import sys, dalearn; dalearn.check; assert not {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True)
