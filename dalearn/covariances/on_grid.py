"""Covariances of fields that are never made as matrices: correlations by distance on a grid.

On a grid that closes on itself a covariance that depends on distance only is a convolution, and
waves are its eigenvectors: with F the Fourier transform and lambda that of one row,
    C = std F^* lambda F std,   color(z) = std F^* lambda^1/2 F z,   whiten = its inverse, exactly.
On an axis with walls the waves are cosines, which reflect there, and the variance, which
reflection raises near a wall, is divided out. (Embedding a grid with ends in a larger ring, and
cutting, gives exact draws too, but no inverse: the part cut off is missing from it.)

Dietrich and Newsam, SIAM J. Sci. Comput. 18, 1997 (circulant embedding); Gaspari and Cohn, Q. J.
R. Meteorol. Soc. 125, 1999.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..array import (
    Array,
    Flags,
    Sizes,
    array_namespace,
    as_floats,
    check_count,
    convert,
    eye,
    fft,
    is_tensor,
    kept,
    to_numpy,
    typed,
)
from .base import Covariance, check_width
from .grids import grid_shape, positive, share
from .kernels import Kernel, as_kernel, images, soar
from .tapers import Taper, counted


class OfFields(Covariance):
    """Base class of covariances of fields on a grid: the layout of a state, and kept constants.

    Subclasses are dataclasses with `shape`, `std` and `fields`, and define `_apply` and `_undo` on
    fields `(..., fields, *shape)` of unit variance.
    """

    shape: tuple[int, ...]
    std: Any
    fields: int

    @property
    def batch(self) -> tuple[int, ...]:
        return ()

    @property
    def n(self) -> int:
        return self.fields * math.prod(self.shape)

    def _apply(self, z: Array) -> Array:
        raise NotImplementedError

    def _undo(self, x: Array) -> Array:
        raise NotImplementedError

    def color(self, z: Array) -> Array:
        """`z (..., k, n)` with independent entries -> errors of this covariance."""
        x = convert(self.std, z) * self._apply(self._as_fields(z))
        return array_namespace(z).reshape(x, tuple(z.shape))

    def whiten(self, x: Array) -> Array:
        """The inverse of `color`."""
        z = self._undo(self._as_fields(x) / convert(self.std, x))
        return array_namespace(x).reshape(z, tuple(x.shape))

    def variance(self) -> Array:
        """`std^2`, `(n,)`."""
        xp = array_namespace(self.std)
        square = xp.broadcast_to(self.std**2, (self.fields, *self.shape))
        return xp.reshape(square, (self.n,))

    def matrix(self) -> Array:
        """C itself, `(n, n)`, column by column: for tests and small grids."""
        root = self.color(eye(self.n, self.std))
        return root.mT @ root

    def __getitem__(self, b: Any) -> Covariance:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The settings alone; a copy makes its constants again when they are used."""
        kept = {"shape", *(f.name for f in dataclasses.fields(self))}  # type: ignore[arg-type]
        return {name: value for name, value in self.__dict__.items() if name in kept}

    def _as_fields(self, x: Array) -> Array:
        check_width(x, self.n)
        lead = tuple(x.shape[:-1])
        return array_namespace(x).reshape(x, (*lead, self.fields, *self.shape))

    def _settle(self) -> None:
        """Check `shape`, `std` and `fields`."""
        object.__setattr__(self, "shape", grid_shape(self.shape))
        check_count("fields", self.fields)
        s = as_floats(self.std, "std", axes=("...", "y", "x"))
        object.__setattr__(self, "std", s)
        seen, whole = to_numpy(s), (self.fields, *self.shape)
        if tuple(s.shape) not in ((), self.shape, whole) or not (
            np.isfinite(seen).all() and (seen > 0).all()
        ):
            raise ValueError(
                f"std must be positive and finite, a number or of shape {self.shape} or {whole}, "
                f"met shape {tuple(s.shape)}, least {seen.min(initial=np.inf):g}"
            )

    def _constant(self, name: str, like: Array) -> Array:
        """The NumPy array `self.name` in the library of `like`, converted once."""
        store = self.__dict__.setdefault("_kept", {})
        return kept(store, name, like, lambda: getattr(self, name))


@typed
@dataclass(frozen=True, eq=False, repr=False)
class OnGrid(OfFields):
    """Errors of fields on a grid: correlations by distance, applied as an operator.

    On a ring all images of a point are summed; near a wall the correlation is that of the field
    and its reflection. `color`, `whiten` and `variance` cost n log n and no matrix.

    Args:
        shape: of one grid, `n`, `(n,)` or `(rows, columns)`.
        length: of the correlation, in the units of `spacing`, a number or one for each axis.
        kernel: `soar`, `exponential`, `gaussian`, `matern(nu)`, `gaspari_cohn` (of
            `dalearn.kernels`), or a Kernel that is a correlation in as many dimensions.
        std: standard deviation, a number, or an array `(fields, *shape)` or `shape`.
        spacing: of the grid, a number or one for each axis.
        periodic: whether the grid closes on itself, or has walls; one answer, or one each axis.
        fields: how many uncorrelated fields of this shape a state holds, one after another.
        nugget: share of the variance that is uncorrelated noise, in [0, 1). Needed where the
            spectrum meets round-off: the least eigenvalue must exceed 1e-14 of the largest (for
            single precision give 1e-5).

    Raises:
        ValueError: for shapes and numbers that do not fit, and for a spectrum that is not
            positive, naming its least value.
    """

    shape: Sizes
    length: Any
    kernel: Kernel | Taper = soar
    std: Any = 1.0
    spacing: Any = field(default=1.0, kw_only=True)
    periodic: Flags = field(default=True, kw_only=True)
    fields: int = field(default=1, kw_only=True)
    nugget: float = field(default=0.0, kw_only=True)

    def __post_init__(self):
        self._settle()
        axes = len(self.shape)
        settled = {
            "kernel": as_kernel(self.kernel),
            "length": positive(self.length, "length", axes),
            "spacing": positive(self.spacing, "spacing", axes),
            "periodic": closed(self.periodic, axes),
            "nugget": share(self.nugget),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        least, most = float(self._spectrum.min()), float(self._spectrum.max())
        if not least > 1e-14 * most:
            raise ValueError(
                f"the spectrum of {self!r} is not positive: least eigenvalue {least:.3g}, largest "
                f"{most:.3g}; wanted a nugget (1e-8, say) where a smooth kernel meets round-off, "
                "or a kernel that is a correlation function"
            )

    def __repr__(self) -> str:
        return f"OnGrid({self.shape}, {self.length}, {self.kernel}, periodic={self.periodic})"

    # --- the spectrum; an axis with walls is half of a ring, mirrored -------------------------

    @cached_property
    def _row(self) -> np.ndarray:
        """Correlations of point 0 on the ring, or on the doubled one, before scaling."""
        periods = [n * (2 - p) for n, p in zip(self.shape, self.periodic, strict=True)]
        row = images(self.kernel, periods, self.length, self.spacing)  # type: ignore[arg-type]
        row = (1 - self.nugget) / row.flat[0] * row
        row.flat[0] += self.nugget
        return row

    @cached_property
    def _spectrum(self) -> np.ndarray:
        """Eigenvalues, all but the mirror images along the last axis."""
        return np.fft.rfftn(self._row).real

    @cached_property
    def _root(self) -> np.ndarray:
        """Their square roots as the transforms for NumPy want them: `_cut` of the cosines."""
        half = max(self._rings, default=None)  # rfftn halves the last ring
        keep = [n // 2 + 1 if a == half else n for a, n in enumerate(self.shape)]
        return self._spectrum[tuple(slice(k) for k in keep)] ** 0.5

    @cached_property
    def _full_root(self) -> np.ndarray:
        return self._spectrum**0.5

    @cached_property
    def _raised(self) -> np.ndarray:
        """By how much reflections raise the standard deviation, `shape`: 1 far from walls."""
        mirror: list[list[Any]] = []
        for n, p in zip(self.shape, self.periodic, strict=True):
            places = counted(n)
            mirror.append([0 * places] if p else [0 * places, 2 * places + 1])
        return sum(self._row[np.ix_(*at)] for at in itertools.product(*mirror)) ** 0.5

    @property
    def _rings(self) -> tuple[int, ...]:
        return tuple(a for a, p in enumerate(self.periodic) if p)

    @property
    def _walls(self) -> tuple[int, ...]:
        return tuple(a for a, p in enumerate(self.periodic) if not p)

    # --- transforms -----------------------------------------------------------------------------

    def _apply(self, z: Array) -> Array:
        x = self._filtered(z, back=False)
        return x / self._constant("_raised", z) if self._walls else x

    def _undo(self, x: Array) -> Array:
        x = x * self._constant("_raised", x) if self._walls else x
        return self._filtered(x, back=True)

    def _filtered(self, x: Array, back: bool) -> Array:
        """Each wave times the root of its eigenvalue, or divided by it."""
        if self._walls and is_tensor(x):
            return self._mirrored(x, back)
        f, axes = fft(x), len(self.shape)
        walls, rings = (tuple(a - axes for a in s) for s in (self._walls, self._rings))
        root = self._constant("_root", x)
        if walls:
            x = f.dctn(x, axes=walls, norm="ortho")
        sizes = tuple(x.shape[a] for a in rings)
        if rings:
            x = f.rfftn(x, s=sizes, **_over(x, rings))
        x = x / root if back else x * root
        if rings:
            x = f.irfftn(x, s=sizes, **_over(x, rings))
        return f.idctn(x, axes=walls, norm="ortho") if walls else x

    def _mirrored(self, x: Array, back: bool) -> Array:
        """The same without cosine transforms: on the ring that a field and its image make."""
        xp, axes = array_namespace(x), len(self.shape)
        for a in self._walls:
            x = xp.concat((x, xp.flip(x, axis=a - axes)), axis=a - axes)
        sizes, root = tuple(x.shape[-axes:]), self._constant("_full_root", x)
        over, f = tuple(range(-axes, 0)), fft(x)
        waves = f.rfftn(x, s=sizes, dim=over)
        x = f.irfftn(waves / root if back else waves * root, s=sizes, dim=over)
        return x[(..., *(slice(n) for n in self.shape))]


def closed(periodic: Flags, axes: int) -> tuple[bool, ...]:
    """Which axes of a grid close on themselves, from one answer or one for each; or ValueError."""
    each = (periodic,) * axes if isinstance(periodic, bool) else periodic
    if len(each) != axes:
        raise ValueError(f"periodic must be True, False or {axes} of them, met {periodic}")
    return each


def _over(x: Array, axes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {"dim" if is_tensor(x) else "axes": axes}
