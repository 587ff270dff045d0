"""The Kalman filter, exact for linear models with Gaussian errors, and the extended one.

Forecast  x <- M(x),  P <- M P M^T + Q  (each model step);
analysis  K = P H^T (H P H^T + R)^-1,  x <- x + K (y - H(x)),
          P <- (I - K H) P (I - K H)^T + K R K^T.

R. E. Kalman, A new approach to linear filtering and prediction problems, J. Basic Eng. 82, 1960;
A. H. Jazwinski, Stochastic Processes and Filtering Theory, 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from functools import cache, partial
from typing import Any

from ...array import (
    Array,
    Jacobian,
    Recall,
    Swept,
    array_namespace,
    check_factor,
    lift,
    no_grad,
    root,
    triangle,
    typed,
    wants_gradients,
    where_ok,
)
from ...array.derivative import linearize, with_derivative
from ...covariances.base import Covariance
from ...covariances.roots import Rows
from ...problem.belief import Gaussian
from ...problem.like import ProblemLike, Stepwise, noise_at, stepping, stepwise
from ..base import Cycle, start, tangent
from .affine import Affine
from .backward import Interval
from .initial import first_cycles, is_diffuse
from .plain import plainly_filtered, textbook
from .square_root import (
    Gain,
    gain,
    innovation,
    join,
    settled,
    size_of,
    sums,
    variance,
    weighed,
)


@typed
def kalman_update(
    x: Array, P: Array, h: Array, H: Array, y: Array, R: Covariance
) -> tuple[Array, Array]:
    """One analysis, on whitened observations and the root of P: right however good the data are.

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
    n, m = x.shape[-1] if x.ndim else 0, R.n
    met = P.shape[-2:], H.shape[-2:], (h.shape[-1:], y.shape[-1:])
    if met != ((n, n), (m, n), ((m,), (m,))):
        raise ValueError(
            f"met x {tuple(x.shape)}, P {tuple(P.shape)}, h {tuple(h.shape)}, H {tuple(H.shape)}, "
            f"y {tuple(y.shape)}, R of dimension {m}; wanted (..., n), (..., n, n), (..., m), "
            "(..., m, n), (..., m) and m"
        )
    G = weighed(R, H.mT).mT  # whitened H; rows of unseen observations are 0
    d = weighed(R, (y - h)[..., None, :])  # (..., 1, m)
    X, ok = root(P)
    found = gain(X, X @ G.mT, R, sums(X, H) if R.singular else None)
    exact = found.update(x, d, size_of(y, h))[0], found.rows.mT @ found.rows
    plain = cache(lambda: textbook(x, P, G, d, R))
    parts = (with_derivative(v, lambda i=i: plain()[i]) for i, v in enumerate(exact))
    x, P = (where_ok(ok, v) for v in parts)
    return x, P


Tangent = Callable[[Callable, Array, Array], tuple[Array, Array]]


def _taught(
    X: Array, matrices: list[Array], Q: Array | None, H: Array, R: Covariance, factor: Any
) -> tuple[Interval, Rows, Gain, Rows]:
    """The covariances of one cycle from the rows X of the analysis before: data have no part."""
    noise, begun = None, X
    for M in matrices:
        X = X @ M.mT
        if Q is not None:
            noise = Q if noise is None else triangle(join(noise @ M.mT, Q, -2))
    interval = Interval(begun, X, noise)
    F = interval.rows
    found = gain(F, F @ weighed(R, H.mT), R, sums(F, H) if R.singular else None)
    return interval, Rows(F), found, Rows(settled(inflated(found.rows, factor, R)))


def inflated(X: Array, factor: Any, R: Covariance) -> Array:
    """The rows of an analysis times `factor`, in the experiments where anything was observed."""
    if isinstance(factor, float) and factor == 1:
        return X
    if R.seen is None:
        return factor * X
    xp = array_namespace(X)
    return X * xp.where(xp.any(R.seen, axis=-1)[..., None, None], factor + 0 * X[..., :1, :1], 1.0)


def filtered(
    problem: Stepwise, model: Tangent, operator: Tangent, factor: Any = 1.0, begun: Any = None
) -> Iterator[tuple[Cycle, Interval]]:
    """Each Cycle, and the Interval before it.

    `model` and `operator` give value and matrix of a function at `x (..., n)` with the rows X of
    its covariance; `factor` multiplies the standard deviations of an analysis that had data;
    `begun`: how many cycles have gone before, and the mean and rows of the last analysis.
    """
    with no_grad(problem.like):
        first, x, X = begun or (0, *start(problem))
        recall, rows, like = Recall(), Recall(), problem.like
    for k in range(first, len(problem)):
        with no_grad(like):
            matrices: list[Array] = []
            for step in stepping(problem, k):
                x, M = model(step, x, X)
                matrices.append(M)
            Q = noise_at(problem, k)
            Q = None if Q is None else rows(None, (Q,), Q.rows)
            observe, y = problem.at(k)
            R = observe.noise
            h, H = operator(observe.smooth, x, X)
            taught = partial(_taught, X, matrices, Q, H, R, factor)
            interval, before, found, after = recall(X, (*matrices, Q, H, R), taught)
            forecast = Gaussian.unchecked(x, before)
            x, score = found.update(x, *innovation(observe, y, h))
            X = after.values
            analysis = Gaussian.unchecked(x, after)
        yield Cycle(forecast, analysis, {"log_likelihood": score}), interval


def affinely_filtered(problem: Stepwise, once: Affine) -> Iterator[tuple[Cycle, Interval]]:
    """`filtered` for affine functions, also from a prior of infinite variance."""
    begun = (yield from first_cycles(problem, once)) if is_diffuse(problem) else None
    yield from filtered(problem, once, once, begun=begun)


def only_filtered(
    problem: Stepwise, model: Tangent, operator: Tangent, factor: Any = 1.0
) -> Iterator[Cycle]:
    """The cycles of `filtered`; inside `gradients()` by formulas that have derivatives."""
    if wants_gradients(problem.like):
        yield from plainly_filtered(problem, model, operator, factor)
        return
    for cycle, _ in filtered(problem, model, operator, factor):
        yield cycle


@typed
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

    residuals = True  # takes observed angles: see Observation
    inflation: Swept = 1.0
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
        factor = lift(self.inflation, problem.like, problem.batch, "inflation")
        model, operator = linearized(self.jacobian), linearized(self.operator_jacobian)
        yield from only_filtered(problem, model, operator, factor)


def linearized(jacobian: Jacobian) -> Tangent:
    """A function's value and matrix at a mean, by a Jacobian that is told the errors' size."""
    return lambda f, x, X: tangent(jacobian, f, x, variance(X) ** 0.5)


@typed
@dataclass(frozen=True, eq=False)
class KF:
    """The Kalman filter, for linear (or affine) models and operators: exact there.

    Args:
        jacobian: the function that makes the matrices, once: see ExtendedKF.

    Raises:
        ValueError: when run with a model or an operator that is not affine, where the filter
            would be wrong without a sign of it; use ExtendedKF.
    """

    residuals = True  # takes observed angles: see Observation
    jacobian: Jacobian = field(default=linearize, repr=False)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis, both Gaussian, for each observation time."""
        problem = stepwise(problem, "KF")
        once = Affine(self.jacobian, problem)
        if not is_diffuse(problem):
            yield from only_filtered(problem, once, once)
            return
        for cycle, _ in affinely_filtered(problem, once):
            yield cycle
