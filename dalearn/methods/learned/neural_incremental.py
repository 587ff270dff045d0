"""Neural incremental assimilation: a Gaussian law of trajectories by a network, and its analysis.

    x_k = mu(z_k, s_k) + (P^-1 + H^T R^-1 H)^-1 H^T R^-1 (y - H mu),   P = P(z_k, s_k),
    z_{k+1} = z_k + (s_k - s_{k+1}) (x_k - z_0),   s_k = 1 - k / levels.

z_0 is the interpolation of the data by the mean and covariance of training trajectories. The
network, a `neural.NeuralPrior`, does not know H, R or y: trained over operators that are drawn
anew at each step, it serves those that it has never seen. The model is not called: what it does
has to be in the training set.

M. Blanke, R. Fablet and M. Lelarge, Neural incremental data assimilation, 2024. Their Algorithm 2
has s_k in the place of s_k - s_{k+1}; their code has it right.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ...array import (
    Array,
    array_namespace,
    as_tensor,
    check_count,
    convert,
    no_grad,
    shown,
    typed,
)
from ...array.derivative import linearize
from ...covariances.matrices import Dense
from ...problem.belief import Gaussian
from ...problem.like import ProblemLike, stepwise
from ..base import Cycle
from ..gaussian.affine import Affine
from .incremental_training import trained

PARTS = ("T", "n", "assimilate", "covariances", "climatology", "trained")


@typed
@dataclass(frozen=True, eq=False)
class NeuralIncremental:
    """Smooth a whole window by a learned Gaussian law of its trajectory.

    The window begins at the problem's time 0 and holds the states after each model step, at most
    as many as the network was trained for. The forecast of a cycle is the climatology of the
    training set, the analysis that of the whole window; `info["smoothed"]` is the same. The
    covariances are those of the last level times one number, by which errors on validation
    trajectories have the size that they claim. Operators must be linear.

    Args:
        net: a `neural.NeuralPrior`, trained by `fit` or with shipped weights.
        levels: from coarse to fine, an integer >= 1; 1 is one shot.

    Raises:
        TypeError: for a network that is none; when run on a problem that does not give its model
            step by step.
        ValueError: for a network that has not been trained; when run on states of another size,
            on a longer window, or with an operator that is not linear.
    """

    net: Any = field(repr=False)
    _: KW_ONLY
    levels: int = 1

    def __post_init__(self):
        lacks = [a for a in PARTS if not hasattr(self.net, a)]
        if lacks or isinstance(self.net, type):
            raise TypeError(
                f"net must be a NeuralPrior, met {shown(self.net)}"
                + f" without {', '.join(lacks)}" * bool(lacks)
            )
        if not self.net.trained:
            raise ValueError(
                "net has not been trained, met units of 0; wanted NeuralIncremental.fit(net, "
                "...), or the weights of a training, load_weights(net, file)"
            )
        check_count("levels", self.levels)

    @classmethod
    @typed
    def fit(
        cls,
        net: Any,
        train: Any,
        validation: Any,
        *,
        draw: Callable,
        std: Any,
        levels: int = 1,
        one: float = 0.5,
        moments: Any = None,
        epochs: int = 16,
        rate: float = 1e-3,
        batch: int = 256,
        checkpoint: str | os.PathLike | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> NeuralIncremental:
        """Train the network by Adam, the rate falling to 0 as a cosine.

        Args:
            net: a NeuralPrior, trained in place.
            train: trajectories `(S, T, n)`; the units and the first guess are theirs.
            validation: others, `(V, T, n)`, of other runs.
            draw: masks `(b, T, n)` of what is seen, for a count b, by torch's random numbers:
                `neural.Scattered`, `neural.Regular` or your own.
            std: of the data's errors, a number or against `(T, n)`, in the units of the data.
            levels: of the method that comes back.
            one: share of the trajectories that are reconstructed from the first guess itself, at
                s = 1; the others have s uniform in (0, 1).
            moments: mean `(T n,)` and covariance `(T n, T n)` of the first guess; None: those of
                the training set.
            epochs: passes over the training set.
            rate: of Adam at the start.
            batch: trajectories in a step.
            checkpoint: a file, from which a training that was killed goes on to the same bits.
            seed: of the training.
            progress: whether to show a bar.

        Returns:
            NeuralIncremental: trained.

        Raises:
            ValueError: trajectories of another shape, or that stand in both sets.
            FloatingPointError: a loss that is not finite.
        """
        trained(
            net,
            train,
            validation,
            draw=draw,
            std=std,
            one=one,
            rate=rate,
            seed=seed,
            batch=batch,
            levels=levels,
            epochs=epochs,
            moments=moments,
            progress=progress,
            checkpoint=checkpoint,
        )
        return cls(net, levels=levels)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle for each observation time, from one analysis of the whole window.

        Args:
            problem: a problem that gives its model step by step.
            rng: not used.

        Returns:
            The cycles.
        """
        problem, net = stepwise(problem, "NeuralIncremental", alike=True), self.net
        times, total = [], 0
        for k in range(len(problem)):
            total += problem.steps_to(k)
            times.append(total)
        if problem.n != net.n:
            raise ValueError(
                f"the network is for states of {net.n} numbers, met a problem of {problem.n}"
            )
        if total + 1 > net.T:
            raise ValueError(
                f"the window has {total + 1} states, met a network trained for {net.T}; wanted at "
                f"most {net.T - 1} model steps to the last observation: split the data"
            )
        with no_grad(problem.like):
            before = self._climatology(problem)
            after = self._analysed(problem, times, before)
        for t in times:
            yield Cycle(before[t], after[t], {"smoothed": after[t]})

    def _climatology(self, problem: ProblemLike) -> list[Gaussian]:
        like, xp = problem.like, array_namespace(problem.like)
        mean, cov = (convert(v, like) for v in self.net.climatology())
        return [
            Gaussian.unchecked(
                xp.broadcast_to(mean[t], (*problem.batch, problem.n)), Dense.unchecked(cov[t])
            )
            for t in range(self.net.T)
        ]

    def _analysed(self, problem: Any, times: list[int], before: list) -> list[Gaussian]:
        """Beliefs of all states of the window, given all data."""
        import torch

        net, like, xp = self.net, problem.like, array_namespace(problem.like)
        batch, n = problem.batch, problem.n
        mean, std = convert(net.mean, like), convert(net.std, like)
        H = _Matrices(problem)
        zero = xp.zeros((*batch, n), dtype=like.dtype, device=getattr(like, "device", None))
        none = zero[..., None] * zero[..., None, :]
        G, g = [none] * net.T, [zero] * net.T
        for k, t in enumerate(times):
            observe, y = problem.at(k)
            h, A = H(observe.operator, xp.broadcast_to(mean[t], (*batch, n)))
            white = observe.noise.whiten(A.mT * std[t][:, None])
            d = observe.noise.whiten((y - h)[..., None, :])
            G[t], g[t] = white @ white.mT + none, (d @ white.mT)[..., 0, :] + zero
        size = (-1, net.T, n)
        both = xp.stack(G, axis=-3), xp.stack(g, axis=-2)
        inside = next(net.parameters())
        with torch.no_grad():
            seen = [convert(as_tensor(v), inside) for v in both]
            seen = [v.reshape(*size, n) if i == 0 else v.reshape(size) for i, v in enumerate(seen)]
            x, cov = net.analysed(*seen, levels=self.levels)
        x = xp.reshape(convert(x, like), (*batch, net.T, n)) * std + mean
        cov = xp.reshape(convert(cov, like), (*batch, net.T, n, n)) * std[..., None]
        cov = cov * std[..., None, :]
        blind = xp.all(both[0] == 0, axis=(-3, -2, -1))  # nothing was seen of the window
        made = []
        for t in range(net.T):
            m = xp.where(blind[..., None], before[t].mean, x[..., t, :])
            P = xp.where(blind[..., None, None], before[t].cov.matrix(), cov[..., t, :, :])
            made.append(Gaussian.unchecked(m, Dense.unchecked(P)))
        return made


class _Matrices:
    """Value and matrix of linear operators; ValueError for others."""

    def __init__(self, problem: Any):
        self.affine = Affine(linearize, problem)

    def __call__(self, operator: Callable, x: Array) -> tuple[Array, Array]:
        try:
            return self.affine(operator, x, x[..., None, :])
        except ValueError as error:
            if "linear functions" not in str(error):
                raise
            raise ValueError(
                "NeuralIncremental wants linear operators, met one that is not: "
                f"{type(operator).__name__}; linearize it, or use WeakVar4D from this guess"
            ) from None
