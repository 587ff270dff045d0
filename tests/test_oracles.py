"""Exact answers: closed forms, exact identities and rates that theory fixes."""

import dataclasses

import numpy as np
import pytest
import torch
from examples import linear_gaussian, lorenz63
from lengths import full
from scipy import integrate, special, stats

import dalearn as da
from dalearn.diagnostics.scores import crps_ensemble, crps_gaussian
from dalearn.methods import enkf, etkf
from dalearn.models.integrate import euler, rk4

# --- filters --------------------------------------------------------------------------------


def joint_gaussian(problem):
    """Mean and covariance of (x_1, ..., x_K) and the rows of H, R for the stacked data."""
    A, K, n = problem.model.A, len(problem), problem.n
    H, R = problem.observation.operator.matrix, problem.observation.noise.matrix()
    Q = problem.noise.matrix()
    M = A @ A  # two steps a cycle
    step = A @ Q @ A.T + Q
    mean = [M @ problem.prior.mean]
    C = [M @ problem.prior.cov.matrix() @ M.T + step]
    for _ in range(K - 1):
        mean.append(M @ mean[-1])
        C.append(M @ C[-1] @ M.T + step)
    joint = np.zeros((K * n, K * n))
    for i in range(K):
        block = C[i]
        for j in range(i, K):
            joint[j * n : (j + 1) * n, i * n : (i + 1) * n] = block
            joint[i * n : (i + 1) * n, j * n : (j + 1) * n] = block.T
            block = M @ block
    return np.concatenate(mean), joint, np.kron(np.eye(K), H), np.kron(np.eye(K), R)


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
def test_kalman_filter_is_the_conditional_of_the_joint_gaussian(gaps):
    problem = linear_gaussian(cycles=6, n=4, m=3)
    if gaps:
        data = problem.data.copy()
        data[1, 0] = data[3, :] = data[4, 1:] = np.nan
        problem = dataclasses.replace(problem, data=data)
    result = da.assimilate(problem, da.KF(), progress=False)
    mean, joint, H, R = joint_gaussian(problem)
    y = problem.data.ravel()
    n = problem.n
    for k in range(len(problem)):
        for stage, last in (("forecast", k), ("analysis", k + 1)):
            rows = np.flatnonzero(~np.isnan(y[: 3 * last]))
            G, S = H[rows], R[np.ix_(rows, rows)]
            gain = joint @ G.T @ np.linalg.inv(G @ joint @ G.T + S)
            conditional = mean + gain @ (y[rows] - G @ mean)
            covariance = joint - gain @ G @ joint
            here = slice(k * n, (k + 1) * n)
            got = result.sel(stage=stage).isel(time=k)
            assert np.allclose(got["mean"], conditional[here], rtol=0, atol=1e-10)
            assert np.allclose(got["std"] ** 2, np.diag(covariance)[here], rtol=0, atol=1e-10)


@pytest.mark.parametrize("rotation", [None, "householder", "haar"])
@pytest.mark.parametrize(("N", "n", "m"), [(5, 8, 3), (12, 4, 9), (2, 3, 1), (20, 20, 20)])
def test_etkf_is_the_kalman_update_under_the_ensemble_covariance(rotation, N, n, m):
    from dalearn.array import streams
    from dalearn.methods.ensemble.transform import roots

    rng = np.random.default_rng(N)
    E, H, y = rng.normal(size=(N, n)), rng.normal(size=(m, n)), rng.normal(size=m)
    G = rng.normal(size=(m, m))
    R = da.Dense(G @ G.T / m + 0.5 * np.eye(m))
    root = next(roots(rotation, streams(1, 0), N, E))
    analysis = etkf(E, E @ H.T, y, R, root=root)
    x, P = E.mean(0), np.cov(E, rowvar=False, ddof=1)
    K = P @ H.T @ np.linalg.inv(H @ P @ H.T + R.matrix())
    assert np.allclose(analysis.mean, x + K @ (y - H @ x), rtol=0, atol=1e-10)
    got = np.cov(analysis.members, rowvar=False, ddof=1)
    assert np.allclose(got, P - K @ H @ P, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 1e-9], ids=["ordinary", "steep"])
def test_random_root_is_a_root_of_the_symmetric_one_also_where_it_is_guarded(scale):
    """Errors 1e9 times smaller than the spread take another road, and only those experiments.

    Between the two, both lose digits as any solver does: round-off times the condition of C.
    """
    from dalearn.array import streams
    from dalearn.methods.ensemble.transform import roots, symmetric_root

    rng = np.random.default_rng(3)
    S, d = rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 1, 4))
    S -= S.mean(-2, keepdims=True)
    mild = S.copy()
    S[1] /= scale
    root = next(roots("haar", streams(1, 0, (2,)), 6, S))
    (w, T), (v, U) = root(S, d), symmetric_root(S, d)
    X = rng.normal(size=(2, 6, 3))
    X -= X.mean(-2, keepdims=True)
    size = np.abs(v).max()
    assert np.allclose(w, v, rtol=0, atol=1e-10 * max(size, 1.0))
    assert np.allclose((T @ X).mT @ (T @ X), (U @ X).mT @ (U @ X), rtol=0, atol=1e-10)
    assert np.allclose((T @ X).sum(-2), 0, atol=1e-12)
    assert np.array_equal(root(mild, d)[1][0], T[0])  # the neighbour keeps its bits


@pytest.mark.parametrize(("N", "m"), [(6, 9), (30, 4)], ids=["from members", "from data"])
def test_enkf_with_centred_perturbations_has_the_kalman_mean(N, m):
    rng = np.random.default_rng(0)
    E, H, y = rng.normal(size=(N, 5)), rng.normal(size=(m, 5)), rng.normal(size=m)
    G = rng.normal(size=(m, m))
    R = da.Dense(G @ G.T / m + 0.5 * np.eye(m))
    D = R.color(rng.normal(size=(N, m)))
    D = D - D.mean(0)
    x, P = E.mean(0), np.cov(E, rowvar=False, ddof=1)
    K = P @ H.T @ np.linalg.inv(H @ P @ H.T + R.matrix())
    got = enkf(E, E @ H.T, y, R, D)
    assert np.allclose(got.mean(0), x + K @ (y - H @ x), rtol=0, atol=1e-10)
    # and every member moves by its own innovation
    assert np.allclose(got, E + (y + D - E @ H.T) @ K.T, rtol=0, atol=1e-10)


def test_enkf_tends_to_the_kalman_update_at_the_monte_carlo_rate():
    rng = np.random.default_rng(1)
    n, m, repeats = 3, 2, 200
    H, y = rng.normal(size=(m, n)), rng.normal(size=m)
    R = da.Diagonal(np.array([0.5, 1.0]))
    B = np.diag([1.0, 2.0, 0.5])
    K = B @ H.T @ np.linalg.inv(H @ B @ H.T + R.matrix())
    mean, P = K @ y, B - K @ H @ B
    sizes = np.array([50, 200, 800, 3200])
    errors = []
    for N in sizes:
        E = rng.normal(size=(repeats, N, n)) * np.diag(B) ** 0.5
        D = R.color(rng.normal(size=(repeats, N, m)))
        A = enkf(E, E @ H.T, y, R, D - D.mean(-2, keepdims=True))
        X = A - A.mean(-2, keepdims=True)
        C = X.swapaxes(-1, -2) @ X / (N - 1)
        errors.append([((A.mean(-2) - mean) ** 2).mean() ** 0.5, ((C - P) ** 2).mean() ** 0.5])
    slopes = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # 200 repeats pin each RMS error to 1/sqrt(2 * 200) = 5 %, hence the slope over ln 64 to 0.03
    assert np.allclose(slopes, -0.5, rtol=0, atol=0.06)


def test_enkf_missing_data_equal_rows_removed_with_the_same_draws():
    rng = np.random.default_rng(2)
    N, n, m = 7, 4, 5
    E, H, y = rng.normal(size=(N, n)), rng.normal(size=(m, n)), rng.normal(size=m)
    G = rng.normal(size=(m, m))
    R = da.Dense(G @ G.T + np.eye(m))
    seen = np.array([True, False, True, True, False])
    few = da.Dense(R.matrix()[np.ix_(seen, seen)])
    Z = rng.normal(size=(N, m))
    masked = R.masked(seen)
    a = enkf(E, E @ H.T, np.where(seen, y, 0), masked, masked.color(Z))
    b = enkf(E, E @ H[seen].T, y[seen], few, few.color(Z[:, seen]))
    assert np.allclose(a, b, rtol=0, atol=1e-12)


def test_extended_kalman_filter_uses_the_jacobian_it_is_given():
    """On Lorenz-63 the analytic Jacobian of one Euler step, by all three roads."""
    model = da.Lorenz63()
    x = np.array([[1.0, -2.0, 20.0], [5.0, 4.0, 30.0]])

    def step(u):
        return euler(model.tendency, u, 0.01)

    J = np.zeros((2, 3, 3))
    for b, (u, v, w) in enumerate(x):
        J[b] = np.eye(3) + 0.01 * np.array(
            [[-10, 10, 0], [28 - w, -1, -u], [v, u, -8 / 3]], dtype=float
        )
    value, automatic = da.linearize(step, x)
    assert np.allclose(value, step(x), rtol=0, atol=1e-14)
    assert np.allclose(automatic, J, rtol=0, atol=1e-13)
    _, differences = da.finite_difference(step, x)
    assert np.allclose(differences, J, rtol=0, atol=1e-8)


# --- scores ---------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [-2.0, 0.3, 1.0])
def test_gaussian_crps_is_its_integral(truth):
    mean, std = 0.5, 1.7
    below = integrate.quad(lambda s: stats.norm.cdf(s, mean, std) ** 2, -20, truth)[0]
    above = integrate.quad(lambda s: stats.norm.sf(s, mean, std) ** 2, truth, 20)[0]
    assert np.isclose(crps_gaussian(mean, std, truth), below + above, rtol=0, atol=1e-10)
    assert crps_gaussian(mean, 0.0, truth) == abs(truth - mean)


def test_ensemble_crps_is_its_double_sum_and_unbiased():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 9)), rng.normal(size=4)
    pairs = np.abs(x[:, :, None] - x[:, None, :]).sum((1, 2)) / (2 * 9 * 8)
    direct = np.abs(x - y[:, None]).mean(1) - pairs
    assert np.allclose(crps_ensemble(x, y), direct, rtol=0, atol=1e-14)
    x = rng.normal(size=(200_000, 3))
    # three members only, and yet the mean is that of the law itself: fair (5 standard errors)
    assert np.isclose(crps_ensemble(x, 0.4).mean(), crps_gaussian(0.0, 1.0, 0.4), atol=0.005)


def test_ranks_of_a_calibrated_ensemble_are_uniform():
    problem = linear_gaussian(cycles=40, batch=(64,))
    result = da.assimilate(problem, da.ETKF(40), keep=("ranks",), progress=False)
    counts = da.rank_histogram(result, skip=2).sum("case").values
    assert counts.sum() == 64 * 38 * 3
    share = counts.reshape(-1)[:40].reshape(8, 5).sum(1) / counts[:40].sum()
    assert np.allclose(share, 1 / 8, atol=0.03)  # N = 40 in 3 dimensions: nearly calibrated


def test_lost_tells_a_useless_filter_from_a_useful_one():
    good = lorenz63(cycles=120, batch=(3,))
    bad = dataclasses.replace(good, data=np.roll(good.data, 1, axis=0))  # of another truth
    assert not da.lost(da.assimilate(good, da.ETKF(10, inflation=1.05), progress=False)).any()
    assert da.lost(da.assimilate(bad, da.ETKF(10), progress=False)).all()


# --- models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("amplitude", [0.1, 1.0, 2.5])
def test_pendulum_period_is_the_elliptic_integral(amplitude):
    model = da.Pendulum(omega=1.5, dt=0.005)
    x, t, crossings = np.array([amplitude, 0.0]), 0.0, []
    while len(crossings) < 2:  # q passes zero downwards: by a cubic through the step's ends
        new = model(x)
        if x[0] > 0 >= new[0]:
            (q0, p0), (q1, p1), h = x, new, model.dt
            cubic = np.poly1d(
                [2 * (q0 - q1) + h * (p0 + p1), 3 * (q1 - q0) - h * (2 * p0 + p1), h * p0, q0]
            )
            s = [r.real for r in cubic.roots if abs(r.imag) < 1e-12 and 0 <= r.real <= 1]
            crossings.append(t + h * s[0])
        x, t = new, t + model.dt
    period = 4 * special.ellipk(np.sin(amplitude / 2) ** 2) / 1.5
    # fourth order: dt^4 = 6e-10, times the few units of a period
    assert np.isclose(crossings[1] - crossings[0], period, rtol=0, atol=1e-8)


def test_pendulum_energy_error_falls_at_fourth_order():
    x0, errors = np.array([2.0, 0.3]), []
    steps = np.array([40, 80, 160, 320])
    for n in steps:
        model = da.Pendulum(dt=8.0 / n)
        x = da.trajectory(model, x0, n)
        errors.append(np.abs(model.energy(x) - model.energy(x0)).max())
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order > 3.8  # 4, or 5 where the leading term of the energy error cancels


@pytest.mark.parametrize(("step", "order"), [(euler, 1), (rk4, 4)])
def test_order_of_the_steps(step, order):
    errors, counts = [], np.array([20, 40, 80])
    for n in counts:  # x' = -x + x^2, whose solution is x0 e^-t / (1 - x0 + x0 e^-t)
        x = np.array([0.5])
        for _ in range(n):
            x = step(lambda u: -u + u**2, x, 2.0 / n)
        exact = 0.5 * np.exp(-2) / (0.5 + 0.5 * np.exp(-2))
        errors.append(abs(x[0] - exact))
    assert np.isclose(-np.polyfit(np.log(counts), np.log(errors), 1)[0], order, atol=0.15)


def test_lorenz96_advection_conserves_energy():
    x = np.random.default_rng(0).normal(size=40)
    model = da.Lorenz96(forcing=0.0)
    advection = model.tendency(x) + x
    assert abs(x @ advection) < 1e-13 * (x @ x)


@pytest.mark.slow
@pytest.mark.proof
def test_lorenz63_lyapunov_exponents():
    """0.906, 0, -14.57 (Viswanath 1998); within 4 standard errors, and the trace exactly."""
    rng = np.random.default_rng(0)
    x = da.trajectory(da.Lorenz63(), rng.normal([0, 0, 25], size=(64, 3)), 1000)[:, -1]
    got, error = da.lyapunov_exponents(da.Lorenz63(), x, full(2000, 4000))
    assert (error < full(0.012, 0.008)).all()
    assert (np.abs(got - [0.9056, 0.0, -14.5723]) < 4 * error + 0.002).all()
    assert np.isclose(got.sum(), -(10 + 1 + 8 / 3), atol=2e-5)  # RK4's own error at dt = 0.01


@pytest.mark.slow
@pytest.mark.proof
def test_lorenz96_leading_lyapunov_exponent():
    """About 1.67 at F = 8, n = 40; within 4 standard errors of 2400 time units."""
    rng = np.random.default_rng(0)
    x = da.trajectory(da.Lorenz96(), 8 + rng.normal(size=(24, 40)), 400)[:, -1]
    got, error = da.lyapunov_exponents(da.Lorenz96(), x, full(1000, 2000), count=14)
    assert error[0] < full(0.018, 0.012)
    assert abs(got[0] - 1.67) < 4 * error[0] + 0.01  # the literature rounds to 0.01
    assert (got > 0.02).sum() in (12, 13)  # the unstable directions that an ensemble must span


def test_torch_stays_on_its_device_and_library():
    problem = lorenz63(cycles=4).to(torch.zeros(1, dtype=torch.float64))
    assert isinstance(problem.data, torch.Tensor)
    assert isinstance(problem.observation.noise.variances, torch.Tensor)
    from dalearn.array import streams

    for cycle in da.ETKF(10).run(problem.validated(), streams(1, 0)):
        assert isinstance(cycle.analysis.members, torch.Tensor)
