"""Lorenz-96 twins of papers: Sakov and Oke 2008, Sakov et al. 2012, Bocquet and Sakov 2013.

A ring of n variables with F = 8 and a step of 0.05, from x0 ~ N((1, 0, ..., 0), 0.001 I), without
model error. The papers differ in the number of steps between observations.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..covariances.matrices import Diagonal
from ..methods import (
    ETKF,
    LETKF,
    OI,
    Climatology,
    DEnKF,
    EnKF,
    EnKFN,
    EnSRF,
    ExtendedKF,
    IEnKS,
    ParticleFilter,
    Var4D,
)
from ..methods.ensemble.localization import Localization
from ..models import Lorenz96
from ..problem.belief import Gaussian
from ..problem.observe import Observation, identity
from ..problem.problem import Problem
from ..problem.twin import twin
from .case import Case, Score


def ring(cycles: int, *, n: int = 40, steps: int = 1, **settings: Any) -> Problem:
    """The twin that the papers share: all variables are observed with unit error variance.

    Args:
        cycles: number of observation times.
        n: number of variables.
        steps: model steps from one observation time to the next.
        settings: of `twin`; `observation` replaces the observing system.

    Returns:
        The Problem.
    """
    start = Gaussian(np.eye(n)[0], Diagonal(0.001 * np.ones(n)))
    observation = settings.pop("observation", Observation(identity, Diagonal(np.ones(n))))
    return twin(Lorenz96(n=n), observation, start, cycles, steps=steps, **settings)


NEAR, WIDE = Localization.ring(40, 4.0), Localization.ring(40, 6.0)

sakov2008 = Case(
    "sakov2008",
    "Lorenz-96, 40 variables, all observed at every step of 0.05, R = I",
    "Sakov and Oke, Mon. Wea. Rev. 136, 2008, and Tellus A 60, 2008; scores as listed in DAPPER's "
    "mods/Lorenz96/sakov2008.py",
    ring,
    cycles=4000,
    skip=400,
    scores=(
        Score("climatology", Climatology(), 3.6),
        Score("OI, B of the climate", OI(cycled=False), 0.95),
        Score("OI, 0.02 B, cycled (3D-Var)", OI(factor=0.02), 0.41),
        Score(
            "ExtendedKF, 6 on variances a time unit",
            ExtendedKF(inflation=6**0.025),
            0.24,
            "with the tangent of an Euler step; the derivative of the step itself gives 0.21",
        ),
        Score("ExtendedKF, 10 on variances a time unit", ExtendedKF(inflation=10**0.025), 0.24),
        Score("EnKF N=40 x1.06", EnKF(40, inflation=1.06), 0.22),
        Score("EnKF N=28 x1.08", EnKF(28, inflation=1.08), 0.24),
        Score("DEnKF N=40 x1.01", DEnKF(40, inflation=1.01), 0.18),
        Score("EnSRF N=28 x1.02 haar", EnSRF(28, inflation=1.02, rotate="haar"), 0.18),
        Score("ETKF N=28 x1.02 haar", ETKF(28, inflation=1.02, rotate="haar"), 0.18),
        Score("ETKF N=28 x1.02 householder", ETKF(28, inflation=1.02, rotate="householder"), 0.18),
        Score("ETKF N=20 x1.04 haar", ETKF(20, inflation=1.04, rotate="haar"), 0.20),
        Score(
            "ETKF N=24 x1.013 haar",
            ETKF(24, inflation=1.013, rotate="haar"),
            0.18,
            "at the edge of divergence: some seeds lose the truth",
        ),
        Score("EnKF-N N=24 haar", EnKFN(24, rotate="haar"), 0.21),
        Score("EnKF-N N=24 haar, xN=2", EnKFN(24, rotate="haar", xN=2.0), 0.18),
        Score(
            "LETKF N=7 x1.04 radius 4 haar",
            LETKF(7, localization=NEAR, inflation=1.04, rotate="haar"),
            0.22,
        ),
        Score(
            "EnSRF N=7 x1.07 radius 6 haar",
            EnSRF(7, localization=WIDE, inflation=1.07, rotate="haar"),
            0.23,
        ),
        Score("IEnKS N=40 lag 1 x1.01 haar", IEnKS(40, inflation=1.01, rotate="haar"), 0.17),
        Score(
            "particles N=3000 reg 0.7 NER 0.5",
            ParticleFilter(3000, regularization=0.7, resample_below=0.5),
            0.26,
            "two of twenty seeds lose the truth",
        ),
    ),
)

sakov2012_lorenz96 = Case(
    "sakov2012_lorenz96",
    "Lorenz-96, 40 variables, all observed every 12 steps of 0.05, R = I",
    "Sakov, Oliver and Bertino, Mon. Wea. Rev. 140, 2012, table 3; score as listed in DAPPER's "
    "mods/Lorenz96/sakov2008.py",
    partial(ring, steps=12),
    cycles=1000,
    skip=100,
    scores=(Score("IEnKS N=25 lag 1 x1.2 haar", IEnKS(25, inflation=1.2, rotate="haar"), 0.46),),
)

bocquet2013 = Case(
    "bocquet2013",
    "Lorenz-96, 40 variables, all observed every 4 steps of 0.05, R = I",
    "Bocquet and Sakov, Nonlin. Processes Geophys. 20, 2013, figure 4; scores as listed in "
    "DAPPER's mods/Lorenz96/sakov2008.py",
    partial(ring, steps=4),
    cycles=1000,
    skip=80,
    scores=tuple(
        Score(
            f"4D-Var lag {lag}, B x{factor}",
            Var4D(window=lag, shift=1, factor=factor),
            documented,
            f"not reached with this B: {found}; {fit} in its place gives {best}",
        )
        for lag, factor, documented, found, fit, best in (
            (1, 0.2, 0.46, 0.66, 0.013, 0.48),
            (2, 0.1, 0.39, 0.59, 0.006, 0.40),
            (4, 0.02, 0.37, 0.49, 0.002, 0.38),
        )
    ),
)
