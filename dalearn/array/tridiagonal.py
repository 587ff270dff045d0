"""Block tridiagonal systems: what a chain in time leads to, solved in time proportional to T.

A symmetric positive definite A of T x T blocks with A_tt = D_t and A_{t+1,t} = O_t, else zero. Its
block Cholesky factor has the same two diagonals,
    S_0 = D_0,   S_{t+1} = D_{t+1} - C_t C_t^T,   S_t = L_t L_t^T,   C_t = O_t L_t^-T,
so that one sweep forward and one back solve A x = b in O(T n^3). So do, from the end backward,
the blocks of the inverse Z = A^-1 that lie on the same diagonals, with U_t = C_t L_t^-1,
    Z_TT = S_T^-1,   Z_{t+1,t} = -Z_{t+1,t+1} U_t,   Z_tt = S_t^-1 + U_t^T Z_{t+1,t+1} U_t.
Where A is the precision of a Markov chain these are its covariances: the first sweep is an
information filter, the second a smoother.

Golub and Van Loan, Matrix Computations, 4.3 and 4.5, 2013; the inverse's blocks: Takahashi, Fagan
and Chin, Formation of a sparse bus impedance matrix, 8th PICA Conf., 1973.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .library import Array, array_namespace
from .linalg import inverse_root, where_ok


class BlockCholesky(NamedTuple):
    """The factor of a block tridiagonal matrix, as `block_cholesky` makes it.

    Args:
        inverse_roots: L_t^-1 `(..., n, n)` of each of the T blocks.
        links: C_t `(..., n, n)`, each of the T - 1 blocks below the diagonal.
        ok: booleans `(...)`, or True: where A was finite and positive definite.
    """

    inverse_roots: list[Array]
    links: list[Array]
    ok: Any

    def solve(self, b: Array) -> Array:
        """The x with A x = b.

        Args:
            b: right-hand sides `(..., T, n)`.

        Returns:
            The solutions `(..., T, n)`; NaN where A had no factor.
        """
        xp = array_namespace(b)
        z: list[Array] = []
        x: list[Array] = []
        for t, root in enumerate(self.inverse_roots):
            v = b[..., t, :, None]
            z.append(root @ (v - self.links[t - 1] @ z[-1] if t else v))
        for t in reversed(range(len(z))):
            v = z[t] - self.links[t].mT @ x[-1] if x else z[t]
            x.append(self.inverse_roots[t].mT @ v)
        return where_ok(self.ok, xp.stack(x[::-1], axis=-3)[..., 0])

    def inverse(self) -> tuple[Array, Array]:
        """The blocks of A^-1 that lie where A has blocks.

        Returns:
            Those on the diagonal `(..., T, n, n)`, and those below it `(..., T - 1, n, n)`.
        """
        xp, roots = array_namespace(self.inverse_roots[0]), self.inverse_roots
        Z: list[Array] = [roots[-1].mT @ roots[-1]]
        below: list[Array] = []
        for t in reversed(range(len(self.links))):
            U = self.links[t] @ roots[t]
            below.append(-Z[-1] @ U)
            here = roots[t].mT @ roots[t] - U.mT @ below[-1]
            Z.append((here + here.mT) / 2)
        between = below[::-1] or [0 * Z[0]]
        between = xp.stack(between, axis=-3)[..., : len(below), :, :]
        return where_ok(self.ok, xp.stack(Z[::-1], axis=-3)), where_ok(self.ok, between)


def block_cholesky(D: Array, O: Array) -> BlockCholesky:
    """The Cholesky factor of a symmetric block tridiagonal matrix A.

    Leading axes are independent systems. One that is not finite or not positive definite gives
    NaN, and the others are as if it were not there.

    Args:
        D: the blocks on the diagonal, `(..., T, n, n)`.
        O: the blocks below it, `(..., T - 1, n, n)`.

    Returns:
        The factor, which solves and inverts.

    Raises:
        ValueError: for shapes that do not fit.
    """
    array_namespace(D, O)
    T, n = D.shape[-3] if D.ndim > 2 else 0, D.shape[-1]
    if not T or D.shape[-2] != n or tuple(O.shape[-3:]) != (T - 1, n, n):
        raise ValueError(
            f"met blocks {tuple(D.shape)} on the diagonal and {tuple(O.shape)} below it; wanted "
            "(..., T, n, n) and (..., T - 1, n, n)"
        )
    roots: list[Array] = []
    links: list[Array] = []
    ok: Any = True
    for t in range(T):
        block = D[..., t, :, :]
        if t:
            links.append(O[..., t - 1, :, :] @ roots[-1].mT)
            block = block - links[-1] @ links[-1].mT
        root, good = inverse_root(block)
        ok = good if ok is True else ok if good is True else ok & good
        roots.append(root)
    return BlockCholesky(roots, links, ok)
