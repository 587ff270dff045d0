"""Square roots of the analysis covariance in the space of the members, and random ones.

With S the whitened images of the anomalies (rows), A = S S^T + (N - 1) I and d the whitened
innovation, every transform filter needs w = d S^T A^-1 and a T with T^T T = (N - 1) A^-1 that
keeps the mean of the anomalies at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from ...array import (
    SHARED,
    Array,
    Streams,
    array_namespace,
    convert,
    eye,
    inverse_square_root,
    largest,
    no_grad,
    normal,
    sane,
    wants_gradients,
    warn,
    where_ok,
)
from ...problem.belief import Ensemble
from ...problem.problem import Problem

Root = Callable[[Array, Array], tuple[Array, Array]]  # of S and d: w (..., 1, N), T (..., N, N)


def steep(N: int, like: Array) -> float:
    """The eigenvalue of A from which round-off of A hides what ordinary data say.

    Errors then are about 1e4 times smaller than the spread (50 times in float32).
    """
    return (N - 1) * float(array_namespace(like).finfo(like.dtype).eps) ** -0.5


def decomposed(
    S: Array, d: Array, w: Array | None = None, gram: tuple[Array, Array] | None = None
) -> tuple[Array, Array, Array, Any]:
    """Of A = S S^T + (N - 1) I = V s V^T: s `(..., 1, N)`, V, (d S^T - (N - 1) w) V; and `ok`.

    `gram`: the products S S^T and d S^T, where they are known. A very good datum beside an
    ordinary one would hide it in A: such experiments, and no other, go by `factored`.
    """
    xp = array_namespace(S, d)
    N = S.shape[-2]
    G, b = gram or (S @ S.mT, d @ S.mT)
    A, ok = sane(G + (N - 1) * eye(N, G))
    s, V = xp.linalg.eigh(A)
    b = b if w is None else b - (N - 1) * w
    s, c = s[..., None, :], b @ V
    hidden = s[..., 0, -1] > steep(N, s)
    if bool(xp.any(hidden)):
        hidden = xp.broadcast_to(hidden, c.shape[:-2])  # one ensemble, data of many experiments
        s, V, c = replaced(hidden, _decomposed, (S, d, w), (s, V, c))
    return s, V, c, ok


def _decomposed(S: Array, d: Array, w: Array | None) -> tuple[Array, ...]:
    xp = array_namespace(S)
    v, root = factored(S, d, w)
    V, t, _ = xp.linalg.svd(root, full_matrices=False)
    t = t[..., None, :]
    s = xp.maximum(t, float(xp.finfo(t.dtype).eps) ** 2 * t[..., :1]) ** -2  # finite
    return s, V, v @ V * s


def factored(S: Array, d: Array, w: Array | None = None) -> tuple[Array, Array]:
    """The rows v of least |d - v S|^2 + (N - 1) |w + v|^2; and K, with A^-1 = K K^T.

    S S^T is not made: with the rows of the best data first, [S^T; (N - 1)^1/2 I] = Q U keeps what
    each datum says to the precision of its own numbers (Cox and Higham, Stability of Householder
    QR factorization for weighted least squares problems, Numerical Analysis 1997, 1998). It is
    made in the N - 1 dimensions in which anomalies lie: what data leave of it would put a large
    number, of round-off, into the sum of the weights, and hide their differences.
    """
    xp = array_namespace(S, d)
    N, k = S.shape[-2], d.shape[-2]
    B, size = convert(_basis(N), S), N - 1
    rows = xp.concat((B.mT @ S, d), axis=-2).mT  # (..., m, N - 1 + k)
    order = xp.argsort(-xp.sum(S * S, axis=-2), axis=-1, stable=True)
    rows = xp.take_along_axis(rows, xp.broadcast_to(order[..., None], rows.shape), axis=-2)
    start = xp.zeros((*S.shape[:-2], k, size), dtype=S.dtype, device=S.device)
    start = start if w is None else -w @ B
    one = xp.broadcast_to(eye(size, S), (*S.shape[:-2], size, size))
    rows = xp.concat((rows, size**0.5 * xp.concat((one, start.mT), axis=-1)), axis=-2)
    U = xp.linalg.qr(rows).R
    inverse = xp.linalg.solve(U[..., :size, :size], one)
    v = (inverse @ U[..., :size, size:]).mT @ B.mT
    known, eps = B @ inverse, float(xp.finfo(S.dtype).eps)
    pull = (d - v @ S) @ S.mT - size * (v if w is None else v + w)
    clear = eps * xp.max(xp.abs(S), axis=(-2, -1), keepdims=True) < 1e-3  # of round-off
    v = v + xp.where(clear, pull @ known @ known.mT, 0 * v)  # what it left of the first
    if w is None:
        with no_grad(S):
            warn_unexplained(d, v @ S, xp.abs(S), known)
    same = xp.broadcast_to((N * (N - 1)) ** -0.5 + 0 * known[..., :1], (*known.shape[:-1], 1))
    return v, xp.concat((known, same), axis=-1)


def warn_unexplained(d: Array, fit: Array, size: Array, root: Array) -> None:
    """RuntimeWarning where an analysis hangs on the round-off of the members' images.

    What no combination of members explains of the data pulls at the weights; the pulls of all data
    cancel, but for round-off e, which is large where a datum is far from all members by millions
    of its errors. In standard deviations of the analysis it is e K, at most.

    Args:
        d: whitened innovations, `(..., k, m)`.
        fit: what the analysis makes of them.
        size: of the numbers whose round-off counts, whitened, `(..., N, m)`.
        root: K `(..., N, j)`, with A^-1 = K K^T, but for the sum of the weights.
    """
    xp = array_namespace(d)
    eps, rest = float(xp.finfo(d.dtype).eps), xp.abs(d - fit)
    rest = xp.where(rest > 64 * eps * xp.abs(d), rest, 0 * rest)  # else explained to round-off
    far, most = (xp.max(a, axis=(-2, -1), keepdims=True) for a in (rest, size))
    far, most = (xp.where(a > 0, a, 1 + 0 * a) for a in (far, most))
    root = root - xp.mean(root, axis=-2, keepdims=True)  # the sum of weights moves nothing
    each = xp.sum(root**2, axis=-1, keepdims=True)
    moved = eps * far * most * (((rest / far) ** 2 @ ((size / most) ** 2).mT) @ each) ** 0.5
    own = eps * most  # of an image, in errors of the data
    moved = xp.maximum(moved, xp.where(own > 0.1, own, 0 * own))
    at = moved > 0.01  # not so where there is a NaN
    if bool(xp.any(at)):
        warn(
            "round-off moves an ensemble's analysis by up to "
            f"{float(xp.max(xp.where(at, moved, 0 * moved))):.2g} standard deviations: images of "
            f"members reach {float(xp.max(most)):.2g} errors of the data, which are "
            f"{float(xp.max(far)):.2g} errors from all combinations of them; wanted data that "
            "agree with each other and with the forecast, more members, or larger errors",
            RuntimeWarning,
        )


def replaced(which: Array, make: Callable, given: tuple, found: tuple) -> list[Array]:
    """`found`, matrices `(..., a, b)`, made anew from `given` in the experiments of `which`."""
    xp = array_namespace(which, found[0])
    lead = tuple(which.shape)
    own = [None if a is None else xp.broadcast_to(a, (*lead, *a.shape[-2:]))[which] for a in given]
    rank = xp.cumulative_sum(xp.astype(xp.reshape(which, (-1,)), xp.int64))
    place = xp.reshape(xp.clip(rank - 1, 0, None), lead)  # where its own ones stand
    return [
        xp.where(which[..., None, None], new[place], old)
        for new, old in zip(make(*own), found, strict=True)
    ]


def symmetric_root(S: Array, d: Array) -> tuple[Array, Array]:
    """Weights of the mean `w (..., 1, N)` and the symmetric transform `T (..., N, N)`.

    `S (..., N, m)`: whitened observed anomalies, centred; `d (..., 1, m)`: whitened innovation of
    the mean. One eigendecomposition S S^T = V s V^T.
    """
    N = S.shape[-2]
    if wants_gradients(S):
        return plain_root(S @ S.mT, d @ S.mT)
    s, V, c, ok = decomposed(S, d)
    w = (c / s) @ V.mT
    T = (V * ((N - 1) / s) ** 0.5) @ V.mT
    return where_ok(ok, w), where_ok(ok, T)


def plain_root(G: Array, b: Array) -> tuple[Array, Array]:
    """The symmetric root from G = S S^T `(..., N, N)` and b = d S^T: derivatives pass through it.

    w = b A^-1 and T = (N - 1)^1/2 A^-1/2 with A = G + (N - 1) I, without the care for data that
    are far better than the forecast.
    """
    N = G.shape[-1]
    A, ok = sane(G + (N - 1) * eye(N, G))
    half = inverse_square_root(A)
    return where_ok(ok, b @ half @ half), where_ok(ok, (N - 1) ** 0.5 * half)


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
    rare = largest(A) > limit / N  # errors far smaller than the spread?
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


def _basis(N: int) -> np.ndarray:
    """An orthonormal basis of the space orthogonal to the ones, as columns `(N, N - 1)`."""
    return SHARED.get(("basis", N), lambda: _new_basis(N))


def _new_basis(N: int) -> np.ndarray:
    return np.linalg.qr(np.column_stack([np.ones(N), np.eye(N)[:, : N - 1]]))[0][:, 1:]


def check_rotation(rotate: Any) -> None:
    """Raise ValueError unless `rotate` is None, "householder" or "haar"."""
    if rotate not in (None, "householder", "haar"):
        raise ValueError(f"rotate must be None, 'householder' or 'haar', met {rotate!r}")
