"""The twin experiments on which filters are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from dalearn.covariances.matrices import Diagonal
from dalearn.diagnostics.scores import rmse
from dalearn.models import Lorenz63, Lorenz96
from dalearn.problem.belief import Gaussian
from dalearn.problem.observe import Observation, identity
from dalearn.problem.twin import twin
from dalearn.run.assimilate import assimilate

L96_SKIP, L63_SKIP = 400, 64  # cycles not scored


def lorenz96(cycles: int, batch: int | tuple[int, ...] = (), n: int = 40, seed: int = 0) -> Any:
    """Sakov and Oke, Mon. Wea. Rev. 136, 2008: everything observed with unit variance."""
    first = np.eye(n)[0]
    return twin(
        Lorenz96(n=n),
        Observation(identity, Diagonal(np.ones(n))),
        Gaussian(first, Diagonal(0.001 * np.ones(n))),
        cycles,
        seed=seed,
        batch=batch,
    )


def lorenz63(cycles: int, batch: int | tuple[int, ...] = (), seed: int = 0) -> Any:
    """Sakov, Oliver and Bertino, Mon. Wea. Rev. 140, 2012: observed every 25 steps."""
    return twin(
        Lorenz63(),
        Observation(identity, Diagonal(2 * np.ones(3))),
        Gaussian(np.array([1.509, -1.531, 25.46]), Diagonal(2 * np.ones(3))),
        cycles,
        steps=25,
        seed=seed,
        batch=batch,
    )


def ours(problem: Any, method: Any, seed: Any = 0) -> None:
    """What a user does: run, then score."""
    rmse(assimilate(problem, method, progress=False, seed=seed))
