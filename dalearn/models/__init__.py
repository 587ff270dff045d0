"""Dynamical models: one file a model, a frozen dataclass whose call is one time step."""

from .lorenz63 import Lorenz63
from .lorenz96 import Lorenz96
from .pendulum import Pendulum
from .wrap import Surrogate

__all__ = ["Lorenz63", "Lorenz96", "Pendulum", "Surrogate"]
