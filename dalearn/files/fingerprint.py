"""What was asked for, in words that are the same in another process, so that a file knows it."""

from __future__ import annotations

import dis
import functools
import hashlib
import re
import sys
import types
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ..array import is_array, is_module, is_tensor


def digest(pieces: Iterable[Any], length: int | None = 16) -> str:
    """A fingerprint of text and arrays, one after another: SHA-256 of their bytes.

    Args:
        pieces: texts, and arrays of any library and number type.
        length: how many hexadecimal digits; None for all 64.

    Returns:
        The digits.
    """
    h = hashlib.sha256()
    for p in pieces:
        h.update(p.encode() if isinstance(p, str) else _bytes(p))
    return h.hexdigest()[:length]


def _bytes(x: Any) -> Any:
    if is_tensor(x):  # seen as bytes: NumPy does not have all of torch's types
        import torch

        x = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return np.ascontiguousarray(x).data


def describe(x: Any, seen: tuple[int, ...] = ()) -> str:
    """What `x` is, in words that are the same in another process; arrays by their fingerprint."""
    if id(x) in seen:
        return "..."
    inner = (*seen, id(x))
    if is_array(x):
        return f"{x.dtype} {tuple(x.shape)} {digest([x])}"
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
    if isinstance(x, type):
        return f"{x.__qualname__}{_methods(x, inner)}"
    methods = _methods(type(x), inner)
    name = f"{type(x).__qualname__}{methods}"
    if is_module(x):
        parts = {f"{type(m).__qualname__}{_methods(type(m), inner)}" for m in x.modules()}
        weights = describe(dict(x.state_dict()), inner)
        return f"{name} {digest([repr(x), weights, *sorted(parts)])}"
    if is_dataclass(x):
        given = {f.name: getattr(x, f.name) for f in fields(x) if f.init}
        return f"{name}({', '.join(f'{k}={describe(v, inner)}' for k, v in given.items())})"
    if getattr(x, "__dict__", None):
        return f"{name} {describe(vars(x), inner)}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(x)) + methods


def _methods(kind: type, seen: tuple[int, ...]) -> str:
    """The fingerprint of what a class does, where it is the user's own and may have changed.

    Packages are known by their names alone: an upgrade must not part a file from its run.
    """
    parts = []
    for c in filter(_is_own, kind.__mro__):
        for name, value in sorted(vars(c).items()):
            value = getattr(value, "fget", getattr(value, "func", value))  # a property
            value = getattr(value, "__func__", value)  # a class method
            if isinstance(value, types.FunctionType):
                parts += [f"{name} {_code(value, seen)}"] * (name not in _GENERATED)
            elif _is_data(value) and not name.startswith("__"):
                parts.append(f"{name}={describe(value, seen)}")
    return f" {digest(parts)}" if parts else ""


_GENERATED = {"__init__", "__repr__", "__eq__", "__hash__", "__replace__"}  # by dataclass


def _is_own(kind: type) -> bool:
    """Whether a class is neither Python's, nor this package's, nor from an installed one."""
    top = kind.__module__.partition(".")[0]
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    installed = "site-packages" in file or "dist-packages" in file
    return not (installed or top == "dalearn" or top in sys.stdlib_module_names)


def _is_data(value: Any) -> bool:
    kinds = int, float, str, np.generic, tuple, list, dict
    return is_array(value) or isinstance(value, kinds)


def _code(f: types.FunctionType, seen: tuple[int, ...]) -> str:
    """The fingerprint of a function: its code, and the values and functions that it uses."""
    parts, names, stack = [], set(), [f.__code__]
    while stack:
        code = stack.pop()
        parts.append(code.co_code.hex())
        parts.append(" ".join(code.co_names))
        names.update(i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL")
        for c in code.co_consts:
            if isinstance(c, types.CodeType):
                stack.append(c)
            else:
                parts.append(repr(sorted(map(repr, c)) if isinstance(c, frozenset) else c))
    own = types.FunctionType
    for name in sorted(names):
        value = f.__globals__.get(name)
        ours = isinstance(value, (own, type)) and value.__module__ == f.__module__
        if ours or _is_data(value) or is_module(value) or is_dataclass(value):
            parts.append(f"{name}={describe(value, seen)}")
    parts += [describe(cell.cell_contents, seen) for cell in f.__closure__ or ()]
    parts.append(describe((f.__defaults__, f.__kwdefaults__), seen))
    return digest(parts)


def entries(name: str, x: Any) -> dict[str, str]:
    """`x` described under `name`; a dataclass with an entry for each of its fields."""
    if not is_dataclass(x) or isinstance(x, type) or is_module(x):
        return {name: describe(x)}
    given = {f"{name}.{f.name}": describe(getattr(x, f.name)) for f in fields(x) if f.init}
    return {name: f"{type(x).__qualname__}{_methods(type(x), ())}", **given}


def differences(known: dict[str, str], asked: dict[str, str]) -> str:
    """What a call asks for that a file does not answer, in words; "" where they agree."""
    return "; ".join(
        f"{k} (the file has {known.get(k, 'none')}, this call {asked.get(k, 'none')})"
        for k in {**known, **asked}
        if known.get(k) != asked.get(k)
    )
