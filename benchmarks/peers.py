"""DAPPER on the same set-ups: quiet, and with its statistics on ("full") or off ("core")."""

from __future__ import annotations

import atexit
import contextlib
import copy
import importlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

SETUPS = {"L96": "dapper.mods.Lorenz96.sakov2008", "L63": "dapper.mods.Lorenz63.sakov2012"}


def available() -> bool:
    """Whether DAPPER is installed (`pip install dalearn[bench]`)."""
    return find_spec("dapper") is not None


def load(name: str) -> Any:
    """A module of DAPPER, imported silently, its data folder in a temporary place."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    importlib.import_module("matplotlib.pyplot")  # finds its own folders before HOME changes
    before = os.environ.get("HOME")
    os.environ["HOME"] = _home()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            bar: Any = importlib.import_module("dapper.tools.progressbar")
            bar.disable_progbar = bar.disable_user_interaction = True
            return importlib.import_module(name)
    finally:
        if before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = before


@lru_cache
def _home() -> str:
    """A folder with DAPPER's settings, where it may write; gone when python ends."""
    home = tempfile.TemporaryDirectory()
    atexit.register(home.cleanup)
    settings = f"data_root: {home.name}\nliveplotting: no\n"
    Path(home.name, "dpr_config.yaml").write_text(settings, encoding="utf-8")
    return home.name


def method(name: str, **settings: Any) -> Any:
    """A DAPPER method, such as `method("EnKF", upd_a="Sqrt", N=24, infl=1.013, rot=True)`."""
    return getattr(load("dapper.da_methods"), name)(**settings)


def twin(
    setup: str, cycles: int, seed: int, burn_in: bool = True, n: int | None = None
) -> tuple[Any, Any, Any]:
    """DAPPER's hidden Markov model with its truth and observations, `(HMM, xx, yy)`.

    `n`: Lorenz-96 of another size, everything else as in the set-up.
    """
    hmm = copy.deepcopy(load(SETUPS[setup]).HMM)
    if n is not None:
        hmm = _ring(n, hmm.tseq)
    if not burn_in:
        hmm.tseq.BurnIn = 0
    hmm.tseq.Ko = cycles - 1  # it numbers observations from 0
    load("dapper.tools.seeding").set_seed(1000 + seed)  # refuses 0
    return hmm, *hmm.simulate()


def _ring(n: int, tseq: Any) -> Any:
    mods, model = load("dapper.mods"), load("dapper.mods.Lorenz96")
    local = load("dapper.tools.localization").nd_Id_localization
    step = {"M": n, "model": model.step, "linear": model.dstep_dx, "noise": 0}
    seen = mods.partial_Id_Obs(n, np.arange(n)) | {"noise": 1, "localizer": local((n,), (2,))}
    start = load("dapper.tools.randvars").GaussRV(mu=model.x0(n), C=0.001)
    return mods.HiddenMarkovModel(step, seen, tseq, start)


@contextlib.contextmanager
def assess(replacement: Callable) -> Iterator[None]:
    """Inside, DAPPER's statistics are `replacement`."""
    stats = load("dapper.stats").Stats
    original, stats.assess = stats.assess, replacement
    try:
        yield
    finally:
        stats.assess = original


def full(xp: Any, problem: tuple[Any, Any, Any]) -> None:
    """Run as shipped, then its time means."""
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        xp.assimilate(*problem, liveplots=False)
        xp.stats.average_in_time()


def core(xp: Any, problem: tuple[Any, Any, Any]) -> None:
    """Run with its statistics switched off."""
    with assess(lambda self, *args, **kwargs: None):
        xp.assimilate(*problem, liveplots=False)


def scores(xp: Any, problem: tuple[Any, Any, Any]) -> tuple[np.ndarray, np.ndarray, float]:
    """Analysis RMSE and spread `(cycles,)` of a run, and the climatological error of its truth.

    NaN from the cycle on where DAPPER stopped with an error.
    """
    hmm, truth, data = problem
    error, spread = np.full((2, len(data)), np.nan)

    def record(self, k, ko=None, faus=None, E=None, **_):
        if E is not None and ko is not None and faus is None:
            error[ko] = np.sqrt(((E.mean(0) - truth[k]) ** 2).mean())
            spread[ko] = np.sqrt(E.var(0, ddof=1).mean())

    failures = (np.linalg.LinAlgError, FloatingPointError, ValueError, RuntimeError)
    with assess(record), contextlib.suppress(*failures), np.errstate(all="ignore"):
        xp.assimilate(hmm, truth, data, liveplots=False)
    return error, spread, float(np.sqrt(truth.var(0).mean()))
