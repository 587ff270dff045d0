"""Changes of variables beside their formulas; filters in them beside those of the variables."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

import dalearn as da

INF = np.inf
MIXED = da.Bounded(4, [0.0, -INF, -1.0, -INF], [INF, 5.0, 3.0, INF])


def test_logarithms_and_logits():
    x = np.array([[2.0, 1.0, 0.5, -7.0], [1e-9, -1e9, 2.999999, 1e12]])
    wanted = np.stack(
        (np.log(x[:, 0]), -np.log(5 - x[:, 1]), np.log((x[:, 2] + 1) / (3 - x[:, 2])), x[:, 3]),
        axis=-1,
    )
    z = MIXED.encode(x)
    np.testing.assert_allclose(z, wanted, rtol=1e-13)
    np.testing.assert_allclose(MIXED.decode(z), x, rtol=1e-9)
    far = np.array([[800.0], [-800.0]]) * np.ones(4)  # without overflow where it is none
    with np.errstate(over="ignore"):
        assert np.array_equal(MIXED.decode(far)[:, 1:], [[5, 3, 800], [-INF, -1, -800]])
        with np.errstate(invalid="ignore", divide="ignore"):
            lost = MIXED.encode(np.array([-1.0, 6.0, 3.0, 0.0]))
    assert np.isnan(lost[:2]).all()
    assert not np.isfinite(lost[2])


def test_normal_scores_of_a_sample_are_normal():
    """Of 4000 draws of a gamma law: what is held out is standard normal, by Kolmogorov-Smirnov."""
    rng = np.random.default_rng(0)
    coder = da.Anamorphosis.fit(rng.gamma(0.7, size=(4000, 2)), lower=0.0)
    z = coder.encode(rng.gamma(0.7, size=(2000, 2)))
    for i in range(2):
        # 0.03 is the largest gap of 2000 normal draws in 19 of 20 cases, 0.02 the sample's own
        assert stats.kstest(z[:, i], "norm").statistic < 0.05
    x = coder.decode(rng.normal(size=(2000, 2)))
    assert x.min() >= 0
    assert stats.kstest(x[:, 0], stats.gamma(0.7).cdf).statistic < 0.05
    assert np.isnan(coder.encode(np.array([-0.1, 1.0]))[0])


def test_values_that_are_met_again_and_again():
    """A third of none: they have the middle score of theirs, and come back as none."""
    rng = np.random.default_rng(0)
    rain = rng.exponential(size=(9000, 1)) * (rng.random((9000, 1)) > 1 / 3)
    coder = da.Anamorphosis.fit(rain, 200, lower=0.0)
    assert coder.encode(np.zeros(1)) == pytest.approx(stats.norm.ppf(1 / 6), abs=0.05)
    z = np.random.default_rng(1).normal(size=(5000, 1))
    none = coder.decode(z) == 0
    assert none.mean() == pytest.approx(1 / 3, abs=0.02)
    assert coder.floor(rain) < 1e-12


@dataclass(frozen=True, eq=False)
class Growth:
    """x <- x^0.9 e^drift: linear in log x, of numbers above 0."""

    drift: Any

    def __call__(self, x):
        return x**0.9 * np.exp(self.drift)


@dataclass(frozen=True, eq=False)
class LogOf:
    """What is observed are logarithms."""

    def __call__(self, x):
        return np.log(x)


def problems():
    """One linear-Gaussian problem of logarithms, told in logarithms and in amounts."""
    rng = np.random.default_rng(3)
    z, drift = rng.normal(1.0, 0.8, size=(40, 3)), np.array([0.1, 0.2, 0.0])
    y, R = rng.normal(1.5, 1.0, size=(6, 3)), da.Diagonal(0.3 * np.ones(3))
    inner = da.Problem(
        lambda z: 0.9 * z + drift, da.Observation(da.identity, R), da.Ensemble(z), y
    )
    outer = da.Problem(Growth(drift), da.Observation(LogOf(), R), da.Ensemble(np.exp(z)), y)
    return inner, outer


@pytest.mark.parametrize("method", [da.ETKF(40, inflation=1.05), da.EnKF(40), da.QCEFF(40)])
def test_a_filter_of_amounts_is_that_of_their_logarithms(method):
    """Member by member; and the moments are those of amounts, in the user's units."""
    inner, outer = problems()
    keep = ("moments", "members")
    a = da.assimilate(inner, method, keep=keep, progress=False)
    b = da.assimilate(outer, da.Latent(method, da.Bounded(3, 0.0)), keep=keep, progress=False)
    np.testing.assert_allclose(b["members"], np.exp(a["members"]), rtol=1e-9)
    amounts = np.exp(a["members"].sel(stage="analysis"))
    np.testing.assert_allclose(b["mean"].sel(stage="analysis"), amounts.mean("member"), rtol=1e-9)


def test_positive_stays_positive():
    """Sparse precise data of amounts: the plain filter has members below 0, this one none."""
    rng = np.random.default_rng(0)
    prior = da.Ensemble(rng.lognormal(0, 1.0, size=(30, 3)))
    see = da.Observation(da.Every(2), da.Diagonal(0.01 * np.ones(2)))
    problem = da.Problem(Growth(0.0), see, prior, np.full((1, 2), 0.1))
    least = {
        name: da.assimilate(problem, m, keep=("members",), progress=False)["members"].min()
        for name, m in (
            ("plain", da.ETKF(30)),
            ("bounded", da.Latent(da.ETKF(30), da.Bounded(3, 0.0))),
        )
    }
    assert least["plain"] < 0 < least["bounded"]


def test_a_gaussian_prior_is_one_of_codes_to_first_order():
    _, outer = problems()
    m, C = np.array([2.0, 1.0, 4.0]), np.diag([0.04, 0.01, 0.09])
    told = da.Problem(outer.model, outer.observation, da.Gaussian(m, C), outer.data)
    inside = da.Latent(da.ETKF(2), da.Bounded(3, 0.0)).inside(told.validated())
    np.testing.assert_allclose(inside.prior.mean, np.log(m), rtol=1e-12)
    np.testing.assert_allclose(inside.prior.std, np.diag(C) ** 0.5 / m, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: da.Bounded(3, 1.0, 0.0), "lower must be below upper, met 1.0 and 0.0"),
        (lambda: da.Bounded(3, [0.0, 0.0]), r"each of 3 components, met lower of shape \(2,\)"),
        (lambda: da.Anamorphosis.fit(np.ones((50, 2)), 10), "std must be positive"),
        (lambda: da.Anamorphosis.fit(np.ones((5, 2)), 10), "5 states and 10 points"),
        (lambda: da.Anamorphosis.fit(-np.ones((50, 2)), 9, lower=0.0), "states hold -1, wanted"),
        (
            lambda: da.assimilate(
                da.Problem(abs, da.Observation(da.identity, [1.0, 1.0]),
                           da.Ensemble([[1.0, 4.0], [3.0, -2.0]]), np.ones((2, 2))),
                da.Latent(da.ETKF(8), da.Bounded(2, 0.0)), progress=False),
            r"1 members of the prior have no finite code, the first \[ 3. -2.\]",
        ),
    ],
)  # fmt: skip
def test_refusals(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()
