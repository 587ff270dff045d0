"""The Kalman filter with its covariance as a matrix, through which derivatives pass.

The rows of `kalman` are exact however far apart errors are, but their QR has no derivative where a
covariance is singular. Here P is carried as its formulas have it, in Joseph's form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...array import Array, array_namespace, eye, sane, solve, where_ok
from ...covariances.base import Covariance
from ...covariances.matrices import Dense
from ...problem.belief import Gaussian
from ...problem.like import Stepwise, noise_at, stepping
from ..base import Cycle, log_density, start
from .square_root import errors, innovation, weighed


def textbook(x: Array, P: Array, G: Array, d: Array, R: Covariance) -> tuple[Array, Array, Array]:
    """One analysis as its formulas are written: right where P is not far above R.

    Args:
        x: mean of the forecast `(..., n)`.
        P: its covariance `(..., n, n)`.
        G: `weighed` operator `(..., m, n)`, rows of unseen data 0.
        d: `weighed` innovation `(..., 1, m)`.
        R: covariance of the data's errors.

    Returns:
        Mean `(..., n)` and covariance `(..., n, n)` of the analysis, log density of the data.
    """
    N = errors(R, P)
    whole = G @ P @ G.mT + N
    A, ok = sane(whole)
    K = solve(A, G @ P).mT  # (..., n, m)
    rest = eye(P.shape[-1], P) - K @ G
    P = rest @ P @ rest.mT + K @ N @ K.mT
    x, P = where_ok(ok, x + (d @ K.mT)[..., 0, :]), where_ok(ok, (P + P.mT) / 2)
    return x, P, log_density(d, whole, R)


def plainly_filtered(
    problem: Stepwise, model: Callable, operator: Callable, factor: Any
) -> Iterator[Cycle]:
    """The cycles of `kalman.filtered`, differentiable: see there."""
    x, X = start(problem)
    P = X.mT @ X
    for k in range(len(problem)):
        Q = noise_at(problem, k)
        Q = None if Q is None else Q.matrix()
        for step in stepping(problem, k):
            x, M = model(step, x, _deviations(P))
            P = M @ P @ M.mT
            P = P if Q is None else P + Q
        observe, y = problem.at(k)
        R = observe.noise
        h, H = operator(observe.smooth, x, _deviations(P))
        forecast = Gaussian.unchecked(x, Dense.unchecked(P))
        d = innovation(observe, y, h)[0]
        x, P, score = textbook(x, P, weighed(R, H.mT).mT, d, R)
        if not (isinstance(factor, float) and factor == 1):
            larger, seen = factor**2 * P, R.seen
            if seen is not None:
                larger = array_namespace(P).where(seen.any(-1)[..., None, None], larger, P)
            P = larger
        analysis = Gaussian.unchecked(x, Dense.unchecked(P))
        yield Cycle(forecast, analysis, {"log_likelihood": score})


def _deviations(P: Array) -> Array:
    """Rows with the variances of P, for Jacobians that want a scale: `(..., n, n)`."""
    return (P.detach() * eye(P.shape[-1], P)).clamp(min=0) ** 0.5
