"""Clouds of points as graphs: who is near whom, and how much of space each point stands for.

    w_ij ~ 1 - d_ij / rho_i ,   sum_j w_ij = 1 ,   share_i ~ rho_i^dim ,   sum_i share_i = 1 ,

where d_ij is the distance of two points and rho_i that of the nearest point that is no neighbour
any more, whose weight is 0. So it does not matter which of several points at the same distance
comes first, and a graph does not depend on the order of its points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..array import Array, as_floats, check_count, to_numpy, typed


class Graph(NamedTuple):
    """A cloud as a network sees it, or several of one size; tensors `(..., P, ...)`.

    places `(..., P, d)` are in units of the box; near `(..., P, k)` are numbers of the neighbours,
    each point its own first; edges `(..., P, k, d + 1)` point to them in units of rho, which
    stands last in units of the box; weights `(..., P, k)` and share `(..., P)` as above.
    """

    places: Tensor
    near: Tensor
    edges: Tensor
    weights: Tensor
    share: Tensor


def check_points(points: Any, neighbours: int, axes: int | None = None) -> np.ndarray:
    """Points of clouds `(..., P, d)` as NumPy floats.

    Args:
        points: of one cloud or several.
        neighbours: how many a point has, itself among them.
        axes: the d that is wanted, or None for any.

    Returns:
        The points, float64.

    Raises:
        ValueError: for another shape, too few points, and for NaN or infinity.
    """
    at = to_numpy(as_floats(points, "points")).astype(float)
    least = neighbours + 1
    if at.ndim < 2 or 0 in at.shape or at.shape[-2] < least or axes not in (None, at.shape[-1]):
        wanted = f"(..., P, {'d' if axes is None else axes})"
        raise ValueError(
            f"points have shape {at.shape}, wanted {wanted} with P >= {least}: one more than the "
            f"{neighbours} neighbours of a point, itself among them"
        )
    if not np.isfinite(at).all():
        raise ValueError(
            f"{int((~np.isfinite(at).all(-1)).sum())} of the points {at.shape} hold NaN or "
            "infinity; wanted them left out, and what was measured there too"
        )
    return at


def graph_of(points: np.ndarray, neighbours: int, centre: Any, size: float) -> Graph:
    """The graph of a cloud, or of several.

    Args:
        points: `(..., P, d)`, from `check_points`.
        neighbours: k, the point itself among them.
        centre: the place that becomes 0, `(d,)`.
        size: the length that becomes 1.

    Returns:
        Graph: in double precision.

    Raises:
        ValueError: for a place at which stand more than k points.
    """
    from scipy.spatial import KDTree

    places = (points - np.asarray(centre)) / size
    clouds = places.reshape(-1, *places.shape[-2:])
    parts = [np.stack(p) for p in zip(*(_one(c, neighbours, KDTree) for c in clouds), strict=True)]
    made = (torch.from_numpy(p.reshape(*places.shape[:-2], *p.shape[1:])) for p in parts)
    return Graph(torch.from_numpy(places), *made)


def _one(places: np.ndarray, k: int, tree: Any) -> tuple[np.ndarray, ...]:
    """Neighbours, edges, weights and shares of one cloud."""
    distance, near = tree(places).query(places, k + 1)
    reach = distance[:, -1]
    if not (reach > 0).all():
        raise ValueError(
            f"more than {k} points stand at one place, {places[reach == 0][0]} in units of the "
            "box; wanted one point at a place, or more neighbours"
        )
    edges = (places[near[:, :k]] - places[:, None]) / reach[:, None, None]
    last = np.broadcast_to(reach[:, None, None], (*edges.shape[:-1], 1))
    weights = 1 - distance[:, :k] / reach[:, None]
    share = reach ** places.shape[-1]
    parts = np.concatenate((edges, last), -1), weights / weights.sum(-1, keepdims=True)
    return near[:, :k], *parts, share / share.sum()


@typed
@dataclass(frozen=True, eq=False)
class OnClouds:
    """The loss of a GraphAutoencoder on runs each of which has its own cloud.

        loss(net, x, run) = mean |net.at(points[run])(x) - x|^2,

    each channel in units of the network's `std`. The graphs are made once.

    Args:
        points: of the clouds, `(S, P, d)`.
        neighbours: those of the network.

    Raises:
        ValueError: for another shape, too few points, and for NaN.
    """

    points: Array
    neighbours: int = 8
    _made: dict[Any, Graph] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self):
        check_count("neighbours", self.neighbours, 2)
        at = check_points(self.points, self.neighbours)
        if at.ndim != 3:
            raise ValueError(f"points have shape {at.shape}, wanted (S, P, d): one cloud a run")
        object.__setattr__(self, "points", at)

    def __call__(self, net: Any, x: Tensor, run: Tensor) -> Tensor:
        """The loss of states `(b, ..., channels P)` of the runs with these numbers, `(b,)`.

        States of one run behind one another, `(b, T, channels P)`, cost less: functions of place
        are computed once for all of them.
        """
        unit = *net.centre.tolist(), float(net.size)
        if unit not in self._made:
            self._made[unit] = net.graph_of(self.points)
        graph = Graph(*(self._of_run(t, x, run) for t in self._made[unit]))
        seen = net.normal(x)
        gap = net.drawn(net.coded(seen, graph), graph) - seen
        return (gap**2).mean()

    @staticmethod
    def _of_run(part: Tensor, x: Tensor, run: Tensor) -> Tensor:
        """One of the tensors of the graph for each row, with an axis for each other axis of x."""
        part = part[run.cpu()].to(x if part.is_floating_point() else x.device)
        return part[(slice(None), *[None] * (x.ndim - 2))]
