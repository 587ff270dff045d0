"""Score-based data assimilation: whole trajectories are drawn, given all data of a window.

The prior of a trajectory x = (x_1, ..., x_L) is known by its score alone, which a network learned
from runs of the model: the noise e(x_t, t) in a trajectory that was blurred, x_t = mu x + sigma e
(see `neural.LocalScore`). The data enter through the state that the network sees behind the noise,
x^ = (x_t - sigma e) / mu, whose own error is taken as gamma (sigma / mu)^2 in units of the states:

    log p(y | x_t) = log N(y; H(x^), R + gamma (sigma / mu)^2 C),   C = H' D^2 H'^T,
    e_y = e - sigma d log p(y | x_t) / d x_t,

with D the standard deviations of the states. From t = 1 to 0, a predictor, then C corrections,

    x <- r x + (sigma' - r sigma) e_y(x, t),   r = mu' / mu,   mu', sigma' at t',
    x <- x - d sigma' e_y(x, t') + (2 d)^1/2 sigma' z,   d = tau / mean(e_y^2).

Corrections are Langevin steps at one level of noise; as their number grows they mend what the
guess of p(y | x_t) gets wrong. No model is run: what one network learned serves any H, R and L.

F. Rozet and G. Louppe, Score-based data assimilation, NeurIPS 2023.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ...array import (
    Array,
    Purpose,
    check_between,
    check_count,
    convert,
    is_tensor,
    no_grad,
    normal,
    shown,
    streams,
    typed,
    warn,
)
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike, in_library
from ..base import Cycle
from ..ensemble.failures import carried
from .reverse_time import Unstable
from .window import Data, data_in, places

ROWS = 64  # members that are carried at once: their windows fit a cache


@typed
@dataclass(frozen=True, eq=False)
class SDA:
    """The score-based smoother of a whole window: its samples are the ensemble.

    Every state of the window is drawn given all its data. `info["smoothed"]` is the analysis
    again; the forecast is the ensemble of the prior, run by the model without data. The window's
    law comes from the network alone, so the problem must be one of the runs that it was trained
    on: its states are those `every` model steps apart from the start on, which is not drawn.

    Args:
        net: a LocalScore, or a function `(x, t) -> e` of trajectories `(b, L, n)` in units of its
            attributes `mean` and `std`, tensors `(n,)`.
        members: how many trajectories are drawn, an integer >= 2.
        every: model steps from one state of the network to the next.
        steps: of the predictor.
        corrections: Langevin steps after each; without any the samples are poor.
        tau: their length.
        gamma: the assumed error of x^, a share of the variance of the noise.

    Raises:
        ValueError: for a setting out of its range, and a network that has not been trained.
        TypeError: for a network that is none.

    Source: F. Rozet and G. Louppe, Score-based data assimilation, NeurIPS 2023.
    """

    net: Any = field(repr=False)
    _: KW_ONLY
    members: int = 64
    every: int = 1
    steps: int = 256
    corrections: int = 1
    tau: float = 0.25
    gamma: float = 0.03

    def __post_init__(self):
        lacks = [a for a in ("mean", "std") if not is_tensor(getattr(self.net, a, None))]
        if lacks or isinstance(self.net, type) or not callable(self.net):
            raise TypeError(
                f"net must be a LocalScore, met {shown(self.net)}"
                + f" without {', '.join(lacks)}" * bool(lacks)
            )
        if not bool((self.net.std > 0).all()):
            raise ValueError(
                "net has not been trained, met units of 0; wanted SDA.fit(net, ...), or the "
                "weights of a training, load_weights(net, file)"
            )
        check_count("members", self.members, 2)
        check_count("every", self.every)
        check_count("steps", self.steps)
        check_count("corrections", self.corrections, 0)
        check_between("tau", self.tau, 0, 1, open_low=True)
        check_between("gamma", self.gamma, 0, 1e6, open_low=False)

    @classmethod
    @typed
    def fit(
        cls,
        net: Any,
        train: Array,
        validation: Array,
        *,
        epochs: int = 30,
        rate: float = 2e-3,
        batch: int = 1024,
        checkpoint: str | os.PathLike | None = None,
        seed: int = 0,
        progress: bool = True,
        **settings: Any,
    ) -> SDA:
        """Train the network on pieces of trajectories; what comes back runs like any method.

        Args:
            net: a LocalScore, trained in place.
            train: runs `(S, T, n)` of the model with its noise, T >= 2 k + 1.
            validation: others.
            epochs: passes over all pieces of 2 k + 1 states.
            rate: of Adam at the start; it falls to 0 as a cosine.
            batch: pieces in a step.
            checkpoint: a file, from which a training that was killed goes on to the same bits.
            seed: of the training.
            progress: whether to show a bar.
            settings: those of SDA.

        Returns:
            SDA: trained.

        Raises:
            ValueError: runs of another shape.
            TypeError: for a network that is none.
        """
        from .window import fitted

        fitted(
            net,
            train,
            validation,
            progress=progress,
            checkpoint=checkpoint,
            rate=rate,
            seed=seed,
            epochs=epochs,
            batch=batch,
        )
        return cls(net, **settings)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle for each observation time, all from one drawing of the window."""
        at = places(problem, self.every, "SDA")
        x = self._drawn(problem, rng)
        with no_grad(problem.like):
            E = problem.prior.sample(rng, self.members)
        for k, i in enumerate(at):
            with no_grad(problem.like):
                E, failed, _ = carried(problem, E, k, rng)
                found = Ensemble.unchecked(x[..., i, :])
            info = {"smoothed": found, "failed_members": failed}
            yield Cycle(Ensemble.unchecked(E), found, info)

    def trajectories(self, problem: ProblemLike, *, seed: Any = 0) -> Array:
        """The states of the whole window, between the observations too.

        Args:
            problem: a validated Problem, or another ProblemLike.
            seed: as that of `assimilate`.

        Returns:
            States `(..., N, L, n)`, `every` model steps apart.
        """
        return self._drawn(problem, streams(Purpose.ASSIMILATION, seed, problem.batch))

    def _drawn(self, problem: ProblemLike, rng: Any) -> Array:
        at = places(problem, self.every, "SDA", 2 * getattr(self.net, "k", 0) + 1)
        mean, std = self.net.mean, self.net.std
        if len(mean) != problem.n:
            raise ValueError(f"net knows states of {len(mean)} numbers, wanted {problem.n}")
        inside = in_library(problem, mean)
        data = data_in(inside, at, mean, std)
        self._watch(data)
        options = self.steps, self.corrections, self.tau, self.gamma
        parts = []
        for first in range(0, self.members, ROWS):
            count = min(ROWS, self.members - first)
            shape = (count, at[-1] + 1, len(mean))
            parts.append(sda(self.net, data, shape, rng, *options, batch=problem.batch))
        import torch

        x = torch.cat(parts, dim=-3) * std + mean
        return convert(x, problem.like)

    def _watch(self, data: list[Data]) -> None:
        """Warn of Unstable where a step of the predictor overshoots the data."""
        from ...neural.local_score import noise, signal

        size = max((float(part.size.max()) for part in data), default=0.0)
        times, worst = np.linspace(1, 0, self.steps + 1).tolist(), 0.0
        for t, later in pairwise(times):
            s = (noise(t) / signal(t)) ** 2  # the states' variance is 1, that of x^ 1 / (1 + s)
            share = 1 - noise(later) * signal(t) / (signal(later) * noise(t))
            worst = max(worst, share * s * size / (1 + s) ** 2 / (1 + self.gamma * s * size))
        if worst > 1.5:
            warn(
                f"SDA: {self.steps} steps are too long for data as good as these, and samples may "
                f"run away; wanted about {int(self.steps * worst) + 1}, or a larger gamma",
                Unstable,
            )


def sda(
    net: Callable,
    data: list[Data],
    shape: tuple[int, int, int],
    rng: Any,
    steps: int = 256,
    corrections: int = 1,
    tau: float = 0.25,
    gamma: float = 0.03,
    *,
    batch: tuple[int, ...] = (),
) -> Any:
    """Trajectories `(..., N, L, n)` drawn from noise, in units of the network.

    Args:
        net: e(x, t) of trajectories `(b, L, n)`, in the library torch.
        data: what was observed; none: the prior is drawn.
        shape: (N, L, n).
        rng: Streams over the batch.
        steps: of the predictor.
        corrections: after each.
        tau: their length.
        gamma: the assumed error of x^.
        batch: axes of independent experiments.
    """
    from ...neural.local_score import noise, signal

    like = net.mean  # type: ignore[attr-defined]

    def drawn():
        flat = (shape[0], shape[1] * shape[2])
        return normal(rng, flat, like).reshape(*batch, *shape)

    times = np.linspace(1, 0, steps + 1).tolist()
    x = drawn()
    for t, later in pairwise(times):
        r = signal(later) / signal(t)
        e = guided(net, data, x, t, gamma)
        x = r * x + (noise(later) - r * noise(t)) * e
        for _ in range(corrections):
            e = guided(net, data, x, later, gamma)
            d = tau / (e * e).mean((-2, -1), keepdim=True)
            x = x - noise(later) * (d * e - (2 * d) ** 0.5 * drawn())
    return x


def guided(net: Callable, data: list[Data], x: Any, t: float, gamma: float) -> Any:
    """e_y: the noise in trajectories `(..., N, L, n)` at t, as the data have it too.

    Where few states are seen, derivatives are taken through the windows of these alone.
    """
    import torch

    from ...neural.local_score import noise, signal

    flat, lead, start = (-1, *x.shape[-2:]), x.shape[:-2], x.detach()
    seen = sorted({i for part in data for i in part.at})
    few = hasattr(net, "k") and 2 * len(seen) <= x.shape[-2]
    e: Any = None
    if few or not data:
        with torch.no_grad():
            e = net(start.reshape(flat), t).reshape(x.shape)
    if not data:
        return e
    with torch.enable_grad():
        x = start.requires_grad_()
        if few:
            near = net(x.reshape(flat), t, torch.as_tensor(seen)).unflatten(0, lead)
        else:
            e = net(x.reshape(flat), t).reshape(x.shape)
            near = e[..., seen, :]
        clean = (x[..., seen, :] - noise(t) * near) / signal(t)
        blur = gamma * (noise(t) / signal(t)) ** 2
        fits = [part.log_likelihood(clean, seen, blur).sum() for part in data]
        (g,) = torch.autograd.grad(fits, x)
    return e.detach() - noise(t) * g
