"""LD-EnSF: assimilation in the space of a latent dynamics network, without the full model.

    kappa = (s, u),   s_t = s_{t-1} + dt F(s_{t-1}, u),   phi(y_1, ..., y_t) = kappa + e.

The forecast is one small network. The data enter by an encoder phi of all that was observed so
far (an LSTM), whose codes are compared with kappa as it is; or raw, y = H(R(s)) + e, and no
encoder is needed. State and parameter are found together. Any ensemble method may stand in the
place of EnSF: `replace(ld, method=ETKF(20), data="raw")`.

P. Xiao, P. Si and P. Chen, LD-EnSF: Synergizing latent dynamics with ensemble score filters for
fast data assimilation with sparse observations, ICLR 2026.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

import numpy as np

from ...array import (
    Array,
    Purpose,
    array_namespace,
    as_floats,
    check_count,
    convert,
    convert_tree,
    is_module,
    no_grad,
    shown,
    streams,
    to_numpy,
    typed,
)
from ...covariances.base import Covariance
from ...covariances.given import as_covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from ..score.ensf import EnSF
from .dynamics import LatentCode, LatentSteps, counted, through
from .inside import LatentProblem, decoded_cycles
from .observed import Encoded


@dataclass(frozen=True, eq=False)
class Read:
    """An encoder of data in the library and precision of the problem."""

    encoder: Any

    def __call__(self, y: Array) -> Array:
        return through(self.encoder, self.encoder, y)


@typed
@dataclass(frozen=True, eq=False)
class LDEnSF:
    """A method in the space of a latent dynamics network, state and parameter together.

    The problem is a joint one, (x, u) with u behind x: `with_parameters`. Of its prior only that
    of u counts: s is 0 one step before the first state that the network knows.

    Args:
        net: the LDNet, which stands for the model.
        points: where the numbers of x are, `(P, d)`, component by component.
        encoder: from the data so far to codes, `(..., K, m) -> (..., K, r + p)`, in units in which
            the box of u is (-1, 1); a torch module. NaN in the data means not observed.
        noise: the Covariance of the encoder's errors, or their variances `(r + p,)`, from
            validation data.
        method: the ensemble method; EnSF by default.
        data: "encoded", or "raw", beside H of the reconstruction at the sensors.
        first: the model step of the network's first state.
        every: model steps from one of its states to the next.

    Raises:
        TypeError: for a network, an encoder or a method that is none.
        ValueError: for encoded data without an encoder and its noise, and sizes that do not fit.
    """

    net: Any
    _: KW_ONLY
    points: Array
    encoder: Any = None
    noise: Covariance | Array | None = None
    method: Any = field(default_factory=lambda: EnSF(20))
    data: Literal["encoded", "raw"] = "encoded"
    first: int = 0
    every: int = 1

    def __post_init__(self):
        if not is_module(self.net) or not hasattr(self.net, "latent"):
            raise TypeError(f"net must be an LDNet, met {shown(self.net)}")
        if isinstance(self.method, type) or not callable(getattr(self.method, "run", None)):
            raise TypeError(f"method must be one such as EnSF(20), met {shown(self.method)}")
        axes, shape = self.net.axes, tuple(self.points.shape)
        if len(shape) != 2 or shape[1] != axes:
            raise ValueError(f"points must be (P, {axes}), met shape {shape}")
        if self.encoder is not None and not is_module(self.encoder):
            raise TypeError(f"encoder must be a torch module, met {shown(self.encoder)}")
        check_count("first", self.first, 0)
        check_count("every", self.every)
        if self.data == "encoded" and (self.encoder is None or self.noise is None):
            raise ValueError(
                'data="encoded" wants an encoder and the noise of its codes, met '
                f'{shown(self.encoder)} and {shown(self.noise)}; or data="raw"'
            )
        r = self.net.latent + self.net.inputs
        if self.noise is not None:
            noise = as_covariance(self.noise, "the noise of codes", r, definite=True)
            object.__setattr__(self, "noise", noise)

    def inside(self, problem: ProblemLike) -> LatentProblem:
        """The problem that the inner method is given.

        Args:
            problem: the joint problem of state and parameters.

        Returns:
            The problem of codes (s, v); its `decoded(belief)` takes beliefs back.

        Raises:
            ValueError: where the sizes of problem and network differ, or observations lie between
                the states of the network.
        """
        code = LatentCode(self.net, self.points)
        if problem.n != code.n:
            raise ValueError(
                f"the LDNet has {self.net.outputs} components at {len(self.points)} points and "
                f"{self.net.inputs} parameters, {code.n} numbers, but the problem has {problem.n}"
            )
        steps = LatentSteps(self.net, counted(problem, self.first, self.every))
        belief = problem.prior
        prior = belief.map(code.start)
        observe = None
        if self.data == "encoded":
            observe = Encoded(Read(self.encoder), self.noise, gaps=True, sequence=True)
            observe = convert_tree(observe, problem.like)
        return LatentProblem(problem, code, prior, steps, observe)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The cycles of the inner method, their beliefs decoded."""
        with no_grad(problem.like):
            inside = self.inside(problem)
        yield from decoded_cycles(self.method, inside, rng)

    def codes(self, problem: ProblemLike, *, seed: Any = 0) -> Array:
        """The codes of the analyses, before they are decoded: what costs next to nothing.

        Args:
            problem: the joint problem, validated.
            seed: as that of `assimilate`.

        Returns:
            Codes of the members (s, v) `(..., K, N, r + p)`; of a method without members, N = 1.
        """
        rng = streams(Purpose.ASSIMILATION, seed, problem.batch)
        found = []
        with no_grad(problem.like):
            inside = self.inside(problem)
            for cycle in self.method.run(inside, rng):
                belief = cycle.analysis
                is_ensemble = isinstance(belief, Ensemble)
                found.append(belief.members if is_ensemble else belief.mean[..., None, :])
            return array_namespace(problem.like).stack(found, axis=-3)

    def fields(
        self, codes: Array, times: Array | None = None, *, points: Array | None = None
    ) -> Array:
        """The fields of codes at any points, and between the observations at any time.

        Latent states are smooth in time: between observations they are taken from a cubic spline.

        Args:
            codes: `(..., K, r + p)`, such as the mean over the members of `codes`.
            times: `(T,)`, counted in observations: 0 is the first, 0.5 half-way to the second;
                None: those of the observations.
            points: `(P, d)` in the coordinates of the training; None: those of the state.

        Returns:
            Fields `(..., T, P, C)` in the units of the training data.

        Raises:
            ValueError: for times outside the observations, which would have to be forecast.
        """
        if times is not None:
            codes = between(codes, times)
        at = convert(self.points if points is None else points, next(self.net.parameters()))
        r = self.net.latent
        return through(self.net, lambda z: self.net.reconstruct(z[..., :r], at), codes)


def between(codes: Array, times: Array) -> Array:
    """Codes `(..., K, r)` at other times `(T,)` than 0, ..., K - 1, by a cubic spline."""
    from scipy.interpolate import CubicSpline

    K, t = codes.shape[-2], to_numpy(as_floats(times, "times"))
    if t.ndim != 1 or not ((t >= 0) & (t <= K - 1)).all() or K < 2:
        raise ValueError(
            f"times must lie between 0 and {K - 1}, the first and last of {K} observations (at "
            f"least 2), met {shown(times)}"
        )
    known = CubicSpline(np.arange(K), to_numpy(codes), axis=-2)
    return convert(np.asarray(known(t)), codes)
