"""A result goes into a file and comes back: seeds of any size, dates of any unit, every variable.

Here the only writer of netCDF is scipy's, of version 3: it has no integers of 64 bits, no lists of
text and no booleans.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import dalearn as da
from dalearn.array import Streams

SEE, PRIOR = da.Observation(da.identity, np.ones(3)), da.Gaussian(np.ones(3), 1.0)
PROBLEM = da.twin(da.Lorenz63(), SEE, PRIOR, 4)
BIG = 202601011230


def there_and_back(result, path):
    result.to_netcdf(path)
    with xr.open_dataset(path) as found:
        back = found.load()
    xr.testing.assert_equal(result, back)
    for name, value in result.attrs.items():
        assert np.array_equal(np.atleast_1d(back.attrs[name]), np.atleast_1d(value)), name
    return back


@pytest.mark.parametrize("like", [np.zeros(1), np.zeros(1, "f4"), torch.zeros(1)], ids=str)
@pytest.mark.parametrize("seed", [7, np.int64(7), 2**31, BIG, 2**63, 2**100])
def test_a_run_with_a_seed_of_any_size(seed, like, tmp_path):
    kept = ("members", "ranks", "innovation")
    result = da.assimilate(PROBLEM.to(like), da.ETKF(5), seed=seed, keep=kept, progress=False)
    back = there_and_back(result, tmp_path / "run.nc")
    assert int(back.attrs["seed"]) == seed
    assert da.diagnostics.fields(back)["mean"].shape == result["mean"].shape
    assert float(da.score(back)["rmse"][0]) == float(da.score(result)["rmse"][0])


def test_sweeps_batches_and_scores(tmp_path):
    methods = {"a": da.ETKF(5), "b": da.ParticleFilter(8)}
    for seeds in ([BIG, 5], [2**53 - 1, 0], 2):
        result = da.compare(PROBLEM, methods, seeds, keep=("members",), progress=False)
        back = there_and_back(result, tmp_path / "sweep.nc")
        if seeds != 2:
            assert back["seed"].values.tolist() == seeds
            there_and_back(result.sel(seed=seeds[0], scheme="b"), tmp_path / "one.nc")
    there_and_back(da.score(result), tmp_path / "score.nc")
    there_and_back(
        da.compare(PROBLEM, {1: da.ETKF(5), 2.5: da.ETKF(6)}, progress=False), tmp_path / "n"
    )
    batch = da.assimilate(
        da.twin(da.Lorenz63(), SEE, PRIOR, 4, batch=(2, 2)), da.ETKF(5), progress=False
    )
    there_and_back(batch, tmp_path / "batch.nc")


@pytest.mark.parametrize("freq", ["h", "D", "500ms", "1us", "7ns"])
def test_dates_of_any_unit(freq, tmp_path):
    for start in ("2026-01-01", "2026-01-01 00:00:00.25"):
        times = pd.date_range(start, periods=4, freq=freq)
        p = dataclasses.replace(PROBLEM, times=times)
        back = there_and_back(da.assimilate(p, da.ETKF(5), progress=False), tmp_path / "run.nc")
        assert back["time"].values.tolist() == times.values.astype("M8[ns]").tolist()


def test_a_big_seed_draws_numbers_of_its_own():
    draws = [Streams(0, s).normal((4,), np.ones(1)) for s in (2**64, 2**64 + 1, 2**100, 0, 1)]
    assert len({x[0] for x in draws}) == 5
    pair = Streams(0, 2**64, (2,)).normal((4,), np.ones(1))
    assert np.array_equal(pair, draws[:2])
    assert np.array_equal(pair, Streams(0, [2**64, 2**64 + 1], (2,)).normal((4,), np.ones(1)))
    x0 = np.ones(3)
    assert np.array_equal(
        *(da.simulate(da.Lorenz63(), x0, 2, noise=0.1, seed=2**100) for _ in "ab")
    )
