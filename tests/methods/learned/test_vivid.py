"""VIVID: the best linear estimate of both observations, gaps, P from validation data, errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import dalearn as da
from dalearn.methods.learned.network_errors import NetworkErrors, OnTorus
from dalearn.methods.learned.vivid import Incommensurate
from dalearn.neural import Inverse, seeded

SHAPE, N = (4, 6), 24
AT = np.array([[0, 0], [1, 4], [3, 2], [2, 5], [3, 5]])
EXACT = da.GaussNewton(tolerance=1e-9)


class Linear(nn.Module):
    """A field that is a matrix times the image of values."""

    shape = SHAPE

    def __init__(self, matrix):
        super().__init__()
        self.weight = nn.Parameter(torch.as_tensor(matrix))

    def forward(self, image):
        return image[:, 0].flatten(1) @ self.weight


@pytest.fixture(scope="module")
def net():
    return Linear(np.random.default_rng(0).normal(size=(N, N)) / 5)


@pytest.fixture(scope="module")
def B():
    return da.OnGrid(SHAPE, 1.5, std=0.8)


def problem(B, y, shape=(), at=AT):
    H = np.eye(N)[at[:, 0] * 6 + at[:, 1]]
    observe = da.Observation(H, np.full(len(at), 0.1), at)
    prior = da.Gaussian(np.random.default_rng(1).normal(size=(*shape, N)), B)
    return da.Problem(da.identity, observe, prior, y)


def analysis(method, problem):
    return da.assimilate(problem, method, progress=False)["mean"].sel(stage="analysis").values


def test_the_analysis_is_the_best_linear_estimate_of_both(net, B):
    y = np.random.default_rng(2).normal(size=(1, 5))
    P = np.linspace(0.2, 2, N)
    p = problem(B, y)
    found = analysis(da.VIVID(net, P, method=da.Var3D(B, solver=EXACT), inflation=1.7), p)
    image = da.voronoi(y, AT, SHAPE, periodic=True)[:, 0].reshape(1, N)
    field = (image @ net.weight.detach().numpy())[0]
    H = np.eye(N)[AT[:, 0] * 6 + AT[:, 1]]
    H, R = np.vstack((H, np.eye(N))), np.diag(np.append(np.full(5, 0.1), 1.7 * P))
    C, x = B.matrix(), np.asarray(p.prior.mean)
    K = C @ H.T @ np.linalg.inv(H @ C @ H.T + R)
    wanted = x + K @ (np.append(y[0], field) - H @ x)
    np.testing.assert_allclose(found[0], wanted, atol=1e-8)
    alone = analysis(da.Var3D(B, solver=EXACT), p)
    unheard = analysis(da.VIVID(net, P, method=da.Var3D(B, solver=EXACT), inflation=1e3), p)
    np.testing.assert_allclose(unheard, alone, atol=0.02)


def test_codes_of_pod_are_analysed_where_a_coder_is_given(net, B):
    """The same estimate, of four coefficients."""
    rng = np.random.default_rng(3)
    pod, y = da.POD.fit(rng.normal(size=(40, N)), 4), rng.normal(size=(1, 5))
    Bz, Pz, p = np.diag([2.0, 1, 0.5, 0.3]), np.diag([0.3, 0.2, 0.4, 1.0]), problem(B, y)
    found = analysis(da.VIVID(net, Pz, method=da.Var3D(Bz, solver=EXACT), coder=pod), p)
    image = da.voronoi(y, AT, SHAPE, periodic=True)[:, 0].reshape(1, N)
    code = pod.encode(image @ net.weight.detach().numpy())[0]
    H = (np.eye(N)[AT[:, 0] * 6 + AT[:, 1]]) @ pod.modes.T
    seen = y[0] - pod.mean[AT[:, 0] * 6 + AT[:, 1]]
    G, R = np.vstack((H, np.eye(4))), np.diag([*[0.1] * 5, *np.diag(Pz)])
    z = pod.encode(np.asarray(p.prior.mean))
    K = Bz @ G.T @ np.linalg.inv(G @ Bz @ G.T + R)
    wanted = pod.decode(z + K @ (np.append(seen, code) - G @ z))
    np.testing.assert_allclose(found[0], wanted, atol=1e-8)


def test_where_nothing_is_seen_the_forecast_stays(net, B):
    y = np.random.default_rng(4).normal(size=(3, 2, 5))
    y[0] = y[1, 1] = np.nan
    y[2, 0, 3] = np.nan
    p, method = problem(B, y, (3,)), da.VIVID(net, np.ones(N), method=da.Var3D(B, solver=EXACT))
    out = da.assimilate(p, method, progress=False)
    f, a = (out["mean"].sel(stage=s).values for s in ("forecast", "analysis"))
    np.testing.assert_allclose(f[0], a[0], atol=1e-10)
    np.testing.assert_allclose(f[1, 1], a[1, 1], atol=1e-10)
    assert abs(f[1, 0] - a[1, 0]).max() > 0.1
    keep = np.array([0, 1, 2, 4])  # a gap is a sensor that is not there
    one = problem(B, y[2, :1][:, keep], at=AT[keep])
    one = replace(one, prior=da.Gaussian(np.asarray(p.prior.mean)[2], B))
    np.testing.assert_allclose(analysis(method, one)[0], a[2, 0], atol=1e-8)


def test_sensors_may_move_and_come_and_go(net, B):
    rng, R = np.random.default_rng(5), 0.1
    places = [AT, AT[:3], np.array([[1, 1]])]
    H = [np.eye(N)[a[:, 0] * 6 + a[:, 1]] for a in places]
    observe = da.Moving(
        [da.Observation(h, np.full(len(a), R), a) for h, a in zip(H, places, strict=True)]
    )
    y = np.full((3, 5), np.nan)
    for k, a in enumerate(places):
        y[k, : len(a)] = rng.normal(size=len(a))
    prior = da.Gaussian(np.zeros(N), B)
    p = da.Problem(da.identity, observe, prior, y)
    method = da.VIVID(net, np.ones(N), method=da.Var3D(B, solver=EXACT))
    x = np.zeros(N)
    for k, found in enumerate(analysis(method, p)):
        one = da.Problem(da.identity, observe.at(k), da.Gaussian(x, B), y[k : k + 1, : len(H[k])])
        x = analysis(method, one)[0]
        np.testing.assert_allclose(found, x, atol=1e-8)
    tensors = p.to(torch.zeros(1, dtype=torch.float64))
    np.testing.assert_allclose(analysis(method, tensors)[-1], x, atol=1e-8)


def draw(states, rng):
    where = rng.integers(0, SHAPE, (len(states), 9, 2))
    rows = np.arange(len(states))[:, None]
    return states[rows, where[..., 0] * 6 + where[..., 1]], where


def waves(count, seed):
    """Runs of a wave of random phase that moves."""
    rng = np.random.default_rng(seed)
    i, j = np.indices(SHAPE)
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1, 1)) + 0.3 * np.arange(30)[:, None, None]
    return np.sin(2 * np.pi * (i / 4 + j / 6) + phase).reshape(count, 30, N)


@pytest.mark.filterwarnings("ignore::dalearn.neural.voronoi.SharedCell")
def test_training_learns_and_measures_the_errors_that_it_leaves():
    body = nn.Sequential(nn.Flatten(), nn.Linear(6 * N, 48), nn.SiLU(), nn.Linear(48, N))
    net = Inverse(nn.Sequential(body, nn.Unflatten(1, SHAPE)), SHAPE)
    for part in body:
        if isinstance(part, nn.Linear):
            fresh = seeded(0, nn.Linear, part.in_features, part.out_features)
            part.load_state_dict(fresh.state_dict())
    with pytest.raises(ValueError, match="not been trained"):
        da.VIVID(net, np.ones(N))
    told = {"epochs": 25, "rate": 5e-3, "progress": False}
    vivid = da.VIVID.fit(net, draw, waves(20, 0), waves(4, 1), **told)
    assert net.trained
    x = waves(5, 2).reshape(-1, N)
    rng = np.random.default_rng(3)
    from dalearn.methods.learned.network_fields import estimated

    field, distance = estimated(net, *draw(x, rng), True)
    error = np.sqrt(((field - x) ** 2).mean())
    assert error < 0.4 * np.sqrt((x**2).mean())
    P = vivid.P.at(field, distance, SHAPE, 1.0)
    np.testing.assert_allclose(P.variance().mean() ** 0.5, error, rtol=0.5)
    with pytest.warns(da.methods.Leak):
        da.VIVID.fit(net, draw, waves(4, 1), waves(4, 1), epochs=1, progress=False)


def test_a_measured_p_has_the_variances_and_the_spectrum_of_the_errors():
    shape, rng = (16, 20), np.random.default_rng(6)
    C = da.OnGrid(shape, 2.0, nugget=0.05)
    n, S = C.n, 400
    distance = rng.uniform(0, 4, (S, n))
    truth = rng.normal(size=(S, n))
    s = 0.2 + 0.1 * distance
    error = s * C.color(rng.normal(size=(S, 1, n)))[:, 0]
    P = NetworkErrors.measured(truth + error, truth, distance, shape)
    place = np.searchsorted(P.edges, distance, side="right") - 1
    rms = np.sqrt(((truth + error) ** 2).mean())
    np.testing.assert_allclose(P.variances[place] ** 0.5 * rms, s, rtol=0.15)
    at = P.at(truth + error, distance, shape, 1.0)
    white = at.whiten(error[:, None, :])
    np.testing.assert_allclose((white**2).mean(), 1, rtol=0.05)
    waves = abs(np.fft.fft2(white.reshape(-1, *shape))) ** 2
    low = waves.mean(0)[1:3, 1:3].mean() / n
    np.testing.assert_allclose(low, 1, rtol=0.25)
    apart = NetworkErrors.measured(truth + error, truth, distance, shape, correlated=False)
    white = apart.at(truth + error, distance, shape, 1.0).whiten(error[:, None, :])
    low = (abs(np.fft.fft2(white.reshape(-1, *shape))) ** 2).mean(0)[1:3, 1:3].mean() / n
    assert low > 4  # counted as if each cell were told anew


def test_its_covariance_is_one(net):
    rng = np.random.default_rng(7)
    spectrum = np.exp(-np.hypot(*np.indices((5, 6))))
    spectrum = np.fft.fft2(np.fft.ifft2(spectrum).real).real + 0.5
    root = np.sqrt(abs(spectrum))[:, :4]
    P = OnTorus(rng.uniform(0.5, 2, 30), root, (5, 6))
    z = rng.normal(size=(3, 30))
    np.testing.assert_allclose(P.whiten(P.color(z)), z, atol=1e-12)
    tensor = OnTorus(torch.as_tensor(P.std), torch.as_tensor(root), (5, 6))
    np.testing.assert_allclose(tensor.color(torch.as_tensor(z)), P.color(z), atol=1e-12)
    with pytest.raises(NotImplementedError, match="as a whole"):
        P.masked(np.arange(30) > 3)


def test_what_does_not_fit_is_told(net, B):
    y = np.ones((1, 5))
    p, method = problem(B, y), da.VIVID(net, np.ones(N), method=da.Var3D(B))
    nowhere = replace(p, observation=replace(p.observation, locations=None))
    with pytest.raises(ValueError, match="do not say where their sensors stand"):
        analysis(method, nowhere)
    outside = replace(p, observation=replace(p.observation, locations=AT + np.array([9, 0])))
    with pytest.raises(ValueError, match="outside the grid"):
        analysis(method, outside)
    small = da.twin(da.Lorenz63(), da.Observation(da.identity, np.ones(3), np.ones((3, 2))),
                    da.Gaussian(np.zeros(3), np.ones(3)), 1)  # fmt: skip
    with pytest.raises(ValueError, match="fields of 4 x 6 cells"):
        analysis(da.VIVID(net, np.ones(N), method=da.Var3D("prior")), small)
    with pytest.warns(Incommensurate, match="units of the state"):
        analysis(da.VIVID(net, 1e-6 * np.ones(N), method=da.Var3D(B, solver=EXACT)), p)
    with pytest.raises(TypeError, match="torch module"):
        da.VIVID(lambda image: image, np.ones(N))
    with pytest.raises(ValueError, match="belongs to the codes"):
        da.VIVID(net, NetworkErrors([0.0], [1.0]), coder=da.POD.fit(np.eye(N), 2))
