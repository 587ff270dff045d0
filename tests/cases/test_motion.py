"""Motion from images: the published windows, what is known of them, and the deep prior."""

from typing import Any

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn import diagnostics
from dalearn.cases import motion, motion_prior


@pytest.fixture(scope="module")
def starts():
    return motion.starts("validation", 24)


def truth_of(problem) -> Any:
    return problem.truth


def test_the_windows_are_as_rough_as_the_published_ones(starts):
    """Means over 100 runs that Filoche et al. stored: |grad| 1.669, |div| 1.626, |lap| 0.693.

    The standard deviation over runs is 0.09, so that of a mean of 24 is 0.02.
    """
    w = motion.motion(motion.problem(starts).truth)[:, 0]
    found = [float(v.mean()) for v in diagnostics.roughness(w)]
    np.testing.assert_allclose(found, [1.669, 1.626, 0.693], rtol=0.04)


def test_a_window_has_four_pictures_of_a_height_with_errors(starts):
    p = motion.problem(starts[:3])
    assert p.steps == [1, 3, 3, 3]
    assert p.data.shape == (3, 4, 64 * 64)
    truth = truth_of(p).reshape(3, 4, 3, 64, 64)
    np.testing.assert_allclose((p.data - motion.height(truth)).std(), motion.NOISE, rtol=0.02)
    x = np.asarray(starts[:3], float)
    model = motion.model()
    for _ in range(4):
        x = model(x)
    np.testing.assert_allclose(truth[:, 1], x, atol=1e-12)


def test_the_water_turns_nowhere_and_its_velocity_is_known_at_all_times_once_at_one(starts):
    truth = truth_of(motion.problem(starts[:4])).reshape(4, 4, 3, 64, 64)
    u, v = truth[:, :, 1], truth[:, :, 2]
    curl = np.diff(v, axis=-1)[..., :-1, :] - np.diff(u, axis=-2)[..., :-1]
    assert abs(curl).max() < 1e-6  # single precision of a run of 1000 steps
    assert abs(u).max() > 0.1


def test_parts_have_no_run_in_common_and_draws_do_not_depend_on_how_many():
    places = [motion.releases(part, 300)[0] for part in motion.PARTS]
    every = np.concatenate(places).round(3)
    assert len(np.unique(every, axis=0)) == 900
    off = abs(every - 5e5)
    assert off.min() >= 1e6 / 7 - 1
    assert off.max() <= 1e6 / 3 + 1
    few, more = (motion.releases("test", count)[1] for count in (5, 9))
    np.testing.assert_array_equal(few, more[:5])
    with pytest.raises(ValueError, match="one of"):
        motion.releases("tests", 3)


def test_gaps_are_as_many_as_told_and_leave_the_rest_as_it_was(starts):
    whole, some = motion.problem(starts[:3]), motion.problem(starts[:3], kept=0.1)
    seen = np.isfinite(some.data)
    np.testing.assert_allclose(seen.mean(), 0.1, atol=0.01)
    np.testing.assert_array_equal(some.data[seen], whole.data[seen])
    with pytest.raises(ValueError, match="kept"):
        motion.problem(starts[:1], kept=0.0)
    with pytest.raises(ValueError, match="every"):
        motion.problem(starts[:1], every=10)


def test_4d_var_finds_most_of_the_motion(starts):
    p = motion.problem(starts[:2])
    cycle = next(da.Var4D(4, B="prior", solver=da.LBFGS(30, tolerance=30)).run(p, None))
    truth = motion.motion(p.truth)[:, 0]
    error = diagnostics.end_point_error(motion.motion(cycle.analysis.mean), truth)
    still = diagnostics.end_point_error(0 * truth, truth)
    assert (error < 0.6 * still).all()


# --- the deep prior -----------------------------------------------------------------------------


def test_the_network_of_the_deep_prior_has_the_published_size():
    net = motion_prior.network()
    assert sum(p.numel() for p in net.parameters()) == 2_371_587
    x = net(torch.zeros(1, 100, 1, 1) + 1)
    assert x.shape == (1, 3, 64, 64)
    assert float(abs(x.detach()).max()) <= 1


def test_a_small_deep_prior_lowers_its_cost_and_beats_still_water(starts):
    p = motion.problem(starts[:1]).to(torch.zeros(1))[0]
    found = motion_prior.estimate(p, width=8, epochs=100, keep=(5,))
    truth = motion.motion(p.truth)[0]
    error = [diagnostics.end_point_error(motion.motion(x), truth) for x in found.values()]
    still = float(diagnostics.end_point_error(0 * truth, truth))
    assert list(found) == [5, 100]
    assert error[1] < 0.75 * still
    again = motion_prior.estimate(p, width=8, epochs=5)
    np.testing.assert_array_equal(again[5], found[5])


def test_the_published_cost_is_a_mean_over_what_is_and_what_is_not_seen(starts):
    p = motion.problem(starts[:1]).to(torch.zeros(1))[0]
    x = torch.as_tensor(starts[0]).flatten()
    cost, first = motion_prior.misfit(p, x)
    d = p.data - motion.height(truth_of(p).reshape(4, 3, 64, 64))
    np.testing.assert_allclose(float(cost), float((d**2).sum() / (10 * 3 * 64 * 64)), rtol=1e-4)
    np.testing.assert_allclose(first, truth_of(p)[0], atol=1e-5)
    with pytest.raises(ValueError, match="one window"):
        motion_prior.estimate(motion.problem(starts[:2]).to(torch.zeros(1)))
