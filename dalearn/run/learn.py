"""Runs whose derivatives a user takes: cycle by cycle, or the log-likelihood of the data.

The log-likelihood of data y_1, ..., y_K is sum_k log p(y_k | y_1, ..., y_{k-1}), each term the
density of the data under the forecast before them: of KF, ExtendedKF and UKF the Gaussian one; of
a particle filter log sum_i w_i p(y | x_i); of an ensemble of mean h and rows Z of images that of
N(h, Z^T Z + R).

Schweppe, IEEE Trans. Inf. Theory 11, 1965; for ensembles: Carrassi et al., Estimating model
evidence using data assimilation, Q. J. R. Meteorol. Soc. 143, 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log, pi
from typing import Any

from ..array import (
    Array,
    Purpose,
    array_namespace,
    check_count,
    eye,
    no_grad,
    sane,
    streams,
    typed,
    where_ok,
)
from ..covariances.base import Covariance
from ..methods.base import Cycle, Method, log_density
from ..problem.belief import Ensemble
from ..problem.problem import Problem
from .assimilate import checked
from .innovations import images


@typed
def cycles(problem: Problem, method: Method, *, seed: Any = 0) -> Iterator[Cycle]:
    """The cycles of a run, one by one, as the method makes them: for loops of one's own.

    Inside `gradients()` they keep their derivatives.

        with da.gradients():
            for k, cycle in enumerate(da.cycles(problem, da.ETKF(20, inflation=a))):
                loss = loss + ((cycle.forecast.mean - truth[k]) ** 2).mean()

    Args:
        problem: as for `assimilate`.
        method: such as `ETKF(members=20)`.
        seed: as for `assimilate`: the same numbers are drawn.

    Returns:
        The cycles, one for each observation time.

    Raises:
        TypeError, ValueError: as `assimilate`.
    """
    problem = checked(problem, [method], "moments")[0]
    return method.run(problem, streams(Purpose.ASSIMILATION, seed, problem.batch))


@typed
def log_likelihood(
    problem: Problem, method: Method, *, seed: Any = 0, skip: int = 0, marginal: bool = False
) -> Array:
    """The log-likelihood of the data under a method's forecasts, sum_k log p(y_k | before).

    Inside `gradients()` it is differentiable: by inflation, radius, covariances, the model.

    Args:
        problem: as for `assimilate`.
        method: KF, ExtendedKF, UKF, a particle filter, or a filter of an ensemble.
        seed: as for `assimilate`.
        skip: how many of the first times do not count, while a filter finds its way.
        marginal: whether each datum counts alone, sum_i log p(y_i | before), the others unknown:
            for ensembles smaller than the data, whose correlations are mostly noise, and for
            localization. (A composite likelihood: Varin, Reid and Firth, Statistica Sinica 21,
            2011.) Only of ensembles.

    Returns:
        `(...)`, one number for each experiment, in natural logarithms.

    Raises:
        ValueError: for a `skip` that leaves no datum.
        TypeError: for a method whose forecasts have no spread, and `marginal` of one that has its
            own log-likelihood.
    """
    check_count("skip", skip, 0)
    if skip >= len(problem):
        raise ValueError(f"skip = {skip} leaves none of {len(problem)} observation times")
    total: Any = 0.0
    problem = checked(problem, [method], "moments")[0]
    run = method.run(problem, streams(Purpose.ASSIMILATION, seed, problem.batch))
    for k, cycle in enumerate(run):
        if k >= skip:
            total = total + density(problem, k, cycle, marginal)
    return total


def density(problem: Problem, k: int, cycle: Cycle, marginal: bool) -> Array:
    """The log density of the data of cycle k under its forecast, `(...)`: see `log_likelihood`."""
    own = cycle.info.get("log_likelihood")
    if own is not None and marginal:
        raise TypeError(
            "this method has a log-likelihood of its own, which marginal would leave; marginal is "
            "for filters of an ensemble, such as LETKF"
        )
    if own is not None:
        return own
    belief = cycle.forecast
    if not isinstance(belief, Ensemble):
        raise TypeError(
            f"the forecasts of this method are {type(belief).__name__}s without a log-likelihood; "
            "wanted KF, ExtendedKF, UKF, a particle filter or a filter of an ensemble"
        )
    with no_grad(problem.like):
        observe, y = problem.at(k)
        Y, y = observe.together(observe(belief.members), y)
        h, Z = images(belief, Y)
        return ensemble_density(h, Z, y, observe.noise, marginal)


def ensemble_density(h: Array, Z: Array, y: Array, R: Covariance, marginal: bool = False) -> Array:
    """Log density of data under N(h, Z^T Z + R), or of each alone, summed.

    With whitened Z and innovation d, |I + Z^T Z| = |I + Z Z^T| and d (I + Z^T Z)^-1 d^T =
    d d^T - d Z^T (I + Z Z^T)^-1 Z d^T: whichever matrix is smaller.

    Args:
        h: mean of the members' images `(..., 1, m)`.
        Z: their anomalies `(..., N, m)`, divided by (N - 1)^1/2.
        y: data `(..., m)`.
        R: covariance of their errors.
        marginal: whether each datum counts alone.

    Returns:
        `(...)`.
    """
    xp = array_namespace(h, Z, y)
    if marginal:
        v = xp.linalg.vecdot(Z, Z, axis=-2) + R.variance()
        each = (y - h[..., 0, :]) ** 2 / v + xp.log(2 * pi * v)
        if R.seen is not None:
            each = xp.where(R.seen, each, xp.zeros_like(each))
        return -xp.sum(each, axis=-1) / 2
    Z, d = R.whiten(Z), R.whiten(y[..., None, :] - h)
    N, m = Z.shape[-2:]
    if m <= N:
        return log_density(d, Z.mT @ Z + eye(m, Z), R)
    A, ok = sane(Z @ Z.mT + eye(N, Z))
    c = d @ Z.mT
    square = xp.linalg.vecdot(d, d)[..., 0] - (c @ xp.linalg.solve(A, c.mT))[..., 0, 0]
    seen = m if R.seen is None else xp.sum(xp.astype(R.seen, d.dtype), axis=-1)
    size = xp.linalg.slogdet(A)[1] + R.log_det() + seen * log(2 * pi)
    return where_ok(ok, -(square + size) / 2)
