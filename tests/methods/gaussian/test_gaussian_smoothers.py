"""Extended and unscented RTS, and fixed lag: held to RTS and to plain recursions."""

import dataclasses
import itertools

import numpy as np
import pytest
from changing import Given, changing, kalman
from examples import linear_gaussian, lorenz63

import dalearn as da
from dalearn.array import array_namespace

KINDS = [da.RTS, da.ExtendedRTS, da.UnscentedRTS]
each = pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)


@each
@pytest.mark.parametrize("lag", [0, 1, 2, 3, 7])
def test_fixed_lag_knows_the_data_up_to_it_and_no_more(kind, lag):
    """Beside the smoother's formulas on the data up to k + lag; whole covariances.

    F_t, b_t, Q_t, H_t and R_t differ, an interval has no step, others two or three; two gaps.
    """
    problem, parts = changing()
    data, K = problem.data, len(problem)
    cycles = list(kind(lag=lag).run(problem.validated(), None))
    for k, cycle in enumerate(cycles):
        known = np.where(np.arange(K)[:, None] <= k + lag, data, np.nan)
        mean, C = kalman(dataclasses.replace(problem, data=known), *parts)[2][k]
        assert np.allclose(cycle.info["smoothed"].mean, mean, rtol=0, atol=1e-9)
        assert np.allclose(cycle.info["smoothed"].cov.matrix(), C, rtol=0, atol=1e-9)


def run(problem, method):
    return da.assimilate(problem, method, progress=False)


@each
@pytest.mark.parametrize("lag", [0, 2, 5])
def test_cycles_come_lag_late(kind, lag):
    asked = []

    class Watched(da.Problem):
        def at(self, k):
            asked.append(k)
            return super().at(k)

    p = linear_gaussian(cycles=9)
    settings = {f.name: getattr(p, f.name) for f in dataclasses.fields(p) if f.init}
    cycles = kind(lag=lag).run(Watched(**settings), None)
    for k in range(9):
        next(cycles)
        assert max(asked) == min(k + lag, 8)
    assert next(cycles, None) is None


@pytest.mark.parametrize("lag", [0, 1, 4, 39])
def test_a_lag_is_the_smoother_of_the_data_until_then(lag):
    """A long run, through many turns of the two stacks: each time beside RTS of a shorter one."""
    p = linear_gaussian(cycles=40, n=2, m=1)
    got = run(p, da.RTS(lag=lag)).sel(stage="smoothed")
    for k in (0, 1, 7, 20, 38, 39):
        until = min(k + lag + 1, 40)
        short = dataclasses.replace(p, data=p.data[:until], truth=None)
        wanted = run(short, da.RTS()).sel(stage="smoothed").isel(time=k)
        for name in ("mean", "std"):
            assert np.allclose(got[name].isel(time=k), wanted[name], rtol=0, atol=1e-11)


def bent(noise=True, steps=2, cycles=12):
    """A pendulum-like map whose angle is seen through a sine, with model noise or without."""

    def swing(x):
        xp = array_namespace(x)
        v = 0.98 * x[..., 1] - 0.2 * xp.sin(x[..., 0])
        return xp.stack((x[..., 0] + 0.2 * v, v), axis=-1)

    def see(x):
        return 2 * array_namespace(x).sin(x[..., :1] / 2)

    prior = da.Gaussian(np.array([1.0, 0.0]), da.Dense(np.array([[0.3, 0.1], [0.1, 0.4]])))
    Q = da.Dense(np.array([[0.002, 0.0005], [0.0005, 0.003]])) if noise else None
    return da.twin(
        swing, da.Observation(see, da.Diagonal([0.05])), prior, cycles, steps=steps, noise=Q
    )


def sarkka(problem):
    """Unscented filter and RTS smoother as matrices, each model step a time; beta = 0.

    Means and covariances smoothed, at the observation times.
    """
    x, P = problem.prior.mean, problem.prior.cov.matrix()
    Q, trail, at = problem.noise.matrix(), [], []
    for k in range(len(problem)):
        for step in problem.stepping(k):
            E, w = points(x, P)
            F = step(E)
            xf = w @ F
            Pf = (w[:, None] * (F - xf)).T @ (F - xf) + Q
            C = (w[:, None] * (E - x)).T @ (F - xf)
            trail.append((x, P, xf, Pf, C))
            x, P = xf, Pf
        observe, y = problem.at(k)
        E, w = points(x, P)
        Y = observe(E)
        h = w @ Y
        S = (w[:, None] * (Y - h)).T @ (Y - h) + observe.noise.matrix()
        K = (w[:, None] * (E - x)).T @ (Y - h) @ np.linalg.inv(S)
        x, P = x + K @ (y - h), P - K @ S @ K.T
        at.append(len(trail))
    xs, Ps, out = x, P, {len(trail): (x, P)}
    for i in range(len(trail) - 1, -1, -1):
        x, P, xf, Pf, C = trail[i]
        G = C @ np.linalg.inv(Pf)
        xs, Ps = x + G @ (xs - xf), P + G @ (Ps - Pf) @ G.T
        out[i] = xs, Ps
    return [out[i] for i in at]


def points(x, P):
    """2n + 1 points by the root that does not depend on units, and weights (alpha = 1)."""
    d = np.diag(P) ** 0.5
    w, V = np.linalg.eigh(P / d / d[:, None])
    S = len(x) ** 0.5 * (V * w**0.5) @ V.T * d
    return np.vstack([x, x + S, x - S]), np.r_[0.0, np.full(2 * len(x), 0.5 / len(x))]


@pytest.mark.parametrize("steps", [1, 3])
def test_unscented_rts_is_that_of_sarkka(steps):
    """With new points after each step, whose covariances with the start go through all of them."""
    problem = bent(steps=steps)
    cubature = da.UnscentedRTS(beta=0.0)  # the centre has no weight
    cycles = list(cubature.run(problem.validated(), None))
    for cycle, (x, P) in zip(cycles, sarkka(problem), strict=True):
        assert np.allclose(cycle.info["smoothed"].mean, x, rtol=0, atol=1e-10)
        assert np.allclose(cycle.info["smoothed"].cov.matrix(), P, rtol=0, atol=1e-10)


def test_extended_rts_is_rts_of_its_linearizations():
    """The model told its matrices and offsets at the filter's means: RTS of that is the same."""
    problem = bent(steps=1)
    extended = run(problem, da.ExtendedRTS())
    x = problem.prior.mean
    A, b, see, data = [], [], [], []
    for k in range(len(problem)):
        step = problem.stepping(k)[0]
        f, M = da.linearize(step, x)
        A.append(M)
        b.append(f - M @ x)
        observe, y = problem.at(k)
        h, H = da.linearize(observe.operator, f)
        see.append(da.Observation(H, observe.noise))
        data.append(y - h + H @ f)
        x = extended["mean"].sel(stage="analysis").values[k]
    u = np.concatenate([np.reshape(A, (len(A), 4)), np.asarray(b)], axis=-1)
    linear = dataclasses.replace(
        problem, model=Given(2), observation=da.Moving(see), data=np.stack(data), inputs=u
    )
    wanted = run(linear, da.RTS())
    for name in ("mean", "std"):
        assert np.allclose(extended[name], wanted[name], rtol=0, atol=1e-10), name


@pytest.mark.parametrize("kind", KINDS[1:], ids=lambda k: k.__name__)
def test_the_smoothed_is_nearer_the_truth_and_knows_how_near(kind):
    problem = bent(cycles=200)
    found = run(problem, kind())
    error = found["mean"] - found["truth"]
    filtered, smooth = (float((error.sel(stage=s) ** 2).mean()) for s in ("analysis", "smoothed"))
    assert smooth < 0.85 * filtered
    square = (error / found["std"]).sel(stage="smoothed") ** 2
    # the mean of 400 correlated squares: as large as its claim, within 0.3 for either
    assert abs(float(square.mean()) - 1) < 0.3
    assert (
        found["mean"]
        .sel(stage="analysis")
        .identical(
            run(problem, da.ExtendedKF() if kind is da.ExtendedRTS else da.UKF())["mean"].sel(
                stage="analysis"
            )
        )
    )


def test_inflated_analyses_are_what_is_smoothed():
    """The last smoothed state is the inflated analysis; and the lags agree on it."""
    problem = lorenz63(cycles=5, noise=da.Diagonal(0.1 * np.ones(3)))
    for kind in KINDS[1:]:
        whole, short = (list(kind(inflation=1.3, lag=lag).run(problem, None)) for lag in (None, 4))
        assert whole[-1].info["smoothed"].mean is whole[-1].analysis.mean
        a, b = whole[0].info["smoothed"], short[0].info["smoothed"]
        assert np.allclose(a.mean, b.mean, rtol=1e-9, atol=1e-9)
        assert np.allclose(a.cov.matrix(), b.cov.matrix(), rtol=1e-8, atol=1e-9)


@each
@pytest.mark.parametrize("lag", [-1, 1.5, "all"])
def test_a_lag_that_is_none(kind, lag):
    with pytest.raises((ValueError, TypeError), match="lag"):
        kind(lag=lag)


def test_a_prior_of_few_directions_and_a_singular_forecast():
    """Known components, noise of rank one: nothing to invert, and no NaN; the lags agree."""
    G = np.array([[0.5], [1.0], [0.0]]) * 0.3
    F = np.array([[1.0, 1.0, 0.2], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    y = np.random.default_rng(0).normal(size=(6, 1)) + np.arange(6)[:, None]
    prior = da.Gaussian(np.array([0.0, 0.0, 2.0]), np.diag([4.0, 0.0, 0.0]))
    see = da.Observation(np.array([[1.0, 0.0, 1.0]]), da.Diagonal([0.5]))
    p = da.Problem(da.Linear(F), see, prior, y, noise=da.Rows(G.T))
    wanted = run(p, da.RTS()).sel(stage="smoothed")
    for kind, lag in itertools.product(KINDS, (None, 5)):
        got = run(p, kind(lag=lag)).sel(stage="smoothed")
        assert np.allclose(got["mean"], wanted["mean"], rtol=0, atol=1e-8)
        assert np.allclose(got["std"], wanted["std"], rtol=0, atol=1e-7)
