"""Judges of answers: what the exercises of the book are checked with.

A judge takes an answer and gives `Feedback`. Three makers of judges cover the book: `number` (a
value, or an array of values), `function` (the reader's code, run on a few inputs) and `choice`
(one of several statements). A judge knows the usual mistakes by what they evaluate to, and says
which one it met.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Judge = Callable[[Any], "Feedback"]


@dataclass(frozen=True)
class Feedback:
    """What `check` replies. In a notebook it shows as one line; `bool(feedback)` is `passed`.

    passed    whether the answer is right
    message   why it is, or a hint; code in it stands between backquotes
    answered  False for an exercise still open, whose answer is `None` or `...`
    """

    passed: bool
    message: str
    answered: bool = True

    @property
    def verdict(self) -> str:
        """One of "correct", "not yet" and "not answered yet"."""
        return "correct" if self.passed else "not yet" if self.answered else "not answered yet"

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return f"{self.verdict} - {self.message}"

    def _repr_markdown_(self) -> str:
        return f"**{self.verdict}** - {self.message}"


def number(
    expected: Any,
    well: str,
    *,
    rtol: float = 1e-3,
    hints: Mapping[Any, str] | None = None,
    unit: str = "",
) -> Judge:
    """Judge a number, or an array of numbers.

    expected  the right value, () or any shape
    well      what the reader of a right answer learns
    rtol      error allowed, relative to the largest magnitude in `expected`
    hints     what went wrong, by the wrong value (a tuple for an array), met within 5 rtol
    unit      the unit, for messages
    """
    expected = np.asarray(expected, dtype=float)
    ask = "a number" if expected.ndim == 0 else f"{expected.size} numbers"

    def judge(answer):
        if callable(answer) and not hasattr(answer, "__array__"):
            return not_yet(f"this is a function; give {ask}, the value that it returns.")
        if isinstance(answer, str):
            return not_yet(f"this is a text; give {ask}, without quotes.")
        value = _numbers(answer)
        if value is None:
            return not_yet(f"give {ask}; a `{type(answer).__name__}` cannot be read as such.")
        if np.squeeze(value).shape != np.squeeze(expected).shape:
            return not_yet(f"give {ask}; your answer has shape {value.shape}.")
        value = value.reshape(expected.shape)
        if not np.all(np.isfinite(value)):
            return not_yet("your answer is not finite: look for a division by zero or a log of 0.")
        if near(value, expected, rtol):
            return Feedback(True, f"{_show(expected)}{unit and ' ' + unit}: {well}")
        # The nearest mistake, met more loosely than the answer: who errs also rounds.
        mistakes = [
            (np.asarray(wrong, dtype=float), hint) for wrong, hint in (hints or {}).items()
        ]
        for wrong, hint in sorted(mistakes, key=lambda pair: np.abs(value - pair[0]).max()):
            if near(value, wrong, 5 * rtol):
                return not_yet(hint)
        if near(value, -expected, rtol):
            return not_yet("the size is right, the sign is not.")
        if expected.ndim:
            off = np.flatnonzero(np.abs(value - expected) > rtol * np.abs(expected).max())
            return not_yet(f"look again at the entries with index {', '.join(map(str, off))}.")
        if value == float(f"{expected:.2g}"):
            return not_yet("right as far as it goes: keep at least four digits.")
        size = "large" if value > expected else "small"
        return not_yet(f"{_show(value)}{unit and ' ' + unit} is too {size}.")

    return judge


def function(
    reference: Callable,
    cases: Sequence[tuple],
    well: str,
    *,
    rtol: float = 1e-4,
    returns: Sequence[str] = ("the result",),
    hints: Mapping[Callable, str] | None = None,
    traits: Mapping[Callable, str] | None = None,
) -> Judge:
    """Judge a function by calling it.

    The reader's function gets float64 NumPy arrays, or tensors if it fails on those and torch is
    loaded.

    reference  the right function; its parameters name the arguments in messages
    cases      tuples of arguments
    well       what the reader of a right answer learns
    rtol       error allowed, relative to the largest magnitude of the right output
    returns    the names of the outputs
    hints      what went wrong, by a wrong function; met if the two agree in all cases
    traits     what went wrong, by a test(*outputs, *arguments) -> bool; met if it holds in all
               cases. For mistakes whose output is not unique
    """
    names = ", ".join(list(inspect.signature(reference).parameters)[: len(cases[0])])

    def called(answer):
        """How the reader's function is called, in its own name."""
        name = getattr(answer, "__name__", "<lambda>")
        return f"`{reference.__name__.lstrip('_') if name == '<lambda>' else name}({names})`"

    single = len(returns) == 1

    def outputs(result):
        """The outputs as arrays, or None where the result has another form."""
        if single:
            values = [_numbers(result)]
        elif isinstance(result, (tuple, list)) and len(result) == len(returns):
            values = [_numbers(r) for r in result]
        else:
            return None
        return None if any(v is None for v in values) else values

    def agrees(met, wanted):
        same = len(met) == len(wanted)
        return same and all(near(a, b, rtol) for a, b in zip(met, wanted, strict=True))

    def judge(answer):
        call = called(answer)
        if not callable(answer):
            return not_yet(f"give the function itself, {call} without the brackets.")
        met = []
        for case in cases:
            try:
                result, changed = _call(answer, case)
            except NotImplementedError:
                result, changed = None, False
            except Exception as error:
                return not_yet(f"{call} raised {quote(error)} {_inputs(reference, case)}.")
            if unsolved(result):
                message = f"{call} returns no result yet: put it after `return`."
                return Feedback(False, message, answered=False)
            values = outputs(result)
            if values is None:
                wanted = " and ".join(f"`{r}`" if not single else "an array" for r in returns)
                kind = type(result).__name__
                return not_yet(f"{call} returns a `{kind}` that cannot be read as {wanted}.")
            if changed:
                return not_yet(f"{call} changes its arguments: compute new arrays (no `-=`).")
            met.append(values)
        right = [outputs(reference(*case)) or [] for case in cases]
        if all(agrees(a, b) for a, b in zip(met, right, strict=True)):
            return Feedback(True, well)
        for wrong, hint in (hints or {}).items():
            if all(agrees(a, outputs(wrong(*c)) or []) for a, c in zip(met, cases, strict=True)):
                return not_yet(hint)
        for test, hint in (traits or {}).items():
            if all(_holds(test, a, c) for a, c in zip(met, cases, strict=True)):
                return not_yet(hint)
        for case, values, wanted in zip(cases, met, right, strict=True):
            for label, value, want in zip(returns, values, wanted, strict=True):
                if problem := _difference(value, want, rtol):
                    label = label if single else f"`{label}`"
                    return not_yet(f"{label} of {call} {problem} {_inputs(reference, case)}.")
        raise AssertionError("an output disagrees, yet none differs")

    return judge


def choice(right: str, why: Mapping[str, str], *, also: Mapping[str, str] | None = None) -> Judge:
    """Judge one statement of several.

    right  the right one
    why    each statement, the right one too, with what there is to say about it
    also   other ways to write a statement, each with the statement it stands for
    """

    def plain(text):
        return re.sub(r"[\s\"'`$.,_-]|\\", "", text.lower())

    statements = {plain(s): s for s in why} | {plain(a): s for a, s in (also or {}).items()}
    offer = ", ".join(f'`"{s}"`' for s in why)

    def judge(answer):
        statement = statements.get(plain(answer)) if isinstance(answer, str) else None
        if statement is None:
            return not_yet(f"choose one of {offer}.")
        return Feedback(statement == right, why[statement])

    return judge


def not_yet(message):
    """Feedback on an answer that is not right, with its hint."""
    return Feedback(False, message)


def unsolved(answer):
    """Whether the exercise is still open."""
    return answer is None or answer is Ellipsis or answer is NotImplemented


def _numbers(answer):
    """A float64 array from numbers, arrays of any library or nested lists, or None."""
    try:
        if hasattr(answer, "detach"):
            answer = answer.detach().cpu().double().numpy()
        array = np.asarray(answer)
        if array.dtype == object and array.size:
            array = np.asarray([float(a) for a in array.flat]).reshape(array.shape)
        return array.astype(float) if array.dtype.kind in "iuf" and array.size else None
    except (TypeError, ValueError, RuntimeError):
        return None


def near(value, expected, rtol):
    """Whether two arrays agree to `rtol` of the largest magnitude wanted."""
    if value.shape != expected.shape or not np.all(np.isfinite(value)):
        return False
    return bool(np.abs(value - expected).max() <= rtol * (np.abs(expected).max() or 1.0))


def _call(f, case):
    """f(*case) on copies, as NumPy arrays or else tensors, and whether f changed one of them."""

    def attempt(convert):
        given = [convert(np.array(a, dtype=float)) if np.ndim(a) else a for a in case]
        result = f(*given)
        kept = (np.array_equal(np.asarray(g), a) for g, a in zip(given, case, strict=True))
        return result, not all(kept)

    try:
        return attempt(np.asarray)
    except Exception:
        torch = sys.modules.get("torch")
        if torch is not None:
            with contextlib.suppress(Exception):
                return attempt(torch.from_numpy)
        raise


def _holds(test, values, case):
    try:
        return bool(test(*values, *case))
    except (TypeError, ValueError, IndexError):  # an output of another shape
        return False


def _difference(value, wanted, rtol):
    if value.shape != wanted.shape:
        return f"has shape {value.shape}, wanted {wanted.shape},"
    if not np.all(np.isfinite(value)):
        return "is not finite"
    if near(value, wanted, rtol):
        return None
    if value.ndim == 0:
        return f"is {_show(value)}, wanted {_show(wanted)},"
    i = tuple(int(j) for j in np.unravel_index(np.abs(value - wanted).argmax(), value.shape))
    return f"is off most at index {i}, {_show(value[i])} where {_show(wanted[i])} is right,"


def _inputs(reference, case):
    names = inspect.signature(reference).parameters
    parts = [
        f"`{n}` of shape {np.shape(a)}" if np.ndim(a) else f"`{n} = {a:g}`"
        for n, a in zip(names, case, strict=False)  # a reference may have settings of its own
    ]
    return "for " + ", ".join(parts)


def _show(value):
    parts = [f"{v:.4g}" for v in np.ravel(value)]
    return parts[0] if np.ndim(value) == 0 else f"({', '.join(parts)})"


def quote(error):
    """An exception in one line of code."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).replace("`", "'")
    return f"`{text[:200]}`"
