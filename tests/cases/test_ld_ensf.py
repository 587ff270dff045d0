"""The set-ups of LD-EnSF: runs as described, resumable; twins that know nothing of the truth."""

import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import dalearn as da
from dalearn.array import Purpose, generator
from dalearn.cases import ld_ensf
from dalearn.cases.ld_ensf_twin import localization, places, sensors_of
from dalearn.models import fields


def tiny(name):
    """A set-up of 16^2 points and few steps."""
    setup = ld_ensf.CASES[name]()
    n = 16
    if name == "kolmogorov":
        parts = partial(ld_ensf._flow, n, 1), partial(ld_ensf._still, n)
        return replace(setup, model=parts[0], start=parts[1], runs=(6, 2, 2), first=4, steps=19)
    parts = partial(ld_ensf._basin, n), partial(ld_ensf._bump, n, 2e5)
    few = {"runs": (6, 2, 2), "every": 10, "steps": 40}
    return replace(setup, model=parts[0], start=parts[1], **few)


@pytest.fixture(params=list(ld_ensf.CASES))
def setup(request):
    return tiny(request.param)


def test_sizes_of_the_paper_and_reduced_ones():
    k, w = ld_ensf.kolmogorov("paper"), ld_ensf.shallow_water("paper")
    assert (k.shape, k.times, sum(k.runs)) == ((2, 150, 150), 41, 200)
    assert (w.shape, w.times, sum(w.runs)) == ((3, 150, 150), 51, 200)
    published = da.Kolmogorov.ld_ensf()
    assert k.model(np.array([1000.0])).substeps == published.substeps
    assert w.model(np.zeros(2)).dt == da.ShallowWater.ld_ensf().dt
    assert w.model(np.zeros(2)).model.coriolis == 0
    k, w = ld_ensf.kolmogorov(), ld_ensf.shallow_water()
    assert (k.shape, k.times, k.first, k.steps) == ((2, 64, 64), 21, 100, 200)
    assert (w.shape, w.times, w.first, w.steps) == ((3, 64, 64), 51, 0, 850)
    crossed = (9.81 * 100) ** 0.5 * w.model(np.zeros(2)).dt / (1e6 / 63)
    assert crossed == pytest.approx(0.1)


def test_states_are_those_of_the_model_alone(setup):
    u = setup.parameters()[:2]
    x = setup.trajectories(u, dtype="float64")
    assert x.shape == (2, setup.times, *setup.shape)
    for b in range(2):
        one, at = setup.model(u[b]), setup.start(u[b])
        for k in range(setup.steps + 1):
            if k >= setup.first and (k - setup.first) % setup.every == 0:
                same = x[b, (k - setup.first) // setup.every]
                assert np.allclose(same, at, rtol=0, atol=1e-12)  # blocks add in another order
            at = one(at[None])[0]


def test_parameters_fill_the_box_and_the_parts_share_no_run(setup):
    u, parts = setup.parameters(), setup.split()
    assert u.shape == (10, setup.p)
    assert (u > setup.low).all()
    assert (u < setup.high).all()
    assert np.array_equal(np.concatenate(parts), np.arange(10))
    assert len(np.unique(u[:, 0])) == 10
    assert np.array_equal(setup.parameters(), u)
    unit = setup.unit(u)
    assert np.abs(unit).max() < 1
    assert np.allclose(setup.natural(unit), u)


def test_runs_go_on_after_a_kill_to_the_same_bits(setup, tmp_path, monkeypatch):
    whole = setup.trajectories()
    calls = 0

    def dies(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 12:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    step = fields.blockwise
    monkeypatch.setattr("dalearn.models.fields.blockwise", dies)
    monkeypatch.setattr("dalearn.models.kolmogorov.blockwise", dies)
    monkeypatch.setattr("dalearn.cases.ld_ensf_setup.CHECKPOINT", 0.0)
    with pytest.raises(KeyboardInterrupt):
        setup.trajectories(to=tmp_path / "runs")
    begun = calls
    found = setup.trajectories(to=tmp_path / "runs")
    steps = setup.first + setup.steps - setup.first
    assert calls - begun < steps  # the first steps were not computed again
    assert np.array_equal(np.asarray(found[:]), whole)
    monkeypatch.setattr("dalearn.models.fields.blockwise", None)  # nothing is computed any more
    monkeypatch.setattr("dalearn.models.kolmogorov.blockwise", None)
    assert np.array_equal(np.asarray(setup.trajectories(to=tmp_path / "runs")[:]), whole)


def test_a_twin_is_what_it_says(setup):
    problem = ld_ensf.twin(setup, 3, sensors=4, noise=0.1, members=5, seed=7)
    n = int(np.prod(setup.shape))
    assert problem.batch == (3,)
    assert problem.n == n + setup.p
    theta = np.asarray(problem.prior.members)[..., n:]
    truth = np.asarray(problem.truth)[..., n:]
    assert np.array_equal(truth[:, 0], truth[:, -1])
    assert np.abs(theta[:, :, None] - truth[:, None, :1]).min() > 0  # the truth is no member
    starts = setup.start(theta.astype(float)).reshape(3, 5, n)
    assert np.allclose(problem.prior.members[..., :n], starts, atol=1e-5)
    alone = setup.trajectories(truth[:, 0].astype(float))[:, setup.seen]
    scale = np.abs(alone).max()
    # float32, and parameters rounded to it
    assert np.allclose(problem.truth[..., :n], alone.reshape(3, -1, n), atol=1e-4 * scale)
    steps = np.cumsum([problem.steps_to(k) for k in range(len(problem))])
    assert steps[0] > 0
    assert steps[-1] == setup.steps
    assert len(problem) == len(setup.seen)
    forecast = problem.forecast(problem.prior.members, 0)
    assert np.array_equal(forecast[..., n:], problem.prior.members[..., n:])


def test_experiments_of_a_twin_are_those_of_their_seeds(setup):
    both, one = (
        ld_ensf.twin(setup, 2, sensors=2, seed=3),
        ld_ensf.twin(setup, 1, sensors=2, seed=4),
    )
    assert np.array_equal(both.data[1], one.data[0])
    assert np.array_equal(both.prior.members[1], one.prior.members[0])


def test_data_err_by_a_share_of_each_components_size(setup):
    problem = ld_ensf.twin(setup, 8, sensors=8, noise=0.2, seed=1)
    exact = ld_ensf.twin(setup, 8, sensors=8, noise=0.0, seed=1)
    error = (problem.data - exact.data).reshape(8, len(problem), len(setup.rms), 64)
    found = error.std(axis=(0, 1, 3)) / np.asarray(setup.rms)
    assert np.allclose(found, 0.2, rtol=0.1)  # of 8 * 4 * 64 numbers or more: 1.6 %
    R = problem.at(0)[0].noise.variance() ** 0.5
    assert np.allclose(R, np.repeat(0.2 * np.asarray(setup.rms), 64), rtol=1e-6)
    R = exact.at(0)[0].noise.variance() ** 0.5
    assert np.allclose(R, np.repeat(1e-3 * np.asarray(setup.rms), 64), rtol=1e-6)


def test_sensors_are_a_regular_grid_of_all_components(setup):
    c = setup.shape[0]
    x = np.arange(float(np.prod(setup.shape))).reshape(setup.shape)
    seen = sensors_of(setup, 4)(x).reshape(c, 4, 4)
    assert np.array_equal(seen, x[:, 2::4, 2::4])
    assert np.array_equal(places(setup, 4)[5], [6, 6])
    assert localization(setup, 3.0).n == x.size + setup.p


def test_true_runs_can_be_given(setup):
    u = setup.parameters()[setup.split().validation]
    problem = ld_ensf.twin(setup, u, sensors=2, seed=1)
    assert np.allclose(problem.truth[:, 0, -setup.p :], u, rtol=1e-6)


def test_a_filter_finds_the_parameter():
    """Four times nearer to the truth than a draw of the prior, in the mean of 4 truths."""
    setup = tiny("shallow-water")
    problem = ld_ensf.twin(setup, 4, sensors=8, noise=0.05, members=20, seed=2)
    result = da.assimilate(problem, da.ETKF(20), progress=False)
    _, found = da.state_and_parameters(result, problem)
    last = found["mean"].sel(stage="analysis").values - found["truth"].values
    wrong = np.abs(setup.unit(last + 2.5e5))[:, -1].mean()  # 2.5e5 m: the middle of the box
    assert wrong < 2 / 3 / 4  # two numbers that are uniform in (-1, 1) are 2/3 apart


def test_errors_are_in_units_of_each_component(setup):
    rng = generator(Purpose.CASE, 99)
    x = np.asarray(setup.rms)[:, None, None] * rng.standard_normal((2, 3, *setup.shape))
    wrong = np.zeros_like(x)
    wrong[:, :, 0] = setup.rms[0]
    assert setup.relative(x + wrong, x) == pytest.approx(len(setup.rms) ** -0.5, rel=0.1)
    assert setup.relative(x + wrong, x, 0).shape == (3,)
    assert setup.relative(x, x) == 0


def test_steps_that_do_not_fit_are_refused(setup):
    with pytest.raises(ValueError, match="must be a multiple of every"):
        replace(setup, steps=setup.steps + 1)
    with pytest.raises(ValueError, match="low must lie below high"):
        replace(setup, low=setup.high)
    with pytest.raises(ValueError, match="sensors"):
        ld_ensf.twin(setup, 1, sensors=17)


@pytest.mark.slow
def test_one_command_makes_the_runs(tmp_path):
    """The command knows its cases; a size that trains takes minutes, so only its help is asked."""
    command = [sys.executable, "-m", "dalearn.cases.ld_ensf", "--help"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "--case" in out.stdout
