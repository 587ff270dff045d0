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

from ...array import Array, Swept, array_namespace, check_count, eye, no_grad, typed
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import blind, whitened
from .combinations import transformed
from .cycle import check_settings, ensemble_cycles
from .inflation import Inflation
from .transform import Root, ahead, roots, symmetric_root


@typed
def enks(
    E: Array | Ensemble, Y: Array, y: Array, R: Covariance, root: Root = symmetric_root
) -> tuple[Ensemble, Array]:
    """One analysis, and the transform that makes it and updates every earlier ensemble.

    W = w + T, every row of which sums to 1: `W @ E_j` is the ensemble of time j, smoothed.

    Args:
        E: forecast ensemble `(..., N, n)`, an array or an Ensemble.
        Y: its image H(E), `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.
        root: the function that makes w `(..., 1, N)` and T `(..., N, N)` from S and d.

    Returns:
        The analysis ensemble, and W `(..., N, N)`.

    Raises:
        ValueError: when N or m disagree.
    """
    prior, S, d = whitened(E, Y, y, R)
    xp = array_namespace(S)
    w, T = root(S, d)
    W = w + T  # (..., 1, N) + (..., N, N)
    return transformed(prior, w, T), W + (1 - xp.sum(W, axis=-1, keepdims=True)) / Y.shape[-2]


class TransformQueue:
    """Cycles, first in, first out, each smoothed by all the transforms that came after its own.

    Two stacks, so that a cycle costs three products N x N however many wait. `early` holds cycles
    with the product of the transforms after theirs in it, the first cycle on top; `late` holds
    later ones with their own transforms, whose product is `product`.
    """

    def __init__(self):
        self.early: list[tuple[Cycle, Array | None]] = []
        self.late: list[tuple[Cycle, Array]] = []
        self.product: Array | None = None

    def __len__(self) -> int:
        return len(self.early) + len(self.late)

    def push(self, cycle: Cycle, W: Array) -> None:
        """Add a cycle, and the transform `W (..., N, N)` that made its analysis."""
        self.late.append((cycle, W))
        self.product = W if self.product is None else W @ self.product

    def pop(self) -> Cycle:
        """The first cycle, with "smoothed" in its info."""
        if not self.early:
            after = None
            for cycle, W in reversed(self.late):
                self.early.append((cycle, after))
                after = W if after is None else after @ W
            self.late, self.product = [], None
        cycle, after = self.early.pop()
        E = cycle.analysis.members  # type: ignore[union-attr]
        for W in (after, self.product):
            E = E if W is None else W @ E
        return cycle.with_info(smoothed=Ensemble.unchecked(E))


@typed
@dataclass(frozen=True, eq=False)
class EnKS:
    """The ensemble Kalman smoother: the ETKF, and each past ensemble updated with its weights.

    `info["smoothed"]` at cycle k is the Ensemble at its time given the data up to cycle k + lag,
    so cycles come `lag` late (None: all at the end). Data after an experiment has diverged make
    its smoothed states NaN as well. Members that fail are replaced by the same combinations of the
    others at all times.

    Args:
        members: ensemble size N, an integer >= 2.
        lag: for how many observation times an ensemble goes on learning, an integer >= 0; None:
            to the last, a fixed-interval smoother.
        inflation: factor on the analysis anomalies, as in the ETKF: it acts on the present, never
            again on the past.
        rotate: None, "householder" or "haar", a random rotation of the members after each analysis
            that keeps their mean and covariance: see ETKF.

    Raises:
        ValueError: for a setting out of its range.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    lag: int | None = None
    inflation: Swept | Inflation = 1.0
    rotate: Literal["householder", "haar"] | None = None

    def __post_init__(self):
        check_settings(self)
        check_count("lag (None is the whole run)", 0 if self.lag is None else self.lag, 0)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time, `lag` of them late."""
        chosen = roots(self.rotate, rng, self.members, problem.like, ahead(problem, rng))
        latest, replaced, queue = [], [], TransformQueue()

        def update(forecast, Y, y, observe):
            analysis, W = enks(forecast, Y, y, observe.noise, next(chosen))
            none = blind(observe.noise)
            if none is not None:  # nor do its members turn
                W = array_namespace(W).where(none[..., None, None], eye(self.members, W), W)
            latest[:] = [W]
            return analysis

        def leaving(_, replace):
            replaced[:] = [replace]

        settings = problem, rng, self.members, self.inflation
        for cycle in ensemble_cycles(*settings, update, leaving=leaving):
            with no_grad(problem.like):
                W, replace = latest[0], replaced[0]
                queue.push(cycle, W if replace is None else W @ replace(eye(self.members, W)))
                done = None if self.lag is None or len(queue) <= self.lag else queue.pop()
            if done is not None:
                yield done
        while queue:
            with no_grad(problem.like):
                done = queue.pop()
            yield done
