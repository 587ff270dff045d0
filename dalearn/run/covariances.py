"""Whole covariances of beliefs, kept on request: n^2 numbers for each time and stage."""

from __future__ import annotations

import numpy as np

from ..array import Array, to_numpy, unbiased
from ..problem.belief import Belief, Ensemble, Gaussian
from ..problem.problem import Problem

LARGEST = 2**31  # bytes of all covariances of a run: in a laptop's memory, with room for copies


def covariance(belief: Belief) -> Array:
    """The covariance of a belief, `(..., n, n)`; of members with weights the unbiased one."""
    if isinstance(belief, Gaussian):
        return belief.cov.matrix()
    if not isinstance(belief, Ensemble):
        return 0 * (belief.mean[..., None, :] * belief.mean[..., :, None])
    X = belief.anomalies
    if belief.weights is None:
        return X.mT @ X / (X.shape[-2] - 1)
    w = belief.weights
    return X.mT @ (w[..., None] * X) * unbiased(w)[..., None]


def check_size(problem: Problem) -> None:
    """Raise ValueError where the covariances of forecast and analysis are too many to keep."""
    n, cases = problem.n, int(np.prod(problem.batch))
    count = 2 * len(problem) * cases * n * n
    size = count * np.dtype(to_numpy(problem.like[..., :1]).dtype).itemsize
    if size > LARGEST:
        many = f" in {cases} cases" if cases > 1 else ""
        raise ValueError(
            f"covariances of {n} x {n} at {len(problem)} times{many} take {size / 2**30:.3g} GiB, "
            f'wanted at most {LARGEST / 2**30:g}; keep "moments" or "members", fewer times, or '
            "run the method yourself: cycle.analysis.cov of each Cycle"
        )


class LagOne:
    """Cov(x_k, x_k-1) of smoothed states, for beliefs that know how they depend on the next."""

    def __init__(self):
        self.last: Belief | None = None
        self.found: list[np.ndarray | None] = []

    def add(self, belief: Belief) -> None:
        """The smoothed state of the next time."""
        G = getattr(self.last, "back", None)
        if G is not None and isinstance(belief, Gaussian):
            X = belief.cov.rows()
            self.found.append(to_numpy(X.mT @ (X @ G)))
        elif self.last is None and hasattr(belief, "back"):
            self.found.append(None)  # the first has none before
        self.last = belief

    def array(self, batch: tuple[int, ...]) -> np.ndarray:
        """All of them `(..., K, n, n)`, NaN at the first."""
        n = self.last.mean.shape[-1]  # pyright: ignore
        nothing = np.full((*batch, n, n), np.nan)
        each = [nothing if C is None else np.broadcast_to(C, nothing.shape) for C in self.found]
        return np.stack(each, axis=len(batch))
