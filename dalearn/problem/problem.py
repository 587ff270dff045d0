"""The estimation problem: given a model, an observing system, a prior and data, find the state.

    x_0 ~ p(x_0),   x <- M(x) + q with q ~ N(0, Q) after every model step,   y_k = H(x) + e_k.

Fields outside, vectors inside: methods see states `(..., members, n)`, models and operators
whatever shape the problem names. The border between the two is here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..array import (
    Array,
    Model,
    Operator,
    Recall,
    array_namespace,
    as_floats,
    check_between,
    convert_tree,
    normal,
    to_numpy,
)
from ..covariances.base import Covariance
from .belief import Belief, Ensemble, Gaussian, Point
from .border import Border
from .checks import check_certain, check_kind, check_problem, check_still, one_each, step_length
from .experiment import experiment
from .from_table import FromTable
from .inputs import as_inputs, as_noise, driven
from .like import FAILURES
from .manifold import Angles, Turning, gathered, gathered_prior
from .observe import Moving, Observation
from .residuals import check_angles
from .times import labelled, times_of


@dataclass(frozen=True, eq=False)
class Problem(FromTable):
    """Everything a method needs to know, for one experiment or a batch of independent ones.

    Leading axes `...` are independent experiments.

    Args:
        model: one time step, pure: `(..., n) -> (..., n)`, or `(b, *shape) -> (b, *shape)` when
            `shape` is given. A dataclass, a plain function, a `torch.nn.Module` (torch problems).
            A stochastic one has `stochastic = True` and is called as `model(x, rng)`; one with
            `inputs` as `model(x, u)` or `model(x, u, rng)`.
        observation: an Observation, or Moving.
        prior: Point, Gaussian or Ensemble for the state before the first model step. Its array
            decides library, dtype and device for everything else.
        data: `(..., K, m)`, NaN where nothing was observed; no observation at time 0.
        steps: model steps before each observation, an int or one per observation; 0 for data at
            the prior's own time, and for further data at the same time.
        noise: Q, the covariance of the error added after every model step, or None; also a
            matrix, a vector of variances, or one number, the variance of each component; or a
            list of K covariances, one for the steps before each observation.
        shape: the shape of one field, such as (2, 64, 64), or () for plain vectors.
        truth: `(..., K, n)` when it is known (twin experiments), for scores only.
        times: `(K,)` in the model's units, or dates, those with a zone as UTC; the labels of the
            data, or from `steps` and the model's `dt`, unless given.
        inputs: what the model is told at each of its S steps beside the state: an array `(S,)` or
            `(..., S, p)`, row s for the step from s to s + 1; or "time", the time at which the
            step begins, in the model's units since the prior. None: nothing.
        failures: share of an ensemble's members, in [0, 1], that the model may return as NaN or
            infinity in one interval: they are replaced by combinations of the others that keep
            mean and covariance. With more the experiment diverges; 0: with the first one.
        angles: which components of the state are angles, an Angles.

    Raises:
        TypeError: for parts of another kind.
        ValueError: for shapes that do not fit, naming those met and wanted.
    """

    model: Model
    observation: Observation | Moving
    prior: Belief
    data: Array
    steps: int | Sequence[int] = 1
    noise: Any = None
    shape: tuple[int, ...] = ()
    truth: Array | None = None
    times: Any = None
    inputs: Any = None
    failures: float = FAILURES
    angles: Angles | None = None
    _counts: list[int] = field(init=False, repr=False)  # model steps before each observation
    _seen: Array = field(init=False, repr=False)  # where data are not NaN
    _gaps: Recall = field(init=False, repr=False, default_factory=Recall)  # masks met before
    _complete: np.ndarray = field(init=False, repr=False)  # times without a gap in any experiment

    def __post_init__(self):
        check_kind("prior", self.prior, Point, Gaussian, Ensemble)
        check_kind("observation", self.observation, Observation, Moving)
        check_kind("model", self.model)
        check_angles(self.angles, self.n)
        check_between("failures", self.failures, 0, 1, open_low=False)
        given: Any = self.data
        self.__dict__["data"] = as_floats(given, "the data", axes=("time", "y"), gaps=True)
        if self.data.ndim < 2 or 0 in self.data.shape:
            raise ValueError(
                f"data must have axes (..., K times, m), met shape {tuple(self.data.shape)}; "
                "for one observed number use data[:, None]"
            )
        check_kind("shape", self.shape, tuple, list)
        noise, counts = as_noise(self.noise, self.n, len(self)), one_each(self.steps, len(self))
        self.__dict__.update(shape=tuple(self.shape), noise=noise, _counts=counts)
        object.__setattr__(self, "steps", self.steps if np.ndim(self.steps) else self._counts[0])
        object.__setattr__(self, "inputs", as_inputs(self.inputs, self._counts, self.model))
        object.__setattr__(self, "times", times_of(self.times, given, self.truth, self._counts))
        if self.truth is not None:
            truth = as_floats(self.truth, "the truth", axes=("time", "x"), gaps=True)
            object.__setattr__(self, "truth", truth)
        xp, seen = array_namespace(self.data), self.data == self.data
        if bool(xp.any(xp.isinf(self.data))):
            raise ValueError("data hold infinite values; wanted numbers, or NaN for missing")
        axes = tuple(i for i in range(seen.ndim) if i != seen.ndim - 2)
        self.__dict__.update(_seen=seen, _complete=to_numpy(xp.all(seen, axis=axes)))

    def __len__(self) -> int:
        return self.data.shape[-2]

    @property
    def batch(self) -> tuple[int, ...]:
        """The batch axes of independent experiments, `()` for one."""
        return np.broadcast_shapes(tuple(self.prior.mean.shape[:-1]), tuple(self.data.shape[:-2]))

    @property
    def n(self) -> int:
        """The dimension of the state."""
        return self.prior.mean.shape[-1]

    @property
    def like(self) -> Array:
        """The array that decides library, dtype and device."""
        return self.prior.members if isinstance(self.prior, Ensemble) else self.prior.mean

    @cached_property
    def time(self) -> np.ndarray:
        """Observation times `(K,)` in the model's units (its `dt`, or 1, times the steps)."""
        own = self.times
        return np.cumsum(self._counts) * step_length(self.model) if own is None else own

    def __getitem__(self, b: int | tuple[int, ...]) -> Problem:
        """One experiment of the batch."""
        if not self.batch:
            raise IndexError("this problem is a single experiment; it has no batch axis to index")
        return replace(self, **experiment(self, b))

    def expand(self, batch: tuple[int, ...]) -> Problem:
        """The same experiment over further batch axes put in front: for sweeps of settings."""
        shape = (*batch, *self.batch, *self.data.shape[-2:])
        return replace(self, data=array_namespace(self.data).broadcast_to(self.data, shape))

    def to(self, like: Array) -> Problem:
        """Every array of the problem in the library, dtype and device of `like`."""
        bare = convert_tree(replace(self, times=None), like)  # times stay NumPy: they may be dates
        return replace(bare, times=self.times)

    def validated(self) -> Problem:
        """Checked once, and converted to the prior's library: what every verb works on.

        Calls model and operator on the prior's mean; raises with the shape met and that wanted.
        """
        problem = self.to(self.like)
        check_problem(problem)
        return problem if self.angles is None else replace(problem, prior=gathered_prior(problem))

    # --- what methods call --------------------------------------------------------------------

    @property
    def stochastic(self) -> bool:
        """Whether the model itself draws random numbers: `model.stochastic`."""
        return bool(getattr(self.model, "stochastic", False))

    @property
    def step(self) -> Operator:
        """One model step without noise, on vectors `(..., members, n)`, the same at all times.

        Raises TypeError for a stochastic model, and one with inputs, which have no such step.
        """
        check_still(self)
        return self.carry

    def stepping(self, k: int, rng: Any = None) -> list[Operator]:
        """The model's steps to observation k, each with its input, on vectors, without noise.

        Raises TypeError for a stochastic model without `rng`.
        """
        if rng is None:
            check_certain(self)
        return driven(self.carry, self.inputs, self._begins[k], self._counts[k])

    def noise_at(self, k: int) -> Covariance | None:
        """Q of the model steps to observation k."""
        return self.noise[k] if isinstance(self.noise, tuple) else self.noise

    @cached_property
    def carry(self) -> Model:
        """One call of the model, on vectors: of `x`, its input if any, and `rng` if stochastic."""
        carry = Border(self.model, self.shape, self.batch) if self.shape else self.model
        return carry if self.angles is None else Turning(carry, self.angles)

    @cached_property
    def _begins(self) -> list[int]:
        """The number of model steps before each interval."""
        return np.cumsum([0, *self._counts]).tolist()

    def steps_to(self, k: int) -> int:
        """The number of model steps before observation k."""
        return self._counts[k]

    def forecast(self, x: Array, k: int, rng: Any = None) -> Array:
        """`x (..., members, n)` carried to observation k; with `rng`, noise Q after each step.

        A stochastic model draws from `rng` too; without one, TypeError.
        """
        drawn = (rng,) if self.stochastic and rng is not None else ()
        steps, Q = self.stepping(k, *drawn), self.noise_at(k)
        if drawn and tuple(x.shape[:-2]) != getattr(rng, "batch", ()):
            lead = np.broadcast_shapes(tuple(x.shape[:-2]), getattr(rng, "batch", ()))
            x = array_namespace(x).broadcast_to(x, (*lead, *x.shape[-2:]))  # each its own numbers
        for step in steps:
            x = step(x, *drawn)
            if rng is not None and Q is not None:
                x = x + Q.color(normal(rng, (x.shape[-2], Q.controls), x))
        return gathered(self, x)

    def at(self, k: int) -> tuple[Observation, Array]:
        """The observing system on vectors and the data `(..., m)` at observation k.

        Gaps are filled with 0 and masked in `noise`, so methods never see NaN.
        """
        observe = self._observe(k)
        y = self.data[..., k, : observe.m]
        if self._complete[k]:
            return observe, y
        xp, seen = array_namespace(y), self._seen[..., k, : observe.m]
        if bool(xp.all(seen)):
            return observe, y
        observe = self._gaps(seen, (observe,), partial(observe.masked, seen))
        return observe, xp.where(seen, y, xp.zeros_like(y))

    def _observe(self, k: int) -> Observation:
        observe = self.observation.at(k)
        if not self.shape:
            return observe
        cache = self.__dict__.setdefault("_bordered", {})
        known, bordered = cache.get(id(observe), (None, None))
        if known is not observe:  # a copy of the problem brings a cache with the ids of another
            bordered = replace(observe, operator=Border(observe.operator, self.shape))
            if len(cache) >= 2 * len(self):
                cache.clear()  # of a system that makes a new one each time
            cache[id(observe)] = observe, bordered
        return bordered

    @classmethod
    def from_xarray(
        cls,
        data: Any,
        model: Model,
        observation: Observation | Moving,
        prior: Belief,
        *,
        start: Any = None,
        dt: float | None = None,
        unit: Any = None,
        time: str = "time",
        **settings: Any,
    ) -> Problem:
        """A problem from real data: a labelled `xarray.DataArray` with a time coordinate.

        Args:
            data: with the dimension `time` and at most one other, the observed numbers; NaN where
                missing.
            model: one time step.
            observation: an Observation, or Moving.
            prior: a belief about the state at `start`.
            start: the time of the prior, needed for dates, else 0; with a time zone just where
                the dates have one.
            dt: the model's step in its own units; by default `model.dt`.
            unit: for dates, the length of one model time unit: `numpy.timedelta64(5, "D")`, "h".
            time: the name of the dimension.
            **settings: further ones of Problem (noise, shape, truth).

        Returns:
            The problem.

        Raises:
            TypeError: for other data.
            ValueError: where an observation does not fall on a model step, naming the first.
        """
        values, steps, times = labelled(data, model, start, dt, unit, time)
        return cls(model, observation, prior, values, steps, times=times, **settings)
