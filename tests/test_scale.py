"""No unit matters: the same problem in other units has the same answer, in those units.

One table. An entry is a function of `Units` that tells a problem in them and gives its answers
without units: a state is divided by D, data by E. In units of 1, and of 1e-6 to 1e6 in one state
and in its data (in single precision 1e-3 to 1e3), it must say the same.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from examples import METHODS, Both, MethodExample
from lengths import full

import dalearn as da
from dalearn import diagnostics, kernels
from dalearn.array import array_namespace, to_numpy
from dalearn.covariances import Blocks, Updated
from dalearn.methods.background import background
from dalearn.models import Extended
from dalearn.neural import Normalisation
from dalearn.run.innovations import agreement

N, M, K = 3, 2, 5  # numbers of a state, of the data at each time, and times
KINDS = "float64", "float32", "torch"


@dataclass(frozen=True)
class Units:
    """Units D `(3,)` of the state's components and E `(2,)` of the data, and the arrays' kind."""

    kind: str
    D: np.ndarray
    E: np.ndarray

    def __call__(self, a):
        """The numbers as an array of this library and precision."""
        if self.kind == "torch":
            return torch.as_tensor(np.asarray(a, float))
        return np.asarray(a, np.float32 if self.kind == "float32" else np.float64)


def units(kind, *, one=False):
    """Units of 1, and of many orders of magnitude; or `one` for all of state and data."""
    p = 3 if kind == "float32" else 6
    D, E = 10.0 ** np.array([-p, 0, p]), 10.0 ** np.array([p, -p])
    if one:
        D, E = 10.0**-p * np.ones(N), 10.0**-p * np.ones(M)
    return Units(kind, np.ones(N), np.ones(M)), Units(kind, D, E)


# --- the problem ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Bent:
    """x - 0.1 x |x| / (1 + |x|), turned a little, of components in units D."""

    D: Any
    A: Any
    stages: int = 1

    def __call__(self, x):
        z = x / self.D
        z = z - 0.1 * z * abs(z) / (1 + abs(z))
        return (z @ self.A.mT) * self.D


@dataclass(frozen=True, eq=False)
class Bowed:
    """H x + (H x)^2 / 10, of states in units D and data in units E."""

    H: Any
    D: Any
    E: Any

    def __call__(self, x):
        h = (x / self.D) @ self.H.mT
        return (h + 0.1 * h * h) * self.E


def spd(rng, n):
    G = rng.normal(size=(n, 2 * n))
    return G @ G.T / (2 * n) + np.eye(n) / 2


def problem(u, *, linear=False, local=False):
    """Three unknowns and two sensors, one gap and one time without data."""
    rng = np.random.default_rng(5)
    A, H = np.linalg.qr(rng.normal(size=(N, N)))[0] * 0.95, rng.normal(size=(M, N))
    B, Q, R = spd(rng, N), 0.05 * spd(rng, N), 0.3 * spd(rng, M)
    R = np.diag(np.diag(R)) if local else R
    y, truth, mean = (rng.normal(size=s) for s in ((K, M), (K, N), N))
    y[1, 0] = y[3] = np.nan
    model, see = Bent(u(u.D), u(A)), Bowed(u(H), u(u.D), u(u.E))
    if linear:
        model, see = da.Linear(u(A * u.D[:, None] / u.D)), u(H * u.E[:, None] / u.D)
    return da.Problem(
        model,
        da.Observation(see, cov(u, R, u.E), [[0.0], [2.0]]),
        da.Gaussian(u(mean * u.D), cov(u, B, u.D)),
        u(y * u.E),
        noise=cov(u, Q, u.D),
        truth=u(truth * u.D),
    )


def cov(u, C, s):
    """The covariance `C (n, n)`, or variances `(n,)`, of numbers in units of s."""
    if C.ndim == 1 or not (C - np.diag(np.diag(C))).any():
        return da.Diagonal(u((C if C.ndim == 1 else np.diag(C)) * s**2))
    return da.Dense.unchecked(u(C * np.outer(s, s)))


def run(p, method, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", da.NotConverged)
        return da.assimilate(p, method, progress=False, **settings)


# --- entries -------------------------------------------------------------------------------------

Answers = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A function of units that gives answers without them, and what it visits.

    `reason`: why its answer is for components of one unit, where it is; then all are in the same.
    `slack`: what round-off may leave of the answers, in double and in single precision.
    """

    name: str
    answers: Callable[[Units], Answers]
    visits: tuple[Any, ...] = ()
    slack: tuple[float, float] = (1e-9, 2e-3)
    reason: str = ""
    kinds: tuple[str, ...] = ("float64", "float32", "torch")

    def __str__(self):
        return self.name


ENTRIES: list[Entry] = []


def entry(*visits, **settings):
    """Put a function into the table."""

    def put(f):
        ENTRIES.append(Entry(f.__name__.replace("_", " "), f, visits, **settings))
        return f

    return put


def of_run(make, example, u) -> Answers:
    """Means and deviations of a run, and what else it reports of every cycle."""
    p = problem(u, linear=example.linear_only, local=example.local)
    out = run(p, make(u), keep=("moments", "innovation"))
    seen = to_numpy(u.E)
    found = {
        "mean": out["mean"] / u.D,
        "std": out["std"] / u.D,
        "predicted": out["predicted"] / seen,
    }
    for name in ("chi2", "dfs", "effective_size", "inflation", "factor", "cost", "gradient"):
        if name in out:
            found[name] = out[name]
    if "log_likelihood" in out:  # the density of data in other units
        known = np.isfinite(to_numpy(p.data))
        found["log_likelihood"] = out["log_likelihood"] + (known * np.log(u.E)).sum(-1)
    if u.kind == "float64":  # where round-off may take one more, or one fewer
        found |= {name: out[name] for name in ("iterations", "converged") if name in out}
    return found


def methods():
    """All examples of methods, and settings that they do not have."""
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(N, N)))[0]
    whole = MethodExample(None)
    here = da.Localization.line(N, 2.0)

    def coder(u):
        return da.POD(u(turn[:2]), u(u.D), scale=u(u.D))

    def static(u):
        return cov(u, np.eye(N), u.D)

    def within(u):
        D, E = (np.asarray(v, np.float32 if u.kind == "float32" else float) for v in (u.D, u.E))
        bounds = da.RankHistogram(-40 * D, 40 * D)
        seen = da.RankHistogram(lower=-60 * E)
        return da.QCEFF(6, observed=seen, state=bounds, inflation=1.05)

    for e in METHODS:
        if isinstance(getattr(e.method, "solver", None), da.IncrementalCG):
            # its variance is an upper bound, and round-off decides how near where H is not linear
            e = replace(e, linear_only=True)
        told = isinstance(getattr(e.method, "scale", None), float)
        if told and isinstance(
            e.method, (da.EnSF, da.EnFF)
        ):  # they are told the unit of the state
            yield str(e), lambda u, e=e: replace(e.method, scale=2 * u(u.D)), e
        elif not e.fixed:
            yield str(e), lambda u, e=e: e.method, e
    for method in (
        da.ETKF(6, inflation=da.RTPS(0.4)),
        da.EnSRF(6, inflation=da.RTPP(0.4)),
        da.DEnKF(6, inflation=da.Adaptive()),
        da.IEnKS(6, lag=0, inflation=da.Adaptive()),
        da.ParticleFilter(12, regularization=1.0, resample_below=1.0),
        da.ParticleFilter(3, regularization=1.0, resample_below=1.0),
        da.Var4D(2, B="prior", evolve=True, inflation=1.1),
        da.Var4D(2, B="prior", solver=da.IncrementalCG()),
        da.Var4D(2, B="prior", solver=da.LBFGS(tolerance=1e-3)),
        da.WeakVar4D(3, factor=1.2, damping=1e-3),
        da.WeakVar4D(1, evolve=False),
    ):
        yield repr(method), lambda u, e=method: e, whole
    yield from (
        ("OI given", lambda u: da.OI(static(u)), whole),
        ("EnVar4D local", lambda u: da.EnVar4D(6, localization=da.Dense(u(np.eye(3)))), whole),
        ("EnVar4D static", lambda u: da.EnVar4D(6, window=2, static=static(u)), whole),
        ("DEnKF local", lambda u: da.DEnKF(6, localization=here), MethodExample(None, local=True)),
        ("Latent ETKF", lambda u: da.Latent(da.ETKF(6), coder(u)), whole),
        ("Latent ExtendedKF", lambda u: da.Latent(da.ExtendedKF(), coder(u)), whole),
        ("Latent Var3D", lambda u: da.Latent(da.Var3D("prior"), coder(u)), whole),
        ("QCEFF within bounds", within, MethodExample(None, local=True)),
        ("GLA Var3D", lambda u: da.GLA(da.Var3D("prior"), coder(u), outer=2), whole),
        ("GLA Var4D", lambda u: da.GLA(da.Var4D(2, B="prior"), coder(u)), whole),
    )


for _name, _make, _example in methods():
    _m = _example.method
    _slack = (1e-8, 2e-3)  # of a few cycles
    if getattr(_m, "jacobian", None) is da.finite_difference or getattr(_m, "alpha", 1) < 1:
        _slack = (1e-7, 2e-2)  # round-off over a step of its cube root, or of alpha = 1e-2
    ENTRIES.append(
        Entry(_name, partial(of_run, _make, _example), (type(_make(units("float64")[0])),), _slack)
    )


@dataclass(frozen=True, eq=False)
class TwoEncoders(Both):
    """A POD of states, and numbers of data, in units of E, that a matrix makes codes."""

    matrix: Any
    E: Any

    def encode_observation(self, y):
        return (y / self.E) @ self.matrix


@entry(da.MEDLA)
def codes_of_two_encoders(u):
    """Of data without gaps, which this encoder does not take."""
    p, rng = problem(u), np.random.default_rng(2)
    p = replace(p, data=u(np.nan_to_num(to_numpy(p.data))))
    coder = da.POD(u(np.linalg.qr(rng.normal(size=(N, N)))[0][:2]), u(u.D), scale=u(u.D))
    net = TwoEncoders(coder, u(rng.normal(size=(M, 2))), u(u.E))
    out = run(p, da.MEDLA(da.ETKF(6), net, R=u(np.array([2.0, 0.5]))))
    return {"mean": out["mean"] / u.D, "std": out["std"] / u.D}


class CellsInUnits(torch.nn.Module):
    """Fields of three cells in units D, a matrix of the image, whose cells are in units e."""

    def __init__(self, A, D, e):
        super().__init__()
        self.shape, self.A, self.D, self.e = (1, 3), *(torch.as_tensor(v) for v in (A, D, e))
        self.one = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, image):
        return (image[:, 0, 0] / self.e) @ self.A * self.D * self.one


@entry(da.VIVID)
def fields_of_a_network(u):
    """The first cell shows the first sensor, the others the second."""
    p = problem(u, local=True)
    y = to_numpy(p.data).copy()
    y[1, 0] = u.E[0]  # with a gap there the first cell would be in other units
    see = replace(p.observation, locations=np.array([[0.0, 0.0], [0.0, 1.9]]))
    p = replace(p, data=u(y), observation=see)
    A = np.random.default_rng(3).normal(size=(N, N))
    net = CellsInUnits(A, u.D, u.E[[0, 1, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # P beside B in other units
        out = run(p, da.VIVID(net, u(u.D**2), method=da.Var3D("prior"), inflation=2.0))
    return {"mean": out["mean"] / u.D, "std": out["std"] / u.D}


@entry(da.Learned4DVar)
def windows_to_states(u):
    """A network whose units are those of the data and the prior, trained for a step."""
    from dalearn.neural import MLP, WindowNet, seeded

    p = problem(u, local=True)
    body = seeded(0, MLP, 2 * K * M, 2 * N, (4,))
    net = WindowNet(body, K, (M,), (N,), spread=True).double()
    rng = np.random.default_rng(4)
    parts = [replace(p, data=u(rng.normal(size=(s, K, M)) * u.E), truth=None) for s in (30, 20)]
    told = {"epochs": 1, "batch": 30, "members": 5, "progress": False}
    out = run(p, da.Learned4DVar.fit(net, *parts, **told))
    return {"mean": out["mean"] / u.D, "std": out["std"] / u.D, "outside": out["outside"]}


@entry(da.NeuralIncremental)
def trajectories_by_a_network(u):
    """A network whose units are those of its trajectories, at its first weights."""
    from dalearn.neural import NeuralPrior, seeded

    walks = np.random.default_rng(6).normal(size=(50, K + 1, N)).cumsum(1)
    net = seeded(0, NeuralPrior, K + 1, N, hidden=(4, 4)).double()
    net.scaled(torch.as_tensor(walks * to_numpy(u.D)))
    out = run(problem(u, linear=True), da.NeuralIncremental(net, levels=2))
    return {"mean": out["mean"] / u.D, "std": out["std"] / u.D}


def score_and_solver(u):
    """Networks as their first weights make them, in the units of the state."""
    from dalearn.neural import BilinearPrior, LearnedSolver, LocalScore, seeded

    kind = torch.float32 if u.kind == "float32" else torch.float64
    unit = Normalisation(np.zeros(N), np.ones(N))
    score = seeded(0, LocalScore, N, 1, width=6, depth=1).to(kind).scaled(unit)
    solver = seeded(0, lambda: LearnedSolver(BilinearPrior(N, 4), N, 4)).to(kind)
    solver.scaled(unit, 0.5, K)
    for net in (score, solver):
        net.std.mul_(torch.as_tensor(u.D))
    solver.error.mul_(torch.as_tensor(u.D))
    return score, solver


@entry(da.SDA, slack=(1e-8, 2e-2))  # many steps of a network
def a_window_drawn_by_its_score(u):
    score, _ = score_and_solver(u)
    out = run(problem(u), da.SDA(score, members=4, steps=8, corrections=2))
    return {"mean": out["mean"] / u.D, "std": out["std"] / u.D}


@entry(da.FourDVarNet)
def a_window_by_a_learned_solver(u):
    p, (_, solver) = problem(u, local=True), score_and_solver(u)
    see = da.Observation(da.Subset([0, 2]), da.Diagonal(u(0.25 * u.D[[0, 2]] ** 2)))
    p = replace(p, observation=see, data=p.data / u(u.E / u.D[[0, 2]]))
    return {"mean": run(p, da.FourDVarNet(solver, steps=3))["mean"] / u.D}


# --- diagnostics ---------------------------------------------------------------------------------


@cache
def tracked(kind, D, E):
    """The problem, and a run of it that kept all that is kept."""
    p = problem(Units(kind, np.array(D), np.array(E)), local=True)
    return p, run(p, da.ETKF(8), keep=("moments", "members", "ranks", "innovation"))


def result(u):
    return tracked(u.kind, tuple(u.D), tuple(u.E))


def without(out, *names):
    return out.drop_vars([v for v in names if v in out])


@entry(da.innovation_chi2, da.degrees_of_freedom)
def whether_innovations_fit(u):
    """By what the run kept, from its members, and from its deviations."""
    p, out = result(u)
    bare = without(out, "chi2", "dfs")
    picked = replace(p, observation=da.Observation(da.Subset([0, 2]), u(0.3 * u.D[[0, 2]] ** 2)))
    picked = replace(picked, data=p.data / u(u.E / u.D[[0, 2]]))
    here = da.Localization.line(N, 2.0)
    return {
        "kept": da.innovation_chi2(out),
        "members": da.innovation_chi2(bare, p),
        "tapered": da.innovation_chi2(bare, p, localization=here),
        "deviations": da.innovation_chi2(without(bare, "members"), picked),
        "dfs": da.degrees_of_freedom(bare, p),
        "dfs tapered": da.degrees_of_freedom(bare, p, localization=here),
    }


@entry(da.desroziers)
def desroziers(u):
    out = result(u)[1]
    found, whole = da.desroziers(out), da.desroziers(out, full=True)
    return {k: v / u.E ** (2 - (k == "bias")) for k, v in found.items()} | {
        "full " + k: v / np.outer(u.E, u.E) for k, v in whole.items() if k != "bias"
    }


@entry(diagnostics.quality, diagnostics.verify, kinds=("float64", "torch"))
def rows_of_a_table(u):
    """Sensors that pick a component each, in its units; every third row is withheld."""
    p, rng = problem(u, linear=True), np.random.default_rng(2)
    sensor = np.tile([0, 1, 2], K)
    value, error = rng.normal(size=3 * K) * u.D[sensor], 0.4 * u.D[sensor]
    frame = pd.DataFrame(
        {"time": np.repeat(np.arange(1.0, K + 1), 3), "sensor": sensor, "value": value}
    ).assign(error=error)
    table = da.Problem.from_table(
        frame, p.model, p.prior, noise=p.noise, sensors={0: 0, 1: 1, 2: 2}, dt=1.0,
        withhold=np.arange(3 * K) % 4 == 3,
    )  # fmt: skip
    out = run(table, da.KF(), keep=("covariances",))
    told, scores = diagnostics.quality(table, out), diagnostics.verify(table, out)
    found = {name: told[name] / u.D[sensor] for name in ("predicted", "departure", "expected")}
    size = u.D[[0, 1, 2]]
    found |= {name: scores[name][:3] / size for name in ("bias", "rmse", "error", "expected")}
    return found | {"chi2": scores["chi2"], "good": told["flag"] == "good"}


@entry(da.ESMDA, kinds=("float64", "float32", "torch"))
def an_inversion(u):
    p = replace(problem(u), noise=None)
    out = run(p, da.ESMDA(12, alphas=(2, 1)))
    return {"mean": out["mean"] / u.D, "std": out["std"] / u.D}


@entry(da.Diffuse, kinds=("float64", "torch"))
def a_diffuse_start(u):
    p = problem(u, linear=True)
    nothing = da.Diffuse(u(np.diag(u.D)[:2]), u([0, 0, 1.0] * u.D**2))
    out = run(replace(p, prior=da.Gaussian(p.prior.mean, nothing)), da.KF())
    late = out.isel(time=slice(2, None))  # before, a spread has no bound
    return {"mean": late["mean"] / u.D, "std": late["std"] / u.D}


@entry(da.explain, diagnostics.Explanation)
def explain(u):
    """The table; of the verdict its words, not the sizes."""
    p, out = result(u)
    whole, one = da.explain(out, p, 4), da.explain(out, p, 4, component=2)
    data = {c: whole.table[c] / u.E for c in ("innovation", "spread", "error", "alone")}
    data |= {c: whole.table[c] / u.E for c in ("together", "increment")}
    data |= {"correlation": one.table["correlation"], "gain": one.table["gain"] * u.E / u.D[2]}
    words = {"whole": whole.verdict.partition(" method ")[2].partition(". ")[2]}
    for name, table in (("all", whole.table), ("one", one.table)):
        words |= {f"{name} {i}": v for i, v in enumerate(table["verdict"])}
    return data | words


@entry(da.lost, da.effective_size, da.rank_histogram)
def what_counts_each_component_by_itself(u):
    _, out = result(u)
    wrong = out.assign(mean=out["mean"] + u.D * np.array([0.3, 3.0, 0.1]))
    return {
        "size": da.effective_size(out),
        "ranks": da.rank_histogram(out),
        "not lost": da.lost(out, skip=1),
        "lost": da.lost(wrong, skip=1),
    }


MIXED = "one number for components of one unit: the docstring says so"


@entry(
    *(da.rmse, da.spread, da.crps, da.climatology, da.score, da.spread_skill),
    *(da.effective_dimension, diagnostics.crps_gaussian, diagnostics.crps_ensemble),
    *(da.energy_score, diagnostics.energy_score_ensemble),
    reason=MIXED,
)
def scores_of_the_whole_state(u):
    _, out = result(u)
    skill, whole = da.spread_skill(out, bins=3), da.score(out, skip=1)
    scores = da.rmse, da.spread, da.crps, da.climatology, da.energy_score
    found = {f.__name__: f(out) / u.D[0] for f in scores}
    found["crps gaussian"] = da.crps(without(out, "members")) / u.D[0]
    found |= {k: whole[k] / u.D[0] for k in ("rmse", "spread", "crps")}
    found |= {f"bins {k}": skill[k] / u.D[0] for k in ("spread", "rmse")}
    return found | {"lost": whole["lost"], "dimension": da.effective_dimension(out)}


@entry(da.log_score, da.dawid_sebastiani, diagnostics.log_score_gaussian)
def scores_of_densities_change_by_a_constant(u):
    _, out = result(u)
    two, unit = out.isel(x=[0, 1]), np.log(u.D)
    return {
        "log": da.log_score(out) - unit.mean(),
        "from a law": da.log_score(without(out, "members")) - unit.mean(),
        "two": da.dawid_sebastiani(two) - 2 * unit[:2].sum(),
        "one": da.dawid_sebastiani(without(out, "members").isel(x=[2])) - 2 * unit[2],
    }


@entry(da.reliability, da.simulation_based_calibration)
def whether_probabilities_come_true(u):
    _, out = result(u)
    shares = da.reliability(out, 0.3 * u.D, bins=3)
    law = da.reliability(without(out, "members"), 0.3 * u.D, above=False, bins=3)
    twins = da.simulation_based_calibration(run(problem(u).expand((20,)), da.ETKF(8)))
    found = {f"shares {k}": shares[k] for k in ("probability", "frequency", "low", "brier")}
    return found | {"law": law["brier"], "twins": twins["count"]}


@entry(da.scoreboard, reason=MIXED, kinds=("float64",))
def a_scoreboard_shows_its_digits(u):
    """Also where all numbers are 1e-6: three digits of the largest."""
    found = da.compare(problem(u), {"a": da.ETKF(5)}, 2, progress=False)
    shown, exact = (da.scoreboard(found, round_to=r).loc["a"] for r in (3, None))
    return {n: bool(abs(shown[n] / exact[n] - 1) < 0.005) for n in ("rmse", "spread", "crps")}


@entry(da.interval, da.autocorrelation_time, slack=(1e-9, 1e-4), reason="a series has one unit")
def intervals(u):
    x = np.random.default_rng(0).normal(size=(2, 60)).cumsum(-1)
    x[1] = 1.0  # a constant is one in any unit
    x, found = u(x * u.D[0]), {}
    for batches in (None, 5):
        one = da.interval(x, batches=batches)
        found |= {f"{k} {batches}": one[k] / u.D[0] for k in ("mean", "low", "high", "error")}
        found |= {f"{k} {batches}": one[k] for k in ("tau", "effective")}
    return found | {"time": da.autocorrelation_time(x)}


@entry(da.di01, diagnostics.Tuning, slack=(1e-6, 2e-2))  # iterations end 1e-4 from a fixed point
def tuning(u):
    """With gaps too; and where the guesses of both sizes are far off, in the same direction."""
    rng = np.random.default_rng(1)
    H, B, R = rng.normal(size=(M, N)), spd(rng, N), np.diag([1.0, 2.0])
    S = 2 * H @ B @ H.T + 0.5 * R
    d = rng.normal(size=(400, M)) @ np.linalg.cholesky(S).T
    H = u(H * u.E[:, None] / u.D)
    found = {}
    for name, gap in (("whole", 0), ("gaps", 40)):
        d[:gap, 0] = np.nan
        for size in (1.0, 1e-6):
            C = cov(u, B / size, u.D), cov(u, R / size, u.E)
            got = da.di01(u(d * u.E), *C, H)
            found |= {f"{name} {size} b": got.s_b / size, f"{name} {size} r": got.s_o / size}
            found |= {f"{name} {size} error": got.error_b, f"{name} {size}": got.converged}
    return found


@entry(da.nmc, da.forecast_pairs)
def nmc(u):
    p, _ = result(u)
    pairs = da.diagnostics.forecast_pairs(replace(p, noise=None), p.truth)
    C = da.diagnostics.nmc(*pairs)
    D = u(u.D)
    return {"variance": C.variance() / D**2, "matrix": C.matrix() / D / D[:, None]}


@entry(da.audit, diagnostics.Audit)
def audited(u):
    rng, found = np.random.default_rng(8), {}
    truth, noise = rng.normal(size=(2, 40, 6, 3))
    runs = rng.normal(size=(80, 6, 3)).cumsum(1)
    seen = np.arange(3) == rng.integers(0, 3, (40, 6, 1))
    for name, size in (("noise", np.ones(3)), ("gaps", np.where(seen, 0.1, 1.0))):
        x = [u(a * u.D) for a in (truth, truth + size * noise, truth + 0.2, truth + 1.0)]
        told = da.audit(
            truth=x[0], data=x[1], seen=seen, start=x[3][:, 0], free=x[2], analysis=x[3]
        )
        found |= {f"{name} doubts": len(told.doubts), f"{name} passed": len(told.passed)}
    for name, cut in (("whole", 60), ("cut", 30)):
        windows = runs.reshape(160, 3, 3)[rng.permutation(160) if name == "cut" else slice(None)]
        told = da.audit(train=u(windows[: 2 * cut] * u.D), test=u(windows[2 * cut :] * u.D))
        found |= {f"{name} doubts": len(told.doubts)}
    return found


def quartic(u, wrong=0.0):
    """A cost of x / D, whose minimum is elsewhere, and its gradient, wrong in one component."""
    D, c = u(u.D), u([1.0, 3.0, 2.0])

    def cost(x):
        xp, z = array_namespace(x), x / D
        return xp.sum(z**4 / 4 + c * z**2 / 2 - z, axis=-1) + z[..., 0] * z[..., 2]

    off = u([1.0, 1.0 + wrong, 1.0])

    def gradient(x):
        xp, z = array_namespace(x), x / D
        turned = xp.stack((z[..., 2], 0 * z[..., 1], z[..., 0]), axis=-1)
        return off * (z**3 + c * z - 1 + turned) / D

    return cost, gradient


@entry(da.gradient_test, da.profile, slack=(1e-6, 1e-2))
def gradients_of_costs(u):
    """The error over the steps, in a random direction and in a given one; a wrong gradient."""
    (cost, right), x = quartic(u), u(np.array([0.4, -0.7, 1.1]) * u.D)
    way = u(np.array([1.0, 0.2, -0.5]) * u.D)
    steps = 10.0 ** -np.arange(0, 4 if u.kind != "float32" else 2)  # round-off is far
    found = {}
    for name, p in (("random", None), ("given", way)):
        settings = {"direction": p, "gradient": right}
        test = da.gradient_test(cost, x, **settings, steps=steps)
        found |= {f"{name} error": test["error"]}
        found |= {f"{name} passed": da.gradient_test(cost, x, **settings).attrs["passed"]}
    wrong = da.gradient_test(cost, x, gradient=quartic(u, 0.01)[1])
    line = da.profile(cost, x, x + way, points=5)
    return found | {"wrong": wrong.attrs["passed"], "profile": line["cost"]}


@entry(da.adjoint_test, kinds=("float64", "torch"))
def adjoints(u):
    """A right pair to round-off; one wrong by a hundredth in a small component is seen."""
    A = np.array([[0.9, 0.1, 0.2], [0.3, 0.8, 0.1], [0.2, 0.1, 0.7]])
    x, A = u(np.array([1.0, 2.0, 3.0]) * u.D), A * u.D[:, None] / u.D
    found = {"automatic": da.adjoint_test(Bent(u(u.D), u(A * u.D / u.D[:, None])), x) < 1e-13}
    for i in range(N):
        wrong = A.copy()
        wrong[i, i] *= 1.01
        pair = {"tangent": lambda x, p: p @ u(A).mT}
        right = da.adjoint_test(da.Linear(u(A)), x, **pair, adjoint=lambda x, q: q @ u(A))
        off = da.adjoint_test(da.Linear(u(A)), x, **pair, adjoint=lambda x, q, W=wrong: q @ u(W))
        found[f"{i} seen"] = right < 1e-13 and off > 1e-5
    return found


@entry(da.lyapunov_exponents, slack=(1e-6, 1e-6))
def exponents(u):
    """Of half a time unit of Lorenz-63, in which chaos grows round-off by e^10 at most."""
    x = np.array([1.5, -1.5, 25.0]) + np.random.default_rng(0).normal(size=(3, 3))
    model, D = da.Lorenz63(), np.asarray(u.D)
    with_units = Rescaled(model, D if u.kind != "torch" else torch.as_tensor(D))
    u64 = replace(u, kind="torch" if u.kind == "torch" else "float64")
    found = da.lyapunov_exponents(with_units, u64(x * D), steps=50, spinup=20)
    return dict(zip(("exponents", "errors"), found, strict=True))


@dataclass(frozen=True, eq=False)
class Rescaled:
    """A model of x / D."""

    model: Any
    D: Any

    def __call__(self, x):
        return self.model(x / self.D) * self.D


@entry(
    *(diagnostics.end_point_error, diagnostics.angular_error),
    *(diagnostics.roughness, diagnostics.Roughness),
    reason="both components of a motion have one unit",
)
def errors_of_a_motion(u):
    w, t = np.random.default_rng(0).normal(size=(2, 3, 2, 5, 6))
    w, t, D = u(w * u.D[0]), u(t * u.D[0]), u.D[0]
    rough = {k: v / D for k, v in diagnostics.roughness(w)._asdict().items()}
    far = diagnostics.end_point_error(w, t) / D
    return {"far": far, "angle": diagnostics.angular_error(w, t)} | rough


@entry(diagnostics.fields, reason="moves numbers, and computes none")
def fields(u):
    return {"mean": da.diagnostics.fields(result(u)[1])["mean"] / u.D[0]}


# --- covariances, coders -------------------------------------------------------------------------


def covariances(u):
    rng = np.random.default_rng(3)
    X, V, D = rng.normal(size=(5, N)), rng.normal(size=(6, N)), u(u.D)
    full_one, turned = cov(u, spd(rng, N), u.D), np.linalg.qr(rng.normal(size=(N, N)))[0]
    line = da.OnGrid(N, 1.1, kernels.gaspari_cohn)
    wet = np.array([True, True, False])
    return {
        "diagonal": da.Diagonal(D**2),
        "dense": da.Dense(full_one.matrix()),
        "rows": da.Rows(u(V) * D),
        "updated": Updated(full_one, u(turned[:2]), u([3.0, 1.5])),
        "blocks": Blocks((da.Diagonal(D[:1] ** 2), da.Diagonal(D[1:] ** 2))),
        "on a grid": da.OnGrid(N, 1.3, std=D),
        "walls": da.OnGrid(N, 1.3, periodic=False, nugget=1e-3, std=D),
        "diffusion": da.Diffusion(wet, 2.0, std=D),
        "low rank": da.LowRank.from_members(u(X) * D),
        "localized": da.Localized(u(X - X.mean(0)) * D, line),
        "hybrid": da.Hybrid((0.3, full_one), (0.7, da.Localized(u(X - X.mean(0)) * D, line))),
        "sum": full_one + 0.5 * da.OnGrid(N, 1.3, std=D),
    }


@entry(
    *(da.Diagonal, da.Dense, da.Rows, Updated, Blocks, da.OnGrid, da.Diffusion, da.LowRank),
    *(da.Localized, da.Hybrid),
    slack=(1e-7, 1e-3),
)
def covariances_of_components_in_any_unit(u):
    rng, found, D = np.random.default_rng(0), {}, u(u.D)
    x, y = u(rng.normal(size=(2, N))) * D, u(rng.normal(size=(2, N))) / D
    for name, C in covariances(u).items():
        z = u(rng.normal(size=(2, C.controls)))
        found |= {
            f"{name} color": C.color(z) / D,
            f"{name} variance": C.variance() / D**2,
            f"{name} matrix": C.matrix() / D / D[:, None],
            f"{name} times": C.times(y) / D,
            f"{name} rows": (C.rows() / D).mT @ (C.rows() / D),
        }
        if name != "low rank":
            w = C.whiten(x)
            found[f"{name} whiten"] = w @ w.mT
            found[f"{name} log det"] = C.log_det() - 2 * np.log(u.D).sum()
    return found


@entry(da.Separable, da.Localization, da.boxcar, da.gaspari_cohn, da.hann)
def distances_in_any_unit(u):
    """Lengths, spacings, radii and places in metres or in millimetres, all of them."""
    L, places = float(u.D[0]), np.array([0.0, 0.7, 2.5])
    found = {
        "points": kernels.at_points(places * L, 1.3 * L, nugget=1e-3).matrix(),
        "ring": da.OnGrid(5, 1.3 * L, spacing=0.5 * L).matrix(),
        "walls": da.OnGrid(
            5, 1.3 * L, kernels.matern(1.5), spacing=0.5 * L, periodic=False
        ).matrix(),
        "coast": da.Diffusion(np.array([1, 1, 0, 1], bool), 2.0 * L, spacing=L).matrix(),
        "separable": da.Separable(
            kernels.at_points(places * L, 1.3 * L), da.OnGrid(3, L, spacing=L)
        ).matrix(),
    }
    for taper in (da.boxcar, da.gaspari_cohn, da.hann):
        for period in (0.0, 4.0):
            here = da.Localization(places * L, 1.8 * L, period * L, taper)
            name = f"{taper} {period}"
            found[name] = here.weights(here.coordinates, here.coordinates)
            found[f"{name} near"] = here.near(here.coordinates)[0].weight
    return found


@entry(
    da.LDEnSF,
    slack=(1e-8, 2e-2),  # networks with weights of one precision, a few cycles
    reason="the data are numbers of the field, and have its unit",
)
def latent_dynamics(u):
    """A latent network whose field, and so its data, come in other units, and its parameter."""
    from dalearn.neural import AtPoints, LDNet, seeded

    field, setting = u.D[1], u.E[0]
    points = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]
    net = seeded(0, lambda: LDNet(1, AtPoints(3, 1, 1, (8,)), (8,))).double()
    box = torch.tensor([[1.0], [3.0]], dtype=torch.float64) * setting
    net.scaled(box, points, Normalisation(np.zeros(1), field * np.ones(1)))
    rng = np.random.default_rng(2)
    with torch.no_grad():
        x = net(box.mean(0), points, 4)[..., 0].numpy() / field
    theta = rng.uniform(1, 3, (8, 1))
    prior = np.concatenate((np.zeros((8, 6)), theta * setting), -1)
    data = x[:, ::2] + 0.1 * rng.normal(size=(4, 3))
    see = da.Observation(da.Subset([0, 2, 4]), da.Diagonal(u(np.full(3, 0.01) * field**2)))
    problem = da.Problem(_still, see, da.Ensemble(u(prior)), u(data * field))
    codes = [
        da.LDEnSF(net, points=points, data="raw", method=m).codes(problem.validated())
        for m in (da.ETKF(8), da.EnSF(8, scale=0.5, steps=5))
    ]
    return {"ETKF": codes[0], "EnSF": codes[1]}


def _still(x):
    return x


@entry(da.POD, Extended, Normalisation)
def coders(u):
    """With the units of the components as the scale: the codes are the same."""
    x = np.random.default_rng(4).normal(size=(4, 10, N)) @ np.diag([2.0, 1.0, 0.3]) + 1
    pod, x = da.POD.fit(u(x * u.D), 2, scale=u.D), u(x * u.D)
    both = Extended(da.POD.fit(x[..., :2], 1, scale=u.D[:2]), 1)
    own = Normalisation.fit(x)
    found = {"codes": pod.encode(x), "back": pod.decode(pod.encode(x)) / u(u.D)}
    found |= {"values": pod.values, "energy": pod.energy}
    z = both.encode(x)
    return found | {
        "beside": z[..., 0],
        "parameter": z[..., 1] / float(u.D[2]),
        "normal": own(x),
        "inverse": own.inverse(own(x)) / u(u.D),
    }


@entry(da.DMD)
def a_linear_model_of_runs(u):
    """With the units of the components as the scale, with a ridge, a rank and a roll-out."""
    x = np.random.default_rng(6).normal(size=(4, 12, N)).cumsum(1)
    found, D = {}, u(u.D)
    for name, settings in (("ridge", {"ridge": 0.1}), ("rank", {"ridge": 0, "rank": 4})):
        model = da.DMD.fit(u(x * u.D), 2, scale=u.D, stable=True, **settings)
        A = model.matrix / D[:, None]
        found |= {f"{name} {j}": A[:, j * N : (j + 1) * N] * D for j in range(2)}
        found |= {f"{name} c": model.offset / D, f"{name} radius": model.radius}
        found[f"{name} next"] = model(u(x[:, 0, :].repeat(2, -1) * np.tile(u.D, 2)))[:, N:] / D
    given = {"scale": u.D, "validation": u(x[:, ::-1].copy() * u.D), "stable": True}
    chosen = da.DMD.fit(u(x * u.D), 2, ridge=(1e-6, 1.0), **given)
    parts = da.POD.fit_parts([u(x[i] * u.D) for i in range(4)], 2, scale=u.D)
    return found | {
        "chosen": chosen.matrix[:, :N] / D[:, None] * D,
        "codes in parts": parts.encode(u(x * u.D)),
    }


@entry(reason=MIXED)
def the_floor_of_a_coder(u):
    x = u(np.random.default_rng(4).normal(size=(10, N)) * u.D)
    return {"floor": da.POD.fit(x, 1).floor(x) / u.D[0]}


# --- what is refused, in any unit ----------------------------------------------------------------


def refused(f, *args, **settings):
    """Whether a call is refused, by a ValueError or a TypeError."""
    try:
        f(*args, **settings)
    except (ValueError, TypeError):
        return True
    return False


class Mixing:
    """Looks at the other rows, in one component."""

    def __init__(self, u, i):
        self.u, self.i = u, i

    def __call__(self, x):
        out = x + 0.0
        out[..., self.i] = x[..., self.i] + 0.1 * (x[..., self.i].mean() - x[..., self.i])
        return out


class Bend(Mixing):
    """A little curved in one component."""

    linear = False

    def __call__(self, x):
        out, D = x + 0.0, float(self.u.D[self.i])
        out[..., self.i] = D * (x[..., self.i] / D - 0.01 * (x[..., self.i] / D) ** 2)
        return out


class Noisy(Mixing):
    """Not the same twice, in one component, by a hundredth of its size."""

    def __init__(self, u, i):
        super().__init__(u, i)
        self.rng = np.random.default_rng(0)

    def __call__(self, x):
        out = x + 0.0
        out[..., self.i] += 0.01 * float(self.u.D[self.i]) * float(self.rng.normal())
        return out


@entry(da.Problem, da.twin, da.KF)
def functions_are_checked_in_each_component(u):
    p, found = problem(u), {}
    for i in range(N):
        for kind in (Mixing, Noisy):
            found[f"model {kind.__name__} {i}"] = refused(replace(p, model=kind(u, i)).validated)
            see = da.Observation(kind(u, i), u(u.D**2))
            other = replace(p, observation=see, data=u(np.full((K, N), np.nan)))
            found[f"operator {kind.__name__} {i}"] = refused(other.validated)
        straight = problem(u, linear=True)
        bent = replace(straight, model=Bend(u, i), noise=None)
        found[f"bent {i}"] = refused(run, bent, da.KF(da.finite_difference))
        found[f"straight {i}"] = not refused(run, straight, da.KF())
    assert all(found.values()), found
    return found


@entry(da.Gaussian, da.Observation)
def covariances_are_checked_among_correlations(u):
    rng, found = np.random.default_rng(6), {}
    C, s = spd(rng, N), u(np.outer(u.D, u.D))
    found["right"] = not refused(da.Dense, u(C) * s)
    skew = C.copy()
    skew[0, 2] += 0.01
    found["skew"] = refused(da.Dense, u(skew) * s)
    flat = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    found["singular"] = refused(da.Dense, u(flat) * s)
    negative = C - 2 * np.eye(N) * np.linalg.eigvalsh(C)[0]
    found["negative"] = refused(da.Dense, u(negative) * s)
    found["a singular prior"] = isinstance(da.Gaussian(u(u.D), u(flat) * s).cov, da.Rows)
    found["an error of no size"] = da.Observation(
        da.identity, u([1.0, 0, 1]) * s[0]
    ).noise.singular
    found["one below 0"] = refused(da.Observation, da.identity, u([1.0, -1.0, 1.0]) * s[0])
    assert all(found.values()), found
    return found


@entry(da.Latent)
def noise_that_differs_from_state_to_state(u):
    """Two steps of a model that bends in one component alone: no one covariance of its noise."""
    turn, D, found = np.eye(N), u(u.D), {}
    coder = da.POD(u(turn), u(u.D), scale=D)
    raw = da.POD(u(turn), 0 * D)  # codes in the units of the state
    p = replace(problem(u, linear=True), steps=2)
    for name, c in (("scaled", coder), ("raw", raw)):
        found[f"{name} straight"] = not refused(run, p, da.Latent(da.ExtendedKF(), c))
        for i in range(N):
            bent = replace(p, model=Bend(u, i))
            found[f"{name} {i}"] = refused(run, bent, da.Latent(da.ExtendedKF(), c))
    assert all(found.values()), found
    return found


@entry(da.Climatology)
def the_climatology_keeps_small_variances(u):
    p = problem(u)
    return {"variance": background("climatology", p, "").variance() / u(u.D) ** 2}


@entry(agreement)
def innovations_of_a_gaussian(u):
    p = problem(u)
    observe, y = p.at(4)
    return agreement(p.prior, observe, y)


# --- the test ------------------------------------------------------------------------------------


def same(a, b, slack):
    if isinstance(a, (str, bool)):
        return a == b
    a, b = (np.asarray(v) for v in (a, b))
    return a.shape == b.shape and np.allclose(b, a, rtol=slack, atol=slack, equal_nan=True)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (e, kind)
        for i, e in enumerate(ENTRIES)
        for kind in full(("float64", *KINDS[1:2][: i % 3 == 0]), KINDS)  # single: of every third
        if kind in e.kinds
    ],
    ids=str,
)
def test_units_change_nothing_but_units(entry, kind):
    slack = entry.slack[kind == "float32"]
    one, other = (entry.answers(u) for u in units(kind, one=bool(entry.reason)))
    assert list(one) == list(other)
    for name, answer in one.items():
        assert same(answer, other[name], slack), (name, answer, other[name])


def in_the_table(thing):
    """Whether a public name is a covariance or a method."""
    if not isinstance(thing, type) or thing is da.Covariance:
        return False
    runs = callable(getattr(thing, "run", None)) and hasattr(thing, "__dataclass_fields__")
    return runs or issubclass(thing, da.Covariance)


def test_every_method_diagnostic_and_covariance_is_in_the_table():
    """A new one without an entry fails here."""
    visited = {id(v) for e in ENTRIES for v in e.visits}
    wanted = [getattr(diagnostics, name) for name in diagnostics.__all__]
    wanted += filter(in_the_table, (getattr(da, name) for name in dir(da)))
    assert len(wanted) > 50
    assert not [w.__name__ for w in wanted if id(w) not in visited]


def test_squares_beyond_the_range_of_the_numbers():
    """States of 1e-25 in single precision, whose squares are 0 there; and series of 1e-200."""
    _, out = result(units("float64")[0])
    for size in (1e-25, 1e25):
        u = {k: (out[k] * size).astype("f4") for k in ("mean", "std", "truth", "members")}
        small = out.assign(u)
        for f in (da.rmse, da.spread, da.crps, da.climatology):
            np.testing.assert_allclose(f(small) / size, f(out), rtol=1e-5)
        bins = (da.spread_skill(r, bins=2)["spread"] for r in (small / size, out))
        np.testing.assert_allclose(*bins, rtol=1e-5)
        assert da.lost(small) == da.lost(out)
    for size in (1e-90, 1e90):
        dimension = da.effective_dimension(out.assign(members=out["members"] * size))
        np.testing.assert_allclose(dimension, da.effective_dimension(out), rtol=1e-9)
    x = np.random.default_rng(0).normal(size=60).cumsum()
    for size in (1e-200, 1e200):
        for name, v in da.interval(x * size).items():
            unit = 1.0 if name in ("tau", "effective") else size
            np.testing.assert_allclose(v / unit, da.interval(x)[name], rtol=1e-9)


@pytest.mark.parametrize("away", [1e4, 1e7])
def test_exponents_hang_on_no_zero_of_the_state(away):
    """Kelvin or Celsius: what a state is measured from has no part, but for lost digits."""
    x = np.array([1.5, -1.5, 25.0]) + np.random.default_rng(0).normal(size=(3, 3))
    model = da.Lorenz63()
    here = da.lyapunov_exponents(model, x, steps=50, spinup=200)[0]
    there = da.lyapunov_exponents(lambda x: model(x - away) + away, x + away, 50, spinup=200)[0]
    there = there / model.dt  # a function has no time
    # steps of 1e-6 of the values were a quarter of the attractor for 1e7, and the sum off by 0.2
    np.testing.assert_allclose(there.sum(), here.sum(), atol=1e-3)
    # directions are told apart by other lengths: over half a unit of time a factor of two or so
    np.testing.assert_allclose(there, here, atol=2.0)
