"""The ensemble score filter: members of the analysis are sampled by a reverse-time diffusion.

Each member starts as noise and is led by the score of the analysis, grad log p(x | y), which is
that of the forecast, known from its members, and h(t) times that of the likelihood. Two scores of
the forecast are in use. The mixture of the published equations weighs all members,

    s(x) = sum_j w_j (a x_j - x) / b^2,   w_j ~ exp(-|x - a x_j|^2 / 2 b^2);

all public code takes one sample, each member its own x_j. Then no member knows of the others, and
an analysis is a relaxation of each to the data: with everything observed and damped likelihood
its gain is that of a background variance eps_beta, whatever the spread of the ensemble.

Bao, Zhang and Zhang, An ensemble score filter for tracking high-dimensional nonlinear dynamical
systems, Comput. Methods Appl. Mech. Engrg. 432, 2024 (equations 11 and 12 of its use in Xiao, Si
and Chen, LD-EnSF, 2024). Unobserved components by regression: J. L. Anderson, A local least
squares framework for ensemble filtering, Mon. Wea. Rev. 131, 2003.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

from ...array import (
    Array,
    Swept,
    array_namespace,
    check_between,
    check_count,
    check_factor,
    row_mean,
    typed,
)
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ...problem.observe import Observation
from ..base import Cycle
from ..ensemble.cycle import check_settings, ensemble_cycles
from ..ensemble.inflation import Inflation
from ..ensemble.localization import Localization
from ..ensemble.tapering import tapers
from .law import Law, law
from .likelihood import MixedData, PointwiseData, data_of
from .regression import repaired
from .reverse_time import Euler, Exponential, Schedule, report
from .sampling import blocks, check_members, draw, mixed, sampled, turned, unit

REFINED = 3  # exponential steps are short near t = 0: times ((K - k) / K)^3


def linear_damping(t: float) -> float:
    """h = 1 - t, as published."""
    return 1.0 - t


@typed
@dataclass(frozen=True, eq=False)
class EnSF:
    """The ensemble score filter.

    An analysis samples each member in `steps` steps of a reverse-time diffusion. The state is
    meant in units of `scale`: eps_beta and the noise at the start, of variance 1, are measured in
    them.

    Args:
        members: ensemble size N, an integer >= 2.
        eps_alpha: what is left of a state in the noise at the start, in (0, 1).
        eps_beta: variance that is left of the noise at the end, in (0, 1]; the background variance
            of the one-sample score. The Euler step also takes 0, and then lives of its own error.
        steps: of the sampler, K.
        sampler: "exponential", with the linear part in closed form, or "euler", as published.
        flow: the probability flow, without noise, in the place of the diffusion.
        score: "one-sample", as all public code has it, or "mixture", as it is published.
        damping: h(t) of the likelihood's score, "linear" for 1 - t, or a function of t in [0, 1];
            "exact": none is needed, as the likelihood weighs the members of the mixture.
        scale: the unit of the state, a number, or one for each component `(n,)`; "spread": the
            standard deviation of the forecast in each, so that the background variance of the
            one-sample score is eps_beta times the ensemble's own; it needs `centred`.
        centred: measure the state from the mean of the forecast, not from 0. From 0, as
            published, an analysis errs by some thousandths of the state itself, since the blurred
            state shrinks and the datum does not.
        regression: a Localization, then components that are not observed follow the observed ones
            by tapered regression; None: they are sampled, which adds eps_beta to their variance
            and takes eps_alpha^2 eps_beta of them away.
        inflation: factor on the analysis anomalies (not their variances), a number or an array
            over the batch, or an object such as RTPS: see Multiplicative.
        clip: the largest absolute value of the score (Euler steps), or None.
        vjp: (x, w) -> H'(x)^T w, rows `(..., n)` and `(..., m)`, for the Euler step; None: by
            automatic differentiation.
        unstable: "warn" or "raise" where Euler steps are too long: where everything is observed
            K > (1 / sigma^2 + 1 / eps_beta) / 2.

    Raises:
        ValueError: for a setting out of its range, and settings that exclude each other.
        TypeError: for a setting of another kind.
        Unstable: with `unstable="raise"`, in a run.

    Source: Bao, Zhang and Zhang, An ensemble score filter for tracking high-dimensional nonlinear
    dynamical systems, Comput. Methods Appl. Mech. Engrg. 432, 2024.
    """

    residuals = True  # takes observed angles: see Observation
    members: int
    _: KW_ONLY
    eps_alpha: float = 0.5
    eps_beta: float = 0.025
    steps: int = 20
    sampler: Literal["exponential", "euler"] = "exponential"
    flow: bool = False
    score: Literal["one-sample", "mixture"] = "one-sample"
    damping: Literal["linear", "exact"] | Callable = "linear"
    scale: Swept | Literal["spread"] = 1.0
    centred: bool = False
    regression: Localization | None = None
    inflation: Swept | Inflation = 1.0
    clip: float | None = None
    vjp: Callable | None = None
    unstable: Literal["warn", "raise"] = "warn"

    def __post_init__(self):
        check_settings(self)
        check_count("steps", self.steps)
        check_between("eps_alpha", self.eps_alpha, 0, 1 - 1e-9, open_low=True)
        euler = self.sampler == "euler"
        check_between("eps_beta", self.eps_beta, 0, 1, open_low=not euler)
        own = isinstance(self.scale, str)
        if own and not self.centred:
            raise ValueError('scale="spread" wants centred=True, met centred=False')
        if not own:
            check_factor("scale", self.scale)
        if self.damping == "exact" and self.score != "mixture":
            raise ValueError(
                'damping="exact" weighs the members of a mixture, met score="one-sample"; wanted '
                'score="mixture"'
            )
        for name, value in (("clip", self.clip), ("vjp", self.vjp)):
            if value is not None and not euler:
                raise ValueError(f'{name} belongs to sampler="euler", met sampler="exponential"')
        if self.clip is not None:
            check_between("clip", self.clip, 0, 1e300, open_low=True)
        if self.regression is not None and self.score != "one-sample":
            raise ValueError('regression wants score="one-sample", met "mixture"')

    def path(self) -> list[Euler] | list[Exponential]:
        """The steps from noise at t = 1 to the analysis at t = 0."""
        schedule, K = Schedule(self.eps_alpha, self.eps_beta), self.steps
        damping = self.damping if callable(self.damping) else linear_damping
        if self.sampler == "euler":
            starts = [1 - k / K for k in range(K)]
            return [Euler(schedule, damping, t, 1 / K, self.flow, self.clip) for t in starts]
        times = [(1 - k / K) ** REFINED for k in range(K + 1)]
        return [Exponential(schedule, damping, *pair, self.flow) for pair in pairwise(times)]

    def law(self, variance: Any) -> Law:
        """What an analysis makes of a number that is observed as it is, by the one-sample score.

        x_a = forecast x_j + data y + noise z, z ~ N(0, 1): the steps of the sampler are affine,
        and these are their composition. With `centred`, x_j, y and x_a are meant from the mean of
        the forecast. Where h is damped linearly and the variance is small,
        data -> eps_beta / (eps_beta + variance).

        Args:
            variance: of the datum's error, a number or an array, in units of scale^2; infinity
                where nothing is observed.

        Returns:
            Law: three numbers, or arrays of them.
        """
        return law(self.path(), 1 / variance)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        if getattr(problem, "angles", None) is not None and not self.centred:
            raise TypeError(
                "EnSF measures the state from 0, met a state with angles, which have no 0; wanted "
                "EnSF(centred=True)"
            )
        taper = tapers(problem, self.regression, solved=True)
        known, told = Known(self), []

        def update(forecast, Y, y, observe):
            if self.sampler == "euler" and not told:
                told.append(check_steps(forecast.members, y, observe, self))
            E = ensf(forecast.members, y, observe, rng, self, known)
            if self.regression is not None:
                E = repaired(forecast, E, observe, taper(observe))
            return Ensemble.unchecked(E)

        return ensemble_cycles(problem, rng, self.members, self.inflation, update)


@typed
def ensf(
    E: Array,
    y: Array,
    observe: Observation,
    rng: Any,
    settings: EnSF,
    known: Known | None = None,
) -> Array:
    """One analysis: each member is led from noise to the analysis by the settings' sampler.

    Args:
        E: members of the forecast, `(..., N, n)`.
        y: data `(..., m)` without NaN.
        observe: the observing system, its noise masked where nothing was seen.
        rng: Streams over the batch, or a `numpy.random.Generator`.
        settings: an EnSF.
        known: what earlier analyses have found out, Known(settings); None to begin anew.

    Returns:
        Members of the analysis, `(..., N, n)`.

    Raises:
        ValueError: when shapes disagree.
        TypeError: for an `rng` that draws no normal numbers.
    """
    check_members(E, y, observe)
    known = Known(settings) if known is None else known
    path, scale = known.path, unit(settings.scale, E)
    m = row_mean(E) if settings.centred else 0.0
    x0 = (E - m if settings.centred else E) / scale

    def back(x):
        return m + scale * x if settings.centred else scale * x

    if settings.damping == "exact":
        y = y[..., None, :]
        d = observe.noise.whiten(y - observe.nearest(observe(E), y))
        fit = -0.5 * array_namespace(d).sum(d * d, axis=-1)[..., None, :]
        return back(sampled(x0, None, path, rng, partial(mixed, x0, fit)))
    data, form = known.of(observe, y, E, scale)
    data = turned(data.seeing(y, m), observe, y, E)
    if settings.score == "mixture":
        return back(sampled(x0, data, path, rng, partial(mixed, x0, 0.0)))
    if isinstance(data, MixedData):
        return back(sampled(x0, data, path, rng))
    if form is not None:
        z = draw(rng, x0)
        d = (data.y - m) / scale
        return back(form.forecast * x0 + form.data * d + form.noise * z)
    parts = [sampled(x0[..., at], data.columns(at), path, rng) for at in blocks(E)]
    return back(parts[0] if len(parts) == 1 else array_namespace(E).concat(parts, axis=-1))


class Known:
    """The steps of an EnSF, and what was made of the last observing system.

    Args:
        settings: the EnSF.
    """

    def __init__(self, settings: EnSF):
        self.settings, self.path = settings, settings.path()
        self.last: tuple[Any, ...] = (None, None, None, None)

    def of(
        self, observe: Observation, y: Array, E: Array, scale: Any
    ) -> tuple[PointwiseData | MixedData, Law | None]:
        """The data in the form that they allow, and the law of an analysis where it has one."""
        operator, noise, data, form = self.last
        settings = self.settings
        fixed = not isinstance(settings.scale, str)
        if fixed and operator is observe.operator and noise is observe.noise:
            return data, form
        form = None
        curved = settings.sampler == "exponential"
        data = data_of(observe, y, E, scale, vjp=settings.vjp, curved=curved)
        closed = settings.clip is None and settings.score == "one-sample"
        if isinstance(data, PointwiseData) and data.linear and closed:
            form = law(self.path, data.weight * data.scale**2)
        self.last = observe.operator, observe.noise, data, form
        return data, form


def check_steps(E: Array, y: Array, observe: Observation, settings: EnSF) -> None:
    """Tell where Euler steps are too long: dt times the rate of contraction is above 2."""
    scale = unit(settings.scale, E)
    c = data_of(observe, y, E, scale, vjp=None, curved=True).largest(E / scale)
    path, share = settings.path(), 0.5 if settings.flow else 1.0
    rates = [share * s.schedule.rate(s.t, s.damping(s.t) * c) for s in path]
    report("EnSF", settings.steps, max(rates) / 2, settings.unstable)
