"""What is known of the state x: a point, a Gaussian, or an ensemble.

Each has `mean (..., n)`, `std (..., n)`, `sample(rng, members)` and `map(f)`, and `[b]` picks one
experiment of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..array import (
    Array,
    Operator,
    array_namespace,
    as_floats,
    convert,
    convert_tree,
    eye,
    is_array,
    normal,
    row_mean,
    unbiased,
)
from ..array.derivative import linearize, pushforward
from ..covariances.base import Covariance
from ..covariances.given import as_covariance
from ..covariances.roots import Rows
from .states import as_state


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The belief x ~ N(mean, cov).

    Args:
        mean: `(..., n)`, an array or a list; integers become float64.
        cov: a Covariance of dimension n; a matrix, a vector of variances, or one number, the
            variance of each component.

    Raises:
        TypeError: for what holds no real numbers.
        ValueError: when dimensions differ or the mean is not finite.
    """

    mean: Array
    cov: Covariance = field()

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", as_state(self.mean, "the Gaussian's mean", axes=1))
        if self.cov is None:  # pyright: ignore
            raise TypeError("cov must be a covariance, a matrix, variances or a number, met None")
        C = as_covariance(self.cov, "cov", self.mean.shape[-1])
        if not isinstance(self.cov, Covariance) and not is_array(self.cov):  # numbers and lists
            C = convert_tree(C, self.mean)
        object.__setattr__(self, "cov", C)
        if self.cov.n != self.mean.shape[-1]:
            raise ValueError(
                f"the mean has {self.mean.shape[-1]} components but the covariance {self.cov.n}; "
                "wanted the same number"
            )
        if self.cov.batch not in ((), tuple(self.mean.shape[:-1])):
            raise ValueError(
                f"the covariance has batch axes {self.cov.batch}, wanted () or the mean's "
                f"{tuple(self.mean.shape[:-1])}; give the mean the same leading axes"
            )

    @classmethod
    def unchecked(cls, mean: Array, cov: Covariance) -> Gaussian:
        """A belief made by a method: NaN is allowed, it marks a diverged experiment."""
        self = object.__new__(cls)
        self.__dict__.update(mean=mean, cov=cov)
        return self

    @property
    def std(self) -> Array:
        """Standard deviations `(..., n)`."""
        return self.cov.deviations()

    def sample(self, rng: Any, members: int) -> Array:
        """Independent draws.

        Args:
            rng: Streams or a `numpy.random.Generator`.
            members: how many draws.

        Returns:
            States `(..., members, n)`.
        """
        shape = (members, self.cov.controls)
        if not hasattr(rng, "batch"):  # a NumPy generator: draw for our own batch axes
            shape = (*self.mean.shape[:-1], *shape)
        cov = convert_tree(self.cov, self.mean)
        return self.mean[..., None, :] + cov.color(normal(rng, shape, self.mean))

    def map(self, f: Operator) -> Gaussian:
        """The image under a function, to first order: N(f(mean), J C J^T), as Rows.

        With C = L L^T the rows are (J L)^T, one for each control: no matrix of the larger of the
        two dimensions is made.

        Args:
            f: a differentiable function `(..., n) -> (..., m)`, each row on its own.

        Returns:
            The belief about f(x).
        """
        cov, f = (convert_tree(part, self.mean) for part in (self.cov, f))
        value = f(self.mean)
        if cov.controls > value.shape[-1]:  # fewer numbers out: J L from its rows
            value, J = linearize(f, self.mean)
            return Gaussian.unchecked(value, Rows(cov.adjoint(J).mT))
        value, rows = pushforward(f, self.mean, cov.color(eye(cov.controls, self.mean)))
        return Gaussian.unchecked(value, Rows(rows))

    def __getitem__(self, b: Any) -> Gaussian:
        mean = self.mean[b] if self.mean.ndim > 1 else self.mean
        return Gaussian.unchecked(mean, self.cov[b] if self.cov.batch else self.cov)


__all__ = ["Belief", "Ensemble", "Gaussian", "Point"]


@dataclass(frozen=True, eq=False)
class Point:
    """All weight on one state; its standard deviation is 0.

    Args:
        x: the state `(..., n)`, an array or a list; integers become float64.

    Raises:
        TypeError: for what holds no real numbers.
        ValueError: for a single number, NaN and infinity.
    """

    x: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", as_state(self.x, "the point", axes=1))

    @classmethod
    def unchecked(cls, x: Array) -> Point:
        """A belief made by a method: NaN is allowed, it marks a diverged experiment."""
        (self := object.__new__(cls)).__dict__.update(x=x)
        return self

    @property
    def mean(self) -> Array:
        return self.x

    @property
    def std(self) -> Array:
        return 0 * self.x

    def sample(self, rng: Any, members: int) -> Array:
        """Copies of the point, `(..., members, n)`; with the batch axes of Streams, if given."""
        xp = array_namespace(self.x)
        batch = getattr(rng, "batch", ()) or tuple(self.x.shape[:-1])
        return xp.broadcast_to(self.x[..., None, :], (*batch, members, self.x.shape[-1])) + 0.0

    def map(self, f: Operator) -> Point:
        """The point f(x)."""
        return Point(f(self.x))

    def __getitem__(self, b: Any) -> Point:
        return Point(self.x[b] if self.x.ndim > 1 else self.x)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Members, equally likely or with weights.

    mean = sum_i w_i x_i; the variance is the unbiased one, sum_i w_i (x_i - mean)^2 / (1 - sum_i
    w_i^2), which is the usual 1/(N - 1) when the weights are equal.

    Args:
        members: `(..., N, n)`, an array or lists; integers become float64.
        weights: `(..., N)`, not negative, of sum 1; None for equal weights.

    Raises:
        TypeError: for what holds no real numbers.
        ValueError: for fewer than two members, NaN, and weights of another shape or sum.
    """

    members: Array
    weights: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", as_state(self.members, "the ensemble", axes=2))
        given: Any = self.weights
        if given is not None:
            w = as_floats(given, "weights", axes=("member",))
            w = convert(w, self.members) if isinstance(given, (list, tuple)) else w
            object.__setattr__(self, "weights", w)
        if self.members.shape[-2] < 2:
            raise ValueError(
                f"an ensemble needs at least 2 members, met {self.members.shape[-2]} in shape "
                f"{tuple(self.members.shape)}; its axes are (..., members, n)"
            )
        if self.weights is not None:
            xp = array_namespace(self.members, self.weights)
            if tuple(self.weights.shape) != tuple(self.members.shape[:-1]):
                raise ValueError(
                    f"weights have shape {tuple(self.weights.shape)}, wanted "
                    f"{tuple(self.members.shape[:-1])}: one per member"
                )
            total = xp.sum(self.weights, axis=-1)
            if not bool(xp.all(self.weights >= 0)) or not bool(xp.all(xp.abs(total - 1) < 1e-5)):
                raise ValueError(
                    "weights must be non-negative and sum to 1 over the members, met the least "
                    f"{float(xp.min(self.weights)):g} and sums up to {float(xp.max(total)):g}"
                )

    @classmethod
    def of(cls, mean: Array, anomalies: Array) -> Ensemble:
        """From `mean (..., 1, n)` and anomalies `(..., N, n)` of mean zero, both then kept."""
        self = object.__new__(cls)
        members = mean + anomalies
        if not members.shape[:-2] == mean.shape[:-2] == anomalies.shape[:-2]:  # one is shared
            xp, batch = array_namespace(members), members.shape[:-2]
            mean = xp.broadcast_to(mean, (*batch, *mean.shape[-2:]))
            anomalies = xp.broadcast_to(anomalies, members.shape)
        self.__dict__.update(members=members, weights=None, anomalies=anomalies, _mean=mean)
        return self

    @classmethod
    def unchecked(cls, members: Array, weights: Array | None = None) -> Ensemble:
        """An ensemble made by a method: NaN is allowed, it marks a diverged experiment."""
        self = object.__new__(cls)
        self.__dict__.update(members=members, weights=weights)
        return self

    @cached_property
    def _mean(self) -> Array:  # (..., 1, n)
        if self.weights is None:
            return row_mean(self.members)
        return self.weights[..., None, :] @ self.members

    @cached_property
    def anomalies(self) -> Array:
        """Members minus their mean, `(..., N, n)`."""
        return self.members - self._mean

    @property
    def mean(self) -> Array:
        return self._mean[..., 0, :]

    @property
    def std(self) -> Array:
        xp = array_namespace(self.members)
        X = self.anomalies
        if self.weights is None:
            return (xp.linalg.vecdot(X, X, axis=-2) / (X.shape[-2] - 1)) ** 0.5
        w = self.weights
        return ((w[..., None, :] @ (X * X))[..., 0, :] * unbiased(w)) ** 0.5

    def sample(self, rng: Any, members: int) -> Array:
        """The members themselves when `members` is their number; else ValueError.

        An ensemble prior *is* the filter's first ensemble; resampling it silently would hide
        that two members are the same. Weights have no place in it: ValueError.
        """
        self._check_equal()
        if members != self.members.shape[-2]:
            raise ValueError(
                f"the prior is an ensemble of {self.members.shape[-2]} members but {members} "
                "were asked for; give the method members=the ensemble's, or a Gaussian prior"
            )
        return self.members

    def _check_equal(self) -> None:
        if self.weights is not None:
            raise ValueError(
                f"the ensemble has weights {tuple(self.weights.shape)}, wanted equal ones (None): "
                "its members are taken as they are; resample them first"
            )

    def draw(self, rng: Any) -> Array:
        """One member at random for each experiment, `(..., 1, n)`: how a twin picks its truth."""
        self._check_equal()
        xp = array_namespace(self.members)
        batch = rng.batch
        i = rng.integers(self.members.shape[-2], 1)  # (..., 1)
        E = xp.broadcast_to(self.members, (*batch, *self.members.shape[-2:]))
        index = convert(i[..., None], self.members)
        index = xp.broadcast_to(index, (*batch, 1, E.shape[-1]))
        return xp.take_along_axis(E, index, axis=-2)

    def map(self, f: Operator) -> Ensemble:
        """The ensemble of f(x_i), with the same weights."""
        return Ensemble(f(self.members), self.weights)

    def __getitem__(self, b: Any) -> Ensemble:
        if self.members.ndim == 2:
            return self
        return Ensemble(self.members[b], None if self.weights is None else self.weights[b])


Belief = Point | Gaussian | Ensemble
