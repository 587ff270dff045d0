"""What was asked for, in words that are the same in another process, so that a file knows it."""

from __future__ import annotations

import functools
import hashlib
import re
import types
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ..array import is_array, is_module, to_numpy


def digest(pieces: Iterable[Any]) -> str:
    """A short fingerprint of text and arrays, one after another."""
    h = hashlib.sha256()
    for p in pieces:
        h.update(p.encode() if isinstance(p, str) else np.ascontiguousarray(p).data)
    return h.hexdigest()[:16]


def describe(x: Any, seen: tuple[int, ...] = ()) -> str:
    """What `x` is, in words that are the same in another process; arrays by their fingerprint."""
    if id(x) in seen:
        return "..."
    inner = (*seen, id(x))
    if is_array(x):
        try:
            a = to_numpy(x)
        except TypeError:  # a dtype that NumPy does not have
            a = to_numpy(x.float())
        return f"{x.dtype} {tuple(x.shape)} {digest([a])}"
    if isinstance(x, np.generic):
        x = x.item()
    if x is None or isinstance(x, (bool, int, float, complex, str, bytes)):
        return repr(x)
    if isinstance(x, (tuple, list)):
        return f"({', '.join(describe(v, inner) for v in x)})"
    if isinstance(x, dict):
        return f"{{{', '.join(f'{k!s}: {describe(v, inner)}' for k, v in x.items())}}}"
    if isinstance(x, types.FunctionType):
        return f"{x.__qualname__} {_code(x, inner)}"
    if isinstance(x, types.MethodType):
        return f"{describe(x.__self__, inner)}.{x.__name__}"
    if isinstance(x, functools.partial):
        return f"partial({describe((x.func, x.args, x.keywords), inner)})"
    name = type(x).__qualname__
    if is_module(x):
        return f"{name} {digest([repr(x), describe(dict(x.state_dict()), inner)])}"
    if is_dataclass(x) and not isinstance(x, type):
        given = {f.name: getattr(x, f.name) for f in fields(x) if f.init}
        return f"{name}({', '.join(f'{k}={describe(v, inner)}' for k, v in given.items())})"
    if getattr(x, "__dict__", None) and not isinstance(x, type):
        return f"{name} {describe(vars(x), inner)}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(x))


def _code(f: types.FunctionType, seen: tuple[int, ...]) -> str:
    """The fingerprint of a function: its code, and the values and functions that it uses."""
    parts, names, stack = [], set(), [f.__code__]
    while stack:
        code = stack.pop()
        parts.append(code.co_code.hex())
        names.update(code.co_names)
        for c in code.co_consts:
            if isinstance(c, types.CodeType):
                stack.append(c)
            else:
                parts.append(repr(sorted(map(repr, c)) if isinstance(c, frozenset) else c))
    own = types.FunctionType
    for name in sorted(names):
        value = f.__globals__.get(name)
        ours = isinstance(value, own) and value.__module__ == f.__module__
        if ours or is_array(value) or isinstance(value, (int, float, np.generic)):
            parts.append(f"{name}={describe(value, seen)}")
    parts += [describe(cell.cell_contents, seen) for cell in f.__closure__ or ()]
    parts.append(describe((f.__defaults__, f.__kwdefaults__), seen))
    return digest(parts)


def entries(name: str, x: Any) -> dict[str, str]:
    """`x` described under `name`; a dataclass with an entry for each of its fields."""
    if not is_dataclass(x) or isinstance(x, type) or is_module(x):
        return {name: describe(x)}
    given = {f"{name}.{f.name}": describe(getattr(x, f.name)) for f in fields(x) if f.init}
    return {name: type(x).__qualname__, **given}
