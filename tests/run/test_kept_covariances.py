"""keep="covariances": whole and lag-one covariances of every kind of belief, held to oracles."""

import dataclasses

import numpy as np
import pytest
import torch
from changing import Given
from examples import linear_gaussian, lorenz63

import dalearn as da
from dalearn.run import covariances


def run(problem, method, keep=("covariances",), **settings):
    return da.assimilate(problem, method, keep=keep, progress=False, **settings)


def trajectory(p):
    """Mean `(K n)` and covariance of all states given all data, by one big Gaussian."""
    A, n, K = p.model.A, p.n, len(p)
    M, Q = A @ A, A @ p.noise.matrix() @ A.T + p.noise.matrix()  # two steps a cycle
    F = np.eye(K * n)
    for k in range(1, K):
        F[k * n : (k + 1) * n] += M @ F[(k - 1) * n : k * n]
    blocks = np.zeros((K * n, K * n))
    for k in range(K):
        here = slice(k * n, (k + 1) * n)
        blocks[here, here] = Q + (M @ p.prior.cov.matrix() @ M.T if k == 0 else 0)
    C = F @ blocks @ F.T
    H = np.kron(np.eye(K), p.observation.operator.matrix)
    S = H @ C @ H.T + np.kron(np.eye(K), p.observation.noise.matrix())
    return C - C @ H.T @ np.linalg.solve(S, H @ C)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("kind", [da.RTS, da.ExtendedRTS, da.UnscentedRTS])
def test_of_smoothers_within_a_time_and_between_two(kind, library):
    p = linear_gaussian(cycles=4)
    C, n = trajectory(p), p.n
    p = p if library == "numpy" else p.to(torch.zeros(1, dtype=torch.float64))
    found = run(p, kind())
    assert found["covariance"].dims == ("time", "stage", "x", "x_")
    assert found["lag_one_covariance"].dims == ("time", "x", "x_")
    assert np.isnan(found["lag_one_covariance"][0]).all()
    for k in range(4):
        here = slice(k * n, (k + 1) * n)
        got = found["covariance"].sel(stage="smoothed")[k]
        assert np.allclose(got, C[here, here], rtol=0, atol=1e-10)
        if k:
            before = slice((k - 1) * n, k * n)  # row: today, column: the time before
            got = found["lag_one_covariance"][k]
            assert np.allclose(got, C[here, before], rtol=0, atol=1e-10)


def test_lag_one_covariances_of_pykalman_and_statsmodels():
    """pykalman 0.11.2 _smooth_pair and statsmodels 0.15.0 smoothed_state_autocov, of the problem
    in test_peers_gaussian.py; a datum is missing."""
    k = np.arange(8)
    dt = 0.5 + 0.4 * np.sin(k)
    F = np.stack([[[1.0, t], [-0.2 * t, 1 - 0.1 * t]] for t in dt])
    y = (2 * np.sin(0.7 * k) + 0.3 * np.cos(5.0 * k))[:, None]
    y[3] = np.nan
    b = np.sin(2.0 * k)[:, None] * np.array([0.5, 1.0])
    q, r = 1 + 0.5 * np.cos(k), 0.5 + 0.2 * np.cos(3.0 * k)
    see = [da.Observation(np.array([[1.0, 0.3 * np.sin(t)]]), [r[t]]) for t in k]
    p = da.Problem(
        Given(2),
        da.Moving(see),
        da.Gaussian(np.array([0.5, -0.2]), np.array([[2.0, 0.3], [0.3, 1.0]])),
        y,
        [0] + [1] * 7,
        [da.Dense(a * np.array([[0.2, 0.05], [0.05, 0.1]])) for a in q],
        inputs=np.concatenate([F.reshape(8, 4), b], axis=1)[1:],
    )
    found = run(p, da.RTS())["lag_one_covariance"]
    first = [[0.1513797030675, -0.0198878286748], [-0.1486287930693, 0.1450087953842]]
    fifth = [[0.1095169754261, 0.0379537574522], [0.0294770804907, 0.157265285544]]
    assert np.allclose(found[1], first, rtol=0, atol=1e-10)
    assert np.allclose(found[5], fifth, rtol=0, atol=1e-10)


def test_of_members_equal_and_weighted():
    p = lorenz63(cycles=4)
    keep = ("members", "covariances")
    found = run(p, da.ETKF(10, inflation=1.02), keep)
    for k, s in np.ndindex(4, 2):
        E = found["members"][k, s].values
        assert np.allclose(found["covariance"][k, s], np.cov(E.T), rtol=1e-10)
    found = run(p, da.ParticleFilter(200, regularization=2.4, resample_below=0.3), keep)
    for k, s in np.ndindex(4, 2):
        E, w = found["members"][k, s].values, found["weights"][k, s].values
        wanted = np.cov(E.T, aweights=w)
        assert np.allclose(found["covariance"][k, s], wanted, rtol=1e-8, atol=1e-10)
    assert "lag_one_covariance" not in found


METHODS = [da.ETKF(8), da.ExtendedKF(), da.UKF(), da.Var4D(2), da.EnKS(8, lag=1), da.OI()]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_its_diagonal_is_the_square_of_std_and_a_batch_is_kept(method):
    found = run(lorenz63(cycles=4, batch=(2,)), method)
    assert found["covariance"].dims == ("case", "time", "stage", "x", "x_")
    diagonal = np.einsum("...ii->...i", found["covariance"].values)
    assert np.allclose(diagonal, found["std"] ** 2, rtol=1e-9, atol=1e-12)
    assert np.allclose(found["covariance"], found["covariance"].values.swapaxes(-1, -2))
    alone = run(lorenz63(cycles=4, batch=(2,))[1], method, seed=1)
    assert np.allclose(found["covariance"][1], alone["covariance"], rtol=1e-7, atol=1e-9)


def test_a_point_has_none_and_a_lag_no_lag_one():
    p = linear_gaussian(cycles=3)
    assert "lag_one_covariance" not in run(p, da.RTS(lag=1))
    assert "covariance" not in run(p, da.RTS(), keep=("moments",))
    assert (covariances.covariance(da.Point(np.ones((2, 3)))) == np.zeros((2, 3, 3))).all()


def test_compare_and_parameters_keep_them():
    p = linear_gaussian(cycles=3)
    found = da.compare(p, [da.KF(), da.RTS()], seeds=[0, 1], keep=("covariances",), progress=False)
    assert found["covariance"].dims[-2:] == ("x", "x_")
    one = run(p, da.RTS())
    assert np.allclose(
        found["covariance"].sel(scheme="RTS()", seed=0, stage="smoothed"),
        one["covariance"].sel(stage="smoothed"),
    )
    joint = da.with_parameters(lorenz63(cycles=3), "rho", da.Gaussian(np.array([28.0]), [4.0]))
    state, parameters = da.state_and_parameters(run(joint, da.ETKF(10)), joint)
    assert state["covariance"].shape[-2:] == (3, 3)
    assert list(parameters["covariance"]["x_"].values) == ["rho"]
    assert np.allclose(parameters["covariance"][..., 0, 0], parameters["std"][..., 0] ** 2)


def test_predicted_std_is_that_of_a_datum():
    p = linear_gaussian(cycles=4, batch=(2,))
    H, R = p.observation.operator.matrix, p.observation.noise.matrix()
    found = run(p, da.RTS(), ("predicted_std", "covariances"))
    assert found["predicted_std"].dims == ("case", "time", "stage", "y")
    S = H @ found["covariance"].values @ H.T + R
    wanted = np.einsum("...ii->...i", S) ** 0.5
    assert np.allclose(found["predicted_std"], wanted, rtol=1e-12)
    bent = dataclasses.replace(
        lorenz63(cycles=3), observation=da.Observation(lambda x: x[..., :2] ** 2 / 9, [1.0, 4.0])
    )
    bent = dataclasses.replace(bent, data=bent.data[..., :2])
    found = run(bent, da.ETKF(10), ("predicted_std", "members"))
    Y, R = found["members"].values[..., :2] ** 2 / 9, np.array([1.0, 4.0])
    assert np.allclose(found["predicted_std"], (Y.var(-2, ddof=1) + R) ** 0.5, rtol=1e-10)
    found = run(bent, da.ExtendedKF(), ("predicted_std", "covariances"))
    J = 2 / 9 * found["mean"].values[..., :2]
    v = J**2 * np.einsum("...ii->...i", found["covariance"].values)[..., :2]
    assert np.allclose(found["predicted_std"], (v + R) ** 0.5, rtol=1e-6)


def test_predicted_std_of_sensors_that_come_and_go_and_across_pi():
    rng = np.random.default_rng(1)
    p = linear_gaussian(cycles=3)
    see = [da.Observation(rng.normal(size=(m, 3)), np.ones(m)) for m in (1, 2, 2)]
    data = rng.normal(size=(3, 2))
    data[0, 1] = data[2] = np.nan
    p = dataclasses.replace(p, observation=da.Moving(see), data=data)
    found = run(p, da.KF(), ("predicted_std", "covariances"))
    C = found["covariance"].values
    assert np.isnan(found["predicted_std"][0, :, 1]).all()
    for k, m in enumerate((1, 2, 2)):  # also where the datum is a gap
        S = see[k].operator.matrix @ C[k] @ see[k].operator.matrix.T + np.eye(m)
        wanted = np.einsum("...ii->...i", S) ** 0.5
        assert np.allclose(found["predicted_std"][k, :, :m], wanted, rtol=1e-12)
    E = np.array([[np.pi - 0.1], [-np.pi + 0.1], [np.pi - 0.3], [-np.pi + 0.3]])
    turn = da.Observation(da.identity, [1e-12], residual=da.Angles(2 * np.pi))
    q = da.Problem(da.identity, turn, da.Ensemble(E), np.array([[np.nan]]))
    std = run(q, da.ETKF(4), "predicted_std")["predicted_std"].sel(stage="forecast")
    near = np.array([-0.1, 0.1, -0.3, 0.3])
    assert np.allclose(std, near.std(ddof=1), rtol=1e-9)


def test_too_many_are_refused_before_the_first_cycle(monkeypatch):
    monkeypatch.setattr(covariances, "LARGEST", 1000)
    called = []
    p = linear_gaussian(cycles=10)
    model = p.model
    slow = dataclasses.replace(p, model=lambda x: (called.append(1), model(x))[1])
    with pytest.raises(ValueError, match=r"3 x 3 at 10 times take .* keep .moments. or .members"):
        run(slow, da.RTS())
    assert not called
