"""What code does: the part of the walk that goes into functions, classes and modules."""

from __future__ import annotations

import dis
import importlib.util
import inspect
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .sealed import sha256

_GENERATED = {"__init__", "__repr__", "__eq__", "__hash__", "__replace__"}  # perhaps by dataclass
_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")

# What is used by a function that reads more than it is given.
_READS = {"open", "environ", "getenv", "loadtxt", "genfromtxt", "fromfile", "memmap", "read_text"}
_READS |= {"read_bytes", "read_csv", "open_dataset", "open_dataarray", "urlopen", "input"}
_READS |= {"read_parquet", "read_excel", "read_hdf", "read_json", "read_pickle", "read_sql"}
_READS |= {"open_zarr", "open_mfdataset", "open_array", "open_group", "netcdf_file", "loadmat"}
_READS |= {"urlretrieve", "Popen", "check_output", "CDLL"}
_OF = {  # what reads when it is of one of these modules
    "load": {"np", "numpy", "torch", "json", "pickle", "joblib"},
    "argv": {"sys"},
    "modules": {"sys"},
    "import_module": {"importlib"},
    "system": {"os"},
    "popen": {"os"},
    "run": {"subprocess"},
    "call": {"subprocess"},
}
_BY_NAME = {"eval", "exec", "globals", "__import__"}  # builtins that find whatever has a name


def is_own(module: Any) -> bool:
    """Whether a module is the user's: not Python's, this package's, or an installed one."""
    if not isinstance(module, str):  # of compiled code there may be no name
        return module is None
    top = module.partition(".")[0]
    if not top or top == "__main__":
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    installed = "site-packages" in file or "dist-packages" in file
    return not (installed or top == "dalearn" or top in sys.stdlib_module_names)


class Code(ABC):
    """Functions, classes and modules in words; `Walk` knows the rest."""

    digest: Any  # makes a fingerprint of texts and arrays
    way: list[int]  # the ids of what is being gone into
    unseen: set[str]  # what cannot be

    @abstractmethod
    def __call__(self, x: Any) -> str:
        """What `x` is."""

    def _methods(self, kind: type) -> str:
        """The fingerprint of what a class does, where it is the user's and may have changed."""
        parts = []
        for c in (*kind.__mro__, *type.mro(type(kind))):
            if not is_own(c.__module__):
                continue
            for name, value in sorted(vars(c).items()):
                hidden = name.startswith("__") and not _is_code(value)
                slot = isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType))
                made = name in _GENERATED and _is_generated(c, value)
                if not (hidden or slot or name.startswith("_abc_") or made):
                    parts.append(f"{name}={self(value)}")
        return f" {self.digest(parts)}" if parts else ""

    def _function(self, f: types.FunctionType) -> str:
        """The fingerprint of a function: its code, and the values and functions that it uses."""
        own = is_own(f.__module__)
        parts = list(self._code(f)) if own else [str(f.__module__)]
        for cell in f.__closure__ or ():
            try:
                parts.append(self(cell.cell_contents))
            except ValueError:  # it is empty yet
                parts.append("empty")
        if own:
            parts.append(self((f.__defaults__, f.__kwdefaults__, vars(f))))
        return f" {self.digest(parts)}"

    def _code(self, f: types.FunctionType) -> Iterator[str]:
        used, imported, attributes, stack = set(), set(), set(), [f.__code__]
        words: set[str] = set()  # getattr(module, "name")
        while stack:
            code = stack.pop()
            yield code.co_code.hex()
            yield " ".join(code.co_names)
            attributes.update(code.co_names)
            steps = list(dis.get_instructions(code))
            used.update(i.argval for i in steps if i.opname in _GLOBALS)
            imported.update(i.argval for i in steps if i.opname == "IMPORT_NAME")
            for c in code.co_consts:
                if isinstance(c, types.CodeType):
                    stack.append(c)
                else:
                    words |= {c} if isinstance(c, str) else set()
                    yield self(c)
        words |= attributes
        for name in sorted(used & f.__globals__.keys()):
            value = f.__globals__[name]
            if isinstance(value, types.ModuleType):
                yield f"{name}={self._module_of_code(value, words)}"
            else:
                yield f"{name}={self(value)}"
        for name in sorted(imported):
            yield self._imported(name, words)
        self._note_reads(f, attributes, used - f.__globals__.keys())

    def _note_reads(self, f: types.FunctionType, names: set[str], builtins: set[str]) -> None:
        """Say what a function takes from elsewhere when it is called."""
        homes = {n: getattr(f.__globals__.get(n), "__module__", None) for n in names}
        reads = {n for n in names & _READS if n not in f.__globals__ or not is_own(homes[n])}
        for n in names & _OF.keys():
            top = str(homes[n]).partition(".")[0]
            reads |= {n} if _OF[n] & {*names, top} else set()
        for what, found in (("reads", reads), ("finds by its name", builtins & _BY_NAME)):
            if found:
                self._not_seen(
                    f"what {f.__qualname__} {what} when it is called ({sorted(found)[0]})", ""
                )

    def _module_of_code(self, module: types.ModuleType, names: Iterable[str]) -> str:
        """A module that a function uses, and what it uses of it where it is the user's."""
        if not is_own(module.__name__):
            return module.__name__
        there = sorted(set(names) & vars(module).keys())
        return (
            f"{module.__name__}({', '.join(f'{n}={self._of(module, n, names)}' for n in there)})"
        )

    def _of(self, module: types.ModuleType, name: str, names: Iterable[str]) -> str:
        value = vars(module)[name]
        inner = isinstance(value, types.ModuleType) and id(value) not in self.way
        if not inner:
            return self(value)
        self.way.append(id(value))
        try:
            return self._module_of_code(value, names)
        finally:
            self.way.pop()

    def _imported(self, name: str, names: Iterable[str]) -> str:
        """A module that a function imports when it is called."""
        if name in sys.modules:
            return self._module_of_code(sys.modules[name], names)
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec and spec.origin and is_own(name) and "-packages" not in spec.origin:
            return f"{name} {sha256(Path(spec.origin))}"
        return name

    def _builtin(self, x: Any) -> str:
        """A function of compiled code: by its name, and by its file where that is the user's."""
        owner = getattr(x, "__self__", None)
        if isinstance(x, np.ufunc):
            special = sys.modules.get("scipy.special")
            there = any(getattr(m, x.__name__, None) is x for m in (np, special) if m)
            return f"{x!r}" if there else self._not_seen(f"the ufunc {x.__name__}", repr(x))
        if owner is not None and not isinstance(owner, types.ModuleType):
            return f"{self(owner)}.{x.__name__}"
        file = getattr(sys.modules.get(x.__module__ or ""), "__file__", None)
        own = file is not None and is_own(x.__module__)
        return f"{x.__module__}.{x.__qualname__}" + (f" {sha256(Path(str(file)))}" if own else "")

    def _not_seen(self, what: str, text: str) -> str:
        self.unseen.add(what)
        return f"{text} not seen"


def _is_generated(kind: type, method: Any) -> bool:
    """Whether a method is not the user's: made by dataclass, from the fields, as text."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    return "__dataclass_fields__" in vars(kind) and (code is None or "<" in code.co_filename)


def _is_code(x: Any) -> bool:
    return isinstance(x, (types.FunctionType, staticmethod, classmethod, property))
