"""Wrong values for any setting, and a valid one for each that has no default.

`calls()` finds every public class, function and constructor by what the packages export, so that a
new one is visited without an edit here: only a parameter of a new name needs a valid value.
"""

import datetime
import inspect
import re
import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr

import dalearn as da
from dalearn.methods import blocks
from dalearn.methods.variational.weak_cost import WeakCost
from dalearn.neural.encoder import HistoryEncoder
from dalearn.neural.normal import Normal

ones, nan = np.ones, np.nan


def wrong() -> dict[str, Any]:
    """Thirty odd values for any setting; made anew, since a generator is used up."""
    return {
        "nan": nan,
        "inf": np.inf,
        "-inf": -np.inf,
        "-1": -1,
        "0": 0,
        "1.5": 1.5,
        "1e9": 10**9,
        "2**100": 2**100,
        "True": True,
        "None": None,
        "no": "no",
        "'1'": "1",
        "empty text": "",
        "bytes": b"x",
        "1j": 1j,
        "[]": [],
        "[1, 2, 3]": [1, 2, 3],
        "array ()": np.array(nan),
        "array (1,)": np.array([nan]),
        "array (2, 3)": np.full((2, 3), nan),
        "array (1, 1, 1)": np.full((1, 1, 1), nan),
        "objects": np.array([None, "a"], dtype=object),
        "complex": np.array([1j, 1]),
        "masked": np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False]),
        "dict": {"a": 1},
        "set": {1},
        "class": int,
        "function": lambda *a, **k: None,
        "DataArray": xr.DataArray(ones((2, 3)), dims=("time", "x")),
        "datetime64": np.datetime64("2026-01-01"),
        "timedelta": datetime.timedelta(1),
        "generator": (i for i in (1, 2)),
        "object": object(),
        "torch nan": torch.tensor([nan, 1.0]),
    }


N, M, K = 5, 3, 4  # members, numbers of the state (all seen), times
R = da.Diagonal(ones(3))
SEE = da.Observation(da.identity, R)
PRIOR = da.Gaussian(np.array([1.5, -1.5, 25.0]), R)
TWIN = da.twin(da.Lorenz63(), SEE, PRIOR, K, noise=ones(3))
LINEAR = da.twin(da.Linear(0.9 * np.eye(3)), SEE, PRIOR, K)
KEPT = ("moments", "members", "ranks", "innovation")
RESULT = da.assimilate(TWIN, da.ETKF(N), keep=KEPT, progress=False)
MANY = da.assimilate(TWIN.expand((20,)), da.ETKF(N), progress=False)
BOARD = da.compare(TWIN, [da.ETKF(N), da.EnKF(N)], 2, progress=False)
E = np.random.default_rng(7).normal(size=(N, M))
Z = np.random.default_rng(8).normal(size=(40, M))
PATHS = Z[:8].reshape(4, 2, M)  # four runs of two states
RING = da.Localization.ring(3, 1.0)
NEAR = RING.near(RING.coordinates)
LAND = da.Landscape.synthetic((8, 8))
I3 = np.eye(3)
CHAIN = WeakCost(da.Lorenz63(), PRIOR.mean, R.matrix(), R, [(1, SEE, PRIOR.mean)])


def half(x):
    """A linear model."""
    return x / 2


def square(x):
    """A cost."""
    return (x * x).sum(-1)


class Same:
    """A source of random numbers that always gives the same."""

    batch = ()

    def normal(self, shape, like, where=None):
        return da.array.convert(np.random.default_rng(0).standard_normal(shape), like)


def net(inputs=3, outputs=3):
    """A small network."""
    return da.neural.seeded(0, torch.nn.Linear, inputs, outputs).double()


tensor = torch.as_tensor
CODER = da.POD.fit(Z, 3)
RUNS_OF_Z = Z.reshape(4, 10, 3)
FLOW = Z[:32, :1].reshape(2, 4, 4)
DATES = xr.DataArray(Z[:4], dims=("time", "x"), coords={"time": [0.01, 0.02, 0.03, 0.04]})
FOLDER = Path(tempfile.mkdtemp(prefix="dalearn"))
CARD = da.neural.Card("make", "none", 0, {"rmse": 1.0})
da.neural.save_weights(net(), FOLDER / "net.safetensors", CARD)
LINE = np.linspace(-1, 1, 4)
BOX = tensor(np.stack(np.meshgrid(LINE, LINE), -1).reshape(16, 2))
RUNS = torch.sin(2 * BOX.sum(-1))[None, None, :, None] * torch.ones(3, 4, 16, 2).double()
PLANE = da.neural.Harmonics((2, 2), 2).double()
LATENT = da.neural.LDNet(1, da.neural.InBasis(3, PLANE, (4,)), (4,)).double()
PAIRED = da.neural.seeded(0, da.neural.TwoEncoders.dense, 3, 3, 3, (4,)).double()
PAIRED.scaled(tensor(Z), tensor(Z))
BODY = da.neural.seeded(0, da.neural.MLP, 24, 3, (4,))
WINDOW = da.neural.WindowNet(BODY, K, (3,), (3,)).double()
WINDOW.scaled(tensor(Z.reshape(10, K, 3)), torch.ones(10, K, 3), PRIOR.mean, ones(3))
INVERSE = da.neural.Inverse(net(6, 1), (1, 3)).double()
INVERSE.net = torch.nn.Sequential(torch.nn.Conv2d(6, 1, 1), torch.nn.Flatten(0, 1)).double()
INVERSE.settle()
CELLS = np.array([[0, 0], [0, 1], [0, 2]])
PLACED = replace(TWIN, observation=da.Observation(da.identity, R, CELLS))
FIELDS = np.sin(np.arange(60.0)).reshape(2, 10, 3)


def sensed(states, rng):
    """Three sensors in given cells."""
    where = np.broadcast_to(CELLS, (len(states), 3, 2))
    return states, where


TABLE = {
    "time": [0.01, 0.02, 0.03, 0.04, 0.02],
    "sensor": [0, 0, 1, 2, 1],
    "value": [1.0, 2, 3, 4, 5],
}
TABLED = da.Problem.from_table(TABLE, da.Lorenz63(), PRIOR, error=1.0, withhold=[0])
SOLVER = da.neural.LearnedSolver(da.neural.BilinearPrior(3, 4), 3, 4).double()
SOLVER.scaled(da.neural.Normalisation.fit(Z), 1.0, K)
SCORE = da.neural.LocalScore(3, 1, width=4, depth=1).double()
SCORE.scaled(da.neural.Normalisation.fit(Z))
LEAF = torch.ones((), dtype=torch.float64, requires_grad=True)


def learned():
    with torch.no_grad():
        LEAF.fill_(1.0)  # each call begins with it
    return TWIN.to(torch.zeros(1, dtype=torch.float64)), da.ETKF(5, inflation=LEAF)


WINDOWS = [da.twin(da.Lorenz63(), SEE, PRIOR, K, seed=s, batch=6) for s in (1, 9)]
LAW = da.neural.seeded(0, da.neural.NeuralPrior, 5, 3, hidden=(4, 4))
LAW.scaled(tensor(Z).reshape(8, 5, 3))

# a value for each parameter that has no default, by its name
VALID: dict[str, Any] = {
    "B": I3, "D": E, "E": E, "F": Z[:7], "H": I3, "M": I3, "P": I3, "Pf": I3, "Ps": I3, "Q": I3,
    "R": R, "X": Z[:7], "Y": E, "Z": Z[:7], "a": ones(3), "alpha": 0.5, "alt": "a figure",
    "analyses": TWIN.data, "anomalies": E - E.mean(0), "b": 2 * ones(3), "bend": 0.0,
    "before": da.neural.Normalisation.fit(Z), "canopy": LAND.canopy, "card": CARD, "channels": 2,
    "coder": CODER, "coefficients": (ones(3),) * 6, "command": "make",
    "coordinates": np.arange(3.0), "correlation": da.Dense(I3), "cost": square,
    "count": 9, "counts": 8, "cov": R, "cycles": 3, "data": TWIN.data, "density": LAND.density,
    "direction": ones(3), "draw": lambda size: None, "dt": 0.1, "elevation": LAND.elevation,
    "encode": half, "endless": I3[:1],
    "f": half, "fuel": LAND.fuel, "function": np.ones_like, "h": ones(3),
    "image": half, "index": [0, 2], "innovations": Z, "inputs": 3, "kernel": da.kernels.soar,
    "landscape": LAND, "latent": 2, "length": 1.0, "localization": RING, "log_w": np.zeros(N),
    "long": Z, "make": net, "matrix": I3, "mean": ones(3), "members": N, "method": da.ETKF(N),
    "methods": [da.ETKF(N)], "metric": {"rmse": 1.0}, "model": da.Lorenz63(), "module": net(),
    "modes": I3, "n": 3, "name": "soar", "names": "rho", "near": NEAR, "noise": R, "nu": 1.5,
    "observation": SEE, "observe": SEE, "observations": [SEE], "operator": da.identity,
    "outputs": 3, "p": 1,
    "panels": {"a": np.zeros((4, 4))}, "parts": (R, R), "path": FOLDER / "net.safetensors",
    "points": np.arange(4.0), "prior": PRIOR, "problem": TWIN, "r": 2, "radius": 1.0,
    "rate": -ones(3), "reach": 2.0, "result": RESULT, "rmse": da.rmse(RESULT), "rng": Same(),
    "role": "truth",
    "row": ones(8) + I3[0].repeat(3)[:8], "seed": 0, "series": Z[:, 0], "shape": (4, 4),
    "short": Z + 0.1, "spread": da.spread(RESULT), "start": PRIOR.mean + np.zeros((2, 3)),
    "states": Z.reshape(2, 20, 3), "std": ones(3), "step": half, "steps": 3,
    "threshold": 0.0,
    "targets": torch.ones(4, 3, dtype=torch.float64), "times": 2, "train": Z, "truth": ones(3),
    "u": np.array(0.5), "v": ones(3), "value": 1, "values": I3, "variances": ones(3),
    "vegetation": LAND.vegetation, "w": ones(N) / N, "wet": ones((3, 3), bool), "x": ones(3),
    "seen": (3,), "x0": ones(3), "xf": ones(3), "xs": ones(3), "y": ones(3),
}  # fmt: skip
JOINT = da.with_parameters(TWIN, "rho", da.Gaussian([28.0], [1.0]))
SKILL = {"rmse": da.rmse(RESULT), "spread": da.spread(RESULT)}
# where a callable means something else by a name, or can do less than everything else
ARGUMENTS: dict[str, dict[str, Any]] = {
    "Anamorphosis": {"points": np.sort(Z, axis=0)},
    "Anamorphosis.fit": {"states": Z, "points": 10},
    "Autoencoder": {"encoder": net(3, 2), "decoder": net(2, 3), "shape": (3,)},
    "Autoencoder.convolutional": {"shape": (1, 8, 8)},
    "Autoencoder.on_grid": {"shape": (1, 8, 8)},
    "Coefficients.of": {"net": LATENT, "fields": RUNS, "points": BOX},
    "Chosen.fit": {"fields": RUNS, "points": BOX, "harmonics": PLANE, "count": 2},
    "Modes.fit": {"fields": RUNS, "points": BOX, "harmonics": PLANE, "count": 2},
    "DMD": {"matrix": np.eye(3, 6)},
    "DMD.fit": {"runs": RUNS_OF_Z, "delays": 2, "validation": RUNS_OF_Z + 0.1},
    "EnFF": {"sampler": "euler"},
    "eakf_increments": {"h": 1 + Z[:7, 0] ** 2, "y": 1.0, "r": 1.0},
    "enkf_increments": {"h": 1 + Z[:7, 0] ** 2, "y": 1.0, "r": 1.0, "errors": Z[:7, 1]},
    "gamma_increments": {"h": 1 + Z[:7, 0] ** 2, "y": 1.0, "r": 0.1},
    "rhf_increments": {"h": 1 + Z[:7, 0] ** 2, "y": 1.0, "r": 1.0},
    "EnSF": {"sampler": "euler"},
    "LDEnSF": {"net": LATENT, "points": BOX, "data": "raw"},
    "LDEnSF.fit": {
        "net": LATENT,
        "encoder": HistoryEncoder(3, 4, 4, width=4).double(),
        "train": (RUNS[:, 0, 0, :1], RUNS),
        "validation": (RUNS[:, 0, 0, :1], RUNS),
        "points": BOX,
        "see": da.Subset([0, 5, 9]),
        "unit": ones(3),
        "extra": 4,
        "dynamics": {"epochs": 1},
        "reading": {"epochs": 1},
        "progress": False,
    },
    "FourDVarNet": {"net": SOLVER, "steps": 2},
    "FourDVarNet.fit": {
        "net": SOLVER,
        "train": (Z.reshape(10, K, 3), Z.reshape(10, K, 3)),
        "validation": (Z.reshape(10, K, 3) + 0.1, Z.reshape(10, K, 3)),
        "error": 1.0,
        "steps": 2,
        "epochs": 1,
        "progress": False,
    },
    "SDA": {"net": SCORE, "members": N, "steps": 2},
    "SDA.fit": {
        "net": SCORE,
        "train": Z.reshape(10, K, 3),
        "validation": Z.reshape(10, K, 3) + 0.1,
        "epochs": 1,
        "progress": False,
    },
    "neural.Direct": {"net": net(2, 2)},
    "neural.LearnedSolver": {"prior": da.neural.BilinearPrior(3, 4), "hidden": 4},
    "Learned4DVar": {"net": WINDOW},
    "Learned4DVar.fit": {
        "net": WINDOW,
        "train": WINDOWS[0],
        "validation": WINDOWS[1],
        "epochs": 1,
        "progress": False,
    },
    "VIVID": {"net": INVERSE, "P": ones(3)},
    "VIVID.fit": {
        "net": INVERSE,
        "draw": sensed,
        "train": FIELDS,
        "validation": FIELDS + 0.1,
        "epochs": 1,
        "progress": False,
    },
    "voronoi": {"values": ones(3), "positions": CELLS},
    "neural.Inverse": {"net": torch.nn.Flatten(0, 1)},
    "neural.MaskedMixer": {"patch": 2},
    "MEDLA": {"method": da.ETKF(5), "net": PAIRED, "R": ones(3), "model": half},
    "MEDLA.fit": {
        "net": PAIRED,
        "train": (tensor(Z), tensor(Z)),
        "validation": (tensor(Z + 0.1), tensor(Z), tensor(Z)),
        "epochs": 1,
        "align": 1,
        "progress": False,
    },
    "NeuralIncremental": {"net": LAW},
    "NeuralIncremental.fit": {
        "net": LAW,
        "train": Z.reshape(8, 5, 3),
        "validation": Z.reshape(8, 5, 3) + 0.1,
        "draw": da.neural.Scattered(5, 3, 2, 4),
        "std": 0.1,
        "epochs": 1,
        "progress": False,
    },
    "Regular": {"T": 4, "n": 3, "spacing": 2},
    "Scattered": {"T": 4, "n": 3, "least": 2, "most": 4},
    "neural.NeuralPrior": {"T": 4, "n": 3, "hidden": (4, 4)},
    "neural.TwoEncoders": {
        "encoder": net(3, 2),
        "decoder": net(2, 3),
        "observer": net(4, 2),
        "shape": (3,),
        "seen": (4,),
        "latent": 2,
    },
    "TwoEncoders.convolutional": {"shape": (1, 8, 8), "seen": (1, 4, 4)},
    "TwoEncoders.dense": {"m": 3},
    "TwoEncoders.separable": {"shape": (1, 8, 8), "seen": (1, 4, 4), "count": 3},
    "Ensemble": {"members": E},
    "Every": {"step": 1},
    "POD.fit_parts": {"parts": [Z[:15], Z[15:]]},
    "Pointwise": {"at": da.Every(1)},
    "History": {"module": half, "length": 2},
    "Interpolate": {"axes": np.arange(3.0), "places": np.array([0.5, 2.0])},
    "InterpolatedRuns": {"parameters": Z[:8, :1], "runs": Z.reshape(8, 5, 3)},
    "GLA": {"method": da.Var3D(), "model": half},
    "Latent": {"model": half},
    "Hybrid": {"parts": ((1.0, R), (0.5, R))},
    "Localization.plane": {"shape": (3, 1)},
    "LowRank.from_members": {"members": E},
    "Problem.from_xarray": {"data": DATES},
    "Separable": {"factors": (da.Dense(I3), da.Dense(I3))},
    "Subcycled": {"steps": 2},
    "Windowed": {"length": 2},
    "assimilate": {"progress": False},
    "check": {"name": "bayes-mean"},
    "compare": {"progress": False},
    "crps_ensemble": {"members": E.T, "truth": ones(3)},
    "simulation_based_calibration": {"result": MANY},
    "plot.reliability": {"found": da.reliability(RESULT, 0.0)},
    "dawid_sebastiani": {"result": RESULT.isel(x=[0, 1])},
    "energy_score_ensemble": {"members": E, "truth": ones(3)},
    "audit": {"train": PATHS, "test": PATHS + 1, "truth": PATHS, "start": PATHS[:, 0] + 1},
    "di01": {"H": None},
    "explore": {"draw": lambda size: plt.figure(), "size": [1, 2]},
    "gauss_newton": {"Z": da.Ensemble(E)},
    "gradient_test": {"cost": square},
    "learn": {"make": learned, "parameters": [LEAF]},
    "lyapunov_exponents": {"x": E},
    "mean_square": {"inputs": torch.ones(4, 3, dtype=torch.float64)},
    "methods.enff": {"before": E, "settings": da.EnFF(N)},
    "methods.ensf": {"settings": da.EnSF(N)},
    "methods.letkf": {"near": blocks(NEAR, N, E)},
    "neural.AtPoints": {"axes": 2},
    "neural.CNN": {"outputs": 2},
    "neural.Card": {"data": "none"},
    "neural.Chosen": {"harmonics": PLANE, "count": 2},
    "neural.CodePrior": {"grid": (2, 2), "codes": 4},
    "neural.Codebook": {"codes": 4, "width": 3},
    "neural.Coefficients": {"target": torch.zeros(3, 4, 8)},
    "neural.FieldCoder": {"net": da.neural.Autoencoder.dense(3, 2).double()},
    "neural.GraphAutoencoder": {"points": BOX},
    "neural.Harmonics": {"modes": (2, 2)},
    "neural.InBasis": {"basis": PLANE},
    "neural.LDNet": {"reconstruction": da.neural.AtPoints(3, 2, 2, (4,))},
    "neural.Modes": {"harmonics": PLANE, "count": 2},
    "neural.NoisySensors": {"unit": torch.ones(3)},
    "neural.OnClouds": {"points": BOX[None]},
    "neural.Refitted": {"net": LATENT, "ridge": 1.0, "errors": {}, "sums": Normal(4, 3)},
    "neural.RunsNet": {
        "runs": da.models.InterpolatedRuns(Z[:8, :1], np.tile(Z[:8, None, :2], (1, 4, 16))),
        "points": BOX,
    },
    "neural.Solenoidal": {"modes": (3, 5)},
    "neural.Spreading": {"maps": 2},
    "neural.Subsampled": {"fields": RUNS, "points": BOX},
    "neural.WindowNet": {"body": BODY, "times": K, "observed": (3,), "state": (3,)},
    "neural.VAE": {
        "encoder": net(3, 4),
        "decoder": net(2, 3),
        "observer": net(3, 4),
        "shape": (3,),
        "m": 3,
    },
    "neural.VQVAE": {"shape": (1, 8, 8), "codes": 4},
    "VAE.convolutional": {"shape": (1, 8, 8), "m": 3},
    "VAE.dense": {"m": 3},
    "neural.UNet": {"outputs": 2},
    "neural.refit": {"net": LATENT, "train": (RUNS[:, 0, 0, :1], RUNS), "points": BOX, "ridge": 1},
    "neural.relative_error": {"estimate": RUNS, "truth": RUNS},
    "neural.sensitivity": {
        "net": LATENT,
        "latents": torch.ones(3, 4, 3).double(),
        "share": 0.1,
        "points": BOX,
    },
    "neural.widened": {"net": LATENT, "extra": 2},
    "neural.fit": {"progress": False, "epochs": 2, "batch": 8, "data": (tensor(Z), tensor(Z))},
    "neural.shipped": {"name": "lorenz63-lstm"},
    "neural.windows": {"length": 2},
    "plot.attractor": {"x": Z},
    "plot.cost_profile": {"profile": da.profile(square, ones(3), 2 * ones(3), points=5)},
    "plot.ensemble": {"members": RESULT["members"].sel(stage="analysis")},
    "plot.gradient_test": {"test": da.gradient_test(square, ones(3))},
    "plot.hovmoeller": {"data": RESULT["truth"]},
    "plot.rank_histogram": {"counts": da.rank_histogram(RESULT)},
    "plot.spread_skill": {k: v.sel(stage="analysis") for k, v in SKILL.items()},
    "plot.spread_skill_scatter": {k: v.sel(stage="analysis").mean() for k, v in SKILL.items()},
    "reconstruction_error": {"test": Z},
    "scoreboard": {"result": BOARD},
    "quality": {"problem": TABLED},
    "verify": {"problem": TABLED},
    "roughness": {"motion": FLOW},
    "end_point_error": {"estimate": FLOW, "truth": FLOW + 1},
    "angular_error": {"estimate": FLOW, "truth": FLOW + 1},
    "simulate": {"progress": False},
    "state_and_parameters": {
        "problem": JOINT,
        "result": da.assimilate(JOINT, da.ETKF(N), progress=False),
    },
    "weak4d": {"cost": CHAIN},
    "coloured": {"data": 0.5, "share": 0.5},
    "with_parameters": {"prior": da.Gaussian([28.0], [1.0])},
}


PACKAGES = (
    "dalearn",
    "dalearn.methods",
    "dalearn.models",
    "dalearn.neural",
    "dalearn.diagnostics",
    "dalearn.covariances",
    "dalearn.covariances.kernels",
    "dalearn.models.integrate",
    "dalearn.plot",
    "dalearn.widgets",
)
# what the package makes and hands out, protocols, and helpers of its own that pages do not call
PASSED = {"SharedCell", 
    "Audit", "Blocks", "Coder", "Cost", "Covariance", "Cycle", "Explanation", "Explorer", "Found",
    "Growing", "Law", "Leak", "Masked", "Method", "NotConverged", "OutOfRange", "PoorFit",
    "Record", "Roughness", "Sensitive", "Split", "Tuning", "Unstable", "Untrained", "Updated",
    "as_kernel", "as_covariance", "beside", "blocks", "counted", "grid_shape", "identity",
    "positive", "share", "use_style",
}  # fmt: skip


class Call(NamedTuple):
    """A public callable, the parameter to try, and arguments with which it works."""

    name: str
    made: Any
    parameter: str
    arguments: dict[str, Any]


def public() -> dict[str, Any]:
    """Every class and function that users call, and the constructors of classes, by name."""
    found: dict[str, Any] = {}
    for package in PACKAGES:
        module = import_module(package)
        names = getattr(module, "__all__", None) or [n for n in dir(module) if n[0] != "_"]
        for name in sorted(names):
            made = getattr(module, name)
            home = getattr(made, "__module__", "")
            own = home.startswith("dalearn") if hasattr(module, "__all__") else home == package
            own = own or (package == "dalearn" and home.startswith("dalearn"))
            if not own or not callable(made) or name in PASSED or made in found.values():
                continue
            if inspect.isclass(made) or inspect.isfunction(made):
                found[f"{package.removeprefix('dalearn').strip('.')}.{name}".strip(".")] = made
                for part, f in vars(made).items() if inspect.isclass(made) else ():
                    if (
                        isinstance(f, classmethod)
                        and part[0] != "_"
                        and part not in ("unchecked", "of")
                    ):
                        found[f"{name}.{part}"] = getattr(made, part)
    return found


def parameters(made: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a callable that can be tried, by name."""
    several = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    found = inspect.signature(made).parameters
    return {name: p for name, p in found.items() if p.kind not in several}


def calls() -> list[Call]:
    """Each parameter of each public callable."""
    found = []
    for name, made in public().items():
        own = ARGUMENTS.get(
            name, ARGUMENTS.get(name.split(".")[-1], {}) if name[0].islower() else {}
        )
        own = {
            k: v for k, v in own.items() if k in inspect.signature(made).parameters or k == "size"
        }
        needed = {
            n: VALID[n]
            for n, p in parameters(made).items()
            if p.default is p.empty and n not in own
        }
        found += [Call(name, made, n, {**needed, **own}) for n in parameters(made)]
    return found


# A formula of arrays says which libraries and shapes it met where they do not fit together, all in
# one message or in NumPy's; what is no array at all it refuses by name.
FORMULAS = re.compile(
    r"methods\.[a-z]|models\.integrate|rk4|trajectory|diagnostics\.(crps|energy|log)|plot\.|.*kernels\."
)
NO_ARRAY = (
    "None", "no", "'1'", "empty text", "bytes", "objects", "dict", "set", "class", "datetime64",
    "timedelta", "generator", "object",
)  # fmt: skip


# Not held yet: what is wrong here is an error, or is seen, elsewhere or in other words.
OPEN = re.compile(
    r"Problem.from_xarray\.|linearize|finite_difference|gradient_test\.(steps|direction)|"
    r"simulate\.(dtype|x0)|plot\.|.*\.series|di01\.(H|R)|lyapunov_exponents.model|"
    r"models.integrate.(et|imex3.rate)|profile.cost|compare\.seeds|"
    r"neural.mean_square\.(inputs|targets)"
)


def tried(call: Call) -> tuple[str, ...]:
    """The labels of the values that are tried for a parameter."""
    if OPEN.match(f"{call.name}.{call.parameter}"):
        return ()
    return NO_ARRAY if FORMULAS.match(call.name) else tuple(wrong())
