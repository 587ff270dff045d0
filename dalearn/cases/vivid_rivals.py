"""VIVID's experiment by other means: each from one problem to one state.

prior      the background as it is
small B    3D-Var with the B of the published baseline, 100 and L = 1
3D-Var     with the B of VIVID, 1000 and L = 5
linear     one analysis with H linearised about the background: optimal interpolation
LETKF      60 members drawn from the prior, localised
kriging    of what the sensors say, made a field of u^2; the sign is the background's
network    its field alone
VIVID      both, with P of the validation runs
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..array import streams
from ..diagnostics import audit
from ..methods import LBFGS, LETKF, VIVID, GaussNewton, Latent, NotConverged, Var3D
from ..methods.ensemble.localization import Localization
from ..methods.learned.network_fields import estimated
from ..problem.belief import Gaussian
from ..problem.problem import Problem
from . import vivid, vivid_runs

INFLATION = 3.0  # of a diagonal P, chosen on the validation runs; a correlated one wants 1
KRIGING, RADIUS = 3.0, 5.0  # cells, chosen there too
SOLVER = LBFGS(400, tolerance=0.5)


class Estimate(NamedTuple):
    """A state `(2500,)`, and how many iterations it took, or None."""

    state: np.ndarray
    iterations: int | None = None


def analysed(method: Any, problem: Problem, seed: int = 0) -> Estimate:
    """The analysis of a method at the problem's one time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)  # iterations are reported instead
        cycle = next(iter(method.run(problem.validated(), streams(1, seed, ()))))
    count = cycle.info.get("iterations")
    return Estimate(np.asarray(cycle.analysis.mean), None if count is None else int(count))


def prior(problem: Problem) -> Estimate:
    """The background."""
    return Estimate(np.asarray(problem.prior.mean))


def var3d(problem: Problem, B: Any = None, solver: Any = SOLVER) -> Estimate:
    """3D-Var; the B of VIVID unless another is given."""
    return analysed(Var3D("prior" if B is None else B, solver=solver), problem)


def small_b(problem: Problem) -> Estimate:
    """3D-Var as the published baseline had it: a tenth of the variance, correlated over 1 cell."""
    return var3d(problem, vivid_runs.small_background(_truth(problem)))


def linear(problem: Problem) -> Estimate:
    """One linear analysis."""
    return var3d(problem, solver=GaussNewton(1))


def letkf(problem: Problem, seed: int = 0) -> Estimate:
    """A local ensemble filter of 60 members."""
    near = Localization.plane(vivid_runs.SHAPE, RADIUS, periodic=True)
    return analysed(LETKF(60, localization=near), problem, seed)


def kriging(problem: Problem, length: float = KRIGING) -> Estimate:
    """Simple kriging of the mean squares that the sensors tell, and the background's sign."""
    observe: Any = problem.observation
    at, v = observe.locations.astype(float), np.asarray(problem.data)[0] / vivid_runs.UNIT
    n = vivid_runs.N
    cells = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2)

    def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        d = abs(a[:, None] - b[None])
        r = np.sqrt((np.minimum(d, n - d) ** 2).sum(-1)) / length
        return (1 + r) * np.exp(-r)

    share = float(observe.noise.variance()[0]) / vivid_runs.UNIT**2 / max(v.var(), 1e-300)
    C = correlation(at, at) + share * np.eye(len(at))
    square = v.mean() + correlation(cells, at) @ np.linalg.solve(C, v - v.mean())
    return Estimate(np.sign(prior(problem).state) * np.sqrt(np.clip(square, 0, None)))


def network(problem: Problem, name: str = "unet") -> Estimate:
    """The field of a network alone."""
    observe: Any = problem.observation
    return Estimate(
        estimated(vivid.trained(name), np.asarray(problem.data)[0], observe.locations, True)[0]
    )


def on_network(problem: Problem, count: int, noise: float = 0.0) -> Estimate:
    """3D-Var with the network's field as background and its P as B: the data count twice."""
    first = vivid.vivid("unet", count, noise)
    observe: Any = problem.observation
    y = np.asarray(problem.data)[0]
    field, distance = estimated(first.net, y, observe.locations, True)
    P = first.P.at(field, distance, vivid_runs.SHAPE, 1.0)
    return analysed(
        Var3D("prior", solver=SOLVER), replace(problem, prior=Gaussian.unchecked(field, P))
    )


def both(
    problem: Problem,
    count: int,
    noise: float = 0.0,
    *,
    factor: float = 1.0,
    correlated: bool = False,
    name: str = "unet",
) -> Estimate:
    """VIVID with the same B, and `factor` times P of the validation runs."""
    first = vivid.vivid(name, count, noise, correlated)
    method = Var3D("prior", solver=SOLVER)
    return analysed(replace(first, method=method, inflation=factor), problem)


def in_modes(
    problem: Problem,
    count: int,
    *,
    with_network: bool,
    factor: float = 1.0,
    runs: tuple[int, ...] = (0, 1),
) -> Estimate:
    """3D-Var, or VIVID, of the coefficients of 100 modes: B of the background's errors there.

    VIVID has `factor` times the P of these coefficients on these validation `runs`.
    """
    pod = vivid.pod()
    B = vivid_runs.background_errors(_truth(problem))
    root = np.asarray(pod.modes) @ B.color(np.eye(B.controls)).T
    method = Var3D(root @ root.T, solver=SOLVER)
    if not with_network:
        return analysed(Latent(method, pod), problem)
    first = _pod_vivid(count, runs)
    return analysed(replace(first, method=method, inflation=factor), problem)


@cache
def _pod_vivid(count: int, runs: tuple[int, ...]) -> VIVID:
    states = vivid_runs.runs("validation")[list(runs), ::8]
    start = VIVID(vivid.trained(), np.ones(vivid_runs.N**2))
    draws = 8 // len(runs)
    return start.measured(vivid.drawn(count), states, draws=draws, coder=vivid.pod(), seed=1)


def _truth(problem: Problem) -> np.ndarray:
    return np.asarray(problem.truth)[0]


def audited() -> str:
    """What the audit says of the three parts of this experiment, or ValueError."""
    train, valid, test = (vivid_runs.runs(name)[:, ::16] for name in vivid_runs.DISCS)
    found = audit(train=train, validation=valid, test=test).check()
    return f"Audit: {len(found.errors)} errors, {len(found.doubts)} doubts"
