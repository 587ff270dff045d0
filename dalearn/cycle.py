"""The verbs: run a method on a problem, or several side by side, into a labelled data set."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from .array import Array, array_namespace, library, no_grad, streams, to_numpy
from .belief import Belief, Ensemble
from .methods.base import Cycle, Method
from .problem import Problem

if TYPE_CHECKING:
    import xarray as xr

KEEP = ("moments", "ranks", "members")


def assimilate(
    problem: Problem,
    method: Method,
    *,
    seed: Any = 0,
    keep: Sequence[str] = ("moments",),
    progress: bool = True,
) -> xr.Dataset:
    """Run `method` on `problem` and return everything that happened, labelled.

    Arguments: `seed`, experiment b of a batch draws its numbers from `seed + b`, so that
    `assimilate(problem, m, seed=s)` at case b is `assimilate(problem[b], m, seed=s + b)` to the
    bit on NumPy (a sequence gives one seed each; a `torch.Generator` draws on its device);
    `keep`, any of "moments" (always), "ranks" (of the truth among the members) and "members";
    `progress`, a bar for runs of more than a few seconds.

    Returns a Dataset with `mean` and `std (case..., time, stage, x)`, stage being forecast or
    analysis; `predicted (..., time, stage, y)` = H(mean); `observation`; `truth` where known;
    `diverged (case...)`, whether anything became non-finite, and `diverged_at`, its cycle or -1;
    `ranks`, `members` and `ensemble_size` if kept. Time is in the model's units, `cycle` its
    number. attrs hold the method, seed, shape, wall-clock seconds and versions.
    Raises ValueError or TypeError for a problem that is inconsistent, before the first cycle.
    """
    from tqdm.auto import tqdm

    keep = _kept(keep)
    if not isinstance(problem, Problem):
        raise TypeError(f"wanted a Problem, met {type(problem).__name__}; see twin and Problem")
    if isinstance(method, type) or not callable(getattr(method, "run", None)):
        raise TypeError(f"wanted a method such as ETKF(members=20), met {method!r}")
    problem = problem.validated()
    if "ranks" in keep and problem.truth is None:
        raise ValueError("ranks need the truth, which this problem does not have; drop 'ranks'")
    record = Record(problem, keep)
    start = time.perf_counter()
    cycles = method.run(problem, streams(1, seed, problem.batch))
    bar = tqdm(cycles, total=len(problem), delay=2.0, leave=False, disable=not progress)
    with np.errstate(over="ignore", invalid="ignore"):  # divergence is reported, not warned of
        for k, cycle in enumerate(bar):
            record.add(k, cycle)
    if record.length != len(problem):
        raise ValueError(
            f"{type(method).__name__} yielded {record.length} cycles, wanted {len(problem)}: one "
            "per observation time"
        )
    seconds = time.perf_counter() - start
    result = record.dataset()
    result.attrs = {
        "method": repr(method),
        "seed": seed if isinstance(seed, (int, str)) else str(seed),
        "shape": problem.shape or (problem.n,),
        "seconds": seconds,
        "library": library(problem.like),
        "versions": {name: _version(name) for name in ("dalearn", "numpy", "torch", "xarray")},
    }
    return result


def _kept(keep: str | Sequence[str]) -> tuple[str, ...]:
    keep = (keep,) if isinstance(keep, str) else tuple(keep)
    unknown = sorted(set(keep) - set(KEEP))
    if unknown:
        raise ValueError(f"keep takes any of {KEEP}, met {unknown}")
    return keep


@lru_cache
def _version(package: str) -> str:
    try:
        return version(package)
    except Exception:  # a source tree that was never installed
        return "unknown"


class Record:
    """What is kept of each cycle, in arrays made once; the labels come at the end."""

    def __init__(self, problem: Problem, keep: Sequence[str]):
        self.problem, self.keep = problem, keep
        self.length = self.size = 0
        self.members = "members" in keep or "ranks" in keep
        self.values: dict[str, Array] = {}
        self.stages: list[str] = []
        self.info: dict[str, list] = {}

    def add(self, k: int, cycle: Cycle) -> None:
        """Store cycle k."""
        beliefs: list[Belief] = [cycle.forecast, cycle.analysis]
        stages = ["forecast", "analysis"]
        for name, value in cycle.info.items():
            if isinstance(value, Belief):
                stages.append(name)
                beliefs.append(value)
            else:
                self.info.setdefault(name, []).append(to_numpy(value))
        if k == 0:
            self.stages = stages
        if stages != self.stages or k >= len(self.problem):
            raise ValueError(
                f"cycle {k} has the stages {stages}, wanted {self.stages} and "
                f"{len(self.problem)} cycles"
            )
        self.length = k + 1
        for s, belief in enumerate(beliefs):
            self._put("mean", k, s, belief.mean)
            self._put("std", k, s, belief.std)
            if self.members:
                self._keep_members(k, s, belief)

    def _keep_members(self, k: int, s: int, belief: Belief) -> None:
        if not isinstance(belief, Ensemble):
            raise TypeError(
                f"{type(belief).__name__} has no members to keep or rank; use keep=('moments',)"
            )
        self.size = belief.members.shape[-2]
        if "members" in self.keep:
            self._put("members", k, s, belief.members)
        if "ranks" in self.keep and self.problem.truth is not None:
            xp = array_namespace(belief.members)
            below = belief.members < self.problem.truth[..., k, :][..., None, :]
            rank = xp.sum(xp.astype(below, xp.int32), axis=-2)
            finite = xp.all(xp.isfinite(belief.members), axis=-2)
            self._put("ranks", k, s, xp.where(finite, rank, -1))  # -1: no rank among NaN

    def _put(self, name: str, k: int, s: int, value: Array) -> None:
        store = self.values.get(name)
        if store is None:
            xp = array_namespace(value)
            core = value.shape[len(value.shape) - (2 if name == "members" else 1) :]
            shape = (len(self.problem), len(self.stages), *self.problem.batch, *core)
            store = xp.zeros(shape, dtype=value.dtype, device=value.device)
            self.values[name] = store
        store[k, s] = value

    def dataset(self) -> xr.Dataset:
        """The labelled result."""
        import xarray as xr

        p = self.problem
        cases = case_dims(p.batch)
        lead = (*cases, "time", "stage")
        to = (len(cases), len(cases) + 1)
        arrays = {k: np.moveaxis(to_numpy(v), (0, 1), to) for k, v in self.values.items()}
        data: dict[str, Any] = {
            name: ((*lead, "member", "x") if name == "members" else (*lead, "x"), value)
            for name, value in arrays.items()
        }
        if self.size:
            data["ensemble_size"] = self.size
        data["predicted"] = ((*lead, "y"), self._predicted())
        full = (*p.batch, len(p), p.observation.m)
        data["observation"] = ((*cases, "time", "y"), np.broadcast_to(to_numpy(p.data), full))
        if p.truth is not None:
            shape = (*p.batch, len(p), p.n)
            data["truth"] = ((*cases, "time", "x"), np.broadcast_to(to_numpy(p.truth), shape))
        for name, values in self.info.items():
            data[name] = ((*cases, "time"), np.moveaxis(_full(values, p.batch), 0, len(cases)))
        bad = ~np.isfinite(arrays["mean"]).all(axis=(-2, -1))  # (case..., time)
        data["diverged"] = (cases, bad.any(axis=-1))
        data["diverged_at"] = (cases, np.where(bad.any(axis=-1), bad.argmax(axis=-1), -1))
        coords = {
            "time": p.time,
            "cycle": ("time", np.arange(len(p))),
            "stage": self.stages,
            "x": np.arange(p.n),
            "y": np.arange(p.observation.m),
        }
        return xr.Dataset(data, coords)

    def _predicted(self) -> np.ndarray:
        """H(mean) `(case..., time, stage, m)`, NaN where a moving network has no sensor."""
        p, mean = self.problem, self.values["mean"]  # (time, stage, case..., n)
        xp = array_namespace(mean)
        rows = xp.moveaxis(mean, 1, -2)  # (time, case..., stage, n)
        K, m = len(p), p.observation.m
        out = np.full((K, *rows.shape[1:-1], m), np.nan)
        with no_grad(mean):
            for k in range(K):
                observe = p._observe(k)
                out[k, ..., : observe.m] = to_numpy(observe(rows[k]))
        return np.moveaxis(out, 0, len(p.batch))


def _full(values: list, batch: tuple[int, ...]) -> np.ndarray:
    return np.stack([np.broadcast_to(v, batch) for v in values])


def case_dims(batch: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the batch dimensions: none, "case", or "case0", "case1", ..."""
    return ("case",) if len(batch) == 1 else tuple(f"case{i}" for i in range(len(batch)))


def compare(
    problem: Problem,
    methods: Sequence[Method] | Mapping[str, Method],
    seeds: int | Sequence[int] = 1,
    *,
    keep: Sequence[str] = ("moments",),
    executor: Executor | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Run several methods on one problem over seeds, side by side in one Dataset.

    Arguments: `problem`, one experiment, repeated for each seed, or a batch with one axis (such
    as `twin(..., batch=20)`), whose experiments then are the seeds; `methods`, a sequence, or a
    mapping from the labels to use; `seeds`, how many or which; `executor`, any
    `concurrent.futures.Executor` to run the methods in (None: one after another); `keep` and
    `progress` as in `assimilate`.

    Returns the Dataset of `assimilate` with the dimensions `method` and `seed` in front, and
    `seconds (method)`, the wall-clock time of each. Select with `.sel({"method": label})`: the
    word `method=` means something else to `.sel`. Raises ValueError when the number of seeds
    and the problem's batch disagree, or a label comes twice.
    """
    import xarray as xr

    named, chosen = _named(methods), _seeds(seeds, problem.batch)
    if not problem.batch:
        problem = problem.expand((len(chosen),))
    jobs = [(problem, m, chosen, _kept(keep), progress) for m in named.values()]
    results = list(executor.map(_job, jobs)) if executor else [_job(j) for j in jobs]
    parts = [
        r.rename(case="seed").assign_coords(seed=chosen).assign(seconds=r.attrs["seconds"])
        for r in results
    ]
    shared = ["observation", "truth"]
    out = xr.concat(
        [p.drop_vars(shared, errors="ignore") for p in parts],
        dim=xr.Variable("method", list(named)),
        data_vars="all",
        coords="minimal",
        join="outer",
        compat="override",
    )
    out = out.assign({k: parts[0][k] for k in shared if k in parts[0]})
    out.attrs = {**results[0].attrs, "method": [repr(m) for m in named.values()], "seed": chosen}
    del out.attrs["seconds"]
    return out


def _named(methods: Any) -> dict[str, Method]:
    """The methods under the labels that they are given, or make for themselves."""
    if isinstance(methods, Mapping):
        named = dict(methods)
    elif isinstance(methods, Iterable):
        methods = list(methods)
        labels = [label(m) for m in methods]
        if len(set(labels)) != len(labels):
            raise ValueError(f"methods must have different labels, met {labels}; pass a mapping")
        named = dict(zip(labels, methods, strict=True))
    else:
        raise TypeError(f"methods must be a sequence or a mapping, met {methods!r}")
    if not named:
        raise ValueError("methods is empty; wanted at least one")
    return named


def _seeds(seeds: Any, batch: tuple[int, ...]) -> list[int]:
    """The seeds asked for: as many as the batch has experiments, if it has an axis."""
    which = np.asarray(seeds)
    if which.dtype.kind not in "iu" or which.ndim > 1 or not which.size or which.min() < 0:
        raise ValueError(f"seeds must be how many or which, as integers >= 0, met {seeds!r}")
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


def _job(job: tuple) -> xr.Dataset:
    problem, method, seeds, keep, progress = job
    return assimilate(problem, method, seed=seeds, keep=keep, progress=progress)


def label(method: Method) -> str:
    """A short name: the class and the settings that differ from their defaults."""
    fields = getattr(method, "__dataclass_fields__", {})
    shown = []
    for name, f in fields.items():
        value: Any = getattr(method, name)
        if value is not f.default and np.ndim(value) == 0 and value != f.default:
            shown.append(str(value) if isinstance(value, str) else f"{name}={value}")
    return f"{type(method).__name__}({', '.join(shown)})"
