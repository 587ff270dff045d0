"""Sweeps: the same bits in every pool, nothing lost but what was killed, and files that go on."""

import contextlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from bits import same_bits
from examples import METHODS, linear_gaussian, lorenz63

import dalearn as da
from dalearn.files import whole as writing
from dalearn.files.fingerprint import describe
from dalearn.methods import Cycle
from dalearn.run import compare as run
from dalearn.run import results as files
from dalearn.run.jobs import label

PAIR = {"etkf": da.ETKF(10, inflation=1.02), "enkf": da.EnKF(20)}


def compare(problem, methods=PAIR, seeds=1, executor=None, **settings):
    return da.compare(problem, methods, seeds, executor, progress=False, **settings)


def assert_same(a, b):
    """All but the clock."""
    xr.testing.assert_identical(a.drop_vars("seconds").load(), b.drop_vars("seconds").load())


# --- methods that are counted, that wait, raise and die -----------------------------------------


@dataclass(frozen=True, eq=False)
class Counted:
    """Writes a line for each run, and takes a while over it."""

    method: Any
    log: str
    wait: float = 0.0

    def fingerprint(self):  # what it opens is nothing that it depends on
        return f"{self.log} {self.wait} {describe(self.method)}"

    def run(self, problem, rng):
        with open(self.log, "a") as f:
            f.write(f"{os.getpid()}\n")
        time.sleep(self.wait)
        yield from self.method.run(problem, rng)


@dataclass(frozen=True, eq=False)
class Dies:
    """Kills its process at the second cycle: `lives` times, which files in a folder count.

    dask's nanny starts a worker again that dies, but gives up one that dies before the nanny has
    heard that it started: hence `wait`, in seconds.
    """

    method: Any
    folder: str
    lives: int
    wait: float = 0.0

    def run(self, problem, rng):
        for k, cycle in enumerate(self.method.run(problem, rng)):
            if k == 1:
                spent = len(os.listdir(self.folder))
                if spent < self.lives:
                    time.sleep(self.wait)
                    Path(self.folder, str(spent)).touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            yield cycle


@dataclass(frozen=True, eq=False)
class Raises:
    """Fails at the second cycle; `odd` exceptions cannot be pickled."""

    odd: bool = False

    def run(self, problem, rng):
        yield Cycle(problem.prior, problem.prior)
        raise OddError(1, 2) if self.odd else ArithmeticError("no luck")


class OddError(Exception):
    def __init__(self, a, b):
        super().__init__(f"odd {a}")


@contextlib.contextmanager
def two_workers():
    """A client of two dask workers, one thread each, in processes of their own: seconds to start.

    A case that has killed two workers, instead of four, is given up. The client is nobody's
    default: a file that is read meanwhile does not wait for workers that have died.
    """
    import dask
    from distributed import Client, LocalCluster

    quiet = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(**quiet, silence_logs=50) as made,
        Client(made, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def cluster():
    with two_workers() as client:
        yield client


@pytest.fixture
def mortal():
    """For a test that kills workers: one that dies while it starts may not come back."""
    with two_workers() as client:
        yield client


# --- where it runs changes nothing --------------------------------------------------------------


def pools(name, request):
    if name == "dask":
        return request.getfixturevalue("cluster").get_executor()
    if name == "threads":
        return ThreadPoolExecutor(3)
    return ProcessPoolExecutor(2, mp_context=get_context(name))


slow = pytest.mark.slow
POOLS = ["threads", "fork", *(pytest.param(name, marks=slow) for name in ("spawn", "dask"))]


@pytest.mark.parametrize("name", POOLS)
def test_every_pool_gives_the_bits_of_a_serial_run(name, request, tmp_path):
    problem = lorenz63(cycles=8, batch=(5,))
    keep = ("ranks", "members", "innovation")
    serial = compare(problem, keep=keep)
    with pools(name, request) as pool:
        assert_same(serial, compare(problem, PAIR, 5, pool, chunk=2, keep=keep))
        assert_same(serial, compare(problem, PAIR, 5, pool, to=tmp_path / "a.zarr", keep=keep))


@pytest.mark.parametrize("chunk", [None, 1, 3, 7])
def test_chunks_of_seeds_change_nothing(chunk):
    batch, one = lorenz63(cycles=5, batch=(7,)), lorenz63(cycles=5)
    assert_same(compare(batch), compare(batch, chunk=chunk))
    which = [5, 2, 9, 11, 3, 0, 1]
    assert_same(compare(one, PAIR, which), compare(one, PAIR, which, chunk=chunk))


def test_the_layout_is_that_of_assimilate():
    problem = lorenz63(cycles=5, batch=(3,))
    result = compare(problem)
    alone = da.assimilate(problem, PAIR["enkf"], progress=False)
    one = result.sel(scheme="enkf", drop=True).rename(seed="case")
    xr.testing.assert_equal(one[list(alone)], alone.assign_coords(case=[0, 1, 2]))
    assert result["seconds"].dims == ("scheme",)
    assert (result["seconds"] > 0).all()
    assert "failed" not in result


def test_a_scheme_is_selected_by_its_keyword():
    """`.sel(method=...)` would select nothing and say nothing: xarray has the word for itself."""
    result = compare(lorenz63(cycles=5, batch=(3,)))
    error = da.rmse(result)
    mean = error.sel(scheme="etkf", stage="analysis").mean()
    assert np.isclose(mean, error.values[0, ..., 1].mean(), rtol=1e-12)
    with pytest.raises(KeyError):
        error.sel(scheme="kf")


def test_results_of_the_old_form_are_named_as_such():
    result = compare(lorenz63(cycles=5, batch=(3,)))
    old = result.rename(scheme="method")
    error, width = (f(old).mean(("time", "stage")) for f in (da.rmse, da.spread))
    for f in (da.crps, da.scoreboard, da.spread_skill):
        with pytest.raises(ValueError, match=r'rename\(method="scheme"\)'):
            f(old)
    with pytest.raises(ValueError, match=r'rename\(method="scheme"\)'):
        da.plot.spread_skill_scatter(error, width)
    assert da.scoreboard(old.rename(method="scheme")).equals(da.scoreboard(result))


def test_labels_are_short_and_the_same_in_every_process():
    local = da.LETKF(
        7, localization=da.Localization.ring(40, 4), inflation=da.RTPS(0.3), rotate="haar"
    )
    assert label(local) == (
        "LETKF(members=7, localization=Localization(radius=4.0), inflation=RTPS(alpha=0.3), haar)"
    )
    assert label(da.ExtendedKF(jacobian=da.finite_difference)) == (
        "ExtendedKF(jacobian=finite_difference)"
    )
    assert label(da.ETKF(10)) == "ETKF(members=10)"


@pytest.mark.parametrize("example", METHODS, ids=str)
def test_problems_and_methods_pickle(example):
    problem = linear_gaussian(cycles=3, local=example.local)
    again, method = pickle.loads(pickle.dumps((problem, example.method)))
    assert describe(again) == describe(problem)
    assert describe(method) == describe(example.method)
    a = da.assimilate(problem, example.method, progress=False)
    b = da.assimilate(again, method, progress=False)
    assert a["mean"].identical(b["mean"])


# --- what fails costs only itself ---------------------------------------------------------------


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("name", [None, "fork", pytest.param("dask", marks=slow)])
def test_a_method_that_raises_costs_only_its_case(name, odd, request):
    problem = lorenz63(cycles=6, batch=(4,))
    methods = {"a": da.ETKF(10), "bad": Raises(odd), "b": da.EnKF(20)}
    message = "OddError: odd 1" if odd else "ArithmeticError: no luck"
    words = rf"(?s)1 of 3 cases failed.*bad \(seeds 0..3\).*{message}"
    with contextlib.nullcontext() if name is None else pools(name, request) as pool:  # noqa: SIM117
        with pytest.warns(RuntimeWarning, match=words):
            result = compare(problem, methods, executor=pool)
    assert message in result["failed"].sel(scheme="bad").item()
    assert (result["failed"].sel(scheme=["a", "b"]) == "").all()
    bad = result.sel(scheme="bad")
    assert np.isnan(bad["mean"]).all()
    assert np.isnan(bad["seconds"])
    assert bad["diverged"].all()
    others = compare(problem, {"a": da.ETKF(10), "b": da.EnKF(20)})
    for variable in ("mean", "std", "predicted", "diverged"):
        assert result[variable].sel(scheme=["a", "b"]).identical(others[variable])
    assert result["truth"].identical(others["truth"])
    board = da.scoreboard(result)
    assert board["lost"].tolist() == [0, 4, 0]
    assert np.isnan(board.loc["bad", "rmse"])


def test_some_seeds_of_a_method_may_fail(tmp_path):
    @dataclass(frozen=True, eq=False)
    class Sometimes:
        def run(self, problem, rng):
            if problem.data[0, 0, 0] == first:
                raise ArithmeticError("not these")
            yield from da.ETKF(10).run(problem, rng)

    problem = lorenz63(cycles=6, batch=(5,))
    first = problem.data[2, 0, 0]
    with pytest.warns(RuntimeWarning, match=r"1 of 3 cases failed.*seeds 2, 3"):
        result = compare(problem, {"s": Sometimes()}, chunk=2, keep=("ranks", "members"))
    whole = compare(problem, {"s": da.ETKF(10)}, keep=("ranks", "members"))
    for variable in ("mean", "members", "ranks"):
        assert same_bits(result[variable][:, [0, 1, 4]], whole[variable][:, [0, 1, 4]])
    assert (result["ranks"][:, 2:4] == -1).all()
    assert result["ranks"].dtype == whole["ranks"].dtype
    assert result["diverged"].values.tolist() == [[False, False, True, True, False]]
    assert result["failed"].item() == "s (seeds 2, 3): ArithmeticError: not these"


def test_what_every_case_fails_of_is_raised():
    with pytest.raises(ValueError, match="linear functions") as caught:
        compare(lorenz63(cycles=3), [da.KF()])
    assert any("every case failed" in note for note in caught.value.__notes__)


def test_a_killed_process_of_a_pool_costs_only_its_case(tmp_path):
    problem = lorenz63(cycles=6, batch=(6,))
    folder = tmp_path / "deaths"
    folder.mkdir()
    methods = {**PAIR, "dies": Dies(da.ETKF(10), str(folder), lives=1)}
    with ProcessPoolExecutor(2) as pool, pytest.warns(RuntimeWarning, match="one after another"):
        result = compare(problem, methods, executor=pool, chunk=3)
    assert len(list(folder.iterdir())) == 1
    assert_same(result, compare(problem, methods, chunk=3))  # it lives now
    methods = {**PAIR, "dies": Dies(da.ETKF(10), str(folder), lives=99)}
    with ProcessPoolExecutor(2) as pool, pytest.warns(RuntimeWarning) as told:
        result = compare(problem, methods, executor=pool, chunk=3)
    assert "2 of 6 cases failed" in str(told[-1].message)
    assert "BrokenProcessPool" in result["failed"].sel(scheme="dies").item()
    good = result.sel(scheme=list(PAIR))
    assert np.array_equal(good["mean"], compare(problem)["mean"])
    assert np.isnan(result["mean"].sel(scheme="dies")).all()


@slow
def test_killed_dask_workers_cost_only_their_case(tmp_path, mortal):
    problem = lorenz63(cycles=6, batch=(6,))
    folder = tmp_path / "deaths"
    folder.mkdir()
    once = {**PAIR, "dies": Dies(da.ETKF(10), str(folder), lives=1, wait=3.0)}
    with mortal.get_executor() as pool:
        result = compare(problem, once, executor=pool, chunk=1)
    assert len(list(folder.iterdir())) == 1  # dask runs it again on another worker
    assert_same(result, compare(problem, once, chunk=1))
    always = {"dies": Dies(da.ETKF(10), str(folder), lives=99, wait=3.0), **PAIR}
    with mortal.get_executor() as pool, pytest.warns(RuntimeWarning) as told:
        result = compare(problem, always, executor=pool, chunk=6)
    assert "1 of 3 cases failed" in str(told[-1].message)
    assert "KilledWorker" in result["failed"].sel(scheme="dies").item()
    assert np.array_equal(result["mean"].sel(scheme=list(PAIR)), compare(problem)["mean"])


@slow
def test_a_dask_worker_killed_from_outside_loses_nothing(tmp_path, mortal):
    """The machine takes a worker away in the middle of a case: the case is run again."""
    problem, log = lorenz63(cycles=6), tmp_path / "log"
    methods = {"slow": Counted(da.ETKF(10), str(log), wait=0.5)}
    killed = []

    def kill():
        for _ in range(600):
            if log.exists() and len(begun := log.read_text().split()) >= 4:
                killed.append(int(begun[-1]))
                os.kill(killed[0], signal.SIGKILL)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    with mortal.get_executor() as pool:
        result = compare(problem, methods, 8, pool, chunk=1)
    thread.join()
    assert killed
    assert len(log.read_text().split()) > 8
    assert_same(result, compare(problem, methods, 8, chunk=1))


# --- files --------------------------------------------------------------------------------------


def contents(path):
    """The bytes of every file of a store, but for the clock's and what follows from it."""
    found = {
        p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()
    }
    for name in found:
        if re.fullmatch("case-[0-9]+/zarr.json", name):  # its seal is over the clock's piece too
            head = json.loads(found[name])
            del head["attributes"]["seal"]
            pieces = head["attributes"]["sealed"]["files"]
            head["attributes"]["sealed"]["files"] = {
                k: v for k, v in pieces.items() if "seconds/c" not in k
            }
            found[name] = json.dumps(head)
    return {name: data for name, data in found.items() if "/seconds/c" not in name}


def sweep(to, log, wait=0.0, **settings):
    """A sweep of six cases that counts its runs; a child process is killed in the middle."""
    methods = {k: Counted(m, str(log), wait) for k, m in PAIR.items()}
    return compare(lorenz63(cycles=6, batch=(6,)), methods, chunk=2, to=to, **settings)


CHILD = """
import os, sys
sys.path[:0] = sys.argv[1].split(os.pathsep)
import test_compare
test_compare.sweep(sys.argv[2], sys.argv[3], 0.3)
"""


@slow
def test_a_killed_sweep_goes_on_where_it_was(tmp_path):
    path, log = tmp_path / "killed.zarr", tmp_path / "log"
    here = os.pathsep.join(str(Path(__file__).parents[i]) for i in (0, 1))
    child = subprocess.Popen([sys.executable, "-c", CHILD, here, str(path), str(log)])
    try:
        for _ in range(6000):  # a minute
            if len(list(path.glob("case-*"))) >= 2:
                break
            assert child.poll() is None
            time.sleep(0.01)
    finally:
        child.kill()
        assert child.wait() == -signal.SIGKILL
    done = sorted(p.name for p in path.glob("case-*"))
    assert 2 <= len(done) < 6
    stamps = {p: p.stat().st_mtime_ns for name in done for p in (path / name).rglob("*")}
    log.unlink()
    result = sweep(path, log, 0.3)
    assert len(log.read_text().split()) == 6 - len(done)  # nothing is done twice
    assert all(p.stat().st_mtime_ns == t for p, t in stamps.items())
    assert not list(tmp_path.glob("*.part"))
    log.unlink()
    whole = sweep(tmp_path / "whole.zarr", log, 0.3)
    assert contents(path) == contents(tmp_path / "whole.zarr")
    assert_same(result, whole)
    log.unlink()
    assert_same(result, sweep(path, log, 0.3))
    assert not log.exists()


@pytest.mark.parametrize("death", range(4))
def test_a_death_while_writing_loses_one_case(tmp_path, monkeypatch, death):
    """When the store is made (0, 1), and at the first and second case."""
    path, log, replace = tmp_path / "a.zarr", tmp_path / "log", os.replace
    calls = []

    def dies(a, b):
        calls.append(b)
        if len(calls) == death + 1:
            raise KeyboardInterrupt
        replace(a, b)

    with monkeypatch.context() as m:
        names = {"replace": dies, "fsync": os.fsync, "PathLike": os.PathLike}
        m.setattr(writing, "os", types.SimpleNamespace(**names))  # not zarr's own
        with pytest.raises(KeyboardInterrupt):
            sweep(path, log)
    assert len(list(path.glob("case-*"))) == max(0, death - 2)
    log.unlink(missing_ok=True)
    result = sweep(path, log)
    assert len(log.read_text().split()) == 6 - max(0, death - 2)
    assert_same(result, compare(lorenz63(cycles=6, batch=(6,))).assign_attrs(result.attrs))


def test_a_failed_case_is_absent_and_tried_again(tmp_path):
    path, folder = tmp_path / "a.zarr", tmp_path / "deaths"
    folder.mkdir()
    methods = {**PAIR, "dies": Dies(da.ETKF(10), str(folder), lives=2)}
    problem = lorenz63(cycles=5, batch=(2,))
    with ProcessPoolExecutor(1) as pool, pytest.warns(RuntimeWarning) as told:
        first = compare(problem, methods, executor=pool, to=path)
    assert "1 of 3 cases failed" in str(told[-1].message)
    assert np.isnan(first["mean"].sel(scheme="dies")).all()
    assert len(list(path.glob("case-*"))) == 2
    assert_same(compare(problem, methods, to=path), compare(problem, methods))
    assert len(list(path.glob("case-*"))) == 3


CHANGES = {
    "seeds": lambda p, m: (p, m, [0, 1, 3]),
    "method etkf": lambda p, m: (p, {**m, "etkf": da.ETKF(10, inflation=1.03)}, 3),
    "methods": lambda p, m: (p, {"etkf": m["etkf"]}, 3),
    "problem.data": lambda p, m: (lorenz63(cycles=5, seed=1), m, 3),
    "problem.steps": lambda p, m: (da.Problem(**{**fields(p), "steps": 24}), m, 3),
}


def fields(problem):
    names = ("model", "observation", "prior", "data", "steps", "noise", "shape", "truth", "times")
    return {name: getattr(problem, name) for name in names}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_of_another_request_is_left_as_it_is(tmp_path, what):
    path, problem = tmp_path / "a.zarr", lorenz63(cycles=5)
    compare(problem, PAIR, 3, to=path)
    before = contents(path)
    changed, methods, seeds = CHANGES[what](problem, PAIR)
    with pytest.raises(ValueError, match=rf"another request.*{what} \(the file has"):
        compare(changed, methods, seeds, to=path)
    with pytest.raises(ValueError, match=r"another request.*keep"):
        compare(problem, PAIR, 3, to=path, keep=("ranks",))
    with pytest.raises(ValueError, match=r"another request.*seeds"):
        compare(problem, PAIR, 3, to=path, chunk=1)
    assert contents(path) == before


def test_what_is_no_sweep_is_refused(tmp_path):
    problem = lorenz63(cycles=3)
    for name, text in {"a.nc": "ends in .zarr", "no/a.zarr": "no folder"}.items():
        with pytest.raises((ValueError, FileNotFoundError), match=text):
            compare(problem, to=tmp_path / name)
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not the file of a sweep"):
        compare(problem, to=tmp_path / "b.zarr")
    da.simulate(da.Lorenz96(), np.ones((2, 40)), 2, to=tmp_path / "c.zarr", progress=False)
    with pytest.raises(ValueError, match="not the file of a sweep"):
        compare(problem, to=tmp_path / "c.zarr")
    assert (tmp_path / "b.zarr" / "thesis.tex").read_text() == "years of work"


def test_diagnostics_of_a_file_are_those_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "LAZY", 0)
    problem, keep = lorenz63(cycles=20, batch=(4,)), ("ranks", "members")
    memory = compare(problem, keep=keep)
    file = compare(problem, keep=keep, to=tmp_path / "a.zarr", chunk=2)
    assert file["mean"].chunks is not None  # it is read when it is used
    for f in (da.rmse, da.spread, da.climatology, da.lost):
        xr.testing.assert_identical(f(memory).load(), f(file).load())
    assert np.allclose(da.crps(memory), da.crps(file), rtol=0, atol=1e-13)  # sums in another order
    a, b = (da.rank_histogram(r.sel(scheme="enkf")) for r in (memory, file))
    xr.testing.assert_identical(a.load(), b.load())
    alone = da.assimilate(problem, PAIR["etkf"], keep=keep, progress=False)
    assert np.array_equal(da.crps(memory)[0], da.crps(alone))  # 10 members, beside 20
    a, b = (da.scoreboard(r).drop(columns="ms") for r in (memory, file))
    assert np.allclose(a, b, rtol=1e-12)


def test_without_dask_a_file_is_read_at_once(tmp_path, monkeypatch):
    problem = lorenz63(cycles=4, batch=(3,))
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    result = compare(problem, to=tmp_path / "a.zarr")
    assert isinstance(result["mean"].variable._data, np.ndarray)
    assert_same(result, compare(problem))


def test_large_arrays_are_cut_into_chunks(monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 800)
    v = xr.Variable(("seed", "time", "x"), np.zeros((6, 7, 10)))
    assert files._chunks(v) == (1, 7, 10)
    assert files._chunks(v[0]) == (7, 10)
    assert files._chunks(xr.Variable(("time", "x"), np.zeros((7, 40)))) == (2, 40)
    assert files._chunks(xr.Variable("x", np.zeros(1000))) == (100,)
