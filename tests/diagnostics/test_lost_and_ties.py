"""Runs that lost the truth, and ranks of a truth that members equal."""

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr
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


PARTS = {  # a result that somebody has cut down, and what is left of it
    "one time": lambda r: r.isel(time=0),
    "one stage": lambda r: r.sel(stage="analysis"),
    "one component": lambda r: r.isel(x=0),
    "no std": lambda r: r.drop_vars("std"),
    "no mean": lambda r: r.drop_vars("mean"),
    "no data": lambda r: r.drop_vars(["observation", "predicted"]),
    "another name": lambda r: r.rename(x="component"),
    "whole numbers": lambda r: r.assign(truth=r.truth.round().astype(int)),
    "another order": lambda r: r.transpose(*reversed(list(r.dims))).isel(stage=[1, 0]),
    "pieces": lambda r: r.chunk(time=7),
}
SCORES = (
    da.rmse, da.spread, da.crps, da.rank_histogram, da.score, da.lost, da.spread_skill,
    da.effective_size, da.effective_dimension, da.climatology, da.desroziers,
)  # fmt: skip


@pytest.fixture(scope="module")
def whole():
    kept = ("members", "ranks", "innovation")
    return run(lorenz63(cycles=40, batch=(3,)), da.ETKF(10), keep=kept)


def what_is_missing(score, result):
    """Empty where a score can be had."""
    try:
        score(result)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_result_gives_the_same_or_what_is_missing_is_named(whole, part):
    given, same = PARTS[part](whole), 0
    rounded = whole if part != "whole numbers" else given.assign(truth=given.truth.astype(float))
    for score in SCORES:
        if missing := what_is_missing(score, given):
            assert "this needs " in missing, (score.__name__, missing)
            continue
        found, wanted = score(given), score(rounded)
        cut = part in ("one time", "one stage") and "time" in wanted.dims
        wanted = PARTS[part](wanted) if cut else wanted
        each = wanted.data_vars if isinstance(wanted, xr.Dataset) else [wanted.name]
        for name in each if part != "one component" else ():  # a score over the others it is not
            a, b = (x[name] if isinstance(x, xr.Dataset) else x for x in (found, wanted))
            a = a.transpose(*b.dims).sel({k: b[k] for k in {"stage"} & set(b.dims)})
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=f"{score.__name__} {name}")
        same += 1
    assert same


def test_functions_that_use_their_memory_again_are_followed_and_not_trusted():
    """A buffer, and a model that writes into its input: trajectories and rates are right."""
    held = {}

    def buffered(x):
        return np.multiply(x, 0.9, out=held.setdefault(x.shape, np.empty(x.shape)))

    def in_place(x):
        x *= 0.9
        return x

    start = np.ones(3)
    for step in (buffered, in_place):
        path = da.trajectory(step, start, 4)
        np.testing.assert_allclose(path[:, 0], 0.9 ** np.arange(5), rtol=1e-15)
        assert (start == 1).all()
    rates, _ = da.lyapunov_exponents(buffered, np.ones((2, 3)), 20)
    np.testing.assert_allclose(rates, np.log(0.9), rtol=1e-6)  # of differences of 1e-6
