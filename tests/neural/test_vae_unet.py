"""The coupled variational autoencoder and the U-Net."""

import numpy as np
import pytest
import torch
from torch import nn

import dalearn as da
from dalearn.models.coders import Untrained, check_coder
from dalearn.neural import (
    VAE,
    Coupled,
    Normalisation,
    UNet,
    fit,
    load_weights,
    save_weights,
    seeded,
)
from dalearn.neural.train import adam


def states(S=200, n=24, seed=0):
    """Three waves on a ring, two of which move: states `(S, n)` in units of 5."""
    rng = torch.Generator().manual_seed(seed)
    a = torch.randn(S, 3, 1, generator=rng, dtype=torch.float64)
    x = torch.arange(n, dtype=torch.float64) * 2 * torch.pi / n
    return 2 + 5 * (a[:, 0] * x.sin() + a[:, 1] * x.cos() + a[:, 2] * (2 * x).sin())


def made(kind, x):
    y = x[:, ::4]
    units = Normalisation.fit(x, per=()), Normalisation.fit(y)
    if kind == "convolutional":
        net = seeded(0, VAE.convolutional, (1, 4, 6), 6, 3, (8,), (16,)).double()
    elif kind == "pod":
        pod = da.POD.fit(units[0](x), 3)
        net = seeded(0, VAE.dense, 24, 6, 3, (16,), pod=pod).double()
    else:
        net = seeded(0, VAE.dense, 24, 6, 3, (16,)).double()
    return net.scaled(*units), y


each = pytest.mark.parametrize("kind", ["dense", "pod", "convolutional"])


@each
def test_a_vae_is_a_coder_of_states_and_of_observations(kind, tmp_path):
    x = states()
    net, y = made(kind, x)
    check_coder(net)
    assert (net.n, net.r) == (24, 3)
    rows = x[:12].reshape(3, 4, 24)
    z = net.encode(rows)
    assert z.shape == (3, 4, 3)
    assert net.decode(z).shape == rows.shape
    assert torch.allclose(net.encode(rows[1, 2]), z[1, 2], rtol=0, atol=1e-13)
    assert torch.allclose(net.decode(z[1, 2]), net.decode(z)[1, 2], rtol=0, atol=1e-12)
    assert net.encode_observation(y[:12].reshape(3, 4, 6)).shape == (3, 4, 3)
    gap = (net(x) - x).square().mean().sqrt()
    with pytest.warns(Untrained):  # as it is
        assert net.floor(x) == pytest.approx(float(gap.detach()), rel=1e-12)
    J = torch.func.jacrev(net.decode)(z[0, 0])
    assert torch.allclose(
        J[:, 1], torch.func.jvp(net.decode, (z[0, 0],), (torch.eye(3).double()[1],))[1]
    )
    from dalearn.neural import Card

    save_weights(net, tmp_path / "vae.safetensors", Card("none", "none", 0, {}))
    other = made(kind, 3 * states(seed=1))[0]
    load_weights(other, tmp_path / "vae.safetensors")
    assert torch.equal(other(x), net(x))


def test_draws_belong_to_their_generator_and_have_the_posteriors_moments():
    net, _ = made("dense", states())
    x = states(1).expand(4000, 24)
    with torch.no_grad():
        z = net.sample(x, torch.Generator().manual_seed(3))
        assert torch.equal(z, net.sample(x, torch.Generator().manual_seed(3)))
        mean, std = net.posterior(x[0])
    # the mean of 4000 draws errs by std / 63, their standard deviation by std / 89
    assert torch.allclose(z.mean(0), mean, rtol=0, atol=5 / 63 * float(std.max()))
    assert torch.allclose(z.std(0), std, rtol=5 / 89, atol=0)
    assert torch.equal(net.encode(x[0]), mean)


def test_a_fixed_pod_is_the_pod_and_does_not_learn():
    x = states()
    net, _ = made("pod", x)
    unit = Normalisation.fit(x, per=())
    pod = da.POD.fit(unit(x), 3)
    codes = net.encoder[0](unit(x))
    assert torch.allclose(codes, pod.encode(unit(x)) / 24**0.5, rtol=0, atol=1e-6)  # made single
    assert torch.allclose(net.decoder[1](codes), unit(x), rtol=0, atol=1e-5)  # three waves
    assert not any(p.requires_grad for p in net.encoder[0].parameters())


@each
def test_coupling_trains(kind):
    """The loss falls, codes of states and observations meet, and both decode to the state."""
    x = states()
    net, y = made(kind, x)
    loss = Coupled()
    with torch.no_grad():
        before = float(loss.apart(net, x, y))
    record = fit(net, (x, y), loss=loss, epochs=30, batch=25, optimiser=adam(1e-2), progress=False)
    assert record.train[-1] < record.train[0] / 5
    test = states(100, seed=7)
    with torch.no_grad():
        after = float(loss.apart(net, test, test[:, ::4]))
        size = (test - test.mean()).norm()
        there = (net(test) - test).norm() / size
        seen = (net.decode(net.encode_observation(test[:, ::4])) - test).norm() / size
    assert after < before
    assert max(there, seen) < 0.4  # of three numbers, from six


def test_the_loss_is_its_formula():
    x = states(20)
    net, y = made("dense", x)
    net.eval()
    with torch.no_grad():
        (a, s), (b, t) = net.posterior(x), net.observed(y)
        gaps = sum((((net.decode(z) - x) / net.x_std) ** 2).mean() for z in (a, b))
        normal = torch.distributions.Normal
        unit = normal(torch.zeros(3).double(), torch.ones(3).double())
        pull = sum(
            torch.distributions.kl_divergence(normal(m, v), unit).sum(-1).mean()
            for m, v in ((a, s), (b, t))
        )
        apart = ((a - b) ** 2 + (s - t) ** 2).sum(-1).mean()
        wanted = gaps + 0.3 * pull + 0.7 * apart
        assert float(Coupled(kl=0.3, matching=0.7)(net, x, y)) == pytest.approx(float(wanted))


# --- the U-Net ----------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [1, 2])
def test_a_periodic_unet_commutes_with_shifts_by_its_coarsest_cells(axes):
    net = seeded(0, UNet, 2, 3, (4, 5, 6), axes=axes).double()
    x = torch.randn(2, 2, *(16, 24)[-axes:], dtype=torch.float64)
    y = net(x)
    assert y.shape == (2, 3, *x.shape[2:])
    for dim in range(-axes, 0):
        # the same sums in another order
        assert torch.allclose(net(x.roll(4, dim)), y.roll(4, dim), rtol=0, atol=1e-13)
        assert not torch.allclose(net(x.roll(1, dim)), y.roll(1, dim), rtol=0, atol=1e-6)
    assert torch.allclose(net(x[:1]), y[:1], rtol=0, atol=1e-13)  # each row alone


def test_without_periods_the_two_rims_do_not_meet():
    x = torch.zeros(1, 1, 64)
    x[..., 0] = 1.0
    for periodic in (False, True):
        net = seeded(0, UNet, 1, 1, (4, 4), axes=1, periodic=periodic)
        reached = (net(x) - net(torch.zeros(1, 1, 64)))[0, 0, -3:].abs().max() > 0
        assert bool(reached) == periodic
    flat = seeded(0, UNet, 1, 1, (4, 4), axes=1, periodic=False)(torch.ones(1, 1, 32))
    assert torch.allclose(flat, flat[..., :1].expand_as(flat), atol=1e-6)  # no rim is seen


def test_a_unet_learns_a_shift_further_than_its_kernel_and_starts_from_persistence():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(64, 1, 32, generator=rng)
    x = (x + x.roll(1, -1) + x.roll(2, -1)) / 3
    net = seeded(0, UNet, 1, 1, (8, 8, 8), axes=1, kernel=5, residual=True)
    with torch.no_grad():
        for p in net.out.parameters():
            p.zero_()
    assert torch.equal(net(x), x)
    before = (x.roll(6, -1) - x).square().mean()
    record = fit(
        net, (x, x.roll(6, -1)), epochs=40, batch=16, optimiser=adam(1e-2), progress=False
    )
    assert record.train[-1] < before / 4


def test_wrong_shapes_are_named():
    net = VAE.dense(24, 6, 3, (8,))
    unet = UNet(2, 2, (4, 4, 4))
    pod = da.POD.fit(np.random.default_rng(0).normal(size=(30, 12)), 4)
    for wrong, words in (
        (lambda: net.encode(torch.ones(2, 23)), r"states of VAE wants \(\.\.\., 24\)"),
        (
            lambda: net.encode_observation(torch.ones(2, 5)),
            r"observations of VAE wants .*6",
        ),
        (lambda: net.decode(torch.ones(2, 4)), r"codes of VAE wants \(\.\.\., 3\)"),
        (lambda: VAE.dense(24, 6, 3, pod=pod), "pod is of states of 12 numbers, wanted n = 24"),
        (lambda: VAE.dense(24, 6, 3, pod=1.0), "pod must be a POD"),
        (lambda: VAE.convolutional((1, 6, 8), 3, 2), "divisible by 8"),
        (lambda: Coupled(kl=-1.0), "kl must be >= 0"),
        (
            lambda: unet(torch.ones(1, 2, 8, 10)),
            r"a grid that 4 divides.*\(1, 2, 8, 10\)",
        ),
        (lambda: unet(torch.ones(1, 2, 4, 8)), "at least 8 points a side"),
        (lambda: unet(torch.ones(1, 3, 8, 8)), r"wants \(b, 2, h, w\)"),
        (lambda: UNet(2, 3, residual=True), "residual UNet wants outputs = channels"),
        (lambda: UNet(2, 2, ()), "one width or more"),
        (lambda: UNet(2, 2, kernel=4), "an odd kernel"),
        (lambda: UNet(2, 2, activation=nn.Linear), "argument"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            wrong()
