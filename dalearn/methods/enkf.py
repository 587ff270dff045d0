"""The stochastic ensemble Kalman filter: every member meets its own perturbed observation.

x_i <- x_i + K (y + e_i - H(x_i)),  e_i ~ N(0, R),  K = X^T S (S^T S + (N - 1) I)^-1 R^-1/2
with the ensemble's own covariances. Without the perturbations the analysis spread would be too
small by (I - K H) applied once too often.

Evensen, J. Geophys. Res. 99, 1994; Burgers, van Leeuwen and Evensen, Mon. Wea. Rev. 126, 1998.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..array import Array, array_namespace, eye, lift, no_grad, normal, row_mean, sane, where_ok
from ..belief import Ensemble
from ..gaussian import Covariance
from ..problem import Problem
from .base import Cycle, check_ensemble, check_update, solve


def enkf(E: Array | Ensemble, Y: Array, y: Array, R: Covariance, D: Array) -> Array:
    """One analysis `(..., N, n)`: ensemble `E (..., N, n)`, image `Y = H(E)`, data `y (..., m)`.

    `D (..., N, m)` are the observation errors given to the members, drawn from R: centre them (a
    mean of 0 over members) and the analysis mean is the Kalman mean under the ensemble covariance.
    The system solved has min(N, m) unknowns. Raises ValueError when N or m disagree.
    """
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    array_namespace(prior.members, Y, y, D)  # one library, or a clear error
    check_update(prior.members, Y, y, R)
    N, m = Y.shape[-2:]
    if D.shape[-2:] != (N, m):
        raise ValueError(f"met D {tuple(D.shape)}, wanted (..., {N}, {m}): one error per member")
    X = prior.anomalies
    S = R.whiten(X if Y is prior.members else Y - row_mean(Y))
    d = R.whiten(y[..., None, :] + D - Y)  # (..., N, m)
    if m >= N:  # d S^T (S S^T + (N-1) I)^-1 X, the same gain from the members' side
        A, ok = sane(S @ S.mT + (N - 1) * eye(N, S))
        step = (d @ S.mT) @ solve(A, X)
    else:
        A, ok = sane(S.mT @ S + (N - 1) * eye(m, S))
        step = d @ solve(A, S.mT @ X)
    return where_ok(ok, prior.members + step)


@dataclass(frozen=True, eq=False)
class EnKF:
    """The ensemble Kalman filter with perturbed observations.

    Arguments: `members`, N >= 2; `inflation`, the factor on the analysis anomalies (not their
    variances), a number or an array over the problem's batch axes. The perturbations are centred
    over the members, so that they add no error of their own to the mean.
    """

    members: int
    inflation: Any = 1.0

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)

    def run(self, problem: Problem, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        like = problem.like
        with no_grad(like):
            analysis = Ensemble.unchecked(problem.prior.sample(rng, self.members))
            inflation = lift(self.inflation, like, problem.batch, "inflation")
        for k in range(len(problem)):
            with no_grad(like):
                forecast = Ensemble.unchecked(problem.forecast(analysis.members, k, rng))
                observe, y = problem.at(k)
                D = observe.noise.color(normal(rng, (self.members, observe.m), like))
                D = D - row_mean(D)
                E = enkf(forecast, observe(forecast.members), y, observe.noise, D)
                analysis = Ensemble.unchecked(E)
                analysis = Ensemble.of(analysis._mean, inflation * analysis.anomalies)
            yield Cycle(forecast, analysis)
