"""Networks whose weights are set so that they are a POD, to round-off."""

from typing import Any

import numpy as np
import torch

from dalearn.neural import VAE, Autoencoder, GraphAutoencoder, seeded


def cloud(count: int, axes: int = 2, seed: int = 0) -> np.ndarray:
    """Scattered points `(count, axes)` of the unit square."""
    return np.random.default_rng(seed).random((count, axes))


@torch.no_grad()
def _set(layer: Any, weight: Any, bias: Any) -> None:
    layer.weight.copy_(torch.as_tensor(weight))
    layer.bias.copy_(torch.as_tensor(bias))


def _first_layer(net: Any) -> Any:
    return net.layers[0]


@torch.no_grad()
def graph(pod: Any, points: np.ndarray) -> GraphAutoencoder:
    """Of one channel: sums with functions of place, and sums of them, hold any linear map."""
    made: Any = seeded(0, GraphAutoencoder, points, 1, pod.r, hidden=(), places=16, neighbours=3)
    net = made.double().at(points)  # a graph in double precision too
    place, draw = net.read(net.graph.places), net.draw(net.graph.places)
    # z = W sum_i x_i f(p_i), where f = share b C^-1 fits: W f^T = modes
    there = torch.linalg.lstsq(net._fitting(place, net.graph), torch.as_tensor(pod.modes).mT)
    width = net.code.in_features // 16 - 1
    weight = torch.zeros(pod.r, width + 1, 16).double()
    weight[:, -1] = there.solution.mT
    _set(net.code, weight.flatten(1), -pod.modes @ pod.mean)
    bend, amounts = _first_layer(net.bend), _first_layer(net.amounts)
    _set(bend, 0 * bend.weight, 0 * bend.bias)
    back = torch.linalg.lstsq(draw, torch.as_tensor(np.vstack((pod.modes, pod.mean))).mT).solution
    _set(amounts, back[:, :-1], back[:, -1])
    return net


def made(pod: Any) -> dict[str, Any]:
    """The networks by name, of states of pod.n numbers; none of them learns."""
    dense = Autoencoder.dense(pod.n, pod.r, ()).double()
    vae = VAE.dense(pod.n, 3, pod.r, ()).double()
    for net, rows in ((dense, pod.r), (vae, 2 * pod.r)):
        weight, bias = np.zeros((rows, pod.n)), np.zeros(rows)
        weight[: pod.r], bias[: pod.r] = pod.modes, -pod.modes @ pod.mean
        _set(_first_layer(net.encoder), weight, bias)
        _set(_first_layer(net.decoder), pod.modes.T, pod.mean)
    found = {"Autoencoder": dense, "VAE": vae, "GraphAutoencoder": graph(pod, cloud(pod.n))}
    return {name: net.requires_grad_(False) for name, net in found.items()}
