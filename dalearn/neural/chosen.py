"""Two bases that say much with few numbers: harmonics that matter, and flows without divergence.

    y(x) = sum_k c_k Phi_k(x)

`Chosen` keeps those of many harmonics that hold most of the variance of training fields: of waves
in a basin a thousand cosines say what takes several thousand in a square of wavenumbers.
`Solenoidal` are the velocities of stream functions: half as many as the harmonics of two
components. Both keep what they have computed at the points that were asked for last, since a grid
is asked for again and again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..array import check_count, typed
from .basis import Basis, Harmonics
from .nets import check_input


class Recalled(Basis):
    """A basis that remembers its functions at the last points, and their least squares."""

    _recalled: tuple[Tensor, Tensor, Tensor | None] | None = None

    def values(self, x: Tensor) -> Tensor:
        """The functions at points `(P, axes)`, `(K, P C)`."""
        known = self._recalled
        if known is None or known[0].dtype != x.dtype or not torch.equal(known[0], x):
            known = x.detach().clone(), self.at(x).flatten(1), None
            self._recalled = known
        return known[1]

    def forward(self, c: Tensor, x: Tensor) -> Tensor:
        """Coefficients `(..., K)` -> the field at the points, `(..., P, C)`."""
        check_input(type(self).__name__, c, (self.count,))
        return (c @ self.values(x)).unflatten(-1, (len(x), self.outputs))

    @torch.no_grad()
    def project(self, fields: Tensor, x: Tensor) -> Tensor:
        """The coefficients `(..., K)` of least squares of fields `(..., P, C)` at the points."""
        check_input(f"fields of {type(self).__name__}.project", fields, (len(x), self.outputs))
        Phi = self.values(x)
        if len(x) * self.outputs < self.count:
            raise ValueError(
                f"{len(x)} points do not say {self.count} coefficients; wanted more of them"
            )
        at, _, solved = self._recalled or (x, Phi, None)
        if solved is None:  # by normal equations: on a grid harmonics are nearly orthonormal
            double = Phi.double()
            root = torch.linalg.cholesky(double @ double.mT)
            solved = torch.cholesky_solve(double, root).to(Phi)
            self._recalled = at, Phi, solved
        return fields.flatten(-2) @ solved.mT


@typed
class Chosen(Recalled):
    """Some of the harmonics: those with the largest mean square in training fields.

    `Chosen.fit` makes them.

    Args:
        harmonics: all of them.
        count: how many are kept.

    Raises:
        ValueError: more than there are.
    """

    index: Tensor

    def __init__(self, harmonics: Harmonics, count: int):
        super().__init__()
        check_count("count of Chosen", count, 1, harmonics.count)
        self.harmonics, self.count = harmonics, count
        self.axes, self.outputs = harmonics.axes, harmonics.outputs
        self.register_buffer("index", torch.arange(count))

    @classmethod
    @typed
    def fit(cls, fields: Tensor, points: Tensor, harmonics: Harmonics, count: int) -> Chosen:
        """The harmonics that are largest in training fields.

        Args:
            fields: `(..., P, C)`, in units in which components count equally.
            points: `(P, axes)`, in the box.
            harmonics: all of them.
            count: how many to keep.

        Returns:
            Chosen: in the order of the harmonics.

        Raises:
            ValueError: more than there are.
        """
        made = cls(harmonics, count)
        if points.ndim != 2 or points.shape[1] != harmonics.axes:
            raise ValueError(
                f"points of Chosen.fit must be (P, {harmonics.axes}), met shape "
                f"{tuple(points.shape)}"
            )
        size = harmonics.project(fields, points).flatten(0, -2).square().mean(0)
        made.index.copy_(size.argsort(descending=True)[:count].sort().values)
        return made

    def at(self, x: Tensor) -> Tensor:
        one = self.harmonics.scalar(x)[self.index // self.outputs]
        which = torch.nn.functional.one_hot(self.index % self.outputs, self.outputs).to(x)
        return one[:, :, None] * which[:, None, :]


@typed
class Solenoidal(Recalled):
    """Velocities without divergence on a torus: (d psi / dy, -d psi / dx) of harmonics psi.

    Each has the mean square 1, both components together. The mean velocity is 0, and axis 0 of the
    points is x.

    Args:
        modes: harmonics along each axis, two odd numbers 1 + 2 k.

    Raises:
        ValueError: other sizes.
    """

    def __init__(self, modes: Sequence[int]):
        super().__init__()
        self.harmonics = Harmonics(modes, 1, periodic=True)
        if len(self.harmonics.modes) != 2:
            raise ValueError(f"modes of Solenoidal must be two numbers, met {tuple(modes)}")
        self.count, self.axes, self.outputs = self.harmonics.count - 1, 2, 2

    def at(self, x: Tensor) -> Tensor:
        check_input("Solenoidal", x, (2,), "P")
        (fx, dx), (fy, dy) = (_line(x[:, i], m // 2) for i, m in enumerate(self.harmonics.modes))
        u = (fx[:, :, None] * dy[:, None, :]).flatten(1)[:, 1:]
        v = -(dx[:, :, None] * fy[:, None, :]).flatten(1)[:, 1:]
        kx, ky = (torch.arange(m // 2 + 1).to(x) for m in self.harmonics.modes)
        kx, ky = torch.cat((kx, kx[1:])), torch.cat((ky, ky[1:]))
        size = (kx[:, None] ** 2 + ky**2).sqrt().flatten()[1:]
        return torch.stack((u / size, v / size), dim=-1).transpose(0, 1)


def _line(x: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """1, cos(k pi x), sin(k pi x) along an axis, of mean square 1, and their slopes over pi."""
    k = torch.arange(1, top + 1).to(x)
    c, s = (2**0.5 * f(torch.pi * k * x[:, None]) for f in (torch.cos, torch.sin))
    one = torch.ones_like(x[:, None])
    return torch.cat((one, c, s), -1), torch.cat((0 * one, -k * s, k * c), -1)
