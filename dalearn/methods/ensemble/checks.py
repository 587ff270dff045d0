"""What the analyses of ensemble filters begin with: checks, whitened anomalies and innovations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ...array import (
    Array,
    array_namespace,
    check_count,
    convert,
    largest,
    no_grad,
    row_mean,
    to_numpy,
    warn,
)
from ...covariances.base import Covariance
from ...covariances.matrices import Diagonal
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
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


def prior_of(E: Array | Ensemble, Y: Array, y: Array, R: Covariance) -> Ensemble:
    """The ensemble of an analysis, checked against its image, the data and their errors."""
    prior = E if isinstance(E, Ensemble) else Ensemble.unchecked(E)
    array_namespace(prior.members, Y, y)  # one library, or a clear error
    check_update(prior.members, Y, y, R)
    prior._check_equal()
    return prior


def whitened(
    E: Array | Ensemble, Y: Array, y: Array, R: Covariance
) -> tuple[Ensemble, Array, Array]:
    """The ensemble; whitened anomalies S `(..., N, m)`, innovation d `(..., 1, m)` of its image.

    S = (Y - mean of Y) R^-T/2,  d = (y - mean of Y) R^-T/2.
    """
    prior = prior_of(E, Y, y, R)
    if Y is prior.members:  # H is the identity: the same mean, the same anomalies
        h, Z = prior._mean, prior.anomalies
    else:
        h = row_mean(Y)
        Z = Y - h
    return prior, R.whiten(Z), R.whiten(y[..., None, :] - h)


def told(name: str, analysis: Callable[[Array], Ensemble], S: Array, advice: str) -> Ensemble:
    """`analysis(S)`, with a RuntimeWarning where it hangs on the round-off of S.

    That can be where data are so much better than the forecast that the digits of S hardly hold
    both; only there it is made a second time, of an S that is moved by its round-off. An S beyond
    that diverges, or its mean is not resolved, and that is told at the end of a run.
    """
    found, xp = analysis(S), array_namespace(S)
    with no_grad(S):
        eps = float(xp.finfo(S.dtype).eps)
        sizes = xp.max(xp.abs(S), axis=(-2, -1))
        sizes = xp.where(sizes < 1 / eps, sizes, 0 * sizes)
        size = largest(sizes)
        if not eps * size**2 > 1e-3:  # what round-off can move, in standard deviations at most
            return found
        signs = convert(np.resize([1.0, -1.0, -1.0], S.shape[-1]), S)
        other = analysis(S * (1 + eps * signs))
        a, b = found.std, other.std
        least, moved = xp.minimum(a, b), xp.abs(other.mean - found.mean) + xp.abs(b - a)
        held, n = (sizes > 0)[..., None] & (least > 0), least.shape[-1]
        gap = xp.where(held, moved, xp.zeros_like(moved))
        gap = gap / xp.where(held, least, xp.ones_like(least))
        if bool(xp.any(gap > 0.005)):  # half of the 0.01 that results are held to: it is one draw
            warn(
                f"{name}: round-off moves component {int(xp.argmax(gap)) % n} of the analysis by "
                f"{float(xp.max(gap)):.2g} standard deviations: the members' images reach "
                f"{size:.2g} errors of an observation, and such data nearly repeat each other or "
                f"have no member near them; wanted {advice}, or larger errors",
                RuntimeWarning,
            )
    return found


def blind(R: Covariance) -> Array | None:
    """Which experiments saw nothing, `(...)`; None where each saw something."""
    if R.seen is None:
        return None
    none = ~array_namespace(R.seen).any(R.seen, axis=-1)
    return none if to_numpy(none).any() else None


def unseen(problem: ProblemLike, times: Iterable[int]) -> Array | None:
    """Which experiments saw nothing at any of these observations, `(...)`; None where none did."""
    found = None
    for k in times:
        here = blind(problem.at(k)[0].noise)
        if here is None:
            return None
        found = here if found is None else found & here
    return found


def where_seen(factor: Any, none: Array | None, like: Array) -> Any:
    """The factor, a float or `(..., 1, 1)`, and 1 in the experiments of `none (...)`."""
    if none is None:
        return factor
    same = array_namespace(none).astype(none, like.dtype)[..., None, None]
    return same + (1 - same) * factor


def unless(which: Array | None, forecast: Ensemble, analysis: Ensemble) -> Ensemble:
    """The analysis, and in the experiments of `which (...)`, to the bit, the forecast."""
    if which is None:
        return analysis
    xp, here = array_namespace(analysis.members), which[..., None, None]
    mean, X, members = (
        xp.where(here, getattr(forecast, part), getattr(analysis, part))
        for part in ("_mean", "anomalies", "members")
    )
    kept = Ensemble.of(mean, X)
    kept.__dict__["members"] = members  # mean and anomalies give them up to round-off
    return kept


def check_independent(R: Covariance) -> None:
    """Raise ValueError for errors with correlations: whitening would mix their locations."""
    if not isinstance(getattr(R, "inner", R), Diagonal):
        raise ValueError(
            f"localization wants independent observation errors, met {type(R).__name__}; wanted "
            "Diagonal: multiply data and operator by R^-1/2"
        )
