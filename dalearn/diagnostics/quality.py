"""Rows of a table beside what a run says of them: departures, flags, and withheld sensors.

The truth of real data is not known. What a run never saw can stand in its place, with its error:
for a withheld y = H(x) + e the departure d = y - H(x_a) has the variance H A H^T + R, where A is
the covariance that the run claims.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import check_between, convert, convert_tree, no_grad, to_numpy, typed
from ..covariances.matrices import Dense, Diagonal
from ..problem.belief import Belief, Ensemble, Gaussian
from ..problem.border import Border
from ..problem.observe import is_selection
from ..problem.problem import Problem
from ..problem.table import Tabled
from ..run.innovations import innovation
from .ensembles import with_members
from .scores import check_result

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@typed
def quality(problem: Problem, result: xr.Dataset, stage: str = "forecast") -> pd.DataFrame:
    """The table of a problem, each row beside what the result says of it.

    Its flag: good; missing, no value; duplicate, stands above already; limits, beyond those given;
    background, refused by `screen`; withheld. Then `predicted`, H(x); `departure`, y - H(x); and
    `expected`, its standard deviation (H B H^T + R)^1/2 if forecast and error are as they claim,
    for a forecast, or for data that the analysis did not see.

    H B H^T needs what the run kept: keep=("members",) or ("covariances",). Without, it is known
    where the operator picks components of the state, and NaN elsewhere.

    Args:
        problem: of `Problem.from_table`.
        result: the Dataset of `assimilate` for one experiment.
        stage: "forecast", "analysis", or another stage of the result.

    Returns:
        A frame of pandas, one row for each row of the table, in its order.

    Raises:
        ValueError: for a problem without a table, and a result of several experiments, of another
            problem or without that stage.
    """
    kept = _kept(problem, result, stage)
    whole: Any = problem.validated()
    table, rows, j = whole.table, whole.origin.rows, whole.origin.j
    h, v = np.full(len(j), np.nan), np.full(len(j), np.nan)
    for out in (False, True):
        some = np.flatnonzero((rows.out == out) & (j >= 0))
        some = some[np.argsort(rows.k[some], kind="stable")]
        times, begin = np.unique(rows.k[some], return_index=True)
        for k, mine in zip(times.tolist(), np.split(some, begin)[1:], strict=True):
            h[mine], v[mine] = (a[j[mine]] for a in _seen(whole, kept, k, out))
    departure = np.where(rows.flag == "missing", np.nan, rows.value) - h
    return table.assign(predicted=h, departure=departure, expected=(v + rows.error**2) ** 0.5)


@typed
def verify(
    problem: Problem,
    result: xr.Dataset,
    stage: str = "analysis",
    by: str | None = None,
    limit: float | None = None,
) -> pd.DataFrame:
    """Scores of a run against the rows that were withheld from it.

        bias = mean d,   rmse = (mean d^2)^1/2,   chi2 = mean d^2 / (H A H^T + R),   d = y - H(x_a)

    The error of the data is in them: a perfect analysis has an rmse as large as R^1/2, and `error`
    is its root mean square. An honest one has a chi2 of 1, more where it claims too much. Withheld
    rows may hold gross errors as well: with a `limit` those further than so many expected
    deviations from the forecast do not count, as in `screen`.

    Args:
        problem: of `Problem.from_table(..., withhold=...)`.
        result: the Dataset of `assimilate` for one experiment.
        stage: "forecast", "analysis", or another stage of the result.
        by: the column whose words are scored one by one; by default the sensors, if it has them.
        limit: how many standard deviations are believed, above 0; None: all rows count.

    Returns:
        A frame of pandas: count, those refused, bias, rmse, error, expected (root mean square of
        what H A H^T + R allows) and chi2 for each, and for all.

    Raises:
        ValueError: where nothing was withheld, and as `quality`.
    """
    import pandas as pd

    found = quality(problem, result, stage)
    mine = found[found["flag"] == "withheld"]
    if not len(mine):
        raise ValueError(
            "no row of the table is withheld; wanted Problem.from_table(withhold=...)"
        )
    origin: Any = getattr(problem, "origin", None)
    mine = mine.assign(_error=origin.rows.error[np.asarray(found["flag"] == "withheld")])
    refused = np.zeros(len(mine), bool)
    if limit is not None:
        check_between("limit", limit, 0, float("inf"), open_low=True)
        before = quality(problem, result).loc[mine.index]
        refused = np.asarray(abs(before["departure"]) > limit * before["expected"])
    mine = mine.assign(_refused=refused)
    by = "sensor" if by is None and "sensor" in mine else by
    if by is not None and by not in mine:
        raise ValueError(f"by names the column {by!r}, met {list(found.columns)[:12]}")
    groups = [] if by is None else list(mine.groupby(by))
    scores = {name: _scores(part) for name, part in [*groups, ("all", mine)]}
    return pd.DataFrame(scores).T.astype({"count": int, "refused": int})


SCORES = "count", "refused", "bias", "rmse", "error", "expected", "chi2"


def _scores(part: pd.DataFrame) -> dict[str, float]:
    good = ~part["_refused"].to_numpy(bool)
    d, s, e = (part[c].to_numpy(float)[good] for c in ("departure", "expected", "_error"))
    if not len(d):
        return dict.fromkeys(SCORES, np.nan) | {"count": 0, "refused": len(part)}
    return {
        "count": len(d),
        "refused": len(part) - len(d),
        "bias": d.mean(),
        "rmse": (d**2).mean() ** 0.5,
        "error": (e**2).mean() ** 0.5,
        "expected": (s**2).mean() ** 0.5,
        "chi2": (d**2 / s**2).mean(),
    }


CORE = {
    "mean": ("x",),
    "std": ("x",),
    "members": ("member", "x"),
    "weights": ("member",),
    "covariance": ("x", "x_"),
}


def _kept(problem: Any, result: Any, stage: str) -> dict[str, np.ndarray]:
    """What the result holds at a stage, `(time, ...)`; ValueError unless it is of one run."""
    if not isinstance(problem, Tabled) or problem.origin is None:
        raise ValueError(
            f"the problem must come from Problem.from_table, met a {type(problem).__name__} "
            "without a table"
        )
    check_result(result, "mean", "std", "time", "stage", "x")
    if result["mean"].ndim != 3:
        raise ValueError(
            f"the result has the axes {result['mean'].dims}, wanted one experiment (time, stage, "
            "x): result.isel(case=0), or select a scheme and a seed"
        )
    if (result.sizes["time"], result.sizes["x"]) != (len(problem), problem.n):
        raise ValueError(
            f"the result has {result.sizes['time']} times of {result.sizes['x']} components, the "
            f"problem {len(problem)} of {problem.n}; wanted the one it was made from"
        )
    if stage not in result["stage"]:
        raise ValueError(f"met the stage {stage!r}, wanted one of {result['stage'].values}")
    found = (with_members(result) if "members" in result else result).sel(stage=stage)
    there = {name: dims for name, dims in CORE.items() if name in found}
    return {name: found[name].transpose("time", *dims).values for name, dims in there.items()}


def _seen(
    whole: Any, kept: dict[str, np.ndarray], k: int, out: bool
) -> tuple[np.ndarray, np.ndarray]:
    """H(x) and the diagonal of H B H^T of what was withheld at time k, or else assimilated."""
    observe = whole._observe(k)
    if out:
        held = convert_tree(whole.origin.held[k], whole.like)
        observe = (
            replace(held, operator=Border(held.operator, whole.shape)) if whole.shape else held
        )
    with no_grad(whole.like):
        now = {name: convert(a[k], whole.like) for name, a in kept.items()}
        belief, known = _belief(now, observe)
        zero = convert(np.zeros(observe.m), whole.like)
        d, Z = innovation(belief, observe, zero)
        v = to_numpy((Z * Z).sum(-2))
    return 0 - to_numpy(d)[0], v if known else np.full(observe.m, np.nan)


def _belief(now: dict[str, Any], observe: Any) -> tuple[Belief, bool]:
    """What is known of a state, and whether it tells the spread of what is seen."""
    if "members" in now:
        weights = (now["weights"],) if "weights" in now else ()
        return Ensemble.unchecked(now["members"], *weights), True
    if "covariance" in now:
        return Gaussian(now["mean"], Dense(now["covariance"])), True
    spread = Diagonal(now["std"] ** 2)
    return Gaussian(now["mean"], spread), is_selection(observe.operator)
