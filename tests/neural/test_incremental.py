"""A learned law of trajectories: its solve, its levels, its first guess, its bounds."""

import pytest
import torch

from dalearn.neural import NeuralPrior, Regular, Scattered, fit, seeded
from dalearn.neural.reconstruct import Reconstruction, calibrate
from dalearn.neural.train import adam

T, N = 6, 2


def walks(count, seed=0):
    g = torch.Generator().manual_seed(seed)
    return 3 + torch.randn(count, T, N, generator=g).cumsum(1)


def squares(count, seed=0):
    """A number and its square, which does not correlate with it, at all times."""
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(count, 1, generator=g).expand(-1, T)
    return torch.stack((a, a * a), -1) + 0.05 * torch.randn(count, T, N, generator=g)


def prior(**settings):
    net = seeded(1, NeuralPrior, T, N, hidden=(8, 8), **settings).double()
    return net.scaled(walks(200))


def data(net, count=3):
    x = walks(count, 7).double()
    mask = Scattered(T, N, 3, 5)(count)
    return net.seen(x, mask, torch.full((T, N), 0.1, dtype=torch.float64)), mask, x


@pytest.mark.parametrize("form", ["banded", "low-rank"])
def test_the_solve_is_the_gain_of_the_dense_precision(form):
    net = prior(form=form)
    seen, mask, x = data(net)
    z = torch.randn(3, T, N, dtype=torch.float64)
    mu, raw = net(z, torch.ones(3, dtype=torch.float64))
    raw = raw + torch.randn_like(raw)
    found = net.solve(mu, raw, seen)
    none = seen._replace(G=0 * seen.G)
    P = torch.linalg.inv(net.precision(raw, none))
    for b in range(3):  # the form of the paper: K = P H^T (H P H^T + R)^-1
        H = torch.eye(T * N, dtype=torch.float64)[mask[b].flatten()]
        R = torch.diag((0.1 / net.std.flatten()[mask[b].flatten()]) ** 2)
        y = H @ ((x[b] - net.mean) / net.std).flatten()
        K = P[b] @ H.T @ torch.linalg.inv(H @ P[b] @ H.T + R)
        wanted = mu[b].flatten() + K @ (y - H @ mu[b].flatten())
        assert torch.allclose(found[b].flatten(), wanted, rtol=0, atol=1e-7)
    inverse = torch.linalg.inv(net.precision(raw, seen)).view(3, T, N, T, N)
    cov = net.covariances(raw, seen)
    for t in range(T):
        assert torch.allclose(cov[:, t], inverse[:, t, :, t], rtol=0, atol=1e-7)


def test_the_precision_is_that_of_a_markov_chain():
    net = prior()
    seen, *_ = data(net)
    raw = torch.randn(3, len(net.offsets), T, N, dtype=torch.float64)
    A = net.precision(raw, seen).view(3, T, N, T, N)
    for t in range(T):
        for s in range(T):
            assert (A[:, t, :, s] != 0).any() == (abs(t - s) <= 1)
    assert torch.linalg.eigvalsh(A.view(3, T * N, -1)).min() > 0


def test_the_first_guess_is_the_gaussian_interpolation():
    net = prior()
    seen, mask, x = data(net)
    P = net.root.mT @ net.root
    for b in range(3):
        H = torch.eye(T * N, dtype=torch.float64)[mask[b].flatten()]
        R = torch.diag((0.1 / net.std.flatten()[mask[b].flatten()]) ** 2)
        y = H @ ((x[b] - net.mean) / net.std).flatten()
        wanted = P @ H.T @ torch.linalg.solve(H @ P @ H.T + R, y)
        assert torch.allclose(net.first(seen)[b].flatten(), wanted, rtol=0, atol=1e-6)


def test_the_levels_take_the_corrected_steps():
    """Were each x_k the truth, every z_k would be s_k z_0 + (1 - s_k) x."""
    net = prior()
    seen, _, x = data(net)
    truth, met = (x - net.mean) / net.std, []

    def step(z, s, seen):
        met.append((z, s))
        return truth

    net.step = step
    net.assimilate(seen, 4)
    first = net.first(seen)
    for k, (z, s) in enumerate(met):
        level = 1 - k / 4
        assert (s == level).all()
        assert torch.allclose(z, level * first + (1 - level) * truth)


def test_unbounded_links_blow_up():
    """Links of 10 times the diagonal let errors grow from time to time; bounded ones do not."""
    seen = None
    sizes = {}
    for bound in (1.0, 1e6):
        net = prior(bound=bound)
        seen, *_ = data(net)
        raw = torch.zeros(3, len(net.offsets), T, N, dtype=torch.float64)
        raw[:, 1:] = -3.0
        blind = seen._replace(G=0 * seen.G)
        sizes[bound] = net.covariances(raw, blind).abs().max()
    assert sizes[1e6] > 100 * sizes[1.0]


def test_training_beats_the_first_guess_and_the_spread_fits():
    x, other = squares(2000), squares(500, 1)
    net = seeded(0, NeuralPrior, T, N, hidden=(32, 32)).scaled(x)
    loss = Reconstruction(Scattered(T, N, 2, 3, (0,)), torch.full((T, N), 0.05))
    fit(net, (x,), (other,), loss=loss, epochs=12, batch=50, optimiser=adam(3e-3), progress=False)
    calibrate(net, loss, other, 1)
    seen = loss.data(net, other)
    truth = (other - net.mean) / net.std
    found, cov = net.analysed(seen.G, seen.g)
    with torch.no_grad():
        error = (found - truth).square().mean()
        assert error < 0.5 * (net.first(seen) - truth).square().mean()
    claimed = cov.diagonal(dim1=-2, dim2=-1).mean()
    assert 0.8 < error / claimed < 1.25  # two draws of 500 trajectories


def test_masks_are_what_they_say():
    torch.manual_seed(0)
    m = Scattered(9, 3, 2, 5, (0, 2))(400)
    counts = m.sum((1, 2))
    assert not m[..., 1].any()
    assert set(counts.tolist()) == {2, 3, 4, 5}
    assert m.float().mean(0)[:, [0, 2]].std() < 0.05  # all places alike
    one = Scattered(9, 3, 4, 4, kinds=True)(50)
    assert (one.any(1).sum(-1) == 1).all()
    assert (one.sum((1, 2)) == 4).all()
    r = Regular(9, 3, 4, (1, 3), 2)(60)
    times = {tuple(v.nonzero().flatten().tolist()) for v in r[..., 2]}
    assert times == {(1, 5), (3, 7)}
    assert not r[..., :2].any()


def test_what_it_refuses():
    with pytest.raises(ValueError, match="most <= 4 places"):
        Scattered(4, 2, 1, 5, (0,))
    with pytest.raises(ValueError, match="components must be some of 0 to 1"):
        Scattered(4, 2, 1, 2, (2,))
    with pytest.raises(ValueError, match="times from 0 to 3"):
        Regular(4, 2, 2, (4,))
    with pytest.raises(ValueError, match="form must be"):
        NeuralPrior(4, 2, form="dense")
    with pytest.raises(ValueError, match="train must be trajectories"):
        prior().scaled(torch.zeros(5, T + 1, N))
    net = prior(reads=True)
    with pytest.raises(ValueError, match="reads the data"):
        net(torch.zeros(1, T, N).double(), torch.ones(1).double())
