"""The Lorenz-63 case of TorchDA: an EnKF of fifty members that starts far from the attractor.

The truth starts at (0, 1, 2), with rho = 35 and steps of 0.001, and is the same in all
experiments. All three components are observed every 0.5 with an error of 2; the prior is
N(0, 10^2 I). Estimates are compared every 0.01, so the problem has a row of data every ten steps,
and nearly all rows are empty. The score is the relative error of the mean over the whole path,

    100 (sum_t |mean_t - truth_t|^2 / sum_t |truth_t|^2)^1/2 ,

in per cent, the first guess included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, generator
from ..covariances.matrices import Diagonal
from ..methods import EnKF
from ..models import Lorenz63
from ..models.integrate import trajectory
from ..problem.belief import Gaussian
from ..problem.observe import Observation, identity
from ..problem.problem import Problem
from .case import Case, Score

if TYPE_CHECKING:
    import xarray as xr

EVERY, GAP = 10, 50  # model steps between two rows of data; rows from one observation to the next


def path(
    cycles: int, *, batch: int | tuple[int, ...] = (), seed: int = 0, **settings: Any
) -> Problem:
    """The truth of TorchDA's notebook, and observations of it with other errors for each seed.

    Args:
        cycles: number of rows of data, 0.01 time units apart.
        batch: axes of independent experiments.
        seed: experiment b draws its errors from a stream of its own.
        settings: of Problem.

    Returns:
        The Problem, with its truth.
    """
    model = Lorenz63(rho=35.0, dt=1e-3)
    truth = trajectory(model, np.array([0.0, 1.0, 2.0]), EVERY * cycles)[EVERY::EVERY]
    looks = np.arange(GAP - 1, cycles - 1, GAP)
    batch = batch if isinstance(batch, tuple) else (batch,)
    data = np.full((int(np.prod(batch)), cycles, 3), np.nan)
    for b, rows in enumerate(data):
        errors = generator(Purpose.TWIN, seed + b).standard_normal((len(looks), 3))
        rows[looks] = truth[looks] + 2 * errors
    data = data.reshape(*batch, cycles, 3)
    start = Gaussian(np.zeros(3), Diagonal(100 * np.ones(3)))
    observation = Observation(identity, Diagonal(4 * np.ones(3)))
    truth = np.broadcast_to(truth, data.shape)
    return Problem(model, observation, start, data, steps=EVERY, truth=truth, **settings)


def relative_error(result: xr.Dataset, skip: int) -> xr.DataArray:
    """The relative error of the mean over the whole path.

    Args:
        result: what `assimilate` returned.
        skip: how many rows at the beginning are not scored.

    Returns:
        Per cent, `(case...,)`.
    """
    late = result.isel(time=slice(skip, None))
    error = late["mean"].sel(stage="analysis") - late["truth"]
    over = ("time", "x")
    return 100 * ((error**2).sum(over) / (late["truth"] ** 2).sum(over)) ** 0.5


cheng2025 = Case(
    "cheng2025",
    "Lorenz-63 with rho = 35, all components observed every 0.5 with an error of 2, from far away",
    "Cheng, Min, Liu and Arcucci, TorchDA, Comput. Phys. Commun. 306, 2025, and its notebook "
    "on the EnKF",
    path,
    cycles=2500,
    skip=0,
    scores=(
        Score(
            "EnKF N=50",
            EnKF(50),
            27.2,
            "one seed; here the median of 96 is 20.9, 95 % lie below 24.6, one above 27.2",
        ),
    ),
    measure=relative_error,
    unit="relative error of the mean over the path, in per cent",
)
