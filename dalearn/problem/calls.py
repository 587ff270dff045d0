"""The one-time check of a user's function: pure, each row on its own, and of the right form.

Called on the prior's mean, on states around it, and again, it has to say the same of the same
state, and to leave alone what it was given and what it gave before. What cannot be seen in a few
calls: memory that acts only after many of them (unless it is counted by a number that the function
holds: see `stateful`), and states of the world outside, such as a file or the time of day.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from ..array import (
    Operator,
    Purpose,
    array_namespace,
    is_array,
    is_module,
    is_tensor,
    library,
    no_grad,
    streams,
)
from .border import unwrapped
from .inputs import driven
from .stateful import Numbers

FAILURES = (ValueError, TypeError, IndexError, AttributeError, RuntimeError)
MANY = 32  # calls of a function that keeps what it gives: buffers that it may use in turn


def check_model(problem: Any, name: str) -> None:
    """`check_call` for the problem's model, stochastic or not, with its first input if any."""
    told = problem.inputs is not None
    if told and 0 in problem.inputs.shape:  # no step at all
        return
    step = driven(problem.carry, problem.inputs, 0, 1)[0]
    try:
        _check_step(step, problem, name)
    except TypeError as error:
        if "positional argument" in str(error):
            error.add_note(TOLD)
        raise


def _check_step(step: Any, problem: Any, name: str) -> None:
    if not problem.stochastic:
        return check_call(step, problem, name, problem.n)
    _check_module(problem.model, problem.like, name)
    rng = streams(Purpose.ASSIMILATION, 0, problem.batch)  # thrown away: a run has its own
    a, b, c = _states(problem)
    rows = array_namespace(problem.like).concat((a, b), axis=-2)
    calls = Calls(lambda x: step(x, rng), problem, name, problem.n)
    with no_grad(rows):
        out = calls(rows)
        calls.check_finite(out[..., :1, :])
        for x in (a, b, c, a):
            calls(x)
        calls.check_kept()


def check_call(f: Operator, problem: Any, name: str, width: int) -> None:
    """Call `f` on rows around the prior's mean and compare what comes back with the contract.

    Caught: another library, dtype or shape; an input or an earlier result written over; NaN;
    memory, such as a counter; and rows that change each other (a roll without an axis, batch
    normalisation in training mode). Each component is measured in its own scale.

    Args:
        f: a function of states.
        problem: what has `like`, `prior`, `batch`, `n` and `shape`.
        name: what `f` is, for messages.
        width: how many numbers it has to give.

    Raises:
        TypeError: for another library or dtype.
        ValueError: for all else, saying what was seen.
    """
    xp = array_namespace(problem.like)
    _check_module(f, problem.like, name)
    a, b, c = _states(problem)
    calls = Calls(f, problem, name, width)
    with no_grad(a):
        down = xp.concat((b, a), axis=-2)  # the larger first: a function that sorts rows is seen
        both, first, second, third = (calls(x) for x in (down, a, b, c))
        calls.check_finite(first)
        numbers = Numbers(f)
        for x in (a, b, a):
            calls(x)
        numbers.moved(3)
        size = _sizes(first, second, third)
        calls.check_kept()
        for again in (calls.values[4], calls.values[6]):
            if not _same(again, first, size):
                raise ValueError(f"{name} gave another value {REPEAT}")
        if not _same(both, xp.concat((second, first), axis=-2), size):
            raise ValueError(
                f"{name} gives a row another value when a second row stands beside it; wanted "
                "each row on its own and no randomness (roll along axis=-1? module.eval()? a "
                "stochastic model says so, stochastic = True, and is called with rng)"
            )
        acting = numbers.acting(lambda: _same(f(a + 0.0), first, size))
        if acting:
            raise ValueError(f"{name} counts in {acting} and will give another value {REPEAT}")


TOLD = (
    "a model is called as model(x); with Problem(inputs=u), a row of u for each step, as model(x, "
    'u_s); with inputs="time" as model(x, t); a stochastic one with rng as its last argument'
)

REPEAT = (
    "for the same state when it is called again; wanted a pure function and no randomness: give "
    'what changes with time as inputs= (inputs="time": the time), or put a counter into the '
    "state, as a component that each step moves on (module.eval()? a stochastic model says so, "
    "stochastic = True, and is called with rng)"
)


class Calls:
    """Calls of a function, with what went in and what came out, as it was and as it is now."""

    def __init__(self, f: Any, problem: Any, name: str, width: int):
        self.f, self.problem, self.name, self.width = f, problem, name, width
        self.inputs: list[tuple[Any, Any]] = []
        self.results: list[Any] = []
        self.values: list[Any] = []
        self._keeps = False

    def __call__(self, x: Any) -> Any:
        """f(x), checked for its form; `x` is handed over as a copy."""
        own = x + 0.0
        out = _call(self.f, own, self.problem.shape, self.name, self.width)
        self._keeps = self._keeps or _is_held(out, own)
        self._note(x, own, out)
        if not bool(array_namespace(x).all(own == x)):
            raise ValueError(
                f"{self.name} wrote into its input; wanted a pure function (copy first)"
            )
        return self.values[-1]

    def _note(self, x: Any, own: Any, out: Any) -> None:
        self.inputs.append((x, own))
        self.results.append(out)
        self.values.append(out + 0.0)

    def check_finite(self, first: Any) -> None:
        """Raise unless the image of the prior's mean is finite."""
        if not bool(array_namespace(first).all(array_namespace(first).isfinite(first))):
            raise ValueError(
                f"{self.name} returned NaN or infinity at the prior's mean; wanted numbers"
            )

    def check_kept(self) -> None:
        """Raise where a later call has changed what an earlier one was given, or gave."""
        self._compare(range(len(self.results)))
        other = self.inputs[3][0]
        for _ in range(MANY if self._keeps else 0):  # as many buffers in turn are found
            own = other + 0.0
            self._note(other, own, self.f(own))
            self._compare((1, 2))

    def _compare(self, which: Iterable[int]) -> None:
        xp = array_namespace(self.problem.like)
        for i in which:
            x, own = self.inputs[i]
            if not bool(xp.all(own == x)):
                raise ValueError(
                    f"{self.name} wrote into the input of an earlier call; wanted a pure function "
                    "(copy first)"
                )
            was, now = self.values[i], self.results[i]
            if not bool(xp.all((was == now) | (xp.isnan(was) & xp.isnan(now)))):
                raise ValueError(
                    f"{self.name} gives its result in an array that a later call writes over; "
                    "wanted a new array from each call: return a copy of it"
                )


def _is_held(out: Any, own: Any) -> bool:
    """Whether somebody else holds the memory of a result: perhaps to use it again.

    Python counts who refers to an object; a new array, and a view of one, are counted beside it.
    """
    if _root(out) is own or _root(out) is _root(own):
        return False
    new = own + 0.0
    usual = new if _root(out) is out else new[...]
    return _references(out) > _references(usual) - (_root(usual) is not usual)


def _root(x: Any) -> Any:
    """The array whose memory `x` is a view of: itself, where it owns its memory."""
    base = x._base if is_tensor(x) else x.base
    return x if base is None or not is_array(base) else _root(base)


def _references(x: Any) -> int:
    return sys.getrefcount(_root(x))


def _states(problem: Any) -> tuple[Any, Any, Any]:
    """The prior's mean, the mean plus its standard deviation, and one beside it: `(..., 1, n)`.

    A component without a spread is moved by a hundredth of its mean, or from 0 by 0.01. The third
    state differs from the mean by a tenth, and from one component to the next.
    """
    xp = array_namespace(problem.like)
    mean, std = problem.prior.mean, problem.prior.std
    i = xp.arange(mean.shape[-1], dtype=mean.dtype, device=mean.device)
    own = 0.01 * xp.abs(mean)
    apart = xp.where(std > 0, std, xp.where(own > 0, own, xp.full_like(own, 0.01)))
    third = mean + 0.1 * (xp.abs(mean) + apart) * xp.cos(i * i)
    shape = (*problem.batch, problem.n)
    a, b, c = (xp.broadcast_to(x, shape)[..., None, :] + 0.0 for x in (mean, mean + apart, third))
    return a, b, c


def _sizes(first: Any, second: Any, third: Any) -> Any:
    """How large each component of a result is, `(..., 1, m)`, and what it was summed up from.

    A sum of large numbers may be small: then it changes by much where they change by a tenth.
    """
    xp = array_namespace(first)
    change = third - first
    known = [xp.where(xp.isfinite(x), xp.abs(x), xp.zeros_like(x)) for x in (second, 10 * change)]
    return xp.maximum(xp.abs(first), xp.maximum(*known))


def _same(x: Any, y: Any, size: Any) -> bool:
    """Whether two results agree to round-off: libraries may sum rows in another order."""
    xp = array_namespace(x)
    near = (x == y) | (xp.abs(x - y) <= 1e4 * float(xp.finfo(x.dtype).eps) * size)
    return bool(xp.all(near | (xp.isnan(x) & xp.isnan(y))))


def _call(f: Operator, rows: Any, shape: tuple[int, ...], name: str, width: int) -> Any:
    """f(rows), of the library, dtype and shape of `rows` (but `width` wide), or an error."""
    met = f"(b, {', '.join(map(str, shape))})" if shape else str(tuple(rows.shape))
    hint = (
        f"{name} failed on an array of shape {met}; it must take any leading axes (..., n), or "
        "(b, *shape) where the problem has a field shape"
    )
    try:
        out = f(rows)
    except (*FAILURES, StopIteration) as error:  # the last would end a generator of ours
        kind = next((k for k in FAILURES if isinstance(error, k)), RuntimeError)
        raise kind(f"{hint}: {str(error) or repr(error)}") from error
    except Exception as error:
        error.add_note(hint)
        raise
    if not is_array(out) or library(out) != library(rows):
        raise TypeError(
            f"{name} returned {library(out)} for a {library(rows)} array; the prior's library "
            "decides: write it with that library's (or array-API) operations"
        )
    if out.dtype != rows.dtype:
        raise TypeError(
            f"{name} changed the dtype from {rows.dtype} to {out.dtype}; wanted it kept: "
            "convert its constants, or give the prior that dtype"
        )
    wanted = (*rows.shape[:-1], width)
    if tuple(out.shape) != wanted:
        raise ValueError(
            f"{name} returned shape {tuple(out.shape)} for rows {tuple(rows.shape)}, wanted "
            f"{wanted}; it must act on the last axis and keep the others"
        )
    return out


def _check_module(f: Any, like: Any, name: str) -> None:
    """A torch module must be in a torch problem, of its dtype and device, and not training."""
    f = unwrapped(f)
    if is_module(f) and library(like) != "torch":
        raise TypeError(
            f"{name} is a torch module but the prior is a NumPy array; wrap it as "
            "Surrogate(module), or give the prior as a torch tensor"
        )
    for p in f.parameters() if is_module(f) else ():
        dtype = p.dtype.to_real() if p.is_complex() else p.dtype  # spectral weights are complex
        if (p.is_floating_point() or p.is_complex()) and (dtype, p.device) != (
            like.dtype,
            like.device,
        ):
            raise TypeError(
                f"{name} holds {p.dtype} on {p.device} but the prior is {like.dtype} on "
                f"{like.device}; wanted the same: module.to(prior) or prior.to(module)"
            )
    net: Any = f
    while not is_module(net) and hasattr(net, "module"):  # inside a Surrogate or a History
        net = net.module
    for kind in ("Dropout", "BatchNorm") if is_module(net) else ():
        noisy = [s for s in net.modules() if s.training and kind in type(s).__name__]
        if noisy:
            raise ValueError(
                f"{name} is in training mode with {type(noisy[0]).__name__}; call module.eval() "
                "first"
            )
