"""What is kept between calls has a bound in bytes, no lock, and no owner that lives for ever."""

import multiprocessing
import os
import threading

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.array import constants
from dalearn.array.constants import SMALL, Store, eye, row_mean, weight


def test_a_store_keeps_so_many_bytes_and_the_newest():
    store = Store(limit=10_000)
    for n in range(100):
        store.get(n, lambda n=n: np.zeros(n))
    assert sum(v.nbytes for _, v in store.values.values()) <= 10_000
    assert 99 in store.values
    assert 0 not in store.values
    assert store.get("large", lambda: np.zeros(2000)).nbytes == 16_000  # made, and not kept
    assert "large" not in store.values
    few = Store(count=3)
    for n in range(9):
        assert few.get(n, lambda n=n: n) == n
    assert list(few.values) == [6, 7, 8]


def test_the_weight_of_what_holds_arrays():
    a = np.zeros(100)
    assert weight(a) == 800
    assert weight(torch.zeros(100)) == 400
    assert weight([a, (a, {"b": a})]) >= 2400
    assert weight(da.Diagonal(a)) >= 800
    wet = np.ones((20, 30), bool)
    assert weight(da.Diffusion(wet, length=2.0)._operator) > 600 * 12


def resident() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's memory")
def test_many_sizes_leave_little_behind():
    """Identities of 24 sizes of about 900 were 150 MB, of 64 sizes 590 MB."""
    like, before = np.zeros(1), resident()
    for n in range(800, 1040, 10):
        eye(n, like)[0, 0], row_mean(np.ones((n, 2)))
    assert resident() - before < 30
    for n in range(2, 300):
        eye(n, like)
    assert constants._eye.cache_info().currsize <= 64
    assert 64 * SMALL**2 * 8 <= 2**23


def test_constants_of_models_of_many_sizes_are_bounded(monkeypatch):
    store = Store(limit=2**18)
    monkeypatch.setattr(constants, "SHARED", store)
    for n in range(16, 72, 4):
        da.Kolmogorov(n, dt=0.01)(np.zeros((2, n, n)))
    assert len(store) > 1
    assert sum(weight(v) for _, v in store.values.values()) <= 2**18


def test_a_problem_keeps_no_more_observations_than_it_has_times():
    class New(da.Observation):
        """An observing system that is made anew each time it is asked for."""

        def at(self, k):
            return da.Observation(self.operator, self.noise)

    seen = New(da.identity, da.Diagonal(np.ones(4)))
    prior = da.Gaussian(np.zeros(4), da.Diagonal(np.ones(4)))
    p = da.Problem(lambda x: x + 0, seen, prior, np.zeros((3, 4)), shape=(2, 2))
    for _ in range(5):
        da.assimilate(p, da.ETKF(4), progress=False)
        for k in range(3):
            p.at(k)
    assert len(p.__dict__["_bordered"]) <= 6


def run(seed):
    seen, prior = da.Observation(da.identity, np.ones(3)), da.Gaussian(np.ones(3), 1.0)
    p = da.twin(da.Lorenz63(), seen, prior, 3)
    return da.assimilate(p, da.ETKF(5), seed=seed, progress=False)["mean"].values


def test_threads_that_share_what_is_kept_get_the_same():
    wanted, found = [run(i) for i in range(4)], {}
    constants.SHARED.values.clear()
    threads = [threading.Thread(target=lambda i=i: found.update({i: run(i)})) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(np.array_equal(wanted[i], found[i]) for i in range(4))


def answer(pipe, seed):
    pipe.send(run(seed))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="forks")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_worker_does_not_hang():
    """Forked while other threads work on what is kept: no lock is inherited that is held."""
    wanted = run(3)
    stop = threading.Event()

    def busy():
        n = 0
        while not stop.is_set():
            n = n % 200 + 1
            constants.SHARED.get(("busy", n), lambda n=n: np.zeros(n))

    worker = threading.Thread(target=busy)
    worker.start()
    try:
        context = multiprocessing.get_context("fork")
        for _ in range(3):
            here, there = context.Pipe()
            child = context.Process(target=answer, args=(there, 3))
            child.start()
            assert here.poll(60), "the forked worker hangs"
            assert np.array_equal(here.recv(), wanted)
            child.join(60)
            assert child.exitcode == 0
    finally:
        stop.set()
        worker.join()
