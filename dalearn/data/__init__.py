"""Small sets of real measurements, labelled and with their sources."""

from .nile import nile

__all__ = ["nile"]
