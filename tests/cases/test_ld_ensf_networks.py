"""The networks of LD-EnSF: their training resumes, the shipped ones do what their cards say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_ld_ensf import tiny

from dalearn.cases import ld_ensf, ld_ensf_recipes
from dalearn.cases import ld_ensf_networks as networks
from dalearn.cases.ld_ensf_errors import code_errors, field_error
from dalearn.cases.ld_ensf_recipes import Layer, Recipe
from dalearn.cases.ld_ensf_training import train
from dalearn.neural import read_card, shipped

SMALL = {
    "kolmogorov": Recipe(
        *(3, 32, 11, 0, 40, 20, 0.5, 5.0),
        robust=Layer(32, 10, 4.0, 40),
        sharp=Layer(0, 40, 4.0, 30),
        encoder=4,
    ),
    "shallow-water": Recipe(
        *(4, 32, 10, 80, 30, 20, 0.4, 5.0),
        robust=Layer(32, 10, 4.0, 30),
        sharp=Layer(0, 40, 4.0, 20),
        encoder=4,
    ),
}


@pytest.mark.parametrize("name", ld_ensf.CASES)
def test_training_goes_on_after_a_kill_to_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setitem(ld_ensf_recipes.RECIPES, name, SMALL[name])
    setup = replace(tiny(name), runs=(12, 3, 3))
    states = setup.trajectories()
    one, told = train(setup, tmp_path / "a", states, progress=False)

    from dalearn.neural.train import Training

    epochs, count = Training.epochs, 0

    def dies(self, task):
        nonlocal count
        for value in epochs(self, task):
            yield value
            count += 1
            if count == 22:  # in the second epoch of the first encoder
                raise KeyboardInterrupt

    monkeypatch.setattr(Training, "epochs", dies)
    with pytest.raises(KeyboardInterrupt):
        train(setup, tmp_path / "b", states, progress=False)
    two, again = train(setup, tmp_path / "b", states, progress=False)
    assert again == told
    for part in ("robust", "sharp", "encoder", "exact"):
        a, b = (getattr(t, part).state_dict() for t in (one, two))
        assert all(torch.equal(a[k], b[k]) for k in a)
    errors = told["sharp"]["validation, by ridge: exact, with 1 % of latent error"]
    assert min(e[0] for e in errors.values()) < told["sharp"]["validation error of stage 1, %"]


@pytest.fixture(scope="module", params=list(ld_ensf.CASES))
def shown(request):
    """The shipped networks, three test runs, and their parameters as the set-up has them."""
    setup = ld_ensf.CASES[request.param]()
    u = setup.parameters()[setup.split().test[:3]]
    return networks.trained(setup), setup.trajectories(u), torch.as_tensor(u, dtype=torch.float32)


def card(shown, part):
    return read_card(shipped(f"ld-ensf-{shown[0].setup.name}-{part}")).metric


@pytest.mark.parametrize("part", ["robust", "sharp"])
def test_fields_err_as_the_card_says(shown, part):
    """Three of 40 or 60 runs: one that lies outside of the training runs errs more."""
    nets, states, u = shown
    net = getattr(nets, part)
    error = float(field_error(nets.setup, net, states, u))
    told = card(shown, part)["relative error of test runs, %"]
    assert told / 5 < error < 3 * told
    asked = {("kolmogorov", "sharp"): 1.0, ("shallow-water", "sharp"): 2.2}
    assert told <= asked.get((nets.setup.name, part), 3.0)


@pytest.mark.parametrize("part", ["encoder", "exact"])
def test_codes_err_as_the_card_says(shown, part):
    nets, states, u = shown
    setup, net = nets.setup, getattr(nets, part)
    unit = torch.as_tensor(setup.unit(u.double().numpy()), dtype=torch.float32)
    with torch.no_grad():
        s = nets.robust.latents(u, setup.times)[:, setup.seen]
    z = torch.cat((s, unit[:, None].expand(*s.shape[:-1], -1)), dim=-1)
    y = networks.observations(setup, states)
    for noise in (0.0, 0.1):
        told = card(shown, part)[
            f"latent states and parameters of test runs, % at noise {noise:g}"
        ]
        found = code_errors(setup, net, y, z, noise)
        assert told[0] / 5 < found[0] < 2.5 * told[0]
    with torch.no_grad():  # a tenth of the numbers is missing, and one sensor for ever
        gone = torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) < 0.1
        gone[..., 7] = True
        gaps = nets.encoder(torch.where(gone, torch.nan, y))
    assert float((gaps - z).norm() / z.norm()) < 0.2


def test_weights_are_small():
    for name in ld_ensf.CASES:
        for part in ("robust", "sharp", "encoder", "exact"):
            assert shipped(f"ld-ensf-{name}-{part}").stat().st_size <= 1e6


def test_points_are_those_of_the_states(shown):
    nets, states, _ = shown
    fields = networks.as_fields(nets.setup, states)
    assert np.array_equal(networks.as_states(nets.setup, fields), states)
    n = nets.setup.shape[-1]
    x = networks.grid(nets.setup).reshape(n, n, 2)
    assert torch.allclose(x[3, 5], torch.tensor([5.5, 3.5]) / n)
