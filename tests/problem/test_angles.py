"""Observed angles: all answers are the same wherever the circle is cut."""

import pickle
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from examples import METHODS
from lengths import full

import dalearn as da
from dalearn.array import array_namespace

TAKING = [e for e in METHODS if not e.fixed]
ANGLE = da.Angles(which=[0])
WIDE = da.Angles(60, which=[0])  # far beyond the spread of every method


@dataclass(frozen=True)
class Turned:
    """The first two components, the first of them an angle measured from another origin."""

    shift: float = 0.0

    def __call__(self, x):
        xp = array_namespace(x)
        return xp.stack((x[..., 0] + self.shift, x[..., 1]), axis=-1)


def small(shift, residual=WIDE, operator=None):
    """States below 2, with gaps, whose first component is observed as an angle, if shifted."""
    rng = np.random.default_rng(2)
    A = 0.95 * np.linalg.qr(rng.normal(size=(3, 3)))[0]
    y = np.stack((0.5 * rng.normal(size=4), 0.5 * rng.normal(size=4)), -1)
    y[1, 1] = y[2] = np.nan
    y[:, 0] += shift
    if shift:
        y = WIDE.wrapped(y)
    see = Turned(shift) if operator is None else operator
    observation = da.Observation(see, [0.1, 0.1], [[0.0], [1.0]], residual)
    prior = da.Gaussian(0.1 * rng.normal(size=3), 0.2 * np.ones(3))
    truth = 0.4 * rng.normal(size=(4, 3))
    return da.Problem(da.Linear(A), observation, prior, y, noise=0.01 * np.ones(3), truth=truth)


def run(problem, method, **settings):
    return da.assimilate(problem, method, progress=False, **settings)


def close(a, b, tolerance=1e-8):
    for name in ("mean", "std"):
        assert np.allclose(a[name], b[name], rtol=0, atol=tolerance), name


def innovations(result):
    return (result["observation"] - result["predicted"]).transpose("time", "stage", "y").values


@pytest.mark.filterwarnings("ignore:.*minimisations ended", "ignore:UKF.alpha=0.01")
@pytest.mark.parametrize("example", TAKING, ids=str)
def test_the_cut_changes_nothing(example):
    """Far from the cut a residual is a difference; the origin of an angle can be anywhere."""
    subset = da.Subset([0, 1])
    with_it, without = (run(small(0, r, subset), example.method) for r in (WIDE, None))
    close(with_it, without)
    assert np.allclose(innovations(with_it), innovations(without), 0, 1e-8, equal_nan=True)
    start = run(small(0), example.method)
    for shift in (30.0, -401.0):
        there = run(small(shift), example.method)
        close(start, there)
        assert np.allclose(innovations(start), innovations(there), 0, 1e-6, equal_nan=True)
    problem = small(30.0)
    prior = da.Gaussian(torch.tensor(problem.prior.mean), torch.tensor(0.2 * np.ones(3)))
    close(run(replace(problem, prior=prior), example.method), run(problem, example.method), 1e-7)


@pytest.mark.parametrize("example", [e for e in METHODS if e.fixed], ids=str)
def test_who_takes_differences_says_so(example):
    with pytest.raises(TypeError, match=r"differences y - h as they are.*residuals = True"):
        run(small(0), example.method)


def test_no_bounds_on_a_circle():
    assert da.QCEFF(9).residuals
    for law in (da.RankHistogram(lower=0.0), da.GammaMarginal()):
        with pytest.raises(TypeError, match="QCEFF takes differences"):
            run(small(0), da.QCEFF(9, observed=law))


# --- tracking by range and bearing, around a station --------------------------------------------


def circling(x):
    """Position and velocity, which turns by 0.1 each step."""
    xp, c, s = array_namespace(x), np.cos(0.1), np.sin(0.1)
    px, py, vx, vy = (x[..., i] for i in range(4))
    return xp.stack((px + 0.1 * vx, py + 0.1 * vy, c * vx - s * vy, s * vx + c * vy), axis=-1)


def polar(x):
    """Bearing, in (-pi, pi], and range."""
    xp, px, py = array_namespace(x), x[..., 0], x[..., 1]
    return xp.stack((xp.atan2(py, px), (px**2 + py**2) ** 0.5), axis=-1)


def directed(x):
    """Cosine and sine of the bearing, and range."""
    xp, px, py = array_namespace(x), x[..., 0], x[..., 1]
    r = (px**2 + py**2) ** 0.5
    return xp.stack((px / r, py / r, r), axis=-1)


BATCH = full(20, 400)


def tracking(residual=ANGLE, batch=BATCH, cycles=60):
    prior = da.Gaussian([-5.0, 3.0, 0.0, -5.0], 0.25 * np.ones(4))
    see = da.Observation(polar, [0.02**2, 0.5**2], residual=ANGLE)
    noise = np.array([0.01, 0.01, 0.1, 0.1]) ** 2
    problem = da.twin(circling, see, prior, cycles, noise=noise, batch=batch, seed=1)
    return replace(problem, observation=replace(see, residual=residual))


def in_directions(problem):
    y = problem.data
    y = np.stack((np.cos(y[..., 0]), np.sin(y[..., 0]), y[..., 1]), -1)
    see = da.Observation(directed, [0.02**2, 0.02**2, 0.5**2])
    return replace(problem, data=y, observation=see)


TRACKERS = [da.ExtendedKF(), da.UKF(), da.ETKF(40), da.ParticleFilter(2000), da.WeakVar4D(4)]
TRACKERS = [*TRACKERS[:3], *(pytest.param(m, marks=pytest.mark.proof) for m in TRACKERS[3:])]


@pytest.mark.parametrize("method", TRACKERS, ids=lambda m: type(m).__name__)
def test_a_bearing_across_pi(method):
    """The error is that of cosine and sine observed, and what the spread says."""
    problem = tracking()
    assert (np.abs(np.diff(problem.data[..., 0])) > 6).any()
    result = run(problem, method)
    error, spread = (f(result).sel(stage="analysis") for f in (da.rmse, da.spread))
    other = da.rmse(run(in_directions(problem), method)).sel(stage="analysis")
    gap = (error - other).mean("time")
    # each experiment on its own data, twice: the mean gap within three of its standard errors
    allowed = 3 * float(gap.std()) / len(gap) ** 0.5 + 0.005 * float(other.mean())
    assert abs(float(gap.mean())) < allowed
    skill = float((error**2).mean() ** 0.5 / (spread**2).mean() ** 0.5)
    assert 0.88 < skill < 1.1  # 20 runs of 60 cycles: about 0.04; ETKF(40) is a little too sure
    if hasattr(method, "members"):
        return
    d = innovations(result.isel(case=0))
    assert np.abs(d[..., 0]).max() < 1


def test_innovations_are_as_large_as_allowed():
    for method in (da.ExtendedKF(), da.UKF(), da.ETKF(40)):
        chi2 = run(tracking(), method, keep=("innovation",))["chi2"].isel(time=slice(5, None))
        # 20 runs of 55 cycles of 2 numbers: 2200 numbers, standard error (2 / 2200)^1/2 = 0.03
        assert abs(float(chi2.mean()) - 1) < 0.1


def test_without_a_residual_the_run_says_what_is_wrong():
    problem = tracking(None)
    with pytest.warns(
        UserWarning, match=r"jump by 6\.\d+, nearly 2 pi, between cycles \d+ and"
    ) as w:
        lost = run(problem, da.ExtendedKF())
    assert "residual=da.Angles(which=[...])" in str(w[0].message)
    kept = run(tracking(), da.ExtendedKF())
    worst = [float(da.rmse(r).sel(stage="analysis").max()) for r in (lost, kept)]
    assert worst[0] > 5 * worst[1]
    bare = da.Observation(lambda x: polar(x)[..., :1] * 180 / np.pi, [1.0])
    degrees = replace(problem, data=problem.data[..., :1] * 180 / np.pi, observation=bare)
    with pytest.warns(UserWarning, match=r"nearly 360 degrees.*da.Angles\(360\)\)"):
        run(degrees, da.ExtendedKF())


def test_other_data_are_not_taken_for_angles():
    problem = tracking()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(in_directions(problem), da.ExtendedKF())
        wild = np.random.default_rng(0).uniform(-np.pi, np.pi, (30, 3))  # jumps, but not bounded
        see = da.Observation(lambda x: x + 0.0 * x**2, 0.01 * np.ones(3))
        prior = da.Gaussian(np.zeros(3), np.ones(3))
        run(da.Problem(lambda x: 0.9 * x, see, prior, wild), da.ETKF(5))


# --- details ------------------------------------------------------------------------------------


def test_the_unscented_filter_of_filterpy():
    """filterpy 2.0.0, UnscentedKalmanFilter with residual_z, z_mean_fn and sqrt_method=sqrtm."""

    def seen(x):
        return np.stack((np.arctan2(x[..., 1], x[..., 0]), np.hypot(x[..., 0], x[..., 1])), -1)

    see = da.Observation(seen, [0.02**2, 0.1**2], residual=ANGLE)
    prior = da.Gaussian([-5.0, 0.05], [0.04, 0.09])
    problem = da.Problem(lambda x: x, see, prior, np.array([[-3.12, 5.2]]))
    found = run(problem, da.UKF()).sel(stage="analysis")
    # theirs is the angle of the mean sine and cosine, which differs in the third moment: 1e-6
    assert np.allclose(found["mean"], [[-5.15312441, -0.09061784]], rtol=0, atol=2e-6)
    assert np.allclose(found["std"] ** 2, [[8.15420910e-03, 9.03965238e-03]], rtol=1e-4)


def test_differences_means_and_turns():
    angle, both = da.Angles(360), da.Angles([360, 24], which=[0, 2])
    y, h = np.array([[179.0, 5.0, 23.0]]), np.array([[-179.0, 400.0, 1.0]])
    assert np.allclose(both(y, h), [[-2, -395, -2]])
    assert np.allclose(angle(y, h), [[-2, -35, 22]])
    assert np.allclose(both.wrapped(np.array([180.0, 5.0, -13.0])), [-180, 5, 11])
    E = np.array([[170.0, 0.0, 0.0], [-170.0, 1.0, 0.0], [-160.0, 2.0, 0.0]])
    assert np.allclose(both.centre(E)[0, 0], -173.33, atol=0.2)
    turned = both.gathered(E)
    assert np.ptp(turned[:, 0]) == 30
    assert np.array_equal(turned[:, 1:], E[:, 1:])
    assert np.allclose(both.centre(E, np.array([0.0, 0.0, 1.0]))[0, 0], -160)
    assert both.nearest(np.float32([1, 2, 3]), np.float32([1, 2, 3])).dtype == np.float32
    again = pickle.loads(pickle.dumps(both))
    assert again == both


def test_a_residual_of_ones_own():
    """A function of the user's own stands where Angles does, its means found by iteration."""

    def mine(y, h):
        xp, d = array_namespace(y, h), y - h
        return xp.stack((xp.atan2(xp.sin(d[..., 0]), xp.cos(d[..., 0])), d[..., 1]), axis=-1)

    a, b = tracking(), tracking(mine)
    for method in (da.ExtendedKF(), da.UKF(), da.ETKF(20), da.IEnKS(10), da.ParticleFilter(50)):
        one, two = (run(p[0], method, keep=("innovation",)) for p in (a, b))
        tolerance = 1e-8 if isinstance(method, (da.ExtendedKF, da.ParticleFilter)) else 2e-3
        close(one, two, tolerance)  # means of ensembles: on the circle, not of sine and cosine
        assert np.allclose(one["chi2"], two["chi2"], rtol=0.01, atol=0.01)


def test_differences_are_taken_across_the_cut():
    seen = da.Observation(polar, [0.01, 0.01], residual=ANGLE)
    x = np.array([[-5.0, 1e-9, 0.0, 0.0]])
    J = da.finite_difference(seen.smooth, x)[1]
    assert np.allclose(J[0], [[0, -0.2, 0, 0], [-1, 0, 0, 0]], atol=1e-7)
    by_hand = da.ExtendedKF(operator_jacobian=da.finite_difference)
    p = tracking()[0]
    close(run(p, da.ExtendedKF()), run(p, by_hand), 1e-6)


def test_networks_with_a_flag_of_that_name_are_functions():
    net = da.neural.MLP(2, 2, (3,), residual=True).double()
    x = torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    with torch.no_grad():
        J = da.finite_difference(net, x)[1]
    assert torch.allclose(J, da.linearize(net, x)[1], atol=1e-7)


def test_a_moving_network_has_angles_of_its_own():
    p = tracking()[0]
    one = da.Observation(lambda x: polar(x)[..., :1], [0.02**2], residual=da.Angles())
    range_ = da.Observation(lambda x: polar(x)[..., 1:], [0.25])
    kinds = [one if k % 2 else range_ for k in range(len(p))]
    data = np.where(np.arange(len(p))[:, None] % 2, p.data[:, :1], p.data[:, 1:])
    moving = replace(p, observation=da.Moving(kinds), data=data)
    gaps = np.where(np.arange(len(p))[:, None] % 2 == [1, 0], p.data, np.nan)
    close(run(moving, da.UKF()), run(replace(p, data=gaps), da.UKF()))


def test_data_of_a_twin_are_on_one_turn():
    see = da.Observation(Turned(100.0), [0.1, 0.1], residual=da.Angles(360, which=[0]))
    p = da.twin(lambda x: x, see, da.Gaussian([1e4, 1e4, 0], [1.0, 1, 1]), 5)
    assert (np.abs(p.data[:, 0]) <= 180).all()
    assert (p.data[:, 1] > 9000).all()


@pytest.mark.parametrize(
    ("residual", "message"),
    [
        ("wrap", "residual must be a function"),
        (da.Angles, "residual must be a function.*the class Angles"),
        (lambda: ANGLE.check(0, ""), "positions below 0"),
        (da.Angles(which=[2]), "which of Angles holds 2, wanted positions below 2"),
        (lambda y: y, "cannot be called on two arrays"),
        (lambda y, h: (y - h)[..., 0], "must be 0, of the same shape"),
        (lambda y, h: y - h + 1, "must be 0, of the same shape"),
    ],
)
def test_what_is_no_residual_is_refused(residual, message):
    if message == "positions below 0":
        with pytest.raises(ValueError, match=message):
            residual()
        return
    with pytest.raises((ValueError, TypeError), match=message):
        small(0, residual).validated()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"period": 0.0}, "period.*met 0.0"),
        ({"period": [1.0, 2.0]}, "period holds 2 numbers"),
        ({"which": [0, 0]}, "different integers"),
        ({"which": [0.5]}, "different integers"),
        ({"which": [-1]}, "from 0 on"),
    ],
)
def test_what_is_no_circle_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        da.Angles(**settings)
