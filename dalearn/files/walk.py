"""What a thing is, in words that are the same in another process: the walk that `describe` takes.

It goes into attributes, slots and containers; into functions, with their code, defaults, closures
and the globals that they use; into classes and modules of the user, in any of their files.
Python's own, this package's and installed ones are known by their names alone: an upgrade must
not part a file from its run. What it cannot go into, it names in `unseen`.
"""

from __future__ import annotations

import collections
import enum
import functools
import io
import logging
import threading
import types
import weakref
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ..array import is_array, is_module, is_tensor
from .code import Code, is_own

ATOMS = (type(None), bool, int, float, complex, str, bytes)

_QUIET = (logging.Logger, weakref.ref, type(threading.Lock()), type(threading.RLock()))
_TEXT = 400  # letters of a description; longer ones are cut, and known by their digest


class Walk(Code):
    """A walk through things that belong together; each is gone into once.

    Args:
        digest: makes a fingerprint of texts and arrays.
        weights: whether the numbers of a torch module are part of what it is.
    """

    def __init__(self, digest: Any, weights: bool = True):
        self.digest, self.weights = digest, weights
        self.known: dict[int, tuple[Any, str]] = {}  # by id; the thing is kept, or ids come again
        self.way: list[int] = []
        self.unseen: set[str] = set()

    def __call__(self, x: Any) -> str:
        """What `x` is."""
        if isinstance(x, np.generic) and x.dtype.kind in "biufc":
            x = x.item()
        if type(x) in ATOMS:
            return repr(x)
        if id(x) in self.way:
            return "." * (len(self.way) - self.way.index(id(x)))  # so many steps back
        if id(x) not in self.known:
            self.way.append(id(x))
            try:
                text = self._text(x)
            finally:
                self.way.pop()
            if len(text) > _TEXT:
                text = f"{text[:60]}... {self.digest([text])}"
            self.known[id(x)] = x, text
        return self.known[id(x)][1]

    def _text(self, x: Any) -> str:
        if is_array(x) or is_tensor(x):
            return self._array(x)
        given = (
            None if isinstance(x, (type, types.ModuleType)) else getattr(x, "fingerprint", None)
        )
        if given is not None:
            return f"{type(x).__qualname__} fingerprint {given() if callable(given) else given}"
        if isinstance(x, types.FunctionType):
            return f"{x.__qualname__}{self._function(x)}"
        if isinstance(x, types.MethodType):
            return f"{self(x.__self__)}.{self(x.__func__)}"
        if isinstance(x, type):
            return f"{x.__qualname__}{self._methods(x)}"
        if isinstance(x, types.ModuleType):
            return self._module_of_code(x, [n for n in vars(x) if not n.startswith("__")])
        if isinstance(x, (types.BuiltinFunctionType, np.ufunc)):
            return self._builtin(x)
        if isinstance(x, (staticmethod, classmethod)):
            return self(x.__func__)
        if isinstance(x, property):
            return self((x.fget, x.fset))
        if isinstance(x, functools.cached_property):
            return self(x.func)
        if isinstance(x, functools.partial):
            return f"partial({self((x.func, x.args, x.keywords))})"
        if hasattr(x, "cache_parameters") and hasattr(x, "__wrapped__"):
            return f"cached {self(x.__wrapped__)}"
        if isinstance(x, enum.Enum):
            return f"{type(x).__qualname__}.{x.name} {self(x.value)}"
        name = f"{type(x).__qualname__}{self._methods(type(x))}"
        if isinstance(x, _QUIET):
            return type(x).__qualname__
        if is_module(x) and hasattr(x, "_orig_mod"):  # what torch.compile makes
            return f"compiled {self(x._orig_mod)}"
        if is_module(x):
            return f"{name} {self.digest([repr(x), *self._torch(x)])}"
        return self._object(x, name)

    def kind(self, x: Any) -> str:
        """The class of a dataclass, and what its object holds beside the fields."""
        kind, named = type(x), {f.name for f in fields(x)}
        more = {k: v for k, v in _attributes(x).items() if k not in named}
        text = f" {self(more)}" if more and is_own(kind.__module__) else ""
        return f"{kind.__qualname__}{self._methods(kind)}{text}"

    # --- values ---------------------------------------------------------------------------------

    def _array(self, x: Any) -> str:
        if isinstance(x, np.ma.MaskedArray):
            return f"masked {self((np.asarray(x.filled(0)), np.ma.getmaskarray(x)))}"
        about = f"{x.dtype} {tuple(x.shape)}"
        if isinstance(x, np.ndarray) and getattr(x, "__dict__", None):
            about = f"{type(x).__qualname__} {self(vars(x))} {about}"
        if getattr(x, "is_sparse", False):
            whole: Any = x.coalesce()  # pyright: ignore[reportAttributeAccessIssue]
            return f"sparse {about} {self((whole.indices(), whole.values()))}"
        if isinstance(x, np.ndarray) and x.dtype.hasobject:
            return f"{about} {self(x.tolist())}"
        try:
            return f"{about} {self.digest([x])}"
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            return self._not_seen(f"an array of {type(x).__qualname__}", about)

    def _object(self, x: Any, name: str) -> str:
        kind = type(x)
        if isinstance(x, (dict, types.MappingProxyType)):
            pairs = sorted((self(k), self(v)) for k, v in x.items())
            text = f"{{{', '.join(f'{k}: {v}' for k, v in pairs)}}}"
            text += self(x.default_factory) if isinstance(x, collections.defaultdict) else ""
        elif isinstance(x, (tuple, list)):
            text = f"({', '.join(map(self, x))})"
        elif isinstance(x, (set, frozenset)):
            text = f"{{{', '.join(sorted(map(self, x)))}}}"
        elif is_dataclass(x):
            given = {f.name: getattr(x, f.name) for f in fields(x) if f.init}
            text = f"({', '.join(f'{k}={self(v)}' for k, v in given.items())})"
            return f"{self.kind(x)}{text}"
        else:
            return self._plain(x, name)
        builtin = kind in (dict, tuple, list, set, frozenset, types.MappingProxyType)
        return text if builtin else f"{name}{text}{self(_attributes(x))}"

    def _plain(self, x: Any, name: str) -> str:
        """An object of any class: its attributes, or what a pickle of it would hold."""
        kind = type(x)
        top = kind.__module__.partition(".")[0]
        if top == "xarray" and hasattr(x, "to_dict"):
            return f"{name} {self(x.to_dict(data='array'))}"
        if hasattr(x, "py_func"):  # of numba
            return f"{name} {self(x.py_func)}"
        if x is np.random.mtrand._rand:  # what every process shares, and anybody draws from
            return name
        if isinstance(x, np.random.RandomState):
            return f"{name} {self(x.get_state(legacy=False))}"
        if isinstance(x, np.random.Generator):
            return f"{name} {self(x.bit_generator.state)}"
        parts = []
        if is_own(kind.__module__) or top == "dalearn":
            parts.append(self(_attributes(x)))
            # what a base of compiled code holds is in no attribute
            if all(c is object or c.__flags__ & 1 << 9 for c in kind.__mro__):
                return f"{name} {parts[0]}"
        if isinstance(x, io.IOBase):
            return self._not_seen("an open file", name)
        try:
            reduced = x.__reduce_ex__(2)
            if not isinstance(reduced, str):
                head, rest = reduced[:3], [v and list(v) for v in reduced[3:5]]
                reduced = (*head, *rest)
        except Exception:  # a class may raise what it likes
            if getattr(x, "__dict__", None):
                return f"{name} {self(_attributes(x))}"
            return self._not_seen(f"{kind.__module__}.{kind.__qualname__}", name)
        return f"{name} {self(reduced)} {' '.join(parts)}"

    def _torch(self, x: Any) -> Iterator[str]:
        """The parts of a torch module: what it holds, its numbers, hooks and plain attributes."""
        numbers = {**x._parameters, **x._buffers}
        for name, value in numbers.items():
            if value is None or self.weights:
                yield f"{name} {self(value)}"
            else:
                yield f"{name} {value.dtype} {tuple(value.shape)}"
        for name, value in sorted(_attributes(x).items()):
            if name in ("_parameters", "_buffers", "_flat_weights", "_flat_weight_refs"):
                continue
            if name == "training" and not self.weights:
                continue
            if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")):
                value = list(value.values()) if isinstance(value, dict) else value  # keys count up
            yield f"{name} {self(value)}"


def _attributes(x: Any) -> dict[str, Any]:
    """The attributes and slots of an object, without what a cached property has kept."""
    found = dict(getattr(x, "__dict__", {}))
    for c in type(x).__mro__:
        slots = vars(c).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            real = f"_{c.__name__.lstrip('_')}{name}" if private else name
            if hasattr(x, real) and name not in ("__dict__", "__weakref__"):
                found[name] = getattr(x, real)
    kept = functools.cached_property
    return {k: v for k, v in found.items() if not isinstance(getattr(type(x), k, None), kept)}
