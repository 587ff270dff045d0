"""Fields as sums of fixed functions of space: a network then gives their coefficients.

    y(x) = sum_k c_k Phi_k(x) ,    Phi `(K, P, C)` at P points for the C components of a field

`Harmonics` are cosines (or, on a torus, cosines and sines): they need no data and no file.
`Modes` are sums of harmonics that carry most of the variance of training fields (POD): fewer
coefficients for the same error. What a basis cannot say is its floor, `Basis.floor`: measure it
first, no network of its coefficients is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..array import check_count, typed
from .nets import check_input, check_sizes


class Basis(nn.Module):
    """What the bases share; each has `count` K, `axes`, `outputs` C, and `at(x)`, Phi `(K, P, C)`.

    Points `(P, axes)` lie in the box [-1, 1] along each axis.
    """

    count: int
    axes: int
    outputs: int

    def at(self, x: Tensor) -> Tensor:
        """The functions at points `(P, axes)`: Phi `(K, P, C)`."""
        raise NotImplementedError

    def forward(self, c: Tensor, x: Tensor) -> Tensor:
        """Coefficients `(..., K)` -> the field at the points, `(..., P, C)`."""
        Phi = self.at(x)
        return (c @ Phi.flatten(1)).unflatten(-1, Phi.shape[1:])

    def inverse(self, x: Tensor) -> Tensor:
        """What gives the coefficients of least squares of a field at the points, `(K, P, C)`."""
        Phi = self.at(x)
        return pseudo_inverse(Phi.flatten(1)).reshape(Phi.shape)

    def project(self, fields: Tensor, x: Tensor) -> Tensor:
        """The coefficients `(..., K)` of least squares of fields `(..., P, C)` at the points."""
        check_input(f"fields of {type(self).__name__}.project", fields, (len(x), self.outputs))
        return fields.flatten(-2) @ self.inverse(x).flatten(1).mT

    def floor(self, fields: Tensor, x: Tensor) -> float:
        """|field - its projection| / |field| over all that is given."""
        gap = self.forward(self.project(fields, x), x) - fields
        return float(gap.norm() / fields.norm())


def pseudo_inverse(Phi: Tensor) -> Tensor:
    """That of functions `(K, rows)` at the rows of data, `(K, rows)`."""
    K, rows = Phi.shape
    if rows < K:
        raise ValueError(
            f"{rows} values at the points do not say {K} coefficients; wanted more points, or "
            "fewer functions"
        )
    Q, R = torch.linalg.qr(Phi.mT.double())
    return torch.linalg.solve_triangular(R, Q.mT, upper=True).to(Phi)


@typed
class Harmonics(Basis):
    """Products of cosines along the axes, each of mean square 1: cos(k pi (x + 1) / 2).

    Smooth fields whose normal derivative is 0 at the rim have coefficients that fall fast; others
    fall like 1 / k^2. `periodic`: cos(k pi x) and sin(k pi x) instead.

    Args:
        modes: functions along each axis; with `periodic` an odd number, 1 + 2 k.
        outputs: components of the field.
        periodic: the box is a torus.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(self, modes: Sequence[int], outputs: int = 1, *, periodic: bool = False):
        super().__init__()
        check_sizes("Harmonics", modes=tuple(modes), outputs=outputs)
        if not modes or (periodic and any(m % 2 == 0 for m in modes)):
            wanted = "one number an axis, odd ones on a torus"
            raise ValueError(f"modes of Harmonics must be {wanted}, met {tuple(modes)}")
        self.modes, self.axes, self.outputs = tuple(modes), len(modes), outputs
        self.periodic, self.scalars = periodic, math.prod(modes)
        self.count = self.scalars * outputs

    def scalar(self, x: Tensor) -> Tensor:
        """The functions of one component, `(scalars, P)`."""
        check_input("Harmonics", x, (self.axes,), "P")
        found = torch.ones_like(x[:, :1])
        for axis, modes in enumerate(self.modes):
            at = x[:, axis, None]
            k = torch.pi * torch.arange(1, modes // 2 + 1 if self.periodic else modes).to(x)
            if self.periodic:
                waves = torch.cat(((k * at).cos(), (k * at).sin()), -1)
            else:
                waves = (k / 2 * (at + 1)).cos()
            line = torch.cat((torch.ones_like(at), 2**0.5 * waves), dim=-1)
            found = (found[:, :, None] * line[:, None, :]).flatten(1)
        return found.mT

    def at(self, x: Tensor) -> Tensor:
        """Phi `(scalars C, P, C)`: function k of component c stands at k C + c."""
        return self._apart(self.scalar(x))

    def _apart(self, one: Tensor) -> Tensor:
        """What acts on one component `(scalars, P)`, on all: `(scalars C, P, C)`."""
        eye = torch.eye(self.outputs).to(one)
        return (one[:, None, :, None] * eye[:, None, :]).flatten(0, 1)

    def inverse(self, x: Tensor) -> Tensor:
        """As for every basis; each component alone."""
        return self._apart(pseudo_inverse(self.scalar(x)))

    def forward(self, c: Tensor, x: Tensor) -> Tensor:
        """Coefficients `(..., K)` -> the field, each component from its own coefficients."""
        check_input("Harmonics", c, (self.count,))
        c = c.unflatten(-1, (self.scalars, self.outputs))
        return (c.mT @ self.scalar(x)).mT


@typed
class Modes(Basis):
    """Sums of other functions, Phi_j = sum_k M_jk h_k: a few that carry most of the variance.

    `Modes.fit` makes them of training fields. The matrix M is stored with the weights of a
    network: at half precision (`.half()` before saving) it is small enough to be shipped where the
    modes on the grid are not.

    Args:
        harmonics: the functions h, such as Harmonics.
        count: how many modes.

    Raises:
        ValueError: more modes than harmonics.
    """

    matrix: Tensor

    def __init__(self, harmonics: Basis, count: int):
        super().__init__()
        check_count("count of Modes", count, 1, harmonics.count)
        self.harmonics, self.count = harmonics, count
        self.axes, self.outputs = harmonics.axes, harmonics.outputs
        self.register_buffer("matrix", torch.zeros(count, harmonics.count))

    @classmethod
    @typed
    def fit(cls, fields: Tensor, points: Tensor, harmonics: Basis, count: int) -> Modes:
        """The modes of training fields: the leading right singular vectors of their harmonics.

        Args:
            fields: `(..., P, C)`, in units in which components count equally.
            points: `(P, axes)`, in the box.
            harmonics: the functions they are made of.
            count: how many.

        Returns:
            Modes: the first is the strongest.

        Raises:
            ValueError: more modes than harmonics or fields.
        """
        c = harmonics.project(fields, points).flatten(0, -2).double()
        check_count("count of Modes", count, 1, min(c.shape))
        made = cls(harmonics, count).to(fields)
        made.matrix.copy_(torch.linalg.eigh(c.mT @ c).eigenvectors.flip(-1)[:, :count].mT)
        return made

    def at(self, x: Tensor) -> Tensor:
        return self.harmonics(self.matrix, x)

    def forward(self, c: Tensor, x: Tensor) -> Tensor:
        """Coefficients `(..., K)` -> the field, through the harmonics where these are fewer."""
        check_input("Modes", c, (self.count,))
        few = c.shape[:-1].numel() < self.count
        return self.harmonics(c @ self.matrix, x) if few else super().forward(c, x)
