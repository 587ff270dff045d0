"""Errors correlated in time, or of the model with those of the data: appended to the state.

    z = (x, q, e),   q <- a q + w,   x <- M(x) + q,   e <- b e + v   at each model step,
    y = H(x) + e + white noise,   (w, v) ~ N(0, [[(1 - a^2) Q, S], [S^T, (1 - b^2) R']]).
q and e are stationary, of covariance Q and R', and begin so. Filters and smoothers that are exact
for x alone are then exact for all of it.

A. E. Bryson and L. J. Henrikson, Estimation using sampled data containing sequentially correlated
noise, J. Spacecraft and Rockets 5, 1968; B. D. O. Anderson and J. B. Moore, Optimal Filtering,
1979 (ch. 11).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..array import Array, Operator, array_namespace, as_floats, convert, eye, shown, typed
from ..covariances.base import Covariance
from ..covariances.blocks import beside, concatenated
from ..covariances.given import as_covariance
from ..covariances.matrices import Diagonal
from ..covariances.roots import Rows
from .belief import Gaussian
from .border import Border
from .checks import check_kind
from .joint import Around
from .manifold import angles_first
from .observe import Observation
from .parameters import independent, on_state
from .problem import Problem


@typed
def coloured(
    problem: Problem,
    *,
    model: float | Array | None = None,
    data: float | Array | None = None,
    share: float = 1.0,
    cross: Array | None = None,
    seed: int | Sequence[int] = 0,
) -> Problem:
    """The problem with errors that are correlated in time, or model and data errors with another.

    The errors are appended to the state, `(..., n + n + m)` or a part of it: the first n
    components are the state as it was, `result.isel(x=slice(n))`.

        slow = coloured(problem, data=0.9)
        result = assimilate(slow, RTS())

    Args:
        problem: with noise Q and R as they are at any one time.
        model: a, the correlation of the model's error from one model step to the next, of one
            component or `(n,)`, in (-1, 1). None: none, and q is no part of the state.
        data: b, that of the data's errors, from one model step to the next, `(m,)` or one number.
        share: the part of R that is so correlated, in (0, 1]; the rest is white. With all of it
            the data are perfect measurements of the new state, which only KF and its kin take.
        cross: S `(n, m)`, the covariance of what is new at a step in the errors of the model, w,
            and of the data, v: without `model` and `data`, of q at the step that leads to the data
            and of e.
        seed: for an Ensemble as prior, for whose members the errors are drawn.

    Returns:
        The problem. Its state is a vector. Of the errors no truth is known (NaN).

    Raises:
        TypeError: for a problem whose observations move or whose noise changes in time, for a
            missing Q, and arguments of another kind.
        ValueError: for numbers out of range, a joint covariance that is none, and data at the same
            time as others.
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"wanted a Problem, met {type(problem).__name__}; see twin and Problem")
    if all(given is None for given in (model, data, cross)):
        raise ValueError("nothing is correlated; wanted model=, data= or cross=")
    check_kind("observation", problem.observation, Observation)
    problem = problem.validated()
    observe: Any = problem.observation
    Q, R, like, n, m = problem.noise, observe.noise, problem.like, problem.n, observe.m
    with_data = data is not None or cross is not None
    if (model is not None or cross is not None) and not isinstance(Q, Covariance):
        raise TypeError(
            "wanted a problem with one noise Q for all steps, whose error is correlated, met "
            + ("none" if Q is None else "one for each interval")
        )
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], met {share!r}")
    if with_data and 0 in problem._counts[1:]:
        raise ValueError(
            f"steps of 0 before observation {problem._counts[1:].index(0) + 1}: its errors would "
            "be those of the data before; wanted data of one time in one row"
        )
    a, b = (_factors(f, s, k, like) for f, s, k in ((model, "model", n), (data, "data", m)))
    S = None if cross is None else convert(as_floats(cross, "cross"), like)
    if S is not None and tuple(S.shape) != (n, m):
        raise ValueError(f"cross has shape {tuple(S.shape)}, wanted ({n}, {m})")
    V = share * R.matrix()
    start = [] if model is None else [as_covariance(Q.matrix(), "Q")]
    start += [as_covariance(V, "R")] if with_data else []
    if isinstance(Q, Covariance) and (model is not None or S is not None):
        noise: Any = _together(Q.matrix(), a, V if with_data else None, b, S, model is not None)
    else:
        own = as_covariance(_fresh(V, b), "the errors of the data")
        still = Diagonal(0 * like[0] if like.ndim > 1 else 0 * like)
        several = Q if isinstance(Q, tuple) else (Q,)
        each = tuple(beside(still if C is None else C, own) for C in several)
        noise = each if isinstance(Q, tuple) else each[0]
    seen = on_state(problem)
    if with_data:
        H = Border(observe.operator, problem.shape) if problem.shape else observe.operator
        left = (1 - share) * R if share < 1 else Diagonal(0 * R.variance())
        seen = replace(observe, operator=Erring(H, n, m), noise=left)
    errors = [Gaussian(0 * C.variance(), C) for C in start]
    prior = errors[0] if len(errors) == 1 else _both(*errors)
    truth = problem.truth
    if truth is not None:
        truth = concatenated(truth, math.nan * truth[..., :1] * (1 + 0 * prior.mean[..., None, :]))
    held = a if model is not None else None
    return replace(
        problem,
        model=Coloured(problem.model, n, held, b if with_data else None, problem.shape),
        observation=seen,
        prior=independent(problem, prior, seed),
        noise=noise,
        shape=(),
        truth=truth,
        angles=angles_first(problem),
    )


@dataclass(frozen=True, eq=False)
class Coloured(Around):
    """A model of state and errors, `(x, q, e) -> (M(x) + a q, a q, b e)`; made by `coloured`.

    Args:
        model: the model of the state.
        n: the size of its state.
        a: of the model's errors, `(n,)`; None where they are no part of the state.
        b: of the data's errors, `(m,)`; None likewise.
        field: the shape of the model's state, () for vectors.
    """

    model: Any
    n: int
    a: Array | None
    b: Array | None
    field: tuple[int, ...] = ()

    def __call__(self, z: Array, *more: Any) -> Array:  # its input, if it is told one, and rng
        n, step = self.n, self.model
        if self.field:
            step = Border(step, self.field, tuple(z.shape[:-2]))
        x, parts = step(z[..., :n], *more), []
        if self.a is not None:
            parts.append(self.a * z[..., n : 2 * n])
            x = x + parts[0]
        if self.b is not None:
            parts.append(self.b * z[..., -self.b.shape[-1] :])
        return array_namespace(z).concat((x, *parts), axis=-1)


@dataclass(frozen=True, eq=False)
class Erring:
    """H(x) + e, of a state (x, ..., e).

    Args:
        f: the operator H.
        n: how many components it takes.
        m: how many numbers it gives.
    """

    f: Operator
    n: int
    m: int

    @property
    def linear(self) -> bool:
        """Whether H is known to be linear."""
        return getattr(self.f, "linear", False) is True

    def __call__(self, z: Array) -> Array:
        return self.f(z[..., : self.n]) + z[..., -self.m :]


def _factors(given: Any, name: str, size: int, like: Array) -> Array:
    """One correlation for each number, `(size,)`; 0 for None."""
    f = convert(as_floats(0.0 if given is None else given, name), like)
    xp = array_namespace(f)
    if tuple(f.shape) not in ((), (size,)) or not bool(xp.all(xp.abs(f) < 1)):
        raise ValueError(
            f"{name} must be a number in (-1, 1), or {size} of them, met {shown(given)}"
        )
    return f + 0 * eye(size, like)[0]


def _fresh(C: Array, a: Array) -> Array:
    """What is added at each step, so that errors of factors a keep the covariance C."""
    return C * (1 - a[:, None] * a)


def _together(Q: Array, a: Array, V: Array | None, b: Array, S: Array | None, held: bool) -> Rows:
    """The noise of the whole state: of x, of q if it is `held`, and of e."""
    W, one, xp = _fresh(Q, a), eye(Q.shape[-1], Q), array_namespace(Q)
    A = xp.concat((one, one), axis=-1) if held else one  # what is new in q is so in x
    if V is not None:
        cross = Q[..., :1] * xp.zeros_like(b) if S is None else S
        above, below = concatenated(W, cross), concatenated(cross.mT, _fresh(V, b))
        W = concatenated(above.mT, below.mT).mT
        none = A[:, :1] * xp.zeros_like(b)  # (n, m)
        last = xp.concat((xp.zeros_like(b[:, None]) * A[:1], eye(V.shape[-1], Q)), axis=-1)
        A = xp.concat((xp.concat((A, none), axis=-1), last), axis=-2)
    C = as_covariance(W, "the joint covariance of model and data errors")
    return Rows(C.rows() @ A)


def _both(a: Gaussian, b: Gaussian) -> Gaussian:
    return Gaussian(concatenated(a.mean, b.mean), beside(a.cov, b.cov))
