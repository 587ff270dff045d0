"""Unobserved components by regression on the increments of the observed ones.

    dx_u = C_uo C_oo^-1 dx_o,   C = rho o X^T X,

with the anomalies X of the forecast, tapered by a localization: the second step of a two-step
filter, whatever moved the observed components. J. L. Anderson, A local least squares framework
for ensemble filtering, Mon. Wea. Rev. 131, 2003.
"""

from __future__ import annotations

from ...array import Array, array_namespace, convert, eye, sane, shown, solve, where_ok
from ...problem.belief import Ensemble
from ...problem.border import unwrapped
from ...problem.observe import Observation
from ...problem.pointwise import pointwise
from ..ensemble.tapering import Tapers
from .likelihood import spread


def regressed(X: Array, Z: Array, moved: Array, tapers: Tapers, seen: Array | None) -> Array:
    """What the increments of the observed components imply for all components.

    Args:
        X: anomalies of the forecast, `(..., N, n)`.
        Z: those of the observed components, `(..., N, m)`.
        moved: increments of the observed components, `(..., N, m)`, or of a mean, `(..., 1, m)`.
        tapers: how much each counts at each.
        seen: which were observed, `(..., m)`, or None for all.

    Returns:
        Increments `(..., N, n)`, those of the observed components as they are given.
    """
    xp, m = array_namespace(X), Z.shape[-1]
    size = xp.sum(Z * Z, axis=-2) ** 0.5
    size = xp.where(size > 0, size, 1.0)
    S = Z / size[..., None, :]  # each in its own units
    A = tapers.observed * (S.mT @ S)
    if seen is not None:
        both = seen[..., :, None] & seen[..., None, :]
        A = xp.where(both, A, eye(m, A))
        moved = xp.where(seen[..., None, :], moved, 0.0)
    A, ok = sane(A + float(xp.finfo(A.dtype).eps) ** 0.5 * eye(m, A))
    B = tapers.state * (S.mT @ X)
    if seen is not None:
        B = xp.where(seen[..., :, None], B, 0.0)
    return where_ok(ok, (moved / size[..., None, :]) @ solve(A, B))


def repaired(forecast: Ensemble, E: Array, observe: Observation, tapers: Tapers) -> Array:
    """The analysis whose unobserved components follow the observed ones by regression."""
    H, seen, xp = observe.operator, observe.noise.seen, array_namespace(E)
    found = pointwise(H, E.shape[-1], E)
    if found is None:
        raise ValueError(
            "regression wants an operator that picks components, or Pointwise, met "
            f"{shown(unwrapped(H))}"
        )
    index = convert(found[1], E)
    Z = forecast.anomalies[..., index]
    step = regressed(forecast.anomalies, Z, (E - forecast.members)[..., index], tapers, seen)
    every = xp.ones_like(observe.noise.variance(), dtype=xp.bool) if seen is None else seen
    own = spread(every[..., None, :], found[1], E.shape[-1])
    return xp.where(own, E, forecast.members + step)
