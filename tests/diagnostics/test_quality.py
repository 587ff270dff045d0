"""Rows of a table beside a run: exact departures, and withheld sensors that tell what is wrong."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import dalearn as da

RNG = np.random.default_rng(9)
n, K, m = 12, 200, 5
RING = np.arange(float(n))
LAG = np.subtract.outer(RING, RING)
B = np.exp(-2 * np.sin(np.pi * LAG / n) ** 2 / 0.6**2)
M = da.Linear(0.9 * np.roll(np.eye(n), 1, axis=0))
Q = da.Dense(0.19 * B)
PRIOR = da.Gaussian(np.zeros(n), da.Dense(B))
PLACES = np.array([0.3, 2.0, 4.7, 7.5, 10.4])
ERRORS = np.array([0.1, 0.2, 0.1, 0.3, 0.2])
SEE = da.Observation(da.Interpolate(RING, PLACES, n), ERRORS**2)
TWIN = da.twin(M, SEE, PRIOR, K, noise=Q)
FRAME = pd.DataFrame(
    {"time": np.repeat(np.arange(1, K + 1), m), "sensor": np.tile(list("abcde"), K),
     "x": np.tile(PLACES, K), "value": TWIN.data.ravel(), "error": np.tile(ERRORS, K)}
).sample(frac=1, random_state=0).reset_index(drop=True)  # fmt: skip


def made(frame=FRAME, prior=PRIOR, **settings):
    settings = {
        "axes": RING,
        "period": n,
        "dt": 1.0,
        "noise": Q,
        "withhold": ["c", "e"],
    } | settings
    return da.Problem.from_table(frame, M, prior, **settings)


def run(problem, method=None, keep=("covariances",)):
    return da.assimilate(problem, method or da.KF(), keep=keep, progress=False)


HELD = made()
RESULT = run(HELD)


def test_departures_are_those_of_the_filter_for_seen_and_for_withheld_rows():
    found = da.quality(HELD, RESULT)
    pd.testing.assert_frame_equal(found[list(FRAME)], FRAME)
    mean, C = (RESULT[v].sel(stage="forecast").values for v in ("mean", "covariance"))
    H = SEE.operator(np.eye(n)).T[["abcde".index(s) for s in FRAME["sensor"]]]
    k = FRAME["time"].to_numpy() - 1
    h = np.einsum("rn,rn->r", H, mean[k])
    np.testing.assert_allclose(found["predicted"], h, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found["departure"], FRAME["value"] - h, rtol=1e-9, atol=1e-12)
    v = np.einsum("rn,rnp,rp->r", H, C[k], H) + FRAME["error"].to_numpy() ** 2
    np.testing.assert_allclose(found["expected"], v**0.5, rtol=1e-10)
    assert (found["flag"] == "withheld").sum() == 2 * K
    z = found["departure"] / found["expected"]
    assert abs((z**2).mean() - 1) < 0.1  # the model is right


def test_withheld_sensors_confirm_a_right_filter_and_accuse_a_wrong_one():
    scores = da.verify(HELD, RESULT)
    assert list(scores.index) == ["c", "e", "all"]
    assert scores["count"].tolist() == [K, K, 2 * K]
    assert scores["error"].tolist() == pytest.approx([0.1, 0.2, 0.025**0.5])
    assert (abs(scores["chi2"] - 1) < 0.25).all()
    assert (abs(scores["rmse"] / scores["expected"] - 1) < 0.15).all()
    assert (abs(scores["bias"]) < 0.1).all()
    proud = made(noise=da.Dense(0.02 * B))
    accused = da.verify(proud, run(proud)).loc["all"]
    assert accused["chi2"] > 1.5
    assert accused["rmse"] > scores.loc["all", "rmse"]
    biased = FRAME.assign(value=FRAME["value"] + (FRAME["sensor"] == "c"))
    assert da.verify(made(biased), RESULT).loc["c", "bias"] == pytest.approx(
        1 + scores.loc["c", "bias"]
    )
    wild = FRAME.copy()
    hit = wild.index[wild["sensor"] == "c"][::20]
    wild.loc[hit, "value"] += 15.0
    bare, limited = (da.verify(made(wild), RESULT, limit=s).loc["c"] for s in (None, 5.0))
    assert (limited["refused"], limited["count"]) == (len(hit), K - len(hit))
    assert limited["rmse"] < 1.1 * scores.loc["c", "rmse"] < 0.5 * bare["rmse"]
    fore = da.verify(HELD, RESULT, stage="forecast").loc["all"]
    assert fore["rmse"] > scores.loc["all", "rmse"]
    everything = made(withhold=None)
    assert not (da.quality(everything, run(everything))["flag"] == "withheld").any()


def test_members_and_moments_say_as_much_as_they_can():
    ensemble = run(HELD, da.ETKF(40), ("members",))
    found = da.quality(HELD, ensemble)
    E = ensemble["members"].sel(stage="forecast").transpose("time", "member", "x").values
    Y = SEE.operator(E)[FRAME["time"] - 1, :, ["abcde".index(s) for s in FRAME["sensor"]]]
    np.testing.assert_allclose(found["predicted"], Y.mean(-1), rtol=1e-9, atol=1e-12)
    wanted = (Y.var(-1, ddof=1) + FRAME["error"] ** 2) ** 0.5
    np.testing.assert_allclose(found["expected"], wanted, rtol=1e-9)
    bare = da.quality(HELD, run(HELD, keep=("moments",)))
    assert bare["expected"].isna().all()
    np.testing.assert_allclose(bare["predicted"], da.quality(HELD, RESULT)["predicted"], rtol=1e-9)
    points = FRAME[FRAME["sensor"] == "b"].assign(sensor=2)
    picked = made(points, axes=None, withhold=(points["time"] % 2 == 0).to_numpy())
    found = da.quality(picked, run(picked, keep=("moments",)))
    std = run(picked)["std"].sel(stage="forecast").values[points["time"] - 1, 2]
    np.testing.assert_allclose(found["expected"], (std**2 + 0.04) ** 0.5, rtol=1e-10)


def test_every_flag_and_fields_and_torch():
    rows = FRAME[FRAME["time"] <= 30].reset_index(drop=True)
    rows.loc[[3, 8], "value"] = np.nan, 50.0
    rows.loc[20, "value"] += 9.0  # within the limits
    rows = pd.concat([rows, rows[40:42]], ignore_index=True)
    kept = rows.loc[[3, 8, 20], "sensor"].tolist()
    held = next(s for s in "abcde" if s not in kept)
    problem = da.screen(made(rows, withhold=[held], limits=(-20, 20)), da.KF())
    found = da.quality(problem, run(problem))
    flags = found["flag"].tolist()
    assert [flags[i] for i in (3, 8, 20, 150, 151)] == [
        "missing", "limits", "background", "duplicate", "duplicate"
    ]  # fmt: skip
    assert found["departure"].isna().to_numpy().nonzero()[0].tolist() == [3, 150, 151]
    prior = da.Gaussian(torch.zeros(n).double(), da.Dense(torch.tensor(B)))
    moved = da.screen(made(rows, prior, withhold=[held], limits=(-20, 20)), da.KF())
    again = da.quality(moved, run(moved))
    pd.testing.assert_frame_equal(again, found, rtol=1e-9)
    # the same ring as a field (1, 12), whose model and operator see fields
    field = made(
        rows.assign(kind="u"), withhold=[held], limits=(-20, 20), kinds=["u"], shape=(1, n)
    )
    kalman = da.quality(field, run(field))
    plain = made(rows, withhold=[held], limits=(-20, 20))
    np.testing.assert_allclose(
        kalman["expected"], da.quality(plain, run(plain))["expected"], rtol=1e-9
    )


WRONG = [
    (lambda: da.quality(TWIN, RESULT), "must come from Problem.from_table, met a Problem"),
    (lambda: da.quality(HELD, RESULT, "dawn"), "met the stage 'dawn'"),
    (lambda: da.quality(HELD, RESULT.isel(time=slice(3))), "3 times of 12 components"),
    (lambda: da.quality(HELD, RESULT.expand_dims("case")), r"result.isel\(case=0\)"),
    (lambda: da.verify(made(withhold=None), RESULT), "no row of the table is withheld"),
    (lambda: da.verify(HELD, RESULT, by="ship"), "by names the column 'ship'"),
    (lambda: da.verify(replace(HELD, origin=None), RESULT), "without a table"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_what_does_not_fit_is_refused_in_words(case):
    make, words = WRONG[case]
    with pytest.raises(ValueError, match=words):
        make()
