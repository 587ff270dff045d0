"""The ensemble smoother with multiple data assimilation: all data, several times, a little each.

An inverse problem y = G(theta) + e is a Problem whose state at the prior's time is theta: G runs
the model to every observation time and observes it there. The same data are assimilated once for
each coefficient, with their errors inflated by it,
    theta_i <- theta_i + C_tg (C_gg + alpha_j R)^-1 (y + alpha_j^1/2 e_i - G(theta_i)),
    e_i ~ N(0, R),   sum_j 1 / alpha_j = 1,
with covariances of the ensemble and its images. For a linear G and Gaussian prior, many members
give the exact posterior, as the likelihoods to the powers 1 / alpha_j multiply to the likelihood.
For a nonlinear G each step is small, and G is run anew between the steps.

Emerick and Reynolds, Ensemble smoother with multiple data assimilation, Comput. Geosci. 55, 2013;
perturbations with mean 0 as in Burgers, van Leeuwen and Evensen, Mon. Wea. Rev. 126, 1998.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from ...array import Array, array_namespace, check_count, no_grad, normal, row_mean, typed
from ...covariances.base import Covariance, Masked
from ...covariances.blocks import Blocks, concatenated
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from ..ensemble.enkf import enkf
from ..ensemble.failures import carried, enough, replacing


@typed
def esmda(E: Array, Y: Array, y: Array, R: Covariance, D: Array, alpha: float) -> Array:
    """One of the steps: an analysis with the errors of the data inflated, alpha R.

    theta_i <- theta_i + C_tg (C_gg + alpha R)^-1 (y + alpha^1/2 e_i - G(theta_i)).

    Args:
        E: members theta_i `(..., N, n)`.
        Y: their images G(theta_i) `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.
        D: errors e_i drawn from R, one for each member, `(..., N, m)`; they are not yet inflated.
        alpha: the coefficient, positive.

    Returns:
        The members `(..., N, n)` after the step.

    Raises:
        ValueError: when N or m disagree.
    """
    root = float(alpha) ** 0.5  # data and images in units of alpha^1/2 have errors R
    return enkf(E, Y / root, y / root, R, D)


@typed
@dataclass(frozen=True, eq=False)
class ESMDA:
    """The ensemble smoother with multiple data assimilation, for static or starting states.

    The data of all times update the members at the prior's time, once for each coefficient, with
    a run of the model before each. `analysis` at cycle k is the last ensemble, run to that time:
    it knows all data. `forecast` is the prior's; `info["start"]` the updated Ensemble at the
    prior's time, and `info["failed_members"]` how many runs failed in all updates (`(...)`); each
    is replaced by a combination of the others. The perturbations are centred over the members.

    Args:
        members: ensemble size N, an integer >= 2.
        alphas: how many steps, all alike, an integer >= 1; or the ratios of their coefficients,
            such as (8, 4, 2, 1), which are scaled so that the sum of 1 / alpha is 1.

    Raises:
        ValueError: for a setting out of its range, or when run on a problem with model errors.
    """

    members: int
    _: KW_ONLY
    alphas: int | Sequence[float] = 4

    def __post_init__(self):
        check_count("members", self.members, 2)
        if np.ndim(self.alphas) == 0:
            check_count("alphas (or a sequence of numbers)", self.alphas, 1)
            return
        given = np.asarray(self.alphas, float)
        if given.ndim != 1 or not given.size or not (np.isfinite(given) & (given > 0)).all():
            raise ValueError(f"met alphas {self.alphas}, wanted a number of steps or numbers > 0")

    @property
    def coefficients(self) -> list[float]:
        """The coefficients alpha_j, of which the sum of 1 / alpha_j is 1."""
        ratios = np.ones(self.alphas) if np.ndim(self.alphas) == 0 else np.asarray(self.alphas)  # type: ignore[arg-type]
        return (ratios * np.sum(1 / ratios)).tolist()

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time, after all updates."""
        check_perfect(problem)
        with no_grad(problem.like):
            E = problem.prior.sample(rng, self.members)
            E = array_namespace(E).broadcast_to(E, (*problem.batch, *E.shape[-2:])) + 0.0
            y, R = all_data(problem)
            total, forecasts = 0, []
            for j, alpha in enumerate(self.coefficients):
                states, Y = images(problem, E)
                failed, replace = replacing(Y, rng, enough(problem, self.members))
                total = total + failed
                if replace is not None:
                    E, Y = replace(E), replace(Y)
                    states = states if j else [replace(x) for x in states]
                forecasts = forecasts or states
                D = R.color(normal(rng, (self.members, R.controls), E))
                E = esmda(E, Y, y, R, D - row_mean(D), alpha)
        x = E
        for k in range(len(problem)):
            with no_grad(problem.like):
                x, _, replace = carried(problem, x, k, rng)
                E = E if replace is None else replace(E)
                info = {"start": Ensemble.unchecked(E), "failed_members": total}
                pair = Ensemble.unchecked(forecasts[k]), Ensemble.unchecked(x)
            yield Cycle(*pair, info)


def check_perfect(problem: Any) -> None:
    """Raise ValueError where the model has errors, which an image G(theta) does not hold."""
    noise = getattr(problem, "noise", None)
    noises = noise if isinstance(noise, tuple) else (noise,)
    if getattr(problem, "stochastic", False) or any(Q is not None for Q in noises):
        raise ValueError(
            "ESMDA inverts a model without errors, met one with noise or a stochastic one; wanted "
            "noise=None, or EnKS or IEnKS"
        )


def all_data(problem: ProblemLike) -> tuple[Array, Covariance]:
    """The data of all times side by side `(..., M)`, and their covariance, gaps masked."""
    pairs = [problem.at(k) for k in range(len(problem))]
    y = concatenated(*(y for _, y in pairs))
    noises = [observe.noise for observe, _ in pairs]
    if all(R.seen is None for R in noises):
        return y, Blocks(tuple(noises))
    xp = array_namespace(y)
    whole = [
        xp.ones((R.n,), dtype=xp.bool, device=y.device) if R.seen is None else R.seen
        for R in noises
    ]
    return y, Masked(Blocks(tuple(noises)), concatenated(*whole))


def images(problem: ProblemLike, E: Array) -> tuple[list[Array], Array]:
    """The states `(..., N, n)` at all times, and what is observed of them, `(..., N, M)`."""
    states, Y = [], []
    for k in range(len(problem)):
        E = problem.forecast(E, k)
        states.append(E)
        Y.append(problem.at(k)[0](E))
    return states, concatenated(*Y)
