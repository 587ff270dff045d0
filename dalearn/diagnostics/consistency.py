"""Whether a filter's idea of its errors agrees with the data: tests that need no truth.

With innovations d_b = y - H(x_b) and residuals d_a = y - H(x_a) of a filter that is right,
    E d_b^T (H B H^T + R)^-1 d_b = m,   E d_a d_b^T = R,   E (d_b - d_a) d_b^T = H B H^T.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import convert, no_grad, to_numpy, typed
from ..methods.ensemble.localization import Localization
from ..methods.ensemble.tapering import tapers
from ..problem.belief import Ensemble
from ..problem.observe import is_selection
from ..problem.problem import Problem
from ..run.innovations import agreement
from .ensembles import with_members
from .scores import check_result, from_cycle

if TYPE_CHECKING:
    import xarray as xr


@typed
def innovation_chi2(
    result: xr.Dataset,
    problem: Problem | None = None,
    *,
    localization: Localization | None = None,
) -> xr.DataArray:
    """Squared innovations in units of what forecast and data allow; 1 is right.

        (y - H(x_b))^T (H B H^T + R)^-1 (y - H(x_b)) / m

    over the m numbers that were observed. Its mean is 1 where B and R are right, and above 1 where
    the spread or R is too small. One value scatters by sqrt(2 / m); `interval` gives the error of
    a mean over a run.

    It is `result["chi2"]` if the run kept "innovation". Else it is computed from the members, if
    they were kept. Else from the standard deviations, where the operator picks components: the
    mean of d^2 / (s^2 + r^2), which ignores correlations and has the mean 1 too.

    Args:
        result: the Dataset of `assimilate` or `compare`.
        problem: the one that the result was made from; not needed if the run kept "innovation".
        localization: tapers the ensemble's covariances; it wants kept members.

    Returns:
        DataArray `(case..., time)`; NaN where nothing was observed.

    Raises:
        ValueError: the result holds too little, or belongs to another problem.

    Source: Talagrand, A posteriori verification of analysis and assimilation algorithms, in Proc.
    ECMWF Workshop on Diagnosis of Data Assimilation Systems, 1999.
    """
    if "chi2" in result and localization is None:
        return result["chi2"]
    _check_problem(result, problem, "'innovation'")
    if "members" in result:
        return _fit(result, problem, localization)["chi2"]
    if localization is not None:
        raise ValueError("localization wants members: run assimilate(..., keep=('members',))")
    return _from_variances(result, problem)


@typed
def degrees_of_freedom(
    result: xr.Dataset,
    problem: Problem | None = None,
    *,
    localization: Localization | None = None,
) -> xr.DataArray:
    """Degrees of freedom for signal: how many numbers the data decided.

        tr(H K) = sum_i lambda_i / (1 + lambda_i),

    lambda_i the eigenvalues of R^-1/2 H B H^T R^-1/2. It is 0 where the data are ignored, m where
    they are taken as they are, and N - 1 at most for N members without localization.

    Args:
        result: the Dataset of `assimilate` or `compare`, which kept "innovation" or "members".
        problem: the one that the result was made from; not needed if the run kept "innovation".
        localization: tapers the ensemble's covariances; it wants kept members.

    Returns:
        DataArray `(case..., time)`.

    Raises:
        ValueError: the result holds too little, or belongs to another problem.

    Source: Rodgers, Inverse Methods for Atmospheric Sounding, 2000.
    """
    if "dfs" in result and localization is None:
        return result["dfs"]
    _check_problem(result, problem, "'innovation'")
    if "members" not in result:
        raise ValueError(
            "degrees of freedom for signal need covariances: run assimilate(..., "
            "keep=('innovation',)) or keep=('members',)"
        )
    return _fit(result, problem, localization)["dfs"]


@typed
def desroziers(result: xr.Dataset, skip: int = 0, *, full: bool = False) -> xr.Dataset:
    """Error covariances in observation space as the data show them, averaged over time.

        R = E d_a d_b^T,             HBH = E (d_b - d_a) d_b^T,
        HAH = E (d_b - d_a) d_a^T,   total = E d_b d_b^T

    and `bias` = E d_b. They are right where the filter's gain is right. A filter that took R_w and
    S_w = H B_w H^T + R_w gives R_w S_w^-1 S with the true S, which can be the next R_w: a step of
    a fixed-point iteration. Missing data are left out.

    Args:
        result: the Dataset of `assimilate` or `compare`.
        skip: the first cycle that counts.
        full: whole matrices instead of variances; they are symmetric only up to sampling.

    Returns:
        Dataset of R, HBH, HAH, total `(case..., y)`, or `(case..., y, y2)`, and bias
            `(case..., y)`.

    Source: Desroziers, Berre, Chapnik and Poli, Diagnosis of observation, background and
    analysis-error statistics in observation space, Q. J. R. Meteorol. Soc. 131, 2005.
    """
    import xarray as xr

    check_result(result, "observation", "predicted", "time", "stage")
    late = from_cycle(result, skip)
    y = late["observation"]
    b, a = (y - late["predicted"].sel(stage=s, drop=True) for s in ("forecast", "analysis"))
    seen = y.notnull()
    b, a = b.where(seen, 0.0), a.where(seen, 0.0)  # a diverged run stays NaN

    def mean(u: xr.DataArray, v: xr.DataArray) -> xr.DataArray:
        if not full:
            return (u * v).sum("time", skipna=False) / seen.sum("time")
        v, other = v.rename(y="y2"), seen.rename(y="y2")
        count = xr.dot(seen.astype(float), other.astype(float), dim="time")
        return xr.dot(u, v, dim="time") / count

    found = {"R": mean(a, b), "HBH": mean(b - a, b), "HAH": mean(b - a, a), "total": mean(b, b)}
    found["bias"] = b.sum("time", skipna=False) / seen.sum("time")
    core = ("y", "y2") if full else ("y",)
    return xr.Dataset(
        {k: v.transpose(..., *(core if k != "bias" else ("y",))) for k, v in found.items()}
    )


# --- what they share ----------------------------------------------------------------------------


def _check_problem(result: xr.Dataset, problem: Any, kept: str) -> None:
    check_result(result)
    if not isinstance(problem, Problem):
        raise ValueError(
            f"the result was made without keep=({kept},), so this needs the problem too: wanted "
            f"a Problem, met {type(problem).__name__}"
        )
    check_result(result, "mean", "std", "time", "stage", "x")
    n, K = result.sizes["x"], result.sizes["time"]
    if (problem.n, len(problem)) != (n, K):
        raise ValueError(
            f"the result has {n} components and {K} times, the problem {problem.n} and "
            f"{len(problem)}; wanted the one that it was made from"
        )
    cases = tuple(v for d, v in result["mean"].sizes.items() if d not in ("time", "stage", "x"))
    if len(problem.batch) > len(cases):
        raise ValueError(
            f"the result has the case axes {cases}, the problem the batch {problem.batch}; wanted "
            "the same experiments, such as result.isel(case=0) and problem[0]"
        )


def _each(result: xr.Dataset, names: tuple[str, ...], at: Callable) -> list:
    """`at(k, *arrays)` for each time, of the forecast's variables `(case..., ...)`."""
    forecast = result.sel(stage="forecast")
    arrays = [forecast[v].transpose("time", ...).values for v in names]
    return [at(k, *(a[k] for a in arrays)) for k in range(result.sizes["time"])]


def _fit(result: xr.Dataset, problem: Any, localization: Localization | None) -> xr.Dataset:
    problem = problem.validated()
    result = with_members(result)
    taper = tapers(problem, localization)
    like = problem.like

    def at(k: int, *E: np.ndarray) -> dict[str, np.ndarray]:  # members, and weights if any
        with no_grad(like):
            observe, y = problem.at(k)
            forecast = Ensemble.unchecked(*(convert(a, like) for a in E))
            fit = agreement(forecast, observe, y, taper(observe))
            return {name: to_numpy(v) for name, v in fit.items()}

    names = ("members", "weights") if "weights" in result else ("members",)
    fits = _each(result, names, at)
    return _labelled(result, {name: np.stack([f[name] for f in fits]) for name in fits[0]})


def _labelled(result: xr.Dataset, values: dict[str, np.ndarray]) -> xr.Dataset:
    """Arrays `(time, case...)` under the result's labels, time last."""
    import xarray as xr

    like = result["mean"].isel(x=0, stage=0, drop=True).transpose("time", ...)
    made = {k: (like.dims, np.broadcast_to(v, like.shape)) for k, v in values.items()}
    return xr.Dataset(made, like.coords).transpose(..., "time")


def _from_variances(result: xr.Dataset, problem: Any) -> xr.DataArray:
    problem = problem.validated()

    def at(k: int, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
        observe, y = problem.at(k)
        if not is_selection(observe.operator):
            raise ValueError(
                "without members the chi-square wants an operator that picks components "
                "(identity, Every, Subset); run assimilate(..., keep=('innovation',))"
            )
        with no_grad(problem.like):
            x, v = (convert(a, problem.like)[..., None, :] for a in (mean, std**2))
            h, s2 = (observe(a)[..., 0, :] for a in (x, v))
            h, s2 = to_numpy(observe.nearest(h, y)), to_numpy(s2)
        R, data = to_numpy(observe.noise.variance()), to_numpy(y)
        seen = observe.noise.seen
        seen = np.ones_like(data, bool) if seen is None else to_numpy(seen)
        square = np.where(seen, (data - h) ** 2 / (s2 + R), 0.0)
        count = seen.sum(-1)
        return square.sum(-1) / np.where(count > 0, count, np.nan)

    values = np.stack(_each(result, ("mean", "std"), at))
    return _labelled(result, {"chi2": values})["chi2"]
