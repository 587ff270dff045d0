"""Checks that ensemble filters share."""

from __future__ import annotations

from typing import Any

from ...array import Array, check_count
from ...covariances.base import Covariance
from ...covariances.matrices import Diagonal
from .inflation import check_inflation


def check_ensemble(members: int, inflation: Any) -> None:
    """Raise ValueError unless there are two members or more and inflation is positive."""
    check_count("members", members, 2)
    check_inflation(inflation)


def check_update(E: Array, Y: Array, y: Array, R: Covariance) -> None:
    """Raise ValueError unless members, observed numbers and devices agree in all four."""
    m = R.n
    if E.ndim < 2 or E.shape[-2] < 2 or Y.shape[-2:] != (E.shape[-2], m) or y.shape[-1:] != (m,):
        raise ValueError(
            f"met E {tuple(E.shape)}, Y {tuple(Y.shape)}, y {tuple(y.shape)}, R of dimension "
            f"{m}; wanted E (..., N, n), Y (..., N, m), y (..., m), R of m, and N >= 2"
        )
    if not E.device == Y.device == y.device:
        raise ValueError(
            f"mixed devices, met E on {E.device}, Y on {Y.device}, y on {y.device}; wanted one"
        )


def check_independent(R: Covariance) -> None:
    """Raise ValueError for errors with correlations: whitened, they have no place of their own."""
    if not isinstance(getattr(R, "inner", R), Diagonal):
        raise ValueError(
            f"localization wants independent observation errors, met {type(R).__name__}; wanted "
            "Diagonal: multiply data and operator by R^-1/2"
        )
