"""Real data from a table to a verified analysis: weekly carbon dioxide with gaps at Mauna Loa."""

import numpy as np
import pytest

import dalearn as da

YEAR = 365.25 / 7  # weeks


def season(harmonic):
    """A rotation by one week of the year, or of a part of it."""
    a = 2 * np.pi * harmonic / YEAR
    return np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])


M = np.zeros((6, 6))  # a level and its slope, a year and half a year
M[:2, :2] = [[1, 1], [0, 1]]
M[2:4, 2:4], M[4:, 4:] = season(1), season(2)
PRIOR = da.Gaussian(np.array([315.0, 0, 0, 0, 0, 0]), np.array([9.0, 0.01, 9, 9, 1, 1]))
Q = da.Diagonal(np.array([0.01, 1e-7, 1e-4, 1e-4, 1e-4, 1e-4]))
SEEN = da.Linear(np.array([[1.0, 0, 1, 0, 1, 0]]))


def problem(table, error, **settings):
    return da.Problem.from_table(
        table, da.Linear(M), PRIOR, sensors={0: SEEN}, columns={"value": "co2"}, error=error,
        start="1958-03-22", dt=1.0, unit=np.timedelta64(7, "D"), noise=Q, **settings,
    )  # fmt: skip


def test_the_table_is_the_one_that_statsmodels_distributes():
    table = da.data.co2()
    assert table.shape == (2284, 3)
    assert table["co2"].isna().sum() == 59
    assert table["co2"].agg(["min", "max"]).tolist() == [313.0, 373.9]
    assert table.attrs["licence"] == "public domain"
    other = pytest.importorskip("statsmodels.datasets").co2.load_pandas().data
    np.testing.assert_array_equal(table["co2"], other["co2"])
    np.testing.assert_array_equal(table["time"], other.index)


def smoothed(table, **settings):
    """Screened, smoothed, and verified on every tenth week."""
    held = np.arange(len(table)) % 10 == 5
    start = problem(table, withhold=held, limits=(280, 400), **settings)
    clean = da.screen(start, da.KF(), limit=4.0)
    result = da.assimilate(clean, da.RTS(), keep=("covariances",), progress=False)
    return start, clean, da.verify(clean, result, stage="smoothed").loc["all"]


def test_withheld_weeks_say_how_large_the_error_of_a_week_is():
    table = da.data.co2()[:1200]
    _, clean, scores = smoothed(table, error=0.35)
    flags = clean.table["flag"].value_counts()
    assert flags["missing"] == 54
    assert scores["count"] == flags["withheld"] > 100
    assert flags.get("background", 0) < 5
    assert abs(scores["bias"]) < 0.1
    assert scores["rmse"] < 0.4  # ppm; the year's swing is 6, the trend of these years 21
    assert 0.7 < scores["chi2"] < 1.3
    assert smoothed(table, error=0.25)[2]["chi2"] > 1.4  # an error too small is found out


def test_a_typing_error_is_found_and_does_no_harm():
    table = da.data.co2()[:400]
    wrong = table.copy()
    wrong.loc[301, "co2"] += 10
    start, clean, scores = smoothed(wrong, error=0.35)
    assert clean.table["flag"][301] == "background"
    right = smoothed(table, error=0.35)[2]
    assert scores["rmse"] == pytest.approx(right["rmse"], rel=0.05)
    harmed, whole = (da.assimilate(p, da.KF(), progress=False) for p in (start, clean))
    shift = abs(harmed["mean"] - whole["mean"]).sel(stage="analysis", x=0)
    assert shift[:301].max() == 0
    assert shift.max() > 1  # what one such error does to the weeks after it
