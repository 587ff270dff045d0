"""Learned4DVar: exact on linear problems, its cost that of Var4D, gaps, what it refuses."""

import pickle

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.methods import Leak, OutOfRange
from dalearn.methods.learned.window_costs import WindowCost
from dalearn.methods.learned.window_data import slid, windows_of
from dalearn.neural import CNN, MLP, UNet, WindowNet, seeded

TURN = 0.9 * np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
PRIOR = da.Gaussian([1.0, -0.5], [[1.0, 0.4], [0.4, 0.8]])
SEE = da.Observation([[1.0, 0.0]], [0.25])
RING = da.Gaussian(np.full(12, 2.3), 13.0)


def turned(x):
    return x @ torch.as_tensor(TURN.T, dtype=x.dtype) if torch.is_tensor(x) else x @ TURN.T


def linear_windows(batch, seed, K=3):
    """Windows of a linear problem of two numbers, of which one is seen; and their starts."""
    problem = da.twin(turned, SEE, PRIOR, K, seed=seed, batch=batch)
    return problem, problem.truth[:, 0] @ np.linalg.inv(TURN.T)


def ring(batch, seed, K=4, share=0.5, sigma=0.7):
    """Windows of Lorenz-96 on 12 points with gaps."""
    see = da.Observation(da.identity, da.Diagonal(np.full(12, sigma**2)))
    x = da.trajectory(da.Lorenz96(12), RING.sample(np.random.default_rng(seed), batch), 100)[:, -1]
    truth = da.trajectory(da.Lorenz96(12), x, K)[:, 1:]
    rng = np.random.default_rng(seed + 1)
    y = truth + sigma * rng.normal(size=truth.shape)
    y = np.where(rng.random(y.shape) < share, y, np.nan)
    return da.Problem(da.Lorenz96(12), see, RING, y, truth=truth), x


def ring_net(K=4, spread=False, seed=0, double=True):
    body = seeded(seed, CNN, 2 * K, 1 + spread, (8,), axes=1)
    net = WindowNet(body, K, (1, 12), (1, 12), spread=spread)
    return net.double() if double else net


def ready(net, std=3.6):
    """A network in units that a training would give it."""
    return net.scaled(
        torch.randn(9, net.times, net.m).to(net.x_std) * std + 2.3,
        torch.ones(9, net.times, net.m).to(net.x_std),
        torch.full((net.n,), 2.3),
        torch.full((net.n,), std),
    )


def linear_fit(spread=False, **more):
    train, start = linear_windows(2000, 1)
    valid, start_valid = linear_windows(500, 50_000)
    body = seeded(0, MLP, 6, 2 + 2 * spread, ()).double()
    net = WindowNet(body, 3, (1,), (2,), spread=spread).double()
    told = {"epochs": 40, "batch": 250, "rate": 0.05, "progress": False, **more}
    if told.pop("supervised", False):
        told["truth"] = start, start_valid
    return da.Learned4DVar.fit(net, train, valid, **told)


def exact(problem):
    """Mean and covariance of the start given the window."""
    B, H = PRIOR.cov.matrix(), np.array([[1.0, 0.0]])
    G = np.concatenate([H @ np.linalg.matrix_power(TURN, k + 1) for k in range(len(problem))])
    A = np.linalg.inv(np.linalg.inv(B) + G.T @ G / 0.25)
    d = problem.data[..., 0] - PRIOR.mean @ G.T
    return PRIOR.mean + d @ G @ A / 0.25, A


def apart(x, y):
    return float(np.sqrt(((np.asarray(x) - np.asarray(y)) ** 2).mean()))


@pytest.mark.parametrize("settings", [{"background": 1.0}, {"supervised": True}])
def test_on_a_linear_problem_it_learns_the_exact_answer(settings):
    """4D-Var's cost with the background, and the truth, have the same minimum: BLUE."""
    test, start = linear_windows(200, 90_000)
    wanted, A = exact(test)
    found, _ = linear_fit(**settings).estimate(test)
    error = np.sqrt(np.trace(A) / 2)  # of BLUE itself
    assert apart(found, wanted) < (0.02 if "background" in settings else 0.2) * error
    assert apart(wanted, start) < 1.1 * error


def test_without_a_background_it_learns_least_squares():
    test, start = linear_windows(200, 90_000)
    G = np.concatenate([np.linalg.matrix_power(TURN, k + 1)[:1] for k in range(3)])
    least = np.linalg.lstsq(G, test.data[..., 0].T, rcond=None)[0].T
    found, _ = linear_fit(epochs=80).estimate(test)
    blue = exact(test)[0]
    assert apart(found, least) < 0.2 * apart(blue, least)
    assert apart(blue, start) < 0.8 * apart(found, start)  # and that is what a background is for


def test_hidden_data_stand_in_for_a_background():
    """Data that the network does not see have errors that it cannot fit: shrunken answers pay."""
    test, start = linear_windows(2000, 90_000)
    seen = linear_fit(epochs=60).estimate(test)[0]
    hidden = linear_fit(epochs=60, hide=0.3).estimate(test)[0]
    assert apart(exact(test)[0], start) < apart(hidden, start) < 0.96 * apart(seen, start)


def test_the_learned_gaussian_is_the_best_mean_field():
    """Of a Gaussian posterior with precision P the best factorised one has std P_ii^-1/2."""
    test, _ = linear_windows(50, 90_000)
    wanted, A = exact(test)
    method = linear_fit(spread=True, epochs=60, samples=4)
    x, std = method.estimate(test)
    assert apart(x, wanted) < 0.05 * np.sqrt(np.trace(A) / 2)
    assert np.allclose(std.mean(0), np.diag(np.linalg.inv(A)) ** -0.5, rtol=0.05)
    r = da.assimilate(
        test, da.Learned4DVar(method.net, members=4000, steps=1), progress=False, keep=("moments",)
    )
    spread = r["std"].sel(stage="analysis").isel(time=0).values
    carried = np.sqrt(std**2 @ (TURN**2).T)
    assert np.allclose(spread, carried, rtol=0.05)  # 4 sigma of 4000 draws


def cost_of(problem, **more):
    told = {
        "step": problem.step, "steps": [problem.steps_to(k) for k in range(len(problem))],
        "operators": [problem.at(k)[0].operator for k in range(len(problem))], "times": 4,
        "at": 0, "reach": len(problem), "B": problem.prior.cov, "background": 0.0,
        "penalty": None, "shape": (), "consistency": 0.0, "scale": 1.0, "supervised": False,
        "samples": 1, "hide": 0.0, **more,
    }  # fmt: skip
    return WindowCost(**told)


def test_the_cost_is_that_of_4d_var():
    problem, _ = ring(5, 3)
    net = ready(ring_net())
    y, p = windows_of(problem, torch.zeros((), dtype=torch.float64))
    b = torch.full((5, 12), 2.3, dtype=torch.float64)
    tensors = problem.to(b)
    mine = cost_of(tensors, background=1.0)(net, y, p, b) * (p > 0).sum() / 5
    J = da.Var4D(4, B="prior").cost(problem)
    x = net(y, p).detach().numpy()
    assert np.isclose(float(mine.detach()), J((x - 2.3) / 13**0.5).mean(), rtol=1e-12)


def test_consistency_asks_the_network_again():
    problem, _ = ring(3, 5, K=6)
    net = ready(ring_net())
    y, p = windows_of(problem, torch.zeros((), dtype=torch.float64))
    b = torch.zeros(3, 12, dtype=torch.float64)
    tensors = problem.to(b)
    for at in (0, 2):
        told = {"at": at, "reach": 2, "scale": 2.0}
        more = [cost_of(tensors, consistency=a, **told)(net, y, p, b) for a in (0.0, 3.0)]
        x = net(y[:, :4], p[:, :4])
        for _ in range(2):
            x = tensors.step(x[:, None])[:, 0]
        wanted = 1.5 * (((net(y[:, 2:], p[:, 2:]) - x) / 2) ** 2).mean()
        assert torch.isclose(more[1] - more[0], wanted, rtol=1e-10)


def test_windows_move_along_and_end_in_gaps():
    problem, _ = ring(3, 7, K=9)
    method = da.Learned4DVar(ready(ring_net()), at=3)
    y, p = windows_of(problem, torch.zeros((), dtype=torch.float64))
    x, _ = method.estimate(problem)
    inside = method.net(y[:, 2:6], p[:, 2:6]).detach()
    assert np.allclose(x[:, 4], inside, atol=1e-12)  # the third of the times 2 to 5
    zero = torch.zeros_like(y[:, :1])
    first = method.net(torch.cat((zero, zero, y[:, :2]), 1), torch.cat((zero, zero, p[:, :2]), 1))
    assert np.allclose(x[:, 0], first.detach(), atol=1e-12)
    assert slid(y, 4, 3).shape == (3, 9, 4, 12)
    r = da.assimilate(problem, method, progress=False)
    assert np.allclose(r["mean"].sel(stage="analysis").values, x, atol=1e-12)
    carried = da.Lorenz96(12)(x[:, 3])
    assert np.allclose(r["mean"].sel(stage="forecast").values[:, 4], carried, atol=1e-12)


def test_a_shorter_window_is_one_with_gaps():
    problem, _ = ring(3, 8)
    method = da.Learned4DVar(ready(ring_net()))
    gone = problem.data.copy()
    gone[:, 2:] = np.nan
    full = da.Problem(problem.model, problem.observation, RING, gone)
    short = da.Problem(problem.model, problem.observation, RING, gone[:, :2])
    assert np.array_equal(method.estimate(full)[0], method.estimate(short)[0])


@pytest.mark.parametrize("at", [0, 2])
def test_numpy_torch_and_one_by_one_agree(at):
    problem, _ = ring(4, 9)
    method = da.Learned4DVar(ready(ring_net(spread=True)), at=at, members=5)
    r = da.assimilate(problem, method, progress=False)
    torches = problem.to(torch.zeros((), dtype=torch.float64))
    t = da.assimilate(torches, method, progress=False)
    assert np.allclose(r["mean"], t["mean"], atol=1e-10)
    one = da.assimilate(problem[2], method, seed=2, progress=False)
    assert np.allclose(r["mean"].isel(case=2) if "case" in r.dims else r["mean"][2], one["mean"])
    assert pickle.loads(pickle.dumps(method)).members == 5


def height(x):
    return x[..., 0, :, :].reshape(*x.shape[:-3], -1)


def test_fields_seen_at_every_third_step():
    """The set-up of motion estimation: one of three components is seen, the others are sought."""
    model = da.ShallowWater((8, 8), 1e6 / 7)
    unit = np.repeat([1.0, 0.3, 0.3], 64)
    prior = da.Gaussian(np.zeros(192), da.Diagonal(unit**2))
    see = da.Observation(height, da.Diagonal(np.full(64, 0.05**2)))
    parts = [
        da.twin(model, see, prior, 3, steps=3, shape=(3, 8, 8), seed=s, batch=40)
        for s in (1, 1000)
    ]
    net = WindowNet(seeded(0, CNN, 6, 3, (16,)), 3, (1, 8, 8), (3, 8, 8))

    def slope(x):  # Tikhonov, on fields
        return 1e-3 * ((x - torch.roll(x, 1, -1)) ** 2).sum((-3, -2, -1))

    told = {"batch": 10, "progress": False, "penalty": slope, "background": 0.1}
    costs = []
    for epochs in (1, 12):
        method = da.Learned4DVar.fit(net, *parts, epochs=epochs, **told)
        r = da.assimilate(parts[1], method, progress=False)
        seen = height(r["mean"].sel(stage="analysis").values.reshape(40, 3, 3, 8, 8))
        costs.append(apart(seen, parts[1].data))
    assert costs[1] < 0.7 * costs[0]
    assert method.steps == (3, 3, 3)


def test_training_on_chaos_beats_the_prior_and_sees_no_truth():
    train, _ = ring(600, 20)
    valid, _ = ring(100, 5000)
    test, start = ring(200, 9000)
    blind = [
        da.Problem(p.model, p.observation, RING, p.data) for p in (train, valid)
    ]  # without truth
    told = {"epochs": 15, "batch": 50, "rate": 3e-3, "progress": False}
    method = da.Learned4DVar.fit(ring_net(double=False), *blind, **told)
    same = da.Learned4DVar.fit(ring_net(double=False), train, valid, **told)
    x = method.estimate(test)[0]
    assert np.array_equal(x, same.estimate(test)[0])
    assert apart(x, start) < 0.6 * apart(2.3, start)


def test_what_it_refuses():
    problem, _ = ring(5, 1)
    net = ready(ring_net())
    with pytest.raises(ValueError, match="has not been trained"):
        da.Learned4DVar(ring_net())
    with pytest.raises(TypeError, match="must be a WindowNet"):
        da.Learned4DVar(MLP(3, 3))
    with pytest.raises(ValueError, match="of a network with a spread"):
        da.Learned4DVar(net, members=5)
    with pytest.raises(ValueError, match="equal steps"):
        da.Learned4DVar(net, at=2, steps=(1, 2, 1, 1))
    method = da.Learned4DVar(net)
    with pytest.raises(ValueError, match="windows of 4 observations, met 6"):
        method.estimate(ring(2, 1, K=6)[0])
    with pytest.raises(ValueError, match="12 observed numbers to 12"):
        method.estimate(linear_windows(2, 1)[0])
    other = da.Problem(problem.model, problem.observation, RING, problem.data, steps=2)
    with pytest.raises(ValueError, match="model steps before the observations"):
        method.estimate(other)
    dense = da.Dense(np.eye(12) + 0.1)
    with pytest.raises(TypeError, match="precision of each number"):
        method.estimate(
            da.Problem(problem.model, da.Observation(da.identity, dense), RING, problem.data)
        )


def test_what_training_refuses():
    problem, start = ring(5, 1)
    valid, _ = ring(3, 50)
    fit = da.Learned4DVar.fit
    with pytest.raises(ValueError, match="windows of 4 observations"):
        fit(ring_net(), ring(3, 1, K=5)[0], valid)
    point = da.Problem(problem.model, problem.observation, da.Point(start[0]), problem.data)
    with pytest.raises(ValueError, match="one without spread"):
        fit(ring_net(), point, valid)
    members = da.Ensemble(RING.sample(np.random.default_rng(0), 9))
    ensemble = da.Problem(problem.model, problem.observation, members, problem.data)
    with pytest.raises(ValueError, match="wanted a Gaussian"):
        fit(ring_net(), ensemble, valid, background=1.0)
    with pytest.raises(ValueError, match="truth must be states"):
        fit(ring_net(), problem, valid, truth=(start[:2], start[:2]))
    with pytest.raises(ValueError, match="with a spread"):
        fit(ring_net(spread=True), ring(3, 1, K=6)[0], valid, consistency=1.0, reach=2)
    told = {"epochs": 1, "progress": False}
    with pytest.warns(Leak):
        fit(ring_net(), problem, problem, **told)


def test_data_beyond_those_of_the_training_are_told():
    problem, _ = ring(3, 1)
    method = da.Learned4DVar(ready(ring_net()), limits=(-np.ones(12), np.ones(12)))
    with pytest.warns(OutOfRange):
        da.assimilate(problem, method, progress=False)


def test_the_network_of_windows_says_what_it_wants():
    net = WindowNet(UNet(8, 1, (4, 4), axes=1), 4, (1, 12), (1, 12))
    with pytest.raises(ValueError, match=r"\(b, 4, 12\)"):
        net(torch.zeros(2, 3, 12), torch.zeros(2, 3, 12))
    with pytest.raises(ValueError, match="no two numbers"):
        net.scaled(torch.zeros(2, 4, 12), torch.zeros(2, 4, 12), torch.zeros(12), torch.ones(12))
    with pytest.raises(ValueError, match="std must be positive"):
        net.scaled(torch.randn(2, 4, 12), torch.ones(2, 4, 12), torch.zeros(12), torch.zeros(12))
    with pytest.raises(ValueError, match="never changes"):
        net.scaled(torch.ones(2, 4, 12), torch.ones(2, 4, 12), torch.zeros(12), torch.ones(12))
    wide = WindowNet(CNN(8, 2, (4,), axes=1), 4, (1, 12), (1, 12))
    with pytest.raises(ValueError, match="the body gave 24 numbers, wanted 12"):
        ready(wide)(torch.zeros(2, 4, 12), torch.ones(2, 4, 12))
