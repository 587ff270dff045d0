"""The quantile-conserving filter: one observation after another, each in two steps.

First the members h of the observed number move to h' by a law of their own (a rank histogram with
or without bounds, a normal or a gamma law), each keeping its quantile. Then the state follows by
regression, linear, or on probits z = Phi^-1(F(x)) of laws of its components:
    x <- x + cov(x, h) / var(h) (h' - h),   or   z <- z + cov(z, z_h) / var(z_h) (z_h' - z_h).
Components that have bounds keep within them on probits alone: no probit is out of reach. Images
of the observations still to come are moved as components of the state are. The laws of components
are those of the forecast; that of an observed number is fitted anew when its turn comes.

Anderson, A non-Gaussian ensemble filter update for data assimilation, Mon. Wea. Rev. 138, 2010
(rank-histogram filter); A quantile-conserving ensemble filter framework, parts I and II, Mon. Wea.
Rev. 150, 2022 and 151, 2023.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import numpy as np

from ...array import Array, Swept, array_namespace, lift, row_mean, shown, typed
from ...covariances.base import Covariance
from ...covariances.matrices import Diagonal
from ...problem.belief import Ensemble
from ...problem.laws import ErrorLaw
from ...problem.like import ProblemLike
from ..base import Cycle
from .checks import prior_of
from .cycle import check_settings, tapered_cycles
from .inflation import Inflation
from .localization import Localization
from .marginals import Fitted, Marginal, NormalMarginal
from .ranks import RankHistogram
from .tapering import Tapers, out_of_reach


@typed
def qceff(
    E: Array | Ensemble,
    Y: Array,
    y: Array,
    R: Covariance,
    *,
    observed: Marginal | None = None,
    state: Marginal | None = None,
    tapers: Tapers | None = None,
    inflation: Swept = 1.0,
    law: ErrorLaw | None = None,
) -> Array:
    """One analysis: the observations one after another, each number by a law of its own.

    Args:
        E: forecast ensemble `(..., N, n)`, an array or an Ensemble.
        Y: its image H(E), `(..., N, m)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m, Diagonal.
        observed: the law of the observed numbers; None: RankHistogram().
        state: the law of the components, on whose probits the regression is made; None: a linear
            regression.
        tapers: by which the regression on each observation is multiplied, or None.
        inflation: with `state`, the factor on the anomalies of the probits of the analysis, a
            number or `(..., 1, 1)`.
        law: of the errors, such as Student(4), with rank histograms; None: normal.

    Returns:
        The members of the analysis `(..., N, n)`.

    Raises:
        ValueError: when N or m disagree, for an R with correlations, and where a law refuses its
            members.
    """
    prior = prior_of(E, Y, y, R)
    if not isinstance(getattr(R, "inner", R), Diagonal):
        raise ValueError(
            f"QCEFF takes observations one by one, met errors {type(R).__name__}; wanted "
            "independent ones, Diagonal: multiply data and operator by R^-1/2"
        )
    seen = RankHistogram() if observed is None else observed
    if law is not None and getattr(seen, "laws", False) is not True:
        raise TypeError(
            f"{type(seen).__name__} takes errors for normal or its own, met the law {law!r}; "
            "wanted observed = RankHistogram()"
        )
    xp, n, m = array_namespace(Y), prior.members.shape[-1], Y.shape[-1]
    lead = np.broadcast_shapes(prior.members.shape[:-2], Y.shape[:-2], y.shape[:-1])
    X, Y = (xp.broadcast_to(a, (*lead, *a.shape[-2:])) + 0.0 for a in (prior.members, Y))
    laws = [seen.one(j, m) for j in range(m)]
    y = y if R.seen is None else xp.where(R.seen, y, float("nan"))
    data = [(y[..., None, j : j + 1], R.variance()[..., None, j : j + 1]) for j in range(m)]
    taper = None if tapers is None else xp.concat((tapers.state, tapers.observed), axis=-1)
    if state is None:
        return _regressed(laws, None, xp.concat((X, Y), axis=-1), n, data, taper, law)
    own = state.fitted(X)
    images = [each.fitted(Y[..., j : j + 1]) for j, each in enumerate(laws)]
    start = own.members()
    probits = xp.concat([start, *(image.members() for image in images)], axis=-1)
    Z = _regressed(laws, images, probits, n, data, taper, law)
    if not isinstance(inflation, float) or inflation != 1.0:
        wide = row_mean(Z) + inflation * (Z - row_mean(Z))
        far = None if tapers is None else out_of_reach(tapers, R.seen)
        Z = wide if far is None else xp.where(far[..., None, :], Z, wide)
    return xp.where(start == Z, X, own.values(Z))  # to the bit where nothing was learned


def _regressed(
    laws: list[Marginal],
    images: list[Fitted] | None,
    Z: Array,
    n: int,
    data: list[tuple[Array, Array]],
    taper: Array | None,
    errors: ErrorLaw | None,
) -> Array:
    """The states, or their probits, `(..., N, n)` after all observations.

    Args:
        laws: of the observed numbers.
        images: None where `Z` holds values, else the laws whose probits the images in it are.
        Z: states and images `(..., N, n + m)`.
        n: how many of the columns are states.
        data: each with its variance `(..., 1, 1)`, NaN where it was not observed.
        taper: `(..., m, n + m)` or None.
        errors: the law of the errors, None for the normal one.
    """
    xp = array_namespace(Z)
    for j, (law, (y, r)) in enumerate(zip(laws, data, strict=True)):
        z = Z[..., n + j : n + j + 1]
        h = z if images is None else images[j].values(z)
        more: Any = () if errors is None else (errors,)
        new = xp.where(xp.isnan(y), h, law.updated(h, y, r, *more))
        if images is not None:
            fit = law.fitted(h)
            z, new = fit.members(), fit.probits(new)
        s = z - row_mean(z)
        v = s.mT @ s
        k = s.mT @ (Z - row_mean(Z)) / xp.where(v > 0, v, xp.ones_like(v))
        if taper is not None:
            k = k * taper[..., j : j + 1, :]
        Z = Z + (new - z) * k
    return Z[..., :n]


@typed
@dataclass(frozen=True, eq=False)
class QCEFF:
    """The quantile-conserving ensemble filter; with its defaults, the rank-histogram filter (RHF).

    With NormalMarginal as the law of what is observed it is the serial filter EnSRF (the EAKF).
    Observation errors have to be independent.

    Args:
        members: ensemble size N, an integer >= 2.
        observed: the law of the observed numbers: RankHistogram(lower, upper), NormalMarginal or
            GammaMarginal(lower).
        state: the law of the state's components, on whose probits the regression is then made, so
            that they keep within its bounds; None: linear regression.
        inflation: factor on the analysis anomalies (not their variances), a number or an array
            over the batch, or an object such as RTPS: see Multiplicative. With `state` a factor,
            on the anomalies of the probits.
        localization: a Localization that tapers the regression, or None.

    Raises:
        ValueError: for a setting out of its range, for errors with correlations, and members
            beyond a bound.
        TypeError: for a law or a localization of another kind, and for an inflation that is no
            factor together with `state`.
    """

    members: int
    _: KW_ONLY
    observed: Marginal = field(default_factory=RankHistogram)
    state: Marginal | None = None
    inflation: Swept | Inflation = 1.0
    localization: Localization | None = None

    def __post_init__(self):
        check_settings(self)
        if self.state is not None and hasattr(self.inflation, "begin"):
            raise TypeError(
                "with a law of the state, inflation acts on its probits; wanted a factor, a "
                f"number or an array over the batch, met {shown(self.inflation)}"
            )

    @property
    def residuals(self) -> bool:
        """Whether observed angles are taken: by a law without bounds."""
        bounds = (getattr(self.observed, name, None) for name in ("lower", "upper"))
        known = isinstance(self.observed, (NormalMarginal, RankHistogram))
        return known and all(b is None for b in bounds)

    @property
    def laws(self) -> bool:
        """Whether errors of any law are taken: by rank histograms of what is observed."""
        return getattr(self.observed, "laws", False) is True

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis for each observation time."""
        laws: dict[str, Any] = {"observed": self.observed, "state": self.state}
        outer = self
        if self.state is not None:
            laws["inflation"] = lift(self.inflation, problem.like, problem.batch, "inflation")
            outer = replace(self, inflation=1.0)

        def update(forecast, Y, y, observe, tapers):
            E = qceff(forecast, Y, y, observe.noise, tapers=tapers, law=observe.law, **laws)
            return Ensemble.unchecked(E)

        return tapered_cycles(problem, rng, outer, update, solved=False)
