"""The Kalman filter, exact for linear models with Gaussian errors, and its extended form.

Forecast  x <- M(x),  P <- M P M^T + Q  (each model step);
analysis  K = P H^T (H P H^T + R)^-1,  x <- x + K (y - H(x)),
          P <- (I - K H) P (I - K H)^T + K R K^T.

R. E. Kalman, A new approach to linear filtering and prediction problems, J. Basic Eng. 82, 1960;
A. H. Jazwinski, Stochastic Processes and Filtering Theory, 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..array import Array, array_namespace, device, eye, lift, no_grad, sane, where_ok
from ..belief import Ensemble, Gaussian
from ..derivative import linearize
from ..gaussian import Covariance, Dense
from ..problem import Problem
from .base import Cycle, check_ensemble, solve


def kalman_update(
    x: Array, P: Array, h: Array, H: Array, y: Array, R: Covariance
) -> tuple[Array, Array]:
    """One analysis: mean `x (..., n)` and covariance `P (..., n, n)` -> the same, updated.

    `h = H(x) (..., m)` and its matrix `H (..., m, n)`; data `y (..., m)`; `R` their covariance.
    Works on whitened observations and in Joseph's form, which keeps P symmetric and positive.
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
    left = eye(n, P) - K @ G
    P = left @ P @ left.mT + K @ K.mT
    return where_ok(ok, x + (d @ K.mT)[..., 0, :]), where_ok(ok, (P + P.mT) / 2)


def _moments(problem: Problem) -> tuple[Array, Array]:
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


@dataclass(frozen=True, eq=False)
class ExtendedKF:
    """The extended Kalman filter: model and operator linearized about the current mean.

    Arguments: `inflation`, the factor on the analysis standard deviations (so its square acts on
    P); `jacobian` and `operator_jacobian`, functions `(f, x) -> (f(x), J)`: `linearize` (automatic
    differentiation, the default), `finite_difference`, or one's own, such as
    `lambda f, x: (f(x), my_jacobian(x))` with shapes `(..., n) -> (..., m, n)`.
    """

    inflation: Any = 1.0
    jacobian: Callable = linearize
    operator_jacobian: Callable = linearize

    def __post_init__(self):
        check_ensemble(2, self.inflation)

    def run(self, problem: Problem, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis, both Gaussian, for each observation time."""
        with no_grad(problem.like):
            x, P = _moments(problem)
            Q = 0.0 if problem.noise is None else problem.noise.matrix()
            factor = lift(self.inflation, problem.like, problem.batch, "inflation") ** 2
        for k in range(len(problem)):
            with no_grad(problem.like):
                for _ in range(problem.steps_to(k)):
                    x, M = _tangent(self.jacobian, problem.step, x)
                    P = M @ P @ M.mT + Q
                forecast = Gaussian.unchecked(x, Dense.unchecked(P))
                observe, y = problem.at(k)
                h, H = _tangent(self.operator_jacobian, observe.operator, x)
                x, P = kalman_update(x, P, h, H, y, observe.noise)
                P = factor * P
                analysis = Gaussian.unchecked(x, Dense.unchecked(P))
            yield Cycle(forecast, analysis)


def _tangent(jacobian: Callable, f: Callable, x: Array) -> tuple[Array, Array]:
    """`jacobian(f, x)` with the member axis that models and operators see, `(..., 1, n)`."""
    value, J = jacobian(f, x[..., None, :])
    return value[..., 0, :], J[..., 0, :, :]


@dataclass(frozen=True, eq=False)
class KF:
    """The Kalman filter, for linear (or affine) models and operators: exact there.

    The matrices are taken once, by `jacobian` (see ExtendedKF). Raises ValueError when the model
    or the operator is not affine: there the filter would be silently wrong; use ExtendedKF.
    """

    jacobian: Callable = linearize

    def run(self, problem: Problem, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis, both Gaussian, for each observation time."""
        seen: dict[int, Any] = {}
        anchor = _moments(problem)[0][..., None, :]  # the same matrix anywhere; here it is finite

        def once(f: Callable, x: Array) -> tuple[Array, Array]:
            if id(f) not in seen:
                _check_affine(f, anchor)
                seen[id(f)] = (f, self.jacobian(f, anchor)[1])  # holding f keeps its id its own
            return f(x), seen[id(f)][1]

        yield from ExtendedKF(jacobian=once, operator_jacobian=once).run(problem, rng)


def _check_affine(f: Callable, x: Array) -> None:
    """Raise ValueError unless f(x + 2a) - 3 f(x) + 2 f(x - a) = 0 for a step a of order 1.

    The steps forth and back differ, or an odd function would pass at 0; and a differs from one
    component to the next, or advection would pass at a uniform state.
    """
    xp = array_namespace(x)
    i = xp.arange(x.shape[-1], dtype=x.dtype, device=device(x))
    a = (1.0 + xp.abs(x)) * (1.5 + xp.cos(i * i))
    back, zero, two = f(x - a), f(x), f(x + 2 * a)
    size = float(xp.max(xp.abs(two) + xp.abs(zero) + xp.abs(back)))
    bend = float(xp.max(xp.abs(two - 3 * zero + 2 * back)))
    if not bend <= 1e3 * float(xp.finfo(x.dtype).eps) * size:
        raise ValueError(
            f"the Kalman filter wants linear functions, met curvature {bend:.3g} in "
            f"{type(f).__name__}; use ExtendedKF or an ensemble filter"
        )
