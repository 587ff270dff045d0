"""Proper orthogonal decomposition: the r directions in which states vary most.

With the snapshots x_s, s = 1..S, their mean, and a unit for each component, the scale,
    (x_s - mean) / scale = sum_i u_si sigma_i phi_i  (singular value decomposition),
    z_i = phi_i . (x - mean) / scale,  decode(z) = mean + scale sum_i z_i phi_i,  i = 1..r,
where the phi_i are orthonormal and sigma_1 >= sigma_2 >= ... Of all affine maps to r numbers and
back it has the least error on the snapshots, measured in the units of `scale`: the square of that
error is the sum of the sigma_i^2 that were left out.

Sirovich, Turbulence and the dynamics of coherent structures, Quart. Appl. Math. 45, 1987; large
snapshots by random projection with subspace iteration: Halko, Martinsson and Tropp, Finding
structure with randomness, SIAM Rev. 53, 2011.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..array import (
    Array,
    Purpose,
    array_namespace,
    as_floats,
    check_count,
    convert,
    generator,
    is_float,
    shown,
    typed,
)
from .coders import check_scale, check_states, reconstruction_error
from .parts import merged

LARGE = 1000  # snapshots and components from which on the random projection may pay
EXTRA = 10  # directions more than wanted in the random projection
POWERS = 4  # subspace iterations: the error is then within a per cent of the least


@typed
@dataclass(frozen=True, eq=False, repr=False)
class POD:
    """A coder by proper orthogonal decomposition: z_i = phi_i . (x - mean) / scale, i = 1..r.

    Made by `POD.fit(states, r)`. It takes states of any library and precision, and keeps them.

    Args:
        modes: the phi_i as orthonormal rows `(r, n)`.
        mean: the state that the code 0 stands for `(n,)`.
        scale: the unit of each component `(n,)`, or None for 1. If units change, and the scale
            with them, the codes stay the same. Without a scale, components in large units decide
            the modes.
        values: the singular values that were found, `(c,)` with c >= r, in falling order.
        norm: the root of the sum of squares of all singular values: how much the snapshots vary.

    Raises:
        ValueError: for shapes that do not fit together, or a scale that is not positive.

    Sirovich, Turbulence and the dynamics of coherent structures, Quart. Appl. Math. 45, 1987.
    """

    modes: Array
    mean: Array
    scale: Array | None = None
    values: Array | None = None
    norm: Any = float("nan")
    linear = True

    def __post_init__(self):
        object.__setattr__(self, "modes", as_floats(self.modes, "modes"))
        if self.modes.ndim != 2:
            raise ValueError(f"modes have shape {tuple(self.modes.shape)}, wanted (r, n)")
        for name in ("mean", "scale", "values"):
            value = getattr(self, name)
            if value is not None or name == "mean":
                object.__setattr__(self, name, as_floats(value, name))
        if self.values is not None and self.values.ndim != 1:
            raise ValueError(f"values must be a vector, met shape {tuple(self.values.shape)}")
        norm = as_floats(self.norm, "norm")
        if norm.ndim:
            raise TypeError(f"norm must be a number (NaN: unknown), met {shown(self.norm)}")
        object.__setattr__(self, "norm", float(norm))
        if tuple(self.mean.shape) != (self.n,):
            raise ValueError(f"the mean has shape {tuple(self.mean.shape)}, wanted ({self.n},)")
        if self.scale is not None:
            check_scale(self.scale, self.n)

    @classmethod
    @typed
    def fit(
        cls,
        states: Array,
        r: int,
        *,
        mean: bool = True,
        scale: Any = None,
        randomised: bool | None = None,
        seed: int = 0,
    ) -> POD:
        """The POD of snapshots.

        Args:
            states: snapshots `(..., n)`; all leading axes (trajectories, times) count alike.
            r: how many numbers a code has, at most the number of snapshots and n.
            mean: whether the snapshots' mean is taken off first; if not, the mean is 0.
            scale: the unit of each component `(n,)`, such as its standard deviation or the size of
                its physical field; for a weighted inner product sum_i w_i x_i^2, w^-1/2. None: 1.
            randomised: a random projection instead of the full decomposition, whose cost is S n
                min(S, n); None decides by size. Its subspace is within a per cent of the best.
            seed: of the random projection.

        Returns:
            The coder, in the library and precision of `states`.

        Raises:
            ValueError: for an r that is too large, a scale of another shape, and snapshots with
                NaN or infinity.
        """
        check_count("r", r)
        check_count("seed", seed, 0, math.inf)
        x = check_states(states, None, "the snapshots")
        xp, n = array_namespace(x), x.shape[-1]
        A = xp.reshape(x, (-1, n))
        S = A.shape[0]
        if r > min(S, n):
            raise ValueError(
                f"met r = {r} directions, which cannot come from {S} snapshots of {n} components "
                f"(shape {tuple(x.shape)}); wanted r <= {min(S, n)}"
            )
        middle = xp.mean(A, axis=0) if mean else xp.zeros_like(A[0])
        A = A - middle
        if scale is not None:
            scale = convert(as_floats(scale, "scale"), x)
            check_scale(scale, n)
            A = A / scale
        size = float(xp.max(xp.abs(A))) or 1.0  # squares neither overflow nor vanish
        A = A / size
        if randomised is None:
            randomised = min(S, n) > max(LARGE, 8 * (r + EXTRA))
        if randomised:
            V, values = _projected(A, min(r + EXTRA, S, n), seed)
        else:
            _, values, V = xp.linalg.svd(A, full_matrices=False)
        norm = size * float(xp.sum(A * A)) ** 0.5
        return cls(_signed(V[:r]), middle, scale, size * values, norm)

    @classmethod
    @typed
    def fit_parts(
        cls,
        parts: Iterable[Any],
        r: int,
        *,
        keep: int | None = None,
        mean: bool = True,
        scale: Any = None,
    ) -> POD:
        """The POD of snapshots that come in parts, in one pass and without all of them in memory.

        To round-off it is `fit` if all snapshots have at most `keep` independent directions about
        their mean. If not, directions are lost on the way, and which depends on the order of the
        parts; the sum of squares that the codes then miss of the snapshots, in units of the scale,
        is at most norm^2 - sum_{i <= r} values_i^2.

        Args:
            parts: arrays `(..., n)`, by a generator or as a list; a memory-mapped file or an array
                of zarr gives its rows. In memory are a part, or `keep` states, and some copies.
            r: how many numbers a code has.
            keep: how many directions are kept from part to part, None for 2 r + 10.
            mean: whether the snapshots' mean is taken off first; if not, the mean is 0.
            scale: the unit of each component `(n,)`, as in `fit`.

        Returns:
            The coder, in the library and precision of the first part.

        Raises:
            ValueError: for parts of different n or with NaN, too few states, and keep < r.
        """
        check_count("r", r)
        keep = 2 * r + EXTRA if keep is None else keep
        check_count("keep", keep, r)
        found, unit, size = merged(parts, r, keep, mean, scale)
        unit = None if scale is None else unit
        middle = size * found.mean if unit is None else size * unit * found.mean
        norm = size * found.total**0.5
        return cls(_signed(found.right[:r]), middle, unit, size * found.values, norm)

    def __repr__(self) -> str:  # a method's settings are written into results
        return f"POD(n={self.n}, r={self.r})"

    @property
    def n(self) -> int:
        return self.modes.shape[-1]

    @property
    def r(self) -> int:
        return self.modes.shape[-2]

    @property
    def energy(self) -> Array:
        """The share of the variation that the first 1, 2, ... directions hold, `(c,)`."""
        if self.values is None:
            raise ValueError("this POD was made without singular values; wanted one from POD.fit")
        xp = array_namespace(self.values)
        return xp.cumulative_sum((self.values / self.norm) ** 2)

    def truncated(self, r: int) -> POD:
        """The same coder with its first r directions only.

        Args:
            r: how many to keep, at most self.r.

        Returns:
            The coder of r numbers.

        Raises:
            ValueError: for more directions than there are.
        """
        check_count("r", r)
        if r > self.r:
            raise ValueError(f"met r = {r} of a POD with {self.r} directions; fit again with more")
        return replace(self, modes=self.modes[:r])

    def encode(self, x: Array) -> Array:
        """Codes of states: z_i = phi_i . (x - mean) / scale.

        Args:
            x: states `(..., n)`.

        Returns:
            Codes `(..., r)`.

        Raises:
            ValueError: for another number of components.
        """
        x = self._checked(x, self.n, "a state")
        d = x - convert(self.mean, x)
        if self.scale is not None:
            d = d / convert(self.scale, x)
        return d @ convert(self.modes, x).mT

    def decode(self, z: Array) -> Array:
        """States of codes: mean + scale sum_i z_i phi_i.

        Args:
            z: codes `(..., r)`.

        Returns:
            States `(..., n)`.

        Raises:
            ValueError: for another number of components.
        """
        z = self._checked(z, self.r, "a code")
        d = z @ convert(self.modes, z)
        if self.scale is not None:
            d = convert(self.scale, z) * d
        return convert(self.mean, z) + d

    def _checked(self, x: Array, size: int, name: str) -> Array:
        if x.shape[-1:] != (size,):
            raise ValueError(
                f"{name} of shape {tuple(x.shape)} met a POD of n = {self.n}, r = {self.r}; "
                f"wanted (..., {size})"
            )
        return x if is_float(x) else as_floats(x, name)  # the modes take its dtype

    def floor(self, test: Array) -> float:
        """The root-mean-square error on held-out states.

        Args:
            test: held-out states `(..., n)`.

        Returns:
            The error in the state's units.

        Raises:
            ValueError: for another number of components, and for NaN.
        """
        return reconstruction_error(self, test)


def _signed(V: Array) -> Array:
    """Directions whose largest number is positive."""
    xp = array_namespace(V)
    peak = xp.take_along_axis(V, xp.argmax(xp.abs(V), axis=-1)[:, None], axis=-1)
    return V * xp.sign(peak)


def _projected(A: Array, c: int, seed: int) -> tuple[Array, Array]:
    """About the first c right singular vectors `(c, n)` and values `(c,)` of `A (S, n)`."""
    xp = array_namespace(A)
    draws = generator(Purpose.PROJECTION, seed).standard_normal((A.shape[0], c))
    Q = xp.linalg.qr(A.mT @ convert(draws, A))[0]  # (n, c)
    for _ in range(POWERS):
        Q = xp.linalg.qr(A.mT @ xp.linalg.qr(A @ Q)[0])[0]
    _, values, W = xp.linalg.svd(A @ Q, full_matrices=False)
    return W @ Q.mT, values
