"""The update of a large state by one product: the same analysis, its digits, its memory.

Without tapers the components of a state do not see each other: the first ones of a large state get
what they get alone, and there the analysis is made from the mean and the anomalies.
"""

import tracemalloc

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.methods import denkf, enkf, enkf_n, enks, etkf
from dalearn.methods.ensemble.combinations import LARGE

N, n, m, few = 32, LARGE // 32, 40, 50
EPS = np.finfo(float).eps


def errors(Y):  # of the data, one for each member
    D = np.random.default_rng(5).normal(size=(N, m))
    return D - D.mean(axis=0) + 0 * np.asarray(Y)


UPDATES = {
    "enkf": lambda E, Y, y, R: enkf(E, Y, y, R, da.array.convert(errors(Y), Y)),
    "denkf": lambda E, Y, y, R: denkf(E, Y, y, R).members,
    "etkf": lambda E, Y, y, R: etkf(E, Y, y, R).members,
    "enks": lambda E, Y, y, R: enks(E, Y, y, R)[0].members,
    "enkf_n": lambda E, Y, y, R: enkf_n(E, Y, y, R)[0].members,
}
each_update = pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)


def given(offset=0.0, gap=1.0, like=np.float64, batch=()):
    """A large ensemble around `offset`, its image of spread 1, data `gap` errors away; and R."""
    rng = np.random.default_rng(0)
    E = rng.standard_normal((*batch, N, n)) + offset
    Y = E[..., :m] - offset
    y = gap * rng.standard_normal((*batch, m))
    kind = torch.from_numpy if like is torch else lambda x: x.astype(like)
    return kind(E), kind(Y), kind(y), da.Diagonal(kind(np.ones(m)))


def members(update, E, Y, y, R):
    return da.array.to_numpy(update(E, Y, y, R))


@pytest.mark.parametrize("like", [np.float64, torch], ids=["numpy", "torch"])
@each_update
def test_a_part_of_a_large_state_is_the_analysis_of_the_part(update, like):
    """The round-off of the product is N^1/2 times that of the members' numbers at most."""
    for offset in (0.0, 1e6):
        E, Y, y, R = given(offset, like=like)
        whole, part = (members(update, e, Y, y, R) for e in (E, E[:, :few]))
        np.testing.assert_allclose(
            whole[:, :few], part, rtol=0, atol=2 * N**0.5 * EPS * (offset or 5)
        )
        mean = part.mean(axis=0)
        assert abs(whole[:, :few].mean(axis=0) - mean).max() < 4 * EPS * (offset or 5)


@each_update
def test_innovations_of_a_thousand_errors_cost_no_digits(update):
    """Weights then are large, and the product of what they cancel would lose what they have."""
    E, Y, y, R = given(1e6, gap=1e3)
    whole, part = (members(update, e, Y, y, R) for e in (E, E[:, :few] - 1e6))  # exact: no mean
    error = abs(whole[:, :few] - 1e6 - part).max()
    assert error < EPS * (
        2 * 1e6 + 8 * N * abs(part).max()
    )  # what the members hold; weights times X


@each_update
def test_single_precision_keeps_the_digits_of_the_anomalies(update):
    """In it two units of the mean's round-off are much: the mean is always taken off first."""
    E, Y, y, R = given(1e3, like=np.float32)
    exact = members(update, *(a.astype(float) for a in (E, Y, y)), da.Diagonal(np.ones(m)))
    assert abs(members(update, E, Y, y, R) - exact).max() < 2 * np.finfo(np.float32).eps * 1e3


@each_update
def test_what_all_members_agree_on_stays_to_the_bit(update):
    """A land mask, a parameter: round-off would be a spread, and inflation would let it grow."""
    E, Y, y, R = given()
    fixed, own = np.array([60, 61, n - 1]), np.array([273.16, 0.0, -0.1])
    E[:, fixed] = own
    for _ in range(3):
        E = members(update, E, Y, y, R)
        assert (E[:, fixed] == own).all()
    assert (E[:, 62:70].std(axis=0) > 0).all()


@each_update
def test_an_experiment_of_a_batch_is_to_the_bit_what_it_is_alone(update):
    """One is ordinary, one has data far away, one is no number: each goes its own way."""
    E, Y, y, R = given(10.0, batch=(3,))
    E[:, :, 60] = 273.16
    y[1] *= 1e3
    y[2, 0] = np.nan
    together = members(update, E, Y, y, R)
    assert np.isnan(together[2]).all()
    for b in range(2):
        assert np.array_equal(together[b], members(update, E[b], Y[b], y[b], R))


@each_update
def test_an_update_of_a_large_state_makes_one_array_of_its_size(update):
    """No mean, no anomalies, no sum of both beside the analysis: n = 10^6 and more fit."""
    E, Y, y, R = given()
    update(E, Y, y, R)  # imports, and what is made once
    tracemalloc.start()
    try:
        update(E, Y, y, R)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.25 * E.nbytes
