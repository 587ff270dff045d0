"""What a sweep is made of: cases, each a method and some of the seeds, and what became of them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import to_numpy
from ..methods.base import Method
from ..problem.problem import Problem
from .assimilate import assimilate, check_method

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False)
class Case:
    """One method on the seeds from `start` on; `index` is its place in the sweep."""

    index: int
    label: Any
    method: Method
    start: int
    seeds: list[int]

    def __str__(self) -> str:
        few = len(self.seeds) < 4
        which = ", ".join(map(str, self.seeds)) if few else f"{self.seeds[0]}..{self.seeds[-1]}"
        return f"{self.label} (seed{'s' * (len(self.seeds) > 1)} {which})"

    def of(self, problem: Problem) -> Problem:
        """The experiments of these seeds; one that all seeds share is repeated where it is run."""
        if not problem.batch or problem.batch == (len(self.seeds),):
            return problem
        return problem[slice(self.start, self.start + len(self.seeds))]  # pyright: ignore


@dataclass(frozen=True)
class Failure:
    """Why a case has no result."""

    error: BaseException
    trace: str = ""

    def __str__(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"


def cases_of(methods: Mapping[Any, Method], seeds: list[int], chunk: int | None) -> list[Case]:
    """All cases in the order of the result: for each method, `chunk` seeds at a time."""
    size = len(seeds) if chunk is None else chunk
    starts = range(0, len(seeds), size)
    pairs = [(name, method, i) for name, method in methods.items() for i in starts]
    return [
        Case(index, name, method, i, seeds[i : i + size])
        for index, (name, method, i) in enumerate(pairs)
    ]


def run_case(
    problem: Problem, method: Method, seeds: list[int], keep: Sequence[str], progress: bool
) -> xr.Dataset | Failure:
    """Run one case, here or in a worker. What it raises is returned.

    An exception that cannot be pickled would take a whole process pool down with it.
    """
    try:
        if not problem.batch:
            problem = problem.expand((len(seeds),))
        return assimilate(problem, method, seed=seeds, keep=keep, progress=progress)
    except Exception as error:
        return as_failure(error)


def as_failure(error: BaseException) -> Failure:
    """`error` as something that can travel, with where it came from."""
    import traceback

    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Failure(error, trace)


def labelled(methods: Any) -> dict[Any, Method]:
    """The methods under the labels that they are given, or make for themselves."""
    if isinstance(methods, Mapping):
        chosen = dict(methods)
        _check_labels(list(chosen))
    elif isinstance(methods, Iterable) and not isinstance(methods, str):
        methods = list(methods)
        for m in methods:
            check_method(m)
        labels = [label(m) for m in methods]
        if len(set(labels)) != len(labels):
            raise ValueError(f"methods must have different labels, met {labels}; pass a mapping")
        chosen = dict(zip(labels, methods, strict=True))
    else:
        raise TypeError(
            f"methods must be a sequence or a mapping, such as [ETKF(members=20)], met {methods!r}"
        )
    if not chosen:
        raise ValueError(f"methods must be one or more, met {methods}")
    return chosen


def _check_labels(labels: list) -> None:
    """Raise unless labels can stand along a dimension, all as what they are."""
    text = [isinstance(name, str) for name in labels]
    numbers = [isinstance(n, (int, float)) and not isinstance(n, bool) for n in labels]
    if not (all(text) or all(numbers)):
        raise TypeError(f"labels of methods must be all text or all numbers, met {labels}")


MOST = 10**6  # seeds of one sweep: each is a run, and a row of every variable


def seed_numbers(seeds: Any, batch: tuple[int, ...]) -> list[int]:
    """The seeds asked for: as many as the batch has experiments, if it has an axis."""
    which = np.asarray(to_numpy(seeds))
    if which.dtype.kind not in "iu" or which.ndim > 1 or not which.size or which.min() < 0:
        raise ValueError(f"seeds must be how many or which, as integers >= 0, met {seeds!r}")
    if (which.ndim == 0 and which > MOST) or which.size > MOST:
        raise ValueError(f"seeds must be at most {MOST} in one sweep, met {seeds!r}"[:200])
    if which.ndim and which.max() >= 2**53:
        raise ValueError(f"seeds must be below 2**53, to be labels in files, met {which.max()}")
    if which.ndim == 0:
        which = np.arange(batch[0] if batch and which == 1 else int(which))
    chosen = which.tolist()
    if not chosen or len(set(chosen)) != len(chosen):
        raise ValueError(f"seeds must be different and at least one, met {seeds!r}")
    if len(batch) > 1:
        raise ValueError(f"compare wants at most one batch axis, met {batch}")
    if batch and batch != (len(chosen),):
        raise ValueError(f"met {len(chosen)} seeds for a batch of {batch}; wanted one each")
    return chosen


def label(method: Any) -> str:
    """A short name: the class and the settings that differ from their defaults."""
    shown = []
    for name, f in getattr(method, "__dataclass_fields__", {}).items():
        value: Any = getattr(method, name)
        if not f.init or value is f.default or np.ndim(value) or value == f.default:
            continue
        if hasattr(value, "__dataclass_fields__"):
            value = label(value)
        elif isinstance(value, str):
            shown.append(value)
            continue
        shown.append(f"{name}={getattr(value, '__name__', value)}")
    return f"{type(method).__name__}({', '.join(shown)})"
