"""What an ensemble is worth: its effective size, and in how many directions it varies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..array import typed
from .scores import check_result

if TYPE_CHECKING:
    import xarray as xr


@typed
def effective_size(result: xr.Dataset) -> xr.DataArray:
    """How many equal members the weights are worth: 1 / sum_i w_i^2.

    N for equal weights, 1 where one member has all the weight.

    Args:
        result: the Dataset of a run that kept "members".

    Returns:
        DataArray `(case..., time, stage)`.

    Raises:
        ValueError: the result holds no members, or ensembles of several sizes.

    Source: Kong, Liu and Wong, Sequential imputations and Bayesian missing data problems, J. Am.
    Stat. Assoc. 89, 1994.
    """
    import xarray as xr

    result = with_members(result)
    if "weights" in result:
        return (1 / (result["weights"] ** 2).sum("member")).rename("effective_size")
    one = result["members"].isel(x=0, member=0, drop=True)
    return xr.full_like(one, result.sizes["member"], dtype=float).rename("effective_size")


@typed
def effective_dimension(result: xr.Dataset) -> xr.DataArray:
    """In how many directions the ensemble varies: (tr C)^2 / tr(C^2), C the members' covariance.

    1 where the members lie on a line, N - 1 at most. Directions are compared by their variance, so
    components must have one unit: of several the largest numbers decide it.

    Args:
        result: the Dataset of a run that kept "members".

    Returns:
        DataArray `(case..., time, stage)`.

    Raises:
        ValueError: the result holds no members, or ensembles of several sizes.

    Source: Bretherton et al., The effective number of spatial degrees of freedom of a time-varying
    field, J. Climate 12, 1999.
    """
    import xarray as xr

    def dimension(E: np.ndarray, w: np.ndarray | None = None) -> np.ndarray:
        share = np.full(E.shape[:-1], 1 / E.shape[-2]) if w is None else w
        X = share[..., None] ** 0.5 * (E - (share[..., None] * E).sum(-2, keepdims=True))
        most = np.abs(X).max((-2, -1), keepdims=True)  # whose fourth power might be no number
        X = X / np.where(most > 0, most, 1.0)
        G = X @ np.swapaxes(X, -1, -2) if X.shape[-2] < X.shape[-1] else np.swapaxes(X, -1, -2) @ X
        return np.trace(G, axis1=-2, axis2=-1) ** 2 / (G * G).sum((-2, -1))

    result = with_members(result)
    weights = [result["weights"]] if "weights" in result else []
    return xr.apply_ufunc(
        *(dimension, result["members"], *weights),
        input_core_dims=[["member", "x"], *([["member"]] * len(weights))],
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"allow_rechunk": True},
    ).rename("effective_dimension")


def with_members(result: xr.Dataset) -> xr.Dataset:
    """A result that kept members, of one number, without what pads them beside a larger method."""
    check_result(result)
    if "members" not in result:
        raise ValueError("the result holds no members; run assimilate(..., keep=('members',))")
    check_result(result, "member", "x")
    sizes = np.unique(result["ensemble_size"])
    if len(sizes) > 1 or not np.isfinite(sizes).all():
        raise ValueError(
            f"met ensembles of sizes {sizes.tolist()} (nan: a case that failed, or a method "
            "without members); wanted one: select one method first"
        )
    return result.isel(member=slice(int(sizes[0]))) if sizes[0] else result
