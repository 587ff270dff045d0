"""The cost of a whole trajectory, when the model may err at every step: a chain in time.

For X = (x_0, ..., x_T), a state at each model step, and with |v|^2_C = v^T C^-1 v,
    J(X) = |x_0 - x_b|^2_B / 2 + sum_t |x_{t+1} - M(x_t)|^2_Q / 2 + sum_k |y_k - H(x_k)|^2_R / 2.
J is minus the log density of X given the data, up to a constant, where the errors are Gaussian.
Linearized about X it is that of a Gaussian Markov chain with a block tridiagonal precision A: with
M_t and H_t the Jacobians at x_t,
    A_tt = M_t^T Q^-1 M_t + (Q^-1, or B^-1 at t = 0) + H_t^T R^-1 H_t,   A_{t+1,t} = -Q^-1 M_t.
All times are evaluated side by side: no step waits for the one before it.

Tremolet, Accounting for an imperfect model in 4D-Var, Q. J. R. Meteorol. Soc. 132, 2006.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...array import Array, Jacobian, array_namespace, eye, inverse_root, where_ok
from ...array.derivative import linearize
from ...covariances.base import Covariance


def _value(f: Callable, x: Array) -> tuple[Array, Any]:
    return f(x), None


def along(evaluate: Callable, step: Any, X: Array) -> tuple[Array, Any]:
    """`evaluate(step, X)` for states `(..., T, n)`: value and Jacobian of each step at its state.

    Args:
        evaluate: a Jacobian, or a function that gives None for it.
        step: one function, or a list of T.
        X: the states.

    Returns:
        Values `(..., T, n)`, and matrices `(..., T, n, n)` or None.
    """
    if callable(step):
        return evaluate(step, X)
    xp = array_namespace(X)
    f, M = zip(*(evaluate(s, X[..., t : t + 1, :]) for t, s in enumerate(step)), strict=True)
    return xp.concat(f, axis=-2), None if M[0] is None else xp.concat(M, axis=-3)


@dataclass(frozen=True, eq=False)
class WeakCost:
    """J of trajectories `X (..., T + 1, n)`: call it.

    J(X) = |x_0 - x|^2_B / 2 + sum_t |x_{t+1} - M(x_t)|^2_Q / 2 + sum_k |y_k - H(x_k)|^2_R / 2.

    Args:
        step: one model step, of states `(..., T, n)`; or a list of T, where they differ in time.
        x: the background `(..., n)` at the start.
        B: covariance of its errors `(..., n, n)`, or None for no such term.
        Q: covariance of the model's error at each step, or a list of T.
        seen: a triple `(t, observe, y (..., m))` for each observation: its place in X, an
            Observation, and finite data (gaps masked, as Problem.at does).
    """

    step: Callable | Sequence[Callable]
    x: Array
    B: Array | None
    Q: Covariance | Sequence[Covariance]
    seen: Sequence[tuple]

    def __call__(self, X: Array) -> Array:
        b, e, d = self.terms(X)
        return b + e + d

    def terms(self, X: Array) -> tuple[Array, Array, Array]:
        """The terms of background, model and observations, each `(...)`."""
        b, e, _, data = self._misfits(X, _value)
        parts = [_half(b), _half(e), sum((_half(d) for _, d, _ in data), 0 * _half(e))]
        return parts[0], parts[1], parts[2]

    def linearized(self, X: Array, jacobian: Jacobian = linearize) -> tuple[Array, Array, Array]:
        """Blocks of A, `(..., T + 1, n, n)` and `(..., T, n, n)`, and grad J `(..., T + 1, n)`."""
        xp = array_namespace(X)
        b, e, M, data = self._misfits(X, jacobian)
        blocks, below, slopes = self._model_term(e, M)
        if self.B is not None:
            data = [*data, (0, -b, self._root[0].mT)]
        for t, d, G in data:  # |d|^2 / 2 with dd/dx_t = -G^T: Hessian G G^T, gradient -G d
            blocks[t] = blocks[t] + G @ G.mT
            slopes[t] = slopes[t] - (d @ G.mT)[..., 0, :]
        return xp.stack(blocks, axis=-3), below, xp.stack(slopes, axis=-2)

    def rows(self, X: Array, jacobian: Jacobian = linearize) -> tuple[Any, Array, Array, dict]:
        """The rows of J, whose A is J^T J: of the background `(n, n)`, or None, and of the model.

        Those of the model at step t are W_t x_{t+1} - F_t x_t with W `(..., T or 1, n, n)` and F
        `(..., T, n, n)`; those of the data a dict, for each time t a list of `(..., m, n)`.
        """
        _, _, M, data = self._misfits(X, jacobian)
        F, W = self._whitened(M)
        found: dict[int, list[Array]] = {}
        for t, _, G in data:
            found.setdefault(t, []).append(G.mT)
        return None if self.B is None else self._root[0], W.mT, F.mT, found

    def _whitened(self, M: Array) -> tuple[Array, Array]:
        """M^T Q^-T/2 `(..., T, n, n)` and Q^-T/2 `(..., T or 1, n, n)`."""
        xp, n = array_namespace(M), M.shape[-1]
        if not isinstance(self.Q, Covariance):
            F = [Q.whiten(M[..., t, :, :].mT) for t, Q in enumerate(self.Q)]
            W = [Q.whiten(eye(n, M)) + 0 * rows for Q, rows in zip(self.Q, F, strict=True)]
            return xp.stack(F, axis=-3), xp.stack(W, axis=-3)
        F = xp.reshape(M.mT, (*M.shape[:-3], M.shape[-3] * n, n))
        F = xp.reshape(self.Q.whiten(F), M.shape)
        return F, self.Q.whiten(eye(n, M))[..., None, :, :]

    def _model_term(self, e: Array, M: Array) -> tuple[list[Array], Array, list[Array]]:
        """The model's term: diagonal blocks of its Hessian, those below, and its gradient.

        `e (..., T, n)` are the whitened misfits, `M (..., T, n, n)` the model's Jacobians.
        """
        T, (F, W) = e.shape[-2], self._whitened(M)
        here, below, after = F @ F.mT, -(W @ F.mT), W @ W.mT
        g, pull = -(F @ e[..., None])[..., 0], (e[..., None, :] @ W.mT)[..., 0, :]
        after = after + 0 * here
        blocks = [here[..., t, :, :] for t in range(T)] + [0 * here[..., 0, :, :]]
        slopes = [g[..., t, :] for t in range(T)] + [0 * g[..., 0, :]]
        for t in range(T):
            blocks[t + 1] = blocks[t + 1] + after[..., t, :, :]
            slopes[t + 1] = slopes[t + 1] + pull[..., t, :]
        return blocks, below, slopes

    @cached_property
    def _root(self) -> tuple[Array, Any]:  # L^-1 of B = L L^T
        return inverse_root(self.B)

    def _whiten(self, e: Array) -> Array:
        if isinstance(self.Q, Covariance):
            return self.Q.whiten(e)
        rows = [Q.whiten(e[..., t : t + 1, :]) for t, Q in enumerate(self.Q)]
        return array_namespace(e).concat(rows, axis=-2)

    def _misfits(self, X: Array, evaluate: Callable) -> tuple[Array, Array, Any, list]:
        """Whitened: background `(..., 1, n)`, model `(..., T, n)` and M, and data with H^T."""
        n, T = self.x.shape[-1], max([1, *(t for t, _, _ in self.seen)])
        if X.ndim < 2 or X.shape[-1] != n or X.shape[-2] <= T:
            raise ValueError(
                f"met a trajectory of shape {tuple(X.shape)}, wanted (..., T + 1, {n}): a start "
                f"and T model steps, T at least {T} to reach the last observation"
            )
        f, M = along(evaluate, self.step, X[..., :-1, :])
        one = self.step if callable(self.step) else self.step[0]
        r = getattr(one, "difference", None)  # of angles
        e = self._whiten(X[..., 1:, :] - f if r is None else r(X[..., 1:, :], f))
        b, data, groups = 0 * e[..., :1, :], [], {}
        if self.B is not None:
            root, ok = self._root
            b = where_ok(ok, (X[..., :1, :] - self.x[..., None, :]) @ root.mT)
        for t, observe, y in self.seen:  # one call for all times of one operator
            groups.setdefault(id(observe.operator), []).append((t, observe, y))
        for group in groups.values():
            h, H = evaluate(group[0][1].smooth, X[..., [t for t, _, _ in group], :])
            for i, (t, observe, y) in enumerate(group):
                d = y - observe.nearest(h[..., i, :], y)
                d = observe.noise.whiten(d[..., None, :])
                G = None if H is None else observe.noise.whiten(H[..., i, :, :].mT)
                data.append((t, d, G))
        return b, e, M, data


def _half(v: Array) -> Array:
    return 0.5 * array_namespace(v).sum(v * v, axis=(-2, -1))
