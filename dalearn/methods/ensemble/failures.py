"""Members whose model run failed: found by their NaN, and replaced.

Of N members S came back finite, with mean m and anomalies X (rows) of covariance C = X^T X /
(S - 1). The ensemble is made whole again without moving either: each of the f = N - S others is a
random combination z X of the anomalies, with normal numbers z of variance 1 / f, and all together
are corrected by the symmetric factor that is closest to doing nothing,
    X_new = ((N - 1) / (S - 1))^1/2 P G^-1/2 X,   G = P^T P,
where P is the identity on the sound ones and z on the others, centred. Mean and covariance of the
N are those of the S, and the new members are about N(m, C), as the variance of z is what gives all
members the same. As G = I + K^T K with only f rows in K, the cost is of the order f N n. (Members
at the mean, or copies of others, would keep mean and covariance too; but a filter without random
parts never gets rid of the small or equal anomalies, and loses the truth or much of its skill.)

New members are combinations M E of the sound ones: whatever else belongs to the members (their
past, for a smoother) is combined in the same way. A member in the span of the others adds no
direction: where N is hardly enough, failures cost what fewer members cost. Nor do combinations
keep bounds: bounded components want a transform, such as their logarithm.

Fewer than two sound ones, or more failures than the problem allows, end the experiment: NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...array import (
    Array,
    array_namespace,
    convert,
    normal,
    row_mean,
    to_numpy,
    warn,
)
from ...problem.like import FAILURES, ProblemLike


def finite(E: Array) -> Array:
    """Which members `(..., N)` of `E (..., N, n)` hold no NaN and no infinity."""
    xp = array_namespace(E)
    return xp.all(xp.isfinite(E), axis=-1)


def enough(problem: ProblemLike, N: int) -> int:
    """How many of N members have to be sound, at least two."""
    share = getattr(problem, "failures", FAILURES)
    return max(2, N - math.floor(share * N + 1e-9))


@dataclass(frozen=True, eq=False)
class Replacement:
    """What makes an ensemble whole where members failed; `(..., N, c) -> (..., N, c)`.

    Args:
        batch: the axes of the experiments.
        groups: those with the same number of failures: where they are `(B)`, the order `(B, N)`
            of their members, the sound ones first, and normal numbers `(B, f, S)`; None in their
            place where too few are sound.
    """

    batch: tuple[int, ...]
    groups: tuple[tuple[Array, Array, Array | None], ...]

    def __call__(self, E: Array) -> Array:
        xp = array_namespace(E)
        out = xp.broadcast_to(E, (*self.batch, *E.shape[-2:]))
        out = xp.reshape(out, (-1, *E.shape[-2:])) + 0.0
        for where, order, z in self.groups:
            if z is None:
                out[where] = math.nan
                continue
            rows = xp.take_along_axis(out[where], order[..., None], axis=-2)
            new = completed(rows[..., : z.shape[-1], :], z)
            back = xp.argsort(order, axis=-1)
            out[where] = xp.take_along_axis(new, back[..., None], axis=-2)
        return xp.reshape(out, (*self.batch, *E.shape[-2:]))


def completed(E: Array, z: Array) -> Array:
    """S members, and after them f more, with the mean and the covariance of the S.

    Args:
        E: members `(..., S, n)`.
        z: normal numbers `(..., f, S)`.

    Returns:
        Members `(..., S + f, n)`.
    """
    xp = array_namespace(E, z)
    f, S = z.shape[-2:]
    N = S + f
    m = row_mean(E)
    X = E - m
    P = (z - xp.mean(z, axis=-1, keepdims=True)) / f**0.5
    total = xp.sum(P, axis=-2, keepdims=True)
    K = P - (1 - (1 - f / N) ** 0.5) / f * total  # K^T K = P^T (I - 1 1^T / N) P
    s, U = xp.linalg.eigh(K @ K.mT)
    r = (1 + xp.clip(s, 0, None)) ** 0.5
    V = U.mT @ K
    X = X - V.mT @ ((V @ X) / (r * (r + 1))[..., None])  # G^-1/2 X
    A = xp.concat((X, P @ X), axis=-2)
    return m + ((N - 1) / (S - 1)) ** 0.5 * (A - row_mean(A))


def replacing(E: Array, rng: Any, least: int) -> tuple[Array, Replacement | None]:
    """How many members failed `(...)`, and what replaces them; None where none did.

    Args:
        E: members `(..., N, n)` as the model gave them.
        rng: Streams over the batch; experiments without a failure draw nothing.
        least: how many have to be sound.
    """
    xp, sound, N = array_namespace(E), finite(E), E.shape[-2]
    failed = xp.sum(xp.astype(~sound, xp.int64), axis=-1)
    if bool(xp.all(sound)):
        return failed, None
    batch = np.broadcast_shapes(tuple(E.shape[:-2]), getattr(rng, "batch", ()))
    good = np.reshape(np.broadcast_to(to_numpy(sound), (*batch, N)), (-1, N))
    counts, groups = N - good.sum(-1), []
    tell_too_many(counts, N, least)
    for f in np.unique(counts[counts > 0]).tolist():
        these = counts == f
        where = np.flatnonzero(these)
        order = np.argsort(~good[where], axis=-1, kind="stable")
        z = None
        if N - f >= least:
            z = normal(rng, (f, N - f), E, these.reshape(batch))
            z = xp.broadcast_to(z, (*batch, f, N - f))
            z = xp.reshape(z, (-1, f, N - f))[convert(where, E)]
        groups.append((convert(where, E), convert(order, E), z))
    return failed, Replacement(batch, tuple(groups))


def tell_too_many(counts: np.ndarray, N: int, least: int) -> None:
    """RuntimeWarning where too many members failed, but not all, as in a diverged experiment."""
    bad = (counts < N) & (N - counts < least)
    if bad.any():
        b = int(bad.argmax())
        warn(
            f"the model returned NaN or infinity for {int(counts[b])} of {N} members, and "
            f"{int(bad.sum())} experiments end here (diverged): at least {least} have to be "
            "sound; see what the model cannot run, or allow more by Problem(failures=)",
            RuntimeWarning,
        )


def carried(
    problem: ProblemLike, E: Array, k: int, rng: Any
) -> tuple[Array, Array, Replacement | None]:
    """Members carried to observation k, the failed ones replaced.

    Args:
        problem: its `failures` is the share of the members that may fail, 0.5 where it has none.
        E: members `(..., N, n)` at observation k - 1.
        k: which observation.
        rng: Streams over the batch.

    Returns:
        Members `(..., N, n)`, how many failed `(...)`, and the Replacement, None where none did.
    """
    E = problem.forecast(E, k, rng)
    failed, replace = replacing(E, rng, enough(problem, E.shape[-2]))
    return E if replace is None else replace(E), failed, replace


def weightless(
    problem: ProblemLike, E: Array, log_w: Array, k: int, rng: Any
) -> tuple[Array, Array, Array]:
    """Particles carried to observation k; those that failed stand at the mean, with weight 0.

    Args:
        problem: as for `carried`.
        E: particles `(..., N, n)` at observation k - 1.
        log_w: logarithms of their weights `(..., N)`.
        k: which observation.
        rng: Streams over the batch.

    Returns:
        Particles, logarithms of their weights, and how many failed `(...)`.
    """
    E = problem.forecast(E, k, rng)
    xp, sound, N = array_namespace(E), finite(E), E.shape[-2]
    count = xp.sum(xp.astype(sound, xp.int64), axis=-1)
    if bool(xp.all(sound)):
        return E, log_w, N - count
    least = enough(problem, N)
    tell_too_many(N - np.reshape(to_numpy(count), (-1,)), N, least)
    some = xp.where(sound[..., None], E, xp.zeros_like(E))
    divisor = xp.astype(xp.clip(count, 1, None), E.dtype)[..., None, None]
    E = xp.where(sound[..., None], E, xp.sum(some, axis=-2, keepdims=True) / divisor)
    E = xp.where((count >= least)[..., None, None], E, xp.full_like(E, math.nan))
    new = xp.where(sound, log_w, xp.full_like(log_w, -math.inf))
    new = new - xp.max(new, axis=-1, keepdims=True)
    new = new - xp.log(xp.sum(xp.exp(new), axis=-1, keepdims=True))
    whole = (count == N)[..., None]
    return E, xp.where(whole, log_w, new), N - count
