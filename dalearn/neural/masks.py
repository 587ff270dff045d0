"""Random observing systems: which numbers of a trajectory are measured, drawn anew each time.

A mask `(b, T, n)` of booleans names what is seen of a batch of trajectories. A network that is to
be used with any observing system is trained on systems that are drawn anew at each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..array import check_count, typed


@typed
@dataclass(frozen=True)
class Scattered:
    """`least` to `most` numbers at random places, each of one of the given components.

    Call it with a count b: masks `(b, T, n)`, by torch's random numbers. Each trajectory has its
    own number of them, uniform in the range, and its own places, all equally likely.

    Args:
        T: times of a trajectory.
        n: components of a state.
        least: numbers seen at least.
        most: numbers seen at most.
        components: those that can be seen; None for all.
        kinds: with True, one component is drawn for the whole trajectory.

    Raises:
        ValueError: for more numbers than places.
    """

    T: int
    n: int
    least: int
    most: int
    components: Sequence[int] | None = None
    kinds: bool = False

    def __post_init__(self):
        for name in ("T", "n"):
            check_count(f"{name} of Scattered", getattr(self, name))
        check_count("least of Scattered", self.least, 0)
        check_count("most of Scattered", self.most, max(1, self.least))
        some = range(self.n) if self.components is None else self.components
        if not len(some) or not all(0 <= i < self.n for i in some):
            raise ValueError(f"components must be some of 0 to {self.n - 1}, met {some!r}")
        places = self.T * (1 if self.kinds else len(set(some)))
        if self.most > places:
            raise ValueError(f"Scattered wants most <= {places} places, met {self.most}")
        object.__setattr__(self, "components", tuple(sorted(set(some))))

    def __call__(self, count: int) -> Tensor:
        allowed: Any = torch.zeros(count, self.T, self.n, dtype=torch.bool)
        some = torch.as_tensor(self.components)
        if self.kinds:
            own = some[torch.randint(len(some), (count,))]
            allowed[torch.arange(count), :, own] = True
        else:
            allowed[..., some] = True
        order = torch.where(allowed, torch.rand(allowed.shape), 2.0).flatten(1)
        rank = order.argsort(-1).argsort(-1)
        wanted = torch.randint(self.least, self.most + 1, (count, 1))
        return (rank < wanted).view_as(allowed)


@typed
@dataclass(frozen=True)
class Regular:
    """One component at every `spacing`-th time, from one of the given first times on.

    Call it with a count b: masks `(b, T, n)`, by torch's random numbers.

    Args:
        T: times of a trajectory.
        n: components of a state.
        spacing: from one observed time to the next.
        first: the first times that are drawn from; None for 0 to spacing - 1.
        component: that is seen.

    Raises:
        ValueError: for numbers out of range.
    """

    T: int
    n: int
    spacing: int
    first: Sequence[int] | None = None
    component: int = 0

    def __post_init__(self):
        for name in ("T", "n", "spacing"):
            check_count(f"{name} of Regular", getattr(self, name))
        check_count("component of Regular", self.component, 0, self.n - 1)
        first = range(self.spacing) if self.first is None else self.first
        if not len(first) or not all(0 <= t < self.T for t in first):
            raise ValueError(f"first must be times from 0 to {self.T - 1}, met {first!r}")
        object.__setattr__(self, "first", tuple(first))

    def __call__(self, count: int) -> Tensor:
        first = torch.as_tensor(self.first)[torch.randint(len(self.first or ()), (count, 1))]
        after = torch.arange(self.T) - first
        seen = (after >= 0) & (after % self.spacing == 0)
        masks = torch.zeros(count, self.T, self.n, dtype=torch.bool)
        masks[..., self.component] = seen
        return masks
