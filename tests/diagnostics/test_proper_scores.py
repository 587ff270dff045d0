"""Proper scores: their closed forms, values of other packages, fairness and propriety."""

import numpy as np
import pytest
from examples import linear_gaussian
from scipy import stats

import dalearn as da
from dalearn.diagnostics import (
    crps_ensemble,
    dawid_sebastiani,
    energy_score_ensemble,
    log_score_gaussian,
)
from dalearn.diagnostics.losses import two_moments

MEMBERS = np.array(
    [[0.13, -0.13, 0.64], [0.1, -0.54, 0.36], [1.3, 0.95, -0.7], [-1.27, -0.62, 0.04]]
)
TRUTH = np.array([-2.33, -0.22, -1.25])
COV = np.array([[2.0, 0.6], [0.6, 1.0]])


def kept(method=None, keep=("members",), **settings):
    problem = linear_gaussian(cycles=4, **settings)
    return da.assimilate(problem, method or da.ETKF(8), keep=keep, progress=False)


def within(draws, expected):
    """Whether the mean of independent draws is the expected number, to five standard errors."""
    return abs(draws.mean() - expected) < 5 * draws.std() / len(draws) ** 0.5


def test_values_of_scoringrules():
    """energy_score(estimator="fair"), and logs_normal of scoringrules 0.10.0."""
    assert np.isclose(energy_score_ensemble(MEMBERS, TRUTH), 1.995221266527647, rtol=1e-12)
    assert np.isclose(log_score_gaussian(1.1, 0.7, 0.3), 1.2153248137557364, rtol=1e-12)


def test_the_energy_score_of_one_component_is_the_crps_and_takes_weights():
    x, y = MEMBERS[None, :, :1], TRUTH[None, :1]
    assert np.isclose(energy_score_ensemble(x, y)[0], crps_ensemble(x[..., 0], y[..., 0])[0])
    w = np.array([0.5, 0.25, 0.125, 0.125])
    one = energy_score_ensemble(x, y, np.broadcast_to(w, (1, 4)))
    assert np.isclose(one[0], crps_ensemble(x[..., 0], y[..., 0], weights=w)[0])
    assert np.isclose(
        energy_score_ensemble(MEMBERS, TRUTH, np.full(4, 0.25)),
        energy_score_ensemble(MEMBERS, TRUTH),
    )
    pairs = np.linalg.norm(MEMBERS[:, None] - MEMBERS, axis=-1).sum() / (2 * 4 * 3)
    near = np.linalg.norm(MEMBERS - TRUTH, axis=-1).mean()
    assert np.isclose(energy_score_ensemble(MEMBERS, TRUTH), near - pairs)


def test_the_energy_score_of_a_gaussian_is_known_and_two_members_estimate_it():
    """x, x' ~ N(0, I) in three dimensions, y = 0: E|x| = 2 sqrt(2/pi), E|x - x'| = 4/sqrt(pi)."""
    x = np.random.default_rng(0).normal(size=(100_000, 2, 3))
    exact = 2 * (2 / np.pi) ** 0.5 - 2 / np.pi**0.5
    assert within(energy_score_ensemble(x, np.zeros((100_000, 3))), exact)


def test_the_log_score_is_minus_the_log_density_and_fair_from_members():
    y = np.linspace(-4, 3, 7)
    assert np.allclose(log_score_gaussian(0.5, 1.7, y), -stats.norm.logpdf(y, 0.5, 1.7))
    x = np.random.default_rng(1).normal(size=(100_000, 5))
    found = log_score_gaussian(x.mean(-1), x.std(-1, ddof=1), 0.8, 5)
    assert within(found, -stats.norm.logpdf(0.8))
    assert np.array_equal(log_score_gaussian(1.0, 0.0, [1.0, 2.0]), [-np.inf, np.inf])
    with pytest.raises(ValueError, match="more than 3 members, met 3"):
        log_score_gaussian(0.0, 1.0, 0.0, 3)
    with pytest.raises(ValueError, match="std must be >= 0"):
        log_score_gaussian(0.0, -1.0, 0.0)


def test_dawid_sebastiani_is_the_density_of_a_gaussian_and_fair_from_members():
    error = np.array([0.4, -1.3])
    exact = -2 * stats.multivariate_normal.logpdf(error, np.zeros(2), COV) - 2 * np.log(2 * np.pi)
    assert np.isclose(two_moments(error, COV), exact)
    units = np.array([1e-100, 1e150])
    scaled = two_moments(error * units, COV * units * units[:, None])
    assert np.isclose(scaled, exact + 2 * np.log(units).sum(), rtol=1e-12)
    rng = np.random.default_rng(2)
    x = rng.multivariate_normal(np.zeros(2), COV, size=(50_000, 6))
    X = x - x.mean(1, keepdims=True)
    C = np.swapaxes(X, -1, -2) @ X / 5
    assert within(two_moments(error - x.mean(1), C, 6), exact)


@pytest.mark.parametrize("score", ["energy", "log", "moments"])
def test_who_says_what_is_true_has_the_best_score(score):
    """Truths from N(0, COV); forecasts with another mean, spread or correlation lose."""
    rng = np.random.default_rng(3)
    y = rng.multivariate_normal(np.zeros(2), COV, size=20_000)
    z = rng.normal(size=(20_000, 8, 2))

    def of(mean, C):
        if score == "energy":
            return energy_score_ensemble(mean + z @ np.linalg.cholesky(C).T, y)
        if score == "log":
            return log_score_gaussian(mean, np.diag(C) ** 0.5, y).mean(-1)
        return two_moments(y - mean, np.broadcast_to(C, (20_000, 2, 2)))

    best = of(0.0, COV)
    others = [(0.4, COV), (0.0, 1.7 * COV), (0.0, 0.5 * COV)]
    flipped = COV * np.array([[1.0, -1.0], [-1.0, 1.0]])
    for mean, C in [*others, (0.0, flipped)] if score != "log" else others:
        gap = of(mean, C) - best
        assert gap.mean() > 4 * gap.std() / 20_000**0.5


def test_scores_of_results_are_those_of_their_states():
    result = kept()
    E, y = result["members"].values, result["truth"].values
    assert np.allclose(da.energy_score(result), energy_score_ensemble(E, y[:, None]))
    each = log_score_gaussian(result["mean"], result["std"], y[:, None], 8)
    assert np.allclose(da.log_score(result), each.mean(-1))
    C = np.stack([[np.cov(e, rowvar=False) for e in row] for row in E])
    assert np.allclose(
        dawid_sebastiani(result), two_moments(y[:, None] - E.mean(-2), C, 8), rtol=1e-9
    )
    for f in (da.energy_score, da.log_score, dawid_sebastiani):
        assert f(result).dims == ("time", "stage")
        assert f(result).name == f.__name__
    one = result.sel(x=[1])
    wanted = 2 * da.log_score(one) - np.log(2 * np.pi)
    assert np.allclose(dawid_sebastiani(one), wanted)
    bare = one.drop_vars(["members", "ensemble_size"])
    assert np.allclose(dawid_sebastiani(bare), 2 * da.log_score(bare) - np.log(2 * np.pi))


def test_kept_covariances_and_weights_are_used():
    result = kept(da.KF(), keep=("covariances",))
    C, d = result["covariance"].values, result["truth"].values[:, None] - result["mean"].values
    assert np.allclose(dawid_sebastiani(result), two_moments(d, C))
    some = dawid_sebastiani(result.sel(x=[0, 2]))
    assert np.allclose(some, two_moments(d[..., [0, 2]], C[..., [0, 2], :][..., [0, 2]]))
    particles = kept(da.ParticleFilter(200, regularization=0.5))
    E, w = (particles[v].values for v in ("members", "weights"))
    y = np.broadcast_to(particles["truth"].values[:, None], (*E.shape[:2], 3))
    assert np.allclose(da.energy_score(particles), energy_score_ensemble(E, y, w))
    flat = zip(E.reshape(-1, 200, 3), w.reshape(-1, 200), strict=True)
    wanted = np.reshape([np.cov(e, rowvar=False, aweights=v) for e, v in flat], (4, 2, 3, 3))
    mean = particles["mean"].values
    assert np.allclose(dawid_sebastiani(particles), two_moments(y - mean, wanted), rtol=1e-8)


def test_a_covariance_without_an_inverse_has_no_score_and_harms_no_other():
    C = np.stack([COV, np.ones((2, 2)), np.diag([1.0, 0.0]), np.full((2, 2), np.nan)])
    found = two_moments(np.full((4, 2), 0.3), C)
    assert np.isnan(found).tolist() == [False, True, True, True]
    assert np.isclose(found[0], two_moments(np.full(2, 0.3), COV))


def test_methods_of_several_sizes_each_have_their_own_score():
    problem = linear_gaussian(cycles=4)
    both = da.compare(problem, [da.ETKF(6), da.EnKF(9)], 2, keep=("members",), progress=False)
    alone = da.assimilate(problem, da.ETKF(6), seed=0, keep=("members",), progress=False)
    for f in (da.energy_score, da.log_score, dawid_sebastiani):
        found = f(both)
        assert np.allclose(found.isel(scheme=0, seed=0), f(alone), rtol=0, atol=1e-12), f
        assert np.isfinite(found).all()


def test_what_a_score_cannot_take_it_says():
    result, bare = kept(), kept(keep=("moments",))
    with pytest.raises(ValueError, match=r"needs members.*keep=\('members',\)"):
        da.energy_score(bare)
    with pytest.raises(ValueError, match="3 components needs their covariance"):
        dawid_sebastiani(bare)
    with pytest.raises(ValueError, match="more than 5 members, met 5"):
        dawid_sebastiani(kept(da.ETKF(5)))
    for f in (da.energy_score, da.log_score, dawid_sebastiani):
        with pytest.raises(ValueError, match="needs the truth"):
            f(result.drop_vars("truth"))
    with pytest.raises(ValueError, match="at least 2 members"):
        energy_score_ensemble(MEMBERS[:1], TRUTH)
