"""Methods: one file a method; what they share is in base.py, ensemble.py and transform.py."""

from .base import Cycle, Method
from .ensemble.denkf import DEnKF, denkf
from .ensemble.enkf import EnKF, enkf
from .ensemble.enkf_n import EnKFN, enkf_n
from .ensemble.enks import EnKS, enks
from .ensemble.ensrf import EnSRF, ensrf
from .ensemble.etkf import ETKF, etkf
from .ensemble.gamma import GammaMarginal
from .ensemble.ienks import IEnKS, gauss_newton
from .ensemble.increments import (
    eakf_increments,
    enkf_increments,
    gamma_increments,
    rhf_increments,
)
from .ensemble.letkf import LETKF, blocks, letkf
from .ensemble.marginals import NormalMarginal
from .ensemble.qceff import QCEFF, qceff
from .ensemble.ranks import RankHistogram
from .gaussian.interpolation import OI, Climatology, oi
from .gaussian.kalman import KF, ExtendedKF, kalman_update
from .gaussian.rts import RTS, ExtendedRTS, rts_update
from .gaussian.unscented import UKF, sigma_points, ukf, unscented
from .gaussian.unscented_rts import UnscentedRTS
from .inversion.esmda import ESMDA, esmda
from .latent.alone import EncoderAlone
from .latent.fitting import OutOfRange, Sensitive
from .latent.gla import GLA, PoorFit
from .latent.latent import Latent
from .latent.ld_ensf import LDEnSF
from .latent.medla import MEDLA
from .latent.observed import Encoded
from .latent.pairs import Leak
from .learned.fourdvarnet import FourDVarNet
from .learned.learned_4dvar import Learned4DVar
from .learned.neural_incremental import NeuralIncremental
from .learned.vivid import VIVID
from .particles.bootstrap import ParticleFilter
from .particles.local import LocalParticleFilter, local_particle, transport
from .particles.resampling import effective_size, reweight, systematic
from .score.enff import EnFF, enff
from .score.ensf import EnSF, ensf
from .score.law import Law
from .score.reverse_time import Unstable
from .score.sda import SDA
from .variational.cost import Cost
from .variational.envar import EnVar4D
from .variational.gauss_newton import GaussNewton
from .variational.incremental_cg import IncrementalCG
from .variational.lbfgs import LBFGS
from .variational.solver import Found, NotConverged
from .variational.var3d import Var3D
from .variational.var4d import Var4D
from .variational.weak4d import WeakVar4D
from .variational.weak_gauss_newton import weak4d

__all__ = [
    "ESMDA",
    "ETKF",
    "GLA",
    "KF",
    "LBFGS",
    "LETKF",
    "MEDLA",
    "OI",
    "QCEFF",
    "RTS",
    "SDA",
    "UKF",
    "VIVID",
    "Climatology",
    "Cost",
    "Cycle",
    "DEnKF",
    "EnFF",
    "EnKF",
    "EnKFN",
    "EnKS",
    "EnSF",
    "EnSRF",
    "EnVar4D",
    "Encoded",
    "EncoderAlone",
    "ExtendedKF",
    "ExtendedRTS",
    "Found",
    "FourDVarNet",
    "GammaMarginal",
    "GaussNewton",
    "IEnKS",
    "IncrementalCG",
    "LDEnSF",
    "Latent",
    "Law",
    "Leak",
    "Learned4DVar",
    "LocalParticleFilter",
    "Method",
    "NeuralIncremental",
    "NormalMarginal",
    "NotConverged",
    "OutOfRange",
    "ParticleFilter",
    "PoorFit",
    "RankHistogram",
    "Sensitive",
    "UnscentedRTS",
    "Unstable",
    "Var3D",
    "Var4D",
    "WeakVar4D",
    "blocks",
    "denkf",
    "eakf_increments",
    "effective_size",
    "enff",
    "enkf",
    "enkf_increments",
    "enkf_n",
    "enks",
    "ensf",
    "ensrf",
    "esmda",
    "etkf",
    "gamma_increments",
    "gauss_newton",
    "kalman_update",
    "letkf",
    "local_particle",
    "oi",
    "qceff",
    "reweight",
    "rhf_increments",
    "rts_update",
    "sigma_points",
    "systematic",
    "transport",
    "ukf",
    "unscented",
    "weak4d",
]
