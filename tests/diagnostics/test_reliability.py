"""Probabilities that come true, and calibration over twins: with what is known exactly."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from examples import linear_gaussian
from scipy import stats

import dalearn as da


def fake(mean, std, truth, **more):
    """A result of one stage: arrays `(case, time, x)`."""
    dims = ("case", "time", "x")
    data = {
        "mean": (("case", "time", "stage", "x"), mean[:, :, None]),
        "std": (("case", "time", "stage", "x"), std[:, :, None]),
        "truth": (dims, truth),
    }
    size = truth.shape
    coords = {"stage": ["analysis"], "x": np.arange(size[2]), "time": np.arange(size[1]) + 1.0}
    return xr.Dataset(data | more, coords)


def honest(cases=400, times=25, seed=0, width=1.0):
    """Forecasts N(m, s^2) of truths drawn from them; with `width` not 1 their s is wrong."""
    rng = np.random.default_rng(seed)
    m, s = rng.normal(size=(cases, times, 2)), rng.uniform(0.3, 1.5, (cases, times, 2))
    return fake(m, width * s, m + s * rng.normal(size=m.shape))


def test_a_reliable_forecast_lies_within_its_bars_and_one_too_sure_does_not():
    right = da.reliability(honest(), 0.5, stage="analysis")
    inside = (right["frequency"] >= right["low"]) & (right["frequency"] <= right["high"])
    assert int(inside.sum()) >= 8  # of ten bars of 95 %
    assert int(right["count"].sum()) == 400 * 25 * 2
    sure = da.reliability(honest(width=0.4), 0.5, stage="analysis")
    f, p = sure["frequency"], sure["probability"]
    assert (f[:3] > sure["high"][:3]).all()
    assert (f[-3:] < sure["low"][-3:]).all()
    assert (abs(f - 0.5) < abs(p - 0.5) + 0.02).all()  # flatter than the diagonal
    assert float(sure["brier"]) > float(right["brier"])


def test_the_bars_hold_their_share_of_reliable_forecasts():
    """Over 100 sets of one bin of 200 cases, 90 %: binomial, to four standard errors."""
    hits = 0
    for seed in range(100):
        found = da.reliability(honest(10, 10, seed), 0.0, stage="analysis", bins=1, level=0.9)
        hits += int(found["low"][0] <= found["frequency"][0] <= found["high"][0])
    # the frequency varies less than a binomial number, as probabilities within the bin differ
    assert hits >= 90 - 4 * 3


def test_by_hand():
    mean = np.array([[[0.0, 0.0]], [[0.0, 0.0]], [[0.0, np.nan]]])
    truth = np.array([[[1.0, -1.0]], [[0.6, 0.2]], [[0.7, 9.0]]])
    result = fake(mean, np.ones_like(mean), truth)
    found = da.reliability(result, [0.5, 0.0], stage="analysis", bins=2)
    p = stats.norm.sf(0.5)
    assert found["count"].values.tolist() == [3, 2]
    assert np.allclose(found["probability"], [p, 0.5])
    assert np.allclose(found["frequency"], [1.0, 0.5])
    assert np.isclose(found["brier"], (3 * (1 - p) ** 2 + 2 * 0.25) / 5)
    assert np.allclose(found["low"], stats.binom.ppf(0.025, [3, 2], [p, 0.5]) / [3, 2])
    below = da.reliability(result, [0.5, 0.0], stage="analysis", bins=2, above=False)
    assert below["count"].values.tolist() == [0, 5]
    assert np.isclose(below["probability"][1], (3 * (1 - p) + 2 * 0.5) / 5)
    assert np.isclose(below["frequency"][1], 1 / 5)
    assert np.isclose(below["brier"], found["brier"])
    few = da.reliability(result, [0.5, 0.0], stage="analysis", bins=2, independent=2)
    assert ((few["high"] - few["low"]) >= (found["high"] - found["low"])).all()


def test_members_and_weights_give_shares():
    rng = np.random.default_rng(1)
    E = rng.normal(size=(30, 4, 1, 10, 2))
    dims = ("case", "time", "stage", "member", "x")
    truth = rng.normal(size=(30, 4, 2))
    kept = {"members": (dims, E), "ensemble_size": 10}
    result = fake(E[:, :, 0].mean(2), E[:, :, 0].std(2), truth, **kept)
    found = da.reliability(result, 0.3, stage="analysis", bins=10)
    p = (E[:, :, 0] > 0.3).mean(2)
    assert np.isclose(found["brier"], ((p - (truth > 0.3)) ** 2).mean())
    counts = np.bincount(np.minimum(np.round(p * 10).astype(int), 9).ravel(), minlength=10)
    assert found["count"].values.tolist() == counts.tolist()
    w = rng.dirichlet(np.ones(10), size=(30, 4, 1))
    weighted = result.assign(weights=(("case", "time", "stage", "member"), w))
    p = (w[:, :, 0, :, None] * (E[:, :, 0] > 0.3)).sum(2)
    found = da.reliability(weighted, 0.3, stage="analysis")
    assert np.isclose(found["brier"], ((p - (truth > 0.3)) ** 2).mean())


def test_methods_have_their_own_diagrams():
    problem = linear_gaussian(cycles=10)
    both = da.compare(problem, [da.ETKF(6), da.EnKF(9)], 3, keep=("members",), progress=False)
    found = da.reliability(both, 0.0, skip=2)
    assert found["count"].dims == ("scheme", "bin")
    assert (found["count"].sum("bin") == 3 * 8 * 3).all()
    alone = da.reliability(both.isel(scheme=[1]), 0.0, skip=2)
    assert np.allclose(alone["frequency"][0], found["frequency"][1], equal_nan=True)


def test_the_diagram_shows_points_bars_and_counts():
    found = da.reliability(honest(), 0.5, stage="analysis")
    ax = da.plot.reliability(found)
    ax.figure.canvas.draw()
    points = ax.lines[1].get_xydata()
    assert np.allclose(points, np.stack([found["probability"], found["frequency"]], -1))
    (inset,) = ax.child_axes
    assert [p.get_height() for p in inset.patches] == found["count"].values.tolist()
    plt.close(ax.figure)
    with pytest.raises(ValueError, match="select one method first"):
        da.plot.reliability(found.expand_dims("scheme"))


def test_an_exact_method_is_calibrated_and_a_wrong_one_is_not():
    """The Kalman filter on 400 twins; then told a prior of half the deviations, or biased data."""
    problem = linear_gaussian(cycles=3, batch=(400,))
    found = da.simulation_based_calibration(run(problem, da.KF()))
    assert float(found["p_all"]) > 0.01
    assert (found["count"].sum("rank") == 400).all()
    assert np.isclose(found["share"].sum(), 1)
    late = run(problem, da.KF())
    narrow = late.assign(std=late["std"] / 2)
    assert float(da.simulation_based_calibration(narrow)["p_all"]) < 1e-9
    biased = late.assign(mean=late["mean"] + 0.5 * late["std"])
    p = da.simulation_based_calibration(biased, stage="forecast", cycle=0)["p_all"]
    assert float(p) < 1e-6


def test_particles_are_calibrated_by_their_weighted_ranks():
    problem = linear_gaussian(cycles=1, batch=(300,))
    result = run(problem, da.ParticleFilter(2000), keep=("ranks",))
    found = da.simulation_based_calibration(result, bins=10)
    assert float(found["p_all"]) > 0.01


def run(problem, method, **settings):
    return da.assimilate(problem, method, progress=False, **settings)


@pytest.mark.parametrize("bins", [None, 3, 8])
def test_the_p_values_of_uniform_ranks_are_uniform(bins):
    """8 ranks, 200 experiments, 500 components: a chi-square of few counts is nearly exact."""
    ranks = np.random.default_rng(4).integers(0, 8, size=(200, 1, 1, 500))
    zero = np.zeros((200, 1, 500))
    kept = {"ranks": (("case", "time", "stage", "x"), ranks), "ensemble_size": 7}
    found = da.simulation_based_calibration(fake(zero, zero + 1, zero, **kept), bins=bins)
    sizes = {None: [1] * 8, 3: [3, 3, 2], 8: [1] * 8}[bins]
    assert np.allclose(found["share"] * 8, sizes)
    whole = np.searchsorted(np.cumsum(sizes), ranks[:, 0, 0], side="right")
    assert np.array_equal(found["count"][7], np.bincount(whole[:, 7], minlength=len(sizes)))
    for level in (0.05, 0.3):
        share = float((found["p"] < level).mean())
        assert abs(share - level) < 5 * (level * (1 - level) / 500) ** 0.5
    assert float(found["p_all"]) > 0.01


def test_what_cannot_be_said_is_refused():
    result = honest(30, 2)
    for wrong, words in (
        (lambda: da.reliability(result, 0.0), "met the stage 'forecast'"),
        (lambda: da.reliability(result, [0.0] * 3, stage="analysis"), r"shape \(3,\), wanted"),
        (lambda: da.reliability(result.drop_vars("truth"), 0.0), "needs the truth"),
        (lambda: da.reliability(result, 0.0, stage="analysis", level=2), "level"),
        (lambda: da.simulation_based_calibration(result, cycle=2), "met cycle = 2"),
        (lambda: da.simulation_based_calibration(result, stage="no"), "met the stage 'no'"),
        (lambda: da.simulation_based_calibration(result.isel(case=[1, 2])), "at least 20 exp"),
        (lambda: da.simulation_based_calibration(result, bins=1), "bins"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()
