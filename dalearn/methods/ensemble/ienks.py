"""The iterative ensemble Kalman smoother: 4D-Var over the weights of an ensemble, no adjoint.

The window runs from the state at observation time k - lag to the data at k. Its start is sought
among combinations of the members' starts, x(w) = x_0 + w X_0, that minimise
    J(w) = |R^-1/2 (y_k - H(M(x(w))))|^2 / 2 + (N - 1) |w|^2 / 2
by Gauss-Newton. The sensitivity comes from the ensemble itself, run through the window as it is
thought to be distributed after the data, E = x_0 + (w + T) X_0: with S the whitened images of its
anomalies and d the whitened innovation of their mean,
    S_0 = T^-1 S,   A = S_0 S_0^T + (N - 1) I,
    w <- w + (d S_0^T - (N - 1) w) A^-1,   T <- ((N - 1) A^-1)^1/2   (symmetric).
For linear models and operators the first step is the Kalman update and the second moves nothing.
Then the window moves on by one observation: the new start is the old one, updated, one interval
later. Each datum is used once.

Model errors are sought together with the start: what is combined is the member with the noise
that it met at every step of the window, z = (x_0, q_1, q_2, ...), so that w and T act on a
deterministic function of z, the model with the noise q put in. In a linear problem the analysis
then is the ETKF's, from the same draws, for any lag.

Sakov, Oliver and Bertino, An iterative EnKF for strongly nonlinear systems, Mon. Wea. Rev. 140,
2012; Bocquet and Sakov, Nonlin. Processes Geophys. 19, 2012, and An iterative ensemble Kalman
smoother, Q. J. R. Meteorol. Soc. 140, 2014; model errors as part of the unknown: Evensen,
Accounting for model errors in iterative ensemble smoothers, Comput. Geosci. 23, 2019.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Literal, cast

from ...array import (
    Array,
    Swept,
    array_namespace,
    check_between,
    check_count,
    no_grad,
    normal,
    typed,
)
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike, Stepwise, noise_at, stepping, stepwise
from ...problem.manifold import gathered
from ...problem.observe import Observation
from ..base import Cycle
from .checks import blind, unless
from .combinations import transformed
from .cycle import check_settings
from .failures import enough, replacing
from .gauss_newton import gauss_newton
from .inflation import Evidence, Inflation, begin
from .transform import ahead, rotations


def path(problem: Stepwise, z: Array, window: list[int]) -> list[Array]:
    """The states `(..., N, n)` at the window's start and at each observation time in it.

    `z (..., N, z)`: the start, and the noise of each model step where the problem has a Q.
    """
    n, used = problem.n, problem.n
    states = [z[..., :n]]
    for k in window:
        x, noisy = states[-1], noise_at(problem, k) is not None
        for step in stepping(problem, k):
            x = step(x)
            if noisy:
                x, used = x + z[..., used : used + n], used + n
        states.append(gathered(problem, x))
    return states


def drawn(problem: Stepwise, k: int, rng: Any, x: Array) -> list[Array]:
    """The noise `(..., N, n)` of each step to observation k; none without a Q."""
    Q, steps = noise_at(problem, k), problem.steps_to(k)
    return [] if Q is None else [Q.color(normal(rng, x.shape[-2:], x)) for _ in range(steps)]


class Lag:
    """The window of a smoother: its members at the start, and the intervals they run through.

    `z (..., N, z)`: the states at the start, and the noise of each step since where the problem
    has a Q; `x (..., N, n)`: the states at the end; `window`: the observations in between.
    """

    def __init__(self, problem: Stepwise, x: Array, length: int):
        self.problem, self.length = problem, length
        self.z = self.x = x
        self.window: list[int] = []

    def extend(self, k: int, rng: Any) -> Array:
        """Carry the members `x` to observation k, where the window then ends; how many failed."""
        if self.length:
            xp, noise = array_namespace(self.x), drawn(self.problem, k, rng, self.x)
            self.window = [*self.window, k]
            self.x = path(self.problem, xp.concat((self.x, *noise), axis=-1), [k])[-1]
            self.z = xp.concat((self.z, *noise), axis=-1)
        else:
            self.z = self.x = self.problem.forecast(self.x, k, rng)
        return self._replaced([], rng)[1]

    def image(self, observe: Observation, y: Array, z: Array) -> Array:
        """What is observed at the window's end, `(..., N, m)`, of members `z`, near data `y`."""
        Y, turned = observe.together(observe(path(self.problem, z, self.window)[-1]), y)
        return Y + (y - turned)[..., None, :]

    def analyse(self, z: Array, rng: Any) -> tuple[list[Array], Array]:
        """Other members at the start; the states `(..., N, n)` there and at each observation.

        And how many failed on the way `(...)`.
        """
        states = path(self.problem, z, self.window)
        self.z, self.x = z, states[-1]
        states, failed = self._replaced(states, rng)
        if self.length and len(self.window) == self.length:
            self._advance(states[1])
        return states, failed

    def _replaced(self, states: list[Array], rng: Any) -> tuple[list[Array], Array]:
        """Replace the members that failed, at the window's start too; and how many `(...)`."""
        failed, replace = replacing(self.x, rng, enough(self.problem, self.x.shape[-2]))
        if replace is not None:
            self.z, self.x = replace(self.z), replace(self.x)
            states = [replace(x) for x in states]
        return states, failed

    def _advance(self, x: Array) -> None:
        """Begin one observation later, where the states are `x`."""
        n, first = self.problem.n, self.window[0]
        quiet = noise_at(self.problem, first) is None
        used = n if quiet else n * (1 + self.problem.steps_to(first))
        self.z = array_namespace(x).concat((x, self.z[..., used:]), axis=-1)
        self.window = self.window[1:]


@typed
@dataclass(frozen=True, eq=False)
class IEnKS:
    """The iterative ensemble Kalman smoother, by Gauss-Newton, moved one observation at a time.

    At cycle k `analysis` is the updated start run through the window, and `info["smoothed"]` the
    state at the same time given the data up to cycle k + lag: the start of the window that ends
    there, so that cycles come `lag` late (the last ones know the data up to the run's end).
    `info["iterations"]` are the analysis's. Model noise Q is part of what is sought: drawn for
    each member when the window reaches a step, then updated with its start.

    Args:
        members: ensemble size N, an integer >= 2.
        lag: the window's length in observation intervals, an integer >= 0; 1: the iterative EnKF;
            0: the maximum likelihood ensemble filter, the ETKF where H is linear.
        inflation: factor on the anomalies of the window's start after each analysis, as in the
            ETKF.
        rotate: None, "householder" or "haar", a random rotation of the members after each analysis
            that keeps their mean and covariance: see ETKF.
        iterations: steps of the minimisation at most, an integer >= 1.
        tolerance: the step, in posterior standard deviations, at which an experiment ends.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: with lag > 0, when run with a stochastic model, whose noise cannot be repeated,
            or on a problem that does not give its model step by step.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    lag: int = 1
    inflation: Swept | Inflation = 1.0
    rotate: Literal["householder", "haar"] | None = None
    iterations: int = 10
    tolerance: float = 0.03

    def __post_init__(self):
        check_settings(self)
        for name, value, least in (("lag", self.lag, 0), ("iterations", self.iterations, 1)):
            check_count(name, value, least)
        check_between("tolerance", self.tolerance, 0, 1e3, open_low=False)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time, `lag` of them late."""
        if self.lag and getattr(problem, "stochastic", False):
            model = getattr(problem, "model", problem)
            raise TypeError(
                f"{type(model).__name__} is stochastic: IEnKS runs a window again and again with "
                "the same noise; give it as noise=Q, or use EnKS"
            )
        problem = stepwise(problem, "IEnKS") if self.lag else cast(Stepwise, problem)
        like, waiting, states = problem.like, deque(), []
        with no_grad(like):
            turns = rotations(self.rotate, rng, self.members, problem.like, ahead(problem, rng))
            inflate = begin(self.inflation, like, problem.batch)
            x = problem.prior.sample(rng, self.members)
            x = array_namespace(like).broadcast_to(x, (*problem.batch, *x.shape[-2:])) + 0.0
            lag = Lag(problem, x, self.lag)
        for k in range(len(problem)):
            with no_grad(like):
                failed = lag.extend(k, rng)
                forecast = Ensemble.unchecked(lag.x)
                (observe, y), Z = problem.at(k), Ensemble.unchecked(lag.z)
                Y, y = observe.together(observe(lag.x), y)
                image = partial(lag.image, observe, y)
                stop = self.iterations, self.tolerance
                w, T, count = gauss_newton(Z, image, Y, y, observe.noise, *stop)
                Z_a = next(turns)(transformed(Z, w, T))
                Z_a, info = inflate(Z, Z_a, Evidence(Y, y, observe.noise))
                Z_a = unless(blind(observe.noise), Z, Z_a)
                states, more = lag.analyse(Z_a.members, rng)
                info = {**info, "failed_members": failed + more}
                analysis = Ensemble.unchecked(states[-1])
                waiting.append(Cycle(forecast, analysis, {"iterations": count, **info}))
            if k >= self.lag:
                yield waiting.popleft().with_info(smoothed=Ensemble.unchecked(states[0]))
        for cycle, E in zip(waiting, states[len(states) - len(waiting) :], strict=True):
            yield cycle.with_info(smoothed=Ensemble.unchecked(E))
