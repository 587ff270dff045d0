"""How large B and R are, from innovations: the tuning of Desroziers and Ivanov.

The shapes of B and R are given, their sizes are not: B -> b B and R -> r R. At the minimum of
    J(x) = J_b + J_o = 1/2 |x - x_b|^2_B + 1/2 |y - H x|^2_R
the two terms have the expectations E J_b = Tr(H K) / 2 and E J_o = Tr(I - H K) / 2 if the sizes
are right. If they are not, the ratios say by how much,
    s_b = 2 J_b / Tr(H K),   s_o = 2 J_o / Tr(I - H K),   b <- s_b b,   r <- s_o r,
until both are 1. There the likelihood of the innovations d ~ N(0, b H B H^T + r R) has its maximum
(Chapnik et al. 2004), so its curvature gives error bars. With R^-1/2 H B H^T R^-1/2 = U lambda U^T
and g = U^T R^-1/2 d all of it is sums over m numbers,
    2 J_b = sum b lambda g^2 / (b lambda + r)^2,   2 J_o = sum r g^2 / (b lambda + r)^2.
If all lambda are equal only b lambda + r is to be seen, and no data tell the two apart.

Desroziers and Ivanov, Q. J. R. Meteorol. Soc. 127, 2001; Chapnik, Desroziers, Rabier and
Talagrand, Q. J. R. Meteorol. Soc. 130, 2004; Talagrand, in Proc. ECMWF Workshop, 1999.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..array import (
    Array,
    array_namespace,
    as_floats,
    check_between,
    check_count,
    convert,
    convert_tree,
    eye,
    sane,
    to_numpy,
    typed,
    warn,
    where_ok,
)
from ..covariances.base import Covariance
from ..covariances.given import as_covariance
from ..covariances.matrices import Dense

VANISHED = 1e-12  # of the other: a scale that has run so far down goes on to 0


@dataclass(frozen=True, eq=False)
class Tuning:
    """What `di01` found, for each experiment of a batch.

    Args:
        s_b: multiply B by it, `(...)`.
        s_o: multiply R by it, `(...)`.
        history_b: s_b after each iteration, from 1 on, `(..., iterations + 1)`.
        history_o: s_o after each iteration.
        error_b: relative standard error of s_b by the curvature of the likelihood, `(...)`;
            infinite where the data do not determine it.
        error_o: the same of s_o.
        converged: whether both ratios are within the tolerance of 1, `(...)`.
        identifiable: whether both errors are below 1, which is a factor e, `(...)`.
        message: what went wrong, "" if nothing did.
    """

    s_b: Array
    s_o: Array
    history_b: Array
    history_o: Array
    error_b: Array
    error_o: Array
    converged: Array
    identifiable: Array
    message: str


@typed
def di01(
    innovations: Array,
    B: Any,
    R: Any,
    H: Array | None = None,
    *,
    iterations: int = 500,
    tolerance: float = 1e-4,
    cost_factor: float = 0.5,
) -> Tuning:
    """The factors of B and R that fit the innovations, by Desroziers and Ivanov's iteration.

        s_b = 2 J_b / Tr(H K),   s_o = 2 J_o / Tr(I - H K),   B <- s_b B,   R <- s_o R,

    until both ratios are 1. Each experiment stops on its own.

    Args:
        innovations: y - H(x_b), `(..., K, m)` at K times, NaN where nothing was observed.
        B: H B H^T, `(..., m, m)` or a Covariance of dimension m; with `H`, the covariance of the
            state.
        R: of the observations: a Covariance, a matrix or variances `(m,)`.
        H: `(m, n)` or `(..., m, n)`, if B is that of the state.
        iterations: at most so many.
        tolerance: stop where both ratios are so close to 1.
        cost_factor: of the squares in J: 1/2. With 1, as in a published code that keeps the factor
            2 of the ratios, both scales come out twice too large.

    Returns:
        Tuning: the scales, their errors, and whether they can be trusted. A UserWarning says where
            the scales cannot be told apart or the iteration did not converge.

    Raises:
        ValueError: shapes that do not fit, no observation at all, or an H B H^T that is zero or
            has negative eigenvalues.

    Source: Desroziers and Ivanov, Diagnosis and adaptive tuning of observation-error parameters in
    a variational assimilation, Q. J. R. Meteorol. Soc. 127, 2001.
    """
    d = as_floats(innovations, "innovations", axes=("time", "y"), gaps=True)
    if array_namespace(d).finfo(d.dtype).bits < 32:
        raise TypeError(f"innovations have dtype {d.dtype}, wanted float32 or float64")
    if d.ndim < 2 or 0 in d.shape:
        raise ValueError(
            f"innovations must have axes (..., K times, m), met shape {tuple(d.shape)}; one "
            "vector is d[None]"
        )
    check_count("iterations", iterations)
    check_between("tolerance", tolerance, 0, 1e3, open_low=True)
    R = convert_tree(as_covariance(R, "R", d.shape[-1], definite=True), d)
    spectra, ok = _spectra(d, _observed(B, H, d), R)
    xp = array_namespace(d)
    b = r = xp.ones_like(xp.sum(spectra.square, axis=(-2, -1)))
    done = xp.zeros_like(b) > 0
    paths = [(b, r)]
    for _ in range(iterations):
        s_b, s_o = (2 * cost_factor * s for s in spectra.ratios(b, r))
        done = done | ((abs(s_b - 1) < tolerance) & (abs(s_o - 1) < tolerance))
        stop = done | (b < VANISHED * r) | (r < VANISHED * b)
        b, r = xp.where(stop, b, s_b * b), xp.where(stop, r, s_o * r)
        paths.append((b, r))
        if bool(xp.all(stop)):
            break
    b, r, error_b, error_o = (where_ok(ok, v) for v in (b, r, *spectra.errors(b, r)))
    done = done & xp.isfinite(b)
    known = (error_b < 1) & (error_o < 1)  # a diverged experiment's NaN is not
    message = _message(to_numpy(b), to_numpy(r), to_numpy(done), to_numpy(known), iterations)
    if message:
        warn(message)
    path_b, path_o = (where_ok(ok, xp.stack([p[i] for p in paths], axis=-1)) for i in (0, 1))
    return Tuning(b, r, path_b, path_o, error_b, error_o, done, known, message)


@dataclass(frozen=True, eq=False)
class _Spectra:
    """Eigenvalues lambda, squares g^2 and whether observed (1 or 0), all `(..., K, m)`.

    Where all `times` share one spectrum the squares are summed over them, and K is 1.
    """

    lam: Array
    square: Array
    observed: Array
    times: int

    def _shares(self, b: Array, r: Array) -> tuple[Array, Array, Array]:
        b, r = b[..., None, None], r[..., None, None]
        S = b * self.lam + r
        return b * self.lam / S, r * self.observed / S, S

    def ratios(self, b: Array, r: Array) -> tuple[Array, Array]:
        """|x - x_b|^2_B / Tr(H K) and |y - H x|^2_R / Tr(I - H K), summed over the times."""
        xp = array_namespace(self.square)
        h, o, S = self._shares(b, r)
        fit = self.square / S
        s_b, s_o = (xp.sum(v * fit, axis=(-2, -1)) / self._trace(v) for v in (h, o))
        return s_b, s_o

    def errors(self, b: Array, r: Array) -> tuple[Array, Array]:
        """Standard errors of log b and log r: the inverse of what the innovations inform."""
        xp = array_namespace(self.square)
        h, o, _ = self._shares(b, r)
        bb, oo, bo = (self._trace(u * v) / 2 for u, v in ((h, h), (o, o), (h, o)))
        det = bb * oo - bo * bo
        known = det > 1e-10 * bb * oo  # else round-off of proportional ones
        det = xp.where(known, det, xp.ones_like(det))
        endless = xp.full_like(det, math.inf)
        e_b, e_o = (xp.where(known, (v / det) ** 0.5, endless) for v in (oo, bb))
        return e_b, e_o

    def _trace(self, v: Array) -> Array:
        return self.times * array_namespace(v).sum(v, axis=(-2, -1))


def _spectra(d: Array, S: Array, R: Covariance) -> tuple[_Spectra, Any]:
    """Eigenvalues and squares of all innovations, and which experiments are finite."""
    xp, m = array_namespace(d), d.shape[-1]
    if R.n != m or tuple(S.shape[-2:]) != (m, m):
        raise ValueError(
            f"met innovations of {m} numbers, H B H^T {tuple(S.shape)} and R of dimension {R.n}; "
            f"wanted (..., {m}, {m}) and {m}"
        )
    if bool(xp.any(xp.isinf(d))):
        raise ValueError("innovations hold infinite values; wanted numbers, or NaN for missing")
    seen = ~xp.isnan(d)
    if not bool(xp.any(seen)):
        raise ValueError("innovations hold no number: nothing was observed; wanted data")
    make = _one_spectrum if bool(xp.all(seen)) else _spectrum_of_each_time
    spectra, ok = make(xp.where(seen, d, xp.zeros_like(d)), seen, S, R)
    lead = np.broadcast_shapes(tuple(spectra.lam.shape[:-2]), tuple(spectra.square.shape[:-2]))
    square = xp.broadcast_to(spectra.square, (*lead, *spectra.square.shape[-2:]))
    return replace(spectra, square=square), ok


def _one_spectrum(d: Array, seen: Array, S: Array, R: Covariance) -> tuple[_Spectra, Any]:
    """Everything observed: all times share a spectrum, so their squares are summed."""
    xp = array_namespace(d)
    lam, U, ok = _eigen(_between(S, R))
    square = xp.sum((R.whiten(d) @ U) ** 2, axis=-2, keepdims=True)
    observed = xp.ones_like(d[..., :1, :])
    return _Spectra(lam[..., None, :], square, observed, times=d.shape[-2]), ok


def _spectrum_of_each_time(d: Array, seen: Array, S: Array, R: Covariance) -> tuple[_Spectra, Any]:
    """A spectrum for each time: what was not observed has lambda = 0 and g = 0."""
    xp, m = array_namespace(d), d.shape[-1]
    R = Dense.unchecked(R.matrix()[..., None, :, :]) if R.batch else R
    R = R.masked(seen)
    lam, U, ok = _eigen(_between(S[..., None, :, :], R))
    square = (R.whiten(d[..., None, :]) @ U)[..., 0, :] ** 2
    gaps = m - xp.sum(xp.astype(seen, d.dtype), axis=-1)  # the least eigenvalues are theirs
    order = xp.astype(xp.arange(m), d.dtype)
    observed = xp.astype(convert(order, d) >= gaps[..., None], d.dtype)
    ok = ok if ok is True else xp.all(ok, axis=-1)
    return _Spectra(lam, square, observed, times=1), ok


def _eigen(C: Array) -> tuple[Array, Array, Any]:
    """Eigenvalues >= 0 and eigenvectors of symmetric C, and which of a batch are finite."""
    C, ok = sane(C)
    xp = array_namespace(C)
    lam, U = xp.linalg.eigh((C + C.mT) / 2)
    slack = float(xp.finfo(C.dtype).eps) ** 0.5  # round-off of a singular one is far below
    low, top = lam[..., 0], lam[..., -1]  # all 0 at a time without data
    if bool(xp.any(low < -slack * abs(top))) or not bool(xp.any(top > 0)):
        raise ValueError(
            f"H B H^T has eigenvalues from {float(xp.min(low)):.3g} to {float(xp.max(top)):.3g} "
            "in units of R; wanted a covariance: none negative and not all zero"
        )
    return xp.clip(lam, 0.0, None), U, ok


def _between(S: Array, R: Covariance) -> Array:
    """R^-1/2 S R^-T/2 for symmetric `S (..., m, m)`."""
    return R.whiten(R.whiten(S).mT)


def _observed(B: Any, H: Any, like: Array) -> Array:
    """H B H^T in the library of `like`."""
    H = None if H is None else convert(as_floats(H, "H", axes=("y", "x")), like)
    if isinstance(B, Covariance):
        B = convert_tree(B, like)
        if H is not None and B.n != H.shape[-1]:
            raise ValueError(f"H has shape {tuple(H.shape)}, wanted (..., m, {B.n}) for this B")
        if H is not None:  # rows of L^T
            G = B.color(eye(B.controls, like)) @ H.mT
            return G.mT @ G
        return convert(B.matrix(), like)
    B = convert(as_floats(B, "B", axes=("x", "x")), like)
    B = B[..., None, :] * eye(B.shape[-1], like) if B.ndim == 1 else B
    return B if H is None else H @ B @ H.mT


def _message(
    b: np.ndarray, r: np.ndarray, done: np.ndarray, known: np.ndarray, iterations: int
) -> str:
    """What a user must know before these numbers are used."""
    b, r, done, known = (np.atleast_1d(v).ravel() for v in (b, r, done, known))
    problems, count = [], len(b)
    if not known.all():
        first = int(np.flatnonzero(~known)[0])
        problems.append(
            f"{int((~known).sum())} of {count} experiments do not tell B from R (the first, "
            f"number {first}: s_b = {b[first]:.3g}, s_o = {r[first]:.3g}): H B H^T is close to a "
            "multiple of R, or the data are few; wanted more innovations"
        )
    if not done.all():
        problems.append(
            f"{int((~done).sum())} of {count} experiments did not converge in {iterations} "
            "iterations; give more iterations, or more innovations: a scale that runs to 0 says "
            "that the data show no such error"
        )
    return "; ".join(problems)
