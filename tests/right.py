"""Values that mean the same as a plain one, for any setting: the counterpart of `wrong`.

A setting that takes 3 takes np.int64(3), one that takes an array takes nested lists, and so on:
`plain(call)` is a value that it takes, `equivalents(value)` gives its other forms by a label, and
`same(a, b)` says whether two results agree.
"""

import copy
import dataclasses
import enum
import functools
import types
from collections import OrderedDict, UserDict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import wrong
import xarray as xr

import dalearn as da

# a value for settings whose default is None, by the setting, or by its name where all take it
GIVEN: dict[str, Any] = {
    "Burgers2D.dt": 1e-4, "DMD.offset": np.ones(3), "DMD.fit.rank": 4, "DMD.fit.ridge": 0.1,
    "EnVar4D.localization": da.Dense(wrong.I3), "GLA.model": wrong.half,
    "Interpolate.component": 0,
    "Learned4DVar.fit.truth": (np.ones((6, 3)), np.ones((6, 3))), "Learned4DVar.fit.reach": 2,
    "Learned4DVar.fit.penalty": lambda x: (x * x).sum(-1),
    "Learned4DVar.limits": (-99 * np.ones(3), 99 * np.ones(3)),
    "Latent.model": wrong.half, "MEDLA.model": wrong.half,
    "VIVID.coder": da.POD.fit(wrong.FIELDS, 2), "VIVID.P": np.ones(3),
    "MEDLA.limits": (-9 * np.ones(3), 9 * np.ones(3)), "disturb": wrong.half,
    "POD.values": np.array([3.0, 2.0, 1.0]), "Problem.times": np.array([0.01, 0.02, 0.03, 0.04]),
    "Problem.truth": wrong.TWIN.truth, "Q": 0.1 * np.ones(3), "ShallowWater.dt": 1.0,
    "audit.validation": wrong.PATHS + 2, "audit.runs": {"train": range(4)},
    "audit.data": wrong.PATHS + 1, "audit.seen": wrong.PATHS > 0, "audit.free": wrong.PATHS + 1,
    "audit.analysis": wrong.PATHS + 1,
    "batches": 2, "chunk": 1, "clip": 1.0, "component": 0, "count": 2,
    "degrees_of_freedom.localization": None, "device": "cpu",
    "diagnostics.crps_ensemble.weights": np.full((3, 5), 0.2), "dims": ("x",),
    "Anamorphosis.lower": -9.0, "Anamorphosis.upper": 9.0, "Anamorphosis.fit.lower": -9.0,
    "Anamorphosis.fit.upper": 9.0, "Bounded.lower": -9.0, "Bounded.upper": 9.0,
    "log_score_gaussian.members": 5,
    "Observation.law": da.Student(4.0), "methods.reweight.law": da.Student(4.0),
    "methods.qceff.law": da.Student(4.0),
    "RankHistogram.lower": -9.0, "RankHistogram.upper": 9.0, "rhf_increments.lower": 0.5,
    "rhf_increments.upper": 99.5, "QCEFF.state": da.RankHistogram(),
    "methods.qceff.state": da.RankHistogram(), "methods.qceff.observed": da.RankHistogram(),
    "direction": np.ones(3), "dtype": "float32", "innovation_chi2.localization": None,
    "label": "x", "lag": 2, "limits": (0.0, 1.0), "limit": 4.0, "by": "sensor",
    "localization": wrong.RING, "observed": 0,
    "independent": 9.0, "bins": 2,
    "plot.ensemble.time": np.arange(4.0), "problem": wrong.TWIN, "randomised": False,
    "rotate": "haar", "rows": 2, "samples": 4, "scale": np.ones(3), "shape": (3,), "shift": 1,
    "skip": 1, "static": wrong.R, "steps": 10.0 ** -np.arange(1.0, 6.0),
    "truth_model": da.Lorenz63(), "truth_prior": wrong.PRIOR, "weights": np.full(5, 0.2),
    "window": 1, "with_forecast.steps": 2, "with_forecast.truth": np.ones((3, 3)),
    "with_forecast.times": np.array([1.1, 1.2, 1.3]), "with_forecast.observation": wrong.SEE,
}  # fmt: skip
GIVEN |= {
    f"{c}.noise": np.ones(3)
    for c in ("GLA", "Latent", "MEDLA", "Problem", "simulate", "twin", "with_forecast")
}


class Text(str):
    """Text of a user's own kind."""


class Kept(np.ndarray):
    """An array of a user's own kind."""


class Where:
    """A path that is not one of pathlib's."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


class Called:
    """A function as an object, and as a method of one."""

    def __init__(self, f):
        self.f = f

    def __call__(self, *args, **kwargs):
        return self.f(*args, **kwargs)

    method = __call__


def plain(call: wrong.Call) -> Any:
    """A value that a setting takes, or None where none is known."""
    default = wrong.parameters(call.made)[call.parameter].default
    value = call.arguments.get(call.parameter, default)
    if repr(value) == "<factory>":  # of a dataclass
        value = getattr(call.made(**call.arguments), call.parameter)
    known = GIVEN.get(f"{call.name}.{call.parameter}", GIVEN.get(call.parameter))
    return known if value is None else value


def equivalents(value: Any) -> dict[str, Any]:
    """Other forms of a plain value, made anew."""
    if isinstance(value, bool):
        return {
            "np.bool_": np.bool_(value),
            "bool array ()": np.array(value),
            "bool DataArray ()": xr.DataArray(value),
        }
    if isinstance(value, int):
        return _numbers(value) | {
            "np.int64": np.int64(value),
            "np.int8": np.array(value).astype(np.int8)[()] if abs(value) < 128 else value,
            "np.uint64": np.uint64(value) if value >= 0 else value,
            "IntEnum": enum.IntEnum("Few", {"ONE": value}).ONE,
            "torch int ()": torch.tensor(value),
        }
    if isinstance(value, float):
        whole = {"int": int(value)} if value.is_integer() else {}
        parts = (
            {"Fraction": Fraction(value), "Decimal": Decimal(value)} if np.isfinite(value) else {}
        )
        single = {"np.float32": np.float32(value)} if np.float32(value) == value else {}
        return (
            _numbers(value)
            | whole
            | parts
            | single
            | {"np.float64": np.float64(value), "np.longdouble": np.longdouble(value)}
        )
    if isinstance(value, str):
        return {"np.str_": np.str_(value), "subclass": Text(value)}
    if isinstance(value, Path):
        return {"text": str(value), "np.str_": np.str_(value), "__fspath__": Where(value)}
    if isinstance(value, np.ndarray):
        return _arrays(value)
    if isinstance(value, torch.Tensor):
        return {"clone": value.clone(), "Parameter": torch.nn.Parameter(value.clone(), False)}
    if isinstance(value, dict):
        return {
            "OrderedDict": OrderedDict(value),
            "read-only": types.MappingProxyType(value),
            "UserDict": UserDict(value),
        }
    if isinstance(value, (tuple, list)):
        return _sequences(value)
    if isinstance(value, type):
        return {
            "subclass": type(value)(f"My{value.__name__}", (value,), {}),
            "factory": functools.partial(value),
        }
    if isinstance(value, (types.FunctionType, types.MethodType)):
        return {
            "lambda": lambda *a, **k: value(*a, **k),
            "partial": functools.partial(value),
            "object": Called(value),
            "method": Called(value).method,
        }
    if isinstance(value, (xr.DataArray, xr.Dataset)):
        return {
            "copy": value.copy(deep=True),
            "loaded": value.load(),
            "transposed": value.transpose(),
        }
    if dataclasses.is_dataclass(value):
        mine = copy.copy(value)
        object.__setattr__(
            mine, "__class__", type(f"My{type(value).__name__}", (type(value),), {})
        )
        return {"subclass": mine}
    return {}


def _numbers(value: Any) -> dict[str, Any]:
    return {
        "array ()": np.array(value),
        "DataArray ()": xr.DataArray(value),
        "masked ()": np.ma.array(value),
        "item": np.array([value])[0],
    }


def _arrays(x: np.ndarray) -> dict[str, Any]:
    if x.dtype.kind not in "iuf":
        return {"list": x.tolist(), "Fortran": np.asfortranarray(x)}
    spread = np.zeros((*x.shape[:-1], 2 * x.shape[-1]) if x.ndim else (), x.dtype)
    if x.ndim:
        spread[..., ::2] = x
    fixed = x.copy()
    fixed.flags.writeable = False
    found = {
        "list": x.tolist(),
        "tuple": tuple(x.tolist()) if x.ndim else x.item(),
        "list of arrays": list(x) if x.ndim else x,
        "Fortran": np.asfortranarray(x),
        "strided": spread[..., ::2] if x.ndim else x,
        "fixed": fixed,
        "swapped": x.astype(x.dtype.newbyteorder()),
        "longdouble": x.astype(np.longdouble) if x.dtype.kind == "f" else x,
        "masked": np.ma.array(x),
        "objects": x.astype(object),
        "ndarray subclass": x.view(Kept),
        "DataArray": xr.DataArray(x),
        "tensor": torch.tensor(x),
    }
    if x.dtype.kind == "f" and (x == x.astype(int)).all():
        found["integers"] = x.astype(int)
    if x.dtype.kind == "f":
        found["float32"] = x.astype(np.float32)
    if x.ndim == 1:
        found["Series"] = pd.Series(x)
    if x.ndim == 2:
        found["table"] = pd.DataFrame(x)
    return found


def _sequences(value: Any) -> dict[str, Any]:
    parts = list(value)
    found = {
        "list": parts,
        "tuple": tuple(parts),
        "deque": deque(parts),
        "values": dict(enumerate(parts)).values(),
    }
    if parts and all(type(p) is int for p in parts):
        found |= {
            "array": np.array(parts),
            "Size": torch.Size(parts) if min(parts) >= 0 else parts,
            "np.int64s": [np.int64(p) for p in parts],
            "Index": pd.Index(parts),
        }
        if parts == list(range(parts[0], parts[-1] + 1)):
            found["range"] = range(parts[0], parts[-1] + 1)
    if parts and all(type(p) is float for p in parts):
        found |= {"array": np.array(parts), "np.float64s": [np.float64(p) for p in parts]}
    if parts and all(type(p) is str for p in parts):
        found |= {"array": np.array(parts), "keys": dict.fromkeys(parts).keys()}
    return found


def same(a: Any, b: Any) -> bool:
    """Whether two results hold the same numbers; in float32, to its round-off."""
    if isinstance(a, (torch.Tensor, np.ndarray, float, np.number)):
        try:
            x, y = (np.asarray(getattr(v, "detach", lambda v=v: v)(), dtype=float) for v in (a, b))
        except (TypeError, ValueError):
            return repr(a) == repr(b)
        return x.shape == y.shape and bool(np.allclose(x, y, rtol=1e-4, atol=1e-5, equal_nan=True))
    if isinstance(a, xr.Dataset):
        return set(a) == set(b) and all(same(a[k], b[k]) for k in a if k != "seconds")
    if isinstance(a, xr.DataArray):
        return same(a.values, b.transpose(*a.dims).values)
    if isinstance(a, pd.DataFrame):
        return a.shape == b.shape and list(a.columns) == list(b.columns)
    if isinstance(a, torch.nn.Module):
        return same(a.state_dict(), b.state_dict())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        names = [f.name for f in dataclasses.fields(a)]
        return all(same(getattr(a, n), getattr(b, n)) for n in names if n != "seconds")
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(same(*p) for p in zip(a, b, strict=True))
    if isinstance(a, (int, str, type(None), Path)):
        return bool(a == b)
    return True  # figures, functions
