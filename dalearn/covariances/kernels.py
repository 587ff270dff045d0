"""Correlations as functions of distance.

A function c(r) is a correlation only if every matrix c(|x_i - x_j|) is positive: its spectrum must
be. On a ring a place has many distances from another, one for each turn. The sum over all of them,
    C_ij = sum_s c(|x_i - x_j + s P|),
has the spectrum of c, sampled, and stays positive. The nearest alone has a kink at half a turn,
and for long lengths it is no correlation at all.

Gaspari and Cohn, Q. J. R. Meteorol. Soc. 125, 1999; images: Dietrich and Newsam, SIAM J. Sci.
Comput. 18, 1997; Matern: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
eq. 4.14.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import (
    SHARED,
    Array,
    Sizes,
    as_floats,
    as_numbers,
    check_between,
    shown,
    to_numpy,
    typed,
)
from .grids import grid_shape, positive, share
from .matrices import Dense
from .tapers import Numbers, Taper, counted
from .tapers import gaspari_cohn as _taper

Counts = tuple[int, ...]
Lengths = tuple[float, ...]


@typed
@dataclass(frozen=True)
class Kernel:
    """A correlation as a function of distance.

    Args:
        name: what it is called.
        function: of the distance in lengths, r, an array: 1 at r = 0.
        reach: the distance, in lengths, from which on it is below 1e-17.
    """

    name: str
    function: Callable[[Numbers], Numbers]
    reach: float

    def __post_init__(self) -> None:
        check_between("reach", self.reach, 0, math.inf, open_low=True)

    def __call__(self, r: Any) -> Numbers:
        return self.function(np.asarray(r, dtype=float))

    def __repr__(self) -> str:
        return self.name


def _exponential(r: Numbers) -> Numbers:
    return np.exp(-r)


def _soar(r: Numbers) -> Numbers:
    return (1 + r) * np.exp(-r)


def _gaussian(r: Numbers) -> Numbers:
    return np.exp(-(r**2) / 2)


exponential = Kernel("exponential", _exponential, 40.0)

"""exp(-r): continuous fields without a slope (Matern 1/2)."""

soar = Kernel("soar", _soar, 44.0)

"""(1 + r) exp(-r), second-order autoregressive, also called Balgovind: fields with a slope."""

gaussian = Kernel("gaussian", _gaussian, 9.0)

"""exp(-r^2 / 2): as smooth as can be; its spectrum ends in round-off, so give a `nugget`."""

gaspari_cohn = Kernel("gaspari_cohn", _taper, _taper.reach)

"""Close to exp(-r^2 / 2), and 0 from 3.64 lengths on (see `dalearn.gaspari_cohn`)."""


@dataclass(frozen=True)
class _Matern:
    nu: float

    def __call__(self, r: Numbers) -> Numbers:
        from scipy import special  # pyright: ignore[reportMissingTypeStubs]

        functions: Any = special
        gammaln, kve = functions.gammaln, functions.kve

        x = math.sqrt(2 * self.nu) * r
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            bessel = kve(self.nu, x)
            log = (1 - self.nu) * math.log(2) - gammaln(self.nu)
            value = np.exp(log + self.nu * np.log(x) - x + np.log(bessel))
        return np.where(np.isinf(bessel), 1.0, value)  # overflows where the value is 1 to 1e-11


@typed
def matern(nu: float) -> Kernel:
    """The Matern correlation of smoothness `nu`, with r = distance / length.

    2^(1 - nu) / Gamma(nu) (sqrt(2 nu) r)^nu K_nu(sqrt(2 nu) r): exponential at 1/2; at 3/2 it is
    `soar` of a length sqrt(3) times shorter; Gaussian as nu grows. Fields have as many
    derivatives as there are whole numbers, from 1 on, below nu.

    Args:
        nu: the smoothness, above 0 and at most 50.

    Returns:
        The kernel.

    Raises:
        ValueError: for another nu.
    """
    if not 0 < nu <= 50:
        raise ValueError(f"nu must be a number above 0 and at most 50, met {nu!r}")
    return Kernel(f"matern({nu:g})", _Matern(float(nu)), 45 / math.sqrt(2 * nu) + 2 * nu**0.5)


def as_kernel(kernel: Any) -> Kernel:
    """A Kernel as it is, and a Taper, such as `dalearn.gaspari_cohn`, as a Kernel.

    Args:
        kernel: a Kernel or a Taper.

    Returns:
        The kernel.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(kernel, Taper):
        return Kernel(repr(kernel), kernel, kernel.reach)
    if not isinstance(kernel, Kernel):
        raise TypeError(
            f"kernel must be a Kernel such as soar or matern(1.5), met {kernel!r}; wrap a "
            "function as Kernel(name, function, reach)"
        )
    return kernel


# --- rows of covariances on rings ---------------------------------------------------------------


@typed
def images(kernel: Kernel | Taper, counts: Sizes, length: Any, spacing: Any = 1.0) -> Numbers:
    """Correlations of point 0 with each point of a periodic grid, summed over all its images.

    Entry 0 exceeds 1 where the correlation reaches around the ring.

    Args:
        kernel: the correlation.
        counts: points along each axis, n, `(n,)` or `(rows, columns)`.
        length: of the correlation, a number or one for each axis.
        spacing: of the grid, a number or one for each axis.

    Returns:
        An array of the shape `counts`.

    Raises:
        ValueError: where the images are too many to sum.
    """
    kernel = as_kernel(kernel)
    counts, length, spacing = _grid(counts, length, spacing)
    key = "images", kernel, counts, length, spacing
    return SHARED.get(key, lambda: _images(kernel, counts, length, spacing)).copy()


def _images(kernel: Kernel, counts: Counts, length: Lengths, spacing: Lengths) -> Numbers:
    size = [n * h for n, h in zip(counts, spacing, strict=True)]
    turns = [math.ceil(kernel.reach * l / p) for l, p in zip(length, size, strict=True)]
    work = math.prod(2 * k + 1 for k in turns) * math.prod(n // 2 + 1 for n in counts)
    if work > 4e8:
        raise ValueError(
            f"length must be no longer than the grid, met {length}, which reaches {tuple(turns)} "
            f"times around a grid of shape {counts}: its images are too many to sum"
        )
    away = [np.arange(n // 2 + 1) * h for n, h in zip(counts, spacing, strict=True)]
    total = np.zeros([len(a) for a in away])
    for shift in itertools.product(*(range(-k, k + 1) for k in turns)):
        square = [((a + s * p) / l) ** 2
                  for a, s, p, l in zip(away, shift, size, length, strict=True)]  # fmt: skip
        r = np.sqrt(square[0] if len(square) == 1 else square[0][:, None] + square[1])
        if r.min() < kernel.reach:
            total += kernel(r)
    for axis, n in enumerate(counts):  # the other half is the mirror image
        total = np.take(total, np.minimum(np.arange(n), n - np.arange(n)), axis=axis)
    return total


@typed
def nearest(kernel: Kernel | Taper, counts: Sizes, length: Any, spacing: Any = 1.0) -> Numbers:
    """The same row with the nearest image alone, which is no covariance where it is long.

    `least_eigenvalue` shows it: that of SOAR on a ring of 100 points is negative where the length
    exceeds a fifteenth of the ring, and sooner on finer grids. `images` is the right one.

    Args:
        kernel: the correlation.
        counts: points along each axis, n, `(n,)` or `(rows, columns)`.
        length: of the correlation, a number or one for each axis.
        spacing: of the grid, a number or one for each axis.

    Returns:
        An array of the shape `counts`.
    """
    counts, length, spacing = _grid(counts, length, spacing)
    away: list[Numbers] = []
    for n, h, l in zip(counts, spacing, length, strict=True):
        away.append(np.minimum(counted(n), n - counted(n)) * h / l)
    r = away[0] if len(away) == 1 else np.hypot(away[0][:, None], away[1])
    return kernel(r)


@typed
def least_eigenvalue(row: Array) -> float:
    """The least eigenvalue of the periodic covariance with this row.

    Waves are the eigenvectors, so the eigenvalues are the row's Fourier transform.

    Args:
        row: covariances of point 0 with each point of the grid, of one or two axes.

    Returns:
        The eigenvalue.
    """
    return float(np.fft.rfftn(np.asarray(row, dtype=float)).real.min())


# --- any points ---------------------------------------------------------------------------------


@typed
def at_points(
    points: Any, length: Any, kernel: Kernel | Taper = soar, std: Any = 1.0, nugget: float = 0.0
) -> Dense:
    """The covariance of errors at points anywhere, by their Euclidean distance.

    For up to some thousand points, and as an axis of `Separable`.

    Args:
        points: `(n,)` or `(n, d)`.
        length: of the correlation, in the units of the points, a number or one for each axis.
        kernel: the correlation.
        std: standard deviation, a number or `(n,)`.
        nugget: the share of the variance that is uncorrelated, in [0, 1).

    Returns:
        A matrix.

    Raises:
        ValueError: where the matrix is not positive: two points in one place, or a smooth kernel
            without a nugget.
    """
    kernel, nugget = as_kernel(kernel), share(nugget)
    x = np.asarray(to_numpy(as_floats(points, "points")), dtype=float)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or 0 in x.shape or not np.isfinite(x).all():
        raise ValueError(f"points must be finite, (n,) or (n, d), met shape {x.shape}")
    s = as_numbers(std)
    if s.shape not in ((), (len(x),)) or not (np.isfinite(s).all() and (s > 0).all()):
        raise ValueError(f"std must be positive, a number or ({len(x)},), met {shown(std)}")
    x = x / positive(length, "length", x.shape[1])
    square = sum((x[:, None, i] - x[:, i]) ** 2 for i in range(x.shape[1]))
    C = (1 - nugget) * kernel(np.sqrt(square)) + nugget * np.eye(len(x))
    s = np.broadcast_to(s, (len(x),))
    return Dense(s[:, None] * C * s)


def _grid(counts: Any, length: Any, spacing: Any) -> tuple[Counts, Lengths, Lengths]:
    shape = grid_shape(counts)
    axes = len(shape)
    return shape, positive(length, "length", axes), positive(spacing, "spacing", axes)
