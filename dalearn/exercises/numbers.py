"""Judges of numbers and of statements, and the feedback that every judge gives.

A judge takes an answer and gives `Feedback`. Three kinds cover the book: `Number` (a value, or an
array of values), `Choice` (one of several statements) and, in `functions`, `Function` (the
reader's code, run on a few inputs). A judge knows the usual mistakes by what they evaluate to, and
says which one it met.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Judge = Callable[[Any], "Feedback"]


@dataclass(frozen=True)
class Feedback:
    """What `check` replies. In a notebook it shows as one line; `bool(feedback)` is `passed`.

    Args:
        passed: whether the answer is right.
        message: why it is, or a hint; code in it stands between backquotes.
        answered: False for an exercise still open, whose answer is `None` or `...`.
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


class Number:
    """Judges a number, or an array of numbers.

    Args:
        expected: the right value, () or any shape.
        well: what the reader of a right answer learns.
        rtol: error allowed, relative to the largest magnitude in `expected`.
        hints: what went wrong, by the wrong value (a tuple for an array), met within 5 rtol.
        unit: the unit, for messages.
    """

    def __init__(
        self,
        expected: Any,
        well: str,
        *,
        rtol: float = 1e-3,
        hints: Mapping[Any, str] | None = None,
        unit: str = "",
    ):
        self.expected = np.asarray(expected, dtype=float)
        self.well, self.rtol, self.hints = well, rtol, hints or {}
        self.unit = unit and f" {unit}"
        one = self.expected.ndim == 0
        self.ask = "a number" if one else f"{self.expected.size} numbers"

    def __call__(self, answer: Any) -> Feedback:
        if callable(answer) and not hasattr(answer, "__array__"):
            return not_yet(f"this is a function; give {self.ask}, the value that it returns.")
        if isinstance(answer, str):
            return not_yet(f"this is a text; give {self.ask}, without quotes.")
        value = as_numbers(answer)
        if value is None:
            return not_yet(f"give {self.ask}; a `{type(answer).__name__}` cannot be read as such.")
        if np.squeeze(value).shape != np.squeeze(self.expected).shape:
            return not_yet(f"give {self.ask}; your answer has shape {value.shape}.")
        value = value.reshape(self.expected.shape)
        if not np.all(np.isfinite(value)):
            return not_yet("your answer is not finite: look for a division by zero or a log of 0.")
        if near(value, self.expected, self.rtol):
            return Feedback(True, f"{show(self.expected)}{self.unit}: {self.well}")
        return not_yet(self._mistake(value) or self._difference(value))

    def _mistake(self, value: np.ndarray) -> str | None:
        """The hint of the nearest mistake, met more loosely than the answer: who errs rounds."""
        mistakes = [(np.asarray(wrong, dtype=float), hint) for wrong, hint in self.hints.items()]
        for wrong, hint in sorted(mistakes, key=lambda pair: np.abs(value - pair[0]).max()):
            if near(value, wrong, 5 * self.rtol):
                return hint
        return None

    def _difference(self, value: np.ndarray) -> str:
        expected, rtol = self.expected, self.rtol
        if near(value, -expected, rtol):
            return "the size is right, the sign is not."
        if expected.ndim:
            off = np.flatnonzero(np.abs(value - expected) > rtol * np.abs(expected).max())
            return f"look again at the entries with index {', '.join(map(str, off))}."
        if value == float(f"{expected:.2g}"):
            return "right as far as it goes: keep at least four digits."
        return f"{show(value)}{self.unit} is too {'large' if value > expected else 'small'}."


class Choice:
    """Judges one statement of several.

    Args:
        right: the right one.
        why: each statement, the right one too, with what there is to say about it.
        also: other ways to write a statement, each with the statement it stands for.
    """

    def __init__(
        self, right: str, why: Mapping[str, str], *, also: Mapping[str, str] | None = None
    ):
        self.right, self.why = right, why
        self.statements = {plain(s): s for s in why} | {
            plain(a): s for a, s in (also or {}).items()
        }
        self.offer = ", ".join(f'`"{s}"`' for s in why)

    def __call__(self, answer: Any) -> Feedback:
        statement = self.statements.get(plain(answer)) if isinstance(answer, str) else None
        if statement is None:
            return not_yet(f"choose one of {self.offer}.")
        return Feedback(statement == self.right, self.why[statement])


def plain(text: str) -> str:
    """A text without what does not matter in a statement: capitals, spaces, quotes, stops."""
    return re.sub(r"[\s\"'`$.,_-]|\\", "", text.lower())


def not_yet(message: str) -> Feedback:
    """Feedback on an answer that is not right, with its hint."""
    return Feedback(False, message)


def unsolved(answer: Any) -> bool:
    """Whether the exercise is still open."""
    return answer is None or answer is Ellipsis or answer is NotImplemented


def as_numbers(answer: Any) -> np.ndarray | None:
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


def near(value: np.ndarray, expected: np.ndarray, rtol: float) -> bool:
    """Whether two arrays agree to `rtol` of the largest magnitude wanted."""
    if value.shape != expected.shape or not np.all(np.isfinite(value)):
        return False
    most = np.abs(expected).max(initial=0.0) or 1.0
    return bool(np.abs(value - expected).max(initial=0.0) <= rtol * most)


def alike(value: np.ndarray, wrong: np.ndarray, rtol: float) -> bool:
    """As `near`, for a mistake that may give NaN or infinity: they must be at the same places."""
    if value.shape != wrong.shape:
        return False
    good = np.isfinite(wrong)
    same = np.array_equal(value[~good], wrong[~good], equal_nan=True)
    return same and near(value[good], wrong[good], rtol)


def show(value: Any) -> str:
    """Numbers with four digits: `2.5`, `(1, 2.5)`."""
    parts = [f"{v:.4g}" for v in np.ravel(value)]
    return parts[0] if np.ndim(value) == 0 else f"({', '.join(parts)})"


def quote(error: BaseException) -> str:
    """An exception in one line of code."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).replace("`", "'")
    return f"`{text[:200]}`"
