"""Sizes and rates of the networks of LD-EnSF: reduced, chosen on validation runs; of the paper."""

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


@dataclass(frozen=True)
class Published:
    """The networks and the training of a set-up in the text of the paper (tables 3 and 4).

    Args:
        latent: numbers in a latent state.
        dynamics: widths of the layers of the dynamics.
        reconstruction: widths of those of the reconstruction, at points.
        dt: of the latent dynamics: the paper's for a step of the model, times the steps between.
        batch: runs in an update.
        memory: width of the encoder's memory, an LSTM.
        layers: of the memory.
        errors: relative errors of test runs, per cent, after stage 1 and stage 2.
        codes: that of the encoder's codes of exact data.
        points: drawn in an update; 5000 in the paper.
        epochs: of the dynamics, a tenth of the paper's.
        encoder: epochs of the encoder, a tenth of the paper's.
    """

    latent: int
    dynamics: tuple[int, ...]
    reconstruction: tuple[int, ...]
    dt: float
    batch: int
    memory: int
    layers: int
    errors: tuple[float, float]
    codes: float
    points: int = 2000
    epochs: int = 200
    encoder: int = 3000


PUBLISHED = {
    "kolmogorov": Published(
        *(9, 9 * (200,), 15 * (500,), 0.2, 6),
        memory=128,
        layers=1,
        errors=(3.4, 2.0),
        codes=0.2,
    ),
    "shallow-water": Published(
        *(10, 8 * (50,), 7 * (180,), 1.44, 2),
        memory=256,
        layers=2,
        errors=(1.6, 1.2),
        codes=1.5,
    ),
}
