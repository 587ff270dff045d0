"""What a forecast says of the data before they come: their spread, and how they then agree.

With the whitened innovation d = R^-1/2 (y - H(x)) and C = R^-1/2 H B H^T R^-1/2 = U lambda U^T,
    chi2 = d^T (I + C)^-1 d / m,      dfs = tr(H K) = sum_i lambda_i / (1 + lambda_i).
chi2 is 1 on average where B and R are right, more where they are too small; dfs counts the
numbers that the data, and not the forecast, decide: 0 to m.

Chi-square: Talagrand, in Proc. ECMWF Workshop on Diagnosis of Data Assimilation Systems, 1999.
Degrees of freedom for signal: Rodgers, Inverse Methods for Atmospheric Sounding, 2000.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import (
    Array,
    array_namespace,
    correlations,
    eye,
    row_mean,
    sane,
    to_numpy,
    unbiased,
    where_ok,
)
from ..array.derivative import finite_difference
from ..methods.ensemble.tapering import Tapers
from ..methods.variational.hessian import decomposed
from ..problem.belief import Belief, Ensemble, Gaussian, Point
from ..problem.observe import Observation, is_linear
from ..problem.problem import Problem


def images(belief: Ensemble, Y: Array) -> tuple[Array, Array]:
    """Of `Y = H(members) (..., N, m)`: the mean `(..., 1, m)`, and rows Z with H B H^T = Z^T Z.

    A member of weight w counts w / (1 - sum w^2), one of N alike 1 / (N - 1).
    """
    w = belief.weights
    if w is None:
        h = row_mean(Y)
        return h, (Y - h) / (Y.shape[-2] - 1) ** 0.5
    h = w[..., None, :] @ Y
    return h, (w * unbiased(w))[..., None] ** 0.5 * (Y - h)


def near_data(observe: Observation, h: Array, y: Array) -> Any:
    """Predicted values in NumPy, those of angles on the turn of their datum where there is one."""
    near, own = to_numpy(observe.nearest(h, y)), to_numpy(h)
    return own if observe.residual is None else np.where(np.isfinite(near), near, own)


def agreement(
    belief: Belief, observe: Observation, y: Array, tapers: Tapers | None = None
) -> dict[str, Array]:
    """Chi-square and degrees of freedom for signal of data under a forecast with a spread.

    Args:
        belief: the forecast.
        observe: the observation, with the noise of what was observed.
        y: the data `(..., m)`.
        tapers: multiply the ensemble's covariances, entry by entry.

    Returns:
        `chi2 (...)` and `dfs (...)`; chi2 is NaN where nothing was observed.

    Raises:
        TypeError: a Point, which has no spread.
    """
    R, (d, Z) = observe.noise, innovation(belief, observe, y)
    Z, d = R.whiten(Z), R.whiten(d)
    xp, few = array_namespace(Z), tapers is None and Z.shape[-1] > Z.shape[-2]
    C = Z @ Z.mT if few else Z.mT @ Z
    C, ok = sane(C if tapers is None else tapers.observed * C)
    values, U = xp.linalg.eigh(C)
    values = xp.clip(values, 0.0, None)  # round-off, or a taper that is no correlation function
    dfs = xp.sum(values / (1 + values), axis=-1)
    if few:  # (I + Z^T Z)^-1 = I - Z^T (I + Z Z^T)^-1 Z
        part = (d @ Z.mT @ U)[..., 0, :]
        square = xp.sum(d * d, axis=(-2, -1)) - xp.sum(part**2 / (1 + values), axis=-1)
    else:
        square = xp.sum((d @ U)[..., 0, :] ** 2 / (1 + values), axis=-1)
    sharp = values[..., -1] > float(xp.finfo(Z.dtype).eps) ** -0.5
    if bool(xp.any(sharp)):  # products of rows have lost what ordinary data say beside such ones
        exact = _by_values(Z, d) if tapers is None else _by_correlations(C, d)
        square, dfs = (xp.where(sharp, a, b) for a, b in zip(exact, (square, dfs), strict=True))
    return {"chi2": where_ok(ok, square / observed_count(R, square)), "dfs": where_ok(ok, dfs)}


def predicted_std(problem: Problem, belief: Belief, k: int) -> Array:
    """Standard deviations `(..., m)` of data at observation k, from the diagonal of H B H^T + R.

    NaN where a moving network has no sensor.
    """
    observe = problem._observe(k)
    v = observe.noise.variance()
    if not isinstance(belief, Point):
        Z = innovation(belief, observe, 0 * problem.data[..., k, : observe.m])[1]
        v = v + array_namespace(Z).linalg.vecdot(Z, Z, axis=-2)
    lacks = problem.observation.m - observe.m
    if lacks:
        xp = array_namespace(v)
        v = xp.concat((v, float("nan") + 0 * xp.repeat(v[..., :1], lacks, axis=-1)), axis=-1)
    return v**0.5


def innovation(belief: Belief, observe: Observation, y: Array) -> tuple[Array, Array]:
    """y - H(x) `(..., 1, m)` of a forecast, and rows Z with H B H^T = Z^T Z.

    Args:
        belief: the forecast.
        observe: the observation.
        y: the data `(..., m)`.

    Returns:
        Both.

    Raises:
        TypeError: a Point, which has no spread.
    """
    if isinstance(belief, Ensemble):
        Y, y = observe.together(observe(belief.members), y)
        h, Z = images(belief, Y)
    elif isinstance(belief, Gaussian):
        h, Z = _rows(belief, observe)
    else:
        raise TypeError(
            f"a forecast that is a {type(belief).__name__} has no spread to compare innovations "
            "with; wanted an ensemble or a Gaussian: leave out keep='innovation'"
        )
    y = y[..., None, :]
    return y - observe.nearest(h, y), Z


def _rows(belief: Gaussian, observe: Observation) -> tuple[Array, Array]:
    """H(mean) `(..., 1, m)`, and rows Z with H B H^T = Z^T Z."""
    x, X = belief.mean[..., None, :], belief.cov.rows()
    if is_linear(observe.operator):
        return observe(x), observe(X)
    h, J = finite_difference(observe.smooth, x, belief.std[..., None, :])
    return h, X @ J[..., 0, :, :].mT


def _by_values(Z: Array, d: Array) -> tuple[Array, Array]:
    """d (I + Z^T Z)^-1 d^T and the degrees of freedom, from the singular values of Z."""
    xp = array_namespace(Z, d)
    _, s, V = decomposed(Z)
    share, part = 1 / (1 + s * s), d @ V.mT
    rest = xp.sum((d - part @ V) ** 2, axis=(-2, -1))
    return rest + xp.sum(part[..., 0, :] ** 2 * share, axis=-1), xp.sum(1 - share, axis=-1)


def _by_correlations(C: Array, d: Array) -> tuple[Array, Array]:
    """d (I + C)^-1 d^T and the degrees of freedom, from the correlations of I + C."""
    xp = array_namespace(C, d)
    A, s = correlations(C + eye(C.shape[-1], C))
    values, U = xp.linalg.eigh(A)
    least = C.shape[-1] * float(xp.finfo(C.dtype).eps)
    root = U / xp.clip(values, least, None)[..., None, :] ** 0.5 / s[..., None]
    square = xp.sum((d @ root) ** 2, axis=(-2, -1))
    return square, C.shape[-1] - xp.sum(root * root, axis=(-2, -1))


def observed_count(R: Any, like: Array) -> Any:
    """How many numbers were observed, `(...)`; NaN where none were."""
    seen = R.seen
    if seen is None:
        return R.n
    xp = array_namespace(seen)
    count = xp.sum(xp.astype(seen, like.dtype), axis=-1)
    return xp.where(count > 0, count, count * float("nan"))
