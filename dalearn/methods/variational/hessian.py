"""The Hessian I + G^T G of a linearized window: solves, and roots of its inverse.

In the smaller of two spaces, of controls or of observations, from the products of rows of G: T T^T
or T^T T with T = G^T. These products square how much better the data are than the background. Past
10^4 times better (in float64) they lose what ordinary data say beside it, and the singular values
of T take their place: T = U S V^T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...array import Array, array_namespace, eye, sane, solve, where_ok


@dataclass(frozen=True, eq=False)
class Hessian:
    """I + G^T G from `transposed`, G^T `(..., c, M)`, in the smaller of the two spaces."""

    transposed: Array

    @property
    def _dual(self) -> bool:
        return self.transposed.shape[-1] < self.transposed.shape[-2]

    @cached_property
    def _gram(self) -> Array:
        T = self.transposed
        return T.mT @ T if self._dual else T @ T.mT

    @cached_property
    def largest(self) -> Array:
        """A number that no singular value of G is above, `(...)`: (sum of their squares)^1/2."""
        xp = array_namespace(self._gram)
        diagonal = xp.sum(self._gram * eye(self._gram.shape[-1], self._gram), axis=-1)
        return xp.sum(diagonal, axis=-1) ** 0.5

    @cached_property
    def sharp(self) -> Array:
        """Where the data are so good that products of rows would lose the others, `(...)`."""
        xp = array_namespace(self._gram)
        return self.largest > float(xp.finfo(self._gram.dtype).eps) ** -0.25

    @cached_property
    def _parts(self) -> tuple[Array, Array, Array]:
        return decomposed(self.transposed)

    def _either(self, plain: Callable[[], Array], exact: Callable[[], Array]) -> Array:
        """`plain()`, or where the data are `sharp`, `exact()`."""
        xp, sharp = array_namespace(self.transposed), self.sharp
        if not bool(xp.any(sharp)):
            return plain()
        found = exact()
        return found if bool(xp.all(sharp)) else xp.where(sharp[..., None, None], found, plain())

    def step(self, d: Array, v: Array) -> Array:
        """(I + G^T G)^-1 (G^T d - v), rows `(..., j, c)`, for `d (..., j, M)`, `v (..., j, c)`.

        It is the least |d - G x|^2 + |v + x|^2 over x.
        """

        def exact() -> Array:
            U, s, Vh = self._parts
            s, w = s[..., None, :], v @ U
            return ((s * (d @ Vh.mT) - w) / (1 + s * s) + w) @ U.mT - v

        return self._either(lambda: self._solve(d @ self.transposed.mT - v), exact)

    def _solve(self, b: Array) -> Array:
        T = self.transposed
        A, ok = sane(self._gram + eye(self._gram.shape[-1], T))
        if self._dual:
            return where_ok(ok, b - solve(A, T.mT @ b.mT).mT @ T.mT)
        return where_ok(ok, solve(A, b.mT).mT)

    def half(self) -> Array:
        """A square root W of the inverse, W^T W, `(..., c, c)`: the cheapest one."""
        if self._dual:
            return self.root()

        def plain() -> Array:
            one = eye(self._gram.shape[-1], self._gram)
            A, ok = sane(self._gram + one)
            try:
                L = array_namespace(A).linalg.cholesky(A)
            except (np.linalg.LinAlgError, RuntimeError):  # round-off of a sharp one in the batch
                return self._symmetric()
            return where_ok(ok, solve(L, one))

        def exact() -> Array:
            U, s, _ = self._parts
            return ((1 + s * s) ** -0.5)[..., None] * U.mT

        return self._either(plain, exact)

    def root(self) -> Array:
        """The symmetric square root of the inverse, `(..., c, c)`."""

        def exact() -> Array:
            U, s, _ = self._parts
            f = (1 + s * s) ** -0.5
            if not self._dual:
                return (U * f[..., None, :]) @ U.mT
            return eye(U.shape[-2], U) + (U * (f - 1)[..., None, :]) @ U.mT

        return self._either(self._symmetric, exact)

    def _symmetric(self) -> Array:
        T = self.transposed
        xp = array_namespace(T)
        S, ok = sane(self._gram)
        s, U = xp.linalg.eigh(S)
        s = xp.clip(s, 0.0, None)
        f = (1 + s) ** -0.5
        if not self._dual:
            return where_ok(ok, (U * f[..., None, :]) @ U.mT)
        V, f = T @ U, -f / (1 + (1 + s) ** 0.5)  # (f - 1) / s, without 0 / 0
        return where_ok(ok, eye(T.shape[-2], T) + (V * f[..., None, :]) @ V.mT)


def decomposed(T: Array) -> tuple[Array, Array, Array]:
    """U `(..., c, r)`, s `(..., r)`, V^T `(..., r, M)` of T = U S V^T; NaN if T is not finite."""
    xp = array_namespace(T)
    ok = xp.all(xp.isfinite(T), axis=(-2, -1))
    if bool(xp.all(ok)):
        U, s, Vh = xp.linalg.svd(T, full_matrices=False)
        return U, s, Vh
    found = xp.linalg.svd(xp.where(ok[..., None, None], T, xp.zeros_like(T)), full_matrices=False)
    return where_ok(ok, found[0]), where_ok(ok, found[1]), where_ok(ok, found[2])
