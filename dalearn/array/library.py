"""Arrays and random numbers: the only file that knows one array library from another.

Everything above is written once against the array API standard. NumPy in, NumPy out; torch in,
torch out, on the device of what came in. There is no backend flag: the array decides.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from functools import lru_cache
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or torch.Tensor; named so that signatures read well


def is_tensor(x: Any) -> bool:
    """Whether `x` is a torch tensor (without importing torch)."""
    torch = sys.modules.get("torch")  # no tensor exists before torch has been imported
    return torch is not None and isinstance(x, torch.Tensor)


def is_array(x: Any) -> bool:
    """Whether `x` is an array of a library known here (NumPy or torch)."""
    return isinstance(x, np.ndarray) or is_tensor(x)


def array_namespace(*arrays: Any) -> Any:
    """The array-API namespace that all `arrays` share; scalars and None have no say.

    Raises TypeError when libraries are mixed, or for anything but NumPy and torch.
    """
    found = None
    for a in arrays:
        if type(a) is np.ndarray:
            xp = np
        elif a is None or isinstance(a, (bool, int, float)):
            continue
        elif is_tensor(a):
            import array_api_compat.torch as xp
        elif isinstance(a, (np.ndarray, np.generic)):
            xp = np
        else:
            raise TypeError(f"wanted a NumPy array or a torch tensor, met {type(a).__name__}")
        if found is not None and xp is not found:
            kinds = sorted({library(b) for b in arrays if is_array(b)})
            raise TypeError(
                f"mixed array libraries, met {' and '.join(kinds)}; wanted one of them: "
                "convert with dalearn.array.convert(x, like)"
            )
        found = xp
    if found is None:
        raise TypeError("wanted at least one NumPy array or torch tensor, met only scalars")
    return found


def library(x: Any) -> str:
    """'numpy' or 'torch' (or the type's name for anything else), for messages."""
    return "torch" if is_tensor(x) else "numpy" if isinstance(x, np.ndarray) else type(x).__name__


def device(x: Array) -> Any:
    """The device of `x`: 'cpu' for NumPy, a `torch.device` for torch."""
    return x.device


def fft(like: Array) -> Any:
    """The library of Fourier transforms for `like`: `scipy.fft` or `torch.fft`.

    Both have rfft, irfft, rfft2, irfft2 over the last axes, and keep single precision.
    """
    if is_tensor(like):
        import torch

        return torch.fft
    import scipy.fft  # its transforms are half again as fast as numpy.fft on stacked fields

    return scipy.fft


def to_numpy(x: Any) -> np.ndarray:
    """`x` as a NumPy array, off the graph and off the GPU."""
    return x.detach().cpu().numpy() if is_tensor(x) else np.asarray(x)


def is_float(x: Array) -> bool:
    """Whether `x` holds real floating-point numbers."""
    return x.dtype.is_floating_point if is_tensor(x) else np.issubdtype(x.dtype, np.floating)


def as_floats(x: Any, name: str) -> Array:
    """`x` (a number, list or array) as a floating-point array; integers become float64."""
    if isinstance(x, np.ma.MaskedArray):  # as netCDF readers return: a gap is a NaN here
        x = np.ma.filled(x.astype(np.float64), np.nan)
    if not is_tensor(x):
        x = np.asarray(x)  # also takes off a subclass, such as np.matrix
    if is_float(x):
        return x
    if x.dtype.is_complex if is_tensor(x) else x.dtype.kind not in "biu":
        raise TypeError(f"{name} must hold real numbers, met dtype {x.dtype}")
    return x.double() if is_tensor(x) else x.astype(np.float64)


def convert(x: Any, like: Array) -> Array:
    """`x` in the library and on the device of `like`; floats also take its dtype."""
    if type(x) is type(like) is np.ndarray and x.dtype == like.dtype:
        return x
    if is_tensor(like):
        import torch

        if not is_tensor(x):
            x = np.asarray(x, order="C")  # not ascontiguousarray: it adds an axis to a number
            x = torch.from_numpy(x if x.flags.writeable else x.copy())
        floating = x.dtype.is_floating_point or x.ndim == 0
        return x.to(device=like.device, dtype=like.dtype if floating else None)
    x = to_numpy(x)
    return x.astype(like.dtype, copy=False) if is_float(x) or x.ndim == 0 else x


def convert_tree(obj: Any, like: Array) -> Any:
    """`obj` with every array in it converted to `like`: walks dataclasses, tuples and lists.

    What holds no array comes back as the same object. Neural networks are left where they are:
    moving a module would change the caller's own.
    """
    if is_array(obj):
        return convert(obj, like)
    if isinstance(obj, (tuple, list)):
        new = [convert_tree(o, like) for o in obj]
        if all(a is b for a, b in zip(obj, new, strict=True)):
            return obj
        return type(obj)(*new) if hasattr(obj, "_fields") else type(obj)(new)  # a namedtuple?
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type) and not is_module(obj):
        fields = {f.name: getattr(obj, f.name) for f in dataclasses.fields(obj) if f.init}
        new = {k: convert_tree(v, like) for k, v in fields.items()}
        changed = {k: v for k, v in new.items() if v is not fields[k]}
        return dataclasses.replace(obj, **changed) if changed else obj
    return obj


def is_module(f: Any) -> bool:
    """Whether `f` is a `torch.nn.Module` (without importing torch)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(f, torch.nn.Module)


def no_grad(like: Array) -> contextlib.AbstractContextManager:
    """A context without derivatives where overflow is silent: divergence is reported later.

    Leave it before each `yield`: a context held open across one leaks into the reader's loop.
    """
    if is_tensor(like):
        import torch

        return torch.no_grad()
    return np.errstate(over="ignore", invalid="ignore")


def lasting(like: Any) -> contextlib.AbstractContextManager:
    """A context for what is kept: tensors made under inference_mode know no derivatives later."""
    torch = sys.modules.get("torch")
    return torch.inference_mode(False) if torch and is_tensor(like) else contextlib.nullcontext()


@lru_cache(maxsize=64)
def _eye(xp: Any, n: int, dtype: Any, where: Any) -> Array:
    with lasting(xp.empty(0)):
        return xp.eye(n, dtype=dtype, device=where)


def eye(n: int, like: Array) -> Array:
    """The identity matrix of size n, made once for each library, dtype and device."""
    return _eye(array_namespace(like), n, like.dtype, device(like))


@lru_cache(maxsize=64)
def _average(xp: Any, N: int, dtype: Any, where: Any) -> Array:
    with lasting(xp.empty(0)):
        return xp.full((1, N), 1 / N, dtype=dtype, device=where)


def row_mean(E: Array) -> Array:
    """The mean over the rows of `E (..., N, n)`, `(..., 1, n)`: one product, half mean's time."""
    return _average(array_namespace(E), E.shape[-2], E.dtype, device(E)) @ E
