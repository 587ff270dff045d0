"""Sizes and rates of the networks of LD-EnSF's reduced set-ups, chosen on validation runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

SENSORS, ERROR = 10, 0.01  # a side of the grid; of latent states behind the encoder
RIDGES = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)


class Layer(NamedTuple):
    """A last layer: how many features it has, learned ones and sines drawn, and modes it gives.

    The covariance of the drawn frequencies is `size` times that of the learned ones.
    """

    learned: int
    drawn: int
    size: float
    modes: int


@dataclass(frozen=True)
class Recipe:
    """How the networks of a set-up are made.

    Args:
        latent: numbers in a latent state.
        features: learned ones, sines of the latent state.
        harmonics: functions along each axis.
        kept: how many of them are kept, 0 for all.
        modes: principal sums of harmonics, of which the networks give the coefficients.
        epochs: of the dynamics.
        dt: of the latent dynamics.
        gain: of the first weights of the features: how fine they are.
        robust: the last layer for latent states that err.
        sharp: the last layer for exact ones.
        encoder: epochs of the encoder.
        rate: of learning, at the start.
    """

    latent: int
    features: int
    harmonics: int
    kept: int
    modes: int
    epochs: int
    dt: float
    gain: float
    robust: Layer
    sharp: Layer
    encoder: int
    rate: float = 5e-3


RECIPES = {
    "kolmogorov": Recipe(
        *(9, 256, 43, 0, 220, 1500, 1.0, 3.0),
        robust=Layer(256, 380, 16.0, 193),
        sharp=Layer(0, 380, 16.0, 218),
        encoder=400,
    ),
    "shallow-water": Recipe(
        *(10, 256, 40, 1000, 224, 600, 0.3, 3.0),
        robust=Layer(256, 1044, 4.0, 200),
        sharp=Layer(0, 1500, 3.0, 180),
        encoder=250,
        rate=7e-3,
    ),
}
