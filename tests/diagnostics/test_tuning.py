"""How large errors are: from forecasts (NMC), and from innovations (Desroziers and Ivanov)."""

import warnings

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.covariances.kernels import soar

M = 100
B = da.OnGrid(M, 10.0, soar)
R = np.ones(M)


def draws(K, count, b=4.0, r=0.25, first=0):
    """Innovations (count, K, M) of a truth whose B and R are b and r times the assumed ones."""
    out = []
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        e = r**0.5 * rng.normal(size=(K, M))
        out.append(b**0.5 * B.color(rng.normal(size=(K, M))) + e)
    return np.stack(out)


def textbook(d, C, Rm, iterations, cost=0.5):
    """The iteration as it is written: minimise J, take its two terms, divide by the traces."""
    b = r = 1.0
    for _ in range(iterations):
        S = b * C + r * Rm
        K = b * C @ np.linalg.inv(S)
        dx = d @ K.T  # the analysis at the minimum, seen by H
        jb = cost * np.einsum("ki,ij,kj->", dx, np.linalg.inv(b * C), dx)
        jo = cost * np.einsum("ki,ij,kj->", d - dx, np.linalg.inv(r * Rm), d - dx)
        m = len(d) * len(S)
        b, r = b * 2 * jb / (len(d) * np.trace(K)), r * 2 * jo / (m - len(d) * np.trace(K))
    return b, r


def quiet(*args, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return da.di01(*args, **settings)


# --- Desroziers and Ivanov ---------------------------------------------------------------------


@pytest.mark.parametrize("cost", [0.5, 1.0])
def test_it_is_the_textbook_iteration(cost):
    rng = np.random.default_rng(1)
    L = rng.normal(size=(6, 6))
    C, Rm = L @ L.T, np.diag(rng.uniform(0.5, 2, 6)) + 0.2
    d = rng.normal(size=(3, 6)) * 2
    found = quiet(d, C, Rm, iterations=5, cost_factor=cost)
    assert found.history_b.shape == (6,)
    for i in range(6):
        b, r = textbook(d, C, Rm, i, cost)
        assert found.history_b[i] == pytest.approx(b, rel=1e-10)
        assert found.history_o[i] == pytest.approx(r, rel=1e-10)


def test_true_scales_are_recovered_from_fifty_vectors():
    """B x 4 and R x 0.25 within 15 % in at least 19 of 20 draws."""
    found = da.di01(draws(50, 20), B, R)
    good = (abs(found.s_b / 4 - 1) < 0.15) & (abs(found.s_o / 0.25 - 1) < 0.15)
    assert good.sum() >= 19
    assert found.converged.all()
    assert found.identifiable.all()
    assert found.message == ""


def test_error_bars_are_the_scatter():
    """200 draws: the scatter is known to 5 %; three times that, and the mean error bar."""
    found = da.di01(draws(20, 200), B, R)
    for s, e in ((found.s_b, found.error_b), (found.s_o, found.error_o)):
        assert np.log(s).std() == pytest.approx(e.mean(), rel=0.15)


def test_one_vector_is_not_enough():
    found = quiet(draws(1, 200), B, R)
    good = (abs(found.s_b / 4 - 1) < 0.15) & (abs(found.s_o / 0.25 - 1) < 0.15)
    assert 0.05 < good.mean() < 0.5
    assert np.median(found.error_b) > 0.3  # and it says so


def test_it_is_the_maximum_of_the_likelihood():
    d = draws(5, 1)[0]
    found = da.di01(d, B, R, tolerance=1e-10)

    def likelihood(b, r):
        S = b * B.matrix() + r * np.eye(M)
        fit = np.einsum("ki,ij,kj->", d, np.linalg.inv(S), d)
        return -0.5 * (len(d) * np.linalg.slogdet(S)[1] + fit)

    best = likelihood(found.s_b, found.s_o)
    for b, r in ((1.01, 1), (0.99, 1), (1, 1.01), (1, 0.99)):
        assert likelihood(b * found.s_b, r * found.s_o) < best


def test_without_the_half_both_scales_double():
    """The published code's J has no 1/2: the analysis is the same, its error bars are not."""
    d = draws(50, 3)
    right, wrong = da.di01(d, B, R), da.di01(d, B, R, cost_factor=1.0)
    np.testing.assert_allclose(wrong.s_b, 2 * right.s_b, rtol=1e-3)  # both to their tolerance
    np.testing.assert_allclose(wrong.s_o, 2 * right.s_o, rtol=1e-3)


def test_a_batch_is_the_experiments_one_by_one():
    d = draws(4, 5)
    d[1] *= 30  # these take other numbers of iterations
    together = da.di01(d, B, R)
    for i in range(5):
        alone = da.di01(d[i], B, R)
        assert alone.s_b == pytest.approx(together.s_b[i], rel=1e-12)
        assert alone.s_o == pytest.approx(together.s_o[i], rel=1e-12)
        assert alone.error_b == pytest.approx(together.error_b[i], rel=1e-10)


def test_numpy_equals_torch():
    d = draws(4, 3)
    a, b = da.di01(d, B, R), da.di01(torch.from_numpy(d), B, da.Diagonal(R))
    assert torch.is_tensor(b.s_b)
    assert torch.is_tensor(b.history_o)
    np.testing.assert_allclose(b.s_b.numpy(), a.s_b, rtol=1e-10)
    np.testing.assert_allclose(b.error_o.numpy(), a.error_o, rtol=1e-10)


def test_covariances_of_the_state_with_an_operator():
    rng = np.random.default_rng(5)
    H = 0.1 * rng.normal(size=(7, M))
    d = 2 * B.color(rng.normal(size=(60, M))) @ H.T + rng.normal(size=(60, 7))
    wanted = da.di01(d, H @ B.matrix() @ H.T, np.ones(7))
    low = da.LowRank(B.color(np.eye(M)) * (M - 1) ** 0.5)  # the same matrix, other controls
    for C in (B, da.Dense(B.matrix()), B.matrix(), low):
        found = da.di01(d, C, da.Diagonal(np.ones(7)), H)
        assert found.s_b == pytest.approx(wanted.s_b, rel=1e-8)


def test_missing_data_are_removed_rows():
    """One vector with gaps is the shorter vector; several, a sum over each one's own entries."""
    rng = np.random.default_rng(2)
    d = draws(6, 1)[0][:, :20]
    C, Rm = B.matrix()[:20, :20], 0.3 * np.eye(20) + 0.1
    gap = rng.uniform(size=20) < 0.4
    some = d.copy()
    some[:, gap] = np.nan
    found = quiet(some, C, Rm)
    left = np.ix_(~gap, ~gap)
    wanted = quiet(d[:, ~gap], C[left], Rm[left])
    for name in ("s_b", "s_o", "error_b", "error_o"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-9), name
    some[3] = np.nan  # a time without data changes nothing but the number of times
    wanted = quiet(np.delete(d, 3, axis=0)[:, ~gap], C[left], Rm[left])
    assert quiet(some, C, Rm).s_b == pytest.approx(wanted.s_b, rel=1e-9)
    batch = quiet(np.stack([some, d]), C, np.stack([Rm, 2 * Rm]))
    assert batch.s_b[0] == pytest.approx(wanted.s_b, rel=1e-9)
    assert batch.s_b[1] == pytest.approx(quiet(d, C, 2 * Rm).s_b, rel=1e-9)


def test_proportional_covariances_are_detected():
    d = draws(50, 1)[0]
    for C in (np.eye(M), 3 * np.eye(M)):
        with pytest.warns(UserWarning, match="do not tell B from R"):
            found = da.di01(d, C, R)
        assert not found.identifiable
        assert found.error_b == np.inf
    near = np.eye(M) + 1e-3 * B.matrix()
    with pytest.warns(UserWarning, match="1 of 1 experiments"):
        assert not da.di01(d, near, R).identifiable
    with pytest.warns(UserWarning, match="close to a multiple"):
        assert not da.di01(d[:, :1], np.ones((1, 1)), np.ones(1)).identifiable


def test_no_error_of_one_kind_runs_to_zero_and_is_said():
    """Innovations of observation error alone: about half the draws say b = 0."""
    d = draws(2, 40, b=1e-12, r=1.0)
    with pytest.warns(UserWarning, match="did not converge"):
        found = da.di01(d, B, R)
    assert 8 < (~found.converged).sum() < 32
    assert (found.s_b[~found.converged] < 0.1).all()
    assert abs(found.s_o - 1).max() < 0.5


def test_few_iterations_are_said():
    with pytest.warns(UserWarning, match="did not converge in 2 iterations"):
        assert not da.di01(draws(5, 1)[0], B, R, iterations=2).converged


def test_a_diverged_experiment_leaves_the_others():
    d, C = draws(4, 2), np.stack([B.matrix(), np.full((M, M), np.nan)])
    found = quiet(d, C, R)
    assert np.isnan(found.s_b[1])
    assert not found.converged[1]
    assert not found.identifiable[1]
    assert found.s_b[0] == da.di01(d[0], B.matrix(), R).s_b


def test_forecasts_give_the_shape_and_innovations_the_size():
    """Lorenz-96, OI with B = 0.2 I: NMC is three times too small, and DI01 mends it."""
    problem = da.twin(
        da.Lorenz96(),
        da.Observation(da.identity, np.ones(40)),
        da.Gaussian(np.eye(40)[0], 0.001 * np.ones(40)),
        600,
        seed=1,
    )
    run = da.assimilate(problem, da.OI(np.full(40, 0.2)), progress=False)
    long, short = da.forecast_pairs(problem, run, 1, 4)
    C = da.nmc(long[50:], short[50:]).matrix()
    i = np.arange(40)
    row = np.mean([C[k, (k + i) % 40] for k in i], axis=0)  # all places of the ring are alike
    shape = (row[(i - i[:, None]) % 40] + row[(i[:, None] - i) % 40]) / 2
    late = run.isel(time=slice(50, None))
    d = (late["observation"] - late["predicted"].sel(stage="forecast")).values
    true = float(((late["mean"].sel(stage="forecast") - late["truth"]) ** 2).mean())
    assert row[0] < 0.5 * true
    found = quiet(d, shape, np.ones(40))
    # two of their error bars, 0.2 and 0.04
    assert found.s_b * row[0] == pytest.approx(true, rel=0.4)
    assert found.s_o == pytest.approx(1.0, rel=0.08)


# --- NMC ----------------------------------------------------------------------------------------


def test_nmc_of_independent_errors_is_their_covariance():
    """Differences of 4000 pairs of independent errors: entries to 1 / sqrt(4000), five times."""
    C = da.OnGrid(8, 2.0)
    long, short = (C.color(np.random.default_rng(s).normal(size=(2, 4000, 8))) for s in (0, 1))
    found = da.nmc(long + 7.0, short)  # a drift is no covariance
    assert found.batch == (2,)
    assert found.controls == 4000
    np.testing.assert_allclose(found.matrix()[0], C.matrix(), rtol=0, atol=5 / 4000**0.5)
    np.testing.assert_allclose(da.nmc(long, short, 2.0).matrix(), 4 * found.matrix(), rtol=1e-10)
    each = da.nmc(long, short, np.array([0.5, 2.0])).matrix()
    np.testing.assert_allclose(each[1], 4 * found.matrix()[1], rtol=1e-10)
    tensors = da.nmc(torch.from_numpy(long), torch.from_numpy(short))
    np.testing.assert_allclose(tensors.matrix().numpy(), da.nmc(long, short).matrix(), atol=1e-12)


@pytest.mark.parametrize("steps", [2, (2, 1, 3, 2, 1, 4)], ids=["even", "uneven"])
def test_pairs_of_forecasts_are_valid_at_the_same_time(steps):
    """From analyses that are the truth, both forecasts are the truth."""
    prior = da.Gaussian(np.array([1.5, -1.5, 25.0]), np.ones(3))
    see = da.Observation(da.identity, np.ones(3))
    problem = da.twin(da.Lorenz63(), see, prior, 6, steps=steps, batch=2)
    long, short = da.forecast_pairs(problem, problem.truth, short=1, long=3)
    assert long.shape == short.shape == (2, 3, 3)
    np.testing.assert_allclose(long, problem.truth[:, 3:], rtol=1e-10)
    np.testing.assert_allclose(short, problem.truth[:, 3:], rtol=1e-10)
    run = da.assimilate(problem, da.ETKF(6), progress=False)
    long, short = da.forecast_pairs(problem, run)
    means = run["mean"].sel(stage="analysis").values
    np.testing.assert_allclose(short[0, 0], problem[0].forecast(means[0, 1:2], 2)[0], rtol=1e-10)
    again = problem[0].forecast(problem[0].forecast(means[0, :1], 1), 2)
    np.testing.assert_allclose(long[0, 0], again[0], rtol=1e-10)


def test_a_covariance_of_rank_one_in_single_precision():
    """The round-off of its zeros is 1e-7 of the largest eigenvalue: no negative eigenvalue."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        v = rng.normal(size=(6, 1))
        d = rng.normal(size=(500, 1)) * v.T + rng.normal(size=(500, 6))
        args = d, v @ v.T, np.ones(6)
        wanted = da.di01(*args)
        found = da.di01(*(a.astype(np.float32) for a in args))
        # the slow end of the iteration, at 1e-4 from its fixed point: each by its own round-off
        assert np.isclose(found.s_b, wanted.s_b, rtol=0.05)
        assert np.isclose(found.s_o, wanted.s_o, rtol=0.01)
