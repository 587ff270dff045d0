"""SDA: the smoother of a linear-Gaussian chain from its exact score, data of any kind, errors."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov

import dalearn as da
from dalearn.array import Purpose, streams
from dalearn.methods.score.sda import guided, sda
from dalearn.methods.score.window import data_in, places
from dalearn.neural import LocalScore, Normalisation, seeded
from dalearn.neural.local_score import denoising, noise, signal

A, Q, L = np.array([[0.95, 0.2], [-0.2, 0.9]]), 0.1, 12
P = solve_discrete_lyapunov(A, Q * np.eye(2))
STD = np.diag(P) ** 0.5


def chain(length=L):
    """The covariance of a stationary trajectory, `(2 length, 2 length)`."""
    C = np.zeros((length, 2, length, 2))
    power = [np.linalg.matrix_power(A, i) for i in range(length)]
    for i in range(length):
        for j in range(i + 1):
            C[i, :, j] = power[i - j] @ P
            C[j, :, i] = C[i, :, j].T
    return C.reshape(2 * length, 2 * length)


class Exact:
    """The noise in a blurred trajectory of the chain, from its covariance."""

    def __init__(self):
        self.mean, self.std = torch.zeros(2, dtype=torch.float64), torch.from_numpy(STD)
        unit = np.tile(STD, L)
        self.C = torch.from_numpy(chain() / np.outer(unit, unit))
        self.values, self.turn = torch.linalg.eigh(self.C)

    def __call__(self, x, t):
        t = torch.as_tensor(t, dtype=x.dtype).reshape(-1, 1)
        size = (signal(t) ** 2 * self.values + noise(t) ** 2) / noise(t)
        return ((x.flatten(1) @ self.turn / size) @ self.turn.mT).reshape(x.shape)


def turned(x):
    return x @ torch.as_tensor(A.T).to(x) if torch.is_tensor(x) else x @ A.T


def problem(seed=3, batch=(), every=3):
    see = da.Observation([[1.0, 0.0]], [0.2])
    prior = da.Gaussian(np.zeros(2), P)
    return da.twin(turned, see, prior, L // every, steps=every, noise=Q, seed=seed, batch=batch)


def net(seed=0, k=2, n=2, dtype=torch.float64):
    unit = Normalisation(np.zeros(n), np.ones(n))
    return seeded(seed, LocalScore, n, k, width=8, depth=1).to(dtype).scaled(unit)


def test_the_exact_score_makes_the_smoother_of_a_linear_chain():
    """Mean and deviation of 1000 samples beside RTS.

    Of 1000 samples means err by 0.03 deviations, the largest of 8 by twice that. The rest is the
    guess of the error of x^, gamma (sigma / mu)^2, which is not that of this chain: the mean is
    drawn to the data too early. It shrinks with the corrections; without any it is 0.4.
    """
    p = problem()
    out = da.assimilate(p, da.RTS(), progress=False).sel(stage="smoothed")
    off = {}
    for C in (0, 16):
        method = da.SDA(Exact(), members=1000, steps=64, corrections=C)
        x = method.trajectories(p.validated())[:, 2::3]
        error = np.abs(x.mean(0) - out["mean"].values) / out["std"].values
        off[C] = np.array([error.max(), np.abs(x.std(0) / out["std"].values - 1).max()])
    assert (off[16] < 0.12).all(), off
    assert (off[0] > 3 * off[16]).all(), off  # C = 0 fails


def test_without_data_the_prior_is_drawn():
    """To the errors of 2000 samples (0.02 of a deviation), and of 64 steps."""
    method = Exact()
    x = sda(method, [], (2000, L, 2), streams(Purpose.ASSIMILATION, 0), 64, 1).flatten(1)
    assert (x.mean(0).abs() < 0.1).all()
    assert torch.allclose(x.mT @ x / len(x), method.C, atol=0.12)


def test_guidance_is_the_gradient_of_the_blurred_likelihood():
    """Of a dense R and two data a time, against the formula with its inverse."""
    H, R = np.array([[1.0, 0.5], [0.0, 2.0]]), np.array([[0.5, 0.2], [0.2, 0.3]])
    p = problem(every=1)
    p = replace(p, observation=da.Observation(H, R), data=np.ones((L, 2)))
    method, t, gamma = Exact(), 0.4, 0.3
    data = data_in(p.to(method.mean), list(range(L)), method.mean, method.std)
    x = torch.randn(1, 3, L, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    blur = gamma * (noise(t) / signal(t)) ** 2
    S = torch.from_numpy(np.linalg.inv(R + blur * H @ np.diag(STD**2) @ H.T))

    def log_likelihood(x):
        clean = (x - noise(t) * method(x[0], t)[None]) / signal(t) * method.std
        d = 1 - clean @ torch.from_numpy(H.T)
        return -0.5 * ((d @ S) * d).sum()

    wanted = method(x[0], t)[None] - noise(t) * torch.func.grad(log_likelihood)(x)
    assert torch.allclose(guided(method, data, x, t, gamma), wanted, rtol=1e-9)


def test_derivatives_through_the_seen_windows_alone_are_those_through_all():
    local = net()
    p = problem(every=6).to(local.mean)
    data = data_in(p, [5, 11], local.mean, local.std)
    x = torch.randn(4, L, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def whole(x, t):  # without k: through all
        return local(x, t)

    assert torch.allclose(
        guided(local, data, x, 0.3, 0.1), guided(whole, data, x, 0.3, 0.1), rtol=1e-10
    )
    at = torch.tensor([0, 1, 5, 10, 11])
    assert torch.allclose(local(x, 0.3, at), local(x, 0.3)[:, at], rtol=1e-10)


def test_a_local_score_of_one_window_is_that_of_its_states():
    local, g = net(k=2), torch.Generator().manual_seed(2)
    x = torch.randn(2, 9, 2, dtype=torch.float64, generator=g)
    out = local(x, 0.5)
    for i in range(2, 7):
        assert torch.allclose(out[:, i], local(x[:, i - 2 : i + 3], 0.5)[:, 2])
    assert torch.allclose(out[:, :3], local(x[:, :5], 0.5)[:, :3])
    assert torch.allclose(out[:, -3:], local(x[:, -5:], 0.5)[:, -3:])
    times = torch.tensor([0.2, 0.7], dtype=torch.float64)
    assert torch.allclose(local(x, times)[1], local(x[1:], 0.7)[0])


def test_training_finds_the_score_of_a_chain():
    """Near the error that the exact score leaves, in the same blurs; at the start it is near 1."""
    root, rng = np.linalg.cholesky(chain()), np.random.default_rng(0)
    train, valid = (
        (rng.normal(size=(s, 2 * L)) @ root.T).reshape(s, L, 2).astype("float32")
        for s in (3000, 500)
    )
    made = seeded(0, LocalScore, 2, 2, width=32, depth=2)
    method = da.SDA.fit(made, train, valid, epochs=8, batch=512, progress=False, members=16)
    assert method.members == 16
    assert method.net.trained

    def error(f):
        torch.manual_seed(0)
        with torch.no_grad():
            return float(denoising(f, torch.from_numpy(valid).to(f.mean)))

    exact = error(Exact())
    assert exact < error(method.net.double()) < 1.25 * exact


def test_a_batch_is_its_experiments_one_by_one_and_cycles_are_whole():
    p, method = problem(batch=(2,)), da.SDA(net(), members=5, steps=8)
    both = da.assimilate(p, method, progress=False, keep=("members",))
    for b in range(2):
        one = da.assimilate(p[b], method, seed=b, progress=False, keep=("members",))
        assert np.allclose(one["members"], both["members"][b], rtol=1e-10)
    assert both.sizes["time"] == 4
    again = pickle.loads(pickle.dumps(method))
    same = da.assimilate(p, again, progress=False, keep=("members",))
    assert np.array_equal(same["members"], both["members"])


def test_missing_data_are_rows_removed():
    p, method = problem(every=1), da.SDA(net(), members=4, steps=8)
    gaps = np.where(np.arange(L)[:, None] % 3 == 2, p.data, np.nan)
    thin = replace(p, data=gaps[2::3], steps=3, truth=None, times=None)
    a = method.trajectories(replace(p, data=gaps).validated())
    b = method.trajectories(thin.validated())
    assert np.allclose(a, b, rtol=1e-9)
    nothing = method.trajectories(replace(p, data=np.full_like(p.data, np.nan)).validated())
    assert np.isfinite(nothing).all()
    assert not np.allclose(nothing, a)


def test_steps_between_the_states_of_the_network():
    p = problem(every=6)
    assert places(p, 1, "SDA") == [5, 11]
    assert places(p, 3, "SDA") == [1, 3]
    x = da.SDA(net(k=1), members=3, every=3, steps=4).trajectories(p.validated())
    assert x.shape == (3, 4, 2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: da.SDA(seeded(0, LocalScore, 2)), ["has not been trained", "SDA.fit"]),
        (lambda: da.SDA(torch.nn.Linear(2, 2)), ["LocalScore", "without mean, std"]),
        (
            lambda: da.SDA(net(), every=4, members=2).trajectories(problem().validated()),
            ["after 3 model steps", "every = 4"],
        ),
        (
            lambda: da.SDA(net(k=8), members=2).trajectories(problem().validated()),
            ["12 states", "at least 17"],
        ),
        (
            lambda: da.SDA(net(n=3), members=2).trajectories(problem().validated()),
            ["states of 3", "wanted 2"],
        ),
        (lambda: net()(torch.ones(1, 3, 2).double(), 0.5), ["L >= 5", "(1, 3, 2)"]),
        (
            lambda: da.SDA.fit(net(), np.ones((2, 4, 2)), np.ones((2, 9, 2))),
            ["train", "at least 5", "(2, 4, 2)"],
        ),
        (
            lambda: da.SDA.fit(net(), np.ones((2, 9, 2)), np.ones((2, 9, 2))),
            ["2 of 2 runs of validation stand in train"],
        ),
        (
            lambda: da.SDA.fit(net(), np.full((2, 9, 2), np.nan), np.ones((2, 9, 2))),
            ["train holds NaN"],
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert all(w in str(error.value) for w in words), str(error.value)
