"""The serial ensemble square root filter: one observation after another, each a scalar.

With s the whitened images of the anomalies by one observation, v = s^T s / (N - 1), d its whitened
innovation and k = X^T s / ((N - 1)(v + 1)),
    x <- x + d k,   X <- X - alpha s k^T,   alpha = 1 / (1 + (v + 1)^-1/2),
and the images of the observations still to come are moved as components of the state are. No
matrix is factored. For scalar observations this is Anderson's EAKF as well; a linear H gives the
Kalman filter exactly, in any order.

Whitaker and Hamill, Mon. Wea. Rev. 130, 2002; Anderson, Mon. Wea. Rev. 129, 2001 and 131, 2003.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np

from ...array import Array, Swept, array_namespace, typed
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import told, whitened
from .cycle import check_settings, tapered_cycles
from .inflation import Inflation
from .localization import Localization
from .tapering import Tapers
from .transform import ahead, rotations


@typed
def ensrf(
    E: Array | Ensemble, Y: Array, y: Array, R: Covariance, tapers: Tapers | None = None
) -> Ensemble:
    """One analysis: the observations one after another.

    x <- x + d k,  X <- X - alpha s k^T with k = X^T s / ((N - 1)(v + 1)), v = s^T s / (N - 1) and
    alpha = 1 / (1 + (v + 1)^-1/2), for the whitened images s of each observation.

    Args:
        E: forecast ensemble `(..., N, n)`, an array or an Ensemble.
        Y: its image H(E), `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.
        tapers: by which the gain of each observation is multiplied, or None.

    Returns:
        The analysis ensemble.

    Raises:
        ValueError: when N or m disagree.
    """
    prior, S, d = whitened(E, Y, y, R)
    xp = array_namespace(S)
    taper = None if tapers is None else xp.concat((tapers.state, tapers.observed), axis=-1)

    def analysis(S: Array) -> Ensemble:
        return _one_by_one(prior, S, d, taper)

    return told("EnSRF", analysis, S, "ETKF or LETKF, which take the data at once")


def _one_by_one(prior: Ensemble, S: Array, d: Array, taper: Array | None) -> Ensemble:
    """The analysis of whitened anomalies `S (..., N, m)` and innovations `d (..., 1, m)`."""
    xp = array_namespace(S)
    N, n, m = *prior.members.shape[-2:], S.shape[-1]
    lead = np.broadcast_shapes(prior.members.shape[:-2], S.shape[:-2], d.shape[:-2])
    X, S, d = (xp.broadcast_to(a, (*lead, *a.shape[-2:])) for a in (prior.anomalies, S, d))
    shift = xp.concat((xp.zeros_like(X[..., :1, :]), -d), axis=-1)  # the innovation with a minus
    Z = xp.concat((xp.concat((X, S), axis=-1), shift), axis=-2)  # (..., N + 1, n + m)
    for j in range(m):
        c = Z[..., n + j : n + j + 1]  # (..., N + 1, 1): s, and -d
        s = c[..., :N, :]
        v = s.mT @ s / (N - 1)
        k = s.mT @ Z[..., :N, :] / ((N - 1) * (v + 1))
        if taper is not None:
            k = k * taper[..., j : j + 1, :]
        alpha = 1 / (1 + (v + 1) ** -0.5)
        Z = Z - xp.concat((alpha * s, c[..., N:, :]), axis=-2) * k
    return Ensemble.of(prior._mean + Z[..., N:, :n], Z[..., :N, :n])


@typed
@dataclass(frozen=True, eq=False)
class EnSRF:
    """The serial ensemble square root filter (for scalar observations, the EAKF).

    Args:
        members: ensemble size N, an integer >= 2.
        inflation: factor on the analysis anomalies (not their variances), a number or an array
            over the batch, or an object such as RTPS: see Multiplicative.
        localization: a Localization that tapers the gain, or None.
        rotate: None, "householder" or "haar", a random rotation of the members after each analysis
            that keeps their mean and covariance: see ETKF.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: for a localization of another kind.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    inflation: Swept | Inflation = 1.0
    localization: Localization | None = None
    rotate: Literal["householder", "haar"] | None = None

    def __post_init__(self):
        check_settings(self)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        turns = rotations(self.rotate, rng, self.members, problem.like, ahead(problem, rng))

        def update(forecast, Y, y, observe, tapers):
            return next(turns)(ensrf(forecast, Y, y, observe.noise, tapers))

        return tapered_cycles(problem, rng, self, update, solved=False)
