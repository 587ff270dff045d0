"""What the sections of `benchmarks.score` share: settings, runs, scores, and how they are told."""

from __future__ import annotations

import random
import statistics
import time
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dalearn.covariances.matrices import Diagonal
from dalearn.diagnostics.scores import rmse, spread
from dalearn.methods import LETKF, EnFF, EnKF, EnSF
from dalearn.methods.ensemble.inflation import RTPP, RTPS, Adaptive
from dalearn.methods.ensemble.localization import Localization
from dalearn.problem.observe import Observation
from dalearn.problem.problem import Problem
from dalearn.run.assimilate import assimilate

VALIDATION, FINAL, FRESH = 5000, 6000, 9000  # seeds: of grids, of their best few, of what is told
LOST = 1.0  # an RMSE that says that a truth was lost; the climate's is 3.6


@dataclass(frozen=True)
class Setting:
    """A method, and the factor by which it takes the errors for larger than they are."""

    method: Any
    doubt: float = 1.0


def ring(n: int, radius: float) -> Localization:
    """Points one unit apart."""
    return Localization.ring(n, float(radius))


def scores(
    problem: Problem, setting: Any, seed: Any = 1, last: int | None = None
) -> dict[str, Any]:
    """RMSE and spread of the last analyses (of half of them), of each truth; CPU seconds."""
    s = setting if isinstance(setting, Setting) else Setting(setting)
    if s.doubt != 1:
        see, R = problem.observation.at(0).operator, problem.observation.at(0).noise
        doubted = Observation(see, Diagonal(s.doubt**2 * R.variance()))
        problem = replace(problem, observation=doubted)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of diverged filters, and of Euler steps too long
        result = assimilate(problem, s.method, progress=False, seed=seed)
    seconds = time.process_time() - start
    last = len(problem) - len(problem) // 2 if last is None else last
    late = {"stage": "analysis"}, {"time": slice(len(problem) - last, None)}
    told = [f(result).sel(late[0]).isel(late[1]).mean("time").values for f in (rmse, spread)]
    e, std = (np.where(np.isfinite(np.atleast_1d(v)), v, np.inf) for v in told)
    return {"rmse": e.ravel(), "spread": std.ravel(), "seconds": seconds}


def interval(values: Any, draws: int = 2000) -> str:
    """The middle 95 % of bootstrapped medians over truths."""
    rng, held = random.Random(0), sorted(float(v) for v in values)
    medians = sorted(statistics.median(rng.choices(held, k=len(held))) for _ in range(draws))
    return f"{medians[draws // 40]:.3g}-{medians[-draws // 40 - 1]:.3g}"


def told(found: dict[str, Any]) -> tuple[Any, ...]:
    """Cells: median, its interval, mean, how many are lost, spread, CPU seconds of a truth."""
    e = found["rmse"]
    lost = int((e > LOST).sum())
    middle = float(f"{np.median(e):.3g}"), interval(e), float(f"{np.mean(e):.3g}")
    std = np.median(found["spread"])
    spread = None if np.isnan(std) else float(f"{std:.3g}")
    return *middle, f"{lost} of {len(e)}", spread, round(found["seconds"] / len(e), 2)


TOLD = ("median", "95 % of it", "mean", f"above {LOST:g}", "spread", "CPU s a truth")


def label(setting: Any) -> str:
    """A method and its settings in few words."""
    s = setting if isinstance(setting, Setting) else Setting(setting)
    m, words = s.method, [type(s.method).__name__]
    if isinstance(m, EnSF):
        words += [m.score if m.score != "one-sample" else "", m.sampler, "flow" * m.flow]
        words += [f"{m.steps} steps", f"eps {m.eps_alpha:g}, {m.eps_beta:g}"]
        words += ["own spread" * isinstance(m.scale, str), DAMPING.get(m.damping, "")]
    if isinstance(m, EnFF):
        words += [m.coupling, m.sampler if m.sampler == "euler" else "", f"{m.steps} steps"]
        words += [f"sigma_min {m.sigma_min:g}, guidance {m.guidance:g}"]
    where = getattr(m, "localization", None) or getattr(m, "regression", None)
    if where is not None:
        name = "regression radius" if isinstance(m, EnSF) else "radius"
        words.append(f"{name} {float(where.radius):g}")
    words += [inflated(m.inflation), f"R x{s.doubt**2:g}" if s.doubt != 1 else ""]
    return " ".join(w for w in words if w)


def inflated(inflation: Any) -> str:
    """An inflation in few words."""
    if isinstance(inflation, (RTPP, RTPS)):
        return f"{type(inflation).__name__} {inflation.alpha:g}"
    if isinstance(inflation, Adaptive):
        return f"adaptive {inflation.drift:g}"
    return f"x{inflation:g}" if inflation != 1 else ""


def letkf(n: int, radius: float, inflation: Any, doubt: float = 1.0) -> Setting:
    """LETKF of 20 members."""
    return Setting(LETKF(20, localization=ring(n, radius), inflation=inflation), doubt)


def enkf(n: int, radius: float, inflation: Any, doubt: float = 1.0) -> Setting:
    """EnKF of 20 members, localized."""
    return Setting(EnKF(20, localization=ring(n, radius), inflation=inflation), doubt)


def ensf(eps_alpha: float = 0.5, eps_beta: float = 0.025, **more: Any) -> Setting:
    """EnSF of 20 members."""
    return Setting(EnSF(20, eps_alpha=eps_alpha, eps_beta=eps_beta, **more))


def undamped(t: float) -> float:
    """h = 1."""
    return 1.0


def root(t: float) -> float:
    """h = (1 - t)^(1/2)."""
    return (1.0 - t) ** 0.5


DAMPING: dict[Any, str] = {undamped: "undamped", root: "h root"}


def own(eps_alpha: float, **more: Any) -> Setting:
    """EnSF of 20 members whose background variance is that of the ensemble."""
    return ensf(eps_alpha, 1.0, scale="spread", centred=True, **more)


def enff(sigma_min: float = 0.05, guidance: float = 0.05, **more: Any) -> Setting:
    """EnFF of 20 members."""
    return Setting(EnFF(20, sigma_min=sigma_min, guidance=guidance, **more))
