"""Beliefs about states that hold angles, as they are told in a result."""

from __future__ import annotations

from typing import Any

from ..array import array_namespace, no_grad
from ..problem.belief import Belief, Ensemble, Gaussian, Point
from ..problem.manifold import gathered, nearest


def told(belief: Belief, problem: Any, k: int) -> Belief:
    """The belief at observation k with its mean on the turn of the truth: mean - truth is right.

    Where no truth is known angles of the mean are in [-P / 2, P / 2). Members are about it.
    """
    angles, truth = problem.angles, problem.truth
    if angles is None:
        return belief
    with no_grad(problem.like):
        if isinstance(belief, Ensemble):
            E = gathered(problem, belief.members, belief.weights)
            belief = Ensemble.unchecked(E, belief.weights)
        mean = belief.mean
        there = angles.wrapped(mean)
        if truth is not None:
            xp, near = array_namespace(mean), nearest(angles, mean, truth[..., k, :])
            there = xp.where(xp.isnan(near), there, near)
        if isinstance(belief, Ensemble):
            shift = (there - mean)[..., None, :]
            return Ensemble.unchecked(belief.members + shift, belief.weights)
        if isinstance(belief, Gaussian):
            return Gaussian.unchecked(there, belief.cov)
        return Point.unchecked(there)
