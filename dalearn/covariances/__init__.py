"""Covariances: matrices, ensembles, fields on grids, and their sums and blocks."""

from . import kernels
from .base import Covariance, Masked
from .blocks import Blocks, beside
from .diffuse import Diffuse
from .diffusion import Diffusion
from .ensemble import Localized, LowRank
from .given import as_covariance
from .hybrid import Hybrid
from .matrices import Dense, Diagonal
from .on_grid import OnGrid
from .roots import Rows, Updated
from .separable import Separable
from .tapers import Taper, boxcar, gaspari_cohn, hann

__all__ = [
    "Blocks",
    "Covariance",
    "Dense",
    "Diagonal",
    "Diffuse",
    "Diffusion",
    "Hybrid",
    "Localized",
    "LowRank",
    "Masked",
    "OnGrid",
    "Rows",
    "Separable",
    "Taper",
    "Updated",
    "as_covariance",
    "beside",
    "boxcar",
    "gaspari_cohn",
    "hann",
    "kernels",
]
