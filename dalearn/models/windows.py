"""Windows of states, oldest first, for models with a memory: (x_1, ..., x_L) as one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..array import Array, Operator, array_namespace, check_count, is_array, typed
from .coders import check_coder, check_states


class Windows:
    """What a model of windows has beside its step; `length` is L, the states of a window."""

    length: int

    def _width(self, x: Array) -> int:
        if x.ndim < 1 or x.shape[-1] % self.length or not x.shape[-1]:
            raise ValueError(
                f"{type(self).__name__}(length={self.length}) met a state of shape "
                f"{tuple(x.shape)}, wanted (..., {self.length} n): {self.length} states of n "
                "numbers, oldest first"
            )
        return x.shape[-1] // self.length

    def window(self, states: Array) -> Array:
        """Consecutive states `(..., length, n)` as one state of a problem `(..., length * n)`."""
        if states.ndim < 2 or states.shape[-2] != self.length:
            raise ValueError(
                f"a window of {type(self).__name__} has shape (..., {self.length}, n), met "
                f"{tuple(states.shape)}"
            )
        width = self.length * states.shape[-1]
        return array_namespace(states).reshape(states, (*states.shape[:-2], width))

    def latest(self, x: Array) -> Array:
        """The newest state `(..., n)` of a window `(..., length * n)`."""
        return x[..., -self._width(x) :]

    def observe(self, operator: Operator) -> Latest:
        """`operator`, a function of one state `(..., n)`, as one of windows: of the newest."""
        return Latest(operator, self)


@dataclass(frozen=True, eq=False)
class Latest:
    """An observation operator applied to the newest state of a window.

    Args:
        operator: a function `(..., n) -> (..., m)`.
        history: the model whose windows are the states.

    Raises:
        TypeError: for a matrix, or what is no function.
    """

    operator: Operator
    history: Windows

    def __post_init__(self):
        if is_array(self.operator) or not callable(self.operator):
            raise TypeError(
                "the operator must be callable, met "
                f"{type(self.operator).__name__}; a matrix goes in as Linear(matrix)"
            )

    @property
    def linear(self) -> bool:
        """Whether the operator is known to be linear."""
        return getattr(self.operator, "linear", False) is True

    def __call__(self, x: Array) -> Array:
        return self.operator(self.history.latest(x))


@typed
@dataclass(frozen=True, eq=False)
class Windowed:
    """The coder of windows: each state of a window is coded alone.

    (x_1, ..., x_L) -> (encode(x_1), ..., encode(x_L)). With it a model of windows of codes, such
    as DMD with delays, stands in `Latent(method, Windowed(coder, L), model=model)`.

    Args:
        coder: the Coder of one state.
        length: L, how many states a window holds.

    Raises:
        ValueError: for a length that is no integer >= 1.
    """

    coder: Any
    length: int

    def __post_init__(self):
        check_coder(self.coder)
        check_count("length", self.length)

    @property
    def n(self) -> int:
        return self.length * self.coder.n

    @property
    def r(self) -> int:
        return self.length * self.coder.r

    @property
    def linear(self) -> bool:
        return getattr(self.coder, "linear", False) is True

    def _each(self, f: Any, x: Array, size: int, name: str) -> Array:
        xp = array_namespace(x)
        if x.shape[-1:] != (self.length * size,):
            raise ValueError(
                f"{name} of shape {tuple(x.shape)} met Windowed(length={self.length}) of "
                f"{size} numbers each; wanted (..., {self.length * size})"
            )
        parts = f(xp.reshape(x, (*x.shape[:-1], self.length, size)))
        return xp.reshape(parts, (*x.shape[:-1], self.length * parts.shape[-1]))

    def encode(self, x: Array) -> Array:
        """Windows of states `(..., L n)` -> windows of codes `(..., L r)`."""
        return self._each(self.coder.encode, x, self.coder.n, "a window")

    def decode(self, z: Array) -> Array:
        """Windows of codes `(..., L r)` -> windows of states `(..., L n)`."""
        return self._each(self.coder.decode, z, self.coder.r, "a window of codes")

    def observed(self, operator: Any, like: Array) -> Any:
        """An operator of the newest state as one of codes, which decodes no more than that state.

        Args:
            operator: of windows of states.
            like: an array of the problem.

        Returns:
            A function of windows of codes, or None for an operator that is not `Latest`.
        """
        same = isinstance(operator, Latest) and operator.history.length == self.length
        return Newest(operator.operator, self.coder) if same else None

    def floor(self, test: Array) -> float:
        """The floor of one state's coder over the states of windows `(..., L n)`."""
        x = check_states(test, self.n, "the test states")
        xp = array_namespace(x)
        return self.coder.floor(xp.reshape(x, (*x.shape[:-1], self.length, self.coder.n)))


@dataclass(frozen=True, eq=False)
class Newest:
    """An operator of one state as one of a window of its codes: H(decode(newest)).

    Args:
        operator: H, `(..., n) -> (..., m)`.
        coder: the Coder of one state.
    """

    operator: Operator
    coder: Any

    @property
    def linear(self) -> bool:
        """Whether it is known to be linear: both parts, and the code 0 is the state 0."""
        parts = self.operator, self.coder
        known = all(getattr(part, "linear", False) is True for part in parts)
        mean = getattr(self.coder, "mean", None)
        return known and mean is not None and not bool((mean != 0).any())

    def __call__(self, z: Array) -> Array:
        return self.operator(self.coder.decode(z[..., -self.coder.r :]))
