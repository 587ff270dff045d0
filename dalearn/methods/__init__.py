"""Methods: one file a method; what they share is the contract in base.py."""

from .base import Cycle, Method
from .enkf import EnKF, enkf
from .etkf import ETKF, etkf
from .kalman import KF, ExtendedKF, kalman_update

__all__ = ["ETKF", "KF", "Cycle", "EnKF", "ExtendedKF", "Method", "enkf", "etkf", "kalman_update"]
