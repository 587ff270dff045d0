"""Correlations that go around obstacles, made by diffusing white noise.

Heat that spreads from a point for a while makes a bump, and cannot cross a wall. With the
Laplacian D of the wet cells (no flux through a coast) and A = I - l^2 D, M implicit steps give
    C = std N A^-M N std,   color(z) = std N A^(-M/2) z,   whiten(x) = A^(M/2) N^-1 x / std,
N making the variance 1. Far from coasts this is the Matern correlation of smoothness M - d/2, and
its curvature at 0 is that of exp(-r^2 / 2 L^2) for L^2 = (2 M - d - 2) l^2. Solving with A takes a
sparse factorisation; solving along rows and columns in turn needs only banded ones, and with each
step the product comes closer to a Gaussian. Whitening is multiplication by A: exact.

Weaver and Courtier, Q. J. R. Meteorol. Soc. 127, 2001; Mirouze and Weaver, Q. J. R. Meteorol. Soc.
136, 2010 (implicit, along lines); Weaver and Mirouze, Q. J. R. Meteorol. Soc. 139, 2013 (lengths).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..array import SHARED, Array, Flags, Purpose, check_count, generator, to_numpy, typed
from ..array.derivative import linear
from .grids import positive
from .on_grid import OfFields, closed
from .tapers import Numbers, counted

LARGEST_EXACT = 4096  # points up to which the variance is computed, not estimated


@typed
@dataclass(frozen=True, eq=False, repr=False)
class Diffusion(OfFields):
    """Errors of fields on a grid with land: correlations go around it, not across.

    Args:
        wet: booleans `(n,)` or `(rows, columns)`, False on land. The state has all of them; land
            points keep independent errors, so that no observation at sea changes them.
        length: L, such that near 0 the correlation is exp(-r^2 / 2 L^2), in the units of
            `spacing`, a number or one for each axis.
        steps: M, even; 2 M > d + 2 for d axes (2 M > 3 with `lines`). Correlations with few steps
            have long tails, with many they are Gaussian.
        std: standard deviation, a number, or an array `(fields, *shape)` or `shape`.
        spacing, periodic, fields: as in `OnGrid`.
        lines: diffuse along rows and columns in turn: no factorisation in the plane, which for
            10^6 points takes 20 seconds and more than a gigabyte; but lines are not quite round.
        samples: draws by which the variance is normalised where it is not computed exactly; by
            default exactly up to 4096 points, else 200. `error` is the relative standard error of
            the variance that this leaves, sqrt(2 / samples); whiten is exact all the same.

    Raises:
        ValueError: for shapes and numbers that do not fit.
    """

    wet: Any
    length: Any
    steps: int = 4
    std: Any = 1.0
    spacing: Any = field(default=1.0, kw_only=True)
    periodic: Flags = field(default=False, kw_only=True)
    fields: int = field(default=1, kw_only=True)
    lines: bool = field(default=False, kw_only=True)
    samples: int | None = field(default=None, kw_only=True)

    def __post_init__(self):
        try:
            wet = to_numpy(self.wet)
        except ValueError as error:
            raise ValueError(f"wet must be booleans: {error}") from None
        if wet.dtype != bool or wet.ndim not in (1, 2) or not wet.any():
            raise ValueError(
                "wet must be booleans (n,) or (rows, columns), some of them True, met "
                f"{wet.dtype} {wet.shape} with {int(np.count_nonzero(wet))} wet"
            )
        object.__setattr__(self, "wet", wet)
        object.__setattr__(self, "shape", wet.shape)
        self._settle()
        axes = wet.ndim
        d = 1 if self.lines else axes
        M = self.steps
        least = 2 if d == 1 else 4  # the least even M with 2 M > d + 2
        if M % 2 or least > M:
            raise ValueError(f"steps must be an even integer >= {least}, met {M!r}")
        check_count("steps", M)
        check_count("samples", 2 if self.samples is None else self.samples, 2)
        settled = {
            "length": positive(self.length, "length", axes),
            "spacing": positive(self.spacing, "spacing", axes),
            "periodic": closed(self.periodic, axes),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        land = int((~self.wet).sum())
        return f"Diffusion({self.shape}, {land} on land, {self.length}, steps={self.steps})"

    @property
    def error(self) -> float:
        """The relative standard error of the variance: 0 where it is exact."""
        count = self._samples
        return math.sqrt(2 / count) if count else 0.0

    @property
    def _samples(self) -> int:
        if self.samples is not None:
            return self.samples
        return 0 if self.wet.size <= LARGEST_EXACT else 200

    @cached_property
    def _operator(self) -> Operator:
        d = self.wet.ndim
        scale = 2 * self.steps - (1 if self.lines else d) - 2
        steep = [(L / h) ** 2 / scale for L, h in zip(self.length, self.spacing, strict=True)]
        settings = tuple(steep), self.periodic, self.lines, self.steps // 2, self._samples
        key = self.wet.tobytes(), self.wet.shape, *settings
        return SHARED.get(("diffusion", *key), lambda: _operator(*key))

    @cached_property
    def _norm(self) -> Numbers:
        return self._operator.norm

    def _apply(self, z: Array) -> Array:
        solve = self._operator.solve
        x = linear(lambda v: solve(v, False), lambda v: solve(v, True), z)
        return x / self._constant("_norm", z)

    def _undo(self, x: Array) -> Array:
        multiply = self._operator.multiply
        x = x * self._constant("_norm", x)
        return linear(lambda v: multiply(v, False), lambda v: multiply(v, True), x)


# --- the operator, on NumPy arrays, kept for whoever asks for the same one -----------------------


class Factor(NamedTuple):
    """I - l^2 D, for all axes or along one: the order of its axes, the matrix, its solver."""

    axes: tuple[int, ...]  # of a field, last the one along which neighbours are adjacent
    matrix: Any
    solve: Callable[[Numbers], Numbers]

    def solve_rows(self, rows: Numbers) -> Numbers:
        """The solutions for rows `(k, points)` as right-hand sides."""
        return self.solve(np.ascontiguousarray(rows.T)).T

    def multiply_rows(self, rows: Numbers) -> Numbers:
        """The products with rows `(k, points)`."""
        return (self.matrix @ rows.T).T


@dataclass(frozen=True, eq=False)
class Operator:
    """Half of the steps of diffusion, forth and back, on fields `(..., *shape)`."""

    wet: Numbers
    factors: list[Factor]
    half: int
    samples: int

    @property
    def nbytes(self) -> int:
        """Of the matrices, of the factors L and U, and of the norm."""
        solvers: list[Any] = [getattr(f.solve, "__self__", None) for f in self.factors]
        entries = sum(f.matrix.nnz for f in self.factors) + sum(s.nnz for s in solvers)
        return 12 * int(entries) + 9 * self.wet.size

    def solve(self, z: Numbers, turned: bool) -> Numbers:
        """A^(-M/2) z, or its transpose: the factors in turn, from either end."""
        for f in (self.factors[::-1] if turned else self.factors) * self.half:
            z = _on_rows(f.axes, f.solve_rows, z)
        return z

    def multiply(self, x: Numbers, turned: bool) -> Numbers:
        """A^(M/2) x, the inverse of `solve`, or its transpose."""
        for f in (self.factors if turned else self.factors[::-1]) * self.half:
            x = _on_rows(f.axes, f.multiply_rows, x)
        return x

    @cached_property
    def norm(self) -> Numbers:
        """The standard deviation of A^(-M/2) z, `shape`, exactly or from draws; 1 on land."""
        n, shape = self.wet.size, self.wet.shape
        square: Numbers = np.zeros(n)
        rng = generator(Purpose.NORMALISATION, 0)
        count = self.samples or n
        block = max(1, min(256, 2**22 // n))
        for start in range(0, count, block):
            k = min(block, count - start)
            if self.samples:
                z = rng.standard_normal((k, *shape))
                square += (self.solve(z, False) ** 2).sum(axis=0).reshape(n) / count
            else:  # the squares in row i of A^(-M/2) add up to variance i
                z = np.zeros((k, n))
                z[np.arange(k), start + np.arange(k)] = 1.0
                x = self.solve(z.reshape(k, *shape), True).reshape(k, n)
                square[start : start + k] = (x * x).sum(axis=1)
        return np.where(self.wet, square.reshape(shape) ** 0.5, 1.0)


def _operator(
    wet: bytes,
    shape: tuple[int, ...],
    steep: tuple[float, ...],
    periodic: tuple[bool, ...],
    lines: bool,
    half: int,
    samples: int,
) -> Operator:
    sea = np.frombuffer(wet, dtype=bool).reshape(shape)
    if len(shape) == 1 or not lines:
        factors = [_factor(sea, steep, periodic, tuple(range(len(shape))))]
    else:
        factors = [
            _factor(sea.T, (0.0, steep[0]), periodic[::-1], (1, 0)),
            _factor(sea, (0.0, steep[1]), periodic, (0, 1)),
        ]
    return Operator(sea, factors, half, samples)


def _on_rows(axes: tuple[int, ...], apply: Callable[[Numbers], Numbers], x: Numbers) -> Numbers:
    """`apply` on rows `(k, points)` of fields `(..., *shape)`, with the axes in this order."""
    d = len(axes)
    lead = tuple(range(x.ndim - d))
    turn = (*lead, *(len(lead) + a for a in axes))
    t = np.transpose(x, turn)
    y = apply(t.reshape(-1, math.prod(t.shape[len(lead) :])).astype(float, copy=False))
    y = y.reshape(t.shape).astype(x.dtype, copy=False)
    return np.transpose(y, np.argsort(turn))


def _factor(
    wet: Numbers, steep: tuple[float, ...], periodic: tuple[bool, ...], axes: tuple[int, ...]
) -> Factor:
    """I - sum_a steep_a D_a over the wet cells, with its sparse factorisation."""
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]
    from scipy.sparse import linalg  # pyright: ignore[reportMissingTypeStubs]

    library: Any = sparse
    index = counted(wet.size).reshape(wet.shape)
    matrix = library.identity(wet.size, format="csc")
    for a, (k, around) in enumerate(zip(steep, periodic, strict=True)):
        n = wet.shape[a]
        if k == 0 or n == 1:
            continue
        here = counted(n if around and n > 2 else n - 1)
        there = (here + 1) % n
        open_ = np.take(wet, here, axis=a) & np.take(wet, there, axis=a)
        i, j = np.take(index, here, axis=a)[open_], np.take(index, there, axis=a)[open_]
        flux = np.full(len(i), k)
        rows, columns = np.concatenate((i, i, j, j)), np.concatenate((i, j, j, i))
        signs = np.concatenate((flux, -flux, flux, -flux))
        matrix = matrix + library.coo_matrix((signs, (rows, columns)), shape=matrix.shape).tocsc()
    along = sum(k > 0 for k in steep) == 1
    factorised: Any = linalg
    solver = factorised.splu(
        matrix.tocsc(),
        permc_spec="NATURAL" if along and not any(periodic) else "MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return Factor(axes, matrix.tocsr(), solver.solve)
