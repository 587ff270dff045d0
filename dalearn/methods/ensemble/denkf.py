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

from ...array import Array, array_namespace, row_mean, where_ok
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import check_ensemble, check_update
from .cycle import correction, ensemble_cycles, stacked
from .localization import Localization, Tapers, check_localization, tapers


def denkf(
    E: Array | Ensemble, Y: Array, y: Array, R: Covariance, tapers: Tapers | None = None
) -> Ensemble:
    """One analysis: ensemble `E (..., N, n)`, its image `Y = H(E) (..., N, m)`, data `y (..., m)`.

    `R` is the observations' covariance; `tapers` multiply the ensemble's covariances. Raises
    ValueError when N or m disagree.
    """
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    array_namespace(prior.members, Y, y)  # one library, or a clear error
    check_update(prior.members, Y, y, R)
    h = row_mean(Y)
    S, d = R.whiten(Y - h), R.whiten(y[..., None, :] - h)
    step, ok = correction(stacked(-0.5 * S, d), S, prior.anomalies, tapers)
    step = where_ok(ok, step)
    return Ensemble.of(prior._mean + step[..., -1:, :], prior.anomalies + step[..., :-1, :])


@dataclass(frozen=True, eq=False)
class DEnKF:
    """The deterministic ensemble Kalman filter.

    Arguments: `members`, N >= 2; `inflation`, the factor on the analysis anomalies (not their
    variances), a number, an array over the problem's batch axes, or RTPS, RTPP, Adaptive;
    `localization`, a Localization that tapers the covariances, or None.
    """

    members: int
    _: KW_ONLY
    inflation: Any = 1.0
    localization: Localization | None = None

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)
        if self.localization is not None:
            check_localization(self.localization)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        fade = tapers(problem, self.localization, solved=True)

        def update(forecast, Y, y, observe):
            return denkf(forecast, Y, y, observe.noise, fade(observe))

        return ensemble_cycles(problem, rng, self.members, self.inflation, update)
