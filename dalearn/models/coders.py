"""Coders: a state `(..., n)` as a few numbers `(..., r)`, and back.

    z = encode(x),   x ~ decode(z),   r << n.

A coder is a pair of pure functions of states. Like a model it knows no observation, no prior and
no method, and so it stands beside the models: a problem, a network or a method may hold one.
Proper orthogonal decomposition is in `pod`; coders that are networks need torch: see `neural`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..array import (
    Array,
    array_namespace,
    as_floats,
    check_count,
    shown,
    to_numpy,
    typed,
    warn,
)


class Untrained(UserWarning):
    """A coder that errs no less than the mean of the states would: it knows nothing of them."""


class Coder(Protocol):
    """What every coder does.

    A coder that holds arrays is a dataclass, so that it moves between libraries and pickles. One
    whose `encode` and `decode` are affine says so by `linear = True`.
    """

    @property
    def n(self) -> int:
        """How many numbers a state has."""
        ...

    @property
    def r(self) -> int:
        """How many numbers its code has."""
        ...

    def encode(self, x: Array) -> Array:
        """States `(..., n)` -> codes `(..., r)`, each row alone, differentiable."""
        ...

    def decode(self, z: Array) -> Array:
        """Codes `(..., r)` -> states `(..., n)`, each row alone, differentiable."""
        ...

    def floor(self, test: Array) -> float:
        """The error that remains without any assimilation: see `reconstruction_error`."""
        ...


@typed
def reconstruction_error(coder: Any, test: Array) -> float:
    """The floor of a coder: its root-mean-square error on states that it was not fitted to.

    sqrt(mean |x - decode(encode(x))|^2) over all states and components, in the state's units; of
    several units the largest numbers decide it. No analysis in the coder's space is better than
    this on average. It warns of Untrained where the mean of the states errs no more.

    Args:
        coder: a Coder.
        test: held-out states `(..., n)`: whole trajectories, not times between those fitted to.

    Returns:
        The error, one number.

    Raises:
        ValueError: for another number of components than the coder's n, for no state, and for
            states with NaN or infinity, which would hide behind an average.
    """
    check_coder(coder)
    x = check_states(test, coder.n, "the test states")
    xp = array_namespace(x)
    error = _root_mean_square(x - coder.decode(coder.encode(x)))
    rows = xp.reshape(x, (-1, coder.n))
    varies = _root_mean_square(rows - xp.mean(rows, axis=0))
    if varies <= error and len(rows) > 1 and error > 0:
        warn(
            f"the floor {error:.3g} of {type(coder).__name__} is not below {varies:.3g}, the "
            "deviation of the test states from their mean; wanted a coder that was trained on "
            "such states, in the same units",
            Untrained,
        )
    return error


def _root_mean_square(gap: Array) -> float:
    xp = array_namespace(gap)
    size = float(xp.max(xp.abs(gap)))
    if not size > 0:  # exact, or NaN
        return size
    return size * float(to_numpy(xp.mean((gap / size) ** 2))) ** 0.5


def check_coder(coder: Any) -> None:
    """Raise TypeError unless an object can do what a Coder does.

    Args:
        coder: what was given as one.

    Raises:
        TypeError: for a class, and for what lacks encode, decode, n or r.
    """
    lacks = [a for a in ("encode", "decode", "n", "r") if not hasattr(coder, a)]
    if lacks or isinstance(coder, type):
        raise TypeError(
            f"wanted a coder such as POD.fit(states, 8), met {shown(coder)}"
            + f" without {', '.join(lacks)}" * bool(lacks)
        )


def check_states(states: Any, n: int | None, name: str) -> Array:
    """`states` as floats, or an error.

    Args:
        states: `(..., n)`.
        n: the number of components wanted, or None for any.
        name: what they are, for messages.

    Returns:
        The states; integers become float64.

    Raises:
        ValueError: unless they are finite, at least one, and of n components.
    """
    x = as_floats(states, name, axes=("...", "x"))
    if x.ndim < 1 or 0 in x.shape or (n is not None and x.shape[-1] != n):
        wanted = "(..., n), at least one state" if n is None else f"(..., {n})"
        raise ValueError(f"{name} have shape {tuple(x.shape)}, wanted {wanted}")
    xp = array_namespace(x)
    bad = ~xp.all(xp.isfinite(x), axis=-1)
    if bool(xp.any(bad)):
        count = int(xp.sum(xp.astype(bad, xp.int64)))
        raise ValueError(
            f"{count} of {name} {tuple(x.shape)} hold NaN or infinity; wanted finite numbers: "
            "leave them out, states[isfinite(states).all(-1)], or mend the runs they come from"
        )
    return x


def check_scale(scale: Array, n: int, name: str = "scale") -> None:
    """Raise ValueError unless a scale is `(n,)`, finite and positive.

    Args:
        scale: the unit of each component, floats.
        n: how many components there are.
        name: what it is, for messages.

    Raises:
        ValueError: for another shape, and a unit that is not positive.
    """
    xp = array_namespace(scale)
    if tuple(scale.shape) != (n,):
        raise ValueError(f"{name} has shape {tuple(scale.shape)}, wanted ({n},): one a component")
    if not bool(xp.all(xp.isfinite(scale) & (scale > 0))):
        raise ValueError(
            f"{name} must be finite and positive, met the least {float(xp.min(scale)):g}; give "
            "components that never vary the unit 1"
        )


@typed
@dataclass(frozen=True, eq=False)
class Extended:
    """The coder of a state with parameters behind it: they pass as they are.

    (x, theta) -> (encode(x), theta). For joint problems, `with_parameters`, whose states have
    n + p numbers.

    Args:
        coder: the Coder of the state alone.
        p: how many numbers the parameters are.

    Raises:
        ValueError: for a p that is no integer >= 1.
    """

    coder: Any
    p: int

    def __post_init__(self):
        check_coder(self.coder)
        check_count("p", self.p)

    @property
    def n(self) -> int:
        return self.coder.n + self.p

    @property
    def r(self) -> int:
        return self.coder.r + self.p

    @property
    def linear(self) -> bool:
        return getattr(self.coder, "linear", False) is True

    def _joined(self, f: Any, x: Array) -> Array:
        xp = array_namespace(x)
        return xp.concat((f(x[..., : -self.p]), x[..., -self.p :]), axis=-1)

    def encode(self, x: Array) -> Array:
        """(x, theta) `(..., n + p)` -> (z, theta) `(..., r + p)`."""
        return self._joined(self.coder.encode, x)

    def decode(self, z: Array) -> Array:
        """(z, theta) `(..., r + p)` -> (x, theta) `(..., n + p)`."""
        return self._joined(self.coder.decode, z)

    def floor(self, test: Array) -> float:
        """The floor of the state's own coder, in the state's units: theta has no error."""
        x = check_states(test, self.n, "the test states")
        return self.coder.floor(x[..., : -self.p])
