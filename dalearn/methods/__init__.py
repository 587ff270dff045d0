"""Methods: one file a method; what they share is in base.py, ensemble.py and transform.py."""

from .base import Cycle, Method
from .denkf import DEnKF, denkf
from .enkf import EnKF, enkf
from .enkf_n import EnKFN, enkf_n
from .enks import EnKS, enks
from .ensemble import systematic
from .ensrf import EnSRF, ensrf
from .envar import EnVar4D
from .etkf import ETKF, etkf
from .ienks import IEnKS, gauss_newton
from .interpolation import OI, Climatology, oi
from .kalman import KF, RTS, ExtendedKF, kalman_update, rts_update
from .lbfgs import LBFGS
from .letkf import LETKF, blocks, letkf
from .local_particle import LocalParticleFilter, local_particle, transport
from .matrixfree import IncrementalCG
from .minimise import Found
from .newton import GaussNewton
from .particle import ParticleFilter, effective_size, reweight
from .unscented import UKF, sigma_points, ukf, unscented
from .var3d import Var3D
from .var4d import Var4D
from .variational import Cost
from .weak4d import WeakVar4D, weak4d
from .windows import NotConverged

__all__ = [
    "ETKF",
    "KF",
    "LBFGS",
    "LETKF",
    "OI",
    "RTS",
    "UKF",
    "Climatology",
    "Cost",
    "Cycle",
    "DEnKF",
    "EnKF",
    "EnKFN",
    "EnKS",
    "EnSRF",
    "EnVar4D",
    "ExtendedKF",
    "Found",
    "GaussNewton",
    "IEnKS",
    "IncrementalCG",
    "LocalParticleFilter",
    "Method",
    "NotConverged",
    "ParticleFilter",
    "Var3D",
    "Var4D",
    "WeakVar4D",
    "blocks",
    "denkf",
    "effective_size",
    "enkf",
    "enkf_n",
    "enks",
    "ensrf",
    "etkf",
    "gauss_newton",
    "kalman_update",
    "letkf",
    "local_particle",
    "oi",
    "reweight",
    "rts_update",
    "sigma_points",
    "systematic",
    "transport",
    "ukf",
    "unscented",
    "weak4d",
]
