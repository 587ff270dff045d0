"""The judge of functions: the reader's code is run on a few inputs, and compared."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..array import Purpose, generator
from .numbers import Feedback, alike, as_numbers, near, not_yet, quote, show, unsolved


class Function:
    """Judges a function by calling it.

    The reader's function gets float64 NumPy arrays, or tensors if it fails on those and torch is
    loaded.

    Args:
        reference: the right function; its name and parameters stand in messages.
        cases: tuples of arguments.
        well: what the reader of a right answer learns.
        rtol: error allowed, relative to the largest magnitude of the right output.
        returns: the names of the outputs.
        hints: what went wrong, by a wrong function; met if the two agree in all cases, NaN and
            infinity included.
        traits: what went wrong, by a test(*outputs, *arguments) -> bool; met if it holds in all
            cases. For mistakes whose output is not unique.
    """

    def __init__(
        self,
        reference: Callable,
        cases: Sequence[tuple],
        well: str,
        *,
        rtol: float = 1e-4,
        returns: Sequence[str] = ("the result",),
        hints: Mapping[Callable, str] | None = None,
        traits: Mapping[Callable, str] | None = None,
    ):
        self.reference, self.cases, self.well = reference, cases, well
        self.rtol, self.returns = rtol, returns
        self.hints, self.traits = hints or {}, traits or {}

    def __call__(self, answer: Any) -> Feedback:
        call = self._named(answer)
        if not callable(answer):
            return not_yet(f"give the function itself, {call} without the brackets.")
        met = []
        for case in self.cases:
            outputs = self._tried(answer, case, call)
            if isinstance(outputs, Feedback):
                return outputs
            met.append(outputs)
        right = self._outputs_of(self.reference)
        if all(self._agree(a, b) for a, b in zip(met, right, strict=True)):
            return Feedback(True, self.well)
        return not_yet(self._mistake(met) or self._difference(met, right, call))

    def _named(self, answer: Any) -> str:
        """How the reader's function is called, in its own name."""
        name = getattr(answer, "__name__", "<lambda>")
        names = ", ".join(list(inspect.signature(self.reference).parameters)[: len(self.cases[0])])
        return f"`{self.reference.__name__ if name == '<lambda>' else name}({names})`"

    def _tried(self, answer: Callable, case: tuple, call: str) -> list[np.ndarray] | Feedback:
        """The outputs for one case, or what is wrong with them whatever their values."""
        try:
            result, changed = called(answer, case)
        except NotImplementedError:
            result, changed = None, False
        except SystemExit:
            return not_yet(f"{call} ends the program: it must return its result (no `exit`).")
        except Exception as error:
            return not_yet(f"{call} raised {quote(error)} {inputs(self.reference, case)}.")
        if unsolved(result):
            message = f"{call} returns no result yet: put it after `return`."
            return Feedback(False, message, answered=False)
        values = self._outputs(result)
        if values is None:
            one = len(self.returns) == 1
            wanted = " and ".join("an array" if one else f"`{r}`" for r in self.returns)
            kind = type(result).__name__
            return not_yet(f"{call} returns a `{kind}` that cannot be read as {wanted}.")
        if changed:
            return not_yet(f"{call} changes its arguments: compute new arrays (no `-=`).")
        return values

    def _outputs(self, result: Any) -> list[np.ndarray] | None:
        """The outputs as arrays, or None where the result has another form."""
        if len(self.returns) == 1:
            result = [result]
        elif not isinstance(result, (tuple, list)) or len(result) != len(self.returns):
            return None
        values = [as_numbers(r) for r in result]
        return None if any(v is None for v in values) else values  # pyright: ignore

    def _outputs_of(self, f: Callable) -> list[list[np.ndarray]]:
        """The outputs of a function of ours in all cases; a wrong one may divide by zero."""
        with np.errstate(all="ignore"):
            return [self._outputs(f(*case)) or [] for case in self.cases]

    def _agree(self, met: list, wanted: list, test: Callable = near) -> bool:
        same = len(met) == len(wanted)
        return same and all(test(a, b, self.rtol) for a, b in zip(met, wanted, strict=True))

    def _mistake(self, met: list[list[np.ndarray]]) -> str | None:
        """The hint of the mistake that gives the same outputs, or has the same trait."""
        for wrong, hint in self.hints.items():
            outputs = self._outputs_of(wrong)
            if all(self._agree(a, b, alike) for a, b in zip(met, outputs, strict=True)):
                return hint
        for test, hint in self.traits.items():
            if all(holds(test, a, c) for a, c in zip(met, self.cases, strict=True)):
                return hint
        return None

    def _difference(self, met: list, right: list, call: str) -> str:
        """Where the outputs first differ from the right ones."""
        for case, values, wanted in zip(self.cases, met, right, strict=True):
            for label, value, want in zip(self.returns, values, wanted, strict=True):
                if told := difference(value, want, self.rtol):
                    label = label if len(self.returns) == 1 else f"`{label}`"
                    return f"{label} of {call} {told} {inputs(self.reference, case)}."
        raise AssertionError("an output disagrees, yet none differs")


def called(f: Callable, case: tuple) -> tuple[Any, bool]:
    """f(*case) on copies, as NumPy arrays or else tensors, and whether f changed one of them."""

    def attempt(convert: Callable) -> tuple[Any, bool]:
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


def holds(test: Callable, values: list[np.ndarray], case: tuple) -> bool:
    """Whether the outputs of a case have a trait."""
    try:
        return bool(test(*values, *case))
    except (TypeError, ValueError, IndexError):  # an output of another shape
        return False


def difference(value: np.ndarray, wanted: np.ndarray, rtol: float) -> str | None:
    """What is wrong with an output, or None where it is right."""
    if value.shape != wanted.shape:
        return f"has shape {value.shape}, wanted {wanted.shape},"
    if not np.all(np.isfinite(value)):
        return "is not finite"
    if near(value, wanted, rtol):
        return None
    if value.ndim == 0:
        return f"is {show(value)}, wanted {show(wanted)},"
    i = tuple(int(j) for j in np.unravel_index(np.abs(value - wanted).argmax(), value.shape))
    return f"is off most at index {i}, {show(value[i])} where {show(wanted[i])} is right,"


def inputs(reference: Callable, case: tuple) -> str:
    """The arguments of a case in words."""
    names = inspect.signature(reference).parameters
    parts = [
        f"`{n}` of shape {np.shape(a)}" if np.ndim(a) else f"`{n} = {a:g}`"
        for n, a in zip(names, case, strict=False)  # a reference may have settings of its own
    ]
    return "for " + ", ".join(parts)


# --- inputs to run functions on -----------------------------------------------------------------


def draw(*shape: int) -> np.ndarray:
    """Normal numbers, the same for the same shape."""
    return generator(Purpose.TEST, *shape).standard_normal(shape)


def spd(n: int) -> np.ndarray:
    """A symmetric positive definite matrix (n, n)."""
    G = draw(n, n + 1)
    return G @ G.T + 0.5 * np.eye(n)
