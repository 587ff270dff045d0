"""The published estimates of a motion: strong 4D-Var, and 4D-Var with Tikhonov terms.

    min over x_0   mean over all times and variables of (y - H x)^2
                   + alpha/2 sum |grad w_0|^2 + beta/2 sum (div w_0)^2

from the first picture and water at rest, by the L-BFGS of torch in single precision, with a
learning rate of 0.75 and 250 iterations at most (A. Filoche, D. Béréziat and A. Charantonis,
Environ. Data Sci. 2, 2023, and their code). Nothing else holds the estimate: there is no
background term, and R is the identity.

The cost is so small a number (10^-4) that torch's own tolerances, 10^-7 for the largest entry of
the gradient and 10^-9 for a step, end the minimisation early. `tolerance=0` goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..array import check_between, check_count
from ..problem.problem import Problem
from .motion import TIMES

if TYPE_CHECKING:
    from torch import Tensor

ALPHA, BETA, ITERATIONS, RATE = 5e3, 5e2, 250, 0.75


class Estimate(NamedTuple):
    """What a minimisation found.

    Args:
        state: at the first picture, `(3 n^2,)`.
        iterations: of L-BFGS.
        calls: of the cost and its gradient.
        cost: the last one.
    """

    state: np.ndarray
    iterations: int
    calls: int
    cost: float


def data_cost(problem: Problem, x: Tensor) -> Tensor:
    """The mean squared misfit of a state `(3 n^2,)` at the first picture."""
    total, x = 0, x[..., None, :]
    for k in range(len(problem)):
        x = problem.forecast(x, k) if k else x
        observe, y = problem.at(k)
        total = total + (observe.noise.whiten(y[..., None, :] - observe(x)) ** 2).sum()
    r = problem.observation.at(0).noise.variance()[0]
    return total * r / (TIMES * problem.n)


def smoothness(x: Tensor, alpha: float, beta: float, dx: float) -> Tensor:
    """The Tikhonov terms of a state `(3 n^2,)`; the velocity is 0 beyond the rim."""
    from torch.nn.functional import pad

    n = round((x.shape[-1] / 3) ** 0.5)
    u, v = pad(x.unflatten(-1, (3, n, n))[1:], (0, 1, 0, 1)) / dx
    (ux, uy), (vx, vy) = ((q[:-1, 1:] - q[:-1, :-1], q[1:, :-1] - q[:-1, :-1]) for q in (u, v))
    grad = (ux**2).sum() + (uy**2).sum() + (vx**2).sum() + (vy**2).sum()
    return alpha / 2 * grad + beta / 2 * ((ux + vy) ** 2).sum()


def estimate(
    problem: Problem,
    *,
    alpha: float = 0.0,
    beta: float = 0.0,
    iterations: int = ITERATIONS,
    tolerance: float | None = None,
    start: Any = None,
) -> Estimate:
    """The state at the first picture of one window.

    Args:
        problem: one window, such as `problem[0]`, in torch.
        alpha: weight of the squared gradient of the velocity, s^2; 5e3 as published.
        beta: weight of its squared divergence, s^2; 5e2 as published.
        iterations: at most.
        tolerance: of the gradient's largest entry and of a step; torch's own by default.
        start: the state where it begins, by default the first picture over water at rest; points
            that were not seen begin at 0.

    Returns:
        Estimate: the state and what it cost.
    """
    import torch

    check_count("iterations", iterations)
    for name, weight in (("alpha", alpha), ("beta", beta)):
        check_between(name, weight, 0, np.inf, open_low=False)
    if problem.batch:
        raise ValueError(f"wanted one window, such as problem[0], met a batch {problem.batch}")
    like, model = problem.like, problem.model
    if start is None:
        y = problem.at(0)[1]
        start = torch.cat((y, torch.zeros(2 * len(y), dtype=y.dtype)))
    x = torch.as_tensor(start, dtype=like.dtype).clone().requires_grad_()
    ends = (
        {}
        if tolerance is None
        else dict.fromkeys(("tolerance_grad", "tolerance_change"), tolerance)
    )
    solver = torch.optim.LBFGS([x], lr=RATE, max_iter=iterations, **ends)

    def closure() -> Any:
        solver.zero_grad()
        cost = data_cost(problem, x)
        if alpha or beta:
            cost = cost + smoothness(x, alpha, beta, model.dx)  # type: ignore[attr-defined]
        cost.backward()
        return cost

    solver.step(closure)
    told = solver.state[x]
    with torch.no_grad():
        last = float(data_cost(problem, x))
    return Estimate(x.detach().numpy(), told["n_iter"], told["func_evals"], last)
