"""Arrays that are made once and kept, for each library, dtype and device."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, cast

from .library import Array, array_namespace, convert_tree, device, is_tensor

LIMIT = 2**27  # bytes of what is kept for all, together; what was made first goes first

KEPT = 8  # names in a store of one object: its own arrays, in the libraries that asked for them

SMALL = 128  # the largest identity that is kept: a larger one costs less than what is done with it


class Store:
    """Values that are made once, of at most so many bytes in all.

    It has no lock: each step is a single one of Python's dictionary, so threads may share it (two
    may make the same value), and a fork never inherits a lock that nobody will open.

    Args:
        limit: bytes; a larger value is made each time.
        count: values.
    """

    def __init__(self, limit: int = LIMIT, count: int = 1024):
        self.limit, self.count = limit, count
        self.values: dict[Hashable, tuple[int, Any]] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What is kept under a key; made where it is not there.

        Args:
            key: of the value; no two values share one.
            make: a function without arguments.

        Returns:
            The value. It is shared, so it must not be written to.
        """
        found = self.values.get(key)
        if found is not None:
            return found[1]
        value = make()
        size = weight(value)
        if size <= self.limit:
            self.values[key] = size, value
            self._trim()
        return value

    def _trim(self) -> None:
        held = list(self.values.items())
        total, count = sum(size for _, (size, _) in held), len(held)
        for key, (size, _) in held:
            if total <= self.limit and count <= self.count:
                break
            self.values.pop(key, None)
            total, count = total - size, count - 1

    def __len__(self) -> int:
        return len(self.values)


def weight(value: Any) -> int:
    """How many bytes the arrays in a value hold.

    Args:
        value: an array, or what holds arrays: tuples, lists, dictionaries, dataclasses.

    Returns:
        Bytes; a few for anything else.
    """
    held = getattr(value, "nbytes", None)
    if isinstance(held, int):
        return held
    if isinstance(value, dict):
        value = list(cast(dict[Any, Any], value).values())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = list(vars(value).values()) if hasattr(value, "__dict__") else []
    if isinstance(value, (tuple, list)):
        return 64 + sum(map(weight, cast(list[Any], value)))
    return sys.getsizeof(value, 64)


SHARED = Store()


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
        store: a dictionary of the object whose arrays they are, for this function alone.
        name: of the constant; no two constants of a store share one.
        like: an array: its library, dtype and device are wanted.
        make: a function that returns NumPy arrays of real numbers, or a tuple of them.

    Returns:
        The arrays in the library of `like`.
    """
    key = name, is_tensor(like), like.dtype, device(like)
    value = store.get(key)
    if value is None:
        value = _made(make, like)
        for old in list(store)[: max(0, len(store) - KEPT + 1)]:
            store.pop(old, None)
        store[key] = value
    return value


def _made(make: Callable[[], Any], like: Array) -> Any:
    with lasting(like):
        return convert_tree(make(), like)


def constant(make: Callable[..., Any], *args: Any, like: Array) -> Any:
    """`make(*args)` in the library of `like`, kept for all who ask for the same.

    Args:
        make: a function of hashable arguments that returns NumPy arrays of real numbers.
        *args: its arguments.
        like: an array: its library, dtype and device are wanted.

    Returns:
        The arrays in the library of `like`.
    """
    key = (make, args), is_tensor(like), like.dtype, device(like)
    found = SHARED.values.get(key)  # asked in every step of a model
    return found[1] if found else SHARED.get(key, lambda: _made(lambda: make(*args), like))


def _new_eye(xp: Any, n: int, dtype: Any, where: Any) -> Array:
    with lasting(xp.empty(0)):
        return xp.eye(n, dtype=dtype, device=where)


_eye = lru_cache(maxsize=64)(_new_eye)  # a dictionary of C: asked in every step; 8 MB at most


def eye(n: int, like: Array) -> Array:
    """The identity matrix of size n, made once where it is small (`SMALL`).

    Args:
        n: its size.
        like: an array: its library, dtype and device are wanted.

    Returns:
        A matrix `(n, n)`; it is shared, so it must not be written to.
    """
    make = _eye if n <= SMALL else _new_eye
    return make(array_namespace(like), n, like.dtype, device(like))


@lru_cache(maxsize=64)  # a number for each member
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
