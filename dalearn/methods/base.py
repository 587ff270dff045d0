"""The contract of a method, the checks that go with it, and what Gaussian methods share.

A method is a frozen dataclass of settings. `run(problem, rng)` yields one Cycle per observation
time; its algebra is a pure function beside the class, for readers who write their own loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import log, pi
from typing import Any, NamedTuple, Protocol

from ..array import (
    Array,
    array_namespace,
    broadcasts,
    convert_tree,
    device,
    sane,
    solve,
    where_ok,
)
from ..covariances.base import Covariance
from ..covariances.roots import Rows
from ..problem.belief import Belief, Ensemble, Gaussian
from ..problem.like import ProblemLike

Info = dict[str, Any]


class Cycle(NamedTuple):
    """One cycle: the belief before (`forecast`) and after (`analysis`) seeing the data.

    `info` carries scalars per experiment `(...)`, and beliefs under "start" (a window's beginning)
    or "smoothed".
    """

    forecast: Belief
    analysis: Belief
    info: Info = {}  # noqa: RUF012  (never written to)


class Method(Protocol):
    """Anything with `run(problem, rng) -> Iterator[Cycle]`, one Cycle per observation time.

    `problem` has been validated; `rng` is Streams (or TorchStreams) over the problem's batch.
    """

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The cycles of this method on this problem, lazily: the loop is yours to step."""
        ...


def moments(problem: ProblemLike) -> tuple[Array, Array]:
    """Mean `(..., n)` and covariance `(..., n, n)` of the prior over the batch axes."""
    prior = problem.prior
    xp = array_namespace(prior.mean)
    if isinstance(prior, Gaussian):
        P = prior.cov.matrix()
    elif isinstance(prior, Ensemble):
        prior._check_equal()
        X = prior.anomalies
        P = X.mT @ X / (X.shape[-2] - 1)
    else:
        P = xp.zeros((problem.n, problem.n), dtype=prior.mean.dtype, device=device(prior.mean))
    x = xp.broadcast_to(prior.mean, (*problem.batch, problem.n))
    return x, xp.broadcast_to(P, (*problem.batch, problem.n, problem.n))


def climate(problem: ProblemLike, wanted: str) -> tuple[Array, Array]:
    """Mean `(..., n)` and covariance `(..., n, n)` of each experiment's truth over its K times.

    Raises ValueError, naming what is `wanted` instead, where the truth is not known.
    """
    x = getattr(problem, "truth", None)
    if x is None or x.shape[-2] < 2:
        met = "no truth" if x is None else "a truth of one time"
        raise ValueError(f"climatology comes from the truth run by default, met {met}; {wanted}")
    xp = array_namespace(x)
    mean = xp.mean(x, axis=-2, keepdims=True)
    X = x - mean
    B = X.mT @ X / (x.shape[-2] - 1)
    mean = xp.broadcast_to(mean[..., 0, :], (*problem.batch, problem.n))
    return mean, xp.broadcast_to(B, (*problem.batch, problem.n, problem.n))


def given_covariance(C: Covariance | None, problem: ProblemLike, wanted: str) -> Covariance:
    """The covariance in the problem's library, or that of the truth run where it is None."""
    if C is None:  # by its eigenvectors: a short run, or a quiet model, leaves it singular
        B, ok = sane(climate(problem, wanted)[1])
        xp = array_namespace(B)
        s, V = xp.linalg.eigh(B)
        return Rows(where_ok(ok, (V * xp.clip(s, 0.0, None)[..., None, :] ** 0.5).mT))
    if C.n != problem.n:
        raise ValueError(f"the covariance has dimension {C.n}, wanted the state's {problem.n}")
    check_batch(C, problem, "the covariance")
    return convert_tree(C, problem.like)


def check_batch(C: Covariance, problem: ProblemLike, name: str) -> None:
    """Raise ValueError unless the batch axes of `C` broadcast to the problem's."""
    if not broadcasts(C.batch, problem.batch):
        raise ValueError(
            f"{name} has batch axes {C.batch}, wanted axes that broadcast to the problem's "
            f"{problem.batch}; for a sweep use problem.expand({C.batch})"
        )


def tangent(jacobian: Callable, f: Callable, x: Array) -> tuple[Array, Array]:
    """`jacobian(f, x)` with the member axis that models and operators see, `(..., 1, n)`."""
    value, J = jacobian(f, x[..., None, :])
    return value[..., 0, :], J[..., 0, :, :]


def log_density(d: Array, A: Array, R: Covariance) -> Array:
    """Log density of an innovation of covariance S = R^1/2 A R^T/2, over what was seen: `(...)`.

    -(m log 2 pi + log |R| + log |A| + d A^-1 d^T) / 2 with the whitened innovation
    `d (..., 1, m)` and the whitened covariance `A (..., m, m)`, the identity where unseen. Summed
    over cycles it is the log-likelihood of the data (Schweppe, IEEE Trans. Inf. Theory 11, 1965).
    """
    xp = array_namespace(d, A)
    A, ok = sane(A)
    seen = R.seen  # a mask holds 1 for the unseen on the diagonal: log 1 = 0
    m = R.n if seen is None else xp.sum(xp.astype(seen, d.dtype), axis=-1)
    size = xp.linalg.slogdet(A)[1] + xp.linalg.slogdet(R.matrix())[1]
    square = (d @ solve(A, d.mT))[..., 0, 0]
    return where_ok(ok, -(m * log(2 * pi) + size + square) / 2)
