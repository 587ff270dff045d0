"""What changes with time: inputs of the model, its noise, steps of none, data at one time.

Every method takes them. Held to the same problem without inputs, to the Kalman recursion written
out here, and to data that are put together by hand.
"""

import dataclasses

import numpy as np
import pytest
import torch
from changing import changing, kalman
from examples import METHODS, Rotation, linear_gaussian

import dalearn as da
from dalearn.array import array_namespace

each = pytest.mark.parametrize("example", METHODS, ids=str)


@dataclasses.dataclass(frozen=True, eq=False)
class Turned:
    """x <- A x + u (x_2, x_3, x_1) / 5 + u^2: linear in the state, not in what it is told."""

    A: np.ndarray

    def __call__(self, x, u):
        xp = array_namespace(x)
        return x @ self.A.mT + u * xp.roll(x, 1, axis=-1) / 5 + u * u


@dataclasses.dataclass(frozen=True, eq=False)
class Twice:
    """Two steps of another model as one, told the same two numbers each time."""

    model: Turned
    u: tuple

    def __call__(self, x):
        for u in self.u:
            x = self.model(x, u)
        return x


def alternating(cycles=4, noise=None):
    """A problem of two steps a cycle, told 0.3 and -0.8 in turn."""
    p = linear_gaussian(cycles=cycles, noise=False, local=True)
    u = np.tile([0.3, -0.8], cycles)
    return da.twin(
        Turned(p.model.A), p.observation, p.prior, cycles, steps=2, noise=noise, inputs=u
    )


def run(problem, method, seed=0, **settings):
    return da.assimilate(problem, method, seed=seed, progress=False, **settings)


def close(a, b, slack=1e-9):
    for name in ("mean", "std"):
        assert np.allclose(a[name], b[name], rtol=0, atol=slack), name


@each
def test_a_model_that_is_told_inputs_is_the_model_with_them_built_in(example):
    if example.noisy:
        pytest.skip("it wants noise after each step: see the smoother below")
    told = alternating()
    once = dataclasses.replace(told, model=Twice(told.model, (0.3, -0.8)), steps=1, inputs=None)
    # a method told nothing about them would be off by about 0.6 after a step
    jacobian = getattr(example.method, "jacobian", None)
    slack = 1e-6 if jacobian is da.finite_difference else 1e-9
    close(run(told, example.method), run(once, example.method), slack)


@each
def test_noise_given_for_each_interval_is_the_noise_given_once(example):
    Q = da.Dense(0.1 * np.eye(3) + 0.05)
    problem = linear_gaussian(cycles=4, noise=False, local=True)
    problem = dataclasses.replace(problem, noise=Q)
    several = dataclasses.replace(problem, noise=[da.Dense(Q.matrix()) for _ in range(4)])
    close(run(several, example.method), run(problem, example.method))


EXACT = [da.KF(), da.RTS(), da.ExtendedKF(), da.UKF(), da.ExtendedRTS(), da.UnscentedRTS()]


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("method", EXACT, ids=lambda m: type(m).__name__)
def test_everything_may_change_with_time(method, library):
    problem, parts = changing()
    before, after, smooth = kalman(problem, *parts)
    if library == "torch":
        problem = problem.to(torch.zeros(1, dtype=torch.float64))
    result = run(problem, method)
    known = [("forecast", before), ("analysis", after)]
    known += [("smoothed", smooth)] if "smoothed" in result["stage"] else []
    for stage, pairs in known:
        here = result.sel(stage=stage)
        assert np.allclose(here["mean"], [x for x, _ in pairs], rtol=0, atol=1e-10), stage
        std = [np.diag(P) ** 0.5 for _, P in pairs]
        assert np.allclose(here["std"], std, rtol=0, atol=1e-10), stage


@pytest.mark.parametrize("window", [None, 2])
def test_weak_constraint_4dvar_is_the_smoother(window):
    problem, parts = changing()
    _, after, smooth = kalman(problem, *parts)
    result = run(problem, da.WeakVar4D(window))
    # its analysis has seen the data of its window: the last of each is the filter's
    last = [4] if window is None else [1, 3, 4]
    wanted = smooth if window is None else after
    for k in last if window else range(5):
        here = result.sel(stage="analysis").isel(time=k)
        assert np.allclose(here["mean"], wanted[k][0], rtol=0, atol=1e-8)
        assert np.allclose(here["std"], np.diag(wanted[k][1]) ** 0.5, rtol=0, atol=1e-8)


def test_strong_constraint_4dvar_is_the_filter_without_noise():
    problem, (A, b, Q, H, R) = changing()
    problem = dataclasses.replace(problem, noise=None)
    after = kalman(problem, A, b, [0 * q for q in Q], H, R)[1]
    result = run(problem, da.Var4D(5, B="prior")).sel(stage="analysis").isel(time=-1)
    assert np.allclose(result["mean"], after[-1][0], rtol=0, atol=1e-8)
    assert np.allclose(result["std"], np.diag(after[-1][1]) ** 0.5, rtol=0, atol=1e-8)


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_the_iterative_smoother_draws_each_intervals_noise(lag):
    problem, _ = changing()
    a, b = run(problem, da.IEnKS(8, lag=lag)), run(problem, da.ETKF(8))
    close(a.sel(stage="analysis"), b.sel(stage="analysis"), 1e-8)


def test_a_large_ensemble_has_each_intervals_noise():
    problem, parts = changing()
    _, after, _ = kalman(problem, *parts)
    result = run(problem.expand((8,)), da.EnKF(2000)).sel(stage="analysis")
    wanted = np.stack([np.diag(P) ** 0.5 for _, P in after])
    # 16 000 members: 0.6 % of a standard deviation, and some more through the recursion
    assert np.allclose(result["std"].mean("case"), wanted, rtol=0.02)


@pytest.mark.parametrize("method", [*EXACT, da.WeakVar4D(), da.Var4D(4, B="prior")], ids=str)
def test_several_data_at_one_time_are_all_of_them_at_once(method):
    rng = np.random.default_rng(3)
    p = linear_gaussian(cycles=3, noise=not isinstance(method, da.Var4D))
    p = dataclasses.replace(p, truth=None)
    H, R = p.observation.operator.matrix, [0.5, 2.0]
    y = rng.normal(size=(3, 2))
    whole = dataclasses.replace(p, data=y, observation=da.Observation(H, da.Diagonal(R)))
    apart = dataclasses.replace(
        whole,
        data=y.reshape(-1, 1),
        steps=[2, 0, 2, 0, 2, 0],
        observation=da.Moving([da.Observation(H[i : i + 1], [R[i]]) for i in (0, 1)] * 3),
    )
    a = run(whole, method).sel(stage="analysis")
    b = run(apart, dataclasses.replace(method, window=6) if hasattr(method, "window") else method)
    close(a.isel(time=-1), b.sel(stage="analysis").isel(time=-1), 1e-8)


def test_data_at_the_time_of_the_prior():
    p = linear_gaussian(cycles=2)
    p = dataclasses.replace(p, steps=[0, 2])
    R, H = p.observation.noise.matrix(), p.observation.operator.matrix
    P = p.prior.cov.matrix()
    K = P @ H.T @ np.linalg.inv(H @ P @ H.T + R)
    result = run(p, da.KF())
    assert list(result.time) == [0, 2]
    first = result["mean"].isel(time=0)
    assert np.allclose(first.sel(stage="forecast"), p.prior.mean)
    wanted = p.prior.mean + K @ (p.data[0] - H @ p.prior.mean)
    assert np.allclose(first.sel(stage="analysis"), wanted, atol=1e-12)


def test_the_time_itself_and_steps_of_any_length():
    def swing(x, t):
        xp = array_namespace(x)
        v = x[..., 1] + 0.1 * (xp.cos(2 * t) - xp.sin(x[..., 0]))
        return xp.stack((x[..., 0] + 0.1 * v, v), axis=-1)

    def clock(z):
        x = swing(z[..., :2], z[..., 2])
        return array_namespace(z).concat([x, z[..., 2:] + 0.1], axis=-1)

    swing.dt = clock.dt = 0.1
    see, steps = da.Observation(da.Subset([0]), [0.01]), [3, 1, 4]
    prior = da.Gaussian(np.zeros(2), da.Diagonal([1.0, 1.0]))
    told = da.twin(swing, see, prior, 3, steps=steps, inputs="time")
    wide = da.Gaussian(np.zeros(3), da.Diagonal([1.0, 1.0, 0.0]))
    inside = da.Problem(clock, see, wide, told.data, steps)
    a, b = run(told, da.ExtendedKF()), run(inside, da.ExtendedKF())
    close(a, b.isel(x=[0, 1]), 1e-8)
    assert np.allclose(told.inputs, 0.1 * np.arange(8))
    dt = np.array([0.1, 0.05, 0.2])  # an interval as a step of its own length

    def drift(x, dt):
        return x * (1 - dt)

    q = da.Problem(drift, da.Observation(da.identity, [1.0]), da.Gaussian(np.ones(1), [1.0]),
                   np.full((3, 1), np.nan), times=[0.1, 0.15, 0.35], inputs=dt)  # fmt: skip
    assert np.allclose(run(q, da.KF())["mean"].isel(stage=0, x=0), np.cumprod(1 - dt))


def test_inputs_of_their_own_for_each_experiment():
    p = linear_gaussian(cycles=3, noise=False)
    u = np.random.default_rng(0).normal(size=(4, 6, 1))
    batch = da.twin(
        Turned(p.model.A), p.observation, p.prior, 3, steps=2, inputs=u, batch=4, seed=5
    )
    together = run(batch, da.ETKF(10), 7)
    for b in range(4):
        alone = da.twin(
            Turned(p.model.A), p.observation, p.prior, 3, steps=2, inputs=u[b], seed=5 + b
        )
        assert np.array_equal(alone.data, batch[b].data)
        assert np.array_equal(run(alone, da.ETKF(10), 7 + b)["mean"], together["mean"][b])
    assert np.allclose(run(batch, da.KF())["mean"][2], run(batch[2], da.KF())["mean"])


def test_fields_and_parameters_are_told_too():
    @dataclasses.dataclass(frozen=True, eq=False)
    class Heated:
        gain: float = 2.0

        def __call__(self, x, u):
            return 0.9 * x + self.gain * u[0] * 0.1

    see = da.Observation(lambda x: x.reshape(*x.shape[:-2], 6)[..., ::2], 0.01 * np.ones(3))
    prior = da.Gaussian(np.zeros(6), np.ones(6))
    u = np.sin(np.arange(20.0))[:, None]
    field = da.twin(Heated(), see, prior, 20, shape=(2, 3), inputs=u)
    joint = da.with_parameters(field, "gain", da.Gaussian(np.array([1.0]), [1.0]))
    result = run(joint, da.ETKF(20))
    found = da.state_and_parameters(result, joint)[1].sel(stage="analysis", x="gain")
    assert abs(float(found["mean"][-1]) - 2) < 4 * float(found["std"][-1]) + 0.1
    assert float(found["std"][-1]) < 0.2


def problem_with(**settings):
    p = linear_gaussian(cycles=3, noise=False)
    told = {"inputs": np.ones(6), "steps": 2, **settings}
    model = told.pop("model", Turned(p.model.A))
    return da.Problem(model, p.observation, p.prior, p.data, **told)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": np.ones(5)}, r"inputs have shape \(5,\), wanted \(6,\)"),
        ({"inputs": np.ones((2, 6, 1))}, r"wanted leading axes that broadcast to the batch \(\)"),
        ({"inputs": np.nan * np.ones(6)}, "inputs hold NaN"),
        ({"inputs": "clock"}, "or \"time\".*met 'clock'"),
        ({"inputs": None}, "missing 1 required positional argument"),
        ({"noise": [da.Diagonal(np.ones(3))] * 2}, "2 covariances, wanted one, or 3"),
        ({"noise": [da.Diagonal(np.ones(2))] * 3}, "dimension 2, wanted the state's 3"),
        ({"steps": 0}, "steps must be a positive integer"),
        ({"steps": [2, -1, 2], "inputs": None}, "steps must be a positive integer"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        problem_with(**settings).validated()
    if settings.get("inputs", 0) is None and "steps" not in settings:
        assert any("Problem(inputs=u)" in note for note in caught.value.__notes__)


def test_who_cannot_follow_says_so():
    p = linear_gaussian(cycles=3, noise=False)
    told = problem_with()
    identity = da.Latent(da.ETKF(5), da.POD(np.eye(3), np.zeros(3)), model=Rotation(p.model.A))
    with pytest.raises(TypeError, match="a problem whose model is told inputs"):
        run(told, identity)
    with pytest.raises(TypeError, match=r"Turned is told inputs, so that its steps differ"):
        told.step  # noqa: B018
    late = problem_with(steps=[2, 2, 0], inputs=np.ones(4))
    with pytest.raises(ValueError, match="a model step in every window"):
        run(dataclasses.replace(late, noise=[da.Diagonal(np.ones(3))] * 3), da.WeakVar4D(1))
