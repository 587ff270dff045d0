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

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from ...array import (
    Array,
    Purpose,
    array_namespace,
    check_count,
    convert,
    convert_tree,
    is_module,
    no_grad,
    shown,
    streams,
    typed,
)
from ...covariances.base import Covariance
from ...covariances.given import as_covariance
from ...problem.belief import Ensemble
from ...problem.like import ProblemLike
from ..base import Cycle
from ..score.ensf import EnSF
from .dynamics import LatentCode, LatentSteps, between, counted, through
from .fitting import for_codes, trained, watched
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
        limits: the least and the largest data that the encoder knows, `(m,)` each, or None. Data
            beyond give an OutOfRange warning, and `outside` in the result is their share.

    Raises:
        TypeError: for a network, an encoder or a method that is none.
        ValueError: for encoded data without an encoder and its noise, and sizes that do not fit.
    """

    net: Any = field(repr=False)
    _: KW_ONLY
    points: Array = field(repr=False)
    encoder: Any = field(default=None, repr=False)
    noise: Covariance | Array | None = field(default=None, repr=False)
    method: Any = field(default_factory=lambda: EnSF(20))
    data: Literal["encoded", "raw"] = "encoded"
    first: int = 0
    every: int = 1
    limits: tuple[Any, Any] | None = field(default=None, repr=False)

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

    @classmethod
    @typed
    def fit(
        cls,
        net: Any,
        encoder: Any,
        train: tuple[Any, Any],
        validation: tuple[Any, Any],
        *,
        points: Array,
        see: Callable,
        unit: Array,
        noise: float = 0.2,
        level: float = 0.1,
        gaps: float = 0.0,
        extra: int = 500,
        count: int | None = None,
        normalisation: Any = None,
        skip: int = 0,
        dynamics: Mapping | None = None,
        reading: Mapping | None = None,
        checkpoint: str | os.PathLike | None = None,
        device: Any = None,
        seed: int = 0,
        progress: bool = True,
        **settings: Any,
    ) -> LDEnSF:
        """Train the network and the encoder; what comes back runs like any method.

        Args:
            net: an LDNet, trained in place but for its last layer.
            encoder: a HistoryEncoder, trained in place.
            train: parameters `(S, p)` and fields `(S, T, P, C)` of runs, tensors; fields may be
                `torch.from_numpy` of a file larger than memory.
            validation: the same of other runs: the ridge is chosen and errors are measured there.
            points: `(P, d)`, a tensor.
            see: the observation operator of states without parameters, `(..., C P) -> (..., m)`.
            unit: of the data's errors, `(m,)`: what `noise` and `level` are shares of.
            noise: the largest errors of the data in training; each run has another size.
            level: the errors at which those of the codes are measured.
            gaps: the largest share of data that are missing in training.
            extra: random features beside the learned ones in the last layer.
            count: points of each run at which the last layer is solved, as in `neural.refit`.
            normalisation: of fields `(C,)`, a Normalisation; if None, that of the training data,
                which then are read at once.
            skip: how many of the first states are not observed.
            dynamics: settings of `neural.fit` for the network, epochs, batch, optimiser and so on,
                and of `Subsampled`: count, share, noise, mixed.
            reading: settings of `neural.fit` for the encoder.
            checkpoint: a folder, from which a training that was killed goes on to the same bits.
            device: of torch, where to train; fields go there if they fill half of it at most.
            seed: of the training.
            progress: whether to show bars.
            settings: those of LDEnSF, such as first, every, method. The default method is
                EnSF(20) in units in which eps_beta is 0.3 of the variance of the encoder's errors.

        Returns:
            LDEnSF: trained.

        Raises:
            ValueError: data of other shapes.
        """
        found = trained(
            net,
            encoder,
            train,
            validation,
            points=points,
            see=see,
            unit=unit,
            noise=noise,
            level=level,
            gaps=gaps,
            extra=extra,
            count=count,
            normalisation=normalisation,
            skip=skip,
            dynamics=dynamics or {},
            reading=reading or {},
            checkpoint=checkpoint,
            device=device,
            seed=seed,
            progress=progress,
        )
        settings.setdefault("method", for_codes(found["noise"]))
        parts = {"noise": found["noise"], "limits": found["limits"], **settings}
        return cls(found["net"], points=points, encoder=encoder, **parts)

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
        cycles = decoded_cycles(self.method, inside, rng)
        yield from watched(cycles, problem, self.limits, told=self.data == "raw")

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
