"""Encoders of a history of observations: from y_1 ... y_k to a code of time k, by an LSTM.

    (y_1, ..., y_k)  ->  z_k = m + s * (W h_k + b) ,   k = 1 ... K

h_k is the memory after the k-th observation, so that a code holds all that was seen until then. In
LD-EnSF the code is the latent state with the parameters, and with it the code is a first estimate
by itself. Its errors are correlated in time: whoever takes codes for new data at each time counts
old ones again.

Sources: P. Xiao, P. Si and P. Chen, LD-EnSF, 2024; S. Hochreiter and J. Schmidhuber, Neural
Computation 9, 1997. LD-EnSF trains it on exact data; `NoisySensors` adds errors and gaps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..array import check_between, typed
from .nets import check_input, check_sizes


@typed
class HistoryEncoder(nn.Module):
    """Codes of a history of observations, (y_1, ..., y_k) -> z_k at all times.

    Shapes: `(..., K, m) -> (..., K, r)`. A number that is NaN was not observed: the network sees
    the mean in its place, and a mask that says so.

        net = seeded(0, HistoryEncoder, 200, 10).scaled(y, z)     # y (S, K, m), z (S, K, r)
        fit(net, (y, z), loss=NoisySensors(unit, 0.2, 0.3), epochs=500, batch=60)

    Args:
        inputs: m, how many numbers an observation has.
        outputs: r, how many numbers a code has.
        hidden: width of the memory.
        width: the observation and its mask come to the memory as so many numbers.
        layers: of the memory.

    Raises:
        ValueError: sizes that do not fit.
    """

    y_mean: Tensor
    y_std: Tensor
    z_mean: Tensor
    z_std: Tensor

    def __init__(
        self, inputs: int, outputs: int, hidden: int = 96, *, width: int = 128, layers: int = 1
    ):
        super().__init__()
        sizes = {"hidden": hidden, "width": width, "layers": layers}
        check_sizes("HistoryEncoder", inputs=inputs, outputs=outputs, **sizes)
        self.first = nn.Linear(2 * inputs, width)
        self.memory = nn.LSTM(width, hidden, layers, batch_first=True)
        self.out = nn.Linear(hidden, outputs)
        self.inputs, self.outputs = inputs, outputs
        for name, n in (("y", inputs), ("z", outputs)):
            self.register_buffer(f"{name}_mean", torch.zeros(n))
            self.register_buffer(f"{name}_std", torch.ones(n))

    @typed
    def scaled(self, y: Tensor, z: Tensor) -> HistoryEncoder:
        """This network, with the means and standard deviations of training data.

        Args:
            y: observations `(..., m)`.
            z: codes `(..., r)`.

        Returns:
            HistoryEncoder: the same object.

        Raises:
            ValueError: other sizes.
        """
        check_input("y of HistoryEncoder.scaled", y, (self.inputs,))
        check_input("z of HistoryEncoder.scaled", z, (self.outputs,))
        with torch.no_grad():
            for name, value in (("y", y), ("z", z)):
                rows = value.reshape(-1, value.shape[-1])
                std = rows.std(0)
                getattr(self, f"{name}_mean").copy_(rows.mean(0))
                getattr(self, f"{name}_std").copy_(torch.where(std > 0, std, 1.0))
        return self

    def forward(self, y: Tensor) -> Tensor:
        check_input("HistoryEncoder", y, (self.inputs,), "..., K")
        flat = y.reshape(-1, *y.shape[-2:])
        return self.step(flat, None)[0].reshape(*y.shape[:-1], self.outputs)

    def step(self, y: Tensor, memory: Any = None) -> tuple[Tensor, Any]:
        """Codes of further observations, and the memory after them.

        Args:
            y: `(b, k, m)`, the next k observations.
            memory: what an earlier call gave, None at the start.

        Returns:
            `(b, k, r)`, and the memory for the next call.
        """
        seen = ~y.isnan()
        x = torch.where(seen, (y - self.y_mean) / self.y_std, 0.0)
        x = torch.nn.functional.silu(self.first(torch.cat((x, seen.to(x) - 1), dim=-1)))
        h, memory = self.memory(x, memory)
        return self.out(h) * self.z_std + self.z_mean, memory


@typed
@dataclass(frozen=True, eq=False)
class NoisySensors:
    """The loss of a HistoryEncoder on data with errors and gaps, drawn anew at each step.

        mean |f(y + e) - z|^2 / std^2 ,   e ~ N(0, (a unit)^2),   a ~ U(0, noise)

    with one a for each trajectory. In evaluation mode nothing is drawn.

    Args:
        unit: of the errors of each number, `(m,)`.
        noise: the largest share of it.
        gaps: the largest share of numbers that are missing; half of the trajectories have none.

    Raises:
        ValueError: shares out of range.
    """

    unit: Tensor
    noise: float = 0.2
    gaps: float = 0.0

    def __post_init__(self):
        check_between("unit", self.unit, 0, math.inf, open_low=False)
        check_between("noise", self.noise, 0, 1e6, open_low=False)
        check_between("gaps", self.gaps, 0, 1, open_low=False)

    def __call__(self, net: HistoryEncoder, y: Tensor, z: Tensor) -> Tensor:
        if net.training:
            share = torch.rand(len(y), 1, 1).to(y)
            y = y + self.noise * share * self.unit.to(y) * torch.randn(y.shape).to(y)
            if self.gaps:
                lost = (self.gaps * (2 * torch.rand(len(y), 1, 1) - 1)).clamp_min(0)
                y = torch.where((torch.rand(y.shape) < lost).to(y.device), torch.nan, y)
        return (((net(y) - z) / net.z_std) ** 2).mean()
