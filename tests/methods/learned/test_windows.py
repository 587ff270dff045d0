"""The contract of a method, as far as it holds for networks that answer a window at once."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from examples import STEPS, Bare, Rotation
from wrong import LAW, LINEAR, SCORE, SOLVER, WINDOW

import dalearn as da
from dalearn.array import streams
from dalearn.files.fingerprint import describe

METHODS = {
    "Learned4DVar": da.Learned4DVar(WINDOW),
    "NeuralIncremental": da.NeuralIncremental(copy.deepcopy(LAW).double(), levels=2),
    "FourDVarNet": da.FourDVarNet(SOLVER, steps=3),
    "SDA": da.SDA(SCORE, members=5, steps=6),
}
POINTS = "Learned4DVar", "FourDVarNet"  # they say nothing of their errors
each = pytest.mark.parametrize("name", METHODS)
pytestmark = pytest.mark.filterwarnings("ignore::dalearn.methods.OutOfRange")


def run(problem, method, seed=0):
    return da.assimilate(problem, method, seed=seed, progress=False)


def batch(size=3, seed=2):
    """Windows of four times of a linear model of three numbers, all seen."""
    return da.twin(LINEAR.model, LINEAR.observation, LINEAR.prior, 4, batch=(size,), seed=seed)


@each
def test_one_cycle_per_observation(name):
    result = run(LINEAR, METHODS[name])
    assert result["mean"].dims == ("time", "stage", "x")
    assert list(result["stage"].values)[:2] == ["forecast", "analysis"]
    assert result["mean"].shape[::2] == (4, 3)
    assert np.isfinite(result["mean"]).all()
    analysed = result["mean"].sel(stage="analysis")
    assert abs(analysed - result["mean"].sel(stage="forecast")).max() > 1e-3
    if name not in POINTS:
        assert (result["std"] > 0).all()


@each
def test_the_data_count(name):
    moved = replace(LINEAR, data=LINEAR.data + 0.5)
    a, b = (run(p, METHODS[name])["mean"].sel(stage="analysis") for p in (LINEAR, moved))
    assert abs(a - b).max() > 1e-4


@each
def test_same_seed_same_bits_and_another_seed_other_samples(name):
    a, b, c = (run(LINEAR, METHODS[name], seed) for seed in (5, 5, 6))
    assert a["mean"].identical(b["mean"])
    assert (name == "SDA") != a["mean"].sel(stage="analysis").equals(
        c["mean"].sel(stage="analysis")
    )


@each
def test_numpy_equals_torch(name):
    a = run(LINEAR, METHODS[name])
    b = run(LINEAR.to(torch.zeros(1, dtype=torch.float64)), METHODS[name])
    assert b.attrs["library"] == "torch"
    np.testing.assert_allclose(a["mean"], b["mean"], rtol=1e-9, atol=1e-9)


@each
def test_single_precision_is_kept(name):
    result = run(LINEAR.to(np.zeros(1, np.float32)), METHODS[name])
    assert result["mean"].dtype == np.float32
    np.testing.assert_allclose(result["mean"], run(LINEAR, METHODS[name])["mean"], rtol=0.01)


@each
def test_a_batch_is_the_experiments_one_by_one(name):
    problem = batch()
    together = run(problem, METHODS[name], seed=7)
    for b in range(3):
        alone = run(problem[b], METHODS[name], seed=7 + b)
        np.testing.assert_allclose(together["mean"][b], alone["mean"], rtol=1e-8, atol=1e-8)


@each
@pytest.mark.filterwarnings("ignore:.*is not resolved")  # told
def test_one_experiment_with_absurd_data_leaves_the_others_alone(name):
    problem = batch()
    data = problem.data.copy()
    data[1, 2] = 1e200
    a, b = (run(p, METHODS[name]) for p in (problem, replace(problem, data=data)))
    for i in (0, 2):
        np.testing.assert_allclose(a["mean"][i], b["mean"][i], rtol=1e-8, atol=1e-8)
        assert not b["diverged"][i]


@each
def test_a_model_that_overflows_marks_its_experiment_and_does_not_raise(name):
    """A is of each experiment: that of the second takes states to infinity."""
    problem = batch()
    A = np.stack([np.eye(3) * a for a in (0.9, 1e200, 0.9)])
    a, b = (run(replace(problem, model=Rotation(m)), METHODS[name]) for m in (A[[0, 0, 0]], A))
    assert list(b["diverged"].values) == [False, name != "NeuralIncremental", False]
    for i in (0, 2):
        np.testing.assert_allclose(a["mean"][i], b["mean"][i], rtol=1e-8, atol=1e-8)


@each
def test_gaps_do_not_show_what_stands_behind_them(name):
    """NaN is a gap, and the rest of the window still counts."""
    data = LINEAR.data.copy()
    data[1:3, 1] = np.nan
    gaps = run(replace(LINEAR, data=data), METHODS[name])["mean"].sel(stage="analysis")
    assert np.isfinite(gaps).all()
    assert abs(gaps - run(LINEAR, METHODS[name])["mean"].sel(stage="analysis")).max() > 1e-6


@each
def test_the_problem_is_untouched_and_gradients_are_as_before(name):
    problem = LINEAR.to(torch.zeros(1, dtype=torch.float64)).validated()
    before = [v.clone() for v in (problem.data, problem.prior.mean, problem.truth)]
    for cycle in METHODS[name].run(problem, streams(1, 0, ())):
        assert torch.is_grad_enabled()
        assert not cycle.analysis.mean.requires_grad
        with pytest.raises(TypeError, match="does not support item assignment"):
            cycle.info["mine"] = 1
    for a, b in zip(before, (problem.data, problem.prior.mean, problem.truth), strict=True):
        assert torch.equal(a, b)


@each
def test_a_stand_in_with_what_is_named_is_enough(name):
    problem = LINEAR.validated()
    found = [
        [c.analysis.mean for c in METHODS[name].run(p, streams(1, 0, ()))]
        for p in (problem, Bare(problem, (*STEPS, "to")))
    ]
    assert len(found[0]) == 4
    np.testing.assert_array_equal(*found)


@each
def test_it_pickles(name):
    again = pickle.loads(pickle.dumps(METHODS[name]))
    assert describe(again) == describe(METHODS[name])
    assert run(LINEAR, again)["mean"].identical(run(LINEAR, METHODS[name])["mean"])
