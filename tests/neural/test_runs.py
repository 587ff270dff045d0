"""Interpolated runs as a network: the same numbers as InterpolatedRuns, and derivatives."""

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.models import InterpolatedRuns
from dalearn.neural.runs import RunsNet

POINTS = torch.cartesian_prod(torch.linspace(0, 1, 3), torch.linspace(0, 1, 4)).double()


def runs(p, S=9, T=5, coded=False):
    rng = np.random.default_rng(p)
    u = rng.uniform(5, 15, (S, p))
    x = np.sin(u.sum(-1)[:, None, None] / 3 + np.arange(T)[:, None] + np.arange(24) / 5)
    if not coded:
        return InterpolatedRuns(u, x)
    pod = da.POD.fit(x.reshape(-1, 24), 6)
    return InterpolatedRuns(u, pod.encode(x), pod)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("coded", [False, True])
def test_the_network_is_the_interpolation(p, coded):
    known = runs(p, coded=coded)
    net = RunsNet(known, POINTS)
    u = np.random.default_rng(9).uniform(6, 14, (4, p))
    s, wanted = torch.zeros(4, net.latent).double(), known(u)
    for k in range(net.times):
        s = net.step(s, torch.from_numpy(u))
        y = net.reconstruct(s, POINTS).movedim(-1, -2).flatten(-2)
        assert np.allclose(y, wanted[:, k], atol=1e-9)
    some = net.reconstruct(s, POINTS[[7, 2]])
    assert torch.allclose(some, net.reconstruct(s, POINTS)[:, [7, 2]])
    half = net.reconstruct(s - torch.eye(net.latent)[0] / 2, POINTS).movedim(-1, -2).flatten(-2)
    assert np.allclose(half, (wanted[:, -1] + wanted[:, -2]) / 2, atol=1e-9)


@pytest.mark.parametrize("p", [1, 2])
def test_it_has_derivatives(p):
    net = RunsNet(runs(p), POINTS)
    s = torch.cat((torch.full((3, 1), 2.0), 0.6 * torch.rand(3, p) - 0.3), -1).double()
    torch.autograd.gradcheck(
        lambda v: net.reconstruct(torch.cat((s[:, :1], v), -1), POINTS), s[:, 1:].requires_grad_()
    )


def test_other_points_and_shapes_are_refused():
    net = RunsNet(runs(1), POINTS)
    with pytest.raises(ValueError, match="points of its grid"):
        net.reconstruct(torch.ones(1, 2).double(), POINTS + 0.01)
    with pytest.raises(ValueError, match="24 numbers do not fit 11 points"):
        RunsNet(runs(1), POINTS[:11])
    with pytest.raises(ValueError, match=r"\(S, T, n\)"):
        RunsNet(InterpolatedRuns(np.arange(5.0)[:, None], np.eye(5)), POINTS)
