"""From dates and numbers to whole model steps: nothing shifted, cut off or guessed in silence."""

import dataclasses
import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import dalearn as da
from dalearn.problem.times import whole_steps

PRIOR = da.Gaussian(np.zeros(1), da.Diagonal([1.0]))
SEE = da.Observation(da.identity, da.Diagonal([1.0]))
HOUR = np.timedelta64(1, "h")
HOURS = pd.date_range("2026-01-01 01:00", periods=3, freq="h")
TOKYO = HOURS.tz_localize("Asia/Tokyo")
UTC = TOKYO.tz_convert("UTC").tz_localize(None).values.tolist()
SECONDS = np.datetime64("2026-01-01T00:00:00", "s") + np.arange(1, 4).astype("m8[s]")


def still(x):
    return x + 0


def read(times, start, dt=1.0, unit=HOUR):
    log = xr.DataArray(np.zeros(len(times)), dims="time", coords={"time": times})
    return da.Problem.from_xarray(log, still, SEE, PRIOR, start=start, dt=dt, unit=unit)


def of(text, unit="us"):
    return np.datetime64(text, unit)


RIGHT = [
    # the same instants, whatever says them
    (HOURS, "2026-01-01", 1.0, HOUR),
    (HOURS, pd.Timestamp("2026-01-01"), 1.0, pd.Timedelta(hours=1)),
    (HOURS, datetime.datetime(2026, 1, 1), 1.0, datetime.timedelta(hours=1)),
    (HOURS, datetime.date(2026, 1, 1), 1.0, "h"),
    (HOURS, np.datetime64("2026-01-01"), 60.0, "m"),
    (HOURS, np.datetime64("2026"), 3600, "s"),
    (HOURS, xr.DataArray(of("2026-01-01")), 1 / 24, np.timedelta64(1, "D")),
    (HOURS.values.astype("M8[s]"), "2026-01-01T00:00", 1.0, HOUR),
    (np.array(["2026-01-01T01", "2026-01-01T02"]), "2026-01-01T00", 1.0, HOUR),
    # zones on both sides become UTC
    (TOKYO, "2026-01-01T00:00+09:00", 1.0, HOUR),
    (TOKYO, pd.Timestamp("2025-12-31 15:00", tz="UTC"), 1.0, HOUR),
    (TOKYO.tz_convert("Europe/Berlin"), "2025-12-31 15:00Z", 1.0, HOUR),
    (
        pd.date_range(
            "2026-03-29 00:00", periods=5, freq="h", tz="Europe/Berlin"
        ),  # an hour skipped
        pd.Timestamp("2026-03-28 23:00", tz="Europe/Berlin"),
        1.0,
        HOUR,
    ),
    (
        [datetime.datetime(2026, 1, 1, h, tzinfo=datetime.UTC) for h in (1, 2)],
        datetime.datetime(2026, 1, 1, 9, tzinfo=datetime.timezone(datetime.timedelta(hours=9))),
        1.0,
        HOUR,
    ),
    # parts of a second
    (SECONDS, of("2026-01-01T00:00:00"), 1.0, np.timedelta64(1, "s")),
    (SECONDS + np.timedelta64(500, "ms"), "2026-01-01T00:00:00.5", 1.0, "s"),
    (SECONDS[:1], "2026-01-01T00:00:00.999999999", 1e-9, "s"),
    (np.array([1], "M8[s]"), np.datetime64("1970-01-01T00:00:00.999999999999", "ps"), 1.0, "ps"),
    # numbers
    (np.arange(1, 4), 0, 1.0, None),
    (np.arange(1871, 1874), 1870, 1, None),
    (np.arange(1, 4, dtype=np.uint8), np.int64(0), 1.0, None),
    (np.array([0.1 * k for k in range(1, 200)]), 0.0, 0.1, None),
    (np.cumsum(np.full(10_000, 0.1)), None, 0.1, None),
    (np.arange(1, 2000, dtype="f4") * np.float32(0.1), 0, 0.1, None),
    (1e6 + 0.1 * np.arange(1, 50), 1e6, 0.1, None),
    (np.arange(1, 4, dtype=">i4"), 0, 1.0, None),
    (np.arange(1, 4).astype("m8[h]"), 0, 1.0, HOUR),
    (np.arange(1, 4).astype("m8[D]"), np.timedelta64(12, "h"), 12.0, HOUR),
    (np.arange(1, 4).astype("m8[D]"), datetime.timedelta(hours=12), 12.0, HOUR),
    (np.arange(0, 3).astype("m8[D]"), np.timedelta64(-12, "h"), 12.0, HOUR),
    (np.arange(1, 4), 0, np.array(1.0), None),
    (np.arange(1, 4), 0, torch.tensor(1.0), None),
]


@pytest.mark.parametrize("case", range(len(RIGHT)))
def test_the_same_instants_whatever_says_them(case):
    times, start, dt, unit = RIGHT[case]
    problem = read(times, start, dt, unit)
    steps = np.asarray(problem.steps)
    if np.asarray(times).dtype.kind == "m" and start != 0:
        assert steps.tolist() == [1, 2, 2]
    else:
        assert (steps == 1).all()
    assert problem.time.dtype.kind in "iufmM"


V, T = ValueError, TypeError
WRONG = [
    (lambda: read(HOURS, TOKYO[0]), V, ["start has one and the times have none"]),
    (lambda: read(HOURS, "2026-01-01T00:00Z"), V, ["start has one and the times"]),
    (lambda: read(TOKYO, "2026-01-01"), V, ["the times have a time zone and start has none"]),
    (lambda: read([HOURS[0], TOKYO[1]], "2026"), V, ["time zone in some places only"]),
    (lambda: read(SECONDS, "2026-01-01T00:00:00.5", 1.0, "s"), V, ["observation 0", "0.5 model"]),
    (lambda: read(HOURS, np.int64(0)), V, ["start=", "date of the prior", "met np.int64(0)"]),
    (lambda: read(HOURS, None), V, ["pass start=", "met None"]),
    (lambda: read(HOURS, 2026.0), V, ["pass start=", "2026.0"]),
    (lambda: read(HOURS, "yesterday"), V, ["start must be dates such as", "'yesterday'"]),
    (lambda: read(HOURS, pd.Period("2026-01-01", "D")), T, ["start are periods", "to_timestamp"]),
    (lambda: read(HOURS, np.datetime64("NaT")), V, ["start hold NaT"]),
    (lambda: read(HOURS, pd.NaT), V, ["start hold NaT"]),
    (lambda: read(HOURS, "2026-01-01", unit=1), T, ["unit must be a timedelta", "met 1"]),
    (lambda: read(HOURS, "2026-01-01", unit=1.0), T, ["unit must be a timedelta", "met 1.0"]),
    (lambda: read(HOURS, "2026-01-01", unit=None), V, ["times are dates; pass unit="]),
    (lambda: read(HOURS, "2026-01-01", unit="hour"), V, ["unit must be", "'hour'", "D, h, m"]),
    (lambda: read(HOURS, "2026-01-01", unit="M"), V, ["months and years are not of one length"]),
    (lambda: read(HOURS, "2026", unit=np.timedelta64(1, "M")), V, ["not of one length"]),
    (lambda: read(HOURS, "2026", unit=np.timedelta64(1, "Y")), V, ["not of one length"]),
    (lambda: read(HOURS, "2026", unit=np.timedelta64(5)), V, ["unit that is not named"]),
    (lambda: read(HOURS, "2026", unit=np.timedelta64("NaT")), V, ["unit", "NaT"]),
    (lambda: read(HOURS, "2026", unit=np.timedelta64(-1, "h")), V, ["unit must be positive"]),
    (lambda: read(HOURS, "2026", unit=pd.DateOffset(months=1)), T, ["unit must be a timedelta"]),
    (lambda: read(np.arange(1, 4), 0), V, ["unit= is for dates; times are numbers"]),
    (lambda: read(np.arange(1871, 1874), None, unit=None), V, ["1871 model steps", "pass start="]),
    (lambda: read(np.arange(1, 4), "0", unit=None), T, ["times are numbers", "'0'"]),
    (lambda: read(np.arange(1, 4), np.nan, unit=None), V, ["start must be a number", "nan"]),
    (lambda: read(np.array([1.0, np.nan, 3]), 0, unit=None), V, ["hold nan, the first at 1"]),
    (lambda: read(np.array(["2026-01-01", "NaT"], "M8[D]"), "2025"), V, ["NaT, the first at 1"]),
    (lambda: read(pd.period_range("2026-01", periods=3, freq="M"), "2025"), T, ["are periods"]),
    (lambda: read(np.array([True, False]), 0, unit=None), T, ["numbers or dates, met booleans"]),
    (lambda: read(np.arange(10**7, 10**7 + 3).astype("f4"), 10**7 - 1, 0.1, None), V,
     ["float32", "cannot tell steps"]),
    (lambda: read(np.array([1e6 + 0.5]), 0, 1.0, None), V, ["1e+06 model steps"]),
    (lambda: read(np.arange(1, 400_000) * 1.0, 0, 0.9999995, None), V, ["drift away"]),
    (lambda: read(np.arange(1, 4), 0, np.nan, None), V, ["dt must be one positive number"]),
    (lambda: read(np.arange(1, 4), 0, -1.0, None), V, ["dt must be one positive number"]),
    (lambda: read(np.arange(1, 4), 0, "1", None), V, ["dt must be one positive number"]),
    (lambda: problem(times=[1.0, 3, 2]), V, ["times must increase, met 2.0 at observation 2"]),
    (lambda: problem(times=[1, 2, 2]), V, ["met 2 at observation 2 after 2"]),
    (lambda: problem(times=HOURS[[0, 2, 1]]), V, ["times must increase", "observation 2"]),
    (lambda: problem(times=np.array([3, 2, 1], np.uint8)), V, ["times must increase"]),
    (lambda: problem(times=[1.0, np.nan, 2]), V, ["times hold nan"]),
    (lambda: problem(times=[pd.Timestamp("2026"), pd.NaT, None]), V, ["NaT"]),
    (lambda: read(np.arange(1, 4), 0, True, None), V, ["dt must be one positive number", "True"]),
    (lambda: read(HOURS, "2026", HOUR), V, ["dt must be one positive number", "timedelta64"]),
    (lambda: read(HOURS, "20260101"), V, ["start must be dates such as", "'20260101'"]),
    (lambda: read(HOURS, "now"), V, ["start must be dates such as", "'now'"]),
    (lambda: problem(times=["20260101", "20260102", "20260103"]), V, ["times must be dates"]),
    (lambda: problem(times=["1", "2", "3"]), V, ["times must be dates such as", "'1'"]),
    (lambda: problem(times=["a", "b", "c"]), V, ["times must be dates", "'a'"]),
    (lambda: problem(times=np.array([1 + 1j, 2, 3])), T, ["times must hold real numbers"]),
    (lambda: problem(times=pd.period_range("2026", periods=3, freq="D")), T, ["periods"]),
]  # fmt: skip


def problem(**settings):
    return da.Problem(still, SEE, PRIOR, np.zeros((3, 1)), **settings)


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_times_that_say_something_else_are_refused(case):
    call, kind, words = WRONG[case]
    with pytest.raises(kind) as caught:
        call()
    assert not [w for w in words if w not in str(caught.value)], str(caught.value)


def test_a_far_start_that_was_given_is_asked_about():
    with pytest.warns(
        UserWarning, match=r"1871 model steps .* is start = 0 the time of the prior"
    ):
        assert read(np.arange(1871, 1874), 0, unit=None).steps == [1871, 1, 1]


def test_steps_are_exact_over_ages():
    """Attoseconds since the first year: no unit of NumPy reaches so far."""
    assert whole_steps("0001-01-01", np.array(["2026-01-01"], "M8[D]"), 1.0, "s") == [
        int((np.datetime64("2026-01-01") - np.datetime64("0001-01-01")) / np.timedelta64(1, "s"))
    ]


@pytest.mark.parametrize("like", [np.zeros(1), np.zeros(1, "f4"), torch.zeros(1)])
def test_times_with_a_zone_are_utc_in_a_result(like, tmp_path):
    p = da.twin(still, SEE, PRIOR, 3).to(like)
    p = dataclasses.replace(p, times=TOKYO)
    result = da.assimilate(p, da.ETKF(5), progress=False)
    assert (
        result["time"].values.tolist() == TOKYO.tz_convert("UTC").tz_localize(None).values.tolist()
    )
    result.to_netcdf(tmp_path / "run.nc")
    with xr.open_dataset(tmp_path / "run.nc") as back:
        assert np.array_equal(back["time"], result["time"])
    assert read(TOKYO, TOKYO[0] - HOUR).time.tolist() == p.time.tolist()


def test_labels_of_the_data_become_times_where_they_fit_the_steps():
    values = np.zeros((3, 1))
    for times in (HOURS, HOURS.values, [0.5, 1.0, 1.5]):
        log = xr.DataArray(values, dims=("time", "y"), coords={"time": times})
        p = da.Problem(still, SEE, PRIOR, log, steps=2)
        assert np.array_equal(p.time, times)
    p = da.Problem(still, SEE, PRIOR, pd.DataFrame(values, index=TOKYO))
    assert p.time.tolist() == UTC
    for zoned in (pd.Series(TOKYO), TOKYO.array, list(TOKYO)):
        assert da.Problem(still, SEE, PRIOR, values, times=zoned).time.tolist() == UTC
    durations = np.arange(0, 3).astype("m8[h]") + HOUR
    for none in (0, 0.0, np.timedelta64(0, "h"), datetime.timedelta(0), pd.Timedelta(0)):
        assert read(durations, none).steps == [1, 1, 1]
    wants = torch.arange(3.0, requires_grad=True)
    assert problem(times=wants).time.tolist() == [0, 1, 2]
    gone = xr.DataArray(np.zeros((4, 1)), dims=("time", "y"), coords={"time": [1, 2, 3, 5]})
    with pytest.raises(ValueError, match=r"times do not fit steps: 3 to 5 \(observation 3\)"):
        da.Problem(still, SEE, PRIOR, gone)
    assert da.Problem(still, SEE, PRIOR, gone, steps=[1, 1, 1, 2]).time.tolist() == [1, 2, 3, 5]
    plain = da.Problem(still, SEE, PRIOR, pd.DataFrame(values))
    assert plain.times is None


def test_no_warning_of_another_library():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(HOURS, "2026-01-01T00:00")
