"""The bootstrap particle filter: Bayes' rule by weights, with no Gaussian in it.

Members drawn from the forecast, with weights w_i, meet the data:
    w_i <- w_i p(y | x_i) / sum_j w_j p(y | x_j),   p(y | x) = exp(-|R^-1/2 (y - H(x))|^2 / 2).
That is exact for the members as they are; but the weights gather on a few of them. Their effective
number is 1 / sum_i w_i^2. When it falls to a share of N or less, members are drawn anew with
chances w_i by one uniform number u (systematic resampling): the j-th is the first i with
w_1 + ... + w_i > (u + j) / N. Copies are then told apart by noise of covariance h^2 C, where C is
the weighted covariance and h = regularization * N^(-1/(n + 4)) (a kernel density estimate).

A member and its ancestors are a path. Under the weights of a later time the paths are a sample of
the smoothing distribution, of whole trajectories too: few of them differ far back, where most
ancestors are shared.

Gordon, Salmond and Smith, IEE Proc. F 140, 1993; systematic resampling and smoothing by storing
paths: Kitagawa, J. Comput. X
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

from ...array import (
    Array,
    Swept,
    array_namespace,
    check_between,
    check_count,
    device,
    is_tensor,
    lift,
    no_grad,
    normal,
    sane,
    typed,
    uniform,
    where_ok,
)
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ...problem.manifold import gathered
from ..base import Cycle
from ..ensemble.checks import blind, check_ensemble
from ..ensemble.failures import weightless
from .resampling import effective_size, index_at, members_at, repeated, systematic, weighed


def kernel(belief: Ensemble, z: Array) -> Array:
    """Noise `(..., N, n)` with the covariance of the weighted members, from normal numbers `z`.

    The root is the symmetric one of their correlations: no component's unit matters to another's.
    `z (..., N, min(n, N))`. Where one member has all the weight (up to 1e-10, or the round-off of
    the numbers), they count equally: else there would be no noise where it is needed most.
    """
    xp = array_namespace(z)
    w: Any = belief.weights
    N, n = belief.members.shape[-2:]
    before = xp.cumulative_sum(w, axis=-1)[..., :-1]
    rest = 2 * xp.linalg.vecdot(before, w[..., 1:])[..., None]  # 1 - sum w^2, however small
    alone = rest < max(1e-10, 8 * float(xp.finfo(w.dtype).eps))
    w = xp.where(alone, 1 / N, w)[..., None]
    E = belief.members
    X = E - w.mT @ E if bool(xp.any(alone)) else belief.anomalies
    X = X * (w / xp.where(alone, 1 - 1 / N, rest)[..., None]) ** 0.5
    if n > N:
        return z @ X
    unit = xp.max(xp.abs(X), axis=-2, keepdims=True)  # its square might be too small a number
    unit = xp.where(unit > 0, unit, 1.0)
    X = X / unit
    std = xp.linalg.vecdot(X, X, axis=-2)[..., None, :] ** 0.5
    std = xp.where(std > 0, std, 1.0)
    X = X / std
    C, ok = sane(X.mT @ X)
    s, V = xp.linalg.eigh(C)
    s = s[..., None, :]
    s = xp.where(s > n * float(xp.finfo(s.dtype).eps) * s[..., -1:], s, 0.0)  # round-off
    return where_ok(ok, z @ ((V * s**0.5) @ V.mT) * std * unit)


def smoothed(paths: deque[tuple[Cycle, Array | None]], lag: int | None, last: bool) -> list[Cycle]:
    """Take the cycles that are done from `paths`, smoothed by the weights of the newest.

    Args:
        paths: cycles, and the ancestors `(..., N)` of the members after each, as `_resampled`.
        lag: how many cycles wait; 0: as filtered; None: all.
        last: whether the newest is the last, so that all are done.
    """
    if lag == 0:
        return [paths.popleft()[0]]
    count = len(paths) if last else len(paths) - lag  # type: ignore[operator]
    if count < 1:
        return []
    belief: Any = paths[-1][0].analysis
    lineage, done = None, []
    for at in reversed(range(len(paths))):
        cycle, ancestors = paths[at]
        if ancestors is not None:
            lineage = ancestors if lineage is None else index_at(ancestors, lineage)
        if at < count:
            E = cycle.analysis.members  # type: ignore[union-attr]
            known = E if lineage is None else members_at(E, lineage)
            done.append(cycle.with_info(smoothed=Ensemble.unchecked(known, belief.weights)))
    for _ in range(count):
        paths.popleft()
    return done[::-1]


@typed
@dataclass(frozen=True, eq=False)
class ParticleFilter:
    """The bootstrap particle filter with adaptive systematic resampling and regularization.

    The analysis is the weighted ensemble before resampling, which adds noise and no knowledge; the
    next forecast starts after it. Reports `effective_size`, and `failed_members`, whose model runs
    were not finite: they have weight 0. Data that no member explains, not
    even in logarithms (1e154 standard deviations away), make the experiment diverge.

    Args:
        members: ensemble size N, an integer >= 2.
        regularization: >= 0, width of the noise that tells copies apart, in standard deviations of
            the weighted ensemble times N^(-1/(n + 4)), a number or an array over the batch; a
            model without noise needs some. (`reg` of DAPPER's PartFilt.)
        resample_below: in [0, 1], a number or an array over the batch: resample when the effective
            size is at most this share of N (1: always, 0: never). (`NER` of DAPPER's PartFilt.)
        lag: for how many observation times a path goes on learning, an integer >= 0: not 0 makes
            it a smoother, whose cycles come `lag` late (None: all at the end).
            `info["smoothed"]` at cycle k is the weighted Ensemble of ancestors at its time given
            the data up to cycle k + lag.
        soft: in (0, 1]: members are drawn with chances soft w_i + (1 - soft) / N and keep weights
            in proportion to w_i over them, so that derivatives (see `gradients`) pass through
            resampling; 1: with chances w_i, which have none (soft resampling: Karkus, Hsu and
            Lee, Particle filter networks, CoRL 2018).

    Raises:
        ValueError: for a setting out of its range.
    """

    residuals = laws = True  # takes observed angles, and any law of errors: see Observation
    members: int
    _: KW_ONLY
    regularization: Swept = 0.0
    resample_below: Swept = 0.5
    lag: int | None = 0
    soft: float = 1.0

    def __post_init__(self):
        check_ensemble(self.members, 1.0)
        check_between("regularization", self.regularization, 0, 1e6, open_low=False)
        check_between("resample_below", self.resample_below, 0, 1, open_low=False)
        check_between("soft", self.soft, 0, 1, open_low=True)
        check_count("lag (None is the whole run)", 0 if self.lag is None else self.lag, 0)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time, `lag` of them late."""
        like, N = problem.like, self.members
        xp = array_namespace(like)
        with no_grad(like):
            E = problem.prior.sample(rng, N)
            E = xp.broadcast_to(E, (*problem.batch, *E.shape[-2:])) + 0.0  # laid out in memory
            width = lift(self.regularization, like, problem.batch, "regularization")
            share = lift(self.resample_below, like, problem.batch, "resample_below")
            share = share if isinstance(share, float) else share[..., 0, 0]
            log_w = xp.full_like(E[..., 0], -math.log(N))
        paths: deque[tuple[Cycle, Array | None]] = deque()
        for k in range(len(problem)):
            with no_grad(like):
                E, log_w, failed = weightless(problem, E, log_w, k, rng)
                forecast = Ensemble.unchecked(E, xp.exp(log_w))
                observe, y = problem.at(k)
                none, before = blind(observe.noise), log_w
                Y = observe.nearest(observe(forecast.members), y[..., None, :])
                log_w, score = weighed(log_w, Y, y, observe.noise, observe.law)
                if none is not None:
                    log_w = xp.where(none[..., None], before, log_w)
                w = xp.exp(log_w)
                analysis = Ensemble.unchecked(gathered(problem, forecast.members, w), w)
                size = effective_size(analysis.weights)
                due = size <= share * N if none is None else (size <= share * N) & ~none
                info = {"effective_size": size, "failed_members": failed, "log_likelihood": score}
                cycle = Cycle(forecast, analysis, info)
                paths.append((cycle, None))
                last = k + 1 == len(problem)
                done = [] if self.lag is None and not last else smoothed(paths, self.lag, last)
                if not last:
                    E, log_w, ancestors = self._resampled(analysis, log_w, due, width, rng)
                    if paths:
                        paths[-1] = cycle, ancestors
            yield from done

    def _resampled(
        self, belief: Ensemble, log_w: Array, due: Array, width: Any, rng: Any
    ) -> tuple[Array, Array, Array | None]:
        """Members and weights for the next forecast, drawn anew in the experiments that are due.

        And the ancestors `(..., N)` of the members, None where all are their own.

        Those draw as they would alone: an experiment must not see its neighbours.
        """
        E = belief.members
        xp = array_namespace(E)
        N, n = E.shape[-2:]
        u = uniform(rng, E[..., 0, 0])
        if not bool(xp.any(due)):
            return E, log_w, None
        moves = not isinstance(width, float) or width > 0
        z = normal(rng, (N, min(n, N)), E, due) if moves else None
        due, chances, new = due[..., None], xp.exp(log_w), -math.log(N)
        if self.soft < 1:
            chances = self.soft * chances + (1 - self.soft) / N
        ancestors = systematic(chances, u)
        if self.soft < 1:  # who was drawn too often, or too seldom, has a weight for it
            new = index_at(log_w - xp.log(chances), ancestors)
            new = new - xp.max(new, axis=-1, keepdims=True)
            new = new - xp.log(xp.sum(xp.exp(new), axis=-1, keepdims=True))
        E = xp.where(due[..., None], members_at(E, ancestors), E)
        if z is not None:
            h = width * N ** (-1 / (n + 4))
            moved = (repeated(ancestors) & due)[..., None]
            noise = kernel(belief, z)
            noise = noise.detach() if is_tensor(noise) else noise  # its eigenvectors may coincide
            E = xp.where(moved, E + h * noise, E)
        own = xp.arange(N, dtype=ancestors.dtype, device=device(E))
        return E, xp.where(due, new, log_w), xp.where(due, ancestors, own)
