"""Forecasts beyond the last datum: a problem with further times, at which nothing is observed.

Without data an analysis is the forecast, so that any method carries its belief on, and the means
and standard deviations of the later times are those of a forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..array import Array, array_namespace, as_floats, check_count, convert, to_numpy, typed
from .inputs import as_inputs, as_noise
from .observe import Moving, Observation
from .problem import Problem
from .times import as_times


@typed
def with_forecast(
    problem: Problem,
    cycles: int,
    *,
    steps: int | Sequence[int] | None = None,
    inputs: Any = None,
    noise: Any = None,
    observation: Observation | Moving | None = None,
    times: Any = None,
    truth: Any = None,
) -> Problem:
    """The problem with `cycles` further times without data: what any method finds is a forecast.

    `assimilate(with_forecast(problem, 10), method)` holds mean and std at all times, those of the
    last 10 from the model, its noise and the last analysis alone. With `keep="predicted_std"`
    intervals of what will be observed too. A smoother knows nothing more there than a filter.

    Args:
        problem: a Problem.
        cycles: how many times, at least 1.
        steps: model steps before each, a number or one for each; None: as many as before each of
            the data but the first, where these are alike.
        inputs: what the model is told at each of these steps, `(S,)` or `(..., S, p)`: forecasts
            or plans of a control; "time", or None after "time", for the time itself.
        noise: Q of these steps, or a list of `cycles` covariances; None: as before.
        observation: the observing system of these times, of which only `predicted` is made; None:
            the last one.
        times: their labels `(cycles,)`; None: as far apart as the data's.
        truth: `(..., cycles, n)` to verify with, when it is known; else NaN, where the data's is.

    Returns:
        A Problem of `len(problem) + cycles` times.

    Raises:
        TypeError: for parts of another kind.
        ValueError: where it is not known how things go on, naming the setting that says so.
    """
    check_count("cycles", cycles, 1)
    counts = _steps(problem, cycles, steps)
    observing = _observing(problem, cycles, observation)
    m = observing.m
    return replace(
        problem,
        observation=observing,
        data=_longer(problem.data, cycles, m),
        steps=[*problem._counts, *counts],
        inputs=_inputs(problem, counts, inputs),
        noise=_noise(problem, cycles, noise),
        times=_times(problem, counts, times),
        truth=_truth(problem, cycles, truth),
    )


def _steps(problem: Problem, cycles: int, steps: Any) -> list[int]:
    known = problem._counts[1:] or problem._counts
    if steps is None:
        if min(known) != max(known) or not known[0]:
            raise ValueError(
                f"the data come {min(known)} to {max(known)} model steps after each other; wanted "
                "steps=, those before each of the further times"
            )
        return [known[0]] * cycles
    given = [steps] * cycles if np.ndim(steps) == 0 else list(steps)
    if len(given) != cycles:
        raise ValueError(f"steps has {len(given)} numbers, wanted one, or {cycles}")
    for each in given:
        check_count("steps", each, 1)
    return [int(each) for each in given]


def _observing(problem: Problem, cycles: int, given: Any) -> Observation | Moving:
    own = problem.observation
    if given is None and isinstance(own, Observation):
        return own
    before = [own.at(k) for k in range(len(problem))]
    more = [before[-1]] * cycles if given is None else [given.at(k) for k in range(cycles)]
    return replace(own if isinstance(own, Moving) else Moving(before), observations=before + more)


def _longer(a: Array, cycles: int, width: int) -> Array:
    """`a (..., K, w)` as `(..., K + cycles, width)`, NaN in all that is new."""
    xp = array_namespace(a)

    def gap(rows: int, columns: int) -> Array:
        shape = (*a.shape[:-2], rows, columns)
        return xp.full(shape, float("nan"), dtype=a.dtype, device=a.device)

    K, w = a.shape[-2:]
    a = xp.concat((a, gap(K, width - w)), axis=-1) if width > w else a
    return xp.concat((a, gap(cycles, a.shape[-1])), axis=-2)


def _inputs(problem: Problem, counts: list[int], given: Any) -> Array | None:
    u, whole = problem.inputs, [*problem._counts, *counts]
    if u is None:
        if given is not None:
            raise ValueError("met inputs, and the problem has none; wanted none here either")
        return None
    if given is None or isinstance(given, str):
        clock = as_inputs("time", whole, problem.model)
        now = to_numpy(u)
        if now.ndim != 1 or not np.allclose(now, clock[: len(now)], rtol=1e-6):  # pyright: ignore
            raise ValueError(
                f"the model is told inputs {tuple(u.shape)}; wanted inputs= for the "
                f"{sum(counts)} further steps too: forecasts of a forcing, or plans of a control"
            )
        return convert(clock, u)
    more = convert(as_inputs(given, counts, problem.model), u)
    flat = u.ndim == 1
    if flat != (more.ndim == 1) or not (flat or u.shape[-1] == more.shape[-1]):
        raise ValueError(
            f"inputs have shape {tuple(more.shape)}, those of the data {tuple(u.shape)}; wanted "
            "the same but for the number of rows"
        )
    return array_namespace(u).concat((u, more)) if flat else _joined(u, more)


def _joined(a: Array, b: Array) -> Array:
    """One upon the other along the time axis, batch axes broadcast."""
    xp = array_namespace(a, b)
    lead = np.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    a, b = (xp.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (a, b))
    return xp.concat((a, b), axis=-2)


def _noise(problem: Problem, cycles: int, given: Any) -> Any:
    Q = problem.noise
    if given is None:
        if not isinstance(Q, tuple):
            return Q
        raise ValueError(
            "the model noise differs from time to time; wanted noise=, that of the further steps"
        )
    more = as_noise(given, problem.n, cycles)
    before = list(Q) if isinstance(Q, tuple) else [Q] * len(problem)
    return before + (list(more) if isinstance(more, tuple) else [more] * cycles)


def _times(problem: Problem, counts: list[int], given: Any) -> Any:
    known = problem.times
    if given is not None:
        if known is None:
            known = problem.time
        later = as_times(given, len(counts))
        kinds = ["mM".find(t.dtype.kind) for t in (known, later)]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"the data have times {known.dtype}, met times {later.dtype}; wanted the same kind"
            )
        return np.concatenate([known, later])
    if known is None:
        return None
    lengths, steps = np.diff(known), np.asarray(problem._counts[1:])
    if not len(steps):
        raise ValueError("one datum does not tell how times go on; wanted times=")
    dates = known.dtype.kind in "mM"
    each = lengths.astype("m8[ns]").astype(np.int64) / steps if dates else lengths / steps
    step = float(np.median(each))
    if np.any(abs(each - step) > 1e-3 * step):
        raise ValueError(
            "the data's times are not as far apart as their steps; wanted times=, the labels of "
            "the further ones"
        )
    ahead = np.cumsum(counts) * step
    if dates:
        ahead = np.rint(ahead).astype(np.int64).astype("m8[ns]")
        later = known[-1].astype(f"{known.dtype.kind}8[ns]") + ahead
        same = (later.astype(known.dtype) == later).all()  # days may be too coarse for hours
        return np.concatenate([known, later.astype(known.dtype) if same else later])
    return np.concatenate([known, known[-1] + ahead])


def _truth(problem: Problem, cycles: int, given: Any) -> Array | None:
    known = problem.truth
    if given is None:
        return None if known is None else _longer(known, cycles, problem.n)
    more = convert(as_floats(given, "the truth", axes=("time", "x"), gaps=True), problem.data)
    if more.ndim < 2 or tuple(more.shape[-2:]) != (cycles, problem.n):
        raise ValueError(
            f"the truth has shape {tuple(more.shape)}, wanted (..., {cycles}, {problem.n}): the "
            "further times"
        )
    if known is None:
        xp = array_namespace(more)
        before = xp.broadcast_to(0 * more[..., :1, :], (*more.shape[:-2], len(problem), problem.n))
        return xp.concat((before + float("nan"), more), axis=-2)
    return _joined(known, convert(more, known))
