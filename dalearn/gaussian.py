"""Gaussian distributions through the two things ever asked of a covariance.

With C = L L^T, `color` turns independent numbers into errors of covariance C (z L^T) and `whiten`
turns errors into independent numbers (x L^-T). Both act on rows, `(..., k, n)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .array import (
    Array,
    array_namespace,
    as_floats,
    convert,
    convert_tree,
    eye,
    is_array,
    is_float,
    normal,
)
from .derivative import as_tensor, linearize, transpose


class Covariance:
    """What every covariance does; `n` is its dimension, `batch` the axes that come before k."""

    n: int
    batch: tuple[int, ...]

    @property
    def controls(self) -> int:
        """How many independent numbers `color` takes for one error: n, unless L is not square."""
        return self.n

    def color(self, z: Array) -> Array:
        """`z (..., k, controls)` with independent entries -> `z L^T` with covariance C."""
        raise NotImplementedError

    def whiten(self, x: Array) -> Array:
        """`x (..., k, n)` with covariance C -> `x L^-T` with independent entries."""
        raise NotImplementedError

    def times(self, x: Array) -> Array:
        """`x (..., k, n) -> x C`, the matrix never made: `color` after its own transpose.

        A row of the identity gives a column of C: what one observation there would change.
        """
        t, inside = as_tensor(x), convert_tree(self, as_tensor(x))
        return convert(inside.color(transpose(inside.color, t, self.controls)), x)

    def variance(self) -> Array:
        """The diagonal of C, `(..., n)`."""
        raise NotImplementedError

    def matrix(self) -> Array:
        """C itself, `(..., n, n)`."""
        raise NotImplementedError

    def masked(self, seen: Array) -> Covariance:
        """The covariance when only `seen (..., n)` is observed; unseen entries whiten to 0."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot mask unobserved entries; give a Diagonal or Dense "
            "covariance, or data without NaN"
        )

    def __getitem__(self, b: Any) -> Covariance:
        raise NotImplementedError


_WIDTH = "met rows of shape {0} for a covariance of dimension {1}; wanted (..., k, {1})"


@dataclass(frozen=True, eq=False)
class Diagonal(Covariance):
    """Independent errors with the given `variances (..., n)`: C = diag(variances).

    Variances, not standard deviations. Zero is allowed (no noise there) where nothing is whitened.
    Raises ValueError for a negative or non-finite variance, naming its place.
    """

    variances: Array

    def __post_init__(self):
        v = as_floats(self.variances, "variances")
        object.__setattr__(self, "variances", v)
        if v.ndim == 0:
            raise ValueError(
                "variances must be a vector (n,), met a single number; "
                f"write Diagonal({float(v):g} * ones(n))"
            )
        xp = array_namespace(v)
        bad = ~(xp.isfinite(v) & (v >= 0))
        if bool(xp.any(bad)):
            i = int(xp.argmax(xp.reshape(xp.astype(bad, xp.int8), (-1,))))
            value = float(xp.reshape(v, (-1,))[i])
            raise ValueError(
                f"variances must be finite and not negative, met {value:g} at entry {i} "
                "of the flattened array"
            )

    @property
    def n(self) -> int:
        return self.variances.shape[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.variances.shape[:-1])

    @cached_property
    def _std(self) -> Array:
        return self.variances[..., None, :] ** 0.5

    @cached_property
    def _inverse_std(self) -> Array:
        xp = array_namespace(self.variances)
        if bool(xp.any(self.variances == 0)):
            raise ValueError("a zero variance cannot be whitened; wanted positive variances")
        return 1 / self._std

    def color(self, z):
        if z.shape[-1] != self.n:  # a product would broadcast one number in silence
            raise ValueError(_WIDTH.format(tuple(z.shape), self.n))
        return z * self._std

    def whiten(self, x):
        if x.shape[-1] != self.n:
            raise ValueError(_WIDTH.format(tuple(x.shape), self.n))
        return x * self._inverse_std

    def variance(self):
        return self.variances

    def matrix(self):
        return self.variances[..., None, :] * eye(self.n, self.variances)

    def masked(self, seen):
        xp = array_namespace(self.variances, seen)
        return Masked(Diagonal(xp.where(seen, self.variances, xp.ones_like(self.variances))), seen)

    def __getitem__(self, b):
        return Diagonal(self.variances[b])


@dataclass(frozen=True, eq=False)
class Dense(Covariance):
    """A full covariance, `values (..., n, n)`, symmetric and positive definite (checked).

    Raises ValueError naming the shape met, the largest asymmetry, or the smallest eigenvalue.
    """

    values: Array

    def __post_init__(self):
        C = as_floats(self.values, "the covariance")
        object.__setattr__(self, "values", C)
        if C.ndim < 2 or C.shape[-1] != C.shape[-2]:
            raise ValueError(
                f"a dense covariance must be square, (..., n, n), met shape {tuple(C.shape)}; "
                "variances go into Diagonal"
            )
        xp = array_namespace(C)
        if not bool(xp.all(xp.isfinite(C))):
            raise ValueError("the covariance holds NaN or infinity; wanted finite numbers")
        size, gap = float(xp.max(xp.abs(C))), float(xp.max(xp.abs(C - C.mT)))
        if gap > 1e3 * float(xp.finfo(C.dtype).eps) * size:  # what assembling C leaves behind
            raise ValueError(
                f"the covariance is not symmetric, met |C - C^T| up to {gap:.3g}; "
                "pass (C + C.T) / 2 if the difference is only round-off"
            )
        least = float(xp.min(xp.linalg.eigvalsh(C)))
        if least <= 0 or not self._factors():
            raise ValueError(
                f"the covariance is not positive definite, met the eigenvalue {least:.3g}; "
                "wanted all > 0: correct it, or add a small multiple of the identity"
            )

    def _factors(self) -> bool:  # a matrix may fail by round-off alone, its eigenvalues 1e-17
        try:
            return self._root is not None
        except Exception:  # numpy.linalg.LinAlgError, torch.linalg.LinAlgError
            return False

    @classmethod
    def unchecked(cls, values: Array) -> Dense:
        """A covariance that is positive definite by its construction; may hold NaN."""
        self = object.__new__(cls)
        object.__setattr__(self, "values", values)
        return self

    @property
    def n(self) -> int:
        return self.values.shape[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.values.shape[:-2])

    @cached_property
    def _root(self) -> Array:  # L^T
        xp = array_namespace(self.values)
        return xp.linalg.cholesky(self.values).mT

    @cached_property
    def _inverse_root(self) -> Array:  # L^-T
        xp = array_namespace(self.values)
        one = xp.broadcast_to(eye(self.n, self.values), self.values.shape)
        return xp.linalg.solve(self._root, one)

    def color(self, z):
        return z @ self._root

    def whiten(self, x):
        return x @ self._inverse_root

    def variance(self):
        xp = array_namespace(self.values)
        return xp.linalg.diagonal(self.values)

    def matrix(self):
        return self.values

    def masked(self, seen):
        xp = array_namespace(self.values, seen)
        both = seen[..., None, :] & seen[..., :, None]
        # unseen entries decouple, so the seen block is factored as if the others were not there
        return Masked(Dense.unchecked(xp.where(both, self.values, eye(self.n, self.values))), seen)

    def __getitem__(self, b):
        return Dense.unchecked(self.values[b])


@dataclass(frozen=True, eq=False)
class Masked(Covariance):
    """A covariance with unobserved entries: they whiten to 0, which equals removing their rows."""

    inner: Covariance
    seen: Array

    @property
    def n(self) -> int:
        return self.inner.n

    @property
    def batch(self) -> tuple[int, ...]:
        return self.inner.batch

    def color(self, z):
        return self.inner.color(z)

    def whiten(self, x):
        xp = array_namespace(x, self.seen)
        return self.inner.whiten(xp.where(self.seen[..., None, :], x, xp.zeros_like(x)))

    def variance(self):
        return self.inner.variance()

    def matrix(self):
        return self.inner.matrix()


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The belief x ~ N(mean, cov): `mean (..., n)`, `cov` a Covariance of dimension n.

    A plain matrix as `cov` becomes Dense, a vector Diagonal. Raises ValueError when dimensions
    differ or the mean is not finite, TypeError for an integer mean.
    """

    mean: Array
    cov: Covariance = field()

    def __post_init__(self):
        check_state(self.mean, "the Gaussian's mean", axes=1)
        if not isinstance(self.cov, Covariance):
            C = as_floats(self.cov, "cov")
            object.__setattr__(self, "cov", Dense(C) if C.ndim > 1 else Diagonal(C))
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
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "cov", cov)
        return self

    @property
    def std(self) -> Array:
        """Standard deviations `(..., n)`."""
        return self.cov.variance() ** 0.5

    def sample(self, rng: Any, members: int) -> Array:
        """Draws `(..., members, n)`; `rng` is Streams or a `numpy.random.Generator`."""
        shape = (members, self.cov.controls)
        if not hasattr(rng, "batch"):  # a NumPy generator: draw for our own batch axes
            shape = (*self.mean.shape[:-1], *shape)
        cov = convert_tree(self.cov, self.mean)
        return self.mean[..., None, :] + cov.color(normal(rng, shape, self.mean))

    def map(self, f: Any) -> Gaussian:
        """The image under `f: (..., n) -> (..., m)` to first order: N(f(mean), J C J^T)."""
        value, J = linearize(f, self.mean)
        return Gaussian.unchecked(value, Dense.unchecked(J @ self.cov.matrix() @ J.mT))

    def __getitem__(self, b: Any) -> Gaussian:
        mean = self.mean[b] if self.mean.ndim > 1 else self.mean
        return Gaussian.unchecked(mean, self.cov[b] if self.cov.batch else self.cov)


def check_state(x: Any, name: str, axes: int) -> None:
    """Raise unless `x` is a finite floating-point array with at least `axes` axes."""
    if not is_array(x):
        raise TypeError(f"{name} must be a NumPy array or a torch tensor, met {type(x).__name__}")
    if not is_float(x):
        raise TypeError(f"{name} must hold floating-point numbers, met dtype {x.dtype}")
    if x.ndim < axes or 0 in x.shape:
        wanted = "(..., n)" if axes == 1 else "(..., members, n)"
        raise ValueError(f"{name} must have shape {wanted}, met {tuple(x.shape)}")
    xp = array_namespace(x)
    bad = int(xp.sum(xp.astype(~xp.isfinite(x), xp.int64)))
    if bad:
        raise ValueError(f"{name} holds {bad} values that are NaN or infinite; wanted none")
