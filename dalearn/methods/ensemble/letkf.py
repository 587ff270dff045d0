"""The local ensemble transform Kalman filter: an ETKF of its own at every point of the state.

At a point the observations j that reach it weigh rho_j in [0, 1]. With S their whitened images,
columns times sqrt(rho_j), and d the whitened innovation likewise,
    A = S S^T + (N - 1) I = V s V^T,   w = d S^T A^-1,   T = sqrt(N - 1) V s^-1/2 V^T,
and the components at the point take x + (w + T) X: the ETKF under R with its variances divided by
rho. T is symmetric, so that neighbouring points, whose A differ little, move alike.

Hunt, Kostelich and Szunyogh, Efficient data assimilation for spatiotemporal chaos: a local
ensemble transform Kalman filter, Physica D 230, 2007.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from ...array import (
    Array,
    Swept,
    array_namespace,
    check_count,
    convert,
    is_tensor,
    typed,
    wants_gradients,
    where_ok,
)
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import check_independent, whitened
from .cycle import check_settings, ensemble_cycles, stacked
from .inflation import Inflation
from .localization import Localization, Neighbours, check_localization, reached
from .tapering import beyond_of, locations, remembered
from .transform import ahead, decomposed, plain_root, rotations

CACHED_NUMBERS = 2**17  # of the local images that are worked on at once: a core's cache


class Block(NamedTuple):
    """Points with C components each, and the p observations that reach them."""

    components: np.ndarray  # (P, C)
    index: Array  # (P, p)
    root: Array  # (..., P, p), square roots of the weights


def blocks(
    near: list[Neighbours],
    N: int,
    like: Array,
    experiments: int = 1,
    learned: tuple[Array, list[np.ndarray]] | None = None,
) -> list[Block]:
    """The points of a localization in pieces that fit a cache, with what is near them.

    Args:
        near: `localization.near(locations)`, the observations near each point.
        N: ensemble size.
        like: an array of the library, dtype and device wanted.
        experiments: how many experiments the batch has.
        learned: a radius that gets the derivatives of the weights, `localization.learned`, and
            `localization.slopes(locations)`.

    Returns:
        The pieces, for `letkf`.
    """
    found = []
    for group, (components, index, weight) in enumerate(near):
        used = reached(weight)
        points = max(1, CACHED_NUMBERS // (experiments * (N + 1) * (index.shape[-1] + N)))
        for i in range(0, len(index), points):
            p = max(1, int(used[i : i + points].max()))
            piece = (slice(i, i + points), slice(p))
            root = convert(weight[(..., *piece)] ** 0.5, like)
            if learned is not None:
                radius, slope = convert(learned[0], like), learned[1][group][(..., *piece)]
                moved = radius - radius.detach()  # 0, with a derivative
                root = root + convert(slope, like) * moved[..., None, None]
            places = convert(index[piece].copy(), like)
            found.append(Block(components[i : i + points], places, root))
    return found


@typed
def letkf(
    E: Array | Ensemble,
    Y: Array,
    y: Array,
    R: Covariance,
    near: list[Block],
    run: type[map] | Callable = map,
) -> Ensemble:
    """One analysis: an ETKF at each point, with the observations near it.

    w = d S^T A^-1 and T = (N - 1)^1/2 A^-1/2 with A = S S^T + (N - 1) I, where the whitened images
    S and innovations d of each observation are multiplied by the root of its weight there.

    Args:
        E: forecast ensemble `(..., N, n)`, an array or an Ensemble.
        Y: its image H(E), `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m, Diagonal.
        near: `blocks(localization.near(locations), N, E)`.
        run: maps the work over the blocks, such as the `map` of a thread pool.

    Returns:
        The analysis ensemble.

    Raises:
        ValueError: when N or m disagree, or for an R with correlations: localization needs a
            diagonal R, as whitening mixes locations.
    """
    prior, S, d = whitened(E, Y, y, R)
    check_independent(R)
    xp = array_namespace(S)
    rows = _rows(stacked(S, d))  # (..., m, N + 1)
    X = _rows(prior.anomalies)  # (..., n, N)
    done = list(run(partial(_analysed, X, rows), near))
    shift = xp.concat([part[0] for part in done], axis=-1)  # (..., n), as the blocks have them
    new = xp.concat([part[1] for part in done], axis=-2)  # (..., n, N)
    order = np.concatenate([block.components.reshape(-1) for block in near])
    if not np.array_equal(order, np.arange(len(order))):
        back = convert(np.argsort(order), X)
        shift, new = shift[..., back], new[..., back, :]
    return Ensemble.of(prior._mean + shift[..., None, :], _rows(new))


def _rows(x: Array) -> Array:
    """The transpose, laid out in memory: what a point gathers lies together."""
    return x.mT.contiguous() if is_tensor(x) else np.ascontiguousarray(x.mT)


def _analysed(X: Array, rows: Array, block: Block) -> tuple[Array, Array]:
    """Shift of the mean `(..., P C)` and anomalies `(..., P C, N)` at the points of a block."""
    with np.errstate(over="ignore", invalid="ignore"):  # a thread does not inherit assimilate's
        return _transformed(X, rows, block)


def _transformed(X: Array, rows: Array, block: Block) -> tuple[Array, Array]:
    xp = array_namespace(X)
    N, (P, C) = X.shape[-1], block.components.shape
    Z = rows[..., block.index, :] * block.root[..., None]  # (..., P, p, N + 1)
    G, rows = Z.mT @ Z, Z.mT
    lead, own = tuple(G.shape[:-2]), X[..., block.components.reshape(-1), :]
    if wants_gradients(X):
        w, T = plain_root(G[..., :N, :N], G[..., N:, :N])
        own = xp.reshape(own, (*X.shape[:-2], P, C, N))
        shift, new = (own @ w.mT)[..., 0], own @ T
        return xp.reshape(shift, (*lead[:-1], P * C)), xp.reshape(new, (*lead[:-1], P * C, N))
    s, V, c, ok = decomposed(
        rows[..., :N, :], rows[..., N:, :], None, (G[..., :N, :N], G[..., N:, :N])
    )
    U = xp.reshape(own, (*X.shape[:-2], P, C, N)) @ V
    shift = xp.sum(U * (c / s), axis=-1)
    new = (U * ((N - 1) / s) ** 0.5) @ V.mT
    shift, new = where_ok(ok, shift), where_ok(ok, new)
    return xp.reshape(shift, (*lead[:-1], P * C)), xp.reshape(new, (*lead[:-1], P * C, N))


@typed
@dataclass(frozen=True, eq=False)
class LETKF:
    """The local ensemble transform Kalman filter.

    Observations need `locations`, unless they pick components (identity, Every, Subset), and
    independent errors.

    Args:
        members: ensemble size N, an integer >= 2.
        localization: a Localization, where the components are and how far observations reach.
        inflation: factor on the analysis anomalies (not their variances), a number or an array
            over the batch, or an object such as RTPS: see Multiplicative.
        rotate: None, "householder" or "haar", a random rotation of the members after each analysis
            that keeps their mean and covariance: see ETKF.
        workers: how many threads share the points, an integer >= 1.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: for a localization of another kind.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    localization: Localization
    inflation: Swept | Inflation = 1.0
    rotate: Literal["householder", "haar"] | None = None
    workers: int = 1

    def __post_init__(self):
        check_settings(self)
        check_localization(self.localization)
        check_count("workers", self.workers)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        turns = rotations(self.rotate, rng, self.members, problem.like, ahead(problem, rng))
        experiments = max(1, math.prod(problem.batch))

        @remembered
        def near(observe):
            where = locations(observe, self.localization, problem)
            found, learned, radius = self.localization.near(where), None, self.localization.learned
            if radius is not None and wants_gradients(problem.like):
                learned = radius, self.localization.slopes(where)
            ever = beyond_of(found, None, problem.like)
            return blocks(found, self.members, problem.like, experiments, learned), found, ever

        def beyond(observe):
            (_, found, ever), seen = near(observe), observe.noise.seen
            return ever if seen is None else beyond_of(found, seen, problem.like)

        with ThreadPoolExecutor(self.workers) as pool:
            run = map if self.workers == 1 else pool.map

            def update(forecast, Y, y, observe):
                analysis = letkf(forecast, Y, y, observe.noise, near(observe)[0], run)
                return next(turns)(analysis)

            yield from ensemble_cycles(problem, rng, self.members, self.inflation, update, beyond)
