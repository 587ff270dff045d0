"""Arguments that are what their annotations say: a count is no text, a flag no word.

`@typed` stands on a class or a function. What a value may be is read from the annotation; what
size it may have is checked by the body, with the functions of `checks`.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import re
import sys
import types
import typing
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

from . import kinds
from .kinds import NO, is_a

T = TypeVar("T")
LATER = {  # names that many files import for the type checker alone, and where they are
    "xr": ("xarray", ""),
    "Dataset": ("xarray", "Dataset"),
    "DataArray": ("xarray", "DataArray"),
    "Axes": ("matplotlib.axes", "Axes"),
}


WITHIN = ("dalearn", "contextlib", "tqdm")  # what stands between a warning and the user's line


class Rule(NamedTuple):
    """What a value must be, in words, and a function that gives it back, or NO."""

    words: str
    take: Callable[[Any], Any]
    error: type[Exception] = TypeError
    each: Callable[[Any], Any] | None = None  # the same for what stands in a sequence


def typed(made: T) -> T:
    """The class or the function, which refuses arguments that are not what its annotations say.

    `int`, `float` (finite), `bool`, `str`, Literal, None, tuples and sequences of them, classes
    (an instance is wanted), functions and protocols (a class is refused), `Array`, `Swept`,
    `Filled` and `Bound`. Other annotations are not checked. NumPy's numbers become Python's, whose
    dtype is weak, and lists become arrays where an array is wanted.

    Args:
        made: a class or a function.

    Returns:
        The class itself, whose constructor checks; for a function, one that checks and calls it.
    """
    whole: Any = made
    function = whole.__init__ if isinstance(made, type) else whole
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        rules = _rules_of(function, whole.__module__)  # not in a closure, which files know
        given = [_take(n, a, rules) for n, a in zip(names, args, strict=False)]
        named = {n: _take(n, a, rules) for n, a in kwargs.items()} if kwargs else kwargs
        return function(*given, *args[len(given) :], **named)

    if not isinstance(made, type):
        return typing.cast(T, call)
    whole.__init__ = call
    return made


def _take(name: str, value: Any, rules: dict[str, Rule]) -> Any:
    rule = rules.get(name)
    if rule is None:
        return value
    taken = rule.take(value)
    if taken is NO:
        raise rule.error(f"{name} must be {rule.words}, met {shown(value)}{_where(rule, value)}")
    return taken


def _where(rule: Rule, value: Any) -> str:
    """The place in a sequence where it goes wrong, in words."""
    held: Any = kinds.parts(value) if rule.each and not getattr(value, "shape", ()) else NO
    if held is NO or rule.each is None:
        return ""
    bad = [f", with {shown(v)} at place {i}" for i, v in enumerate(held) if rule.each(v) is NO]
    return bad[0] if bad else ""


def warn(message: str, kind: type[Warning] = UserWarning) -> None:
    """A warning that points at the line outside the package which led to it.

    Args:
        message: what to say.
        kind: the class of the warning.
    """
    level, frame = 2, sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and _home(frame) in WITHIN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, kind, stacklevel=level)


def _home(frame: types.FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def shown(value: Any) -> str:
    """A value for a message: the shape of an array, the name of a class, else a short repr.

    Args:
        value: anything.

    Returns:
        One line of at most a hundred letters.
    """
    if is_a(value, type):
        return f"the class {value.__name__}"
    if getattr(value, "shape", ()):
        kind = type(value).__name__
        return f"{kind} of shape {tuple(value.shape)} and dtype {getattr(value, 'dtype', None)}"
    text = repr(value).replace("\n", " ")
    if is_a(value, list, tuple, dict):
        text = f"{text[:80]} ({type(value).__name__})"
    return text if len(text) < 100 else f"{text[:60]}... ({type(value).__name__})"


@functools.cache
def _rules_of(function: Any, module: str) -> dict[str, Rule]:
    """The rules of the parameters that have one; made at the first call, when names are known."""
    names: dict[str, Any] = vars(sys.modules[module])
    found: dict[str, Rule] = {}
    for p in inspect.signature(function).parameters.values():
        many = p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        rule = None if many or p.annotation is p.empty else _rule(_resolved(p.annotation, names))
        if rule is not None:
            found[p.name] = rule
    return found


def _resolved(hint: Any, names: dict[str, Any]) -> Any:
    if not isinstance(hint, str):
        return hint
    known: dict[str, Any] = {}
    for word in re.findall(r"[A-Za-z]+", hint):
        if word in LATER and word not in names:
            module, part = LATER[word]
            known[word] = getattr(import_module(module), part) if part else import_module(module)
    try:
        return eval(hint, {**known, **names})
    except NameError:  # imported for the type checker alone
        return Any


def _rule(hint: Any) -> Rule | None:
    """The rule of an annotation; None where it allows anything."""
    if hint in SIMPLE:
        return SIMPLE[hint]
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return MARKED.get(parts[1])
    if origin is typing.Literal:
        return Rule(
            " or ".join(map(repr, parts)), functools.partial(kinds.choice, parts), ValueError
        )
    if origin is type and isinstance(parts[0], type):
        return Rule(
            f"the class {parts[0].__name__} or one of its kind",
            functools.partial(kinds.subclass, parts[0]),
        )
    if origin in (typing.Union, types.UnionType):
        rules = [_rule(p) for p in parts]
        return None if None in rules else _either(typing.cast("list[Rule]", rules))
    if origin is tuple and parts[-1] is not Ellipsis:
        inner = _rule(parts[0]) or ANYTHING
        return _several(inner, f"{len(parts)} of: {inner.words}", len(parts))
    if origin in (tuple, collections.abc.Sequence, list):
        inner = _rule(parts[0]) or ANYTHING
        words = f"a sequence of {_plural(inner.words)}"
        return _several(inner, "a sequence" if inner is ANYTHING else words, None)
    function: Any = collections.abc.Callable
    if function in (origin, hint):
        return Rule("a function (not a class)", kinds.plain_function)
    if origin in (collections.abc.Mapping, dict):
        return Rule("a mapping", functools.partial(kinds.instance, (collections.abc.Mapping,)))
    kind: Any = origin or hint
    if not isinstance(kind, type) or kind in (object, typing.Any):
        return None
    if getattr(kind, "_is_protocol", False):
        return _protocol(kind)
    name = kind.__name__
    words = f"{'an' if name[0] in 'AEIOU' else 'a'} {name}{ADVICE.get(name, '')}"
    return Rule(words, functools.partial(kinds.instance, (kind,)))


def _plural(words: str) -> str:
    first, _, rest = words.partition(" ")
    return f"{rest}s" if first in ("a", "an") and " " not in rest else f"things, each {words}"


def _either(rules: list[Rule]) -> Rule:
    quick = sorted(rules, key=lambda rule: getattr(rule.take, "func", None) is not kinds.instance)

    def take(value: Any) -> Any:  # by its class first: another rule may have to read its numbers
        for rule in quick:
            if (taken := rule.take(value)) is not NO:
                return taken
        return NO

    mild = any(r.error is ValueError for r in rules)
    each = next((r.each for r in rules if r.each), None)
    words = " or ".join(r.words for r in rules)
    return Rule(words, take, ValueError if mild else TypeError, each)


def _several(inner: Rule, words: str, count: int | None) -> Rule:
    def take(value: Any) -> Any:
        if is_a(value, range):  # of any length
            return value if inner.take(0) == 0 and count in (None, len(value)) else NO
        given = kinds.parts(value)
        if given is NO or count not in (None, len(given)):
            return NO
        held = tuple(inner.take(v) for v in given)
        return NO if any(v is NO for v in held) else held

    return Rule(words, take, inner.error, inner.take)


def _protocol(kind: Any) -> Rule:
    if "__call__" in vars(kind):
        words = f"a function as {kind.__name__} says (not a class)"
        return Rule(words + ADVICE.get(kind.__name__, ""), kinds.plain_function)
    members: dict[str, Any] = {**vars(kind), **inspect.get_annotations(kind)}
    wanted = [n for n in members if n[0] != "_"]

    def take(value: Any) -> Any:
        fits = not is_a(value, type) and all(hasattr(value, n) for n in wanted)
        return value if fits else NO

    advice = ADVICE.get(kind.__name__, "")
    return Rule(f"an object (not a class) with {', '.join(wanted)}{advice}", take)


ANYTHING = Rule("anything", kinds.anything)
SIMPLE: dict[Any, Rule] = {
    int: Rule("an integer", kinds.integer, ValueError),
    float: Rule("a finite number", kinds.number, ValueError),
    bool: Rule("True or False", kinds.flag, ValueError),
    str: Rule("text", functools.partial(kinds.instance, (str,))),
    type: Rule("a class", functools.partial(kinds.instance, (type,))),
    type(None): Rule("None", kinds.none),
    None: Rule("None", kinds.none),
}
ADVICE = {
    "Executor": ", such as ProcessPoolExecutor() or dask's client.get_executor()",
    "Inflation": " such as RTPS(0.5)",
    "Kernel": " such as soar or matern(1.5)",
    "Localization": " such as Localization.ring(40, 4.0)",
    "Method": ", such as ETKF(members=20)",
    "Covariance": " such as Diagonal(variances)",
    "Dataset": " that dalearn made, such as the result of assimilate",
    "Model": ", such as Lorenz96()",
    "Problem": " (see twin and Problem)",
    "Solver": ", such as GaussNewton()",
    "Taper": " such as gaspari_cohn",
}
MARKED = {
    "bound": Rule("a number, or infinity", kinds.bound, ValueError),
    "filled": Rule("a finite number, or None", kinds.filled, ValueError),
    "array": Rule("an array of real numbers", kinds.array),
    "swept": Rule("a finite number, or an array of numbers", kinds.swept, ValueError),
    "flags": _either([SIMPLE[bool], _several(SIMPLE[bool], "one for each axis", None)]),
    "sizes": _either([SIMPLE[int], _several(SIMPLE[int], "one for each axis", None)]),
}
