"""Codes that are fields on a coarser grid: what is near stays near, and weights fit any size."""

import numpy as np
import torch

import dalearn as da
from dalearn.neural import Autoencoder, seeded


def made(side=32):
    return seeded(0, Autoencoder.on_grid, (2, side, side), 3, (4, 4)).double()


def test_a_code_stands_where_it_says():
    """A change in one cell changes codes near its place, and theirs change the field near by."""
    net, x = made(), torch.randn(2, 32, 32, dtype=torch.float64)
    places = net.places
    assert places.shape == (3 * 8 * 8, 2)
    assert torch.equal(places[:64], places[64:128])  # component by component
    assert torch.equal(places[0], torch.tensor([1.5, 1.5]))
    for cell in ((3, 20), (16, 16), (31, 0)):
        y = x.clone()
        y[:, cell[0], cell[1]] += 1.0
        moved = (net.encode(y) != net.encode(x)).double()
        far = (places - torch.tensor(cell)).abs().amax(-1)
        assert moved[far > 14].sum() == 0
        assert moved[far < 2].mean() > 0.9
    z = net.encode(x)
    w = z.clone()
    w[8 * 4 + 4] += 1.0
    gap = (net.decode(w) != net.decode(z)).any(0).nonzero() - places[8 * 4 + 4]
    assert gap.abs().max() < 14
    assert gap.abs().min() < 2


def test_the_weights_serve_a_larger_field():
    """Away from the rims the codes are the same numbers."""
    small, large = made(32), made(64)
    large.load_state_dict(small.state_dict())
    x = torch.randn(2, 64, 64, dtype=torch.float64)
    part = small.encode(x[:, 16:48, 16:48]).reshape(3, 8, 8)
    whole = large.encode(x).reshape(3, 16, 16)[:, 4:12, 4:12]
    assert torch.allclose(part[:, 3:5, 3:5], whole[:, 3:5, 3:5], atol=1e-12)


def test_data_of_a_corner_leave_the_other_to_the_forecast():
    """An LETKF among codes."""

    class Coder:
        n, r = 2 * 32 * 32, 192

        def __init__(self, net):
            self.net = net

        def encode(self, x):
            return self.net.encode(x.reshape(*x.shape[:-1], 2, 32, 32))

        def decode(self, z):
            return self.net.decode(z).flatten(-3)

    net = made().requires_grad_(False)
    x = torch.randn(8, 2048, dtype=torch.float64)
    problem = da.Problem(
        lambda x: x,
        da.Observation(
            da.Subset([0, 1, 32]),
            da.Diagonal(torch.full((3,), 1e-12).double()),
            np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
        ),
        da.Ensemble(x),
        torch.zeros(1, 3).double(),
    )
    near = da.Localization(net.places.numpy(), 5.0)
    method = da.Latent(da.LETKF(8, localization=near), Coder(net))
    result = da.assimilate(problem, method, progress=False)
    step = result["mean"].diff("stage").values.reshape(2, 32, 32)
    assert abs(step[:, :8, :8]).max() > 1e-6  # an untrained decoder does not vary more
    assert abs(step[:, 26:, 26:]).max() < 1e-14
