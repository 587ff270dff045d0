"""The space of a latent dynamics network, as methods see it: codes (s, v) of state and parameter.

    s_t = s_{t-1} + dt F(s_{t-1}, v),   x_t = R(s_t, points),   u = mean + half v.

Before the first state that the network knows, s = 0: a prior is one of the parameter alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...array import Array, array_namespace, as_floats, convert, shown, through, to_numpy
from ...problem.like import ProblemLike, stepwise
from ...problem.pointwise import pointwise


@dataclass(frozen=True, eq=False)
class LatentCode:
    """What codes (s, v) `(..., r + p)` of an LDNet stand for: (x, u) `(..., C P + p)`.

    A coder that decodes only: an LDNet has no encoder of states.

    Args:
        net: an LDNet.
        points: where the components of a state are, `(P, d)`; component by component.
    """

    net: Any
    points: Any

    @cached_property
    def at(self) -> Any:
        """The points as the network takes them."""
        return convert(self.points, next(self.net.parameters()))

    @property
    def n(self) -> int:
        """How many numbers state and parameters are."""
        return len(self.points) * self.net.outputs + self.net.inputs

    @property
    def r(self) -> int:
        """How many numbers a code is."""
        return self.net.latent + self.net.inputs

    def start(self, x: Array) -> Array:
        """(x, u) -> (0, v): the code before the first state, which knows the parameter alone."""
        xp, p = array_namespace(x), self.net.inputs
        zeros = xp.zeros((*x.shape[:-1], self.net.latent), dtype=x.dtype, device=x.device)
        mean, half = (convert(v, x) for v in (self.net.u_mean, self.net.u_half))
        return xp.concat((zeros, (x[..., -p:] - mean) / half), axis=-1)

    def decode(self, z: Array) -> Array:
        """(s, v) `(..., r + p)` -> (x, u) `(..., C P + p)`."""
        x = through(self.net, self._fields, z)
        return array_namespace(x).concat((x, self.parameters(z)), axis=-1)

    def parameters(self, z: Array) -> Array:
        """The parameters u of codes, `(..., p)`."""
        mean, half = (convert(v, z) for v in (self.net.u_mean, self.net.u_half))
        return mean + half * z[..., self.net.latent :]

    def _fields(self, z: Any) -> Any:
        y = self.net.reconstruct(z[..., : self.net.latent], self.at)
        return y.movedim(-1, -2).flatten(-2)

    def observed(self, operator: Any, like: Array) -> Callable | None:
        """An operator of states as one of codes that decodes no more than the sensors' points.

        Args:
            operator: of states and parameters.
            like: an array of the problem.

        Returns:
            A function of codes, or None for an operator that does not pick components of x.
        """
        found, P = pointwise(operator, self.n, like), len(self.points)
        if found is None or (found[1] >= P * self.net.outputs).any():
            return None
        of, index = found
        places, which = np.unique(index % P, return_inverse=True)
        return AtSensors(self.net, self.at[places.tolist()], which, index // P, of)


@dataclass(frozen=True, eq=False)
class AtSensors:
    """What sensors see of the field of a code: f(R(s, points)) of some components.

    Args:
        net: an LDNet.
        at: the points `(U, d)`, a tensor.
        which: which of the points each number is from, `(m,)`.
        component: which component, `(m,)`.
        of: a Pointwise, what is done to each number.
    """

    net: Any
    at: Any
    which: np.ndarray
    component: np.ndarray
    of: Any

    def __call__(self, z: Array) -> Array:
        return self.of.f(through(self.net, self._seen, z))

    def _seen(self, z: Any) -> Any:
        y = self.net.reconstruct(z[..., : self.net.latent], self.at)
        return y[..., self.which.tolist(), self.component.tolist()]


@dataclass(frozen=True, eq=False)
class LatentSteps:
    """The dynamics of codes: so many steps of the network before each observation.

    Args:
        net: an LDNet.
        counts: steps before each observation.
    """

    net: Any
    counts: tuple[int, ...]
    noise: None = None
    stochastic: bool = False

    def step(self, z: Array) -> Array:
        """One step, (s, v) -> (s + dt F(s, v), v)."""
        return through(self.net, self._moved, z)

    def _moved(self, z: Any, count: int = 1) -> Any:
        import torch

        s, v = z[..., : self.net.latent], z[..., self.net.latent :]
        u = self.net.u_mean + self.net.u_half * v
        for _ in range(count):
            s = self.net.step(s, u)
        return torch.cat((s, v.expand(*s.shape[:-1], v.shape[-1])), dim=-1)

    def steps_to(self, k: int) -> int:
        """How many steps lie before observation k."""
        return self.counts[k]

    def forecast(self, x: Array, k: int, rng: Any = None) -> Array:
        """Codes at observation k - 1, carried to observation k."""
        return through(self.net, lambda z: self._moved(z, self.counts[k]), x)

    def from_start(self, z: Array, k: int) -> Array:
        """The codes that the parameters of codes `(..., r + p)` imply at observation k."""
        xp, r = array_namespace(z), self.net.latent
        z = xp.concat((0 * z[..., :r], z[..., r:]), axis=-1)
        count = sum(self.counts[: k + 1])
        return through(self.net, lambda z: self._moved(z, count), z)

    def to(self, like: Array) -> LatentSteps:
        """The same: a network stays where it is."""
        return self


def counted(problem: ProblemLike, first: int, every: int) -> tuple[int, ...]:
    """How many latent steps lie before each observation.

    Args:
        problem: a problem whose model has single steps.
        first: the model step of the network's first state.
        every: model steps from one of its states to the next.

    Returns:
        The counts; the first one leads from s = 0, one step before the first state.

    Raises:
        ValueError: for observations between the states of the network.
    """
    steps_to = stepwise(problem, "LDEnSF", alike=True).steps_to
    times = np.cumsum([steps_to(k) for k in range(len(problem))])
    steps, rest = np.divmod(times - first, every)
    if rest.any() or steps[0] < 0:
        raise ValueError(
            f"observations must lie at model steps {first}, {first + every}, ..., where the LDNet "
            f"has its states, met steps {times[:4].tolist()} and so on; wanted another first= or "
            "every=, or data at these steps"
        )
    return tuple(np.diff(np.concatenate(([-1], steps))).tolist())


def between(codes: Array, times: Array) -> Array:
    """Codes `(..., K, r)` at other times `(T,)` than 0, ..., K - 1, by a cubic spline."""
    from scipy.interpolate import CubicSpline

    K, t = codes.shape[-2], to_numpy(as_floats(times, "times"))
    if t.ndim != 1 or not ((t >= 0) & (t <= K - 1)).all() or K < 2:
        raise ValueError(
            f"times must lie between 0 and {K - 1}, the first and last of {K} observations (at "
            f"least 2), met {shown(times)}"
        )
    known = CubicSpline(np.arange(K), to_numpy(codes), axis=-2)
    return convert(np.asarray(known(t)), codes)
