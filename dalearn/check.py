"""Answers to the book's exercises: `check("bayes-mean", 22.4)` replies with a hint, not a mark alone.

An exercise is an entry of `exercises`: a name and a judge, that is a function of the answer that gives
`Feedback`. Three makers of judges cover the book: `number` (a value or an array of values), `function`
(the reader's code, run on a few inputs) and `choice` (one of several statements). A judge knows the
usual mistakes by what they evaluate to, and says which one it met. Expected values are computed from
the formulas of the chapters, in NumPy, apart from the rest of the package: an independent opinion.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import math
import re
import sys
import types
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


def check(name: str, answer: Any = None) -> Feedback:
    """Judge the answer to an exercise, with a hint where it is not right yet.

    name    the name of the exercise, as the chapter gives it
    answer  what the exercise asks for: a number, an array (NumPy, torch, xarray or a list), a function
            or one of the offered statements; `None` or `...` while it is unsolved
    Never raises because of the answer. Raises ValueError for a name that no exercise has.
    """
    if name not in exercises:
        near = difflib.get_close_matches(str(name), exercises, n=3, cutoff=0.4) or sorted(
            exercises
        )
        raise ValueError(f"no exercise is called {name!r}; did you mean {', '.join(near)}?")
    if _unsolved(answer):
        return Feedback(False, "put your answer in place of `...` and run the cell again.", False)
    try:
        return exercises[name](answer)
    except Exception as error:  # an answer of a strange type must not break the reader's notebook
        return _not_yet(f"your answer could not be read: {_quote(error)}.")


def number(
    expected: Any,
    well: str,
    *,
    rtol: float = 1e-3,
    hints: Sequence[tuple[Any, str]] = (),
    unit: str = "",
) -> Judge:
    """Judge a number, or an array of numbers.

    expected  the right value, () or any shape
    well      what the reader of a right answer learns
    rtol      error allowed, relative to the largest magnitude in `expected`
    hints     pairs (wrong value, what went wrong)
    unit      the unit, for messages
    """
    expected = np.asarray(expected, dtype=float)
    ask = "a number" if expected.ndim == 0 else f"{expected.size} numbers"

    def judge(answer):
        if callable(answer) and not hasattr(answer, "__array__"):
            return _not_yet(f"this is a function; give {ask}, the value that it returns.")
        if isinstance(answer, str):
            return _not_yet(f"this is a text; give {ask}, without quotes.")
        value = _numbers(answer)
        if value is None:
            return _not_yet(f"give {ask}; a `{type(answer).__name__}` cannot be read as such.")
        if np.squeeze(value).shape != np.squeeze(expected).shape:
            return _not_yet(f"give {ask}; your answer has shape {value.shape}.")
        value = value.reshape(expected.shape)
        if not np.all(np.isfinite(value)):
            return _not_yet(
                "your answer is not finite: look for a division by zero or a log of 0."
            )
        if _near(value, expected, rtol):
            return Feedback(True, f"{_show(expected)}{unit and ' ' + unit}: {well}")
        for wrong, hint in hints:
            if _near(value, np.asarray(wrong, dtype=float), rtol):
                return _not_yet(hint)
        if _near(value, -expected, rtol):
            return _not_yet("the size is right, the sign is not.")
        if expected.ndim:
            off = np.flatnonzero(np.abs(value - expected) > rtol * np.abs(expected).max())
            return _not_yet(f"look again at the entries with index {', '.join(map(str, off))}.")
        if any(value == float(f"{expected:.{digits}g}") for digits in (1, 2)):
            return _not_yet("right as far as it goes: keep at least four digits.")
        size = "large" if value > expected else "small"
        return _not_yet(f"{_show(value)}{unit and ' ' + unit} is too {size}.")

    return judge


def function(
    reference: Callable,
    cases: Sequence[tuple],
    well: str,
    *,
    rtol: float = 1e-4,
    returns: Sequence[str] = ("the result",),
    hints: Sequence[tuple[Callable, str]] = (),
    traits: Sequence[tuple[Callable, str]] = (),
) -> Judge:
    """Judge a function by calling it.

    The reader's function gets float64 NumPy arrays; where it fails on those and torch is loaded, tensors.

    reference  the right function; its parameters name the arguments in messages
    cases      tuples of arguments
    well       what the reader of a right answer learns
    rtol       error allowed, relative to the largest magnitude of the right output
    returns    the names of the outputs
    hints      pairs (wrong function, what went wrong); it is met if it agrees in all cases
    traits     pairs (test(output, *arguments) -> bool, what went wrong), for mistakes whose output is
               not unique; it is met if the test holds in all cases
    """
    call = f"`{reference.__name__}({', '.join(inspect.signature(reference).parameters)})`"
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
        return same and all(_near(a, b, rtol) for a, b in zip(met, wanted, strict=True))

    def judge(answer):
        if not callable(answer):
            return _not_yet(f"give the function itself, {call} without the brackets.")
        met = []
        for case in cases:
            try:
                result, changed = _call(answer, case)
            except NotImplementedError:
                result, changed = None, False
            except Exception as error:
                return _not_yet(f"{call} raised {_quote(error)} {_shapes(reference, case)}.")
            if _unsolved(result):
                message = f"{call} returns nothing: end it with `return`."
                return Feedback(False, message, answered=False)
            values = outputs(result)
            if values is None:
                wanted = " and ".join(f"`{r}`" if not single else "an array" for r in returns)
                kind = type(result).__name__
                return _not_yet(f"{call} returns a `{kind}` that cannot be read as {wanted}.")
            if changed:
                return _not_yet(f"{call} changes its arguments: compute new arrays (no `-=`).")
            met.append(values)
        right = [outputs(reference(*case)) for case in cases]
        if all(agrees(a, b) for a, b in zip(met, right, strict=True)):
            return Feedback(True, well)
        for wrong, hint in hints:
            if all(agrees(a, outputs(wrong(*c))) for a, c in zip(met, cases, strict=True)):
                return _not_yet(hint)
        for test, hint in traits:
            if all(_holds(test, a, c) for a, c in zip(met, cases, strict=True)):
                return _not_yet(hint)
        for case, values, wanted in zip(cases, met, right, strict=True):
            for label, value, want in zip(returns, values, wanted, strict=True):
                if problem := _difference(value, want, rtol):
                    label = label if single else f"`{label}`"
                    return _not_yet(f"{label} of {call} {problem} {_shapes(reference, case)}.")
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
            return _not_yet(f"choose one of {offer}.")
        return Feedback(statement == right, why[statement])

    return judge


def _not_yet(message):
    return Feedback(False, message)


def _unsolved(answer):
    return answer is None or answer is Ellipsis or answer is NotImplemented


def _numbers(answer):
    """A float64 array from numbers, arrays of any library or nested lists of them; None if it is none."""
    try:
        if hasattr(answer, "detach"):
            answer = answer.detach().cpu().double().numpy()
        array = np.asarray(answer)
        if array.dtype == object and array.size:
            array = np.asarray([float(a) for a in array.flat]).reshape(array.shape)
        return array.astype(float) if array.dtype.kind in "iuf" and array.size else None
    except (TypeError, ValueError, RuntimeError):
        return None


def _near(value, expected, rtol):
    if value.shape != expected.shape or not np.all(np.isfinite(value)):
        return False
    return bool(np.abs(value - expected).max() <= rtol * (np.abs(expected).max() or 1.0))


def _call(f, case):
    """f(*case) on copies, as NumPy arrays or else as tensors, and whether f changed any of them."""

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
    if _near(value, wanted, rtol):
        return None
    if value.ndim == 0:
        return f"is {_show(value)}, wanted {_show(wanted)},"
    worst = tuple(int(i) for i in np.unravel_index(np.abs(value - wanted).argmax(), value.shape))
    return f"is off most at index {worst}, {_show(value[worst])} where {_show(wanted[worst])} is right,"


def _shapes(reference, case):
    names = inspect.signature(reference).parameters
    parts = [
        f"`{n}` of shape {np.shape(a)}" if np.ndim(a) else f"`{n} = {a:g}`"
        for n, a in zip(names, case, strict=True)
    ]
    return "for " + ", ".join(parts)


def _show(value):
    parts = [f"{v:.4g}" for v in np.ravel(value)]
    return parts[0] if np.ndim(value) == 0 else f"({', '.join(parts)})"


def _quote(error):
    text = " ".join(f"{type(error).__name__}: {error}".split()).replace("`", "'")
    return f"`{text[:200]}`"


# ---------------------------------------------------------------------------------------------
# The exercises. Numbers of the Bayes chapter: prior N(20, 4), then sensors with variances 1 and 2.


def gain(B, R):
    return B / (B + R)


def update(xb, B, y, R):
    K = gain(B, R)
    return xb + K * (y - xb), (1 - K) * B


def _weighted(values, variances):
    """The mean of independent Gaussian statements about one number: weights 1 / variance."""
    return sum(v / s for v, s in zip(values, variances, strict=True)) / sum(
        1 / s for s in variances
    )


def tendency(x, F):
    return np.roll(x, 1, -1) * (np.roll(x, -1, -1) - np.roll(x, 2, -1)) - x + F


def cov(E):
    X = E - E.mean(0)
    return X.T @ X / (len(E) - 1)


def mean(E, Y, y, R, bracket_R=1.0, divisor=1, centred=True, sign=1):
    """Analysis mean of the EnKF; the further arguments make the usual mistakes."""
    N = len(E)
    X, S = E - E.mean(0), Y - Y.mean(0) * centred
    C = S.T @ S / (N - divisor) + bracket_R * R
    return E.mean(0) + sign * X.T @ S / (N - divisor) @ np.linalg.solve(C, y - Y.mean(0))


def _shifted(E, Y, y, R):
    """All members moved by the gain, without perturbed observations."""
    X, S, N = E - E.mean(0), Y - Y.mean(0), len(E)
    return E + (y - Y) @ np.linalg.solve(S.T @ S / (N - 1) + R, S.T @ X / (N - 1))


def _power(A, exponent):
    s, V = np.linalg.eigh(A)
    return (V * s**exponent) @ V.T


def transform(S):
    N = len(S)
    return _power(S @ S.T / (N - 1) + np.eye(N), -0.5)


def h(u):
    return np.sqrt(u[:, 0] ** 2 + u[:, 1] ** 2).reshape(len(u), -1)


def _draws(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def _enkf_case(N, n, m, seed):
    E, H = 3 + _draws(N, n, seed=seed), _draws(m, n, seed=seed + 1)
    A = _draws(m, m, seed=seed + 2)
    return E, E @ H.T, _draws(m, seed=seed + 3), A @ A.T / m + 0.5 * np.eye(m)


def _anomalies(N, m, seed):
    S = _draws(N, m, seed=seed)
    return S - S.mean(0)


_SCALARS = ((4.0, 1.0), (1.0, 4.0), (0.5, 0.1))
_UPDATES = ((20.0, 4.0, 23.0, 1.0), (1.0, 0.5, -2.0, 2.0), (0.0, 9.0, 1.0, 3.0))
_LAMBDA96 = 1.67  # leading Lyapunov exponent of Lorenz-96 (n = 40, F = 8), as the chapter gives it
_C = math.sqrt(8 / 3 * 27)  # Lorenz-63: sqrt(beta (rho - 1)) for rho = 28, beta = 8/3

exercises: Mapping[str, Judge] = {
    "bayes-mean": number(
        update(20, 4, 23, 1)[0],
        "the sensor is four times as certain as the prior, so the mean moves 4/5 of the way to it.",
        hints=(
            (
                update(20, 1, 23, 4)[0],
                "the weights are swapped: the surer source, that with the smaller variance, pulls harder.",
            ),
            (
                update(20, 2, 23, 1)[0],
                "you weighted by standard deviations; the weights are the inverse variances, 1/4 and 1/1.",
            ),
            (
                (20 + 23) / 2,
                "this is the plain average; weight each source by its inverse variance.",
            ),
            (20, "this is the prior mean: the observation has not been used."),
            (23, "this is the observation: the prior has not been used."),
            (
                update(20, 4, 23, 1)[1],
                "this is the posterior variance; the exercise asks for the mean.",
            ),
        ),
    ),
    "bayes-variance": number(
        update(20, 4, 23, 1)[1],
        "precisions add (1/4 + 1), and the result is surer than either source.",
        hints=(
            (
                4 + 1,
                "you added the variances; it is their inverses, the precisions, that add. Two sources should leave less doubt than one.",
            ),
            (math.sqrt(0.8), "this is the standard deviation; the exercise asks for its square."),
            (1 / 4 + 1, "this is the precision; the variance is its inverse."),
            (
                (4 + 1) / 2,
                "you averaged the variances; add the precisions 1/4 and 1/1 and invert.",
            ),
            (gain(4, 1) * 4, "you took `K B`; what is left after the update is `(1 - K) B`."),
            (
                1 / (1 / 2 + 1),
                "you added inverse standard deviations; add the inverse variances 1/4 and 1/1.",
            ),
        ),
    ),
    "bayes-two-sensors": number(
        _weighted((20, 23, 21), (4, 1, 2)),
        "the order of the sensors does not matter: all three precisions add.",
        hints=(
            (
                update(20, 4, 23, 1)[0],
                "the second sensor has not been used: the posterior after the first is the prior for the second.",
            ),
            (update(20, 4, 21, 2)[0], "the first sensor has not been used."),
            (
                (20 + 23 + 21) / 3,
                "this is the plain average; weight each source by its inverse variance.",
            ),
            (_weighted((23, 21), (1, 2)), "the prior has not been used; its weight is 1/4."),
            (
                update(22.4, 4, 21, 2)[0],
                "you updated the mean and kept the variance 4; after the first sensor it is 0.8.",
            ),
            (
                _weighted((22.4, update(20, 4, 21, 2)[0]), (0.8, update(20, 4, 21, 2)[1])),
                "the prior is counted twice: update with one sensor, then update that result with the other.",
            ),
            (
                _weighted((20, 23, 21), (2, 1, math.sqrt(2))),
                "you weighted by standard deviations; the weights are the inverse variances.",
            ),
        ),
    ),
    "gain-function": function(
        gain,
        _SCALARS,
        "near 1 the analysis follows the sensor, near 0 the background.",
        hints=(
            (
                lambda B, R: R / (B + R),
                "swapped: this is the weight of the background. For an exact sensor, `R = 0`, the gain must be 1.",
            ),
            (lambda B, R: B / R, "this is `B/R`; the gain `B/(B + R)` never exceeds 1."),
            (
                lambda B, R: 1 / (B + R),
                "you inverted the bracket and left out the factor `B` before it.",
            ),
            (
                lambda B, R: B**0.5 / (B**0.5 + R**0.5),
                "these are standard deviations; the gain is made of variances.",
            ),
            (
                lambda B, R: B * R / (B + R),
                "this is the analysis variance `B R/(B + R)`; leave out the factor `R`.",
            ),
        ),
    ),
    "bayes-update-function": function(
        update,
        _UPDATES,
        "two lines of algebra, and every Kalman filter has them at heart.",
        returns=("xa", "A"),
        hints=(
            (
                lambda *a: update(*a)[::-1],
                "the two outputs are in the other order; return `xa, A`.",
            ),
            (
                lambda xb, B, y, R: (update(xb, R, y, B)[0], update(xb, B, y, R)[1]),
                "the gain in `xa` is swapped: it is `B/(B + R)`, not `R/(B + R)`.",
            ),
            (
                lambda xb, B, y, R: (xb - gain(B, R) * (y - xb), update(xb, B, y, R)[1]),
                "the innovation has the wrong sign: it is `y - xb`, observation minus background.",
            ),
            (
                lambda xb, B, y, R: (update(xb, B, y, R)[0], B + R),
                "`A` is the sum of the variances; the precisions add instead, so that `A = (1 - K) B`.",
            ),
            (
                lambda xb, B, y, R: (update(xb, B, y, R)[0], gain(B, R) * B),
                "`A` is `K B`; what is left after the update is `(1 - K) B`.",
            ),
            (
                lambda xb, B, y, R: (update(xb, B, y, R)[0], gain(B, R)),
                "the second output is the gain; return the variance `A = (1 - K) B`.",
            ),
            (
                lambda xb, B, y, R: (update(xb, B, y, R)[0], update(xb, B, y, R)[1] ** 0.5),
                "`A` is a standard deviation; return the variance.",
            ),
            (
                lambda xb, B, y, R: (update(xb, B, y, R)[0], B),
                "`A` is still `B`; the observation must reduce it, `A = (1 - K) B`.",
            ),
        ),
    ),
    "rk4-order": number(
        2**4,
        "the global error of a method of order 4 falls like `dt**4`.",
        hints=(
            (
                4,
                "this is the order; the error falls like `dt**4`, so halving `dt` divides it by ...",
            ),
            (2, "that is Euler's method, of order 1."),
            (
                2**5,
                "that is the error of one step, `dt**5`; over a fixed time there are twice as many steps.",
            ),
            (2**3, "this would be order 3; RK4 has order 4."),
            (2**-4, "the error is multiplied by this; the exercise asks what it is divided by."),
        ),
    ),
    "lorenz96-tendency": function(
        tendency,
        ((_draws(40, seed=1), 8.0), (_draws(3, 7, seed=2), 5.0), (_draws(2, 3, 5, seed=3), 0.5)),
        "and it works for any number of leading axes.",
        hints=(
            (
                lambda x, F: np.roll(x, -1, -1) * (np.roll(x, 1, -1) - np.roll(x, -2, -1)) - x + F,
                "the ring runs the other way round: `np.roll(x, 1)` holds `x_{i-1}` at place i, `np.roll(x, -1)` holds `x_{i+1}`.",
            ),
            (
                lambda x, F: np.roll(x, 1) * (np.roll(x, -1) - np.roll(x, 2)) - x + F,
                "right for one state, wrong for a batch: without `axis=-1`, `np.roll` runs over all axes at once.",
            ),
            (
                lambda x, F: np.roll(x, 1, 0) * (np.roll(x, -1, 0) - np.roll(x, 2, 0)) - x + F,
                "right for one state, wrong for a batch: the ring is the last axis, `axis=-1`.",
            ),
            (lambda x, F: tendency(x, F) + x, "the damping `- x_i` is missing."),
            (lambda x, F: tendency(x, 0), "the forcing `+ F` is missing."),
            (
                lambda x, F: tendency(x, F) + 2 * x,
                "the damping has the wrong sign: it is `- x_i`.",
            ),
            (
                lambda x, F: -tendency(x, 0) - 2 * x + F,
                "the difference in brackets has the wrong sign: it is `x_{i+1} - x_{i-2}`.",
            ),
        ),
    ),
    "doubling-time": number(
        math.log(2) / _LAMBDA96,
        "`exp(lambda t) = 2`; with 5 days to a time unit, as Lorenz scaled it, about 2 days.",
        unit="time units",
        hints=(
            (
                1 / _LAMBDA96,
                "this is `1/lambda`, in which an error grows by the factor e; solve `exp(lambda t) = 2`.",
            ),
            (
                math.log(2) * _LAMBDA96,
                "you multiplied by lambda: a larger lambda must give a shorter time.",
            ),
            (math.log(2), "this is `ln 2`; divide it by lambda."),
            (
                math.log10(2) / _LAMBDA96,
                "this is the logarithm to base 10; growth by `exp` calls for the natural one, `np.log`.",
            ),
            (
                2 / _LAMBDA96,
                "this is `2/lambda`; the growth is exponential: solve `exp(lambda t) = 2`.",
            ),
            (
                5 * math.log(2) / _LAMBDA96,
                "this is in days; give it in the time units of the model.",
            ),
        ),
    ),
    "lorenz63-fixed-point": number(
        (_C, _C, 27.0),
        "the centre of one wing of the butterfly.",
        hints=(
            ((-_C, -_C, 27.0), "this is the other one, C-; C+ has x and y positive."),
            ((0.0, 0.0, 0.0), "the origin is a fixed point too; look for the one with x > 0."),
            ((_C**2, _C**2, 27.0), "you have `x**2` in place of `x`: take the square root."),
            ((_C, _C, 28.0), "the last entry is `rho - 1`: put x = y into the second equation."),
            (
                (math.sqrt(8 / 3 * 28), math.sqrt(8 / 3 * 28), 28.0),
                "it is `rho - 1` where you have `rho`: put x = y into the second equation.",
            ),
            (
                (math.sqrt(270), math.sqrt(270), 27.0),
                "you took sigma for beta: the third equation at rest reads `x y = beta z`.",
            ),
            ((-_C, _C, 27.0), "at rest the first equation says x = y: give both the same sign."),
            ((_C, -_C, 27.0), "at rest the first equation says x = y: give both the same sign."),
        ),
    ),
    "predictability-horizon": number(
        math.log(1000) / _LAMBDA96,
        "ten times better observations buy only `ln(10)/lambda`, about 1.4 units, more.",
        unit="time units",
        hints=(
            (
                math.log10(1000) / _LAMBDA96,
                "this is the logarithm to base 10; growth by `exp` calls for the natural one, `np.log`.",
            ),
            (
                math.log2(1000) / _LAMBDA96,
                "this is the logarithm to base 2; growth by `exp` calls for the natural one, `np.log`.",
            ),
            (math.log2(1000), "this is the number of doublings; each takes `ln(2)/lambda`."),
            (math.log(1000), "this is `ln(1000)`; divide it by lambda."),
            (
                math.log(1000) * _LAMBDA96,
                "you multiplied by lambda: a larger lambda must give a shorter time.",
            ),
            (
                1000 / _LAMBDA96,
                "the growth is exponential, not linear: solve `1e-3 exp(lambda t) = 1`.",
            ),
            (
                5 * math.log(1000) / _LAMBDA96,
                "this is in days; give it in the time units of the model.",
            ),
        ),
    ),
    "ensemble-covariance": function(
        cov,
        ((3 + _draws(6, 3),), (_draws(10, 4, seed=1) - 1,), (2 + _draws(4, 4, seed=2),)),
        "N - 1 makes up for the mean, which was estimated from the same members.",
        hints=(
            (
                lambda E: cov(E) * (len(E) - 1) / len(E),
                "you divided by N; the members' mean took one degree of freedom, so divide by N - 1.",
            ),
            (
                lambda E: np.cov(E),
                "you took columns for members: rows of E are members (`np.cov` wants `rowvar=False`). The result is (n, n).",
            ),
            (
                lambda E: (E - E.mean(0)) @ (E - E.mean(0)).T / (len(E) - 1),
                "this is `X X^T`, members by members; the covariance is `X^T X / (N - 1)`, (n, n).",
            ),
            (lambda E: E.T @ E / (len(E) - 1), "subtract the mean of the members first."),
            (
                lambda E: E.T @ E / len(E),
                "subtract the mean of the members first, and divide by N - 1.",
            ),
            (lambda E: cov(E) * (len(E) - 1), "divide by N - 1."),
            (
                lambda E: E.var(0, ddof=1),
                "these are the variances, the diagonal; return the whole (n, n) matrix.",
            ),
            (
                lambda E: np.corrcoef(E, rowvar=False),
                "these are correlations; leave out the division by the standard deviations.",
            ),
        ),
    ),
    "enkf-analysis-mean": function(
        mean4 := (lambda E, Y, y, R: mean(E, Y, y, R)),
        (_enkf_case(6, 3, 2, 10), _enkf_case(12, 4, 4, 20), _enkf_case(5, 8, 3, 30)),
        "no linear operator was needed: the ensemble carries `H` in `Y`.",
        hints=(
            (
                lambda *a: mean(*a, divisor=0),
                "you divided by N; the sample covariances take N - 1.",
            ),
            (
                lambda *a: mean(*a, bracket_R=0),
                "the bracket lacks R: the gain is `C_xy (C_yy + R)^-1`.",
            ),
            (
                lambda *a: mean(*a, centred=False),
                "subtract the mean of Y before you form the covariances.",
            ),
            (
                lambda *a: mean(*a, sign=-1),
                "the innovation has the wrong sign: it is `y - mean(Y)`.",
            ),
            (lambda E, Y, y, R: E.mean(0), "this is the forecast mean; add `K (y - mean(Y))`."),
            (_shifted, "this is a whole ensemble; return its mean over the members, (n,)."),
        ),
    ),
    "etkf-transform": function(
        transform,
        ((_anomalies(4, 2, 40),), (_anomalies(6, 10, 50),)),
        "being symmetric, it leaves the mean of the members where it is.",
        hints=(
            (lambda S: transform(S) @ transform(S), "take the square root: this is `T T^T`."),
            (
                lambda S: transform(S) / (len(S) - 1) ** 0.5,
                "the factor N - 1 before the inverse is missing: with S = 0 the result must be the identity.",
            ),
            (
                lambda S: _power(S @ S.T + np.eye(len(S)), -0.5),
                "the identity in the bracket comes with the factor N - 1.",
            ),
            (
                lambda S: _power(S @ S.T / len(S) + np.eye(len(S)), -0.5),
                "you divided by N; the sample covariances take N - 1.",
            ),
            (
                lambda S: _power(S @ S.T / (len(S) - 1) + np.eye(len(S)), 0.5),
                "this is the inverse of T: the observations must shrink the ensemble.",
            ),
            (
                lambda S: _power(S.T @ S / (len(S) - 1) + np.eye(S.shape[1]), -0.5),
                "this is (m, m), made of `S^T S`; the transform acts on the members: `S S^T`, (N, N).",
            ),
        ),
        traits=(
            (
                lambda T, S: _near(T @ T.T, transform(S) @ transform(S), 1e-4),
                "this is a square root, but not the symmetric one, and it would move the mean: with `s, V = eigh(...)`, multiply by `V.T` on the right too.",
            ),
        ),
    ),
    "sampling-error-order": choice(
        "1/sqrt(N)",
        {
            "1/sqrt(N)": "four times the members halve the error.",
            "1/N": "this is how the variance falls; the RMS error is its square root.",
            "1/N^2": "much too good: the variance of a mean of N independent draws falls like 1/N.",
            "exp(-N)": "much too good: the variance of a mean of N independent draws falls like 1/N.",
            "constant": "the errors of independent draws partly cancel in the mean.",
        },
        also={
            "1/N**0.5": "1/sqrt(N)",
            "N**-0.5": "1/sqrt(N)",
            "N^(-1/2)": "1/sqrt(N)",
            "N**(-1/2)": "1/sqrt(N)",
            "1/N**2": "1/N^2",
        },
    ),
    "enkf-perturbations": choice(
        "spread too small",
        {
            "spread too small": "all members are pulled to the same y, so that the covariance becomes `(I - K H) B (I - K H)^T` and lacks the part `K R K^T`.",
            "spread too large": "the other way round: members that are all pulled to the same y come too close to each other.",
            "mean biased": "the mean of one analysis is the same with perturbations of zero mean as without; look at the covariance.",
            "nothing": "the mean of one analysis is right, but compute the covariance of `(I - K H) (x - mean)`: what is missing from `(I - K H) B`?",
        },
    ),
    "own-operator": function(
        h,
        ((_draws(1, 2, 8, 8, seed=60),), (_draws(3, 2, 8, 8, seed=61),)),
        "any function of this form is an observation operator.",
        hints=(
            (
                lambda u: (u**2).sum(1).reshape(len(u), -1),
                "take the square root: the speed is `sqrt(u**2 + v**2)`.",
            ),
            (
                lambda u: np.sqrt((u**2).sum(1)),
                "flatten the grid: the result is (b, 64), not (b, 8, 8).",
            ),
            (
                lambda u: h(u).reshape(-1),
                "keep the first axis: flatten the grid only, for instance with `reshape(len(u), -1)`.",
            ),
            (
                lambda u: u.sum(1).reshape(len(u), -1),
                "this is `u + v`; the speed is `sqrt(u**2 + v**2)`.",
            ),
            (
                lambda u: u.reshape(len(u), -1),
                "these are both components, (b, 128); the speed joins them, (b, 64).",
            ),
            (
                lambda u: np.sqrt((u**2).sum(1)).swapaxes(1, 2).reshape(len(u), -1),
                "the grid is flattened column by column; go row by row, as `reshape` does.",
            ),
        ),
    ),
}


class _Module(types.ModuleType):
    """This module can be called: `import dalearn.check` puts it where the function stood."""

    def __call__(self, name, answer=None):
        return check(name, answer)


sys.modules[__name__].__class__ = _Module
