"""Histories of observations to codes: causal, with gaps, learned from noisy data."""

import pytest
import torch

from dalearn.neural import HistoryEncoder, NoisySensors, fit, seeded
from dalearn.neural.train import adam, cosine


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def net(**settings):
    return seeded(0, HistoryEncoder, 4, 2, 8, width=6, **settings)


def waves(S, seed=0):
    """Waves of a hidden speed: observations `(S, 9, 4)` and codes (phase, speed) `(S, 9, 2)`."""
    u = 2 * torch.rand(S, 1, generator=torch.Generator().manual_seed(seed)) - 1
    phase = u * torch.linspace(0, 2, 9)
    y = torch.sin(phase[..., None] + torch.arange(4.0))
    return y, torch.stack((phase, u.expand(S, 9)), dim=-1)


def test_a_code_knows_the_past_alone():
    f, y = net(), draw(3, 7, 4)
    other = y.clone()
    other[:, 4:] = draw(3, 3, 4, seed=1)
    with torch.no_grad():
        assert torch.equal(f(y)[:, :4], f(other)[:, :4])
        assert not torch.equal(f(y)[:, 4:], f(other)[:, 4:])
        other = y.clone()
        other[:, 0] += 1
        assert not torch.equal(f(y)[:, -1], f(other)[:, -1])


def test_step_by_step_is_the_same_as_at_once():
    f, y = net(), draw(3, 7, 4)
    memory, found = None, []
    with torch.no_grad():
        for k in range(7):
            z, memory = f.step(y[:, k : k + 1], memory)
            found.append(z)
        # matrix products of other sizes
        assert torch.allclose(torch.cat(found, 1), f(y), rtol=0, atol=1e-6)


def test_leading_axes_are_batches():
    f, y = net(), draw(2, 3, 7, 4)
    with torch.no_grad():
        assert f(y).shape == (2, 3, 7, 2)
        assert torch.allclose(f(y)[1], f(y[1]), rtol=0, atol=1e-6)
        assert torch.allclose(f(y[0, 0]), f(y)[0, 0], rtol=0, atol=1e-6)


def test_a_missing_number_is_not_a_mean():
    y = draw(5, 7, 4)
    f = net().scaled(y, draw(5, 7, 2))
    gap, mean = y.clone(), y.clone()
    gap[:, 2, 1], mean[:, 2, 1] = torch.nan, f.y_mean[1]
    with torch.no_grad():
        assert torch.isfinite(f(gap)).all()
        assert torch.isfinite(f(torch.full_like(y, torch.nan))).all()
        assert not torch.allclose(f(gap), f(mean))
        assert torch.equal(f(gap)[:, :2], f(y)[:, :2])


def test_units_do_not_matter():
    y, z = draw(6, 7, 4), draw(6, 7, 2)
    f, g = net().scaled(y, z), net().scaled(1e3 * y + 5, 1e-3 * z)
    with torch.no_grad():
        # float32: a mean of 5 beside 1e3
        assert torch.allclose(g(1e3 * y + 5), 1e-3 * f(y), rtol=0, atol=1e-7)


def test_noise_and_gaps_are_drawn_in_training_alone():
    (y, z), loss = waves(20), NoisySensors(torch.ones(4), 0.5, 0.5)
    f = net().scaled(y, z)
    f.eval()
    a, b = loss(f, y, z), loss(f, y, z)
    assert a == b == NoisySensors(torch.ones(4), 0.0)(f, y, z)
    f.train()
    assert loss(f, y, z) != loss(f, y, z)


def test_training_with_noise_helps_where_there_is_noise():
    """Twice: on exact data it has learned something, and on noisy ones more with noise."""
    y, z = waves(120)
    unit, test = torch.ones(4), waves(100, seed=1)
    noisy, errors = test[0] + 0.8 * draw(100, 9, 4), {}
    for noise in (0.0, 1.6):
        f = net().scaled(y, z)
        rates = {"optimiser": adam(1e-2), "schedule": cosine(40)}
        fit(f, (y, z), loss=NoisySensors(unit, noise, 0.3), epochs=40, progress=False, **rates)
        with torch.no_grad():
            errors[noise] = [
                float((f(x) - test[1]).norm() / test[1].norm()) for x in (test[0], noisy)
            ]
            gaps = torch.where(draw(*noisy.shape, seed=5) > 0.84, torch.nan, test[0])  # 20 %
            errors[noise].append(float((f(gaps) - test[1]).norm() / test[1].norm()))
    assert max(errors[0.0][0], errors[0.0][2]) < 0.6  # their mean errs by 1; found 0.26
    assert errors[1.6][1] < 0.9 * errors[0.0][1]


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"HistoryEncoder wants \(..., K, 4\)"):
        net()(draw(3, 5))
    with pytest.raises(ValueError, match="z of HistoryEncoder"):
        net().scaled(draw(3, 4), draw(3, 3))
    with pytest.raises(ValueError, match="gaps"):
        NoisySensors(torch.ones(4), 0.1, 1.5)
