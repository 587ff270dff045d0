"""Learning through a filter: settings and models, by the gradient of what forecasts say of data.

Data are taken in windows, one after the other. In each, the loss of the forecasts is
differentiated back to the window's start, where the filter goes on from its last analysis as if
that were given (truncated back-propagation through time): then one step of Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np

from ..array import (
    Array,
    Purpose,
    check_between,
    check_count,
    gradients,
    is_tensor,
    seed_array,
    shown,
    streams,
    typed,
    uniform,
    warn,
)
from ..covariances.matrices import Dense
from ..methods.base import Cycle, Method
from ..methods.particles.resampling import members_at, systematic
from ..problem.belief import Belief, Ensemble, Gaussian
from ..problem.experiment import part
from ..problem.problem import Problem
from .learn import cycles, density

Make = Callable[[], tuple[Problem, Method]]
Loss = Callable[[Problem, int, Cycle], Array]


@typed
def learn(
    make: Make,
    parameters: Sequence[Any],
    *,
    window: int = 10,
    passes: int = 1,
    rate: float = 0.1,
    average: float = 0.25,
    loss: Literal["likelihood", "marginal"] | Loss = "marginal",
    seed: Any = 0,
) -> list[float]:
    """Change parameters so that the filter's forecasts agree with the data that come next.

        u = torch.tensor([0.1, 8.0], dtype=torch.float64).log().requires_grad_()
        def make():
            place = da.Localization.ring(40, u[1].exp())
            return problem, da.LETKF(7, localization=place, inflation=1 + u[0].exp())
        da.learn(make, [u])

    No truth is used. Experiments of a batch share the parameters, and their losses are averaged:
    a batch of a few makes the gradient steadier at little cost.

    Args:
        make: makes problem and method from the parameters, anew for each window.
        parameters: leaf tensors that require gradients, such as `list(net.parameters())`; they are
            changed in place. Logarithms keep a positive number positive.
        window: observation times of a window.
        passes: how often the data are gone through; each begins with the problem's prior.
        rate: of Adam, at first; it falls to a tenth of it.
        average: the parameters end as their means over this share of the windows, the last ones:
            one window knows little (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992); 0: as
            the last window leaves them.
        loss: "marginal", minus the log density of each datum alone (see `log_likelihood`), for
            ensembles; "likelihood", of all data of a time together; or a function
            `(problem, k, cycle) -> (...)` of the window's problem and its cycle k, such as a
            score of `cycle.forecast`.
        seed: as for `assimilate`.

    Returns:
        The loss of each window, a mean over times and experiments, before its step. Windows whose
        gradient is not finite change nothing; their loss is NaN.

    Raises:
        TypeError: for parameters that are no leaves, and a problem that is not of torch.
        ValueError: for settings out of range, and a loss that does not depend on the parameters.
        FloatingPointError: where no window had a finite gradient.
    """
    import torch

    for name, value in (("window", window), ("passes", passes)):
        check_count(name, value)
    check_between("rate", rate, 0, 10, open_low=True)
    check_between("average", average, 0, 1, open_low=False)
    leaves = list(parameters)
    bad = [p for p in leaves if not (is_tensor(p) and p.is_leaf and p.requires_grad)]
    if bad or not leaves:
        raise TypeError(
            "parameters must be leaf tensors that require gradients (x.requires_grad_()), met "
            + (f"{bad[0]!r}" if bad else "none")
        )
    K, losses = len(_made(make)[0]), []
    adam = torch.optim.Adam(leaves, lr=rate, betas=(0.8, 0.95))
    starts = [*range(0, K, window)] * passes
    prior: Belief | None = None
    kept: list[list[Array]] = []
    seeds = seed_array(seed).astype(object)
    for i, first in enumerate(starts):
        problem, method = _made(make)
        if i == 0 and not is_tensor(problem.like):
            raise TypeError("learning wants a problem of torch, met one of NumPy; see Problem.to")
        prior = None if first == 0 else prior
        piece = part(problem, first, min(first + window, K), prior)
        for group in adam.param_groups:
            group["lr"] = rate * (1 - 0.9 * i / len(starts))
        mine = np.asarray(seeds + 1000003 * i, object)  # numbers of its own for each window
        value, last = _window(piece, method, mine.tolist(), loss)
        adam.zero_grad()
        if not value.requires_grad:
            raise ValueError(
                "the loss does not depend on the parameters; wanted make() to build problem and "
                "method from them each time"
            )
        value.backward()
        sound = all(q.grad is None or bool(torch.isfinite(q.grad).all()) for q in leaves)
        if sound:
            adam.step()
        losses.append(float(value.detach()) if sound else float("nan"))
        if i >= len(starts) - max(1, round(average * len(starts))):
            kept.append([q.detach().clone() for q in leaves])
        prior = _carried(last, problem, mine.tolist())
    with torch.no_grad():
        for q, values in zip(leaves, zip(*kept, strict=True), strict=True):
            q.copy_(torch.stack(values).mean(0))
    if not np.isfinite(losses).any():
        raise FloatingPointError(
            "no window had a finite loss and gradient; wanted a first guess at which the filter "
            "runs, or shorter windows"
        )
    if not np.isfinite(losses).all():
        count = int((~np.isfinite(losses)).sum())
        warn(f"{count} of {len(losses)} windows had no finite gradient")
    return losses


def _made(make: Make) -> tuple[Problem, Method]:
    given: Any = make()
    if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], Problem)):
        raise TypeError(f"make() must return a problem and a method, met {shown(given)}")
    return given


def _window(problem: Problem, method: Method, seed: Any, loss: Any) -> tuple[Array, Belief]:
    """The mean loss of a window's forecasts, and its last analysis."""
    total, last = 0.0, None
    with gradients():
        for k, cycle in enumerate(cycles(problem, method, seed=seed)):
            if callable(loss):
                total = total + cast(Any, loss)(problem, k, cycle).mean()
            else:
                total = total - density(problem, k, cycle, loss == "marginal").mean()
            last = cycle.analysis
    return total / len(problem), last  # pyright: ignore


def _carried(belief: Any, problem: Problem, seed: Any) -> Belief | None:
    """The belief that the next window begins with, without its history; None where it is lost."""
    import torch

    if isinstance(belief, Ensemble):
        E, w = belief.members.detach(), belief.weights
        if w is not None:
            u = uniform(streams(Purpose.PARAMETERS, seed, problem.batch), E[..., 0, 0])
            E = members_at(E, systematic(w.detach(), u))
        return Ensemble(E) if bool(torch.isfinite(E).all()) else None
    if isinstance(belief, Gaussian):
        x, P = belief.mean.detach(), belief.cov.matrix().detach()
        if bool(torch.isfinite(x).all() & torch.isfinite(P).all()):
            return Gaussian(x, Dense.unchecked((P + P.mT) / 2))
        return None
    raise TypeError(f"learning wants forecasts with a spread, met {type(belief).__name__}")
