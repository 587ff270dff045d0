"""Whether probabilities come true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import as_floats, check_between, check_count, to_numpy, typed
from .proper import each_scheme
from .scores import check_scheme, ensemble_sizes, from_cycle, truth_of

if TYPE_CHECKING:
    import xarray as xr


@typed
def reliability(
    result: xr.Dataset,
    threshold: Any,
    *,
    above: bool = True,
    bins: int = 10,
    stage: str = "forecast",
    skip: int = 0,
    level: float = 0.95,
    independent: float | None = None,
) -> xr.Dataset:
    """The reliability diagram of an event: how often it came true where its probability was p.

    The event is x > threshold (or x < threshold). Its probability is the weight of the members
    for which it happens, where they were kept, else that of N(mean, std^2). Components, cycles and
    experiments are sorted into bins of equal width. Of a reliable forecast the frequency in a bin
    of mean probability p and n cases is Binomial(n, p) / n: that gives the consistency bars. (The
    share of a few members is not the probability that they were drawn by: even members of the
    truth's own law are then too sure by about 1 / N.)

    Args:
        result: the Dataset of `assimilate` or `compare`.
        threshold: a number, or one for each component `(n,)`, in the state's units.
        above: whether the event is above the threshold, or below.
        bins: how many, an integer >= 1.
        stage: "forecast" or another stage of the result.
        skip: the first cycle that counts.
        level: the share of reliable forecasts whose frequencies the bars hold, in (0, 1).
        independent: how many of all cases are independent; by default all, which makes the bars
            too narrow where neighbours are related.

    Returns:
        Dataset of `probability`, the mean of each bin, `frequency`, the bars `low` and `high`, and
            `count`: `(bin)`; and `brier`, the mean of (probability - event)^2. The dimension
            `scheme` is in front where the result has one.

    Raises:
        ValueError: no truth, an unknown stage, or a threshold of another shape.

    Source: Bröcker and Smith, Increasing the reliability of reliability diagrams, Weather
    Forecast. 22, 2007.
    """
    import xarray as xr
    from scipy.stats import binom

    check_count("bins", bins)
    check_between("level", level, 0, 1, open_low=True)
    check_scheme(result)
    truth_of(result, "mean", "std", "time", "stage", "x")
    if independent is not None:
        check_between("independent", independent, 0, np.inf, open_low=True)
    late = from_cycle(result, skip)
    if stage not in late["stage"]:
        raise ValueError(f"met the stage {stage!r}, wanted one of {late['stage'].values}")
    late = late.sel(stage=stage)
    limit = _limit(threshold, late)
    chance = each_scheme(lambda one: _chance(one, limit, above), late)
    y = truth_of(late)
    event = xr.where(y.isnull(), np.nan, (y > limit if above else y < limit).astype(float))
    chance, event = xr.broadcast(chance, event)
    pool = [d for d in chance.dims if d != "scheme"]

    def binned(p: np.ndarray, o: np.ndarray) -> tuple[np.ndarray, ...]:
        good = np.isfinite(p) & np.isfinite(o)
        p, o = p[good], o[good]
        at = np.clip(np.floor(p * bins + 1e-9).astype(int), 0, bins - 1)  # shares of members: i/N
        n, sums, hits = (np.bincount(at, v, bins) for v in (np.ones_like(p), p, o))
        some = np.where(n > 0, n, np.nan)
        share = 1.0 if independent is None else min(1.0, independent / max(p.size, 1))
        draws = np.maximum(np.round(n * share), 1)
        tails = [(1 - level) / 2, (1 + level) / 2]
        mean = np.clip(sums / some, 0, 1)
        low, high = (np.where(n > 0, binom.ppf(t, draws, mean) / draws, np.nan) for t in tails)
        brier = ((p - o) ** 2).mean() if p.size else np.nan
        return mean, hits / some, low, high, n.astype(int), np.asarray(brier)

    out = xr.apply_ufunc(
        *(binned, *(a.stack(pair=pool).load() for a in (chance, event))),
        input_core_dims=[["pair"], ["pair"]],
        output_core_dims=[*[["bin"]] * 5, []],
        vectorize=True,
    )
    names = "probability", "frequency", "low", "high", "count", "brier"
    return xr.Dataset(dict(zip(names, out, strict=True)))


def _limit(threshold: Any, result: xr.Dataset) -> xr.DataArray:
    import xarray as xr

    n = result.sizes["x"]
    value = to_numpy(as_floats(threshold, "the threshold", axes=("x",)))
    if value.shape not in ((), (n,)):
        raise ValueError(f"threshold has shape {value.shape}, wanted () or ({n},): each component")
    if not np.isfinite(value).all():
        raise ValueError(f"threshold must be finite, met {threshold!r}")
    return xr.DataArray(np.broadcast_to(value, (n,)), {"x": result["x"].values}, ("x",))


def _chance(result: xr.Dataset, limit: xr.DataArray, above: bool) -> xr.DataArray:
    """The probability of the event `(..., x)`, NaN where the forecast is not finite."""
    import xarray as xr
    from scipy.special import ndtr

    mean, std = (result[v].astype(float) for v in ("mean", "std"))
    sizes = ensemble_sizes(result)
    if "members" in result and sizes.size:
        E = result["members"].isel(member=slice(sizes[0]))
        hit = (limit < E if above else limit > E).astype(float)
        hit = hit.where(E.notnull())
        if "weights" in result:
            return (hit * result["weights"]).sum("member", skipna=False)
        return hit.mean("member", skipna=False)
    far = (mean - limit if above else limit - mean).astype(float)
    point = xr.where(far > 0, 1.0, 0.0)
    return xr.where(std > 0, ndtr(far / std.where(std > 0, 1.0)), point).where(mean.notnull())
