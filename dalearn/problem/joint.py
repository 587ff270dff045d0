"""State and parameters as one state: the model inside a joint estimation."""

from __future__ import annotations

import math
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

from ..array import Array, array_namespace
from .border import Border


class Around:
    """Base class of models whose state holds that of another `model`, and more."""

    model: Any

    @property
    def dt(self) -> Any:
        """The model's step."""
        return getattr(self.model, "dt", 1.0)

    @property
    def stochastic(self) -> bool:
        """Whether the model draws random numbers, and is called with `rng`."""
        return bool(getattr(self.model, "stochastic", False))


@dataclass(frozen=True, eq=False)
class Joint(Around):
    """A model of state and parameters, `(..., n + p) -> (..., n + p)`: the parameters stay.

    Made by `with_parameters`.

    Args:
        model: the model of the state, a dataclass.
        names: of the parameters.
        shapes: of the parameters.
        n: the size of the model's state.
        field: its shape, () for vectors.
    """

    model: Any
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    n: int
    field: tuple[int, ...] = ()

    @property
    def p(self) -> int:
        """How many numbers the parameters are."""
        return sum(map(math.prod, self.shapes))

    def split(self, z: Array) -> tuple[Array, dict[str, Array]]:
        """The state `(..., n)` and the parameters by name, each `(..., *its shape)`."""
        xp, at, values = array_namespace(z), self.n, {}
        for name, shape in zip(self.names, self.shapes, strict=True):
            part = z[..., at : at + math.prod(shape)]
            values[name] = xp.reshape(part, (*z.shape[:-1], *shape))
            at += math.prod(shape)
        return z[..., : self.n], values

    def at(self, z: Array) -> At:
        """The model with the parameters in `z (..., n + p)`, ready for its states."""
        xp, values = array_namespace(z), self.split(z)[1]
        axes = {0: 1, 1: 1, 2: 2}.get(len(self.field), len(self.field) - 1)  # of one component
        lead = (math.prod(z.shape[:-1]),) if self.field else tuple(z.shape[:-1])
        theta = {
            name: xp.reshape(values[name], (*lead, *(1,) * (axes - len(shape)), *shape))
            for name, shape in zip(self.names, self.shapes, strict=True)
        }
        return At(self.model, theta)

    def __call__(self, z: Array, *more: Any) -> Array:  # its input, if it is told one, and rng
        x, step = z[..., : self.n], self.at(z)
        if self.field:  # what is swept over experiments, and not estimated, also goes to members
            step = Border(step, self.field, tuple(z.shape[:-2]))
        return array_namespace(z).concat((step(x, *more), z[..., self.n :]), axis=-1)


@dataclass(frozen=True, eq=False)
class At:
    """A model with other values of its parameters.

    Args:
        model: a dataclass.
        theta: the values by name.
    """

    model: Any
    theta: dict[str, Array]

    def __call__(self, x: Array, *more: Any) -> Array:
        return _with(self.model, self.theta)(x, *more)


def quoted(names: Any) -> str:
    """The names in quotes, for messages."""
    return ", ".join(map(repr, names))


def setting_of(model: Any, name: str) -> Any:
    """The value that the model, or the one inside it, holds of a parameter."""
    if not is_dataclass(model) or isinstance(model, type):
        raise TypeError(
            f"parameters reach the model by dataclasses.replace, met {type(model).__name__}; "
            f"wanted a dataclass with the setting {name!r}"
        )
    known = _settings(model)
    if name in known:
        return getattr(model, name)
    inner = getattr(model, "model", None)
    if is_dataclass(inner):
        return setting_of(inner, name)
    raise ValueError(f"{type(model).__name__} has no parameter {name!r}; it has {quoted(known)}")


def _with(model: Any, values: dict[str, Any]) -> Any:
    """The model, or the one inside it, with other values of its settings."""
    own = {k: v for k, v in values.items() if k in _settings(model)}
    inner = {k: v for k, v in values.items() if k not in own}
    if inner:
        own["model"] = _with(model.model, inner)
    return replace(model, **own)


def _settings(model: Any) -> list[str]:
    return [name for name, f in model.__dataclass_fields__.items() if f.init]
