"""VIVID's experiment: the published constants, sensors, parts that share no run."""

import numpy as np
import pytest

import dalearn as da
from dalearn.cases import vivid_runs as case


def published(radius, height, steps):
    """u by the published scheme, written anew: np.roll, differences divided by 2 dx + 0.01."""
    i, j = np.meshgrid(np.arange(50), np.arange(50), indexing="ij")
    h = np.where((i - 25) ** 2 + (j - 25) ** 2 <= radius**2, 1 + height, 1.0)
    u, v = np.zeros((50, 50)), np.ones((50, 50))
    dt, b, g = 1e-4, 2.0, 1.0

    def slope(q, axis):
        return (np.roll(q, -1, axis) - np.roll(q, 1, axis)) / (2 * 0.01 + 0.01)

    for _ in range(steps):
        u, v, h = (
            u + dt * (-b * u - g * slope(h, 1)),
            v + dt * (-b * v - g * slope(h, 0)),
            h - dt * (slope(h * u, 1) + slope(h * v, 0)),
        )
    return u


def test_the_published_run_is_reproduced():
    run = case.simulated(((6, 0.2),))
    for step in (500, 4000):
        wanted = published(6, 0.2, step).ravel()
        np.testing.assert_allclose(run[0, case.frame(step)], wanted, atol=1e-9)
    np.testing.assert_allclose(np.sqrt((wanted**2).mean()), 0.01404, atol=1e-5)


def test_other_constants_give_another_run():
    """What the odd denominator, the friction and v = 1 each do: more than all of the field."""
    from dataclasses import replace

    model = da.ShallowWater.vivid()
    wanted = published(6, 0.2, 4000)
    start = model.disc(6, 0.2)
    others = {
        "dx": (replace(model, dx=0.01), start),
        "drag": (replace(model, drag=1.5), start),
        "v": (model, start * np.array([1, 1, 0])[:, None, None]),
    }
    for name, (other, x) in others.items():
        for _ in range(4000):
            x = other(x)
        error = np.linalg.norm(x[1] - wanted) / np.linalg.norm(wanted)
        assert error > (0.1 if name == "drag" else 1.0), name


def test_sensors_weigh_squares_around_them():
    u = np.random.default_rng(0).normal(size=(50, 50))
    at = np.array([[0, 0], [25, 13], [49, 30]])
    i, j = np.indices((50, 50))
    wanted = []
    for r, c in at:
        d = np.hypot(i - r, j - c)
        wanted.append(((0.5 * (d <= 2.9) + (d <= 1.5)) * u**2).sum())
    operator = case.Squares.at(at)
    np.testing.assert_allclose(operator(u.ravel()[None])[0], wanted)
    np.testing.assert_allclose(operator(-u.ravel()), operator(u.ravel()))
    inside = case.Squares.at(np.array([[25, 25]]))
    np.testing.assert_allclose(inside(np.ones(2500)), case.UNIT)


@pytest.mark.parametrize("count", list(case.STRATA))
def test_jittered_sensors_stand_one_in_each_block(count):
    at = case.sensors(count, np.random.default_rng(0))
    rows, columns = case.STRATA[count]
    corners = [case.N * np.arange(p + 1) // p for p in (rows, columns)]
    counts = np.histogram2d(*at.T, bins=corners)[0]
    assert (counts == 1).all()
    if count == 100:
        assert set(np.unique(at % 5)) == {0, 1, 2}
    assert len(case.sensors(count, np.random.default_rng(0), "random")) == count


def test_parts_share_no_run_and_the_audit_agrees():
    discs = [d for part in case.DISCS.values() for d in part]
    assert len(set(discs)) == len(discs)
    parts = {name: case.runs(name)[:, ::40] for name in case.DISCS}
    found = da.diagnostics.audit(**parts)
    assert not found.errors
    run = case.runs("train")[0, :, None]  # frames one by one, as a split of frames deals them
    assert not da.diagnostics.audit(train=run[::2], test=run[1::2]).ok


def test_the_problem_has_the_published_errors():
    x = case.runs("test")[0, case.frame(4000)]
    at = case.sensors(100, np.random.default_rng(1))
    found = []
    for seed in range(20):
        p = case.problem(x, at, noise=0.1, seed=seed)
        found.append(case.relative(np.asarray(p.prior.mean), x))
    np.testing.assert_allclose(np.mean(found), case.PRIOR, rtol=0.1)
    assert case.similarity(x, x) == pytest.approx(1)
    assert case.similarity(np.asarray(p.prior.mean), x) < 0.6
    errors = np.asarray(p.data)[0] - case.Squares.at(at)(x)
    assert 0.05 < errors.std() / case.spread(x[None])[0] < 0.15
    with pytest.raises(ValueError, match="jittered"):
        case.sensors(99, np.random.default_rng(0))
    with pytest.raises(ValueError, match="every 20 steps"):
        case.frame(4001)
