"""Quasi-Newton with a short memory: only gradients of the cost, no linear problem to solve.

With steps s and changes y of the gradient g, a step is dv = -H g, where H is the inverse Hessian
that the last few pairs (s, y) imply. It is shortened until J falls.

Liu and Nocedal, On the limited memory BFGS method for large scale optimization, Math. Programming
45, 1989; Nocedal and Wright, Numerical Optimization, 2006, algorithms 7.4 and 7.5.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

from ...array import Array, array_namespace, check_count, typed
from .cost import Cost
from .solver import Found, Iterate, check_stop, first_iterate, line_search, squares, summary


class Pair(NamedTuple):
    """A step, the change of the gradient over it, and rho `(..., 1, 1)`: 1 / s y^T, or 0."""

    s: Array
    y: Array
    rho: Array  # 0 where the pair is not used


@typed
@dataclass(frozen=True, eq=False)
class LBFGS:
    """Quasi-Newton with the last `memory` pairs of steps and gradients, from v = 0.

    No outer and inner loops: for operators that are far from linear. It learns no covariance: the
    analysis reports that of the background.

    Args:
        iterations: steps at most, an integer >= 1.
        tolerance: length of the gradient at which an experiment stops, in the units of v,
            standard deviations of the background.
        memory: how many pairs are kept, an integer >= 1.

    Raises:
        ValueError: for a setting out of its range.
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
        at = start = first_iterate(cost)
        xp = array_namespace(at.v)
        pairs: list[Pair] = []
        count = step = xp.zeros_like(at.cost)
        g = cost.gradient(at.v[..., 0, :])[..., None, :]
        going = squares(g) > self.tolerance**2
        for _ in range(self.iterations):
            if not bool(xp.any(going)):
                break
            dv, plain = direction(at, g, pairs, going)
            slope = xp.sum(dv * g, axis=(-2, -1))
            new = line_search(cost, at, dv, xp.astype(going, g.dtype), slope)
            g_new = cost.gradient(new.v[..., 0, :])[..., None, :]
            s = new.v - at.v
            count = count + xp.astype(going, g.dtype)
            step = xp.where(going, squares(s) ** 0.5, step)
            pairs = [*forgotten(pairs, step > 0), pair(s, g_new - g)][-self.memory :]
            at, g = new, g_new
            going = going & (squares(g) > self.tolerance**2) & ((step > 0) | ~plain)
        slope = squares(g) ** 0.5
        info = summary(at, slope, step, count, slope <= self.tolerance)
        states, first = cost.path.seen(at.states), cost.path.seen(start.states)
        roots = [cost.path.root] * len(states)
        return Found(at.v, states, first, roots, lambda root: root, info)


def direction(at: Iterate, g: Array, pairs: list[Pair], going: Array) -> tuple[Array, Array]:
    """The step `dv (..., 1, c)`, 0 where not `going`; and where it is along -g, `(...)`.

    Along -g, where no pair is known or their step leads uphill, it is at most of length 1 and
    not longer than could bring J to 0.
    """
    xp = array_namespace(g)
    one = xp.ones_like(at.cost)
    size = xp.where(going, squares(g), one) ** 0.5
    length = xp.clip(2 * at.cost / size, None, 1.0)  # J cannot fall below 0
    down = -g * (length / size)[..., None, None]
    dv, plain = down, one > 0
    if pairs:
        dv = -descent(g, pairs)
        known = sum((p.rho[..., 0, 0] > 0) for p in pairs) > 0
        plain = ~known | (xp.sum(dv * g, axis=(-2, -1)) >= 0)
        dv = xp.where(plain[..., None, None], down, dv)
    return xp.where(going[..., None, None], dv, 0 * at.v), plain


def pair(s: Array, y: Array) -> Pair:
    """A pair; one without curvature along it is not used."""
    xp = array_namespace(s)
    sy = xp.sum(s * y, axis=(-2, -1))
    good = sy > float(xp.finfo(s.dtype).eps) * (squares(s) * squares(y)) ** 0.5
    rho = xp.where(good, 1 / xp.where(good, sy, xp.ones_like(sy)), 0 * sy)
    return Pair(s, y, rho[..., None, None])


def forgotten(pairs: list[Pair], moved: Array) -> list[Pair]:
    """The pairs, unused in the experiments that have not `moved (...)`: those begin again."""
    xp, moved = array_namespace(moved), moved[..., None, None]
    return [Pair(p.s, p.y, xp.where(moved, p.rho, 0 * p.rho)) for p in pairs]


def descent(g: Array, pairs: list[Pair]) -> Array:
    """The inverse Hessian that the pairs imply, times the gradient `g (..., 1, c)`."""
    xp, q, used = array_namespace(g), g, []
    for s, y, rho in reversed(pairs):
        a = rho * xp.sum(s * q, axis=(-2, -1), keepdims=True)
        q = q - a * y
        used.append(a)
    if pairs:  # the curvature along the last pair that is used
        s, y, rho = pairs[-1]
        yy = xp.sum(y * y, axis=(-2, -1), keepdims=True)
        good = rho > 0
        q = xp.where(good, q / xp.where(good, rho * yy, xp.ones_like(yy)), q)
    for (s, y, rho), a in zip(pairs, reversed(used), strict=True):
        q = q + s * (a - rho * xp.sum(y * q, axis=(-2, -1), keepdims=True))
    return q
