"""A small network that learns what a polynomial leaves of an operator in a box.

    N(v) = s * (tanh(u A + a) W),   u = (v - centre) inverse,

with s the root mean square of each component of what is left. Weights are found by Adam (Kingma
and Ba, ICLR 2015) from the same start in each experiment, and each experiment's stay its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...array import Array, Purpose, array_namespace, as_tensor, convert, generator

UPDATES, RATE, LEAST = 400, 0.03, 1e-3  # as first set, not tuned


@dataclass(frozen=True, eq=False)
class Perceptron:
    """A function of v `(..., N, c)`, a network for each experiment: `(..., N, m)`.

    Args:
        inner: A, `(..., c, h)`.
        shift: a, `(..., 1, h)`.
        outer: W times s, `(..., h, m)`.
        centre: of the box, `(..., 1, c)`.
        inverse: of the rows that span the box, `(..., c, c)`.
    """

    inner: Array
    shift: Array
    outer: Array
    centre: Array
    inverse: Array

    def _units(self, v: Array) -> Array:
        u = (v - self.centre) @ self.inverse
        return array_namespace(u).tanh(u @ self.inner + self.shift)

    def __call__(self, v: Array) -> Array:
        return self._units(v) @ self.outer

    def derivative(self, v: Array) -> Array:
        """dN/dv, `(..., N, m, c)`: exact."""
        t = self._units(v)
        D = (self.outer.mT[..., None, :, :] * (1 - t * t)[..., None, :]) @ self.inner.mT[
            ..., None, :, :
        ]
        return D @ self.inverse.mT[..., None, :, :]


def trained(
    points: Array, left: Array, hidden: int, seed: int, centre: Array, inverse: Array
) -> Perceptron:
    """The network of `hidden` units fitted to samples.

    Args:
        points: u of the samples, `(S, c)`.
        left: what a polynomial leaves at them, `(..., S, m)`.
        hidden: h.
        seed: of the first weights.
        centre: of the box, `(..., 1, c)`.
        inverse: of the rows that span the box, `(..., c, c)`.

    Returns:
        The network, in the library of `left`.
    """
    import torch

    Y, u = as_tensor(left).detach(), convert(points, as_tensor(left))
    lead, c = Y.shape[:-2], u.shape[-1]
    size = (Y * Y).mean(-2, keepdim=True).sqrt()
    Y = Y / torch.where(size > 0, size, torch.ones_like(size))
    rng = generator(Purpose.DESIGN, seed)
    first = (
        rng.standard_normal((c, hidden)) * (1.5 / math.sqrt(c)),
        rng.uniform(-1, 1, (1, hidden)),
        rng.standard_normal((hidden, Y.shape[-1])) * (0.1 / math.sqrt(hidden)),
    )
    with torch.enable_grad():
        A, a, W = (
            convert(np.broadcast_to(w, (*lead, *w.shape)).copy(), Y).requires_grad_()
            for w in first
        )
        adam = torch.optim.Adam((A, a, W), RATE)
        for i in range(UPDATES):
            share = 0.5 * (1 + math.cos(math.pi * i / UPDATES))
            adam.param_groups[0]["lr"] = RATE * (LEAST + (1 - LEAST) * share)
            adam.zero_grad()
            ((torch.tanh(u @ A + a) @ W - Y) ** 2).mean((-2, -1)).sum().backward()
            adam.step()
    A, a, W = (convert(w.detach(), left) for w in (A, a, W * size))
    return Perceptron(A, a, W, centre, inverse)
