"""Inflation: what an ensemble filter does against its own overconfidence, after each analysis.

A finite ensemble underestimates its errors, and the model has errors that it does not know. Each
inflation here acts on the analysis anomalies and leaves the mean alone; any ensemble filter takes
any of them as `inflation`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple, Protocol

from ...array import (
    Array,
    Swept,
    array_namespace,
    check_between,
    check_factor,
    device,
    lift,
    row_mean,
    typed,
)
from ...covariances.base import Covariance
from ...problem.belief import Ensemble


class Evidence(NamedTuple):
    """What an analysis was made from: image `Y (..., N, m)`, data `y (..., m)`, their errors."""

    Y: Array
    y: Array
    R: Covariance


Inflate = Callable[[Ensemble, Ensemble, Evidence], tuple[Ensemble, dict[str, Any]]]


class Inflation(Protocol):
    """What every kind of inflation does, such as RTPS."""

    def begin(self, like: Array, batch: tuple[int, ...]) -> Inflate:
        """The function of forecast, analysis and evidence that inflates.

        Args:
            like: an array of the problem's library and dtype.
            batch: the sizes of the problem's batch axes.

        Returns:
            The function.
        """
        ...


@typed
@dataclass(frozen=True, eq=False)
class Multiplicative:
    """X <- factor X: anomalies times the factor, and so variances times its square.

    A plain number, or an array over the batch, as `inflation` means this. The other inflations are
    RTPP, RTPS and Adaptive. (A setting named `factor` elsewhere, as in OI or Var3D, multiplies a
    covariance, and so acts on variances.)

    Args:
        factor: above 0, 1 for none, a number or an array over the problem's batch axes.

    Raises:
        ValueError: when a factor is not positive.

    Source: Anderson and Anderson, Mon. Wea. Rev. 127, 1999.
    """

    factor: Swept = 1.0

    def __post_init__(self):
        check_factor("factor", self.factor)

    def begin(self, like: Array, batch: tuple[int, ...]) -> Inflate:
        """The function of forecast, analysis and evidence that inflates."""
        factor = lift(self.factor, like, batch, "inflation")
        if isinstance(factor, float) and factor == 1.0:
            return lambda forecast, analysis, evidence: (analysis, {})
        return lambda forecast, analysis, evidence: (scaled(analysis, factor), {})


@typed
@dataclass(frozen=True, eq=False)
class RTPP:
    """Relaxation to prior perturbations: X_a <- (1 - alpha) X_a + alpha X_f.

    Args:
        alpha: in [0, 1], 0 for none, a number or an array over the problem's batch axes.

    Raises:
        ValueError: when alpha is out of its range.

    Source: Zhang, Snyder and Sun, Mon. Wea. Rev. 132, 2004.
    """

    alpha: Swept

    def __post_init__(self):
        check_between("alpha", self.alpha, 0, 1, open_low=False)

    def begin(self, like: Array, batch: tuple[int, ...]) -> Inflate:
        """The function of forecast, analysis and evidence that inflates."""
        alpha = lift(self.alpha, like, batch, "alpha")

        def inflate(forecast, analysis, evidence):
            X = (1 - alpha) * analysis.anomalies + alpha * forecast.anomalies
            return Ensemble.of(analysis._mean, X), {}

        return inflate


@typed
@dataclass(frozen=True, eq=False)
class RTPS:
    """Relaxation to prior spread: sigma_a <- (1 - alpha) sigma_a + alpha sigma_f, componentwise.

    X_a <- X_a (1 + alpha (sigma_f - sigma_a) / sigma_a).

    Args:
        alpha: in [0, 10], 0 for none; above 1 the spread overshoots; a number or an array over the
            problem's batch axes.

    Raises:
        ValueError: when alpha is out of its range.

    Source: Whitaker and Hamill, Mon. Wea. Rev. 140, 2012.
    """

    alpha: Swept

    def __post_init__(self):
        check_between("alpha", self.alpha, 0, 10, open_low=False)

    def begin(self, like: Array, batch: tuple[int, ...]) -> Inflate:
        """The function of forecast, analysis and evidence that inflates."""
        alpha = lift(self.alpha, like, batch, "alpha")
        xp = array_namespace(like)

        def inflate(forecast, analysis, evidence):
            before, after = forecast.std[..., None, :], analysis.std[..., None, :]
            some = xp.where(after > 0, after, xp.ones_like(after))  # 0 / 0: nothing to stretch
            return scaled(analysis, 1 + alpha * (before - after) / some), {}

        return inflate


@typed
@dataclass(frozen=True, eq=False)
class Adaptive:
    """Multiplicative inflation estimated from the innovations as the run goes on.

    Of the whitened innovation d and images S the forecast says E d^T d = m + tr(S^T S) / (N - 1).
    The squared factor that would make it true, given that the ensemble carries the last factor f,
        g = f^2 (d^T d - m) / (tr(S^T S) / (N - 1)),  with variance 2 (f^2 + m f^2 / tr)^2 / m,
    is taken as a measurement of f^2 in a scalar Kalman filter. The estimate of f is reported as
    `inflation`. Each setting may be an array over the problem's batch axes.

    Args:
        factor: first guess of f, above 0.
        variance: variance of the first guess of f^2, in [0, 1e6].
        drift: by how much that variance grows at each cycle, in [0, 1e6].
        floor: least f, above 0.

    Raises:
        ValueError: when a setting is out of its range.

    Source: Wang and Bishop, J. Atmos. Sci. 60, 2003; Li, Kalnay and Miyoshi, Q. J. R. Meteorol.
    Soc. 135, 2009; Miyoshi, Mon. Wea. Rev. 139, 2011 (here one factor for the whole state).
    """

    factor: Swept = 1.0
    _: KW_ONLY
    variance: Swept = 0.04**2
    drift: Swept = 0.01**2
    floor: Swept = 1.0

    def __post_init__(self):
        check_factor("factor", self.factor)
        check_between("variance", self.variance, 0, 1e6, open_low=False)
        check_between("drift", self.drift, 0, 1e6, open_low=False)
        check_between("floor", self.floor, 0, 1e3, open_low=True)

    def begin(self, like: Array, batch: tuple[int, ...]) -> Inflate:
        """The function of forecast, analysis and evidence that inflates."""
        xp = array_namespace(like)
        factor, variance, drift, floor = (
            lift(getattr(self, name), like, batch, name)
            for name in ("factor", "variance", "drift", "floor")
        )
        none = xp.zeros((*batch, 1, 1), dtype=like.dtype, device=device(like))
        square, variance, lowest = none + factor**2, none + variance, none + floor**2

        def inflate(forecast, analysis, evidence):
            nonlocal square, variance
            Y, y, R = evidence
            h = row_mean(Y)
            S, d = R.whiten(Y - h), R.whiten(y[..., None, :] - h)
            seen = R.whiten(R.color(xp.ones_like(d)))  # 1, and 0 where nothing was observed
            m = xp.sum(seen * seen, axis=-1, keepdims=True)
            trace = xp.sum(S * S, axis=(-2, -1), keepdims=True) / (Y.shape[-2] - 1)
            usable = (m > 0.5) & (trace > 0)
            m, trace = xp.where(usable, m, 1 + 0 * m), xp.where(usable, trace, 1 + 0 * trace)
            measured = square * (xp.sum(d * d, axis=-1, keepdims=True) - m) / trace
            error = 2 / m * (square + square * m / trace) ** 2
            before = variance + drift
            gain = xp.where(usable, before / (before + error), 0 * error)
            square = xp.clip(square + gain * (measured - square), lowest, 1e6)
            variance = (1 - gain) * before
            factor = square**0.5
            return scaled(analysis, factor), {"inflation": factor[..., 0, 0]}

        return inflate


def scaled(analysis: Ensemble, factor: Any) -> Ensemble:
    """The ensemble with its anomalies multiplied by a factor."""
    return Ensemble.of(analysis._mean, factor * analysis.anomalies)


def check_inflation(inflation: Any) -> None:
    """Raise ValueError unless `inflation` is positive, or has `begin`."""
    if not hasattr(inflation, "begin"):
        check_factor("inflation", inflation)


def begin(inflation: Any, like: Array, batch: tuple[int, ...]) -> Inflate:
    """The inflating function of a setting: a number, an array over the batch, or an object."""
    kind = inflation if hasattr(inflation, "begin") else Multiplicative(inflation)
    return kind.begin(like, batch)
