"""The ensemble transform Kalman filter: the Kalman update in the space of the members.

With X the anomalies (rows), S = R^-1/2 of their images and d the whitened innovation,
    C = (S S^T + (N - 1) I)^-1,   w = d S^T C,   T^T T = (N - 1) C,
the analysis has mean x + w X and anomalies T X: exactly the Kalman filter under the ensemble's own
covariance X^T X / (N - 1), without a perturbed observation. Many T do; each must keep the mean of
the anomalies at 0. The symmetric one moves the members least; U T with U random, orthogonal and
U 1 = 1 keeps them from growing outliers.

Bishop, Etherton and Majumdar, Adaptive sampling with the ETKF, Mon. Wea. Rev. 129, 2001; the
symmetric square root: Hunt, Kostelich and Szunyogh, Physica D 230, 2007; mean-preserving
rotations: Sakov and Oke, Mon. Wea. Rev. 136, 2008.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from ...array import Array, array_namespace, row_mean
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import check_ensemble, check_update
from .cycle import ensemble_cycles
from .transform import check_rotation, roots, symmetric_root


def etkf(
    E: Array | Ensemble,
    Y: Array,
    y: Array,
    R: Covariance,
    inflation: Any = 1.0,
    root: Callable = symmetric_root,
) -> Ensemble:
    """One analysis: ensemble `E (..., N, n)`, its image `Y = H(E) (..., N, m)`, data `y (..., m)`.

    `R` is the observations' covariance; `inflation` multiplies the analysis anomalies; `root`
    makes w and T from S and d. Returns an Ensemble that already holds its mean and anomalies.
    Raises ValueError when N or m disagree.
    """
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    array_namespace(prior.members, Y, y)  # one library, or a clear error
    check_update(prior.members, Y, y, R)
    x, X = prior._mean, prior.anomalies
    if Y is prior.members:  # H is the identity: the same mean, the same anomalies
        h, Z = x, X
    else:
        h = row_mean(Y)
        Z = Y - h
    w, T = root(R.whiten(Z), R.whiten(y[..., None, :] - h))
    if not (isinstance(inflation, float) and inflation == 1.0):
        T = inflation * T
    return Ensemble.of(x + w @ X, T @ X)


@dataclass(frozen=True, eq=False)
class ETKF:
    """The ensemble transform Kalman filter.

    Arguments: `members`, N >= 2; `inflation`, the factor on the analysis anomalies (not their
    variances), a number, an array over the problem's batch axes, or RTPS, RTPP, Adaptive;
    `rotate`: None for the symmetric square root, "householder" (then one random reflection) or
    "haar" (a full random rotation).
    """

    members: int
    _: KW_ONLY
    inflation: Any = 1.0
    rotate: Literal["householder", "haar"] | None = None

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)
        check_rotation(self.rotate)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        chosen = roots(self.rotate, rng, self.members, problem.like)

        def update(forecast, Y, y, observe):
            return etkf(forecast, Y, y, observe.noise, root=next(chosen))

        return ensemble_cycles(problem, rng, self.members, self.inflation, update)
