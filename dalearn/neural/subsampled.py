"""What an LDNet minimises: its error at some points and times, drawn anew at each step.

    loss = mean |y_t(x_i) - data|^2 / std^2   over a share of the times, some points, a few runs

A fixed subset of points, as in the released code of LD-EnSF, is learned by heart; points drawn at
each step cost no more and see the whole field. Small batches are bound by the sequential steps of
the dynamics, which cost the same for one trajectory as for a hundred: take many trajectories and
few times.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..array import check_between, check_count, typed
from .ldnet import LDNet
from .reconstruction import InBasis, features_of


@typed
@dataclass(frozen=True, eq=False)
class Subsampled:
    """The loss of an LDNet, `loss(net, u, rows)`; rows number the trajectories of `fields`.

        loss = Subsampled(fields, points)
        fit(net, (u[train], train), (u[valid], valid), loss=loss, batch=60)

    The fields stay where they are: a step gathers the trajectories, times and points it needs.
    They may be `torch.from_numpy` of a file in memory (`numpy.memmap`), a view with axes in
    another order, or on a GPU. All draws come from torch's own generator, which `fit`
    keeps for each run, so that a training goes on to the same bits after a kill. In evaluation
    mode nothing is drawn: points and times are then spread evenly.

    Args:
        fields: `(S, T, P, C)`, in the units of the data; all trajectories, also those of
            validation. Or several such, whose trajectories are numbered through and never joined.
        points: `(P, d)`.
        count: points in a step.
        share: of the times, in a step.
        noise: latent states are perturbed by this share of their standard deviation, so that the
            reconstruction learns not to depend on more digits than a filter can give it.
        mixed: half precision (bfloat16) for the reconstruction on a GPU; no effect elsewhere.

    Raises:
        ValueError: shapes that do not fit, or a share outside (0, 1].
    """

    fields: Tensor | Sequence[Tensor]
    points: Tensor
    count: int = 500
    share: float = 1 / 3
    noise: float = 0.0
    mixed: bool = False

    def __post_init__(self):
        check_count("count", self.count)
        check_between("share", self.share, 0, 1, open_low=True)
        check_between("noise", self.noise, 0, 1, open_low=False)
        shapes = [tuple(part.shape) for part in self.parts]
        good = bool(shapes) and all(len(s) == 4 and s[1:] == shapes[0][1:] for s in shapes)
        if not good or self.points.ndim != 2 or len(self.points) != shapes[0][2]:
            raise ValueError(
                "wanted fields (S, T, P, C) and points (P, d), met "
                f"{', '.join(map(str, shapes))} and {tuple(self.points.shape)}"
            )

    @property
    def parts(self) -> Sequence[Tensor]:
        """The fields, in one part or several."""
        return (self.fields,) if isinstance(self.fields, Tensor) else self.fields

    def chosen(self, size: int, count: int, drawn: bool) -> Tensor:
        """`count` numbers of `size`, in order: drawn without repetition, or spread evenly."""
        count = min(count, size)
        if drawn:
            return torch.randperm(size)[:count].sort().values
        return (torch.arange(count) * size) // count

    def __call__(self, net: LDNet, u: Tensor, rows: Tensor) -> Tensor:
        T, P = self.parts[0].shape[1:3]
        times = self.chosen(T, max(1, round(self.share * T)), net.training)
        spots = self.chosen(P, self.count, net.training)
        s = net.latents(u, T if u.ndim == 2 else None)
        s = perturbed(s, self.noise if net.training else 0.0)[:, times.to(s.device)]
        data = self.gathered(rows, times, spots).to(s.device)
        with precision(s.device, self.mixed):
            y = net.reconstruct(s, self.points[spots.to(self.points.device)].to(s))
        return (((y - data) / net.y_std) ** 2).mean()

    def gathered(self, rows: Tensor, times: Tensor, spots: Tensor) -> Tensor:
        """The data of some trajectories, times and points, `(b, t, p, C)`."""
        place = self.parts[0].device
        r, t, p = (v.to(place) for v in (rows, times, spots))
        if len(self.parts) == 1:
            return self.parts[0][r[:, None, None], t[:, None], p]
        runs = [run for part in self.parts for run in part]
        return torch.stack([runs[i][t[:, None], p] for i in r.tolist()])


@typed
@dataclass(frozen=True, eq=False)
class Coefficients:
    """The loss of an LDNet whose reconstruction is an InBasis, against coefficients of the data.

    Nothing is lost by not looking at points: for functions that are orthonormal on the grid it is
    the error over all points, less what the basis cannot say. `Coefficients.of` projects fields.

    Args:
        target: `(S, T, K)`, of fields in units of the network's `y_mean` and `y_std`.
        share: of the times, in a step.
        noise: as in `Subsampled`.
        mixed: as in `Subsampled`.

    Raises:
        ValueError: another shape, or a share outside (0, 1].
    """

    target: Tensor
    share: float = 1 / 3
    noise: float = 0.0
    mixed: bool = False
    chosen = Subsampled.chosen

    def __post_init__(self):
        check_between("share", self.share, 0, 1, open_low=True)
        check_between("noise", self.noise, 0, 1, open_low=False)
        if self.target.ndim != 3:
            raise ValueError(f"wanted target (S, T, K), met shape {tuple(self.target.shape)}")

    @classmethod
    @typed
    def of(cls, net: LDNet, fields: Tensor, points: Tensor, **settings: Any) -> Coefficients:
        """The loss against fields `(S, T, P, C)` at points `(P, d)`, for this network."""
        if not isinstance(net.reconstruction, InBasis):
            raise TypeError(
                "Coefficients wants an LDNet whose reconstruction is an InBasis, met "
                f"{type(net.reconstruction).__name__}; wanted Subsampled(fields, points)"
            )
        inverse = net.reconstruction.basis.inverse((points - net.x_mean) / net.x_half).flatten(1)
        unit = [((run - net.y_mean) / net.y_std).flatten(-2) @ inverse.mT for run in fields]
        return cls(torch.stack(unit), **settings)

    def __call__(self, net: LDNet, u: Tensor, rows: Tensor) -> Tensor:
        T = self.target.shape[1]
        times = self.chosen(T, max(1, round(self.share * T)), net.training)
        s = net.latents(u, T if u.ndim == 2 else None)
        s = perturbed(s, self.noise if net.training else 0.0)[:, times.to(s.device)]
        place = self.target.device
        data = self.target[rows.to(place)[:, None], times.to(place)].to(s.device)
        with precision(s.device, self.mixed):
            c = features_of(net)(s)
        return ((c - data) ** 2).sum(-1).mean() / net.outputs


def perturbed(s: Tensor, share: float) -> Tensor:
    """Latent states with noise of a share of their standard deviation over all but their axis."""
    if not share:
        return s
    std = s.detach().flatten(0, -2).std(0)
    return s + share * std * torch.randn(s.shape).to(s)


def precision(device: torch.device, mixed: bool) -> Any:
    """bfloat16 where the device is a GPU and `mixed` says so."""
    on = mixed and device.type == "cuda"
    return torch.autocast("cuda", dtype=torch.bfloat16) if on else nullcontext()
