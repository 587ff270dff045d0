"""A learned prior and a learned descent: variational assimilation as a network.

    J(x) = w_o sum_seen (x - y)^2 + w_p |x - phi(x)|^2,
    x <- x - s_j - r g,   (s_j, memory) = LSTM(g / |g_1|, memory),   g = dJ/dx,

for a few steps j from a first guess. The prior says how far a trajectory x is from what phi, an
autoencoder, or a model, makes of it. The descent is an LSTM of convolutions along time, which
reads the gradient as it is at each step, found by automatic differentiation. Prior, descent and
the weights w are trained together on the error of the last x.

R. Fablet et al., Learning variational data assimilation models and solvers, J. Adv. Model. Earth
Syst. 13, 2021; ConvLSTM: X. Shi et al., NeurIPS 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..array import check_count, shown, typed
from .nets import check_input, check_sizes


class Bilinear(nn.Module):
    """Convolutions along time with a product of two of them: W (a * b, c), from relu(V x)."""

    def __init__(self, n: int, hidden: int):
        super().__init__()
        self.read = nn.Conv1d(n, hidden, 3, padding=1)
        self.parts = nn.Conv1d(hidden, 3 * hidden, 3, padding=1)
        self.write = nn.Conv1d(2 * hidden, n, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.parts(torch.relu(self.read(x))).chunk(3, dim=1)
        return self.write(torch.cat((a * b, c), dim=1))


@typed
class BilinearPrior(nn.Module):
    """An autoencoder of trajectories on two scales, phi(x) = f(x) + up f'(down x).

    Shapes: `(b, L, n) -> (b, L, n)`, any L.

    Args:
        n: size of a state.
        hidden: channels of the bilinear layers.
        coarse: states in one of the coarse scale.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(self, n: int, hidden: int = 16, coarse: int = 5):
        super().__init__()
        check_sizes("BilinearPrior", n=n, hidden=hidden, coarse=coarse)
        self.fine, self.wide, self.coarse = Bilinear(n, hidden), Bilinear(n, hidden), coarse

    def forward(self, x: Tensor) -> Tensor:
        x = x.mT
        down = nn.functional.avg_pool1d(x, self.coarse, ceil_mode=True)
        up = self.wide(down).repeat_interleave(self.coarse, dim=2)[..., : x.shape[2]]
        return (self.fine(x) + up).mT


@typed
class ModelPrior(nn.Module):
    """The true model as a prior, phi(x)_i = M(x_(i-1)): |x - phi(x)|^2 is its error's square.

    Shapes: `(b, L, n) -> (b, L, n)`, in units of `scaled`.

    Args:
        model: one time step, `(..., n) -> (..., n)`, in physical units.
        n: size of a state.

    Raises:
        TypeError: a model that is no function.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Callable, n: int):
        super().__init__()
        if isinstance(model, type) or not callable(model):
            raise TypeError(f"model must be one time step, met {shown(model)}")
        check_sizes("ModelPrior", n=n)
        self.model = model
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("std", torch.ones(n))

    def scaled(self, unit: Any) -> ModelPrior:
        """This prior, in the units of a Normalisation `(n,)`."""
        with torch.no_grad():
            self.mean.copy_(torch.as_tensor(unit.mean))
            self.std.copy_(torch.as_tensor(unit.std))
        return self

    def forward(self, x: Tensor) -> Tensor:
        on = (self.model(x[:, :-1] * self.std + self.mean) - self.mean) / self.std
        return torch.cat((x[:, :1], on), dim=1)


class OfWindows(nn.Module):
    """A network `(first, y, seen, steps)` of windows `(b, L, n)`, and what it was trained on.

    Args:
        n: size of a state.
    """

    mean: Tensor
    std: Tensor
    error: Tensor
    length: Tensor

    def __init__(self, n: int):
        super().__init__()
        self.n = n
        for name in ("mean", "std", "error"):
            self.register_buffer(name, torch.zeros(n))
        self.register_buffer("length", torch.zeros((), dtype=torch.int64))

    @property
    def trained(self) -> bool:
        """Whether it knows the units of the states, which a training or a file of weights sets."""
        return bool((self.std > 0).all())

    def scaled(self, unit: Any, error: Any, length: int) -> Self:
        """This network, with the units of states, the data's errors and the window's length.

        Args:
            unit: a Normalisation `(n,)`.
            error: standard deviation of the errors of each component `(n,)`, 0 where none is seen.
            length: states in a window.
        """
        with torch.no_grad():
            self.mean.copy_(torch.as_tensor(unit.mean))
            self.std.copy_(torch.as_tensor(unit.std))
            self.error.copy_(torch.as_tensor(error))
            self.length.fill_(length)
        return self

    def check(self, first: Tensor, y: Tensor, seen: Tensor) -> None:
        """Refuse windows of other shapes."""
        check_input(type(self).__name__, first, (self.n,), "b, L")
        if first.ndim != 3 or y.shape != first.shape or seen.shape != first.shape:
            raise ValueError(
                f"{type(self).__name__} wants a first guess, data and a mask (b, L, {self.n}), "
                f"met {tuple(first.shape)}, {tuple(y.shape)} and {tuple(seen.shape)}"
            )


@typed
class Direct(OfWindows):
    """The simplest rival: a network of first guess and mask, without a cost or a descent.

    `forward(first, y, seen, steps)` is first + f(first, seen), `(b, L, n)`; `steps` and `y` do not
    count: the first guess holds the data.

    Args:
        net: f, `(b, 2 n, L) -> (b, n, L)`, such as UNet(2 n, n, axes=1, periodic=False).
        n: size of a state.

    Raises:
        TypeError: a net that is no module.
    """

    def __init__(self, net: nn.Module, n: int):
        super().__init__(n)
        if not isinstance(net, nn.Module):
            raise TypeError(f"net must be a torch module, met {shown(net)}")
        check_sizes("Direct", n=n)
        self.net = net

    def forward(self, first: Tensor, y: Tensor, seen: Tensor, steps: int = 1) -> Tensor:
        self.check(first, y, seen)
        return first + self.net(torch.cat((first, seen), dim=2).mT).mT


@typed
class LearnedSolver(OfWindows):
    """A prior and a descent that are trained together.

    `forward(first, y, seen, steps)`, all `(b, L, n)` in units of `mean` and `std`, without NaN;
    `seen` is 1 where y is a datum and 0 elsewhere.

    Args:
        prior: phi, a module `(b, L, n) -> (b, L, n)`.
        n: size of a state.
        hidden: channels of the memory.

    Raises:
        ValueError: sizes that do not fit.
        TypeError: a prior that is no module.
    """

    def __init__(self, prior: nn.Module, n: int, hidden: int = 24):
        super().__init__(n)
        if not isinstance(prior, nn.Module):
            raise TypeError(f"prior must be a torch module, met {shown(prior)}")
        check_sizes("LearnedSolver", n=n, hidden=hidden)
        self.hidden, self.prior = hidden, prior
        self.gates = nn.Conv1d(n + hidden, 4 * hidden, 3, padding=1)
        self.out = nn.Conv1d(hidden, n, 1, bias=False)
        self.weights = nn.Parameter(torch.zeros(2))  # logarithms of w_o and w_p
        self.rate = nn.Parameter(torch.tensor(0.05))

    def cost(self, x: Tensor, y: Tensor, seen: Tensor) -> Tensor:
        """J of trajectories `(b, L, n)`, one number each."""
        w = self.weights.exp()
        misfit = seen * (x - y) ** 2
        return (w[0] * misfit + w[1] * (x - self.prior(x)) ** 2).sum((1, 2))

    def forward(self, first: Tensor, y: Tensor, seen: Tensor, steps: int = 10) -> Tensor:
        self.check(first, y, seen)
        check_count("steps", steps)
        keeps, x = torch.is_grad_enabled(), first
        memory = h = first.new_zeros(len(first), self.hidden, first.shape[1])
        size = None
        for j in range(1, steps + 1):
            with torch.enable_grad():
                at = x if x.requires_grad else x.detach().requires_grad_()
                J = self.cost(at, y, seen).sum()
                g = torch.autograd.grad(J, at, create_graph=keeps)[0]
            if size is None:
                size = (g * g).mean((1, 2), keepdim=True).sqrt() + 1e-12
            i, f, o, c = self.gates(torch.cat(((g / size).mT, h), dim=1)).chunk(4, dim=1)
            memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(c)
            h = torch.sigmoid(o) * torch.tanh(memory)
            x = x - self.out(h).mT / j - self.rate * (j / steps) * g
        return x


def inversion_loss(steps: int, prior: float = 0.1) -> Callable:
    """The loss of a LearnedSolver after so many steps: the error of x, and of phi at the truth.

    Args:
        steps: of the descent.
        prior: weight of mean |truth - phi(truth)|^2.

    Returns:
        `loss(net, first, y, seen, truth) -> ()`, all in units of the network.
    """

    def loss(net: Any, first: Tensor, y: Tensor, seen: Tensor, truth: Tensor) -> Tensor:
        error = ((net(first, y, seen, steps) - truth) ** 2).mean()
        phi = getattr(net, "prior", None)
        return error if phi is None else error + prior * ((truth - phi(truth)) ** 2).mean()

    return loss
