"""Any method in the space of a coder's codes: latent data assimilation.

    z = encode(x), r numbers for n,   z_k = M_z(z_{k-1}) + q_k,   y_k = H(decode(z_k)) + e_k.

The inner method sees a problem of r numbers and never learns of the coder; its beliefs come back
decoded. By default M_z = encode o M o decode, which costs what the full model costs and errs by
the coder alone: the projected filter for a linear coder. A latent model that was learned is fast.
The spread of decoded beliefs knows nothing of what the coder cannot represent, its floor: where
that is not small beside the data's errors, add it to R.

Cheng et al., Generalised latent assimilation in heterogeneous reduced spaces with machine learning
surrogate models, J. Sci. Comput. 94, 2023; Peyron et al., Latent space data assimilation by using
deep learning, Q. J. R. Meteorol. Soc. 147, 2021; projected Kalman filter: Cane et al., Mapping
tropical Pacific sea level: data assimilation via a reduced state space Kalman filter, J. Geophys.
Res. 101, 1996.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...array import (
    Array,
    array_namespace,
    check_between,
    convert_tree,
    is_module,
    is_tensor,
    no_grad,
    shown,
    to_numpy,
    typed,
    warn,
)
from ...covariances.base import Covariance
from ...covariances.given import as_covariance
from ...covariances.matrices import Diagonal
from ...models.coders import check_coder
from ...problem.belief import Belief, Ensemble
from ...problem.calls import check_call
from ...problem.like import ProblemLike
from ...problem.observe import Observation, identity
from ...problem.problem import Problem
from ..background import check_batch
from ..base import Cycle
from .fitting import OutOfRange
from .inside import LatentProblem, Remembering, Row, decoded_cycles
from .observed import Encoded
from .through import Through

BEYOND = 3.0  # times the floor: of 1464 states of shallow-water runs held out, none is above 2.2


@typed
@dataclass(frozen=True, eq=False)
class Latent:
    """A method in the latent space of a coder: z = encode(x), beliefs come back as decode(z).

    Settings of the inner method, such as B or localization, belong to the r numbers of a code. A
    Gaussian prior is encoded by its mean and J C J^T, exact for linear coders; an ensemble member
    by member. Parameters may stand in the latent state: see `Extended`.

    Args:
        method: the inner method. It needs of the default model no more than forecasts, and where
            it linearizes single steps (KF, ExtendedKF, UKF, RTS, Var4D, WeakVar4D) observation
            intervals of one length, each of which is then one step.
        coder: the Coder: `POD`, or any object with `encode`, `decode`, `n`, `r`.
        model: a latent model `(..., r) -> (..., r)` in the place of encode o forecast o decode.
        steps: calls of `model` before each observation, an integer or one for each.
        noise: the Covariance of dimension r of the latent model's error after each call, or its
            variances, or None.
            The default model draws the problem's own noise in the full space.
        observe: "decoded", data beside H(decode(z)); or Encoded, or a pair (encoder of data,
            covariance of the codes' errors).
        floor: what the coder errs by on held-out states, `coder.floor(test)`. A prior that it
            misses by more than three times as much gives an OutOfRange warning; None: no check.

    Raises:
        TypeError: for a method, a coder or an `observe` of another kind.
        ValueError: for `noise` or `steps` without a model.
    """

    method: Any
    coder: Any
    _: KW_ONLY
    model: Callable | None = None
    steps: int | Sequence[int] = 1
    noise: Covariance | Array | None = None
    observe: Any = "decoded"
    floor: float | None = None

    def __post_init__(self):
        if isinstance(self.method, type) or not callable(getattr(self.method, "run", None)):
            raise TypeError(f"wanted a method such as ETKF(members=20), met {self.method!r}")
        check_coder(self.coder)
        object.__setattr__(self, "noise", as_covariance(self.noise, "the latent model's noise"))
        if self.floor is not None:
            check_between("floor", self.floor, 0, 1e300, open_low=True)
        if self.model is None and (self.noise is not None or self.steps != 1):
            raise ValueError(
                f"noise and steps belong to a latent model, met steps = {self.steps} and model = "
                "None; wanted model= too"
            )
        if isinstance(self.observe, tuple) and len(self.observe) == 2:
            object.__setattr__(self, "observe", Encoded(*self.observe))
        named = isinstance(self.observe, str) and self.observe == "decoded"
        if not named and not isinstance(self.observe, Encoded):
            raise TypeError(
                'observe must be "decoded", Encoded(encoder, covariance), or a pair of these '
                f"two, met {shown(self.observe)}"
            )

    def inside(self, problem: ProblemLike) -> LatentProblem:
        """The problem that the inner method is given.

        Args:
            problem: a validated Problem, or another ProblemLike.

        Returns:
            The problem of codes; its `decoded(belief)` takes beliefs back.

        Raises:
            ValueError, TypeError: where coder, latent model or noise do not fit the problem, with
                the shape met and the one wanted.
        """
        like, batch = problem.like, problem.batch
        if problem.n != self.coder.n:
            raise ValueError(
                f"the coder takes states of {self.coder.n} numbers, but the problem has "
                f"{problem.n}; Extended(coder, p) carries p parameters behind the state"
            )
        if is_module(self.coder) and not is_tensor(like):
            raise TypeError(
                "the coder is a torch module but the problem holds NumPy arrays; give the prior "
                "as a torch tensor, problem.to(tensor)"
            )
        coder = Remembering(convert_tree(self.coder, like))
        check_call(coder.encode, _rows(problem), "the coder's encode", coder.r)
        belief = problem.prior
        prior = _encoded(belief, coder)
        if self.floor is not None:
            _check_reach(coder, belief, self.floor)
        dynamics = Through(problem, coder)
        if self.model is not None:
            if getattr(problem, "inputs", None) is not None:
                raise TypeError(
                    "Latent(model=) has a model of codes alone, met a problem whose model is told "
                    "inputs; wanted model=None, encode o forecast o decode"
                )
            dynamics = self._dynamics(self.model, prior, batch, len(problem))
        observe = None
        if isinstance(self.observe, Encoded):
            observe = convert_tree(self.observe, like)
            check_batch(observe.noise, problem, "the noise of codes")
        inside = LatentProblem(problem, coder, prior, dynamics, observe)
        check_call(coder.decode, _rows(inside), "the coder's decode", coder.n)
        return inside

    def _dynamics(self, model: Callable, prior: Belief, batch: tuple[int, ...], K: int) -> Problem:
        """The latent model as a Problem without data, which checks and steps it."""
        nothing = Observation(identity, Diagonal(np.ones(self.coder.r)))
        data = np.zeros((*batch, K, self.coder.r))
        return Problem(model, nothing, prior, data, steps=self.steps, noise=self.noise).validated()

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The cycles of the inner method, their beliefs decoded.

        Args:
            problem: the problem of states.
            rng: Streams over its batch.

        Returns:
            One Cycle for each observation time.
        """
        with no_grad(problem.like):
            inside = self.inside(problem)
        yield from decoded_cycles(self.method, inside, rng)


def _encoded(belief: Belief, coder: Any) -> Belief:
    """The prior of codes; ValueError where a member has no finite one."""
    if not isinstance(belief, Ensemble):
        return belief.map(Row(coder))
    z = coder.encode(belief.members)
    xp = array_namespace(z)
    bad = ~xp.all(xp.isfinite(z), axis=-1)
    if bool(xp.any(bad)):
        raise ValueError(
            f"{int(xp.sum(bad))} members of the prior have no finite code, the first "
            f"{to_numpy(belief.members[bad][0])}; wanted states within the bounds of the coder"
        )
    return Ensemble(z, belief.weights)


def _check_reach(coder: Any, belief: Belief, floor: float) -> None:
    """Warn of prior states that the coder misses by far more than its floor."""
    x = belief.members if isinstance(belief, Ensemble) else belief.mean[..., None, :]
    xp = array_namespace(x)
    error = xp.mean((x - coder.decode(coder.encode(x))) ** 2, axis=(-2, -1)) ** 0.5
    beyond = to_numpy(error) > BEYOND * floor
    if beyond.any():
        warn(
            f"the coder misses the prior of {int(beyond.sum())} of {beyond.size} experiments by "
            f"up to {float(to_numpy(error).max()):.3g}, wanted {BEYOND:g} times its floor "
            f"{floor:.3g} at most: these states are not of the kind that it was fitted to",
            OutOfRange,
        )


def _rows(problem: ProblemLike) -> Any:
    """What `check_call` wants to know, of vectors and not of fields."""
    return SimpleNamespace(
        like=problem.like, prior=problem.prior, batch=problem.batch, n=problem.n, shape=()
    )
