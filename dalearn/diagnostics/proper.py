"""Proper scores beside the CRPS: of whole states, of densities, of two moments.

A score is proper where nobody gains by stating another law than they believe. All here are losses:
smaller is better. From an ensemble they are fair: unbiased estimates of the score of the law that
its members are drawn from, so that sizes of ensembles do not enter the comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np

from ..array import typed, unbiased
from .losses import energy_score_ensemble, fair, log_score_gaussian, two_moments
from .scores import check_result, check_scheme, ensemble_sizes, truth_of

if TYPE_CHECKING:
    import xarray as xr


@typed
def energy_score(result: xr.Dataset) -> xr.DataArray:
    """Energy score of the members: the CRPS of a whole state, correlations and all.

    Like `rmse` for components of one unit: take `energy_score(result.sel(x=...))` for each kind.
    See `diagnostics.energy_score_ensemble`.

    Args:
        result: the Dataset of a run that kept "members".

    Returns:
        DataArray `(case..., time, stage)`, in the state's units.

    Raises:
        ValueError: the result holds no truth, or no members.
    """

    def score(one: xr.Dataset) -> xr.DataArray:
        if "members" not in one or not ensemble_sizes(one).size:
            raise ValueError(
                "the energy score needs members; run assimilate(..., keep=('members',))"
            )
        return _of_members(energy_score_ensemble, one)

    return each_scheme(score, result).rename("energy_score")


@typed
def log_score(result: xr.Dataset) -> xr.DataArray:
    """Mean over the state of the logarithmic score of each component, as if Gaussian.

    Where equally weighted members were kept, more than three, it is the fair score. In other units
    of the state a constant is added; differences of scores hang on no unit. See
    `diagnostics.log_score_gaussian`.

    Args:
        result: the Dataset of `assimilate` or `compare`.

    Returns:
        DataArray `(case..., time, stage)`, in nats.

    Raises:
        ValueError: the result holds no truth.
    """
    import xarray as xr

    def score(one: xr.Dataset) -> xr.DataArray:
        truth = truth_of(one, "mean", "std", "x")
        N = _counted(one)
        value = xr.apply_ufunc(
            lambda m, s, y: log_score_gaussian(m, s, y, N if N and N > 3 else None),
            *(one["mean"], one["std"], truth),
            dask="parallelized",
            output_dtypes=[float],
        )
        return _labelled(value.mean("x", skipna=False))

    return each_scheme(score, result).rename("log_score")


@typed
def dawid_sebastiani(result: xr.Dataset) -> xr.DataArray:
    """Dawid-Sebastiani score, of mean and covariance of the whole state.

        log |C| + (truth - mean) C^-1 (truth - mean)^T

    It is twice the logarithmic score of N(mean, C) less n log(2 pi), and proper for any law. C is
    the covariance if it was kept; else that of the members, of which there have to be more than
    n + 2: the score is then the fair one of a Gaussian law (with weights, that of their
    covariance as it is); else, of a single component, std^2. In other units of the state a
    constant is added.

    Args:
        result: of a run that kept "covariances" or "members"; select components first where there
            are too few members, as in `result.sel(x=[0, 3])`.

    Returns:
        DataArray `(case..., time, stage)`.

    Raises:
        ValueError: no truth, neither covariances nor members, or too few members.

    Source: Dawid and Sebastiani, Coherent dispersion criteria for optimal experimental design,
    Ann. Stat. 27, 1999.
    """
    return each_scheme(_dawid_sebastiani, result).rename("dawid_sebastiani")


def _dawid_sebastiani(result: xr.Dataset) -> xr.DataArray:
    import xarray as xr

    truth, n = truth_of(result, "mean", "std", "x"), result.sizes["x"]
    if "covariance" in result:
        C = result["covariance"]
        if C.sizes["x_"] != n:  # components were selected
            C = C.isel(x_=[int(i) for i in result["x"].values])
        value = xr.apply_ufunc(
            lambda m, C, y: two_moments(y - m, C),
            *(result["mean"], C, truth),
            input_core_dims=[["x"], ["x", "x_"], ["x"]],
        )
        return _labelled(value)
    if "members" in result and ensemble_sizes(result).size:
        if "weights" not in result:
            fair(int(ensemble_sizes(result)[0]), n)  # says so before anything is computed

        def score(E: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
            E = np.asarray(E, float)
            w = np.full(E.shape[:-1], 1 / E.shape[-2]) if weights is None else weights
            m = (w[..., None] * E).sum(-2)
            X = w[..., None] ** 0.5 * (E - m[..., None, :])
            C = np.swapaxes(X, -1, -2) @ X * unbiased(w)[..., None]
            return two_moments(y - m, C, None if weights is not None else E.shape[-2])

        return _of_members(score, result)
    if n > 1:
        raise ValueError(
            f"the score of {n} components needs their covariance; run assimilate(..., "
            "keep=('covariances',)) or ('members',), or select one component"
        )
    s = result["std"].astype(float)
    value: xr.DataArray = xr.DataArray(2 * np.log(s)) + ((truth - result["mean"]) / s) ** 2
    return _labelled(value.isel(x=0, drop=True))


def each_scheme(score: Callable, result: xr.Dataset) -> xr.DataArray:
    """The score, of one method after another where their ensembles differ in size."""
    import xarray as xr

    check_scheme(result)
    truth_of(result, "x")
    if ensemble_sizes(result).size > 1:
        ones = [score(result.isel(scheme=i)) for i in range(result.sizes["scheme"])]
        joined = xr.concat(ones, dim="scheme", coords="minimal", compat="override")
        return cast("xr.DataArray", joined)
    return score(result)


def _counted(result: xr.Dataset) -> int | None:
    """How many equally likely members were kept, None where there are none."""
    sizes = ensemble_sizes(result)
    return (
        int(sizes[0]) if "members" in result and "weights" not in result and sizes.size else None
    )


def _of_members(score: Callable, result: xr.Dataset) -> xr.DataArray:
    """A score of members `(..., N, n)`, truth `(..., n)` and perhaps weights, at each time."""
    import xarray as xr

    check_result(result, "member")
    truth = truth_of(result)
    result = result.isel(member=slice(ensemble_sizes(result)[0]))
    weights = [result["weights"]] if "weights" in result else []
    value = xr.apply_ufunc(
        *(score, result["members"], truth, *weights),
        input_core_dims=[["member", "x"], ["x"], *([["member"]] * len(weights))],
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    return _labelled(value)


def _labelled(value: xr.DataArray) -> xr.DataArray:
    last = [d for d in ("time", "stage") if d in value.dims]
    return value.transpose(..., *last)
