"""EnSF in units of the ensemble's own spread."""

from dataclasses import replace

import numpy as np
import pytest

import dalearn as da
from dalearn import Diagonal, EnSF, Observation, Pointwise, identity
from dalearn.array import array_namespace
from dalearn.methods import ensf
from dalearn.methods.score.ensf import Known

rng = np.random.default_rng(7)
E = rng.normal(size=(2, 6, 5)) * np.array([1e-3, 1.0, 3.0, 10.0, 1e3]) + 1.0
SIZE = E.std(-2, ddof=1)
OWN = EnSF(6, eps_beta=0.5, scale="spread", centred=True)


def bent(x):
    return array_namespace(x).atan(x)


def mixing(x):
    return 0.5 * (x[..., :2] + x[..., 2:4]) ** 2 + x[..., 4:]


SYSTEMS = {
    "closed": Observation(identity, Diagonal(np.full(5, 0.3))),
    "steps": Observation(Pointwise(bent), Diagonal(np.full(5, 0.3))),
    "linear": Observation(da.Linear(rng.normal(size=(2, 5))), da.Dense([[1.0, 0.3], [0.3, 0.5]])),
    "mixed": Observation(mixing, da.Dense([[1.0, 0.3], [0.3, 0.5]])),
}


@pytest.mark.parametrize("form", SYSTEMS)
@pytest.mark.parametrize("settings", [{}, {"flow": True}, {"score": "mixture"}], ids=str)
def test_it_is_the_unit_that_one_would_give_by_hand(form, settings):
    observe, method = SYSTEMS[form], replace(OWN, **settings)
    y = rng.normal(size=(2, observe.m))
    for b in range(2):
        draws = (np.random.default_rng(b) for _ in range(2))
        found = ensf(E[b], y[b], observe, next(draws), method)
        told = ensf(E[b], y[b], observe, next(draws), replace(method, scale=SIZE[b]))
        assert np.allclose(found, told, rtol=1e-9, atol=1e-9 * SIZE[b])


@pytest.mark.parametrize("form", SYSTEMS)
def test_an_experiment_of_a_batch_has_its_own_unit(form):
    """The first of two is that of one alone, where both have the same draws."""
    observe = SYSTEMS[form]
    y = rng.normal(size=(2, observe.m))

    class Same:
        """Draws of one experiment for both."""

        def __init__(self, count):
            self.batch, self.rng = (count,), np.random.default_rng(3)

        def normal(self, shape, like):
            return np.stack(self.batch[0] * [self.rng.normal(size=shape)])

    for b in range(2):
        both, alone = (
            ensf(e, d, observe, Same(len(e)), OWN)
            for e, d in ((E, y), (E[b : b + 1], y[b : b + 1]))
        )
        assert np.allclose(both[b], alone[0], rtol=1e-8, atol=1e-8 * SIZE[b])


def test_the_background_variance_is_a_share_of_the_ensembles():
    """Gain of a Kalman filter with eps_beta times the ensemble's variance, at any spread."""
    for size in (1e-4, 0.1, 1.0, 1e4):
        x = size * rng.normal(size=(40, 1))
        var, sigma2 = x.var(ddof=1), 0.02 * size**2
        observe = Observation(identity, Diagonal([sigma2]))
        method = EnSF(40, eps_beta=0.6, scale="spread", centred=True, steps=200)
        means = [
            ensf(x, np.array([d]), observe, np.random.default_rng(0), method).mean()
            for d in (0.0, size)
        ]
        gain = (means[1] - means[0]) / size
        assert abs(gain / (0.6 * var / (0.6 * var + sigma2)) - 1) < 0.02


def test_what_an_analysis_knows_of_the_last_spread_is_not_kept():
    observe, y, known = SYSTEMS["closed"], np.zeros(5), Known(OWN)
    ensf(E[0], y, observe, np.random.default_rng(0), OWN, known)
    found, wanted = (
        ensf(100 * E[0], y, observe, np.random.default_rng(0), OWN, k) for k in (known, None)
    )
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", SYSTEMS)
def test_where_members_agree_they_stay(form, dtype):
    """Also at 0, where no unit can be read off."""
    x, observe = E[0].astype(dtype), SYSTEMS[form]
    x[:, 1], x[:, 3] = 0.0, 7.0
    found = ensf(x, np.ones(observe.m, dtype), observe, np.random.default_rng(0), OWN)
    assert np.isfinite(found).all()
    assert np.allclose(found[:, [1, 3]], [0.0, 7.0], rtol=10 * np.finfo(dtype).eps, atol=1e-18)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_flow_whose_noise_stays_has_a_limit(dtype):
    """eps_beta = 1: no drift without data; the limit of slightly less."""
    observe = Observation(Pointwise(bent, at=da.Every(2)), Diagonal(np.full(3, 0.1, dtype)))
    x, y = E[0].astype(dtype), np.zeros(3, dtype)
    found, near = (
        ensf(x, y, observe, np.random.default_rng(0), EnSF(6, flow=True, eps_beta=e))
        for e in (1.0, 1 - 1e-6)
    )
    assert np.isfinite(found).all()
    assert np.allclose(found, near, rtol=1e-4, atol=1e-4)


def test_regression_in_own_units_does_not_depend_on_the_units_of_the_state():
    """The whole filter: a state in other units, the same numbers."""

    def run(unit):
        H = Pointwise(lambda x: bent(x / unit), at=da.Every(2))
        like = da.Lorenz96(n=8, dt=0.02)
        twin = da.twin(
            lambda x: unit * like(x / unit),
            Observation(H, Diagonal(np.full(4, 0.01))),
            da.Gaussian(unit * np.arange(8.0), np.full(8, unit**2)),
            5,
            steps=5,
        )
        method = replace(OWN, regression=da.Localization.ring(8, 2.0), inflation=1.05)
        return da.assimilate(twin, method, progress=False)["mean"].values / unit

    assert np.allclose(run(1.0), run(1e6), rtol=1e-6, atol=1e-6)
    assert np.allclose(run(1.0), run(1e-9), rtol=1e-6, atol=1e-6)


def test_settings_that_exclude_each_other():
    with pytest.raises(ValueError, match="centred"):
        EnSF(5, scale="spread")
    with pytest.raises((TypeError, ValueError), match="spread"):
        EnSF(5, scale="width", centred=True)
