"""Two runs at once to one path: one writes, the other is refused or finds it done."""

import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from lengths import full

import dalearn as da
from dalearn.neural import MLP, fit, seeded

X0 = np.random.default_rng(0).normal(size=(6, 3))
DATA = tuple(torch.from_numpy(np.random.default_rng(i).normal(size=(24, 3))) for i in (0, 1))
SEEN = da.Observation(da.identity, np.ones(3))
PROBLEM = da.twin(da.Lorenz63(), SEEN, da.Gaussian(np.ones(3), np.ones(3)), cycles=2)


def sweep(folder):
    given = {"to": folder and folder / "s.zarr", "chunk": 1, "progress": False}
    return da.compare(PROBLEM, [da.ETKF(5)], 4, **given)["mean"].values


def states(folder):
    given = {"to": folder and folder / "s.npy", "rows": 1, "checkpoint": 0.0, "progress": False}
    return np.array(da.simulate(da.Lorenz63(), X0, 8, **given))


def trained(folder):
    net = seeded(0, MLP, 3, 3, (4,)).double()
    given = {"checkpoint": folder and folder / "net", "every": 0.0, "progress": False}
    return np.array(fit(net, DATA, epochs=6, **given).train)


RUNS = {f.__name__: f for f in (sweep, states, trained)}


def attempt(run, folder):
    """What came of a run: its numbers, or the words of its refusal."""
    try:
        return run(folder)
    except ValueError as error:
        return str(error)


def judged(found, wanted):
    done = [f for f in found if isinstance(f, np.ndarray)]
    assert done, found
    assert all(np.array_equal(f, wanted) for f in done)
    for words in (f for f in found if isinstance(f, str)):
        assert "is being written by" in words


@pytest.mark.parametrize("name", RUNS)
def test_threads(tmp_path, name):
    run, interval = RUNS[name], sys.getswitchinterval()
    wanted, together = run(None), threading.Barrier(3)

    def go(folder):
        together.wait(60)
        return attempt(run, folder)

    sys.setswitchinterval(1e-4)
    try:
        for k in range(full(1, 20)):
            folder = tmp_path / str(k)
            folder.mkdir()
            with ThreadPoolExecutor(3) as pool:
                judged(list(pool.map(go, [folder] * 3)), wanted)
            assert np.array_equal(run(folder), wanted)
            assert not [p for p in folder.iterdir() if p.suffix in (".lock", ".part")]
    finally:
        sys.setswitchinterval(interval)


def at_once(name, folder, when):
    """What came of a run that begins at a moment, in a process of its own."""
    time.sleep(max(0.0, when - time.time()))
    return attempt(RUNS[name], folder)


@pytest.fixture(scope="module")
def processes():
    """Two of them, forked from one without threads: zarr and xarray have some here."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        yield pool


@pytest.mark.parametrize("name", RUNS)
def test_processes(tmp_path, processes, name):
    wanted = RUNS[name](None)
    for k in range(full(1, 20)):
        folder = tmp_path / str(k)
        folder.mkdir()
        when = time.time() + (0.2 if k else 0.0)  # the first round waits for both to start
        jobs = [processes.submit(at_once, name, folder, when) for _ in range(2)]
        found = [job.result(timeout=240) for job in jobs]
        judged(found, wanted)
        assert np.array_equal(RUNS[name](folder), wanted)
        assert not [p for p in folder.iterdir() if p.suffix in (".lock", ".part")]


def test_the_second_is_refused_while_the_first_is_in_the_middle(tmp_path):
    """The first is held in its model; the second names its process, and changes nothing."""
    inside, ends = threading.Event(), threading.Event()

    class Waits:
        fingerprint = "waits"

        def __call__(self, x):
            inside.set()
            ends.wait(60)
            return 0.5 * x

    def first():
        return da.simulate(Waits(), X0, 3, to=tmp_path / "s.npy", progress=False)

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(first)
        inside.wait(60)
        for overwrite in (False, True):
            given = {"to": tmp_path / "s.npy", "overwrite": overwrite, "progress": False}
            with pytest.raises(ValueError, match=rf"written by another thread .*{os.getpid()}"):
                da.simulate(da.Lorenz63() if overwrite else Waits(), X0, 3, **given)
        ends.set()
        assert np.array_equal(job.result(), da.simulate(Waits(), X0, 3, progress=False))


def test_a_finished_file_is_opened_by_many(tmp_path):
    wanted = [run(tmp_path) for run in RUNS.values()]
    os.chmod(tmp_path, 0o500)  # nor does it want to write there
    try:
        with ThreadPoolExecutor(3) as pool:
            for run, numbers in zip(RUNS.values(), wanted, strict=True):
                for found in pool.map(run, [tmp_path] * 3):
                    assert np.array_equal(found, numbers)
    finally:
        os.chmod(tmp_path, 0o700)
