"""Latent dynamics networks: a small state that moves, and a field that it stands for.

    s_t = s_{t-1} + dt F(s_{t-1}, u) ,    y_t(x) = R(s_t, x)

F and R are trained together, on fields alone: nobody says what s is. There is no encoder. The
latent state starts at 0 for every parameter u, and all that distinguishes two trajectories comes
through u. `start` says when it is 0: at the first time ("first", as first published), which gives
all trajectories the same first field, or one step before it ("before", as in LD-EnSF).

Sources: F. Regazzoni, S. Pagani, M. Salvador, L. Dede' and A. Quarteroni, Learning the intrinsic
dynamics of spatio-temporal processes through Latent Dynamics Networks, Nature Communications 15,
2024; P. Xiao, P. Si and P. Chen, LD-EnSF, ICLR 2026.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..array import check_between, check_count, typed
from .data import Normalisation
from .nets import MLP, Activation, check_input, check_sizes

# numbers in the largest array of a reconstruction: it stays in the cache, or keeps a GPU busy
BLOCK = {"cpu": 2**22, "cuda": 2**28}


@typed
def relative_error(
    estimate: Tensor, truth: Tensor, *, unit: Tensor | None = None, keep: int = 0
) -> Tensor:
    """The relative root-mean-square error |estimate - truth| / |truth|.

    Args:
        estimate: `(..., C)`.
        truth: of the same shape.
        unit: `(C,)`, one for each component, so that none hides another.
        keep: how many of the first axes keep an error of their own; over the others it is taken
            together.

    Returns:
        The error, of the shape of the first `keep` axes.

    Raises:
        ValueError: shapes that differ.
    """
    if estimate.shape != truth.shape:
        raise ValueError(
            f"estimate and truth must have one shape, met {tuple(estimate.shape)} and "
            f"{tuple(truth.shape)}"
        )
    check_count("keep", keep, 0, truth.ndim - 1)
    size = torch.ones(()).to(truth) if unit is None else unit.to(truth)
    gap, whole = (estimate - truth) / size, truth / size
    return gap.flatten(keep).norm(dim=-1) / whole.flatten(keep).norm(dim=-1)


@typed
class LDNet(nn.Module):
    """A latent dynamics network, s_t = s_{t-1} + dt F(s_{t-1}, u), y_t(x) = R(s_t, x).

        net = seeded(0, lambda: LDNet(1, AtPoints(9, 2, 2), (64, 64))).scaled(u, points, fields)
        fit(net, (u, torch.arange(len(u))), loss=Subsampled(fields, points), ...)
        refit(net, u, fields, points, ridge=1e-3)           # the last layer, exactly

    F is a perceptron. The networks see parameters and coordinates in [-1, 1] and fields in units
    of a Normalisation: `scaled` sets these scalings, which are stored with the weights.

    Args:
        inputs: how many parameters u has.
        reconstruction: R, an `AtPoints` or an `InBasis`; it knows how long a latent state is.
        hidden: widths of the layers of F.
        activation: makes the function between two layers of F.
        dt: the time step, in units in which the latent state changes by its own size in a run. A
            step of 1 trains well where one of 0.1 does not.
        start: when s = 0, "before" the first time or at the "first".

    Raises:
        ValueError: sizes that do not fit.
        TypeError: a reconstruction that does not say its sizes.
    """

    u_mean: Tensor
    u_half: Tensor
    x_mean: Tensor
    x_half: Tensor
    y_mean: Tensor
    y_std: Tensor

    def __init__(
        self,
        inputs: int,
        reconstruction: nn.Module,
        hidden: Sequence[int] = (64, 64),
        *,
        activation: Activation = nn.Tanh,
        dt: float = 1.0,
        start: Literal["before", "first"] = "before",
    ):
        super().__init__()
        check_sizes("LDNet", inputs=inputs, hidden=tuple(hidden))
        check_between("dt", dt, 0, math.inf, open_low=True)
        sizes = [getattr(reconstruction, a, None) for a in ("latent", "axes", "outputs")]
        if not all(isinstance(v, int) for v in sizes):
            raise TypeError(
                "reconstruction must be an AtPoints or an InBasis, or have latent, axes and "
                f"outputs as these do, met {type(reconstruction).__name__}"
            )
        self.inputs, self.dt, self.start = inputs, dt, start
        self.latent, self.axes, self.outputs = (int(v or 0) for v in sizes)
        self.dynamics = MLP(self.latent + inputs, self.latent, hidden, activation=activation)
        self.reconstruction = reconstruction
        for name, n in (("u", inputs), ("x", self.axes), ("y", self.outputs)):
            self.register_buffer(f"{name}_mean", torch.zeros(n))
            self.register_buffer("y_std" if name == "y" else f"{name}_half", torch.ones(n))

    @typed
    def scaled(self, u: Tensor, points: Tensor, fields: Any) -> LDNet:
        """This network, with the scalings of training data.

        Args:
            u: parameters `(..., p)`; their smallest and largest become -1 and 1.
            points: `(P, d)`, or two corners of the box `(2, d)`, likewise.
            fields: `(..., C)`, of which the mean and standard deviation are taken; or a
                Normalisation `(C,)`.

        Returns:
            LDNet: the same object.

        Raises:
            ValueError: other numbers of parameters, coordinates or components.
        """
        unit = fields if isinstance(fields, Normalisation) else Normalisation.fit(fields)
        check_input("u of LDNet.scaled", u, (self.inputs,))
        check_input("points of LDNet.scaled", points, (self.axes,), "P")
        mean, std = (torch.as_tensor(v).flatten() for v in (unit.mean, unit.std))
        with torch.no_grad():
            for name, values in (("u", u), ("x", points)):
                rows = values.reshape(-1, values.shape[-1])
                low, high = rows.amin(0), rows.amax(0)
                half = (high - low) / 2
                getattr(self, f"{name}_mean").copy_((low + high) / 2)
                getattr(self, f"{name}_half").copy_(torch.where(half > 0, half, 1.0))
            check_input("fields of LDNet.scaled", std, (self.outputs,), "")
            self.y_mean.copy_(mean.expand_as(self.y_mean))
            self.y_std.copy_(std)
        return self

    def step(self, s: Tensor, u: Tensor) -> Tensor:
        """One step, s + dt F(s, u): `(..., r)` and `(..., p)`, which broadcast, -> `(..., r)`."""
        check_input("s of LDNet", s, (self.latent,))
        check_input("u of LDNet", u, (self.inputs,))
        return self._moved(s, self._driven(u))

    def _driven(self, u: Tensor) -> Tensor:
        """What parameters add to the first layer of F: the same at all times if they are."""
        first: Any = self.dynamics.layers[0]
        v = (u - self.u_mean) / self.u_half
        return v @ first.weight[:, self.latent :].mT + first.bias

    def _moved(self, s: Tensor, driven: Tensor) -> Tensor:
        layers: Any = self.dynamics.layers
        first, *rest = layers
        f = s @ first.weight[:, : self.latent].mT + driven
        for layer in rest:
            f = layer(f)
        return s + self.dt * f

    def latents(self, u: Tensor, times: int | None = None) -> Tensor:
        """The latent states at all times, `(..., T, r)`.

        Args:
            u: constant parameters `(..., p)` with `times`; without it, parameters that change,
                `(..., T, p)`: the step to time t sees those of t ("before") or t - 1 ("first").
            times: T, how many times.

        Returns:
            Tensor: s_0 to s_{T-1}.

        Raises:
            ValueError: u of another shape.
        """
        check_input("u of LDNet", u, (self.inputs,))
        if times is None and u.ndim < 2:
            raise ValueError(
                f"u that changes must be (..., T, {self.inputs}), met shape {tuple(u.shape)}; for "
                "constant u say how many times"
            )
        T = u.shape[-2] if times is None else times
        check_count("times", T)
        driven = self._driven(u)
        at = driven.unbind(-2) if times is None else (driven,) * T
        s = torch.zeros_like(at[0][..., :1]).expand(*at[0].shape[:-1], self.latent)
        found = [] if self.start == "before" else [s]
        for t in range(T - len(found)):
            s = self._moved(s, at[t])
            found.append(s)
        return torch.stack(found, dim=-2)

    def reconstruct(self, s: Tensor, points: Tensor) -> Tensor:
        """Fields at points: `(..., r)` and `(P, d)` -> `(..., P, C)`, in the units of the data.

        A network of points goes through many states in blocks, so that a grid of them needs no
        more memory than its result.
        """
        check_input("s of LDNet", s, (self.latent,))
        check_input("points of LDNet", points, (self.axes,), "P")
        x = (points - self.x_mean) / self.x_half
        net = getattr(self.reconstruction, "net", None)
        wide = (
            self.outputs if net is None or getattr(net, "plain", False) else net.last.in_features
        )
        rows = s.reshape(-1, self.latent)
        room = BLOCK.get(s.device.type, BLOCK["cpu"])
        parts = rows.split(max(1, room // (len(x) * wide)))
        y = torch.cat([self.reconstruction(part, x) * self.y_std + self.y_mean for part in parts])
        return y.reshape(*s.shape[:-1], len(x), self.outputs)

    def forward(self, u: Tensor, points: Tensor, times: int | None = None) -> Tensor:
        """Fields of parameters at all times, `(..., T, P, C)`: see `latents`, `reconstruct`."""
        return self.reconstruct(self.latents(u, times), points)

    @torch.no_grad()
    def error(self, u: Tensor, fields: Tensor, points: Tensor, *, keep: int = 0) -> Tensor:
        """The relative error on trajectories, in units of `y_std`: see `relative_error`.

        Args:
            u: `(S, p)`, or `(S, T, p)` where parameters change.
            fields: `(S, T, P, C)`.
            points: `(P, d)`.
            keep: 0: one number; 1: one a trajectory; 2: one a trajectory and a time.

        Returns:
            Tensor: the error.
        """
        times = None if u.ndim == 3 else fields.shape[1]
        found = [self(u[i : i + 1], points, times) for i in range(len(u))]
        return relative_error(torch.cat(found), fields, unit=self.y_std, keep=keep)
