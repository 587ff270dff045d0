"""The deterministic EnKF: half the gain for the anomalies, and no perturbed observation.

x <- x + K d,   X <- X - (K H X) / 2 (each anomaly)
The analysis covariance is P - K H P + K H P H^T K^T / 4: above the Kalman filter's (I - K H) P by
a term that is small when the correction is, so a little inflation is built in.

Sakov and Oke, A deterministic formulation of the ensemble Kalman filter, Tellus A 60, 2008.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

from ...array import Array, Swept, eye, typed, where_ok
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import told, whitened
from .combinations import transformed
from .cycle import check_settings, correction, stacked, tapered_cycles, weights
from .inflation import Inflation
from .localization import Localization
from .tapering import Tapers


@typed
def denkf(
    E: Array | Ensemble, Y: Array, y: Array, R: Covariance, tapers: Tapers | None = None
) -> Ensemble:
    """One analysis: the whole gain for the mean, half of it for the anomalies.

    x <- x + K d,  X <- X - K H X / 2.

    Args:
        E: forecast ensemble `(..., N, n)`, an array or an Ensemble.
        Y: its image H(E), `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.
        tapers: by which the ensemble's covariances are multiplied, entry by entry, or None.

    Returns:
        The analysis ensemble.

    Raises:
        ValueError: when N or m disagree.
    """
    prior, S, d = whitened(E, Y, y, R)
    if tapers is None:
        W, ok = weights(stacked(-0.5 * S, d), S)
        T, w = where_ok(ok, W[..., :-1, :] + eye(S.shape[-2], S)), where_ok(ok, W[..., -1:, :])
        return transformed(prior, w, T)
    X = prior.anomalies

    def analysis(S: Array) -> Ensemble:
        step, ok = correction(stacked(-0.5 * S, d), S, X, tapers)
        step = where_ok(ok, step)
        return Ensemble.of(prior._mean + step[..., -1:, :], X + step[..., :-1, :])

    return told("DEnKF", analysis, S, "LETKF")


@typed
@dataclass(frozen=True, eq=False)
class DEnKF:
    """The deterministic ensemble Kalman filter.

    Args:
        members: ensemble size N, an integer >= 2.
        inflation: factor on the analysis anomalies (not their variances), a number or an array
            over the batch, or an object such as RTPS: see Multiplicative.
        localization: a Localization that tapers the covariances, or None.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: for a localization of another kind.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    inflation: Swept | Inflation = 1.0
    localization: Localization | None = None

    def __post_init__(self):
        check_settings(self)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""

        def update(forecast, Y, y, observe, tapers):
            return denkf(forecast, Y, y, observe.noise, tapers)

        return tapered_cycles(problem, rng, self, update, solved=True)
