"""The fires of latent assimilation: how they are dealt, and what is seen of them."""

import numpy as np
import pytest

from dalearn.cases import wildfire


@pytest.fixture(scope="module")
def few():
    return {p: wildfire.fires(p, 12, frames=10) for p in wildfire.PARTS}


def test_no_fire_of_the_test_begins_where_a_training_fire_did(few):
    wildfire.check_unseen(few["train"], few["validation"], few["test"])
    land = wildfire.landscape()
    parts = [wildfire.cells_of(p, land) for p in wildfire.PARTS]
    together = np.concatenate(parts)
    assert len(np.unique(together, axis=0)) == len(together) == land.fuel.sum()
    assert len(parts[0]) / len(together) == pytest.approx(0.7, abs=0.03)
    leak = wildfire.fires("train", 1, frames=10)
    with pytest.raises(ValueError, match="1 of 1 fires begin where training fires did"):
        wildfire.check_unseen(few["train"], leak)
    near = few["train"][:1]
    moved = wildfire.Fires(
        near.states,
        near.ignition // wildfire.SQUARE * wildfire.SQUARE,  # another cell of the same square
        near.wind_speed,
        near.wind_direction,
        near.land,
    )
    with pytest.raises(ValueError, match="wanted fires of another part"):
        wildfire.check_unseen(few["train"], few["test"], moved)


def test_fires_are_made_again_and_grow_under_winds_of_their_own(few):
    fires = few["train"]
    again = wildfire.fires("train", 12, frames=10)
    assert (again.states == fires.states).all()
    other = wildfire.fires("train", 12, frames=10, seed=1)
    assert not (other.ignition == fires.ignition).all()
    burnt = fires.burnt
    assert burnt.dtype == np.float32
    assert burnt.shape == (12, 10, 4096)
    assert (np.diff(burnt, axis=1) >= 0).all()
    assert (burnt[:, 0].sum(-1) == 1).all()
    assert not burnt[..., ~fires.land.fuel.ravel()].any()
    share = burnt[:, 3].sum(-1) / fires.land.fuel.sum()
    assert (share >= wildfire.CAUGHT).all()
    assert len(np.unique(fires.wind_speed)) == 12
    assert 0 <= fires.wind_speed.min() < fires.wind_speed.max() <= wildfire.FASTEST
    alone = wildfire.burn(
        fires.land, fires.ignition[:1], fires.wind_speed[:1], fires.wind_direction[:1], [5]
    )
    many = wildfire.burn(
        fires.land, fires.ignition[:3], fires.wind_speed[:3], fires.wind_direction[:3], [5, 6, 7]
    )
    assert (alone == many[:1]).all()


def test_fire_runs_with_the_wind():
    land = wildfire.landscape()
    flat = wildfire.Landscape(
        0 * land.elevation,
        land.canopy,
        np.ones_like(land.vegetation),
        np.ones_like(land.density),
        np.ones_like(land.fuel),
    )
    at = np.full((40, 2), 32)
    states = wildfire.burn(flat, at, np.full(40, 7.0), np.zeros(40), range(40), frames=4)
    _, columns = np.nonzero((states[:, -1] >= wildfire.BURNING).sum(0))
    counts = (states[:, -1] >= wildfire.BURNING).mean(0).sum(0)
    east, west = counts[33:].sum(), counts[:32].sum()
    assert east > 1.5 * west
    assert columns.max() - 32 >= 32 - columns.min()


def test_flags_have_no_bias_and_the_variance_that_is_told():
    rng = np.random.default_rng(0)
    burnt = (rng.random((200, 64 * 64)) < 0.3).astype(np.float32)
    y = wildfire.seen(burnt, seed=3)
    for value in (0, 1):
        gap = y[burnt == value] - value  # 245 000 of each at least
        assert abs(gap.mean()) < 5 * wildfire.variance() ** 0.5 / gap.size**0.5
        assert gap.var() == pytest.approx(wildfire.variance(), rel=0.02)
    assert not (wildfire.seen(burnt[:1], seed=4) == wildfire.seen(burnt[:1], seed=5)).all()
    exact = wildfire.seen(burnt, flips=0)
    assert (exact == burnt).all()


def test_clouds_are_smooth_and_hide_their_share():
    y = wildfire.seen(np.zeros((20, 4096), np.float32), seed=1, cover=0.5)
    hidden = np.isnan(y).reshape(20, 64, 64)
    assert hidden.mean((1, 2)) == pytest.approx(0.5, abs=0.01)
    assert (hidden[:, 1:] == hidden[:, :-1]).mean() > 0.9  # .5 without
    assert not (hidden[0] == hidden[1]).all()


def test_the_signed_distance_is_zero_between_the_last_burnt_cell_and_the_next():
    field = np.zeros((1, 16, 16), np.float32)
    field[0, :, :5] = 1
    d = np.arctanh(wildfire.distance(field.reshape(1, 256)).astype(float)) * 5
    assert d.reshape(16, 16)[3] == pytest.approx(4.5 - np.arange(16), abs=1e-4)
    assert (wildfire.distance(np.zeros((2, 256))) < 0).all()
    assert (wildfire.distance(np.ones((2, 256))) > 0).all()


def test_bad_requests_name_what_is_wrong():
    with pytest.raises(ValueError, match="part must be one of train, validation, test, met 'all'"):
        wildfire.fires("all", 1)
    with pytest.raises(ValueError, match="caught; wanted other ground"):
        wildfire.fires("train", 2, frames=2)
    with pytest.raises(ValueError, match="clouds lie over square ground"):
        wildfire.seen(np.zeros((1, 10)), cover=0.5)
    with pytest.raises(ValueError, match="flips"):
        wildfire.seen(np.zeros((1, 16)), flips=0.5)
