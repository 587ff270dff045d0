"""Optimal interpolation, and the climatology that it starts from: yardsticks for every filter.

Optimal interpolation is one Kalman analysis with a covariance B that is given and never changes,
    K = B H^T (H B H^T + R)^-1,  x_a = x_b + K (y - H x_b),  P_a = B - K H B,
where the background x_b is a forecast from the last analysis, or the climatological mean. The
climatology alone is what to say before any data: the Gaussian with the mean and the covariance of
the model's long run.

L. S. Gandin, Objective Analysis of Meteorological Fields, 1963; A. Eliassen, 1954, reprinted in
Bengtsson, Ghil and Kallen, Dynamic Meteorology: Data Assimilation Methods, 1981; A. C. Lorenc, A
global three-dimensional multivariate statistical interpolation scheme, Mon. Wea. Rev. 109, 1981.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ...array import (
    Array,
    array_namespace,
    as_floats,
    check_between,
    convert,
    eye,
    lift,
    no_grad,
    sane,
    solve,
    where_ok,
)
from ...array.derivative import linearize
from ...covariances.base import Covariance
from ...covariances.matrices import Dense, as_covariance
from ...problem.belief import Gaussian
from ...problem.like import ProblemLike
from ..base import Cycle, climate, given_covariance, moments, tangent


def oi(x: Array, B: Array, h: Array, H: Array, y: Array, R: Covariance) -> tuple[Array, Array]:
    """One analysis: background `x (..., n)`, covariance `B (..., n, n)` -> x_a and P_a.

    `h = H(x) (..., m)` and its matrix `H (..., m, n)`; data `y (..., m)`; `R` their covariance.
    P_a is the analysis error that B claims.
    """
    xp = array_namespace(x, B, h, H, y)
    n, m = x.shape[-1], R.n
    if (B.shape[-2:], H.shape[-2:], h.shape[-1], y.shape[-1]) != ((n, n), (m, n), m, m):
        raise ValueError(
            f"met x {tuple(x.shape)}, B {tuple(B.shape)}, h {tuple(h.shape)}, H {tuple(H.shape)}, "
            f"y {tuple(y.shape)}, R of dimension {m}; wanted (..., n), (..., n, n), (..., m), "
            "(..., m, n), (..., m) and m"
        )
    G = R.whiten(H.mT).mT  # whitened H; rows of unseen observations are 0
    A, ok = sane(G @ B @ G.mT + eye(m, B))
    K = solve(A, G @ B).mT
    d = R.whiten((y - h)[..., None, :])
    left = eye(n, B) - K @ G
    P = xp.broadcast_to(left @ B @ left.mT + K @ K.mT, (*x.shape[:-1], n, n))  # never negative
    return where_ok(ok, x + (d @ K.mT)[..., 0, :]), where_ok(ok, P)


@dataclass(frozen=True, eq=False)
class OI:
    """Optimal interpolation: every analysis with the same background covariance.

    Arguments: `B`, a Covariance, a matrix or a vector of variances; by default the covariance of
    the problem's own truth run, each experiment's its own: a mild oracle, as in DAPPER (Raanes et
    al., J. Open Source Softw. 9, 2024); `factor`, a multiple of B, a number or an array over the
    batch; `cycled`: the background is the forecast from the last analysis (for a linear operator
    this is 3D-Var), or else the mean of the truth run at every time, as in DAPPER's OptInterp;
    `operator_jacobian` as in ExtendedKF.

    Forecast and analysis report the covariances that B claims, not what the errors are.
    """

    B: Any = None
    _: KW_ONLY
    factor: Any = 1.0
    cycled: bool = True
    operator_jacobian: Callable = field(default=linearize, repr=False)

    def __post_init__(self):
        check_between("factor", self.factor, 0, 1e12, open_low=True)
        object.__setattr__(self, "B", as_covariance(self.B, "B"))

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle of forecast and analysis, both Gaussian, for each observation time."""
        with no_grad(problem.like):
            xa = moments(problem)[0]
            B = given_covariance(
                self.B, problem, "give OI(B=...), a covariance or variances"
            ).matrix()
            B = lift(self.factor, problem.like, problem.batch, "factor") * B
            mean = None if self.cycled else climate(problem, "use OI(cycled=True)")[0]
        for k in range(len(problem)):
            with no_grad(problem.like):
                x = problem.forecast(xa[..., None, :], k)[..., 0, :] if mean is None else mean
                forecast = Gaussian.unchecked(x, Dense.unchecked(B))
                observe, y = problem.at(k)
                h, H = tangent(self.operator_jacobian, observe.operator, x)
                xa, P = oi(x, B, h, H, y, observe.noise)
            yield Cycle(forecast, Gaussian.unchecked(xa, Dense.unchecked(P)))


@dataclass(frozen=True, eq=False)
class Climatology:
    """No data at all: forecast and analysis are the same Gaussian at every time.

    Arguments: `mean (n,)` and `cov`, a Covariance, a matrix or a vector of variances; by default
    those of the problem's own truth run, each experiment's its own, which is a mild oracle: a
    long run of the model would say the same, but not of these very days. A method that does not
    beat this has learned nothing from the data.
    """

    mean: Any = None
    _: KW_ONLY
    cov: Any = None

    def __post_init__(self):
        object.__setattr__(self, "cov", as_covariance(self.cov, "cov"))
        if self.mean is not None:
            object.__setattr__(self, "mean", as_floats(self.mean, "mean"))

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The same Cycle for each observation time."""
        xp = array_namespace(problem.like)
        with no_grad(problem.like):
            wanted = "give Climatology(mean, cov)"
            cov = given_covariance(self.cov, problem, wanted)
            if self.mean is None:
                mean = climate(problem, wanted)[0]
            elif tuple(self.mean.shape) not in ((problem.n,), (*problem.batch, problem.n)):
                raise ValueError(
                    f"mean has shape {tuple(self.mean.shape)}, wanted ({problem.n},) or "
                    f"{(*problem.batch, problem.n)}"
                )
            else:
                mean = convert(self.mean, problem.like)
            belief = Gaussian.unchecked(xp.broadcast_to(mean, (*problem.batch, problem.n)), cov)
        for _ in range(len(problem)):
            yield Cycle(belief, belief)
