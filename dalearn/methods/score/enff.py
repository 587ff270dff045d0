"""The ensemble flow filter: members flow to the forecast in straight lines, led by the data.

Flow matching joins a known ensemble, at t = 0, to the forecast's members x_j, at t = 1, by paths
of Gaussians p_t(x | j) = N(m_j(t), s(t)^2 I), and moves members by the mean velocity,

    v(x, t) = sum_j w_j (s' / s (x - m_j) + m_j'),   w_j ~ p_t(x | j).

    F2P  m_j = (1 - t) x'_j + t x_j,  s = sigma_min,  from the last analysis x'_j of each member
    OT   m_j = t x_j,  s = 1 - (1 - sigma_min) t,     from noise N(0, I)

Of the data it sees where a member is bound to, x + (1 - t) v: the gradient G of the likelihood
there times `guidance` is added to the velocity. In many dimensions all weight falls on one path.
An analysis is then a descent of each member alone, from x_j + sigma_min z, along G for a time
`guidance`: where everything is observed as it is, it goes by 1 - exp(-guidance / sigma^2) of the
way to the data, whatever the spread of the ensemble.

Transue, Chen, Takao and Wang, Flow matching for efficient and scalable data assimilation,
arXiv 2508.13313, 2025. Exponential step: see `reverse_time`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from ...array import (
    Array,
    Swept,
    array_namespace,
    check_between,
    check_count,
    check_factor,
    typed,
)
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ...problem.manifold import nearest
from ...problem.observe import Observation
from ..base import Cycle
from ..ensemble.cycle import check_settings, ensemble_cycles
from ..ensemble.inflation import Inflation
from .likelihood import MixedData, PointwiseData, data_of
from .reverse_time import phi1, report
from .sampling import blocks, check_members, draw, shares, turned, unit


@typed
@dataclass(frozen=True, eq=False)
class EnFF:
    """The ensemble flow filter.

    Args:
        members: ensemble size N, an integer >= 2.
        coupling: "F2P", from the last analysis to the forecast, or "OT", from noise.
        sigma_min: standard deviation of the paths' ends, in units of scale, positive.
        guidance: lambda, the factor on the gradient of the likelihood, >= 0, in units of scale^2.
        steps: of the flow.
        sampler: "exponential", where the gradient is linear within a step, or "euler", as
            published.
        field: "one-sample", each member on its own path, or "mixture", as published; the same in
            many dimensions.
        scale: the unit of the state, a number, or one for each component `(n,)`.
        inflation: factor on the analysis anomalies (not their variances), a number or an array
            over the batch, or an object such as RTPS: see Multiplicative.
        vjp: (x, w) -> H'(x)^T w, rows `(..., n)` and `(..., m)`, for the Euler step; None: by
            automatic differentiation.
        unstable: "warn" or "raise" where Euler steps are too long, guidance / steps > 2 sigma^2.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: for a setting of another kind.
        Unstable: with `unstable="raise"`, in a run.

    Source: Transue, Chen, Takao and Wang, Flow matching for efficient and scalable data
    assimilation, arXiv 2508.13313, 2025.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    coupling: Literal["F2P", "OT"] = "F2P"
    sigma_min: float = 0.05
    guidance: float = 0.05
    steps: int = 10
    sampler: Literal["exponential", "euler"] = "exponential"
    field: Literal["one-sample", "mixture"] = "mixture"
    scale: Swept = 1.0
    inflation: Swept | Inflation = 1.0
    vjp: Callable | None = None
    unstable: Literal["warn", "raise"] = "warn"

    def __post_init__(self):
        check_settings(self)
        check_count("steps", self.steps)
        check_between("sigma_min", self.sigma_min, 0, 1, open_low=True)
        check_between("guidance", self.guidance, 0, 1e300, open_low=False)
        check_factor("scale", self.scale)
        if self.vjp is not None and self.sampler != "euler":
            raise ValueError('vjp belongs to sampler="euler", met sampler="exponential"')

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        before: list[Ensemble] = []
        told: list[None] = []

        def leaving(analysis, _):
            before[:] = [analysis]

        def update(forecast, Y, y, observe):
            if self.sampler == "euler" and not told:
                told.append(self._check(forecast.members, y, observe))
            angles, start = getattr(problem, "angles", None), before[0].members
            start = nearest(angles, start, forecast.members)
            E = enff(forecast.members, start, y, observe, rng, self)
            return Ensemble.unchecked(E)

        settings = problem, rng, self.members, self.inflation
        return ensemble_cycles(*settings, update, leaving=leaving)

    def _check(self, E: Array, y: Array, observe: Observation) -> None:
        scale = unit(self.scale, E)
        c = data_of(observe, y, E, scale, vjp=None, curved=True).largest(E / scale)
        report("EnFF", self.steps, self.guidance * c / 2, self.unstable)


@typed
def enff(
    E: Array, before: Array, y: Array, observe: Observation, rng: Any, settings: EnFF
) -> Array:
    """One analysis: members flow from the last analysis, or from noise, to the forecast.

    Args:
        E: members of the forecast, `(..., N, n)`.
        before: the members that they were forecast from, `(..., N, n)`.
        y: data `(..., m)` without NaN.
        observe: the observing system, its noise masked where nothing was seen.
        rng: Streams over the batch, or a `numpy.random.Generator`.
        settings: an EnFF.

    Returns:
        Members of the analysis, `(..., N, n)`.

    Raises:
        ValueError: when shapes disagree.
        TypeError: for an `rng` that draws no normal numbers.
    """
    check_members(E, y, observe)
    if before.shape != E.shape:
        raise ValueError(
            f"before has shape {tuple(before.shape)}, wanted that of E, {tuple(E.shape)}"
        )
    scale, curved = unit(settings.scale, E), settings.sampler == "exponential"
    x1, x0 = E / scale, before / scale
    data = data_of(observe, y, E, scale, vjp=settings.vjp, curved=curved)
    data = turned(data, observe, y, E)
    if settings.field == "mixture" or isinstance(data, MixedData):
        return scale * flowed(x0, x1, data, rng, settings)
    parts = [flowed(x0[..., at], x1[..., at], data.columns(at), rng, settings) for at in blocks(E)]
    return scale * (parts[0] if len(parts) == 1 else array_namespace(E).concat(parts, axis=-1))


def flowed(
    x0: Array, x1: Array, data: PointwiseData | MixedData, rng: Any, settings: EnFF
) -> Array:
    """Members after all steps of the flow from x0 to x1."""
    K, low, strength = settings.steps, settings.sigma_min, settings.guidance
    share, dt = strength / K, 1 / K
    noisy, z = settings.coupling == "OT", draw(rng, x1)
    x, way = (z, x1) if noisy else (x0 + low * z, x1 - x0)
    for k in range(K):
        t, v = k / K, way
        s = 1 - (1 - low) * t if noisy else low
        if settings.field == "mixture":
            w = shares(x, t * x1 if noisy else x0 + t * way, s * s)
            v = w @ way
        if noisy:  # the centres of the paths are t x_j, and `way` is x_j
            v = v - (1 - low) / s * (x - t * v)
        G, C = data.pull(x + (1 - t) * v)
        if settings.sampler == "exponential":
            G = C.functions(lambda c: (phi1(share * c + 1e-12),))[0].times(G)
        x = x + dt * v + share * G
    return x
