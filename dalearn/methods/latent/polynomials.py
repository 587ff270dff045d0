"""Polynomials of several numbers, fitted by least squares to samples in a box.

    P(v) = sum_a c_a prod_i p_{a_i}(u_i),   u = (v - centre) S^-1,   |a| = a_1 + ... <= d,

with the rows of S the sides of the box and p_k the Legendre polynomials, whose squares have the
mean 1 over -1 < u < 1: features of samples spread over the box are then nearly orthogonal. Of c
numbers there are (c + d)! / (c! d!) features. The samples are a Latin hypercube (McKay, Beckman
and Conover, Technometrics 21, 1979), the same in units of every box, so that the least squares are
solved once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from math import ceil, comb
from typing import Any, NamedTuple

import numpy as np

from ...array import Array, Purpose, array_namespace, convert, generator

LARGEST = 1 << 26  # numbers of the matrix of all features of all samples: half a gigabyte


class Basis(NamedTuple):
    """The features of c numbers up to a degree, each a product of at most so many p_k(u_i).

    Args:
        degree: d, of the polynomials.
        factors: which of the c (d + 1) numbers p_k(u_i) they multiply, `(d, F)`; p_0 is 1.
        of: for each factor which u_i it is of, `(d, F, c)`, 0 or 1.
    """

    degree: int
    factors: np.ndarray
    of: np.ndarray

    def values(self, u: Array) -> Array:
        """The features `(..., F)` of `u (..., c)`."""
        table, product = self._legendre(u)[0], 1.0
        for index in self.factors:
            product = product * table[..., index]
        return product  # type: ignore[return-value]

    def slopes(self, u: Array) -> Array:
        """Their derivatives `(..., F, c)`."""
        table, slope = self._legendre(u)
        total = 0.0
        for i, index in enumerate(self.factors):
            product = slope[..., index]
            for j, other in enumerate(self.factors):
                product = product * table[..., other] if i != j else product
            total = total + product[..., None] * convert(self.of[i], u)
        return total  # type: ignore[return-value]

    def _legendre(self, u: Array) -> tuple[Array, Array]:
        """All p_k(u_i) and p_k'(u_i), `(..., c (d + 1))`."""
        xp = array_namespace(u)
        p, dp = [xp.ones_like(u), u], [0 * u, xp.ones_like(u)]
        for k in range(1, self.degree):
            p.append(((2 * k + 1) * u * p[k] - k * p[k - 1]) / (k + 1))
            dp.append((2 * k + 1) * p[k] + dp[k - 1])
        shape = (*u.shape[:-1], u.shape[-1] * (self.degree + 1))
        scaled = ([(2 * k + 1) ** 0.5 * a for k, a in enumerate(part)] for part in (p, dp))
        table, slope = (xp.reshape(xp.stack(part, axis=-1), shape) for part in scaled)
        return table, slope


@lru_cache(maxsize=8)
def basis(c: int, degree: int) -> Basis:
    """The features of c numbers up to a degree."""
    factors, of = [], []
    for total in range(degree + 1):
        for chosen in combinations_with_replacement(range(c), total):
            parts = [(i, chosen.count(i)) for i in dict.fromkeys(chosen)]
            parts += [(0, 0)] * (degree - len(parts))
            factors.append([i * (degree + 1) + k for i, k in parts])
            of.append([i for i, _ in parts])
    return Basis(degree, np.array(factors).T.copy(), np.eye(c)[np.array(of).T])


class Design(NamedTuple):
    """Samples in the box -1 < u < 1, and the least squares of what is observed at them.

    Args:
        basis: the features.
        points: u, `(S, c)`.
        features: of the points, `(S, F)`.
        solve: what turns values at the points into coefficients, `(F, S)`.
        left: 1 less the leverage of each point `(S,)`: how much of its error the fit leaves.
    """

    basis: Basis
    points: np.ndarray
    features: np.ndarray
    solve: np.ndarray
    left: np.ndarray


def count_samples(c: int, degree: int, samples: float) -> int:
    """How many samples a fit takes, `samples` times its features.

    Raises:
        ValueError: where the matrix of all features would not fit into memory.
    """
    features = comb(c + degree, degree)
    count = ceil(samples * features - 1e-9)
    if count * features > LARGEST:
        raise ValueError(
            f"polynomials of degree = {degree} in {c} numbers have {features} features, and "
            f"samples = {samples:g} times as many of them is too many, met {count}; wanted a "
            "lower degree, a coder of fewer numbers, or fewer samples"
        )
    return count


@lru_cache(maxsize=4)
def design(c: int, degree: int, count: int, seed: int) -> Design:
    """A Latin hypercube of `count` points; the least coefficients where they are too few."""
    rng, known = generator(Purpose.DESIGN, seed), basis(c, degree)
    cells = rng.permuted(np.tile(np.arange(count)[:, None], (1, c)), axis=0)
    points = 2 * (cells + rng.uniform(size=cells.shape)) / count - 1
    A = known.values(points)
    if count < A.shape[1]:
        return Design(known, points, A, np.linalg.pinv(A), np.ones(count))
    Q, R = np.linalg.qr(A)
    left = np.clip(1 - np.sum(Q * Q, axis=1), 1e-8, None)
    return Design(known, points, A, np.linalg.solve(R, Q.T), left)


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A function of v `(..., N, c)`, a polynomial for each experiment: `(..., N, m)`.

    Args:
        basis: its features.
        coefficients: `(..., F, m)`.
        centre: of the box, `(..., 1, c)`.
        inverse: of the rows that span the box, `(..., c, c)`.
    """

    basis: Basis
    coefficients: Array
    centre: Array
    inverse: Array

    def __call__(self, v: Array) -> Array:
        return self.basis.values((v - self.centre) @ self.inverse) @ self.coefficients

    def derivative(self, v: Array) -> Array:
        """dP/dv, `(..., N, m, c)`: exact."""
        D = self.basis.slopes((v - self.centre) @ self.inverse)
        return (self.coefficients.mT[..., None, :, :] @ D) @ self.inverse.mT[..., None, :, :]


def exact(f: Any, x: Array) -> tuple[Array, Array]:
    """Value and Jacobian of a Polynomial."""
    return f(x), f.derivative(x)
