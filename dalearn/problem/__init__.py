"""Problems of data assimilation: model, observations, prior and data."""

from .ahead import with_forecast
from .belief import Belief, Ensemble, Gaussian, Point
from .interpolate import Interpolate
from .manifold import Angles
from .observe import Every, Linear, Moving, Observation, Subset, identity
from .parameters import state_and_parameters, with_parameters
from .pointwise import Pointwise
from .problem import Problem
from .twin import twin

__all__ = [
    "Angles",
    "Belief",
    "Ensemble",
    "Every",
    "Gaussian",
    "Interpolate",
    "Linear",
    "Moving",
    "Observation",
    "Point",
    "Pointwise",
    "Problem",
    "Subset",
    "identity",
    "state_and_parameters",
    "twin",
    "with_forecast",
    "with_parameters",
]
