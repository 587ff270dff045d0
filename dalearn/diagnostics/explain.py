"""Why an increment is as large as it is: what spread, R, other observations and tapers allow.

One observation of variance r^2 moves its own prediction, of spread s, by
    s^2 / (s^2 + r^2)  times its innovation;
all together move it by (H K d)_j, and component i of the state by sum_j K_ij d_j, where K = B H^T
(H B H^T + R)^-1 has the ensemble's covariances, tapered where there is localization.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import convert, no_grad, to_numpy, typed
from ..methods.ensemble.localization import Localization
from ..methods.ensemble.tapering import tapers
from ..problem.belief import Ensemble
from ..problem.problem import Problem
from ..run.innovations import images

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


ROWS = 12  # of a table that are printed


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` found: a sentence, and a table with a row for each observation.

    Args:
        verdict: what limits the increment, in words.
        table: a pandas DataFrame; `explain` says what its columns are.
    """

    verdict: str
    table: pd.DataFrame

    def _few(self) -> tuple[Any, str]:
        """The rows that matter most, and what is said of the others."""
        t = self.table
        if len(t) <= ROWS:
            return t, ""
        size = np.nan_to_num(np.abs(t["increment"].to_numpy()), nan=-1.0)
        most = np.sort(np.argsort(-size, kind="stable")[:ROWS])
        return t.iloc[most], f"the {ROWS} largest increments of {len(t)} observations"

    def __repr__(self) -> str:
        table, note = self._few()
        text = table.to_string(float_format=lambda v: f"{v:.3g}", na_rep="-")
        return "\n".join(filter(None, (self.verdict, "", text, note)))

    def _repr_html_(self) -> str:
        from html import escape

        table, note = self._few()
        html = table.to_html(float_format=lambda v: f"{v:.3g}", na_rep="-")
        return f"<p>{escape(self.verdict)}</p>{html}<p>{note}</p>"


@dataclass(frozen=True, eq=False)
class _Prior:
    """What the forecast ensemble says at one time, for the m numbers that were observed."""

    seen: np.ndarray  # (m,), their places
    d: np.ndarray  # (m,), innovations
    s: np.ndarray  # (m,), spread of the predictions
    r: np.ndarray  # (m,), standard deviations of the observation errors
    HBH: np.ndarray  # (m, m), tapered
    BH: np.ndarray  # (n, m), not tapered
    taper: np.ndarray  # (n, m)
    S: np.ndarray  # (m, m), H B H^T + R

    def solve(self, b: np.ndarray) -> np.ndarray:
        """S^-1 b, each number in units of its own standard deviation."""
        s = np.diag(self.S) ** 0.5
        return np.linalg.solve(self.S / np.outer(s, s), b / s) / s


@typed
def explain(
    result: xr.Dataset,
    problem: Problem,
    time: int = -1,
    *,
    component: int | None = None,
    localization: Localization | None = None,
) -> Explanation:
    """Why the increment at one cycle is what it is, observation by observation.

    The table has for each observation `innovation` y - H(x), and `spread` s and `error` r, the
    standard deviations of prediction and data. Without a component it also has
    - `gain`, s^2 / (s^2 + r^2), and `alone`, gain times innovation: what the observation would do
      to its own prediction by itself;
    - `together`, (H K d)_j: what all observations do; and `increment`, what the method did,
      H(x_a) - H(x_b).
    With a component it has
    - `correlation` of the component with the prediction, in the ensemble, and `taper`;
    - `gain`, K_ij, and `increment`, K_ij d_j, whose sum is what the ensemble's gain gives.

    Args:
        result: of one experiment that kept "members"; `result.isel(case=0)` picks one of a batch.
        problem: the one that the result was made from; `problem[0]` picks one of a batch.
        time: the number of the cycle; -1 is the last.
        component: of the state, to see how each observation moved it.
        localization: that of the method, if it has one.

    Returns:
        Explanation: prints itself. The RMS sizes in its verdict are over all observations, whose
            units may differ; what it concludes hangs on no unit.

    Raises:
        ValueError: a result without members, of several experiments or of another problem.
    """
    import pandas as pd

    k = _checked(result, problem, time, component)
    one = result.isel(time=k).transpose("stage", "member", "x", "y", ..., missing_dims="ignore")
    p, i = _prior(one, problem.validated(), k, localization), component
    columns, verdict = _of_all(p, one) if i is None else _of_component(p, one, i % problem.n)
    columns = {"innovation": p.d, "spread": p.s, "error": p.r} | columns
    table = pd.DataFrame(columns, index=pd.Index(p.seen, name="y"))
    return Explanation(f"Cycle {k}, time {one['time'].values}: {verdict}", table)


def _checked(result: xr.Dataset, problem: Problem, time: int, component: int | None) -> int:
    """The number of the cycle, from 0, of a result that can be explained; else ValueError."""
    if "members" not in result:
        raise ValueError(
            "explain wants the ensemble: run assimilate(..., keep=('members',)), with a method "
            "that has one"
        )
    cases = [d for d in result["mean"].dims if d not in ("time", "stage", "x")]
    if cases or problem.batch:
        raise ValueError(
            f"explain takes one experiment, met the dimensions {cases} and a problem of batch "
            f"{problem.batch}; wanted such as result.isel({cases[0] if cases else 'case'}=0) and "
            "problem[0]"
        )
    K = result.sizes["time"]
    if (problem.n, len(problem)) != (result.sizes["x"], K):
        raise ValueError(
            f"the result has {result.sizes['x']} components and {K} times, the problem "
            f"{problem.n} and {len(problem)}; wanted the one that it was made from"
        )
    for name, value, size in (("time", time, K), ("component", component, problem.n)):
        if value is not None and not -size <= value < size:
            raise ValueError(f"{name} must be an integer from 0 to {size - 1}, met {value!r}")
    if not np.isfinite(result["ensemble_size"]):
        raise ValueError("no ensemble to explain: another kind of method, or its case failed")
    return int(time) % K


def _of_all(p: _Prior, one: xr.Dataset) -> tuple[dict[str, Any], str]:
    """The columns and the verdict where every observation moves its own prediction."""
    shift = one["predicted"].sel(stage="analysis") - one["predicted"].sel(stage="forecast")
    gain = p.s**2 / (p.s**2 + p.r**2)
    together, increment = p.HBH @ p.solve(p.d), shift.values[p.seen]
    words = [_by_itself(*row) for row in zip(p.d, p.s, p.r, together, strict=True)]
    columns = {"gain": gain, "alone": gain * p.d, "together": together, "increment": increment}
    return columns | {"verdict": words}, _overall(p, together, increment)


def _of_component(p: _Prior, one: xr.Dataset, i: int) -> tuple[dict[str, Any], str]:
    """The columns and the verdict where the observations move component i."""
    spread, N = float(one["std"].sel(stage="forecast")[i]), int(one["ensemble_size"])
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = p.BH[i] / (spread * p.s)
    gain = p.solve(p.taper[i] * p.BH[i])
    rows = zip(p.d, p.s, p.r, correlation, p.taper[i], strict=True)
    words = [_on_component(*row, N) for row in rows]
    x = one["mean"].isel(x=i)
    actual = float(x.sel(stage="analysis") - x.sel(stage="forecast"))
    columns = {"correlation": correlation, "taper": p.taper[i], "gain": gain}
    columns |= {"increment": gain * p.d, "verdict": words}
    verdict = _component(p, i, spread, correlation, float((gain * p.d).sum()), actual, N)
    return columns, verdict


def _prior(one: xr.Dataset, problem: Problem, k: int, localization: Any) -> _Prior:
    size, forecast = int(one["ensemble_size"]), one.sel(stage="forecast")
    like = problem.like
    with no_grad(like):
        observe, y = problem.at(k)
        names = [name for name in ("members", "weights") if name in one]
        E = Ensemble.unchecked(*(convert(forecast[v].values[:size], like) for v in names))
        Y, y = observe.together(observe(E.members), y)
        h, Z = (to_numpy(a).astype(float) for a in images(E, Y))
        X = to_numpy(images(E, E.members)[1]).astype(float)
        taper = tapers(problem, localization)(observe)
    seen = observe.noise.seen
    seen = np.arange(observe.m) if seen is None else np.flatnonzero(to_numpy(seen))
    if not len(seen):
        raise ValueError(f"nothing was observed at cycle {k}, so there is no increment to explain")
    Z, d = Z[:, seen], (to_numpy(y) - h[0])[seen]
    R = to_numpy(observe.noise.matrix())[np.ix_(seen, seen)].astype(float)
    BH, HBH, weight = X.T @ Z, Z.T @ Z, np.ones((problem.n, len(seen)))
    if taper is not None:
        weight = to_numpy(taper.state)[seen].T
        HBH = to_numpy(taper.observed)[np.ix_(seen, seen)] * HBH
    s = (Z * Z).sum(0) ** 0.5
    return _Prior(seen, d, s, np.diag(R) ** 0.5, HBH, BH, weight, HBH + R)


# --- in words -----------------------------------------------------------------------------------

SMALL, LARGE = 0.1, 0.9  # gains below and above which the words say so
FAR, NEAR = 3.0, 0.3  # innovations in units of sqrt(s^2 + r^2), likewise


def _noise(N: int) -> float:
    """Correlations that N members show where there are none: two of their standard deviations."""
    return min(2 / N**0.5, 0.95)


def _by_itself(d: float, s: float, r: float, together: float) -> str:
    """What limits the increment at an observation."""
    allowed = (s**2 + r**2) ** 0.5
    if not np.isfinite(d + allowed):
        return "not finite"
    gain, far = s**2 / allowed**2, abs(d) / allowed
    if far > FAR:
        short = "spread too small, or data wrong" if gain < 0.5 else "outlier, or R too small"
        return f"{short}: innovation {far:.1f} x allowed"
    if far < NEAR:
        return "forecast agrees with the data"
    if gain < SMALL:
        return f"spread is {s / r:.2g} of the data's error"
    if abs(together) < abs(gain * d) / 2 or together * d < 0:
        return "other observations hold it back"
    if abs(together) > 2 * abs(gain * d):
        return "other observations push it on"
    return "taken nearly as it is" if gain > LARGE else "weighed by spread and error"


def _on_component(d: float, s: float, r: float, c: float, taper: float, N: int) -> str:
    """What limits the influence of an observation on a component."""
    if not np.isfinite(d + s + r):
        return "not finite"
    if taper == 0:
        return "the taper keeps it out"
    if not abs(c) > _noise(N):
        return f"correlated no more than noise, {_noise(N):.2g}"
    if s**2 < SMALL * (s**2 + r**2):
        return f"spread is {s / r:.2g} of the data's error"
    if taper < 0.5:
        return f"tapered to {taper:.2g}"
    if abs(d) < NEAR * (s**2 + r**2) ** 0.5:
        return "forecast agrees with the data"
    return "counts"


def _rms(x: np.ndarray) -> float:
    return float(np.mean(np.square(x)) ** 0.5)


def _overall(p: _Prior, together: np.ndarray, increment: np.ndarray) -> str:
    if not np.isfinite(p.S).all():
        return "the run is not finite here."
    allowed = np.sqrt(p.s**2 + p.r**2)
    gain, far = float(np.median(p.s**2 / allowed**2)), _rms(p.d / allowed)
    text = (
        f"innovations of {_rms(p.d):.3g} (RMS), {far:.2g} x what spread {_rms(p.s):.3g} and error "
        f"{_rms(p.r):.3g} allow; the ensemble's gain makes of them {_rms(together):.3g}, the "
        f"method {_rms(increment):.3g}."
    )
    if far > 1.5 and gain < 0.5:
        text += " The ensemble is too sure of itself: inflation, or model noise, would open it."
    elif gain < SMALL:
        text += f" The forecast claims to be far better than the data (median gain {gain:.2g})."
    if _rms((increment - together) / allowed) > 0.5 * _rms(together / allowed):
        text += " The two differ: another gain than this one's (localization? iterations?)."
    return text


def _component(
    p: _Prior,
    i: int,
    spread: float,
    correlation: np.ndarray,
    expected: float,
    actual: float,
    N: int,
) -> str:
    if not np.isfinite(p.S).all():
        return "the run is not finite here."
    text = f"component {i} has the spread {spread:.3g}; the ensemble's gain moves it by "
    text += f"{expected:.3g}, the method did by {actual:.3g}."
    strongest = float(np.nan_to_num(np.abs(correlation * (p.taper[i] > 0))).max())
    if not (p.taper[i] > 0).any():
        text += " No observation reaches it: the radius is too small, or it is unobserved there."
    elif spread == 0:
        text += " All members agree, so nothing can move it."
    elif strongest < _noise(N):
        text += f" No observation is correlated with it beyond noise, {_noise(N):.2g}."
    return text
