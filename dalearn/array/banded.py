"""Banded systems: many small ones solved by one call of LAPACK.

A symmetric positive definite A with A_ij = 0 where |i - j| > w is held by its diagonal and the w
diagonals below it,
    bands[k, i] = A_{i+k, i},   k = 0 ... w,   0 where i + k >= d.
Its Cholesky factor has the same band, so that a solution costs O(d w^2): linear in time for a
trajectory. A batch of systems is one long system whose blocks are not linked; it is factored in
one call.

Golub and Van Loan, Matrix Computations, 4.3, 2013.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np


def _lapack(name: str, dtype: Any) -> Any:
    import scipy.linalg as library  # pyright: ignore[reportMissingTypeStubs]

    return cast(Any, library).get_lapack_funcs(name, dtype=dtype)


class BandCholesky(NamedTuple):
    """The factor of a batch of banded matrices, as `band_cholesky` makes it.

    Args:
        factor: the bands of all systems in a row, `(w + 1, b d)`.
        ok: booleans `(b,)`: where A was finite and positive definite.
        batch: the shape of the batch.
    """

    factor: np.ndarray[Any, Any]
    ok: np.ndarray[Any, Any]
    batch: tuple[int, ...]

    def solve(self, b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The x with A x = b.

        Args:
            b: right-hand sides `(..., d)`.

        Returns:
            The solutions `(..., d)`; NaN where A had no factor.
        """
        d = self.factor.shape[1] // max(1, len(self.ok))
        if tuple(b.shape) != (*self.batch, d):
            raise ValueError(f"met b of shape {tuple(b.shape)}, wanted {(*self.batch, d)}")
        solve = _lapack("pbtrs", self.factor.dtype)
        right = np.where(self.ok[:, None], b.reshape(-1, d), 0)
        x: Any = solve(self.factor, right.reshape(-1, 1).astype(self.factor.dtype), lower=1)[0]
        x = np.where(self.ok[:, None], x.reshape(-1, d), np.nan)
        return x.reshape(b.shape)


def band_cholesky(bands: np.ndarray[Any, Any]) -> BandCholesky:
    """The Cholesky factors of symmetric banded matrices.

    One that is not finite or not positive definite gives NaN, and the others are as if it were
    not there.

    Args:
        bands: the diagonal and those below it, `(..., w + 1, d)`; what lies beyond the matrix is
            not read.

    Returns:
        The factors, which solve.

    Raises:
        ValueError: for shapes that do not fit.
    """
    if bands.ndim < 2 or not 0 < bands.shape[-2] <= bands.shape[-1]:
        raise ValueError(
            f"met bands of shape {tuple(bands.shape)}, wanted (..., w + 1, d) with w < d"
        )
    batch, (width, d) = tuple(bands.shape[:-2]), bands.shape[-2:]
    kind = np.float32 if bands.dtype == np.float32 else np.float64
    rows = bands.reshape(-1, width, d).astype(kind)
    place = cast(Any, np).arange(d)
    inside: Any = place + place[:width, None] < d
    rows = np.where(inside, rows, 0)  # no link from one system to the next
    ok: Any = np.isfinite(rows).all((-2, -1))
    factor = _lapack("pbtrf", kind)
    unit: Any = (place[:width, None] == 0) * np.ones(d, kind)
    while True:
        rows = np.where(ok[:, None, None], rows, unit)
        long = np.moveaxis(rows, 1, 0).reshape(width, -1)
        found, info = factor(long, lower=1)
        if info <= 0:
            return BandCholesky(found, ok, batch)
        ok[(info - 1) // d] = False


def band_product(factor: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bands of L L^T for a lower triangular L given by its own.

    Args:
        factor: bands of L, `(..., w + 1, d)`.

    Returns:
        Bands of the product, `(..., w + 1, d)`.
    """
    width, d = factor.shape[-2:]
    made = np.zeros_like(factor)
    for k in range(width):  # (L L^T)_{i+k, i} = sum_j L_{i+k, i-j} L_{i, i-j}
        for j in range(width - k):
            part = factor[..., k + j, :] * factor[..., j, :]
            made[..., k, j:] += part[..., : d - j]
    return made


def dense_of(bands: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The symmetric matrices whole, `(..., d, d)`: for tests and small d.

    Args:
        bands: `(..., w + 1, d)`.

    Returns:
        The matrices.
    """
    width, d = bands.shape[-2:]
    A = np.zeros((*bands.shape[:-2], d, d), bands.dtype)
    for k in range(width):
        i = cast(Any, np).arange(d - k)
        A[..., i + k, i] = A[..., i, i + k] = bands[..., k, : d - k]
    return A
