"""The data of a whole window as a smoother sees them, and how the network of SDA is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...array import as_floats, check_between, is_module, shown, to_numpy
from ...problem.like import ProblemLike, check_alike
from ...problem.observe import Observation


def places(problem: ProblemLike, every: int, method: str, least: int = 1) -> list[int]:
    """For each observation the number of its state, of those `every` model steps apart.

    Args:
        problem: it says how many steps lie between its observations.
        every: model steps between two states; the first is so many after the start.
        method: its name, for messages.
        least: states that the window must have.

    Returns:
        list: of increasing numbers from 0; the last is that of the window's last state.

    Raises:
        TypeError: for a problem that does not count its steps.
        ValueError: for observations between two states, and too short a window.
    """
    count = getattr(problem, "steps_to", None)
    if count is None:
        raise TypeError(
            f"{method} wants a problem that counts its model steps, met a "
            f"{type(problem).__name__} without steps_to"
        )
    check_alike(problem, method)
    ends = np.cumsum([count(k) for k in range(len(problem))])
    if ends[0] < every:
        raise ValueError(
            f"observation 0 comes after {ends[0]} model steps, wanted at least every = {every}: "
            f"{method} knows no state before"
        )
    if (ends % every).any():
        k = int(np.flatnonzero(ends % every)[0])
        raise ValueError(
            f"observation {k} comes after {ends[k]} model steps, wanted multiples of every = "
            f"{every}: {method} knows the states there alone"
        )
    if ends[-1] // every < least:
        raise ValueError(
            f"the window has {ends[-1] // every} states, wanted at least {least}, as many as "
            "the network reads at once"
        )
    return (ends // every - 1).tolist()


@dataclass(frozen=True, eq=False)
class Data:
    """What one operator with one R saw at several times of a window.

    Args:
        observe: the operator and R.
        at: numbers of the states that were seen, `(K,)`.
        y: data `(..., K, m)`.
        turn: eigenvectors of R^-1/2 C R^-T/2, `(..., m, m)`.
        size: its eigenvalues `(..., 1, 1, m)`.
        mean: of the network's unit, `(n,)`.
        std: likewise.
    """

    observe: Observation
    at: list[int]
    y: Any
    turn: Any
    size: Any
    mean: Any
    std: Any

    def log_likelihood(self, x: Any, states: list[int], blur: float) -> Any:
        """-1/2 |y - H(x)|^2 in (R + blur C)^-1, over the times, `(..., N)`, but for a constant.

        Args:
            x: states `(..., N, A, n)` in units of the network, torch.
            states: their numbers in the window, `(A,)`.
            blur: the variance of their errors, a share of that of the states.
        """
        if states != self.at:
            x = x[..., [states.index(i) for i in self.at], :]
        axes = tuple(x.shape[-3:-1])
        seen = self.observe((x * self.std + self.mean).flatten(-3, -2)).unflatten(-2, axes)
        d = self.observe.noise.whiten((self.y[..., None, :, :] - seen).flatten(-3, -2))
        d = (d @ self.turn).unflatten(-2, axes)
        return -0.5 * (d * d / (1 + blur * self.size)).sum((-2, -1))


def data_in(problem: ProblemLike, at: list[int], mean: Any, std: Any) -> list[Data]:
    """The data of a problem in torch, those of equal operators and R together.

    C is the covariance of H over the states mean +- n^1/2 std_i e_i: for linear H, that of states
    with these standard deviations.
    """
    import torch

    groups: dict[tuple[int, int], Any] = {}
    for k, i in enumerate(at):
        observe, y = problem.at(k)
        if observe.noise.seen is not None and not bool(observe.noise.seen.any()):
            continue
        key = id(observe.operator), id(observe.noise)
        groups.setdefault(key, (observe, [], []))
        groups[key][1].append(i)
        groups[key][2].append(y)
    n, found = len(mean), []
    with torch.no_grad():
        step = n**0.5 * torch.diag(std)
        points = mean + torch.cat((step, -step))
        points = points.expand(*problem.batch, 2 * n, n)
        for observe, states, rows in groups.values():
            image = observe(points)
            image = (image - image.mean(-2, keepdim=True)) / (2 * n) ** 0.5
            root = observe.noise.whiten(image)
            size, turn = torch.linalg.eigh(root.mT @ root)
            size = size.clamp(min=0)[..., None, None, :]
            y = torch.stack(torch.broadcast_tensors(*rows), dim=-2)
            found.append(Data(observe, states, y, turn, size, mean, std))
    return found


def fitted(
    net: Any, train: Any, validation: Any, *, epochs: int, rate: float, **settings: Any
) -> Any:
    """Train a LocalScore in place: the Record of `neural.fit`. See `SDA.fit`."""
    from ...neural.data import Normalisation
    from ...neural.local_score import denoising
    from ...neural.train import adam, cosine, fit

    if not is_module(net) or not all(hasattr(net, a) for a in ("k", "n", "scaled")):
        raise TypeError(f"net must be a LocalScore, met {shown(net)}")
    check_between("rate", rate, 0, np.inf, open_low=True)
    length = 2 * net.k + 1
    train, validation = (
        runs_of(name, x, net.n, length)
        for name, x in (("train", train), ("validation", validation))
    )
    known = {run[0].tobytes() for run in train}
    shared = sum(run[0].tobytes() in known for run in validation)
    if shared:
        raise ValueError(
            f"{shared} of {len(validation)} runs of validation stand in train too; wanted whole "
            "runs in one of the two, neural.split"
        )
    net.scaled(Normalisation.fit(train))
    like = net.mean
    data, valid = (pieces(x, length, like) for x in (train, validation))
    return fit(
        net,
        data,
        valid,
        loss=denoising,
        epochs=epochs,
        optimiser=adam(rate),
        schedule=cosine(epochs),
        clip=1.0,
        **settings,
    )


def runs_of(name: str, x: Any, n: int, length: int) -> np.ndarray:
    """Runs `(S, T, n)` as NumPy has them; ValueError for another shape, too short ones and NaN."""
    found = to_numpy(as_floats(x, name, gaps=True))
    if found.ndim != 3 or found.shape[2] != n or found.shape[1] < length:
        raise ValueError(
            f"{name} must be runs (S, T, {n}) of at least {length} states, met shape "
            f"{tuple(found.shape)}"
        )
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds NaN or infinity; wanted runs without")
    return found


def pieces(x: np.ndarray, length: int, like: Any) -> Any:
    """All pieces of so many states of runs `(S, T, n)`, a tensor `(b, length, n)`."""
    import torch

    parts = np.lib.stride_tricks.sliding_window_view(x, length, axis=1)  # (S, w, n, length)
    parts = torch.from_numpy(np.ascontiguousarray(parts)).to(like)
    return parts.flatten(0, 1).mT.contiguous()
