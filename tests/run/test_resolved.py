"""A result is right within 0.01 standard deviations, or says by a warning that it is not."""

import dataclasses
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from exact import posterior, problem
from lengths import full

import dalearn as da
from dalearn.array import unbiased

F64, F32 = np.zeros(1), np.zeros(1, "f4")
LIKE = {"numpy": F64, "float32": F32, "torch32": torch.zeros(1)}
ROWS = np.random.default_rng(3).normal(size=(6, 2))


@cache
def growing(factor, single=False):
    """Two numbers that grow by a factor and are then measured: from members, or their moments.

    Returns the two problems, of which the second is answered in 80 digits, and the answer.
    """
    A, H = np.array([[1.0, 0.3], [-0.2, 1.0]]), np.array([[1.0, 0.0], [0.5, 1.0]])
    see = da.Observation(H, np.ones(2), np.arange(2.0)[:, None])
    p = da.Problem(da.Linear(factor * A), see, da.Ensemble(1 + ROWS), np.array([[1.0, 2.0]]))
    like = F32 if single else F64
    p = p.to(like)
    E = p.prior.members.astype(float)
    moments = da.Gaussian(E.mean(axis=0), da.Rows((E - E.mean(axis=0)) / 5**0.5))
    exact = dataclasses.replace(p.to(F64), prior=moments)
    return p, exact.to(like), posterior(exact)


def ran(p, method):
    """The result, and whether it was said that it is not resolved, or moved by round-off."""
    with warnings.catch_warnings(record=True) as met, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        result = da.assimilate(p, method, progress=False)
    told = "is not resolved", "round-off moves"
    return result, any(words in str(w.message) for w in met for words in told)


def honest(p, wanted, method, stages=("forecast", "analysis", "smoothed")):
    """Whether the result is right, or has diverged, or a warning was given; and which."""
    result, told = ran(p, method)
    off = 0.0
    for stage in (s for s in stages if s in result["stage"]):
        here, std = result.sel(stage=stage), wanted.std(stage)
        off = max(off, (abs(here["mean"].values - wanted.mean[stage]) / std).max())
        off = max(off, abs(here["std"].values / std - 1).max())
    return bool(off < 0.01 or told or result["diverged"]), off, told


EXACT = (  # on a linear problem these know the answer, whatever the growth
    da.KF(), da.ExtendedKF(), da.RTS(), da.UKF(), da.ETKF(6), da.EnSRF(6), da.IEnKS(6, lag=0),
    da.LETKF(6, localization=da.Localization.line(2, 1e6)), da.Var4D(1, B="prior"),
    da.EnKS(6), da.EnVar4D(6, window=1),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::dalearn.NotConverged")
@pytest.mark.parametrize("method", EXACT, ids=lambda m: type(m).__name__)
def test_a_spread_far_beyond_the_errors_of_the_data_is_told(method):
    wide = 1e2, 1e11, 1e13, 1e14, 1e16, 1e18, 1e30
    for single, factors in ((False, wide), (True, (3, 1e4, 1e7))):
        for factor in factors:
            members, moments, wanted = growing(float(factor), single)
            p = moments if isinstance(method, da.Var4D) else members  # whose B is no ensemble
            good, off, told = honest(p, wanted, method)
            assert good, (single, factor, off)
            # no warning where the round-off is a thousandth of a standard deviation
            assert not (told and factor < (3e3 if single else 1e12)), factor


def test_a_warning_of_a_cycle_points_at_the_line_that_runs():
    """Between them stand the package, the progress bar and contexts."""
    E = da.Ensemble(np.random.default_rng(0).normal(size=(3, 4)))
    see = da.Observation(da.identity, np.full(4, 1e-28))
    p = da.Problem(da.identity, see, E, np.ones((1, 4)))
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        da.assimilate(p, da.ETKF(3))
    assert any("round-off moves" in str(w.message) for w in met)
    assert {w.filename for w in met} == {__file__}


def test_the_warning_names_method_component_case_time_and_sizes():
    p = growing(1e14)[0].expand((3,))
    words = (
        r"^ETKF\(members=6.*: the mean of component 0 of case 0 in the analysis at time 1.0 is "
        r"not resolved: numbers up to .*e\+14 made it, whose round-off in float64 is .*, and its "
        r"standard deviation is .* \(6 such values\); measure the state from a value near it"
    )
    with pytest.warns(RuntimeWarning, match=words) as met:
        da.assimilate(p, da.ETKF(6), progress=False)
    assert [w.filename for w in met] == [__file__]
    with pytest.warns(RuntimeWarning, match="take float64, measure"):
        da.assimilate(growing(1e7, True)[0], da.KF(), progress=False)


@pytest.mark.parametrize("like", LIKE.values(), ids=LIKE)
@pytest.mark.parametrize(
    "method", [da.KF(), da.ETKF(5), da.ParticleFilter(5), da.OI("prior")], ids=repr
)
def test_a_mean_that_its_numbers_cannot_hold_is_told(method, like):
    """1e8 with a spread of 1: seven digits of float32 hold no spread at all; of 1e3, they do."""
    for std, single in ((1.0, True), (1e5, False)):
        see, prior = da.Observation(da.identity, [std**2]), da.Gaussian([1e8], [std**2])
        p = da.Problem(da.Linear(np.eye(1)), see, prior, np.full((2, 1), 1e8 + std)).to(like)
        _, told = ran(p, method)
        assert told == (single and like is not F64)


@pytest.mark.parametrize("like", LIKE.values(), ids=LIKE)
@pytest.mark.parametrize(
    "method",
    [da.KF(), da.RTS(), da.UKF(), da.ETKF(7, rotate="haar"), da.EnKF(7), da.ParticleFilter(7)],
    ids=repr,
)
def test_a_number_that_is_known_has_no_spread_and_is_no_fault(method, like):
    """0.1 has a round-off, and so has the mean of seven of them: warnings are errors here."""
    see = da.Observation(np.array([[1.0, 0.0], [1.0, 1.0]]), np.ones(2))
    prior = da.Gaussian([0.3, 0.1], np.diag([1.0, 0.0]))
    p = da.Problem(da.Linear(np.eye(2)), see, prior, np.ones((5, 2)), noise=np.diag([0.1, 0.0]))
    da.assimilate(p.to(like), method, progress=False)


@pytest.mark.proof
def test_random_problems_in_float32_are_right_or_told():
    for seed in range(full(6, 60)):
        p = problem(seed, worst=1e-6).to(F32)
        wanted = posterior(p.to(F64))
        for method in (da.KF(), da.RTS(), da.UKF()):
            good, off, _ = honest(p, wanted, method)
            assert good, (seed, method, off)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_spread_that_is_no_number_has_diverged(bad):
    class Odd:
        def run(self, p, rng):
            for k in range(len(p)):
                std = np.where(np.arange(3)[:, None] == k, bad, 1.0) * np.ones(2)
                belief = da.Gaussian.unchecked(np.zeros((3, 2)), da.Rows(std[:, None, :]))
                yield da.methods.base.Cycle(belief, belief)

    p = dataclasses.replace(growing(1.0)[0], data=np.ones((3, 2, 2)))
    result = da.assimilate(p, Odd(), progress=False)
    assert result["diverged"].values.tolist() == [True, True, False]
    assert result["diverged_at"].values.tolist() == [0, 1, -1]


@pytest.mark.parametrize("like", LIKE.values(), ids=LIKE)
@pytest.mark.parametrize("rest", [0.5, 1e-3, 1e-5])
def test_the_spread_of_members_of_which_one_has_nearly_all_weight(rest, like):
    """Two members a distance of 1 apart have a variance of 1/2, however their weights are."""
    for w in ([1 - rest, rest], [rest, 1 - rest]):
        p = da.Ensemble(np.array([[0.0], [1.0]]), np.array(w))
        members, weights = (np.asarray(a) for a in (p.members, p.weights))
        E = da.Ensemble(*(da.array.convert(a, like) for a in (members, weights)))
        assert float(E.std[0]) == pytest.approx(0.5**0.5, rel=1e-4)
    three = np.array([0.5 * rest, 1 - rest, 0.5 * rest])
    pairs = three[0] * three[1] + three[1] * three[2] + three[0] * three[2]
    factor = unbiased(da.array.convert(three, like))
    assert float(factor[0]) == pytest.approx(0.5 / pairs, rel=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 0.1, 1e-2, 1e-3])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("like", [F64, F32], ids=["float64", "float32"])
def test_close_sigma_points_lose_digits_and_say_so(alpha, offset, like):
    """Their differences are divided by their distance, alpha sqrt(n), twice."""
    H, A = np.array([[1.0, 0.2], [0.1, 1.0]]), np.array([[0.8, 0.6], [-0.6, 0.8]])
    x, error = offset + np.zeros(2), np.array([[0.3, -0.2], [0.1, 0.4]])
    y = np.stack([H @ A @ x, H @ A @ A @ x]) + error
    see = da.Observation(H, np.ones(2))
    p = da.Problem(da.Linear(A), see, da.Gaussian(x, np.ones(2)), y, noise=np.full(2, 0.1))
    wanted = posterior(p)
    good, off, told = honest(p.to(like), wanted, da.UKF(alpha))
    assert good, off
    if alpha == 1 or (like is F64 and offset < 1e3):
        assert not told
