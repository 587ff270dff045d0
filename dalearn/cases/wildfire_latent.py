"""Latent assimilation of fires: windows of four codes, corrected by burnt flags.

    coder = POD.fit(view.of(train.burnt), 64)      z_k = encode(x_k)
    model = DMD.fit(coder.encode(...), 4)          (z_{k-3}, ..., z_k) -> (z_{k-2}, ..., z_{k+1})
    Latent(OI(B), Windowed(coder, 4), model=model)

Everybody is given the truth of the first four frames, and flags at frames 8, 13 and 18. B is that
of the whole window: errors of forecasts of fires that trained nothing. Scores count cells:

    error = sqrt(wrong cells / burnt cells of the truth), sums over fires,

which is the relative root-mean-square error of the burnt mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..array import Array, Purpose, Streams, array_namespace, eye, no_grad
from ..covariances.matrices import Dense, Diagonal
from ..models import History, Windowed
from ..problem.belief import Ensemble, Point
from ..problem.observe import Observation, identity
from ..problem.problem import Problem
from .wildfire import DAYS, Fires
from .wildfire_views import View

WINDOW = 4  # frames
START = WINDOW - 1  # the last frame that everybody is given
LEADS = (5, 10)  # frames, at which errors of forecasts are collected for B


def held(past: Array) -> Array:
    """The newest of windows `(b, L, n)`: a model of windows that holds what it has."""
    return past[:, -1]


HOLD = History(held, WINDOW)


def problem_of(
    fires: Fires, view: View, flags: np.ndarray, noise: Any, *, days: Sequence[int] = DAYS
) -> Problem:
    """The fires as one batch: windows of states, flags at some frames.

    Args:
        fires: whose truth is observed.
        view: what a state is.
        flags: what was seen, `(S, days, n)`, NaN under clouds.
        noise: variance of the data's errors, a number or `(n,)`; see `errors_of_data`.
        days: frames with data, later than the first four.

    Returns:
        Problem whose model holds the fire: forecasts are the latent model's.
    """
    steps = [int(s) for s in np.diff((START, *days))]
    truth = view.of(fires.burnt[:, : max(days) + 1])
    windows = [truth[:, d - START : d + 1].reshape(len(fires), -1) for d in (START, *days)]
    R = Diagonal(np.asarray(noise + np.zeros(truth.shape[-1]), truth.dtype))
    see = Observation(HOLD.observe(identity), R)
    data, later = view.data(flags), np.stack(windows[1:], axis=1)
    return Problem(HOLD, see, Point(windows[0]), data, steps=steps, truth=later)


def errors_of_data(view: View, coder: Any, burnt: np.ndarray, flags: np.ndarray) -> float:
    """The variance of data about what the coder makes of the truth: flips and its own floor.

    Args:
        view: what a state is.
        coder: of one state.
        burnt: true flags of fires that trained nothing, `(..., n)`.
        flags: the data, NaN under clouds.
    """
    x = view.of(burnt)
    gap = view.data(flags) - coder.decode(coder.encode(x))
    return float(np.nanmean(gap**2))


def one_matrix(f: Callable, x: Array) -> tuple[Array, Array]:
    """Value and matrix of a linear function, for `GaussNewton(jacobian=)`: one for all fires."""
    H = f(eye(x.shape[-1], x)).mT
    return f(x), array_namespace(x).broadcast_to(H, (*x.shape[:-1], *H.shape))


def forecast(model: Callable, window: Array, steps: int) -> Array:
    """The codes that follow windows `(..., L r)`: `(..., steps, r)`, by a model of windows."""
    found, r = [], window.shape[-1] // WINDOW
    for _ in range(steps):
        window = model(window)
        found.append(window[..., -r:])
    return array_namespace(window).stack(found, axis=-2)


def windows_of(codes: Array, last: int) -> Array:
    """The windows of codes `(S, T, r)` that end at a frame: `(S, L r)`."""
    part = codes[:, last - START : last + 1]
    return array_namespace(part).reshape(part, (part.shape[0], -1))


def background(
    model: Callable, codes: Array, *, leads: Sequence[int] = LEADS, shrink: float = 0.1
) -> Dense:
    """B of windows: mean squares of forecast errors of fires that trained nothing, shrunk.

    Args:
        model: of windows.
        codes: of the true fires `(S, T, r)`.
        leads: frames ahead.
        shrink: the share of B that is its own diagonal, in [0, 1].

    Returns:
        `(L r, L r)`.
    """
    gaps = []
    for lead in leads:
        for last in range(START, codes.shape[1] - lead):
            x = windows_of(codes, last)
            for _ in range(lead):
                x = model(x)
            gaps.append(x - windows_of(codes, last + lead))
    gap = np.concatenate(gaps)
    B = gap.T @ gap / len(gap)
    return Dense(
        (1 - shrink) * B
        + shrink * np.diag(np.diag(B))
        + 1e-7 * np.trace(B) / len(B) * np.eye(len(B))
    )


def analyses(
    problem: Problem, latent: Any, *, seed: int = 0, rows: int = 8
) -> list[tuple[Array, Array]]:
    """Mean codes of the windows before and after each analysis, `(S, L r)` each.

    The beliefs of `Latent(...).run` decoded are four fields a fire; here codes stay codes.

    Args:
        problem: of all fires.
        latent: a Latent.
        seed: of methods that draw.
        rows: fires at a time, for the memory.
    """
    valid, parts = problem.validated(), []
    for i in range(0, valid.batch[0], rows):
        some = part(valid, slice(i, i + rows))
        with no_grad(valid.like):
            inside = latent.inside(some)
        rng = Streams(Purpose.ASSIMILATION, seed + i, some.batch)
        cycles = latent.method.run(inside, rng)
        parts.append([(c.forecast.mean, c.analysis.mean) for c in cycles])
    xp = array_namespace(valid.like)
    return [
        tuple(xp.concat(list(v)) for v in zip(*day, strict=True))
        for day in zip(*parts, strict=True)
    ]


def part(problem: Problem, rows: slice) -> Problem:
    """Some fires of a problem."""
    truth = None if problem.truth is None else problem.truth[rows]
    prior: Any = problem.prior
    if isinstance(prior, Ensemble):
        prior = Ensemble.unchecked(prior.members[rows], None)
    else:
        prior = Point(prior.mean[rows])
    return replace(problem, prior=prior, data=problem.data[rows], truth=truth).validated()


def newest(coder: Any, window: Array) -> Array:
    """The newest state `(..., n)` of windows of codes."""
    return coder.decode(window[..., -coder.r :])


def coded(coder: Any) -> Windowed:
    """The coder of windows of four states."""
    return Windowed(coder, WINDOW)


def counts(mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Wrong cells and burnt cells of each fire: masks `(S, ..., n)` -> `(S, ..., 2)`."""
    burnt = truth > 0.5
    return np.stack([(mask != burnt).sum(-1), burnt.sum(-1)], axis=-1).astype(float)


def error(pairs: np.ndarray) -> np.ndarray:
    """sqrt(wrong / burnt), sums over the fires: `(S, ..., 2)` -> `(...)`."""
    wrong, burnt = np.moveaxis(np.asarray(pairs).sum(0), -1, 0)
    return np.sqrt(wrong / burnt)
