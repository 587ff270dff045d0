"""The Gaussian family with singular covariances, without data, and its derivatives."""

import dataclasses

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.methods import kalman_update, rts_update, ukf

FD = {"jacobian": da.finite_difference, "operator_jacobian": da.finite_difference}
LINEAR = (da.KF(), da.RTS(), da.ExtendedKF(1.1, **FD), da.UKF(inflation=1.1), da.OI("prior"))
NAMES = ["KF", "RTS", "ExtendedKF", "UKF", "OI"]


def run(problem, method):
    return da.assimilate(problem, method, progress=False)


@pytest.mark.parametrize("method", LINEAR, ids=NAMES)
def test_components_that_are_known_and_noise_of_rank_one(method):
    """P0 with a zero variance and Q = G G^T: as if the known component were not estimated."""
    G = np.array([[0.5], [1.0], [0.0]]) * 0.3
    F = np.array([[1.0, 1.0, 0.2], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    H = np.array([[1.0, 0.0, 1.0]])
    y = np.random.default_rng(0).normal(size=(6, 1)) + np.arange(6)[:, None]
    prior = da.Gaussian(np.array([0.0, 0.0, 2.0]), np.diag([4.0, 1.0, 0.0]))
    seen = da.Observation(H, da.Diagonal([0.5]))
    whole = da.Problem(da.Linear(F), seen, prior, y, noise=G @ G.T)
    got = run(whole, method)
    rows = run(dataclasses.replace(whole, noise=da.Rows(G.T)), method)
    assert np.allclose(got["mean"], rows["mean"], rtol=0, atol=1e-9)
    assert np.allclose(got["mean"][..., 2], 2.0, rtol=0, atol=1e-12)
    assert np.allclose(got["std"][..., 2], 0.0, rtol=0, atol=1e-12)
    assert np.isfinite(got["mean"]).all()
    if isinstance(method, (da.KF, da.RTS)):  # beside the exact smoother, which inverts nothing
        from exact import posterior

        wanted = posterior(rows_of(whole, G))
        for stage in got["stage"].values:
            assert np.allclose(got.sel(stage=stage)["mean"], wanted.mean[stage], atol=1e-9)
            assert np.allclose(got.sel(stage=stage)["std"], wanted.std(stage), atol=1e-7)


def rows_of(problem, G):
    return dataclasses.replace(problem, noise=da.Rows(G.T))


@pytest.mark.parametrize("method", LINEAR[2:4], ids=NAMES[2:4])
def test_inflation_waits_for_data_in_each_experiment(method):
    """Two experiments, the second without data from the third time on."""
    y = np.random.default_rng(1).normal(size=(2, 8, 1))
    y[1, 2:] = np.nan
    p = da.Problem(
        da.Linear(np.eye(1)),
        da.Observation(np.eye(1), da.Diagonal([0.1])),
        da.Gaussian(np.zeros((2, 1)), da.Diagonal([1.0])),
        y,
    )
    std = run(p, method)["std"].values[..., 0]  # (case, time, stage)
    assert np.allclose(std[1, 2:], std[1, 2:3, :1], rtol=1e-12)
    assert (std[0, :, 1] < std[0, :, 0]).all()
    alone = run(p[0], method)["std"].values[..., 0]
    assert np.allclose(std[0], alone, rtol=1e-12)


def test_a_batch_without_gaps_carries_one_covariance():
    rng = np.random.default_rng(2)
    p = da.Problem(
        da.Linear(np.array([[1.0, 0.5], [0.0, 0.9]])),
        da.Observation(np.array([[1.0, 0.0]]), da.Diagonal([0.1])),
        da.Gaussian(rng.normal(size=(3, 2)), da.Diagonal([1.0, 2.0])),
        rng.normal(size=(3, 6, 1)),
        noise=da.Diagonal([0.1, 0.1]),
    )
    for method in (da.KF(), da.RTS()):
        assert all(c.analysis.cov.batch == () for c in method.run(p.validated(), None))
        together = run(p, method)
        for b in range(3):
            alone = run(p[b], method)
            assert np.array_equal(together["mean"][b], alone["mean"])
            assert np.array_equal(together["std"][b], alone["std"])
            assert np.array_equal(together["log_likelihood"][b], alone["log_likelihood"])


def test_one_bad_experiment_leaves_the_others_to_the_bit():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(3, 4, 3))
    P, H, y = X.mT @ X, rng.normal(size=(2, 3)), rng.normal(size=(3, 2))
    x, R, P_bad = rng.normal(size=(3, 3)), da.Diagonal(np.ones(2)), X.mT @ X
    P_bad[1, 0, 2] = np.nan
    for a, b in zip(
        kalman_update(x, P, x @ H.T, H, y, R),
        kalman_update(x, P_bad, x @ H.T, H, y, R),
        strict=True,
    ):
        assert np.array_equal(a[[0, 2]], b[[0, 2]])
        assert np.isnan(b[1]).all()


@pytest.mark.parametrize("variances", [[1.0, 2.0, 0.5], [1.0, 0.0, 0.5]])
def test_derivatives_pass_through_the_updates(variances):
    """Also where P is singular, as for a known component: beside differences of the function."""
    rng = np.random.default_rng(4)
    H, y, x = (torch.tensor(rng.normal(size=s)) for s in ((2, 3), (2,), (3,)))
    root, R = torch.tensor(rng.normal(size=(3, 3))), da.Diagonal(0.3 * torch.ones(2).double())
    v = torch.tensor(variances).double()

    def value(t):
        P = (root * v) @ root.mT + t * torch.eye(3).double()
        a, C = kalman_update(x, P, H @ x, H, y, R)
        X = torch.diag((v + t) ** 0.5 if (v > 0).all() else v)
        b, D, score = ukf(x, X, H @ x, X @ H.mT, y, R)
        return a.sum() + C.sum() + b.sum() + D.sum() + score

    t = torch.tensor(0.0 if min(variances) == 0 else 0.4).double().requires_grad_()
    (slope,) = torch.autograd.grad(value(t), t)
    with torch.no_grad():
        h = 1e-5
        wanted = (value(t + h) - value(t)) / h if float(t) == 0 else None
        wanted = (value(t + h) - value(t - h)) / (2 * h) if wanted is None else wanted
    assert torch.isclose(slope, wanted, rtol=1e-3)


def test_smoothing_is_the_same_for_any_rows_of_a_singular_forecast():
    """M of rank one and no noise: the end says one number of the start, by hand."""
    P, M, Q = np.eye(2), np.array([[1.0, 1.0], [2.0, 2.0]]) * 1e-6, np.zeros((2, 2))
    xs = np.array([3e-6, 6e-6])
    x, C = rts_update(np.zeros(2), P, M, Q, np.zeros(2), M @ M.T, xs, np.zeros((2, 2)))
    assert np.allclose(x, [1.5, 1.5], rtol=1e-9)  # the sum is 3, the difference stays unknown
    assert np.allclose(C, [[0.5, -0.5], [-0.5, 0.5]], rtol=0, atol=1e-9)


def test_differences_are_taken_in_the_units_of_the_state():
    """An enzyme at work, in mol/l, and a logarithm; a scale for what is 0 by chance."""
    x = np.array([[1.5e-9]])
    J = da.finite_difference(lambda x: x - 3e-10 * x / (2e-9 + x), x)[1].item()
    assert np.isclose(J, 1 - 3e-10 * 2e-9 / 3.5e-9**2, rtol=1e-8)
    assert np.isclose(da.finite_difference(np.log10, x)[1].item(), 1 / np.log(10) / 1.5e-9)
    zero = np.array([[0.0, 1e-30]])
    J = da.finite_difference(lambda x: np.sin(x / 1e-9) + 1, zero, np.array([1e-9, 1e-9]))[1]
    assert np.allclose(J, 1e9 * np.eye(2), rtol=1e-8)
    assert np.allclose(da.finite_difference(np.exp, np.zeros((1, 2)))[1], np.eye(2), rtol=1e-8)
    single = da.finite_difference(np.log10, x.astype(np.float32))[1].item()
    assert np.isclose(single, 1 / np.log(10) / 1.5e-9, rtol=1e-3)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("small", [1.0, 1e-3, 1e-6, 1e-9, 1e-13, 0.0])
def test_differences_find_a_step_where_a_component_is_small_by_chance(unit, small):
    """x of Lorenz-63 passes 0: a step of 6e-6 |x| alone would be lost in the round-off of y."""
    model, x = da.Lorenz63(), np.array([[1.5 * small, -7.0, 25.0]])
    known = unit if small == 0 else None  # of a 0 nothing can be known: the scale has to be told
    scale = None if known is None else known * np.full((1, 3), 8.0)
    J = da.finite_difference(lambda z: model(z / unit) * unit, x * unit, scale)[1]
    # entries are of order 1; a step of 1e-9 |x| leaves 1e-6, differences at their best 1e-10
    assert np.allclose(J, da.linearize(model, x)[1], rtol=0, atol=5e-6)
