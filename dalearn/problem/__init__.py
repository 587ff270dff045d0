"""Problems of data assimilation: model, observations, prior and data."""

from .ahead import with_forecast
from .belief import Belief, Ensemble, Gaussian, Point
from .coloured import coloured
from .counts import Poisson
from .interpolate import Interpolate
from .laws import Huber, Laplace, Student
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
    "Huber",
    "Interpolate",
    "Laplace",
    "Linear",
    "Moving",
    "Observation",
    "Point",
    "Pointwise",
    "Poisson",
    "Problem",
    "Student",
    "Subset",
    "coloured",
    "identity",
    "state_and_parameters",
    "twin",
    "with_forecast",
    "with_parameters",
]
