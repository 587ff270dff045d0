"""Observations y = H(x) + e, e ~ N(0, R): what is seen of the state, and how well.

An operator is any callable `(..., *shape) -> (..., m)`, or a matrix `(m, n)`. Those that hold
arrays are dataclasses, so that they can move between libraries and be pickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..array import (
    Array,
    Operator,
    array_namespace,
    as_floats,
    check_count,
    is_array,
    typed,
)
from ..covariances.base import Covariance
from ..covariances.given import as_covariance
from .border import unwrapped
from .laws import check_law
from .manifold import Angles, Residual, Turning, centre, nearest
from .residuals import as_residual


def identity(x: Array) -> Array:
    """Everything is observed: H(x) = x.

    Args:
        x: states `(..., n)`.

    Returns:
        The same.
    """
    return x


identity.linear = True  # type: ignore[attr-defined]


@typed
@dataclass(frozen=True)
class Every:
    """Every `step`-th component, along the last axis or the last few.

    Args:
        step: from one observed component to the next, at least 1.
        start: the first one observed, at least 0.
        axes: along how many of the last axes, at least 1.

    Raises:
        ValueError: for numbers out of range.
    """

    step: int
    start: int = 0
    axes: int = 1
    linear: ClassVar[bool] = True

    def __post_init__(self):
        for name, least, most in (("step", 1, 2**63), ("start", 0, 2**63), ("axes", 1, 33)):
            check_count(f"{name} of Every", getattr(self, name), least, most - 1)

    def __call__(self, x: Array) -> Array:
        return x[(..., *(slice(self.start, None, self.step),) * self.axes)]


@dataclass(frozen=True, eq=False)
class Subset:
    """The components with given indices.

    Args:
        index: integers for the last axis; for fields a tuple of index arrays, one per trailing
            axis: `Subset((rows, columns))`.

    Raises:
        TypeError: for anything but integers.
        IndexError: when called with a state that is too small.
    """

    index: Any
    linear: ClassVar[bool] = True

    def __post_init__(self):
        import numpy as np

        parts = self.index if isinstance(self.index, tuple) else (self.index,)
        parts = tuple(i if is_array(i) else np.asarray(i) for i in parts)
        for i in parts:
            masked = np.ma.is_masked(i)
            if i.ndim != 1 or "int" not in str(i.dtype) or masked:
                raise TypeError(
                    f"index of a Subset must be vectors of integers, met {'a masked ' * masked}"
                    f"dtype {i.dtype}, shape {tuple(i.shape)}; for a mask pass "
                    "numpy.flatnonzero(mask)"
                )
        # torch takes uint8 for a mask
        parts = tuple(
            np.asarray(i, dtype="int64") if isinstance(i, np.ndarray) else i.long() for i in parts
        )
        object.__setattr__(self, "index", parts)

    def __call__(self, x: Array) -> Array:
        return x[(..., *self.index)]


@dataclass(frozen=True, eq=False)
class Linear:
    """H(x) = H x with a matrix; on rows, x H^T.

    Args:
        matrix: H `(m, n)`, an array or a list.

    Raises:
        ValueError: for another number of axes, and when called with a state of another size.
    """

    matrix: Array
    linear: ClassVar[bool] = True

    def __post_init__(self):
        H = as_floats(self.matrix, "the observation matrix", axes=("y", "x"))
        object.__setattr__(self, "matrix", H)
        if H.ndim != 2:
            raise ValueError(f"the observation matrix must be (m, n), met shape {tuple(H.shape)}")
        if not bool(array_namespace(H).all(abs(H) < float("inf"))):
            raise ValueError("the observation matrix holds NaN or infinity; wanted finite numbers")

    def __call__(self, x: Array) -> Array:
        if x.shape[-1] != self.matrix.shape[1]:
            raise ValueError(
                f"the observation matrix {tuple(self.matrix.shape)} cannot act on a state of "
                f"shape {tuple(x.shape)}; wanted {self.matrix.shape[1]} components"
            )
        return x @ self.matrix.mT


@dataclass(frozen=True, eq=False)
class Observation:
    """The observing system: `operator` H, `noise` R, and optionally where each number is measured.

    Args:
        operator: a callable, or a matrix (m, n).
        noise: a Covariance of dimension m; a matrix; a vector of variances; or, where the
            operator is a matrix, one number, the variance of each. Perfect data and constraints
            have a variance of 0, or a singular matrix: KF, ExtendedKF, UKF, OI and the RTS
            smoothers take them, other methods say that they do not.
        locations: `(m, d)`, used by localization.
        residual: a function (y, h) -> y - h of arrays `(..., m)` where the observed numbers lie on
            a manifold, such as `Angles()` for angles; None: the difference.
        law: of the errors, Student, Laplace, Huber or Poisson; R then holds squares of scales.

    Raises:
        TypeError: for an operator that is no function and no matrix.
        ValueError: for variances that are negative, and shapes that do not fit.
    """

    operator: Operator
    noise: Covariance
    locations: Any = None
    residual: Residual | None = None
    law: Any = None

    def __post_init__(self):
        if is_array(self.operator) or isinstance(self.operator, (list, tuple)):
            object.__setattr__(self, "operator", Linear(self.operator))
        if not callable(self.operator) or isinstance(self.operator, type):
            raise TypeError(
                "the operator must be callable (not a class) or a matrix (m, n) as an array, met "
                f"{self.operator!r}"
            )
        if self.noise is None:  # pyright: ignore
            raise TypeError("the observation noise must be a covariance or variances, met None")
        m = self.operator.matrix.shape[0] if isinstance(self.operator, Linear) else None
        R = as_covariance(self.noise, "the observation noise", m, whitened=True)
        object.__setattr__(self, "noise", R)
        xp = array_namespace(v := self.noise.variance())
        if bool(xp.any(v <= 0)) and not R.singular:
            raise ValueError(
                f"observation noise must have positive variances, met {float(xp.min(v)):g} in a "
                f"{type(R).__name__}; for perfect data give a Diagonal, Rows or a matrix"
            )
        if self.locations is not None:
            where = as_floats(self.locations, "locations", axes=("y", "coordinate"))
            object.__setattr__(self, "locations", where)
        where = None if self.locations is None else tuple(self.locations.shape)
        if where is not None and (len(where) != 2 or where[0] != self.m):
            raise ValueError(f"locations have shape {where}, wanted ({self.m}, d)")
        object.__setattr__(self, "residual", as_residual(self.residual, self.m))
        check_law(self.law)

    @property
    def m(self) -> int:
        """How many numbers are observed."""
        return self.noise.n

    def at(self, k: int) -> Observation:
        """The observing system at the k-th observation time: itself."""
        return self

    def masked(self, seen: Array) -> Observation:
        """The system when only some numbers are observed, booleans `(..., m)`: see Covariance."""
        return replace(self, noise=self.noise.masked(seen))

    def nearest(self, h: Array, y: Array) -> Array:
        """Predicted values `h` put near the data: y - nearest(h, y) is the residual of y and h."""
        if self.residual is None:
            return h
        own = isinstance(self.residual, Angles)
        return nearest(self.residual, h, y) if own else y - self.residual(y, h)

    def together(self, Y: Array, y: Array) -> tuple[Array, Array]:
        """Images `Y (..., N, m)` and data `y (..., m)` near the mean of the images.

        There means, anomalies and y - Y are those on the manifold.
        """
        if self.residual is None:
            return Y, y
        c = centre(self.residual, Y)
        return nearest(self.residual, Y, c), nearest(self.residual, y[..., None, :], c)[..., 0, :]

    @property
    def smooth(self) -> Operator:
        """The operator to be differentiated, even by differences across a cut."""
        if self.residual is None or is_linear(self.operator):
            return self.operator
        return Turning(self.operator, self.residual)

    def __call__(self, x: Array) -> Array:
        return self.operator(x)


@typed
@dataclass(frozen=True, eq=False)
class Moving:
    """An observing system that changes with time: one Observation for each observation time.

    Data for it are padded with NaN to the largest m; `Problem.at(k)` trims them again.

    Args:
        observations: one Observation for each observation time.

    Raises:
        TypeError: for anything else, and an empty sequence.
        ValueError: for an observation of nothing.
    """

    observations: Sequence[Observation]

    def __post_init__(self):
        if not self.observations:
            raise TypeError("Moving wants a non-empty sequence of Observation, met []")
        none = [k for k, o in enumerate(self.observations) if not o.m]
        if none:
            raise ValueError(
                f"no sensors at time {none[0]}; wanted at least one in each Observation: let the "
                "data of that time be NaN"
            )

    @property
    def m(self) -> int:
        """The largest number of observed values, to which the data are padded."""
        return max(o.m for o in self.observations)

    def at(self, k: int) -> Observation:
        """The observing system at the k-th observation time."""
        return self.observations[k]


def is_linear(operator: Any) -> bool:
    """Whether an operator is known to be linear: it, or what it wraps, has `linear = True`.

    Identity, Every, Subset and Linear have it; an operator of your own may. Then it is applied to
    increments as it is, and never differentiated.

    Args:
        operator: an operator, as a user or a problem gives it.

    Returns:
        False where nothing is known.
    """
    return getattr(unwrapped(operator), "linear", False) is True


def is_selection(operator: Any) -> bool:
    """Whether an operator only picks components of the state: identity, Every or Subset.

    Args:
        operator: an operator, as a user or a problem gives it.

    Returns:
        True where each observed number is one number of the state.
    """
    own = unwrapped(operator)
    return own is identity or isinstance(own, (Every, Subset))
