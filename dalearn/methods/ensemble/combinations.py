"""Analyses as combinations of the members, in the fewest passes through a large ensemble.

The rows of X, the anomalies, sum to 0. So a row of weights M may have its own mean taken off, and
then the members E stand for X: mean + M X = (M - mean of each row + 1/N) E. For a large state one
product with the members is all that is read and written; a mean and anomalies made first, and
added afterwards, take as long as the product itself.
"""

from __future__ import annotations

from ...array import Array, array_namespace, eye
from ...problem.belief import Ensemble

LARGE = 2**20  # numbers of an ensemble from which a pass through memory costs as much as a product


def moved(prior: Ensemble, W: Array) -> Array:
    """Members each moved by a combination of the anomalies: E + W X, `(..., N, n)`."""
    if _large(prior.members):
        return _mixed(prior, W + eye(W.shape[-1], W))
    return prior.members + W @ prior.anomalies


def transformed(prior: Ensemble, w: Array, T: Array) -> Ensemble:
    """The ensemble of mean x + w X and anomalies T X; `w (..., 1, N)`, `T (..., N, N)`."""
    if _large(prior.members):
        return Ensemble.unchecked(_mixed(prior, w + T))
    X = prior.anomalies
    return Ensemble.of(prior._mean + w @ X, T @ X)


def _large(E: Array) -> bool:
    """Whether one product is worth a few more units of round-off: not in single precision."""
    return E.shape[-2] * E.shape[-1] >= LARGE and E.dtype == array_namespace(E).float64


def _mixed(prior: Ensemble, M: Array) -> Array:
    """mean + M X by one product.

    Its round-off is that of numbers of the size of the members, times the sum of a row's weights.
    That sum is about N^1/2; where innovations of a hundred standard deviations make it larger,
    the mean is taken off first.
    """
    E, N = prior.members, M.shape[-1]
    xp = array_namespace(E, M)
    M = M - xp.mean(M, axis=-1, keepdims=True) + 1 / N
    found = M @ E
    wild = xp.max(xp.sum(xp.abs(M), axis=-1), axis=-1) > 2 * N**0.5
    if bool(xp.any(wild)):  # up to there the mean is right to four units of round-off
        found = xp.where(wild[..., None, None], prior._mean + M @ prior.anomalies, found)
    one, two = E[..., 0, :], E[..., 1, :]
    if bool(xp.any((one == two) & (one != 0))):  # what is 0 stays 0
        alike = xp.all(E[..., :1, :] == E, axis=-2, keepdims=True)
        alike = alike & (found == found)  # what diverged is NaN
        found = xp.where(alike, E, found)  # no spread where there was none: it would be inflated
    return found
