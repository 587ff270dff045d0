"""The ensemble transform Kalman filter: the Kalman update in the space of the members.

With X the anomalies (rows), S = R^-1/2 of their images and d the whitened innovation,
    C = (S S^T + (N - 1) I)^-1,   w = d S^T C,   T = ((N - 1) C)^1/2,
the analysis has mean x + w X and anomalies T X: exactly the Kalman filter under the ensemble's own
covariance X^T X / (N - 1), without a perturbed observation.

Bishop, Etherton and Majumdar, Adaptive sampling with the ETKF, Mon. Wea. Rev. 129, 2001; the
symmetric square root: Hunt, Kostelich and Szunyogh, Physica D 230, 2007; mean-preserving
rotations: Sakov and Oke, Mon. Wea. Rev. 136, 2008.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ..array import Array, array_namespace, convert, device, lift, no_grad, normal, sane, where_ok
from ..belief import Ensemble
from ..gaussian import Covariance
from ..problem import Problem
from .base import Cycle, check_ensemble, check_update


def transform(S: Array, d: Array) -> tuple[Array, Array]:
    """Weights of the mean `w (..., 1, N)` and symmetric transform `T (..., N, N)`.

    `S (..., N, m)`: whitened observed anomalies; `d (..., 1, m)`: whitened innovation of the mean.
    """
    xp = array_namespace(S, d)
    N = S.shape[-2]
    A, ok = sane(S @ S.mT + (N - 1) * xp.eye(N, dtype=S.dtype, device=device(S)))
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


def etkf(
    E: Array | Ensemble,
    Y: Array,
    y: Array,
    R: Covariance,
    inflation: Any = 1.0,
    rotation: Array | None = None,
) -> Ensemble:
    """One analysis: ensemble `E (..., N, n)`, its image `Y = H(E) (..., N, m)`, data `y (..., m)`.

    `R` is the observations' covariance; `inflation` multiplies the analysis anomalies;
    `rotation (..., N, N)` (orthogonal, rows summing to 1) mixes them. Returns an Ensemble that
    already holds its mean and anomalies. Raises ValueError when N or m disagree.
    """
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    xp = array_namespace(prior.members, Y, y)
    check_update(prior.members, Y, y, R)
    x, X = prior._mean, prior.anomalies
    if Y is prior.members:  # H is the identity: the same mean, the same anomalies
        h, Z = x, X
    else:
        h = xp.mean(Y, axis=-2, keepdims=True)
        Z = Y - h
    w, T = transform(R.whiten(Z), R.whiten(y[..., None, :] - h))
    if not (isinstance(inflation, float) and inflation == 1.0):
        T = inflation * T
    if rotation is not None:
        T = rotation @ T
    return Ensemble.of(x + w @ X, T @ X)


def householder(rng: Any, N: int, like: Array) -> Array:
    """A random reflection I - 2 v v^T / v^T v with v orthogonal to the ones: `(..., N, N)`.

    One random direction, N numbers; the cheap rotation. Its law is not the uniform one.
    """
    xp = array_namespace(like)
    z = normal(rng, (N,), like)
    v = z - xp.mean(z, axis=-1, keepdims=True)
    v = v / xp.sum(v * v, axis=-1, keepdims=True) ** 0.5
    eye = xp.eye(N, dtype=like.dtype, device=device(like))
    return eye - (2 * v[..., :, None]) * v[..., None, :]


@lru_cache
def _basis(N: int) -> np.ndarray:
    """An orthonormal basis of the space orthogonal to the ones, as columns `(N, N - 1)`."""
    return np.linalg.qr(np.column_stack([np.ones(N), np.eye(N)[:, : N - 1]]))[0][:, 1:]


def haar(rng: Any, N: int, like: Array) -> Array:
    """A uniformly random orthogonal matrix that keeps the vector of ones: `(..., N, N)`.

    Haar measure on the N - 1 dimensions orthogonal to it: QR of a Gaussian matrix, the signs of
    R's diagonal moved into Q (Mezzadri, Notices AMS 54, 2007).
    """
    xp = array_namespace(like)
    Q, U = xp.linalg.qr(normal(rng, (N - 1, N - 1), like))
    Q = Q * xp.sign(xp.linalg.diagonal(U))[..., None, :]
    B = convert(_basis(N), like)
    return B @ Q @ B.mT + 1 / N


ROTATIONS = {"householder": householder, "haar": haar}


@dataclass(frozen=True, eq=False)
class ETKF:
    """The ensemble transform Kalman filter with the symmetric square root.

    Arguments: `members`, N >= 2; `inflation`, the factor on the analysis anomalies (not their
    variances), a number or an array over the problem's batch axes; `rotate`, None, "householder"
    (one random reflection) or "haar" (a full random rotation): a random mean-preserving rotation
    of the analysis anomalies, which keeps them from growing outliers.
    """

    members: int
    inflation: Any = 1.0
    rotate: Literal["householder", "haar"] | None = None

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)
        if self.rotate not in (None, *ROTATIONS):
            raise ValueError(f"rotate must be None, 'householder' or 'haar', met {self.rotate!r}")

    def run(self, problem: Problem, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        like = problem.like
        with no_grad(like):
            analysis = Ensemble.unchecked(problem.prior.sample(rng, self.members))
            inflation = lift(self.inflation, like, problem.batch, "inflation")
            turn = ROTATIONS[self.rotate] if self.rotate else None
        for k in range(len(problem)):
            with no_grad(like):
                forecast = Ensemble.unchecked(problem.forecast(analysis.members, k, rng))
                observe, y = problem.at(k)
                rotation = turn(rng, self.members, like) if turn else None
                Y = observe(forecast.members)
                analysis = etkf(forecast, Y, y, observe.noise, inflation, rotation)
            yield Cycle(forecast, analysis)
