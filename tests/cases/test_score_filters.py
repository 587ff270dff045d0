"""The twins of score and flow filters: what is told of them, shocks, documented scores."""

from dataclasses import replace

import numpy as np
import pytest
from lengths import full

import dalearn as da
from dalearn.array import Purpose, generator
from dalearn.cases import bao2024, score_filters, transue2025, transue2025_flames


def test_the_ring_is_the_published_one():
    """Written out: spun up, ten steps a time, the arctangent, errors of 0.05."""
    problem = bao2024.problem(3, seed=7)
    rng, model = generator(Purpose.TWIN, 7), da.Lorenz96(n=100, dt=0.01)
    x = 3 * rng.standard_normal(100)
    for _ in range(1000):
        x = model(x)
    for k in range(3):
        for _ in range(10):
            x = model(x)
        y = np.arctan(x) + 0.05 * rng.standard_normal(100)
        assert np.allclose(problem.truth[k], x, rtol=0, atol=1e-9)
        assert np.allclose(problem.data[k], y, rtol=0, atol=1e-9)
    assert np.array_equal(problem.prior.mean, np.zeros(100))
    assert (problem.model(np.full(100, 1e3)) <= 50).all()  # members are clipped
    assert problem.steps_to(2) == 10


def test_an_experiment_of_a_batch_is_the_one_of_its_seed():
    many = bao2024.problem(4, batch=3, seed=4, shocks=score_filters.SHOCKS)
    alone = bao2024.problem(4, seed=6, shocks=score_filters.SHOCKS)
    assert np.array_equal(many.data[2], alone.data)
    assert np.array_equal(many.truth[2], alone.truth)


def test_a_part_is_observed():
    half = bao2024.problem(2, n=12, every=2)
    assert half.data.shape == (2, 6)
    gap = half.data - np.arctan(half.truth[:, ::2])
    assert 0 < abs(gap).max() < 0.3  # six standard deviations


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_torch(dtype):
    import torch

    like = torch.zeros(1, dtype=getattr(torch, dtype))
    settings = {"n": 30, "seed": 3, "spin_up": 5, "shocks": ((0.2, 0.5),)}
    on_torch = bao2024.problem(2, like=like, **settings)
    on_numpy = bao2024.problem(2, **settings)
    assert on_torch.data.dtype == like.dtype
    # the same draws; 25 steps let float32's rounding, 1e-7 of 10, grow by 1.5 and shocks add to it
    close = 1e-12 if dtype == "float64" else 1e-4
    assert abs(np.asarray(on_torch.truth) - on_numpy.truth).max() <= close


def test_shocks_are_relative_and_as_frequent_as_published():
    """A struck step moves each variable by s |x| N(0, 1); the truth alone is struck."""
    calm, struck = (
        score_filters.arctan_ring(1, n=2000, steps=1, seed=5, shocks=shocks)
        for shocks in ((), ((1.0, 0.2),))
    )
    moved = (struck.truth - calm.truth) / abs(calm.truth)
    assert abs(moved.std() / 0.2 - 1) < 4 / (2 * 2000) ** 0.5
    assert struck.model(calm.truth).shape == calm.truth.shape
    chances = dict(score_filters.SHOCKS)
    assert chances == {0.005: 0.5, 0.01: 0.2, 0.02: 0.05}


def test_flames_are_seen_as_they_are():
    problem = transue2025_flames.problem(2, n=64)
    gap = problem.data - problem.truth
    assert abs(gap.std() / 0.1 - 1) < 4 / (2 * gap.size) ** 0.5
    model = transue2025_flames.make(1, spin_up=1).model
    assert (model.n, model.dt) == (1024, 0.25)
    assert abs(model.length - 128 * np.pi) < 1e-9


def late(case, name, batch, cycles, seed=300):
    """A documented method on other truths; the median of what it scores."""
    problem = case.problem(cycles, batch=batch, seed=seed)
    result = da.assimilate(problem, case[name].method, progress=False)
    return float(replace(case, skip=cycles // 2).score(result).median())


EULER = (bao2024, "EnSF N=20 Euler K=200", 0.15, 0.24)  # means of ten truths scatter by 0.03


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.filterwarnings("ignore::dalearn.Unstable")  # 200 steps are the least that are stable
@pytest.mark.parametrize(
    ("case", "name", "low", "high"),
    # documented for d = 10^6; truths of 100 variables scatter by 0.02
    [(transue2025, "EnFF F2P N=20 K=20", 0.14, 0.2), *full([], [EULER])],
)
def test_documented_scores(case, name, low, high):
    found = late(case, name, full(3, 10), case.cycles)
    assert low < found < high


def test_exponential_steps_do_the_work_of_many():
    """Twenty exponential steps are as good as what is documented for 200 of Euler."""
    problem = bao2024.problem(full(90, 150), batch=full(2, 10), seed=300)
    result = da.assimilate(problem, da.EnSF(20), progress=False)
    score = replace(bao2024, skip=len(problem) // 2).score(result)
    assert float(score.median()) < full(0.26, 0.2)
