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
    array_namespace,
    check_count,
    convert,
    eye,
    is_tensor,
    row_mean,
    sane,
    where_ok,
)
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import check_ensemble, check_independent, check_update
from .cycle import ensemble_cycles, stacked
from .localization import (
    Localization,
    Neighbours,
    check_localization,
    locations,
    reached,
    remembered,
)
from .transform import check_rotation, decomposed, rotations

BLOCK = 2**17  # numbers of the local images that are worked on at once: a core's cache


class Block(NamedTuple):
    """Points with C components each, and the p observations that reach them."""

    components: np.ndarray  # (P, C)
    index: Array  # (P, p)
    root: Array  # (..., P, p), square roots of the weights


def blocks(near: list[Neighbours], N: int, like: Array, experiments: int = 1) -> list[Block]:
    """`near = localization.near(locations)` in pieces, for N members in the library of `like`."""
    found = []
    for components, index, weight in near:
        used = reached(weight)
        points = max(1, BLOCK // (experiments * (N + 1) * (index.shape[-1] + N)))
        for i in range(0, len(index), points):
            p = max(1, int(used[i : i + points].max()))
            cut = (slice(i, i + points), slice(p))
            root = convert(weight[(..., *cut)] ** 0.5, like)
            found.append(Block(components[i : i + points], convert(index[cut].copy(), like), root))
    return found


def letkf(
    E: Array | Ensemble,
    Y: Array,
    y: Array,
    R: Covariance,
    near: list[Block],
    run: Callable = map,
) -> Ensemble:
    """One analysis: ensemble `E (..., N, n)`, its image `Y (..., N, m)`, data `y (..., m)`.

    `R` is diagonal; `near = blocks(localization.near(locations), N, E)`; `run` maps the work over
    them, such as the `map` of a thread pool. Raises ValueError when N or m disagree, or for an R
    with correlations, whose errors have no place of their own.
    """
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    xp = array_namespace(prior.members, Y, y)  # one library, or a clear error
    check_update(prior.members, Y, y, R)
    check_independent(R)
    h = row_mean(Y)
    S, d = R.whiten(Y - h), R.whiten(y[..., None, :] - h)
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
    G = Z.mT @ Z
    A, ok = sane(G[..., :N, :N] + (N - 1) * eye(N, X))
    s, V, c = decomposed(A, G[..., N:, :N])
    lead = tuple(G.shape[:-2])
    U = xp.reshape(X[..., block.components.reshape(-1), :], (*X.shape[:-2], P, C, N)) @ V
    shift = xp.sum(U * (c / s), axis=-1)
    new = (U * ((N - 1) / s) ** 0.5) @ V.mT
    shift, new = where_ok(ok, shift), where_ok(ok, new)
    return xp.reshape(shift, (*lead[:-1], P * C)), xp.reshape(new, (*lead[:-1], P * C, N))


@dataclass(frozen=True, eq=False)
class LETKF:
    """The local ensemble transform Kalman filter.

    Arguments: `members`, N >= 2; `localization`, where the components are and how far observations
    reach (its radius may be an array over the problem's batch axes); `inflation`, the factor on
    the analysis anomalies, a number, an array over the batch axes, or RTPS, RTPP, Adaptive;
    `rotate`: None, "householder" or "haar", one mean-preserving rotation of the members for all
    points; `workers`, how many threads share the points.

    Observations need `locations`, unless they pick components (identity, Every, Subset), and
    independent errors.
    """

    members: int
    _: KW_ONLY
    localization: Localization
    inflation: Any = 1.0
    rotate: Literal["householder", "haar"] | None = None
    workers: int = 1

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)
        check_rotation(self.rotate)
        check_localization(self.localization)
        check_count("workers", self.workers)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        turns = rotations(self.rotate, rng, self.members, problem.like)
        experiments = max(1, math.prod(problem.batch))

        @remembered
        def near(observe):
            found = self.localization.near(locations(observe, self.localization, problem))
            return blocks(found, self.members, problem.like, experiments)

        with ThreadPoolExecutor(self.workers) as pool:
            run = map if self.workers == 1 else pool.map

            def update(forecast, Y, y, observe):
                analysis = letkf(forecast, Y, y, observe.noise, near(observe), run)
                return next(turns)(analysis)

            yield from ensemble_cycles(problem, rng, self.members, self.inflation, update)
