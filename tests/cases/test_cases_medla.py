"""The camera over droplets, and the networks of both cases that come with the package."""

import numpy as np
import pytest
import torch

from dalearn.cases import medla
from dalearn.cases import medla_burgers as burgers
from dalearn.cases import medla_camera as camera
from dalearn.neural import parameters, read_card, shipped


def test_the_camera_sees_where_and_not_how_much():
    at = camera.settings(6)
    x = camera.droplets(at)
    seen = camera.image(x)
    assert seen.shape == (6, 16, 16)
    assert ((seen > 0) & (seen < 1)).all()
    # half as much tracer again: the middle of a droplet looks the same
    more = camera.image(1.5 * x)
    assert np.abs(more - seen)[seen > 0.97].max() < 0.03
    flat = camera.image(np.zeros((32, 32)))
    assert np.allclose(flat, 1 / (1 + np.exp(camera.THRESHOLD / camera.SOFT)))


def test_the_flow_carries_and_the_background_lags():
    at = camera.settings(4)
    x0 = camera.droplets(at).astype("float32")
    still = camera.carried(x0, 0 * camera.flow(at), 1)[:, 0]
    assert np.allclose(still, x0, atol=1e-6)
    drift = np.array([[0.0, 0.5, 0.0, 1.0, 1.0]])  # two cells and a half in a time unit
    moved = camera.carried(camera.droplets(drift), camera.flow(drift), 5)[0, -1]
    first = camera.droplets(drift)[0]
    cells = 0.5 * camera.DT * camera.STEPS * 5 / (2 * np.pi / camera.CELLS)
    centre = [
        np.angle((v.sum(0) * np.exp(2j * np.pi * np.arange(32) / 32)).sum())
        for v in (first, moved)
    ]
    assert abs((centre[1] - centre[0]) * 32 / (2 * np.pi) - cells) < 0.02
    slow, fast = camera.flow(at, 0.5, 0.0), camera.flow(at)
    assert np.allclose(2 * slow + at[:, 1:3, None, None], fast)


def test_no_frame_of_a_droplet_stands_in_two_parts():
    seen = {}
    for name in ("train", "validation", "test"):
        for row in camera.pairs(name, 20).states.reshape(-1, 1024):
            seen.setdefault(row.tobytes(), set()).add(name)
    assert all(len(names) == 1 for names in seen.values())
    assert len(seen) == 20 * (camera.FRAMES - camera.BEHIND + 1)


@pytest.mark.parametrize("name", medla.CASES)
def test_the_shipped_networks_do_what_their_cards_say(name, tmp_path):
    net, card = medla.trained(name), read_card(shipped(f"medla-{name}"))
    assert net.trained
    assert parameters(net) < 2.1e5
    if name == "camera":
        found = camera.pairs("validation")
        x, y = (torch.from_numpy(v).flatten(0, -2) for v in (found.states, found.data))
        with torch.no_grad():
            floor = medla.relative(net(x), x)
            image = medla.relative(net.decode(net.encode_observation(y)), x)
        assert abs(floor - card.metric["floor"]) < 2e-3
        assert abs(image - card.metric["from exact data"]) < 2e-3
        assert floor < 0.1
    else:  # runs that no network has seen, made here
        x = burgers.runs(burgers.FINE, None, count=2, seed=5).reshape(-1, net.n)[8::8]
        x = torch.from_numpy(x)
        with torch.no_grad():
            assert medla.relative(net(x), x) < 2 * card.metric["floor"]


def test_errors_of_the_training_are_those_of_the_set_up():
    torch.manual_seed(0)
    y = torch.full((3000, 2 * 32**2), 0.64)
    e = (medla.Disturb("burgers")(y) - y).reshape(3000, 2, 32, 32)
    size = e.square().mean((1, 2, 3)).sqrt() / 0.8
    assert abs(size.mean() - 0.45 / 2) < 0.01  # sigma uniform in (0, 0.45)
    assert abs((e[..., 2:] * e[..., :-2]).mean() / e.square().mean() - 2 * np.exp(-1)) < 0.02
    image = torch.zeros(200, 256)
    assert abs(medla.Disturb("camera")(image).std() - camera.NOISE) < 0.002
