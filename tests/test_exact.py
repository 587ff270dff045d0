"""Methods beside the exact answers of random linear problems, in 80 digits (exact.py)."""

import numpy as np
import pytest
from exact import digits, in_digits, matrix, posterior, problem, solve
from lengths import full

import dalearn as da
from dalearn.problem.belief import Ensemble
from dalearn.run.innovations import agreement

SEEDS = full(20, 200)


@pytest.mark.proof
@pytest.mark.parametrize(
    "method",
    [da.KF(), da.RTS(), da.UKF(), da.UnscentedRTS(lag=9)],
    ids=["KF", "RTS", "UKF", "UnscentedRTS"],
)
def test_filters_and_smoother_are_exact_for_sensors_and_units_of_any_size(method):
    """Sensors to 1e-9 of the prior, units 1e-9 to 1e9, more data than unknowns, Q of any rank.

    Measured over 200 problems: 1e-4 standard deviations, 1e-6 of a standard deviation.
    """
    for seed in range(SEEDS):
        p = problem(seed)
        wanted, got = posterior(p), da.assimilate(p, method, progress=False)
        for stage in got["stage"].values:
            here, std = got.sel(stage=stage), wanted.std(stage)
            assert (abs(here["mean"] - wanted.mean[stage]) < 0.01 * std).all(), (seed, stage)
            assert (abs(here["std"] - std) < 0.01 * std).all(), (seed, stage)
        off = abs(got["log_likelihood"].values - wanted.log_likelihood)
        assert off.max() < 1e-3, seed


@pytest.mark.proof
def test_optimal_interpolation_is_exact_in_its_first_cycle():
    for seed in range(SEEDS):
        p = problem(seed, cycles=1)
        wanted = posterior(p)
        B = da.Dense.unchecked(wanted.cov["forecast"][0])
        if p.n > 1 and isinstance(p.noise, da.Rows):
            continue  # as a matrix, the sum of P0 and Q has lost what 80 digits hold
        got = da.assimilate(p, da.OI(B), progress=False).isel(time=0).sel(stage="analysis")
        std = wanted.std("analysis")[0]
        assert (abs(got["mean"] - wanted.mean["analysis"][0]) < 0.01 * std).all(), seed
        assert (abs(got["std"] - std) < 0.01 * std).all(), seed


@in_digits
def exact_fit(X, observe, d):
    """d (H X^T X H^T + R)^-1 d over m, and tr H K, in 80 digits."""
    seen = np.arange(observe.m) if observe.noise.seen is None else observe.noise.seen
    H = digits(observe.operator.matrix[seen])
    R, Z, d = matrix(observe.noise, observe.m)[seen][:, seen], X @ H.T, d[seen]
    W = solve(Z.T @ Z + R, np.concatenate([d[:, None], Z.T @ Z], axis=1))
    return float(d @ W[:, 0] / len(d)), float(np.trace(W[:, 1:]))


@pytest.mark.proof
def test_chi_square_and_degrees_of_freedom_for_sensors_of_any_quality():
    """Of a Gaussian and of an ensemble; good sensors beside bad ones."""
    for seed in range(SEEDS):
        p = problem(seed, cycles=1)
        observe, y = p.at(0)
        if np.isnan(p.data).all():
            continue
        H = digits(observe.operator.matrix)
        E = p.prior.sample(np.random.default_rng(seed), 4)
        rows = np.linalg.cholesky(p.prior.cov.matrix()).T
        x, X = digits(E).sum(0) / 4, digits(E) - digits(E).sum(0) / 4
        for belief, mean, anomalies in (
            (da.Gaussian(p.prior.mean, da.Rows(rows)), digits(p.prior.mean), digits(rows)),
            (Ensemble(E), x, X / digits(3.0) ** 0.5),
        ):
            got = agreement(belief, observe, y)
            chi2, dfs = exact_fit(anomalies, observe, digits(y) - H @ mean)
            assert abs(got["chi2"] / chi2 - 1) < 0.01, (seed, type(belief))
            assert abs(got["dfs"] - dfs) < 0.01, (seed, type(belief))


def test_a_wide_prior_leaves_the_likelihood_finite_and_right():
    """P0 up to 1e24 beside R of 1e-12, five sensors of one number: closed form in the unknown."""
    H, r = np.array([[1.0], [0.7], [1.3], [1.0], [0.9]]), 1e-6
    y = 3e-6 * H[:, 0] + 1e-6 * np.random.default_rng(2).normal(size=5)
    for P0 in (1.0, 1e4, 1e12):
        info = 1 / P0 + (H**2).sum() / r**2
        mean = (H[:, 0] @ y) / r**2 / info
        fit = (y @ y) / r**2 - info * mean**2
        wanted = -(5 * np.log(2 * np.pi * r**2) + np.log(P0 * info) + fit) / 2
        p = da.Problem(
            da.Linear(np.eye(1)),
            da.Observation(H, r**2 * np.ones(5)),
            da.Gaussian(np.zeros(1), [P0]),
            y[None],
        )
        for method in (da.KF(), da.UKF(), da.RTS()):
            out = da.assimilate(p, method, progress=False)
            # the spread is 1e12 errors at the most, of which doubles leave 1e-4
            assert abs(float(out["log_likelihood"][0]) - wanted) < 1e-3
            a = out.sel(stage="analysis").isel(time=0, x=0)
            assert abs(float(a["mean"]) - mean) < 0.01 * info**-0.5
            assert abs(float(a["std"]) * info**0.5 - 1) < 0.01
