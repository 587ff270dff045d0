"""The Kalman filter, exact for linear models with Gaussian errors, its smoother, and the extended.

Forecast  x <- M(x),  P <- M P M^T + Q  (each model step);
analysis  K = P H^T (H P H^T + R)^-1,  x <- x + K (y - H(x)),
          P <- (I - K H) P (I - K H)^T + K R K^T.
Smoother, backward from the last analysis: with x, P the analysis here, and x_f, P_f and x_s, P_s
the forecast and the smoothed state one observation later,
          G = P M^T P_f^-1,  x + G (x_s - x_f),  P + G (P_s - P_f) G^T.

R. E. Kalman, A new approach to linear filtering and prediction problems, J. Basic Eng. 82, 1960;
A. H. Jazwinski, Stochastic Processes and Filtering Theory, 1970; H. E. Rauch, F. Tung and
C. T. Striebel, Maximum likelihood estimates of linear dynamic systems, AIAA J. 3, 1965.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ...array import (
    Array,
    array_namespace,
    check_factor,
    device,
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


@dataclass(frozen=True, eq=False)
class ExtendedKF:
    """The extended Kalman filter: model and operator linearized about the current mean.

    Arguments: `inflation`, the factor on the analysis standard deviations (so its square acts on
    P); `jacobian` and `operator_jacobian`, functions `(f, x) -> (f(x), J)`: `linearize` (automatic
    differentiation, the default), `finite_difference`, or one's own, such as
    `lambda f, x: (f(x), my_jacobian(x))` with shapes `(..., n) -> (..., m, n)`.
    """

    inflation: Any = 1.0
    _: KW_ONLY
    jacobian: Callable = field(default=linearize, repr=False)
    operator_jacobian: Callable = field(default=linearize, repr=False)

    def __post_init__(self):
        check_factor("inflation", self.inflation)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis, both Gaussian, for each observation time.

        `info`: "log_likelihood", the log density of the data there given those before.
        """
        problem = stepwise(problem, "ExtendedKF")
        factor = lift(self.inflation, problem.like, problem.batch, "inflation") ** 2
        for cycle, _ in _filtered(problem, self.jacobian, self.operator_jacobian, factor):
            yield cycle


def _filtered(
    problem: Stepwise, jacobian: Callable, operator_jacobian: Callable, factor: Any = 1.0
) -> Iterator[tuple[Cycle, tuple[Array, Array]]]:
    """Each Cycle, and with it M and Q of its whole interval: P_f = M P M^T + Q."""
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
            h, H = tangent(operator_jacobian, observe.operator, x)
            info = {"log_likelihood": _evidence(P, h, H, y, observe.noise)}
            x, P = kalman_update(x, P, h, H, y, observe.noise)
            P = factor * P
            analysis = Gaussian.unchecked(x, Dense.unchecked(P))
        yield Cycle(forecast, analysis, info), (M, noise)


def _evidence(P: Array, h: Array, H: Array, y: Array, R: Covariance) -> Array:
    """log N(y; h, H P H^T + R)."""
    G = R.whiten(H.mT).mT
    return log_density(R.whiten((y - h)[..., None, :]), G @ P @ G.mT + eye(R.n, P), R)


@dataclass(frozen=True, eq=False)
class KF:
    """The Kalman filter, for linear (or affine) models and operators: exact there.

    The matrices are taken once, by `jacobian` (see ExtendedKF). Raises ValueError when the model
    or the operator is not affine: there the filter would be silently wrong; use ExtendedKF.
    """

    jacobian: Callable = field(default=linearize, repr=False)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis, both Gaussian, for each observation time."""
        once = _once(self.jacobian, stepwise(problem, "KF"))
        yield from ExtendedKF(jacobian=once, operator_jacobian=once).run(problem, rng)


@dataclass(frozen=True, eq=False)
class RTS:
    """The Rauch-Tung-Striebel smoother: the Kalman filter forward, then back from its end.

    Each smoothed state has seen all the data. Linear models only, and `jacobian`, as for KF.
    """

    jacobian: Callable = field(default=linearize, repr=False)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The Cycles of KF, after the last is done, with the Gaussian "smoothed" in `info`."""
        problem = stepwise(problem, "RTS")
        once = _once(self.jacobian, problem)
        cycles, links = zip(*_filtered(problem, once, once), strict=True)
        smoothed = [cycles[-1].analysis]
        with no_grad(problem.like):
            for k in range(len(cycles) - 2, -1, -1):
                here, later = cycles[k].analysis, cycles[k + 1].forecast
                parts = _parts(here) + links[k + 1] + _parts(later) + _parts(smoothed[-1])
                x, P = rts_update(*parts)
                smoothed.append(Gaussian.unchecked(x, Dense.unchecked(P)))
        for cycle, state in zip(cycles, reversed(smoothed), strict=True):
            yield cycle._replace(info=cycle.info | {"smoothed": state})


def rts_update(
    x: Array, P: Array, M: Array, Q: Array, xf: Array, Pf: Array, xs: Array, Ps: Array
) -> tuple[Array, Array]:
    """One step back: the analysis `x (..., n)`, `P (..., n, n)` -> the same, smoothed.

    `M`, `Q (..., n, n)`: model and noise of the interval; `xf, Pf` and `xs, Ps`: forecast and
    smoothed state at its end. Where the forecast has no variance, nothing is to be learned.
    """
    xp = array_namespace(x, P, M, Pf, xs, Ps)
    n = x.shape[-1]
    scale = xp.linalg.diagonal(Pf)[..., None, :] ** 0.5
    scale = xp.where(scale > 0, scale, 1 + 0 * scale)
    C, ok = sane(Pf / scale / scale.mT)
    s, V = xp.linalg.eigh(C)
    blind = s < n * float(xp.finfo(s.dtype).eps) * s[..., -1:]
    inverse = xp.where(blind | (s <= 0), 0.0 * s, 1 / xp.where(s > 0, s, 1 + 0 * s))
    G = (P @ M.mT / scale) @ (V * inverse[..., None, :]) @ V.mT / scale
    left = eye(n, P) - G @ M
    P = left @ P @ left.mT + G @ (Ps + Q) @ G.mT
    x = x + ((xs - xf)[..., None, :] @ G.mT)[..., 0, :]
    return where_ok(ok, x), where_ok(ok, (P + P.mT) / 2)


def _parts(belief: Any) -> tuple[Array, Array]:
    return belief.mean, belief.cov.matrix()


def _once(jacobian: Callable, problem: ProblemLike) -> Callable:
    """`jacobian`, but called once for each function, which must be affine: else ValueError."""
    seen: dict[int, Any] = {}
    anchor = moments(problem)[0][..., None, :]  # the same matrix anywhere; here it is finite

    def once(f: Callable, x: Array) -> tuple[Array, Array]:
        if id(f) not in seen:
            _check_affine(f, anchor)
            seen[id(f)] = (f, jacobian(f, anchor)[1])  # holding f keeps its id its own
        return f(x), seen[id(f)][1]

    return once


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
