"""Arrays and random numbers: the only file that knows one array library from another.

Everything above is written once against the array API standard. NumPy in, NumPy out; torch in,
torch out, on the device of what came in. There is no backend flag: the array decides.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections.abc import Sequence
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


def lift(setting: Any, like: Array, batch: tuple[int, ...], name: str = "setting") -> Any:
    """A setting swept over a batch, `(...)`, as `(..., 1, 1)`; a plain number comes back as it is.

    Raises ValueError when its shape does not broadcast to the problem's batch axes.
    """
    if not is_array(setting) and not isinstance(setting, (list, tuple)):
        return float(setting)  # numpy.float64 would turn a float32 ensemble into float64
    value = convert(setting, like)
    try:
        fits = np.broadcast_shapes(tuple(value.shape), batch) == batch
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, wanted one that broadcasts to the "
            f"problem's batch axes {batch}"
        )
    return value[..., None, None]


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


def where_ok(ok: Any, x: Array) -> Array:
    """`x` with the rows of experiments that are not `ok` set to NaN; `ok` as `sane` gives it."""
    if ok is True:
        return x
    x, ok = (v if is_tensor(v) else np.asarray(v) for v in (x, ok))  # one experiment: scalars
    xp = array_namespace(x)
    ok = xp.reshape(ok, (*ok.shape, *(1,) * (x.ndim - ok.ndim)))
    return xp.where(ok, x, xp.full_like(x, math.nan))


def sane(A: Array) -> tuple[Array, Any]:
    """Guard before a factorisation: `A (..., n, n)` with non-finite matrices replaced by I.

    Returns `(A, ok)` with `ok (...)`, or `(A, True)` when all are finite. One NaN makes eigh, svd
    and cholesky raise for a whole batch; with the guard the other experiments stay exact to the
    bit, and the caller turns the results of the bad ones into NaN with `where_ok`.
    """
    xp = array_namespace(A)
    if math.isfinite(float(xp.sum(A))):  # one pass; NaN and infinity survive any sum
        return A, True
    ok = xp.all(xp.isfinite(A), axis=(-2, -1))
    if bool(xp.all(ok)):  # finite, and only their sum is not
        return A, True
    return xp.where(ok[..., None, None], A, eye(A.shape[-1], A)), ok


class Streams:
    """Random numbers for a batch of experiments, each with a stream of its own.

    Experiment b draws from `numpy.random.default_rng([purpose, seed + b])`, so that one
    experiment of a batch sees the numbers it would see alone. Purpose 0 is the twin's nature,
    1 the assimilation: with one shared stream a member could equal the truth.

    Arguments: `purpose`; `seed`, a non-negative integer or one per experiment; `batch`, the
    batch axes `(...)`.
    """

    def __init__(self, purpose: int, seed: int | Sequence[int], batch: tuple[int, ...] = ()):
        count = math.prod(batch)
        seeds = np.asarray(seed)
        if seeds.dtype.kind not in "iu" or (seeds.size and seeds.min() < 0):
            raise ValueError(f"seed must be a non-negative integer (or one each), met {seed!r}")
        seeds = seeds.ravel().tolist() if seeds.ndim else [seeds.item() + b for b in range(count)]
        if len(seeds) != count:
            raise ValueError(f"met {len(seeds)} seeds, wanted {count}: one per experiment {batch}")
        self.batch = tuple(batch)
        self.generators = [np.random.default_rng([purpose, s]) for s in seeds]

    def normal(self, shape: tuple[int, ...], like: Array, where: Any = None) -> Array:
        """Standard normal numbers `(..., *shape)`: the same ones whatever the library.

        Experiments that are not in `where (...)` draw none and get zeros.
        """
        out = np.zeros((len(self.generators), math.prod(shape)))
        due = np.ones(len(out), bool) if where is None else np.ravel(to_numpy(where))
        for generator, row, draws in zip(self.generators, out, due, strict=True):
            if draws:
                generator.standard_normal(out=row)
        return convert(out.reshape((*self.batch, *shape)), like)

    def uniform(self, like: Array) -> Array:
        """Uniform numbers in [0, 1] for the entries of `like`; its leading axes hold the batch."""
        count = len(self.generators)
        if count == 0 or math.prod(like.shape) % count:
            raise ValueError(
                f"met an array of shape {tuple(like.shape)} and {count} streams; wanted leading "
                f"axes that hold the batch {self.batch}"
            )
        out = np.empty((count, math.prod(like.shape) // count))
        for generator, row in zip(self.generators, out, strict=True):
            generator.random(out=row)
        return convert(out.reshape(like.shape), like)

    def integers(self, high: int, size: int) -> np.ndarray:
        """Integers in [0, high), `(..., size)`, as a NumPy array."""
        rows = [g.integers(high, size=size) for g in self.generators]
        return np.stack(rows).reshape(*self.batch, size)


class TorchStreams:
    """One `torch.Generator` for the whole batch: fast on a GPU, equal to Streams only in law."""

    def __init__(self, generator: Any, batch: tuple[int, ...] = ()):
        self.generator, self.batch = generator, tuple(batch)

    def normal(self, shape: tuple[int, ...], like: Array, where: Any = None) -> Array:
        """Standard normal numbers `(..., *shape)` on the generator's device, for all."""
        import torch

        g, dtype = self.generator, like.dtype if is_tensor(like) else torch.float64
        size = (*self.batch, *shape)
        return convert(torch.randn(size, generator=g, device=g.device, dtype=dtype), like)

    def uniform(self, like: Array) -> Array:
        """Uniform numbers in [0, 1) for the entries of `like`."""
        import torch

        g = self.generator
        dtype = like.dtype if is_tensor(like) else torch.float64
        return convert(torch.rand(like.shape, generator=g, device=g.device, dtype=dtype), like)

    def integers(self, high: int, size: int) -> np.ndarray:
        """Integers in [0, high), `(..., size)`, as a NumPy array."""
        import torch

        g = self.generator
        return to_numpy(torch.randint(high, (*self.batch, size), generator=g, device=g.device))


def streams(purpose: int, seed: Any, batch: tuple[int, ...] = ()) -> Streams | TorchStreams:
    """Streams for a seed; TorchStreams for a `torch.Generator`."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(seed, torch.Generator):
        return TorchStreams(seed, batch)
    return Streams(purpose, seed, batch)


def normal(rng: Any, shape: tuple[int, ...], like: Array, where: Any = None) -> Array:
    """Standard normal numbers from Streams, TorchStreams or a `numpy.random.Generator`.

    The first two put their batch axes before `shape`; experiments not in `where` need none.
    """
    if isinstance(rng, np.random.Generator):
        return convert(rng.standard_normal(shape), like)
    return rng.normal(shape, like) if where is None else rng.normal(shape, like, where)


def uniform(rng: Any, like: Array) -> Array:
    """Uniform numbers in [0, 1) for the entries of `like` (its leading axes are the batch's).

    From Streams, TorchStreams, a `numpy.random.Generator` or a `torch.Generator`.
    """
    if isinstance(rng, np.random.Generator):
        return convert(rng.random(tuple(like.shape)), like)
    if not hasattr(rng, "uniform"):
        rng = streams(0, rng)
    return rng.uniform(like)
