"""The verb: run a method on a problem, and keep what happened in a labelled data set."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Array, Purpose, array_namespace, library, no_grad, streams, to_numpy, typed
from ..covariances.base import Covariance
from ..files.progress import progress_bar
from ..methods.base import Cycle, Method, check_residuals
from ..methods.ensemble.tapering import tapers
from ..problem.belief import Belief, Ensemble
from ..problem.observe import Observation
from ..problem.problem import Problem
from ..problem.turns import warn_of_turns
from .covariances import LagOne, check_size, covariance
from .innovations import agreement, near_data, predicted_std
from .labels import case_dims, given, in_batch, portable, seed_words
from .on_turn import told
from .ranks import ranks, ties
from .resolved import has_perfect, still, warn_unresolved

if TYPE_CHECKING:
    import xarray as xr


KEEP = ("moments", "ranks", "members", "covariances", "predicted_std", "innovation")

PACKAGES = ("dalearn", "numpy", "torch", "xarray")  # whose versions a result names

MANY = 2**12  # numbers of the state, in each case, that an operator is called with at once

_CORE = {
    "members": ("member", "x"),
    "weights": ("member",),
    "covariance": ("x", "x_"),
    "predicted_std": ("y",),
}


@typed
def assimilate(
    problem: Problem,
    method: Method,
    *,
    seed: Any = 0,
    keep: str | Sequence[str] = ("moments",),
    progress: bool = True,
) -> xr.Dataset:
    """Run `method` on `problem` and return everything that happened, labelled.

    The result is a Dataset with
    - `mean`, `std (case..., time, stage, x)`, stage being forecast or analysis, of smoothers
      others too; `predicted (case..., time, stage, y)` = H(mean); `observation`; `truth` where
      known;
    - `diverged (case...)`, whether a mean or a spread became non-finite, and `diverged_at`, its
      cycle or -1; what is finite but lost in round-off is told by a RuntimeWarning;
    - of ensembles `failed_members (case..., time)`, how many the model returned as NaN;
    - `ranks`, `members` and `ensemble_size` if kept. Members of a particle filter have `weights
      (..., member)`, and as rank the weight below the truth, times N + 1, rounded down (the usual
      rank where weights are equal). Where members equal the truth, one of the ranks that it may
      have among them is drawn, from a stream of its own;
    - with "covariances" also `covariance (case..., time, stage, x, x_)` of each belief and, of RTS
      and its kin without a lag, `lag_one_covariance (case..., time, x, x_)` of the smoothed state
      with that of the time before, NaN at the first;
    - with "predicted_std" also `predicted_std (case..., time, stage, y)`, the standard deviation
      of a datum, of H(x) and its error together: `predicted` and it make intervals;
    - with "innovation" also `chi2` and `dfs (case..., time)`, see `innovation_chi2`.
    Time is in the model's units, `cycle` its number. attrs hold the method, seed, shape of a
    state, wall-clock seconds and versions.

    Args:
        problem: a Problem; `twin` makes one with a known truth.
        method: such as `ETKF(members=20)`.
        seed: experiment b of a batch draws its numbers from `seed + b`, so that case b of
            `assimilate(problem, m, seed=s)` is `assimilate(problem[b], m, seed=s + b)` to the bit
            on NumPy. A sequence gives one seed each; a `torch.Generator` draws on its device.
        keep: any of "moments" (always), "ranks" (of the truth among the members), "members",
            "covariances" (whole, up to 2 GiB), "predicted_std" (of what is observed) and
            "innovation" (how the data agree with each forecast).
        progress: a bar for runs of more than a few seconds, in terminals and notebooks.

    Returns:
        Dataset: the labelled result.

    Raises:
        ValueError: a problem that is inconsistent, before the first cycle; or a word in `keep`
            that is unknown or cannot be served.
        TypeError: something that is no problem or no method.
    """
    problem, keep = checked(problem, [method], keep)
    local = getattr(method, "localization", None)  # some take a Covariance: no taper of members
    local = None if isinstance(local, Covariance) else local
    record = Recorder(problem, keep, local, ties(seed, problem.batch) if "ranks" in keep else None)
    start = time.perf_counter()
    cycles = method.run(problem, streams(Purpose.ASSIMILATION, seed, problem.batch))
    bar = progress_bar(cycles, progress=progress, total=len(problem), delay=2.0, leave=False)
    with np.errstate(over="ignore", invalid="ignore"):  # divergence is reported, not warned of
        for k, cycle in enumerate(bar):
            record.add(k, cycle)
    if record.length != len(problem):
        raise ValueError(
            f"{type(method).__name__} yielded {record.length} cycles, wanted {len(problem)}: one "
            "per observation time"
        )
    seconds = time.perf_counter() - start
    result = record.dataset()
    warn_unresolved(result, problem.prior, record.still | has_perfect(problem), method)
    result.attrs = {
        "method": repr(method),
        "seed": seed_words(seed),
        "shape": problem.shape or (problem.n,),
        "seconds": seconds,
        "library": library(problem.like),
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    }
    return result


def checked(
    problem: Problem, methods: Iterable[Method], keep: str | Sequence[str]
) -> tuple[Problem, tuple[str, ...]]:
    """The problem validated, and what to keep; raises for what no run could use."""
    keep = (keep,) if isinstance(keep, str) else tuple(keep)
    unknown = sorted(set(keep) - set(KEEP))
    if unknown:
        raise ValueError(f"keep takes any of {KEEP}, met {unknown}")
    if not isinstance(problem, Problem):
        raise TypeError(f"wanted a Problem, met {type(problem).__name__}; see twin and Problem")
    for method in methods:
        check_method(method)
        check_residuals(problem, method)
    if "covariances" in keep:
        check_size(problem)
    problem = problem.validated()
    warn_of_turns(problem)
    if "ranks" in keep and problem.truth is None:
        raise ValueError("ranks need the truth, which this problem does not have; drop 'ranks'")
    return problem, keep


def check_method(method: Any) -> None:
    """Raise TypeError for what is no method."""
    if isinstance(method, type) or not callable(getattr(method, "run", None)):
        raise TypeError(f"wanted a method such as ETKF(members=20), met {method!r}")


@lru_cache
def _version(package: str) -> str:
    try:
        return version(package)
    except Exception:  # a source tree that was never installed
        return "unknown"


class Recorder:
    """What is kept of each cycle, in arrays made once; the labels come at the end."""

    def __init__(
        self, problem: Problem, keep: Sequence[str], localization: Any = None, ties: Any = None
    ):
        self.problem, self.keep, self.ties = problem, keep, ties
        self.tapers = tapers(problem, localization) if "innovation" in keep else None
        self.length = self.size = 0
        self.members = "members" in keep or "ranks" in keep
        self.values: dict[str, Array] = {}
        self.stages: list[str] = []
        self.info: dict[str, list] = {}
        self.cross = LagOne()

    def add(self, k: int, cycle: Cycle) -> None:
        """Store cycle k."""
        beliefs, stages = [cycle.forecast, cycle.analysis], ["forecast", "analysis"]
        for name, value in cycle.info.items():
            if self.tapers is not None and name in ("chi2", "dfs"):
                continue  # the method's own: here the words mean what `agreement` says
            if not isinstance(value, np.generic) and isinstance(value, Belief):
                stages.append(name)
                beliefs.append(value)
            else:
                self.info.setdefault(name, []).append(to_numpy(value))
        if k == 0:
            self.stages, self.still = stages, still(cycle.forecast)
        if stages != self.stages or k >= len(self.problem):
            raise ValueError(
                f"cycle {k} has the stages {stages}, wanted {self.stages} and "
                f"{len(self.problem)} cycles"
            )
        self.length = k + 1
        for s, belief in enumerate(told(belief, self.problem, k) for belief in beliefs):
            self._put("mean", k, s, belief.mean)
            self._put("std", k, s, belief.std)
            if self.members:
                self._keep_members(k, s, belief)
            if "covariances" in self.keep:
                with no_grad(self.problem.like):
                    self._put("covariance", k, s, covariance(belief))
            if "predicted_std" in self.keep:
                with no_grad(self.problem.like):
                    self._put("predicted_std", k, s, predicted_std(self.problem, belief, k))
        if "covariances" in self.keep and "smoothed" in stages:
            self.cross.add(beliefs[stages.index("smoothed")])
        if self.tapers is not None:
            with no_grad(self.problem.like):
                observe, y = self.problem.at(k)
                fit = agreement(cycle.forecast, observe, y, self.tapers(observe))
            for name, value in fit.items():
                self.info.setdefault(name, []).append(to_numpy(value))

    def _keep_members(self, k: int, s: int, belief: Belief) -> None:
        if not isinstance(belief, Ensemble):
            raise TypeError(
                f"{type(belief).__name__} has no members to keep or rank; use keep=('moments',)"
            )
        self.size = belief.members.shape[-2]
        if "members" in self.keep:
            self._put("members", k, s, belief.members)
            if belief.weights is not None:
                self._put("weights", k, s, belief.weights)
        if "ranks" in self.keep and self.problem.truth is not None:
            truth = self.problem.truth[..., k, :][..., None, :]
            self._put("ranks", k, s, ranks(belief, truth, self.ties, self.problem.batch))

    def _put(self, name: str, k: int, s: int, value: Array) -> None:
        store = self.values.get(name)
        if store is None:
            xp = array_namespace(value)
            core = value.shape[len(value.shape) - len(_CORE.get(name, "x")) :]
            shape = (len(self.problem), len(self.stages), *self.problem.batch, *core)
            store = xp.zeros(shape, dtype=value.dtype, device=value.device)
            self.values[name] = store
        store[k, s] = value

    def dataset(self) -> xr.Dataset:
        """The labelled result."""
        import xarray as xr

        p = self.problem
        cases = case_dims(p.batch)
        lead = (*cases, "time", "stage")
        to = (len(cases), len(cases) + 1)
        arrays = {k: np.moveaxis(to_numpy(v), (0, 1), to) for k, v in self.values.items()}
        data: dict[str, Any] = {
            name: ((*lead, *_CORE.get(name, ("x",))), value) for name, value in arrays.items()
        }
        if self.size:
            data["ensemble_size"] = self.size
        if self.cross.found:
            data["lag_one_covariance"] = ((*cases, "time", "x", "x_"), self.cross.array(p.batch))
        data["predicted"] = ((*lead, "y"), self._predicted())
        data |= given(p, cases)
        for name, values in self.info.items():
            data[name] = ((*cases, "time"), np.moveaxis(in_batch(values, p.batch), 0, len(cases)))
        fine = np.isfinite(arrays["mean"]) & np.isfinite(arrays["std"])
        bad = ~fine.all(axis=(-2, -1))  # (case..., time)
        data["diverged"] = (cases, bad.any(axis=-1))
        data["diverged_at"] = (cases, np.where(bad.any(axis=-1), bad.argmax(axis=-1), -1))
        coords = {
            "time": p.time,
            "cycle": ("time", np.arange(len(p))),
            "stage": self.stages,
            "x": np.arange(p.n),
            "y": np.arange(p.observation.m),
            **({"x_": np.arange(p.n)} if "covariance" in data else {}),
        }
        return portable(xr.Dataset(data, coords))

    def _predicted(self) -> np.ndarray:
        """H(mean) `(case..., time, stage, m)`, NaN where a moving network has no sensor."""
        p, mean = self.problem, self.values["mean"]  # (time, stage, case..., n)
        xp = array_namespace(mean)
        rows = xp.moveaxis(mean, (0, 1), (-3, -2))  # (case..., time, stage, n)
        K, m = len(p), p.observation.m
        out = np.full((*rows.shape[:-1], m), np.nan)
        fixed = isinstance(p.observation, Observation)
        most = max(1, MANY // (rows.shape[-2] * p.n)) if fixed else 1
        with no_grad(mean):
            for k in range(0, K, most):
                some, observe = rows[..., k : k + most, :, :], p._observe(k)
                seen = observe(xp.reshape(some, (*p.batch, -1, p.n)))
                seen = xp.reshape(seen, (*some.shape[:-1], observe.m))
                y = p.data[..., k : k + most, None, : observe.m]
                out[..., k : k + most, :, : observe.m] = near_data(observe, seen, y)
        return out
