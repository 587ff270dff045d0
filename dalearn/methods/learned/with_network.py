"""A problem whose data are y and, side by side with them, the fields of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ...array import Array, array_namespace, convert_tree, no_grad
from ...covariances.blocks import Blocks
from ...problem.belief import Belief
from ...problem.like import ProblemLike, in_library
from ...problem.observe import Observation
from .network_errors import NetworkErrors
from .network_fields import Fields


@dataclass(frozen=True, eq=False)
class Beside:
    """H(x) and behind it the state itself, or its code: what VIVID observes."""

    operator: Callable
    code: Callable | None = None

    def __call__(self, x: Array) -> Array:
        own = x if self.code is None else self.code(x)
        return array_namespace(x).concat((self.operator(x), own), axis=-1)


@dataclass(frozen=True, eq=False)
class WithNetwork:
    """A ProblemLike whose data are y and f(V(y)), side by side, with errors R and P.

    Args:
        problem: the ProblemLike of the data alone.
        fields: the network.
        P: NetworkErrors, or a Covariance of states, or of codes.
        inflation: a multiple of P, a number or `(..., 1)`.
        coder: None, or a Coder: then codes of the network's fields are observed.
    """

    problem: ProblemLike
    fields: Fields
    P: Any
    inflation: Any
    coder: Any = None
    _known: dict[int, Any] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.problem)

    def __getattr__(self, name: str) -> Any:  # truth, step, noise: what the problem has
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.problem, name)

    @property
    def batch(self) -> tuple[int, ...]:
        """The axes of independent experiments."""
        return self.problem.batch

    @property
    def n(self) -> int:
        """The dimension of the state."""
        return self.problem.n

    @property
    def like(self) -> Array:
        """The array that decides library, dtype and device."""
        return self.problem.like

    @property
    def prior(self) -> Belief:
        """What is known of the state before the first interval."""
        return self.problem.prior

    def forecast(self, x: Array, k: int, rng: Any = None) -> Array:
        """States at observation k - 1, carried to k."""
        return self.problem.forecast(x, k, rng)

    def at(self, k: int) -> tuple[Observation, Array]:
        """Data and field at observation k; where nothing was seen there is no field."""
        if k not in self._known:
            with no_grad(self.like):
                self._known[k] = self._at(k)
        return self._known[k]

    def _at(self, k: int) -> tuple[Observation, Array]:
        observe, y = self.problem.at(k)
        found = self.fields(observe, y)
        if found is None:
            return observe, y
        field, distance, known = found
        code = None if self.coder is None else self.coder.encode
        told = field if code is None else code(field)
        P: Any = self.P
        if isinstance(P, NetworkErrors):
            P = P.at(field, distance, self.fields.shape, self.inflation)
        else:
            P = convert_tree(P, self.like) * self.inflation
        xp = array_namespace(y)
        lead = told.shape[:-1]
        y = xp.concat((xp.broadcast_to(y, (*lead, y.shape[-1])), told), axis=-1)
        noise = Blocks((observe.noise, P if known is None else P.masked(known)))
        operator = Beside(observe.operator, code)
        return replace(observe, operator=operator, noise=noise, locations=None), y

    def to(self, like: Array) -> WithNetwork:
        """The same problem in the library, dtype and device of `like`."""
        scale, coder = convert_tree((self.inflation, self.coder), like)
        return WithNetwork(in_library(self.problem, like), self.fields, self.P, scale, coder)
