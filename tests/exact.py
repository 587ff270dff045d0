"""Linear-Gaussian problems with sensors and units of any size, and their answers in 80 digits.

`problem(seed)` draws one; `posterior(problem)` answers it. For an algorithm of your own in 80
digits: `digits(array)` holds 80-digit numbers and knows `@`; `solve`, `log_det` and `in_digits`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

import dalearn as da

DIGITS = 80


def in_digits(f: Callable) -> Callable:
    """`f`, run with 80 digits; arrays of NumPy's type `object` hold the numbers."""

    def run(*args, **settings):
        with mpmath.workdps(DIGITS):
            return f(*args, **settings)

    return run


def digits(a: Any) -> np.ndarray:
    """An array of doubles as the same numbers in 80 digits."""
    a = np.asarray(a)
    return np.array([mpmath.mpf(float(v)) for v in a.ravel()], object).reshape(a.shape)


def floats(a: Any) -> np.ndarray:
    """An array of 80-digit numbers as doubles."""
    return np.asarray(a).astype(float)


def eliminated(A: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, Any]:
    """A^-1 B and log |det A| by elimination with row pivots."""
    n, W, size = len(A), np.concatenate([A, B], axis=1), mpmath.mpf(0)
    for i in range(n):
        pivot = i + int(np.argmax([abs(v) for v in W[i:, i]]))
        W[[i, pivot]] = W[[pivot, i]]
        size += mpmath.log(abs(W[i, i]))
        W[i] = W[i] / W[i, i]
        others = np.arange(n) != i
        W[others] = W[others] - W[others, i : i + 1] * W[i]
    return W[:, n:], size


def solve(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """A^-1 B."""
    return eliminated(A, B)[0]


def log_det(A: np.ndarray) -> Any:
    """log |det A|."""
    return eliminated(A, A[:, :0])[1]


@dataclass
class Exact:
    """Means `(K, n)`, covariances `(K, n, n)` by stage, and log p(y_k | y_1..k-1) `(K,)`."""

    mean: dict[str, np.ndarray]
    cov: dict[str, np.ndarray]
    log_likelihood: np.ndarray

    def std(self, stage: str) -> np.ndarray:
        return np.diagonal(self.cov[stage], axis1=-2, axis2=-1) ** 0.5


def matrix(cov: Any, n: int) -> np.ndarray:
    """A covariance in 80 digits; that of Rows is V^T V, not its rounded product."""
    if cov is None:
        return digits(np.zeros((n, n)))
    if isinstance(cov, da.Rows):
        return digits(cov.values).T @ digits(cov.values)
    return digits(cov.matrix())


@in_digits
def posterior(p: da.Problem) -> Exact:
    """Filter and smoother (Durbin and Koopman, 2012, sections 4.3 and 4.4: no P_f is inverted).

    For one experiment with a matrix as model (`Linear`) and as operator, gaps and moving sensors
    among the data, Q of any rank.
    """
    A, Q, x, P = (
        digits(p.model.matrix),
        matrix(p.noise, p.n),
        digits(p.prior.mean),
        matrix(p.prior.cov, p.n),
    )
    one, cycles = digits(np.eye(p.n)), []
    for k in range(len(p)):
        M = one
        for _ in range(p.steps_to(k)):
            x, P, M = A @ x, A @ P @ A.T + Q, A @ M
        see, xf, Pf = p.observation.at(k), x, P
        y = p.data[k, : see.m]
        seen = np.flatnonzero(~np.isnan(y))
        H, R = digits(see.operator.matrix[seen]), matrix(see.noise, see.m)[np.ix_(seen, seen)]
        d, S = digits(y[seen]) - H @ x, H @ P @ H.T + R
        if len(seen):
            W, size = eliminated(S, np.concatenate([d[:, None], H], axis=1))
            score = -(len(seen) * mpmath.log(2 * mpmath.pi) + size + d @ W[:, 0]) / 2
            r, N = H.T @ W[:, 0], H.T @ W[:, 1:]
        else:
            score, r, N = mpmath.mpf(0), 0 * x, 0 * P
        x, P, keep = x + P @ r, P - P @ N @ P, one - P @ N
        cycles.append((xf, Pf, x, P, M, r, N, keep, score))
    r, N, smoothed = 0 * x, 0 * P, []
    for xf, Pf, _, _, M, gain, info, keep, _ in reversed(cycles):
        r, N = gain + keep.T @ r, info + keep.T @ N @ keep
        smoothed.append((xf + Pf @ r, Pf - Pf @ N @ Pf))
        r, N = M.T @ r, M.T @ N @ M
    stages = {
        "forecast": [c[:2] for c in cycles],
        "analysis": [c[2:4] for c in cycles],
        "smoothed": smoothed[::-1],
    }
    return Exact(
        {name: floats([m for m, _ in found]) for name, found in stages.items()},
        {name: floats([C for _, C in found]) for name, found in stages.items()},
        floats([c[-1] for c in cycles]),
    )


def spread(rng: Any, n: int) -> np.ndarray:
    """A correlation matrix without order, its condition below some hundreds."""
    G = rng.normal(size=(n, 2 * n + 1))
    C = G @ G.T
    s = np.diag(C) ** -0.5
    return C * np.outer(s, s)


def scaled(C: np.ndarray, std: np.ndarray) -> da.Dense:
    """The covariance with the correlations C and these standard deviations."""
    return da.Dense.unchecked(C * np.outer(std, std))


def problem(seed: int, cycles: int | None = None, worst: float = 1e-9) -> da.Problem:
    """A random problem: sensors down to `worst` of the prior's spread, units 1e-9 to 1e9.

    One to five unknowns; at times more data than unknowns, good sensors beside bad ones, gaps,
    errors of sensors that go together, and Q that is none, diagonal, full or of rank one.
    """
    rng = np.random.default_rng([12, seed])
    n, K = int(rng.integers(1, 6)), cycles or int(rng.integers(1, 5))
    m = int(rng.integers(1, n + 5))
    units = 10 ** rng.uniform(-9, 9, n) if rng.random() < 0.6 else np.ones(n)
    scales = 10 ** rng.uniform(-9, 9, m) if rng.random() < 0.6 else np.ones(m)
    sharp = worst ** rng.uniform(0, 1, m if rng.random() < 0.5 else 1) * np.ones(m)
    turn = np.linalg.qr(rng.normal(size=(n, n)))[0] * rng.uniform(0.7, 1.1)
    A = units[:, None] * turn / units
    H = scales[:, None] * rng.normal(size=(m, n)) / units
    error = scales * sharp
    alone = m == 1 or rng.random() < 0.6
    R = da.Diagonal(error**2) if alone else scaled(spread(rng, m), error)
    q = units * 10 ** rng.uniform(-4, 0)
    noise = [
        None,
        da.Diagonal(q**2),
        scaled(spread(rng, n), q),
        da.Rows(rng.normal(size=(1, n)) * q),
    ][int(rng.integers(4))]
    prior = da.Gaussian(units * rng.normal(size=n), scaled(spread(rng, n), units))
    x, data = prior.sample(rng, 1)[0], np.zeros((K, m))
    for k in range(K):
        x = A @ x
        x = x if noise is None else x + noise.color(rng.normal(size=(1, noise.controls)))[0]
        data[k] = H @ x + R.color(rng.normal(size=(1, m)))[0]
    if rng.random() < 0.3:
        data[rng.random(data.shape) < 0.2] = np.nan
    return da.Problem(da.Linear(A), da.Observation(H, R), prior, data, noise=noise)
