"""The Kalman filter, exact for linear models with Gaussian errors, and the extended one.

Forecast  x <- M(x),  P <- M P M^T + Q  (each model step);
analysis  K = P H^T (H P H^T + R)^-1,  x <- x + K (y - H(x)),
          P <- (I - K H) P (I - K H)^T + K R K^T.

R. E. Kalman, A new approach to linear filtering and prediction problems, J. Basic Eng. 82, 1960;
A. H. Jazwinski, Stochastic Processes and Filtering Theory, 1970.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ...array import (
    Array,
    Jacobian,
    array_namespace,
    check_factor,
    eye,
    lift,
    no_grad,
    sane,
    solve,
    where_ok,
)
from ...array.derivative import linearize
from ...covariances.base import Covariance
from ...covariances.matrices import Dense
from ...problem.belief import Gaussian
from ...problem.like import ProblemLike, Stepwise, stepwise
from ..base import Cycle, log_density, moments, tangent
from .affine import linearized_once


def kalman_update(
    x: Array, P: Array, h: Array, H: Array, y: Array, R: Covariance
) -> tuple[Array, Array]:
    """One analysis, on whitened observations and in Joseph's form: P is right for any gain.

    K = P H^T (H P H^T + R)^-1,  x + K (y - h),  (I - K H) P (I - K H)^T + K R K^T.

    Args:
        x: mean of the forecast `(..., n)`.
        P: its covariance `(..., n, n)`.
        h: H(x), `(..., m)`.
        H: the operator's matrix at x, `(..., m, n)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.

    Returns:
        Mean `(..., n)` and covariance `(..., n, n)` of the analysis.

    Raises:
        ValueError: when shapes disagree.
    """
    array_namespace(x, P, h, H, y)  # one library, or a clear error
    n, m = x.shape[-1], R.n
    met = P.shape[-2:], H.shape[-2:], (h.shape[-1:], y.shape[-1:])
    if met != ((n, n), (m, n), ((m,), (m,))):
        raise ValueError(
            f"met x {tuple(x.shape)}, P {tuple(P.shape)}, h {tuple(h.shape)}, H {tuple(H.shape)}, "
            f"y {tuple(y.shape)}, R of dimension {m}; wanted (..., n), (..., n, n), (..., m), "
            "(..., m, n), (..., m) and m"
        )
    G = R.whiten(H.mT).mT  # whitened H; rows of unseen observations are 0
    d = R.whiten((y - h)[..., None, :])  # (..., 1, m)
    A, ok = sane(G @ P @ G.mT + eye(m, P))
    K = solve(A, G @ P).mT  # (..., n, m)
    rest = eye(n, P) - K @ G
    P = rest @ P @ rest.mT + K @ K.mT
    return where_ok(ok, x + (d @ K.mT)[..., 0, :]), where_ok(ok, (P + P.mT) / 2)


def filtered(
    problem: Stepwise, jacobian: Jacobian, operator_jacobian: Jacobian, factor: Any = 1.0
) -> Iterator[tuple[Cycle, tuple[Array, Array]]]:
    """Each Cycle, and with it M and Q of its whole interval: P_f = M P M^T + Q.

    `factor` multiplies the analysis covariance.
    """
    with no_grad(problem.like):
        x, P = moments(problem)
        one, Q = eye(problem.n, P), 0.0 if problem.noise is None else problem.noise.matrix()
    for k in range(len(problem)):
        with no_grad(problem.like):
            M, noise = one, 0 * one
            for _ in range(problem.steps_to(k)):
                x, J = tangent(jacobian, problem.step, x)
                M, noise = J @ M, J @ noise @ J.mT + Q
            P = M @ P @ M.mT + noise
            forecast = Gaussian.unchecked(x, Dense.unchecked(P))
            observe, y = problem.at(k)
            R = observe.noise
            h, H = tangent(operator_jacobian, observe.operator, x)
            G = R.whiten(H.mT).mT
            A = G @ P @ G.mT + eye(R.n, P)  # the innovation's covariance, whitened
            info = {"log_likelihood": log_density(R.whiten((y - h)[..., None, :]), A, R)}
            x, P = kalman_update(x, P, h, H, y, R)
            P = factor * P
            analysis = Gaussian.unchecked(x, Dense.unchecked(P))
        yield Cycle(forecast, analysis, info), (M, noise)


@dataclass(frozen=True, eq=False)
class ExtendedKF:
    """The extended Kalman filter: model and operator linearized about the current mean.

    A Jacobian is a function `(f, x) -> (f(x), J)`: `linearize` (automatic differentiation),
    `finite_difference`, or one of your own, such as `lambda f, x: (f(x), my_matrix(x))`, with
    shapes `(..., n) -> (..., m)` and `(..., m, n)`.

    Args:
        inflation: factor on the analysis standard deviations (its square acts on P), a number or
            an array over the batch.
        jacobian: Jacobian of the model's step.
        operator_jacobian: Jacobian of the observation operator.

    Raises:
        ValueError: when `inflation` is not positive.
        TypeError: when run on a problem that does not give its model step by step.
    """

    inflation: Any = 1.0
    _: KW_ONLY
    jacobian: Jacobian = field(default=linearize, repr=False)
    operator_jacobian: Jacobian = field(default=linearize, repr=False)

    def __post_init__(self):
        check_factor("inflation", self.inflation)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis, both Gaussian, for each observation time.

        `info`: "log_likelihood", the log density of the data there given those before.
        """
        problem = stepwise(problem, "ExtendedKF")
        factor = lift(self.inflation, problem.like, problem.batch, "inflation") ** 2
        for cycle, _ in filtered(problem, self.jacobian, self.operator_jacobian, factor):
            yield cycle


@dataclass(frozen=True, eq=False)
class KF:
    """The Kalman filter, for linear (or affine) models and operators: exact there.

    Args:
        jacobian: the function that makes the matrices, once: see ExtendedKF.

    Raises:
        ValueError: when run with a model or an operator that is not affine, where the filter
            would be wrong without a sign of it; use ExtendedKF.
    """

    jacobian: Jacobian = field(default=linearize, repr=False)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis, both Gaussian, for each observation time."""
        once = linearized_once(self.jacobian, stepwise(problem, "KF"))
        yield from ExtendedKF(jacobian=once, operator_jacobian=once).run(problem, rng)
