"""4DVarNet and SDA on Lorenz-63: splits, observing systems, the particle reference, weights."""

from dataclasses import replace

import numpy as np
import pytest

import dalearn as da
from dalearn.cases import lorenz63_fourdvarnet as fourdvarnet
from dalearn.cases import lorenz63_sda as sda


@pytest.fixture(scope="module")
def chains():
    return sda.chains()


def test_windows_are_those_of_runs_that_stand_in_one_part():
    train, valid, test = (fourdvarnet.windows(part) for part in fourdvarnet.RUNS)
    assert train.shape == (500, 20, 200, 3)
    assert valid.shape == (100, 4, 200, 3)
    on = da.Lorenz63()(train[:, 0, -1])
    assert np.allclose(on, train[:, 1, 0])  # one window goes on where the last ended
    found = da.diagnostics.audit(
        train=train[:, :2].reshape(500, -1, 3),
        validation=valid.reshape(100, -1, 3),
        test=test.reshape(100, -1, 3),
    )
    assert found.ok, str(found)


def test_data_are_every_eighth_state_with_errors_of_variance_two():
    x = fourdvarnet.windows("validation").reshape(-1, 200, 3)
    for seen, count in (("all", 75), ("x", 25)):
        y = fourdvarnet.observed(x, seen)
        there = np.isfinite(y)
        assert (there.sum((1, 2)) == count).all()
        assert np.flatnonzero(there[0, :, 0]).tolist() == list(range(0, 200, 8))
        assert abs(np.nanvar(y - x) - 2) < 0.1  # of 10 000 numbers and more: 2 (2 / 10^4)^1/2


@pytest.mark.parametrize("name", ["all", "model"])
def test_shipped_solvers_reach_what_their_card_says(name):
    x = fourdvarnet.windows("validation").reshape(-1, 200, 3)
    y = fourdvarnet.observed(x, "all", 1)
    method = fourdvarnet.trained(name)
    card = da.neural.read_card(da.neural.shipped(f"fourdvarnet-{name}"))
    assert abs(fourdvarnet.rmse(method, x, y) - card.metric["RMSE"]) < 2e-3


def test_chains_are_the_published_ones(chains):
    """Their variances are those that the published unit, (8, 9, 8.6), was taken from."""
    assert [len(chains[part]) for part in chains] == [820, 102, 102]
    assert np.allclose(chains["train"].std((0, 1)), sda.UNIT, rtol=0.05)
    step = chains["train"][:, 1:] - da.Lorenz63(dt=sda.DT)(chains["train"][:, :-1])
    assert np.allclose(step.var((0, 1)), sda.DT, rtol=0.01)


def test_the_reference_is_the_smoother_of_a_linear_problem():
    """Backwards through 2000 particles, 1000 trajectories, beside RTS: errors of sampling."""
    see = da.Observation([[1.0, 0.0]], [0.05])
    prior = da.Gaussian(np.zeros(2), [1.0, 1.0])
    A = np.array([[0.9, 0.2], [-0.2, 0.9]])
    p = da.twin(da.Linear(A), see, prior, 6, noise=sda.DT * np.ones(2), seed=1)
    out = da.assimilate(p, da.RTS(), progress=False).sel(stage="smoothed")
    for draw in (sda.reference, sda.ancestors):
        x = draw(p, 1000, members=4000, first=prior)
        assert (abs(x.mean(0) - out["mean"]) < 0.2 * out["std"]).all()
        assert np.allclose(x.std(0), out["std"], rtol=0.15)
    step = x[:, 1:] - x[:, :-1] @ A.T
    assert np.isclose(step.var(), sda.DT, rtol=0.25)  # whole paths: consecutive states belong


def test_measures_of_trajectories(chains):
    x = chains["test"][:, :65]
    # 64 steps of three normal numbers of variance dt
    assert abs(sda.log_prior(x) + 96 * (np.log(2 * np.pi * sda.DT) + 1)) < 3
    assert sda.wasserstein(x, x[::-1]) == 0
    assert np.isclose(sda.wasserstein(x, x + 1.0), 195**0.5)
    p = replace(sda.problem(x[:1], "hi"), truth=None)
    fit = sda.log_likelihood(x[:1], p[0], "hi")
    assert abs(fit + 65 / 2 * (np.log(2 * np.pi * 0.0625) + 1)) < 25


def test_the_shipped_smoother_is_drawn_to_the_data(chains):
    """Few samples, half of the steps: between the data at most half of the climate's spread."""
    p = sda.problem(chains["test"][0, :65], "lo").validated()
    x = sda.trained(members=16, steps=128).trajectories(p)
    error = (((x.mean(0) - p.truth) / sda.UNIT) ** 2).mean() ** 0.5
    assert error < 0.5
    assert abs((x[:, ::8, 0] - p.truth[::8, 0]) / 8).mean() < 0.3
    with pytest.warns(da.Unstable, match="32 steps are too long"):
        sda.trained(members=2, steps=32, corrections=0).trajectories(p)
