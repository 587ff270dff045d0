"""Fires drawn on landscapes that no training has seen: what the shipped networks can do."""

import functools

import numpy as np
import pytest
import torch

from dalearn.array import Purpose, generator
from dalearn.cases import fire_maps, fire_measures, generated_fires
from dalearn.neural import Committed, read_card, shipped


@functools.cache
def held_out():
    """Fires on ground of no part, and the shipped networks."""
    return fire_maps.fires(range(3000, 3004), 25), generated_fires.trained()


def test_fires_of_new_ground_come_back_from_their_words():
    fires, nets = held_out()
    words = nets.words(fires)
    assert words.shape == (100, 8, 8)
    assert len(words.unique()) == 64
    back = nets.fires(words, fires.maps)
    assert fire_measures.overlap(back, fires.arrival).mean() > 0.93
    assert not np.isfinite(back[~fires.fuel]).any()
    assert fire_measures.impossible(back) < 0.01
    # another landscape's maps make it worse: the networks do use them
    other = fires.maps[np.r_[25:100, 0:25]]
    wrong = nets.fires(nets.words(fires), other)
    assert fire_measures.overlap(wrong, fires.arrival).mean() < 0.88


def test_drawn_fires_are_as_large_as_those_of_the_automaton_and_the_prior_makes_them_so():
    fires, nets = held_out()
    new = nets.draw(100, fires.maps, generator(Purpose.TEST, 0))
    again = nets.draw(100, fires.maps, generator(Purpose.TEST, 0))
    assert np.array_equal(new, again)
    sizes = [np.median(fire_measures.share(a, fires.fuel)) for a in (fires.arrival, new)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.2)
    assert fire_measures.impossible(new) < 0.01
    assert np.median(fire_measures.pieces(new)) <= 2
    words = nets.words(fires).numpy()
    for place in range(8):  # each letter from another fire on the same ground
        for c in range(8):
            rows = generator(Purpose.TEST, 1, place, c).permutation(25)
            for land in range(4):
                part = words[25 * land : 25 * land + 25, place, c]
                words[25 * land : 25 * land + 25, place, c] = part[rows]
    mixed = nets.fires(torch.from_numpy(words), fires.maps)
    assert np.median(fire_measures.pieces(mixed)) > 2 * np.median(fire_measures.pieces(new))


def test_a_fire_begins_where_it_is_told_to():
    fires, nets = held_out()
    cells = generated_fires.anywhere(fires.grounds[0], 40, generator(Purpose.TEST, 2))
    assert (fires.grounds[0][0][tuple(cells.T)] == 1).all()
    assert len(np.unique(cells, axis=0)) > 35
    maps = generated_fires.lit(fires.grounds[0], cells)
    assert maps.shape == (40, 6, 64, 64)
    assert torch.equal(maps[:, :4], torch.from_numpy(fires.grounds[:1]).expand(40, -1, -1, -1))
    at = maps[torch.arange(40), 4:, cells[:, 0], cells[:, 1]]
    assert torch.equal(at, torch.tensor([1.0, 0.0]).expand(40, 2))
    assert maps[3, 5, 0, 0] == pytest.approx(np.hypot(*cells[3]) / 32)
    new = nets.draw(40, fires.grounds[0], generator(Purpose.TEST, 3), cells)
    first = np.stack(np.unravel_index(new.reshape(40, -1).argmin(-1), (64, 64)), -1)
    near = np.median(np.hypot(*(first - cells).T))
    assert near < 10  # places of letters are 8 cells apart
    assert near < np.median(np.hypot(*(first - cells[::-1]).T)) / 2


def test_no_validation_or_test_ground_has_trained_them():
    for name, seeds in (("fire-words", "1000 to 1399"), ("fire-prior", "4000 to 4799")):
        card = read_card(shipped(name))
        assert f"seeds {seeds}" in card.data
        assert card.command == generated_fires.COMMAND
    assert set(generated_fires.PRIOR_LANDS) == set(range(4000, 4800))
    assert fire_maps.PARTS["train"] == range(1000, 1400)


def test_the_gap_is_its_formula():
    found, x = torch.randn(3, 2, 4, 4), torch.rand(3, 2, 4, 4)
    x[:, 0] = (x[:, 0] > 0.5).float()
    y, p = x[:, 0] > 0, torch.sigmoid(found[:, 0])
    whether = -torch.where(y, p.log(), (1 - p).log()).mean()
    when = (found[:, 1] - x[:, 1])[y].square().mean()
    gap = generated_fires.Gap(7.0)
    assert gap(found, x).item() == pytest.approx((whether + 7 * when).item(), rel=1e-5)
    assert Committed(0.25, gap).fidelity is gap


def test_the_training_runs_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(generated_fires, "EACH", 2)
    monkeypatch.setattr(generated_fires, "PRIOR_LANDS", range(3016, 3020))
    monkeypatch.setitem(fire_maps.PARTS, "train", range(3010, 3014))
    monkeypatch.setitem(fire_maps.PARTS, "validation", range(3014, 3016))
    for name in ("fit_coder", "fit_prior"):
        made = functools.partial(getattr(generated_fires, name), epochs=1)
        monkeypatch.setattr(generated_fires, name, made)
    first = generated_fires.train(tmp_path, progress=False)
    again = generated_fires.train(tmp_path, progress=False)
    for a, b in ((first.coder, again.coder), (first.prior, again.prior)):
        there = b.state_dict()
        assert all(torch.equal(v, there[k]) for k, v in a.state_dict().items())
    metric = read_card(tmp_path / "fire-words.safetensors").metric
    assert 0 <= metric["overlap, validation"] <= 1
