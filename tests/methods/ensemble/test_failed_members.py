"""Members whose model run fails are replaced, counted, and cost nothing but themselves."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from bits import same_bits
from examples import METHODS, Bare, linear_gaussian, lorenz63, lorenz96
from lengths import full

import dalearn as da
from dalearn.array import Streams, array_namespace, streams, to_numpy
from dalearn.methods import etkf
from dalearn.methods.ensemble.failures import completed, replacing

K, BAD, WHEN = 5, 1, 2  # times; the experiment and the interval in which members fail
pytestmark = pytest.mark.filterwarnings("ignore::dalearn.NotConverged")


@dataclasses.dataclass(frozen=True, eq=False)
class Failing:
    """A model that is told its interval, and in one of them returns NaN for some members."""

    model: Any
    which: tuple[int, ...] = (1, 3)
    at: int = WHEN

    @property
    def dt(self):
        return self.model.dt

    def __call__(self, x, u):
        new = self.model(x)
        if u != self.at or x.shape[-2] < 10:  # one state, or sigma points: as they are
            return new
        xp = array_namespace(new)
        bad = np.zeros(tuple(new.shape), bool)
        bad[(BAD, list(self.which), 0) if new.ndim == 3 else (list(self.which), 0)] = True
        return xp.where(xp.asarray(bad), xp.full_like(new, np.nan), new)


@dataclasses.dataclass(frozen=True, eq=False)
class TwoFail:
    """A model of which two members, drawn at random, fail in each interval."""

    model: Any
    members: int
    stochastic = True

    @property
    def dt(self):
        return self.model.dt

    def __call__(self, x, u, rng):
        new = self.model(x)
        if u < 0 or x.shape[-2] < self.members:
            return new
        chance = rng.uniform(x[..., 0])
        bad = chance <= np.sort(chance, axis=-1)[..., 1:2]
        return np.where(bad[..., None], np.nan, new)


def told(problem, model):
    """The problem with another model, which is told the interval at its first step, else -1."""
    u = [k if i == 0 else -1.0 for k in range(len(problem)) for i in range(problem.steps_to(k))]
    return dataclasses.replace(problem, model=model, inputs=np.array(u))


def run(problem, method, seed=0, **settings):
    return da.assimilate(problem, method, seed=seed, progress=False, **settings)


def inside(method):
    """The method in the wrappers."""
    return inside(method.method) if hasattr(method, "method") else method


def cov(E):
    return np.cov(np.asarray(E), rowvar=False)


@pytest.mark.parametrize(("S", "f", "n"), [(98, 2, 40), (6, 4, 3), (3, 3, 40), (2, 1, 1)])
def test_the_ensemble_made_whole_has_mean_and_covariance_of_the_sound(S, f, n):
    rng = np.random.default_rng(0)
    E, z = 1e3 + rng.normal(size=(3, S, n)), rng.normal(size=(3, f, S))
    new = completed(E, z)
    assert new.shape == (3, S + f, n)
    assert np.allclose(new.mean(1), E.mean(1), rtol=1e-14)
    for a, b in zip(new, E, strict=True):
        assert np.allclose(cov(a), cov(b), rtol=0, atol=1e-11)
    assert np.allclose(completed(torch.as_tensor(E), torch.as_tensor(z)), new, rtol=1e-12)
    spread = E.std(1, ddof=1).max()
    assert abs(new[:, S:] - E.mean(1, keepdims=True)).max() > 0.1 * spread  # draws, not the mean


def test_two_of_a_hundred_are_draws_of_the_law_of_the_others():
    """2000 draws: mean and variance within five standard errors; the others move by little."""
    rng = np.random.default_rng(1)
    E = rng.normal(size=(98, 1))
    new = completed(np.broadcast_to(E, (1000, 98, 1)), rng.normal(size=(1000, 2, 98)))
    drawn, rest = new[:, 98:], new[:, :98]
    assert ((rest - E) ** 2).mean() ** 0.5 < 0.2 * E.std()  # about (f / S)^1/2
    assert abs(drawn.var() / E.var(ddof=1) - 1) < 5 * (2 / 2000) ** 0.5
    assert abs(drawn.mean() - E.mean()) < 5 * (1 / 2000) ** 0.5


def test_an_experiment_with_failures_is_what_it_is_alone_and_the_others_are_untouched():
    rng = np.random.default_rng(2)
    E = rng.normal(size=(4, 10, 3))
    E[1, 4, 2], E[3, 0] = np.nan, np.inf
    E[3, 7, 1] = np.nan
    count, replace = replacing(E, Streams(1, 0, (4,)), 5)
    new = replace(E)
    assert count.tolist() == [0, 1, 0, 2]
    assert np.array_equal(new[[0, 2]], E[[0, 2]])
    assert np.isfinite(new).all()
    for b in (1, 3):
        alone = replacing(E[b], Streams(1, b, ()), 5)[1]
        assert same_bits(alone(E[b]), new[b])
    M = replace(np.eye(10))  # the combinations, whose rows sum to 1; the failed have no part
    assert np.allclose(M.sum(-1), 1)
    assert abs(M[3][:, [0, 7]]).max() < 1e-15
    assert np.allclose(M @ np.where(np.isfinite(E), E, 0.0), new)


ENSEMBLES = [e for e in METHODS if hasattr(inside(e.method), "members")]


@pytest.mark.parametrize("example", ENSEMBLES, ids=str)
def test_one_interval_with_failures(example):
    """Finite, counted where they happened; the other experiments to the bit; torch the same."""
    problem = lorenz63(cycles=K, batch=(3,))
    whole, harmed = (
        run(told(problem, Failing(problem.model, at=at)), example.method) for at in (-2, WHEN)
    )
    inner = inside(example.method)
    assert "failed_members" in harmed
    assert np.isfinite(harmed["mean"]).all()
    assert np.isfinite(harmed["std"]).all()
    assert not whole["failed_members"].any()
    count = harmed["failed_members"].transpose("case", "time").values
    assert not count[[0, 2]].any()
    assert not count[BAD, :WHEN].any()
    assert count[BAD, WHEN] >= 2
    rest = [0, 2]
    assert same_bits(harmed["mean"][rest], whole["mean"][rest])
    assert same_bits(harmed["std"][rest], whole["std"][rest])
    assert same_bits(
        harmed["mean"].sel(stage="forecast")[BAD, :WHEN],
        whole["mean"].sel(stage="forecast")[BAD, :WHEN],
    ) or isinstance(inner, da.EnVar4D)
    alone = told(problem[BAD], Failing(problem[BAD].model))
    assert same_bits(harmed["mean"][BAD], run(alone, example.method, seed=BAD)["mean"])
    tensors = told(problem, Failing(problem.model)).to(torch.zeros(1, dtype=torch.float64))
    assert np.allclose(run(tensors, example.method)["mean"], harmed["mean"], atol=1e-5)


def test_the_transform_filter_goes_on_as_with_the_sound_members_alone():
    """Mean and covariance of forecast and analysis, by the pure function on the sound ones."""
    problem = linear_gaussian(cycles=K, noise=False)
    problem = told(problem, Failing(problem.model)).validated()
    E = None
    for k, cycle in enumerate(da.ETKF(12).run(problem, streams(1, 0, ()))):
        if k == WHEN:
            good = problem.forecast(E, k)
            good = good[np.isfinite(good).all(-1)]
            assert len(good) == 10
            observe, y = problem.at(k)
            after = etkf(good, observe(good), y, observe.noise)
            for a, b in ((cycle.forecast.members, good), (cycle.analysis.members, after.members)):
                assert np.allclose(a.mean(0), b.mean(0), rtol=0, atol=1e-12)
                assert np.allclose(cov(a), cov(b), rtol=0, atol=1e-12)
        E = cycle.analysis.members


@pytest.mark.parametrize(
    "method",
    [
        da.EnKS(12),
        da.EnKS(12, lag=2),
        da.IEnKS(12, lag=1),
        da.IEnKS(12, lag=2),
        da.IEnKS(12, lag=3),
    ],
    ids=repr,
)
def test_smoothed_states_stay_trajectories(method):
    """Model without noise: the members before a failure are combined as those after it."""
    problem = linear_gaussian(cycles=K, noise=False)
    A = problem.model.A
    problem = told(problem, Failing(problem.model)).validated()
    cycles = list(method.run(problem, streams(1, 0, ())))
    smooth = [c.info["smoothed"].members for c in cycles]
    lag = K if method.lag is None else method.lag
    two = A @ A  # a cycle is two steps
    known = range(max(0, K - 1 - lag), K - 1)  # those that have seen all data
    assert list(known)
    for k in known:
        assert np.allclose(smooth[k] @ two.T, smooth[k + 1], rtol=0, atol=1e-10)


def test_a_window_of_4denvar_stays_a_trajectory():
    problem = linear_gaussian(cycles=4, noise=False)
    A = problem.model.A
    problem = told(problem, Failing(problem.model, at=1)).validated()
    first, second, *_ = da.EnVar4D(12, window=4).run(problem, streams(1, 0, ()))
    for a, b in ((first.forecast, second.forecast), (first.analysis, second.analysis)):
        assert np.allclose(a.members @ (A @ A).T, b.members, rtol=0, atol=1e-10)
    assert [int(c.info["failed_members"]) for c in (first, second)] == [0, 2]


def test_particles_that_fail_have_weight_zero():
    """The others keep theirs: Bayes' rule over them alone; nobody descends from the failed."""
    problem = lorenz63(cycles=K)
    problem = told(problem, Failing(problem.model)).validated()
    before = None
    method = da.ParticleFilter(40, regularization=1.0, lag=1)
    for k, cycle in enumerate(method.run(problem, streams(1, 0, ()))):
        f, a = cycle.forecast, cycle.analysis
        assert np.isfinite(f.members).all()
        assert np.isfinite(a.weights).all()
        if k == WHEN:
            assert (f.weights[[1, 3]] == 0).all()
            assert (a.weights[[1, 3]] == 0).all()
            assert np.isclose(f.weights.sum(), 1)
            good = np.delete(np.arange(40), [1, 3])
            observe, y = problem.at(k)
            fit = (
                np.log(f.weights[good]) - ((y - observe(f.members[good])) ** 2).sum(-1) / 4
            )  # R = 2 I
            w = np.exp(fit - fit.max())
            assert np.allclose(a.weights[good], w / w.sum(), rtol=1e-9)
            before = cycle.info["smoothed"]
            assert np.isfinite(before.members).all()
    assert before is not None


def test_never_resampled_particles_stay_dead():
    problem = lorenz63(cycles=K)
    problem = told(problem, Failing(problem.model)).validated()
    cycles = list(da.ParticleFilter(40, resample_below=0.0).run(problem, streams(1, 0, ())))
    for k, cycle in enumerate(cycles):
        assert ((cycle.analysis.weights[[1, 3]] == 0) == (k >= WHEN)).all()
    assert [int(c.info["failed_members"]) for c in cycles] == [0, 0, 2, 0, 0]


METHODS_OF_TWELVE = (da.ETKF(12), da.IEnKS(12, lag=1), da.ParticleFilter(12, regularization=1.0))


@pytest.mark.parametrize("method", METHODS_OF_TWELVE, ids=repr)
def test_too_many_failures_end_the_experiment_and_say_so(method):
    problem = lorenz63(cycles=K, batch=(3,))
    seven, twelve = (told(problem, Failing(problem.model, tuple(range(i)))) for i in (7, 12))
    with pytest.warns(RuntimeWarning, match=r"for 7 of 12 members, and 1 exp.*at least 6 have"):
        result = run(seven, method)
    assert result["diverged"].values.tolist() == [False, True, False]
    late = getattr(method, "lag", 0)  # of a smoother the states that the lost data reach, too
    assert result["diverged_at"].values.tolist() == [-1, WHEN - late, -1]
    run_of_all = run(twelve, method)  # all: that is divergence, marked as ever
    assert run_of_all["diverged"].values.tolist() == [False, True, False]
    more = dataclasses.replace(seven, failures=0.6)
    assert not run(more, method)["diverged"].any()
    strict = dataclasses.replace(told(problem, Failing(problem.model, (5,))), failures=0)
    with pytest.warns(RuntimeWarning, match="for 1 of 12 members"):
        assert run(strict, method)["diverged"].values.tolist() == [False, True, False]


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan, "half", None])
def test_the_share_that_may_fail_is_a_share(value):
    with pytest.raises((ValueError, TypeError), match="failures"):
        dataclasses.replace(lorenz63(cycles=2), failures=value)


def test_a_problem_of_your_own_has_the_usual_share():
    problem = told(lorenz63(cycles=K), Failing(lorenz63(cycles=K).model)).validated()
    cycles = list(da.ETKF(12).run(Bare(problem), streams(1, 0, ())))
    assert int(cycles[WHEN].info["failed_members"]) == 2
    assert np.isfinite(to_numpy(cycles[-1].analysis.mean)).all()


RING = da.Localization.ring(40, 7.0)
FIGURES = [  # of 100 members
    ("lorenz96", da.ETKF(100, inflation=1.01), False),
    ("lorenz96", da.EnKF(100, inflation=1.04), False),
    ("lorenz96", da.EnSRF(100, inflation=1.01), True),
    ("lorenz96", da.LETKF(100, localization=RING, inflation=1.01), True),
    ("lorenz63", da.ETKF(100, inflation=1.01, rotate="haar"), True),
    ("lorenz63", da.EnKF(100, inflation=1.02), True),
    ("lorenz63", da.ParticleFilter(400, regularization=0.9), True),
]


@pytest.mark.proof
@pytest.mark.parametrize(("name", "method", "long"), FIGURES, ids=lambda v: repr(v)[:12])
def test_two_failures_a_cycle_cost_less_than_two_percent(name, method, long):
    """Of the RMSE, in means over seeds whose differences are paired: two standard errors."""
    if long and not full(False, True):
        pytest.skip("minutes: in `make proofs`")
    local = isinstance(method, da.LETKF)
    batch, cycles = full((8, 120), (8, 150) if local else (32, 300))
    problem = (lorenz96 if name == "lorenz96" else lorenz63)(cycles, (batch,))
    a, b = (
        da.rmse(run(p, method)).sel(stage="analysis")[:, 40:].mean("time").values
        for p in (problem, told(problem, TwoFail(problem.model, method.members)))
    )
    gap, error = (b - a).mean() / a.mean(), (b - a).std(ddof=1) / batch**0.5 / a.mean()
    assert gap - 2 * error < 0.02
    if full(False, True):
        assert gap < 0.02
