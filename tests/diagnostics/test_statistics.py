"""Diagnostics that need no truth, and how sure a mean is: exact values on linear problems."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from examples import Rotation, linear_gaussian, lorenz63, lorenz96
from scipy.signal import lfilter

import dalearn as da
from dalearn.methods.ensemble.localization import Localization
from dalearn.problem.belief import Ensemble
from dalearn.run.innovations import agreement


def run(problem, method, keep=("moments",), **settings):
    return da.assimilate(problem, method, keep=keep, progress=False, **settings)


def dense(problem, k, P):
    """H, R and H P H^T + R of a linear problem."""
    y = problem.at(k)[1]
    H, R = problem.observation.operator.matrix, problem.observation.noise.matrix()
    return H, R, H @ P @ H.T + R, y


# --- innovations --------------------------------------------------------------------------------


def test_one_particle_with_all_the_weight_has_no_spread():
    problem = linear_gaussian(cycles=1, n=5, m=3)
    E, w = np.random.default_rng(0).normal(size=(4, 5)), np.array([0.0, 1.0, 0.0, 0.0])
    observe, y = problem.at(0)
    fit = agreement(Ensemble(E, w), observe, y)
    d = observe.noise.whiten(y[None] - observe(E[1][None]))
    assert fit["dfs"] == 0
    np.testing.assert_allclose(fit["chi2"], np.sum(d**2) / 3, rtol=1e-12)


@pytest.mark.parametrize(("N", "m"), [(4, 6), (6, 4), (12, 3)])  # both sides of the algebra
@pytest.mark.parametrize("weighted", [False, True])
def test_agreement_is_the_textbook_formula(N, m, weighted):
    rng = np.random.default_rng(0)
    problem = linear_gaussian(cycles=1, n=5, m=m)
    E = rng.normal(size=(3, N, 5))
    w = rng.dirichlet(np.ones(N), 3) if weighted else np.full((3, N), 1 / N)
    fit = agreement(Ensemble(E, w if weighted else None), *problem.at(0))
    for b in range(3):
        P = np.cov(E[b].T, aweights=w[b])  # / (1 - sum w^2): that of Ensemble
        H, _, S, y = dense(problem, 0, P)
        d = y - H @ (w[b] @ E[b])
        assert np.isclose(fit["chi2"][b], d @ np.linalg.solve(S, d) / m, rtol=1e-10)
        assert np.isclose(fit["dfs"][b], np.trace(H @ P @ H.T @ np.linalg.inv(S)), rtol=1e-10)


def test_agreement_of_a_gaussian_and_of_its_exact_ensemble_are_one():
    problem = linear_gaussian(cycles=1, n=4, m=3)
    rng = np.random.default_rng(1)
    E = rng.normal(size=(9, 4))
    belief = Ensemble(E)
    gaussian = da.Gaussian(belief.mean, da.Dense(np.cov(E.T)))
    a, b = (agreement(x, *problem.at(0)) for x in (belief, gaussian))
    assert np.isclose(a["chi2"], b["chi2"], rtol=1e-10)
    assert np.isclose(a["dfs"], b["dfs"], rtol=1e-10)
    with pytest.raises(TypeError, match="Point has no spread"):
        agreement(da.Point(E[0]), *problem.at(0))


def test_missing_data_are_rows_removed():
    problem = linear_gaussian(cycles=3, n=4, m=3)
    data = problem.data.copy()
    data[:, 1] = np.nan
    data[2] = np.nan
    gaps = dataclasses.replace(problem, data=data)
    H, R = problem.observation.operator.matrix, problem.observation.noise.matrix()
    few = da.Observation(H[[0, 2]], da.Dense(R[np.ix_([0, 2], [0, 2])]))
    removed = dataclasses.replace(problem, observation=few, data=problem.data[:, [0, 2]])
    E = Ensemble(np.random.default_rng(0).normal(size=(8, 4)))
    for k in (0, 1):
        a, b = agreement(E, *gaps.at(k)), agreement(E, *removed.at(k))
        assert np.isclose(a["chi2"], b["chi2"], rtol=1e-10)
        assert np.isclose(a["dfs"], b["dfs"], rtol=1e-10)
    nothing = agreement(E, *gaps.at(2))
    assert np.isnan(nothing["chi2"])
    assert nothing["dfs"] == 0


def test_chi2_of_the_exact_filter_is_one():
    """m K chi2 is chi-square with m K degrees of freedom: its mean has the deviation below."""
    problem = linear_gaussian(cycles=100, batch=(40,))
    chi2 = da.innovation_chi2(run(problem, da.KF(), ("innovation",)))
    error = (2 / (2 * 100 * 40)) ** 0.5  # m = 2; innovations of the exact filter are independent
    assert abs(float(chi2.mean()) - 1) < 4 * error
    narrow = dataclasses.replace(problem, noise=da.Dense(0.25 * problem.noise.matrix()))
    assert float(da.innovation_chi2(run(narrow, da.KF(), ("innovation",))).mean()) > 1 + 20 * error


def test_degrees_of_freedom_of_the_exact_filter():
    problem = linear_gaussian(cycles=30)
    result = run(problem, da.KF(), ("innovation",))
    P = problem.prior.cov.matrix()
    A, Q = problem.model.A, problem.noise.matrix()
    for k in range(30):
        for _ in range(2):
            P = A @ P @ A.T + Q
        H, _, S, _ = dense(problem, k, P)
        K = P @ H.T @ np.linalg.inv(S)
        assert np.isclose(da.degrees_of_freedom(result)[k], np.trace(H @ K), rtol=1e-8)
        P = P - K @ H @ P


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("local", [False, True])
def test_kept_innovations_are_those_of_kept_members(batch, local):
    loc = Localization.line(3, 1.5) if local else None
    method = da.EnKF(7, localization=loc) if local else da.ETKF(7)
    problem = linear_gaussian(cycles=6, batch=batch, local=True)
    result = run(problem, method, ("members", "innovation"))
    bare = result.drop_vars(["chi2", "dfs"])
    for f, name in ((da.innovation_chi2, "chi2"), (da.degrees_of_freedom, "dfs")):
        again = f(bare, problem, localization=loc)
        assert again.dims == result[name].dims
        assert np.allclose(again, result[name], rtol=1e-12)
        assert f(result).identical(result[name])
    tensors = problem.to(torch.zeros(1, dtype=torch.float64))
    assert np.allclose(da.innovation_chi2(bare, tensors, localization=loc), result["chi2"])


def test_chi2_of_a_comparison():
    problem = lorenz63(cycles=6, batch=(3,))
    result = da.compare(problem, [da.ETKF(8), da.EnKF(8)], keep=("members", "innovation"))
    again = da.innovation_chi2(result.drop_vars("chi2"), problem)
    assert again.dims == ("scheme", "seed", "time")
    assert np.allclose(again, result["chi2"], rtol=1e-12)
    mixed = da.compare(problem, [da.ETKF(8), da.ETKF(9)], keep=("members",))
    with pytest.raises(ValueError, match="select one method"):
        da.innovation_chi2(mixed, problem)


def test_chi2_from_standard_deviations():
    """With a diagonal covariance it is the chi-square itself; of a batch, the same mean 1."""
    problem = lorenz96(5, n=6)
    gaps = problem.data.copy()
    gaps[1, 2] = np.nan
    problem = dataclasses.replace(problem, data=gaps)
    result = run(problem, da.ETKF(10))
    chi2 = da.innovation_chi2(result, problem)
    f = result.sel(stage="forecast")
    square = (result["observation"] - f["mean"].rename(x="y")) ** 2 / (
        f["std"].rename(x="y") ** 2 + 1
    )
    assert np.allclose(chi2, square.mean("y"), rtol=1e-12)
    batch = lorenz96(120, batch=(10,), n=10)
    series = da.innovation_chi2(run(batch, da.ETKF(30, inflation=1.01)), batch)[:, 40:]
    late = da.interval(series.mean("case"))
    # 800 x 10 squares, deviation 1.4 each: 0.016; sampling and inflation some more
    assert abs(float(late["mean"]) - 1) < 0.08
    linear = linear_gaussian()
    result = run(linear, da.ETKF(5))
    with pytest.raises(ValueError, match="picks components"):
        da.innovation_chi2(result, linear)


def steady(problem, R):
    """Forecast and analysis covariances that the Kalman filter with R ends at, and H."""
    P, A, Q = problem.prior.cov.matrix(), problem.model.A, problem.noise.matrix()
    H = problem.observation.operator.matrix
    for _ in range(60):
        for _ in range(2):
            P = A @ P @ A.T + Q
        before, P = P, P - P @ H.T @ np.linalg.solve(H @ P @ H.T + R, H @ P)
    return before, P, H


def test_desroziers_recovers_R_and_the_forecast_errors():
    """On the exact filter the identities are exact; 24000 innovations leave 1.5 % of error."""
    problem = linear_gaussian(cycles=300, batch=(80,))
    result = run(problem, da.KF())
    found = da.desroziers(result, skip=20, full=True)
    R = problem.observation.noise.matrix()
    before, after, H = steady(problem, R)
    S = H @ before @ H.T + R
    wanted = {"R": R, "HBH": H @ before @ H.T, "HAH": H @ after @ H.T, "total": S}
    for name, value in wanted.items():
        mean, error = found[name].mean("case"), found[name].std("case") / 80**0.5
        assert found[name].dims == ("case", "y", "y2")
        assert (abs(mean - value) < 4.5 * error).all(), name  # 16 numbers: p = 1e-4 together
        assert (error < 0.05 * np.sqrt(np.outer(np.diag(S), np.diag(S)))).all()
    diagonal = da.desroziers(result, skip=20)
    assert np.allclose(diagonal["R"], np.diagonal(found["R"], axis1=-2, axis2=-1))
    assert (abs(diagonal["bias"].mean("case")) < 4.5 * found["bias"].std("case") / 80**0.5).all()


def test_desroziers_with_a_wrong_R_is_a_step_of_its_fixed_point():
    """Residuals are R_w S_w^-1 d_b whatever the truth is, so the estimate is R_w S_w^-1 S."""
    problem = linear_gaussian(cycles=300, batch=(20,))
    R = problem.observation.noise.matrix()
    wrong = dataclasses.replace(
        problem, observation=da.Observation(problem.observation.operator.matrix, da.Dense(R / 4))
    )
    found = da.desroziers(run(wrong, da.KF()), skip=60, full=True).mean("case")
    before, _, H = steady(wrong, R / 4)
    S = H @ before @ H.T + R / 4
    step = R / 4 @ np.linalg.solve(S, found["total"].values)
    assert np.allclose(found["R"], step, rtol=1e-7)


def test_desroziers_leaves_gaps_out():
    problem = linear_gaussian(cycles=60, batch=(3,))
    data = problem.data.copy()
    data[:, ::3, 0] = np.nan
    gaps = dataclasses.replace(problem, data=data)
    result = run(gaps, da.KF())
    found = da.desroziers(result, full=True)
    seen = np.isfinite(data[0, :, 0])
    d = (result["observation"] - result["predicted"])[0].transpose("time", "stage", "y").values
    d_b, d_a = d[seen, 0], d[seen, 1]
    assert np.allclose(found["R"][0, 0], (d_a[:, :1] * d_b).mean(0), rtol=1e-12)


# --- ensembles ----------------------------------------------------------------------------------


def weighted(E, w):
    """A result that holds nothing but members with weights."""
    dims = ("time", "stage", "member")
    x = xr.Dataset({"members": ((*dims, "x"), E), "weights": (dims, w)})
    return x.assign(ensemble_size=E.shape[2])


def test_effective_size_and_dimension():
    rng = np.random.default_rng(0)
    E = rng.normal(size=(2, 1, 5, 3))
    w = np.stack([np.full((1, 5), 0.2), np.array([[0.5, 0.5, 0, 0, 0]])])
    result = weighted(E, w)
    assert np.allclose(da.effective_size(result)[:, 0], [5, 2])
    assert np.allclose(da.effective_size(result.drop_vars("weights")), 5)
    C = np.cov(E[0, 0].T)
    values = np.linalg.eigvalsh(C)
    expected = values.sum() ** 2 / (values**2).sum()
    for one in (result, result.drop_vars("weights")):
        assert np.isclose(da.effective_dimension(one)[0, 0], expected, rtol=1e-12)
    assert np.isclose(da.effective_dimension(result)[1, 0], 1)  # two members lie on a line
    many = rng.normal(size=(1, 1, 4000, 7))  # isotropic: every direction; 1 / N to first order
    wide = weighted(many, np.full((1, 1, 4000), 1 / 4000))
    assert abs(da.effective_dimension(wide).item() - 7) < 0.05
    with pytest.raises(ValueError, match="no members"):
        da.effective_size(run(lorenz63(cycles=3), da.ETKF(5)))


def test_spread_skill_of_a_reliable_ensemble():
    """Errors drawn with the spread of each case: the bins lie on the diagonal."""
    rng = np.random.default_rng(0)
    s = rng.uniform(0.5, 2, (4, 500, 1, 30))
    dims = ("case", "time", "stage", "x")
    truth = np.zeros((4, 500, 30))
    data = {"mean": (dims, s * rng.normal(size=s.shape)), "std": (dims, s)}
    result = xr.Dataset({**data, "truth": (("case", "time", "x"), truth)}, {"stage": ["forecast"]})
    found = da.spread_skill(result, bins=6)
    assert found["count"].values.tolist() == [10000] * 6
    # a standard deviation from 10000 values is known to 1 / sqrt(20000) = 0.7 %
    assert np.allclose(found["rmse"] / found["spread"], 1, atol=0.03)
    assert (np.diff(found["spread"]) > 0.15).all()
    both = xr.concat([result, result.assign(std=2 * result["std"])], dim="scheme")
    found = da.spread_skill(both, bins=3)
    assert found["rmse"].dims == ("scheme", "bin")
    assert np.allclose((found["rmse"] / found["spread"])[1], 0.5, atol=0.02)


# --- means of correlated series -----------------------------------------------------------------


def ar1(phi, n, rows, seed=0):
    """Stationary x_k = phi x_(k-1) + e_k of variance 1, rows `(rows, n)`."""
    e = np.random.default_rng(seed).normal(size=(rows, n))
    e[:, 1:] *= (1 - phi**2) ** 0.5
    return lfilter([1.0], [1.0, -phi], e)


def exact_variance(phi, n):
    """Of the mean of n values of ar1."""
    return ((1 + phi) / (1 - phi) - 2 * phi * (1 - phi**n) / (n * (1 - phi) ** 2)) / n


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, -0.5])
def test_intervals_of_ar1_have_the_exact_width_and_cover(phi):
    n, rows = 4000, 1000
    x = ar1(phi, n, rows)
    found = da.interval(x)
    tau = (1 + phi) / (1 - phi)
    # a few per cent: the window of Geyer's sequence is chosen by the data
    assert abs(float(found["tau"].mean()) / tau - 1) < 0.06
    assert abs(float((found["error"] ** 2).mean()) / exact_variance(phi, n) - 1) < 0.08
    assert np.isclose(x.mean(-1).var(), exact_variance(phi, n), rtol=0.15)  # the formula itself
    assert np.allclose(found["effective"] * found["tau"], n)
    for level in (0.5, 0.95):
        found = da.interval(x, level)
        covered = float(((found["low"] < 0) & (found["high"] > 0)).mean())
        # binomial, 1000 rows: 0.7 % at 0.95; and tau has 5 to 15 % of scatter
        assert abs(covered - level) < 4 * (level * (1 - level) / rows) ** 0.5 + 0.01


def test_batch_means_cover_too():
    found = da.interval(ar1(0.8, 4000, 2000), batches=20)  # batches of 200, tau = 9
    covered = float(((found["low"] < 0) & (found["high"] > 0)).mean())
    assert abs(covered - 0.95) < 0.025
    assert abs(float(found["tau"].mean()) / 9 - 1) < 0.1
    even = np.arange(10.0)
    assert np.isclose(da.interval(even[None], batches=3)["mean"], even[1:].mean())


def test_an_interval_that_ignores_correlation_would_not_cover():
    x = ar1(0.9, 4000, 1000)
    half = 1.96 * x.std(-1) / 4000**0.5
    assert float((abs(x.mean(-1)) < half).mean()) < 0.5


def test_intervals_of_scores():
    problem = lorenz63(cycles=200, batch=(3,))
    error = da.rmse(run(problem, da.ETKF(10, inflation=1.02))).sel(stage="analysis")
    found = da.interval(error.isel(time=slice(64, None)))
    assert found["mean"].dims == ("case",)
    assert np.allclose(found["mean"], error[:, 64:].mean("time"))
    assert (found["low"] < found["mean"]).all()
    one = da.interval(error[0, 64:])
    assert np.allclose(one["high"], found["high"][0])
    broken = error.copy()
    broken[1, 100] = np.nan
    again = da.interval(broken.isel(time=slice(64, None)))
    assert np.isnan(again["low"][1])
    assert np.array_equal(again["low"][[0, 2]], found["low"][[0, 2]])
    flat = da.interval(np.full(50, 0.3))
    assert abs(flat["high"] - flat["low"]) < 1e-15
    assert np.isclose(flat["mean"], 0.3, rtol=1e-15)
    assert da.autocorrelation_time(np.arange(8) % 2 * 1.0) > 0  # alternating: tau < 1, not <= 0


# --- why an increment is small ------------------------------------------------------------------


def test_explain_is_the_gain_of_the_ensemble():
    problem = linear_gaussian(cycles=4, n=4, m=3)
    result = run(problem, da.ETKF(9), ("members",))
    E = result["members"].sel(stage="forecast").values[2]
    H, R, S, y = dense(problem, 2, np.cov(E.T))
    d, K = y - H @ E.mean(0), np.cov(E.T) @ H.T @ np.linalg.inv(S)
    table = da.explain(result, problem, 2).table
    B = H @ np.cov(E.T) @ H.T
    assert np.allclose(table["innovation"], d)
    assert np.allclose(table["spread"], np.diag(B) ** 0.5)
    assert np.allclose(table["error"], np.diag(R) ** 0.5)
    assert np.allclose(table["gain"], np.diag(B) / np.diag(S))
    assert np.allclose(table["alone"], np.diag(B) / np.diag(S) * d)
    assert np.allclose(table["together"], H @ K @ d)
    assert np.allclose(table["increment"], H @ K @ d)  # the ETKF does what its gain says
    shift = (result["mean"].sel(stage="analysis") - result["mean"].sel(stage="forecast"))[2]
    for i in range(4):
        table = da.explain(result, problem, 2, component=i).table
        assert np.allclose(table["gain"], K[i])
        assert np.isclose(table["increment"].sum(), shift[i])
        assert np.allclose(table["correlation"], [np.corrcoef(E[:, i], E @ h)[0, 1] for h in H])
    tensors = problem.to(torch.zeros(1, dtype=torch.float64))
    a, b = (da.explain(result, p, 2).table for p in (problem, tensors))
    assert np.allclose(a.drop(columns="verdict"), b.drop(columns="verdict"), rtol=1e-10)


def test_explain_with_localization_and_gaps():
    loc = Localization.ring(10, 1.0)
    problem = lorenz96(4, n=10)
    data = problem.data.copy()
    data[:, 3] = np.nan
    problem = dataclasses.replace(problem, data=data)
    result = run(problem, da.EnKF(8, localization=loc), ("members",))
    told = da.explain(result, problem, localization=loc)
    assert told.table.index.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert np.allclose(told.table["together"], told.table["increment"])
    far = da.explain(result, problem, component=0, localization=loc).table
    shift = result["mean"].sel(stage="analysis") - result["mean"].sel(stage="forecast")
    assert np.isclose(far["increment"].sum(), shift[-1, 0])
    assert far.loc[5, "verdict"] == "the taper keeps it out"
    assert far.loc[5, "taper"] == 0


def small(spread, error, innovation, n=3, N=20):
    """One cycle of a problem in which every number is chosen."""
    rng = np.random.default_rng(0)
    E = rng.normal(size=(N, n))
    E = (E - E.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(E.T))).T * spread
    prior = da.Ensemble(E)
    see = da.Observation(da.identity, da.Diagonal(error**2 * np.ones(n)))
    y = np.full((1, n), float(innovation))
    return da.Problem(Rotation(np.eye(n)), see, prior, y)


@pytest.mark.parametrize(
    ("spread", "error", "innovation", "words", "whole"),
    [
        (0.05, 1.0, 5.0, "spread too small", "too sure of itself"),
        (0.05, 1.0, 1.0, "spread is 0.05 of", "better than the data"),
        (1.0, 1.0, 0.1, "forecast agrees", ""),
        (1.0, 0.05, 1.0, "taken nearly as it is", ""),
        (1.0, 0.05, 9.0, "outlier, or R too small", ""),
        (1.0, 1.0, 1.0, "weighed by", ""),
    ],
)
def test_explain_says_why(spread, error, innovation, words, whole):
    problem = small(spread, error, innovation)
    result = run(problem, da.ETKF(20), ("members",))
    told = da.explain(result, problem)
    assert told.table["verdict"].str.contains(words, regex=False).all()
    assert whole in told.verdict
    text = repr(told)
    assert words in text
    assert max(map(len, text.splitlines()[2:])) < 140
    assert "<table" in told._repr_html_()


def test_explain_a_component_that_nothing_reaches():
    problem = small(1.0, 1.0, 1.0)
    problem = dataclasses.replace(
        problem,
        observation=da.Observation(da.Subset(np.array([0])), np.ones(1)),
        data=problem.data[:, :1],
    )
    result = run(problem, da.ETKF(20), ("members",))
    told = da.explain(result, problem, component=1)  # independent of component 0 by construction
    assert "No observation is correlated with it" in told.verdict
    assert told.table["verdict"].item().startswith("correlated no more than noise")
    told = da.explain(result, problem, component=2, localization=Localization.line(3, 0.2))
    assert "No observation reaches it" in told.verdict
    assert da.explain(result, problem, component=0).table["verdict"].item() == "counts"


def test_explain_prints_few_rows_of_many():
    problem = lorenz96(2, n=40)
    text = repr(da.explain(run(problem, da.ETKF(20), ("members",)), problem))
    assert "largest increments of 40" in text
    assert len(text.splitlines()) < 20


def test_explain_refuses():
    problem = lorenz63(cycles=3, batch=(2,))
    result = run(problem, da.ETKF(5), ("members",))
    one = result.isel(case=0)
    bad = {
        "keep=\\('members',\\)": lambda: da.explain(one.drop_vars("members"), problem[0]),
        "one experiment": lambda: da.explain(result, problem),
        "from 0 to 2, met 7": lambda: da.explain(one, problem[0], 7),
        "component must be": lambda: da.explain(one, problem[0], component=3),
        "that it was made from": lambda: da.explain(one, lorenz63(cycles=4)),
    }
    for text, call in bad.items():
        with pytest.raises(ValueError, match=text):
            call()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        da.explain(one, problem[0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r, p: da.innovation_chi2(r), "needs the problem"),
        (lambda r, p: da.innovation_chi2(r, lorenz63(cycles=5)), "made from"),
        (lambda r, p: da.degrees_of_freedom(r, p), "need covariances"),
        (lambda r, p: da.effective_dimension(r), "no members"),
        (lambda r, p: da.interval(da.rmse(r), dim="case"), "wanted 'case'"),
        (lambda r, p: da.interval(da.rmse(r), 95), "between 0 and 1"),
        (lambda r, p: da.interval(np.ones(9), batches=10), "from 2 to 9"),
        (lambda r, p: da.interval(np.ones(3)), "at least 4"),
        (lambda r, p: da.spread_skill(r, bins=0), "bins must be"),
        (lambda r, p: da.spread_skill(r, stage="smoothed"), "met the stage"),
        (lambda r, p: da.desroziers(r, skip=9), "skip = 9"),
    ],
)
def test_what_cannot_be_told_is_refused(call, words):
    problem = lorenz63(cycles=6)
    with pytest.raises(ValueError, match=words):
        call(run(problem, da.ETKF(5)), problem)
