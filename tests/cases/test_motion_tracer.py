"""Motion from images of a tracer."""

from typing import Any

import numpy as np
import pytest
import torch

from dalearn import diagnostics
from dalearn.cases import motion_tracer
from dalearn.cases import motion_tracer_network as network


@pytest.fixture(scope="module")
def states():
    return motion_tracer.fields("validation", 24)


def test_flows_have_the_told_speed_and_no_divergence(states):
    np.testing.assert_allclose(states[:, 0].std(), 1, atol=0.1)
    speed = np.sqrt((states[:, 1:] ** 2).sum(1).mean())
    np.testing.assert_allclose(speed, motion_tracer.SPEED, rtol=0.1)
    k = 1j * np.fft.fftfreq(32, 1 / 32)
    k[16] = 0
    u, v = np.fft.fft2(states[:, 1]), np.fft.fft2(states[:, 2])
    assert abs(np.fft.ifft2(k * u + k[:, None] * v)).max() < 1e-6
    others = motion_tracer.fields("test", 3)
    assert abs(others - states[:3]).mean() > 0.5
    np.testing.assert_array_equal(motion_tracer.fields("test", 2), others[:2])


def test_a_window_is_four_pictures_of_a_tracer_that_a_steady_flow_carries(states):
    p: Any = motion_tracer.problem(states[:3])
    truth = p.truth.reshape(3, 4, 3, 32, 32)
    np.testing.assert_allclose(truth[:, :, 1:], np.repeat(states[:3, None, 1:], 4, 1))
    off = p.data - truth[:, :, 0].reshape(3, 4, -1)
    np.testing.assert_allclose(off.std(), motion_tracer.NOISE, rtol=0.05)


def test_optical_flow_finds_a_uniform_motion_to_the_order_of_its_differences():
    n = 32
    x, y = np.meshgrid(*2 * (2 * np.pi * np.arange(n) / n,))
    state = np.stack((np.sin(x) + np.cos(y) + np.sin(x + y), 0.3 + 0 * x, -0.2 + 0 * x))[None]
    p = motion_tracer.problem(state, noise=1e-9)
    found = motion_tracer.horn_schunck(p, 1e-4, rounds=2000)
    np.testing.assert_allclose(found, state[:, 1:], atol=0.02)


def test_a_flow_along_the_lines_of_a_tracer_is_not_seen():
    n = 32
    x = np.broadcast_to(2 * np.pi * np.arange(n) / n, (n, n))
    state = np.stack((np.sin(x), 0 * x, 1 + 0 * x))[None]
    p = motion_tracer.problem(state, noise=1e-9)
    assert abs(motion_tracer.horn_schunck(p, 1e-3)).max() < 1e-6


def test_optical_flow_beats_no_motion(states):
    p = motion_tracer.problem(states[:6])
    w = states[:6, 1:]
    found = motion_tracer.horn_schunck(p, 0.1)
    still = diagnostics.end_point_error(0 * w, w)
    assert (diagnostics.end_point_error(found, w) < 0.5 * still).all()
    with pytest.raises(ValueError, match="weight"):
        motion_tracer.horn_schunck(p, 0.0)
    with pytest.raises(ValueError, match="one of"):
        motion_tracer.fields("tests", 1)


# --- the network ---------------------------------------------------------------------------------


def test_optical_flow_in_squares_finds_a_uniform_motion_in_cells():
    n, w = 32, (0.3, -0.2)
    x, y = torch.meshgrid(*2 * (2 * torch.pi * torch.arange(n) / n,), indexing="xy")
    steps = torch.arange(4)[:, None, None]
    cell = 2 * torch.pi / n
    right, up = (x - w[0] * cell * steps, y - w[1] * cell * steps)
    q = 20 * (torch.sin(right) + torch.cos(up) + torch.sin(right + up))
    seen = torch.cat((q, 0 * q + 1))[None]
    flows = network.told(seen)[0, -4:]
    assert flows.shape == (4, n, n)
    for i, part in enumerate(flows):
        assert abs(float(part.median()) - w[i % 2]) < 0.03


def test_no_wave_that_the_prior_forbids_passes():
    n = motion_tracer.N
    net = network.smooth(Noise(), n)
    out = torch.fft.rfft2(net(torch.zeros(2, 8, n, n)))
    power = (abs(out) ** 2).mean(0)
    flow, pattern = power[1:, 0].mean(0), power[0, 0]
    assert (flow[6:] < 1e-3 * flow[1:4].mean()).all()
    assert (pattern[6:8] > 100 * flow[6:8]).all()  # the tracer has shorter waves


class Noise(torch.nn.Module):
    """White noise in place of an answer."""

    def forward(self, seen):
        dice = torch.Generator().manual_seed(3)
        return torch.randn(len(seen), 3, *seen.shape[-2:], generator=dice)


def test_a_training_sees_no_flow_goes_on_where_it_was_and_has_a_card(tmp_path, monkeypatch):
    for name, value in (("TRAIN", 6), ("VALIDATION", 3), ("BATCH", 3), ("WIDTHS", (4, 4))):
        monkeypatch.setattr(network, name, value)
    assert network.windows("train", 6, 1).truth is None
    method = network.train(tmp_path, epochs=1, seed=2, progress=False)
    loaded, card = network.trained(tmp_path, 2)
    p = motion_tracer.problem(motion_tracer.fields("test", 2))
    found = [network.answered(m, p) for m in (method, loaded)]
    assert found[0].shape == (2, 3 * 32**2)
    np.testing.assert_array_equal(found[0], found[1])
    assert card.seed == 2
    assert set(card.metric) == {"end-point error", "CPU seconds of the training"}
