"""What becomes a model: networks with a memory, finer steps, another nature, models of chance."""

import dataclasses
import pickle
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from bits import same_bits
from examples import Rotation, linear_gaussian

import dalearn as da
from dalearn.array import Purpose, Streams, array_namespace, convert_tree, generator, uniform
from dalearn.models import Kolmogorov
from dalearn.models.two_scale import Lorenz96TwoScale

ones = np.ones


def run(problem, method=None, **settings):
    return da.assimilate(problem, method or da.ETKF(20), progress=False, **settings)


# --- networks with a memory ---------------------------------------------------------------------

L, n = 3, 2
WEIGHTS = np.random.default_rng(0).normal(size=(L, n, n)) * 0.3  # x_t = sum_j W_j x_{t - L + j}
COMPANION = np.zeros((L * n, L * n))
COMPANION[: (L - 1) * n, n:] = np.eye((L - 1) * n)
COMPANION[(L - 1) * n :] = np.concatenate(list(WEIGHTS), axis=1)


def autoregressive(window):
    return np.einsum("blj,lij->bi", window, WEIGHTS)


class Autoregressive(torch.nn.Module):
    """The same as a module, which returns all times and a memory, as nn.LSTM does."""

    def __init__(self, form="last"):
        super().__init__()
        self.form = form
        self.weights = torch.nn.Parameter(torch.from_numpy(WEIGHTS))

    def forward(self, window):
        assert window.ndim == 3
        new = torch.einsum("blj,lij->bi", window, self.weights)
        every = torch.cat((torch.zeros_like(window[:, 1:]), new[:, None]), dim=1)
        return {"last": new, "all": every, "tuple": (every, (new, new))}[self.form]


def histories():
    yield "numpy", da.History(autoregressive, L), np.asarray
    yield "numpy-surrogate", da.History(da.Surrogate(Autoregressive()), L), np.asarray
    for form in ("last", "all", "tuple"):
        yield f"numpy-{form}", da.History(Autoregressive(form), L), np.asarray
        yield f"torch-{form}", da.History(Autoregressive(form), L), torch.from_numpy


@pytest.mark.parametrize(
    ("model", "array"), [pytest.param(m, a, id=name) for name, m, a in histories()]
)
@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,)])
def test_an_autoregressive_history_is_its_companion_matrix(model, array, lead):
    x = np.random.default_rng(1).normal(size=(*lead, L * n))
    given = array(x.copy())
    out = model(given)
    assert type(out) is type(given)
    out = out.detach() if isinstance(out, torch.Tensor) else out
    assert np.allclose(out, x @ COMPANION.T, rtol=0, atol=1e-14)  # one sum of six products
    assert np.array_equal(given, x)


def history_problem(model, like=None, **settings):
    see = da.Observation(model.observe(da.Linear(np.array([[1.0, 0.5]]))), [0.1])
    prior = da.Gaussian(ones(L * n), 0.5 * ones(L * n))
    Q = da.Diagonal(np.array([0.0] * (L - 1) * n + [0.01] * n))  # the past is past
    problem = da.twin(da.Linear(COMPANION), see, prior, 8, noise=Q, **settings)
    problem = dataclasses.replace(problem, model=model)
    return problem if like is None else problem.to(like)


def test_the_kalman_filter_on_a_history():
    problem = history_problem(da.History(autoregressive, L))
    by_hand = dataclasses.replace(problem, model=da.Linear(COMPANION))
    exact = run(by_hand, da.KF())
    tensors = history_problem(da.History(Autoregressive(), L), torch.zeros(1).double())
    for case, method in [
        (problem, da.KF(da.finite_difference)),
        (tensors, da.KF()),  # the network is differentiated
        (tensors, da.ExtendedKF()),
    ]:
        result = run(case, method)
        # finite differences of a linear map: round-off over the step, 1e-16 / 6e-6
        assert np.allclose(result["mean"], exact["mean"], rtol=0, atol=1e-9)
        assert np.allclose(result["std"], exact["std"], rtol=0, atol=1e-9)
    # a smoother in disguise: the past in the window is corrected too
    step = exact["std"].sel(stage="analysis") - exact["std"].sel(stage="forecast")
    assert (step.isel(time=0, x=slice(0, 2)) < 0).all()


def test_windows_and_the_newest_state():
    history = da.History(autoregressive, L, dt=0.1)
    states = np.random.default_rng(0).normal(size=(4, L, n))
    x = history.window(states)
    assert x.shape == (4, L * n)
    assert np.array_equal(history.latest(x), states[:, -1])
    after = history(x)
    assert np.array_equal(after[:, : (L - 1) * n], x[:, n:])
    assert np.array_equal(history.observe(partial(np.square))(x), states[:, -1] ** 2)
    assert history_problem(history).time[-1] == pytest.approx(0.8)
    assert np.array_equal(da.History(lambda w: w[:, -1], 1)(x), x)  # no memory, one state


def test_a_residual_history_adds_to_the_newest():
    plain = da.History(lambda w: w[:, -1] + autoregressive(w), L)
    residual = da.History(autoregressive, L, residual=True)
    x = np.random.default_rng(0).normal(size=(4, L * n))
    assert np.array_equal(plain(x), residual(x))


class Recurrent(torch.nn.Module):
    """LSTM and a linear head: nobody trained it, so it is scaled to move."""

    def __init__(self, n=3, hidden=16):
        super().__init__()
        torch.manual_seed(0)
        self.lstm = torch.nn.LSTM(n, hidden, batch_first=True)
        self.head = torch.nn.Linear(hidden, n)

    def forward(self, window):
        return 2 * self.head(self.lstm(window)[0])


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_an_lstm_is_assimilated(kind):
    net = Recurrent().double()
    model = da.History(net, 5)
    see = da.Observation(model.observe(da.identity), 0.04 * ones(3))
    mean = np.zeros(15) if kind == "numpy" else torch.zeros(15).double()
    prior = da.Gaussian(mean, ones(15))
    walk = da.Diagonal(np.array([0.0] * 12 + [0.01] * 3))
    problem = da.twin(model, see, prior, 40, noise=walk, batch=3)
    result = run(problem, da.ETKF(40))
    error = result["mean"] - result["truth"]
    newest = (error.sel(stage="analysis").isel(x=slice(-3, None), time=slice(5, None)) ** 2).mean()
    assert 0.001 < float(newest) ** 0.5 < 0.15  # the sensors alone: 0.2
    assert all(p.grad is None for p in net.parameters())
    assert np.array_equal(
        run(pickle.loads(pickle.dumps(problem)), da.ETKF(40))["mean"], result["mean"]
    )


def test_a_bare_lstm_returns_its_memory_too():
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(2, 2, batch_first=True)
    x = np.random.default_rng(0).normal(size=(4, 6))
    out = da.History(lstm, 3)(x)
    wanted = lstm(torch.from_numpy(x).float().reshape(4, 3, 2))[0][:, -1]
    assert out.dtype == np.float64
    assert np.allclose(out[:, 4:], wanted.detach(), rtol=0, atol=1e-6)  # float32
    assert np.array_equal(out[:, :4], x[:, 2:])  # what is only moved keeps its precision


# --- finer steps --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Decay:
    """x <- x - rate dt x^2 by Euler: stable while rate |x| dt <= 1."""

    rate: Any = 1.0
    dt: float = 1.0
    shape: ClassVar[tuple] = (2,)

    def __call__(self, x):
        return x - self.rate * self.dt * x**2

    def courant(self, x):
        xp = array_namespace(x)
        return xp.max(xp.abs(x), axis=-1) * self.dt


@pytest.mark.parametrize("array", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_a_step_is_many_short_ones(array):
    model = da.Subcycled(Decay(dt=0.8), 4)
    x = array(np.random.default_rng(0).random((5, 2)))
    short, y = Decay(dt=0.2), x
    for _ in range(4):
        y = short(y)
    assert (model(x) == y).all()
    assert (model.dt, model.shape, model.courant) == (0.8, (2,), 1.0)
    plain = da.Subcycled(da.Lorenz63(dt=0.04), 4)
    assert (plain.shape, plain.courant, plain.stochastic) == ((), None, False)
    u = array(np.array([1.5, -1.5, 25.0]))
    assert (plain(u) == da.integrate.repeated(da.Lorenz63(), 4)(u)).all()


@pytest.mark.parametrize("array", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_the_courant_number_is_watched(array):
    x = np.array([[0.5, 1.0], [1.0, 6.5], [np.nan, 0.1], [0.3, 2.0]])
    with pytest.raises(FloatingPointError) as caught:
        da.Subcycled(Decay(dt=1.0), 4)(array(x))
    # 6.5 / 4 = 1.625 > 1, and 7 steps bring it to 0.93
    for word in ("Decay", "1.62", "at most 1", "7 steps", "strict=False"):
        assert word in str(caught.value)
    model = da.Subcycled(Decay(dt=1.0), 4, strict=False)
    out = np.asarray(model(array(x)))
    assert np.isnan(out).all(axis=1).tolist() == [False, True, False, False]
    free = np.asarray(da.Subcycled(Decay(dt=1.0), 4, courant=None)(array(x)))
    for row in (0, 2, 3):  # the others to the bit, and a NaN that came in stays alone
        assert np.array_equal(out[row], free[row], equal_nan=True)
    enough = da.Subcycled(Decay(dt=1.0), 7)(array(x[[0, 1, 3]]))
    assert np.isfinite(np.asarray(enough)).all()
    loose = da.Subcycled(Decay(dt=1.0), 4, courant=100)(array(x))
    assert np.array_equal(np.asarray(loose), free, equal_nan=True)
    alone = model(array(x[1]))  # one state, no leading axes
    assert np.isnan(np.asarray(alone)).all()
    with pytest.raises(FloatingPointError, match="no number of steps"):
        da.Subcycled(Decay(), 2)(array(np.array([[np.inf, 0.0]])))


def test_a_member_too_fast_makes_its_experiment_alone_diverge():
    see = da.Observation(da.identity, 0.01 * ones(2))
    prior = da.Gaussian(0.5 * ones((2, 2)), da.Diagonal(0.01 * ones(2)))
    model = da.Subcycled(Decay(dt=1.0), 2, strict=False)
    problem = dataclasses.replace(da.twin(model, see, prior, 3), failures=0)
    cloud = prior.sample(Streams(1, 0, (2,)), 6)
    cloud[1, 3] = 5.0
    with pytest.warns(RuntimeWarning, match="at least 6 have to be sound"):
        result = run(dataclasses.replace(problem, prior=da.Ensemble(cloud)), da.ETKF(6))
    assert result["diverged"].values.tolist() == [False, True]
    strict = dataclasses.replace(model, strict=True)
    problem = dataclasses.replace(problem, prior=da.Ensemble(cloud), model=strict)
    with pytest.raises(FloatingPointError, match="4 steps would do"):  # mean and spread are 3.1
        run(problem, da.ETKF(6))


def test_subcycled_has_derivatives_and_keeps_swept_parameters():
    rate = np.array([0.5, 1.0])[:, None, None]
    model = da.Subcycled(Decay(rate, dt=0.4), 2)
    x = 0.5 * np.random.default_rng(0).random((2, 3, 2))
    _, J = da.linearize(model, x)
    _, D = da.finite_difference(model, x)
    assert np.allclose(J, D, rtol=1e-8, atol=1e-9)  # central differences, h = 6e-6
    z = torch.from_numpy(x)
    _, tangent = torch.func.jvp(convert_tree(model, z), (z,), (torch.ones_like(z),))
    assert np.allclose(tangent, J.sum(-1), rtol=1e-12)
    see = da.Observation(da.identity, ones(2))
    problem = da.twin(model, see, da.Gaussian(0.3 * ones(2), 0.01 * ones(2)), 2, batch=2)
    together = run(problem, da.ETKF(5))
    for b in range(2):
        assert problem[b].model.model.rate.shape == (1, 1)
        assert same_bits(together["mean"][b], run(problem[b], da.ETKF(5), seed=b)["mean"])


def test_subcycled_kolmogorov_knows_its_courant_number():
    model = Kolmogorov(n=16, dt=0.4)
    x = model.random_flow(np.random.default_rng(0), (2,))
    met = model.courant(x).max()
    assert met > 1
    with pytest.raises(FloatingPointError, match=rf"{met:.3g} .* {int(np.ceil(met))} steps"):
        da.Subcycled(model, 1)(x)
    steps = int(np.ceil(1.5 * met))  # the flow may get faster
    out = da.Subcycled(model, steps)(x)
    short = dataclasses.replace(model, dt=0.4 / steps)
    assert np.array_equal(out, da.integrate.repeated(short, steps)(x))


# --- another nature -----------------------------------------------------------------------------


def first_two(x):
    return x[..., :2]


NATURE = Rotation(np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0])
MODEL = Rotation(NATURE.A[:2, :2])
SEE = da.Observation(np.array([[1.0, 1.0], [0.0, 1.0], [2.0, 0.0]]), ones(3))


def test_the_truth_is_what_the_view_shows_of_nature():
    start = np.arange(5.0)
    problem = da.twin(
        MODEL,
        SEE,
        da.Point(ones(2)),
        6,
        steps=[1, 2, 1, 2, 1, 1],
        truth_model=NATURE,
        truth_prior=da.Point(start),
        truth_view=first_two,
        seed=3,
    )
    states = da.trajectory(NATURE, start, 8)[[1, 3, 4, 6, 7, 8]]
    assert np.array_equal(problem.truth, states[:, :2])
    errors = np.stack([Streams(0, [3], (1,)).generators[0].standard_normal((6, 3))])[0]
    # the errors that a twin of seed 3 draws, on what the operator makes of the view
    assert np.allclose(problem.data, states[:, :2] @ SEE.operator.matrix.T + errors, atol=1e-14)
    assert problem.model is MODEL
    assert (problem.n, problem.shape) == (2, ())


@pytest.mark.parametrize("kind", ["Gaussian", "Ensemble", "batched"])
def test_nature_of_a_batch_is_nature_alone(kind):
    rng = np.random.default_rng(1)
    priors = {
        "Gaussian": da.Gaussian(rng.normal(size=5), ones(5)),
        "Ensemble": da.Ensemble(rng.normal(size=(9, 5))),
        "batched": da.Gaussian(rng.normal(size=(3, 5)), ones(5)),
    }

    def make(prior, **settings):
        return da.twin(
            MODEL,
            SEE,
            da.Gaussian(ones(2), ones(2)),
            4,
            noise=0.1 * ones(2),  # the assimilating model's, not nature's
            truth_model=NATURE,
            truth_prior=prior,
            truth_view=first_two,
            **settings,
        )

    together = make(priors[kind], batch=3)
    assert together.truth.shape == (3, 4, 2)
    for b in range(3):
        alone = make(priors[kind][b] if kind == "batched" else priors[kind], seed=b)
        assert np.array_equal(together.truth[b], alone.truth)
        assert np.array_equal(together.data[b], alone.data)
    assert len(np.unique(together.truth)) == together.truth.size


def test_a_truth_from_another_prior():
    wrong = da.Gaussian(10 * ones(2), 0.01 * ones(2))
    problem = da.twin(MODEL, SEE, da.Gaussian(np.zeros(2), ones(2)), 3, truth_prior=wrong)
    start = np.linalg.norm(MODEL(10 * ones(2)))
    assert abs(np.linalg.norm(problem.truth[0]) - start) < 0.5  # 0.1 of spread, five times
    assert (problem.prior.mean == 0).all()


@dataclass(frozen=True)
class Coarse:
    """Means of 2 x 2 cells, (b, 1, 8, 8) -> (b, 1, 4, 4)."""

    def __call__(self, x):
        assert x.shape[1:] == (1, 8, 8)
        return x.reshape((len(x), 1, 4, 2, 4, 2)).mean((3, 5))


@dataclass(frozen=True)
class Fade:
    shape: tuple = (1, 8, 8)

    def __call__(self, x):
        assert x.shape[1:] == self.shape
        return 0.9 * x


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_finer_nature_of_fields(kind):
    make = np.ones if kind == "numpy" else partial(torch.ones, dtype=torch.float64)
    problem = da.twin(
        Fade((1, 4, 4)),
        da.Observation(da.Subset((np.array([0]), np.array([1]), np.array([2]))), ones(1)),
        da.Gaussian(make(16), ones(16)),
        2,
        shape=(1, 4, 4),
        batch=2,
        truth_model=Fade(),
        truth_prior=da.Gaussian(np.arange(64.0), 1e-12 * ones(64)),  # converted to the problem's
        truth_view=Coarse(),
    )
    wanted = 0.9 * np.arange(64.0).reshape(4, 2, 4, 2).mean((1, 3)).ravel()
    assert type(problem.truth) is type(problem.prior.mean)
    assert np.allclose(problem.truth[:, 0], wanted, rtol=0, atol=1e-4)  # a spread of 1e-6
    assert np.isfinite(run(problem, da.ETKF(5))["mean"]).all()


def test_a_two_scale_truth_for_a_one_scale_model():
    nature = Lorenz96TwoScale(n=8, fast=4, forcing=10.0, dt=0.05)
    m = nature.n * (1 + nature.fast)
    start = np.concatenate([3 + np.sin(np.arange(8.0)), np.zeros(m - 8)])
    settings: dict[str, Any] = {
        "truth_model": da.Subcycled(nature, 10),
        "truth_prior": da.Gaussian(start, np.array([1.0] * 8 + [0.01] * (m - 8))),
        "truth_view": nature.slow,
    }
    see = da.Observation(da.identity, 0.25 * ones(8))
    prior = da.Gaussian(start[:8], ones(8))
    model = da.Lorenz96(n=8, forcing=10.0)
    problem = da.twin(model, see, prior, 100, noise=0.02 * ones(8), batch=4, **settings)
    late = {"time": slice(20, None)}
    error = (
        da.rmse(run(problem, da.ETKF(20, inflation=1.02))).sel(stage="analysis").isel(late).mean()
    )
    perfect = da.twin(model, see, prior, 100, noise=0.02 * ones(8), batch=4)
    blind = dataclasses.replace(problem, noise=None)
    lost = da.rmse(run(blind, da.ETKF(20))).sel(stage="analysis").isel(late).mean()
    # better than the sensors (0.5), and the model's error has to be allowed for
    assert float(error) < 0.45
    assert float(error) < float(lost)
    assert not np.allclose(problem.truth, perfect.truth)


# --- models of chance ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Jumping:
    """x <- 0.9 x + size (u - 1/2), u uniform: variance size^2 / 12."""

    stochastic: ClassVar[bool] = True
    size: Any = 1.0
    dt: float = 0.5
    shape: tuple = ()

    def __call__(self, x, rng):
        assert x.shape[1:] == self.shape or not self.shape
        return 0.9 * x + self.size * (uniform(rng, x) - 0.5)


def jumping(shape=(), cycles=5, **settings):
    n = int(np.prod(shape)) if shape else 3
    see = da.Observation(Row(), 0.1 * ones(2)) if shape else da.Observation(np.eye(2, 3), ones(2))
    model = settings.pop("model", Jumping(shape=shape))
    prior = da.Gaussian(settings.pop("mean", np.zeros(n)), ones(n))
    return da.twin(model, see, prior, cycles, shape=shape, steps=2, **settings)


@dataclass(frozen=True)
class Row:
    def __call__(self, x):
        return x[:, 0, :2]


@pytest.mark.parametrize("method", [da.ETKF(6), da.EnKF(6)], ids=["ETKF", "EnKF"])
@pytest.mark.parametrize("shape", [(), (2, 4)])
def test_a_stochastic_batch_is_its_experiments(method, shape):
    problem = jumping(shape, batch=(3,))
    together = run(problem, method, seed=5)
    for b in range(3):
        twin = jumping(shape, seed=b)
        assert np.array_equal(problem.truth[b], twin.truth)
        assert np.array_equal(problem.data[b], twin.data)
        alone = run(twin, method, seed=5 + b)
        assert same_bits(together["mean"][b], alone["mean"])
    again = run(problem, method, seed=5)
    assert np.array_equal(again["mean"], together["mean"])
    other = run(problem, method, seed=6)
    assert not np.array_equal(other["mean"][0], together["mean"][0])


def test_one_ensemble_for_a_batch_draws_for_each_experiment():
    cloud = da.Ensemble(np.random.default_rng(0).normal(size=(6, 3)))
    problem = dataclasses.replace(jumping(batch=3), prior=cloud)
    together = run(problem, da.ETKF(6))
    for b in range(3):
        assert same_bits(together["mean"][b], run(problem[b], da.ETKF(6), seed=b)["mean"])
    first = together["mean"].sel(stage="forecast")[:, 0]
    assert not np.array_equal(first[0], first[1])


def test_members_are_moved_apart_as_the_law_says():
    problem = jumping()
    x = np.zeros((4000, 3))
    out = problem.forecast(x, 0, Streams(1, 0))
    variance = (1 + 0.81) / 12  # two steps
    # the variance of 12000 numbers is known to 1.3 %
    assert abs(out.var() / variance - 1) < 0.05
    noisy = dataclasses.replace(problem, noise=da.Diagonal(ones(3)))
    both = noisy.forecast(x, 0, Streams(1, 0))
    assert abs(both.var() / (variance + 1.81) - 1) < 0.05
    plain = problem.forecast(x, 0, np.random.default_rng(0))  # a bare generator will do
    assert abs(plain.var() / variance - 1) < 0.05


def test_a_stochastic_problem_on_torch():
    problem = jumping(batch=2)
    tensors = problem.to(torch.zeros(1).double())
    a, b = run(problem, da.ETKF(6)), run(tensors, da.ETKF(6))
    assert np.allclose(a["mean"], b["mean"], rtol=0, atol=1e-12)  # the same numbers, five cycles
    on_device = run(tensors, da.ETKF(6), seed=torch.Generator().manual_seed(0))
    assert np.isfinite(on_device["mean"]).all()


def test_the_kalman_filter_with_the_jumps_variance_is_the_ensemble_limit():
    """The jumps have mean 0 and variance 1/12: the ensemble filters know no more than that."""
    problem = jumping(cycles=8)
    linear = dataclasses.replace(
        problem, model=da.Linear(0.9 * np.eye(3)), noise=da.Diagonal(ones(3) / 12)
    )
    exact, many = run(linear, da.KF()), run(problem, da.EnKF(20000))
    # sampling error of 20000 members: 1/sqrt(N) = 0.7 %, of a spread up to 1
    assert np.allclose(many["mean"], exact["mean"], rtol=0, atol=0.03)
    assert np.allclose(many["std"], exact["std"], rtol=0.03)


def test_chance_passes_through_every_wrapper():
    size = np.array([0.1, 0.2, 0.3])
    inner = da.Subcycled(Jumping(), 2)
    assert inner.stochastic
    problem = jumping(model=inner, batch=3)
    joint = da.with_parameters(problem, "size", da.Gaussian(np.array([0.5]), [0.01]))
    assert joint.stochastic
    z = np.concatenate([np.zeros((3, 3)), size[:, None]], axis=1)
    out = joint.forecast(z, 0, Streams(1, 0))[:, :3]
    same = problem.forecast(np.zeros((3, 3)), 0, Streams(1, 0))
    assert np.allclose(out, size[:, None] * same, rtol=1e-12)  # the jumps scale with their size
    together = run(joint, da.ETKF(6))
    for b in range(3):
        assert same_bits(together["mean"][b], run(joint[b], da.ETKF(6), seed=b)["mean"])


def test_nature_may_be_of_chance_where_the_model_is_not():
    see = da.Observation(da.identity, ones(3))
    prior = da.Gaussian(np.zeros(3), ones(3))
    problem = da.twin(da.Linear(0.9 * np.eye(3)), see, prior, 4, truth_model=Jumping(), batch=2)
    assert not problem.stochastic
    alone = da.twin(da.Linear(0.9 * np.eye(3)), see, prior, 4, truth_model=Jumping(), seed=1)
    assert np.array_equal(problem.truth[1], alone.truth)
    assert np.isfinite(run(problem, da.KF())["mean"]).all()


@pytest.mark.parametrize(
    "act",
    [
        lambda p: p.step,
        lambda p: p.forecast(np.zeros((2, 3)), 0),
        lambda p: run(p, da.ExtendedKF()),
        lambda p: run(p, da.KF()),
    ],
    ids=["step", "forecast", "ExtendedKF", "KF"],
)
def test_what_wants_a_forecast_without_chance_says_so(act):
    with pytest.raises(TypeError, match=r"Jumping is stochastic.*ensemble"):
        act(jumping())


def test_the_check_spends_none_of_the_runs_numbers():
    problem = jumping()
    direct = list(da.ETKF(6).run(problem.validated(), Streams(1, 0)))
    checked = run(problem, da.ETKF(6))
    assert np.array_equal(checked["mean"][-1, 1], direct[-1].analysis.mean)


def test_the_old_twin_is_bit_for_bit_the_same():
    """A twin without any of the new settings draws what it always drew."""
    problem = linear_gaussian(cycles=1)
    rng = generator(Purpose.TWIN, 0)
    x = problem.prior.mean + problem.prior.cov.color(rng.standard_normal((1, 3)))
    for _ in range(2):
        x = problem.model(x) + problem.noise.color(rng.standard_normal((1, 3)))
    y = problem.observation(x) + problem.observation.noise.color(rng.standard_normal((1, 2)))
    assert np.array_equal(problem.truth, x)
    assert np.array_equal(problem.data, y)
