"""The ensemble Kalman smoother: the filter's weights, given to the ensembles of earlier times.

A member is a trajectory. The transform filter writes the analysis as combinations of forecast
members, x_a = W x_f with W = w + T (every row sums to 1). What the data say of earlier times is
then the same combination of the same members as they were:
    E_j <- W_k E_j   for all j with k - lag <= j < k,
the Kalman regression of the past on today's data, with the ensemble's covariances between times.
Nothing is run backwards, and the filter is not changed.

The product of the transforms up to each time is kept instead of the updated ensembles: three
products N x N a cycle, whatever the lag.

Evensen and van Leeuwen, An ensemble Kalman smoother for nonlinear dynamics, Mon. Wea. Rev. 128,
2000; as a square root filter: Sakov, Evensen and Bertino, Asynchronous data assimilation with the
EnKF, Tellus A 62, 2010.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from ...array import (
    Array,
    array_namespace,
    check_count,
    no_grad,
    row_mean,
)
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import check_ensemble, check_update
from .cycle import ensemble_cycles
from .transform import check_rotation, roots, symmetric_root


def enks(
    E: Array | Ensemble, Y: Array, y: Array, R: Covariance, root: Any = symmetric_root
) -> tuple[Ensemble, Array]:
    """The analysis, and the `W (..., N, N)` that makes it and updates every earlier ensemble.

    Ensemble `E (..., N, n)`, its image `Y = H(E) (..., N, m)`, data `y (..., m)` of covariance
    `R`; `root` makes w and T from S and d. `W @ E_j` is the ensemble of time j, smoothed. Raises
    ValueError when N or m disagree.
    """
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    xp = array_namespace(prior.members, Y, y)  # one library, or a clear error
    check_update(prior.members, Y, y, R)
    h = row_mean(Y)
    w, T = root(R.whiten(Y - h), R.whiten(y[..., None, :] - h))
    analysis = Ensemble.of(prior._mean + w @ prior.anomalies, T @ prior.anomalies)
    W = w + T  # (..., 1, N) + (..., N, N)
    return analysis, W + (1 - xp.sum(W, axis=-1, keepdims=True)) / Y.shape[-2]


@dataclass(frozen=True, eq=False)
class EnKS:
    """The ensemble Kalman smoother: the ETKF, and each past ensemble updated with its weights.

    Arguments: `members`, N >= 2; `lag`, for how many observation times an ensemble goes on
    learning (None: to the last, a fixed-interval smoother); `inflation`, a factor on the analysis
    anomalies as in the ETKF, a number, an array over the problem's batch axes, or RTPS, RTPP,
    Adaptive: it acts on the present, never again on the past; `rotate`, None, "householder" or
    "haar".

    `info["smoothed"]` at cycle k is the Ensemble at its time given the data up to cycle k + lag,
    so cycles come `lag` late (None: all at the end). Data after an experiment has diverged make
    its smoothed states NaN as well.
    """

    members: int
    _: KW_ONLY
    lag: int | None = None
    inflation: Any = 1.0
    rotate: Literal["householder", "haar"] | None = None

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)
        check_rotation(self.rotate)
        check_count("lag (None is the whole run)", 0 if self.lag is None else self.lag, 0)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time, `lag` of them late."""
        chosen = roots(self.rotate, rng, self.members, problem.like)
        latest = []

        def update(forecast, Y, y, observe):
            analysis, W = enks(forecast, Y, y, observe.noise, next(chosen))
            latest[:] = [W]
            return analysis

        # two stacks: `early` holds cycles with the product of all transforms after theirs in the
        # stack, the first on top; `product` is that of the transforms in `late`
        early, late, product = [], [], None
        cycles = ensemble_cycles(problem, rng, self.members, self.inflation, update)
        for k, cycle in enumerate(cycles):
            with no_grad(problem.like):
                W = latest[0]
                late.append((cycle, W))
                product = W if product is None else W @ product
                ready = self.lag is not None and k >= self.lag
                if ready:
                    done, early, late, product = _first(early, late, product)
            if ready:
                yield done
        while early or late:
            with no_grad(problem.like):
                done, early, late, product = _first(early, late, product)
            yield done


def _first(early: list, late: list, product: Any) -> tuple[Cycle, list, list, Any]:
    """The oldest cycle, smoothed by all the transforms after its own; and the stacks left."""
    if not early:
        after = None
        for cycle, W in reversed(late):
            early.append((cycle, after))
            after = W if after is None else after @ W
        late, product = [], None
    cycle, after = early.pop()
    E = cycle.analysis.members
    for W in (after, product):
        E = E if W is None else W @ E
    smoothed = Ensemble.unchecked(E)
    return cycle._replace(info={**cycle.info, "smoothed": smoothed}), early, late, product
