"""What is wrong is refused, in words: the value met, the one wanted, and what to do.

One table of bad inputs; then the hard inputs that must work, and the ones that must not pass in
silence.
"""

import copy
import pickle
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from bits import same_bits

import dalearn as da
from dalearn import kernels
from dalearn.array import (
    Streams,
    array_namespace,
    as_floats,
    convert,
    convert_tree,
    lift,
    no_grad,
    streams,
)
from dalearn.array.tridiagonal import block_cholesky
from dalearn.cases import ld_ensf
from dalearn.covariances.blocks import Blocks
from dalearn.diagnostics.scores import crps_gaussian
from dalearn.methods import (
    Cycle,
    denkf,
    enkf,
    enkf_n,
    ensrf,
    etkf,
    gauss_newton,
    kalman_update,
    oi,
    reweight,
    ukf,
)
from dalearn.methods.variational.weak_cost import WeakCost

ones = np.ones
R3 = da.Diagonal(ones(3))
PRIOR = da.Gaussian(np.array([1.509, -1.531, 25.46]), da.Diagonal(2 * ones(3)))
SEE = da.Observation(da.identity, R3)


def tensor(*shape):
    return torch.ones(shape, dtype=torch.float64)


LDNET = da.neural.LDNet(1, da.neural.AtPoints(3, 2, 2, (4,)), (4,)).double()


def lorenz(**changes):
    """A small Lorenz-63 problem, with changes."""
    settings: dict[str, Any] = {"model": da.Lorenz63(), "observation": SEE, "prior": PRIOR}
    return da.Problem(**{**settings, "data": np.zeros((4, 3)), **changes})


def twin(cycles: Any = 4, model: Any = None, observation: Any = SEE, prior: Any = PRIOR, **rest):
    return da.twin(model or da.Lorenz63(), observation, prior, cycles, **rest)


def run(problem, method=None, **settings):
    return da.assimilate(problem, method or da.ETKF(5), progress=False, **settings)


def check(**changes):
    return lorenz(**changes).validated()


def model(f, n=3, **changes):
    """Validate a problem of n numbers, all observed, under the model f."""
    prior = da.Gaussian(ones(n), ones(n))
    see = da.Observation(da.identity, ones(n))
    return da.Problem(f, see, prior, np.zeros((4, n)), **changes).validated()


def operator(f, m=3, **changes):
    return check(observation=da.Observation(f, ones(m)), data=np.zeros((4, m)), **changes)


def in_place(x):
    x += 1
    return x


def mixes(x):
    return np.roll(x, 1)


def random(x):
    return x + np.random.default_rng().normal(size=x.shape)


def members_first(x):
    return np.stack([x[1], x[0], x[0] * x[1]])


def first(x):
    return x[..., :3]


def numpy_only(x):
    return np.sin(x) + 1.0


def detached(x):
    return x.detach() if hasattr(x, "detach") else x + 0.0


class NoStep:
    """A model whose step has no length."""

    dt = None

    def __call__(self, x):
        return x + 0


RING = da.Localization.ring(3, 1.0)


def local(n, radius: Any = 1.0):
    return da.LETKF(5, localization=da.Localization.ring(n, radius))


class Few:
    """A method that stops early."""

    def run(self, problem, rng):
        yield Cycle(problem.prior, problem.prior)


@dataclass(frozen=True, eq=False)
class Smooth(da.Covariance):
    """A covariance that knows no mask."""

    n: int = 3
    batch: tuple = ()

    def color(self, z):
        return z

    def whiten(self, x):
        return x

    def variance(self):
        return ones(3)


@dataclass(frozen=True, eq=False)
class Chance:
    """A stochastic model that does what it should not."""

    f: Any
    stochastic: Any = True

    def __call__(self, x, rng):
        return self.f(x)


@dataclass(frozen=True, eq=False)
class Shift:
    """A model with settings that no ensemble can hold."""

    by: Any = None

    def __call__(self, x):
        return x + (0.0 if self.by is None else self.by)


def weak(prior=PRIOR, **settings):
    return run(twin(prior=prior, noise=ones(3)), da.WeakVar4D(**settings))


POINT = da.Point(ones(3))
CHAIN = WeakCost(da.Lorenz63(), ones(3), None, R3, [(4, SEE, ones(3))])


def joint(names: Any = "rho", prior: Any = None, problem: Any = None, p=1, **settings):
    prior = da.Gaussian(ones(p), ones(p)) if prior is None else prior
    return da.with_parameters(problem or twin(), names, prior, **settings)


def nature(view: Any = first, **settings):
    """A twin whose nature has four numbers where the model has three."""
    given = {"truth_model": FOUR, "truth_prior": da.Point(ones(4)), "truth_view": view}
    return twin(**{**given, **settings})


def gappy():
    data = np.zeros((4, 3))
    data[2, 1] = np.nan
    return data


def series(times, values=None, **settings):
    """Real data at the given times, for a Lorenz-63 with dt = 0.01."""
    values = np.zeros((len(times), 3)) if values is None else values
    data = xr.DataArray(values, dims=("time", "y"), coords={"time": times})
    return da.Problem.from_xarray(data, da.Lorenz63(), SEE, PRIOR, **settings)


DAYS = np.array(["2020-01-02", "2020-01-03"], "datetime64[ns]")
RESULT = run(twin())
NO_TRUTH = RESULT.drop_vars("truth")
LINEAR = torch.nn.Linear(3, 3)
NOISY = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout()).double()
NORMED = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)).double()
TORCH = da.Gaussian(tensor(3), tensor(3))
NAN = np.array([0.0, np.nan, 0.0])
E64, Y64 = np.random.default_rng(0).normal(size=(2, 5, 3))
WEIGHTED = da.Ensemble(E64, np.full(5, 0.2))
D64 = Y64 - Y64.mean(0)
Q4 = da.Diagonal(ones(4))
CODER = da.POD(np.eye(3), np.zeros(3))
CLOUD = da.Ensemble(E64)
FOUR = da.Linear(0.5 * np.eye(4))
SEA = ones((3, 3), bool)
MEMORY = da.History(LINEAR, 2)
RUNS = np.random.default_rng(9).normal(size=(4, 9, 3))
DMD = da.DMD.fit(RUNS, 2, ridge=0.1)
PAIR = da.Windowed(da.POD.fit(RUNS, 2), 2)
CHANCE_NET = torch.nn.Linear(3, 3)
CHANCE_NET.stochastic = True

V, T, X, F = ValueError, TypeError, IndexError, FloatingPointError
# id, what is done, the exception, words of its message: the met, the wanted, the way out
TABLE = [
    # --- covariances of fields, of ensembles, and their tuning
    ("grid-shape", lambda: da.OnGrid((2, 3, 4), 1.0), V, ["(rows, columns)", "(2, 3, 4)"]),
    ("grid-empty", lambda: da.OnGrid(0, 1.0), V, ["shape", "met 0"]),
    ("grid-length-0", lambda: da.OnGrid(9, 0.0), V, ["length", "positive", "0.0"]),
    ("grid-length-negative", lambda: da.OnGrid((9, 9), (1, -2)), V, ["length", "(1, -2)"]),
    ("grid-length-nan", lambda: da.OnGrid(9, np.nan), V, ["length", "nan"]),
    ("grid-length-words", lambda: da.OnGrid(9, "long"), V, ["length", "'long'"]),
    ("grid-length-endless", lambda: da.OnGrid((99, 99), 1e4), V, ["too many", "no longer than"]),
    ("grid-spacing", lambda: da.OnGrid(9, 1.0, spacing=(1, 1)), V, ["spacing", "(1, 1)"]),
    ("grid-kernel", lambda: da.OnGrid(9, 1.0, np.exp), T, ["Kernel", "matern(1.5)", "exp"]),
    ("grid-std", lambda: da.OnGrid(9, 1.0, std=ones(8)), V, ["std", "(9,)", "(8,)"]),
    ("grid-std-0", lambda: da.OnGrid(9, 1.0, std=0.0), V, ["std", "positive", "least 0"]),
    ("grid-std-nan", lambda: da.OnGrid(9, 1.0, std=np.nan), V, ["finite", "least nan"]),
    ("grid-periodic", lambda: da.OnGrid((9, 9), 1.0, periodic=(True,)), V, ["periodic", "2"]),
    ("grid-fields", lambda: da.OnGrid(9, 1.0, fields=0), V, ["fields", "0"]),
    ("grid-nugget", lambda: da.OnGrid(9, 1.0, nugget=1.0), V, ["nugget", "[0, 1)", "1.0"]),
    ("grid-smooth", lambda: da.OnGrid(60, 6.0, kernels.gaussian), V, ["least", "nugget"]),
    ("grid-box", lambda: da.OnGrid(40, 5.0, da.boxcar), V, ["not positive", "correlation"]),
    ("grid-width", lambda: da.OnGrid(9, 1.0).whiten(ones((1, 8))), V, ["(1, 8)", "k, 9"]),
    ("matern-0", lambda: kernels.matern(0), V, ["nu", "above 0", "met 0"]),
    ("points-twice", lambda: kernels.at_points([0, 0, 1], 1.0), V, ["not positive definite"]),
    ("points-std", lambda: kernels.at_points([0, 1], 1.0, std=[1, -1]), V, ["std", "[1, -1]"]),
    ("separable-matrix", lambda: da.Separable(np.eye(2), R3), T, ["Covariance", "ndarray"]),
    ("separable-none", da.Separable, T, ["one Covariance for each axis"]),
    ("wet-numbers", lambda: da.Diffusion(ones((3, 3)), 1.0), V, ["booleans", "float64"]),
    ("wet-dry", lambda: da.Diffusion(np.zeros((3, 3), bool), 1.0), V, ["True", "0 wet"]),
    ("diffusion-odd", lambda: da.Diffusion(SEA, 1.0, 3), V, ["even", ">= 4", "met 3"]),
    ("diffusion-few", lambda: da.Diffusion(SEA, 1.0, 2), V, ["even", ">= 4", "met 2"]),
    ("diffusion-length", lambda: da.Diffusion(SEA, -1.0), V, ["length", "-1.0"]),
    ("diffusion-samples", lambda: da.Diffusion(SEA, 1.0, samples=1), V, ["samples", "met 1"]),
    ("low-rank-one", lambda: da.LowRank(ones((1, 3))), V, ["N >= 2", "no spread"]),
    ("low-rank-vector", lambda: da.LowRank(ones(3)), V, ["(..., N, n)", "(3,)"]),
    ("low-rank-nan", lambda: da.LowRank(np.full((2, 3), np.nan)), V, ["anomalies", "NaN"]),
    ("low-rank-inverse", lambda: da.LowRank(D64).whiten(D64), V, ["rank 4", "no inverse"]),
    ("localized-width", lambda: da.Localized(D64, Q4), V, ["3 components", "4"]),
    (
        "localized-scaled",
        lambda: da.Localized(D64, da.Diagonal(2 * ones(3))),
        V,
        ["variances 1", "2 to 2"],
    ),
    ("localized-matrix", lambda: da.Localized(D64, np.eye(3)), T, ["Covariance", "Dense(C)"]),
    ("hybrid-none", da.Hybrid, V, ["at least one"]),
    ("hybrid-bare", lambda: da.Hybrid(R3), T, ["(weight, Covariance)"]),
    ("hybrid-negative", lambda: da.Hybrid((-0.5, R3)), V, ["not negative", "-0.5"]),
    ("hybrid-widths", lambda: da.Hybrid((1, R3), (1, Q4)), V, ["[3, 4]", "the same"]),
    ("hybrid-0", lambda: da.Hybrid((0, R3)).whiten(D64), V, ["weight 0", "positive"]),
    (
        "hybrid-controls",
        lambda: da.Hybrid((1, R3), (1, R3)).color(ones((1, 4))),
        V,
        ["6 control", "(1, 4)"],
    ),
    ("nmc-shapes", lambda: da.nmc(ones((4, 3)), ones((5, 3))), V, ["(4, 3)", "(5, 3)"]),
    ("nmc-one", lambda: da.nmc(ones((1, 3)), ones((1, 3))), V, ["N >= 2"]),
    ("nmc-factor", lambda: da.nmc(D64, E64, -1.0), V, ["factor", "positive", "-1.0"]),
    (
        "pairs-leads",
        lambda: da.forecast_pairs(twin(), ones((4, 3)), 2, 2),
        V,
        ["short = 2", "long = 2", "0 < short < long < K"],
    ),
    ("pairs-shape", lambda: da.forecast_pairs(twin(), ones((5, 3))), V, ["(5, 3)", "(..., 4, 3)"]),
    ("di01-vector", lambda: da.di01(ones(3), np.eye(3), R3), V, ["(3,)", "d[None]"]),
    ("di01-none", lambda: da.di01(np.full((2, 3), np.nan), np.eye(3), R3), V, ["nothing was"]),
    ("di01-inf", lambda: da.di01(np.full((2, 3), np.inf), np.eye(3), R3), V, ["infinite"]),
    ("di01-widths", lambda: da.di01(D64, np.eye(4), R3), V, ["of 3 numbers", "(4, 4)"]),
    ("di01-zero", lambda: da.di01(D64, np.zeros((3, 3)), R3), V, ["not all zero"]),
    ("di01-negative", lambda: da.di01(D64, np.diag([1.0, 2, -1]), R3), V, ["-1", "none negative"]),
    ("di01-H", lambda: da.di01(D64, R3, R3, ones((3, 4))), V, ["(3, 4)", "(..., m, 3)"]),
    (
        "di01-iterations",
        lambda: da.di01(D64, R3, R3, iterations=0),
        V,
        ["iterations", ">= 1", "0"],
    ),
    # --- arguments of the verbs
    ("compare-words", lambda: da.compare(twin(), "ETKF"), T, ["sequence", "ETKF(", "'ETKF'"]),
    (
        "compare-list-words",
        lambda: da.compare(twin(), ["ETKF"]),
        T,
        ["such as ETKF(", "'ETKF'"],
    ),
    (
        "compare-tuple-label",
        lambda: da.compare(twin(), {("a", 1): da.ETKF(5)}),
        T,
        ["labels", "all text or all numbers", "('a', 1)"],
    ),
    (
        "compare-mixed-labels",
        lambda: da.compare(twin(), {"1": da.ETKF(5), 1: da.ETKF(6)}),
        T,
        ["labels", "all text or all numbers", "['1', 1]"],
    ),
    (
        "compare-many-seeds",
        lambda: da.compare(twin(), [da.ETKF(5)], 10**9),
        V,
        ["at most 1000000", "met 1000000000"],
    ),
    (
        "compare-large-seed",
        lambda: da.compare(twin(), [da.ETKF(5)], [2**60]),
        V,
        ["below 2**53", str(2**60)],
    ),
    ("rmse-problem", lambda: da.rmse(twin()), T, ["Dataset that dalearn made", "met Problem"]),
    ("score-problem", lambda: da.score(twin()), T, ["Dataset that dalearn made", "met Problem"]),
    ("spread-problem", lambda: da.spread(twin()), T, ["Dataset that dalearn made", "met Problem"]),
    ("skip-half", lambda: da.score(RESULT, 1.5), V, ["skip must be an integer", "1.5"]),
    ("seed-half", lambda: twin(seed=1.5), V, ["seed must be an integer", "1.5"]),
    ("seed-true", lambda: twin(seed=True), V, ["seed must be an integer", "True"]),
    ("dt-none", lambda: check(model=NoStep()), V, ["model.dt is None", "one number", "times="]),
    # --- covariances and beliefs
    ("variance-number", lambda: da.Diagonal(2.0), V, ["single number", "Diagonal(2 * ones(n))"]),
    ("variance-negative", lambda: da.Diagonal([1, -2.0]), V, ["not negative", "-2", "entry 1"]),
    ("variance-nan", lambda: da.Diagonal([1, np.nan]), V, ["finite", "nan", "entry 1"]),
    ("variance-words", lambda: da.Diagonal(["a"]), T, ["real numbers", "<U1"]),
    ("dense-not-square", lambda: da.Dense(ones((2, 3))), V, ["square", "(2, 3)"]),
    ("dense-vector", lambda: da.Dense(ones(3)), V, ["(..., n, n)", "(3,)", "Diagonal"]),
    ("prior-float16", lambda: run(twin().to(ones(1, "f2"))), T, ["float16", "float32"]),
    ("dense-nan", lambda: da.Dense(np.full((2, 2), np.nan)), V, ["NaN", "finite"]),
    (
        "dense-not-symmetric",
        lambda: da.Dense(np.array([[1, 0.5], [0, 1]])),
        V,
        ["not symmetric", "0.5", "(C + C.T) / 2"],
    ),
    (
        "dense-indefinite",
        lambda: da.Dense(np.diag([1.0, -3.0])),
        V,
        ["not positive definite", "-3", "identity"],
    ),
    (
        "dense-singular-by-round-off",
        lambda: da.Dense(np.outer([1.0, 2, 3], [1, 2, 3])),
        V,
        ["not positive definite", "identity"],
    ),
    ("dense-complex", lambda: da.Dense(1j * np.eye(2)), T, ["real numbers", "complex128"]),
    ("complex-tensor", lambda: as_floats(1j * tensor(2), "x"), T, ["x must hold real", "complex"]),
    ("width-color", lambda: R3.color(ones((4, 1))), V, ["(4, 1)", "(..., k, 3)"]),
    ("width-whiten", lambda: da.Diagonal([1.0]).whiten(E64), V, ["(5, 3)", "dimension 1"]),
    (
        "whiten-zero",
        lambda: da.Diagonal(np.zeros(3)).whiten(E64),
        V,
        ["zero variance", "positive"],
    ),
    ("gaussian-mean-nan", lambda: da.Gaussian(NAN, R3), V, ["1 values", "NaN", "wanted none"]),
    ("gaussian-mean-words", lambda: da.Gaussian(["a"], R3), T, ["mean", "real numbers", "<U1"]),
    ("gaussian-mean-ragged", lambda: da.Gaussian([[1], [1, 2]], R3), V, ["mean", "inhomogeneous"]),
    ("gaussian-mean-none", lambda: da.Gaussian(None, R3), T, ["mean", "real numbers", "object"]),
    ("gaussian-mean-number", lambda: da.Gaussian(np.array(1.0), R3), V, ["(..., n)", "()"]),
    ("gaussian-width", lambda: da.Gaussian(ones(4), R3), V, ["4 components", "covariance 3"]),
    ("gaussian-cov-negative", lambda: da.Gaussian(ones(3), -2.0), V, ["not negative", "-2"]),
    ("gaussian-cov-words", lambda: da.Gaussian(ones(3), "wide"), T, ["cov", "real numbers"]),
    (
        "gaussian-cov-batch",
        lambda: da.Gaussian(ones(3), da.Diagonal(ones((5, 3)))),
        V,
        ["batch axes (5,)", "wanted ()", "leading axes"],
    ),
    ("point-number", lambda: da.Point(1), V, ["the point", "(..., n)", "()"]),
    ("ensemble-list", lambda: da.Ensemble([1, 2]), V, ["(..., members, n)", "(2,)"]),
    ("point-nan", lambda: da.Point(NAN), V, ["the point", "1 values"]),
    ("one-member", lambda: da.Ensemble(ones((1, 3))), V, ["at least 2", "met 1", "(1, 3)"]),
    ("ensemble-vector", lambda: da.Ensemble(ones(3)), V, ["(..., members, n)", "(3,)"]),
    ("weights-shape", lambda: da.Ensemble(E64, ones(3)), V, ["(3,)", "(5,)", "one per member"]),
    ("weights-sum", lambda: da.Ensemble(E64, ones(5)), V, ["sum to 1", "sums up to 5"]),
    ("weights-nan", lambda: da.Ensemble(E64, np.full(5, np.nan)), V, ["sum to 1", "nan"]),
    # --- observations
    (
        "R-zero",
        lambda: da.Observation(da.identity, Blocks((R3, 0 * R3))),
        V,
        ["positive", "met 0"],
    ),
    ("R-number", lambda: da.Observation(da.identity, 0.5), V, ["single number", "0.5"]),
    ("operator-class", lambda: da.Observation(da.Every, R3), T, ["not a class", "Every"]),
    ("operator-words", lambda: da.Observation("all", R3), T, ["matrix (m, n)", "'all'"]),
    ("operator-rank", lambda: da.Observation(ones(3), R3), V, ["(m, n)", "(3,)"]),
    (
        "locations-length",
        lambda: da.Observation(da.identity, R3, locations=ones((2, 1))),
        V,
        ["(2, 1)", "(3, d)"],
    ),
    (
        "locations-list",
        lambda: da.Observation(da.identity, R3, locations=[0.0, 1.0, 2.0]),
        V,
        ["(3,)", "(3, d)"],
    ),
    ("subset-floats", lambda: da.Subset([0.0, 1.0]), T, ["integers", "float64", "(2,)"]),
    ("subset-mask", lambda: da.Subset([True, False]), T, ["bool", "flatnonzero"]),
    ("subset-range", lambda: operator(da.Subset([0, 7]), 2), X, ["operator", "(2, 3)", "7"]),
    ("every-zero", lambda: da.Every(0), V, ["step", ">= 1", "met 0"]),
    ("moving-empty", lambda: da.Moving([]), T, ["non-empty", "Observation"]),
    ("moving-kind", lambda: da.Moving([R3]), T, ["sequence of Observation", "Diagonal"]),
    (
        "moving-count",
        lambda: check(observation=da.Moving([SEE] * 3)),
        V,
        ["3 observations", "wanted 4", "one per observation time"],
    ),
    (
        "moving-more-data",
        lambda: check(
            observation=da.Moving([SEE] * 3 + [da.Observation(da.Subset([0]), [1.0])]),
        ),
        V,
        ["time 3", "more than the 1", "column 1"],
    ),
    ("matrix-width", lambda: operator(ones((3, 5))), V, ["(3, 5)", "(2, 3)", "5 components"]),
    # --- problems: the fields
    ("prior-array", lambda: lorenz(prior=ones(3)), T, ["Gaussian", "ndarray"]),
    ("prior-list", lambda: twin(prior=[1.0, 2.0]), T, ["Gaussian", "list"]),
    ("observation-bare", lambda: lorenz(observation=da.identity), T, ["Observation", "function"]),
    ("twin-observation", lambda: twin(observation=R3), T, ["Observation", "Diagonal"]),
    ("model-class", lambda: lorenz(model=da.Lorenz96), T, ["callable", "Lorenz96()"]),
    ("model-number", lambda: lorenz(model=3), T, ["callable", "met 3"]),
    ("data-width", lambda: check(data=ones((4, 2))), V, ["2 numbers", "(4, 2)", "(..., 4, 3)"]),
    ("data-rank", lambda: lorenz(data=ones(3)), V, ["(..., K times, m)", "(3,)", "[:, None]"]),
    ("data-empty", lambda: lorenz(data=ones((0, 3))), V, ["(..., K times, m)", "(0, 3)"]),
    ("data-infinite", lambda: lorenz(data=ones((4, 3)) / 0.0), V, ["infinite", "NaN"]),
    ("data-words", lambda: lorenz(data=[["a"] * 3]), T, ["the data", "<U1"]),
    (
        "data-batch",
        lambda: check(data=ones((2, 4, 3)), prior=da.Gaussian(ones((5, 3)), R3)),
        V,
        ["(5,)", "(2,)", "broadcast"],
    ),
    ("truth-shape", lambda: check(truth=ones((4, 2))), V, ["(4, 2)", "(..., 4, 3)"]),
    ("truth-batch", lambda: check(truth=ones((7, 4, 3))), V, ["(7, 4, 3)", "batch ()"]),
    ("times-length", lambda: lorenz(times=np.arange(3.0)), V, ["(3,)", "(4,)"]),
    ("shape-count", lambda: check(shape=(2, 2)), V, ["(2, 2)", "4 numbers", "has 3"]),
    ("shape-number", lambda: lorenz(shape=3), T, ["tuple", "met 3"]),
    ("steps-zero", lambda: lorenz(steps=0), V, ["positive integer", "met 0"]),
    ("steps-negative", lambda: lorenz(steps=[1, 2, -1, 1]), V, ["positive", "-1"]),
    ("steps-float", lambda: lorenz(steps=2.0), V, ["positive integer", "2.0"]),
    ("steps-length", lambda: lorenz(steps=[1, 2]), V, ["one per observation (4", "[1, 2]"]),
    ("steps-one-in-a-list", lambda: lorenz(steps=[2]), V, ["one per observation (4", "[2]"]),
    ("Q-width", lambda: check(noise=Q4), V, ["dimension 4", "state's 3"]),
    ("Q-negative", lambda: lorenz(noise=-0.1), V, ["not negative", "-0.1"]),
    ("Q-words", lambda: lorenz(noise="loud"), T, ["model noise", "real numbers"]),
    (
        "Q-batch",
        lambda: check(noise=da.Diagonal(ones((2, 3)))),
        V,
        ["model noise", "(2,)", "broadcast to ()"],
    ),
    (
        "R-batch",
        lambda: check(
            observation=da.Observation(da.identity, da.Diagonal(ones((5, 3)))),
            data=ones((2, 4, 3)),
        ),
        V,
        ["observation noise", "(5,)", "(2,)"],
    ),
    (
        "R-batch-moving",
        lambda: check(
            observation=da.Moving([da.Observation(da.identity, da.Diagonal(ones((5, 3))))] * 4)
        ),
        V,
        ["observation noise", "(5,)", "broadcast to ()"],
    ),
    (
        "R-one-for-many",
        lambda: check(observation=da.Observation(da.identity, [1.0]), data=ones((4, 1))),
        V,
        ["(2, 3)", "(2, 1)"],
    ),
    (
        "R-cannot-mask",
        lambda: run(lorenz(observation=da.Observation(da.identity, Smooth()), data=gappy())),
        NotImplementedError,
        ["Smooth cannot mask", "Diagonal or Dense", "without NaN"],
    ),
    ("dt-array", lambda: check(model=da.Lorenz63(dt=0.01 * ones((2, 1, 1)))), V, ["dt", "times="]),
    # --- problems: the functions
    ("model-float32", lambda: model(lambda x: x.astype("f4")), T, ["float64 to float32", "kept"]),
    ("model-shape", lambda: model(lambda x: x[..., :2]), V, ["(2, 2)", "(2, 3)", "last axis"]),
    ("model-in-place", lambda: model(in_place), V, ["wrote into its input", "pure", "copy"]),
    ("model-nan", lambda: model(lambda x: x * np.nan), V, ["NaN", "prior's mean"]),
    ("model-mixes-rows", lambda: model(mixes), V, ["second row", "axis=-1"]),
    (
        "model-mixes-rows-of-a-point",
        lambda: check(model=mixes, prior=da.Point(ones(3))),
        V,
        ["second row", "axis=-1"],
    ),
    ("model-first-row", lambda: model(lambda x: x * x[0]), V, ["second row", "its own"]),
    ("model-running-sum", lambda: model(lambda x: np.cumsum(x, 0)), V, ["second row", "its own"]),
    ("model-random", lambda: model(random), V, ["no randomness", "eval()"]),
    ("model-members-first", lambda: model(members_first), V, ["(3, 3)", "(2, 3)", "last axis"]),
    ("model-index", lambda: model(lambda x: x[0] + x[2]), X, ["the model", "(2, 3)", "leading"]),
    ("model-index-pair", lambda: model(lambda x: x * x[1], 2), X, ["(1, 2)", "any leading"]),
    ("model-torch-only", lambda: model(lambda x: x.unsqueeze(0)), AttributeError, ["unsqueeze"]),
    ("model-returns-list", lambda: model(lambda x: [x]), T, ["returned list", "numpy"]),
    ("model-returns-tensor", lambda: model(lambda x: tensor(2, 3)), T, ["returned torch"]),
    ("lorenz96-small", lambda: da.Lorenz96(3), V, ["n of Lorenz96", ">= 4", "met 3"]),
    ("lorenz96-size", lambda: model(da.Lorenz96(6)), V, ["n=6", "(2, 3)"]),
    ("lorenz63-size", lambda: model(da.Lorenz63(), 4), V, ["(..., 3)", "(2, 4)"]),
    ("pendulum-size", lambda: model(da.Pendulum()), V, ["(..., 2)", "(2, 3)"]),
    ("operator-shape", lambda: operator(lambda x: x[..., 0]), V, ["operator", "(2,)", "(2, 3)"]),
    ("operator-dtype", lambda: operator(lambda x: x.astype("f4")), T, ["operator", "float32"]),
    ("operator-library", lambda: operator(torch.as_tensor), T, ["operator", "torch", "numpy"]),
    ("operator-in-place", lambda: operator(in_place), V, ["operator", "wrote into"]),
    ("module-in-numpy", lambda: model(LINEAR), T, ["torch module", "NumPy", "Surrogate(module)"]),
    (
        "module-operator-in-numpy",
        lambda: operator(LINEAR),
        T,
        ["observation operator is a torch module", "Surrogate(module)"],
    ),
    (
        "module-float32",
        lambda: check(model=LINEAR, prior=TORCH),
        T,
        ["float32", "module.to(prior)"],
    ),
    ("module-dropout", lambda: check(model=NOISY, prior=TORCH), V, ["Dropout", "eval()"]),
    ("module-batchnorm", lambda: check(model=NORMED, prior=TORCH), V, ["BatchNorm1d", "eval()"]),
    ("surrogate-dropout", lambda: model(da.Surrogate(NOISY)), V, ["Dropout", "eval()"]),
    ("surrogate-function", lambda: da.Surrogate(np.sin), T, ["torch.nn.Module", "ufunc"]),
    # --- twins and real data
    ("twin-no-cycles", lambda: twin(0), V, [">= 1", "met 0"]),
    ("twin-cycles-float", lambda: twin(4.0), V, ["integer", "4.0"]),
    ("twin-batch-zero", lambda: twin(batch=0), V, ["batch", ">= 1", "met 0"]),
    ("twin-seed-negative", lambda: twin(seed=-1), V, ["non-negative", "-1"]),
    ("twin-seeds", lambda: twin(batch=3, seed=[1, 2]), V, ["2 seeds", "wanted 3", "(3,)"]),
    ("twin-unstable", lambda: twin(50, da.Lorenz63(dt=0.3)), F, ["truth", "cycle", "shorten"]),
    (
        "twin-operator-nan",
        lambda: twin(20, observation=da.Observation(lambda x: (x + 5.0) ** 0.5, R3), steps=20),
        F,
        ["operator", "non-finite", "cycle"],
    ),
    ("twin-truth-model", lambda: twin(truth_model=da.Lorenz96()), V, ["truth model", "(2, 3)"]),
    (
        "twin-view-alone",
        lambda: twin(truth_view=first),
        V,
        ["truth_view", "truth_model=None and truth_prior=None"],
    ),
    (
        "twin-view-without-prior",
        lambda: nature(truth_prior=None),
        V,
        ["wants truth_model= and truth_prior=", "met truth_prior=None"],
    ),
    ("twin-no-view", lambda: nature(None), V, ["4 components", "model's 3", "truth_view="]),
    (
        "twin-view-shape",
        lambda: nature(lambda x: x[..., :2]),
        V,
        ["truth_view", "(2, 2)", "(2, 3)"],
    ),
    ("twin-view-rank", lambda: nature(lambda x: x[0]), V, ["truth_view", "(4,)", "(2, 3)"]),
    ("twin-view-class", lambda: nature(da.Every), T, ["truth_view", "not a class", "Every"]),
    ("twin-view-in-place", lambda: nature(in_place), V, ["truth_view"]),
    ("twin-truth-prior", lambda: nature(truth_prior=ones(4)), T, ["truth_prior", "ndarray"]),
    (
        "twin-truth-prior-size",
        lambda: nature(truth_prior=da.Point(ones(5))),
        V,
        ["the truth model", "(2, 5)"],
    ),
    (
        "twin-truth-prior-batch",
        lambda: nature(truth_prior=da.Point(ones((2, 4))), batch=3),
        V,
        ["truth_prior", "(2,)", "batch (3,)"],
    ),
    (
        "twin-truth-prior-more-batch",
        lambda: nature(truth_prior=da.Point(ones((2, 4)))),
        V,
        ["truth_prior", "(2,)", "batch ()"],
    ),
    ("twin-truth-prior-nan", lambda: nature(truth_prior=da.Point(ones(4) * np.nan)), V, ["NaN"]),
    # --- models of chance
    ("chance-shape", lambda: model(Chance(lambda x: x[..., :2])), V, ["(2, 2)", "(2, 3)"]),
    ("chance-dtype", lambda: model(Chance(lambda x: x.astype("f4"))), T, ["float32", "kept"]),
    ("chance-in-place", lambda: model(Chance(in_place)), V, ["wrote into its input"]),
    ("chance-nan", lambda: model(Chance(lambda x: x * np.nan)), V, ["NaN", "prior's mean"]),
    ("chance-module", lambda: model(CHANCE_NET), T, ["torch module", "Surrogate(module)"]),
    ("chance-not-said", lambda: model(Chance(mixes, False)), T, ["the model", "rng"]),
    (
        "chance-and-derivatives",
        lambda: run(model(Chance(lambda x: x)), da.ExtendedKF()),
        T,
        ["Chance is stochastic", "without rng", "ensemble method"],
    ),
    # --- wrappers
    ("history-class", lambda: da.History(torch.nn.LSTM, 2), T, ["History", "LSTM"]),
    ("history-number", lambda: da.History(3, 2), T, ["function of windows", "met 3"]),
    ("history-length", lambda: da.History(LINEAR, 0), V, ["length", ">= 1", "met 0"]),
    ("history-length-float", lambda: da.History(LINEAR, 2.0), V, ["length", "integer", "2.0"]),
    ("history-width", lambda: model(MEMORY), V, ["(2, 3)", "(..., 2 n)", "oldest first"]),
    ("history-dtype", lambda: MEMORY(tensor(4, 6)), T, ["float32", "float64", "module.to(prior)"]),
    (
        "history-output",
        lambda: da.History(lambda w: w[..., :1], 2)(ones((4, 6))),
        V,
        ["(4, 2, 1)", "(4, 2, 3)", "(4, 3)"],
    ),
    ("gla-method", lambda: da.GLA(da.ETKF(5), CODER), T, ["Var3D or Var4D", "met ETKF"]),
    (
        "gla-solver",
        lambda: da.GLA(da.Var3D(solver=da.LBFGS()), CODER),
        T,
        ["GaussNewton", "met LBFGS"],
    ),
    (
        "gla-few-samples",
        lambda: da.GLA(da.Var3D(), CODER, samples=0.5),
        V,
        ["as many as the features", "met 0.5", "2.5"],
    ),
    (
        "gla-many-features",
        lambda: run(twin(), da.GLA(da.Var3D("prior"), CODER, degree=20, samples=50)),
        V,
        ["1771 features", "met 88550", "lower degree"],
    ),
    (
        "gla-coder",
        lambda: run(joint(), da.GLA(da.Var3D("prior"), CODER)),
        V,
        ["states of 3 numbers", "the problem has 4"],
    ),
    ("history-window", lambda: MEMORY.window(ones((5, 3))), V, ["(..., 2, n)", "(5, 3)"]),
    ("history-matrix", lambda: MEMORY.observe(ones((1, 3))), T, ["ndarray", "Linear(matrix)"]),
    (
        "history-dropout",
        lambda: model(da.History(torch.nn.Dropout(), 3)),
        V,
        ["Dropout", "eval()"],
    ),
    (
        "history-batch-second",
        lambda: da.History(torch.nn.LSTM(3, 3), 2),
        V,
        ["LSTM(3, 3)", "batch_first=True"],
    ),
    (
        "subcycled-twice",
        lambda: da.Subcycled(da.Subcycled(da.Burgers(16), 2), 3),
        T,
        ["setting dt", "Subcycled(model=Burgers"],
    ),
    ("subcycled-memory", lambda: da.Subcycled(MEMORY, 2), T, ["its step follows", "History"]),
    ("subcycled-function", lambda: da.Subcycled(np.sin, 2), T, ["dataclass", "sin"]),
    ("subcycled-class", lambda: da.Subcycled(da.Lorenz63, 2), T, ["dataclass", "Lorenz63"]),
    ("subcycled-no-dt", lambda: da.Subcycled(FOUR, 2), T, ["setting dt", "Linear"]),
    (
        "subcycled-steps",
        lambda: da.Subcycled(da.Lorenz63(), 0),
        V,
        ["steps", ">= 1", "met 0"],
    ),
    (
        "subcycled-unknown-courant",
        lambda: da.Subcycled(da.Lorenz63(), 2, courant=1.0),
        T,
        ["Lorenz63", "no method courant(x)", "1.0", "None"],
    ),
    (
        "subcycled-courant",
        lambda: da.Subcycled(da.models.Kolmogorov(8, wavenumber=2), 2, courant=-1),
        V,
        ["courant positive", "-1", "None"],
    ),
    (
        "interpolated-few",
        lambda: da.InterpolatedRuns(np.eye(3)[:, :2], np.ones((3, 5))),
        V,
        ["met 3 runs", "at least 4", "2 parameters"],
    ),
    (
        "interpolated-shapes",
        lambda: da.InterpolatedRuns(np.arange(5.0), np.ones((5, 2))),
        V,
        ["parameters (S, p)", "met (5,)"],
    ),
    ("subcycled-dmd", lambda: da.Subcycled(DMD, 2), T, ["its step follows", "DMD(n=3, delays=2)"]),
    ("dmd-width", lambda: model(DMD), V, ["DMD(n=3, delays=2)", "(2, 3)", "(..., 6)", "oldest"]),
    ("dmd-nan", lambda: da.DMD.fit(RUNS * np.nan), V, ["of the states of runs (4, 9, 3)", "NaN"]),
    ("dmd-short", lambda: da.DMD.fit(RUNS, 9), V, ["runs have 9 times", "at least 10"]),
    ("dmd-few", lambda: da.DMD.fit(RUNS[:1]), V, ["5 windows of 4", "12 numbers", "rank <= 4"]),
    ("dmd-ridges", lambda: da.DMD.fit(RUNS, 2, ridge=(0.1, 1)), V, ["2 values", "validation"]),
    ("dmd-text", lambda: da.DMD.fit("runs"), T, ["runs must hold real numbers"]),
    ("windowed-width", lambda: PAIR.encode(ones((4, 5))), V, ["(4, 5)", "length=2", "(..., 6)"]),
    ("windowed-class", lambda: da.Windowed(da.POD, 2), T, ["wanted a coder", "class POD"]),
    ("pod-parts", lambda: da.POD.fit_parts([], 2), V, ["parts of 0 states", "r = 2"]),
    ("pod-keep", lambda: da.POD.fit_parts(RUNS, 3, keep=2), V, ["keep", ">= 3", "met 2"]),
    # --- the set-ups of LD-EnSF
    (
        "ld-ensf-sensors",
        lambda: ld_ensf.twin(ld_ensf.kolmogorov(), 1, sensors=65),
        V,
        ["sensors", "65", "64"],
    ),
    (
        "ld-ensf-noise",
        lambda: ld_ensf.twin(ld_ensf.kolmogorov(), 1, noise=1.5),
        V,
        ["noise", "1.5"],
    ),
    # --- parameters
    ("joint-problem", lambda: joint(problem=RESULT), T, ["Problem", "Dataset"]),
    ("joint-name", lambda: joint("depth"), V, ["Lorenz63", "no parameter 'depth'", "'rho'"]),
    (
        "joint-name-inside",
        lambda: joint("depth", problem=twin(model=da.Subcycled(da.Lorenz63(), 2))),
        V,
        ["Lorenz63 has no parameter 'depth'"],
    ),
    (
        "joint-function",
        lambda: joint(problem=twin(model=np.sin)),
        T,
        ["dataclass", "ufunc", "'rho'"],
    ),
    ("joint-names-twice", lambda: joint(["rho", "rho"], p=2), V, ["different", "('rho', 'rho')"]),
    ("joint-names-none", lambda: joint([]), V, ["at least one", "met ()"]),
    (
        "joint-names-number",
        lambda: joint(3),
        T,
        ["names must be text or a sequence", "a mapping", "met 3"],
    ),
    ("joint-shape-number", lambda: joint({"rho": 3}), T, ["names", "{'rho': 3}"]),
    ("joint-shape-zero", lambda: joint({"rho": (0,)}), V, ["shapes positive", "(0,)"]),
    ("joint-prior", lambda: joint(prior=ones(1)), T, ["prior of the parameters", "ndarray"]),
    ("joint-prior-size", lambda: joint(p=2), V, ["2 components", "'rho' have 1"]),
    ("joint-prior-field", lambda: joint({"rho": (2, 3)}, p=2), V, ["have 6", "every point"]),
    ("joint-noise", lambda: joint(noise=Q4), V, ["dimension 4", "wanted 1"]),
    ("joint-noise-negative", lambda: joint(noise=-1.0), V, ["not negative", "-1"]),
    ("joint-truth-alone", lambda: joint(problem=lorenz(), truth=28.0), V, ["truth", "neither"]),
    ("joint-truth-names", lambda: joint(truth={"sigma": 1.0}), V, ["'sigma'", "wanted 'rho'"]),
    (
        "joint-truth-shape",
        lambda: joint(truth=ones((7, 1))),
        V,
        ["(7, 1)", "(4, 1)", "(..., K, p)"],
    ),
    (
        "joint-truth-unknown",
        lambda: joint("by", problem=twin(model=Shift())),
        T,
        ["by is None", "give truth="],
    ),
    (
        "joint-truth-of-a-vector",
        lambda: joint("by", problem=twin(model=Shift(0.1 * ones(3)))),
        V,
        ["by has shape (3,)", "wanted ()", "give truth="],
    ),
    (
        "joint-ensembles",
        lambda: joint(prior=da.Ensemble(ones((4, 1))), problem=replace(twin(), prior=CLOUD)),
        V,
        ["5 members", "one of 4", "same number"],
    ),
    (
        "joint-weights",
        lambda: joint(
            prior=da.Ensemble(ones((5, 1)), ones(5) / 5),
            problem=replace(twin(), prior=da.Ensemble(E64, ones(5) / 5)),
        ),
        V,
        ["both ensembles have weights", "resample"],
    ),
    (
        "joint-batch",
        lambda: joint(
            prior=da.Gaussian(ones((2, 1)), da.Diagonal(ones(1))), problem=twin(batch=3)
        ),
        V,
        ["(3,)", "(2,)", "broadcast"],
    ),
    (
        "parts-of-another-problem",
        lambda: da.state_and_parameters(RESULT, twin()),
        T,
        ["with_parameters", "Problem of Lorenz63"],
    ),
    (
        "parts-of-nothing",
        lambda: da.state_and_parameters(RESULT, 3),
        T,
        ["with_parameters", "int"],
    ),
    (
        "parts-of-another-result",
        lambda: da.state_and_parameters(RESULT, joint()),
        V,
        ["3 components", "3 of the state and 1"],
    ),
    ("xarray-irregular", lambda: series([0.01, 0.025]), V, ["observation 1", "1.5", "regrid"]),
    ("xarray-unsorted", lambda: series([0.02, 0.01]), V, ["observation 1", "-1", "sort"]),
    ("xarray-twice", lambda: series([0.01, 0.01]), V, ["observation 1", "0 model steps"]),
    ("xarray-half-start", lambda: series([1, 2], start=0.505), V, ["observation 0", "49.5"]),
    ("xarray-no-unit", lambda: series(DAYS, start="2020-01-01"), V, ["dates", "unit="]),
    (
        "xarray-no-start",
        lambda: series(DAYS, unit=np.timedelta64(1, "D")),
        V,
        ["dates", "start=", "met None"],
    ),
    (
        "xarray-dims",
        lambda: series([0.01], np.zeros((1, 3)), time="t"),
        V,
        ["'t'", "('time', 'y')", "stack"],
    ),
    (
        "xarray-no-coordinate",
        lambda: da.Problem.from_xarray(
            xr.DataArray(np.zeros((2, 3)), dims=("time", "y")), da.Lorenz63(), SEE, PRIOR
        ),
        V,
        ["coordinate", "none", "assign_coords"],
    ),
    (
        "xarray-no-dt",
        lambda: da.Problem.from_xarray(RESULT["observation"], da.identity, SEE, PRIOR),
        V,
        ["no attribute dt", "dt="],
    ),
    (
        "xarray-array",
        lambda: da.Problem.from_xarray(ones((4, 3)), None, SEE, PRIOR),
        T,
        ["ndarray"],
    ),
    (
        "xarray-dataset",
        lambda: da.Problem.from_xarray(RESULT, None, SEE, PRIOR),
        T,
        ["DataArray", "Dataset"],
    ),
    # --- methods
    ("etkf-one-member", lambda: da.ETKF(1), V, [">= 2", "met 1"]),
    ("enkf-one-member", lambda: da.EnKF(1), V, [">= 2", "met 1"]),
    ("members-float", lambda: da.ETKF(10.0), V, ["integer", "10.0"]),
    ("members-words", lambda: da.ETKF("ten"), V, ["integer", "'ten'"]),
    ("inflation-zero", lambda: da.ETKF(5, inflation=0.0), V, ["positive", "met 0.0"]),
    ("inflation-negative", lambda: da.EnKF(5, inflation=-1), V, ["positive", "-1"]),
    ("inflation-nan", lambda: da.ETKF(5, inflation=np.nan), V, ["a finite number", "RTPS", "nan"]),
    ("inflation-words", lambda: da.ETKF(5, inflation="much"), V, ["a finite number", "'much'"]),
    ("inflation-none", lambda: da.ExtendedKF(None), V, ["inflation", "a finite number", "None"]),
    (
        "inflation-shape",
        lambda: run(twin(batch=3), da.ETKF(5, inflation=np.array([1.0, 1.1]))),
        V,
        ["(2,)", "batch axes (3,)"],
    ),
    ("ukf-alpha", lambda: da.UKF(0.0), V, ["0 < alpha <= 1", "0.0"]),
    ("ukf-beta", lambda: da.UKF(1.0, beta=-0.5), V, ["beta >= 0", "-0.5"]),
    (
        "ukf-sign",
        lambda: run(twin(), da.UKF(1, beta=0, kappa=-1)),
        V,
        ["negative covariance", "kappa >= 0"],
    ),
    ("ukf-kappa", lambda: run(twin(), da.UKF(kappa=-3)), V, ["above -n = -3", "met -3"]),
    ("ukf-inflation", lambda: da.UKF(inflation=0), V, ["positive", "met 0"]),
    ("rts-nonlinear", lambda: run(twin(), da.RTS()), V, ["Lorenz63", "curvature", "ExtendedKF"]),
    ("oi-factor", lambda: da.OI(factor=0), V, ["factor", "met 0"]),
    ("oi-no-truth", lambda: run(lorenz(), da.OI()), V, ["no truth", "OI(B=...)"]),
    ("oi-none", lambda: da.OI(None), V, ["B must be", "climatology", "prior", "None"]),
    ("oi-name", lambda: da.OI("truth"), V, ["B must be", "climatology", "prior", "'truth'"]),
    ("oi-point", lambda: run(twin(prior=POINT), da.OI("prior")), V, ["Point", "OI(B=...)"]),
    ("climate-none", lambda: da.Climatology(cov=None), V, ["cov must be", "climatology"]),
    ("var3d-none", lambda: da.Var3D(None), V, ["B must be", "climatology", "prior", "None"]),
    ("var4d-none", lambda: da.Var4D(B=None), V, ["B must be", "climatology", "prior", "None"]),
    ("weak-none", lambda: da.WeakVar4D(B=None), V, ["B must be", "climatology", "None"]),
    ("oi-width", lambda: run(lorenz(), da.OI(ones(2))), V, ["dimension 2", "state's 3"]),
    ("oi-shapes", lambda: oi(ones(3), np.eye(2), ones(3), np.eye(3), ones(3), R3), V, ["(2, 2)"]),
    ("climate-no-truth", lambda: run(lorenz(), da.Climatology()), V, ["no truth", "cov=..."]),
    ("climate-short", lambda: run(twin(1), da.Climatology()), V, ["truth of one time"]),
    (
        "climate-mean",
        lambda: run(twin(), da.Climatology(ones(2), cov=ones(3))),
        V,
        ["(2,)", "(3,)"],
    ),
    ("climate-words", lambda: da.Climatology("warm"), T, ["mean", "real numbers"]),
    (
        "ukf-shapes",
        lambda: ukf(ones(3), np.eye(3), ones(3), np.eye(2), ones(3), R3),
        V,
        ["(2, 2)", "(..., k, m)"],
    ),
    (
        "letkf-no-localization",
        lambda: da.LETKF(5, localization=4.0),
        T,
        ["Localization.ring", "4.0"],
    ),
    (
        "ensrf-no-localization",
        lambda: da.EnSRF(5, inflation=1.0, localization=4.0),
        T,
        ["Localization.ring", "4.0"],
    ),
    (
        "letkf-workers",
        lambda: da.LETKF(5, localization=RING, workers=0),
        V,
        ["workers", ">= 1", "met 0"],
    ),
    ("radius-zero", lambda: da.Localization.ring(4, 0), V, ["radius", "positive", "met 0"]),
    ("radius-words", lambda: da.Localization.ring(4, "far"), V, ["radius", "positive", "'far'"]),
    ("period-negative", lambda: da.Localization(ones(4), 1.0, -1), V, ["period", ">= 0", "-1"]),
    (
        "coordinates-axes",
        lambda: da.Localization(ones((2, 2, 2)), 1.0),
        V,
        ["(2, 2, 2)", "(n, d)"],
    ),
    ("coordinates-infinite", lambda: da.Localization([0, np.inf], 1.0), V, ["finite", "NaN"]),
    ("coordinates-half-nan", lambda: da.Localization([[0, np.nan]], 1.0), V, ["every axis"]),
    ("taper-function", lambda: da.Localization.ring(4, 1.0, np.cos), T, ["Taper", "gaspari_cohn"]),
    ("plane-line", lambda: da.Localization.plane((4,), 1.0), V, ["(..., rows, columns)", "(4,)"]),
    ("localization-size", lambda: run(twin(), local(4)), V, ["4 components", "state's 3"]),
    (
        "radius-batch",
        lambda: run(twin(), local(3, ones(2))),
        V,
        ["radius", "(2,)", "batch axes ()"],
    ),
    (
        "localization-dense",
        lambda: run(twin(observation=da.Observation(da.identity, np.eye(3) + 0.1)), local(3)),
        V,
        ["independent", "Dense", "R^-1/2"],
    ),
    (
        "localization-where",
        lambda: run(twin(observation=da.Observation(np.eye(3), ones(3))), local(3)),
        V,
        ["locations (m, 1)", "identity, Every, Subset and Pointwise"],
    ),
    (
        "localization-axes",
        lambda: run(
            twin(observation=da.Observation(da.identity, ones(3), ones((3, 2)))), local(3)
        ),
        V,
        ["(3, 2)", "(3, 1)"],
    ),
    ("rtps-negative", lambda: da.RTPS(-0.1), V, ["alpha", "[0, 10]", "-0.1"]),
    ("rtpp-above", lambda: da.RTPP(1.1), V, ["alpha", "[0, 1]", "1.1"]),
    ("multiplicative-zero", lambda: da.Multiplicative(0.0), V, ["positive", "0.0"]),
    ("adaptive-floor", lambda: da.Adaptive(floor=0.0), V, ["floor", "(0, 1000]", "0.0"]),
    ("adaptive-variance", lambda: da.Adaptive(variance=-1), V, ["variance", "-1"]),
    (
        "alpha-shape",
        lambda: run(twin(batch=(2,)), da.ETKF(5, inflation=da.RTPS(0.1 * ones(3)))),
        V,
        ["alpha", "(3,)", "(2,)"],
    ),
    ("rotate-unknown", lambda: da.ETKF(5, rotate="left"), V, ["householder", "'left'"]),
    ("enkfn-xN", lambda: da.EnKFN(5, xN=0.0), V, ["xN must be positive", "0.0"]),
    (
        "enkfn-xN-shape",
        lambda: run(twin(batch=3), da.EnKFN(5, xN=ones(2))),
        V,
        ["xN", "(2,)", "batch axes (3,)"],
    ),
    ("enks-lag", lambda: da.EnKS(5, lag=-1), V, ["lag", ">= 0", "-1"]),
    ("particles-lag", lambda: da.ParticleFilter(5, lag=-1), V, ["lag", ">= 0", "-1"]),
    ("enks-lag-kind", lambda: da.EnKS(5, lag=1.5), V, ["lag", "integer", "1.5"]),
    ("ienks-lag", lambda: da.IEnKS(5, lag=None), V, ["lag", "integer", "None"]),
    ("ienks-iterations", lambda: da.IEnKS(5, iterations=0), V, ["iterations", ">= 1", "0"]),
    ("ienks-tolerance", lambda: da.IEnKS(5, tolerance=-1.0), V, ["tolerance", "[0, 1000]", "-1"]),
    ("ienks-rotate", lambda: da.IEnKS(5, rotate="left"), V, ["householder", "'left'"]),
    ("var3d-window", lambda: da.Var3D(window=0), V, ["window", ">= 1", "0"]),
    ("var3d-factor", lambda: da.Var3D(factor=0.0), V, ["factor", "0.0"]),
    ("var3d-B", lambda: da.Var3D(-np.eye(3)), V, ["not positive definite", "-1"]),
    ("var3d-B-size", lambda: run(twin(), da.Var3D(ones(4))), V, ["dimension 4", "state's 3"]),
    (
        "var3d-no-truth",
        lambda: run(lorenz(), da.Var3D()),
        V,
        ["climatology", "no truth", "Var3D(B="],
    ),
    ("var4d-window", lambda: da.Var4D(2.5), V, ["window", "integer", "2.5"]),
    ("var4d-shift", lambda: da.Var4D(2, shift=3), V, ["shift", "at most", "2", "3"]),
    ("var4d-shift-0", lambda: da.Var4D(2, shift=0), V, ["shift", ">= 1", "0"]),
    ("var4d-inflation", lambda: da.Var4D(inflation=-1.0), V, ["inflation", "-1.0"]),
    ("var4d-B", lambda: da.Var4D(B=np.array([[1.0, 2], [2, 1]])), V, ["not positive definite"]),
    (
        "var4d-factor-shape",
        lambda: run(twin(), da.Var4D(B=ones(3), factor=ones(2))),
        V,
        ["factor"],
    ),
    ("newton-iterations", lambda: da.GaussNewton(0), V, ["iterations", ">= 1", "0"]),
    ("newton-tolerance", lambda: da.GaussNewton(tolerance=0.0), V, ["tolerance", "0.0"]),
    ("cg-inner", lambda: da.IncrementalCG(inner=0), V, ["inner", "0"]),
    ("cg-accuracy", lambda: da.IncrementalCG(accuracy=1.0), V, ["accuracy", "1.0"]),
    ("lbfgs-memory", lambda: da.LBFGS(memory=0), V, ["memory", "0"]),
    ("envar-members", lambda: da.EnVar4D(1), V, ["members", "1"]),
    ("envar-taper", lambda: da.EnVar4D(9, localization=np.eye(3)), T, ["localization", "ndarray"]),
    (
        "envar-taper-size",
        lambda: run(twin(), da.EnVar4D(9, localization=da.Dense(np.eye(4)))),
        V,
        ["localization", "4", "3"],
    ),
    ("envar-solver", lambda: da.EnVar4D(9, solver=da.LBFGS()), T, ["GaussNewton", "LBFGS"]),
    ("var4d-evolve", lambda: da.Var4D(evolve=True, solver=da.LBFGS()), V, ["evolve", "LBFGS"]),
    ("cost-first", lambda: da.Var4D(B=ones(3)).cost(twin(), 4), V, ["first", "0 to 3", "4"]),
    (
        "cost-control",
        lambda: da.Var4D(B=ones(3)).cost(twin())(np.zeros(4)),
        V,
        ["(4,)", "(..., 3)"],
    ),
    ("profile-points", lambda: da.profile(len, np.zeros(2), np.zeros(3)), V, ["(2,)", "(3,)"]),
    ("gradient-text", lambda: da.gradient_test(sum, ["a"]), T, ["x must be an array", "'a'"]),
    ("weak-window", lambda: da.WeakVar4D(0), V, ["window", ">= 1", "0"]),
    ("weak-iterations", lambda: da.WeakVar4D(iterations=1.5), V, ["iterations", "1.5"]),
    ("weak-damping", lambda: da.WeakVar4D(damping=-1.0), V, ["damping", "-1"]),
    ("weak-no-Q", lambda: run(twin(), da.WeakVar4D()), V, ["wants Q", "none", "noise=", "Var4D"]),
    ("weak-Q", lambda: run(twin(), da.WeakVar4D(Q=ones(4))), V, ["Q", "state's dimension 3", "4"]),
    ("weak-B", lambda: weak(B=ones(2)), V, ["covariance", "state's 3", "dimension 2"]),
    ("weak-B-singular", lambda: weak(B=0 * ones(3)), V, ["no inverse", "B given", "full rank"]),
    (
        "weak-Q-rank",
        lambda: run(twin(), da.WeakVar4D(Q=da.Rows(ones((1, 3))))),
        V,
        ["Q", "rank 1", "3", "RTS"],
    ),
    ("weak-Q-zero", lambda: run(twin(), da.WeakVar4D(Q=0 * ones(3))), V, ["zero variance"]),
    ("weak-point", lambda: weak(prior=da.Point(ones(3))), V, ["Point prior", "no inverse", "B="]),
    ("weak-start", lambda: weak(start=ones((4, 3))), V, ["start", "(4, 3)", "(..., 5, 3)"]),
    ("weak-short", lambda: CHAIN(ones((2, 3))), V, ["(2, 3)", "(..., T + 1, 3)", "at least 4"]),
    (
        "blocks",
        lambda: block_cholesky(ones((3, 2, 2)), ones((3, 2, 2))),
        V,
        ["(3, 2, 2)", "T - 1"],
    ),
    (
        "ienks-image",
        lambda: gauss_newton(CLOUD, first, Y64[:4], ones(3), R3),
        V,
        ["(5, 3)", "(4, 3)"],
    ),
    ("particles-one", lambda: da.ParticleFilter(1), V, [">= 2", "met 1"]),
    (
        "particles-width",
        lambda: da.ParticleFilter(9, regularization=-1),
        V,
        ["regularization", "-1"],
    ),
    (
        "particles-words",
        lambda: da.ParticleFilter(9, regularization="some"),
        V,
        ["regularization", "'some'"],
    ),
    (
        "particles-share",
        lambda: da.ParticleFilter(9, regularization=0, resample_below=2),
        V,
        ["resample_below", "met 2"],
    ),
    (
        "particles-shape",
        lambda: run(twin(batch=3), da.ParticleFilter(9, regularization=np.array([1.0, 1.1]))),
        V,
        ["regularization", "(2,)", "(3,)"],
    ),
    (
        "particles-prior",
        lambda: run(lorenz(prior=da.Ensemble(E64)), da.ParticleFilter(8)),
        V,
        ["5 members", "8 were asked"],
    ),
    (
        "reweight-shapes",
        lambda: reweight(np.zeros(5), np.zeros((5, 3)), np.zeros(2), R3),
        V,
        ["(5, 3)", "(2,)"],
    ),
    ("ensf-steps", lambda: da.EnSF(9, steps=0), V, ["steps", "0"]),
    ("ensf-eps", lambda: da.EnSF(9, eps_beta=0.0), V, ["eps_beta", "0"]),
    ("ensf-exact", lambda: da.EnSF(9, damping="exact"), V, ["mixture", "one-sample"]),
    ("ensf-clip", lambda: da.EnSF(9, clip=1e3), V, ["clip", "euler"]),
    (
        "ensf-regression",
        lambda: da.EnSF(9, score="mixture", regression=da.Localization.ring(3, 1.0)),
        V,
        ["regression", "one-sample", "mixture"],
    ),
    (
        "ensf-regression-of-what",
        lambda: run(
            twin(observation=da.Observation(lambda x: x[..., :1] + x[..., 1:2], [1.0], [[0.0]])),
            da.EnSF(9, regression=da.Localization.ring(3, 1.0)),
        ),
        V,
        ["regression", "Pointwise", "met"],
    ),
    ("enff-sigma", lambda: da.EnFF(9, sigma_min=0.0), V, ["sigma_min", "0"]),
    ("enff-vjp", lambda: da.EnFF(9, vjp=np.multiply), V, ["vjp", "euler"]),
    ("pointwise-at", lambda: da.Pointwise(np.arctan, at=np.sin), T, ["at", "Every", "sin"]),
    (
        "ensf-shapes",
        lambda: da.methods.ensf(
            np.zeros((9, 3)), np.zeros(2), da.Observation(da.identity, R3), None, da.EnSF(9)
        ),
        V,
        ["(9, 3)", "(2,)", "3"],
    ),
    (
        "local-place",
        lambda: da.LocalParticleFilter(9, localization=4.0),
        T,
        ["Localization", "4.0"],
    ),
    (
        "local-width",
        lambda: da.LocalParticleFilter(
            9, localization=da.Localization.ring(3, 1.0), inflation=1.0, regularization=-0.1
        ),
        V,
        ["regularization", "-0.1"],
    ),
    (
        "local-correlated",
        lambda: run(
            twin(observation=da.Observation(da.identity, da.Dense(np.eye(3) + 1))),
            da.LocalParticleFilter(9, localization=da.Localization.ring(3, 1.0)),
        ),
        V,
        ["independent", "Dense"],
    ),
    (
        "ensemble-prior-size",
        lambda: run(lorenz(prior=da.Ensemble(E64)), da.ETKF(8)),
        V,
        ["5 members", "8 were asked", "Gaussian"],
    ),
    (
        "ensemble-prior-weights",
        lambda: run(lorenz(prior=da.Ensemble(E64, ones(5) / 5))),
        V,
        ["weights (5,)", "resample"],
    ),
    (
        "ensemble-twin-weights",
        lambda: twin(prior=da.Ensemble(E64, ones(5) / 5)),
        V,
        ["weights (5,)", "resample"],
    ),
    ("kf-nonlinear", lambda: run(twin(), da.KF()), V, ["Lorenz63", "curvature", "ExtendedKF"]),
    (
        "kf-advection-at-rest",
        lambda: run(model(da.Lorenz96(8), 8), da.KF()),
        V,
        ["Lorenz96", "ExtendedKF"],
    ),
    (
        "kf-odd-at-zero",
        lambda: run(
            da.Problem(lambda x: x**3, SEE, da.Gaussian(np.zeros(3), R3), np.zeros((4, 3))),
            da.KF(),
        ),
        V,
        ["curvature", "ExtendedKF"],
    ),
    (
        "etkf-mixed",
        lambda: etkf(tensor(5, 3), Y64, ones(3), R3),
        T,
        ["numpy and torch", "convert"],
    ),
    (
        "etkf-devices",
        lambda: etkf(tensor(5, 3), tensor(5, 3).to("meta"), tensor(3), R3),
        V,
        ["mixed devices", "cpu", "meta", "wanted one"],
    ),
    ("etkf-text", lambda: etkf(E64, Y64, ["a"] * 3, R3), T, ["y must be an array", "list"]),
    ("etkf-vector", lambda: etkf(E64[0], Y64, ones(3), R3), V, ["E (3,)", "(..., N, n)"]),
    ("etkf-members", lambda: etkf(E64, Y64[:4], ones(3), R3), V, ["(5, 3)", "(4, 3)"]),
    ("etkf-R", lambda: etkf(E64, Y64, ones(3), Q4), V, ["R of dimension 4", "R of m"]),
    *(
        (
            f"{f.__name__}-weights",
            lambda f=f, a=a: f(WEIGHTED, Y64, ones(3), R3, *a),
            V,
            ["weights (5,)"],
        )
        for f, a in ((etkf, ()), (denkf, ()), (ensrf, ()), (enkf_n, ()), (enkf, (Y64,)))
    ),
    ("etkf-R-one", lambda: etkf(E64, Y64, ones(3), da.Diagonal([1.0])), V, ["dimension 1"]),
    ("enkf-one", lambda: enkf(E64[:1], Y64[:1], ones(3), R3, D64[:1]), V, ["N >= 2", "(1, 3)"]),
    ("enkf-errors", lambda: enkf(E64, Y64, ones(3), R3, D64[0]), V, ["D (3,)", "(..., 5, 3)"]),
    (
        "kalman-R-one",
        lambda: kalman_update(ones(3), np.eye(3), ones(3), np.eye(3), ones(3), da.Diagonal([1.0])),
        V,
        ["R of dimension 1", "(..., m, n)"],
    ),
    ("linearize-numpy-only", lambda: da.linearize(numpy_only, ones(3)), T, ["finite_difference"]),
    ("linearize-detached", lambda: da.linearize(detached, ones(3)), V, ["graph", "finite_diff"]),
    (
        "linearize-parameters-only",
        lambda: da.linearize(lambda x: LINEAR(0 * detached(x)), np.ones(3, "f4")),
        V,
        ["graph", "finite_difference"],
    ),
    (
        "extended-numpy-only",
        lambda: run(model(numpy_only), da.ExtendedKF()),
        T,
        ["numpy_only", "finite_difference"],
    ),
    # --- verbs and scores
    ("problem-kind", lambda: run(RESULT), T, ["Problem", "Dataset", "twin"]),
    ("method-class", lambda: run(twin(), da.ETKF), T, ["ETKF(members=20)", "class"]),
    ("method-few", lambda: run(twin(), Few()), V, ["Few yielded 1", "wanted 4"]),
    ("keep-unknown", lambda: run(twin(), keep=("nonsense",)), V, ["nonsense", "members"]),
    ("ranks-without-truth", lambda: run(lorenz(), keep=("ranks",)), V, ["truth", "drop 'ranks'"]),
    ("ranks-of-gaussian", lambda: run(twin(), da.ExtendedKF(), keep=("ranks",)), T, ["Gaussian"]),
    ("seed-negative", lambda: run(twin(), seed=-3), V, ["non-negative integer", "-3"]),
    ("seed-float", lambda: run(twin(), seed=1.5), V, ["integer", "1.5"]),
    ("seed-none", lambda: run(twin(), seed=None), V, ["integer", "None"]),
    ("index-single", lambda: twin()[0], X, ["single experiment", "no batch"]),
    ("index-outside", lambda: twin(batch=3)[3], X, ["(3,)", "outside the batch"]),
    ("compare-one-method", lambda: da.compare(twin(), da.ETKF(5)), T, ["sequence", "ETKF"]),
    ("compare-empty", lambda: da.compare(twin(), []), V, ["one or more", "[]"]),
    (
        "compare-labels",
        lambda: da.compare(twin(), [da.ETKF(5), da.ETKF(5)]),
        V,
        ["different labels", "ETKF(members=5)", "mapping"],
    ),
    (
        "compare-seeds-count",
        lambda: da.compare(twin(batch=3), [da.ETKF(5)], seeds=2),
        V,
        ["2 seeds", "(3,)", "one each"],
    ),
    ("compare-seeds-zero", lambda: da.compare(twin(), [da.ETKF(5)], 0), V, ["at least one", "0"]),
    (
        "compare-seeds-float",
        lambda: da.compare(twin(), [da.ETKF(5)], [0.5]),
        V,
        ["integers", "0.5"],
    ),
    ("compare-seeds-twice", lambda: da.compare(twin(), [da.ETKF(5)], [1, 1]), V, ["different"]),
    (
        "compare-chunk",
        lambda: da.compare(twin(), [da.ETKF(5)], chunk=0),
        V,
        ["chunk", ">= 1", "0"],
    ),
    (
        "compare-executor",
        lambda: da.compare(twin(), [da.ETKF(5)], 2, "dask"),
        T,
        ["Executor", "'dask'", "get_executor()"],
    ),
    ("compare-class", lambda: da.compare(twin(), {"a": da.ETKF}), T, ["a method such as"]),
    (
        "compare-to",
        lambda: da.compare(twin(), [da.ETKF(5)], to="sweep.nc"),
        V,
        ["ends in .zarr", "sweep.nc"],
    ),
    (
        "compare-batch",
        lambda: da.compare(twin(batch=(2, 2)), [da.ETKF(5)]),
        V,
        ["one batch axis", "(2, 2)"],
    ),
    ("score-skip", lambda: da.score(RESULT, skip=4), V, ["skip = 4", "0 <= skip < 4"]),
    ("score-skip-negative", lambda: da.score(RESULT, skip=-1), V, ["skip = -1", "0 <= skip"]),
    ("lost-skip", lambda: da.lost(RESULT, skip=9), V, ["skip = 9", "0 <= skip < 4"]),
    ("rmse-no-truth", lambda: da.rmse(NO_TRUTH), V, ["needs the truth", "innovations"]),
    ("crps-no-truth", lambda: da.crps(NO_TRUTH), V, ["needs the truth"]),
    ("ranks-not-kept", lambda: da.rank_histogram(RESULT), V, ["no ranks", "keep=('ranks',)"]),
    (
        "ranks-skip",
        lambda: da.rank_histogram(run(twin(), keep="ranks"), skip=4),
        V,
        ["skip = 4", "0 <= skip < 4"],
    ),
    (
        "ranks-stage",
        lambda: da.rank_histogram(run(twin(), keep="ranks"), "smoothed"),
        V,
        ["'smoothed'", "forecast"],
    ),
    ("scoreboard-one-run", lambda: da.scoreboard(RESULT), V, ["compare", "score(result)"]),
    (
        "lyapunov-one",
        lambda: da.lyapunov_exponents(da.Lorenz63(), ones((1, 3)), 5),
        V,
        ["b >= 2", "(1, 3)"],
    ),
    (
        "lyapunov-count",
        lambda: da.lyapunov_exponents(da.Lorenz63(), ones((2, 3)), 5, 4),
        V,
        ["count = 4", "1 to 3"],
    ),
    (
        "lyapunov-spinup",
        lambda: da.lyapunov_exponents(da.Lorenz63(), ones((2, 3)), 5, spinup=-1),
        V,
        ["spinup", ">= 0", "met -1"],
    ),
    (
        "ldnet-parameters",
        lambda: LDNET.latents(tensor(4, 2), 3),
        V,
        ["u of LDNet wants (..., 1)", "(4, 2)"],
    ),
    (
        "ldnet-changing",
        lambda: LDNET.latents(tensor(1)),
        V,
        ["(..., T, 1)", "for constant u say how many times"],
    ),
    (
        "ldnet-points",
        lambda: LDNET.reconstruct(tensor(4, 3), tensor(5, 3)),
        V,
        ["points of LDNet wants (P, 2)", "(5, 3)"],
    ),
    (
        "refit-ridges",
        lambda: da.neural.refit(LDNET, (tensor(2, 1), tensor(2, 3, 5, 2)), tensor(5, 2)),
        V,
        ["several ridges want validation data", "met none"],
    ),
    (
        "subsampled-points",
        lambda: da.neural.Subsampled(tensor(2, 3, 5, 2), tensor(4, 2)),
        V,
        ["fields (S, T, P, C)", "(2, 3, 5, 2)", "(4, 2)"],
    ),
    (
        "vae-states",
        lambda: da.neural.VAE.dense(6, 2, 2, (4,)).encode(torch.ones(3, 5)),
        V,
        ["states of VAE wants (..., 6)", "(3, 5)"],
    ),
    (
        "unet-grid",
        lambda: da.neural.UNet(1, 1, (4, 4))(torch.ones(1, 1, 6, 7)),
        V,
        ["(b, 1, h, w)", "2 divides", "(1, 1, 6, 7)"],
    ),
    ("streams-count", lambda: Streams(0, [1, 2, 3], (2,)), V, ["3 seeds", "wanted 2"]),
    ("only-scalars", lambda: array_namespace(1.0, None), T, ["at least one", "scalars"]),
]


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:__array_wrap__")
@pytest.mark.parametrize(("act", "kind", "words"), [pytest.param(*r[1:], id=r[0]) for r in TABLE])
def test_bad_input_is_refused_in_words(act, kind, words):
    with pytest.raises(kind) as caught:
        act()
    message = str(caught.value)
    missing = [w for w in words if w not in message]
    assert not missing, f"{missing} not in: {message}"


def test_the_table_has_no_row_twice():
    names = [row[0] for row in TABLE]
    assert len(set(names)) == len(names)
    assert all(row[3] for row in TABLE)


# --- hard inputs that must work -----------------------------------------------------------------

METHODS = (da.ETKF(5), da.ETKF(2, rotate="haar"), da.EnKF(5), da.EnKF(2), da.ExtendedKF())
each = pytest.mark.parametrize(
    "method", METHODS, ids=["ETKF", "haar", "EnKF", "EnKF2", "ExtendedKF"]
)


def linear(n=3, m=2, cycles=4, **settings):
    """A damped linear model seen through a matrix."""
    H = np.random.default_rng(1).normal(size=(m, n))
    see = da.Observation(H, ones(m))
    prior = da.Gaussian(ones(n), ones(n))
    return da.twin(da.Linear(0.9 * np.eye(n)), see, prior, cycles, **settings)


@pytest.mark.parametrize(
    ("n", "m", "cycles", "batch"),
    [(1, 1, 1, ()), (1, 1, 3, (1,)), (3, 7, 2, (2,)), (2, 1, 1, (3, 4)), (3, 2, 2, (1, 1))],
)
@pytest.mark.parametrize("method", [*METHODS, da.KF()], ids=lambda m: type(m).__name__)
def test_the_smallest_and_oddest_sizes(method, n, m, cycles, batch):
    problem = linear(n, m, cycles, batch=batch)
    kept = ("members",) if hasattr(method, "members") else ("moments",)
    result = run(problem, method, keep=kept)
    assert result["mean"].shape == (*batch, cycles, 2, n)
    assert da.score(result)["lost"].shape == batch
    before, after = (result["mean"].sel(stage=s).values for s in ("forecast", "analysis"))
    H, y = problem.observation.operator(np.eye(n)).T, problem.data
    if kept == ("members",):  # the Kalman update with the members' own covariance
        E = result["members"].sel(stage="forecast").values
        A = E - E.mean(axis=-2, keepdims=True)
        P = A.swapaxes(-1, -2) @ A / (E.shape[-2] - 1)
    else:  # the exact filter's covariance, from the equations of the textbook
        P, size = np.empty((cycles, n, n)), np.eye(n)
        for k in range(cycles):
            P[k] = 0.81 * size
            size = np.linalg.inv(np.linalg.inv(P[k]) + H.T @ H)
    K = P @ H.T @ np.linalg.inv(H @ P @ H.T + np.eye(m))
    wanted = before + (K @ (y - before @ H.T)[..., None])[..., 0]
    assert np.allclose(after, wanted, rtol=0, atol=1e-10)


@each
def test_nothing_observed_leaves_the_forecast(method):
    problem = linear(batch=2)
    data = problem.data.copy()
    data[0, 1] = data[:, 2] = data[1, 3, 0] = np.nan
    for d in (data, data * np.nan):
        result = run(replace(problem, data=d), method)
        change = abs(result["mean"].diff("stage")).max("x").values[..., 0]
        empty = np.isnan(d).all(-1)
        assert (change[empty] < 1e-15).all()
        assert (change[~empty] > 1e-6).all()


@each
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_layout_of_the_arrays_does_not_matter(method, library):
    problem = linear(batch=2)
    like = tensor(1) if library == "torch" else ones(1)
    wanted = run(problem.to(like), method)["mean"]
    frozen = problem.data.copy()
    frozen.flags.writeable = False
    back = np.ascontiguousarray(problem.data[:, :, ::-1])[:, :, ::-1]
    prior = da.Gaussian(ones((2, 3))[:, ::-1], np.broadcast_to(1.0, (3,)))
    for data in (np.asfortranarray(problem.data), back, frozen):
        changed = replace(problem, data=data, prior=prior).to(like)
        assert np.array_equal(run(changed, method)["mean"], wanted)


@pytest.mark.filterwarnings("ignore:.*is not resolved")  # a spread of 1e-150, see test_resolved
@pytest.mark.filterwarnings("ignore:round-off moves")
@each
def test_absurd_numbers_end_as_divergence_or_not_at_all(method):
    problem = linear(batch=2)
    data = problem.data.copy()
    data[1, 1:] = 1.7e308
    result = run(replace(problem, data=data), method)  # no exception, no warning
    assert not result["diverged"][0]
    for variance in (1e-300, 1e300):
        changed = replace(problem, observation=replace(problem.observation, noise=[variance] * 2))
        assert np.isfinite(run(changed, method)["mean"]).all()


@pytest.mark.filterwarnings("ignore:round-off moves")  # in units of so small a spread
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("ratio", [1e-1, 1e-4, 1e-7, 1e-10, 1e-15])
def test_etkf_stays_exact_when_errors_are_far_smaller_than_the_spread(dtype, ratio):
    """eigh loses the small eigenvalues below eps times the largest; the transform must not."""
    E = np.random.default_rng(0).normal(size=(10, 6))
    y, R = np.array([0.1, 0.2, 0.3]), ratio**2 * ones(3)
    a = etkf(
        E.astype(dtype), E[:, :3].astype(dtype), y.astype(dtype), da.Diagonal(R.astype(dtype))
    )
    P, H = np.cov(E.T), np.eye(3, 6)
    K = P @ H.T @ np.linalg.inv(H @ P @ H.T + np.diag(R))
    tolerance = 1e-5 if dtype is np.float32 else 1e-9
    assert np.allclose(a.mean, E.mean(0) + K @ (y - E[:, :3].mean(0)), rtol=0, atol=tolerance * 10)
    assert np.allclose(a.anomalies.mean(0), 0, atol=tolerance)
    assert np.allclose(np.cov(a.members.T), P - K @ H @ P, rtol=0, atol=tolerance * 10)


@each
def test_a_float32_problem_stays_float32(method):
    problem = linear().to(np.zeros(1, np.float32))
    changed = replace(method, inflation=np.float64(1.02))  # a strong dtype in NumPy 2
    assert run(problem, changed)["mean"].dtype == np.float32


def test_zero_spread_stays_zero():
    same = replace(linear(), prior=da.Ensemble(ones((5, 3))))
    for method in (da.ETKF(5), da.EnKF(5), da.ETKF(5, rotate="householder")):
        result = run(same, method)
        assert np.allclose(result["std"], 0, atol=1e-15)
        assert np.allclose(result["mean"].diff("stage"), 0, atol=1e-15)


def test_a_number_keeps_its_shape_on_the_way_to_torch():
    assert convert(np.array(3.0), tensor(1)).shape == ()
    assert lift(np.array(1.5), tensor(1), ()).shape == (1, 1)


def test_masked_arrays_and_matrices_lose_no_meaning():
    data = np.ma.masked_greater(np.arange(12.0).reshape(4, 3), 10.0)
    assert np.isnan(lorenz(data=data).data).sum() == 1
    with pytest.warns(PendingDeprecationWarning):
        C = np.asmatrix(2 * np.eye(2))  # its * is a matrix product
    assert type(da.Dense(C).values) is np.ndarray


def test_uint8_indices_are_no_mask_in_torch():
    H = da.Subset(np.array([1, 0, 1], np.uint8))
    x = np.array([3.0, 4.0, 5.0])
    assert np.array_equal(H(x), [4, 3, 4])
    assert convert_tree(H, tensor(1))(torch.as_tensor(x)).tolist() == [4, 3, 4]


def test_a_big_seed_is_still_one_seed_each():
    """2**63 + 1 in floating point would be 2**63."""
    a, b = (Streams(0, 2**63 + i).normal((3,), ones(1)) for i in (0, 1))
    pair = Streams(0, 2**63, (2,)).normal((3,), ones(1))
    assert np.array_equal(pair, [a, b])
    assert not np.array_equal(a, b)


# --- batches ------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (2, 1, 3), (1, 4, 3)])
def test_a_prior_of_fewer_axes_belongs_to_its_own_experiments(method, shape):
    """`problem[b]` follows broadcasting: prior (4, n) in a batch (2, 4) is indexed by b[1]."""
    mean = np.arange(float(np.prod(shape))).reshape(shape)
    problem = replace(linear(batch=(2, 4)), prior=da.Gaussian(mean, da.Diagonal(1 + mean)))
    together = run(problem, method)["mean"].values
    for flat, b in enumerate(np.ndindex(2, 4)):
        alone = run(problem[b], method, seed=flat)["mean"]
        assert np.allclose(together[b], alone, rtol=0, atol=1e-12 * 100)
    rows = run(problem[1], method, seed=4)["mean"]
    assert np.allclose(together[1], rows, rtol=0, atol=1e-12 * 100)
    assert problem[0, 1:].batch == (3,)


@each
def test_errors_and_sensors_of_each_experiment_go_with_it(method):
    R = da.Diagonal(1 + np.arange(6.0).reshape(2, 3))
    still = da.twin(da.Lorenz63(), da.Observation(da.identity, R), PRIOR, 3, batch=2)
    few = da.Observation(da.Subset([0]), da.Diagonal(R.variances[:, :1]))
    moving = da.twin(
        da.Lorenz63(), da.Moving([few, still.observation, few]), PRIOR, 3, noise=R, batch=2
    )
    for problem in (still, moving, moving.to(tensor(1))):
        together = run(problem, method)["mean"].values
        for b in (0, 1):
            alone = run(problem[b], method, seed=b)["mean"]
            assert np.allclose(together[b], alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("width", [1, 6])
def test_parameters_of_each_experiment_go_with_it(width):
    forcing = 8 + np.random.default_rng(0).random((3, 1, width))
    prior = da.Gaussian(np.arange(6.0), ones(6))
    see = da.Observation(da.identity, ones(6))
    problem = da.twin(da.Lorenz96(6, forcing), see, prior, 3, batch=3)
    together = run(problem)["mean"].values
    for b in range(3):
        assert same_bits(together[b], run(problem[b], seed=b)["mean"])


def test_a_loop_over_a_batch_ends():
    assert len(list(linear(batch=3))) == 3
    assert len(list(replace(linear(), prior=da.Gaussian(ones((1, 3)), ones(3))))) == 1


def test_a_setting_swept_over_one_of_two_axes():
    inflation = np.array([[1.0], [1.1], [1.2]])
    problem = linear(batch=(3, 2))
    together = run(problem, da.ETKF(5, inflation=inflation))["mean"].values
    for flat, b in enumerate(np.ndindex(3, 2)):
        alone = run(problem[b], da.ETKF(5, inflation=inflation[b[0], 0]), seed=flat)["mean"]
        assert same_bits(together[b], alone)


# --- life of a problem and of a run -------------------------------------------------------------


@each
def test_copies_and_second_runs_are_the_same(method):
    problem = replace(linear(n=4), shape=(2, 2), model=Halve(), observation=HALF)
    wanted = run(problem, method)["mean"]
    for p, m in (
        (problem, method),
        (copy.deepcopy(problem), copy.deepcopy(method)),
        (pickle.loads(pickle.dumps(problem)), pickle.loads(pickle.dumps(method))),
    ):
        p.validated()
        assert np.array_equal(run(p, m)["mean"], wanted)
        p._observe(0)  # fills the cache of bordered operators, which the copies then carry


@dataclass(frozen=True)
class Halve:
    def __call__(self, x):
        return x / 2


HALF = da.Observation(da.Subset((np.array([0, 1]), np.array([1, 1]))), 2 * ones(2))


def test_a_copied_cache_of_operators_is_not_trusted():
    problem = replace(linear(n=4), shape=(2, 2), model=Halve(), observation=HALF)
    problem._observe(0)
    twin = copy.copy(problem)
    other = replace(HALF, noise=da.Diagonal(3 * ones(2)))
    object.__setattr__(twin, "observation", other)
    twin.__dict__["_bordered"] = {id(other): next(iter(problem._bordered.values()))}
    assert twin._observe(0).noise is other.noise


@pytest.mark.parametrize("recording", [True, False])
def test_errors_and_breaks_leave_gradients_and_warnings_as_they_were(recording):
    calls = []

    def fails(x):
        calls.append(1)
        if len(calls) > 6:
            raise KeyError("a model that fails in the third cycle")
        return x

    prior = da.Gaussian(tensor(3), tensor(3))
    before = torch.is_grad_enabled(), np.geterr()
    with torch.set_grad_enabled(recording):
        with pytest.raises(KeyError, match="third cycle"):
            run(lorenz(model=fails, prior=prior))
        assert torch.is_grad_enabled() is recording
        cycles = da.ETKF(5).run(lorenz(prior=prior).validated(), streams(1, 0))
        next(cycles)
        assert torch.is_grad_enabled() is recording
        cycles.close()
        assert torch.is_grad_enabled() is recording
    assert (torch.is_grad_enabled(), np.geterr()) == before


def test_a_problem_of_mixed_libraries_follows_its_prior():
    problem = linear()
    mixed = replace(problem, data=torch.as_tensor(problem.data), truth=problem.truth.tolist())
    assert np.array_equal(run(mixed)["mean"], run(problem)["mean"])


def test_nature_may_follow_another_model():
    other = twin(truth_model=da.Lorenz63(rho=35.0), steps=20)
    assert not np.allclose(other.truth[-1], twin(steps=20).truth[-1])
    assert other.model.rho == 28.0


def test_complex_weights_belong_in_a_real_problem():
    class Spectral(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2, dtype=torch.complex128))

        def forward(self, x):
            return torch.fft.irfft(self.weight * torch.fft.rfft(x), n=3)

    found = run(lorenz(model=Spectral(), prior=TORCH))["mean"]
    wanted = run(lorenz(model=lambda x: x, prior=TORCH))["mean"]  # weights of 1 change nothing
    assert np.allclose(found, wanted, rtol=0, atol=1e-12)


def test_info_may_hold_arrays():
    """An array has a mean and a std as a belief does, and is none."""

    class Counting:
        def run(self, problem, rng):
            for cycle in da.ETKF(5).run(problem, rng):
                yield cycle._replace(info={"a": np.float64(1), "b": np.arange(2), "c": tensor(2)})

    result = run(linear(batch=2), Counting())
    assert all(result[name].dims == ("case", "time") for name in "abc")
    assert result["stage"].values.tolist() == ["forecast", "analysis"]


# --- scores -------------------------------------------------------------------------------------


def test_a_diverged_experiment_has_no_ranks():
    problem = linear(batch=2)
    data = problem.data.copy()
    data[1, 1] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        replace(problem, data=data)

    def breaks(x):  # leaves the others alone
        return np.where(np.arange(2)[:, None, None] == 1, x * 1e200, x * 0.9)

    result = run(replace(problem, model=breaks), keep=("ranks",))
    assert result["diverged"].values.tolist() == [False, True]
    counts = da.rank_histogram(result, "analysis").sum("rank")
    good = np.isfinite(result["mean"].sel(stage="analysis")).sum(("time", "x"))
    assert np.array_equal(counts, good)
    assert counts[0] == 4 * 3 > counts[1]


def test_crps_of_a_spread_that_is_no_number_is_none():
    assert np.isnan(crps_gaussian(0.0, np.nan, 1.0))
    assert crps_gaussian(0.0, 0.0, 1.0) == 1.0
    with pytest.raises(ValueError, match="std must be >= 0, met -1"):
        crps_gaussian(0.0, np.array([np.nan, -1.0]), 1.0)


def test_one_cycle_has_no_climatology_to_be_lost_against():
    result = run(linear(cycles=1))
    assert not da.lost(result)
    result["mean"][:] = np.nan
    assert da.lost(result)


def test_no_grad_is_silent_about_overflow_only_inside():
    with no_grad(ones(1)):
        assert np.isinf(np.float64(1e308) * 10)
    with pytest.warns(RuntimeWarning, match="overflow"):
        np.float64(1e308) * 10


def test_a_linear_model_may_start_at_zero():
    """The image of a mean of 0 says nothing of how large round-off is."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(10, 10)))[0]
    see = da.Observation(da.identity, ones(10))
    prior = da.Gaussian(np.zeros(10), ones(10))
    da.twin(da.Linear(turn), see, prior, 2)
