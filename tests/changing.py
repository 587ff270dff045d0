"""A linear problem in which all may change with time, and its answer by formulas."""

import dataclasses

import numpy as np

import dalearn as da
from dalearn.array import array_namespace


def kalman(problem, A, b, Q, H, R):
    """Filter and RTS smoother by their formulas, a matrix for every step and every time."""
    x, P = problem.prior.mean, problem.prior.cov.matrix()
    n, s = len(x), 0
    means, covariances, before, F = [], [], [], []
    for k in range(len(problem)):
        M = np.eye(n)
        for _ in range(problem.steps_to(k)):
            x, P, M = A[s] @ x + b[s], A[s] @ P @ A[s].T + Q[k], A[s] @ M
            s += 1
        before.append((x, P))
        F.append(M)
        y, seen = problem.data[k], ~np.isnan(problem.data[k])
        h, r = H[k][seen], R[k][np.ix_(seen, seen)]
        K = P @ h.T @ np.linalg.inv(h @ P @ h.T + r)
        x, P = x + K @ (y[seen] - h @ x), (np.eye(n) - K @ h) @ P
        means.append(x)
        covariances.append(P)
    smooth = [(means[-1], covariances[-1])]
    for k in range(len(problem) - 2, -1, -1):
        x_f, P_f = before[k + 1]
        G = covariances[k] @ F[k + 1].T @ np.linalg.inv(P_f)
        x, P = smooth[-1]
        smooth.append((means[k] + G @ (x - x_f), covariances[k] + G @ (P - P_f) @ G.T))
    return before, list(zip(means, covariances, strict=True)), smooth[::-1]


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """x <- A_s x + b_s, the numbers of the step told as one row."""

    n: int

    def __call__(self, x, u):
        xp, n = array_namespace(x), self.n
        A = xp.reshape(u[..., : n * n], (*u.shape[:-1], n, n))
        return (A @ x[..., None])[..., 0] + u[..., n * n :]


def changing(seed=0, n=3, counts=(2, 1, 3, 0, 2)):
    """F_t, b_t, Q_t, H_t and R_t all differ; one time has no step before it, and two gaps."""
    rng = np.random.default_rng(seed)
    S, K = sum(counts), len(counts)

    def spd(k, size):
        G = rng.normal(size=(k, k))
        return size * (G @ G.T / k + np.eye(k))

    A = 0.5 * rng.normal(size=(S, n, n)) + np.eye(n)
    b = rng.normal(size=(S, n))
    Q = [spd(n, 0.3 * (k + 1)) for k in range(K)]
    H, R = rng.normal(size=(K, 2, n)), [spd(2, 1.0 / (k + 1)) for k in range(K)]
    data = rng.normal(size=(K, 2))
    data[1, 0] = data[4, 1] = np.nan
    seen = [da.Observation(h, da.Dense(r)) for h, r in zip(H, R, strict=True)]
    prior = da.Gaussian(rng.normal(size=n), da.Dense(spd(n, 1.0)))
    u = np.concatenate([A.reshape(S, n * n), b], axis=-1)
    noise = [da.Dense(q) for q in Q]
    problem = da.Problem(Given(n), da.Moving(seen), prior, data, counts, noise, inputs=u)
    return problem, (A, b, Q, H, R)
