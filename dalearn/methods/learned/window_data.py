"""The data of a window as a network takes them: numbers without gaps, and their precisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...array import Array, array_namespace, convert
from ...covariances.matrices import Diagonal
from ...problem.like import ProblemLike, stepwise


def observed_at(problem: ProblemLike, k: int) -> tuple[Array, Array]:
    """Data and precisions `(*batch, m)` at observation k; both 0 where nothing was seen.

    Raises:
        TypeError: for an R that is not diagonal: the network is told one precision a number.
    """
    observe, y = problem.at(k)
    R = observe.noise
    if not isinstance(getattr(R, "inner", R), Diagonal) or R.singular:
        raise TypeError(
            f"Learned4DVar tells its network the precision of each number, met R = "
            f"{type(R).__name__}; wanted a Diagonal of positive variances"
        )
    xp = array_namespace(y)
    shape = (*problem.batch, y.shape[-1])
    p = xp.broadcast_to(1 / convert(R.variance(), y), shape)
    y = xp.broadcast_to(y, shape)
    if R.seen is not None:
        seen = xp.broadcast_to(R.seen, shape)
        y, p = (xp.where(seen, v, xp.zeros_like(v)) for v in (y, p))
    return y, p


def windows_of(problem: ProblemLike, like: Any) -> tuple[Any, Any]:
    """Data and precisions of all experiments and times, tensors `(B, K, m)` like another.

    Raises:
        ValueError: where the number of observed numbers changes in time.
    """
    import torch

    parts = [observed_at(problem, k) for k in range(len(problem))]
    sizes = sorted({p[0].shape[-1] for p in parts})
    if len(sizes) > 1:
        raise ValueError(f"wanted as many numbers at each time, met {sizes}; pad with NaN")
    y, p = (torch.stack([convert(v, like) for v in side], -2) for side in zip(*parts, strict=True))
    return y.reshape(-1, *y.shape[-2:]), p.reshape(-1, *p.shape[-2:])


def slid(y: Any, length: int, at: int) -> Any:
    """Windows `(B, L, length, m)` around each of the L times of `y (B, L, m)`.

    The time itself is the `at`-th of its window, from 1; beyond the ends there is nothing, 0.
    """
    import torch

    before, after = (torch.zeros_like(y[:, :1]).expand(-1, s, -1) for s in (at - 1, length - at))
    return torch.cat((before, y, after), 1).unfold(1, length, 1).transpose(-1, -2)


def check_window(problem: ProblemLike, net: Any, steps: int | Sequence[int], at: int) -> None:
    """Raise ValueError unless the problem is one that a network of windows can answer.

    Args:
        problem: it gives its model step by step.
        net: a WindowNet.
        steps: the model steps that the network was trained with.
        at: where in its window the state lies.
    """
    model, K = stepwise(problem, "Learned4DVar", alike=True), len(problem)
    m = problem.at(0)[1].shape[-1]
    if (m, problem.n) != (net.m, net.n):
        raise ValueError(
            f"the network takes {net.m} observed numbers to {net.n} of a state, met a problem of "
            f"{m} and {problem.n}"
        )
    if not at and net.times < K:
        raise ValueError(
            f"the network was trained for windows of {net.times} observations, met {K}; wanted "
            "shorter windows, or a training with at > 0, whose windows move along"
        )
    every = (steps,) * net.times if isinstance(steps, int) else tuple(steps)
    wanted = every[:1] * K if at else every[:K]
    met = tuple(model.steps_to(k) for k in range(K))
    if met != wanted:
        raise ValueError(
            f"the network was trained with {wanted} model steps before the observations, met "
            f"{met}; wanted the same times"
        )
