"""Right answers pass, each usual mistake gets its own hint, and no answer raises."""

import math

import numpy as np
from scipy import stats

import dalearn

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

    (("pod-floor", lambda s, r: left_out(s, r) ** 2, "take its root"),)
    (("pod-floor", lambda s, r: (1 - left_out(s, r) ** 2) ** 0.5, "what do they leave"),)
    (("pod-floor", lambda s, r: sum(s[r:]) / sum(s), "squares add up"),)
    (("pod-floor", lambda s, r: s[r] / max(s[:1]), "not the first of them"),)
    (("pod-floor", lambda s, r: np.linalg.norm(s[r:]), "divide by"),)
    (("pod-floor", lambda s, r: left_out(s, r - 1), "the last one that is kept"),)
    (("front-modes", 64, "square"),)
    (("front-modes", 6366, "not 2 /"),)
    (("front-modes", 2026, "two modes"),)
    (("front-modes", 8106, "both modes"),)
    (("front-modes", 40.5, "not 0.1"),)
    (("two-delays", lambda w: (2 * np.cos(w), -1), "turned"),)
    (("two-delays", lambda w: (1, 2 * np.cos(w)), "the sign"),)
    (("two-delays", lambda w: (-1, np.cos(w)), "twice"),)
    (("two-delays", lambda w: (0, np.cos(w)), "loses the velocity"),)
    (("any-order", lambda x, p, b: b(p).T @ x, "take the mean"),)
    (("any-order", lambda x, p, b: [np.mean(x)] * 3, "where they are"),)
    (("any-order", lambda x, p, b: b(p).mean(0) * np.mean(x), "before you average"),)
    (("any-order", lambda x, p, b: np.linalg.pinv(b(p)) @ x, "least-squares fit"),)
