"""The local particle filter: weights of its own at every point, and transport instead of draws.

An observation j weighs rho_j in [0, 1] at a point, by its distance. The weights of the members
there are
    w_i = exp(-sum_j rho_j d_ij^2 / 2) / sum of the same over i,   d_i = R^-1/2 (y - H(x_i)),
from a few observations, so they do not gather on one member. Drawing members anew at every point
would tear the fields apart. So each number is *moved* instead, as little as possible: in one
dimension the optimal transport of the weighted members to equal ones keeps their order, and the
j-th smallest of N takes the mean of the j-th N-th of the weighted distribution,
    x_(j) <- N (G(j/N) - G((j-1)/N)),   G(q) = sum_i w_(i) x_(i) up to the quantile q.
The mean over members is exactly sum_i w_i x_i. Neighbouring points, whose weights differ little,
move alike. The cost grows with n N log N.

Reich, A nonparametric ensemble transform method for Bayesian inference, SIAM J. Sci. Comput. 35,
2013; localized, one dimension at a time: Cheng and Reich, in Nonlinear Data Assimilation,
Springer, 2015; noise from the forecast's anomalies: Reich and Cotter, Probabilistic Forecasting
and Bayesian Data Assimilation, 2015; among other local particle filters: Farchi and Bocquet,
Nonlin. Processes Geophys. 25, 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from ...array import Array, array_namespace, check_between, convert, lift, normal, row_mean
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from ..ensemble.checks import check_ensemble, check_independent, check_update
from ..ensemble.cycle import ensemble_cycles
from ..ensemble.localization import (
    Localization,
    Neighbours,
    check_localization,
    locations,
    reached,
    remembered,
)
from .resampling import systematic

BLOCK = 2**17  # numbers of the local misfits that are worked on at once: a core's cache


def transport(x: Array, w: Array) -> Array:
    """Equally likely numbers `(..., N)` in place of `x (..., N)` with weights `w (..., N)`.

    The optimal transport in one dimension: their mean is sum_i w_i x_i and their order that of x;
    equal weights leave x as it is.
    """
    xp = array_namespace(x, w)
    N = x.shape[-1]
    order = xp.argsort(x, axis=-1, stable=True)
    x, w = (xp.take_along_axis(v, order, axis=-1) for v in (x, w))
    ends, sums = xp.cumulative_sum(w, axis=-1), xp.cumulative_sum(w * x, axis=-1)
    i = systematic(w, xp.zeros_like(w[..., 0]))  # the members that hold the quantiles q = j / N
    q = xp.arange(N, dtype=x.dtype, device=x.device) / N
    x, ends, G = (xp.take_along_axis(v, i, axis=-1) for v in (x, ends, sums))
    G = xp.concat((G - (ends - q) * x, sums[..., -1:]), axis=-1)
    new = N * (G[..., 1:] - G[..., :-1])
    return xp.take_along_axis(new, xp.argsort(order, axis=-1), axis=-1)


def local_particle(
    E: Array | Ensemble, Y: Array, y: Array, R: Covariance, near: list[Neighbours]
) -> tuple[Array, Array]:
    """One analysis `(..., N, n)`, and the mean over the points of the effective size `(...)`.

    Ensemble `E (..., N, n)`, its image `Y = H(E) (..., N, m)`, data `y (..., m)`; `R` is diagonal;
    `near = localization.near(locations)`. Raises ValueError when N or m disagree, or for an R
    with correlations, whose errors have no place of their own.
    """
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    xp = array_namespace(prior.members, Y, y)  # one library, or a clear error
    check_update(prior.members, Y, y, R)
    check_independent(R)
    N = Y.shape[-2]
    d = R.whiten(y[..., None, :] - Y)
    misfit = -0.5 * (d * d).mT  # (..., m, N)
    X = prior.anomalies.mT  # (..., n, N)
    moved, sizes, order = [], [], []
    for components, index, weight in pieces(near, math.prod(misfit.shape[:-2]), N):
        rows, rho = convert(index, misfit), convert(weight, misfit)
        log_w = rho[..., None, :] @ misfit[..., rows, :]  # (..., P, 1, N)
        log_w = log_w - xp.max(log_w, axis=-1, keepdims=True)
        w = xp.exp(log_w)
        w = w / xp.sum(w, axis=-1, keepdims=True)
        P, C = components.shape
        x = xp.reshape(X[..., convert(components.reshape(-1), X), :], (*X.shape[:-2], P, C, N))
        both = np.broadcast_shapes(tuple(x.shape), tuple(w.shape))
        new = transport(xp.broadcast_to(x, both), xp.broadcast_to(w, both))
        moved.append(xp.reshape(new, (*new.shape[:-3], P * C, N)))
        sizes.append(1 / xp.sum(w[..., 0, :] ** 2, axis=-1))
        order.append(components.reshape(-1))
    new = xp.concat(moved, axis=-2)
    back = convert(np.argsort(np.concatenate(order)), new)
    size = xp.mean(xp.concat(sizes, axis=-1), axis=-1)
    return prior._mean + new[..., back, :].mT, size


def pieces(near: list[Neighbours], experiments: int, N: int) -> Iterator[Neighbours]:
    """The points in blocks that fit a cache, each with the observations that reach one of them."""
    for components, index, weight in near:
        used = reached(weight)
        step = max(1, BLOCK // (experiments * N * max(N, index.shape[-1])))
        for i in range(0, len(index), step):
            p, at = max(1, int(used[i : i + step].max())), slice(i, i + step)
            yield Neighbours(components[at], index[at, :p], weight[..., at, :p])


@dataclass(frozen=True, eq=False)
class LocalParticleFilter:
    """The local particle filter with optimal transport, one component at a time.

    Arguments: `members`, N >= 2; `localization`, where the components are and how far observations
    reach (its radius may be an array over the problem's batch axes); `inflation`, the factor on
    the analysis anomalies, a number, an array over the batch axes, or RTPS, RTPP, Adaptive;
    `regularization` >= 0, the size of noise in standard deviations of the forecast: to each member
    a random combination of the forecast's anomalies, of mean 0 over members, is added.

    Observations need `locations`, unless they pick components (identity, Every, Subset), and
    independent errors. Reports `effective_size`, the mean over the points.
    """

    members: int
    _: KW_ONLY
    localization: Localization
    inflation: Any = 1.0
    regularization: Any = 0.0

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)
        check_localization(self.localization)
        check_between("regularization", self.regularization, 0, 1e6, open_low=False)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        N = self.members
        width = lift(self.regularization, problem.like, problem.batch, "regularization")
        moves = not isinstance(width, float) or width > 0

        @remembered
        def near(observe):
            return self.localization.near(locations(observe, self.localization, problem))

        def update(forecast, Y, y, observe):
            E, size = local_particle(forecast, Y, y, observe.noise, near(observe))
            if moves:
                z = normal(rng, (N, N), E)
                E = E + width / (N - 1) ** 0.5 * ((z - row_mean(z)) @ forecast.anomalies)
            return Ensemble.unchecked(E), {"effective_size": size}

        return ensemble_cycles(problem, rng, N, self.inflation, update)
