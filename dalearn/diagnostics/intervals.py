"""How sure a mean over a run is, and whether a spread tells the size of the error.

Scores of neighbouring cycles resemble each other, so a mean over n of them is worth fewer: n /
tau, with tau = 1 + 2 sum_k rho_k the integrated autocorrelation time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import as_floats, check_count, to_numpy, typed
from .scores import check_scheme, from_cycle, truth_of

if TYPE_CHECKING:
    import xarray as xr


@typed
def autocorrelation_time(series: Any) -> np.ndarray:
    """The integrated autocorrelation time tau = 1 + 2 sum_k rho_k, in steps.

    1 for independent numbers. The sum over pairs rho_2k + rho_2k+1 stops before the first pair
    that is not positive, and each pair is at most the one before it (initial monotone sequence).

    Args:
        series: `(..., n)` with n >= 4, without masked values.

    Returns:
        tau `(...)`; NaN where the series is NaN or constant.

    Raises:
        ValueError: n < 4.

    Source: Geyer, Practical Markov chain Monte Carlo, Stat. Sci. 7, 1992.
    """
    x = to_numpy(as_floats(series, "the series", axes=("...", "time"))).astype(float, copy=False)
    n = x.shape[-1] if x.ndim else 0
    if n < 4:
        raise ValueError(f"an autocorrelation needs at least 4 values, met {n}")
    with np.errstate(invalid="ignore", over="ignore"):
        x = x / unit_of(x)  # squares of its own unit might be no numbers
        x = x - x.mean(-1, keepdims=True)
        f = np.fft.rfft(x, 2 * n, axis=-1)  # padded: no wrap
        gamma = np.fft.irfft((f * f.conj()).real, axis=-1)[..., : n // 2 * 2] / n
        varies = gamma[..., :1] > (8 * np.finfo(float).eps) ** 2
        rho = gamma / np.where(varies, gamma[..., :1], np.nan)
        pairs = rho[..., ::2] + rho[..., 1::2]
        kept = np.logical_and.accumulate(pairs > 0, axis=-1)
        tau = 2 * np.where(kept, np.minimum.accumulate(pairs, axis=-1), 0.0).sum(-1) - 1
    finite = np.isfinite(rho).all(-1)
    return np.where(finite, np.clip(tau, 1 / n, None), np.nan)


@typed
def interval(
    series: Any, level: float = 0.95, dim: str = "time", *, batches: int | None = None
) -> xr.Dataset:
    """A confidence interval for the mean of a series whose values are correlated in time.

        mean -+ t sqrt(gamma_0 / f),  f = n / tau - 1,

    gamma_0 the variance of the series, t the quantile of Student's distribution of f degrees. It
    says how well the mean over *this* run is known; other seeds have other means. To compare two
    methods take the interval of their difference, cycle by cycle.

    Args:
        series: a DataArray with the dimension `dim`, such as `rmse(result)` after its spin-up, or
            an array `(..., n)`. Masked values of an array are left out, so that their neighbours
            follow each other; NaN makes a mean NaN.
        level: the probability that the interval holds the mean, in (0, 1).
        dim: the dimension of time.
        batches: instead of tau, use the scatter of the means of so many batches of equal length,
            which must be long against tau (the remainder at the start is left out).

    Returns:
        Dataset without `dim`: mean, low, high, error (the standard error), tau, and effective, the
            number n / tau of independent values.

    Raises:
        ValueError: a level, dimension or number of batches that does not fit the series.

    Source: Geyer, Practical Markov chain Monte Carlo, Stat. Sci. 7, 1992; Sokal, Monte Carlo
    methods in statistical mechanics, in Functional Integration, 1997.
    """
    import xarray as xr
    from scipy.special import stdtrit

    if not isinstance(level, (int, float)) or not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, met {level!r}")
    if isinstance(series, np.ma.MaskedArray) and np.ma.getmaskarray(series).any():
        return _without_masked(series, level, dim, batches)
    if not isinstance(series, xr.DataArray):
        values = to_numpy(as_floats(series, "the series", axes=("...", dim)))
        names = [f"case{i}" for i in range(values.ndim - 1)]
        series = xr.DataArray(values, dims=[*names, dim]) if values.ndim else xr.DataArray(values)
    if dim not in series.dims:
        raise ValueError(f"the series has the dimensions {series.dims}, wanted {dim!r} among them")
    moved = series.transpose(..., dim)
    x = np.asarray(moved.values, dtype=float)
    unit = unit_of(x)
    x = x / unit
    n, variance, unit = x.shape[-1], x.var(-1), unit[..., 0]
    flat = variance <= (8 * np.finfo(float).eps) ** 2  # constant: the mean is known
    if batches is None:
        tau = np.where(flat, 1.0, autocorrelation_time(x))
        mean, effective = x.mean(-1), n / tau
        error = np.sqrt(variance / np.maximum(effective - 1, np.finfo(float).tiny))
        freedom = np.maximum(effective - 1, 1.0)
    else:
        whole = isinstance(batches, (int, np.integer)) and 2 <= batches <= n
        if not whole:
            raise ValueError(f"batches must be an integer from 2 to {n}, met {batches!r}")
        size = n // batches
        means = x[..., n - batches * size :].reshape(*x.shape[:-1], batches, size).mean(-1)
        mean = means.mean(-1)
        error = means.std(-1, ddof=1) / batches**0.5
        tau = np.where(flat, 1.0, n * error**2 / np.where(flat, 1.0, variance))
        effective, freedom = n / tau, float(batches - 1)
    half = stdtrit(freedom, (1 + level) / 2) * error
    found = {
        "mean": mean * unit,
        "low": (mean - half) * unit,
        "high": (mean + half) * unit,
        "error": error * unit,
        "tau": tau,
        "effective": effective,
    }
    rest = moved.isel({dim: 0}, drop=True)
    return xr.Dataset({k: (rest.dims, v) for k, v in found.items()}, rest.coords)


def unit_of(x: np.ndarray) -> np.ndarray:
    """The power of two above the sizes of each row, `(..., 1)`: to divide by it is exact."""
    size = np.abs(x).max(-1, keepdims=True)
    power = np.frexp(np.where(np.isfinite(size), size, 1.0))[1]
    return np.ldexp(1.0, np.clip(power, -1000, 1000))


def _without_masked(series: Any, level: float, dim: str, batches: int | None) -> xr.Dataset:
    """`interval` of each row of a masked array without what is masked in it."""
    import xarray as xr

    rows = [
        interval(np.asarray(row.compressed()), level, dim, batches=batches)
        for row in series.reshape(-1, series.shape[-1])
    ]
    lead = series.shape[:-1]
    names = [f"case{i}" for i in range(len(lead))]
    return xr.Dataset(
        {k: (names, np.reshape([float(r[k]) for r in rows], lead)) for k in rows[0].data_vars}
    )


@typed
def spread_skill(
    result: xr.Dataset, bins: int = 10, stage: str = "forecast", skip: int = 0
) -> xr.Dataset:
    """The error that belongs to small and to large spread, in bins of equal counts.

    Standard deviations over components, cycles and experiments are sorted into bins: the
    components must have one unit, or be picked, as in `spread_skill(result.sel(x=...))`. Reliable
    ensembles of N members have rmse = sqrt((N + 1) / N) spread in every bin.

    Args:
        result: the Dataset of `assimilate` or `compare`.
        bins: how many, an integer >= 1.
        stage: "forecast" or another stage of the result.
        skip: the first cycle that counts.

    Returns:
        Dataset of `spread`, the root-mean std^2 of each bin, `rmse` of its errors, and `count`:
            `(bin)`, with the dimension `scheme` in front where the result has one.

    Raises:
        ValueError: no truth, an unknown stage, or bins < 1.

    Source: Wang and Bishop, A comparison of breeding and ensemble transform Kalman filter ensemble
    forecast schemes, J. Atmos. Sci. 60, 2003.
    """
    import xarray as xr

    check_count("bins", bins)
    check_scheme(result)
    truth_of(result, "mean", "std", "time", "stage")
    late = from_cycle(result, skip)
    if stage not in late["stage"]:
        raise ValueError(f"met the stage {stage!r}, wanted one of {late['stage'].values}")
    late = late.sel(stage=stage)
    variance, square = xr.broadcast(
        late["std"].astype(float) ** 2, (late["mean"] - truth_of(late)).astype(float) ** 2
    )
    pool = [d for d in variance.dims if d != "scheme"]

    def binned(v: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, ...]:
        good = np.isfinite(v) & np.isfinite(e)
        order = np.argsort(v[good], kind="stable")
        parts = [(v[good][i], e[good][i]) for i in np.array_split(order, bins)]
        root = [[np.sqrt(a.mean()) if a.size else np.nan for a in p] for p in parts]
        return *np.transpose(root), np.array([a.size for a, _ in parts])

    one = variance.stack(pair=pool), square.stack(pair=pool)
    out = xr.apply_ufunc(
        *(binned, *(a.load() for a in one)),
        input_core_dims=[["pair"], ["pair"]],
        output_core_dims=[["bin"]] * 3,
        vectorize=True,
    )
    return xr.Dataset(dict(zip(("spread", "rmse", "count"), out, strict=True)))
