"""Runs that lost the truth, and ranks of a truth that members equal."""

import dataclasses

import numpy as np
import pytest
import torch
from examples import linear_gaussian, lorenz63

import dalearn as da


def run(problem, method, seed=0, **settings):
    return da.assimilate(problem, method, seed=seed, progress=False, **settings)


@pytest.fixture(scope="module")
def tracked():
    return run(lorenz63(cycles=40, batch=(3,)), da.ETKF(10, inflation=1.05))


def with_errors(result, error, spread):
    """The analysis off by `error` climatological deviations, and claiming `spread` of them."""
    truth = result["truth"].astype(float)
    climate = truth.std("time")
    sign = xr_sign(result)
    mean = (truth + error * climate * sign).broadcast_like(result["mean"])
    std = (spread * climate).broadcast_like(result["std"])
    new = {"mean": mean, "std": std}
    return result.assign({k: v.transpose(*result[k].dims) for k, v in new.items()})


def xr_sign(result):
    import xarray as xr

    return xr.ones_like(result["time"], dtype=float) * (-1.0) ** result["cycle"]


@pytest.mark.parametrize(
    ("error", "spread", "wanted"),
    [
        (0.1, 0.1, False),
        (0.4, 1e-9, False),  # wrong, and too sure, but with the truth
        (0.6, 0.4, False),  # what few data allow
        (0.95, 0.9, False),
        (1.1, 1.0, False),  # knows no more than the climate, and says so
        (0.6, 0.2, True),
        (1.0, 1e-9, True),  # collapsed
        (1.0, 0.0, True),
        (1.6, 1.6, True),  # honest, and useless
        (30.0, 100.0, True),
        (np.nan, 0.1, True),
    ],
)
def test_lost_is_an_error_that_the_spread_does_not_own(tracked, error, spread, wanted):
    assert (da.lost(with_errors(tracked, error, spread)) == wanted).all()
    one = with_errors(tracked, error, spread).isel(case=1)
    assert bool(da.lost(tracked.where(tracked["case"] != 1, one))[1]) == wanted
    assert not da.lost(tracked).any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_unit_matters_to_lost(tracked, dtype):
    """Nor which component has the large numbers: the error of each is in its own climate."""
    power = 6 if dtype is np.float64 else 3
    for error, spread in ((0.6, 0.4), (0.6, 0.2), (0.4, 0.4)):
        a = with_errors(tracked, error, spread)
        units = tracked["x"].astype(float) * 0 + np.array([10.0**-power, 1, 10.0**power])
        b = a.assign({k: (a[k] * units).astype(dtype) for k in ("mean", "std", "truth")})
        assert da.lost(a).identical(da.lost(b))


def test_a_truth_that_never_changes_has_no_climate(tracked):
    constant = tracked.copy()
    for name in ("truth", "mean"):
        constant[name] = constant[name].where(constant["x"] != 2, 300.0)
    assert not da.lost(constant).any()
    constant["mean"] = constant["mean"].where(constant["x"] != 2, 310.0)
    assert not da.lost(constant).any()


def test_a_filter_of_bad_data_is_not_lost_and_one_of_wrong_data_is():
    good = lorenz63(cycles=60, batch=(3,))
    wrong = dataclasses.replace(good, data=np.roll(good.data, 1, axis=0))  # of another truth
    assert da.lost(run(wrong, da.ETKF(10))).all()
    problem = linear_gaussian(cycles=60, batch=(4,))
    R = da.Dense(400 * problem.observation.noise.matrix())
    sparse = dataclasses.replace(
        problem, observation=dataclasses.replace(problem.observation, noise=R)
    )
    result = run(sparse, da.ETKF(40))
    error = da.rmse(result).sel(stage="analysis").mean("time") / da.climatology(result)
    assert (error > 0.6).all()  # the old line was 0.5
    assert not da.lost(result).any()


def rounded(library, weighted=False):
    """States that are whole numbers: members often equal the truth."""

    def model(x):
        xp = da.array.array_namespace(x)
        return xp.clip(xp.round(x), -1, 1)

    prior = da.Gaussian(np.zeros(2), np.ones(2))
    observation = da.Observation(da.identity, da.Diagonal([1.0, 1.0]))
    rng = np.random.default_rng(5)
    truth = np.clip(np.round(rng.normal(size=(300, 1, 2))), -1, 1)
    p = da.Problem(model, observation, prior, truth + rng.normal(size=truth.shape), truth=truth)
    return p if library == "numpy" else p.to(torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("method", [da.ETKF(4), da.ParticleFilter(4)], ids=["equal", "weighted"])
def test_ties_in_ranks_are_broken_at_random(library, method):
    problem = rounded(library)
    result = run(problem, method, keep=("ranks",))
    counts = da.rank_histogram(result).sum("case").values
    # 600 draws of 5 ranks, each with a chance of 1/5: 120 +- 10
    assert (np.abs(counts - 120) < 45).all(), counts
    again = run(problem, method, keep=("ranks",))
    assert result["ranks"].identical(again["ranks"])
    bare = run(problem, method)
    assert bare["mean"].identical(result["mean"])  # the ties draw from a stream of their own
    if library == "numpy":
        alone = run(problem[7], method, seed=7, keep=("ranks",))
        assert np.array_equal(alone["ranks"], result["ranks"][7])
