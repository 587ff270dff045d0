"""Interpolation to places: exact for linear fields, SciPy's values, one period after another."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

import dalearn as da

RNG = np.random.default_rng(3)
LAT = np.array([-60.0, -20.0, 0.0, 5.0, 50.0])
LON = np.arange(0.0, 360.0, 30.0)
HIGH = np.array([0.0, 1.0, 4.0])
INSIDE = RNG.uniform((-60, 0, 0), (50, 330, 4), (40, 3))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_values_are_those_of_scipy_and_linear_fields_are_exact(d):
    axes, places = (LAT, LON, HIGH)[:d], INSIDE[:, :d]
    H = da.Interpolate(axes, places)
    u = RNG.normal(size=(4, *H.shape))
    wanted = np.stack([RegularGridInterpolator(axes, v)(places) for v in u])
    np.testing.assert_allclose(H(u), wanted, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(H(u.reshape(4, -1)), H(u))  # vectors hold fields row by row
    slope = np.array([2.0, -0.3, 5.0])[:d]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    np.testing.assert_allclose(H(mesh @ slope + 1), places @ slope + 1, rtol=1e-12, atol=1e-10)
    at = mesh.reshape(-1, d)
    np.testing.assert_array_equal(da.Interpolate(axes, at)(u), u.reshape(4, -1))  # on the points


def test_axes_that_decrease_mean_the_same():
    H, turned = (da.Interpolate((a, LON), INSIDE[:, :2]) for a in (LAT, LAT[::-1]))
    u = RNG.normal(size=(3, *H.shape))
    np.testing.assert_allclose(turned(u[:, ::-1]), H(u), rtol=1e-12)


def test_a_periodic_axis_closes_the_gap_and_repeats():
    where = np.array([345.0, -15.0, 705.0, 345.0 - 3600.0, 330.0, 360.0, 0.0, 359.0])
    H = da.Interpolate(LON, where, period=360)
    u = np.arange(12.0)[None]
    first, last = u[0, 0], u[0, -1]
    wanted = [(first + last) / 2] * 4 + [last, first, first, first + (last - first) / 30]
    np.testing.assert_allclose(H(u)[0], wanted, rtol=1e-12, atol=1e-12)
    # SciPy's, with the first column once more behind the last
    places = np.stack([RNG.uniform(-60, 50, 30), RNG.uniform(0, 360, 30)], -1)
    v = RNG.normal(size=(5, 12))
    wrapped = RegularGridInterpolator((LAT, np.append(LON, 360)), np.hstack([v, v[:, :1]]))
    G = da.Interpolate((LAT, LON), places + np.array([0, 720]), period=(0, 360))
    np.testing.assert_allclose(G(v[None])[0], wrapped(places), rtol=1e-11, atol=1e-12)
    assert G.locations.shape == (30, 2)


def test_each_place_sees_its_own_field():
    which = RNG.integers(0, 3, 40)
    H = da.Interpolate((LAT, LON), INSIDE[:, :2], component=which)
    u = RNG.normal(size=(6, 3, *H.shape))
    each = [da.Interpolate((LAT, LON), INSIDE[:, :2])(u[:, c]) for c in range(3)]
    wanted = np.take_along_axis(np.stack(each), which[None, None], 0)[0]
    np.testing.assert_array_equal(H(u), wanted)
    np.testing.assert_array_equal(H(u.reshape(2, 3, -1)), wanted.reshape(2, 3, 40))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_numpy_and_torch_agree_also_after_a_move_between_them(dtype):
    far = da.Interpolate((LAT, LON + 1e5), [[49.99, 1e5 + 359.9]], period=(0, 360))
    u = RNG.normal(size=(3, 5, 12))
    t = torch.tensor(u, dtype=dtype)
    tight = 1e-13 if dtype == torch.float64 else 1e-6
    np.testing.assert_allclose(far(t).numpy(), far(u), rtol=tight, atol=tight)
    moved = da.array.convert_tree(far, t)
    assert moved.axes == far.axes  # coordinates are never rounded
    again = pickle.loads(pickle.dumps(replace(moved)))
    np.testing.assert_array_equal(again(t).numpy(), far(t).numpy())
    grad = torch.func.jacrev(lambda z: far(z)[0])(t.reshape(3, -1)[0][None])
    np.testing.assert_allclose(grad.sum(), 1.0, rtol=1e-6)  # its weights


def test_a_filter_with_interpolated_data_is_the_one_with_their_matrix():
    H = da.Interpolate(np.arange(8.0), [0.25, 3.5, 7.75], period=8)
    matrix = H(np.eye(8)).T
    assert matrix.sum(axis=1) == pytest.approx(1)
    prior = da.Gaussian(np.zeros(8), np.ones(8))
    see = da.Observation(H, [0.1, 0.2, 0.3], H.locations)
    problem = da.twin(da.Linear(0.9 * np.eye(8)), see, prior, 5, noise=0.1)
    plain = replace(problem, observation=da.Observation(matrix, [0.1, 0.2, 0.3]))
    a, b = (da.assimilate(p, da.KF(), progress=False)["mean"].values for p in (problem, plain))
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    local = da.LETKF(5, localization=da.Localization.ring(8, 2.0))
    found = da.assimilate(problem, local, progress=False)
    assert np.isfinite(found["mean"]).all()


GRID = (LAT, LON)
WRONG = [
    (
        lambda: da.Interpolate(GRID, [[51.0, 0.0]]),
        "places must lie on the grid, met 51",
    ),
    (lambda: da.Interpolate(GRID, [[0.0, 345.0]]), "along axis 1.*from 0 to 330.*period="),
    (lambda: da.Interpolate(GRID, [0.0, 1.0]), r"places have shape \(2,\), wanted \(m, 2\)"),
    (lambda: da.Interpolate(GRID, np.zeros((0, 2))), "m at least 1"),
    (lambda: da.Interpolate(GRID, [[0.0, np.nan]]), "places must be finite.*at place 0"),
    (lambda: da.Interpolate([0.0, 0.0], [0.0]), "axes must be vectors.*increase, or decrease"),
    (lambda: da.Interpolate([0.0], [0.0]), "two or more"),
    (
        lambda: da.Interpolate(LON, [1.0], period=330),
        "period must be longer than its axis, met 330",
    ),
    (lambda: da.Interpolate(GRID, [[0, 0]], period=[1, 2, 3]), "period must be >= 0, one"),
    (lambda: da.Interpolate(LON, [1.0], component=0.5), "component must be an integer"),
    (lambda: da.Interpolate(LON, [1.0], component=[0, 1]), "one for each of 1 places"),
    (lambda: da.Interpolate(LON, [1.0])(np.zeros((2, 24))), r"shape \(2, 24\).*grid \(12,\)"),
    (lambda: da.Interpolate(LON, [1.0], component=2)(np.zeros((2, 24))), "3 or more of 12"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_what_is_no_grid_or_place_is_refused_in_words(case):
    make, words = WRONG[case]
    with pytest.raises(ValueError, match=words):
        make()
