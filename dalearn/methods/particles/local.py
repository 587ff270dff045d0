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

from ...array import (
    Array,
    Swept,
    array_namespace,
    check_between,
    convert,
    lift,
    normal,
    row_mean,
    typed,
)
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from ..ensemble.checks import check_independent, prior_of
from ..ensemble.cycle import check_settings, ensemble_cycles
from ..ensemble.inflation import Inflation
from ..ensemble.localization import Localization, Neighbours, check_localization, reached
from ..ensemble.tapering import beyond_of, locations, remembered
from .resampling import systematic

CACHED_NUMBERS = 2**17  # of the local misfits that are worked on at once: a core's cache


@typed
def transport(x: Array, w: Array) -> Array:
    """Equally likely numbers in place of weighted ones: optimal transport in one dimension.

    Their mean is sum_i w_i x_i and their order that of x; equal weights leave x as it is.

    Args:
        x: numbers `(..., N)`.
        w: their weights `(..., N)`, which sum to 1.

    Returns:
        The new numbers `(..., N)`.
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


@typed
def local_particle(
    E: Array | Ensemble, Y: Array, y: Array, R: Covariance, near: list[Neighbours]
) -> tuple[Array, Array]:
    """One analysis: at each point the weights of its observations, then transport.

    Args:
        E: forecast ensemble `(..., N, n)`, an array or an Ensemble.
        Y: its image H(E), `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m, Diagonal.
        near: `localization.near(locations)`.

    Returns:
        The members of the analysis `(..., N, n)`, and the mean over the points of the effective
        size `(...)`.

    Raises:
        ValueError: when N or m disagree, or for an R with correlations: localization needs a
            diagonal R, as whitening mixes locations.
    """
    prior = prior_of(E, Y, y, R)
    check_independent(R)
    xp, N = array_namespace(Y), Y.shape[-2]
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
        step = max(1, CACHED_NUMBERS // (experiments * N * max(N, index.shape[-1])))
        for i in range(0, len(index), step):
            p, at = max(1, int(used[i : i + step].max())), slice(i, i + step)
            yield Neighbours(components[at], index[at, :p], weight[..., at, :p])


@typed
@dataclass(frozen=True, eq=False)
class LocalParticleFilter:
    """The local particle filter with optimal transport, one component at a time.

    Observations need `locations`, unless they pick components (identity, Every, Subset), and
    independent errors. Reports `effective_size`, the mean over the points.

    Args:
        members: ensemble size N, an integer >= 2.
        localization: a Localization, where the components are and how far observations reach.
        inflation: factor on the analysis anomalies (not their variances), a number or an array
            over the batch, or an object such as RTPS: see Multiplicative.
        regularization: >= 0, size of noise in standard deviations of the forecast, a number or an
            array over the batch: to each member a random combination of the forecast's anomalies
            is added, of mean 0 over the members.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: for a localization of another kind.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    localization: Localization
    inflation: Swept | Inflation = 1.0
    regularization: Swept = 0.0

    def __post_init__(self):
        check_settings(self)
        check_localization(self.localization)
        check_between("regularization", self.regularization, 0, 1e6, open_low=False)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        N = self.members
        width = lift(self.regularization, problem.like, problem.batch, "regularization")
        moves = not isinstance(width, float) or width > 0

        @remembered
        def near(observe):
            found = self.localization.near(locations(observe, self.localization, problem))
            return found, beyond_of(found, None, problem.like)

        def beyond(observe):
            (found, ever), seen = near(observe), observe.noise.seen
            return ever if seen is None else beyond_of(found, seen, problem.like)

        def update(forecast, Y, y, observe):
            Y = observe.nearest(Y, y[..., None, :])
            E, size = local_particle(forecast, Y, y, observe.noise, near(observe)[0])
            if moves:
                z = normal(rng, (N, N), E)
                noise = width / (N - 1) ** 0.5 * ((z - row_mean(z)) @ forecast.anomalies)
                none = beyond(observe)
                if none is not None:
                    noise = array_namespace(E).where(none[..., None, :], 0.0, noise)
                E = E + noise
            return Ensemble.unchecked(E), {"effective_size": size}

        return ensemble_cycles(problem, rng, N, self.inflation, update, beyond)
