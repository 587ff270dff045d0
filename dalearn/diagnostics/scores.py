"""Scores cycle by cycle, from the Dataset of a run alone: errors, spread, and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Array, as_floats, typed, unbiased

if TYPE_CHECKING:
    import xarray as xr


def truth_of(result: xr.Dataset, *needs: str) -> xr.DataArray:
    """The truth that the result holds; ValueError where it holds none, or lacks what it needs."""
    check_result(result)
    if "truth" not in result:
        raise ValueError(
            "this score needs the truth, which the result does not hold; use innovations "
            "(observation - predicted) for real data"
        )
    check_result(result, *needs)
    truth = result["truth"]
    return truth if truth.dtype.kind == "f" else truth.astype(float)


def check_result(result: Any, *needs: str) -> None:
    """Raise unless `result` is a Dataset, or a variable of it, with these dimensions or parts."""
    if not hasattr(result, "dims"):
        kind = type(result).__name__
        raise TypeError(f"wanted the Dataset of assimilate or compare, met {kind}")
    there = {*result.dims, *getattr(result, "data_vars", ())}
    if lacks := [name for name in needs if name not in there]:
        raise ValueError(
            f"this needs {', '.join(lacks)} of the result, met {sorted(map(str, there))}; wanted "
            "them as assimilate returns them: select and average what this returns"
        )


def from_cycle(result: Any, skip: int) -> Any:
    """`result` (a Dataset or a variable of it) from cycle `skip` on."""
    if not isinstance(skip, (int, np.integer)) or isinstance(skip, bool):
        raise ValueError(f"skip must be an integer, the first cycle that counts, met {skip!r}")
    check_result(result, "time")
    if not 0 <= skip < result.sizes["time"]:
        raise ValueError(
            f"met skip = {skip}, which leaves no cycle of {result.sizes['time']}; wanted "
            f"0 <= skip < {result.sizes['time']}"
        )
    return result.isel(time=slice(skip, None))


def check_scheme(result: Any) -> None:
    """Refuse a result whose methods stand along `method`, the old name of the dimension."""
    check_result(result)
    if "method" in result.dims and "scheme" not in result.dims:
        raise ValueError(
            'the result has the dimension "method", which is "scheme" now; wanted '
            'result.rename(method="scheme")'
        )


def gaps_as_nan(x: Any) -> Any:
    """`x`, and where it is a masked array of NumPy its numbers, NaN for those masked."""
    return as_floats(x, "a series", gaps=True) if isinstance(x, np.ma.MaskedArray) else x


@typed
def rmse(result: xr.Dataset) -> xr.DataArray:
    """Root-mean-square error of the mean over the state: sqrt(mean_x (mean - truth)^2).

    One number for a state whose components have one unit; of several units the largest numbers
    decide it: then take `rmse(result.sel(x=...))` for each kind of component.

    Args:
        result: the Dataset of `assimilate` or `compare`.

    Returns:
        DataArray `(case..., time, stage)`, in the state's units.

    Raises:
        ValueError: the result holds no truth.
    """
    truth = truth_of(result, "mean", "x")
    error = (result["mean"] - truth).astype(float)  # it will be squared
    return ((error**2).mean("x", skipna=False) ** 0.5).rename("rmse")


@typed
def spread(result: xr.Dataset) -> xr.DataArray:
    """Root-mean variance over the state: sqrt(mean_x std^2).

    Like `rmse`, which it is compared with, for components of one unit.

    Args:
        result: the Dataset of `assimilate` or `compare`.

    Returns:
        DataArray `(case..., time, stage)`, in the state's units.
    """
    check_result(result, "std", "x")
    return ((result["std"].astype(float) ** 2).mean("x", skipna=False) ** 0.5).rename("spread")


@typed
def crps_gaussian(mean: Array, std: Array, truth: Array) -> Any:
    """Continuous ranked probability score of N(mean, std^2), elementwise; smaller is better.

        s [z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)],  z = (truth - mean) / s;  |s z| for s = 0.

    Args:
        mean: of the forecast.
        std: its standard deviation s >= 0.
        truth: what came true; the three broadcast.

    Returns:
        The score, in the units of the truth.

    Raises:
        ValueError: for a standard deviation below 0.

    Source: Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, J. Am.
    Stat. Assoc. 102, 2007.
    """
    from scipy.special import ndtr

    mean, std, truth = (gaps_as_nan(a) for a in (mean, std, truth))
    if (std < 0).any():
        raise ValueError(f"std must be >= 0, met {np.nanmin(std):.3g}")
    error, point = truth - mean, std == 0
    z = error / np.where(point, 1.0, std)
    with np.errstate(over="ignore"):  # a spread of almost nothing: the density there is 0
        phi = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return np.where(point, abs(error), std * (z * (2 * ndtr(z) - 1) + 2 * phi - np.pi**-0.5))


@typed
def crps_ensemble(
    members: Array, truth: Array, axis: int = -1, weights: Array | None = None
) -> np.ndarray:
    """CRPS of an ensemble, the fair estimate for the distribution that the members come from.

        mean_i |x_i - y| - sum_{i<j} |x_i - x_j| / (N (N - 1))

    Unbiased for exchangeable members, computed by sorting in O(N log N). With weights it is
    sum_i w_i |x_i - y| - sum_{i<j} w_i w_j |x_i - x_j| / (1 - sum_i w_i^2), the same where they
    are equal.

    Args:
        members: x_i along `axis`, at least 2.
        truth: y, of the shape of the members without `axis`.
        axis: that of the members.
        weights: `(..., N)`, broadcast along `axis`; they sum to 1.

    Returns:
        The score, of the shape of the truth.

    Raises:
        ValueError: fewer than 2 members.

    Source: Ferro, Fair scores for ensemble forecasts, Q. J. R. Meteorol. Soc. 140, 2014.
    """
    x, truth, weights = np.asarray(gaps_as_nan(members)), gaps_as_nan(truth), gaps_as_nan(weights)
    x = np.moveaxis(x, axis, -1)
    N = x.shape[-1]
    if N < 2:
        raise ValueError(f"the fair CRPS needs at least 2 members, met {N}")
    if weights is not None:
        return _crps_weighted(x, np.asarray(truth), np.broadcast_to(weights, x.shape))
    x = np.sort(x, axis=-1)
    near = np.abs(x - np.asarray(truth)[..., None]).mean(-1)
    weight = 2 * np.arange(N) - N + 1  # sum_{i<j} (x_(j) - x_(i)) over the sorted members
    return near - (x * weight).sum(-1) / (N * (N - 1))


def _crps_weighted(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The fair CRPS of members along the last axis with weights of the same shape."""
    order = np.argsort(x, axis=-1)
    x, w = np.take_along_axis(x, order, -1), np.take_along_axis(w, order, -1)
    below, above = np.cumsum(w, -1)[..., :-1], np.cumsum(w[..., :0:-1], -1)[..., ::-1]
    gaps = (below * above * np.diff(x, axis=-1)).sum(-1)  # sum_{i<j} w_i w_j |x_i - x_j|
    pairs = gaps * unbiased(w)[..., 0]
    return (w * np.abs(x - y[..., None])).sum(-1) - pairs


@typed
def crps(result: xr.Dataset) -> xr.DataArray:
    """Mean over the state of the continuous ranked probability score.

    From the members where they were kept (`crps_ensemble`), else from mean and std as if Gaussian
    (`crps_gaussian`). For a point forecast it is the mean absolute error. Like `rmse` it is for
    components of one unit.

    Args:
        result: the Dataset of `assimilate` or `compare`.

    Returns:
        DataArray `(case..., time, stage)`, in the state's units.

    Raises:
        ValueError: the result holds no truth.
    """
    import xarray as xr

    check_scheme(result)
    if (sizes := ensemble_sizes(result)).size > 1:  # one method after another, without the padding
        ones = [crps(result.isel(scheme=i)) for i in range(result.sizes["scheme"])]
        return xr.concat(ones, dim="scheme", coords="minimal", compat="override")
    truth = truth_of(result, "mean", "std", "x")
    if "members" in result and sizes.size:
        result = result.isel(member=slice(sizes[0]))
        weights = [result["weights"]] if "weights" in result else []
        value = xr.apply_ufunc(
            lambda x, y, w=None: crps_ensemble(x, y, weights=w),
            *(result["members"], truth, *weights),
            input_core_dims=[["member"], [], *([["member"]] * len(weights))],
            dask="parallelized",
            output_dtypes=[float],
            dask_gufunc_kwargs={"allow_rechunk": True},
        )
    else:
        value = xr.apply_ufunc(
            *(crps_gaussian, result["mean"], result["std"], truth),
            dask="parallelized",
            output_dtypes=[float],
        )
    last = [d for d in ("time", "stage") if d in value.dims]
    return value.mean("x", skipna=False).transpose(..., *last).rename("crps")


@typed
def rank_histogram(result: xr.Dataset, stage: str = "forecast", skip: int = 0) -> xr.DataArray:
    """How often the truth fell in each of the N + 1 gaps between the members.

    Flat for a calibrated ensemble, a U for one too narrow, a hump for one too wide.

    Args:
        result: of a run that kept "ranks".
        stage: "forecast" or another stage of the result.
        skip: the first cycle that counts.

    Returns:
        DataArray `(case..., rank)`: counts over x and over the cycles.

    Raises:
        ValueError: no ranks, an unknown stage, or ensembles of several sizes.

    Source: Hamill, Interpretation of rank histograms for verifying ensemble forecasts, Mon. Wea.
    Rev. 129, 2001.
    """
    import xarray as xr

    check_result(result)
    if "ranks" not in result:
        raise ValueError("the result holds no ranks; run assimilate(..., keep=('ranks',))")
    check_result(result, "time", "stage", "x")
    if stage not in result["stage"]:
        raise ValueError(f"met the stage {stage!r}, wanted one of {result['stage'].values}")
    ranks = from_cycle(result["ranks"].sel(stage=stage), skip)
    members = ensemble_sizes(result)
    if len(members) != 1:
        raise ValueError(f"met ensembles of sizes {members.tolist()}; select one method first")
    size = members[0] + 1
    return xr.apply_ufunc(
        lambda r: np.stack([(r == i).sum(axis=(-2, -1)) for i in range(size)], axis=-1),
        ranks,
        input_core_dims=[["time", "x"]],
        output_core_dims=[["rank"]],
        dask="parallelized",
        output_dtypes=[int],
        dask_gufunc_kwargs={"output_sizes": {"rank": size}, "allow_rechunk": True},
    ).rename("count")


def ensemble_sizes(result: xr.Dataset) -> np.ndarray:
    """The different ensemble sizes in a result; a method that failed has none."""
    if "ensemble_size" not in result:
        return np.zeros(0, int)
    sizes = np.unique(result["ensemble_size"])
    return sizes[np.isfinite(sizes)].astype(int)


@typed
def climatology(result: xr.Dataset) -> xr.DataArray:
    """RMS error of the climatological mean: sqrt(mean_x var_time truth).

    Like `rmse`, which it is compared with, for components of one unit.

    Args:
        result: the Dataset of `assimilate` or `compare`.

    Returns:
        DataArray `(case...)`, in the state's units.

    Raises:
        ValueError: the result holds no truth.
    """
    truth = truth_of(result, "time", "x").astype(float)
    return (truth.var("time").mean("x") ** 0.5).rename("climatology")
