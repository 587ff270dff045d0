"""Gauss-Newton for operators without a derivative: a polynomial in their place.

The control v counts in errors of the background, x = x_b + v L^T. All that a window observes is
sampled in a box around a centre, v = c + u S with |u_i| < 1: first the background and S = w I,
with w in its standard deviations. P_k(v) ~ H_k(x_k(v)) is fitted by least squares. The errors of
the fit, e_s at each sample when that is left out, have the covariance F, and
    J(v) = |v|^2 / 2 + sum_k |(R_k + F_k)^-1/2 (y_k - P_k(v))|^2 / 2
is minimised with the exact derivative of P_k: where P is wrong the data count less. Then the box
moves to the minimum and is as wide as the analysis is uncertain, S = w (I + G^T G)^-1/2, with
G = (R + F)^-1/2 dP/dv divided by (1 + d^2)^1/2, d the error of P at the minimum in the unit of
R + F: the box is wider where P was worse than the samples had said. A minimum where the true J is
higher than at the centre is not taken, and the box is halved, as in trust-region methods without
derivatives (Conn, Scheinberg and Vicente, Introduction to Derivative-Free Optimization, SIAM,
2009).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ...array import Array, array_namespace, eye
from ...covariances.base import Covariance
from ...covariances.matrices import Diagonal
from ...covariances.roots import Rows
from ...problem.observe import Observation
from ..variational.cost import Cost
from ..variational.gauss_newton import GaussNewton
from ..variational.hessian import Hessian
from ..variational.paths import Increments
from ..variational.solver import Found, Iterate, evaluated, first_iterate, squares
from .boxes import Box, Doubted
from .polynomials import Design, count_samples, design, exact

ROWS = 4096  # states that are decoded at once


@dataclass(frozen=True, eq=False)
class Fitted:
    """A problem whose state is the control, seen through polynomials.

    Args:
        problem: the ProblemLike whose data they are.
        n: how many numbers a control has.
        observed: the observing system of controls at each observation.
    """

    problem: Any
    n: int
    observed: dict[int, Observation]

    @property
    def batch(self) -> tuple[int, ...]:
        """The axes of independent experiments."""
        return self.problem.batch

    @property
    def like(self) -> Array:
        """The array that decides library, dtype and device."""
        return self.problem.like

    def at(self, k: int) -> tuple[Observation, Array]:
        """The observing system of controls, and the data."""
        return self.observed[k], self.problem.at(k)[1]


@dataclass(frozen=True, eq=False)
class Fit:
    """A Solver: Gauss-Newton on polynomials fitted to what a window observes.

    Args:
        solver: minimises with the polynomials.
        degree: of the polynomials.
        box: half the width of the box, in standard deviations of the background.
        samples: as a multiple of the features.
        outer: how often they are fitted.
        seed: of the samples.
        hidden: units of a network that learns what the polynomials leave; 0 for none.
    """

    solver: GaussNewton
    degree: int
    box: float
    samples: float
    outer: int
    seed: int
    hidden: int = 0
    differentiates = False

    def __call__(self, cost: Cost) -> Found:
        """The minimum; `info` says how well the last polynomials fit."""
        count = count_samples(cost.controls, self.degree, self.samples)
        points = design(cost.controls, self.degree, count, self.seed)
        before = best = first_iterate(cost)
        xp, one = array_namespace(best.v), eye(cost.controls, best.v)
        sides = self.box * one + 0 * best.v[..., :1]
        solver = replace(self.solver, jacobian=exact)
        for _ in range(self.outer):
            near = Near(cost, best.v, sides, points, self.hidden, self.seed)
            guess = solver(near.cost, best.v)
            new = evaluated(cost, guess.v)
            worse = ~(new.cost <= best.cost) & xp.isfinite(best.cost)
            best = chosen(worse, best, new)
            gap = evaluated(near.plain, guess.v).d - new.d
            beyond = squares(near.doubted(gap)) / near.seen
            moved = self.box * near.root(guess.v, beyond)
            sides = xp.where(worse[..., None, None], sides / 2, moved)
        here = (squares(gap) / near.seen) ** 0.5
        best = chosen(xp.isfinite(here), best, new)  # what has no last fit has no analysis
        info = {
            **guess.info,
            "cost": best.cost,
            "cost_background": best.background,
            "cost_observations": best.observations,
            "error_box": near.error,
            "error_here": here,
        }
        states, first = cost.path.seen(best.states), cost.path.seen(before.states)
        return Found(best.v, states, first, near.roots(best.v), guess.posterior, info)


class Near:
    """What a window observes near a centre, as polynomials, and a network if there is one.

    Args:
        cost: of the window.
        centre: of the box, `(..., 1, c)`.
        sides: rows that span it, `(..., c, c)`.
        points: samples in units of the box.
        hidden: units of a network; 0 for none.
        seed: of its first weights.
    """

    def __init__(
        self, cost: Cost, centre: Array, sides: Array, points: Design, hidden: int, seed: int
    ):
        xp, w, problem = array_namespace(centre), cost.window, cost.problem
        self.path = cost.path
        box = Box(points, centre, sides, hidden, seed)
        v = box.samples
        step = max(1, ROWS // max(1, math.prod(v.shape[:-2])))
        parts = [values(cost, v[..., i : i + step, :]) for i in range(0, v.shape[-2], step)]
        seen, states = (
            [xp.concat(list(p), axis=-2) for p in zip(*side, strict=True)]
            for side in zip(*parts, strict=True)
        )
        total = self.seen = 0 * centre[..., 0, 0]
        plain, observed = {}, {}
        for k, Y in zip(range(w.new, w.end), seen, strict=True):
            observe = problem.at(k)[0]
            f, left = box.fitted(Y)
            gaps = observe.noise.whiten(left)
            noise = Doubted.by(observe.noise, gaps)
            plain[k] = replace(observe, operator=f)
            observed[k] = replace(observe, operator=f, noise=noise)
            total = total + squares(gaps) / gaps.shape[-2]
            known = observe.noise.seen
            self.seen = self.seen + (
                observe.m if known is None else xp.sum(xp.astype(known, total.dtype), axis=-1)
            )
        self.seen = xp.clip(self.seen, 1.0, None)
        self.error = (total / self.seen) ** 0.5
        if len(points.points) <= points.features.shape[-1]:  # each sample is met exactly
            self.error = self.error + float("inf")
        self.states = [box.fitted(x)[0] for x in states]
        one = Diagonal(xp.ones(cost.controls, dtype=centre.dtype, device=centre.device))
        path = Increments([0 * centre] * (w.end - w.first), [one] * (w.end - w.first))
        self.noise = [o.noise for o in observed.values()]
        self.plain, self.cost = (
            Cost(Fitted(problem, cost.controls, o), path, w, cost.controls)  # pyright: ignore
            for o in (plain, observed)
        )

    def doubted(self, d: Array) -> Array:
        """Innovations `(..., 1, M)` in the unit of R, in that of R + F."""
        found, start = [], 0
        for noise in self.noise:
            found.append(noise.shrunk(d[..., start : start + noise.n]))
            start += noise.n
        return array_namespace(d).concat(found, axis=-1)

    def root(self, v: Array, beyond: Array) -> Array:
        """The root of the covariance of the control's errors at v, `(..., c, c)`.

        Errors of data and polynomials count 1 + `beyond (...)` times.
        """
        states = self.cost.path.follow(v)
        rows = self.cost.path.rows(states, eye(v.shape[-1], v), exact)
        T = self.cost.sensitivity(states, rows, exact)
        return Hessian(T / ((1 + beyond) ** 0.5)[..., None, None]).root()

    def roots(self, v: Array) -> list[Covariance]:
        """The covariances of the background's errors at the observations."""
        if self.path.linear:
            return [Rows(D) for D in self.path.rows([], eye(v.shape[-1], v), exact)]
        return [Rows(f.derivative(v)[..., 0, :, :].mT) for f in self.states]


def values(cost: Cost, v: Array) -> tuple[list[Array], list[Array]]:
    """What the window observes for controls `v (..., S, c)`, and where states bend, these too."""
    w, found = cost.window, []
    states = cost.path.seen(cost.path.follow(v))
    for k, x in zip(range(w.first, w.end), states, strict=True):
        if k >= w.new:
            found.append(cost.problem.at(k)[0](x))
    return found, [] if cost.path.linear else states


def chosen(old: Array, a: Iterate, b: Iterate) -> Iterate:
    """`a` for the experiments that are `old (...)`, `b` for the others."""
    xp = array_namespace(a.v)

    def one(x: Array, y: Array) -> Array:
        return xp.where(old if x.ndim == old.ndim else old[..., None, None], x, y)

    states = [one(x, y) for x, y in zip(a.states, b.states, strict=True)]
    return Iterate(
        one(a.v, b.v),
        states,
        one(a.d, b.d),
        one(a.background, b.background),
        one(a.observations, b.observations),
    )
