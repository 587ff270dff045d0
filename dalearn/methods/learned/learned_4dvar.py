"""Learning 4D-Var from observations: one network that minimises the cost of every window.

    x = f_w(Y, R^-1),   w = argmin_w E_Y [ sum_k |R_k^-1/2 (y_k - H_k(M_k(f_w(Y, R^-1))))|^2 ] / 2

The cost is that of 4D-Var, through the model; no truth is seen. Where 4D-Var searches each window
anew, the network has searched once for all of them, and answers a new window at the price of one
evaluation. Over all functions the minimum would be 4D-Var itself, without a background; a network
of limited size, asked for one answer to all windows, finds a smoother one. Masks and errors are
inputs, so that data with gaps of any kind teach it.

A. Filoche, J. Brajard, A. Charantonis and D. Béréziat, Learning 4DVAR inversion directly from
observations, ICCS 2023. With `consistency`, V. Zinchenko and D. S. Greenberg,
Combined optimization of dynamics and assimilation with end-to-end learning on sparse observations,
2024.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ...array import (
    Array,
    array_namespace,
    check_count,
    convert,
    is_module,
    no_grad,
    normal,
    shown,
    typed,
    warn,
)
from ...problem.belief import Ensemble, Point
from ...problem.like import ProblemLike
from ...problem.problem import Problem
from ..base import Cycle
from ..latent.fitting import OutOfRange, share_outside
from .window_data import check_window, slid, windows_of
from .window_fit import fitted

PARTS = ("times", "m", "n", "spread")


@typed
@dataclass(frozen=True, eq=False)
class Learned4DVar:
    """A network that answers a window of observations with a state, trained by the cost of 4D-Var.

    With `at = 0` the state is that of the window's start, which the model carries through the
    window; the problem may then have no more observations than the network knows, and fewer count
    as gaps. With `at = j` it is the state at the j-th observation of the window: each time of the
    problem is answered from the window around it, beyond the ends of which nothing is observed.

    Args:
        net: a WindowNet, or another module with `times`, `m`, `n` and `spread`, called as
            `net(data, precisions)`; what it gives is a state, or mean and standard deviations.
        steps: model steps before each observation of a window, an integer or one for each.
        at: where in the window the state lies: 0, its start, or the number of an observation.
        members: where the network gives a spread, how many states are drawn from it, 2 or more;
            0: the mean alone.
        limits: the least and the largest data that the network knows, `(m,)` each, or None. Data
            beyond give an OutOfRange warning, and `outside` in the result is their share.

    Raises:
        TypeError: for a network that is none, and when run with an R that is not diagonal.
        ValueError: for a network that has not been trained; when run, for a problem of another
            size, with other steps, or longer than the window.
    """

    net: Any = field(repr=False)
    _: KW_ONLY
    steps: int | Sequence[int] = 1
    at: int = 0
    members: int = 0
    limits: tuple[Any, Any] | None = field(default=None, repr=False)

    def __post_init__(self):
        lacks = [a for a in PARTS if not hasattr(self.net, a)]
        if lacks or not is_module(self.net):
            raise TypeError(
                f"net must be a WindowNet, met {shown(self.net)}"
                + f" without {', '.join(lacks)}" * bool(lacks)
            )
        if not getattr(self.net, "trained", True):
            raise ValueError(
                "net has not been trained, met units of 0; wanted Learned4DVar.fit(net, ...), or "
                "the weights of a training, load_weights(net, file)"
            )
        check_count("at", self.at, 0, self.net.times)
        steps = (self.steps,) * self.net.times if isinstance(self.steps, int) else self.steps
        steps = tuple(steps)
        if len(steps) != self.net.times:
            raise ValueError(
                f"steps must be one for each of the window's {self.net.times} observations, met "
                f"{len(steps)}"
            )
        for count in steps:
            check_count("steps", count)
        if self.at and len(set(steps)) > 1:
            raise ValueError(
                f"windows around each time want equal steps, met {steps}; or at=0, for windows "
                "that begin where the problem does"
            )
        check_count("members", self.members, 0)
        if self.members == 1 or (self.members and not self.net.spread):
            raise ValueError(
                f"members must be 0, or 2 and more of a network with a spread, met {self.members}"
            )

    @classmethod
    @typed
    def fit(
        cls,
        net: Any,
        train: Problem,
        validation: Problem,
        *,
        at: int = 0,
        reach: int | None = None,
        background: float = 0.0,
        penalty: Callable | None = None,
        consistency: float = 0.0,
        truth: tuple[Array, Array] | None = None,
        samples: int = 1,
        hide: float = 0.0,
        epochs: int = 40,
        batch: int = 128,
        rate: float = 2e-3,
        clip: float = 1.0,
        checkpoint: str | os.PathLike | None = None,
        seed: int = 0,
        progress: bool = True,
        **settings: Any,
    ) -> Learned4DVar:
        """Train the network on windows of observations; what comes back runs like any method.

        The windows are the experiments of two problems. Their priors give the units of the state,
        and x_b and B where these count; their truth is not looked at. A network with a spread is
        trained by the evidence lower bound, in which the prior counts once.

        Args:
            net: a WindowNet, trained in place.
            train: a Problem whose batch are windows, of as many observations as the network has,
                and `reach` more with `consistency`.
            validation: the same of other runs: the best weights are chosen by the cost there.
            at: as in Learned4DVar.
            reach: how many observations count, the first at or after the state; None: all the
                rest of the window.
            background: the weight b of |B^-1/2 (x - x_b)|^2 / 2.
            penalty: a further cost of states `(b, n)`, or of fields `(b, *shape)` where the
                problem has a shape, to `(b,)`: a Tikhonov term such as |grad x|^2.
            consistency: the weight a of |f(Y') - M(f(Y))|^2 / 2 in units of the prior's standard
                deviations, Y' the window `reach` observations later; a mean over the state.
            truth: for comparison, a supervised training: the true states at the time of the
                network's, `(S, n)`, of the training and the validation.
            samples: of the network's Gaussian, drawn for each window and step.
            hide: the share of the data that the network is not shown in training, drawn anew at
                each step; if not 0 only these count, whose errors it cannot know.
            epochs: passes over the windows.
            batch: windows in a step.
            rate: of Adam at the start; it falls to 0 as a cosine.
            clip: the largest norm of a step's gradient, which grows with the window as errors do.
            checkpoint: a file, from which a training that was killed goes on to the same bits.
            seed: of the training.
            progress: whether to show a bar.
            settings: those of Learned4DVar, such as members.

        Returns:
            Learned4DVar: trained.

        Raises:
            TypeError: for a network that is none, a stochastic model, an R that is not diagonal.
            ValueError: for windows of another length or size, a prior without spread, and windows
                that stand in training and validation.
            FloatingPointError: where the model takes the network's states to infinity.
        """
        found = fitted(
            net,
            train,
            validation,
            at=at,
            reach=reach,
            background=background,
            penalty=penalty,
            consistency=consistency,
            truth=truth,
            samples=samples,
            hide=hide,
            epochs=epochs,
            batch=batch,
            rate=rate,
            clip=clip,
            checkpoint=checkpoint,
            seed=seed,
            progress=progress,
        )
        return cls(net=net, at=at, **{**found, **settings})

    def estimate(self, problem: ProblemLike) -> tuple[Array, Array | None]:
        """The states that the network gives, without the model: first guesses, say.

        Args:
            problem: a validated Problem, or another ProblemLike.

        Returns:
            The state at the start `(..., n)` where `at = 0`, else those at all observations
                `(..., L, n)`; and their standard deviations, or None.

        Raises:
            TypeError, ValueError: as the class says.
        """
        import torch

        check_window(problem, self.net, self.steps, self.at)
        like = next(self.net.parameters())
        y, p = windows_of(problem, like)
        L = y.shape[1]
        if self.at:
            y, p = (slid(v, self.net.times, self.at).flatten(0, 1) for v in (y, p))
        elif self.net.times > L:
            gap = torch.zeros_like(y[:, :1]).expand(-1, self.net.times - L, -1)
            y, p = torch.cat((y, gap), 1), torch.cat((p, gap), 1)
        with torch.no_grad():
            rows = zip(y.split(1024), p.split(1024), strict=True)
            out = [self.net(a, b) for a, b in rows]
        parts = list(zip(*out, strict=True)) if self.net.spread else [out]
        shape = (*problem.batch, L, problem.n) if self.at else (*problem.batch, problem.n)
        x = [convert(torch.cat(list(part)).reshape(shape), problem.like) for part in parts]
        return x[0], x[1] if self.net.spread else None

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle for each observation time.

        The forecast is the prior, or where `at > 0` the last answer, carried by the model.

        Args:
            problem: the problem; its prior is not used, but for the first forecast.
            rng: Streams over its batch.

        Returns:
            The cycles.
        """
        told = self.limits is None
        for k, cycle in enumerate(self._cycles(problem, rng)):
            if self.limits is not None:
                share = share_outside(problem, k, self.limits)
                if share.any() and not told:
                    told = True
                    warn(
                        f"at observation {k}, {share.max():.1%} of the data lie outside of the "
                        "range that the network was trained on: its answers mean nothing there; "
                        "wanted training windows that reach so far",
                        OutOfRange,
                    )
                cycle = cycle.with_info(outside=convert(share, problem.like))
            yield cycle

    def _cycles(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        with no_grad(problem.like):
            xp = array_namespace(problem.like)
            x, std = self.estimate(problem)
            E = self._drawn(x[..., None, :], std, rng)
            last = problem.prior.mean[..., None, :]
            if self.members:
                last = problem.prior.sample(rng, self.members)
            last = xp.broadcast_to(last, (*problem.batch, *last.shape[-2:]))
        for k in range(len(problem)):
            with no_grad(problem.like):
                forecast = problem.forecast(last, k)
                if self.at:
                    now = last = E[..., k, :, :]
                else:
                    last, now = forecast, problem.forecast(E, k)
                    E = now
            yield Cycle(self._belief(forecast), self._belief(now))

    def _belief(self, E: Array) -> Point | Ensemble:
        if self.members:
            return Ensemble.unchecked(E)
        return Point.unchecked(E[..., 0, :])

    def _drawn(self, x: Array, std: Array | None, rng: Any) -> Array:
        """Members `(..., N, n)` of means `(..., 1, n)`; N = 1 without a spread."""
        if not self.members or std is None:
            return x
        if not self.at:
            return x + std[..., None, :] * normal(rng, (self.members, x.shape[-1]), x)
        L = x.shape[-3]
        return x + std[..., None, :] * normal(rng, (L, self.members, x.shape[-1]), x)
