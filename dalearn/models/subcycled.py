"""A model in shorter steps: one long step as several short ones, with a Courant check."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

from ..array import Array, array_namespace, as_numbers, check_count, typed, where_ok
from .windows import Windows


@typed
@dataclass(frozen=True, eq=False)
class Subcycled:
    """A model whose step is `steps` steps of another one, each `steps` times shorter.

    A longer step between observations than the scheme can take at once; `dt` stays the whole step.

    A model with a method `courant(x)`, `(..., *shape) -> (...)`, is checked before each substep.
    States that are NaN pass through as NaN.

    Args:
        model: a dataclass with a setting `dt`.
        steps: how many substeps, at least 1.
        courant: the largest Courant number allowed in a substep, None for no check; by default 1
            where the model knows its Courant number.
        strict: whether a state that breaks the limit raises; if not, it becomes NaN (reported as
            diverged), and the others go on.

    Raises:
        TypeError: for a model without `dt`, or a limit for one that knows no Courant number.
        ValueError: for settings out of range.
        FloatingPointError: when called with a state that breaks the limit, naming the number of
            steps that would be enough.
    """

    model: Any
    steps: int
    courant: Any = "auto"
    strict: bool = True

    def __post_init__(self):
        if not is_dataclass(self.model) or isinstance(self.model, type):
            raise TypeError(f"Subcycled wants a model that is a dataclass, met {self.model!r}")
        settings = [f.name for f in fields(self.model) if f.init]
        if "dt" not in settings or isinstance(self.model, Windows):
            raise TypeError(
                "Subcycled wants a model with a setting dt that its step follows, met "
                f"{self.model!r}; a Subcycled model takes its own `steps`"
            )
        check_count("steps of Subcycled", self.steps)
        known = callable(getattr(self.model, "courant", None))
        if isinstance(self.courant, str) and self.courant == "auto":
            object.__setattr__(self, "courant", 1.0 if known else None)
        if self.courant is None:
            return
        if not known:
            raise TypeError(
                f"{type(self.model).__name__} has no method courant(x), met the limit courant = "
                f"{self.courant!r}; wanted None: there is nothing to check"
            )
        limit = as_numbers(self.courant)
        if limit.ndim or not 0 < limit < math.inf:
            raise ValueError(
                f"Subcycled wants courant positive, or None for no check, met {self.courant!r}"
            )

    @property
    def dt(self) -> Any:
        """The whole step, in time units."""
        return self.model.dt

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state, as the model has it; () where it has none."""
        return tuple(getattr(self.model, "shape", ()))

    @property
    def stochastic(self) -> bool:
        """Whether the model draws random numbers, and is called with `rng`."""
        return bool(getattr(self.model, "stochastic", False))

    @cached_property
    def substep(self) -> Any:
        """The model with the shorter step."""
        return replace(self.model, dt=self.model.dt / self.steps)

    def __call__(self, x: Array, *rng: Any) -> Array:
        for _ in range(self.steps):
            x = self.substep(self._checked(x), *rng)
        return x

    def _checked(self, x: Array) -> Array:
        if self.courant is None:
            return x
        xp, met = array_namespace(x), self.substep.courant(x)
        broken = met > self.courant  # not where it is NaN: such a state is lost already
        if not bool(xp.any(broken)):
            return x
        if not self.strict:
            return where_ok(~broken, x)
        worst = float(xp.max(xp.where(broken, met, xp.zeros_like(met))))
        enough = self.steps * worst / self.courant
        advice = f"{math.ceil(enough)} steps" if math.isfinite(enough) else "no number of steps"
        raise FloatingPointError(
            f"{type(self.model).__name__} met the Courant number {worst:.3g} in one of "
            f"{self.steps} substeps, wanted at most {self.courant:g}: {advice} would do here; "
            "with strict=False such members become NaN"
        )
