"""The twin experiments on which filters are compared."""

from __future__ import annotations

from typing import Any

from dalearn.cases import sakov2008, sakov2012
from dalearn.diagnostics.scores import rmse
from dalearn.problem.problem import Problem
from dalearn.run.assimilate import assimilate


def lorenz96(
    cycles: int, batch: int | tuple[int, ...] = (), n: int = 40, seed: int = 0
) -> Problem:
    """Sakov and Oke, Mon. Wea. Rev. 136, 2008: everything observed with unit variance."""
    return sakov2008.problem(cycles, batch, seed, n=n)


def lorenz63(cycles: int, batch: int | tuple[int, ...] = (), seed: int = 0) -> Problem:
    """Sakov, Oliver and Bertino, Mon. Wea. Rev. 140, 2012: observed every 25 steps."""
    return sakov2012.problem(cycles, batch, seed)


def ours(problem: Any, method: Any, seed: Any = 0) -> None:
    """What a user does: run, then score."""
    rmse(assimilate(problem, method, progress=False, seed=seed))
