"""Weights of particles, and the choice of those that are kept."""

from __future__ import annotations

import math

from ...array import Array, array_namespace, device, typed
from ...covariances.base import Covariance
from ...problem.laws import ErrorLaw
from ..ensemble.checks import check_update


@typed
def systematic(w: Array, u: Array) -> Array:
    """The ancestors of N draws with the chances w, by one uniform number.

    Draw j is the first i with w_1 + ... + w_i > (u + j) / N: member i is drawn floor or ceil of
    N w_i times, N w_i on average.

    Args:
        w: chances `(..., N)` that sum to 1.
        u: numbers in [0, 1), `(...)`.

    Returns:
        The index of each draw's ancestor `(..., N)`, ascending.
    """
    xp = array_namespace(w, u)
    N = w.shape[-1]
    before = xp.ceil(N * xp.cumulative_sum(w, axis=-1) - u[..., None])  # draws that are i or less
    before = xp.where(xp.isfinite(before), xp.clip(before, 0, N), 0.0)
    j = xp.arange(N, dtype=xp.int64, device=device(w))
    before = xp.where(j == N - 1, N, xp.astype(before, xp.int64))  # round-off leaves no draw over
    count = math.prod(w.shape[:-1])
    shift = (N + 1) * xp.arange(count, dtype=xp.int64, device=device(w))[:, None]  # all at once
    ends = xp.reshape(xp.reshape(before, (count, N)) + shift, (-1,))
    found = xp.searchsorted(ends, xp.reshape(j + shift, (-1,)), side="right")
    return xp.reshape(xp.reshape(found, (count, N)) - shift // (N + 1) * N, w.shape)


@typed
def reweight(
    log_w: Array, Y: Array, y: Array, R: Covariance, law: ErrorLaw | None = None
) -> Array:
    """Bayes' rule for weights, w_i <- w_i p(y | x_i) / sum_j w_j p(y | x_j), in logarithms.

    Logarithms still tell members apart whose misfits are a thousand standard deviations.

    Args:
        log_w: logarithms of the weights before, `(..., N)`.
        Y: image H(E) of the members, `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.
        law: of the errors, such as Student(4); None: normal.

    Returns:
        Logarithms of the weights after, `(..., N)`; NaN where even these overflow for every
        member: none explains the data.

    Raises:
        ValueError: when N or m disagree.
    """
    return weighed(log_w, Y, y, R, law)[0]


def weighed(
    log_w: Array, Y: Array, y: Array, R: Covariance, law: ErrorLaw | None = None
) -> tuple[Array, Array]:
    """`reweight`, and the log density of the data, log sum_i w_i p(y | x_i), `(...)`.

    Summed over cycles it is an estimate of the log-likelihood, whose exponential has no bias (Del
    Moral, Feynman-Kac Formulae, 2004).
    """
    xp = array_namespace(log_w, Y, y)
    check_update(Y, Y, y, R)
    if law is None:
        d = R.whiten(y[..., None, :] - Y)
        m = R.n if R.seen is None else xp.sum(xp.astype(R.seen, d.dtype), axis=-1)
        new = log_w - 0.5 * xp.linalg.vecdot(d, d)
        constant = -(m * math.log(2 * math.pi) + R.log_det()) / 2
    else:
        new, constant = log_w + law.log_likelihood(y[..., None, :], Y, R), 0.0
    most = xp.max(new, axis=-1, keepdims=True)
    new = new - most
    total = xp.log(xp.sum(xp.exp(new), axis=-1, keepdims=True))
    return new - total, (most + total)[..., 0] + constant


@typed
def effective_size(w: Array) -> Array:
    """How many equally weighted members the weights are worth: 1 / sum_i w_i^2.

    Args:
        w: weights `(..., N)` that sum to 1.

    Returns:
        The effective size `(...)`: N when they are equal, 1 when one has all.
    """
    return 1 / array_namespace(w).linalg.vecdot(w, w)


def members_at(E: Array, ancestors: Array) -> Array:
    """The members `E (..., N, n)` at `ancestors (..., N)`."""
    xp = array_namespace(E, ancestors)
    N, n = E.shape[-2:]
    first = N * xp.arange(math.prod(E.shape[:-2]), dtype=xp.int64, device=device(E))[:, None]
    rows = xp.reshape(xp.reshape(ancestors, (-1, N)) + first, (-1,))
    return xp.reshape(xp.take(xp.reshape(E, (-1, n)), rows, axis=0), E.shape)


def index_at(ancestors: Array, index: Array) -> Array:
    """The entries of `ancestors (..., N)` at `index (..., N)`."""
    return members_at(ancestors[..., None], index)[..., 0]


def repeated(ancestors: Array) -> Array:
    """Which of the ascending `ancestors (..., N)` were drawn more than once, `(..., N)` bool."""
    xp = array_namespace(ancestors)
    same = ancestors[..., 1:] == ancestors[..., :-1]
    no = xp.zeros_like(same[..., :1])
    return xp.concat((no, same), axis=-1) | xp.concat((same, no), axis=-1)
