"""Arrays that are made once and kept, for each library, dtype and device."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

from .library import Array, array_namespace, convert_tree, device, is_tensor

KEPT = 64  # how many a store holds; the oldest goes first

_LOCK = threading.Lock()  # threads may share the stores
_CONSTANTS: dict[Hashable, Any] = {}


def lasting(like: Any) -> contextlib.AbstractContextManager[Any]:
    """A context that disables inference_mode, so cached tensors can later be differentiated.

    Args:
        like: an array; only tensors need it.

    Returns:
        A context manager.
    """
    torch = sys.modules.get("torch")
    return torch.inference_mode(False) if torch and is_tensor(like) else contextlib.nullcontext()


def kept(store: dict[Hashable, Any], name: Hashable, like: Array, make: Callable[[], Any]) -> Any:
    """What a store holds under a name for the library of `like`; made where it is not there.

    Args:
        store: a dictionary of the caller's, for this function alone.
        name: of the constant; no two constants of a store share one.
        like: an array: its library, dtype and device are wanted.
        make: a function that returns NumPy arrays of real numbers, or a tuple of them.

    Returns:
        The arrays in the library of `like`.
    """
    key = name, is_tensor(like), like.dtype, device(like)
    value = store.get(key)
    if value is None:
        with lasting(like):
            value = convert_tree(make(), like)
        with _LOCK:
            while len(store) >= KEPT:
                store.pop(next(iter(store)))
            store[key] = value
    return value


def constant(make: Callable[..., Any], *args: Any, like: Array) -> Any:
    """`make(*args)` in the library of `like`, kept for all who ask for the same.

    Args:
        make: a function of hashable arguments that returns NumPy arrays of real numbers.
        *args: its arguments.
        like: an array: its library, dtype and device are wanted.

    Returns:
        The arrays in the library of `like`.
    """
    return kept(_CONSTANTS, (make, args), like, lambda: make(*args))


@lru_cache(maxsize=KEPT)  # a dictionary of C, not of Python: these two are asked in every step
def _eye(xp: Any, n: int, dtype: Any, where: Any) -> Array:
    with lasting(xp.empty(0)):
        return xp.eye(n, dtype=dtype, device=where)


def eye(n: int, like: Array) -> Array:
    """The identity matrix of size n, made once for each library, dtype and device.

    Args:
        n: its size.
        like: an array: its library, dtype and device are wanted.

    Returns:
        A matrix `(n, n)`; it is shared, so it must not be written to.
    """
    return _eye(array_namespace(like), n, like.dtype, device(like))


@lru_cache(maxsize=KEPT)
def _average(xp: Any, N: int, dtype: Any, where: Any) -> Array:
    with lasting(xp.empty(0)):
        return xp.full((1, N), 1 / N, dtype=dtype, device=where)


def row_mean(E: Array) -> Array:
    """The mean over the rows: one matrix product, in half the time of `mean`.

    Args:
        E: an ensemble `(..., N, n)`.

    Returns:
        Its mean `(..., 1, n)`.
    """
    return _average(array_namespace(E), E.shape[-2], E.dtype, device(E)) @ E
