"""Increments of one observed number: what each member's image moves by, given its datum.

The first of the two steps of a serial ensemble filter; the second is regression. One number h with
members h_1, ..., h_N, a datum y with error variance r:
    eakf_increments    a normal prior: shifted and drawn together;
    enkf_increments    a normal prior: each member meets a perturbed datum of its own;
    rhf_increments     a rank histogram as prior, with bounds or without;
    gamma_increments   a gamma prior and a gamma likelihood, above 0.

Anderson, A local least squares framework for ensemble filtering, Mon. Wea. Rev. 131, 2003.
"""

from __future__ import annotations

from ...array import Array, array_namespace, convert, row_mean, typed
from .gamma import GammaMarginal
from .marginals import Marginal, NormalMarginal
from .ranks import RankHistogram


@typed
def eakf_increments(h: Array, y: Array, r: Array) -> Array:
    """Increments of the ensemble adjustment Kalman filter.

    The mean becomes the Kalman mean, and anomalies are multiplied by (r / (v + r))^1/2.

    Args:
        h: members of one number `(..., N)`.
        y: its datum, a number or `(...)`.
        r: the variance of its error, above 0, a number or `(...)`.

    Returns:
        The increments `(..., N)`.

    Raises:
        ValueError: for fewer than two members, or a variance that is not positive.

    Source: Anderson, Mon. Wea. Rev. 129, 2001.
    """
    return _increments(NormalMarginal(), h, y, r)


@typed
def enkf_increments(h: Array, y: Array, r: Array, errors: Array) -> Array:
    """Increments of the stochastic ensemble Kalman filter: (y + e_i - h_i) v / (v + r).

    Args:
        h: members of one number `(..., N)`.
        y: its datum, a number or `(...)`.
        r: the variance of its error, above 0, a number or `(...)`.
        errors: one e_i for each member, of variance r `(..., N)`. They are centred over the
            members, so that they add no error to the mean.

    Returns:
        The increments `(..., N)`.

    Raises:
        ValueError: for fewer than two members, or a variance that is not positive.

    Source: Burgers, van Leeuwen and Evensen, Mon. Wea. Rev. 126, 1998.
    """
    x, y, r = _checked(h, y, r)
    xp = array_namespace(x, errors)
    e = errors[..., None]
    if tuple(errors.shape[-1:]) != tuple(h.shape[-1:]):
        raise ValueError(f"met errors {tuple(errors.shape)} of members {tuple(h.shape)}")
    X = x - row_mean(x)
    v = xp.sum(X * X, axis=-2, keepdims=True) / (x.shape[-2] - 1)
    return ((y + e - row_mean(e) - x) * v / (v + r))[..., 0]


@typed
def rhf_increments(
    h: Array, y: Array, r: Array, *, lower: float | None = None, upper: float | None = None
) -> Array:
    """Increments of the rank-histogram filter: each member keeps its quantile.

    Args:
        h: members of one number `(..., N)`.
        y: its datum, a number or `(...)`; it may lie beyond the bounds.
        r: the variance of its error, above 0, a number or `(...)`.
        lower: the least value that the number can have, None for none.
        upper: the largest, None for none.

    Returns:
        The increments `(..., N)`.

    Raises:
        ValueError: for fewer than two members, a variance that is not positive, and members beyond
            the bounds.

    Source: Anderson, Mon. Wea. Rev. 138, 2010; with bounds: 150, 2022.
    """
    return _increments(RankHistogram(lower, upper), h, y, r)


@typed
def gamma_increments(h: Array, y: Array, r: Array) -> Array:
    """Increments under a gamma prior and a gamma likelihood of mean y and variance r.

    The product is a gamma law again; each member keeps its quantile, and stays positive.

    Args:
        h: members of one number, above 0, `(..., N)`.
        y: its datum, above 0, a number or `(...)`.
        r: the variance of its error, above 0, a number or `(...)`.

    Returns:
        The increments `(..., N)`.

    Raises:
        ValueError: for fewer than two members, a variance that is not positive, members or data
            that are not positive, and a likelihood so wide that the product is no law.

    Source: Anderson, Mon. Wea. Rev. 150, 2022.
    """
    return _increments(GammaMarginal(), h, y, r)


def _increments(law: Marginal, h: Array, y: Array, r: Array) -> Array:
    x, y, r = _checked(h, y, r)
    return (law.updated(x, y, r) - x)[..., 0]


def _checked(h: Array, y: Array, r: Array) -> tuple[Array, Array, Array]:
    """Members `(..., N, 1)`, data and variances `(..., 1, 1)`."""
    if h.ndim < 1 or h.shape[-1] < 2:
        raise ValueError(f"wanted members (..., N) with N >= 2, met shape {tuple(h.shape)}")
    y, r = (convert(v, h) for v in (y, r))
    if bool(array_namespace(r).any(r <= 0)):
        raise ValueError(f"the error variance must be positive, met {float(r.min()):g}")
    return h[..., None], y[..., None, None], r[..., None, None]
