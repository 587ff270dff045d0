"""The covariance B of the background's errors: given, or named, never taken in silence.

Optimal interpolation and the variational methods want it. As a setting it is
    a Covariance, a matrix `(n, n)`, or a vector `(n,)` of variances;
    "climatology": the covariance of the problem's truth over its K times, each experiment's its
        own. A mild oracle, as in DAPPER (Raanes et al., J. Open Source Softw. 9, 2024);
    "prior": the covariance of the problem's prior, a Gaussian or an Ensemble.
"""

from __future__ import annotations

from typing import Any, Literal

from ..array import Array, array_namespace, broadcasts, convert_tree, root, where_ok
from ..covariances.base import Covariance
from ..covariances.given import as_covariance
from ..covariances.roots import Rows
from ..problem.belief import Ensemble, Gaussian
from ..problem.like import ProblemLike
from ..problem.manifold import gathered
from .base import start

Background = Covariance | Literal["climatology", "prior"]


def as_background(B: Any, name: str = "B") -> Background:
    """The setting B of a method: a covariance, "climatology" or "prior"; else ValueError."""
    if B is None or (isinstance(B, str) and B not in ("climatology", "prior")):
        raise ValueError(
            f"{name} must be a covariance, a matrix or a vector of variances, or a name, "
            f'"climatology" or "prior"; met {B!r}'
        )
    return B if isinstance(B, str) else as_covariance(B, name)  # type: ignore[return-value]


def background(B: Background, problem: ProblemLike, setting: str) -> Covariance:
    """The covariance that the setting B means for a problem, in its library.

    `setting` is how to give another, such as "OI(B=...)". Raises ValueError where the problem has
    no truth or no spread to take it from, or where dimensions or batch axes differ.
    """
    if isinstance(B, str) and B == "climatology":
        X, ok = root(climate(problem, f"give {setting}, a covariance or variances")[1])
        return Rows(where_ok(ok, X))
    if isinstance(B, str):
        return _of_prior(problem, setting)
    if B.n != problem.n:
        raise ValueError(
            f"the covariance has dimension {B.n}, wanted the state's {problem.n}; give {setting}"
        )
    check_batch(B, problem, "the covariance")
    return convert_tree(B, problem.like)


def _of_prior(problem: ProblemLike, setting: str) -> Covariance:
    prior = problem.prior
    if isinstance(prior, Gaussian):
        return convert_tree(prior.cov, problem.like)
    if isinstance(prior, Ensemble):
        return Rows(start(problem)[1])
    raise ValueError(
        f'B="prior" is 0 for a {type(prior).__name__} prior, and has no inverse; wanted a '
        f"Gaussian or an Ensemble prior, or {setting}"
    )


def climate(problem: ProblemLike, instead: str) -> tuple[Array, Array]:
    """Mean `(..., n)` and covariance `(..., n, n)` of each experiment's truth over its K times.

    Times at which no experiment has a truth are left out: those of a forecast. Raises ValueError,
    telling what to do `instead`, where the truth is not known.
    """
    x = getattr(problem, "truth", None)
    if x is not None:
        xp = array_namespace(x)
        known = ~xp.all(xp.isnan(x), axis=tuple(i for i in range(x.ndim) if i != x.ndim - 2))
        x = x if bool(xp.all(known)) else x[..., known, :]
    if x is None or x.shape[-2] < 2:
        met = "no truth" if x is None else "a truth of one time"
        raise ValueError(f'"climatology" is taken from the truth run, met {met}; {instead}')
    xp, x = array_namespace(x), gathered(problem, x)
    mean = xp.mean(x, axis=-2, keepdims=True)
    X = x - mean
    B = X.mT @ X / (x.shape[-2] - 1)
    mean = xp.broadcast_to(mean[..., 0, :], (*problem.batch, problem.n))
    return mean, xp.broadcast_to(B, (*problem.batch, problem.n, problem.n))


def check_batch(C: Covariance, problem: ProblemLike, name: str) -> None:
    """Raise ValueError unless the batch axes of `C` broadcast to the problem's."""
    if not broadcasts(C.batch, problem.batch):
        raise ValueError(
            f"{name} has batch axes {C.batch}, wanted axes that broadcast to the problem's "
            f"{problem.batch}; for a sweep use problem.expand({C.batch})"
        )
