"""The reverse-time equation of a score filter, and its steps from noise to a sample.

Pseudo-time t runs from 1, noise, to 0, the analysis. Forwards, a state x_0 is blurred to

    x_t ~ N(a x_0, b^2 I),   a = 1 - (1 - eps_alpha) t,   b^2 = eps_beta + (1 - eps_beta) t,

by dx = f x dt + g dW with f = (log a)', g^2 = (b^2)' - 2 f b^2. Backwards (s = 1 - t)

    dx/ds = -f x + g^2 (-(x - a c) / b^2 + h G(x)) + g dW/ds                     (SDE)
    dx/ds = -f x + g^2 / 2 (-(x - a c) / b^2 + h G(x))                           (flow)

with the score of a prior around c, and h times the gradient G of the log-likelihood. In
u = x - a c the prior's part is -p u with p = (b^2)' / b^2 - f (SDE) or (b^2)' / 2 b^2 (flow). From
t_1 to t_0 it has the closed form u -> u b_0^2 a_1 / (b_1^2 a_0), or u -> u b_0 / b_1. The
exponential step uses it, and takes G as linear within the step, G(x + e) = G(x) - C e.

Song et al., Score-based generative modeling through stochastic differential equations, ICLR 2021;
Bao, Zhang and Zhang, An ensemble score filter for tracking high-dimensional nonlinear dynamical
systems, Comput. Methods Appl. Mech. Engrg. 432, 2024. Exponential integrators: Hochbruck and
Ostermann, Acta Numerica 19, 2010.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...array import Array, array_namespace, warn

NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)  # for the integral of h g^2 over a step


class Unstable(RuntimeWarning):
    """Steps of a sampler that are longer than its stability allows: its result is not a sample."""


def report(name: str, steps: int, least: float, unstable: str) -> None:
    """Warn of Unstable, or raise it, where there are fewer steps than the least that are stable.

    Args:
        name: of the method.
        steps: how many there are.
        least: how many there must be.
        unstable: "warn" or "raise".
    """
    if not steps < least:
        return
    message = (
        f"{name}: {steps} Euler steps are too long for data as good as these, and the sampler is "
        f'unstable; wanted at least {math.ceil(least)}, or sampler="exponential", which is stable '
        "with any number"
    )
    if unstable == "raise":
        raise Unstable(message)
    warn(message, Unstable)


@dataclass(frozen=True)
class Schedule:
    """a(t) and b^2(t), and what follows from them.

    Args:
        eps_alpha: a at t = 1, in (0, 1).
        eps_beta: b^2 at t = 0, in [0, 1].
    """

    eps_alpha: float
    eps_beta: float

    def a(self, t: float) -> float:
        """The factor on the state."""
        return 1 - (1 - self.eps_alpha) * t

    def b2(self, t: float) -> float:
        """The variance of the noise."""
        return self.eps_beta + (1 - self.eps_beta) * t

    def f(self, t: float) -> float:
        """The rate of the state's decay, (log a)'."""
        return -(1 - self.eps_alpha) / self.a(t)

    def g2(self, t: float) -> float:
        """The square of the diffusion, (b^2)' - 2 f b^2."""
        return (1 - self.eps_beta) - 2 * self.f(t) * self.b2(t)

    def rate(self, t: float, pull: float) -> float:
        """The rate at which the SDE contracts where the data's curvature times h is `pull`."""
        return (self.g2(t) * (1 / self.b2(t) + pull) if self.b2(t) else math.inf) + self.f(t)


@dataclass(frozen=True, eq=False)
class Euler:
    """One step of Euler and Maruyama from t to t - dt; of Euler, for the flow.

    Args:
        schedule: a and b.
        damping: h(t).
        t: where it starts.
        dt: how far it goes.
        flow: without noise.
        clip: the largest absolute value of the score, or None.
    """

    schedule: Schedule
    damping: Callable[[float], float]
    t: float
    dt: float
    flow: bool
    clip: float | None = None

    def shares(self, C: Any) -> tuple:
        """What the curvature makes of the step: nothing."""
        return ()

    def mean(self, x: Array, c: Array, G: Array, shares: tuple) -> Array:
        """Where the step leads without its noise."""
        s, t = self.schedule, self.t
        score = (s.a(t) * c - x) / s.b2(t) + self.damping(t) * G
        if self.clip is not None:
            score = array_namespace(x).clip(score, -self.clip, self.clip)
        share = 0.5 if self.flow else 1.0
        return x + self.dt * (share * s.g2(t) * score - s.f(t) * x)

    def noise(self, z: Array, shares: tuple) -> Array:
        """The step's noise, of standard normal numbers z."""
        return (self.schedule.g2(self.t) * self.dt) ** 0.5 * z


@dataclass(frozen=True, eq=False)
class Exponential:
    """One exponential step from t to `end`.

    x -> x + phi_1(L) (Q G - P (x - a_1 c) + (a_0 - a_1) c) + phi_2(L) P (a_0 - a_1) c with
    L = P + Q C and the integrals P of p and Q of h g^2 (h g^2 / 2 for the flow) over the step;
    phi_1(L) = (1 - e^-L) / L and phi_2(L) = (1 - phi_1(L)) / L. Exact where there are no data.

    Args:
        schedule: a and b; eps_beta > 0.
        damping: h(t).
        t: where it starts.
        end: where it ends.
        flow: without noise.
    """

    schedule: Schedule
    damping: Callable[[float], float]
    t: float
    end: float
    flow: bool

    def __post_init__(self):
        s, end = self.schedule, self.end
        ratio = s.b2(end) / s.b2(self.t)
        shrink = ratio**0.5 if self.flow else ratio * s.a(self.t) / s.a(end)
        nodes = end + (self.t - end) * (NODES + 1) / 2
        values = [s.g2(t) * self.damping(t) for t in nodes]
        Q = float(WEIGHTS @ values) * (self.t - end) / 2
        known = {
            "a": (s.a(self.t), s.a(end)),
            "P": max(-math.log(shrink), 1e-12),  # 0 for eps_beta = 1, flow: phi_1 divides by it
            "Q": Q / 2 if self.flow else Q,
            "variance": 0.0 if self.flow else s.b2(end) - shrink**2 * s.b2(self.t),
        }
        for name, value in known.items():
            object.__setattr__(self, name, value)

    a: Any = None
    P: Any = None
    Q: Any = None
    variance: Any = None

    def shares(self, C: Any) -> tuple:
        """What the curvature makes of the step: shares of the drift, of the centre, of the noise.

        Of one exponential: phi_1(2 L) = phi_1(L) (1 + e^-L) / 2.
        """
        P, Q, whole = self.P, self.Q, self.variance / phi1(2 * self.P) / 2

        def shares(c):
            L = -Q * c  # with its sign turned; in place where it is an array, as memory is slow
            L -= P
            e = expm1(L)
            phi = e / L
            centre = phi - 1
            centre /= L
            e += 2
            e *= phi
            e *= whole
            return phi, centre, e**0.5

        return C.functions(shares)

    def mean(self, x: Array, c: Array, G: Array, shares: tuple) -> Array:
        """Where the step leads without its noise."""
        P, (a1, a0) = self.P, self.a
        drift, centre, _ = shares
        pull = self.Q * G
        pull = pull - P * x
        pull += (P * a1 + a0 - a1) * c
        rest = centre.times(c)
        rest *= P * (a0 - a1)
        rest += drift.times(pull)
        rest += x
        return rest

    def noise(self, z: Array, shares: tuple) -> Array:
        """The step's noise, of standard normal numbers z."""
        return shares[2].times(z)


def phi1(L: Any) -> Any:
    """(1 - e^-L) / L for L > 0, a number or an array."""
    return -expm1(-L) / L


def expm1(x: Any) -> Any:
    """e^x - 1 of a number or an array."""
    return math.expm1(x) if isinstance(x, float) else array_namespace(x).expm1(x)
