"""The ensemble transform Kalman filter: the Kalman update in the space of the members.

With X the anomalies (rows), S = R^-1/2 of their images and d the whitened innovation,
    C = (S S^T + (N - 1) I)^-1,   w = d S^T C,   T^T T = (N - 1) C,
the analysis has mean x + w X and anomalies T X: exactly the Kalman filter under the ensemble's own
covariance X^T X / (N - 1), without a perturbed observation. Many T do; each must keep the mean of
the anomalies at 0. The symmetric one moves the members least; U T with U random, orthogonal and
U 1 = 1 keeps them from growing outliers.

Bishop, Etherton and Majumdar, Adaptive sampling with the ETKF, Mon. Wea. Rev. 129, 2001; the
symmetric square root: Hunt, Kostelich and Szunyogh, Physica D 230, 2007; mean-preserving
rotations: Sakov and Oke, Mon. Wea. Rev. 136, 2008.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat
from typing import Any, Literal

import numpy as np

from ..array import (
    Array,
    array_namespace,
    convert,
    eye,
    lift,
    no_grad,
    normal,
    row_mean,
    sane,
    where_ok,
)
from ..belief import Ensemble
from ..gaussian import Covariance
from ..problem import Problem
from .base import Cycle, check_ensemble, check_update


def symmetric_root(S: Array, d: Array) -> tuple[Array, Array]:
    """Weights of the mean `w (..., 1, N)` and the symmetric transform `T (..., N, N)`.

    `S (..., N, m)`: whitened observed anomalies, centred; `d (..., 1, m)`: whitened innovation of
    the mean. One eigendecomposition S S^T = V s V^T.
    """
    xp = array_namespace(S, d)
    N = S.shape[-2]
    A, ok = sane(S @ S.mT + (N - 1) * eye(N, S))
    s, V = xp.linalg.eigh(A)
    s, c = s[..., None, :], (d @ S.mT) @ V
    largest, eps = s[..., -1:], float(xp.finfo(s.dtype).eps)
    if float(xp.max(largest)) > (N - 1) * eps**-0.5:  # errors far smaller than the spread
        # below the round-off of the largest eigenvalue nothing is left of a small one
        blind = (s - (N - 1) < 2 * eps * largest) & (largest > (N - 1) * eps**-0.5)
        s, c = xp.where(blind, N - 1, s), xp.where(blind, 0.0, c)
    w = (c / s) @ V.mT
    T = (V * ((N - 1) / s) ** 0.5) @ V.mT
    return where_ok(ok, w), where_ok(ok, T)


def reflected_root(S: Array, d: Array, v: Array) -> tuple[Array, Array]:
    """The symmetric root, then the reflection I - 2 v v^T: `v (..., N)`, of length 1, sum 0."""
    w, T = symmetric_root(S, d)
    return w, T - 2 * v[..., None] * (v[..., None, :] @ T)


def random_root(S: Array, d: Array, Q: Array) -> tuple[Array, Array]:
    """A uniformly random root: `Q (..., N - 1, N - 1)` from the Haar measure.

    Roots of one matrix differ by a rotation, and a uniform rotation makes them all alike in law:
    so the cheapest, Cholesky's, serves. It acts on the N - 1 dimensions orthogonal to the ones:
    T = sqrt(N - 1) B Q L^-1 B^T with an orthonormal basis B and L L^T = B^T C^-1 B.
    """
    xp = array_namespace(S, d, Q)
    N = S.shape[-2]
    B = convert(_basis(N), S)
    Z = B.mT @ S
    A, ok = sane(Z @ Z.mT + (N - 1) * eye(N - 1, S))
    limit = (N - 1) * float(xp.finfo(A.dtype).eps) ** -0.5
    rare = float(xp.max(A)) > limit / N  # errors far smaller than the spread?
    if rare:  # round-off could make A indefinite
        steep = (xp.linalg.trace(A) > limit)[..., None, None]
        A = xp.where(steep, eye(N - 1, A), A)
    P = xp.linalg.solve(xp.linalg.cholesky(A), B.mT)
    w, T = ((d @ S.mT) @ P.mT) @ P, (N - 1) ** 0.5 * ((B @ Q) @ P)
    if rare:
        v, U = symmetric_root(S, d)
        w, T = xp.where(steep, v, w), xp.where(steep, (B @ Q @ B.mT + 1 / N) @ U, T)
    return where_ok(ok, w), where_ok(ok, T)


def etkf(
    E: Array | Ensemble,
    Y: Array,
    y: Array,
    R: Covariance,
    inflation: Any = 1.0,
    root: Callable = symmetric_root,
) -> Ensemble:
    """One analysis: ensemble `E (..., N, n)`, its image `Y = H(E) (..., N, m)`, data `y (..., m)`.

    `R` is the observations' covariance; `inflation` multiplies the analysis anomalies; `root`
    makes w and T from S and d. Returns an Ensemble that already holds its mean and anomalies.
    Raises ValueError when N or m disagree.
    """
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    array_namespace(prior.members, Y, y)  # one library, or a clear error
    check_update(prior.members, Y, y, R)
    x, X = prior._mean, prior.anomalies
    if Y is prior.members:  # H is the identity: the same mean, the same anomalies
        h, Z = x, X
    else:
        h = row_mean(Y)
        Z = Y - h
    w, T = root(R.whiten(Z), R.whiten(y[..., None, :] - h))
    if not (isinstance(inflation, float) and inflation == 1.0):
        T = inflation * T
    return Ensemble.of(x + w @ X, T @ X)


@lru_cache
def _basis(N: int) -> np.ndarray:
    """An orthonormal basis of the space orthogonal to the ones, as columns `(N, N - 1)`."""
    return np.linalg.qr(np.column_stack([np.ones(N), np.eye(N)[:, : N - 1]]))[0][:, 1:]


def reflections(rng: Any, N: int, like: Array) -> Iterator[Callable]:
    """Reflected roots without end, each with a random direction orthogonal to the ones.

    N random numbers each: the cheap rotation. Its law is not the uniform one.
    """
    xp = array_namespace(like)
    while True:
        z = normal(rng, (N,), like)
        v = z - xp.mean(z, axis=-1, keepdims=True)
        yield partial(reflected_root, v=v / xp.sum(v * v, axis=-1, keepdims=True) ** 0.5)


def rotations(rng: Any, N: int, like: Array) -> Iterator[Callable]:
    """Random roots without end, each with a rotation from the Haar measure, drawn in blocks.

    QR of a Gaussian matrix, the signs of R's diagonal moved into Q (Mezzadri, Notices AMS 54,
    2007).
    """
    xp = array_namespace(like)
    block = max(1, min(32, 2**15 // N**2))  # a QR costs more to call than to do
    while True:
        Q, U = xp.linalg.qr(normal(rng, (block, N - 1, N - 1), like))
        Q = Q * xp.sign(xp.linalg.diagonal(U))[..., None, :]
        for i in range(block):
            yield partial(random_root, Q=Q[..., i, :, :])


ROOTS: dict[str | None, Callable] = {
    None: lambda rng, N, like: repeat(symmetric_root),
    "householder": reflections,
    "haar": rotations,
}


@dataclass(frozen=True, eq=False)
class ETKF:
    """The ensemble transform Kalman filter.

    Arguments: `members`, N >= 2; `inflation`, the factor on the analysis anomalies (not their
    variances), a number or an array over the problem's batch axes; `rotate`: None for the
    symmetric square root, "householder" (then one random reflection) or "haar" (a full random
    rotation).
    """

    members: int
    inflation: Any = 1.0
    rotate: Literal["householder", "haar"] | None = None

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)
        if self.rotate not in ROOTS:
            raise ValueError(f"rotate must be None, 'householder' or 'haar', met {self.rotate!r}")

    def run(self, problem: Problem, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        like = problem.like
        with no_grad(like):
            analysis = Ensemble.unchecked(problem.prior.sample(rng, self.members))
            inflation = lift(self.inflation, like, problem.batch, "inflation")
            roots = ROOTS[self.rotate](rng, self.members, like)
        for k in range(len(problem)):
            with no_grad(like):
                forecast = Ensemble.unchecked(problem.forecast(analysis.members, k, rng))
                observe, y = problem.at(k)
                Y = observe(forecast.members)
                analysis = etkf(forecast, Y, y, observe.noise, inflation, next(roots))
            yield Cycle(forecast, analysis)
