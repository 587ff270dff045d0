"""Ranks of the truth among the members, ties broken at random."""

from __future__ import annotations

from typing import Any

from ..array import Array, Purpose, array_namespace, streams, uniform
from ..problem.belief import Ensemble


def ties(seed: Any, batch: tuple[int, ...]) -> Any:
    """The stream that breaks ties in ranks: no other result depends on it."""
    known = seed.initial_seed() if hasattr(seed, "initial_seed") else seed  # of torch: not drawn
    return streams(Purpose.RANKS, known, batch)


def ranks(belief: Ensemble, truth: Array, rng: Any, batch: tuple[int, ...]) -> Array:
    """Rank of the `truth (..., 1, n)` among the members, `(..., n)`; -1 where one is NaN.

    The number of members below it; of weighted ones their weight times N + 1, rounded down. Among
    members that equal it, each rank that it may have is as likely.
    """
    E = belief.members
    xp, N = array_namespace(E), E.shape[-2]

    def count(chosen: Array) -> Array:
        if belief.weights is None:
            return xp.sum(xp.astype(chosen, xp.int32), axis=-2)
        share = (belief.weights[..., None, :] @ xp.astype(chosen, E.dtype))[..., 0, :]
        share = xp.where(xp.isfinite(share), share, 0.0)
        return xp.clip(xp.astype(share * (N + 1), xp.int32), 0, N)  # r of equal weights r / N

    low, high = count(truth > E), count(truth >= E)
    u = uniform(rng, xp.broadcast_to(E[..., 0, :], (*batch, E.shape[-1])))
    rank = low + xp.astype(u * (high - low + 1), xp.int32)
    rank = xp.minimum(rank, high)  # a u in float32 may be 1
    known = xp.all(xp.isfinite(E), axis=-2) & xp.isfinite(truth[..., 0, :])
    return xp.where(known, rank, -1)
