"""Joint estimation: parameters of a model are appended to the state vector; a method finds both.

    z = (x, theta),   x <- M(x; theta) + q,   theta <- theta + q_theta,   y = H(x) + e.

The data never see theta; what corrects it is its correlation with x, which the forecast builds up.
Jazwinski, Stochastic Processes and Filtering Theory, 1970; J. L. Anderson, An ensemble adjustment
Kalman filter for data assimilation, Mon. Wea. Rev. 129, 2001.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Purpose, array_namespace, convert_tree, streams, typed
from ..covariances.base import Covariance
from ..covariances.blocks import beside, concatenated
from ..covariances.given import as_covariance
from ..covariances.matrices import Diagonal
from .belief import Belief, Ensemble, Gaussian, Point
from .border import Border, OnState
from .checks import check_kind
from .joint import Joint, quoted, setting_of
from .manifold import angles_first
from .observe import Moving, Observation
from .problem import Problem
from .true_parameters import true_parameters

if TYPE_CHECKING:
    import xarray as xr


Shapes = Mapping[str, tuple[int, ...]]


@typed
def with_parameters(
    problem: Problem,
    names: str | Sequence[str] | Shapes,
    prior: Any,
    *,
    noise: Any = None,
    truth: Any = None,
    seed: int | Sequence[int] = 0,
) -> Problem:
    """The problem in which parameters of the model are appended to the state, `(..., n + p)`.

    Any method then estimates state and parameters together:

        joint = with_parameters(problem, "rho", Gaussian(array([26.0]), [4.0]))
        result = assimilate(joint, ETKF(members=30))
        state, parameters = state_and_parameters(result, joint)

    Args:
        problem: its model is a dataclass; a member's parameters reach it by `replace(model,
            forcing=theta)`, theta `(..., members, 1)`; where the problem has a field shape, theta
            `(b, 1, 1)` (`(b, 1)` on a line). In a wrapper such as Subcycled, the model inside.
        names: a name, several, or a mapping from names to shapes: () for a number, `(h, w)` for
            a field of them, which reaches the model as `(b, h, w)`.
        prior: a Point, Gaussian or Ensemble over the p numbers, in the order of the names, a
            field row by row; independent of the state's prior. Batch axes as the problem's.
        noise: variances `(p,)`, one number, or a Covariance: of the step of a random walk added
            after every model step. None: the parameters stay as they are between analyses.
        truth: for scores: a number, an array that broadcasts to `(..., K, p)`, or a mapping from
            names to values; where the problem knows its truth the default is what its model
            holds, which in a twin without `truth_model` is the truth.
        seed: where one prior is an Ensemble, the other is drawn for its members, experiment b of
            a batch from `seed + b`. Of two Ensembles the members are paired.

    Returns:
        The problem. Its state is a vector; `state_and_parameters` gives fields again.

    Raises:
        TypeError: for names that the model does not have, and arguments of another kind.
        ValueError: for sizes that differ.

    Filters know no bounds. Where a model wants a positive parameter, members that leave its range
    become NaN, and the experiment diverges: then estimate the logarithm, through a model of it,

        @dataclass(frozen=True, eq=False)
        class LogDepth:
            model: ShallowWater
            log_depth: Any
            def __call__(self, x):
                depth = array_namespace(self.log_depth).exp(self.log_depth)
                return replace(self.model, depth=depth)(x)
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"wanted a Problem, met {type(problem).__name__}; see twin and Problem")
    shapes = _shapes(names)
    for name in shapes:
        setting_of(problem.model, name)
    problem = problem.validated()
    check_kind("prior of the parameters", prior, Point, Gaussian, Ensemble)
    prior = convert_tree(prior, problem.like)
    model = Joint(problem.model, tuple(shapes), tuple(shapes.values()), problem.n, problem.shape)
    p = model.p
    if prior.mean.shape[-1] != p:
        raise ValueError(
            f"the prior of the parameters has {prior.mean.shape[-1]} components, but "
            f"{quoted(shapes)} have {p}; a field counts with every point"
        )
    if problem.truth is None and truth is not None:
        raise ValueError(
            "met a truth of the parameters for a problem without one of the state; wanted both "
            "(see twin) or neither"
        )
    whole = None
    if problem.truth is not None:
        whole = concatenated(problem.truth, true_parameters(problem, model, truth))
    Q = _covariance(noise, p)
    if isinstance(problem.noise, tuple):
        Q = tuple(_beside(own, Q, problem, p) for own in problem.noise)
    else:
        Q = _beside(problem.noise, Q, problem, p)
    return replace(
        problem,
        model=model,
        observation=on_state(problem),
        prior=independent(problem, prior, seed),
        noise=Q,
        shape=(),
        truth=whole,
        angles=angles_first(problem),
    )


@typed
def state_and_parameters(result: xr.Dataset, problem: Any) -> tuple[xr.Dataset, xr.Dataset]:
    """The result of a joint problem, as two Datasets: state, and parameters.

    Scores and figures take both; the state has its field's shape again. In the second, the
    coordinate `x` holds the names ("depth[3, 4]" for a point of a field):
    `parameters["mean"].sel(x="rho")` is an estimate over time and stage, with `std` beside it and
    `truth` where known.

    Args:
        result: what `assimilate` returned.
        problem: the joint problem, as `with_parameters` made it.

    Returns:
        The state and the parameters.

    Raises:
        TypeError: for a problem that `with_parameters` did not make.
        ValueError: for a result of another size.
    """
    model = getattr(problem, "model", None)
    if not isinstance(model, Joint):
        raise TypeError(
            f"wanted the problem that with_parameters made, met {type(problem).__name__}"
            + (f" of {type(model).__name__}" if isinstance(problem, Problem) else "")
        )
    n, p = model.n, model.p
    if result.sizes["x"] != n + p:
        raise ValueError(
            f"the result has {result.sizes['x']} components in x, but the problem {n} of the "
            f"state and {p} of parameters"
        )
    labels = []
    for name, shape in zip(model.names, model.shapes, strict=True):
        labels += [f"{name}{list(i) if i else ''}" for i in np.ndindex(shape)]
    sides = [d for d in ("x", "x_") if d in result.dims]  # two, where covariances were kept
    state, bare = (
        result.isel(dict.fromkeys(sides, part)) for part in (slice(0, n), slice(n, None))
    )
    state = state.assign_attrs(shape=model.field or (n,))
    bare = bare.drop_vars(["observation", "predicted", "predicted_std"], errors="ignore")
    whole = model.shapes[0] if len(model.shapes) == 1 and model.shapes[0] else (p,)
    bare = bare.assign_coords(dict.fromkeys(sides, labels))
    return state, bare.assign_attrs(shape=whole)


def _shapes(names: Any) -> dict[str, tuple[int, ...]]:
    """name -> shape, from whatever way the names were given."""
    if isinstance(names, str):
        names = (names,)
    try:
        pairs = list(names.items() if isinstance(names, Mapping) else ((n, ()) for n in names))
        shapes = {str(n): tuple(int(i) for i in shape) for n, shape in pairs}
    except TypeError:
        raise TypeError(
            "names must be a name, a sequence of names, or a mapping such as "
            f'{{"depth": (64, 64)}}, met {names!r}'
        ) from None
    if not shapes or len(shapes) < len(pairs) or any(i < 1 for s in shapes.values() for i in s):
        raise ValueError(
            f"names must be different, at least one, and shapes positive, met {names!r}"
        )
    return shapes


def on_state(problem: Problem) -> Observation | Moving:
    known: dict[int, Observation] = {}

    def seen(o: Observation) -> Observation:
        if id(o) not in known:
            f = Border(o.operator, problem.shape) if problem.shape else o.operator
            known[id(o)] = replace(o, operator=OnState(f, problem.n))
        return known[id(o)]

    o = problem.observation
    if isinstance(o, Moving):
        return replace(o, observations=[seen(part) for part in o.observations])
    return seen(o)


def _covariance(noise: Any, p: int) -> Covariance | None:
    noise = as_covariance(noise, "the noise of the parameters", p)
    if noise is not None and noise.n != p:
        raise ValueError(
            f"the noise of the parameters has dimension {noise.n}, wanted {p}: one variance each"
        )
    return noise


def _beside(Q: Covariance | None, more: Covariance | None, problem: Problem, p: int) -> Any:
    """The noise of the state beside that of the parameters, zeros for one that is None."""
    if Q is None and more is None:
        return None
    still = Diagonal(np.zeros(problem.n)), Diagonal(np.zeros(p))
    pair = zip((Q, more), still, strict=True)
    return beside(*(convert_tree(zero if Q is None else Q, problem.like) for Q, zero in pair))


def independent(problem: Problem, theta: Belief, seed: Any) -> Belief:
    """The independent beliefs over state and parameters as one."""
    both = problem.prior, theta
    try:
        batch = np.broadcast_shapes(problem.batch, tuple(theta.mean.shape[:-1]))
    except ValueError:
        raise ValueError(
            f"batch axes differ: {problem.batch} in the problem and "
            f"{tuple(theta.mean.shape[:-1])} in the prior of the parameters; wanted shapes that "
            "broadcast"
        ) from None
    ensembles = [b for b in both if isinstance(b, Ensemble)]
    if ensembles:
        sizes = [b.members.shape[-2] for b in ensembles]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"the prior of the state is an ensemble of {sizes[0]} members, that of the "
                f"parameters one of {sizes[1]}; wanted the same number, to pair them"
            )
        weights = [b.weights for b in ensembles if b.weights is not None]
        if len(weights) > 1:
            raise ValueError("both ensembles have weights; wanted them in one: resample the other")
        rng = streams(Purpose.PARAMETERS, seed, batch)
        E = concatenated(
            *(b.members if isinstance(b, Ensemble) else b.sample(rng, sizes[0]) for b in both)
        )
        xp = array_namespace(E)
        E = xp.broadcast_to(E, (*batch, *E.shape[-2:]))  # what the model sweeps meets every axis
        return Ensemble(E, xp.broadcast_to(weights[0], E.shape[:-1]) if weights else None)
    mean = concatenated(*(b.mean for b in both))
    if all(isinstance(b, Point) for b in both):
        return Point(mean)
    known = (b.cov if isinstance(b, Gaussian) else Diagonal(0 * b.mean) for b in both)
    return Gaussian(mean, beside(*known))
