"""Checks of the settings `residual` of an Observation and `angles` of a Problem."""

from __future__ import annotations

from typing import Any

from ..array import Array, array_namespace, shown
from .manifold import Angles


def check_angles(angles: Any, n: int) -> None:
    """Raise unless the setting `angles` of a Problem is None or an Angles among n components."""
    if angles is None:
        return
    if not isinstance(angles, Angles):
        raise TypeError(f"angles must be an Angles, or None, met {shown(angles)}")
    angles.check(n, "components of the state")


def as_residual(residual: Any, m: int) -> Any:
    """The setting `residual` of an Observation of m numbers; TypeError for what is no function."""
    if residual is None:
        return None
    if not callable(residual) or isinstance(residual, type):
        raise TypeError(
            "residual must be a function (y, h) -> y - h on the manifold, such as Angles(), met "
            f"{shown(residual)}"
        )
    if isinstance(residual, Angles):
        residual.check(m, "observed values")
    return residual


def check_residual(observe: Any, like: Array) -> None:
    """Raise unless the residual of an Observation keeps shapes and is 0 of equal values."""
    if observe.residual is None or isinstance(observe.residual, Angles):
        return
    xp = array_namespace(like)
    y = xp.ones((3, observe.m), dtype=like.dtype, device=like.device) / 4
    try:
        r = observe.residual(y, y)
        shape = tuple(r.shape)
    except Exception as error:
        raise TypeError(
            f"the residual {shown(observe.residual)} cannot be called on two arrays "
            f"{tuple(y.shape)} like the prior's ({error}); wanted (y, h) -> y - h on the manifold"
        ) from error
    if shape != tuple(y.shape) or not bool(xp.all(xp.abs(r) < 1e-6)):
        raise ValueError(
            f"the residual of two equal arrays {tuple(y.shape)} must be 0, of the same shape, met "
            f"{shown(r)}"
        )
