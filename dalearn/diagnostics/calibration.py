"""Whether a whole method is calibrated, over many twins whose truths are drawn from the prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..array import check_count, typed
from .scores import check_result, check_scheme, ensemble_sizes, truth_of

if TYPE_CHECKING:
    import xarray as xr


@typed
def simulation_based_calibration(
    result: xr.Dataset, *, cycle: int = -1, stage: str = "analysis", bins: int | None = None
) -> xr.Dataset:
    """Whether a method says what is true on average: ranks of truths drawn from the prior.

    Draw many truths from the prior, make data of each, and ask for the posterior: if that is the
    right one, the truth has every rank among its draws equally often, in each component. One time
    of each experiment is used, as other times of it are not independent. From the ranks, if kept;
    else from Phi((truth - mean) / std), as if Gaussian. A U: too sure; a dome: not sure enough; a
    slope: biased. The test is the chi-square of Pearson; over all components p is corrected for
    their number (Bonferroni), whatever their correlations.

    The truth must come from the prior, the model and the noise that the method is told, as in a
    plain `twin(..., batch=(500,))`. Members whose sample covariance is exact, as the square-root
    filters make them, are no independent draws: with few of them the ranks bend a little.

    Args:
        result: of many independent experiments (cases or seeds), 20 at least.
        cycle: at which cycle, counted from the end where negative.
        stage: "analysis" or another stage of the result.
        bins: into which the ranks are gathered, an integer >= 2; by default as many as have ten
            experiments each, at most 20, and no more than ranks.

    Returns:
        Dataset of `count (x, rank)` in each bin, `share (rank)`, what it should hold, `chi2 (x)`,
            `p (x)` and `p_all`, the probability of a chi-square as large as this, or as the
            largest of them. The dimension `scheme` is in front where the result has one.

    Raises:
        ValueError: no truth, an unknown cycle or stage, fewer than 20 finite experiments, or
            ensembles of several sizes.

    Source: Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian inference
    algorithms with simulation-based calibration, arXiv:1804.06788, 2018; Cook, Gelman and Rubin,
    J. Comput. Graph. Stat. 15, 2006.
    """
    import xarray as xr
    from scipy.special import chdtrc

    check_scheme(result)
    check_result(result, "mean", "std", "time", "stage", "x")
    if stage not in result["stage"]:
        raise ValueError(f"met the stage {stage!r}, wanted one of {result['stage'].values}")
    K = result.sizes["time"]
    if not -K <= cycle < K:
        raise ValueError(f"met cycle = {cycle}, wanted -{K} <= cycle < {K}")
    one = result.isel(time=cycle).sel(stage=stage)
    u, ranks = _places(one)
    pool = [d for d in u.dims if d not in ("scheme", "x")]
    u = u.stack(pair=pool) if pool else u.expand_dims("pair")
    count = u.notnull().sum("pair")
    least = int(count.min())
    if least < 20:
        raise ValueError(
            f"calibration wants at least 20 experiments that did not diverge, met {least}; make "
            "some hundred by twin(..., batch=(500,))"
        )
    most = min(20, ranks or 20)
    if bins is None:
        bins = int(np.clip(least // 10, 2, most))
    check_count("bins", bins, 2)
    if ranks and bins > ranks:
        raise ValueError(f"met {bins} bins, wanted at most {ranks}: one for each rank")
    edges = (
        np.ceil(np.arange(bins + 1) * (ranks / bins)) / ranks
        if ranks
        else np.arange(bins + 1) / bins
    )
    share = np.diff(edges)
    inner = edges[1:-1] - (0.25 / ranks if ranks else 0.0)

    def counted(v: np.ndarray) -> np.ndarray:
        return np.bincount(np.searchsorted(inner, v[np.isfinite(v)], "right"), minlength=bins)

    counts = xr.apply_ufunc(
        counted, u.load(), input_core_dims=[["pair"]], output_core_dims=[["rank"]], vectorize=True
    )
    wanted = xr.DataArray(share, dims="rank")
    expected = counts.sum("rank") * wanted
    chi2 = ((counts - expected) ** 2 / expected).sum("rank")
    p = xr.apply_ufunc(lambda c: chdtrc(bins - 1, c), chi2)
    p_all = (p.min("x") * p.sizes["x"]).clip(max=1.0)
    return xr.Dataset({"count": counts, "share": wanted, "chi2": chi2, "p": p, "p_all": p_all})


def _places(one: xr.Dataset) -> tuple[xr.DataArray, int | None]:
    """Where the truth stands in the posterior, in [0, 1), NaN if diverged; how many ranks."""
    import xarray as xr
    from scipy.special import ndtr

    if "ranks" in one:
        sizes = ensemble_sizes(one)
        if len(sizes) != 1:
            raise ValueError(f"met ensembles of sizes {sizes.tolist()}; select one method first")
        r, N = one["ranks"], int(sizes[0])
        return (r / (N + 1)).where(r >= 0), N + 1
    z = (truth_of(one, "mean", "std") - one["mean"]) / one["std"]
    return xr.apply_ufunc(ndtr, z.astype(float)), None
