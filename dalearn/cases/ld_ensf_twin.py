"""Twin problems of the set-ups of LD-EnSF: a run that nobody trained on, seen by a few sensors.

The state of the problem is that of the model with the parameter behind it, (x, u). The prior knows
how runs start and nothing about u: its members are drawn from the box, on streams of their own, so
that the true u is never among them. (The released study takes the parameters of the first twenty
test runs for its members, the truth's own among them.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Purpose, check_between, check_count, generator, typed
from ..covariances.matrices import Diagonal
from ..methods.ensemble.localization import Localization
from ..problem.belief import Ensemble
from ..problem.observe import Observation, Subset
from ..problem.parameters import with_parameters
from ..problem.problem import Problem
from .ld_ensf_setup import SetUp


@typed
def twin(
    setup: SetUp,
    truths: Any = 10,
    *,
    sensors: int = 10,
    noise: float = 0.1,
    least: float = 1e-3,
    members: int = 20,
    seed: int = 0,
    dtype: str = "float32",
) -> Problem:
    """The joint problem of state and parameter for true runs, one an experiment.

        y_k = H(x_k) + e_k,   e_k ~ N(0, (noise rms)^2),   z = (x, u),   u ~ U(box),

    where H sees all components at `sensors` x `sensors` points. The times of the data are those of
    the states kept, but for the start of a run.

    Args:
        setup: the set-up.
        truths: how many true runs, with new parameters from the box; or their parameters `(b, p)`.
        sensors: a side of the regular grid of sensors.
        noise: standard deviation of the errors, as a share of each component's `setup.rms`.
        least: the same of R where `noise` is less: a filter cannot take data to be exact.
        members: of the prior ensemble.
        seed: of experiment 0: experiment b draws truth, errors and members from `seed + b`.
        dtype: "float32" or "float64".

    Returns:
        Problem: made by `with_parameters`, with its truth.

    Raises:
        ValueError: for more sensors than points, and shares that are not in [0, 1).
    """
    n = setup.shape[-1]
    check_count("sensors", sensors, 1, n)
    check_count("members", members, 2)
    check_between("noise", noise, 0, 1, open_low=False)
    check_between("least", least, 0, 1, open_low=True)
    count = int(truths) if np.ndim(truths) == 0 else len(truths)
    check_count("truths", count)
    dice = [generator(Purpose.TWIN, seed + b) for b in range(count)]
    u = np.stack([setup.uniform(rng, 1)[0] for rng in dice])
    u = u if np.ndim(truths) == 0 else np.asarray(truths, float)
    H, rms = sensors_of(setup, sensors), np.repeat(setup.rms, sensors**2)
    x = setup.trajectories(u, dtype=dtype)[:, setup.seen]
    errors = np.stack([rng.standard_normal((x.shape[1], len(rms))) for rng in dice])
    data = (H(x) + noise * rms * errors).astype(dtype)
    draws = [generator(Purpose.PARAMETERS, seed + b) for b in range(count)]
    theta = np.stack([setup.uniform(rng, members) for rng in draws])
    starts = setup.start(theta).reshape(count, members, -1)
    gaps = np.diff(np.concatenate(([0], setup.first + setup.every * setup.seen)))
    size = () if setup.p == 1 else (setup.p,)
    problem = Problem(
        setup.model((np.asarray(setup.low) + setup.high) / 2),
        Observation(H, Diagonal((max(noise, least) * rms) ** 2), places(setup, sensors)),
        Ensemble(starts.astype(dtype)),
        data,
        steps=gaps.tolist(),
        shape=setup.shape,
        truth=x.reshape(count, x.shape[1], -1),
    )
    names = {setup.carried: size}
    return with_parameters(problem, names, Ensemble(theta.astype(dtype)), truth=u[:, None])


@typed
def sensors_of(setup: SetUp, sensors: int) -> Subset:
    """All components at a regular grid of points.

    Args:
        setup: the set-up.
        sensors: a side of the grid: points (i + 1/2) n / sensors, rounded down.

    Returns:
        Subset: `(..., *shape)` -> `(..., components sensors^2)`, component by component.
    """
    c, n, _ = setup.shape
    at = (np.arange(sensors) + 0.5) * n // sensors
    which = np.meshgrid(np.arange(c), at, at, indexing="ij")
    return Subset(tuple(i.ravel().astype(int) for i in which))


@typed
def places(setup: SetUp, sensors: int) -> np.ndarray:
    """Where the numbers of `sensors_of` are measured, (row, column) `(m, 2)`."""
    return np.stack(sensors_of(setup, sensors).index[1:], axis=-1).astype(float)


@typed
def localization(setup: SetUp, radius: float) -> Localization:
    """The localization of the joint state: cells of the plane, and parameters that are nowhere.

    Args:
        setup: the set-up.
        radius: in cells.

    Returns:
        Localization: for LETKF and its like. All observations reach the parameters.
    """
    plane = Localization.plane(setup.shape, radius, periodic=setup.periodic)
    return plane.with_globals(setup.p)
