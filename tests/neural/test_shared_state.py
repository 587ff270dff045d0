"""Training leaves what a process shares as it was; threads and forked workers do not meet."""

import random
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch import nn

import dalearn as da
from dalearn.neural import MLP, fit, mean_square, seeded
from dalearn.neural.draws import draws

DATA = tuple(torch.from_numpy(np.random.default_rng(i).normal(size=(64, 3))) for i in (0, 1))


class Noisy(nn.Module):
    """Draws from all three states that a process shares."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3).double()

    def forward(self, x):
        shift = torch.randn(()) + np.random.standard_normal() + random.random()  # noqa: NPY002
        return self.inner(x) + 0.1 * shift


def dropout():
    return nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.3), nn.Linear(16, 3)).double()


def plain():
    return MLP(3, 3, (16,)).double()


def noisy_loss(module, inputs, targets):
    return mean_square(module, inputs + 0.1 * torch.randn(inputs.shape), targets)


KINDS = {"dropout": dropout, "plain": plain, "own": Noisy}


def trained(make, loss=mean_square, epochs=4, **settings):
    return fit(
        seeded(0, make), DATA, epochs=epochs, batch=8, loss=loss, progress=False, **settings
    )


def states():
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), keys.tolist(), rest, random.getstate()


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_the_shared_states_are_as_they_were(make):
    torch.manual_seed(3)
    np.random.seed(4)  # noqa: NPY002
    random.seed(5)
    before = states()
    record = trained(make)
    assert states() == before

    def fails(module, *rows):
        torch.rand(3)
        raise KeyError("a loss that fails")

    with pytest.raises(KeyError):
        trained(make, fails)
    assert states() == before
    torch.manual_seed(7)
    np.random.seed(8)  # noqa: NPY002
    assert trained(make).train == record.train  # and what they were changes nothing


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("loss", [mean_square, noisy_loss])
def test_in_threads_each_run_is_as_alone(make, loss):
    alone, seeds = [trained(make, loss, seed=s).train for s in range(3)], (0, 1, 2)
    before, interval = states(), sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda s: trained(make, loss, seed=s).train, seeds))
    finally:
        sys.setswitchinterval(interval)
    assert found == alone
    assert states() == before


def test_networks_made_in_threads_are_their_seeds():
    alone = [seeded(s, plain).state_dict() for s in range(4)]
    before = states()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            made = pool.map(lambda s: seeded(s, plain).state_dict(), range(4))
            for a, b in zip(alone, made, strict=True):
                assert all(torch.equal(a[k], b[k]) for k in a)
    assert states() == before


@pytest.mark.parametrize("make", [dropout, Noisy])
def test_a_run_that_goes_on_draws_on(make, tmp_path):
    """The states of torch, NumPy and Python are in the checkpoint."""

    class Stop(Exception):
        pass

    calls = []

    def stops(module, *rows):
        calls.append(1)
        if len(calls) == 20:
            raise Stop
        return mean_square(module, *rows)

    stops.fingerprint = "mean square"
    path, settings = tmp_path / "run", {"every": 0.0}
    with pytest.raises(Stop):
        trained(make, stops, checkpoint=path, **settings)
    calls[:] = [1] * 20
    on = trained(make, stops, checkpoint=path, **settings)
    assert len(calls) < 20 + 4 * 8
    assert on.train == trained(make, stops).train


def test_what_draws_is_known():
    assert not draws(plain())
    assert not draws(nn.LSTM(2, 3, 2))
    assert draws(nn.LSTM(2, 3, 2, dropout=0.1))
    assert draws(nn.Sequential(nn.Linear(2, 2), nn.Dropout1d()))
    assert draws(nn.TransformerEncoderLayer(4, 2))
    assert draws(Noisy())
    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda m, x, y: y + torch.rand(1))
    assert draws(hooked)


def test_networks_that_draw_nothing_do_not_wait(monkeypatch):
    """Both are in the middle of an epoch at once; one alone would wait for the other in vain."""
    meeting, forward = threading.Barrier(2, timeout=60), MLP.forward
    seen = set()

    def meets(self, x):
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            meeting.wait()
        return forward(self, x)

    monkeypatch.setattr(MLP, "forward", meets)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: trained(plain, epochs=1), range(2)))
    assert len(seen) == 2


def test_data_of_another_number_type_are_named():
    net = MLP(3, 3)
    for data in (DATA, tuple(d.numpy() for d in DATA)):
        with pytest.raises(
            TypeError, match=r"data are torch.float64 and the module torch.float32"
        ):
            fit(net, data, epochs=1, progress=False)
    half = (DATA[0].float(), DATA[1])  # torch takes targets of another type
    assert fit(net, half, epochs=1, progress=False).ended == "epochs"


# --- forked workers -----------------------------------------------------------------------------

WIDE = tuple(torch.ones(512, 64) for _ in range(2))


def fitted(seed):
    net = seeded(seed, MLP, 64, 64, (256, 256))
    return fit(net, WIDE, epochs=1, batch=512, progress=False).train


@pytest.fixture
def workers():
    """Two forked from a process in which torch has had threads, and somebody was training."""
    threads, inside, ends = torch.get_num_threads(), threading.Event(), threading.Event()

    def waits(module, *rows):
        inside.set()
        ends.wait(60)
        return mean_square(module, *rows)

    torch.set_num_threads(2)
    torch.ones(2000, 2000).exp().sum()
    other = threading.Thread(target=trained, args=(dropout, waits), kwargs={"epochs": 1})
    other.start()
    inside.wait(60)
    pool = ProcessPoolExecutor(2, mp_context=get_context("fork"))
    try:
        yield pool, ends
    finally:
        for process in list(pool._processes.values()):
            process.kill()  # where it hangs
        pool.shutdown()
        ends.set()
        other.join()
        torch.set_num_threads(threads)


def test_forked_workers_train(workers):
    pool, ends = workers
    futures = [pool.submit(fitted, s) for s in range(2)]
    found = [f.result(timeout=60) for f in futures]
    drawn = [pool.submit(trained, dropout) for _ in range(2)]
    first, second = (f.result(timeout=60).train for f in drawn)
    assert first == second  # and the turn, which is somebody's here, was nobody's there
    ends.set()
    assert np.allclose(found, [fitted(s) for s in range(2)], rtol=1e-5)  # sums in another order


def test_forked_workers_compare(workers):
    prior = da.Gaussian(torch.ones(400, dtype=torch.float64), da.Diagonal(np.ones(400)))
    seen = da.Observation(da.identity, np.ones(400))
    problem = da.twin(da.Lorenz96(400), seen, prior, cycles=2)
    job = workers[0].submit(da.assimilate, problem, da.ETKF(20), progress=False)
    result = job.result(timeout=60)
    here = da.assimilate(problem, da.ETKF(20), progress=False)
    assert np.allclose(result["mean"], here["mean"], rtol=1e-9)  # sums in another order
