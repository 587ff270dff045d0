"""`compare`: every case of a sweep run somewhere, and the results in order under their labels."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import check_count
from ..files.progress import progress_bar
from ..methods.base import Method
from ..problem.problem import Problem
from .assimilate import checked, given
from .jobs import Case, Failure, cut, failure, named, numbered, work
from .results import MemoryStore, ZarrStore, request_of

if TYPE_CHECKING:
    import xarray as xr


LAZY = 2**31  # bytes of a result from which on it stays in its file

IN_FLIGHT = 512  # cases handed to an executor at once: each holds a copy of its problem

Job = tuple[Problem, Method, list[int], Sequence[str], bool]


def compare(
    problem: Problem,
    methods: Sequence[Method] | Mapping[str, Method],
    seeds: int | Sequence[int] = 1,
    executor: Executor | None = None,
    *,
    to: str | os.PathLike | None = None,
    chunk: int | None = None,
    keep: Sequence[str] = ("moments",),
    progress: bool = True,
) -> xr.Dataset:
    """Run several methods on one problem over seeds, side by side in one Dataset.

        with ProcessPoolExecutor(8) as pool:
            result = da.compare(problem, methods, 100, pool, chunk=25, to="sweep.zarr")

    Arguments:
        problem: one experiment, repeated for each seed, or a batch with one axis (such as
            `twin(..., batch=20)`), whose experiments then are the seeds.
        methods: a sequence, or a mapping from the labels to use.
        seeds: how many, or which.
        executor: any `concurrent.futures.Executor` to run the cases in: a ProcessPoolExecutor, a
            ThreadPoolExecutor, a cluster through `dask.distributed.Client.get_executor()`. None:
            here, one after another.
        to: a path that ends in .zarr (needs the package zarr). Each case is written as it is
            done, whole or not at all: called again with the same arguments, a sweep that was
            killed goes on with the cases that it lacks. One process at a time may write.
        chunk: seeds in a case; all seeds of a method run as one batch if None. (Settings with
            one entry per seed need None.)
        keep: as in `assimilate`.
        progress: a bar over the cases, for sweeps of more than a few seconds.

    Returns the Dataset of `assimilate` with the dimensions `scheme` (the methods under their
    labels) and `seed` in front, and `seconds (scheme)`, the wall-clock time of each. Select with
    `.sel(scheme=label)`. With `to` it is opened from the file; if it is larger than 2 GiB, and the
    package dask installed, arrays stay there until they are used.

    A case whose method raises, or whose worker dies, costs only itself. It is NaN (`diverged` at
    cycle 0), `failed (scheme)` says why, a warning names it, and the next call with the same `to`
    tries it again. A case that lost its worker is tried once more at the end, one at a time; where
    a process pool broke, in a process of its own.

    Raises what the problem is refused for; ValueError when the number of seeds and the problem's
    batch disagree, a label comes twice, or the file answers another request, naming what differs;
    and when every case failed the error of the first.
    """
    by_label, chosen = named(methods), numbered(seeds, getattr(problem, "batch", ()))
    check_count("chunk (seeds in a case)", 1 if chunk is None else chunk)
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, met {executor!r}; for dask pass "
            "client.get_executor()"
        )
    good, keep = checked(problem, by_label.values(), keep)
    cases = cut(by_label, chosen, None if chunk is None else int(chunk))
    shared = given(good if good.batch else good.expand((len(chosen),)), ("seed",))
    request = {} if to is None else request_of(problem, cases, keep)
    store = MemoryStore() if to is None else ZarrStore(to, request, shared)
    failed = _run(problem, cases, store, executor, keep, progress)
    if len(failed) == len(cases):
        first = failed[0].error
        first.add_note(f"every case failed, the first with this:\n{failed[0].trace}")
        raise first
    out = _assemble(by_label, chosen, cases, store, failed)
    for name, value in store.shared(shared).items():
        out[name] = value
    if out.nbytes <= LAZY:
        out = out.load()
    if failed:
        told = "; ".join(f"{cases[i]}: {f}" for i, f in islice(sorted(failed.items()), 5))
        warnings.warn(
            f"{len(failed)} of {len(cases)} cases failed and are NaN in the result: {told}"
            + "; ..." * (len(failed) > 5),
            RuntimeWarning,
            stacklevel=2,
        )
    return out


# --- running ------------------------------------------------------------------------------------


def _run(
    problem: Problem,
    cases: list[Case],
    store: MemoryStore | ZarrStore,
    executor: Executor | None,
    keep: Sequence[str],
    progress: bool,
) -> dict[int, Failure]:
    """Run the cases that the store does not have; those that failed, by their index."""
    left = [c for c in cases if c.index not in store]

    def job(case: Case) -> Job:
        here = executor is None  # a worker's bar would be seen by nobody, or by all
        return case.of(problem), case.method, case.seeds, keep, progress and here

    done = _serial(left, job) if executor is None else _pooled(left, job, executor)
    failed: dict[int, Failure] = {}
    bar = progress_bar(
        progress=progress and len(cases) > 1,
        total=len(cases),
        initial=len(cases) - len(left),
        unit="case",
        delay=2.0,
        leave=False,
    )
    with bar:
        for case, result in done:
            if isinstance(result, Failure):
                failed[case.index] = result
            else:
                store.put(case, result)
            bar.update()
    return failed


def _serial(cases: Iterable[Case], job: Any) -> Iterator[tuple[Case, Any]]:
    for case in cases:
        yield case, work(*job(case))


def _pooled(cases: list[Case], job: Any, executor: Executor) -> Iterator[tuple[Case, Any]]:
    """Each case and what became of it, as they come; those that lost their worker at the end."""
    running: dict[Future, Case] = {}
    queue, orphans = iter(cases), []
    cause: Exception | None = None
    try:
        while True:
            for case in islice(queue, IN_FLIGHT - len(running)):
                try:
                    running[executor.submit(work, *job(case))] = case
                except BrokenExecutor as error:
                    cause = error
                    orphans += [case, *queue]
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                case = running.pop(future)
                try:
                    result = future.result()
                except Exception as error:  # not the method's: `work` returns those
                    cause = error if not isinstance(cause, BrokenExecutor) else cause
                    orphans.append(case)
                else:
                    yield case, result
    finally:
        for future in running:
            future.cancel()
    if cause is not None:
        yield from _again(sorted(orphans, key=lambda c: c.index), job, executor, cause)


def _again(
    cases: list[Case], job: Any, executor: Executor, cause: Exception
) -> Iterator[tuple[Case, Any]]:
    """Another try for each case that lost its worker, one at a time: one of them may be at fault.

    In the same executor; where that is a process pool that broke, in a process for each.
    """
    broken = _is_broken_process_pool(cause)
    if broken:
        warnings.warn(
            f"a process of the pool died; cases that it had not finished ({len(cases)}) are run "
            "one after another",
            RuntimeWarning,
            stacklevel=5,
        )
    names = {"mp_context": "_mp_context", "initializer": "_initializer", "initargs": "_initargs"}
    same = {k: getattr(executor, v) for k, v in names.items() if hasattr(executor, v)}
    for case in cases:
        with _own_process(same) if broken else nullcontext(executor) as pool:
            try:
                result = pool.submit(work, *job(case)).result()
            except Exception as error:
                result = failure(error)
        yield case, result


def _is_broken_process_pool(cause: Exception) -> bool:
    """Whether a process pool broke; its module is not imported for that: a browser has none."""
    process = sys.modules.get("concurrent.futures.process")
    return process is not None and isinstance(cause, process.BrokenProcessPool)


def _own_process(settings: dict[str, Any]) -> Executor:
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(1, **settings)


# --- the labelled result ------------------------------------------------------------------------


def _assemble(
    methods: Mapping[Any, Method],
    seeds: list[int],
    cases: list[Case],
    store: MemoryStore | ZarrStore,
    failed: dict[int, Failure],
) -> xr.Dataset:
    results = {c.index: store.get(c) for c in cases if c.index not in failed}
    pattern = next(iter(results.values()))
    parts = []
    for label in methods:
        own = [c for c in cases if c.label == label]
        like = next((results[c.index] for c in own if c.index in results), None)
        mine = [results[c.index] if c.index in results else _absent(like, pattern, c) for c in own]
        one = mine[0] if len(mine) == 1 else _joined(mine, "seed", seeds)
        parts.append(one.assign(seconds=sum(r.attrs["seconds"] for r in mine)))
    out = _joined(parts, "scheme", list(methods))
    if failed:
        told = {label: [] for label in methods}
        for i, f in sorted(failed.items()):
            told[cases[i].label].append(f"{cases[i]}: {f}")
        out["failed"] = ("scheme", ["; ".join(t) for t in told.values()])
    out.attrs = {**pattern.attrs, "method": "\n".join(map(repr, methods.values())), "seed": seeds}
    del out.attrs["seconds"]
    return out


def _joined(parts: list[xr.Dataset], dim: str, labels: list) -> xr.Dataset:
    import xarray as xr

    if any("weights" in p for p in parts):  # members of other methods are equal
        parts = [_weighted(p) for p in parts]
    if len({p.sizes["member"] for p in parts if "member" in p.sizes}) > 1:  # NaN past the last
        parts = [p.assign_coords(member=np.arange(p.sizes.get("member", 0))) for p in parts]
    out = xr.concat(
        parts,
        dim=xr.Variable(dim, labels),
        data_vars="all" if dim == "scheme" else "minimal",  # one ensemble size for all seeds
        coords="minimal",
        join="outer",
        compat="override",
    )
    stages = list(dict.fromkeys(s for p in parts for s in p["stage"].values.tolist()))
    return out if out["stage"].values.tolist() == stages else out.sel(stage=stages)


def _weighted(part: xr.Dataset) -> xr.Dataset:
    """With weights, equal ones where members have none."""
    import xarray as xr

    if "weights" in part or "members" not in part:
        return part
    one = part["members"].isel(x=0, drop=True)
    return part.assign(weights=xr.full_like(one, 1 / one.sizes["member"]))


def _absent(like: xr.Dataset | None, pattern: xr.Dataset, case: Case) -> xr.Dataset:
    """NaN in the place of a case, after another case of its method, or of any."""
    import xarray as xr

    fill = {"ranks": -1, "diverged": True, "diverged_at": 0}
    if like is None:
        core = {"mean", "std", "predicted", *fill}
        like = pattern.drop_vars([v for v in pattern.data_vars if v not in core])
    out = like.isel(seed=np.zeros(len(case.seeds), int)).assign_coords(seed=case.seeds)
    for name in [v for v in out.data_vars if "seed" in out[v].dims]:
        kind = out[name].dtype
        kind = kind if name in fill else np.result_type(kind, np.float32)
        out[name] = xr.full_like(out[name], fill.get(str(name), np.nan), dtype=kind)
    return out.assign_attrs(seconds=np.nan)
