"""Multi-domain latent assimilation: states and data of another kind share one latent space.

    z_b = E(x_b),   E'(y) = z + e,  e ~ N(0, R),   x_a = D(z_a):

two encoders and one decoder, `neural.TwoEncoders`, trained on pairs (x, y) of equal times. No
operator from states to data is needed: the pairs teach it, the bias of a coarse model included.
B and R are covariances of codes, errors of the encoders in them, and are estimated on validation
trajectories, `measured`: those of training pairs are too small, and a gain that is guessed may
throw the background away.

S. Cheng et al., Multi-domain encoder-decoder neural networks for latent data assimilation in
dynamical systems, 2024. They take B = 0.04 diag(x_b), which is not positive definite where a code
is negative, and R = 1e-4 I: a gain of 0.9975.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

from ...array import Array, is_module, no_grad, shown, through, typed
from ...covariances.base import Covariance
from ...covariances.given import as_covariance
from ...problem.like import ProblemLike
from ..base import Cycle
from ..gaussian.interpolation import OI
from .fitting import watched
from .inside import LatentProblem, decoded_cycles
from .latent import Latent
from .observed import Encoded
from .pairs import code_errors, coder_of, fitted

PARTS = ("encode", "decode", "encode_observation", "n", "r")


@dataclass(frozen=True, eq=False)
class Data:
    """The encoder of data that two encoders hold, in the library of a problem.

    Args:
        net: a TwoEncoders, or what does the same.
    """

    net: Any

    def __call__(self, y: Array) -> Array:
        f = self.net.encode_observation
        return through(self.net, f, y) if is_module(self.net) else f(y)


@typed
@dataclass(frozen=True, eq=False)
class MEDLA:
    """A method in the latent space that states and data share, each through its own encoder.

    Args:
        method: the inner method, of r numbers that are observed as they are: OI(B) is BLUE.
        net: a TwoEncoders, or what has `encode`, `decode`, `encode_observation`, `n` and `r`.
        R: the Covariance of dimension r of the errors of the data's codes, or their variances.
        model: a latent model `(..., r) -> (..., r)`, as in Latent; None: encode o forecast o
            decode.
        steps: calls of `model` before each observation, an integer or one for each.
        noise: the Covariance of the latent model's error after each call, its variances, or None.
        limits: the least and the largest data that the encoder knows, `(m,)` each, or None. Data
            beyond give an OutOfRange warning, and `outside` in the result is their share.

    Raises:
        TypeError: for a method, a network or a covariance that is none.
        ValueError: for a network that has not been trained, and sizes that do not fit.
    """

    method: Any
    net: Any = field(repr=False)
    _: KW_ONLY
    R: Any = field(repr=False)
    model: Callable | None = None
    steps: int | Sequence[int] = 1
    noise: Covariance | Array | None = None
    limits: tuple[Any, Any] | None = field(default=None, repr=False)

    def __post_init__(self):
        lacks = [a for a in PARTS if not hasattr(self.net, a)]
        if lacks or isinstance(self.net, type):
            raise TypeError(
                f"net must be a TwoEncoders, met {shown(self.net)}"
                + f" without {', '.join(lacks)}" * bool(lacks)
            )
        if not getattr(self.net, "trained", True):
            raise ValueError(
                "net has not been trained, met units of 0; wanted MEDLA.fit(net, ...), or the "
                "weights of a training, load_weights(net, file)"
            )
        R = as_covariance(self.R, "R", definite=True)
        if R.n != self.net.r:
            raise ValueError(f"R has dimension {R.n}, wanted the codes' {self.net.r}")
        object.__setattr__(self, "R", R)
        object.__setattr__(self, "noise", self._latent.noise)

    @classmethod
    @typed
    def fit(
        cls,
        net: Any,
        train: tuple[Any, Any],
        validation: tuple[Any, Any, Any],
        *,
        disturb: Callable | None = None,
        epochs: int = 40,
        align: int = 40,
        every: int = 1,
        rate: float = 3e-3,
        batch: int = 32,
        checkpoint: str | os.PathLike | None = None,
        seed: int = 0,
        progress: bool = True,
        **settings: Any,
    ) -> MEDLA:
        """Train the networks; what comes back runs like any method, OI with estimated B and R.

        Both branches in turn, the rate falling to 0 as a cosine; then the encoder of data alone,
        on the codes of the states.

        Args:
            net: a TwoEncoders, trained in place.
            train: states `(S, T, n)` and data `(S, T, m)` of equal times, of S runs.
            validation: states, data and backgrounds `(S, T, n)` of other runs, the data with the
                errors that are expected: on them B and R are estimated.
            disturb: adds errors to a batch of data `(b, m)` by torch's random numbers, drawn anew
                at each step; None: the data of `train` as they are.
            epochs: of the two branches together.
            align: epochs of the alignment, 0 for none.
            every: steps with one branch before it is the other's turn.
            rate: of Adam at the start; a third of it at the start of the alignment.
            batch: pairs in a step.
            checkpoint: a folder, from which a training that was killed goes on to the same bits.
            seed: of the training.
            progress: whether to show bars.
            settings: those of MEDLA: method, by default OI with the B that is found; model and
                so on.

        Returns:
            MEDLA: trained.

        Raises:
            ValueError: pairs of other shapes, and runs that stand in training and validation.
        """
        limits = fitted(
            net,
            train,
            validation,
            disturb=disturb,
            epochs=epochs,
            align=align,
            every=every,
            rate=rate,
            batch=batch,
            checkpoint=checkpoint,
            seed=seed,
            progress=progress,
        )
        B, R = code_errors(net, *validation)
        parts = {"limits": limits, "method": OI(B), **settings}
        return cls(net=net, R=R, **parts)

    @typed
    def measured(self, states: Array, data: Array, background: Array) -> MEDLA:
        """The same networks with B and R as they are on these pairs: second moments of errors.

        Args:
            states: the truth, of runs that no network was trained on, `(..., n)`.
            data: of the same times, with their errors, `(..., m)`.
            background: of the same times, `(..., n)`.

        Returns:
            MEDLA: its method is OI with this B.

        Raises:
            ValueError: pairs of other shapes, and fewer of them than numbers in a code.
        """
        B, R = code_errors(self.net, states, data, background)
        return replace(self, method=OI(B), R=R)

    @property
    def _latent(self) -> Latent:
        more = {name: getattr(self, name) for name in ("model", "steps", "noise")}
        observe = Encoded(Data(self.net), self.R)
        return Latent(self.method, coder_of(self.net), observe=observe, **more)

    def inside(self, problem: ProblemLike) -> LatentProblem:
        """The problem that the inner method is given.

        Args:
            problem: a validated Problem, or another ProblemLike.

        Returns:
            The problem of codes; its `decoded(belief)` takes beliefs back.

        Raises:
            ValueError, TypeError: as `Latent.inside`.
        """
        return self._latent.inside(problem)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The cycles of the inner method, their beliefs decoded.

        Args:
            problem: the problem of states; of its observing system only the data count.
            rng: Streams over its batch.

        Returns:
            One Cycle for each observation time.
        """
        with no_grad(problem.like):
            inside = self.inside(problem)
        cycles = decoded_cycles(self.method, inside, rng)
        yield from watched(cycles, problem, self.limits)
