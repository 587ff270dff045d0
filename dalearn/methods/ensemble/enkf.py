"""The stochastic ensemble Kalman filter: every member meets its own perturbed observation.

x_i <- x_i + K (y + e_i - H(x_i)),  e_i ~ N(0, R),  K = X^T S (S^T S + (N - 1) I)^-1 R^-1/2
with the ensemble's own covariances. Without the perturbations the analysis spread would be too
small by (I - K H) applied once too often.

Evensen, J. Geophys. Res. 99, 1994; Burgers, van Leeuwen and Evensen, Mon. Wea. Rev. 126, 1998.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

from ...array import Array, Swept, array_namespace, normal, row_mean, typed, where_ok
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import prior_of, told
from .combinations import moved
from .cycle import check_settings, correction, tapered_cycles, weights
from .inflation import Inflation
from .localization import Localization
from .tapering import Tapers


@typed
def enkf(
    E: Array | Ensemble,
    Y: Array,
    y: Array,
    R: Covariance,
    D: Array,
    tapers: Tapers | None = None,
) -> Array:
    """One analysis: each member with a perturbed observation of its own.

    x_i <- x_i + K (y + e_i - H(x_i)). With errors of mean 0 over the members the analysis mean is
    the Kalman mean under the ensemble's covariance.

    Args:
        E: forecast ensemble `(..., N, n)`, an array or an Ensemble.
        Y: its image H(E), `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.
        D: observation errors e_i drawn from R, one for each member, `(..., N, m)`.
        tapers: by which the ensemble's covariances are multiplied, entry by entry, or None.

    Returns:
        The members of the analysis `(..., N, n)`.

    Raises:
        ValueError: when N or m disagree.
    """
    prior = prior_of(E, Y, y, R)
    array_namespace(Y, D)  # one library, or a clear error
    if D.shape[-2:] != Y.shape[-2:]:
        N, m = Y.shape[-2:]
        raise ValueError(f"met D {tuple(D.shape)}, wanted (..., {N}, {m}): one error per member")
    S = R.whiten(prior.anomalies if Y is prior.members else Y - row_mean(Y))
    d = R.whiten(y[..., None, :] + D - Y)
    if tapers is None:
        W, ok = weights(d, S)
        return where_ok(ok, moved(prior, W))

    def analysis(S: Array) -> Ensemble:
        step, ok = correction(d, S, prior.anomalies, tapers)
        return Ensemble.unchecked(where_ok(ok, prior.members + step))

    return told("EnKF", analysis, S, "LETKF").members


@typed
@dataclass(frozen=True, eq=False)
class EnKF:
    """The ensemble Kalman filter with perturbed observations.

    The perturbations are centred over the members, so that they add no error of their own to the
    mean.

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
            R = observe.noise
            D = R.color(normal(rng, (self.members, R.controls), y))
            E = enkf(forecast, Y, y, R, D - row_mean(D), tapers)
            return Ensemble.unchecked(E)

        return tapered_cycles(problem, rng, self, update, solved=True)
