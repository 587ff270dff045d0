"""Lorenz-63 twins of papers: Sakov et al. 2012, Bocquet and Sakov 2012, Anderson 2010, de Wiljes.

Steps of 0.01 from x0 ~ N((1.509, -1.531, 25.46), 2 I), without model error. The papers differ in
the number of steps between observations, in the components that are observed and in their errors.
(What trains the networks that imitate Lorenz-63 stands in `lorenz63`.)
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..covariances.matrices import Diagonal
from ..methods import (
    ETKF,
    OI,
    Climatology,
    EnKF,
    EnKFN,
    EnSRF,
    ExtendedKF,
    IEnKS,
    ParticleFilter,
)
from ..models import Lorenz63
from ..problem.belief import Gaussian
from ..problem.observe import Observation, Subset, identity
from ..problem.problem import Problem
from ..problem.twin import twin
from .case import Case, Score


def butterfly(
    cycles: int, *, steps: int = 25, variance: float = 2.0, seen: int = 3, **settings: Any
) -> Problem:
    """The twin that the papers share.

    Args:
        cycles: number of observation times.
        steps: model steps of 0.01 from one observation time to the next.
        variance: error variance of each observed component.
        seen: how many components are observed, from the first on.
        settings: of `twin`; `observation` replaces the observing system.

    Returns:
        The Problem.
    """
    start = Gaussian(np.array([1.509, -1.531, 25.46]), Diagonal(2 * np.ones(3)))
    operator = identity if seen == 3 else Subset(range(seen))
    observation = Observation(operator, Diagonal(variance * np.ones(seen)))
    observation = settings.pop("observation", observation)
    return twin(Lorenz63(), observation, start, cycles, steps=steps, **settings)


sakov2012 = Case(
    "sakov2012",
    "Lorenz-63, all three components observed every 25 steps of 0.01, R = 2 I",
    "Sakov, Oliver and Bertino, Mon. Wea. Rev. 140, 2012, table 1; scores as listed in DAPPER's "
    "mods/Lorenz63/sakov2012.py",
    butterfly,
    cycles=1000,
    skip=64,
    scores=(
        Score("climatology", Climatology(), 7.6),
        Score("OI, B of the climate", OI(cycled=False), 1.25),
        Score("OI, 0.1 B, cycled (3D-Var)", OI(factor=0.1), 1.04),
        Score(
            "ExtendedKF x1.9",
            ExtendedKF(inflation=1.9),
            0.92,
            "1.9 on standard deviations a cycle is 180 on variances a time unit",
        ),
        Score("ETKF N=3 x1.30", ETKF(3, inflation=1.30), 0.80),
        Score("ETKF N=10 x1.02 haar", ETKF(10, inflation=1.02, rotate="haar"), 0.60),
        Score("EnKF N=10 x1.04", EnKF(10, inflation=1.04), 0.65),
        Score("EnKF N=100 x1.01", EnKF(100, inflation=1.01), 0.56),
        Score("EnKF-N N=3", EnKFN(3), 0.60),
        Score("EnKF-N N=10 haar", EnKFN(10, rotate="haar"), 0.54),
        Score("IEnKS N=10 lag 1 x1.02 haar", IEnKS(10, inflation=1.02, rotate="haar"), 0.31),
        Score(
            "particles N=100 reg 2.4 NER 0.3",
            ParticleFilter(100, regularization=2.4, resample_below=0.3),
            0.38,
        ),
        Score(
            "particles N=800 reg 0.9 NER 0.2",
            ParticleFilter(800, regularization=0.9, resample_below=0.2),
            0.28,
        ),
    ),
)

bocquet2012 = Case(
    "bocquet2012",
    "Lorenz-63, all three components observed every 25 steps of 0.01, R = I",
    "Bocquet and Sakov, Nonlin. Processes Geophys. 19, 2012, figure 11; scores as listed in "
    "DAPPER's mods/Lorenz63/bocquet2012.py",
    partial(butterfly, variance=1.0),
    cycles=1000,
    skip=64,
    scores=(
        Score("IEnKS N=10 lag 1 x1.02 haar", IEnKS(10, inflation=1.02, rotate="haar"), 0.22),
        Score("IEnKS N=3 lag 1 x1.04", IEnKS(3, inflation=1.04), 0.23),
    ),
)

anderson2010 = Case(
    "anderson2010",
    "Lorenz-63, all three components observed every 12 steps of 0.01, R = 8 I",
    "Anderson, Mon. Wea. Rev. 138, 2010, figure 10; scores as listed in DAPPER's "
    "mods/Lorenz63/anderson2010rhf.py",
    partial(butterfly, steps=12, variance=8.0),
    cycles=2000,
    skip=133,
    scores=(
        Score("EnSRF N=20 x1.01 haar", EnSRF(20, inflation=1.01, rotate="haar"), 0.87),
        Score("EnKF-N N=20 haar", EnKFN(20, rotate="haar"), 0.87),
    ),
)

wiljes2017 = Case(
    "wiljes2017",
    "Lorenz-63, only the first component observed every 12 steps of 0.01, R = 8",
    "de Wiljes, Acevedo and Reich, 2016 (DAPPER: wiljes2017), figure 1; scores as listed in "
    "DAPPER's mods/Lorenz63/wiljes2017.py",
    partial(butterfly, steps=12, variance=8.0, seen=1),
    cycles=1000,
    skip=33,
    scores=(
        Score("OI, B of the climate", OI(cycled=False), 5.4),
        Score("OI, 0.3 B, cycled (3D-Var)", OI(factor=0.3), 3.0),
        Score("EnKF-N N=5", EnKFN(5), 2.68),
        Score("EnKF-N N=30 haar", EnKFN(30, rotate="haar"), 2.52),
        Score(
            "particles N=35 reg 1.4 NER 0.3",
            ParticleFilter(35, regularization=1.4, resample_below=0.3),
            2.05,
        ),
    ),
)
