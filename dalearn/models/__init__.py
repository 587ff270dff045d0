"""Dynamical models: one file a model, a frozen dataclass whose call is one time step."""

from .advection import Advection
from .burgers import Burgers
from .burgers2d import Burgers2D
from .coders import Coder, Extended, Untrained, reconstruction_error
from .dmd import DMD, Growing
from .interpolated import InterpolatedRuns
from .kolmogorov import Kolmogorov
from .kuramoto_sivashinsky import KuramotoSivashinsky
from .landscape import Landscape
from .lorenz63 import Lorenz63
from .lorenz96 import Lorenz96
from .networks import History, Surrogate
from .pendulum import Pendulum
from .pod import POD
from .shallow_water import ShallowWater
from .subcycled import Subcycled
from .transforms import Anamorphosis, Bounded
from .two_scale import Lorenz96TwoScale
from .wildfire import Wildfire
from .windows import Windowed

__all__ = [
    "DMD",
    "POD",
    "Advection",
    "Anamorphosis",
    "Bounded",
    "Burgers",
    "Burgers2D",
    "Coder",
    "Extended",
    "Growing",
    "History",
    "InterpolatedRuns",
    "Kolmogorov",
    "KuramotoSivashinsky",
    "Landscape",
    "Lorenz63",
    "Lorenz96",
    "Lorenz96TwoScale",
    "Pendulum",
    "ShallowWater",
    "Subcycled",
    "Surrogate",
    "Untrained",
    "Wildfire",
    "Windowed",
    "reconstruction_error",
]
