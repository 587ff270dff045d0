"""Joint estimation: parameters behind the state, found by the same methods as the state."""

import dataclasses
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from bits import same_bits
from examples import lorenz63, lorenz96

import dalearn as da
from dalearn.array import Streams, array_namespace, convert_tree
from dalearn.covariances.blocks import Blocks
from dalearn.models import Kolmogorov, ShallowWater
from dalearn.problem.joint import Joint

ones = np.ones


def run(problem, method=None, **settings):
    return da.assimilate(
        problem, method or da.ETKF(40, inflation=1.02), progress=False, **settings
    )


def spd(rng, k):
    G = rng.normal(size=(k, k))
    return da.Dense(G @ G.T / k + np.eye(k))


@dataclass(frozen=True, eq=False)
class Pushed:
    """x <- A x + push g: linear in the state and in its parameter."""

    A: Any
    g: Any
    push: Any = 0.3
    dt: float = 0.5

    def __call__(self, x):
        return x @ self.A.mT + self.push * self.g


def pushed(batch=(), cycles=6, seed=0, noise=True, **settings):
    rng = np.random.default_rng(3)
    model = Pushed(0.9 * np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.normal(size=3), **settings)
    see = da.Observation(rng.normal(size=(2, 3)), spd(rng, 2))
    prior = da.Gaussian(rng.normal(size=3), spd(rng, 3))
    Q = spd(rng, 3) if noise else None
    return da.twin(model, see, prior, cycles, steps=2, noise=Q, batch=batch, seed=seed)


# --- exact answers ------------------------------------------------------------------------------


def by_hand(problem, theta, walk, g):
    """The same problem on (x, theta), its matrices written out; g (n, p) pushes the state."""
    n, p = problem.n, theta.mean.shape[-1]
    A = np.block([[problem.model.A, g], [np.zeros((p, n)), np.eye(p)]])

    def block(a, b):
        return np.block([[a, np.zeros((n, p))], [np.zeros((p, n)), b]])

    H = np.concatenate([problem.observation.operator.matrix, np.zeros((2, p))], axis=1)
    Q = da.Dense(block(problem.noise.matrix(), walk))
    prior = da.Gaussian(
        np.concatenate([problem.prior.mean, theta.mean]),
        da.Dense(block(problem.prior.cov.matrix(), theta.cov.matrix())),
    )
    see = da.Observation(H, problem.observation.noise)
    return da.Problem(da.Linear(A), see, prior, problem.data, 2, Q)


@pytest.mark.parametrize("method", [da.KF(), da.ExtendedKF()], ids=["KF", "ExtendedKF"])
def test_a_parameter_that_enters_linearly_is_the_augmented_kalman_filter(method):
    problem = pushed()
    theta = da.Gaussian(np.array([-0.5]), ones(1))
    joint = da.with_parameters(problem, "push", theta, noise=0.01)
    hand = by_hand(problem, theta, 0.01 * np.eye(1), problem.model.g[:, None])
    a, b = run(joint, method), run(hand, da.KF())
    for name in ("mean", "std", "predicted"):
        # two ways of the same arithmetic, over 12 steps
        assert np.allclose(a[name], b[name], rtol=1e-10, atol=1e-10)
    assert float(a["std"][-1, 1, -1]) < 0.8  # and the data do tell something about it


@pytest.mark.parametrize("dense", [False, True], ids=["Diagonal", "Dense"])
def test_a_parameter_with_a_value_for_each_component(dense):
    """push (3,): each component of g has its own factor."""
    problem = pushed()
    rng = np.random.default_rng(0)
    theta = da.Gaussian(rng.normal(size=3), spd(rng, 3) if dense else ones(3))
    walk = spd(rng, 3) if dense else da.Diagonal([0.0, 0.1, 0.2])
    joint = da.with_parameters(problem, {"push": (3,)}, theta, noise=walk, truth=0.3)
    a = run(joint, da.KF())
    if not dense:  # written out by hand as a matrix, which has to be positive definite
        walk = da.Diagonal([1e-14, 0.1, 0.2])
    b = run(by_hand(problem, theta, walk.matrix(), np.diag(problem.model.g)), da.KF())
    assert np.allclose(a["mean"], b["mean"], rtol=1e-10, atol=1e-10)
    assert np.allclose(a["std"], b["std"], rtol=1e-10, atol=1e-10)


def test_a_random_walk_widens_a_parameter_that_nobody_sees():
    problem = pushed()
    blind = dataclasses.replace(problem, data=np.full_like(problem.data, np.nan))
    joint = da.with_parameters(blind, "push", da.Gaussian(np.zeros(1), [4.0]), noise=[0.25])
    variance = run(joint, da.KF())["std"].sel(stage="forecast").isel(x=-1) ** 2
    steps = 2 * np.arange(1, 7)
    assert np.allclose(variance, 4 + 0.25 * steps, rtol=1e-12)  # one square root and its square


def test_a_random_walk_moves_the_parameters_alone():
    problem = pushed(noise=False)
    joint = da.with_parameters(problem, "push", da.Point(np.array([0.3])), noise=0.25)
    z = np.broadcast_to(joint.prior.mean, (50, 4))
    out = joint.forecast(z, 0, Streams(1, 0))
    still = joint.forecast(z, 0)
    assert np.array_equal(still[:, -1], z[:, -1])
    assert out[:, -1].std() > 0.3  # sqrt(2 * 0.25) = 0.7 after two steps
    quiet = da.with_parameters(problem, "push", da.Point(np.array([0.3])))
    assert quiet.noise is None


# --- how parameters reach the model -------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Warming:
    """a <- a + rate lap(a) + source, b <- 0.9 b + 0.1 a on fields (2, 8, 8)."""

    rate: Any = 0.1
    source: Any = 0.05
    dt: float = 1.0

    def __call__(self, x):
        xp = array_namespace(x)
        assert x.shape[1:] == (2, 8, 8)
        for theta in (self.rate, self.source):
            assert np.ndim(theta) in (0, 2) or theta.shape[0] == len(x)
        a, b = x[..., 0, :, :], x[..., 1, :, :]
        around = sum(xp.roll(a, s, axis=i) for i in (-2, -1) for s in (-1, 1))
        warm = a + self.rate * (around - 4 * a) + self.source
        return xp.stack((warm, 0.9 * b + 0.1 * a), axis=-3)


SEE_A = da.Subset((np.repeat([0], 16), np.arange(16) // 4 * 2, np.arange(16) % 4 * 2))


def warming(cycles=10, **settings):
    prior = da.Gaussian(np.zeros(128), 0.25 * ones(128))
    see = da.Observation(SEE_A, 1e-4 * ones(16))
    return da.twin(Warming(**settings), see, prior, cycles, shape=(2, 8, 8))


@pytest.mark.parametrize("lead", [(), (5,), (2, 3), (0,)])
def test_each_member_runs_with_its_own_parameters(lead):
    rng = np.random.default_rng(0)
    chart = {"source": (8, 8), "rate": ()}
    cases = [
        (lorenz63(2), ("rho", "beta"), (28.0, 2.7), []),
        (lorenz96(2), "forcing", (8.0,), []),
        (warming(2), ("rate", "source"), (0.1, 0.05), []),
        (warming(2), chart, (0.05,) * 64 + (0.1,), ["source"]),
    ]
    for problem, names, values, fields in cases:
        joint = da.with_parameters(
            problem, names, da.Gaussian(np.array(values), ones(len(values)))
        )
        theta = np.array(values) * (1 + 0.1 * rng.random((*lead, len(values))))
        x = problem.prior.mean + 0.1 * rng.normal(size=(*lead, problem.n))
        z = np.concatenate([x, theta], axis=-1)
        out = joint.model(z)
        state, values = joint.model.split(z)
        assert np.array_equal(out[..., problem.n :], theta)
        assert np.array_equal(state, x)
        first, at = next(iter(values)), 64 if fields else 1  # in the order of the names
        assert np.array_equal(values[first].reshape(*lead, at), theta[..., :at])
        assert len(values) == 1 or np.array_equal(list(values.values())[1], theta[..., at])
        shape = problem.shape or (problem.n,)
        for i in np.ndindex(lead):
            own = {k: v[i][None] if k in fields else float(v[i]) for k, v in values.items()}
            alone = dataclasses.replace(problem.model, **own)
            wanted = alone(x[i].reshape(1, *shape)).reshape(-1)
            assert np.allclose(out[i][: problem.n], wanted, rtol=1e-13, atol=1e-13)  # round-off
        same = joint.model(torch.from_numpy(z)).numpy()
        assert np.allclose(out, same, rtol=1e-12, atol=1e-12)
        assert joint.model(z.astype("f4")).dtype == np.float32


def test_one_value_on_a_line_and_on_fields_of_other_ranks():
    """What a parameter looks like to models whose fields are lines, planes or stacks of them."""
    seen = []

    @dataclass(frozen=True, eq=False)
    class Scaled:
        factor: Any = 1.0

        def __call__(self, x):
            if isinstance(self.factor, np.ndarray):
                seen.append((x.shape, self.factor.shape))
            return x * self.factor if len(x.shape) < 4 else x * self.factor[:, None]

    for shape in [(8,), (4, 2), (2, 2, 2)]:
        joint = Joint(Scaled(), ("factor",), ((),), 8, shape)
        joint(ones((3, 5, 9)))
    assert seen == [((15, 8), (15, 1)), ((15, 4, 2), (15, 1, 1)), ((15, 2, 2, 2), (15, 1, 1))]


@pytest.mark.parametrize(
    "problem_and_names",
    [(lambda: lorenz63(2), ("rho", "sigma")), (lambda: warming(2), ("rate", "source"))],
    ids=["vector", "field"],
)
def test_derivatives_with_respect_to_parameters(problem_and_names):
    make, names = problem_and_names
    joint = da.with_parameters(make(), names, da.Gaussian(np.array([0.2, 0.1]), ones(2)))
    z = np.random.default_rng(0).normal(size=(2, joint.n))
    value, J = da.linearize(joint.step, z)
    other, D = da.finite_difference(joint.step, z)
    assert np.allclose(value, other, rtol=1e-12)
    # central differences with h = 6e-6: h^2 and eps / h are both below 1e-10
    assert np.allclose(J, D, rtol=1e-8, atol=1e-8)
    assert np.abs(J[..., : joint.n - 2, -2:]).max() > 1e-3


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        (ShallowWater((8, 10)), "depth", 100.0),
        (Kolmogorov(n=16, dt=0.05, reynolds=100.0), "reynolds", 100.0),
    ],
    ids=["ShallowWater", "Kolmogorov"],
)
def test_the_field_models_of_the_house(model, name, value):
    rng = np.random.default_rng(0)
    n = int(np.prod(model.shape))
    prior = da.Gaussian(np.zeros(n), 0.01 * ones(n))
    see = da.Observation(da.Every(2, axes=2), np.full(n // 4, 1e-4))
    see = dataclasses.replace(see, operator=Flat(see.operator))
    problem = da.twin(model, see, prior, 3, shape=model.shape)
    joint = da.with_parameters(problem, name, da.Gaussian(np.array([0.8 * value]), [4.0]))
    x = 0.1 * rng.normal(size=(3, n))
    theta = value * np.array([[0.7], [1.0], [1.1]])
    out = joint.model(np.concatenate([x, theta], axis=1))[:, :n]
    for i in range(3):
        alone = dataclasses.replace(model, **{name: float(theta[i, 0])})
        wanted = alone(x[i].reshape(model.shape)).reshape(-1)
        assert np.allclose(out[i], wanted, rtol=1e-12, atol=1e-13)  # round-off of transforms
    result = run(joint, da.ETKF(12))
    assert np.isfinite(result["mean"]).all()
    state, parameters = da.state_and_parameters(result, joint)
    assert state.attrs["shape"] == model.shape
    assert (parameters["truth"] == value).all()


@dataclass(frozen=True, eq=False)
class Flat:
    """An operator of fields, its result as a vector."""

    f: Any

    def __call__(self, x):
        return self.f(x).reshape((len(x), -1))


def test_the_model_inside_a_wrapper():
    problem = dataclasses.replace(lorenz63(4), model=da.Subcycled(da.Lorenz63(dt=0.02), 2))
    joint = da.with_parameters(problem, "rho", da.Gaussian(np.array([26.0]), ones(1)))
    z = np.array([[1.5, -1.5, 25.0, 27.0], [1.5, -1.5, 25.0, 28.0]])
    out = joint.model(z)
    for row, rho in zip(out, (27.0, 28.0), strict=True):
        model = da.Lorenz63(rho=rho)  # of step 0.01
        assert np.array_equal(row[:3], model(model(z[0, :3])))
    assert joint.model.dt == 0.02
    assert np.array_equal(joint.time, problem.time)


# --- estimation ---------------------------------------------------------------------------------


def misses(result, joint):
    """Errors of the last parameters in units of their spread, and the spread."""
    _, theta = da.state_and_parameters(result, joint)
    last = theta.isel(time=-1).sel(stage="analysis")
    return ((last["mean"] - last["truth"]) / last["std"]).values, last["std"].values


HAAR = da.ETKF(30, inflation=1.02, rotate="haar")  # unrotated, one of 64 runs loses the truth


@pytest.mark.parametrize(
    ("problem", "name", "prior", "noise", "method", "narrow"),
    [
        (lorenz63(80, batch=8), "rho", 26.0, 1e-4, HAAR, 0.5),
        (lorenz63(80, batch=8), "rho", 26.0, 1e-4, da.EnKF(60, inflation=1.02), 0.5),
        (
            lorenz63(80, batch=2),
            "rho",
            26.0,
            1e-3,
            da.ExtendedKF(1.1, jacobian=da.finite_difference),
            1.5,
        ),
        (lorenz96(60, batch=8), "forcing", 6.0, 1e-4, da.ETKF(45, inflation=1.02), 0.2),
        (lorenz96(60, batch=8), "forcing", 6.0, 1e-4, da.EnKF(60, inflation=1.02), 0.2),
    ],
    ids=["63-ETKF", "63-EnKF", "63-ExtendedKF", "96-ETKF", "96-EnKF"],
)
def test_a_wrong_parameter_is_found(problem, name, prior, noise, method, narrow):
    theta = da.Gaussian(np.array([prior]), [4.0])
    joint = da.with_parameters(problem, name, theta, noise=noise)
    result = run(joint, method)
    off, std = misses(result, joint)
    # eight seeds: a calibrated error is beyond 4 of its spreads once in 2000 times
    assert np.median(np.abs(off)) < 2
    assert np.abs(off).max() < 4
    assert std.max() < narrow < 2  # the prior's
    state, _ = da.state_and_parameters(result, joint)
    fixed = dataclasses.replace(problem.model, **{name: prior})
    blind = run(dataclasses.replace(problem, model=fixed), method)
    late = {"time": slice(-20, None)}
    good, bad = (da.rmse(r).sel(stage="analysis").isel(late).mean() for r in (state, blind))
    assert good < 0.9 * bad


def test_a_field_of_parameters_is_found():
    chart = 0.1 * np.random.default_rng(0).normal(size=(8, 8))  # as the prior has it
    problem = warming(20, source=chart)
    prior = da.Gaussian(np.zeros(64), 0.01 * ones(64))
    joint = da.with_parameters(problem, {"source": (8, 8)}, prior)
    result = run(joint, da.KF())  # exact: the source enters linearly
    _, theta = da.state_and_parameters(result, joint)
    assert theta.attrs["shape"] == (8, 8)
    assert theta["x"].values[[0, 19, 63]].tolist() == [
        "source[0, 0]",
        "source[2, 3]",
        "source[7, 7]",
    ]
    assert np.array_equal(theta["truth"][-1], chart.ravel())
    last = theta.isel(time=-1).sel(stage="analysis")
    error = last["mean"] - last["truth"]
    # 64 calibrated errors: their mean square is 1 +- 0.18, but they are correlated
    assert 0.4 < float((error**2).mean() / (last["std"] ** 2).mean()) < 2
    assert float((last["std"] ** 2).mean()) < 0.7 * 0.01  # 16 sensors for 64 numbers: 0.66


def test_two_parameters_of_a_field_model_by_an_ensemble():
    problem = warming(25)
    prior = da.Gaussian(np.array([0.06, 0.0]), np.array([0.03, 0.05]) ** 2)
    joint = da.with_parameters(problem, ("rate", "source"), prior)
    result = run(joint, da.ETKF(150))
    off, std = misses(result, joint)
    assert np.abs(off).max() < 4
    assert (std < 0.3 * np.array([0.03, 0.05])).all()


# --- truth, priors, noise -----------------------------------------------------------------------


def truth_of(problem, names, p, **settings):
    prior = da.Gaussian(ones(p), ones(p))
    joint = da.with_parameters(problem, names, prior, **settings)
    return joint.truth[..., problem.n :]


def test_the_truth_is_what_the_model_holds_unless_told_otherwise():
    problem = lorenz63(3)
    names = ("rho", "sigma")
    assert (truth_of(problem, names, 2) == [28.0, 10.0]).all()
    assert (truth_of(problem, names, 2, truth={"sigma": 9.0, "rho": 27.0}) == [27.0, 9.0]).all()
    assert (truth_of(problem, names, 2, truth=[27.0, 9.0]) == [27.0, 9.0]).all()
    assert (truth_of(problem, "rho", 1, truth=27.0) == 27.0).all()
    walk = np.array([[27.0], [28.0], [29.0]])
    assert np.array_equal(truth_of(problem, "rho", 1, truth=walk), walk)
    bare = dataclasses.replace(problem, truth=None)
    assert da.with_parameters(bare, "rho", da.Gaussian(ones(1), ones(1))).truth is None


def test_the_truth_of_a_swept_parameter():
    rho = np.array([27.0, 28.0, 29.0])
    problem = dataclasses.replace(
        lorenz63(2, batch=3), model=da.Lorenz63(rho=rho[:, None, None], sigma=10 * ones((1, 1)))
    )
    truth = truth_of(problem, ("rho", "sigma"), 2)
    assert truth.shape == (3, 2, 2)
    assert (truth[..., 0] == rho[:, None]).all()
    assert (truth[..., 1] == 10).all()
    every = truth_of(problem, "rho", 1, truth=rho[:, None, None])
    assert np.array_equal(every, truth[..., :1])


POINT, SPREAD = da.Point(ones(3)), da.Gaussian(ones(3), ones(3))
CLOUD = da.Ensemble(np.random.default_rng(0).normal(size=(6, 3)))


def prior_of(state, theta, **settings):
    problem = dataclasses.replace(lorenz63(2), prior=state)
    return da.with_parameters(problem, ("rho", "sigma", "beta"), theta, **settings).prior


def test_two_beliefs_become_one():
    assert isinstance(prior_of(POINT, POINT), da.Point)
    both = prior_of(SPREAD, SPREAD)
    assert isinstance(both.cov, da.Diagonal)
    half = prior_of(POINT, SPREAD)
    assert np.array_equal(half.cov.variance(), [0, 0, 0, 1, 1, 1])
    C = spd(np.random.default_rng(0), 3)
    mixed = prior_of(da.Gaussian(ones(3), C), SPREAD)
    assert isinstance(mixed.cov, Blocks)
    assert np.array_equal(mixed.cov.matrix()[:3, :3], C.matrix())
    assert np.array_equal(mixed.cov.matrix()[3:, 3:], np.eye(3))
    assert not mixed.cov.matrix()[:3, 3:].any()


def test_ensembles_keep_their_members_and_draw_the_others():
    paired = prior_of(CLOUD, CLOUD)
    assert np.array_equal(paired.members, np.concatenate([CLOUD.members] * 2, axis=1))
    drawn = prior_of(CLOUD, SPREAD)
    assert np.array_equal(drawn.members[:, :3], CLOUD.members)
    assert len(np.unique(drawn.members[:, 3:])) == 18
    again, other = prior_of(CLOUD, SPREAD), prior_of(CLOUD, SPREAD, seed=1)
    assert np.array_equal(again.members, drawn.members)
    assert not np.array_equal(other.members[:, 3:], drawn.members[:, 3:])
    turned = prior_of(SPREAD, CLOUD)
    assert np.array_equal(turned.members[:, 3:], CLOUD.members)
    fixed = prior_of(CLOUD, POINT)
    assert np.array_equal(fixed.members[:, 3:], ones((6, 3)))
    weights = np.arange(6.0) / 15
    weighed = prior_of(CLOUD, da.Ensemble(CLOUD.members, weights))
    assert np.array_equal(weighed.weights, weights)


def test_a_large_state_never_becomes_a_matrix():
    model = ShallowWater.ld_ensf()
    n = 3 * 150 * 150
    see = da.Observation(da.Subset((np.array([0]), np.array([7]), np.array([9]))), ones(1))
    problem = da.Problem(
        model,
        see,
        da.Gaussian(np.zeros(n), 0.01 * ones(n)),
        np.zeros((1, 1)),
        noise=1e-4 * ones(n),
        shape=model.shape,
    )
    theta = da.Gaussian(np.array([100.0]), [25.0])
    joint = da.with_parameters(problem, "depth", theta, noise=0.1)
    assert isinstance(joint.prior.cov, da.Diagonal)  # a matrix would hold 36 GB
    assert isinstance(joint.noise, da.Diagonal)
    assert joint.noise.n == n + 1


def test_blocks_are_the_block_diagonal_covariance():
    rng = np.random.default_rng(0)
    parts = (spd(rng, 3), da.Diagonal(0.5 + rng.random((4, 2))), spd(rng, 2))
    C = Blocks(parts)
    whole = np.zeros((4, 7, 7))
    whole[:, :3, :3] = parts[0].matrix()
    whole[:, 3:5, 3:5] = parts[1].matrix()
    whole[:, 5:, 5:] = parts[2].matrix()
    D = da.Dense(whole)
    assert (C.n, C.batch) == (7, (4,))
    assert np.array_equal(C.matrix(), whole)
    assert np.array_equal(C.variance(), D.variance())
    z = rng.normal(size=(4, 5, 7))
    # the same factor, computed block by block
    assert np.allclose(C.color(z), D.color(z), rtol=1e-13, atol=1e-13)
    assert np.allclose(C.whiten(z), D.whiten(z), rtol=1e-13, atol=1e-13)
    assert np.array_equal(C[(2,)].matrix(), whole[2])
    shared = Blocks((da.Diagonal(ones((1, 3))), parts[1], parts[2]))
    assert shared.batch == (4,)
    assert np.array_equal(shared[(2,)].matrix()[3:, 3:], whole[2, 3:, 3:])
    same = convert_tree(C, torch.zeros(1, dtype=torch.float64))
    assert np.allclose(same.color(torch.from_numpy(z)), C.color(z), rtol=1e-13, atol=1e-13)


# --- batches, libraries, life -------------------------------------------------------------------


def batches():
    theta = da.Gaussian(ones((3, 1)), da.Diagonal(np.array([[1.0], [2.0], [3.0]])))
    cloud = da.Ensemble(np.random.default_rng(0).normal(size=(6, 3)))
    few = dataclasses.replace(pushed(batch=3), prior=cloud)
    swept = np.array([0.1, 0.2, 0.3])[:, None, None]
    aims = np.random.default_rng(1).normal(size=(3, 1, 3))
    aimed = dataclasses.replace(pushed(batch=3).model, g=aims)
    return {
        "each-its-prior": (pushed(batch=3), theta, {"noise": 0.1}),
        "swept-model": (pushed(batch=3, push=swept, dt=0.5), theta, {}),
        "swept-vector": (dataclasses.replace(pushed(batch=3), model=aimed), theta, {}),
        "ensemble": (few, da.Gaussian(ones(1), ones(1)), {}),
        "field": (field_batch(), da.Gaussian(0.1 * ones(1), [1e-4]), {"noise": 1e-5}),
    }


def field_batch():
    prior = da.Gaussian(np.zeros(128), 0.25 * ones(128))
    see = da.Observation(SEE_A, 1e-2 * ones(16))
    return da.twin(Warming(), see, prior, 3, shape=(2, 8, 8), batch=3)


@pytest.mark.parametrize("case", list(batches()))
def test_a_batch_is_its_experiments(case):
    problem, theta, settings = batches()[case]
    name = "rate" if problem.shape else "push"
    joint = da.with_parameters(problem, name, theta, **settings)
    together = run(joint, da.ETKF(6))
    for b in range(3):
        alone = run(joint[b], da.ETKF(6), seed=b)
        assert same_bits(together["mean"][b], alone["mean"])
        assert np.array_equal(together["truth"][b], alone["truth"])
        own = theta[b] if theta.mean.ndim > 1 else theta
        first = da.with_parameters(problem[b], name, own, seed=b, **settings)
        assert same_bits(together["mean"][b], run(first, da.ETKF(6), seed=b)["mean"])


@pytest.mark.parametrize("prior", ["Gaussian", "Ensemble"])
@pytest.mark.parametrize("kind", ["vector", "field"])
def test_a_sweep_of_what_is_not_estimated(kind, prior):
    if kind == "vector":
        sigma = np.array([9.0, 10.0, 11.0])[:, None, None]
        problem = dataclasses.replace(lorenz63(3, batch=3), model=da.Lorenz63(sigma=sigma))
        other, name, value = "sigma", "rho", 28.0
    else:
        source = np.array([0.0, 0.1, 0.2])[:, None, None]
        problem = dataclasses.replace(field_batch(), model=Warming(source=source))
        other, name, value = "source", "rate", 0.1
    theta: Any = da.Gaussian(np.array([value]), [0.01 * value])
    if prior == "Ensemble":
        problem = dataclasses.replace(
            problem, prior=da.Ensemble(problem.prior.sample(np.random.default_rng(0), 6))
        )
        theta = da.Ensemble(theta.sample(np.random.default_rng(1), 6))
    joint = da.with_parameters(problem, name, theta)
    together = run(joint, da.ETKF(6))
    for b in range(3):
        assert getattr(joint[b].model.model, other).shape == (1, 1)
        assert same_bits(together["mean"][b], run(joint[b], da.ETKF(6), seed=b)["mean"])


def test_torch_and_numpy_agree_and_precision_is_kept():
    problem = pushed()
    theta = da.Gaussian(np.zeros(1), ones(1))
    joint = da.with_parameters(problem, "push", theta, noise=0.1)
    tensors = da.with_parameters(problem.to(torch.zeros(1).double()), "push", theta, noise=0.1)
    assert isinstance(tensors.prior.mean, torch.Tensor)
    for method in (da.ETKF(8), da.KF()):
        a, b = run(joint, method)["mean"], run(tensors, method)["mean"]
        assert np.allclose(a, b, rtol=0, atol=1e-10)  # six cycles of a stable linear model
    walk = dataclasses.replace(problem, noise=0.1 * ones(3), truth=problem.truth.tolist())
    walks = [
        da.with_parameters(p, "push", theta, noise=0.1)
        for p in (walk, walk.to(torch.zeros(1).double()))
    ]
    a, b = (run(w, da.ETKF(8))["mean"] for w in walks)
    assert np.allclose(a, b, rtol=0, atol=1e-10)
    mixed = dataclasses.replace(walk, truth=torch.as_tensor(problem.truth))
    assert np.array_equal(
        run(da.with_parameters(mixed, "push", theta, noise=0.1), da.ETKF(8))["mean"], a
    )
    single = problem.to(np.zeros(1, "f4"))
    assert run(da.with_parameters(single, "push", theta), da.ETKF(8))["mean"].dtype == np.float32


def test_moving_observations_gaps_dates_and_pickles():
    rng = np.random.default_rng(0)
    see = da.Observation(rng.normal(size=(2, 3)), ones(2))
    one = da.Observation(da.Subset([0]), ones(1))
    problem = da.twin(
        Pushed(0.9 * np.eye(3), ones(3)),
        da.Moving([see, one, see, one]),
        SPREAD,
        4,
        steps=[1, 2, 3, 4],
    )
    data = problem.data.copy()
    data[2, 0] = np.nan
    days = np.array(["2026-01-02", "2026-01-04", "2026-01-07", "2026-01-11"], "M8[D]")
    problem = dataclasses.replace(problem, data=data, times=days)
    joint = da.with_parameters(problem, "push", da.Gaussian(np.zeros(1), ones(1)))
    network = joint.observation.observations
    assert network[0] is network[2]  # one sensor set stays one: it is checked, and cached, once
    result = run(joint, da.KF())
    assert (result["time"].values == days.astype("M8[ns]")).all()
    assert np.array_equal(result["observation"].isnull(), problem_gaps(data))
    hand = np.block([[0.9 * np.eye(3), ones((3, 1))], [np.zeros((1, 3)), np.eye(1)]])
    wide = da.Observation(np.pad(see.operator.matrix, ((0, 0), (0, 1))), ones(2))
    prior = da.Gaussian(np.array([1.0, 1, 1, 0]), ones(4))
    by_hand = da.Problem(da.Linear(hand), da.Moving([wide, one] * 2), prior, data, [1, 2, 3, 4])
    assert np.allclose(result["mean"], run(by_hand, da.KF())["mean"], rtol=1e-10, atol=1e-10)
    again = pickle.loads(pickle.dumps(joint))
    assert np.array_equal(run(again, da.KF())["mean"], result["mean"])


def problem_gaps(data):
    return np.isnan(data)


def test_the_result_comes_apart():
    joint = da.with_parameters(
        lorenz63(3, batch=2), ("rho", "beta"), da.Gaussian(np.array([28.0, 2.6]), ones(2))
    )
    result = run(joint, da.ETKF(8), keep=("ranks", "members"))
    state, theta = da.state_and_parameters(result, joint)
    assert state["mean"].shape == (2, 3, 2, 3)
    assert theta["members"].shape == (2, 3, 2, 8, 2)
    assert theta["x"].values.tolist() == ["rho", "beta"]
    assert np.array_equal(theta["mean"].sel(x="beta"), result["mean"][..., 4])
    assert "predicted" in state
    assert "predicted" not in theta
    assert da.rmse(theta.sel(x=["rho"])).shape == (2, 3, 2)
    assert da.rank_histogram(theta).sum() > 0


def test_a_network_that_observes_is_still_watched():
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(128, 4), torch.nn.Dropout()
    ).double()
    prior = da.Gaussian(torch.zeros(128).double(), 0.25 * ones(128))
    see = da.Observation(net.eval(), ones(4))
    problem = da.twin(Warming(), see, prior, 2, shape=(2, 8, 8))
    joint = da.with_parameters(problem, "rate", da.Gaussian(0.1 * ones(1), [1e-4]))
    assert np.isfinite(run(joint, da.ETKF(5))["mean"]).all()
    net.train()
    with pytest.raises(ValueError, match="Dropout"):
        run(joint, da.ETKF(5))
