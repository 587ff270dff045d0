"""Motion from images by 4D-Var: the published costs, and the prior that pictures imply."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn import diagnostics
from dalearn.cases import motion, motion_published, motion_waves


@pytest.fixture(scope="module")
def windows() -> Any:
    return motion.problem(motion.starts("validation", 24))


@pytest.fixture(scope="module")
def waves():
    pictures = motion.problem(motion.starts("validation", 24), seed=5)
    return motion_waves.spectrum(pictures)


def error(state, problem, count):
    truth = motion.motion(problem.truth)[:count, 0]
    return diagnostics.end_point_error(motion.motion(state), truth)


# --- waves ---------------------------------------------------------------------------------------


def test_cosines_are_orthonormal_and_the_waves_of_the_scheme():
    n = 8
    C, k2 = motion_waves.cosines(n), motion_waves.wavenumbers(n)
    np.testing.assert_allclose(C @ C.T, np.eye(n), atol=1e-14)
    D = np.diff(np.eye(n), axis=0)  # differences across the faces inside; walls have none
    np.testing.assert_allclose(C @ (D.T @ D) @ C.T, np.diag(k2[0]), atol=1e-13)


def test_a_step_of_a_small_wave_is_that_of_its_oscillator():
    n, size = 16, 1e-5
    model = motion.model(n)
    C, k2 = motion_waves.cosines(n), motion_waves.wavenumbers(n)
    rng = np.random.default_rng(0)
    a, b = size * rng.normal(size=(2, n, n))
    b[0, 0] = 0
    ones = motion_waves.Waves(np.ones((n, n)), np.ones((n, n)))
    x = ones.color(np.concatenate((a.ravel(), b.ravel()))[None]).reshape(3, n, n)
    step = motion_waves.oscillators(model, k2) @ np.stack((a, b), -1)[..., None]
    new = model(x)
    np.testing.assert_allclose(C @ new[0] @ C.T, step[..., 0, 0], atol=1e-5 * size)
    z = np.stack((step[..., 0, 0], step[..., 1, 0])).reshape(1, -1)
    np.testing.assert_allclose(new[1:], ones.color(z).reshape(3, n, n)[1:], atol=1e-5 * size)


def test_waves_are_a_covariance_without_rotation():
    rng = np.random.default_rng(1)
    B = motion_waves.Waves(*rng.uniform(0.5, 2, (2, 4, 4)))
    root = B.color(np.eye(B.controls))
    np.testing.assert_allclose((root**2).sum(0), B.variance(), rtol=1e-12)
    x = rng.normal(size=(2, B.n))
    np.testing.assert_allclose(B.times(x), x @ root.T @ root, rtol=1e-10)
    u, v = root.reshape(-1, 3, 4, 4)[:, 1], root.reshape(-1, 3, 4, 4)[:, 2]
    curl = np.diff(v, axis=-1)[:, :-1] - np.diff(u, axis=-2)[..., :-1]
    np.testing.assert_allclose(curl, 0, atol=1e-12)
    np.testing.assert_allclose(B.color(torch.eye(B.controls).double()), root, rtol=1e-12)
    still = np.eye(B.controls)
    still[16, 16] = 0  # the mean of a potential moves nothing
    np.testing.assert_allclose(B.whiten(root), still, atol=1e-12)
    turning = np.zeros((1, 3, 4, 4))
    turning[0, 1, 1:3, 1], turning[0, 2, 1, 1:3] = (1, -1), (-1, 1)
    np.testing.assert_allclose(B.whiten(turning.reshape(1, -1)), 0, atol=1e-12)


def test_pictures_tell_how_fast_the_water_is(windows, waves):
    """No truth is used; energies are equal over a period, and in a window nearly so."""
    truth = windows.truth.reshape(24, 4, 3, -1)
    parts = np.sqrt(waves.variance().reshape(3, -1).mean(-1))
    exact = truth.std(axis=(0, 1, 3))
    np.testing.assert_allclose(parts, exact, rtol=0.15)
    with pytest.raises(ValueError, match="gaps"):
        motion_waves.spectrum(motion.problem(motion.starts("validation", 24)[:2], kept=0.5))


def test_the_best_linear_estimate_is_4d_var_with_this_prior(windows, waves):
    """The scheme is linear up to eta / depth, 1 %."""
    two = replace(
        motion.problem(motion.starts("validation", 24)[:2]),
        prior=da.Gaussian(np.zeros(3 * 64**2), waves),
    )
    cycle = next(da.Var4D(4, B="prior", solver=da.IncrementalCG(tolerance=1.0)).run(two, None))
    linear, var = motion_waves.blue(two, waves), cycle.analysis.mean
    apart = motion.motion(linear) - motion.motion(var)
    assert abs(apart).mean() < 0.002
    assert (error(linear, windows, 2) < 0.01).all()
    assert (error(var, windows, 2) < 0.01).all()


# --- as published --------------------------------------------------------------------------------


def test_the_published_4d_var_ends_early_and_is_worse_when_it_goes_on(windows):
    """Published: 0.0423 and 0.0156 over 100 windows; here one window."""
    one = windows[3].to(torch.zeros(1))
    truth = motion.motion(one.truth)[0]

    def off(**settings):
        found = motion_published.estimate(one, **settings)
        return float(diagnostics.end_point_error(motion.motion(found.state), truth)), found

    plain, early = off()
    smooth, _ = off(alpha=motion_published.ALPHA, beta=motion_published.BETA)
    longer, late = off(tolerance=0.0, iterations=120)
    assert early.iterations < 80
    assert late.iterations == 120
    assert late.cost < early.cost
    assert smooth < 0.6 * plain
    assert longer > 2 * plain


def test_the_published_smoothness_is_that_of_known_derivatives():
    n, dx = 8, 2.0
    y, x = np.mgrid[0:n, 0:n].astype(float) * dx
    state = torch.as_tensor(np.stack((0 * x, 3 * x + 2 * y, y - 5 * x)).reshape(-1))
    inside = motion_published.smoothness(state, 1.0, 0.0, dx)
    rim = [  # beyond it the velocity is 0
        ((a[:, -1] / dx) ** 2).sum() + ((a[-1] / dx) ** 2).sum()
        for a in (3 * x + 2 * y, y - 5 * x)
    ]
    along = (n - 1) * n * np.array([9 + 4, 1 + 25]).sum()
    np.testing.assert_allclose(float(inside), (along + sum(rim)) / 2)


def test_the_published_cost_wants_one_window_and_positive_weights(windows):
    with pytest.raises(ValueError, match="one window"):
        motion_published.estimate(windows)
    with pytest.raises(ValueError, match="alpha"):
        motion_published.estimate(windows[0].to(torch.zeros(1)), alpha=-1.0)
