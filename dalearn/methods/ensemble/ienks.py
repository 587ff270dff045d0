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
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Literal, cast

from ...array import (
    Array,
    array_namespace,
    check_between,
    check_count,
    eye,
    no_grad,
    normal,
    row_mean,
    sane,
    where_ok,
)
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike, Stepwise, stepwise
from ...problem.observe import Observation
from ..base import Cycle
from .checks import check_ensemble, check_update
from .inflation import Evidence, begin
from .transform import check_rotation, decomposed, rotations


def gauss_newton(
    Z: Ensemble,
    image: Callable[[Array], Array],
    Y: Array,
    y: Array,
    R: Covariance,
    iterations: int = 10,
    tolerance: float = 0.03,
) -> tuple[Array, Array, Array]:
    """The weights of the members of `Z (..., N, z)` that fit their image to the data `y (..., m)`.

    `image(E)` is what would be observed of members E, `(..., N, m)`, at the window's end, with
    errors of covariance `R`; `Y = image(Z.members)`. An experiment stops after `iterations`, or
    when its step is shorter than `tolerance` posterior standard deviations, (dw A dw^T)^1/2.
    Returns w `(..., 1, N)`, T `(..., N, N)` and the number of steps `(...)`.
    """
    xp = array_namespace(Z.members, Y, y)
    check_update(Z.members, Y, y, R)
    N, one = Y.shape[-2], eye(Y.shape[-2], Y)
    w = 0 * (R.whiten(y[..., None, :] - row_mean(Y)) @ (0 * Y).mT)
    T = inverse = w + one
    count = 0 * w[..., 0, 0]
    active = good = count == count  # not where there is a NaN
    for i in range(iterations):
        if i:
            Y = image(Z._mean + (w + T) @ Z.anomalies)
        h = row_mean(Y)
        S = inverse @ R.whiten(Y - h)
        b = R.whiten(y[..., None, :] - h) @ S.mT - (N - 1) * w
        A, ok = sane(S @ S.mT + (N - 1) * one)
        if ok is not True:
            good, active = good & ok, active & ok
            if not bool(xp.any(active)):
                break
        count = count + xp.astype(active, Y.dtype)
        step, U, V, length = newton(A, b, active)
        w, now = w + step, active[..., None, None]
        T, inverse = xp.where(now, U, T), xp.where(now, V, inverse)
        active = active & (length > tolerance)
        if not bool(xp.any(active)):
            break
    return where_ok(good, w), where_ok(good, T), count


def newton(A: Array, b: Array, active: Array) -> tuple[Array, Array, Array, Array]:
    """b A^-1, ((N - 1) A^-1)^1/2, its inverse, (b A^-1 b^T)^1/2; of the active ones only."""
    xp = array_namespace(A, b)
    N, every = A.shape[-1], bool(xp.all(active))
    s, V, c = decomposed(A, b) if every else decomposed(A[active], b[active])
    r = ((N - 1) / s) ** 0.5
    found = [(c / s) @ V.mT, (V * r) @ V.mT, (V / r) @ V.mT]
    found += [xp.sum(c * c / s, axis=(-2, -1)) ** 0.5]
    if not every:  # back to their places
        rank = xp.cumulative_sum(xp.astype(xp.reshape(active, (-1,)), xp.int64))
        place = xp.reshape(xp.clip(rank - 1, 0, None), active.shape)
        found = [f[place] for f in found]
        found[0] = xp.where(active[..., None, None], found[0], xp.zeros_like(found[0]))
    return tuple(found)


def path(problem: Stepwise, z: Array, window: list[int]) -> list[Array]:
    """The states `(..., N, n)` at the window's start and at each observation time in it.

    `z (..., N, z)`: the start, and the noise of each model step where the problem has a Q.
    """
    n, used = problem.n, problem.n
    states = [z[..., :n]]
    for k in window:
        x = states[-1]
        for _ in range(problem.steps_to(k)):
            x = problem.step(x)
            if problem.noise is not None:
                x, used = x + z[..., used : used + n], used + n
        states.append(x)
    return states


def image(problem: Stepwise, observe: Observation, window: list[int], z: Array) -> Array:
    """What is observed at the window's end, `(..., N, m)`."""
    return observe(path(problem, z, window)[-1])


@dataclass(frozen=True, eq=False)
class IEnKS:
    """The iterative ensemble Kalman smoother, by Gauss-Newton, moved one observation at a time.

    Arguments: `members`, N >= 2; `lag`, the window's length in observation intervals (1: the
    iterative EnKF; 0: the maximum likelihood ensemble filter, the ETKF where H is linear);
    `inflation`, the factor on the anomalies of the window's start after each analysis, a number,
    an array over the problem's batch axes, or RTPS, RTPP, Adaptive; `rotate`, None, "householder"
    or "haar"; `iterations`, at most, and `tolerance`, the step in posterior standard deviations at
    which they end, for each experiment on its own.

    At cycle k `analysis` is the updated start run through the window, and `info["smoothed"]` the
    state at the same time given the data up to cycle k + lag: the start of the window that ends
    there, so that cycles come `lag` late (the last ones know the data up to the run's end).
    `info["iterations"]` are the analysis's. Model noise Q is part of what is sought: drawn for
    each member when the window reaches a step, then updated with its start. A stochastic model
    with lag > 0 raises TypeError: what it draws cannot be run again.
    """

    members: int
    _: KW_ONLY
    lag: int = 1
    inflation: Any = 1.0
    rotate: Literal["householder", "haar"] | None = None
    iterations: int = 10
    tolerance: float = 0.03

    def __post_init__(self):
        check_ensemble(self.members, self.inflation)
        check_rotation(self.rotate)
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
        like, n, K = problem.like, problem.n, len(problem)
        xp, window, waiting = array_namespace(like), [], deque()
        with no_grad(like):
            turns = rotations(self.rotate, rng, self.members, like)
            inflate = begin(self.inflation, like, problem.batch)
            x = problem.prior.sample(rng, self.members)
            z = x = xp.broadcast_to(x, (*problem.batch, *x.shape[-2:])) + 0.0  # laid out in memory
        for k in range(K):
            with no_grad(like):
                if self.lag:
                    window, noise = [*window, k], drawn(problem, k, rng, x)
                    x = path(problem, xp.concat((x, *noise), axis=-1), [k])[-1]
                    z = xp.concat((z, *noise), axis=-1)
                else:
                    z = x = problem.forecast(x, k, rng)
                forecast, Z = Ensemble.unchecked(x), Ensemble.unchecked(z)
                observe, y = problem.at(k)
                Y = observe(x)
                see = partial(image, problem, observe, window)
                stop = self.iterations, self.tolerance
                w, T, count = gauss_newton(Z, see, Y, y, observe.noise, *stop)
                Z_a = next(turns)(Ensemble.of(Z._mean + w @ Z.anomalies, T @ Z.anomalies))
                Z_a, info = inflate(Z, Z_a, Evidence(Y, y, observe.noise))
                z, states = Z_a.members, path(problem, Z_a.members, window)
                x = states[-1]
                info = {"iterations": count, **info}
                waiting.append(Cycle(forecast, Ensemble.unchecked(x), info))
                if self.lag and len(window) == self.lag:  # on by one observation
                    used = n if problem.noise is None else n * (1 + problem.steps_to(window[0]))
                    z, window = xp.concat((states[1], z[..., used:]), axis=-1), window[1:]
            if k >= self.lag:
                waiting[0].info["smoothed"] = Ensemble.unchecked(states[0])
                yield waiting.popleft()
        for cycle, E in zip(waiting, states[len(states) - len(waiting) :], strict=True):
            cycle.info["smoothed"] = Ensemble.unchecked(E)
            yield cycle


def drawn(problem: Stepwise, k: int, rng: Any, x: Array) -> list[Array]:
    """The noise `(..., N, n)` of each step to observation k; none without a Q."""
    Q, steps = problem.noise, problem.steps_to(k)
    return [] if Q is None else [Q.color(normal(rng, x.shape[-2:], x)) for _ in range(steps)]
