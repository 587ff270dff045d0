"""The finite-size ensemble Kalman filter: the ensemble's own doubt says how much to inflate.

N members know their mean and covariance only so well. Integrated over what these may be, the prior
of the weights w of the mean is no Gaussian but heavy-tailed, and the analysis minimises
    J(w) = |d - w S|^2 / 2 + (L / 2) ln(eps + |w|^2),   eps = 1 + 1/N,  L = N,
with S the whitened images of the anomalies (rows) and d the whitened innovation. Its dual has one
unknown, zeta = L / (eps + |w|^2):
    D(zeta) = d (I + S^T S / zeta)^-1 d^T + eps zeta - L ln zeta,   0 < zeta <= L / eps,
and the analysis is the ETKF's with zeta in place of N - 1: with the prior anomalies multiplied by
((N - 1) / zeta)^1/2. No inflation is left to tune where the model is perfect.

Two numbers are changed as in Bocquet, Raanes and Hannart (2015): eps / c and L c, where
c^2 = (eps / L (N - 1))^tr, and tr is the mean eigenvalue of I - K H in the space of members, so
that nothing is inflated where nothing is seen; and both times xN, a certainty of the ensemble as
if it had xN times as many members.

Bocquet, Nonlin. Processes Geophys. 18, 2011; Bocquet and Sakov, ibid. 19, 2012; Bocquet, Raanes
and Hannart, Expanding the validity of the EnKF without the intrinsic need for inflation, ibid.
22, 2015.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from ...array import Array, Swept, array_namespace, check_factor, eye, lift, sane, typed, where_ok
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import whitened
from .combinations import transformed
from .cycle import check_settings, ensemble_cycles
from .inflation import Inflation
from .transform import ahead, decomposed, replaced, rotations, steep

LARGEST_FACTOR = 1e3  # on the prior anomalies, up to which it is sought

GRID = 24  # values of ln zeta among which the least dual cost is looked for

ROUNDS = 60  # of Newton or bisection; five or so do


def dual_terms(square: Array, N: int, xN: Any = 1.0) -> tuple[Array, Array]:
    """`eps` and `L (..., 1, 1)` of the dual cost; `square (..., 1, N)`: eigenvalues of S S^T."""
    xp = array_namespace(square)
    eps, L = 1 + 1 / N, float(N)
    weight = xp.mean((N - 1) / (square + N - 1), axis=-1, keepdims=True)
    c = (eps * (N - 1) / L) ** (weight / 2)
    return xN * eps / c, xN * L * c


def dual_cost(zeta: Array, square: Array, c: Array, eps: Any, L: Any) -> Array:
    """D, less what no zeta changes, at `zeta (..., k, 1)`.

    `square`, `c (..., 1, N)`: eigenvalues of S S^T and d S^T in its eigenvectors. What is left of
    d (I + S^T S / zeta)^-1 d^T is zeta sum c^2 / (square (zeta + square)), positive in each term.
    """
    xp = array_namespace(zeta, square)
    seen = square > 0
    a = xp.where(seen, c / xp.where(seen, square, 1.0), 0.0)
    return (
        eps * zeta - L * xp.log(zeta) + zeta * xp.linalg.vecdot(a, c / (zeta + square))[..., None]
    )


def dual_slope(zeta: Array, square: Array, c: Array, eps: Any, L: Any) -> tuple[Array, Array]:
    """First and second derivative of D by ln zeta, at `zeta (..., 1, 1)`."""
    xp = array_namespace(zeta, square)
    v = zeta + square
    w = c / v  # the weights of the mean
    first = zeta * (eps + w @ w.mT)
    return first - L, first - 2 * zeta * zeta * xp.linalg.vecdot(w, w / v)[..., None]


def least_dual(square: Array, c: Array, N: int, eps: Array, L: Array) -> Array:
    """The zeta `(..., 1, 1)` of least dual cost: a grid, then Newton kept inside by bisection.

    Each experiment stops on its own. The unknown is ln zeta.
    """
    xp = array_namespace(square, c)
    low, high = math.log((N - 1) / LARGEST_FACTOR**2), xp.log(L / eps)
    part = xp.arange(GRID, dtype=c.dtype, device=c.device)[:, None]
    width = (high - low) / (GRID - 1)
    costs = dual_cost(xp.exp(low + part * width), square, c, eps, L)
    t = low + width * xp.astype(xp.argmin(costs, axis=-2, keepdims=True), c.dtype)
    low, high = xp.clip(t - width, low, None), xp.minimum(high, t + width)
    done, limit = None, float(xp.finfo(c.dtype).eps) ** 0.5  # the error left is its square
    for _ in range(ROUNDS):
        slope, bend = dual_slope(xp.exp(t), square, c, eps, L)
        low, high = xp.where(slope < 0, t, low), xp.where(slope < 0, high, t)
        new = t - slope / bend
        new = xp.where((bend > 0) & (new >= low) & (new <= high), new, (low + high) / 2)
        still = xp.abs(new - t) > limit  # not so where there is a NaN
        t = new if done is None else xp.where(done, t, new)
        done = ~still if done is None else done | ~still
        if bool(xp.all(done)):
            break
    return xp.exp(t)


def of_hessian(v: Array, u: Array, weight: Array) -> tuple[Array, Array, Any]:
    """Of diag(v) - weight u^T u: eigenvalues `(..., 1, N)`, eigenvectors; and `ok`."""
    xp, N = array_namespace(v), v.shape[-1]
    full, ok = sane(v * eye(N, v) - weight * (u.mT @ u))
    s, W = xp.linalg.eigh(full)
    s = s[..., None, :]
    large = s[..., 0, -1] > steep(N, s)
    if bool(xp.any(large)):
        s, W = replaced(large, _of_root, (v, u, weight), (s, W))
    return xp.clip(s, (N - 1) / LARGEST_FACTOR**2, None), W, ok  # positive, but for round-off


def _of_root(v: Array, u: Array, weight: Array) -> tuple[Array, Array]:
    """The same of large v, by singular values of a root of the matrix: (I - b a^T a) v^1/2."""
    xp = array_namespace(v)
    a = u / v**0.5
    size = a @ a.mT
    b = weight / (1 + xp.clip(1 - weight * size, 0, None) ** 0.5)
    _, t, W = xp.linalg.svd((eye(v.shape[-1], v) - b * (a.mT @ a)) * v**0.5)
    return t[..., None, :] ** 2, W.mT


@typed
def enkf_n(
    E: Array | Ensemble, Y: Array, y: Array, R: Covariance, xN: Swept = 1.0, hessian: bool = False
) -> tuple[Ensemble, Array]:
    """One analysis, with the factor on the prior anomalies that the data call for.

    w = d S^T A^-1 and T^T T = (N - 1) A^-1, A = S S^T + zeta I, with the zeta of least dual cost.

    Args:
        E: forecast ensemble `(..., N, n)`, an array or an Ensemble.
        Y: its image H(E), `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.
        xN: the certainty of the ensemble, as if it had xN times the members, a number or
            `(..., 1, 1)`.
        hessian: whether the anomalies come from the full Hessian of J, A - (2 zeta^2 / L) w^T w,
            instead of A.

    Returns:
        The analysis ensemble, and the prior factor ((N - 1) / zeta)^1/2, `(...)`.

    Raises:
        ValueError: when N or m disagree.
    """
    prior, S, d = whitened(E, Y, y, R)
    xp, N = array_namespace(S), S.shape[-2]
    s, V, c, ok = decomposed(S, d)
    square, eps, largest = s - (N - 1), 2 * N * float(xp.finfo(s.dtype).eps), s[..., -1:]
    root = largest > steep(N, s)  # then not squares were summed, but their roots found
    unseen = square < eps * xp.where(root, xp.maximum(eps * largest, N - 1 + 0 * s), largest)
    square, c = xp.where(unseen, 0.0, square), xp.where(unseen, 0.0, c)  # of round-off
    eps, L = dual_terms(square, N, xN)
    zeta = least_dual(square, c, N, eps, L)
    u = c / (square + zeta)
    if hessian:
        s, W, fine = of_hessian(square + zeta, u, 2 * zeta**2 / L)
        V, T, u = V @ W, ((N - 1) / s) ** 0.5, u @ W
        ok = fine if ok is True else ok if fine is True else ok & fine
    else:
        T = ((N - 1) / (square + zeta)) ** 0.5
    w, T = where_ok(ok, u @ V.mT), where_ok(ok, (V * T) @ V.mT)
    return transformed(prior, w, T), (((N - 1) / zeta) ** 0.5)[..., 0, 0]


@typed
@dataclass(frozen=True, eq=False)
class EnKFN:
    """The finite-size ensemble Kalman filter, in its dual form.

    `info["inflation"]` is the factor on the prior anomalies.

    Args:
        members: ensemble size N, an integer >= 2.
        inflation: factor on the analysis anomalies, as in the ETKF; the method wants none (1)
            against sampling errors.
        rotate: None, "householder" or "haar", a random rotation of the members after each analysis
            that keeps their mean and covariance: see ETKF.
        xN: the certainty of the ensemble, as if it had xN times the members: 1 for chaos that
            makes members independent, more for nearly linear models; an array sweeps it.
        hessian: whether the anomalies come from the full Hessian of the cost.

    Raises:
        ValueError: for a setting out of its range.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    inflation: Swept | Inflation = 1.0
    rotate: Literal["householder", "haar"] | None = None
    xN: Swept = 1.0
    hessian: bool = False

    def __post_init__(self):
        check_settings(self)
        check_factor("xN", self.xN)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        turns = rotations(self.rotate, rng, self.members, problem.like, ahead(problem, rng))
        xN = lift(self.xN, problem.like, problem.batch, "xN")

        def update(forecast, Y, y, observe):
            analysis, factor = enkf_n(forecast, Y, y, observe.noise, xN, self.hessian)
            return next(turns)(analysis), {"inflation": factor}

        return ensemble_cycles(problem, rng, self.members, self.inflation, update)
