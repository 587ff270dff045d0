"""Weak-constraint 4D-Var and the block tridiagonal systems beneath it, against exact answers."""

import dataclasses
import time

import numpy as np
import pytest
import torch
from examples import linear_gaussian, lorenz63
from lengths import full

import dalearn as da
from dalearn.array.tridiagonal import block_cholesky
from dalearn.methods import weak4d
from dalearn.methods.variational.weak_cost import WeakCost


def run(problem, method, seed=0, **settings):
    return da.assimilate(problem, method, seed=seed, progress=False, **settings)


NOISE = da.Diagonal(0.02 * np.ones(3))


# --- block tridiagonal systems ------------------------------------------------------------------


def blocks_of(A, n):
    T = A.shape[-1] // n

    def block(i, j):
        return A[..., i * n : (i + 1) * n, j * n : (j + 1) * n]

    D = np.stack([block(t, t) for t in range(T)], -3)
    below = np.stack([block(t + 1, t) for t in range(T - 1)], -3) if T > 1 else D[..., :0, :, :]
    return D, below


def chains(T, n, batch=(), seed=0):
    """Random positive definite block tridiagonal matrices, `(..., T n, T n)`."""
    rng = np.random.default_rng(seed)
    L = np.zeros((*batch, T * n, T * n))
    for t in range(T):
        here = slice(t * n, (t + 1) * n)
        L[..., here, here] = np.tril(rng.normal(size=(*batch, n, n)), -1) + 3 * np.eye(n)
        if t:
            L[..., here, (t - 1) * n : t * n] = rng.normal(size=(*batch, n, n))
    return L @ L.mT


def logdet(factor):
    """log |A| of A = L L^T, from the diagonals of L^-1."""
    roots = [da.array.to_numpy(root) for root in factor.inverse_roots]
    return -2 * sum(np.log(np.diagonal(r, axis1=-2, axis2=-1)).sum(-1) for r in roots)


@pytest.mark.parametrize("T", [1, 2, 9])
@pytest.mark.parametrize("like", [np.zeros(1), torch.zeros(1, dtype=torch.float64)])
def test_block_cholesky_is_the_dense_answer(T, like):
    n, A = 3, chains(T, 3, (2, 4))
    D, below = (da.array.convert(v, like) for v in blocks_of(A, n))
    b = np.random.default_rng(1).normal(size=(2, 4, T, n))
    factor = block_cholesky(D, below)
    x = np.linalg.solve(A, b.reshape(2, 4, T * n, 1)).reshape(b.shape)
    Z, between = blocks_of(np.linalg.inv(A), n)
    # condition numbers below 1e3, so that both answers have 12 digits and more
    assert np.allclose(factor.solve(da.array.convert(b, like)), x, rtol=0, atol=1e-10)
    assert np.allclose(factor.inverse()[0], Z, rtol=0, atol=1e-10)
    assert np.allclose(factor.inverse()[1], between, rtol=0, atol=1e-10)
    assert np.allclose(logdet(factor), np.linalg.slogdet(A)[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("like", [np.zeros(1), torch.zeros(1, dtype=torch.float64)])
def test_a_bad_system_is_alone(like):
    D, below = blocks_of(chains(5, 2, (4,)), 2)
    bad = D.copy()
    bad[1, 2, 0, 0], bad[3, 4] = np.nan, -np.eye(2)  # not finite; not positive definite
    b = np.random.default_rng(1).normal(size=(4, 5, 2))
    found = []
    for diagonal in (D, bad):
        factor = block_cholesky(*(da.array.convert(v, like) for v in (diagonal, below)))
        parts = (factor.solve(da.array.convert(b, like)), *factor.inverse())
        found.append([da.array.to_numpy(v) for v in parts])
    for whole, some in zip(*found, strict=True):
        assert np.array_equal(whole[[0, 2]], some[[0, 2]])
        assert np.isnan(some[[1, 3]]).all()


def test_the_cost_of_a_chain_is_its_length():
    def seconds(T):
        D, below = blocks_of(chains(4, 3), 3)
        D = np.concatenate([D] * (T // 4))
        below = np.concatenate([np.concatenate([below, below[:1]])] * (T // 4))[: T - 1] * 0.5
        b, spent = np.ones((T, 3)), []
        for _ in range(5):
            start = time.process_time()
            factor = block_cholesky(D, below)
            factor.solve(b), factor.inverse()
            spent.append(time.process_time() - start)
        return min(spent)

    # eight times the length; a dense matrix would take 512 times as long, its entries alone 64
    assert 4 < seconds(1600) / seconds(200) < 16


# --- the cost -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Bent:
    """Two components through a curve."""

    def __call__(self, x):
        return x[..., :2] + 0.05 * x[..., 1:] * x[..., 1:]


def curved(batch=()):
    """Lorenz-63, seen through a curve, at uneven times, with gaps."""
    see = da.Observation(Bent(), da.Dense(np.array([[2.0, 0.6], [0.6, 1.0]])))
    prior = da.Gaussian(np.array([1.509, -1.531, 25.46]), da.Diagonal(2 * np.ones(3)))
    steps = (1, 3, 2, 5)
    problem = da.twin(da.Lorenz63(), see, prior, 4, steps=steps, noise=NOISE, batch=batch)
    data = problem.data.copy()
    data[..., 2, 1] = np.nan
    return dataclasses.replace(problem, data=data)


def cost_of(problem, background=True):
    x = np.broadcast_to(problem.prior.mean, (*problem.batch, problem.n))
    places = np.cumsum([problem.steps_to(k) for k in range(len(problem))]).tolist()
    seen = [(t, *problem.at(k)) for k, t in enumerate(places)]
    B = problem.prior.cov.matrix() if background else None
    return WeakCost(problem.step, x, B, problem.noise, seen), places


@pytest.mark.parametrize("background", [True, False])
def test_the_gradient_is_that_of_the_cost(background):
    cost, _ = cost_of(curved((2,)), background)
    X = np.random.default_rng(0).normal(size=(2, 12, 3)) + np.array([1.5, -1.5, 25])
    g = cost.linearized(X)[2]
    for t, i in np.ndindex(12, 3):
        d = np.zeros_like(X)
        d[:, t, i] = 1e-4
        slope = (cost(X + d) - cost(X - d)) / 2e-4
        # J is 1e4 here: round-off 1e-12 over 2e-4, and a third derivative times 1e-8
        assert np.allclose(g[:, t, i], slope, rtol=1e-6, atol=1e-5)


def test_the_terms_are_the_formula():
    problem = linear_gaussian(cycles=1)
    cost, _ = cost_of(problem)
    X = np.random.default_rng(0).normal(size=(3, 3))
    b, A, H = X[0] - problem.prior.mean, problem.model.A, problem.observation.operator.matrix
    e, d = X[1:] - X[:2] @ A.T, problem.data[0] - H @ X[2]

    def half(v, C):
        return 0.5 * np.sum(v * np.linalg.solve(C.matrix(), v.T).T)

    wanted = half(b, problem.prior.cov), half(e, problem.noise), half(d, problem.observation.noise)
    assert np.allclose(cost.terms(X), wanted, rtol=1e-12)
    assert np.allclose(cost(X), sum(wanted), rtol=1e-12)


# --- linear problems ----------------------------------------------------------------------------


def uneven(batch=()):
    problem = linear_gaussian(cycles=7, batch=batch)
    data = problem.data.copy()
    data[..., 2, 1] = data[..., 4, :] = np.nan
    return dataclasses.replace(problem, data=data, steps=(1, 3, 2, 5, 1, 1, 2))


def test_a_whole_window_is_the_kalman_smoother():
    problem = uneven((2,))
    exact, got = run(problem, da.RTS()), run(problem, da.WeakVar4D())
    assert (got["iterations"] == 1).all()
    assert got["converged"].all()
    for name in ("mean", "std"):
        smoothed = exact[name].sel(stage="smoothed")
        for stage in ("analysis", "smoothed"):
            # exact algebra, numbers of order 1
            assert np.allclose(got[name].sel(stage=stage), smoothed, rtol=0, atol=1e-8)
        end = exact[name].sel(stage="analysis")[:, -1]  # which is the filter's
        assert np.allclose(got[name].sel(stage="analysis")[:, -1], end, rtol=0, atol=1e-8)


@pytest.mark.parametrize("window", [1, 2, 3, 7, 50])
def test_windows_with_evolved_covariances_are_the_kalman_filter(window):
    problem = uneven((2,))
    exact, got = run(problem, da.KF()), run(problem, da.WeakVar4D(window))
    ends = [k for k in range(7) if (k + 1) % window == 0 or k == 6]
    starts = [0] if window > 1 else range(7)
    for name in ("mean", "std"):
        for stage, times in (("analysis", ends), ("forecast", starts)):
            a, b = (r[name].sel(stage=stage)[:, times] for r in (got, exact))
            assert np.allclose(a, b, rtol=0, atol=1e-8)


def test_smoothed_at_a_window_s_end_knows_the_next_window():
    problem = uneven()
    got = run(problem, da.WeakVar4D(3)).sel(stage="smoothed")
    two = dataclasses.replace(
        problem, data=problem.data[:6], steps=problem.steps[:6], truth=problem.truth[:6]
    )
    whole = run(two, da.RTS()).sel(stage="smoothed")
    for name in ("mean", "std"):
        assert np.allclose(got[name][2], whole[name][2], rtol=0, atol=1e-8)


def test_a_static_covariance_is_the_same_at_every_start():
    problem = linear_gaussian(cycles=3)
    B = 0.3 * np.eye(3) + 0.1
    got = run(problem, da.WeakVar4D(1, B=B, factor=2.0, evolve=False))
    A, Q, R = problem.model.A, problem.noise.matrix(), problem.observation.noise
    H, x = problem.observation.operator.matrix, problem.prior.mean
    P = A @ (A @ (2 * B) @ A.T + Q) @ A.T + Q
    for k in range(3):
        x = x @ A.T @ A.T
        x, _ = da.methods.kalman_update(x, P, H @ x, H, problem.data[k], R)
        assert np.allclose(got["mean"].sel(stage="analysis")[k], x, rtol=0, atol=1e-9)
        variance = got["std"].sel(stage="forecast")[k] ** 2
        assert np.allclose(variance, np.diag(P), rtol=0, atol=1e-9)


def test_the_determinant_gives_the_likelihood():
    """-log p(y) = J at its minimum + (log|A| + log|B| + T log|Q| + sum log|2 pi R|) / 2."""
    problem = uneven()
    cost, places = cost_of(problem)
    found = weak4d(cost, np.zeros((places[-1] + 1, 3)))
    D, below, _ = cost.linearized(found.states)
    total = logdet(block_cholesky(D, below)) + np.linalg.slogdet(problem.prior.cov.matrix())[1]
    total += places[-1] * np.linalg.slogdet(problem.noise.matrix())[1]
    R = problem.observation.noise.matrix()
    for k in range(7):
        seen = np.isfinite(problem.data[k])
        total += np.linalg.slogdet(2 * np.pi * R[np.ix_(seen, seen)])[1] if seen.any() else 0
    wanted = -float(run(problem, da.KF())["log_likelihood"].sum())
    assert np.isclose(float(found.info["cost"] + total / 2), wanted, rtol=0, atol=1e-9)


# --- problems that bend -------------------------------------------------------------------------


def least_squares(residuals, start):
    from scipy.optimize import least_squares as solve

    return solve(residuals, start.ravel(), xtol=1e-14, ftol=1e-14, gtol=1e-12).x.reshape(
        start.shape
    )


@pytest.mark.parametrize("damping", [0.0, 1e-2])
@pytest.mark.parametrize("background", [True, False])
def test_the_minimum_is_scipy_s(background, damping):
    problem = curved()
    cost, places = cost_of(problem, background)
    root = np.linalg.cholesky(np.array([[2.0, 0.6], [0.6, 1.0]]))

    def residuals(z):
        X = z.reshape(12, 3)
        parts = [(X[0] - problem.prior.mean) / 2**0.5] if background else []
        parts += [(X[t + 1] - problem.model(X[t])) / 0.02**0.5 for t in range(11)]
        for k, t in enumerate(places):
            d = problem.data[k] - Bent()(X[t])
            parts.append([d[0] / 2**0.5] if k == 2 else np.linalg.solve(root, d))
        return np.concatenate(parts)

    start = da.trajectory(problem.model, problem.prior.mean, 11)
    found = weak4d(cost, start, 50, 1e-8, damping)
    assert found.info["converged"]
    wanted = least_squares(residuals, start)
    assert np.isclose(found.info["cost"], 0.5 * (residuals(wanted) ** 2).sum(), rtol=1e-9)
    # scipy's own differences are good to 1e-8 of numbers of order 10
    assert np.allclose(found.states, wanted, rtol=0, atol=1e-5)


def test_a_model_that_hardly_errs_is_the_strong_constraint():
    """Over Q = q I the gap to the start that fits best under the exact model falls like q."""
    problem = lorenz63(cycles=3, noise=NOISE)
    model, prior = problem.model, problem.prior.mean

    def residuals(x):
        X = da.trajectory(model, x, 75)[[25, 50, 75]]
        return np.concatenate([(x - prior) / 2**0.5, *((problem.data - X) / 2**0.5)])

    strong = da.trajectory(model, least_squares(residuals, prior), 75)[[25, 50, 75]]
    gaps = []
    for q in (1e-3, 1e-4, 1e-5):
        got = run(problem, da.WeakVar4D(Q=q * np.ones(3), tolerance=1e-4, iterations=60)).sel(
            stage="analysis"
        )
        gaps.append(float(abs(got["mean"] - strong).max()))
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.1)
    assert gaps[1] / gaps[2] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("damping", [0.0, 1e-3])
def test_each_experiment_stops_alone(damping):
    problem = lorenz63(cycles=4, batch=(3,), noise=NOISE)
    method = da.WeakVar4D(2, damping=damping)
    together = run(problem, method)
    count = together["iterations"].values
    assert (count.min(0) < count.max(0)).any(), "no window at which the experiments part"
    for b in range(3):
        alone = run(problem[b], method)
        assert np.array_equal(count[b], alone["iterations"])
        # the derivatives come from torch, whose loops treat the ends of an array apart
        assert np.allclose(together["mean"][b], alone["mean"], rtol=0, atol=1e-9)


def test_what_has_not_converged_says_so():
    problem = lorenz63(cycles=6, noise=NOISE)
    with pytest.warns(da.NotConverged, match="1 minimisations"):
        short = run(problem, da.WeakVar4D(6, iterations=1))
    long = run(problem, da.WeakVar4D(6, iterations=30))  # a warning is an error
    assert not short["converged"].any()
    assert long["converged"].all()
    assert float(long["gradient"].max()) <= 0.03 < float(short["gradient"].min())
    assert float(long["cost"][0]) < float(short["cost"][0])
    names = ("cost_background", "cost_model", "cost_observations")
    assert np.allclose(long["cost"], sum(long[name] for name in names), rtol=1e-12)


def test_a_line_search_never_goes_up():
    """From starts where the full step does, in every third of them."""
    problem = lorenz63(cycles=2, batch=(40,), noise=NOISE)
    cost, _ = cost_of(problem)
    far = problem.prior.mean + 8 * np.random.default_rng(0).normal(size=(40, 3))
    start = da.trajectory(problem.model, far, 50)
    D, below, g = cost.linearized(start)
    full = start - block_cholesky(D, below).solve(g)
    assert (cost(full) > cost(start)).any(), "no full step goes up"
    values = [cost(start)] + [weak4d(cost, start, i).info["cost"] for i in range(1, 5)]
    assert (np.diff(values, axis=0) <= 1e-9 * values[0]).all()


def test_swept_settings():
    problem = lorenz63(cycles=4, noise=NOISE)
    sizes, factors = np.array([0.01, 0.1, 1.0]), np.array([0.5, 1.0, 3.0])
    each = da.Diagonal(sizes[:, None] * np.ones(3))
    for swept, single in (
        (da.WeakVar4D(2, Q=each), lambda b: {"Q": sizes[b] * np.ones(3)}),
        (da.WeakVar4D(2, factor=factors), lambda b: {"factor": float(factors[b])}),
    ):
        together = run(problem.expand((3,)), swept)
        for b in range(3):
            alone = run(problem, da.WeakVar4D(2, **single(b)))
            assert np.allclose(together["mean"][b], alone["mean"], rtol=0, atol=1e-9)
            assert np.allclose(together["std"][b], alone["std"], rtol=0, atol=1e-9)


def test_a_first_guess_chooses_the_valley():
    """Only the square of x is seen: two minima, mirror images; the guess decides, cut in two."""
    see = da.Observation(lambda x: x * x, da.Diagonal(0.01 * np.ones(1)))
    prior = da.Gaussian(np.zeros(1), da.Diagonal(4 * np.ones(1)))
    data = np.full((4, 1), 1.0)
    problem = da.Problem(da.Linear(np.eye(1)), see, prior, data, 2, da.Diagonal([0.01]))
    for window in (None, 2):
        for sign in (1.0, -1.0):
            guess = np.full((9, 1), 0.5 * sign)
            got = run(problem, da.WeakVar4D(window, start=guess, jacobian=da.finite_difference))
            assert np.allclose(got["mean"].sel(stage="analysis"), sign, rtol=0, atol=0.02)


@pytest.mark.filterwarnings("ignore::dalearn.NotConverged")  # the whole run: twenty are too few
@pytest.mark.parametrize("window", [None, 1, 3])
def test_uneven_intervals_moving_sensors_gaps_and_torch(window):
    few = da.Observation(da.Subset([0, 2]), da.Diagonal(2 * np.ones(2)))
    one = da.Observation(da.Subset([1]), da.Diagonal([0.5]))
    problem = lorenz63(
        cycles=4, batch=(2,), observation=da.Moving([few, one, few, one]), noise=NOISE
    )
    data = problem.data.copy()
    data[0, 2, 1] = data[1, 0] = np.nan
    problem = dataclasses.replace(problem, steps=(1, 3, 2, 5), data=data)
    a = run(problem, da.WeakVar4D(window))
    assert np.isfinite(a["mean"]).all()
    b = run(problem.to(torch.zeros(1, dtype=torch.float64)), da.WeakVar4D(window))
    # round-off 1e-16 grown over 11 steps of 0.01, eight digits short of the tolerance
    assert np.allclose(a["mean"], b["mean"], rtol=0, atol=1e-9)
    assert np.allclose(a["std"], b["std"], rtol=0, atol=1e-9)


def test_a_diverging_experiment_is_alone():
    problem = lorenz63(cycles=6, batch=(3,), noise=NOISE)
    data = problem.data.copy()
    data[1, 3] = 1e200
    for method in (da.WeakVar4D(2), da.WeakVar4D(2, damping=1e-2)):
        a, b = run(problem, method), run(dataclasses.replace(problem, data=data), method)
        assert b["diverged"].values.tolist() == [False, True, False]
        assert not b["converged"][1, 2:].any()
        for name in ("mean", "std", "cost", "iterations"):
            assert np.array_equal(a[name][[0, 2]], b[name][[0, 2]])
        before = b["mean"].sel(stage="analysis")[1, :2]
        assert np.array_equal(before, a["mean"].sel(stage="analysis")[1, :2])


def test_fields():
    """A problem with a shape: the model sees `(b, *shape)`, times go where members go."""
    shape, rng = (2, 3), np.random.default_rng(0)
    M = 0.9 * np.linalg.qr(rng.normal(size=(6, 6)))[0]

    def model(x):
        assert x.ndim == 3
        M_here = da.array.convert(M, x)
        return (x.reshape(-1, 6) @ M_here.mT).reshape(-1, *shape)

    prior = da.Gaussian(np.zeros(6), da.Diagonal(np.ones(6)))
    see = da.Observation(lambda x: x[..., 0, :], da.Diagonal(0.1 * np.ones(3)))
    problem = da.twin(
        model, see, prior, 5, steps=2, noise=da.Diagonal(0.1 * np.ones(6)), shape=shape
    )
    a, b = run(problem, da.WeakVar4D()), run(problem, da.RTS())
    gap = a["mean"].sel(stage="analysis") - b["mean"].sel(stage="smoothed")
    assert abs(gap).max() < 1e-8


# --- the paper ----------------------------------------------------------------------------------


def test_the_sparse_setup_is_what_it_says():
    from benchmarks.weak import sparse

    case = sparse(0.05, False, count=30)
    assert case.truth.shape == case.guess.shape == (30, 32, 3)
    assert np.allclose(case.error(case.truth + 0.5 * case.std), 0.5)
    seen = np.stack([o.noise.seen[:, 0] for _, o, _ in case.seen], -1)
    assert (seen.sum(-1) == 4).all()
    assert (np.diff(np.nonzero(seen)[1].reshape(30, 4), axis=1) == 8).all()
    gap = [
        ((y - X[:, t, :1]) / o.noise.variance() ** 0.5)[seen[:, t]]
        for X in (case.truth, case.guess)
        for t, o, y in case.seen
    ]
    truth, guess = (np.concatenate(g) for g in (gap[:32], gap[32:]))
    assert abs(truth.std() - 1) < 0.2  # 120 errors of the data: their deviation to 7 %
    assert abs(guess).max() < 1  # the interpolation weighs them against a spread 20 times wider
    # 97 and 100 squares, halved: over 30 problems the mean is known to 1.3
    assert abs(case.cost(False)(case.truth).mean() - 48.5) < 4
    assert abs(case.cost(True)(case.truth).mean() - 50.0) < 4


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("name", ["code, dt 0.05", "text, dt 0.025"])
def test_sparse_lorenz63(name):
    """Blanke, Fablet and Lelarge 2024: four values of one component for 96 unknowns.

    Measured with the published data script, 30 iterations of another Levenberg-Marquardt, without
    a background: mean 0.735 and median 0.155 (dt 0.05), 0.162 and 0.093 (dt 0.025).
    """
    from benchmarks.weak import SETUPS, sparse

    case = sparse(*SETUPS[name], count=full(100, 400))
    found = {}
    for background in (False, True):
        cost = case.cost(background)
        best = weak4d(cost, case.truth, 30, damping=1e-2)
        guess = weak4d(cost, case.guess, 30, damping=1e-2)
        local = guess.info["cost"] > best.info["cost"] + 1
        e = case.error(guess.states)
        found[background] = float(e.mean()), float(np.median(e)), float(local.mean())
        # 96 unknowns fitted to 97 or 100 residuals: a chi-square of 1 or 4, halved; of 400 the
        # mean is known to 0.04 and 0.07, of 100 to 0.07 and 0.14; local minima and the model's
        # curvature add to it
        left = best.info["cost"].mean()
        assert abs(left - (2.0 if background else 0.5)) < 0.4
        # and at the truth all of them count: 48.5 or 50, standard deviation 7 each; the problems
        # are cut from 201 runs, so that 100 know the mean as 70 do that are independent, to 0.85,
        # and 400 as 145, to 0.6
        assert abs(cost(case.truth).mean() - (50.0 if background else 48.5)) < full(3.0, 1.5)
    (mean, median, local), (mean_b, median_b, local_b) = found[False], found[True]
    assert mean_b < mean
    assert median_b < median
    if name.startswith("text"):
        # another seed and another minimiser: the median of 400 is known to 0.005, of 100 to 0.01
        assert abs(median - 0.093) < 0.03
        assert abs(mean - 0.162) < 0.03
        assert local < 0.02
    else:
        # the mean lives on the tail: which valley is a matter of the minimiser's first steps
        assert mean > 1.7 * median
        assert 0.12 < median < 0.30
        assert 0.10 < local_b < 0.30  # 21 % measured, from another definition
        assert 0.25 < mean_b < 0.42
