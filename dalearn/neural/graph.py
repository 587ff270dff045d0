"""The graph autoencoder: values at scattered points to a few numbers, and back.

    h_i <- s(A x_i + B b(p_i)),   h_i <- h_i + s(C h_i + sum_j w_ij g(p_j - p_i) * D h_j),
    z = E(sum_i share_i (h_i, x_i) b(p_i)^T C^-1),   C = sum_i share_i b(p_i) b(p_i)^T + ridge,
    x(p) = G(z) b'(p).

Messages go along the edges of a graph of near neighbours (`clouds`), in which g filters by where
the neighbour stands. The code is made of the coefficients with which functions of place b fit
values and messages, by least squares with a learned ridge: it does not depend on the order of the
points, and little on where they are. The decoder is a function of place; it needs no neighbours.
All functions are small networks.

Sources: continuous filters on graphs: K. Schuett et al., SchNet, NeurIPS 2017; decoders as
functions of place: L. Lu et al., Learning nonlinear operators via DeepONet, Nature Machine
Intelligence 3, 2021.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..array import Array, check_between, check_count, typed
from ..models.coders import reconstruction_error
from .clouds import Graph, check_points, graph_of
from .features import SineMLP
from .nets import MLP, Activation, check_input, check_sizes, made_by

RIDGE = 0.01  # at the start, of the mean diagonal of C


class Messages(nn.Module):
    """One round of messages, h_i -> h_i + s(C h_i + sum_j w_ij g(e_ij) * D h_j)."""

    def __init__(self, width: int, axes: int, activation: Activation):
        super().__init__()
        self.own, self.sent = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.filter = MLP(axes + 1, width, (width,), activation=activation)
        self.activation = made_by(activation)

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        passed = self.filter(graph.edges) * graph.weights[..., None]
        sent = self.sent(h)
        if graph.near.ndim == 2:
            at = sent[..., graph.near.flatten(), :].unflatten(-2, graph.near.shape)
        else:
            near = graph.near.expand(*h.shape[:-1], -1)
            rows = near.flatten(-2)[..., None].expand(*h.shape[:-2], -1, h.shape[-1])
            at = sent.gather(-2, rows).unflatten(-2, near.shape[-2:])
        return h + self.activation(self.own(h) + (passed * at).sum(-2))


@typed
class GraphAutoencoder(nn.Module):
    """An autoencoder of values at scattered points: `(..., channels P)` <-> `(..., latent)`.

    The order of the points does not matter: a state with its points in another order has the same
    code. The weights serve any cloud in the same region: `at(points)` is the same network there,
    such as where some sensors are missing. A state is flat, channel by channel. It is a Coder of
    torch tensors; `FieldCoder` makes it one of NumPy arrays too.

    Args:
        points: where the values stand, `(P, d)`. Their box is the unit of place, of other clouds
            too.
        channels: values at a point.
        latent: numbers in a code.
        width: of the messages.
        rounds: of messages; 0: none, which is cheaper and, on smooth fields, as good.
        neighbours: of a point, itself among them.
        places: how many functions of place the encoder sums with; the decoder has four times as
            many.
        hidden: widths of the perceptrons at the code.
        gain: the larger, the finer the first functions of place; see `SineMLP`.
        activation: makes s.

    Raises:
        ValueError: sizes that do not fit, too few points, or more at one place than neighbours.
    """

    mean: Tensor
    std: Tensor
    centre: Tensor
    size: Tensor

    def __init__(
        self,
        points: Array,
        channels: int,
        latent: int,
        *,
        width: int = 24,
        rounds: int = 1,
        neighbours: int = 8,
        places: int = 32,
        hidden: Sequence[int] = (64,),
        gain: float = 10.0,
        activation: Activation = nn.SiLU,
    ):
        super().__init__()
        sizes = {"channels": channels, "latent": latent, "width": width, "places": places}
        check_sizes("GraphAutoencoder", **sizes, hidden=tuple(hidden))
        check_count("rounds", rounds, 0)
        check_count("neighbours", neighbours, 2)
        check_between("gain", gain, 0, 1e6, open_low=True)
        at = check_points(points, neighbours)
        if at.ndim != 2:
            raise ValueError(f"points have shape {at.shape}, wanted (P, d): one cloud")
        low, high = at.min(0), at.max(0)
        axes = at.shape[-1]
        self.register_buffer("mean", torch.zeros(channels, 1))
        self.register_buffer("std", torch.ones(channels, 1))
        self.register_buffer("centre", torch.as_tensor((low + high) / 2).double())
        self.register_buffer("size", torch.tensor(((high - low).max() or 2) / 2).double())
        self.channels, self.latent, self.neighbours = channels, latent, neighbours
        told: dict[str, Any] = {"hidden": tuple(hidden), "activation": activation}
        pooled = (width + channels) * places
        self.first = nn.Linear(channels, width)
        self.where = nn.Linear(places, width, bias=False)
        self.activation = made_by(activation)
        self.rounds = nn.ModuleList(Messages(width, axes, activation) for _ in range(rounds))
        self.read = SineMLP(axes, places, (2 * places,), gain=gain)
        self.code, self.bend = nn.Linear(pooled, latent), MLP(pooled, latent, **told)
        self.ridge = nn.Parameter(torch.tensor(math.log(RIDGE)))
        self.draw = SineMLP(axes, 4 * places, (8 * places,), gain=gain)
        self.amounts = MLP(latent, channels * 4 * places, **told)
        self._stand(at)

    def _stand(self, at: Any) -> None:
        self._points = at
        for name, value in zip(Graph._fields, self.graph_of(at), strict=True):
            value = value.to(self.mean if value.is_floating_point() else self.mean.device)
            self.register_buffer(f"graph_{name}", value, persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> GraphAutoencoder:
        super()._apply(fn, recurse)
        self._stand(self._points)  # in the new precision, without rounding it twice
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._stand(self._points)  # in the unit of place that belongs to the weights

    def graph_of(self, points: Any) -> Graph:
        """The graph of a cloud `(P, d)` or of several `(..., P, d)`, in this network's units."""
        at = check_points(points, self.neighbours, len(self.centre))
        return graph_of(at, self.neighbours, self.centre.cpu().numpy(), float(self.size))

    @property
    def graph(self) -> Graph:
        """The cloud of the states."""
        return Graph(*(getattr(self, f"graph_{name}") for name in Graph._fields))

    @typed
    def at(self, points: Array) -> GraphAutoencoder:
        """This network for states at other points; it shares the weights.

        Args:
            points: `(P', d)`, of any number, in the same units and region.

        Returns:
            GraphAutoencoder: of states `(..., channels P')`.

        Raises:
            ValueError: for points of another shape, too few, or with NaN.
        """
        other = copy.copy(self)
        other._buffers = dict(self._buffers)  # else both would move
        other._non_persistent_buffers_set = set(self._non_persistent_buffers_set)
        at = check_points(points, self.neighbours, len(self.centre))
        if at.ndim != 2:
            raise ValueError(f"points have shape {at.shape}, wanted (P, d): one cloud")
        other._stand(at)
        return other

    @property
    def n(self) -> int:
        """How many numbers a state has."""
        return self.channels * len(self._points)

    @property
    def r(self) -> int:
        """How many numbers a code has."""
        return self.latent

    def scaled(self, train: Tensor) -> GraphAutoencoder:
        """This network, with mean and standard deviation of each channel of the training data."""
        x = train.reshape(-1, self.channels, train.shape[-1] // self.channels)
        with torch.no_grad():
            self.mean.copy_(x.mean((0, 2))[:, None])
            self.std.copy_(x.std((0, 2))[:, None])
        return self

    def normal(self, x: Tensor) -> Tensor:
        """States `(..., channels P)` as the networks see them, `(..., channels, P)`."""
        return (x.unflatten(-1, (self.channels, -1)) - self.mean) / self.std

    def coded(self, seen: Tensor, graph: Graph) -> Tensor:
        """Codes `(..., latent)` of `normal` states at the points of a graph, or of several.

        Of several, axes before those of one graph broadcast against those of the states.
        """
        x = seen.mT
        place = self.read(graph.places)
        h = self.activation(self.first(x) + self.where(place))
        for messages in self.rounds:
            h = messages(h, graph)
        fitted = torch.cat((h, x), -1).mT @ self._fitting(place, graph)
        pooled = fitted.flatten(-2)
        return self.code(pooled) + self.bend(pooled)

    def _fitting(self, place: Tensor, graph: Graph) -> Tensor:
        """share_i b(p_i)^T C^-1 of each point, `(..., P, places)`."""
        shared = place * graph.share[..., None]
        gram = shared.mT @ place
        size = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        eye = torch.eye(place.shape[-1]).to(place)
        return torch.linalg.solve(gram + self.ridge.exp() * size * eye, shared.mT).mT

    def drawn(self, z: Tensor, graph: Graph) -> Tensor:
        """`normal` states `(..., channels, P)` that codes stand for, at the points of a graph."""
        return self.amounts(z).unflatten(-1, (self.channels, -1)) @ self.draw(graph.places).mT

    def encode(self, x: Tensor) -> Tensor:
        """States `(..., channels P)` -> codes `(..., latent)`."""
        check_input("states of GraphAutoencoder", x, (self.n,))
        z = self.coded(self.normal(x.reshape(-1, self.n)), self.graph)
        return z.reshape(*x.shape[:-1], self.latent)

    def decode(self, z: Tensor) -> Tensor:
        """Codes `(..., latent)` -> states `(..., channels P)`."""
        check_input("codes of GraphAutoencoder", z, (self.latent,))
        x = self.drawn(z.reshape(-1, self.latent), self.graph) * self.std + self.mean
        return x.reshape(*z.shape[:-1], self.n)

    def floor(self, test: Tensor) -> float:
        """The error that remains without any assimilation: see `reconstruction_error`."""
        with torch.no_grad():
            return reconstruction_error(self, test)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))
