"""The last layer of an LDNet, solved exactly: stage 2 of its training.

With the latent states as they are, the reconstruction is linear in its last layer, and one ridge
regression (`normal`) stands in the place of an epoch budget. Features may be added at will: sines
whose frequencies are drawn with the covariance of the learned ones.

The ridge decides more than the fit. A small one makes a decoder that turns an error of 1 % in
the latent state, as an encoder makes, into 50 % of the field. Choose it on validation data at the
error that the latent states will have: `latent_error`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..array import Purpose, check_between, check_count, generator, typed
from .ldnet import LDNet, relative_error
from .normal import Normal
from .reconstruction import AtPoints, InBasis, features_of

RIDGES = tuple(10.0**k for k in range(-10, 1))


@typed
@dataclass(frozen=True, eq=False)
class Refitted:
    """What `refit` found.

    Args:
        net: the network with its new last layer.
        ridge: the ridge that it was solved with.
        errors: of each ridge tried, the relative errors on the validation data, at exact latent
            states and at those with `latent_error`.
        sums: of the regression.
    """

    net: LDNet
    ridge: float
    errors: dict[float, tuple[float, float]]
    sums: Normal = field(repr=False)

    def at(self, ridge: float) -> LDNet:
        """The network with the layer of another ridge, at next to no cost."""
        check_between("ridge", ridge, 0, math.inf, open_low=False)
        return install(copy.deepcopy(self.net), *self.sums.solve(ridge))


@typed
def widened(net: LDNet, extra: int, *, size: float = 1.4, seed: int = 0) -> LDNet:
    """A copy of a network with more features, sin(A' z + a'), which its last layer ignores so far.

    Args:
        net: an LDNet.
        extra: how many; those that it had are replaced.
        size: A' ~ N(0, size C) with the covariance C of the learned first weights; a' is uniform.
        seed: of the draws.

    Returns:
        LDNet: the copy.

    Raises:
        ValueError: a count that is no integer >= 0.
        TypeError: a reconstruction that is no `AtPoints` or `InBasis`.
    """
    check_count("extra", extra, 0)
    check_count("seed", seed, 0, math.inf)
    check_between("size", size, 0, math.inf, open_low=True)
    made = copy.deepcopy(net)
    inner = features_of(made)
    A = inner.first.weight.detach()
    values, V = torch.linalg.eigh(torch.cov(A.double().mT, correction=0).reshape(len(A[0]), -1))
    rng = generator(Purpose.WEIGHTS, seed)
    z = torch.from_numpy(rng.standard_normal((extra, len(V)))).to(V)
    weight = (z * (size * values.clamp_min(0)).sqrt()) @ V.mT
    inner.extra_weight = weight.to(A)
    inner.extra_bias = torch.from_numpy(rng.uniform(0, 2 * math.pi, extra)).to(A)
    learned, old, inner.extra = inner.last.in_features - inner.extra, inner.last, extra
    inner.last = nn.Linear(learned + extra, inner.outputs).to(A)
    with torch.no_grad():
        inner.last.weight.zero_()
        inner.last.weight[:, :learned] = old.weight[:, :learned]
        inner.last.bias.copy_(old.bias)
    return made


@typed
@torch.no_grad()
def refit(
    net: LDNet,
    train: tuple[Tensor, Tensor],
    points: Tensor,
    *,
    validation: tuple[Tensor, Tensor] | None = None,
    ridge: float | Sequence[float] = RIDGES,
    latent_error: float = 0.0,
    count: int | None = None,
    extra: int = 0,
    size: float = 1.4,
    seed: int = 0,
) -> Refitted:
    """The network with the last layer of its reconstruction solved by ridge regression.

    Of an `InBasis` the targets are the coefficients of the data, which is the same where its
    functions are orthonormal on the points.

    Args:
        net: a trained LDNet; it stays as it is.
        train: parameters `(S, p)` and fields `(S, T, P, C)`; fields may be a file in memory, or
            elsewhere than the network: they are read a trajectory at a time.
        points: `(P, d)`.
        validation: the same of other trajectories, where the ridge is chosen.
        ridge: a number >= 0 in units of the mean diagonal of the Gram matrix; or several, of which
            the one with the least error on the validation data is taken.
        latent_error: the share of their standard deviation by which the latent states of the
            validation data are perturbed for that choice: the error of what will give them.
        count: points of each trajectory that are looked at, drawn anew for each; all of them if
            None, and of an `InBasis`, whose functions are orthonormal on all of them only.
        extra: features to add, see `widened`.
        size: of their frequencies.
        seed: of their draws, and of the perturbation.

    Returns:
        Refitted: the network, the ridge, the errors of all ridges tried.

    Raises:
        ValueError: several ridges without validation data, or data of other shapes.
    """
    ridges: list[float] = list(ridge) if isinstance(ridge, Sequence) else [ridge]
    check_between("ridge", ridges, 0, math.inf, open_low=False)
    check_between("latent_error", latent_error, 0, 1, open_low=False)
    if count is not None:
        check_count("count", count)
        count = None if isinstance(net.reconstruction, InBasis) else count
    if len(ridges) > 1 and validation is None:
        raise ValueError("several ridges want validation data to choose on, met none")
    made = widened(net, extra, size=size, seed=seed) if extra else copy.deepcopy(net)
    place = net.u_mean.device
    points, train = points.to(place), (train[0].to(place), train[1])
    sums = gathered(made, *train, points, count, seed)
    layers = {value: sums.solve(value) for value in ridges}
    errors: dict[float, tuple[float, float]] = {}
    if validation is not None:
        u, fields = validation[0].to(place), validation[1]
        s = made.latents(u, None if u.ndim == 3 else fields.shape[1])
        off = shaken(s, latent_error, seed)
        told = {"count": count, "seed": seed + 1}
        both = (_errors(made, [*layers.values()], z, fields, points, **told) for z in (s, off))
        errors = dict(zip(layers, zip(*both, strict=True), strict=True))
    best = min(errors, key=lambda k: errors[k][1]) if errors else ridges[0]
    return Refitted(install(made, *layers[best]), best, errors, sums)


@torch.no_grad()
def install(net: LDNet, weight: Tensor, bias: Tensor) -> LDNet:
    """The network with this last layer, in place."""
    last = features_of(net).last
    last.weight.copy_(weight)
    last.bias.copy_(bias)
    return net


@typed
@torch.no_grad()
def sensitivity(
    net: LDNet, latents: Tensor, share: float, *, points: Tensor, seed: int = 0
) -> float:
    """How much the field changes when latent states err, |R(s + e) - R(s)| / |R(s)|.

    A network with a larger one than the error it may make itself cannot be used behind an encoder
    whose error is `share`.

    Args:
        net: an LDNet.
        latents: states `(..., r)` as it makes them.
        share: the standard deviation of e, as a share of that of each number of the states.
        points: `(P, d)`.
        seed: of e.

    Returns:
        float: the change, relative, in units of the network's `y_std`.

    Raises:
        ValueError: a negative share.
    """
    check_between("share", share, 0, math.inf, open_low=False)
    return error_at(net, shaken(latents, share, seed), net.reconstruct(latents, points), points)


def spots(size: int, count: int | None, seed: int) -> Iterator[Any]:
    """Which of the points of a trajectory are looked at, for one after another."""
    rng = generator(Purpose.TRAINING, seed, 0, 3)
    while True:
        all_of_them = count is None or count >= size
        yield slice(None) if all_of_them else np.sort(rng.permutation(size)[:count])


def gathered(
    net: LDNet,
    u: Tensor,
    fields: Tensor,
    points: Tensor,
    count: int | None = None,
    seed: int = 0,
) -> Normal:
    """The sums over some points of each trajectory, one at a time."""
    inner, R = features_of(net), net.reconstruction
    if fields.ndim != 4 or len(fields) != len(u) or fields.shape[2] != len(points):
        raise ValueError(
            f"wanted fields ({len(u)}, T, {len(points)}, {net.outputs}) of {len(u)} parameters at "
            f"{len(points)} points, met {tuple(fields.shape)}"
        )
    sums = Normal(inner.last.in_features, inner.outputs)
    x = (points - net.x_mean) / net.x_half
    inverse = R.basis.inverse(x).flatten(1).mT if isinstance(R, InBasis) else x
    latents = net.latents(u, None if u.ndim == 3 else fields.shape[1])
    for run, s, spot in zip(fields, latents, spots(len(x), count, seed), strict=False):
        y = (run[:, spot].to(s) - net.y_mean) / net.y_std
        if isinstance(R, InBasis):
            sums.add(inner.features(s), y.flatten(-2) @ inverse)
        elif isinstance(R, AtPoints) and inner.plain:
            sums.add_products(*R.halves(s, x[spot]), y)
        elif isinstance(R, AtPoints):
            for state, target in zip(s, y, strict=True):
                sums.add(R.features(state, x[spot]), target)
    return sums


def shaken(s: Tensor, share: float, seed: int) -> Tensor:
    """Latent states `(..., r)` with errors of a share of each number's standard deviation."""
    rng = generator(Purpose.TEST, seed)
    std = s.flatten(0, -2).std(0)
    return s + share * std * torch.from_numpy(rng.standard_normal(tuple(s.shape))).to(s)


def _errors(
    net: LDNet,
    layers: Sequence[tuple[Tensor, Tensor]],
    s: Tensor,
    fields: Tensor,
    points: Tensor,
    **drawn: Any,
) -> list[float]:
    """`error_at` with each last layer; deep features, which cost most, are made once for all."""
    inner, R = features_of(net), net.reconstruction
    if inner.plain or not isinstance(R, AtPoints):
        return [error_at(install(net, *layer), s, fields, points, **drawn) for layer in layers]
    W, b = (torch.cat(v).to(s) for v in zip(*layers, strict=True))
    x = (points - net.x_mean) / net.x_half
    gap, size = torch.zeros(len(layers)).double(), 0.0
    for run, states, spot in zip(fields, s, spots(len(x), **drawn), strict=False):
        for given, state in zip(run[:, spot], states, strict=True):
            truth = (given.to(s) - net.y_mean) / net.y_std
            y = (R.features(state, x[spot]) @ W.mT + b).unflatten(-1, (len(layers), -1))
            gap += (y - truth[:, None]).square().sum((0, 2)).double().cpu()
            size += float((truth + net.y_mean / net.y_std).square().sum())
    return (gap / size).sqrt().tolist()


def error_at(
    net: LDNet,
    s: Tensor,
    fields: Tensor,
    points: Tensor,
    count: int | None = None,
    seed: int = 0,
) -> float:
    """The relative error of the fields of latent states, a trajectory at a time."""
    gap, size = 0.0, 0.0
    both = fields.flatten(0, -4), s.flatten(0, -3)
    for run, state, spot in zip(*both, spots(len(points), count, seed), strict=False):
        part = run[:, spot].to(s)
        whole = float((part / net.y_std).norm()) ** 2
        size += whole
        y = net.reconstruct(state, points[spot])
        gap += whole * float(relative_error(y, part, unit=net.y_std)) ** 2
    return (gap / size) ** 0.5
