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

from ...array import Array, array_namespace, normal, row_mean, where_ok
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import check_ensemble, check_update
from .cycle import correction, ensemble_cycles
from .localization import Localization, Tapers, check_localization, tapers


def enkf(
    E: Array | Ensemble,
    Y: Array,
    y: Array,
    R: Covariance,
    D: Array,
    tapers: Tapers | None = None,
) -> Array:
    """One analysis `(..., N, n)`: ensemble `E (..., N, n)`, image `Y = H(E)`, data `y (..., m)`.

    `D (..., N, m)` are the observation errors given to the members, drawn from R: centre them (a
    mean of 0 over members) and the analysis mean is the Kalman mean under the ensemble covariance.
    `tapers` multiply the ensemble's covariances. Raises ValueError when N or m disagree.
    """
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    array_namespace(prior.members, Y, y, D)  # one library, or a clear error
    check_update(prior.members, Y, y, R)
    if D.shape[-2:] != Y.shape[-2:]:
        N, m = Y.shape[-2:]
        raise ValueError(f"met D {tuple(D.shape)}, wanted (..., {N}, {m}): one error per member")
    X = prior.anomalies
    S = R.whiten(X if Y is prior.members else Y - row_mean(Y))
    step, ok = correction(R.whiten(y[..., None, :] + D - Y), S, X, tapers)
    return where_ok(ok, prior.members + step)


@dataclass(frozen=True, eq=False)
class EnKF:
    """The ensemble Kalman filter with perturbed observations.

    Arguments: `members`, N >= 2; `inflation`, the factor on the analysis anomalies (not their
    variances), a number, an array over the problem's batch axes, or RTPS, RTPP, Adaptive;
    `localization`, a Localization that tapers the covariances, or None. The perturbations are
    centred over the members, so that they add no error of their own to the mean.
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
            D = observe.noise.color(normal(rng, (self.members, observe.m), y))
            E = enkf(forecast, Y, y, observe.noise, D - row_mean(D), fade(observe))
            return Ensemble.unchecked(E)

        return ensemble_cycles(problem, rng, self.members, self.inflation, update)
