"""Every public docstring has one form: a sentence, the formula, Args, Returns, Raises, the source.

    Args:
        members: ensemble size N, an integer >= 2.

One entry for each parameter (a dataclass: each field), in the order of the signature, with shape
and unit; `Returns:` where something is returned; `Raises:` with one entry for each error.
"""

import dataclasses
import importlib
import inspect
import re
from enum import Enum

import pytest

import dalearn

SECTIONS = ("Args", "Returns", "Raises")
ENTRY = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): \S")
FOLDERS: tuple[str, ...] = (  # whose docstrings have the form; the others follow
    "array",
    "cases",
    "covariances",
    "data",
    "diagnostics",
    "exercises",
    "files",
    "methods",
    "models",
    "neural",
    "plot",
    "problem",
    "run",
)


def public():
    """Every public function and class, by its dotted name: the front door's and the folders'."""
    found = {f"dalearn.{name}": getattr(dalearn, name) for name in dalearn.__all__}
    for folder in FOLDERS:
        room = importlib.import_module(f"dalearn.{folder}")
        for name in getattr(room, "__all__", ()):
            found[f"dalearn.{folder}.{name}"] = getattr(room, name)
    unique = {}
    for name, thing in found.items():
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and "dalearn" in thing.__module__:
            unique.setdefault(thing, name)
    return {name: thing for thing, name in unique.items()}


def sections(doc):
    """The sections of a docstring: name -> its lines, without the indentation of the section."""
    found, name = {}, None
    for line in inspect.cleandoc(doc).splitlines():
        head = re.fullmatch(r"(\w+):", line)
        if head and head[1] in SECTIONS:
            assert head[1] not in found, f"{head[1]} stands twice"
            name = head[1]
            found[name] = []
        elif name and (line.startswith("    ") or not line):
            found[name].append(line[4:])
        else:
            name = None
    return found


def entries(lines):
    """The names of a section's entries; text that goes on is indented further."""
    names = []
    for line in lines:
        if line and not line.startswith(" "):
            match = ENTRY.match(line)
            assert match, f"an entry must be `name: what it is`, met {line!r}"
            names += [n.lstrip("*") for n in match[1].split(", ")]
    return names


def parameters(thing):
    """The parameters that a reader may pass."""
    if dataclasses.is_dataclass(thing):
        return [f.name for f in dataclasses.fields(thing) if f.init and f.name[0] != "_"]
    try:
        own = inspect.signature(thing).parameters
    except ValueError:  # a class whose constructor is C's
        return []
    return [p for p in own if p not in ("self", "cls") and p[0] != "_"]


def is_protocol(thing):
    return getattr(thing, "_is_protocol", False)


def problems(thing):
    """What is wrong with the form of a docstring, a list of sentences."""
    doc, wrong = thing.__doc__ or "", []
    first = inspect.cleandoc(doc).split("\n\n")[0].strip()
    if not first or first[-1] not in ".:":
        wrong.append("its first paragraph is no sentence")
    if re.search(r"^\s*Arguments?:", doc, re.M):
        wrong.append("it says Arguments, wanted Args")
    try:
        parts = sections(doc)
        listed = entries(parts.get("Args", ()))
        entries(parts.get("Raises", ()))
    except AssertionError as error:
        return [*wrong, str(error)]
    wanted = [] if is_protocol(thing) or has_no_arguments(thing) else parameters(thing)
    if listed != wanted:
        wrong.append(f"Args lists {listed}, the signature has {wanted}")
    if inspect.isfunction(thing):
        nothing = inspect.signature(thing).return_annotation in (None, "None")
        if nothing == bool(parts.get("Returns")):
            wrong.append("Returns is missing" if not nothing else "it returns nothing")
    elif "Returns" in parts:
        wrong.append("a class returns nothing")
    order = [s for s in SECTIONS if s in parts]
    if list(parts) != order:
        wrong.append(f"sections stand as {list(parts)}, wanted {order}")
    return wrong


def has_no_arguments(thing):
    return inspect.isclass(thing) and issubclass(thing, (tuple, Exception, Enum))


def in_force(name, thing):
    return thing.__module__.split(".")[1] in FOLDERS


@pytest.mark.parametrize("name", [n for n, t in public().items() if in_force(n, t)])
def test_every_public_docstring_parses(name):
    assert not problems(public()[name])


def test_the_parser_finds_what_is_wrong():
    def good(x, *, n=1):
        """Doubles.

        Args:
            x: a number.
            n: how often,
                at least once.

        Returns:
            Twice the number.

        Raises:
            ValueError: where n < 1.
        """
        return x * n

    assert problems(good) == []
    for old, new, word in (
        ("Doubles.", "Doubles", "sentence"),
        ("x: a number", "y: a number", "signature"),
        ("Args:", "Arguments:", "Arguments"),
        ("Returns:", "It gives:", "Returns"),
        ("ValueError: where n < 1", "if n is below one", "entry"),
    ):

        def bad(x, *, n=1):
            return x * n

        bad.__doc__ = good.__doc__.replace(old, new)
        assert any(word in line for line in problems(bad)), (old, problems(bad))
