"""What a network of windows is trained by: the cost of 4D-Var through the model, and its kin.

    J(x) = sum_k |R_k^-1/2 (y_k - H_k(M_k(x)))|^2 / 2  +  b |B^-1/2 (x - x_b)|^2 / 2
           + penalty(x)  +  a |x' - M(x)|^2 / (2 sigma^2),    x = f(Y, R^-1),  x' = f(Y', R'^-1),

a mean over windows, divided by the number of data. Where the network gives a Gaussian q, J is the
negative evidence lower bound, E_q |...|^2 / 2 + KL(q | N(x_b, B)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...covariances.base import Covariance
from ...covariances.matrices import Diagonal


@dataclass(frozen=True, eq=False)
class WindowCost:
    """A loss of `neural.fit` for rows (data, precisions, background[, truth]) of windows.

    Data and precisions are `(b, L, m)`, background and truth `(b, n)`.

    Args:
        step: one model step of states `(b, 1, n)`.
        steps: how many of them lie before each of the L observations.
        operators: H of each of them, of states `(b, 1, n)`.
        times: K, the observations that the network sees.
        at: the observation, from 1, at which its state lies; 0: at the window's start.
        reach: how many observations count, the first at or after the state.
        B: the covariance of the background's errors, or None.
        background: b.
        penalty: a function of states `(b, n)`, or fields `(b, *shape)`, to `(b,)`, or None.
        shape: of a field, or ().
        consistency: a; the network is asked again `reach` observations later.
        scale: sigma, the unit of states in which consistency and supervision count, `(n,)`.
        supervised: compare with the truth instead.
        samples: of the Gaussian, drawn for each window.
        hide: the share of data that the network does not see; only those then count.
    """

    step: Callable
    steps: Sequence[int]
    operators: Sequence[Callable]
    times: int
    at: int
    reach: int
    B: Covariance | None
    background: float
    penalty: Callable | None
    shape: tuple[int, ...]
    consistency: float
    scale: Any
    supervised: bool
    samples: int
    hide: float

    def __call__(self, module: Any, y: Any, p: Any, b: Any, *truth: Any) -> Any:
        import torch

        shown, counted = p, p
        if self.hide:
            hidden = torch.rand_like(p) < self.hide
            shown, counted = torch.where(hidden, 0 * p, p), torch.where(hidden, p, 0 * p)
        y_shown = torch.where(shown > 0, y, 0 * y)
        out = module(y_shown[:, : self.times], shown[:, : self.times])
        if self.supervised:
            return self._supervised(out, module.spread, truth[0])
        size = max(float((counted > 0).sum()), 1.0) / len(p)  # data of a window, in the mean
        if module.spread:
            return self._evidence(out, y, counted, b) / size
        states = self._states(out)
        J = self._misfit(states, y, counted)
        if self.background:
            J = J + self.background * self._distance(out, b)
        if self.penalty is not None:
            J = J + self.penalty(out.reshape(-1, *self.shape) if self.shape else out)
        J = J.mean() / size
        if self.consistency:
            later = slice(self.reach, self.reach + self.times)
            apart = (module(y_shown[:, later], shown[:, later]) - states[-1]) / self.scale
            J = J + 0.5 * self.consistency * (apart**2).mean()
        return J

    def _states(self, x: Any) -> list[Any]:
        """The states `(b, n)` at the observations that count, and where asked one more."""
        found = [x] if self.at else []
        first, x = max(self.at, 1) - 1, x[:, None]
        for k in range(first + len(found), first + self.reach + self._more):
            for _ in range(self.steps[k]):
                x = self.step(x)
            found.append(x[:, 0])
        return found

    @property
    def _more(self) -> bool:
        """Whether a state beyond the observations that count is wanted."""
        return self.consistency > 0 and self.at > 0

    def _misfit(self, states: list[Any], y: Any, p: Any) -> Any:
        """sum_k |R_k^-1/2 (y_k - H_k(x_k))|^2 / 2 `(b,)`."""
        first, total = max(self.at, 1) - 1, 0.0
        for k, x in enumerate(states[: self.reach], first):
            seen = self.operators[k](x[:, None])[:, 0]
            total = total + 0.5 * (p[:, k] * (y[:, k] - seen) ** 2).sum(-1)
        return total

    def _distance(self, x: Any, b: Any) -> Any:
        assert self.B is not None
        return 0.5 * (self.B.whiten((x - b)[:, None]) ** 2).sum((-2, -1))

    def _evidence(self, out: Any, y: Any, p: Any, b: Any) -> Any:
        """The negative lower bound of the log-evidence, a mean over windows."""
        import torch

        mean, std = out
        B, total = self.B, 0.0
        assert B is not None
        for _ in range(self.samples):
            x = mean + std * torch.randn_like(std)
            total = total + self._misfit(self._states(x), y, p).mean() / self.samples
        if isinstance(B, Diagonal):
            inverse = 1 / B.variances
        else:
            inverse = (B.whiten(torch.eye(mean.shape[-1]).to(mean)) ** 2).sum(-1)
        kl = self._distance(mean, b) + 0.5 * (inverse * std**2).sum(-1) - torch.log(std).sum(-1)
        return total + kl.mean() + 0.5 * (B.log_det() - mean.shape[-1])

    def _supervised(self, out: Any, spread: bool, truth: Any) -> Any:
        import torch

        if not spread:
            return (((out - truth) / self.scale) ** 2).mean()
        mean, std = out  # the logarithmic score of the Gaussian
        return (0.5 * ((truth - mean) / std) ** 2 + torch.log(std / self.scale)).mean()
