"""DMD with delays: exact where the runs obey a linear law, a model like others, and in filters."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from bits import same_bits

import dalearn as da
from dalearn.array import convert_tree
from dalearn.models.companion import companion

RNG = np.random.default_rng(0)
A = np.linalg.qr(RNG.normal(size=(3, 3)))[0] @ np.diag([0.9, 0.8, 0.6])
C = np.array([1.0, -2.0, 0.5])
OMEGA = 0.3
T = np.arange(120)
WAVE = np.cos(OMEGA * T)[:, None]  # the position of an oscillator, whose velocity nobody sees


def runs(S=5, times=20, noise=0.0, matrix=A, seed=1):
    """Runs `(S, times, 3)` of x <- C + matrix x, with a kick of this size each step."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(S, 3))]
    for _ in range(times - 1):
        x.append(C + x[-1] @ matrix.T + noise * rng.normal(size=(S, 3)))
    return np.stack(x, 1)


def by_hand(x, L):
    """Windows `(P, L n)` and next states `(P, n)` of runs `(S, T, n)`."""
    pairs = [(run[t - L : t].ravel(), run[t]) for run in x for t in range(L, len(run))]
    return tuple(np.stack(part) for part in zip(*pairs, strict=True))


# --- what is fitted ------------------------------------------------------------------------------


def test_a_linear_law_is_found_with_its_eigenvalues():
    found = da.DMD.fit(runs(), 1, ridge=0, dt=0.5)
    assert np.allclose(found.matrix, A, rtol=0, atol=1e-13)
    assert found.offset is not None
    assert np.allclose(found.offset, C, rtol=0, atol=1e-13)
    exact, vectors = np.linalg.eig(A)
    order = np.argsort(-abs(exact))
    pairs = np.sort_complex(found.eigenvalues), np.sort_complex(exact)
    assert np.allclose(*pairs, rtol=0, atol=1e-13)
    assert found.radius == pytest.approx(abs(exact).max(), abs=1e-13)
    assert np.allclose(np.exp(0.5 * found.rates), found.eigenvalues, rtol=0, atol=1e-13)
    for k in range(3):  # A v = lambda v
        assert np.allclose(A @ found.modes[:, k], found.eigenvalues[k] * found.modes[:, k])
    assert np.allclose(abs(vectors[:, order[0]]), abs(found.modes[:, 0]))
    assert np.allclose(np.linalg.norm(found.modes, axis=0), 1)


@pytest.mark.parametrize("delays", [2, 4])
def test_delays_stand_for_what_is_not_seen(delays):
    """One number of an oscillator has no law of first order; two times of it have one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", da.Growing)  # its eigenvalues are on the unit circle
        found = da.DMD.fit(WAVE, delays, ridge=0)
    assert found.rollout_errors(WAVE, 60).max() < 1e-11  # 60 steps of round-off
    pair = found.eigenvalues[:2]
    assert np.allclose(abs(pair), 1, rtol=0, atol=1e-12)
    assert np.allclose(abs(np.angle(pair)), OMEGA, rtol=0, atol=1e-12)
    one = da.DMD.fit(WAVE, 1, ridge=0)
    assert one.rollout_errors(WAVE, 60)[-1] > 0.5  # of a wave of deviation .71


def test_modes_of_delays_solve_their_recursion():
    x = runs(noise=0.3, times=60)
    found = da.DMD.fit(x, 3, ridge=0)
    parts = found.matrix.reshape(3, 3, 3)  # [i, j, k] = A_j[i, k]
    for value, v in zip(found.eigenvalues, found.modes.T, strict=True):
        left = sum(value**j * parts[:, j] @ v for j in range(3))
        assert np.allclose(left, value**3 * v, rtol=0, atol=1e-10)


def test_without_ridge_it_is_least_squares_and_with_it_the_normal_equations():
    x = runs(noise=0.3, times=40)
    W, Y = by_hand(x, 2)
    full = np.linalg.lstsq(np.c_[W, np.ones(len(W))], Y, rcond=None)[0]
    found = da.DMD.fit(x, 2, ridge=0)
    assert np.allclose(found.matrix, full[:-1].T, rtol=0, atol=1e-12)
    assert np.allclose(found.offset, full[-1], rtol=0, atol=1e-12)
    w, y = W - W.mean(0), Y - Y.mean(0)
    G = w.T @ w
    for ridge in (1e-3, 1.0):
        weighed = np.linalg.solve(G + ridge * np.trace(G) / 6 * np.eye(6), w.T @ y)
        assert np.allclose(da.DMD.fit(x, 2, ridge=ridge).matrix, weighed.T, rtol=0, atol=1e-12)
    bare = da.DMD.fit(x, 2, ridge=0, offset=False)
    assert bare.offset is None
    assert np.allclose(bare.matrix, np.linalg.lstsq(W, Y, rcond=None)[0].T, atol=1e-12)


def test_an_infinite_ridge_leaves_the_mean():
    x = runs(noise=0.3)
    found = da.DMD.fit(x, 3, ridge=1e14)
    assert np.allclose(found.matrix, 0, atol=1e-12)
    assert np.allclose(found.offset, x[:, 3:].mean((0, 1)), rtol=0, atol=1e-12)


def test_a_rank_is_a_regression_on_principal_directions():
    x = runs(noise=0.3, times=40)
    W, Y = by_hand(x, 2)
    w, y = W - W.mean(0), Y - Y.mean(0)
    V = np.linalg.svd(w, full_matrices=False)[2][:4]
    wanted = np.linalg.lstsq(w @ V.T, y, rcond=None)[0].T @ V
    found = da.DMD.fit(x, 2, ridge=0, rank=4)
    assert np.allclose(found.matrix, wanted, rtol=0, atol=1e-12)


def test_runs_of_unequal_lengths_and_no_window_across_two_of_them():
    x = runs(times=20)
    parts = [x[0, :7], x[1:3, 3:12], x[3], x[4, :4]]
    found = da.DMD.fit(parts, 3, ridge=0, rank=3)  # a first-order law in windows of three
    assert found.rollout_errors(parts[:3]).max() < 1e-12
    assert found.rollout_errors(parts, 1).max() < 1e-12
    rows = np.concatenate([p.reshape(-1, 3) for p in parts])  # as if it were one run
    assert da.DMD.fit(rows, 3, ridge=0).rollout_errors(parts[:3]).max() > 1e-3


def test_units_do_not_matter():
    x, D = runs(noise=0.3, times=40), 10.0 ** np.array([-8.0, 0, 8])
    for size in (1e-200, 1e200):  # squares of these are 0 and infinite
        one, other = (da.DMD.fit(s * x, 2, ridge=0.1) for s in (1, size))
        assert np.allclose(one.matrix, other.matrix, rtol=1e-12)
        assert np.allclose(one.offset, other.offset / size, rtol=1e-12)
    one = da.DMD.fit(x, 2, ridge=0.1, scale=np.array([1.0, 2.0, 3.0]))
    other = da.DMD.fit(D * x, 2, ridge=0.1, scale=D * np.array([1.0, 2.0, 3.0]))
    back = other.matrix / D[:, None] * np.tile(D, 2)
    assert np.allclose(one.matrix, back, rtol=0, atol=1e-12)
    moved = da.DMD.fit(x + 100, 2, ridge=0.1)  # nor where states are measured from
    assert np.allclose(moved.matrix, da.DMD.fit(x, 2, ridge=0.1).matrix, rtol=0, atol=1e-10)


def test_the_ridge_is_chosen_by_roll_outs_on_other_runs():
    train, held = runs(2, 14, noise=0.5), runs(20, 14, noise=0.5, seed=2)
    ridges = (1e-6, 1e-2, 1.0, 100.0)
    found = da.DMD.fit(train, 3, ridge=ridges, validation=held, ahead=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", da.Growing)
        tried = [da.DMD.fit(train, 3, ridge=v) for v in ridges]
    errors = [(m.rollout_errors(held, 5) ** 2).mean() for m in tried]
    best = int(np.argmin(errors))
    assert 0 < best < 3  # neither the smallest nor the largest: there is something to choose
    assert np.allclose(found.matrix, tried[best].matrix, rtol=0, atol=1e-12)
    usual = da.DMD.fit(train, 3, validation=held, ahead=5)  # of the usual ones
    assert (usual.rollout_errors(held, 5) ** 2).mean() < errors[0]
    half = [da.DMD.fit(train, 3, validation=held, ahead=a).matrix for a in (None, 6, 11)]
    assert np.array_equal(half[0], half[1])  # of 11 times after a window


def test_roll_out_errors_are_those_of_forecasts():
    x, model = runs(noise=0.3), da.DMD.fit(runs(noise=0.3, seed=3), 2)
    errors = model.rollout_errors(x)
    assert errors.shape == (18,)
    gap = model.forecast(model.window(x[:, :2]), 18) - x[:, 2:]
    assert np.allclose(errors, (gap**2).mean((0, 2)) ** 0.5, rtol=1e-12)
    gap = np.stack([model.forecast(model.window(x[:, t : t + 2]), 3) for t in range(16)], 1)
    truth = np.stack([x[:, t + 2 : t + 5] for t in range(16)], 1)
    assert np.allclose(model.rollout_errors(x, 3), ((gap - truth) ** 2).mean((0, 1, 3)) ** 0.5)


def test_a_growing_model_says_so_and_can_be_held():
    grows = np.diag([1.05, 0.9, 0.7])
    x = runs(matrix=grows)
    with pytest.warns(da.Growing, match=r"size 1.05: forecasts double every 14.2 steps.*stable"):
        found = da.DMD.fit(x, 1, ridge=0)
    assert found.radius == pytest.approx(1.05, abs=1e-12)
    x = runs(noise=0.3, matrix=grows, times=40)
    with pytest.warns(da.Growing):
        free = da.DMD.fit(x, 3)
    held = da.DMD.fit(x, 3, stable=True)
    assert held.radius == pytest.approx(1, abs=1e-12)
    turned = np.sort_complex(free.eigenvalues / free.radius)
    assert np.allclose(np.sort_complex(held.eigenvalues), turned, rtol=0, atol=1e-10)
    mean = np.concatenate([x[:, j : 37 + j].mean((0, 1)) for j in range(3)])
    assert np.allclose(held(mean), free(mean), rtol=1e-10)
    calm = da.DMD.fit(runs(), 2), da.DMD.fit(runs(), 2, stable=True)
    assert np.array_equal(calm[0].matrix, calm[1].matrix)


# --- as a model ----------------------------------------------------------------------------------


def test_it_is_a_history_of_its_matrix():
    model = da.DMD.fit(runs(noise=0.3, times=40), 3, dt=0.1)
    assert model.offset is not None

    def new(window):
        return window.reshape(len(window), -1) @ model.matrix.T + model.offset

    history = da.History(new, 3, dt=0.1)
    states = RNG.normal(size=(4, 5, 3, 3))
    x = model.window(states)
    assert np.array_equal(x, history.window(states))
    assert np.allclose(model(x), history(x), rtol=0, atol=1e-14)
    assert np.array_equal(model.latest(x), history.latest(x))
    assert np.array_equal(model.observe(np.square)(x), states[..., -1, :] ** 2)
    c = np.concatenate((np.zeros(6), model.offset))
    assert np.allclose(model(x), x @ model.companion.T + c, rtol=0, atol=1e-14)
    assert model.forecast(x, 4).shape == (4, 5, 4, 3)
    assert np.array_equal(model.forecast(x, 4)[..., 1, :], model.latest(model(model(x))))


def test_torch_is_numpy_and_precision_is_kept():
    x = runs(noise=0.3, times=40)
    held = runs(noise=0.3, seed=5)
    settings = {"ridge": (1e-8, 0.1), "scale": [1.0, 2.0, 3.0], "stable": True}
    a = da.DMD.fit(x, 2, validation=held, **settings)
    b = da.DMD.fit(torch.tensor(x), 2, validation=torch.tensor(held), **settings)
    single = da.DMD.fit(x.astype("f4"), 2, validation=held, **settings)
    assert isinstance(b.matrix, torch.Tensor)
    assert single.matrix.dtype == np.float32
    assert np.allclose(a.matrix, b.matrix, rtol=0, atol=1e-12)
    assert np.allclose(a.matrix, single.matrix, rtol=0, atol=1e-4)
    w = RNG.normal(size=(7, 6))
    moved = convert_tree(a, torch.zeros(1).double())
    assert moved.length == 2
    for model in (a, b, moved):
        out = model.forecast(torch.tensor(w), 3)
        assert out.dtype == torch.float64
        assert np.allclose(out, a.forecast(w, 3), rtol=0, atol=1e-12)
    assert np.allclose(a.rollout_errors(held), b.rollout_errors(torch.tensor(held)), atol=1e-12)
    assert np.array_equal(a.eigenvalues.shape, b.eigenvalues.shape)
    assert np.array_equal(pickle.loads(pickle.dumps(a))(w), a(w))


def test_derivative_and_adjoint_are_the_companion():
    model = da.DMD.fit(runs(noise=0.3, times=40), 2)
    J = da.linearize(model, RNG.normal(size=6))[1]
    assert np.allclose(J, model.companion, rtol=0, atol=1e-14)
    x = torch.tensor(RNG.normal(size=6))
    w = torch.tensor(RNG.normal(size=6))
    back = torch.func.vjp(model, x)[1](w)[0]
    assert np.allclose(back, w @ torch.tensor(model.companion), rtol=0, atol=1e-14)


# --- in filters ----------------------------------------------------------------------------------


def assimilated(problem, method):
    return da.assimilate(problem, method, progress=False)


def same(a, b, atol=1e-9):
    return all(np.allclose(a[k], b[k], rtol=0, atol=atol) for k in ("mean", "std"))


def test_the_kalman_filter_through_dmd_is_that_of_the_true_law():
    see = da.Observation(np.array([[1.0, 0.5, 0.0]]), [0.1])
    twin = da.twin(
        da.Linear(A), see, da.Gaussian(np.ones(3), np.ones(3)), 8, noise=0.1 * np.ones(3)
    )
    x, exact = runs() - np.linalg.solve(np.eye(3) - A, C), assimilated(twin, da.KF())
    for settings in ({}, {"offset": False}):
        found = da.DMD.fit(x, 1, ridge=0, **settings)
        assert same(exact, assimilated(da.Problem(**parts(twin, model=found)), da.KF()))
    held = da.DMD.fit(x, 1, ridge=0.1)
    assert not same(exact, assimilated(da.Problem(**parts(twin, model=held)), da.KF()), 1e-2)


def parts(problem, **changes):
    names = ("model", "observation", "prior", "data", "noise", "truth")
    return {k: getattr(problem, k) for k in names} | changes


def test_in_the_space_of_a_coder_windows_are_coded_state_by_state():
    """States in three directions of eight: filters on codes and on states are the same."""
    basis = np.linalg.qr(RNG.normal(size=(8, 3)))[0]
    low = runs() - np.linalg.solve(np.eye(3) - A, C)
    x = low @ basis.T
    pod = da.POD.fit(x, 3, mean=False)
    model = da.DMD.fit(pod.encode(x), 2, ridge=0, offset=False)
    assert model.rollout_errors(pod.encode(x)).max() < 1e-12
    coder = da.Windowed(pod, 2)
    E = np.kron(np.eye(2), pod.modes)  # (6, 16)
    whole = da.Linear(E.T @ model.companion @ E)
    cov = E.T @ np.diag([1.0, 2, 3, 1, 2, 3]) @ E
    see = da.Observation(model.observe(da.Subset([0, 5])), [0.1, 0.2])
    twin = da.twin(whole, see, da.Gaussian(E.T @ np.ones(6), cov), 6)
    latent = da.Latent(da.KF(), coder, model=model)
    assert same(assimilated(twin, da.KF()), assimilated(twin, latent))


STEPS = 5  # of the model between two observations
LAW = np.array([[0.0, 1], [-1, 2 * np.cos(OMEGA)]])  # x_{t+1} = 2 cos(omega) x_t - x_{t-1}


def errors(K, cycles, sigma=0.0, start=(0.1, -0.05), model=None):
    """Errors of windows of an oscillator after analyses with a gain K on the newest state."""
    rng = np.random.default_rng(0)
    model = model or da.DMD.fit(WAVE, 2, ridge=0)
    truth, x, found = np.array([np.cos(-OMEGA), 1.0]), np.array([np.cos(-OMEGA), 1.0]), []
    x = x + start
    for _ in range(cycles):
        for _ in range(STEPS):
            truth, x = LAW @ truth, model(x)
        x = x + np.asarray(K) * (truth[1] + sigma * rng.normal() - x[1])
        found.append(x - truth)
    return np.array(found)


def test_correcting_the_newest_state_alone_destabilises_a_window():
    """The same B, data and model: what is done to the older state of the window decides.

    Of a wave with random phase and amplitude the windows have the covariance B below. With data
    that are all but exact, an analysis of the newest state alone multiplies the old error by
    sin((s - 1) omega) / sin(omega) = 3.15 in s = 5 steps, since the jump passes for motion; one of
    the whole window by cos(s omega) = 0.07.
    """
    B, R = 0.5 * np.array([[1, np.cos(OMEGA)], [np.cos(OMEGA), 1]]), 1e-6
    gain = B[:, 1] / (B[1, 1] + R)
    alone = np.abs(errors([0.0, gain[1]], 10)[:, 0])
    growth = np.sin((STEPS - 1) * OMEGA) / np.sin(OMEGA)
    assert np.allclose(alone[1:] / alone[:-1], growth, rtol=1e-3)  # R is not quite 0
    whole = np.abs(errors(gain, 4)).max(1)
    assert np.allclose(whole[1:] / whole[:-1], abs(np.cos(STEPS * OMEGA)), rtol=1e-2)
    # smaller gains do not save it either, once in 8 steps
    factor = [
        abs(np.linalg.eigvals(np.diag([1, 1 - k]) @ np.linalg.matrix_power(LAW, 8))).max()
        for k in (0.5, 0.9, 1.0)
    ]
    assert min(factor) > 1.5


def test_filters_correct_the_whole_window_and_hold_the_wave():
    """With noise of 0.1, from a background of the wave's own size: KF and ETKF, 40 cycles."""
    sigma, cycles = 0.1, 40
    model = da.DMD.fit(WAVE, 2, ridge=0)
    B = 0.5 * np.array([[1, np.cos(OMEGA)], [np.cos(OMEGA), 1]])
    see = da.Observation(model.observe(da.identity), [sigma**2])
    twin = da.twin(da.Linear(LAW), see, da.Gaussian(np.zeros(2), B), cycles, steps=STEPS, batch=8)
    problem = da.Problem(**parts(twin, model=model), steps=STEPS)
    assert same(assimilated(twin, da.KF()), assimilated(problem, da.KF()))
    for method, bound in ((da.KF(), 0.5), (da.ETKF(10), 1.0)):
        found = assimilated(problem, method)
        late = (found["mean"] - found["truth"]).sel(stage="analysis").isel(time=slice(20, None))
        assert float((late**2).mean()) ** 0.5 < bound * sigma
    together, alone = (assimilated(p, da.ETKF(10)) for p in (problem, problem[2]))
    again = da.assimilate(problem[2], da.ETKF(10), seed=2, progress=False)
    assert same_bits(together["mean"][2], again["mean"])
    assert not same_bits(alone["mean"], again["mean"])
    alone = errors([0.0, 0.5 / (0.5 + sigma**2)], cycles, sigma)
    assert np.abs(alone[20:]).max() > 1e6


# --- what is refused -----------------------------------------------------------------------------


def fit(x=None, delays=2, **settings):
    return da.DMD.fit(runs() if x is None else x, delays, **settings)


HOLED = np.where(np.arange(300).reshape(5, 20, 3) == 31, np.nan, runs())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: fit(HOLED), r"1 of the states of runs \(5, 20, 3\) hold NaN"),
        (lambda: fit([runs(), HOLED]), r"1 of the states of runs\[1\] \(5, 20, 3\) hold NaN"),
        (lambda: fit(validation=HOLED), r"of the states of validation \(5, 20, 3\) hold NaN"),
        (lambda: fit(np.ones(5)), r"runs have shape \(5,\), wanted \(\.\.\., T, n\)"),
        (lambda: fit(runs(times=2)), "runs have 2 times, wanted at least 3"),
        (lambda: fit([runs(), runs(times=2)]), r"runs\[1\] have 2 times, wanted at least 3"),
        (lambda: fit([runs(), runs()[..., :2]]), r"runs\[1\] have shape \(5, 20, 2\)"),
        (lambda: fit(runs(1, 8), 4), "4 windows of 4 states, too few for the 12 .*rank <= 3"),
        (lambda: fit(runs(1, 8), 4, ridge=0), "too few for the 12"),
        (lambda: fit(ridge=-1), r"ridge must be >= 0, met \(-1"),
        (lambda: fit(ridge=(0.1, 1)), "ridge has 2 values, of which validation"),
        (lambda: fit(rank=7), "rank must be an integer <= 6, met 7"),
        (lambda: fit(delays=0), "delays must be an integer >= 1"),
        (lambda: fit(ahead=3), "ahead belongs to validation runs, met ahead = 3"),
        (lambda: fit(validation=runs(), ahead=19), "validation have 20 times, wanted at least 21"),
        (lambda: fit(scale=np.ones(2)), r"scale has shape \(2,\), wanted \(3,\)"),
        (lambda: fit()(np.ones((4, 5))), r"delays=2\) met a state of shape \(4, 5\), wanted"),
        (lambda: da.DMD(np.ones((2, 3))), r"matrix has shape \(2, 3\), wanted \(n, L n\)"),
        (lambda: da.DMD(np.eye(2), np.ones(3)), r"offset has shape \(3,\), wanted \(2,\)"),
        (lambda: da.DMD(np.eye(2) * np.nan), "matrix holds NaN"),
        (lambda: da.DMD(np.eye(2), dt=-1), "dt"),
        (lambda: da.Windowed(da.POD.fit(runs(), 2), 0), "length must be an integer >= 1"),
    ],
)
def test_what_cannot_be_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        change()


def test_few_runs_are_taken_with_a_ridge_or_a_rank_of_ones_own():
    x = runs(1, 8)
    assert fit(x, 4, ridge=0.1).length == 4
    assert fit(x, 4, rank=3).length == 4
    with pytest.raises(TypeError, match="Subcycled wants a model with a setting dt"):
        da.Subcycled(fit(), 2)


def test_states_that_never_vary():
    found = fit(np.ones((2, 9, 3)), 2)
    assert np.allclose(found.forecast(np.ones(6), 3), 1)
    assert not found.matrix.any()
    assert companion(found.matrix).shape == (6, 6)


def test_what_is_seen_of_windows_needs_the_newest_state_alone():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((40, 6))
    pod = da.POD.fit(x, 2)
    coder, dmd = da.Windowed(pod, 3), da.DMD(np.zeros((2, 6)))
    z, see = rng.standard_normal((5, 6)), da.Every(2)
    found = coder.observed(dmd.observe(see), z)
    whole = da.DMD(np.zeros((6, 18))).observe(see)(coder.decode(z))
    assert np.allclose(found(z), whole, rtol=0, atol=1e-13)
    assert not found.linear  # a mean is added
    assert da.Windowed(da.POD.fit(x, 2, mean=False), 3).observed(dmd.observe(see), z).linear
    assert coder.observed(see, z) is None
    assert da.Windowed(pod, 2).observed(dmd.observe(see), z) is None  # another length
