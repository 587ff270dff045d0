"""Optimal interpolation, and the climatology that it starts from: yardsticks for every filter.

Optimal interpolation is one Kalman analysis with a covariance B that is given and never changes,
    K = B H^T (H B H^T + R)^-1,  x_a = x_b + K (y - H x_b),  P_a = B - K H B,
where the background x_b is a forecast from the last analysis, or the climatological mean. The
climatology is what is known before any data: the Gaussian with the mean and the covariance of
the model's long run.

L. S. Gandin, Objective Analysis of Meteorological Fields, 1963; A. Eliassen, 1954, reprinted in
Bengtsson, Ghil and Kallen, Dynamic Meteorology: Data Assimilation Methods, 1981; A. C. Lorenc, A
global three-dimensional multivariate statistical interpolation scheme, Mon. Wea. Rev. 109, 1981.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any

from ...array import (
    Array,
    Jacobian,
    Recall,
    Swept,
    array_namespace,
    as_floats,
    check_between,
    convert,
    lift,
    no_grad,
    shown,
    typed,
)
from ...array.derivative import linearize
from ...covariances.base import Covariance
from ...covariances.roots import Rows
from ...problem.belief import Gaussian
from ...problem.like import ProblemLike
from ...problem.observe import is_linear
from ..background import as_background, background, climate
from ..base import Cycle, start, tangent
from .affine import Affine
from .kalman import kalman_update
from .square_root import Gain, gain, innovation, sums, weighed


@typed
def oi(x: Array, B: Array, h: Array, H: Array, y: Array, R: Covariance) -> tuple[Array, Array]:
    """One analysis: the Kalman update with a covariance that is given.

    Args:
        x: background `(..., n)`.
        B: covariance of its errors `(..., n, n)`.
        h: H(x), `(..., m)`.
        H: the operator's matrix at x, `(..., m, n)`.
        y: data `(..., m)`.
        R: their covariance, of dimension m.

    Returns:
        The analysis `(..., n)`, and the covariance `(..., n, n)` of its errors, if B is right.

    Raises:
        ValueError: when shapes disagree.
    """
    x, P = kalman_update(x, B, h, H, y, R)
    return x, array_namespace(P).broadcast_to(P, (*x.shape, x.shape[-1]))


@typed
@dataclass(frozen=True, eq=False)
class OI:
    """Optimal interpolation: every analysis with the same background covariance.

    Forecast and analysis report the covariances that B claims, not what the errors are.

    Args:
        B: the background's covariance, a Covariance, a matrix or a vector of variances;
            "climatology", that of the problem's truth run, or "prior", that of its prior.
        factor: a multiple of B, on variances, a number or an array over the batch.
        cycled: the background is the forecast from the last analysis (for a linear operator this
            is 3D-Var); if False, the mean of the truth run at every time, as DAPPER's OptInterp.
        operator_jacobian: Jacobian of the observation operator, as in ExtendedKF.

    Raises:
        ValueError: when B is None or has another dimension, when `factor` is not positive, or
            when run with a climatology that the problem has no truth for.
    """

    residuals = True  # takes observed angles: see Observation
    B: Any = "climatology"
    _: KW_ONLY
    factor: Swept = 1.0
    cycled: bool = True
    operator_jacobian: Jacobian = field(default=linearize, repr=False)

    def __post_init__(self):
        check_between("factor", self.factor, 0, 1e12, open_low=True)
        object.__setattr__(self, "B", as_background(self.B))

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis, both Gaussian, for each observation time."""
        with no_grad(problem.like):
            xa = start(problem)[0]
            factor = lift(self.factor, problem.like, problem.batch, "factor")
            X = factor**0.5 * background(self.B, problem, "OI(B=...)").rows()
            B, once, recall = Rows(X), Affine(self.operator_jacobian, problem), Recall()
            mean = None if self.cycled else climate(problem, "use OI(cycled=True)")[0]
        for k in range(len(problem)):
            with no_grad(problem.like):
                x = problem.forecast(xa[..., None, :], k)[..., 0, :] if mean is None else mean
                forecast = Gaussian.unchecked(x, B)
                observe, y = problem.at(k)
                R = observe.noise
                if is_linear(observe.operator):
                    h, H = once(observe.operator, x, X)
                else:
                    h, H = tangent(self.operator_jacobian, observe.smooth, x, B.deviations())
                found, after = recall(H, (X, R), partial(_taught, X, H, R))
                xa, _ = found.update(x, *innovation(observe, y, h))
            yield Cycle(forecast, Gaussian.unchecked(xa, after))


def _taught(X: Array, H: Array, R: Covariance) -> tuple[Gain, Rows]:
    found = gain(X, X @ weighed(R, H.mT), R, sums(X, H) if R.singular else None)
    return found, Rows(found.rows)


@typed
@dataclass(frozen=True, eq=False)
class Climatology:
    """No data at all: forecast and analysis are the same Gaussian at every time.

    A method that does not beat this has learned nothing from the data.

    Args:
        mean: `(n,)` or `(..., n)`; by default that of the problem's truth run, each experiment's
            its own: a long run of the model would say the same, but not of these very days.
        cov: a Covariance, a matrix or a vector of variances; "climatology", that of the truth
            run, or "prior".

    Raises:
        ValueError: when run without a truth to take them from, or for another dimension.
    """

    residuals = True  # takes observed angles: see Observation
    mean: Any = None
    _: KW_ONLY
    cov: Any = "climatology"

    def __post_init__(self):
        object.__setattr__(self, "cov", as_background(self.cov, "cov"))
        if self.mean is not None:
            mean = as_floats(self.mean, "mean", axes=("x",))
            object.__setattr__(self, "mean", mean)
            if not mean.ndim or not bool(array_namespace(mean).all(abs(mean) < math.inf)):
                raise ValueError(f"mean must be (n,) or (..., n) and finite, met {shown(mean)}")

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The same Cycle for each observation time."""
        xp = array_namespace(problem.like)
        with no_grad(problem.like):
            cov = background(self.cov, problem, "Climatology(mean, cov=...)")
            if self.mean is None:
                mean = climate(problem, "give Climatology(mean, cov=...)")[0]
            elif tuple(self.mean.shape) not in ((problem.n,), (*problem.batch, problem.n)):
                raise ValueError(
                    f"mean must be ({problem.n},) or {(*problem.batch, problem.n)}, met shape "
                    f"{tuple(self.mean.shape)}"
                )
            else:
                mean = convert(self.mean, problem.like)
            belief = Gaussian.unchecked(xp.broadcast_to(mean, (*problem.batch, problem.n)), cov)
        for _ in range(len(problem)):
            yield Cycle(belief, belief)
