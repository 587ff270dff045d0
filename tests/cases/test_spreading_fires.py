"""Forecasts of fires on landscapes that no training has seen."""

import functools

import numpy as np
import torch

from dalearn.cases import fire_maps, spreading_fires
from dalearn.neural import read_card, shipped


def test_on_new_ground_it_beats_holding_and_needs_the_right_ground():
    fires = fire_maps.fires(range(3000, 3005), 6, side=32, steps=48)
    net, truth, maps = spreading_fires.trained(), fires.frames(3), fires.maps
    found = spreading_fires.forecast(net, truth, maps)
    assert np.array_equal(found[:, :3], truth[:, :3])
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found.max(1)[~fires.fuel] == 0).all()
    errors = spreading_fires.relative(found, truth)[[5, 8, 11, 15]]
    held = spreading_fires.relative(np.repeat(truth[:, 2:3], 17, axis=1), truth)[[5, 8, 11, 15]]
    assert (errors < 0.45).all()
    assert (errors < held / 1.7).all()
    other = np.concatenate((maps[:, :1], np.roll(maps[:, 1:], 6, axis=0)), axis=1)
    wrong = spreading_fires.relative(spreading_fires.forecast(net, truth, other), truth)
    assert (wrong[[8, 11, 15]] > errors[1:]).all()


def test_probabilities_mean_what_they_say():
    """Of the cells given 20 to 80 %, as many burn."""
    fires = fire_maps.fires(range(3005, 3015), 6, side=32, steps=48)
    truth = fires.frames(3)
    found = spreading_fires.forecast(spreading_fires.trained(), truth, fires.maps)
    unsure = (found > 0.2) & (found < 0.8)
    assert unsure.sum() > 5000
    assert abs(found[unsure].mean() - truth[unsure].mean()) < 0.1


def test_the_training_runs_and_goes_on(tmp_path, monkeypatch):
    made = functools.partial(fire_maps.fires, side=16, steps=48)

    def few(part, lands, each, seed=0):
        seeds = range(3020, 3022) if part == "train" else range(3022, 3023)
        return made(seeds, 2, seed=seed)

    monkeypatch.setattr(spreading_fires, "fires", few)
    first = spreading_fires.train(tmp_path, epochs=1, progress=False)
    again = spreading_fires.train(tmp_path, epochs=1, progress=False)
    there = again.state_dict()
    assert all(torch.equal(v, there[k]) for k, v in first.state_dict().items())
    card = read_card(shipped("fire-spread"))
    assert "seeds 1000 to 1039" in card.data
    assert set(fire_maps.PARTS["test"]).isdisjoint(range(1000, 1040))
