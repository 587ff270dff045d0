"""Quasi-Newton with a short memory: only gradients of the cost, no linear problem to solve.

Liu and Nocedal, On the limited memory BFGS method for large scale optimization, Math. Programming
45, 1989; Nocedal and Wright, Numerical Optimization, 2006, algorithms 7.4 and 7.5.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from ...array import Array, array_namespace, check_count
from .cost import Cost
from .solver import Found, check_stop, halved, squares, taken, told, zero


@dataclass(frozen=True, eq=False)
class LBFGS:
    """Quasi-Newton with the last `memory` pairs of steps and gradients, from v = 0.

    Arguments: `iterations` at most; `tolerance`, the length of the gradient at which an experiment
    stops (in the units of v, standard deviations of the background); `memory`, pairs kept. No
    outer and inner loops: for operators that are far from linear. It learns no covariance: the
    analysis reports that of the background.
    """

    iterations: int = 100
    _: KW_ONLY
    tolerance: float = 0.03
    memory: int = 10
    differentiates = True

    def __post_init__(self):
        check_stop(self)
        check_count("memory", self.memory)

    def __call__(self, cost: Cost) -> Found:
        """The minimum from v = 0. Each experiment stops on its own."""
        at = before = taken(cost, zero(cost))
        pairs: list[tuple[Array, Array, Array]] = []
        xp = array_namespace(at.v)
        count = step = xp.zeros_like(at.cost)
        g = cost.gradient(at.v[..., 0, :])[..., None, :]
        going = squares(g) > self.tolerance**2
        for _ in range(self.iterations):
            if not bool(xp.any(going)):
                break
            size = xp.where(going, squares(g), xp.ones_like(step)) ** 0.5
            length = xp.clip(2 * at.cost / size, None, 1.0)  # J cannot fall below 0
            plain = -g * (length / size)[..., None, None]
            dv = -descent(g, pairs) if pairs else plain
            known = sum((rho[..., 0, 0] > 0) for _, _, rho in pairs) > 0 if pairs else step > 0
            uphill = ~known | (xp.sum(dv * g, axis=(-2, -1)) >= 0)
            dv = xp.where(uphill[..., None, None], plain, dv)
            dv = xp.where(going[..., None, None], dv, 0 * at.v)
            slope = xp.sum(dv * g, axis=(-2, -1))
            new = halved(cost, at, dv, xp.astype(going, g.dtype), slope)
            g_new = cost.gradient(new.v[..., 0, :])[..., None, :]
            s, y = new.v - at.v, g_new - g
            sy = xp.sum(s * y, axis=(-2, -1))
            good = sy > 1e-10 * squares(y)  # a pair of no curvature is not used
            rho = xp.where(good, 1 / xp.where(good, sy, xp.ones_like(sy)), 0 * sy)
            count = count + xp.astype(going, g.dtype)
            step = xp.where(going, squares(s) ** 0.5, step)
            moved = (step > 0)[..., None, None]  # if not, start again from the gradient
            pairs = [(s, y, xp.where(moved, r, 0 * r)) for s, y, r in pairs]
            pairs = [*pairs, (s, y, rho[..., None, None])][-self.memory :]
            at, g = new, g_new
            going = going & (squares(g) > self.tolerance**2) & ((step > 0) | ~uphill)
        slope = squares(g) ** 0.5
        info = told(at, slope, step, count, slope <= self.tolerance)
        states, first = cost.path.seen(at.states), cost.path.seen(before.states)
        roots = [cost.path.root] * len(states)
        return Found(at.v, states, first, roots, lambda root: root, info)


def descent(g: Array, pairs: list[tuple[Array, Array, Array]]) -> Array:
    """The inverse Hessian that the pairs imply, times the gradient `g (..., 1, c)`."""
    xp, q, used = array_namespace(g), g, []
    for s, y, rho in reversed(pairs):
        a = rho * xp.sum(s * q, axis=(-2, -1), keepdims=True)
        q = q - a * y
        used.append(a)
    if pairs:  # the curvature along the last good pair
        s, y, rho = pairs[-1]
        yy = xp.sum(y * y, axis=(-2, -1), keepdims=True)
        good = rho > 0
        q = xp.where(good, q / xp.where(good, rho * yy, xp.ones_like(yy)), q)
    for (s, y, rho), a in zip(pairs, reversed(used), strict=True):
        q = q + s * (a - rho * xp.sum(y * q, axis=(-2, -1), keepdims=True))
    return q
