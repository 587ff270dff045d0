"""The set-ups of neural incremental assimilation, and what the shipped networks do on them."""

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.cases import neural_incremental as cases
from dalearn.cases.neural_incremental_setup import KNOWN, SETUPS, spring
from dalearn.neural import read_card, shipped

SHIPPED = ("lorenz63-05", "lorenz63-025", "pendulum")


def test_trajectories_obey_the_model_and_parts_differ():
    for setup in SETUPS.values():
        x = setup.trajectories("validation", 40)
        assert x.shape == (40, setup.T, setup.n)
        e = x[:, 1:] - setup.model(x[:, :-1])
        assert e.std() == pytest.approx(setup.noise**0.5, rel=0.05, abs=1e-12)
        found = da.audit(train=setup.trajectories("train", 50), validation=x, test=x[:5] + 1)
        found.check()


def test_the_start_of_the_code_and_that_of_the_paper():
    far, near = (SETUPS[f"lorenz63-{k}"].trajectories("test", 4000)[:, 0] for k in ("05", "025"))
    assert np.allclose(far.mean(0), [0, 0, 25], atol=0.6)
    assert np.allclose(far.std(0), 10, atol=0.4)
    assert near[:, 2].min() > 0  # on the attractor
    assert np.allclose(near.std(0), [7.9, 9.0, 8.6], atol=0.4)


def test_the_spring_is_the_law_of_its_own_draws():
    setup = SETUPS["pendulum"]
    mean, cov = spring(setup)
    dt, rng = setup.model.dt, np.random.default_rng(0)
    x = rng.normal(size=(20_000, 2)) * [1, 0.1]
    found = [x]
    for _ in range(setup.T - 1):
        force = -2 * x[:, 0] - 0.1 * x[:, 1]
        x = x + dt * np.stack((x[:, 1], force), 1) + 0.01 * dt * rng.normal(size=x.shape)
        found.append(x)
    drawn = np.cov(np.stack(found, 1).reshape(len(x), -1), rowvar=False)
    assert mean.shape == (200,)
    assert np.abs(drawn - cov).max() < 0.03 * np.abs(cov).max()  # 4 / sqrt(20 000)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_network_beats_its_first_guess_as_its_card_says(name):
    card, method = read_card(shipped(f"neural-incremental-{name}")), cases.trained(name)
    found = cases.errors(method, name)
    for label, value in card.metric.items():
        assert found[label] == pytest.approx(value, abs=0.02)
    last = f"level {method.levels} of {method.levels}"
    assert found[last] < 0.6 * found["first guess"]
    assert shipped(f"neural-incremental-{name}").stat().st_size < 1e6


def test_a_window_of_a_problem_beside_4d_var():
    """Unseen first times, in physical units: nearer the truth than the law that it starts from."""
    setup, method = SETUPS["lorenz63-025"], cases.trained("lorenz63-025")
    x = setup.trajectories("test", 30)
    std = 0.05 * method.net.std.double().numpy().mean(0)
    rng = np.random.default_rng(1)
    y = np.full((30, 31, 1), np.nan)
    for t in range(5, 32, 8):
        assert 5 not in KNOWN
        y[:, t - 1, 0] = x[:, t, 0] + std[0] * rng.normal(size=30)
    mean, cov = (v.double().numpy()[0] for v in method.net.climatology())
    prior = da.Gaussian(mean, da.Dense(cov + 1e-6 * np.eye(3)))
    see = da.Observation(da.Subset([0]), std[:1] ** 2)
    Q = da.Diagonal(np.full(3, setup.noise))
    problem = da.Problem(setup.model, see, prior, y, noise=Q, truth=x[:, 1:])
    unit = method.net.std.double().numpy()[1:]
    errors = {}
    for label, one in (("network", method), ("4D-Var", da.WeakVar4D(iterations=100, damping=1.0))):
        out = da.assimilate(problem, one, progress=False)
        e = (out["mean"].sel(stage="smoothed").values - x[:, 1:]) / unit
        errors[label] = float(np.sqrt((e**2).mean()))
        if label == "network":
            spread = out["std"].sel(stage="analysis").values / unit
            assert 0.5 < np.sqrt((spread**2).mean()) / errors[label] < 2
    assert errors["network"] < 0.25
    assert errors["4D-Var"] < errors["network"] < 3 * errors["4D-Var"]


def test_a_network_is_trained_by_one_call():
    method = cases.fitted("lorenz63-05", 3, epochs=1, count=600, hidden=(8,))
    assert method.net.trained
    assert not torch.equal(method.net.root, torch.zeros_like(method.net.root))
