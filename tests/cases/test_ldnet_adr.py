"""The first test of LDNets: its exact solution, the shipped weights and the command."""

import numpy as np
import torch

from dalearn.cases import ldnet_adr
from dalearn.neural import parameters, read_card, shipped


def test_the_exact_solution_solves_the_equation():
    diffusion, speed, decay = 0.03, -0.07, 0.004
    points, times = np.linspace(-1, 1, 7), np.linspace(0, 5, 5)

    def z(t, x):
        size = torch.exp(-(diffusion * torch.pi**2 + decay) * t)
        return size * torch.cos(torch.pi * (x + speed * t))

    mu = np.array([[diffusion, speed, decay]])
    found = ldnet_adr.exact(mu, times, points)[0, ..., 0]
    d = torch.func.grad
    for i, t in enumerate(torch.from_numpy(times)):
        for j, x in enumerate(torch.from_numpy(points)):
            assert abs(float(z(t, x)) - found[i, j]) < 1e-14
            right = diffusion * d(d(z, 1), 1)(t, x) + speed * d(z, 1)(t, x) - decay * z(t, x)
            assert abs(float(d(z)(t, x) - right)) < 1e-13
    assert np.allclose(found[0], np.cos(np.pi * points), rtol=0, atol=1e-15)


def test_the_sets_are_apart_and_as_published():
    sets = ldnet_adr.samples()
    assert [s.shape for s in sets] == [(100, 3)] * 3
    together = np.concatenate(sets)
    assert len(np.unique(together, axis=0)) == 300
    assert (together >= ldnet_adr.LOW).all()
    assert (together <= ldnet_adr.HIGH).all()
    net = ldnet_adr.network()
    assert (parameters(net.dynamics), parameters(net)) == (164, 164 + 188)  # as in the paper


def test_the_shipped_network_has_the_error_of_its_card():
    card = read_card(shipped("ldnet-adr"))
    net, (_, valid, test) = ldnet_adr.trained(), ldnet_adr.samples()
    found = ldnet_adr.over_range(net, test)
    assert abs(found - card.metric["RMSE over range, test"]) < 1e-6  # four digits, printed
    assert found <= 3e-3  # published: 8.58e-3
    starts = card.metric["RMSE over range, validation, each start"]
    assert abs(ldnet_adr.over_range(net, valid) - min(starts)) < 1e-6
    assert starts.index(min(starts)) == card.seed
    with torch.no_grad():  # what it learned goes on beyond the times it was trained on, roughly
        mu = torch.from_numpy(test)
        later = net(mu, torch.from_numpy(ldnet_adr.POINTS[:, None]), 121)[:, 101:]
        truth = ldnet_adr.exact(test, np.linspace(5.05, 6, 20))
    assert np.sqrt(((later.numpy() - truth) ** 2).mean()) / 2 < 0.03


def test_the_command_trains_and_goes_on(tmp_path):
    settings = {"starts": (0,), "adams": 1, "searches": 1, "progress": False}
    net = ldnet_adr.train(tmp_path, **settings)
    first = ldnet_adr.over_range(ldnet_adr.network(0), ldnet_adr.samples()[1])
    card = read_card(tmp_path / "ldnet-adr.safetensors")
    assert card.metric["RMSE over range, test"] < first / 2
    again = ldnet_adr.train(tmp_path, **settings)  # the run has ended: nothing is trained
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in net.state_dict().items())
