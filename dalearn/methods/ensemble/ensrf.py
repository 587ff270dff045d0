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

from ...array import Array, array_namespace, row_mean
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import check_ensemble, check_update
from .cycle import ensemble_cycles
from .localization import Localization, Tapers, check_localization, tapers
from .transform import check_rotation, rotations


def ensrf(
    E: Array | Ensemble, Y: Array, y: Array, R: Covariance, tapers: Tapers | None = None
) -> Ensemble:
    """One analysis: ensemble `E (..., N, n)`, its image `Y = H(E) (..., N, m)`, data `y (..., m)`.

    `R` is the observations' covariance; `tapers` multiply the gain of each observation. Raises
    ValueError when N or m disagree.
    """
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    xp = array_namespace(prior.members, Y, y)  # one library, or a clear error
    check_update(prior.members, Y, y, R)
    N, n, m = *prior.members.shape[-2:], Y.shape[-1]
    h = row_mean(Y)
    S, d = R.whiten(Y - h), R.whiten(y[..., None, :] - h)
    lead = np.broadcast_shapes(prior.members.shape[:-2], S.shape[:-2], d.shape[:-2])
    X, S, d = (xp.broadcast_to(a, (*lead, *a.shape[-2:])) for a in (prior.anomalies, S, d))
    shift = xp.concat((xp.zeros_like(X[..., :1, :]), -d), axis=-1)  # the innovation with a minus
    Z = xp.concat((xp.concat((X, S), axis=-1), shift), axis=-2)  # (..., N + 1, n + m)
    fade = None if tapers is None else xp.concat((tapers.state, tapers.observed), axis=-1)
    for j in range(m):
        c = Z[..., n + j : n + j + 1]  # (..., N + 1, 1): s, and -d
        s = c[..., :N, :]
        v = s.mT @ s / (N - 1)
        k = s.mT @ Z[..., :N, :] / ((N - 1) * (v + 1))
        if fade is not None:
            k = k * fade[..., j : j + 1, :]
        alpha = 1 / (1 + (v + 1) ** -0.5)
        Z = Z - xp.concat((alpha * s, c[..., N:, :]), axis=-2) * k
    return Ensemble.of(prior._mean + Z[..., N:, :n], Z[..., :N, :n])


@dataclass(frozen=True, eq=False)
class EnSRF:
    """The serial ensemble square root filter (for scalar observations, the EAKF).

    Arguments: `members`, N >= 2; `inflation`, the factor on the analysis anomalies (not their
    variances), a number, an array over the problem's batch axes, or RTPS, RTPP, Adaptive;
    `localization`, a Localization that tapers the gain, or None; `rotate`: None, "householder" or
    "haar", a mean-preserving rotation of the members after each analysis.
    """

    members: int
    _: KW_ONLY
    inflation: Any = 1.0
    localization: Localization | None = None
    rotate: Literal["householder", "haar"] | None = None

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)
        check_rotation(self.rotate)
        if self.localization is not None:
            check_localization(self.localization)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        fade = tapers(problem, self.localization)
        turns = rotations(self.rotate, rng, self.members, problem.like)

        def update(forecast, Y, y, observe):
            return next(turns)(ensrf(forecast, Y, y, observe.noise, fade(observe)))

        return ensemble_cycles(problem, rng, self.members, self.inflation, update)
