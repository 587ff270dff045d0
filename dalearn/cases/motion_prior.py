"""The deep prior: 4D-Var whose control is the weights of a network that has seen no data.

    min_theta  sum_k |y_k - H(x_k)|^2 ,    x_0 = G_theta(z),   x_k = M(x_{k-1}),   z fixed,

for each window anew. What smooths the estimate is the shape of G, a chain of up-sampling
convolutions, and that the minimisation is stopped.

A. Filoche, D. Béréziat and A. Charantonis, Environ. Data Sci. 2, 2023 (the set-up and, in their
code, the network); D. Ulyanov, A. Vedaldi and V. Lempitsky, Deep image prior, CVPR 2018; the
network is that of A. Radford, L. Metz and S. Chintala, ICLR 2016, with bilinear up-sampling.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, check_count, torch_seed
from ..files.whole import whole
from ..problem.problem import Problem
from .motion import TIMES

if TYPE_CHECKING:
    from torch import Tensor, nn

LATENT, WIDTH, RATE, BETA, EPOCHS = 100, 64, 2e-3, 0.5, 3000


def network(seed: int = 0, *, latent: int = LATENT, width: int = WIDTH) -> nn.Sequential:
    """G: latent fields `(1, latent, 1, 1)` -> states `(1, 3, 64, 64)` between -1 and 1.

    Five layers with 8, 4, 2 and 1 times `width` channels between; 64 as published, with 2.4
    million weights for the 12 288 numbers of a state. Weights start as N(0, 0.02^2).
    """
    import torch
    from torch import nn

    def start() -> nn.Sequential:
        c = [8 * width, 4 * width, 2 * width, width, 3]
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent, c[0], 4, bias=False)]
        for before, after in pairwise(c):
            up = nn.Upsample(scale_factor=2, mode="bilinear")
            conv = nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect")
            layers += [nn.BatchNorm2d(before), nn.ReLU(), up, conv]
        return nn.Sequential(*layers, nn.Tanh())

    from ..neural.nets import seeded

    net = seeded(seed, start)
    rng = torch.Generator().manual_seed(torch_seed(Purpose.WEIGHTS, seed))
    with torch.no_grad():
        for part in net:
            if isinstance(part, (nn.ConvTranspose2d, nn.Conv2d)):
                part.weight.normal_(0, 0.02, generator=rng)
            elif isinstance(part, nn.BatchNorm2d):
                part.weight.normal_(1, 0.02, generator=rng)
    return net


def misfit(problem: Problem, x: Tensor) -> tuple[Tensor, Tensor]:
    """The published cost of a start `x (3 n^2,)`, and the state at the first observation.

    The mean over all times and variables of a window of the squared difference, which is 0 where
    nothing is observed.
    """
    x = first = problem.forecast(x[..., None, :], 0)
    total = 0
    for k in range(len(problem)):
        x = problem.forecast(x, k) if k else x
        observe, y = problem.at(k)
        gap = observe.noise.whiten(y[..., None, :] - observe(x))  # 0 where masked
        total = total + (gap**2).sum()
    r = problem.observation.at(0).noise.variance()[0]
    return total * r / (TIMES * problem.n), first[..., 0, :]


def estimate(
    problem: Problem,
    *,
    seed: int = 0,
    latent: int = LATENT,
    width: int = WIDTH,
    epochs: int = EPOCHS,
    keep: tuple[int, ...] = (),
) -> dict[int, Any]:
    """The state at the first observation of one window, by a network trained on that window.

    Args:
        problem: one window, in single precision torch.
        seed: of the network's first weights and of z.
        latent: the length of z.
        width: of the network.
        epochs: steps of Adam.
        keep: epochs after which the estimate is kept besides the last.

    Returns:
        {epochs: state `(3 n^2,)`}, each that of the smallest cost so far.
    """
    import torch

    check_count("epochs", epochs)
    if problem.batch:
        raise ValueError(
            f"the deep prior wants one window, such as problem[0], met {problem.batch}"
        )
    net = network(seed, latent=latent, width=width)
    dice = torch.Generator().manual_seed(torch_seed(Purpose.TRAINING, seed))
    z = torch.randn((1, latent, 1, 1), generator=dice)
    step = torch.optim.Adam(net.parameters(), lr=RATE, betas=(BETA, 0.999))
    best, kept, found = np.inf, torch.empty(0), {}
    for epoch in range(1, epochs + 1):
        step.zero_grad()
        cost, first = misfit(problem, net(z).flatten())
        if float(cost.detach()) < best:
            best, kept = float(cost.detach()), first.detach().clone()
        cost.backward()
        step.step()
        if epoch in keep or epoch == epochs:
            found[epoch] = kept.numpy()
    return found


def kept(problem: Problem, i: int, folder: str | Path, **settings: Any) -> dict[str, Any]:
    """The estimates of window i of a problem, from a folder where they have been made before.

    Args:
        problem: windows, a batch, in single precision torch.
        i: which of them; also the seed.
        folder: where each window's estimates are written when they are done.
        settings: of `estimate`.

    Returns:
        {epochs: state} with epochs as text, and "cpu", the seconds that it took.
    """
    path = Path(folder) / f"{i}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = time.process_time()
        found = estimate(problem[i], seed=i, **settings)
        seconds = np.array(time.process_time() - begun)
        states: dict[str, Any] = {str(k): x for k, x in found.items()}
        with whole(path) as part, open(part, "wb") as file:
            np.savez(file, cpu=seconds, **states)
    with np.load(path) as found:
        return dict(found)
