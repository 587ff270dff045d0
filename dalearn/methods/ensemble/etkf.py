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

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from ...array import Array, Swept, typed
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import whitened
from .combinations import transformed
from .cycle import check_settings, ensemble_cycles
from .inflation import Inflation
from .transform import Root, ahead, roots, symmetric_root


@typed
def etkf(
    E: Array | Ensemble,
    Y: Array,
    y: Array,
    R: Covariance,
    inflation: Swept = 1.0,
    root: Root = symmetric_root,
) -> Ensemble:
    """One analysis: combinations of the members, x + w X and T X.

    w = d S^T C and T^T T = (N - 1) C with C = (S S^T + (N - 1) I)^-1.

    Args:
        E: forecast ensemble `(..., N, n)`, an array or an Ensemble.
        Y: its image H(E), `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.
        inflation: factor on the analysis anomalies, a number or `(..., 1, 1)`.
        root: the function that makes w `(..., 1, N)` and T `(..., N, N)` from S and d.

    Returns:
        The analysis, an Ensemble that already holds its mean and anomalies.

    Raises:
        ValueError: when N or m disagree.
    """
    prior, S, d = whitened(E, Y, y, R)
    w, T = root(S, d)
    if not (isinstance(inflation, float) and inflation == 1.0):
        T = inflation * T
    return transformed(prior, w, T)


@typed
@dataclass(frozen=True, eq=False)
class ETKF:
    """The ensemble transform Kalman filter.

    Args:
        members: ensemble size N, an integer >= 2.
        inflation: factor on the analysis anomalies (not their variances), a number or an array
            over the batch, or an object such as RTPS: see Multiplicative.
        rotate: None for the symmetric square root; "householder", then one random reflection of
            the members that keeps their mean; "haar", a uniformly random rotation.

    Raises:
        ValueError: for a setting out of its range.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    inflation: Swept | Inflation = 1.0
    rotate: Literal["householder", "haar"] | None = None

    def __post_init__(self):
        check_settings(self)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        chosen = roots(self.rotate, rng, self.members, problem.like, ahead(problem, rng))

        def update(forecast, Y, y, observe):
            return etkf(forecast, Y, y, observe.noise, root=next(chosen))

        return ensemble_cycles(problem, rng, self.members, self.inflation, update)
