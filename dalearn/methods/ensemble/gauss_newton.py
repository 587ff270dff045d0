"""Gauss-Newton over the weights of an ensemble, whose spread gives the sensitivity.

What is sought are the w that minimise
    J(w) = |R^-1/2 (y - H(M(x(w))))|^2 / 2 + (N - 1) |w|^2 / 2,  x(w) = x_0 + w X_0,
and the T that makes the anomalies there: the Hessian of J is (N - 1) (T^T T)^-1. See ienks.py.
"""

from __future__ import annotations

from collections.abc import Callable

from ...array import Array, array_namespace, eye, largest, row_mean, sane, typed, where_ok
from ...covariances.base import Covariance
from ...problem.belief import Ensemble
from .checks import check_update
from .failures import finite
from .transform import decomposed, warn_unexplained


@typed
def gauss_newton(
    Z: Ensemble,
    image: Callable[[Array], Array],
    Y: Array,
    y: Array,
    R: Covariance,
    iterations: int = 10,
    tolerance: float = 0.03,
) -> tuple[Array, Array, Array]:
    """The weights of the members that fit their image to the data, by Gauss-Newton.

    w <- w + (d S_0^T - (N - 1) w) A^-1,  T <- ((N - 1) A^-1)^1/2,  A = S_0 S_0^T + (N - 1) I; here
    S_0 = T^-1 S are the images' anomalies, brought back to those of Z. A later image that is not
    finite, of a failed run, is what the last S_0 predicts.

    Args:
        Z: the members at the window's start `(..., N, z)`.
        image: what would be observed of members `(..., N, z)` at the window's end, `(..., N, m)`.
        Y: the image of Z.
        y: data `(..., m)`.
        R: their covariance, of dimension m.
        iterations: steps at most.
        tolerance: an experiment stops when its step is shorter than this in posterior standard
            deviations, (dw A dw^T)^1/2.

    Returns:
        w `(..., 1, N)`, T `(..., N, N)`, and the number of steps `(...)`.

    Raises:
        ValueError: when N or m disagree.
    """
    xp = array_namespace(Z.members, Y, y)
    check_update(Z.members, Y, y, R)
    one = eye(Y.shape[-2], Y)
    w = 0 * (R.whiten(y[..., None, :] - row_mean(Y)) @ (0 * Y).mT)
    T = inverse = w + one
    step, S, d = w, 0 * Y, 0 * Y[..., :1, :]
    h, start, unmixed = row_mean(Y), w, inverse
    count, steepest, eps = 0 * w[..., 0, 0], 1.0, float(xp.finfo(Y.dtype).eps)
    active = good = count == count  # not where there is a NaN
    for i in range(iterations):
        if i:
            new = image(Z._mean + (w + T) @ Z.anomalies)
            sound = finite(new)
            if not bool(xp.all(sound)):  # of a failed run what the last sensitivity says
                new = xp.where(sound[..., None], new, h + (w - start + T) @ (unmixed @ (Y - h)))
            Y = new
        h, start, unmixed = row_mean(Y), w, inverse
        S, d = inverse @ R.whiten(Y - h), R.whiten(y[..., None, :] - h)
        gram = S @ S.mT, d @ S.mT
        ok = sane(gram[0])[1]
        if ok is not True:
            good, active = good & ok, active & ok
            if not bool(xp.any(active)):
                break
        count = count + xp.astype(active, Y.dtype)
        step, U, V, length = newton(S, d, w, gram, active)
        w, now = w + step, active[..., None, None]
        T, inverse = xp.where(now, U, T), xp.where(now, V, inverse)
        steepest = max(steepest, largest(xp.abs(inverse)))
        active = active & (length > tolerance)
        if not bool(xp.any(active)):
            break
    if steepest > eps**-0.25:  # a spread so small that digits of Y are lost
        late = int(xp.max(count)) > 1  # was Y already that of a small spread?
        seen, root = (R.whiten(Y), one) if late else (S, T)
        warn_unexplained(d, step @ S, xp.abs(seen), root / (Y.shape[-2] - 1) ** 0.5)
    return where_ok(good, w), where_ok(good, T), count


def newton(
    S: Array, d: Array, w: Array, gram: tuple[Array, Array], active: Array
) -> tuple[Array, ...]:
    """b A^-1, ((N - 1) A^-1)^1/2, its inverse, (b A^-1 b^T)^1/2; of the active ones only.

    b = d S^T - (N - 1) w; `gram`: S S^T and d S^T. Only round-off moves the sum of the weights.
    """
    xp = array_namespace(S, d)
    N, every = S.shape[-2], bool(xp.all(active))
    if not every:
        S, d, w, gram = S[active], d[active], w[active], (gram[0][active], gram[1][active])
    s, V, c, _ = decomposed(S, d, w, gram)
    r = ((N - 1) / s) ** 0.5
    step = (c / s) @ V.mT
    step = step - xp.mean(step, axis=-1, keepdims=True)
    length = xp.sum((step @ V) ** 2 * s, axis=(-2, -1)) ** 0.5
    found = [step, (V * r) @ V.mT, (V / r) @ V.mT, length]
    if not every:  # back to their places
        rank = xp.cumulative_sum(xp.astype(xp.reshape(active, (-1,)), xp.int64))
        place = xp.reshape(xp.clip(rank - 1, 0, None), active.shape)
        found = [f[place] for f in found]
        found[0] = xp.where(active[..., None, None], found[0], xp.zeros_like(found[0]))
    return tuple(found)
