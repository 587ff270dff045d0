"""A monotone local surrogate: what holds before any training, and that it learns a spreading."""

import numpy as np
import pytest
import torch

from dalearn.neural import Spreading, fit, seeded
from dalearn.neural.train import adam


def squares(count, side=20, frames=7, seed=0):
    """Squares that grow by two cells a frame where the map allows, `(b, frames, side, side)`."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, frames, side, side), "float32")
    free = np.ones((count, 1, side, side), "float32")
    for i, (r, c, wall) in enumerate(rng.integers((4, 4, 14), (16, 9, 17), size=(count, 3))):
        free[i, 0, :, wall] = 0
        for k in range(frames):
            masks[i, k, max(r - 2 * k, 0) : r + 2 * k + 1, max(c - 2 * k, 0) : c + 2 * k + 1] = 1
        masks[i, :, :, wall:] = 0
    return torch.from_numpy(masks), torch.from_numpy(free)


def test_before_any_training():
    """It only grows, only where it can, only near by; an old burn spreads no more."""
    net = seeded(0, Spreading, 3, reach=2)
    p = torch.zeros(1, 3, 20, 20)
    p[:, :, 3, 3] = 1.0  # long ago
    p[:, 1:, 10, 10] = 1.0  # lately
    maps = torch.randn(1, 3, 20, 20)
    maps[:, 0] = 1.0
    maps[:, 0, 9] = 0.0
    new = net(p, maps)[0]
    step = new - p[0, -1]
    assert (step >= 0).all()
    assert (new <= 1).all()
    assert (step[9] == 0).all()
    row, column = torch.where(step > 0)
    assert len(row)
    assert (row - 10).abs().max() <= 2
    assert (column - 10).abs().max() <= 2
    rolled = net.rollout(p, maps, 4)
    assert torch.equal(rolled[:, 0], net(p, maps))
    assert (rolled.diff(dim=1) >= 0).all()


def test_it_learns_to_spread_on_ground_it_has_not_seen():
    net = seeded(0, Spreading, 1, hidden=(8, 8))
    fit(
        net, squares(100), loss=Spreading.loss, epochs=4, batch=10, optimiser=adam(1e-2),
        progress=False,
    )  # fmt: skip
    masks, free = squares(20, seed=1)
    with torch.no_grad():
        found = net.rollout(masks[:, :3], free, 4)
        gap = (found - masks[:, 3:]).norm() / masks[:, 3:].norm()
        held = (masks[:, 2:3] - masks[:, 3:]).norm() / masks[:, 3:].norm()
    assert gap < 0.2 < held / 2


def test_the_loss_is_the_cross_entropy_of_the_rollout():
    net = seeded(0, Spreading, 1, hidden=(4,)).double()
    masks, free = (v.double() for v in squares(3))
    p = net.rollout(masks[:, :3], free, 4).clamp(1e-5, 1 - 1e-5)
    y, can = masks[:, 3:], free.expand(-1, 4, -1, -1) > 0
    wanted = -(y * p.log() + (1 - y) * (1 - p).log())[can].mean()
    assert net.loss(masks, free).item() == pytest.approx(wanted.item())


def test_what_is_wrong_is_named():
    net = Spreading(2)
    p, maps = torch.zeros(1, 3, 9, 9), torch.zeros(1, 2, 9, 9)
    for wrong, message in (
        (lambda: net(p[:, :2], maps), r"Spreading wants \(b, 3, 9, 9\)"),
        (lambda: net(p, maps[:, :1]), r"maps of Spreading wants \(b, 2, 9, 9\)"),
        (lambda: net(p, torch.zeros(1, 2, 9, 8)), r"maps of Spreading"),
        (lambda: net.rollout(p, maps, 0), "frames"),
        (lambda: Spreading(2, 1), "window of 2 frames or more, met window 1"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
