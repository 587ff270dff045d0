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

import dalearn as da
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
from dalearn.diagnostics import crps_gaussian
from dalearn.methods import Cycle, enkf, etkf, kalman_update

ones = np.ones
R3 = da.Diagonal(ones(3))
PRIOR = da.Gaussian(np.array([1.509, -1.531, 25.46]), da.Diagonal(2 * ones(3)))
SEE = da.Observation(da.identity, R3)


def tensor(*shape):
    return torch.ones(shape, dtype=torch.float64)


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


def numpy_only(x):
    return np.sin(x) + 1.0


def detached(x):
    return x.detach() if hasattr(x, "detach") else x + 0.0


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
D64 = Y64 - Y64.mean(0)
Q4 = da.Diagonal(ones(4))

V, T, X, F = ValueError, TypeError, IndexError, FloatingPointError
# id, what is done, the exception, words of its message: the met, the wanted, the way out
TABLE = [
    # --- covariances and beliefs
    ("variance-number", lambda: da.Diagonal(2.0), V, ["single number", "Diagonal(2 * ones(n))"]),
    ("variance-negative", lambda: da.Diagonal([1, -2.0]), V, ["not negative", "-2", "entry 1"]),
    ("variance-nan", lambda: da.Diagonal([1, np.nan]), V, ["finite", "nan", "entry 1"]),
    ("variance-words", lambda: da.Diagonal(["a"]), T, ["real numbers", "<U1"]),
    ("dense-not-square", lambda: da.Dense(ones((2, 3))), V, ["square", "(2, 3)"]),
    ("dense-vector", lambda: da.Dense(ones(3)), V, ["(..., n, n)", "(3,)"]),
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
    ("whiten-zero", lambda: da.Diagonal(np.zeros(3)).whiten(E64), V, ["zero variance", "positive"]),
    ("gaussian-mean-nan", lambda: da.Gaussian(NAN, R3), V, ["1 values", "NaN", "wanted none"]),
    ("gaussian-mean-int", lambda: da.Gaussian(np.arange(3), R3), T, ["floating-point", "int64"]),
    ("gaussian-mean-list", lambda: da.Gaussian([1.0, 2.0], R3), T, ["NumPy array", "list"]),
    ("gaussian-mean-number", lambda: da.Gaussian(np.array(1.0), R3), V, ["(..., n)", "()"]),
    ("gaussian-width", lambda: da.Gaussian(ones(4), R3), V, ["4 components", "covariance 3"]),
    ("gaussian-cov-number", lambda: da.Gaussian(ones(3), 2.0), V, ["single number", "ones(n)"]),
    (
        "gaussian-cov-batch",
        lambda: da.Gaussian(ones(3), da.Diagonal(ones((5, 3)))),
        V,
        ["batch axes (5,)", "wanted ()", "leading axes"],
    ),
    ("point-nan", lambda: da.Point(NAN), V, ["the point", "1 values"]),
    ("one-member", lambda: da.Ensemble(ones((1, 3))), V, ["at least 2", "met 1", "(1, 3)"]),
    ("ensemble-vector", lambda: da.Ensemble(ones(3)), V, ["(..., members, n)", "(3,)"]),
    ("weights-shape", lambda: da.Ensemble(E64, ones(3)), V, ["(3,)", "(5,)", "one per member"]),
    ("weights-sum", lambda: da.Ensemble(E64, ones(5)), V, ["sum to 1", "sums up to 5"]),
    ("weights-nan", lambda: da.Ensemble(E64, np.full(5, np.nan)), V, ["sum to 1", "nan"]),
    # --- observations
    ("R-zero", lambda: da.Observation(da.identity, np.zeros(3)), V, ["positive", "met 0"]),
    ("R-number", lambda: da.Observation(da.identity, 0.5), V, ["single number", "0.5"]),
    ("operator-class", lambda: da.Observation(da.Every, R3), T, ["not a class", "Every"]),
    ("operator-list", lambda: da.Observation([[1.0]], R3), T, ["matrix (m, n)", "[[1.0]]"]),
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
    ("every-zero", lambda: da.Every(0), V, ["step >= 1", "step=0"]),
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
    ("Q-number", lambda: lorenz(noise=0.1), V, ["single number", "ones(n)"]),
    (
        "Q-batch",
        lambda: check(noise=da.Diagonal(ones((2, 3)))),
        V,
        ["model noise", "(2,)", "wanted ()"],
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
        lambda: check(observation=da.Moving([da.Observation(da.identity, da.Diagonal(ones((5, 3))))] * 4)),
        V,
        ["observation noise", "(5,)", "wanted ()"],
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
    ("lorenz96-small", lambda: da.Lorenz96(3), V, ["n >= 4", "n = 3"]),
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
    ("module-float32", lambda: check(model=LINEAR, prior=TORCH), T, ["float32", "module.to(prior)"]),
    ("module-dropout", lambda: check(model=NOISY, prior=TORCH), V, ["Dropout", "eval()"]),
    ("module-batchnorm", lambda: check(model=NORMED, prior=TORCH), V, ["BatchNorm1d", "eval()"]),
    ("surrogate-dropout", lambda: model(da.Surrogate(NOISY)), V, ["Dropout", "eval()"]),
    ("surrogate-function", lambda: da.Surrogate(np.sin), T, ["torch.nn.Module", "ufunc"]),
    # --- twins and real data
    ("twin-no-cycles", lambda: twin(0), V, ["at least 1", "met 0"]),
    ("twin-cycles-float", lambda: twin(4.0), V, ["integer", "4.0"]),
    ("twin-batch-zero", lambda: twin(batch=0), V, ["batch", "at least 1", "met 0"]),
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
    ("xarray-irregular", lambda: series([0.01, 0.025]), V, ["observation 1", "1.5", "regrid"]),
    ("xarray-unsorted", lambda: series([0.02, 0.01]), V, ["observation 1", "-1", "sort"]),
    ("xarray-twice", lambda: series([0.01, 0.01]), V, ["observation 1", "0 model steps"]),
    ("xarray-half-start", lambda: series([1, 2], start=0.505), V, ["observation 0", "49.5"]),
    ("xarray-no-unit", lambda: series(DAYS, start="2020-01-01"), V, ["dates", "unit="]),
    (
        "xarray-no-start",
        lambda: series(DAYS, unit=np.timedelta64(1, "D")),
        V,
        ["dates", "start=", "met 0"],
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
    ("xarray-array", lambda: da.Problem.from_xarray(ones((4, 3)), None, SEE, PRIOR), T, ["ndarray"]),
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
    ("inflation-zero", lambda: da.ETKF(5, 0.0), V, ["positive", "met 0.0"]),
    ("inflation-negative", lambda: da.EnKF(5, -1), V, ["positive", "-1"]),
    ("inflation-nan", lambda: da.ETKF(5, np.nan), V, ["positive", "nan"]),
    ("inflation-words", lambda: da.ETKF(5, "much"), V, ["positive", "'much'"]),
    ("inflation-none", lambda: da.ExtendedKF(None), V, ["positive", "None"]),
    (
        "inflation-shape",
        lambda: run(twin(batch=3), da.ETKF(5, np.array([1.0, 1.1]))),
        V,
        ["(2,)", "batch axes (3,)"],
    ),
    ("rotate-unknown", lambda: da.ETKF(5, rotate="left"), V, ["householder", "'left'"]),
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
    ("kf-odd-at-zero", lambda: run(
        da.Problem(lambda x: x**3, SEE, da.Gaussian(np.zeros(3), R3), np.zeros((4, 3))), da.KF()
    ), V, ["curvature", "ExtendedKF"]),
    ("etkf-mixed", lambda: etkf(tensor(5, 3), Y64, ones(3), R3), T, ["numpy and torch", "convert"]),
    (
        "etkf-devices",
        lambda: etkf(tensor(5, 3), tensor(5, 3).to("meta"), tensor(3), R3),
        V,
        ["mixed devices", "cpu", "meta", "wanted one"],
    ),
    ("etkf-list", lambda: etkf(E64, Y64, [0.0] * 3, R3), T, ["NumPy array", "list"]),
    ("etkf-vector", lambda: etkf(E64[0], Y64, ones(3), R3), V, ["E (3,)", "(..., N, n)"]),
    ("etkf-members", lambda: etkf(E64, Y64[:4], ones(3), R3), V, ["(5, 3)", "(4, 3)"]),
    ("etkf-R", lambda: etkf(E64, Y64, ones(3), Q4), V, ["R of dimension 4", "R of m"]),
    ("etkf-R-one", lambda: etkf(E64, Y64, ones(3), da.Diagonal([1.0])), V, ["dimension 1"]),
    ("enkf-one", lambda: enkf(E64[:1], Y64[:1], ones(3), R3, D64[:1]), V, ["N >= 2", "(1, 3)"]),
    ("enkf-errors", lambda: enkf(E64, Y64, ones(3), R3, D64[0]), V, ["D (3,)", "(..., 5, 3)"]),
    (
        "kalman-R-one",
        lambda: kalman_update(
            ones(3), np.eye(3), ones(3), np.eye(3), ones(3), da.Diagonal([1.0])
        ),
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
    ("compare-empty", lambda: da.compare(twin(), []), V, ["empty", "at least one"]),
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
    ("compare-seeds-float", lambda: da.compare(twin(), [da.ETKF(5)], [0.5]), V, ["integers", "0.5"]),
    ("compare-seeds-twice", lambda: da.compare(twin(), [da.ETKF(5)], [1, 1]), V, ["different"]),
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
    ("streams-count", lambda: Streams(0, [1, 2, 3], (2,)), V, ["3 seeds", "wanted 2"]),
    ("only-scalars", lambda: array_namespace(1.0, None), T, ["at least one", "scalars"]),
]  # fmt: skip


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
