"""Numbers that a function holds, such as a count of its calls: does its result hang on them?

A function that counts its calls is no function of the state. It may act only every fiftieth call,
so that a few calls show nothing; but the number can be seen to move, and can be moved on. Numbers
are looked for in attributes and variables, in small arrays and in the lengths of lists.
"""

from __future__ import annotations

import functools
import time
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..array import is_array, to_numpy

AHEAD = (*range(1, 65), 100, 365, 1000, 10_000, 1_000_000)  # calls by which a number is moved on
PATIENCE = 0.5  # seconds, after which no more is tried
LONGEST = 10_000  # entries that a list is lengthened by, at most
SMALL = 8  # numbers of an array that may be a count
SEARCHED = 2000  # objects that are looked into, at most


class Place(NamedTuple):
    """Where a number is held: its name there, how to read it and how to replace it."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]


class Numbers:
    """The numbers that a function holds: in attributes, closures, globals, lists and dicts.

    Args:
        f: the function, which has been called before: what it makes once is made.
    """

    def __init__(self, f: Any):
        self._places = [(p, p.read()) for p in _places(f)]
        self._moved: list[tuple[Place, Any, Any]] = []

    def moved(self, calls: int) -> None:
        """Note which of them differ from those at first, and by how much for each of the calls."""
        for place, old in self._places:
            new = place.read()
            change = _change(old, new)
            if change is not None:
                even = isinstance(change, int) and change % calls == 0
                self._moved.append((place, new, change // calls if even else change / calls))

    def acting(self, same: Callable[[], bool]) -> str:
        """The names of those that moved, where moving them on makes `same()` false; else "".

        They are put back afterwards.
        """
        began = time.perf_counter()
        try:
            for calls in AHEAD if self._moved else ():
                for place, now, step in self._moved:
                    ahead = now + calls * step
                    place.write(type(now)(ahead) if _is_number(now) else ahead)
                if not same():
                    return ", ".join(place.name for place, _, _ in self._moved)
                if time.perf_counter() - began > PATIENCE:
                    break
        except Exception:  # an index, say, that has left its table
            return ", ".join(place.name for place, _, _ in self._moved)
        finally:
            for place, now, _ in self._moved:
                place.write(now)
        return ""


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, np.number)) and not isinstance(x, bool)


def _change(old: Any, new: Any) -> Any:
    """By how much a number or a small array differs; None where it does not, or is none."""
    if _is_small(old) and _is_small(new) and old.shape == new.shape:
        change = new.astype(float) - old.astype(float)
        return change if change.any() and np.isfinite(change).all() else None
    if _is_number(old) and _is_number(new) and new != old and new - old == new - old:
        return new - old
    return None


def _is_small(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.size <= SMALL and x.dtype.kind in "iuf"


def _places(f: Any) -> Iterator[Place]:
    """The places of all numbers that can be reached from `f`."""
    stack, seen = [f], {}
    while stack and len(seen) < SEARCHED:
        owner = stack.pop()
        if id(owner) in seen:
            continue
        seen[id(owner)] = owner  # kept, so that no other has its id
        for place in _held(owner):
            value = place.read()
            if _is_number(value):
                yield place
            elif is_array(value) and _is_small(value := to_numpy(value)):
                yield Place(place.name, value.copy, functools.partial(value.__setitem__, ...))
            elif not (value is None or is_array(value) or isinstance(value, LEAVES)):
                stack.append(value)


LEAVES = (str, bytes, bool, complex, type, types.ModuleType, types.BuiltinFunctionType)


def _held(owner: Any) -> Iterator[Place]:
    """What an object, a function, a list or a dict holds."""
    if isinstance(owner, (list, tuple, dict)):
        for key in list(owner if isinstance(owner, dict) else range(len(owner))):
            write = _nowhere if isinstance(owner, tuple) else owner.__setitem__
            yield _item(owner, key, write)
        if isinstance(owner, list):
            yield Place("the length of a list", owner.__len__, functools.partial(_lengthen, owner))
        return
    if isinstance(owner, functools.partial):
        yield Place("func", lambda: owner.func, _nowhere)
        yield Place("args", lambda: (owner.args, owner.keywords), _nowhere)
    if isinstance(owner, types.MethodType):
        yield Place("self", lambda: owner.__self__, _nowhere)
        yield Place("func", lambda: owner.__func__, _nowhere)
    if isinstance(owner, types.FunctionType):
        yield from _of_code(owner)
    for name in [*getattr(owner, "__dict__", ()), *_slots(owner)]:
        write = functools.partial(object.__setattr__, owner, name)
        yield Place(name, functools.partial(getattr, owner, name, None), write)
    own = (
        ()
        if isinstance(owner, (types.FunctionType, types.MethodType))
        else ("__call__", "forward")
    )
    for kind in type(owner).__mro__ if own else ():
        if kind.__module__.partition(".")[0] in ("builtins", "torch", "functools", "dalearn"):
            continue
        for name, value in list(vars(kind).items()):
            if name in own or _is_number(value):  # a method's code; a count in the class
                write = functools.partial(setattr, kind, name)
                yield Place(name, functools.partial(vars(kind).get, name), write)


def _of_code(f: types.FunctionType) -> Iterator[Place]:
    """What a function holds in its closure, its defaults and the globals that it names."""
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
        read = functools.partial(getattr, cell, "cell_contents", None)
        yield Place(name, read, functools.partial(setattr, cell, "cell_contents"))
    yield Place("defaults", lambda: (f.__defaults__, f.__kwdefaults__), _nowhere)
    for name in f.__code__.co_names:
        value = f.__globals__.get(name)
        if _is_number(value) or isinstance(value, (list, dict)):
            yield _item(f.__globals__, name, f.__globals__.__setitem__)


def _slots(owner: Any) -> list[str]:
    found = [vars(kind).get("__slots__", ()) for kind in type(owner).__mro__]
    return [name for s in found for name in ((s,) if isinstance(s, str) else s)]


def _item(owner: Any, key: Any, write: Callable) -> Place:
    def read() -> Any:
        try:
            return owner[key]
        except (KeyError, IndexError):
            return None

    return Place(str(key), read, functools.partial(write, key))


def _lengthen(owner: list, length: int) -> None:
    """More of the last entry, or fewer entries."""
    more = min(int(length) - len(owner), LONGEST)
    owner.extend(owner[-1:] * more)
    del owner[max(0, length) if more < 0 else len(owner) :]


def _nowhere(*_: Any) -> None:
    """In a tuple, and the like, nothing can be replaced."""
