"""What broke methods once: hard inputs, each with the value that is right."""

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr
from examples import lorenz63, lorenz96

import dalearn as da
from dalearn import Localization
from dalearn.belief import Ensemble
from dalearn.localize import Taper
from dalearn.methods import enkf_n, oi
from dalearn.methods.base import solve
from dalearn.methods.local_particle import local_particle


def run(problem, method, **settings):
    return da.assimilate(problem, method, progress=False, **settings)


@dataclasses.dataclass(frozen=True)
class Blow:
    """Leaves the floating-point numbers within two cycles."""

    dt: float = 1.0

    def __call__(self, x):
        return 1e200 * x


METHODS = (
    da.DEnKF(5), da.EnKF(5), da.ETKF(5), da.EnSRF(5), da.EnKFN(5), da.EnKS(5), da.IEnKS(5),
    da.ParticleFilter(5), da.ExtendedKF(), da.UKF(), da.OI(np.ones(2)),
)  # fmt: skip


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_one_experiment_that_diverges_is_marked_and_does_not_raise(method):
    problem = da.Problem(
        Blow(),
        da.Observation(da.identity, np.ones(2)),
        da.Gaussian(np.ones(2), np.ones(2)),
        np.ones((4, 2)),
    )
    with np.errstate(all="ignore"):
        result = run(problem, method, keep=("innovation",))
    assert result["diverged"]
    assert result["diverged_at"] <= 2


def test_a_weighted_method_leaves_its_neighbours_in_a_comparison_alone():
    problem = lorenz63(cycles=6, batch=(2,))
    both = {"etkf": da.ETKF(5), "particles": da.ParticleFilter(7)}
    kept = da.compare(problem, both, keep=("members", "innovation"), progress=False)
    alone = da.compare(problem, {"etkf": da.ETKF(5)}, keep=("members", "innovation"))
    one = kept.isel(method=[0])
    scores = (da.crps(r).isel(method=0) for r in (kept, alone))
    np.testing.assert_allclose(*scores, rtol=1e-12)  # equal weights, summed as weights
    np.testing.assert_allclose(da.effective_size(kept.isel(method=0)), 5, rtol=1e-12)
    wide = (da.effective_dimension(r.isel(method=0)) for r in (kept, alone))  # not of the padding
    np.testing.assert_allclose(*wide, rtol=1e-12)
    single = kept.isel(method=0, seed=0)
    told = da.explain(single, problem[0], time=3).verdict
    assert told == da.explain(alone.isel(method=0, seed=0), problem[0], time=3).verdict
    assert np.isfinite(da.score(one, skip=1)["crps"]).all()


def test_a_comparison_keeps_the_order_of_stages():
    problem = lorenz63(cycles=4)
    mixed = da.compare(problem, [da.ETKF(5), da.EnKS(5)], 2, progress=False)
    assert mixed["stage"].values.tolist() == ["forecast", "analysis", "smoothed"]
    assert np.isnan(mixed["mean"].sel(stage="smoothed").isel(method=0)).all()
    assert np.isfinite(mixed["mean"].sel(stage="smoothed").isel(method=1)).all()


@pytest.mark.parametrize("many", [False, True])
def test_a_result_is_written_to_netcdf_and_read_again(tmp_path, many):
    problem = lorenz63(cycles=4)
    result = run(problem, da.ETKF(5), keep=("members",))
    if many:
        result = da.compare(problem, [da.ETKF(5), da.ETKF(6)], 2, progress=False)
    result.to_netcdf(tmp_path / "run.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "run.nc", engine="scipy") as again:
        xr.testing.assert_equal(again.load(), result)
        assert again.attrs["versions"] == result.attrs["versions"]


def test_the_local_particle_filter_takes_one_ensemble_for_many_experiments():
    E = np.random.default_rng(0).normal(size=(5, 6))
    near = Localization.ring(6, 2.0)
    y = np.random.default_rng(1).normal(size=(3, 6))
    neighbours = near.near(np.arange(6.0)[:, None])
    both, _ = local_particle(E, E, y, da.Diagonal(np.ones(6)), neighbours)
    for b in range(3):
        one, _ = local_particle(E, E, y[b], da.Diagonal(np.ones(6)), neighbours)
        np.testing.assert_allclose(both[b], one, rtol=0, atol=1e-14)
    problem = lorenz96(cycles=3, n=6)
    given = dataclasses.replace(problem, prior=da.Ensemble(E))
    result = da.compare(given, [da.LocalParticleFilter(5, near)], 2, progress=False)
    assert not result["diverged"].any()


@pytest.mark.parametrize("like", [np.zeros(1), torch.zeros(1, dtype=torch.float64)])
@pytest.mark.parametrize("kind", [da.EnKF, da.DEnKF])
def test_a_taper_that_is_no_correlation_function_is_told(kind, like):
    """Cut off at 4 points, its least eigenvalue is -2: too much for a spread of 4 beside R = 1."""
    wide = dataclasses.replace(
        lorenz96(cycles=1), prior=da.Gaussian(np.zeros(40), 16 * np.ones(40))
    )
    wide = wide.to(like)
    sharp = Localization.ring(40, 4.0, da.boxcar)
    with pytest.warns(RuntimeWarning, match="is indefinite"):
        run(wide, kind(8, localization=sharp))
    run(wide, kind(8, localization=Localization.ring(40, 4.0)))  # no warning from these
    run(wide, da.LETKF(8, sharp))
    run(wide, da.EnSRF(8, localization=sharp))
    run(lorenz96(cycles=1).to(like), kind(8, localization=sharp))  # spread of 0.03: definite


@pytest.mark.parametrize("N", [2, 5, 20])
def test_enkf_n_in_float32_finds_the_factor_of_float64(N):
    rng = np.random.default_rng(N)
    E, y = rng.normal(size=(N, 40)), 100 * rng.normal(size=40)
    R = np.full(40, 1e-4)
    _, factor = enkf_n(E, E, y, da.Diagonal(R))
    E32, y32 = (torch.tensor(a, dtype=torch.float32) for a in (E, y))
    single, factor32 = enkf_n(E32, E32, y32, da.Diagonal(torch.tensor(R, dtype=torch.float32)))
    assert float(factor32) == pytest.approx(float(factor), rel=0.02)  # round-off of 1e6 : 1
    full, _ = enkf_n(E32, E32, y32, da.Diagonal(torch.full((40,), 1e-4)), hessian=True)
    assert torch.isfinite(full.members).all()
    assert torch.isfinite(single.members).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_variances_of_optimal_interpolation_are_never_negative(dtype):
    rng = np.random.default_rng(0)
    A = torch.tensor(rng.normal(size=(40, 60)), dtype=dtype)
    B, x = A @ A.mT, torch.zeros(40, dtype=dtype)
    R = da.Diagonal(torch.full((40,), 1e-6, dtype=dtype))
    _, P = oi(x, B, x, torch.eye(40, dtype=dtype), x + 1, R)
    assert (torch.diagonal(P) > 0).all()
    assert float(torch.diagonal(P).max()) < (2e-6 if dtype == torch.float64 else 1e-4)


def test_explain_says_the_threshold_that_it_uses():
    problem = lorenz96(cycles=3)
    result = run(problem, da.ETKF(5), keep=("members",))
    table = da.explain(result, problem, 2, component=7).table
    for c, words in zip(table["correlation"], table["verdict"], strict=True):
        assert ("no more than noise, 0.89" in words) == (abs(c) <= 2 / 5**0.5)
    few = run(problem, da.ETKF(4), keep=("members",))
    own = da.explain(few, problem, 2, component=7).table.loc[7]
    assert own["correlation"] == pytest.approx(1)
    assert "noise" not in own["verdict"]
    for wrong in (1.5, 40, "1"):
        with pytest.raises(ValueError, match="component must be an integer from 0 to 39"):
            da.explain(result, problem, component=wrong)


def test_a_taper_may_come_back_but_not_leave_zero_to_one():
    ring = Taper(lambda r: ((r < 1) | (r > 2.5)).astype(float), 3.5)
    E = np.random.default_rng(0).normal(size=(6, 10))
    place = Localization.line(10, 1.0, ring)
    problem = lorenz96(cycles=1, n=10)
    given = dataclasses.replace(problem, prior=da.Ensemble(E))
    mean = run(given, da.LETKF(6, place))["mean"].sel(stage="analysis").values
    x = problem.forecast(E, 0)
    weights = place.weights(np.arange(10.0)[:, None], np.arange(10.0)[:, None])
    for i in range(10):
        near = weights[i] > 0
        R = da.Diagonal(np.ones(near.sum()))
        local = da.methods.etkf(x, x[:, near], problem.data[0][near], R)
        assert mean[0, i] == pytest.approx(float(local.mean[i]), abs=1e-12)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        Localization.line(10, 0.7, Taper(lambda r: 1 - r, 2.0)).weights(
            np.arange(3.0)[:, None], np.arange(3.0)[:, None]
        )


def test_solve_leaves_the_others_of_a_batch_alone():
    bad = 1e9 * np.ones((4, 4))
    A = np.stack([np.eye(4) + 1e5 * np.ones((4, 4)), bad]).astype("f4")
    B = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("f4")
    np.testing.assert_array_equal(solve(A, B)[0], solve(A[:1], B[:1])[0])
    assert np.isfinite(solve(A, B)).all()


@pytest.mark.parametrize("method", [da.IEnKS(5), da.ParticleFilter(5, 0.1)], ids=repr)
def test_one_ensemble_for_a_batch_gives_the_bits_of_each_alone(method):
    problem = lorenz63(cycles=5, batch=(3,))
    E = np.random.default_rng(0).normal(size=(5, 3))
    given = dataclasses.replace(problem, prior=Ensemble(E))
    together = run(given, method)["mean"].values
    for b in range(3):
        np.testing.assert_array_equal(together[b], run(given[b], method, seed=b)["mean"].values)


def test_what_no_method_can_use_is_refused():
    for make, text in (
        (lambda: da.UKF(inflation=da.RTPS(0.5)), "inflation must be positive"),
        (lambda: da.ExtendedKF(da.RTPS(0.5)), "inflation must be positive"),
        (lambda: da.EnKFN(5, xN=da.RTPS(0.5)), "xN must be positive"),
        (lambda: da.ETKF(5, da.RTPS), "inflation must be positive"),
        (lambda: da.UKF(alpha=np.ones(2)), "wanted numbers"),
        (
            lambda: da.Moving(
                [da.Observation(da.identity, np.ones(3)), da.Observation(da.identity, np.ones(0))]
            ),
            "no sensors at time 1",
        ),
    ):
        with pytest.raises(ValueError, match=text):
            make()
    problem = lorenz63(cycles=4, batch=(3,))
    with pytest.raises(ValueError, match=r"mean has shape \(2, 3\), wanted \(3,\) or \(3, 3\)"):
        run(problem, da.Climatology(np.zeros((2, 3)), np.ones(3)))


def test_memory_for_moving_sensors_does_not_grow_with_time():
    from dalearn.methods.ensemble import HELD, remembered

    made = []
    recall = remembered(lambda observe: made.append(observe) or len(made))
    systems = [da.Observation(lambda x: x, np.ones(3)) for _ in range(2 * HELD)]
    for observe in systems:
        recall(observe)
    assert recall(systems[-1]) == 2 * HELD  # held
    assert recall(systems[0]) == 2 * HELD + 1  # made anew
