"""Tables of observations: the problem made by hand, to the bit, whatever the order of the rows."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import dalearn as da

RNG = np.random.default_rng(11)
M = da.Linear(np.linalg.qr(RNG.normal(size=(6, 6)))[0])
PRIOR = da.Gaussian(np.zeros(6), np.ones(6))
TIMES = np.array([1.0, 2.0, 4.0, 7.0])
START = pd.Timestamp("2026-03-28 21:00", tz="UTC")
NAMES = {"north": 4, "south": 1, "east": 2}
FULL = pd.DataFrame(
    [(t, s, RNG.normal(), e) for t in TIMES for s, e in zip(NAMES, (0.1, 0.2, 0.4), strict=True)],
    columns=["time", "sensor", "value", "error"],
)


def made(frame, **settings):
    settings = {"sensors": NAMES, "dt": 1.0, "noise": 0.1} | settings
    return da.Problem.from_table(frame, M, PRIOR, **settings)


def mean(problem, method=None):
    result = da.assimilate(problem, method or da.KF(), progress=False)
    return result["mean"].values, result["std"].values


def same(a, b, method=None):
    for x, y in zip(mean(a, method), mean(b, method), strict=True):
        np.testing.assert_array_equal(x, y)


def by_hand(**changes):
    data = FULL["value"].to_numpy().reshape(4, 3)
    see = da.Observation(da.Subset([4, 1, 2]), np.array([0.1, 0.2, 0.4]) ** 2)
    made = da.Problem(M, see, PRIOR, data, [1, 1, 2, 3], noise=0.1, times=TIMES)
    return replace(made, **changes)


@pytest.mark.parametrize("seed", range(3))
def test_the_problem_is_the_one_made_by_hand_whatever_the_order_of_the_rows(seed):
    problem = made(FULL.sample(frac=1, random_state=seed))
    assert isinstance(problem.observation, da.Observation)  # the same at all times
    np.testing.assert_array_equal(problem.data, by_hand().data)
    assert list(problem.steps) == [1, 1, 2, 3]
    np.testing.assert_array_equal(problem.time, TIMES)
    same(problem, by_hand())
    same(problem, by_hand(), da.ETKF(5))


def test_gaps_and_rows_that_are_not_there_and_rows_that_stand_twice():
    gappy = FULL.copy()
    gappy.loc[4, "value"] = np.nan
    data = by_hand().data.copy()
    data[1, 1] = np.nan
    wanted = by_hand(data=data)
    same(made(gappy.sample(frac=1, random_state=0)), wanted)
    short = made(pd.concat([FULL.drop(4), FULL[6:9]]).sample(frac=1, random_state=1))
    for a, b in zip(mean(short), mean(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    assert isinstance(short.observation, da.Moving)
    assert short.table["flag"].value_counts().to_dict() == {"good": 11, "duplicate": 3}
    assert made(gappy).table["flag"].tolist() == ["good"] * 4 + ["missing"] + ["good"] * 7
    # two values of one sensor at one time count both
    twice = made(pd.concat([FULL, FULL[:1].assign(value=9.0)]))
    assert twice.observation.at(0).m == 4
    assert (twice.table["flag"] == "good").all()


def forms():
    frame = FULL.sample(frac=1, random_state=5).reset_index(drop=True)
    table = xr.Dataset({k: ("row", frame[k].to_numpy()) for k in frame})
    wide = xr.DataArray(
        FULL["value"].to_numpy().reshape(4, 3),
        {"time": TIMES, "sensor": list(NAMES)},
        ("time", "sensor"),
        "value",
    )
    errors = xr.DataArray([0.1, 0.2, 0.4], {"sensor": list(NAMES)}, "sensor")
    return {
        "mapping": {k: frame[k].tolist() for k in frame},
        "arrays": {k: frame[k].to_numpy() for k in frame},
        "index": frame.set_index(["time", "sensor"]),
        "dataset": table,
        "grid": xr.Dataset({"value": wide, "error": errors}),
        "nullable": frame.convert_dtypes(),
    }


@pytest.mark.parametrize("form", forms())
def test_tables_of_every_make_mean_the_same(form):
    same(made(forms()[form]), by_hand())


def test_files_and_the_packages_that_they_need(tmp_path, monkeypatch):
    FULL.to_csv(tmp_path / "log.csv", index=False)
    same(made(tmp_path / "log.csv"), by_hand())
    numbers = FULL.assign(sensor=[NAMES[s] for s in FULL["sensor"]])
    xr.Dataset.from_dataframe(numbers).to_netcdf(tmp_path / "log.nc", engine="scipy")
    order = [1, 2, 4]
    np.testing.assert_array_equal(
        made(tmp_path / "log.nc", sensors=None).data, by_hand().data[:, [1, 2, 0]]
    )
    assert made(numbers, sensors=None).observation.operator.index[0].tolist() == order
    (tmp_path / "log.parquet").write_bytes(b"PAR1")
    for module in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"log.parquet needs the package pyarrow: pip install"):
        made(tmp_path / "log.parquet")


def test_polars_frames_also_lazy_and_with_zones():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({k: FULL[k].to_numpy() for k in FULL})
    same(made(frame), by_hand())
    same(made(frame.lazy()), by_hand())


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "Asia/Tokyo"])
def test_dates_with_and_without_a_zone_over_a_change_of_clocks(zone):
    at = START + pd.to_timedelta(6 * FULL["time"], "h")
    at = at.dt.tz_localize(None) if zone is None else at.dt.tz_convert(zone)
    start = START.tz_localize(None) if zone is None else START.tz_convert("Asia/Tokyo")
    problem = made(FULL.assign(time=at), start=start, unit=np.timedelta64(6, "h"))
    same(problem, by_hand())
    assert problem.time[0] == np.datetime64("2026-03-29T03:00")
    assert list(made(FULL.assign(time=at.astype(str)), start=str(start), unit="h").steps) == [
        6, 6, 12, 18,
    ]  # fmt: skip


def test_data_at_the_time_of_the_prior_take_no_step():
    early = FULL.assign(time=FULL["time"] - 1)
    same(made(early), by_hand(steps=[0, 1, 2, 3], times=TIMES - 1))


def test_a_window_gathers_rows_around_its_multiples():
    jitter = RNG.uniform(-0.49, 0.49, len(FULL))
    same(made(FULL.assign(time=FULL["time"] + jitter), window=1.0), by_hand())
    at = START + pd.to_timedelta(np.round(3600 * (FULL["time"] + jitter)), "s")
    problem = made(FULL.assign(time=at), window="h", unit="h", start=START)
    same(problem, by_hand())
    assert problem.time.dtype.kind == "M"
    with pytest.raises(ValueError, match=r"row 0 comes .* model steps after.*pass window="):
        made(FULL.assign(time=FULL["time"] + 0.4))


def test_places_on_grids_of_several_fields():
    n = 30
    frame = pd.DataFrame(
        {
            "time": RNG.integers(1, 4, n),
            "lat": RNG.uniform(-1, 1, n),
            "lon": RNG.uniform(-400, 400, n),
            "kind": RNG.choice(["u", "h"], n),
            "obs": RNG.normal(size=n),
        }
    )
    lat, lon = np.array([-1.0, 0.5, 1.0]), np.arange(0.0, 360.0, 90.0)
    prior = da.Gaussian(np.zeros(24), np.ones(24))
    settings = {
        "axes": (lat, lon), "period": (0, 360), "kinds": ("u", "h"), "error": 0.5,
        "columns": {"place": ("lat", "lon"), "value": "obs"}, "shape": (2, 3, 4), "dt": 1.0,
    }  # fmt: skip
    problem = da.Problem.from_table(frame, da.identity, prior, **settings)
    frame = frame.sort_values(["time", "kind"], ascending=[True, False])  # u before h
    frame = frame.sort_values(
        ["time", "kind", "lat"], key=lambda c: c.map({"u": 0, "h": 1}) if c.name == "kind" else c
    )
    seen, data = [], np.full((3, problem.observation.m), np.nan)
    for k, (_, g) in enumerate(frame.groupby("time")):
        H = da.Interpolate(
            (lat, lon), g[["lat", "lon"]], (0, 360), g["kind"].map({"u": 0, "h": 1}).to_numpy()
        )
        seen.append(da.Observation(H, np.full(len(g), 0.25), H.locations))
        data[k, : len(g)] = g["obs"]
    wanted = da.Problem(da.identity, da.Moving(seen), prior, data, shape=(2, 3, 4))
    same(problem, wanted)
    near = da.Localization(
        np.tile(np.stack(np.meshgrid(lat, lon, indexing="ij"), -1).reshape(-1, 2), (2, 1)),
        60.0,
        (0, 360),
    )
    same(problem, wanted, da.LETKF(8, localization=near))
    torch_prior = da.Gaussian(torch.zeros(24).double(), torch.ones(24).double())
    moved = da.Problem.from_table(frame, da.identity, torch_prior, **settings)
    np.testing.assert_allclose(mean(moved)[0], mean(problem)[0], rtol=1e-12, atol=1e-13)


def total(x):
    """A number of the whole state."""
    return x.sum(-1)


def test_sensors_with_operators_of_their_own():
    sensors = {
        ("buoy", "level"): 3,
        ("buoy", "sum"): total,
        ("ship", "level"): da.Linear(np.ones((1, 6))),
    }
    frame = pd.DataFrame(
        [(1, *key, v, 0.1) for key, v in zip(sensors, (1.0, 2.0, 3.0), strict=True)],
        columns=["time", "sensor", "kind", "value", "error"],
    )
    problem = made(frame, sensors=sensors)
    x = RNG.normal(size=(5, 6))
    wanted = np.stack([x[:, 3], x.sum(-1), x.sum(-1)], -1)
    np.testing.assert_allclose(problem.observation(x), wanted, rtol=1e-12)
    assert not problem.observation.operator.linear
    assert made(frame[::2], sensors=sensors).observation.operator.linear
    fields = made(
        frame[:2],
        sensors={("buoy", "level"): (1, 2), ("buoy", "sum"): lambda u: u.sum((-1, -2))},
        shape=(2, 3),
    )
    np.testing.assert_allclose(
        fields.observation(x.reshape(5, 2, 3)), wanted[:, :2] * [0, 1] + x[:, [5, 5]] * [1, 0]
    )


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
def test_a_super_observation_is_the_best_mean_with_the_error_of_a_mean(correlation):
    values, errors = np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.2, 0.4])
    frame = pd.DataFrame(
        {"time": [0.9, 1.0, 1.2], "sensor": [2, 2, 2], "value": values, "error": errors}
    )
    problem = made(frame, sensors=None, window=1, superob=True, correlation=correlation)
    w = errors**-2 / (errors**-2).sum()
    E = np.outer(errors, errors) * (correlation + (1 - correlation) * np.eye(3))
    assert problem.data.ravel() == pytest.approx(w @ values, rel=1e-14)
    assert problem.observation.noise.variance() == pytest.approx(w @ E @ w, rel=1e-14)
    if correlation == 0:  # then it says what the three say
        three = made(frame, sensors=None, window=1)
        for a, b in zip(mean(problem), mean(three), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_cells_on_a_ring_and_rows_without_values():
    x = [0.1, 7.9, -0.2, 3.2, 3.3, 5.0, 5.1]  # 7.9 and -0.2 share the last cell
    frame = pd.DataFrame({"time": 1, "x": x, "value": [1.0, 2, 4, 8, np.nan, np.nan, np.nan]})
    axes = {"axes": np.arange(8.0), "period": 8, "sensors": None, "error": 1.0}
    prior = da.Gaussian(np.zeros(8), np.ones(8))
    problem = da.Problem.from_table(
        frame, da.identity, prior, dt=1.0, superob=1.0,
        **{k: v for k, v in axes.items() if k != "sensors"},
    )  # fmt: skip
    np.testing.assert_allclose(problem.data[0], [1, 8, np.nan, 3], equal_nan=True)
    np.testing.assert_allclose(
        problem.observation.locations[:, 0], [0.1, 3.2, 5.05, 7.85], rtol=1e-12
    )
    np.testing.assert_allclose(problem.observation.noise.variance(), [1, 1, 0.5, 0.5])


def test_what_is_withheld_or_impossible_is_left_out():
    held = made(FULL.sample(frac=1, random_state=3), withhold=["south"])
    same(held, made(FULL[FULL["sensor"] != "south"]))
    assert (held.withheld["sensor"] == "south").all()
    assert len(held.withheld) == 4
    wild = FULL.copy()
    wild.loc[[2, 6], "value"] = 99.0, -99.0
    data = by_hand().data.copy()
    data[0, 2] = data[2, 0] = np.nan
    for limits in ((-10, 10), {"east": (-10, 10), "north": (-10, 10)}):
        problem = made(wild, limits=limits)
        same(problem, by_hand(data=data))
        assert problem.table.index[problem.table["flag"] == "limits"].tolist() == [2, 6]
    # a time at which all is withheld stays, without data
    mask = (FULL["time"] == 4).to_numpy()
    data = by_hand().data.copy()
    data[2] = np.nan
    same(made(FULL, withhold=mask), by_hand(data=data))


V, T = ValueError, TypeError
WRONG = [
    (lambda: made(3), T, "table must be a frame.*met 3"),
    (lambda: made("log.xls"), V, "must end in .parquet, .csv or .nc, met 'log.xls'"),
    (lambda: made(FULL[:0]), V, "no rows"),
    (lambda: made(FULL.drop(columns="error")), V, "no column 'error'.*met .'time'"),
    (lambda: made(FULL.drop(columns="sensor")), V, "no column 'sensor' for the sensor"),
    (lambda: made(FULL.assign(error=0.0)), V, "error of row 0 is 0, wanted"),
    (lambda: made(FULL.assign(value=np.inf)), V, "value of row 0 is infinite"),
    (lambda: made(FULL.assign(value="a")), T, "column of the value"),
    (lambda: made(FULL.assign(sensor="x")), V, "row 0 is of the sensor 'x'"),
    (lambda: made(FULL, sensors=None), V, "sensor of row 0 is 'north', wanted a component"),
    (lambda: made(FULL, sensors={}), T, "sensors must be a mapping"),
    (lambda: made(FULL, sensors={s: "a" for s in NAMES}), V, "sensors must be operators"),
    (lambda: made(FULL, axes=[0.0, 1.0]), V, "axes= and sensors="),
    (lambda: made(FULL, start=2.0), V, "3 rows come before the start, the first is row 0"),
    (lambda: made(FULL, dt=None), V, "no attribute dt"),
    (lambda: made(FULL, window=-1), V, "window must be a positive number"),
    (lambda: made(FULL, withhold=["west"]), V, "withhold names 'west'"),
    (lambda: made(FULL, withhold=[True]), V, r"withhold has shape \(1,\), wanted \(12,\)"),
    (lambda: made(FULL, limits=(1, 0)), V, r"limits must be \(low, high\)"),
    (lambda: made(FULL, limits={"west": (0, 1)}), V, "limits name 'west'"),
    (lambda: made(FULL, superob=True, correlation=2), V, "correlation must be"),
    (lambda: made(FULL.assign(time=pd.NaT), unit="h", start="2026"), V, "NaT"),
    (lambda: made(FULL.assign(time=START), start=START), V, "pass unit="),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_what_does_not_fit_is_refused_in_words(case):
    make, kind, words = WRONG[case]
    with pytest.raises(kind, match=words):
        make()
