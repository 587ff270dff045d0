"""What broke methods once: hard inputs, each with the value that is right."""

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr
from bits import same_bits
from examples import lorenz63, lorenz96

import dalearn as da
from dalearn import Localization
from dalearn.array import solve
from dalearn.covariances.tapers import Taper
from dalearn.methods import enkf_n, oi
from dalearn.methods.particles.local import local_particle
from dalearn.problem.belief import Ensemble


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
    da.ParticleFilter(5), da.UKF(), da.ExtendedKF(), da.OI(np.ones(2)),
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
    one = kept.isel(scheme=[0])
    scores = (da.crps(r).isel(scheme=0) for r in (kept, alone))
    np.testing.assert_allclose(*scores, rtol=1e-12)  # equal weights, summed as weights
    np.testing.assert_allclose(da.effective_size(kept.isel(scheme=0)), 5, rtol=1e-12)
    wide = (da.effective_dimension(r.isel(scheme=0)) for r in (kept, alone))  # not of the padding
    np.testing.assert_allclose(*wide, rtol=1e-12)
    single = kept.isel(scheme=0, seed=0)
    told = da.explain(single, problem[0], time=3).verdict
    assert told == da.explain(alone.isel(scheme=0, seed=0), problem[0], time=3).verdict
    assert np.isfinite(da.score(one, skip=1)["crps"]).all()


def test_a_comparison_keeps_the_order_of_stages():
    problem = lorenz63(cycles=4)
    mixed = da.compare(problem, [da.ETKF(5), da.EnKS(5)], 2, progress=False)
    assert mixed["stage"].values.tolist() == ["forecast", "analysis", "smoothed"]
    assert np.isnan(mixed["mean"].sel(stage="smoothed").isel(scheme=0)).all()
    assert np.isfinite(mixed["mean"].sel(stage="smoothed").isel(scheme=1)).all()


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
    result = da.compare(given, [da.LocalParticleFilter(5, localization=near)], 2, progress=False)
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
    run(wide, da.LETKF(8, localization=sharp))
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
        with pytest.raises(ValueError, match="component must be an integer"):
            da.explain(result, problem, component=wrong)


def test_a_taper_may_come_back_but_not_leave_zero_to_one():
    ring = Taper(lambda r: ((r < 1) | (r > 2.5)).astype(float), 3.5)
    E = np.random.default_rng(0).normal(size=(6, 10))
    place = Localization.line(10, 1.0, ring)
    problem = lorenz96(cycles=1, n=10)
    given = dataclasses.replace(problem, prior=da.Ensemble(E))
    mean = run(given, da.LETKF(6, localization=place))["mean"].sel(stage="analysis").values
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


@pytest.mark.parametrize(
    "method", [da.IEnKS(5), da.ParticleFilter(5, regularization=0.1)], ids=repr
)
def test_one_ensemble_for_a_batch_gives_the_bits_of_each_alone(method):
    problem = lorenz63(cycles=5, batch=(3,))
    E = np.random.default_rng(0).normal(size=(5, 3))
    given = dataclasses.replace(problem, prior=Ensemble(E))
    together = run(given, method)["mean"].values
    for b in range(3):
        assert same_bits(together[b], run(given[b], method, seed=b)["mean"].values)


def test_what_no_method_can_use_is_refused():
    for make, text in (
        (lambda: da.UKF(inflation=da.RTPS(0.5)), "inflation must be a finite number"),
        (lambda: da.ExtendedKF(da.RTPS(0.5)), "inflation must be a finite number"),
        (lambda: da.Var4D(2, inflation=da.RTPS(0.5)), "inflation must be a finite number"),
        (lambda: da.EnKFN(5, xN=da.RTPS(0.5)), "xN must be a finite number"),
        (lambda: da.ETKF(5, inflation=da.RTPS), "met the class RTPS"),
        (lambda: da.UKF(alpha=np.ones(2)), "alpha must be a finite number, met"),
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
    with pytest.raises(ValueError, match=r"mean must be \(3,\) or \(3, 3\), met shape \(2, 3\)"):
        run(problem, da.Climatology(np.zeros((2, 3)), cov=np.ones(3)))


def test_memory_for_moving_sensors_does_not_grow_with_time():
    from dalearn.methods.ensemble.tapering import REMEMBERED, remembered

    made = []
    recall = remembered(lambda observe: made.append(observe) or len(made))
    systems = [da.Observation(lambda x: x, np.ones(3)) for _ in range(2 * REMEMBERED)]
    for observe in systems:
        recall(observe)
    assert recall(systems[-1]) == 2 * REMEMBERED  # held
    assert recall(systems[0]) == 2 * REMEMBERED + 1  # made anew


# --- variational methods -------------------------------------------------------------------------

QUIET = pytest.mark.filterwarnings("ignore::dalearn.NotConverged")


def gaps(problem, value):
    """The problem with `value` in the data of experiment 1 at times 2 to 4."""
    data = problem.data.copy()
    data[1, 2:5] = value
    return dataclasses.replace(problem, data=data)


def test_lbfgs_leaves_alone_what_has_no_data():
    """At a gradient of 0 there is no direction to go: 0 / 0."""
    problem = gaps(lorenz63(cycles=6, batch=(3,)), np.nan)
    method = da.Var3D(np.ones(3), solver=da.LBFGS())
    result = run(problem, method)
    assert np.isfinite(result["mean"]).all()
    assert result["converged"].all()
    for b in range(3):
        alone = run(problem[b], method, seed=b)
        for name in ("mean", "step", "iterations"):
            assert same_bits(result[name][b], alone[name])


@QUIET
@pytest.mark.parametrize(
    "method",
    [
        da.Var3D(np.ones(3)),
        da.Var3D(np.ones(3), solver=da.IncrementalCG()),
        da.Var3D(np.ones(3), solver=da.LBFGS()),
        da.Var4D(2, B=np.ones(3)),
        da.WeakVar4D(2, Q=np.ones(3)),
        da.EnVar4D(5, window=2),
    ],
    ids=lambda m: type(m).__name__,
)
def test_what_has_diverged_has_not_converged(method):
    problem = lorenz63(cycles=6, batch=(3,))
    a, b = run(problem, method), run(gaps(problem, 1e200), method)
    assert b["diverged"].values.tolist() == [False, True, False]
    assert not (b["converged"][1, 2:] == 1).any()
    for name in ("mean", "std", "cost", "iterations", "converged"):
        one, other = a[name][[0, 2]], b[name][[0, 2]]
        if name == "std" and isinstance(getattr(method, "solver", None), da.IncrementalCG):
            # its space has the size of the batch's largest: singular values to round-off
            np.testing.assert_allclose(one, other, rtol=1e-14)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("B", [1.0, 1e8])
@pytest.mark.parametrize("solver", [da.GaussNewton(), da.IncrementalCG()], ids=["dense", "cg"])
def test_perfect_data_in_float32(solver, B):
    """R = 1e-12: a gradient of 1e13 or 1e17, whose curvature is beyond the largest float32."""
    observe = da.Observation(da.identity, 1e-12 * np.ones(3))
    prior = da.Gaussian(np.array([1.5, -1.5, 25.0]), np.ones(3))
    data = np.array([[2.0, -4.0, 20.0]])
    problem = da.Problem(da.Lorenz63(), observe, prior, data, 5).to(np.zeros(1, np.float32))
    method = da.Var3D(B * np.ones(3), solver=solver)
    if isinstance(solver, da.GaussNewton):  # whose standard deviations are right
        with pytest.warns(RuntimeWarning, match="is not resolved"):  # 20 has a round-off of 2e-6
            result = run(problem, method).sel(stage="analysis")
    else:
        result = run(problem, method).sel(stage="analysis")
    np.testing.assert_allclose(result["mean"], data, rtol=3e-7)  # the last digit of float32
    if isinstance(solver, da.GaussNewton):
        np.testing.assert_allclose(result["std"], 1e-6, rtol=1e-5)


def test_conjugate_gradients_that_end_too_early_have_not_converged():
    rng = np.random.default_rng(0)
    observe = da.Observation(rng.normal(size=(20, 20)), np.ones(20))
    prior = da.Gaussian(np.zeros(20), np.ones(20))
    problem = da.Problem(da.Linear(np.eye(20)), observe, prior, rng.normal(size=(1, 20)))
    exact = run(problem, da.Var3D(np.ones(20)))["mean"]
    with pytest.warns(da.NotConverged):
        early = run(problem, da.Var3D(np.ones(20), solver=da.IncrementalCG(1, inner=4)))
    assert not early["converged"].any()
    again = run(
        problem, da.Var3D(np.ones(20), solver=da.IncrementalCG(50, tolerance=0.01, inner=4))
    )
    assert again["converged"].all()
    assert (again["iterations"] > 1).all()
    # it ends when a step is 0.01 standard deviations; restarts of four products are slow
    gap = [float(abs(r["mean"] - exact).max()) for r in (early, again)]
    assert gap[1] < 0.05 < gap[0]


def test_a_minimisation_that_cannot_move_ends_at_once():
    """The square root at 0 has no slope: no number comes of it, and it is told."""

    def root(x):
        return da.array.array_namespace(x).sqrt(x)

    observe = da.Observation(root, np.array([0.1, 0.1]))
    prior = da.Gaussian(np.zeros(2), np.ones(2))
    problem = da.Problem(da.Linear(np.eye(2)), observe, prior, np.ones((1, 2)))
    with pytest.warns(da.NotConverged):
        result = run(problem, da.Var3D(np.ones(2), solver=da.IncrementalCG()))
    assert not result["converged"].any()
    assert float(result["iterations"].max()) == 1
    assert float(abs(result["mean"]).max()) == 0


def test_the_other_variational_methods_warn_too():
    problem = lorenz63(cycles=4, noise=0.02 * np.ones(3))
    with pytest.warns(da.NotConverged, match="WeakVar4D\\(iterations=1"):
        run(problem, da.WeakVar4D(4, iterations=1))
    bent = dataclasses.replace(
        problem, observation=da.Observation(lambda x: x * x, np.ones(3)), noise=None
    )
    with pytest.warns(da.NotConverged, match="GaussNewton\\(iterations=1"):
        run(bent, da.EnVar4D(5, window=2, solver=da.GaussNewton(1)))


@QUIET
def test_batches_of_covariances_fit_the_problems():
    problem, B = lorenz63(cycles=2), da.Diagonal(np.ones((2, 3)))
    for method in (da.Var3D(B), da.Var4D(B=B), da.WeakVar4D(B=B, Q=np.ones(3)), da.WeakVar4D(Q=B)):
        with pytest.raises(ValueError, match=r"batch axes \(2,\), wanted axes that broadcast"):
            run(problem, method)
        assert run(problem.expand((2,)), method).sizes["case"] == 2


def test_4denvar_with_localization_keeps_innovations():
    near = da.Dense(0.5 * np.eye(3) + 0.5)
    problem = lorenz63(cycles=4)
    method = da.EnVar4D(5, localization=near)
    result = run(problem, method, keep=("innovation", "members"))
    E = result["members"].sel(stage="forecast").values
    R = problem.observation.noise.matrix()
    for k in range(4):
        C = np.cov(E[k], rowvar=False)  # the members' own: a Covariance tapers within the method
        d = problem.data[k] - E[k].mean(axis=0)
        assert np.isclose(result["chi2"][k], d @ np.linalg.solve(C + R, d) / 3, rtol=1e-10)


def test_a_gradient_test_in_float32_knows_right_from_wrong():
    def cost(x):
        return 0.5 * (x**2).sum(-1) + 0.25 * (x**4).sum(-1)

    x = np.random.default_rng(0).normal(size=30).astype("f4")
    assert da.gradient_test(cost, x).attrs["passed"]
    assert not da.gradient_test(cost, x, gradient=lambda x: x + 1.1 * x**3).attrs["passed"]
