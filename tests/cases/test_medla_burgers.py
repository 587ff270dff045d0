"""The Burgers pairs: equal times, whole runs in one part each, errors of the covariance asked."""

import numpy as np
import pytest

from dalearn.cases import medla_burgers as case


def test_sixteen_fine_steps_are_one_coarse_step():
    fine, coarse = case.model(), case.model(case.COARSE)
    assert coarse.dt == 16 * fine.dt
    assert case.EVERY % case.RATIO == 0
    x = case.released(case.releases(20), case.COARSE)
    assert (coarse.courant(x) < 1).all()


def test_both_grids_hold_the_same_release():
    at = case.releases(5)
    for n in (case.FINE, case.COARSE):
        x = case.released(at, n) - 1
        mass = x.sum((-2, -1)) * (2 / (n - 1)) ** 2
        assert np.allclose(mass, at[:, 2:] * 0.25, rtol=1e-12)  # a square of side 1/2


@pytest.mark.parametrize("count", [20, 200])
def test_no_run_stands_in_two_parts(count):
    parts = case.parts(count)
    runs = np.concatenate(parts)
    assert len(runs) == len(set(runs.tolist())) == count
    assert min(map(len, parts)) >= 3


def test_no_frame_of_a_test_run_is_trained_on(tmp_path):
    """By the numbers themselves: whoever shuffles frames instead of runs fails here."""
    seen = {}
    for name in ("train", "validation", "test"):
        part = case.pairs(name, tmp_path, count=10)
        for fields in (part.states, part.background):
            for row in fields.reshape(-1, fields.shape[-1]):
                seen.setdefault(row.tobytes(), set()).add(name)
    assert all(len(names) == 1 for names in seen.values())
    assert len(seen) == 10 * 25  # no two frames alike: a frame is a background as well


def test_errors_have_the_covariance_that_is_asked():
    rng = np.random.default_rng(3)
    y = np.broadcast_to(np.float32(0.81), (4000, 2 * 32**2))
    e = (case.disturbed(y, 0.3, rng) - y).reshape(4000, 2, 32, 32)
    assert abs(e.std() / (0.3 * 0.9) - 1) < 0.01
    for shift in (1, 2, 4):  # along a row, in cells; Balgovind over two cells
        found = (e[..., shift:] * e[..., :-shift]).mean() / (e**2).mean()
        assert abs(found - (1 + shift / 2) * np.exp(-shift / 2)) < 0.01
    assert abs((e[:, 0] * e[:, 1]).mean()) < 0.01 * e.var()
    none = case.disturbed(np.zeros((2, 2 * 32**2), "float32"), 0.3, rng)
    assert not none.any()  # where nothing moves there is no error
