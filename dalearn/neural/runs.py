"""Interpolated runs in the place of an LDNet: what a filter does without any trained network.

    s_t = (t, v),   R(s_t, x) = sum_s w_s(v) x_s(t, x)

with the weights of `InterpolatedRuns`: a cubic spline over one parameter v, radial cubics over
several. It has what LDEnSF asks of an LDNet, and is the rival that a network has to beat.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..array import to_numpy, typed
from ..models.interpolated import InterpolatedRuns
from .nets import check_input


@typed
class RunsNet(nn.Module):
    """Interpolated runs as a latent dynamics network whose state is the time and the parameter.

        net = RunsNet(InterpolatedRuns(u, pod.encode(states), pod), points)
        LDEnSF(net, points=points, data="raw", method=ETKF(20))

    Args:
        runs: of states `(S, T, C P)`, component by component, or of their POD coefficients.
        points: `(P, d)`, where the numbers of a component are.

    Raises:
        ValueError: for runs without times, or of another number of points.
    """

    u_mean: Tensor
    u_half: Tensor
    known: Tensor
    codes: Tensor
    modes: Tensor
    offset: Tensor
    points: Tensor
    table: Tensor

    def __init__(self, runs: InterpolatedRuns, points: Tensor):
        super().__init__()
        u, x = (torch.from_numpy(to_numpy(v).copy()) for v in (runs.parameters, runs.runs))
        if x.ndim != 3:
            raise ValueError(f"runs must be (S, T, n) or (S, T, r), met shape {tuple(x.shape)}")
        r = x.shape[-1]
        unit = torch.cat((torch.zeros(1, r), torch.eye(r))).to(x)
        if runs.coder is None:
            if len(points) < 1 or r % len(points):
                raise ValueError(
                    f"runs of {r} numbers do not fit {len(points)} points; wanted a multiple"
                )
            offset, modes = torch.zeros(r).to(x), None
        else:
            back = torch.from_numpy(np.asarray(runs.coder.decode(unit.numpy())))
            offset, modes = back[0], back[1:] - back[0]
        n = r if modes is None else modes.shape[1]
        if n % len(points):
            raise ValueError(f"states of {n} numbers do not fit {len(points)} points")
        low, high = u.amin(0), u.amax(0)
        self.inputs, self.latent = u.shape[1], 1 + u.shape[1]
        self.axes, self.outputs, self.times = points.shape[1], n // len(points), x.shape[1]
        v = (u - (low + high) / 2) / ((high - low) / 2)
        order = torch.argsort(v[:, 0])
        v, x = v[order], x[order]
        for name, value in (
            ("u_mean", (low + high) / 2),
            ("u_half", (high - low) / 2),
            ("known", v),
            ("codes", x.movedim(1, 0)),
            ("offset", offset),
            ("modes", torch.zeros(0) if modes is None else modes),
            ("points", points),
            ("table", torch.from_numpy(table(v.double().numpy()))),
        ):
            self.register_buffer(name, value.to(x).contiguous())
        self.like = nn.Parameter(torch.zeros((), dtype=x.dtype), requires_grad=False)

    def weights(self, v: Tensor) -> Tensor:
        """w_s of parameters in units of the runs' range, `(..., p) -> (..., S)`."""
        if self.inputs == 1:
            knots, t = self.known[:, 0].contiguous(), v[..., 0].contiguous()
            i = (torch.searchsorted(knots, t.detach()) - 1).clamp(0, len(knots) - 2)
            h = (t - knots[i])[..., None]
            c = self.table[:, i]  # (4, ..., S), the highest power first
            return ((c[0] * h + c[1]) * h + c[2]) * h + c[3]
        gap = v[..., None, :] - self.known
        cubes = (gap * gap).sum(-1) ** 1.5
        ones = torch.ones_like(v[..., :1])
        return torch.cat((cubes, ones, v), dim=-1) @ self.table

    def step(self, s: Tensor, u: Tensor) -> Tensor:
        """One time further: (t, v) -> (t + 1, v of u); `(..., 1 + p)` and `(..., p)`."""
        v = (u - self.u_mean) / self.u_half
        lead = torch.broadcast_shapes(s.shape[:-1], v.shape[:-1])
        s, v = s.expand(*lead, self.latent), v.expand(*lead, self.inputs)
        return torch.cat((s[..., :1] + 1, v), dim=-1)

    def reconstruct(self, s: Tensor, points: Tensor) -> Tensor:
        """Fields at points of the grid: `(..., 1 + p)` and `(P, d)` -> `(..., P, C)`.

        Between two times they are interpolated in a straight line.
        """
        check_input("s of RunsNet", s, (self.latent,))
        t = (s[..., 0] - 1).clamp(0, self.times - 1)
        w, columns = self.weights(s[..., 1:]), self._columns(points)
        first = t.detach().floor().clamp(max=max(0, self.times - 2))
        share = (t - first)[..., None]
        y = self._at(w, first.long(), columns)
        if bool((share != 0).any()):
            y = y + share * (self._at(w, (first + 1).long(), columns) - y)
        return y.unflatten(-1, (self.outputs, len(points))).movedim(-1, -2)

    def _at(self, w: Tensor, t: Tensor, columns: Tensor) -> Tensor:
        """The interpolated numbers of some columns at times `t (...)`."""
        flat, times = w.reshape(-1, w.shape[-1]), t.reshape(-1)
        parts = flat.new_zeros((len(flat), self.codes.shape[-1]))
        for k in times.unique().tolist():
            rows = (times == k).nonzero()[:, 0]
            parts = parts.index_put((rows,), flat[rows] @ self.codes[k])
        if self.modes.numel():
            parts = parts @ self.modes[:, columns] + self.offset[columns]
        else:
            parts = parts[:, columns]
        return parts.reshape(*w.shape[:-1], len(columns))

    def _columns(self, points: Tensor) -> Tensor:
        """Which numbers of a state belong to points of the grid, component by component."""
        P = len(self.points)
        if points.shape == self.points.shape and torch.equal(points, self.points):
            at = torch.arange(P)
        else:
            near = torch.cdist(points.double(), self.points.double()).min(dim=1)
            if bool((near.values > 1e-5).any()):
                raise ValueError("RunsNet knows fields at the points of its grid only")
            at = near.indices
        return (P * torch.arange(self.outputs)[:, None] + at).flatten()


def table(v: np.ndarray) -> np.ndarray:
    """Coefficients of the weights: spline `(4, S - 1, S)`, radial cubics `(S + 1 + p, S)`."""
    from scipy.interpolate import CubicSpline

    S, p = v.shape
    if p == 1:
        return CubicSpline(v[:, 0], np.eye(S)).c
    gap = np.linalg.norm(v[:, None] - v, axis=-1) ** 3
    linear = np.concatenate((np.ones((S, 1)), v), axis=1)
    A = np.block([[gap, linear], [linear.T, np.zeros((1 + p, 1 + p))]])
    return np.linalg.solve(A, np.concatenate((np.eye(S), np.zeros((1 + p, S)))))
