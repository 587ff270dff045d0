"""Motion from images by networks, and by two pictures' difference."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dalearn import diagnostics
from dalearn.cases import motion, motion_networks, motion_rivals, motion_waves
from dalearn.neural import read_card, shipped


@pytest.fixture(scope="module")
def starts():
    return motion.starts("validation", 24)


# --- the simplest rivals -------------------------------------------------------------------------


def test_two_pictures_without_errors_tell_the_motion_of_small_waves(starts):
    """Up to how the divergence changes between them: the window is a fifth of a long wave."""
    p: Any = motion.problem(starts[:6] * np.float32(0.01), noise=1e-9)
    truth = motion.motion(p.truth)[:, 0]
    off = diagnostics.end_point_error(motion.motion(motion_rivals.differences(p)), truth)
    still = diagnostics.end_point_error(0 * truth, truth)
    assert off.mean() < 0.25 * still.mean()
    assert (off < 0.6 * still).all()
    n = 64
    slow = np.zeros((1, 2, n, n))
    slow[0, 1, 1, 0] = 10.0  # one wave, as long as the basin: in ten steps it hardly turns
    one = motion_waves.Waves(np.ones((n, n)), np.ones((n, n)))
    x = one.color(slow.reshape(1, -1)).reshape(1, 3, n, n)
    p = motion.problem(x, noise=1e-9)
    truth = motion.motion(p.truth)[:, 0]
    found = motion.motion(motion_rivals.differences(p))
    np.testing.assert_allclose(found, truth, atol=0.02 * abs(truth).max())


def test_smoothing_keeps_a_constant_and_lessens_the_errors_of_a_motion(starts):
    p: Any = motion.problem(starts)
    truth = motion.motion(p.truth)[:, 0]
    rough = motion.motion(motion_rivals.differences(p))
    smooth = motion_rivals.smoothed(rough, 2.0)
    far = [diagnostics.end_point_error(w, truth).mean() for w in (rough, smooth)]
    assert far[1] < 0.6 * far[0]
    np.testing.assert_allclose(motion_rivals.smoothed(np.ones((2, 9, 9)), 2.0), 1)
    assert motion_rivals.smoothed(rough, 0.0) is rough
    with pytest.raises(ValueError, match="gaps"):
        motion_rivals.differences(motion.problem(starts[:1], kept=0.5))


# --- networks ------------------------------------------------------------------------------------


def test_a_film_has_the_pictures_at_their_steps_and_gaps_elsewhere(starts):
    p: Any = motion.problem(starts[:2], every=5)
    film: Any = motion.film(p)
    assert film.data.shape == (2, 10, 64 * 64)
    assert film.steps == 1
    taken = np.isfinite(film.data).all((0, 2))
    np.testing.assert_array_equal(np.flatnonzero(taken), [0, 5])
    np.testing.assert_array_equal(film.data[:, [0, 5]], p.data)


def test_a_body_of_two_fields_gives_a_velocity_of_that_divergence_without_rotation():
    fields = torch.randn(1, 2, 64, 64)
    net = motion_networks.without_rotation(torch.nn.Identity())
    eta, u, v = net(fields)[0]
    torch.testing.assert_close(eta, fields[0, 0])
    west = torch.nn.functional.pad(u, (1, 0))[:, :-1]
    south = torch.nn.functional.pad(v, (0, 0, 1, 0))[:-1]
    div = (u - west + v - south) * motion_networks.UNITS[1] / 0.03
    b = fields[0, 1]
    torch.testing.assert_close(-div, b - b.mean(), atol=1e-3, rtol=1e-3)
    curl = (v[:-1, 1:] - v[:-1, :-1]) - (u[1:, :-1] - u[:-1, :-1])
    assert float(abs(curl).max()) < 1e-4 * float(abs(u).max())


def test_training_windows_are_of_many_kinds_and_hold_no_truth():
    problem: Any
    problem, truth = motion_networks.mixed("validation", 24, 5)
    data, sigma = problem.data, problem.observation.noise.variance()[:, 0] ** 0.5
    seen = torch.isfinite(data)
    shown = seen.any(2).sum(1)
    assert set(shown.tolist()) == {2, 4, 5}
    assert float(sigma.min()) > 0.029
    assert float(sigma.max()) < 0.31
    share = seen.sum((1, 2)) / shown / 64**2
    assert float(share.min()) < 0.5
    assert int((share == 1).sum()) >= 6
    assert problem.truth is None
    assert truth.shape == (24, 3 * 64**2)
    x = problem.forecast(truth[:, None], 0)[:, 0]
    first = seen[:, 0]
    off = (data[:, 0] - x[:, : 64**2])[first] / sigma[:, None].expand_as(first)[first]
    np.testing.assert_allclose(float(off.std()), 1, rtol=0.02)


def test_the_background_of_a_training_is_that_of_the_waves():
    waves = motion_waves.Waves(np.full((4, 4), 2.0), np.full((4, 4), 0.5))
    z = torch.randn(3, 1, 32)
    z[..., 16] = 0
    x = waves.color(z).reshape(3, 3, 4, 4)
    cost = motion_networks.Background(waves)(x)
    torch.testing.assert_close(cost, 0.5 * (z**2).sum((-2, -1)), rtol=1e-4, atol=1e-4)


def test_a_training_goes_on_where_it_was_and_names_are_checked(tmp_path, monkeypatch):
    for name, value in (("TRAIN", 6), ("VALIDATION", 3), ("BATCH", 3), ("WIDTHS", (4, 4))):
        monkeypatch.setattr(motion_networks, name, value)
    monkeypatch.setattr(motion, "SPIN_UP", 20)
    monkeypatch.setattr(motion, "starts", motion.starts.__wrapped__)
    method = motion_networks.train("held", tmp_path, epochs=1, progress=False)
    again = motion_networks.train("held", tmp_path, epochs=1, progress=False)
    p: Any = motion.problem(motion.starts("test", 2))
    found = [motion_networks.answered(m, p) for m in (method, again)]
    assert found[0].shape == (2, 3 * 64**2)
    np.testing.assert_array_equal(found[0], found[1])
    other = motion_networks.train("held", tmp_path, epochs=1, seed=1, progress=False)
    loaded = motion_networks.trained("held", tmp_path, 1)
    found += [motion_networks.answered(m, p) for m in (other, loaded)]
    np.testing.assert_array_equal(found[2], found[3])
    assert abs(found[2] - found[0]).max() > 0
    with pytest.raises(ValueError, match="one of"):
        motion_networks.train("helt", tmp_path)
    with pytest.raises(ValueError, match="wanted the same times"):
        next(method.run(replace(p, prior=motion_networks.units()).to(torch.zeros(1)), None))


def test_the_shipped_network_is_as_good_on_the_validation_runs_as_its_card_says(starts):
    card = read_card(shipped("motion-learned"))
    told = card.metric["end-point error, m/s, published windows"]
    p: Any = motion.problem(starts)
    w = motion.motion(motion_networks.answered(motion_networks.trained(), p))
    error = diagnostics.end_point_error(w, motion.motion(p.truth)[:, 0])
    spread = error.std() / len(error) ** 0.5
    assert abs(error.mean() - told) < 4 * spread  # 24 of the card's 80 runs
