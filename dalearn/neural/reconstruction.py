"""From a latent state to a field: at any points, or as a sum of fixed functions of space.

    R(s, x) = W phi(s, x) + b      `AtPoints`
    R(s, x) = sum_k c_k(s) Phi_k(x) ,    c(s) = W phi(s) + b      `InBasis`

Both are networks of features (`features`) with a linear last layer. The first knows no grid and
costs as many features as there are pairs of a state and a point, except where all of them are
sines. The second costs one matrix product for a whole grid, and is as good as its functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..array import typed
from .basis import Basis
from .features import SineMLP
from .nets import check_input, check_sizes


@typed
class AtPoints(nn.Module):
    """Fields at any points from a latent state, R(s, x) = W phi(s, x) + b.

    Shapes: states `(..., latent)` and points `(P, axes)` -> `(..., P, outputs)`. The first layer
    is a sum of a part of s and a part of x. Where all features are sines, the whole network is a
    product of a matrix of the states and a matrix of the points, since
    sin(a + c) = sin a cos c + cos a sin c, and no pair of a state and a point has a sine of its
    own.

    Args:
        latent: numbers in a latent state.
        axes: coordinates of a point.
        outputs: components of the field.
        hidden: widths of the layers between.
        periodic: the box of the points, [-1, 1] along each axis, is a torus: the network sees
            cos and sin of pi x.
        settings: those of `SineMLP`: activation, gain, skips, extra.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self,
        latent: int,
        axes: int,
        outputs: int,
        hidden: Sequence[int] = (256,),
        *,
        periodic: bool = False,
        **settings: Any,
    ):
        super().__init__()
        check_sizes("AtPoints", latent=latent, axes=axes, outputs=outputs)
        inputs = latent + axes * (1 + periodic)
        self.net = SineMLP(inputs, outputs, hidden, **settings)
        self.latent, self.axes, self.outputs, self.periodic = latent, axes, outputs, periodic

    def seen(self, x: Tensor) -> Tensor:
        """The points as the network sees them."""
        check_input("AtPoints", x, (self.axes,), "P")
        angle = torch.pi * x
        return torch.cat((angle.cos(), angle.sin()), dim=-1) if self.periodic else x

    def features(self, s: Tensor, x: Tensor) -> Tensor:
        """phi of all pairs, `(..., P, h)`."""
        return self.net.features(s[..., None, :], self.seen(x))

    def halves(self, s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where all are sines: L `(..., 2 h)`, Q `(P, 2 h)`; phi_h is the sum of two products.

        phi_h(s, x) = L_h Q_h + L_{h + H} Q_{h + H}, with H = all features.
        """
        weight, bias = self.net.waves()
        a = s @ weight[:, : self.latent].mT + bias
        c = self.seen(x) @ weight[:, self.latent :].mT
        return torch.cat((a.sin(), a.cos()), -1), torch.cat((c.cos(), c.sin()), -1)

    def forward(self, s: Tensor, x: Tensor) -> Tensor:
        if not self.net.plain:
            return self.net.last(self.features(s, x))
        left, right = self.halves(s, x)
        W = torch.cat((self.net.last.weight, self.net.last.weight), dim=-1)
        # (..., outputs, 2 h) x (2 h, P): states and components together are the rows
        return (left[..., None, :] * W @ right.mT).mT + self.net.last.bias


@typed
class InBasis(nn.Module):
    """Fields from a latent state as sums of fixed functions, R(s, x) = sum_k c_k(s) Phi_k(x).

    Shapes: states `(..., latent)` and points `(P, axes)` -> `(..., P, outputs)`. The network sees
    the state alone, so that all points of a grid cost one matrix product.

    Args:
        latent: numbers in a latent state.
        basis: the functions, `Harmonics` or `Modes`.
        hidden: widths of the layers between.
        settings: those of `SineMLP`: activation, gain, skips, extra.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(self, latent: int, basis: Basis, hidden: Sequence[int] = (256,), **settings: Any):
        super().__init__()
        check_sizes("InBasis", latent=latent)
        self.basis = basis
        self.net = SineMLP(latent, basis.count, hidden, **settings)
        self.latent, self.axes, self.outputs = latent, basis.axes, basis.outputs

    def forward(self, s: Tensor, x: Tensor) -> Tensor:
        return self.basis(self.net(s), x)


def features_of(net: Any) -> SineMLP:
    """The network of features of an LDNet's reconstruction, or TypeError."""
    found = getattr(net.reconstruction, "net", None)
    if not isinstance(found, SineMLP):
        raise TypeError(
            "wanted an LDNet whose reconstruction is an AtPoints or an InBasis, met "
            f"{type(net.reconstruction).__name__}"
        )
    return found
