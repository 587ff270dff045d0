"""A user's own model and operator, through the same `assimilate`: functions, modules, fields."""

import dataclasses

import numpy as np
import pytest
import torch

import dalearn as da

N = 60


def run(problem, method=None, **settings):
    return da.assimilate(problem, method or da.ETKF(N, inflation=1.01), progress=False, **settings)


def late_rmse(result):
    return float(da.rmse(result).sel(stage="analysis").isel(time=slice(10, None)).mean())


def oscillator(x):
    """A plain function on the last axis."""
    q, p = x[..., 0], x[..., 1]
    return np.stack([0.98 * q + 0.2 * p, 0.98 * p - 0.2 * q], axis=-1)


def product(x):
    """A nonlinear operator of one's own."""
    return np.stack([x[..., 0], x[..., 0] * x[..., 1]], axis=-1)


PRIOR = da.Gaussian(np.array([3.0, 0.0]), da.Diagonal(np.ones(2)))


def test_a_plain_function_as_model_and_operator():
    observation = da.Observation(product, da.Diagonal([0.1, 0.5]))
    problem = da.twin(oscillator, observation, PRIOR, 40, noise=da.Diagonal([0.01, 0.01]))
    result = run(problem)
    assert late_rmse(result) < 0.2 < 0.5 * float(da.climatology(result))


class Turn(torch.nn.Module):
    """The same step as a module with a parameter, so that autograd has something to hold on to."""

    def __init__(self):
        super().__init__()
        self.A = torch.nn.Parameter(torch.tensor([[0.98, 0.2], [-0.2, 0.98]], dtype=torch.float64))

    def forward(self, x):
        assert x.ndim == 2, "a module sees exactly one leading axis where the problem has a shape"
        return x @ self.A.T


def test_a_module_is_a_model_and_equals_the_function():
    observation = da.Observation(da.identity, da.Diagonal([0.1, 0.1]))
    plain = da.twin(oscillator, observation, PRIOR, 20, batch=(2, 3))
    tensors = plain.to(torch.zeros(1, dtype=torch.float64))
    module = dataclasses.replace(tensors, model=Turn(), shape=(2,))
    wrapped = dataclasses.replace(plain, model=da.Surrogate(Turn()), shape=(2,))
    a, b, c = run(plain), run(module), run(wrapped)
    assert np.allclose(a["mean"], b["mean"], rtol=0, atol=1e-10)
    assert np.allclose(a["mean"], c["mean"], rtol=0, atol=1e-10)
    assert module.model.A.grad is None
    exact = run(module, da.KF())
    assert np.allclose(exact["mean"], run(plain, da.KF(da.finite_difference))["mean"], atol=1e-6)


class Blur(torch.nn.Module):
    """A network nobody trained, from (b, 2, 8, 8) to (b, 2, 8, 8)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular", bias=False)
        with torch.no_grad():
            self.conv.weight.mul_(0.2)
            self.conv.weight[[0, 1], [0, 1], 1, 1] += 0.9

    def forward(self, u):
        assert u.shape[1:] == (2, 8, 8)
        return torch.tanh(self.conv(u))


def speed(u):
    """(b, 2, 8, 8) -> (b, 64): a nonlinear operator on fields."""
    return (u[:, 0] ** 2 + u[:, 1] ** 2 + 1e-6).sqrt().reshape(len(u), -1)


def field_problem(observation, cycles=25):
    n = 2 * 8 * 8
    prior = da.Gaussian(torch.zeros(n, dtype=torch.float64), da.Diagonal(0.5 * np.ones(n)))
    noise = da.Diagonal(0.01 * np.ones(n))
    return da.twin(
        Blur().double().eval(), observation, prior, cycles, noise=noise, shape=(2, 8, 8)
    )


def test_fields_through_an_untrained_network_and_an_operator_on_fields():
    result = run(field_problem(da.Observation(speed, da.Diagonal(0.01 * np.ones(64)))))
    assert result.attrs["shape"] == (2, 8, 8)
    assert result["predicted"].sizes["y"] == 64
    error = da.rmse(result).sel(stage="analysis")
    assert float(error[-5:].mean()) < float(da.rmse(result).sel(stage="forecast")[0])


@pytest.mark.parametrize("method", [da.ETKF(N), da.EnKF(N), da.KF()], ids=repr)
def test_a_moving_network_with_missing_data(method):
    rng = np.random.default_rng(0)
    network = []
    for k in range(12):
        m = int(rng.integers(1, 7))
        where = rng.integers(0, 2, m), rng.integers(0, 8, m), np.full(m, k % 8)
        network.append(da.Observation(da.Subset(where), da.Diagonal(0.01 * np.ones(m))))
    if isinstance(method, da.KF):  # a linear model for the exact filter
        model = torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular").double()
    else:
        model = Blur().double()
    n = 128
    prior = da.Gaussian(torch.zeros(n, dtype=torch.float64), da.Diagonal(0.5 * np.ones(n)))
    problem = da.twin(model, da.Moving(network), prior, 12, shape=(2, 8, 8), batch=2)
    assert problem.data.shape == (2, 12, max(o.m for o in network))
    data = problem.data.clone()
    data[0, 3, 0] = torch.nan
    data[1, 5] = torch.nan
    problem = dataclasses.replace(problem, data=data)
    together = run(problem, method)
    assert np.isfinite(together["mean"]).all()
    counts = together["observation"].notnull().sum("y").values
    assert counts[1, 5] == 0
    assert (counts <= [o.m for o in network]).all()
    for b in range(2):  # gaps differ between the experiments, and each is as if alone
        alone = run(problem[b], method, seed=b)
        assert np.allclose(together["mean"][b], alone["mean"], rtol=0, atol=1e-9)
    before, after = (together["mean"].sel(stage=s)[1, 5] for s in ("forecast", "analysis"))
    assert np.allclose(before, after, rtol=0, atol=1e-12)  # nothing was seen then


def test_truth_of_another_model():
    observation = da.Observation(da.identity, da.Diagonal([0.1, 0.1]))
    problem = da.twin(
        oscillator,
        observation,
        PRIOR,
        60,
        noise=da.Diagonal([0.02, 0.02]),
        truth_model=lambda x: 0.98 * oscillator(x) + 0.1,
    )
    blind = dataclasses.replace(problem, noise=None)
    assert late_rmse(run(problem)) < late_rmse(run(blind, da.ETKF(N)))


def test_from_xarray_counts_the_steps_between_dates():
    import xarray as xr

    days = np.array(["2026-01-03", "2026-01-04", "2026-01-08"], "datetime64[D]").astype("M8[ns]")
    table = xr.DataArray([[1.0], [np.nan], [0.5]], dims=("time", "sensor"), coords={"time": days})
    problem = da.Problem.from_xarray(
        table,
        oscillator,
        da.Observation(da.Subset([0]), da.Diagonal([0.1])),
        PRIOR,
        start=np.datetime64("2026-01-01"),
        dt=0.5,
        unit=np.timedelta64(1, "D"),
    )
    assert list(problem.steps) == [4, 2, 8]
    result = run(problem)
    assert (result["time"].values == days).all()
    gap = result["mean"].sel(stage="analysis") - result["mean"].sel(stage="forecast")
    assert abs(gap[1]).max() < 1e-12
    assert abs(gap[2]).max() > 0
