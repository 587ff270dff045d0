"""LD-EnSF as large as in its paper, made small: streamed, resumable, and what its card says."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_ld_ensf import tiny

import dalearn as da
from dalearn.cases import ld_ensf
from dalearn.cases import ld_ensf_networks as networks
from dalearn.cases import ld_ensf_paper as paper
from dalearn.cases.ld_ensf_recipes import PUBLISHED
from dalearn.neural import checkpoint, last_layer

pytestmark = pytest.mark.filterwarnings("ignore::dalearn.methods.latent.fitting.Sensitive")
FIELDS = "error of fields, test runs, %"


def small(name):
    """A set-up of 16^2 points and networks to fit, with four updates an epoch."""
    few = {"dynamics": (8, 8), "reconstruction": (16, 16), "memory": 8}
    few |= {"latent": 3, "batch": 3, "points": 60, "epochs": 6, "encoder": 4}
    return replace(tiny(name), runs=(12, 3, 3)), replace(PUBLISHED[name], **few)


def run(name, folder, **settings):
    setup, recipe = small(name)
    states = setup.trajectories(to=folder / "runs")
    given = {"recipe": recipe, "progress": False, **settings}
    return paper.train(setup, folder / "networks", states, **given)


def same(one, two):
    parts = ("net", "encoder")
    a, b = ([getattr(ld, k).state_dict() for k in parts] for ld in (one, two))
    return all(torch.equal(x[k], y[k]) for x, y in zip(a, b, strict=True) for k in x)


@pytest.mark.parametrize("name", ld_ensf.CASES)
def test_the_training_goes_on_after_kills_to_the_same_bits(name, tmp_path, monkeypatch):
    """Killed in the second epoch of the dynamics, the third of the encoder, and the last layer."""
    one, told = run(name, tmp_path / "whole")
    saved, count, kills = checkpoint.Checkpoint.save, 0, (2, 6 + 3)

    def save(self, training):
        nonlocal count
        self.every = 0.0
        saved(self, training)
        count += 1
        if count in kills:
            raise KeyboardInterrupt

    def dies(*args, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "save", save)
        patch.setattr(last_layer, "refit", dies)
        for _ in (*kills, "last layer"):
            with pytest.raises(KeyboardInterrupt):
                run(name, tmp_path / "killed")
        assert count == 6 + 4  # no epoch was trained twice
    two, again = run(name, tmp_path / "killed")
    assert same(one, two)
    assert {**again, "seconds": 0} == {**told, "seconds": 0}


@pytest.fixture(scope="module", params=list(ld_ensf.CASES))
def made(request, tmp_path_factory):
    """Trained for longer: of 24 updates only the last layer would know anything."""
    folder, recipe = tmp_path_factory.mktemp("paper"), small(request.param)[1]
    found = run(request.param, folder, recipe=replace(recipe, epochs=60, encoder=40))
    return request.param, folder, *found


def test_the_last_layer_is_better_than_what_training_left(made):
    *_, told = made
    assert told[FIELDS]["last layer"] < told[FIELDS]["stage 1"]


def test_the_card_says_what_the_networks_do(made):
    """Errors again, at all 256 points; the card's are those at 60."""
    name, folder, ld, told = made
    setup, _ = small(name)
    card = json.loads((folder / "networks" / "card.json").read_text())
    assert card[FIELDS] == told[FIELDS]
    assert card["published, stage 1 and stage 2, %"] == list(PUBLISHED[name].errors)
    u = setup.parameters()[setup.split().test]
    with torch.no_grad():
        v = torch.as_tensor(u, dtype=torch.float32)
        fields = ld.net(v, networks.grid(setup), setup.times)
    found = setup.relative(networks.as_states(setup, fields), setup.trajectories(u))
    assert 100 * found == pytest.approx(card[FIELDS]["last layer, robust"], rel=0.3)


@pytest.mark.filterwarnings("ignore::dalearn.methods.latent.fitting.OutOfRange")
def test_what_was_left_in_the_folder_is_a_method(made):
    name, folder, ld, _ = made
    setup, recipe = small(name)
    again = paper.load(setup, folder / "networks", recipe)
    assert same(ld, again)
    problem = ld_ensf.twin(setup, 1, noise=0.1)
    one, two = (da.assimilate(problem, m, progress=False) for m in (ld, again))
    assert np.array_equal(one["mean"], two["mean"])


def test_one_command_makes_runs_networks_and_the_card(tmp_path, monkeypatch, capsys):
    setup, recipe = small("shallow-water")
    monkeypatch.setitem(ld_ensf.CASES, "shallow-water", lambda size: setup)
    monkeypatch.setitem(PUBLISHED, "shallow-water", recipe)
    given = ["--case", "shallow-water", "--size", "paper", "--train", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["ld_ensf", *given, "--out", str(tmp_path)])
    ld_ensf.main()
    shown, folder = capsys.readouterr().out, tmp_path / "shallow-water-paper-networks"
    assert f"states.npy: {(18, setup.times, *setup.shape)} float32" in shown
    card = json.loads((folder / "card.json").read_text())
    assert f"| {FIELDS} | {json.dumps(card[FIELDS])} |" in shown
    assert paper.load(setup, folder).data == "encoded"


def test_sizes_and_updates_are_those_of_the_text():
    sizes = {
        "kolmogorov": (9, 9 * (200,), 15 * (500,), (128, 1), 40_000),
        "shallow-water": (10, 8 * (50,), 7 * (180,), (256, 2), 120_000),
    }
    for name, (latent, moved, shown, memory, updates) in sizes.items():
        setup, r = ld_ensf.CASES[name]("paper"), PUBLISHED[name]
        net, reader = paper.dynamics(setup), paper.encoder(setup)
        assert widths(net.dynamics) == (*moved, latent)
        assert widths(net.reconstruction) == (*shown, setup.shape[0])
        assert (reader.memory.hidden_size, reader.memory.num_layers) == memory
        assert 10 * r.epochs * setup.runs[0] // r.batch == updates
        assert 10 * r.encoder == 30_000


def widths(module):
    return tuple(m.out_features for m in module.modules() if isinstance(m, torch.nn.Linear))


def test_fields_are_a_view_of_the_file(tmp_path):
    setup, _ = small("shallow-water")
    states = setup.trajectories(to=tmp_path)
    fields = paper.as_fields(setup, states)
    assert torch.equal(fields, networks.as_fields(setup, states))
    assert fields.untyped_storage().nbytes() == states.nbytes
    assert fields.stride()[-2:] == (1, 16 * 16)  # as in the file: nothing was copied


@pytest.mark.gpu
def test_a_gpu_trains_as_the_cpu_does(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    _, one = run("shallow-water", tmp_path / "cpu")
    _, two = run("shallow-water", tmp_path / "gpu", device="cuda")
    a, b = (told[FIELDS]["last layer"] for told in (one, two))
    assert b == pytest.approx(a, rel=0.2)  # half precision in stage 1
