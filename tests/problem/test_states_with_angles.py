"""Angles in the state: the answers are the same wherever the model or the prior cut the circle."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from examples import METHODS
from lengths import full

import dalearn as da
from dalearn.array import array_namespace

TAKING = [e for e in METHODS if not e.fixed]
WIDE = da.Angles(60, which=[0])  # far beyond the spread of every method


@dataclass(frozen=True)
class Winding:
    """An angle whose rate is the second component and the third's pull: x A^T, on any turn."""

    A: np.ndarray
    drift: float = 0.0
    cut: bool = False

    def __call__(self, x):
        xp, x = array_namespace(x), x @ self.A.mT
        x = xp.stack((x[..., 0] + self.drift, x[..., 1], x[..., 2]), axis=-1)
        return x if not self.cut else WIDE.wrapped(x)

    def to_torch(self):
        return replace(self, A=torch.tensor(self.A))


def winding(cut, drift=0.0, residual=WIDE, angles=WIDE):
    """The angle drifts, is observed, and couples to nothing but by its differences."""
    rng = np.random.default_rng(4)
    A = np.array([[1.0, 0.3, 0.1], [0, 0.9, 0.2], [0, -0.2, 0.9]])
    y = 0.5 * rng.normal(size=(5, 2)) + np.outer(1 + np.arange(5), [drift, 0])
    y[1, 1] = y[2] = np.nan
    start = 0.1 * rng.normal(size=3)
    truth = start + 0.4 * rng.normal(size=(5, 3)) + np.outer(1 + np.arange(5), [drift, 0, 0])
    if cut:
        y[:, 0], truth = WIDE.wrapped(y)[:, 0], WIDE.wrapped(truth)
    see = da.Observation(da.Subset([0, 1]), [0.1, 0.1], [[0.0], [1.0]], residual)
    prior = da.Gaussian(start, 0.2 * np.ones(3))
    model = Winding(A, drift, cut)
    return da.Problem(
        model, see, prior, y, noise=0.01 * np.ones(3), truth=truth, angles=angles if cut else None
    )


def run(problem, method, **settings):
    return da.assimilate(problem, method, progress=False, **settings)


def close(a, b, tolerance=1e-7):
    for name in ("std", "rmse", "crps"):
        x, y = (getattr(da, name)(r) if name != "std" else r[name] for r in (a, b))
        assert np.allclose(x, y, rtol=0, atol=tolerance), name


@pytest.mark.filterwarnings("ignore:.*minimisations ended", "ignore:UKF.alpha=0.01")
@pytest.mark.parametrize("example", TAKING, ids=str)
def test_a_state_that_winds(example):
    """A model that wraps its angle, and wrapped data, against the angle unwound; and torch."""
    method = example.method
    for name in ("B", "cov"):  # that of a truth that drifts is no covariance of errors
        if getattr(method, name, None) == "climatology":
            method = replace(method, **{name: 0.3 * np.ones(3)})
    if isinstance(method, da.EnSF):
        method = replace(method, centred=True)
    still = isinstance(method, da.Climatology) or getattr(method, "cycled", True) is False
    drift = 0.0 if still else 25.0
    unwound, cut = winding(False, drift), winding(True, drift)
    if example.linear_only:  # a model that wraps is not linear
        cut = replace(cut, model=unwound.model)
    plain, wrapped = run(unwound, method), run(cut, method)
    assert still or (np.abs(np.diff(wrapped["truth"].isel(x=0))) > 30).any()
    close(plain, wrapped)
    turns = (plain["mean"] - wrapped["mean"]).values / WIDE.period
    assert np.allclose(turns, np.round(turns), rtol=0, atol=1e-8)
    assert not np.round(turns[..., 1:]).any()
    prior = da.Gaussian(torch.tensor(cut.prior.mean), torch.tensor(0.2 * np.ones(3)))
    tensors = replace(cut, prior=prior, model=cut.model.to_torch())
    close(run(tensors, method), wrapped)


@pytest.mark.parametrize("example", [e for e in METHODS if e.fixed], ids=str)
def test_who_takes_differences_says_so(example):
    with pytest.raises(TypeError, match=r"takes differences y - h as they are.*state with angles"):
        run(winding(True, residual=None), example.method)


def test_a_score_from_zero_is_refused():
    with pytest.raises(TypeError, match=r"met a state with angles.*EnSF\(centred=True\)"):
        run(winding(True), da.EnSF(10))


# --- a vehicle with a heading -------------------------------------------------------------------

HEADING = da.Angles(which=[2])
SEEN = da.Angles(which=[0])


def vehicle(x):
    """Position, heading and speed: it drives in circles, its heading kept in [-pi, pi)."""
    xp, heading, v = array_namespace(x), x[..., 2], x[..., 3]
    px, py = (x[..., i] + 0.1 * v * f(heading) for i, f in ((0, xp.cos), (1, xp.sin)))
    turned = heading + 0.15
    turned = turned - 2 * np.pi * xp.floor(turned / (2 * np.pi) + 0.5)
    return xp.stack((px, py, turned, v), axis=-1)


def radar(x):
    """Bearing of the vehicle, its range, and its heading."""
    xp, px, py = array_namespace(x), x[..., 0] - 2, x[..., 1]
    return xp.stack((xp.atan2(py, px), (px**2 + py**2) ** 0.5, x[..., 2]), axis=-1)


BATCH = full(20, 400)


def driving(batch=BATCH, cycles=80):
    prior = da.Gaussian([0.0, 0.0, 3.0, 2.0], [0.04, 0.04, 0.25, 0.04])
    see = da.Observation(radar, [0.02**2, 0.2**2, 0.2**2], residual=da.Angles(which=[0, 2]))
    noise = np.array([0.01, 0.01, 0.03, 0.02]) ** 2
    settings = {"noise": noise, "angles": HEADING, "batch": batch, "seed": 3}
    return da.twin(vehicle, see, prior, cycles, **settings)


DRIVERS = [da.ExtendedKF(), da.UKF(), da.ETKF(40), da.UnscentedRTS()]
PROVED = [da.ParticleFilter(1000, regularization=0.5), da.WeakVar4D(4), da.IEnKS(30, lag=2)]


@pytest.mark.parametrize(
    "method",
    [*DRIVERS, *(pytest.param(m, marks=pytest.mark.proof) for m in PROVED)],
    ids=lambda m: type(m).__name__,
)
def test_a_heading_across_pi_is_calibrated(method):
    problem = driving()
    heading = problem.truth[..., 2]
    assert np.abs(heading).max() <= np.pi
    assert (np.abs(np.diff(heading)) > 6).any(axis=-1).all()  # in each experiment
    result = run(problem, method)
    last = result.isel(stage=-1, x=2, time=slice(5, None))
    error = (last["mean"] - last["truth"]) / last["std"]
    # each of 20 runs is worth about ten independent ones: chi2 of 200, standard error 0.1
    assert 0.75 < float((error**2).mean()) < 1.3
    assert float(np.abs(last["mean"] - last["truth"]).max()) < 1
    score = float(((last["mean"] - last["truth"]) ** 2).mean() ** 0.5)
    assert score < 0.2 * 0.6  # better than the heading observed alone
    if hasattr(method, "members"):
        drawn = run(problem, method, keep=("ranks",))
        counts = da.rank_histogram(drawn.isel(x=[2]), "forecast", 5).sum("case").values
        N = len(counts) - 1
        ends = counts[: N // 8].sum() + counts[-(N // 8) :].sum()
        assert 0.15 < ends / counts.sum() < 0.38  # 0.25 where flat


def test_a_wide_ensemble_has_the_mean_of_the_circle():
    """Particles all over the circle, of which a datum near the cut leaves some."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(-np.pi, np.pi, size=(2000, 1))
    see = da.Observation(da.identity, [0.1**2], residual=da.Angles())
    p = da.Problem(
        lambda x: x, see, da.Ensemble(spread), np.array([[3.1]]), angles=da.Angles(), steps=1
    )
    found = run(p, da.ParticleFilter(2000)).sel(stage="analysis").isel(time=0, x=0)
    # 2000 on 2 pi leave 80 within 0.1 of the datum: 0.1 / 80^1/2 = 0.011
    assert abs(np.angle(np.exp(1j * (float(found["mean"]) - 3.1)))) < 0.04
    assert float(found["std"]) == pytest.approx(0.1, rel=0.2)
    assert -np.pi <= float(found["mean"]) < np.pi


def test_an_ensemble_on_both_sides_of_the_cut():
    rng = np.random.default_rng(1)
    near = 3.1 + 0.1 * rng.normal(size=(20, 1))
    see = da.Observation(da.identity, [0.1**2], residual=da.Angles())
    results = [
        run(
            da.Problem(lambda x: x, see, da.Ensemble(E), np.array([[-3.1]]), angles=da.Angles()),
            method,
        )
        for E in (near, da.Angles().wrapped(near))
        for method in (da.ETKF(20), da.ExtendedKF(), da.Var3D(B="prior"))
    ]
    for a, b in zip(results[:3], results[3:], strict=True):
        assert np.allclose(a["mean"], b["mean"], atol=1e-12)
        assert np.allclose(a["std"], b["std"], atol=1e-12)
    gauss = da.Gaussian(near.mean(0), near.var(0, ddof=1))
    plain = da.Problem(
        lambda x: x, da.Observation(da.identity, [0.01]), gauss, [[-3.1 + 2 * np.pi]]
    )
    wanted = run(plain, da.KF()).sel(stage="analysis")
    got = results[0].sel(stage="analysis")
    assert np.allclose(da.Angles().wrapped(wanted["mean"].values), got["mean"], atol=1e-12)
    assert np.allclose(wanted["std"], got["std"], atol=1e-12)


def test_the_climatology_of_an_angle():
    p = winding(True, 0.0)
    turned = replace(p, truth=WIDE.wrapped(p.truth + np.array([30, 0, 0])))
    one, two = (run(q, da.Climatology()) for q in (p, turned))
    assert np.allclose(one["std"], two["std"])
    assert np.allclose(da.rmse(one), da.rmse(two))


def test_parameters_beside_a_state_with_angles():
    @dataclass(frozen=True)
    class Wheel:
        rate: float = 2.5

        def __call__(self, x):
            return da.Angles().wrapped(x + self.rate)

    see = da.Observation(da.identity, [0.05**2], residual=da.Angles())
    prior = da.Gaussian([0.0], [0.1])
    p = da.twin(Wheel(), see, prior, 30, angles=da.Angles(), batch=8)
    joint = da.with_parameters(p, "rate", da.Gaussian([2.2], [0.3**2]))
    assert joint.angles == da.Angles(which=[0])
    result = run(joint, da.ETKF(20)).sel(stage="analysis").isel(time=-1, x=1)
    assert (np.abs(result["mean"] - 2.5) < 4 * result["std"]).all()
    assert float(result["std"].max()) < 0.02


def test_errors_beside_a_state_with_angles():
    """Correlated errors as a part of the state are no angles; across the cut as far from it."""
    found = []
    for shift in (0.0, 3.0):
        see = da.Observation(da.identity, 0.04 * np.ones(2), residual=da.Angles())
        prior = da.Gaussian(np.zeros(2) + shift, 0.1 * np.ones(2))
        y = da.Angles().wrapped(shift + 0.3 * np.random.default_rng(0).normal(size=(6, 2)))
        p = da.Problem(lambda x: x, see, prior, y, noise=[0.01, 0.01], angles=da.Angles())
        p = da.coloured(p, data=0.5)
        assert p.angles == da.Angles(which=[0, 1])
        found.append(run(p, da.KF()))
    turns = (found[1]["mean"] - found[0]["mean"] - [3, 3, 0, 0]) / (2 * np.pi)
    assert np.allclose(turns, np.round(turns), atol=1e-10)
    assert np.allclose(found[0]["std"], found[1]["std"])


def test_one_of_a_batch():
    p = driving(3, 10)
    together, alone = run(p, da.ETKF(10), seed=2), run(p[1], da.ETKF(10), seed=3)
    assert np.array_equal(together["mean"][1], alone["mean"])


def test_members_that_fail_turn_no_others():
    """A model that wraps and returns NaN for a few members: the others keep their turn."""

    def breaking(x):
        new = Winding(winding(True).model.A, 25.0, True)(x)
        return np.where(x[..., 2:] > 1.0, np.nan, new)

    p = replace(winding(True, 25.0), model=breaking)
    for method in (da.ETKF(100), da.ParticleFilter(300), da.IEnKS(100)):
        one, two = run(p, method), run(winding(True, 25.0), method)
        assert one["failed_members"].sum() > 0
        assert np.allclose(da.rmse(one), da.rmse(two), atol=0.15)
        assert np.allclose(da.spread(one), da.spread(two), rtol=0.4)


def test_a_check_of_data_goes_round_the_circle():
    p = driving()[0]
    spoilt = p.data.copy()
    spoilt[40, 2] += 2.0
    kept = da.screen(replace(p, data=spoilt), da.UKF(), limit=5.0)
    assert np.argwhere(np.isnan(kept.data)).tolist() == [[40, 2]]


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        (da.Angles(which=[3]), "which of Angles holds 3, wanted positions below 3"),
        (2 * np.pi, "angles must be an Angles, or None, met 6.28"),
    ],
)
def test_what_is_no_angle_is_refused(angles, message):
    with pytest.raises((ValueError, TypeError), match=message):
        run(winding(True, angles=angles), da.ETKF(5))
