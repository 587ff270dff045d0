"""The unscented Kalman filter: a Gaussian carried by 2n + 1 points instead of by derivatives.

The sigma points of N(x, P) are x and x +- c s_i, with s_i the rows of a root of P that does not
depend on units (see `sigma_points`) and c = alpha (n + kappa)^1/2. From their images F_0, F_i and
D_i = F_i - F_0 come
    the mean  F_0 + mu,  mu = sum_i D_i / 2c^2,
    the covariance  sum_i D_i^T D_i / 2c^2 + (beta - alpha^2) mu^T mu.
These are the weights of Julier and of Wan, gathered so that a small alpha cancels no digits: mean
and covariance are exact for linear functions, the mean for quadratic ones. The covariance is kept
as Z^T Z with rows Z, so that it is positive and no small part of it is lost (see square_root). The
analysis has, from rows X of the state's points and Z of their images under H, the gain
K = X^T Z (Z^T Z + R)^-1 and the covariance (X - Z K^T)^T (X - Z K^T) + K R K^T.

S. J. Julier and J. K. Uhlmann, Unscented filtering and nonlinear estimation, Proc. IEEE 92, 2004;
E. A. Wan and R. van der Merwe, The unscented Kalman filter for nonlinear estimation, IEEE Adaptive
Systems for Signal Processing, 2000; beta = kappa = 0 and alpha = 1 is the cubature filter of
I. Arasaratnam and S. Haykin, IEEE Trans. Autom. Control 54, 2009.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cache
from typing import Any

from ...array import (
    Array,
    Swept,
    array_namespace,
    check_factor,
    lift,
    no_grad,
    root,
    sane,
    solve,
    triangle,
    typed,
    where_ok,
)
from ...array.derivative import with_derivative
from ...covariances.base import Covariance
from ...covariances.roots import Rows
from ...problem.belief import Gaussian
from ...problem.like import ProblemLike, Stepwise, noise_at, stepping, stepwise
from ...problem.manifold import gathered
from ...problem.observe import is_linear
from ..base import Cycle, log_density, start
from .backward import Interval
from .kalman import inflated
from .square_root import errors, gain, images, innovation, join, size_of, variance, weighed


@typed
def sigma_points(x: Array, P: Array, reach: float) -> Array:
    """The sigma points x, x + reach s_i, x - reach s_i, with s_i the rows of a root of P.

    It is C^1/2 D, of the correlations C and the standard deviations on the diagonal of D: a
    component in other units has the same points in those units.

    Args:
        x: mean `(..., n)`.
        P: covariance `(..., n, n)`, which may be singular.
        reach: how far out the points are, in standard deviations.

    Returns:
        The points `(..., 2n + 1, n)`.
    """
    X, ok = root(P)
    return where_ok(ok, _around(x, _turned(X), reach))


def _turned(X: Array) -> Array:
    """The root C^1/2 D of X^T X: rows X, turned among themselves."""
    return _turn(X)[0]


def _turn(X: Array) -> tuple[Array, Array, Array]:
    """The root C^1/2 D of X^T X, and the turn that makes it of the rows X: U and V^T.

    With X D^-1 = U s V^T the symmetric root C^1/2 is V s V^T, which is V U^T X D^-1.
    """
    xp = array_namespace(X)
    X, ok = sane(X)
    d = variance(X) ** 0.5
    d = xp.where(d > 0, d, 1.0 + 0 * d)[..., None, :]
    U, s, Vt = xp.linalg.svd(X / d, full_matrices=False)
    S = where_ok(ok, (Vt.mT * s[..., None, :]) @ Vt * d)
    return S, U, Vt


def _around(x: Array, S: Array, reach: float) -> Array:
    """The points x, x + reach S_i and x - reach S_i, `(..., 2n + 1, n)`."""
    xp, x = array_namespace(x, S), x[..., None, :]
    S = reach * S
    if S.shape[:-2] != x.shape[:-2]:
        S = xp.broadcast_to(S, (*x.shape[:-2], *S.shape[-2:]))
    return xp.concat((x, x + S, x - S), axis=-2)


@typed
def unscented(F: Array, reach: float, bend: float) -> tuple[Array, Array]:
    """Mean and covariance of the images of sigma points, the covariance as rows Z: it is Z^T Z.

    Z = (D - a mu) / sqrt(2) c with a^2 n / c^2 - 2 a = bend: the term in mu^T mu is in the rows.

    Args:
        F: images of the points `(..., 2n + 1, m)`.
        reach: c, how far out the points were.
        bend: beta - alpha^2, the weight of mu^T mu, the square of what curvature makes.

    Returns:
        Mean `(..., m)` and rows Z `(..., 2n, m)`.

    Raises:
        ValueError: for a bend below -c^2 / n, where a covariance could be negative.
    """
    xp = array_namespace(F)
    D = F[..., 1:, :] - F[..., :1, :]
    mu = xp.sum(D, axis=-2, keepdims=True) / (2 * reach**2)
    total = D.shape[-2] / (2 * reach**2)  # the sum of the weights of the D_i
    if 1 + total * bend < -1e-9:
        raise ValueError(
            f"the weights could make a negative covariance, met beta - alpha^2 = {bend:g}; wanted "
            f"at least {-1 / total:g}: a larger beta, or kappa >= 0"
        )
    a = (1 - max(0.0, 1 + total * bend) ** 0.5) / total
    return (F[..., :1, :] + mu)[..., 0, :], (D - a * mu) / (2**0.5 * reach)


@typed
def ukf(
    x: Array, X: Array, h: Array, Z: Array, y: Array, R: Covariance
) -> tuple[Array, Array, Array]:
    """One analysis from the rows of sigma points.

    K = X^T Z (Z^T Z + R)^-1,  x + K (y - h),  (X - Z K^T)^T (X - Z K^T) + K R K^T.

    Args:
        x: mean of the forecast `(..., n)`.
        X: rows of its covariance X^T X, `(..., k, n)`.
        h: mean of what would be observed `(..., m)`.
        Z: rows of its covariance without errors, `(..., k, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.

    Returns:
        Mean `(..., n)` and covariance `(..., n, n)` of the analysis, and log p(y), `(...)`.

    Raises:
        ValueError: when shapes disagree.
    """
    array_namespace(x, X, h, Z, y)  # one library, or a clear error
    met = X.shape[-1:], Z.shape[-2:], h.shape[-1:], y.shape[-1:]
    if met != (x.shape[-1:], (X.shape[-2], R.n), (R.n,), (R.n,)):
        raise ValueError(
            f"met x {tuple(x.shape)}, X {tuple(X.shape)}, h {tuple(h.shape)}, Z {tuple(Z.shape)}, "
            f"y {tuple(y.shape)}, R of dimension {R.n}; wanted (..., n), (..., k, n), (..., m), "
            "(..., k, m), (..., m) and m"
        )
    Z, d = weighed(R, Z), weighed(R, (y - h)[..., None, :])
    found = gain(X, Z, R)
    xa, score = found.update(x, d, size_of(y, h))
    plain = cache(lambda: _textbook(x, X, Z, d, R))
    exact = xa, found.rows.mT @ found.rows, score
    mean, P, score = (with_derivative(v, lambda i=i: plain()[i]) for i, v in enumerate(exact))
    return mean, P, score


def _textbook(x: Array, X: Array, Z: Array, d: Array, R: Covariance) -> tuple[Array, ...]:
    """The same as the formulas are written: right where the spread is not far above the errors."""
    N = errors(R, Z)
    A, ok = sane(Z.mT @ Z + N)
    K = solve(A, Z.mT @ X)  # (..., m, n), transposed
    rest = X - Z @ K
    P = rest.mT @ rest + K.mT @ N @ K
    return where_ok(ok, x + (d @ K)[..., 0, :]), where_ok(ok, P), log_density(d, A, R)


@typed
@dataclass(frozen=True, eq=False)
class UKF:
    """The unscented Kalman filter: no derivative of model or operator, 2n + 1 model runs.

    Args:
        alpha: in (0, 1], how far out the points are, times sqrt(n + kappa) standard deviations;
            at 1e-3 they only measure derivatives.
        beta: >= 0, what is known of the fourth moment, 2 for a Gaussian.
        kappa: above -n, adds to n in the distance of the points.
        inflation: factor on the analysis standard deviations, a number or an array over the batch.

    Raises:
        ValueError: for settings out of range; when run, if the weights could make a negative
            covariance, as kappa < 0 may.
        TypeError: when run on a problem that does not give its model step by step.
    """

    residuals = True  # takes observed angles: see Observation
    alpha: float = 1.0
    _: KW_ONLY
    beta: float = 2.0
    kappa: float = 0.0
    inflation: Swept = 1.0

    def __post_init__(self):
        check_factor("inflation", self.inflation)
        numbers = all(isinstance(v, (int, float)) for v in (self.alpha, self.beta, self.kappa))
        if not numbers or not 0 < self.alpha <= 1 or not 0 <= self.beta < float("inf"):
            raise ValueError(
                f"wanted numbers 0 < alpha <= 1, beta >= 0 and kappa, met alpha = {self.alpha!r}, "
                f"beta = {self.beta!r}, kappa = {self.kappa!r}"
            )

    def enlarged(self, n: int) -> float:
        """How much the mean of the sigma points enlarges the round-off of their images.

        Args:
            n: the state's dimension.

        Returns:
            1 / c^2 where they lie c < 1 standard deviations from the mean, else 1.
        """
        return max(1.0, 1 / (self.alpha**2 * (n + self.kappa)))

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis, both Gaussian, for each observation time.

        Without model noise one set of points runs through the interval; with it a new one is
        drawn after each step. `info`: "log_likelihood" as for KF.
        """
        for cycle, _ in sigma_filtered(stepwise(problem, "UKF"), self):
            yield cycle


def sigma_filtered(
    problem: Stepwise, settings: UKF, past: bool = False
) -> Iterator[tuple[Cycle, Interval]]:
    """Each Cycle, and the Interval before it: of its `start` there is something if `past`."""
    n, alpha = problem.n, settings.alpha
    if not 0 < n + settings.kappa < float("inf"):
        raise ValueError(f"kappa must be above -n = {-n}, met {settings.kappa!r}")
    reach, bend = alpha * (n + settings.kappa) ** 0.5, settings.beta - alpha**2
    with no_grad(problem.like):
        x, X = start(problem)
        factor = lift(settings.inflation, problem.like, problem.batch, "inflation")
    for k in range(len(problem)):
        with no_grad(problem.like):
            x, X, interval = _carried(problem, k, x, X, reach, bend, past)
            forecast = Gaussian.unchecked(x, Rows(X))
            observe, y = problem.at(k)
            R = observe.noise
            if is_linear(observe.operator):  # exact for the rows as they are
                h, Z = observe(x[..., None, :])[..., 0, :], observe(X)
            else:
                S = _turned(X)
                F, y = observe.together(observe(_around(x, S, reach)), y)
                h, Z = unscented(F, reach, bend)
                X = _there_and_back(S)  # the rows of these points
            found = gain(X, weighed(R, Z), R, images(observe, X, h))
            x, score = found.update(x, *innovation(observe, y, h))
            X = inflated(found.rows, factor, R)
            analysis = Gaussian.unchecked(x, Rows(X))
        yield Cycle(forecast, analysis, {"log_likelihood": score}), interval


def _carried(
    problem: Stepwise, k: int, x: Array, X: Array, reach: float, bend: float, past: bool
) -> tuple[Array, Array, Interval]:
    """Mean and rows of the forecast of observation k, and the Interval that led there.

    A new set of points is a turn of the rows that were: the rows `Y` of the interval's start turn
    with them, and `left`, what of the start no row of today knows, is carried along.
    """
    steps, Q = stepping(problem, k), noise_at(problem, k)
    N, (Y, left), Z = None if Q is None else Q.rows(), (X, None), X
    for i, some in enumerate([steps] if Q is None and steps else [[step] for step in steps]):
        S, U, Vt = _turn(X)
        if i == 0 or N is None or not past:
            Y = _there_and_back(S)
        else:
            Y = join(Y, 0 * N, -2)
            C = U.mT @ Y
            rest = triangle(Y - U @ C)
            Y, left = _there_and_back(Vt.mT @ C), rest if left is None else join(left, rest, -2)
        F = _around(x, S, reach)
        for step in some:
            F = step(F)
        x, Z = unscented(gathered(problem, F), reach, bend)
        X = Z if N is None else join(Z, N, -2)
    noise = N if steps else None
    if left is None:
        return x, X, Interval(Y, Z, noise)
    left = triangle(left)
    return x, X, Interval(join(Y, left, -2), join(Z, 0 * left, -2), noise)


def _there_and_back(S: Array) -> Array:
    """The rows of the covariance of the points around S: they belong to those of `unscented`."""
    return join(S, -S, -2) / 2**0.5
