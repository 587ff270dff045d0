"""What a function or an object must be able to do: the shapes that callables promise.

Nothing needs to inherit from these; a type checker compares signatures.
"""

from __future__ import annotations

from typing import Any, Protocol

from .library import Array


class Operator(Protocol):
    """A pure function of states, `(..., n) -> (..., m)`; of fields `(b, *shape) -> (b, ...)`."""

    def __call__(self, x: Array, /) -> Array:
        """The function's value; each row on its own."""
        ...


class Model(Protocol):
    """One time step, pure: `(..., n) -> (..., n)`, or `(b, *shape) -> (b, *shape)`.

    A stochastic model has `stochastic = True` and is called as `model(x, rng)`.
    """

    def __call__(self, x: Array, /, *args: Any, **kwargs: Any) -> Array:
        """The state one step later."""
        ...


class Jacobian(Protocol):
    """A function that differentiates: `(f, x) -> (f(x), J)` with `J (..., m, n)`.

    `linearize` and `finite_difference` are two of them.
    """

    def __call__(self, f: Operator, x: Array, /) -> tuple[Array, Array]:
        """Value and Jacobian of `f` at `x (..., n)`."""
        ...


class Random(Protocol):
    """Random numbers for a batch of experiments, as Streams and TorchStreams give them."""

    batch: tuple[int, ...]

    def normal(self, shape: tuple[int, ...], like: Array, where: Any = None) -> Array:
        """Standard normal numbers `(*batch, *shape)` in the library of `like`."""
        ...

    def uniform(self, like: Array) -> Array:
        """Uniform numbers for the entries of `like (*batch, ...)`."""
        ...
