"""Square roots of the analysis covariance in the space of the members, and random ones.

With S the whitened images of the anomalies (rows), A = S S^T + (N - 1) I and d the whitened
innovation, every transform filter needs w = d S^T A^-1 and a T with T^T T = (N - 1) A^-1 that
keeps the mean of the anomalies at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import repeat
from typing import Any

import numpy as np

from ...array import Array, Streams, array_namespace, convert, eye, normal, sane, where_ok
from ...problem.belief import Ensemble
from ...problem.problem import Problem

Root = Callable[[Array, Array], tuple[Array, Array]]  # of S and d: w (..., 1, N), T (..., N, N)


def decomposed(A: Array, b: Array) -> tuple[Array, Array, Array]:
    """Of `A = S S^T + (N - 1) I = V s V^T` and `b = d S^T (..., 1, N)`: s `(..., 1, N)`, V, b V.

    Where errors are far smaller than the spread, an eigenvalue that round-off of the largest one
    has made meaningless becomes N - 1: nothing is seen in that direction.
    """
    xp = array_namespace(A, b)
    s, V = xp.linalg.eigh(A)
    N, s, c = A.shape[-1], s[..., None, :], b @ V
    largest, eps = s[..., -1:], float(xp.finfo(s.dtype).eps)
    if float(xp.max(largest)) > (N - 1) * eps**-0.5:
        unseen = (s - (N - 1) < 2 * eps * largest) & (largest > (N - 1) * eps**-0.5)
        s, c = xp.where(unseen, N - 1, s), xp.where(unseen, 0.0, c)
    return s, V, c


def symmetric_root(S: Array, d: Array) -> tuple[Array, Array]:
    """Weights of the mean `w (..., 1, N)` and the symmetric transform `T (..., N, N)`.

    `S (..., N, m)`: whitened observed anomalies, centred; `d (..., 1, m)`: whitened innovation of
    the mean. One eigendecomposition S S^T = V s V^T.
    """
    N = S.shape[-2]
    A, ok = sane(S @ S.mT + (N - 1) * eye(N, S))
    s, V, c = decomposed(A, d @ S.mT)
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


def directions(rng: Any, N: int, like: Array, count: int = 1) -> Iterator[Array]:
    """Random directions `(..., N)` orthogonal to the ones, without end: the cheap rotation.

    N random numbers each, drawn for `count` directions at once. The law of the reflections is not
    the uniform one.
    """
    xp = array_namespace(like)
    while True:
        z = normal(rng, (count, N), like)
        for i in range(count):
            v = z[..., i, :] - xp.mean(z[..., i, :], axis=-1, keepdims=True)
            yield v / xp.sum(v * v, axis=-1, keepdims=True) ** 0.5


def ahead(problem: Any, rng: Any) -> int:
    """How many directions may be drawn at once without a change of any random number.

    Streams give the same numbers in one draw as in many; but only where nothing else draws from
    them during the run, neither the model's noise nor a stochastic model.
    """
    known = isinstance(problem, Problem) and isinstance(rng, Streams)  # what others draw is not
    return 32 if known and problem.noise is None and not problem.stochastic else 1


def orthogonals(rng: Any, N: int, like: Array) -> Iterator[Array]:
    """Matrices `(..., N - 1, N - 1)` from the Haar measure, without end, drawn in blocks.

    QR of a Gaussian matrix, the signs of R's diagonal moved into Q (Mezzadri, Notices AMS 54,
    2007).
    """
    xp = array_namespace(like)
    block = max(1, min(32, 2**15 // N**2))  # a QR costs more to call than to do
    while True:
        Q, U = xp.linalg.qr(normal(rng, (block, N - 1, N - 1), like))
        Q = Q * xp.sign(xp.linalg.diagonal(U))[..., None, :]
        for i in range(block):
            yield Q[..., i, :, :]


def roots(rotate: str | None, rng: Any, N: int, like: Array, count: int = 1) -> Iterator[Root]:
    """Functions of (S, d) that give w and T, without end."""
    if rotate is None:
        return repeat(symmetric_root)
    if rotate == "householder":
        return (partial(reflected_root, v=v) for v in directions(rng, N, like, count))
    return (partial(random_root, Q=Q) for Q in orthogonals(rng, N, like))


def rotations(
    rotate: str | None, rng: Any, N: int, like: Array, count: int = 1
) -> Iterator[Callable]:
    """Maps of an Ensemble to one with the same mean and covariance, without end."""
    if rotate is None:
        return repeat(lambda E: E)
    if rotate == "householder":
        return (partial(_reflected, v=v[..., None]) for v in directions(rng, N, like, count))
    B = convert(_basis(N), like)
    return (partial(_rotated, B=B, Q=Q) for Q in orthogonals(rng, N, like))


def _reflected(E: Ensemble, v: Array) -> Ensemble:
    return Ensemble.of(E._mean, E.anomalies - 2 * v @ (v.mT @ E.anomalies))


def _rotated(E: Ensemble, B: Array, Q: Array) -> Ensemble:
    return Ensemble.of(E._mean, B @ (Q @ (B.mT @ E.anomalies)))


@lru_cache
def _basis(N: int) -> np.ndarray:
    """An orthonormal basis of the space orthogonal to the ones, as columns `(N, N - 1)`."""
    return np.linalg.qr(np.column_stack([np.ones(N), np.eye(N)[:, : N - 1]]))[0][:, 1:]


def check_rotation(rotate: Any) -> None:
    """Raise ValueError unless `rotate` is None, "householder" or "haar"."""
    if rotate not in (None, "householder", "haar"):
        raise ValueError(f"rotate must be None, 'householder' or 'haar', met {rotate!r}")
