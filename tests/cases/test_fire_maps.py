"""Fires as maps of arrival times: equal to the automaton's states, and no leak between parts."""

import numpy as np
import pytest

import dalearn as da
from dalearn.array import Purpose, streams
from dalearn.cases import fire_maps, fire_measures

LANDS = range(2000, 2003)


def test_one_map_holds_all_states_of_a_fire():
    fire = da.Wildfire.alexandridis(fire_maps.landscape(3, 24))
    cells = np.argwhere(np.asarray(fire.vegetation) > -1)[::60]
    arrival = fire_maps.arrivals(fire, cells, 30, streams(Purpose.CASE, 5))
    rng, x = streams(Purpose.CASE, 5), fire.ignite(cells[:, None], like=np.zeros(1, "float32"))
    for k in range(31):
        assert np.array_equal(arrival <= k, x >= 3), k
        x = fire(x, rng)
    assert arrival.dtype == np.float32
    some = fire_maps.FireMaps(
        arrival, np.zeros(len(cells), int), np.ones((1, 4, 24, 24)), np.zeros(1), 30
    )
    assert np.array_equal(some.frames(10)[:, 2], arrival <= 20)
    when = np.where(some.burnt, 30 * some.states()[:, 1], np.inf)
    assert np.allclose(when, arrival)


def test_fires_caught_belong_to_their_ground_and_seed():
    a, b = (fire_maps.fires(LANDS, 4, seed=s, side=32, steps=40) for s in (0, 1))
    assert a.arrival.shape == (12, 32, 32)
    assert np.array_equal(a.grounds, b.grounds)
    assert not (a.arrival == b.arrival).all((-2, -1)).any()
    assert np.array_equal(a.arrival, fire_maps.fires(LANDS, 4, side=32, steps=40).arrival)
    assert not np.isfinite(a.arrival[~a.fuel]).any()
    early = fire_measures.share(np.where(a.arrival <= 13, a.arrival, np.inf), a.fuel)
    assert (early >= fire_maps.CAUGHT).all()
    assert a[2:5].maps.shape == (3, 4, 32, 32)


def test_the_parts_share_no_landscape_and_a_leak_is_found():
    seeds = [set(part) for part in fire_maps.PARTS.values()]
    assert not seeds[0] & seeds[1]
    assert not seeds[0] & seeds[2]
    assert not seeds[1] & seeds[2]
    small = {"side": 16, "steps": 20}
    train = fire_maps.fires(LANDS, 2, **small)
    fire_maps.check_apart(train, fire_maps.fires([2003], 2, **small))
    with pytest.raises(ValueError, match=r"1 landscapes are among .*seed 2001"):
        fire_maps.check_apart(train, fire_maps.fires([2004, 2001], 2, seed=1, **small))
    again = fire_maps.fires([2004], 2, **small)
    again.arrival[1] = train.arrival[3]
    with pytest.raises(ValueError, match=r"1 fires are among .*number 1"):
        fire_maps.check_apart(train, again)
    for wrong, words in (("tests", "one of train"), ("", "part must be")):
        with pytest.raises(ValueError, match=words):
            fire_maps.fires(wrong, 2)
    with pytest.raises(ValueError, match="each"):
        fire_maps.fires("test", 0)


def test_measures_of_made_up_fires():
    line = np.arange(40.0)
    plane = np.broadcast_to(2 * line, (2, 40, 40)).copy()  # a front that runs east
    assert fire_measures.impossible(plane) == 0
    odd = plane.copy()
    odd[0, 20, 30] = 50.0  # 8 before the earliest neighbour
    assert fire_measures.impossible(odd) == pytest.approx(1 / 3200)
    two = np.full((1, 40, 40), np.inf)
    two[0, 2:5, 2:5] = two[0, 5, 5] = two[0, 20, 20] = 1.0
    assert fire_measures.pieces(two).tolist() == [2]
    fuel = np.ones((1, 40, 40), bool)
    assert fire_measures.share(two, fuel)[0] == pytest.approx(11 / 1600)
    assert fire_measures.overlap(two, two)[0] == 1
    assert fire_measures.overlap(plane[:1], two)[0] == pytest.approx(11 / 1600)


def test_the_slope_effect_is_found_where_it_is_known():
    """Fronts whose speed is exp(0.03 climb) of ground with slopes that differ from row to row."""
    climbs = np.repeat(np.linspace(-20, 20, 8), 8)  # degrees, in bands that squares may cross
    east = np.tile(climbs[:, None], (1, 64))
    arrival = np.arange(64.0) / np.exp(0.03 * east)
    maps = np.stack((np.ones_like(east), 0.6 * np.ones_like(east), east / 20, 0 * east))
    maps[1, :, ::2] = 0.5
    found, _ = fire_measures.slope_effect(arrival[None], maps[None], half=1, every=1)
    assert found == pytest.approx(0.03, rel=0.15)
    flat, error = fire_measures.slope_effect(
        arrival[None], maps[None] * [[[1]], [[1]], [[-1]], [[1]]], half=1, every=1
    )
    assert flat == pytest.approx(-found)
    assert error < 0.01


def test_the_automaton_runs_faster_uphill():
    fires = fire_maps.fires(LANDS, 6)
    found, error = fire_measures.slope_effect(fires.arrival, fires.maps)
    assert found > 5 * error > 0
    assert fire_measures.impossible(fires.arrival) == 0
