"""with_forecast: further times without data, for every method; held to the model and to peers."""

import dataclasses

import numpy as np
import pytest
import torch
from changing import Given, changing, kalman
from examples import METHODS, linear_gaussian, lorenz63
from lengths import full

import dalearn as da
from dalearn.array import array_namespace


def run(problem, method, **settings):
    return da.assimilate(problem, method, progress=False, **settings)


@pytest.mark.filterwarnings("ignore::dalearn.NotConverged")
@pytest.mark.parametrize("example", METHODS[:: full(2, 1)], ids=str)
def test_every_method_goes_on_and_what_was_stays(example):
    noise = {"noise": da.Diagonal(0.02 * np.ones(3))} if example.noisy else {}
    p = linear_gaussian(cycles=4) if example.linear_only else lorenz63(cycles=4, **noise)
    long = run(da.with_forecast(p, 2), example.method)
    assert long.sizes["time"] == 6
    assert np.isfinite(long["mean"]).all()
    assert np.isnan(long["truth"][4:]).all()
    assert np.isnan(long["observation"][4:]).all()
    ahead = long.isel(time=slice(4, None))
    for name in ("mean", "std"):
        analysis = ahead[name].sel(stage="analysis")
        assert np.allclose(ahead[name].sel(stage="forecast"), analysis, rtol=1e-9), name
    if not getattr(example.method, "window", None) and not example.yardstick:
        short = run(p, example.method)
        stages = ["forecast", "analysis"]
        a, b = long.isel(time=slice(0, 4)).sel(stage=stages), short.sel(stage=stages)
        assert np.allclose(a["mean"], b["mean"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("method", [da.KF(), da.RTS(), da.ExtendedRTS(lag=1), da.UKF()], ids=repr)
def test_means_and_variances_are_those_of_the_model(method, library):
    p = linear_gaussian(cycles=3, batch=(2,))
    M, Q = p.model.A, p.noise.matrix()
    last = run(p, method).sel(stage="analysis").isel(time=-1)
    whole = list(method.run(p.validated(), None))[-1].analysis.cov.matrix()
    p = p if library == "numpy" else p.to(torch.zeros(1, dtype=torch.float64))
    found = run(da.with_forecast(p, 3, steps=[2, 1, 4]), method).sel(stage="analysis")
    x, P = last["mean"].values, whole
    for k, steps in zip((3, 4, 5), (2, 1, 4), strict=True):
        for _ in range(steps):
            x, P = x @ M.T, M @ P @ M.T + Q
        assert np.allclose(found["mean"].isel(time=k), x, rtol=0, atol=1e-10)
        wanted = np.sqrt(np.einsum("...ii->...i", P))
        assert np.allclose(found["std"].isel(time=k), wanted, rtol=0, atol=1e-10)
    assert list(found["time"].values) == [2, 4, 6, 8, 9, 13]


def test_what_changes_with_time_is_told():
    """F_t, b_t, Q_t, H_t beyond the data as in the whole problem, whose last data are gaps."""
    whole, parts = changing()
    short = dataclasses.replace(
        whole,
        data=whole.data[:3],
        steps=[2, 1, 3],
        noise=whole.noise[:3],
        inputs=whole.inputs[:6],
        observation=da.Moving(whole.observation.observations[:3]),
    )
    found = da.with_forecast(
        short,
        1,
        steps=[2],
        inputs=whole.inputs[6:],
        noise=whole.noise[4],
        observation=whole.observation.observations[4],
    )
    gone = whole.data.copy()
    gone[3:] = np.nan
    wanted = kalman(dataclasses.replace(whole, data=gone), *parts)[0][4]
    got = run(found, da.KF()).sel(stage="forecast").isel(time=3)
    assert np.allclose(got["mean"], wanted[0], rtol=0, atol=1e-10)
    assert np.allclose(got["std"] ** 2, np.diag(wanted[1]), rtol=0, atol=1e-10)
    H = whole.observation.observations[4].operator.matrix
    assert np.allclose(got["predicted"], H @ wanted[0], rtol=0, atol=1e-10)


def test_the_clock_goes_on_and_so_do_labels():
    def swing(x, t):
        return 0.9 * x + array_namespace(x).cos(t)

    swing.dt = 0.5
    see, prior = da.Observation(da.identity, [0.1]), da.Gaussian(np.zeros(1), [1.0])
    p = da.twin(swing, see, prior, 6, steps=2, inputs="time")
    short = dataclasses.replace(p, data=p.data[:4], steps=2, truth=p.truth[:4], inputs="time")
    on_torch = short.to(torch.zeros(1, dtype=torch.float64))
    assert torch.allclose(da.with_forecast(on_torch, 2).inputs, torch.as_tensor(p.inputs))
    for given in (None, "time"):
        longer = da.with_forecast(short, 2, inputs=given)
        assert np.allclose(longer.inputs, p.inputs)
        assert np.allclose(longer.time, p.time)
    days = np.array(["2026-01-01", "2026-01-03", "2026-01-05", "2026-01-07"], "M8[D]")
    dated = da.with_forecast(dataclasses.replace(short, times=days), 3, steps=[2, 1, 3])
    later = np.array(["2026-01-09", "2026-01-10", "2026-01-13"], "M8[D]")
    assert (dated.time[4:] == later).all()
    own = np.array(["2026-02-01", "2026-02-08"], "M8[D]")
    assert (
        da.with_forecast(dataclasses.replace(short, times=days), 2, times=own).time[4:] == own
    ).all()
    finer = da.with_forecast(dataclasses.replace(short, times=days[[0, 1, 2, 3]] - days[0]), 1)
    assert finer.time[-1] == np.timedelta64(8, "D")
    odd = np.array(["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"], "M8[D]")
    odd = da.with_forecast(dataclasses.replace(short, times=odd), 2, steps=[1, 1])
    assert (odd.time[-2:] == np.array(["2026-01-04T12", "2026-01-05T00"], "M8[h]")).all()
    numbers = da.with_forecast(dataclasses.replace(short, times=10.0 + np.arange(4)), 2)
    assert np.allclose(numbers.time, 10.0 + np.arange(6))


def test_a_forecast_is_verified_and_its_intervals_hold():
    """1000 experiments: 90 % intervals up to ten times ahead hold 90 % of the truths."""
    p = linear_gaussian(cycles=15, batch=(1000,))
    short = dataclasses.replace(p, data=p.data[:, :5], steps=2, truth=p.truth[:, :5])
    found = run(da.with_forecast(short, 10, truth=p.truth[:, 5:]), da.KF())
    ahead = found.isel(time=slice(5, None)).sel(stage="forecast")
    inside = abs(ahead["mean"] - ahead["truth"]) < 1.6449 * ahead["std"]
    # 1000 independent experiments: 0.0095 is one standard deviation at each time and component
    assert abs(inside.mean("case") - 0.9).max() < 0.045
    assert da.rmse(found).sel(stage="forecast").notnull().all()


def test_sensors_that_move_and_that_come_newly():
    rng = np.random.default_rng(0)
    p = linear_gaussian(cycles=3)
    see = [da.Observation(rng.normal(size=(m, 3)), np.ones(m)) for m in (1, 2, 2)]
    data = rng.normal(size=(3, 2))
    data[0, 1] = np.nan
    p = dataclasses.replace(p, observation=da.Moving(see), data=data, truth=None)
    assert da.with_forecast(p, 2).observation.at(4) is see[2]
    more = da.Observation(rng.normal(size=(4, 3)), np.ones(4))
    longer = da.with_forecast(p, 2, observation=more)
    assert longer.data.shape == (5, 4)
    assert np.isnan(longer.data[:3, 2:]).all()
    a, b = run(longer, da.KF()), run(p, da.KF())
    assert np.allclose(a["mean"][:3], b["mean"], rtol=0, atol=1e-12)
    assert a["predicted"].sel(stage="forecast")[3:].notnull().all()


def told():
    u = np.sin(np.arange(3.0))
    p = linear_gaussian(cycles=3)

    def model(x, u):
        return 0.9 * x + u

    return dataclasses.replace(p, model=model, steps=1, inputs=u, truth=None)


@pytest.mark.parametrize(
    ("problem", "settings", "message"),
    [
        (linear_gaussian, {"cycles": 0}, "cycles"),
        (linear_gaussian, {"steps": [1]}, "steps has 1 numbers, wanted one, or 2"),
        (linear_gaussian, {"steps": [1, 0]}, "steps"),
        (lambda: changing()[0], {"inputs": np.ones((2, 12))}, "0 to 3 model steps .* steps="),
        (lambda: changing()[0], {"steps": 1, "inputs": np.ones((2, 12))}, "noise="),
        (told, {}, r"told inputs \(3,\); wanted inputs= for the 2 further steps"),
        (told, {"inputs": np.ones(3)}, r"inputs have shape \(3,\), wanted \(2,\)"),
        (told, {"inputs": np.ones((2, 1))}, r"those of the data \(3,\); wanted the same"),
        (linear_gaussian, {"inputs": np.ones(4)}, "the problem has none"),
        (linear_gaussian, {"truth": np.ones((3, 3))}, r"shape \(3, 3\), wanted \(..., 2, 3\)"),
        (linear_gaussian, {"times": [30.0]}, r"times have shape \(1,\), wanted \(2,\)"),
        (linear_gaussian, {"times": [1.0, 2.0]}, "times must increase"),
        (linear_gaussian, {"times": np.array([1, 2], "M8[D]")}, "wanted the same kind"),
        (
            lambda: dataclasses.replace(linear_gaussian(), times=[1.0, 2.0, 4.0, 8.0, 16.0]),
            {},
            "not as far apart as their steps; wanted times=",
        ),
    ],
    ids=lambda v: "" if callable(v) else str(v),
)
def test_what_is_not_known_is_asked_for(problem, settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        da.with_forecast(problem(), settings.pop("cycles", 2), **settings)


def test_given_is_told_as_a_row():
    """A model told matrices as rows goes on with rows of the same width only."""
    p, _ = changing()
    assert isinstance(p.model, Given)
    with pytest.raises(ValueError, match="wanted the same but for the number of rows"):
        da.with_forecast(p, 1, steps=1, inputs=np.ones((1, 3)), noise=da.Diagonal(np.ones(3)))
