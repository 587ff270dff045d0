"""The contract of a method, and what methods with means and covariances share.

A method is a frozen dataclass of settings. `run(problem, rng)` yields one Cycle per observation
time; its algebra is a pure function beside the class, for readers who write their own loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import log, pi
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from ..array import (
    Array,
    Jacobian,
    array_namespace,
    eye,
    is_array,
    sane,
    shown,
    solve,
    where_ok,
)
from ..array.derivative import finite_difference, linearize
from ..covariances.base import Covariance
from ..problem.belief import Belief, Ensemble, Gaussian
from ..problem.like import ProblemLike


class _Cycle(NamedTuple):
    forecast: Belief
    analysis: Belief
    info: Mapping[str, Any]


class Cycle(_Cycle):
    """One cycle: the belief before (`forecast`) and after (`analysis`) seeing the data.

    `info` carries scalars per experiment `(...)`, and beliefs under "start" (a window's beginning)
    or "smoothed". It is a read-only copy: what is known later goes into a new Cycle, `with_info`.
    """

    __slots__ = ()

    def __new__(cls, forecast: Belief, analysis: Belief, info: Mapping[str, Any] | None = None):
        return super().__new__(cls, forecast, analysis, MappingProxyType(dict(info or {})))

    def with_info(self, **more: Any) -> Cycle:
        """The same cycle with further entries in `info`, or others in their place."""
        return Cycle(self.forecast, self.analysis, {**self.info, **more})

    def __reduce__(self):
        return Cycle, (self.forecast, self.analysis, dict(self.info))


class Method(Protocol):
    """Anything with `run(problem, rng) -> Iterator[Cycle]`, one Cycle per observation time.

    `problem` has been validated; `rng` is Streams (or TorchStreams) over the problem's batch.
    """

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The cycles of this method on this problem, each made when it is asked for."""
        ...


def check_residuals(problem: Any, method: Any) -> None:
    """Raise TypeError where there are angles, residuals or laws that the method does not take.

    A method that forms its innovations by `Observation.nearest` or `together` says so by an
    attribute `residuals = True`; one that asks the law of errors for misfits by `laws = True`.
    """
    parts = getattr(problem.observation, "observations", (problem.observation,))
    there = problem.angles is not None or any(o.residual is not None for o in parts)
    if there and getattr(method, "residuals", False) is not True:
        raise TypeError(
            f"{type(method).__name__} takes differences y - h as they are, met a residual, or a "
            "state with angles; wanted a method with residuals = True, such as ETKF"
        )
    law = next((o.law for o in parts if o.law is not None), None)
    if law is not None and getattr(method, "laws", False) is not True:
        raise TypeError(
            f"{type(method).__name__} takes errors for normal, met an Observation with the law "
            f"{law!r}; wanted ParticleFilter, QCEFF, Var3D or Var4D, or law=None"
        )


def start(problem: ProblemLike) -> tuple[Array, Array]:
    """Mean `(..., n)` of the prior over the batch axes, and rows X of its covariance X^T X.

    The rows `(..., c, n)` have no batch axes where the prior's covariance has none.
    """
    prior = problem.prior
    xp = array_namespace(prior.mean)
    if isinstance(prior, Gaussian):
        X = prior.cov.rows()
    elif isinstance(prior, Ensemble):
        prior._check_equal()
        X = prior.anomalies / (prior.anomalies.shape[-2] - 1) ** 0.5
    else:
        X = 0 * eye(problem.n, prior.mean)[:1]
    return xp.broadcast_to(prior.mean, (*problem.batch, problem.n)), X


def tangent(
    jacobian: Jacobian, f: Callable, x: Array, scale: Array | None = None
) -> tuple[Array, Array]:
    """`jacobian(f, x)` with the member axis that models and operators see, `(..., 1, n)`.

    `scale (..., n)` is the size of the components' errors, for `finite_difference`.
    """
    if scale is not None:
        jacobian = scaled(jacobian, scale[..., None, :])
    value, J = differentiated(jacobian, f, x[..., None, :])
    return value[..., 0, :], J[..., 0, :, :]


def differentiated(jacobian: Jacobian, f: Callable, x: Array) -> tuple[Array, Array]:
    """`jacobian(f, x)`; TypeError unless it is a pair of arrays."""
    found = jacobian(f, x)
    if not (isinstance(found, tuple) and len(found) == 2 and all(map(is_array, found))):
        raise TypeError(
            f"a jacobian must return a pair of arrays, f(x) and J, met {shown(found)} from "
            f"{shown(jacobian)}"
        )
    return found


def scaled(jacobian: Jacobian, scale: Array) -> Jacobian:
    """The Jacobian, told the size of the components if it is one of ours; a user's as it is."""
    for own in (linearize, finite_difference):
        if jacobian is own:
            return partial(own, scale=scale)
    return jacobian


def log_density(d: Array, A: Array, R: Covariance) -> Array:
    """Log density of an innovation of covariance S = R^1/2 A R^T/2, over what was seen: `(...)`.

    -(m log 2 pi + log |R| + log |A| + d A^-1 d^T) / 2 with the whitened innovation
    `d (..., 1, m)` and the whitened covariance `A (..., m, m)`, the identity where unseen; where R
    is singular neither is whitened. Summed
    over cycles it is the log-likelihood of the data (Schweppe, IEEE Trans. Inf. Theory 11, 1965).
    """
    xp = array_namespace(d, A)
    A, ok = sane(A)
    seen = R.seen  # a mask holds 1 for the unseen on the diagonal: log 1 = 0
    m = R.n if seen is None else xp.sum(xp.astype(seen, d.dtype), axis=-1)
    size = xp.linalg.slogdet(A)[1] + (0.0 if R.singular else R.log_det())
    square = (d @ solve(A, d.mT))[..., 0, 0]
    return where_ok(ok, -(m * log(2 * pi) + size + square) / 2)
