"""Small sets of real measurements, labelled and with their sources."""

from .co2 import co2
from .nile import nile

__all__ = ["co2", "nile"]
