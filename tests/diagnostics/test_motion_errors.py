"""Errors and roughness of motions, against fields whose derivatives are known."""

import numpy as np
import pytest
import torch

from dalearn import diagnostics

Y, X = np.mgrid[0:12, 0:10].astype(float)


def test_the_end_point_error_is_the_mean_length_of_the_difference():
    truth = np.stack((X, Y))
    assert diagnostics.end_point_error(truth, truth) == 0
    off = truth + np.array([3.0, -4.0])[:, None, None]
    np.testing.assert_allclose(diagnostics.end_point_error(off, truth), 5)
    half = truth.copy()
    half[0, :6] += 2  # half of the points are 2 off: a mean of lengths, not of squares
    np.testing.assert_allclose(diagnostics.end_point_error(half, truth), 1)


@pytest.mark.parametrize("turn", [0.0, 1e-9, 0.3, 90.0, 179.0, 180.0])
def test_the_angular_error_is_the_angle_by_which_a_motion_is_turned(turn):
    a = np.radians(turn)
    truth = np.stack((np.cos(X), 1.3 + np.sin(Y)))
    u, v = truth
    turned = np.stack((np.cos(a) * u - np.sin(a) * v, np.sin(a) * u + np.cos(a) * v))
    for size in (1e-200, 1.0, 7.0):  # of speed it says nothing
        found = diagnostics.angular_error(size * turned, truth)
        np.testing.assert_allclose(found, turn, rtol=1e-6, atol=1e-13)


def test_still_points_have_no_angle():
    truth = np.stack((1 + 0 * X, 0 * X))
    still = truth.copy()
    still[:, 0] = 0
    assert diagnostics.angular_error(still, truth) == 0
    assert np.isnan(diagnostics.angular_error(0 * truth, truth))
    broken = truth.copy()
    broken[0, 3, 3] = np.nan
    assert np.isnan(diagnostics.angular_error(broken, truth))
    assert np.isnan(diagnostics.end_point_error(broken, truth))


def test_roughness_of_motions_with_known_derivatives():
    """Linear and quadratic motions, whose forward differences are exact or one cell on."""
    points = 10 * 8  # inside
    found = diagnostics.roughness(np.stack((2 * X + 3 * Y, 5 * X - 7 * Y)))
    np.testing.assert_allclose(found.gradient, np.sqrt(points * (4 + 9 + 25 + 49)))
    np.testing.assert_allclose(found.divergence, np.sqrt(points * 25))
    np.testing.assert_allclose(found.laplacian, 0, atol=1e-12)
    turning = diagnostics.roughness(np.stack((-Y, X)))  # turns without diverging
    np.testing.assert_allclose(turning.divergence, 0, atol=1e-12)
    np.testing.assert_allclose(turning.gradient, np.sqrt(2 * points))
    bent = diagnostics.roughness(np.stack((X**2 + 2 * Y**2, 3 * Y**2)))
    np.testing.assert_allclose(bent.laplacian, np.sqrt(8 * 6 * ((2 + 4) ** 2 + 6**2)))


def test_derivatives_are_per_unit_of_length():
    """A wave on a fine grid, whose norms approach the integrals: first order in dx."""
    errors = []
    for n in (64, 128):
        x = 2 * np.pi * np.arange(n) / n
        w = np.stack((np.sin(x) + 0 * x[:, None], 0 * x + np.cos(2 * x)[:, None]))
        dx = x[1]
        found = diagnostics.roughness(w, spacing=dx)
        mean = [float(v) * dx / (2 * np.pi) for v in found]  # root mean squares
        exact = np.sqrt([(1 + 4) / 2, (1 + 4) / 2, (1 + 16) / 2])
        errors.append(abs(np.array(mean) / exact - 1))
    assert (errors[1] < 0.6 * errors[0]).all()
    assert (errors[1] < 0.05).all()


def test_batches_and_libraries():
    rng = np.random.default_rng(0)
    w, t = rng.normal(size=(2, 3, 4, 2, 6, 5))
    for f in (diagnostics.end_point_error, diagnostics.angular_error):
        assert f(w, t).shape == (3, 4)
        np.testing.assert_allclose(f(torch.as_tensor(w), torch.as_tensor(t)), f(w, t))
        np.testing.assert_allclose(f(w, t)[1, 2], f(w[1, 2], t[1, 2]))
    assert diagnostics.roughness(w).laplacian.shape == (3, 4)


def test_other_shapes_are_refused():
    w = np.ones((2, 6, 6))
    for f in (diagnostics.end_point_error, diagnostics.angular_error):
        with pytest.raises(ValueError, match="met shape"):
            f(np.ones((3, 6, 6)), np.ones((3, 6, 6)))
        with pytest.raises(ValueError, match=r"shape \(2, 6, 6\), met \(2, 6, 5\)"):
            f(w, np.ones((2, 6, 5)))
    with pytest.raises(ValueError, match="at least 4 points"):
        diagnostics.roughness(np.ones((2, 3, 6)))
    with pytest.raises(ValueError, match="spacing"):
        diagnostics.roughness(w, 0.0)
