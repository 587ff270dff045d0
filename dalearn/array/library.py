"""Arrays and random numbers: the only file that knows one array library from another.

Everything above is written once against the array API standard. NumPy in, NumPy out; torch in,
torch out, on the device of what came in. There is no backend flag: the array decides.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Annotated, Any, cast

import numpy as np

UNLIKE: Any = (np.ma.MaskedArray, np.matrix)  # arrays whose operations mean something else

Array = Annotated[Any, "array"]  # numpy.ndarray or torch.Tensor (`typed` reads the mark)


def is_tensor(x: Any) -> bool:
    """Whether `x` is a torch tensor; torch is not imported for the question.

    Args:
        x: anything.

    Returns:
        True for a tensor.
    """
    torch = sys.modules.get("torch")  # no tensor exists before torch has been imported
    return torch is not None and isinstance(x, torch.Tensor)


def is_array(x: Any) -> bool:
    """Whether `x` is an array of a library known here, NumPy or torch.

    Args:
        x: anything.

    Returns:
        True for an array.
    """
    return isinstance(x, np.ndarray) or is_tensor(x)


def array_namespace(*arrays: Any) -> Any:
    """The array-API namespace that all arrays share.

    Args:
        *arrays: arrays of one library; numbers and None are passed over.

    Returns:
        The namespace: numpy, or array_api_compat.torch.

    Raises:
        TypeError: when libraries are mixed, or for anything but NumPy and torch.
    """
    found = None
    for a in arrays:
        if type(a) is np.ndarray:
            xp = np
        elif a is None or isinstance(a, (bool, int, float)):
            continue
        elif is_tensor(a):
            import array_api_compat.torch as xp
        elif issubclass(type(a), (np.ndarray, np.generic)) and not isinstance(a, UNLIKE):
            xp = np
        else:
            raise TypeError(
                f"wanted a NumPy array or a torch tensor, met {type(a).__name__}; pass plain "
                "numbers, such as np.asarray(x) or x.filled(np.nan)"
            )
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
    """The name of the library of `x`, for messages.

    Args:
        x: an array, or anything.

    Returns:
        "numpy" or "torch"; the name of the type for anything else.
    """
    return "torch" if is_tensor(x) else "numpy" if isinstance(x, np.ndarray) else type(x).__name__


def device(x: Array) -> Any:
    """The device of `x`.

    Args:
        x: an array.

    Returns:
        "cpu" for NumPy, a `torch.device` for torch.
    """
    return x.device


def fft(like: Array) -> Any:
    """The library of Fourier transforms for an array.

    Both have rfft, irfft, rfft2, irfft2 over the last axes, and keep single precision.

    Args:
        like: an array.

    Returns:
        `scipy.fft` or `torch.fft`.
    """
    if is_tensor(like):
        import torch

        return torch.fft
    # its transforms are half again as fast as those of numpy.fft on stacked fields
    import scipy.fft  # pyright: ignore[reportMissingTypeStubs]

    return scipy.fft


def to_numpy(x: Any) -> np.ndarray[Any, Any]:
    """`x` as a NumPy array, off the graph and off the GPU.

    Args:
        x: an array, a number or a list.

    Returns:
        A NumPy array; it may share memory with `x`.

    Raises:
        ValueError: for an array of which a part is masked.
    """
    if isinstance(x, UNLIKE) and np.ma.getmaskarray(x).any():
        raise ValueError("met a masked array; wanted numbers: x.filled(np.nan), or without them")
    if not is_tensor(x):
        return np.asarray(x)
    narrow = x.dtype.is_floating_point and (x.dtype.itemsize < 2 or "bfloat" in str(x.dtype))
    return (x.float() if narrow else x).numpy(force=True)  # NumPy has no such floats


def as_tensor(x: Array) -> Any:
    """`x` as a torch tensor of its own dtype; a tensor as it is.

    Args:
        x: an array.

    Returns:
        A tensor; for a NumPy array it may share its memory.
    """
    import torch

    return x if is_tensor(x) else convert(x, torch.as_tensor(np.empty(0, x.dtype)))


def is_float(x: Array) -> bool:
    """Whether an array holds real floating-point numbers.

    Args:
        x: an array.

    Returns:
        False for integers, booleans and complex numbers.
    """
    return x.dtype.is_floating_point if is_tensor(x) else np.issubdtype(x.dtype, np.floating)


def convert(x: Any, like: Array) -> Array:
    """`x` in the library and on the device of another array; floats also take its dtype.

    Args:
        x: an array, a number or a list.
        like: the array whose library, device and dtype are wanted.

    Returns:
        An array; `x` itself where nothing had to change.
    """
    if type(x) is type(like) is np.ndarray and x.dtype == like.dtype:
        return x
    if is_tensor(like):
        import torch

        if not is_tensor(x):
            x = np.asarray(to_numpy(x), order="C")  # ascontiguousarray adds an axis to a number
            x = torch.as_tensor(x if x.flags.writeable else x.copy())
        floating = x.dtype.is_floating_point or x.ndim == 0
        return x.to(device=like.device, dtype=like.dtype if floating else None)
    x = to_numpy(x)
    return x.astype(like.dtype, copy=False) if is_float(x) or x.ndim == 0 else x


def convert_tree(obj: Any, like: Array) -> Any:
    """`obj` with every array in it converted: walks dataclasses, tuples and lists.

    Neural networks are left where they are: moving a module would change the caller's own.

    Args:
        obj: anything.
        like: the array whose library, device and dtype are wanted.

    Returns:
        A copy; what holds no array comes back as the same object.
    """
    if is_array(obj):
        return convert(obj, like)
    if isinstance(obj, (tuple, list)):
        kind, held = cast(Any, type(obj)), cast(list[Any], obj)  # pyright: ignore
        new = [convert_tree(o, like) for o in held]
        if all(a is b for a, b in zip(held, new, strict=True)):
            return held
        return kind(*new) if hasattr(held, "_fields") else kind(new)  # a namedtuple?
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type) and not is_module(obj):
        fields = {f.name: getattr(obj, f.name) for f in dataclasses.fields(obj) if f.init}
        made = {k: convert_tree(v, like) for k, v in fields.items()}
        changed = {k: v for k, v in made.items() if v is not fields[k]}
        return dataclasses.replace(obj, **changed) if changed else obj
    return obj


def through(net: Any, f: Callable[[Array], Array], x: Array) -> Array:
    """`f(x)` in the library, precision and device of a network, brought back to those of x.

    Args:
        net: a `torch.nn.Module`.
        f: a function of tensors that uses it.
        x: an array of any library; derivatives pass where it is a tensor.

    Returns:
        The result, like x.
    """
    import torch

    inside = next(net.parameters())
    if is_tensor(x):
        return convert(f(convert(x, inside)), x)
    with torch.no_grad():
        return convert(f(convert(x, inside)), x)


def is_module(f: Any) -> bool:
    """Whether `f` is a `torch.nn.Module`; torch is not imported for the question.

    Args:
        f: anything.

    Returns:
        True for a module.
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(f, torch.nn.Module)


GRADIENTS: ContextVar[bool] = ContextVar("gradients", default=False)


def no_grad(like: Array) -> contextlib.AbstractContextManager[Any]:
    """A context without derivatives, in which overflow is silent: divergence is reported later.

    Inside `gradients()` derivatives are kept.

    Leave it before each `yield`: a context held open across one is still open in the loop of
    the caller.

    Args:
        like: an array: its library decides.

    Returns:
        A context manager.
    """
    if is_tensor(like):
        import torch

        return contextlib.nullcontext() if GRADIENTS.get() else torch.no_grad()
    return np.errstate(over="ignore", invalid="ignore")


def _one_thread() -> None:
    """In a forked process, leave torch one thread: the others stayed with the parent.

    A child that `fork` makes, such as a worker of a ProcessPoolExecutor on Linux, has the list of
    OpenMP's threads and not the threads, and would wait for them for ever.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread)
