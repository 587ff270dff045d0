"""`compare`: every case of a sweep run somewhere, and the results in order under their labels."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..array import check_count, typed, warn
from ..files.progress import progress_bar
from ..methods.base import Method
from ..problem.problem import Problem
from .assembly import assemble
from .assimilate import checked
from .jobs import Case, Failure, as_failure, cases_of, labelled, run_case, seed_numbers
from .labels import given
from .results import MemoryStore, ZarrStore, request_of

if TYPE_CHECKING:
    import xarray as xr


LAZY = 2**31  # bytes of a result from which on it stays in its file

IN_FLIGHT = 512  # cases handed to an executor at once: each holds a copy of its problem

Job = tuple[Problem, Method, list[int], Sequence[str], bool]


@typed
def compare(
    problem: Problem,
    methods: Sequence[Method] | Mapping[str, Method],
    seeds: int | Sequence[int] = 1,
    executor: Executor | None = None,
    *,
    to: str | os.PathLike | None = None,
    chunk: int | None = None,
    keep: str | Sequence[str] = ("moments",),
    progress: bool = True,
) -> xr.Dataset:
    """Run several methods on one problem over seeds, side by side in one Dataset.

        with ProcessPoolExecutor(8) as pool:
            result = da.compare(problem, methods, 100, pool, chunk=25, to="sweep.zarr")

    The result is that of `assimilate` with the dimensions `scheme` (the methods under their
    labels) and `seed` in front, and `seconds (scheme)`, the wall-clock time of each. Select with
    `.sel(scheme=label)`. With `to` it is opened from the file; if it is larger than 2 GiB, and the
    package dask installed, arrays stay there until they are used.

    A case whose method raises, or whose worker dies, costs only itself. It is NaN (`diverged` at
    cycle 0), `failed (scheme)` says why, a warning names it, and the next call with the same `to`
    tries it again. A case that lost its worker is tried once more at the end, one at a time; where
    a process pool broke, in a process of its own.

    Args:
        problem: one experiment, repeated for each seed, or a batch with one axis (such as
            `twin(..., batch=20)`), whose experiments then are the seeds.
        methods: a sequence, or a mapping from the labels to use.
        seeds: how many, or which.
        executor: any `concurrent.futures.Executor` to run the cases in: a ProcessPoolExecutor, a
            ThreadPoolExecutor, a cluster through `dask.distributed.Client.get_executor()`. None:
            here, one after another.
        to: a path that ends in .zarr (needs the package zarr). Each case is written as it is done,
            whole or not at all: called again with the same arguments, a sweep that was killed goes
            on with the cases that it lacks. Each has checksums, compared before it is read: a
            damaged case is named in a warning, and run again. One process at a time may write; a
            second is refused.
        chunk: seeds in a case; all seeds of a method run as one batch if None. (Settings with one
            entry per seed need None.)
        keep: as in `assimilate`.
        progress: a bar over the cases, for sweeps of more than a few seconds.

    Returns:
        Dataset: the labelled results.

    Raises:
        ValueError: the number of seeds and the problem's batch disagree, a label comes twice, or
            the file answers another request; the message names what differs.
        TypeError: an executor or a method that is none.
        Exception: the error of the first case, where every case failed.
    """
    by_label, chosen = labelled(methods), seed_numbers(seeds, getattr(problem, "batch", ()))
    check_count("chunk (seeds in a case)", 1 if chunk is None else chunk)
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, met {executor!r}; for dask pass "
            "client.get_executor()"
        )
    good, keep = checked(problem, by_label.values(), keep)
    cases = cases_of(by_label, chosen, None if chunk is None else int(chunk))
    shared = given(good if good.batch else good.expand((len(chosen),)), ("seed",))
    request = {} if to is None else request_of(problem, cases, keep)
    store = MemoryStore() if to is None else ZarrStore(to, request, shared, cases)
    with store.writing():
        failed = _run(problem, cases, store, executor, keep, progress)
    if len(failed) == len(cases):
        first = failed[0].error
        first.add_note(f"every case failed, the first with this:\n{failed[0].trace}")
        raise first
    out = assemble(by_label, chosen, cases, store, failed)
    for name, value in store.shared(shared).items():
        out[name] = value
    if out.nbytes <= LAZY:
        out = out.load(scheduler="threads")  # here, whatever cluster there is
    if failed:
        first_few = "; ".join(f"{cases[i]}: {f}" for i, f in islice(sorted(failed.items()), 5))
        warn(
            f"{len(failed)} of {len(cases)} cases failed and are NaN in the result: {first_few}"
            + "; ..." * (len(failed) > 5),
            RuntimeWarning,
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
    missing = [c for c in cases if c.index not in store]

    def job(case: Case) -> Job:
        here = executor is None  # a worker's bar would be seen by nobody, or by all
        return case.of(problem), case.method, case.seeds, keep, progress and here

    done = _serial(missing, job) if executor is None else _pooled(missing, job, executor)
    failed: dict[int, Failure] = {}
    bar = progress_bar(
        progress=progress and len(cases) > 1,
        total=len(cases),
        initial=len(cases) - len(missing),
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
        yield case, run_case(*job(case))


def _pooled(cases: list[Case], job: Any, executor: Executor) -> Iterator[tuple[Case, Any]]:
    """Each case and what became of it, as they come; those that lost their worker at the end."""
    running: dict[Future, Case] = {}
    queue, orphans = iter(cases), []
    cause: Exception | None = None
    try:
        while True:
            for case in islice(queue, IN_FLIGHT - len(running)):
                try:
                    running[executor.submit(run_case, *job(case))] = case
                except BrokenExecutor as error:
                    cause = error
                    orphans += [case, *queue]
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                case = running.pop(future)
                try:
                    result = future.result()
                except Exception as error:  # not the method's: `run_case` returns those
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
        warn(
            f"a process of the pool died; cases that it had not finished ({len(cases)}) are run "
            "one after another",
            RuntimeWarning,
        )
    names = {"mp_context": "_mp_context", "initializer": "_initializer", "initargs": "_initargs"}
    same = {k: getattr(executor, v) for k, v in names.items() if hasattr(executor, v)}
    for case in cases:
        with _own_process(same) if broken else nullcontext(executor) as pool:
            try:
                result = pool.submit(run_case, *job(case)).result()
            except Exception as error:
                result = as_failure(error)
        yield case, result


def _is_broken_process_pool(cause: Exception) -> bool:
    """Whether a process pool broke; its module is not imported for that: a browser has none."""
    process = sys.modules.get("concurrent.futures.process")
    return process is not None and isinstance(cause, process.BrokenProcessPool)


def _own_process(settings: dict[str, Any]) -> Executor:
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(1, **settings)
