"""Small networks of known shapes: multi-layer perceptron, convolutions, LSTM.

Each is a `torch.nn.Module` without dropout or batch normalisation, so that a row never depends on
its neighbours and training mode changes nothing: as the model or operator of a Problem it is a
pure function. Activations are smooth by default: 4D-Var differentiates through them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..array import Purpose, check_count, is_array, shown, torch_seed, typed
from .draws import Draws

Activation = type[nn.Module] | Callable[[], nn.Module]


@typed
def seeded(seed: int, make: type | Callable, *args: Any, **settings: Any) -> Any:
    """`make(*args, **settings)`, with the first weights that belong to this seed.

        net = seeded(0, MLP, 3, 3, (32, 32))

    torch draws them from a state that the whole process shares; it is put back afterwards, and
    threads that do so wait for each other.

    Args:
        seed: an integer.
        make: a class or function that makes a module.
        *args: its arguments.
        **settings: its keyword arguments.

    Returns:
        The module.
    """
    check_count("seed", seed, 0, math.inf)
    hidden = torch_seed(Purpose.WEIGHTS, seed)
    asleep = torch.backends.cuda.is_built() and not torch.cuda.is_initialized()
    gpus = torch.cuda.device_count() if torch.cuda.is_initialized() else 0
    with Draws(hidden, [torch.device("cuda", i) for i in range(gpus)]).turn():
        if asleep:  # `make` may wake the GPUs
            torch.cuda.manual_seed_all(hidden)
        made = make(*args, **settings)
    if asleep:  # as torch.manual_seed or torch itself had left them
        torch.cuda.manual_seed_all(torch.initial_seed())
    return made


@typed
def parameters(module: nn.Module) -> int:
    """How many numbers a module learns.

    Args:
        module: a torch module.

    Returns:
        int: the sum of the sizes of its parameters.
    """
    return sum(p.numel() for p in module.parameters())


def check_sizes(name: str, **sizes: Any) -> None:
    """Refuse sizes that are not integers >= 1."""
    for what, value in sizes.items():
        for number in value if isinstance(value, (tuple, list)) else (value,):
            check_count(f"{what} of {name}", number)


def made_by(activation: Activation) -> nn.Module:
    """The module that an activation makes, or TypeError."""
    if isinstance(activation, type) and not issubclass(activation, nn.Module):
        raise TypeError(f"activation must make a torch module, met {shown(activation)}")
    module = activation()
    if not isinstance(module, nn.Module):
        raise TypeError(f"activation must make a torch module, met {shown(module)}")
    return module


def check_input(name: str, x: Tensor, wanted: tuple[int, ...], lead: str = "...") -> None:
    """Refuse an input whose last axes are not as wanted."""
    if tuple(x.shape[x.ndim - len(wanted) :]) != wanted or x.ndim < len(wanted):
        shape = ", ".join(map(str, wanted))
        raise ValueError(f"{name} wants ({lead}, {shape}), met shape {tuple(x.shape)}")


@typed
class MLP(nn.Module):
    """The multi-layer perceptron, f(x) = W_L s(... s(W_1 x + b_1) ...) + b_L.

    Shapes: `(..., inputs) -> (..., outputs)`.

    Args:
        inputs: width of what comes in.
        outputs: width of what goes out.
        hidden: widths of the layers between.
        activation: makes s.
        residual: x + f(x), which as a model starts from persistence.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (64, 64),
        *,
        activation: Activation = nn.Tanh,
        residual: bool = False,
    ):
        super().__init__()
        check_sizes("MLP", inputs=inputs, outputs=outputs, hidden=tuple(hidden))
        if residual and inputs != outputs:
            raise ValueError(f"a residual MLP wants outputs = inputs, met {inputs} -> {outputs}")
        widths, layers = (inputs, *hidden), []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), made_by(activation)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
        self.inputs, self.residual = inputs, residual

    def forward(self, x: Tensor) -> Tensor:
        check_input("MLP", x, (self.inputs,))
        return x + self.layers(x) if self.residual else self.layers(x)


@typed
class CNN(nn.Module):
    """Convolutions on a line or in a plane: the same small network at every point of the grid.

    Shapes: `(b, channels, [h,] w) -> (b, outputs, [h',] w')`.

    Args:
        channels: of what comes in.
        outputs: channels of what goes out.
        hidden: channels of the layers between.
        kernel: width of a convolution, odd.
        axes: 1 or 2.
        periodic: the grid is a ring or a torus, and the field keeps its size. Otherwise nothing is
            assumed beyond the rim: each of the L layers takes kernel - 1 points away, so that h
            becomes h - L (kernel - 1).
        activation: makes the function between two layers.
        residual: x + f(x), for periodic models with as many channels out as in.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        hidden: Sequence[int] = (32, 32),
        *,
        kernel: int = 5,
        axes: int = 2,
        periodic: bool = True,
        activation: Activation = nn.SiLU,
        residual: bool = False,
    ):
        super().__init__()
        check_sizes("CNN", channels=channels, outputs=outputs, hidden=tuple(hidden), kernel=kernel)
        if axes not in (1, 2) or kernel % 2 == 0:
            raise ValueError(f"CNN wants axes 1 or 2 and an odd kernel, met {axes} and {kernel}")
        if residual and not (periodic and channels == outputs):
            raise ValueError("a residual CNN wants periodic=True and as many channels out as in")
        conv = (nn.Conv1d, nn.Conv2d)[axes - 1]
        pad: Any = {"padding": kernel // 2, "padding_mode": "circular"} if periodic else {}
        widths, layers = (channels, *hidden), []
        for before, after in pairwise(widths):
            layers += [conv(before, after, kernel, **pad), made_by(activation)]
        self.layers = nn.Sequential(*layers, conv(widths[-1], outputs, kernel, **pad))
        self.channels, self.axes, self.residual = channels, axes, residual
        self.least = kernel // 2 + 1 if periodic else (len(hidden) + 1) * (kernel - 1) + 1

    def forward(self, x: Tensor) -> Tensor:
        size = tuple(x.shape[-self.axes :])
        if x.ndim != self.axes + 2 or x.shape[1] != self.channels or min(size) < self.least:
            grid = ", ".join("hw"[2 - self.axes :])
            raise ValueError(
                f"CNN wants (b, {self.channels}, {grid}) with a grid of at least {self.least} "
                f"points a side, met shape {tuple(x.shape)}"
            )
        return x + self.layers(x) if self.residual else self.layers(x)


@typed
class LSTM(nn.Module):
    """A long short-term memory that reads a window and gives the next state.

        (x_1, ..., x_L) -> x_L + W h_L + b     (without x_L unless `residual`)

    h_L is the memory after the last state. `History(module, length)` makes it a model.
    Shapes: windows `(b, L, n) -> (b, n)`, any L.

    Args:
        n: width of a state.
        hidden: width of the memory.
        layers: how many.
        residual: add the last state.

    Raises:
        ValueError: sizes that do not fit.

    Source: Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9, 1997.
    """

    batch_first = True  # what History asks a sequence network

    def __init__(self, n: int, hidden: int = 64, layers: int = 1, *, residual: bool = True):
        super().__init__()
        check_sizes("LSTM", n=n, hidden=hidden, layers=layers)
        self.memory = nn.LSTM(n, hidden, layers, batch_first=True)
        self.out = nn.Linear(hidden, n)
        self.n, self.residual = n, residual

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[-1] != self.n:
            raise ValueError(f"LSTM wants windows (b, L, {self.n}), met shape {tuple(x.shape)}")
        new = self.out(self.memory(x)[0][:, -1])
        return x[:, -1] + new if self.residual else new


@typed
class Normalised(nn.Module):
    """A network between two scalings, x -> s' f((x - m) / s) + m': it learns numbers of size 1.

    The scalings are stored with the weights, and `scaled` changes them.

    Args:
        module: f.
        before: the Normalisation of what comes in.
        after: that of what goes out; that of the input by default.
    """

    before_mean: Tensor
    before_std: Tensor
    after_mean: Tensor
    after_std: Tensor

    def __init__(self, module: nn.Module, before: Any, after: Any = None):
        super().__init__()
        for name, scale in (("before", before), ("after", before if after is None else after)):
            if not all(is_array(getattr(scale, part, None)) for part in ("mean", "std")):
                raise TypeError(f"{name} must be a Normalisation, met {shown(scale)}")
        self.module = module
        for name, scale in (("before", before), ("after", before if after is None else after)):
            for part in ("mean", "std"):
                value = torch.as_tensor(getattr(scale, part), dtype=torch.get_default_dtype())
                self.register_buffer(f"{name}_{part}", value.detach().clone())
        self.batch_first = getattr(module, "batch_first", True)

    def scaled(self, before: Any, after: Any = None) -> Normalised:
        """This network, with other scalings of the same shapes."""
        with torch.no_grad():
            for name, scale in (("before", before), ("after", before if after is None else after)):
                for part in ("mean", "std"):
                    getattr(self, f"{name}_{part}").copy_(torch.as_tensor(getattr(scale, part)))
        return self

    def forward(self, x: Tensor) -> Tensor:
        y = self.module((x - self.before_mean) / self.before_std)
        return y * self.after_std + self.after_mean
