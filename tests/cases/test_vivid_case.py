"""VIVID's networks as shipped, and what they are worth beside the data."""

from dataclasses import replace

import numpy as np
import pytest

from dalearn.cases import vivid, vivid_rivals
from dalearn.cases import vivid_runs as case
from dalearn.neural.weights import read_card, shipped


@pytest.fixture(scope="module")
def problems():
    truth = case.runs("validation")[1, case.frame(4000)]
    rng = np.random.default_rng(0)
    return [case.problem(truth, case.sensors(100, rng), seed=900 + s) for s in range(3)]


def errors(way, problems):
    return np.array([case.relative(way(p).state, np.asarray(p.truth)[0]) for p in problems])


@pytest.mark.parametrize("name", vivid.NAMES)
def test_a_network_errs_as_its_card_says(name):
    path = shipped(f"vivid-{name}")
    assert path.stat().st_size < 2**20
    told = read_card(path).metric["100 sensors"]
    assert vivid.score(vivid.trained(name), "validation", 100) == pytest.approx(told, rel=0.05)


def test_all_weights_are_small():
    assert sum(shipped(f"vivid-{n}").stat().st_size for n in vivid.NAMES) < 1.2 * 2**20


def test_vivid_is_better_than_both_its_parts_on_validation_runs(problems):
    var = errors(vivid_rivals.var3d, problems)
    net = errors(vivid_rivals.network, problems)
    both = errors(lambda p: vivid_rivals.both(p, 100, factor=3.0), problems)
    assert (both < net).all()
    assert both.mean() < var.mean() < net.mean()


def test_a_p_of_true_size_beside_a_b_of_1000_returns_the_network(problems):
    """The published trap: B in units of its own."""
    from dalearn import LBFGS, Var3D
    from dalearn.methods.learned.vivid import Incommensurate

    p = problems[0]
    p = replace(p, observation=replace(p.observation, noise=np.ones(100)))  # R = 1, as published
    large = case.background_errors(np.asarray(p.truth)[0])
    large = replace(large, std=1000**0.5)
    method = replace(vivid.vivid(correlated=False), method=Var3D(large, solver=LBFGS(400)))
    with pytest.warns(Incommensurate):
        found = vivid_rivals.analysed(method, p).state
    net = vivid_rivals.network(p).state
    truth = np.asarray(p.truth)[0]
    assert case.relative(found, net) < 0.2 < 0.35 < case.relative(found, truth)


def test_rivals_run_and_differ(problems):
    p = problems[:1]
    start = errors(vivid_rivals.prior, p)
    for way in (vivid_rivals.small_b, vivid_rivals.letkf, vivid_rivals.kriging):
        assert 0.1 < errors(way, p)[0] < start[0]
    for told in (True, False):
        assert errors(lambda q, t=told: vivid_rivals.in_modes(q, 100, with_network=t), p) < start
    assert vivid_rivals.audited() == "Audit: 0 errors, 0 doubts"
