"""The Kalman filter from a prior that says nothing: exact, by rows of infinite variance.

P = k D^T D + X^T X for k to infinity. The model carries rows D as it carries rows X; each datum
that a direction of D reaches spends it (see `one_by_one`), and when none is left the filter goes
on as ever. Such a datum adds -log(2 pi F) / 2 to the log-likelihood, with F what it has of D^T D:
the limit of log p(y) + d/2 log k, for d directions.

J. Durbin and S. J. Koopman, Time Series Analysis by State Space Methods, 2nd ed. 2012 (ch. 5);
P. de Jong, The diffuse Kalman filter, Ann. Statist. 19, 1991.
"""

from __future__ import annotations

from collections.abc import Generator
from math import log, pi

from ...array import Array, array_namespace, eye, no_grad, sane, triangle, where_ok
from ...covariances.base import Covariance
from ...covariances.diffuse import Diffuse
from ...covariances.roots import Rows
from ...problem.belief import Gaussian
from ...problem.like import Stepwise, noise_at, stepping
from ..base import Cycle
from .affine import Affine
from .backward import Interval
from .one_by_one import condition
from .square_root import Gain, join, size_of, sums, variance

Pairs = Generator[tuple[Cycle, Interval], None, tuple[int, Array, Array]]


def is_diffuse(problem: Stepwise) -> bool:
    """Whether the prior has infinite variances."""
    return isinstance(getattr(problem.prior, "cov", None), Diffuse)


def first_cycles(problem: Stepwise, once: Affine) -> Pairs:
    """The cycles until no variance is infinite; then how many, mean and rows."""
    prior: Diffuse = problem.prior.cov  # pyright: ignore
    like = problem.like
    xp, k = array_namespace(like), 0
    x = xp.broadcast_to(problem.prior.mean, (*problem.batch, problem.n))
    X, D = prior.cov.rows(), prior.endless
    for k in range(len(problem)):
        with no_grad(like):
            X0, D0, noise, Q = X, D, None, noise_at(problem, k)
            scale, wide = variance(X) ** 0.5, variance(D) ** 0.5
            for step in stepping(problem, k):
                x, M = once(step, x, X)
                scale, wide = (_through(M, s) for s in (scale, wide))
                X, D = X @ M.mT, D @ M.mT
                if Q is not None:
                    noise = Q.rows() if noise is None else join(noise @ M.mT, Q.rows(), -2)
                    scale = scale + Q.deviations()
            D = _without_round_off(D, wide)
            interval = Interval(X0, X, noise, (D0, D, wide, scale))
            F = interval.rows
            observe, y = problem.at(k)
            h, H = once(observe.smooth, x, F)
            forecast = believed(x, F, D)
            found = _gain(F, D, H, observe.noise)
            d = _seen(observe.noise, (y - observe.nearest(h, y))[..., None, :])
            x, score = found.update(x, d, size_of(y, h))
            X, D = found.rows, found.endless
            assert D is not None
            analysis = believed(x, X, D)
        yield Cycle(forecast, analysis, {"log_likelihood": score}), interval
        if not bool(xp.any(D != 0)):
            break
    return k + 1, x, X


def believed(x: Array, X: Array, D: Array) -> Gaussian:
    """The Gaussian of mean x, rows X and rows D of infinite variance, where there are any."""
    cov: Covariance = Rows(X)
    if bool(array_namespace(D).any(D != 0)):
        cov = Diffuse.unchecked(D, cov)
    return Gaussian.unchecked(x, cov)


def _through(M: Array, s: Array) -> Array:
    return (s[..., None, :] @ array_namespace(M).abs(M).mT)[..., 0, :]


def _without_round_off(D: Array, size: Array) -> Array:
    xp = array_namespace(D)
    tiny = 64 * D.shape[-1] * float(xp.finfo(D.dtype).eps)
    return xp.where(xp.abs(D) > tiny * size[..., None, :], D, 0 * D)


def _seen(R: Covariance, x: Array) -> Array:
    if R.seen is None:
        return x
    xp = array_namespace(x, R.seen)
    return xp.where(R.seen[..., None, :], x, xp.zeros_like(x))


def _gain(X: Array, D: Array, H: Array, R: Covariance) -> Gain:
    """What data teach where rows D have infinite variance; nothing is whitened."""
    E, Z, far = (_seen(R, rows) for rows in (R.rows(), X @ H.mT, D @ H.mT))
    xp, m = array_namespace(E, Z), Z.shape[-1]
    none = eye(X.shape[-1], X)[:1] * xp.zeros_like(E[..., :1])
    B, ok = sane(join(join(E, none), join(Z, X), -2))
    scale = variance(B)[..., :m] ** 0.5 + sums(X, H)
    got = condition(B, m, scale, join(far, D), sums(D, H))
    counted = xp.sum(1 - got.void, axis=-1)
    score = -counted * log(2 * pi) / 2 - got.size
    assert got.endless is not None
    endless = _without_round_off(got.endless, variance(D) ** 0.5)
    parts = got.T, xp.linalg.inv(got.T), got.K, score, triangle(got.rows)
    T, inverse, K, score, rows = (where_ok(ok, part) for part in parts)
    return Gain(T, inverse, K, score, rows, got.told, got.void, endless)
