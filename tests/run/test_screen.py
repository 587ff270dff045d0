"""The background check finds planted errors, and refuses good data as often as it should."""

from dataclasses import replace
from math import erfc

import numpy as np
import pandas as pd
import pytest
import torch

import dalearn as da

RNG = np.random.default_rng(4)
n, K = 6, 200
M = da.Linear(0.95 * np.linalg.qr(RNG.normal(size=(n, n)))[0])
PRIOR = da.Gaussian(np.zeros(n), np.ones(n))
SEE = da.Observation(da.Subset([0, 2, 5]), np.array([0.04, 0.09, 0.25]))
CLEAN = da.twin(M, SEE, PRIOR, K, noise=0.1, batch=4)
HIT = RNG.random(CLEAN.data.shape) < 0.02
SIGN = RNG.choice([-1, 1], CLEAN.data.shape)
BAD = replace(CLEAN, data=np.where(HIT, CLEAN.data + 9 * SIGN, CLEAN.data))


def rmse(problem, method=None):
    result = da.assimilate(problem, method or da.KF(), progress=False)
    return float(da.rmse(result).sel(stage="analysis").mean())


def test_planted_errors_are_found_and_the_analysis_is_nearly_that_without_them():
    found = da.screen(BAD, da.KF(), limit=4.0)
    gone = np.isnan(found.data)
    assert (gone & HIT).sum() >= 0.99 * HIT.sum()
    assert (gone & ~HIT).sum() <= 5
    never = replace(BAD, data=np.where(HIT, np.nan, BAD.data))  # as if we had known
    assert rmse(found) < 1.02 * rmse(never) < 0.8 * rmse(BAD)
    assert da.screen(found, da.KF()) is found


@pytest.mark.parametrize("limit", [1.0, 2.0])
def test_good_data_are_refused_as_often_as_a_gaussian_says(limit):
    many = da.twin(M, SEE, PRIOR, 1, noise=0.1, batch=4000, seed=1)
    share = np.isnan(da.screen(many, da.KF(), limit=limit).data).mean()
    p = erfc(limit / 2**0.5)
    assert abs(share - p) < 4 * (p * (1 - p) / 12_000) ** 0.5


@pytest.mark.parametrize(
    "method", [da.KF(), da.ETKF(8), da.LETKF(8, localization=da.Localization.ring(n, 9.0)),
               da.EnSRF(8), da.ExtendedKF(1.0), da.UKF()], ids=repr,
)  # fmt: skip
def test_the_screened_problem_gives_the_run_that_was_made(method):
    """The forecasts that judged are those of the filter on the data that passed."""
    short = replace(BAD[0], data=BAD[0].data[:40], truth=None, times=None)
    found = da.screen(short, method)
    assert np.isnan(found.data).any()
    assert da.screen(found, method) is found
    result = da.assimilate(found, method, keep=("innovation",), progress=False)
    y, h = short.data, result["predicted"].sel(stage="forecast").values
    least = 4 * np.array([0.2, 0.3, 0.5])
    gone = np.isnan(found.data)
    assert (abs(y - h)[gone] > np.broadcast_to(least, y.shape)[gone]).all()


def test_fields_moving_systems_noise_of_each_time_and_torch():
    move = da.Moving([SEE, da.Observation(da.Subset([1]), [0.04])] * (K // 2))
    data = np.array(BAD.data[0])
    data[1::2, 1:] = np.nan
    base = dict(noise=[da.Diagonal(np.full(n, 0.1))] * K, times=None, truth=None)
    problem = replace(BAD[0], observation=move, data=data, **base)
    found = da.screen(problem, da.KF())
    gone = np.isnan(found.data) & ~np.isnan(data)
    assert (gone & HIT[0])[::2].sum() >= HIT[0][::2].sum() - 1
    prior = da.Gaussian(torch.zeros(n).double(), torch.ones(n).double())
    moved = da.screen(replace(problem, prior=prior), da.KF())
    np.testing.assert_array_equal(np.isnan(np.asarray(moved.data)), np.isnan(found.data))


def test_experiments_that_share_their_data_are_judged_each_by_its_own_forecast():
    means = np.zeros((2, n))
    means[1] = 60.0
    prior = da.Gaussian(means, np.ones(n))
    shared = da.Problem(M, SEE, prior, BAD.data[0][:1])
    with pytest.warns(RuntimeWarning, match="refused .* % of the data"):
        found = da.screen(shared, da.KF())
    assert found.data.shape == (2, 1, 3)
    assert np.isnan(found.data).any(axis=(1, 2)).tolist() == [False, True]


@pytest.mark.parametrize("method", [da.KF(), da.ETKF(8)], ids=repr)
def test_the_units_of_the_state_and_of_the_data_do_not_matter(method):
    D, E = 10.0 ** RNG.uniform(-6, 6, n), 10.0 ** RNG.uniform(-6, 6, 3)
    H = SEE.operator(np.eye(n)).T
    one = replace(BAD[0], data=BAD[0].data[:60], truth=None, times=None)
    scaled = replace(
        one,
        model=da.Linear(D[:, None] * M.matrix / D),
        observation=da.Observation(E[:, None] * H / D, E**2 * SEE.noise.variance()),
        prior=da.Gaussian(np.zeros(n), D**2),
        data=E * one.data,
        noise=0.1 * D**2,
    )
    found, same = (np.isnan(da.screen(p, method).data) for p in (one, scaled))
    np.testing.assert_array_equal(found, same)
    assert found.any()


def test_a_filter_that_refuses_too_many_says_so():
    proud = replace(CLEAN, noise=da.Diagonal(np.full(n, 1e-4)))
    with pytest.warns(RuntimeWarning, match="screen refused .* % of the data"):
        da.screen(proud, da.KF())


def test_rows_of_a_table_are_flagged():
    frame = pd.DataFrame(
        {"time": np.repeat(np.arange(1, K + 1), 3), "sensor": [0, 2, 5] * K,
         "value": BAD.data[0].ravel(), "error": [0.2, 0.3, 0.5] * K}
    )  # fmt: skip
    frame = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    problem = da.Problem.from_table(frame, M, PRIOR, dt=1.0, noise=0.1)
    found = da.screen(problem, da.KF())
    np.testing.assert_array_equal(found.data, da.screen(BAD, da.KF()).data[0])
    table = found.table
    flagged = frame.index[(table["flag"] == "background").to_numpy()]
    gone = np.isnan(found.data)
    assert len(flagged) == gone.sum()
    place = table["sensor"].map({0: 0, 2: 1, 5: 2})
    assert gone[table["k"], place][flagged].all()


def test_a_smoother_is_refused():
    for method in (da.RTS(), da.Var4D(B=np.eye(n))):
        with pytest.raises(TypeError, match=r"screen wants a filter.*looks ahead"):
            da.screen(BAD, method)
    with pytest.raises(ValueError, match="limit must be"):
        da.screen(BAD, da.KF(), limit=0.0)
