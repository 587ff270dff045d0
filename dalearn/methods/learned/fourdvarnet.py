"""4DVarNet: a learned prior and a learned descent make the analysis of a whole window.

    J(x) = w_o sum_seen (x - y)^2 + w_p |x - phi(x)|^2,   x <- x - LSTM(grad J) - r grad J,

from the data, interpolated in time (see `neural.LearnedSolver`). Prior, weights and descent are
trained together on runs whose truth is known. Or the true model stands in the prior's place,
`ModelPrior`, and the descent alone is learned. The analysis is a point: nothing is said of its
error.

R. Fablet, B. Chapron, L. Drumetz, E. Memin, O. Pannekoucke and F. Rousseau, Learning variational
data assimilation models and solvers, J. Adv. Model. Earth Syst. 13, 2021.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from ...array import (
    Array,
    Swept,
    array_namespace,
    check_between,
    check_count,
    convert,
    is_module,
    no_grad,
    shown,
    to_numpy,
    typed,
    warn,
)
from ...problem.belief import Point
from ...problem.like import ProblemLike
from ..base import Cycle
from ..latent.fitting import OutOfRange
from ..latent.pairs import tell_shared
from ..score.window import places
from .seen import components, interpolated


@typed
@dataclass(frozen=True, eq=False)
class FourDVarNet:
    """A window's analysis by a learned prior and a learned descent.

    The data must be components of the state, as the operators Subset, Every and identity give
    them: the network was trained on a mask. It knows one size of errors, and windows of one
    length; others give an OutOfRange warning. The forecast is the prior's mean, run by the model
    without data; `info["smoothed"]` is the analysis again.

    Args:
        net: a LearnedSolver, which has been trained; or a Direct, its simplest rival.
        steps: of the descent, by default as many as in the training, an integer >= 1.
        every: model steps from one state of the network to the next.

    Raises:
        TypeError: for a network that is none.
        ValueError: for a network that has not been trained.

    Source: R. Fablet et al., Learning variational data assimilation models and solvers, 2021.
    """

    net: Any = field(repr=False)
    _: KW_ONLY
    steps: int = 10
    every: int = 1

    def __post_init__(self):
        if not is_module(self.net) or not hasattr(self.net, "length"):
            raise TypeError(f"net must be a LearnedSolver, met {shown(self.net)}")
        if not self.net.trained:
            raise ValueError(
                "net has not been trained, met units of 0; wanted FourDVarNet.fit(net, ...), or "
                "the weights of a training, load_weights(net, file)"
            )
        check_count("steps", self.steps)
        check_count("every", self.every)

    @classmethod
    @typed
    def fit(
        cls,
        net: Any,
        train: tuple[Array, Array],
        validation: tuple[Array, Array],
        *,
        error: Swept,
        steps: int = 10,
        epochs: int = 10,
        rate: float = 2e-3,
        batch: int = 32,
        checkpoint: str | os.PathLike | None = None,
        seed: int = 0,
        progress: bool = True,
        **settings: Any,
    ) -> FourDVarNet:
        """Train prior and descent together; what comes back runs like any method.

        Args:
            net: a LearnedSolver, trained in place.
            train: states `(S, L, n)` of windows and their data, NaN where nothing was seen.
            validation: the same of other runs.
            error: standard deviation of the data's errors, a number or one each `(n,)`.
            steps: of the descent.
            epochs: passes over the windows.
            rate: of Adam at the start; it falls to 0 as a cosine.
            batch: windows in a step.
            checkpoint: a file, from which a training that was killed goes on to the same bits.
            seed: of the training.
            progress: whether to show a bar.
            settings: those of FourDVarNet.

        Returns:
            FourDVarNet: trained.

        Raises:
            ValueError: windows and data of other shapes.
            TypeError: for a network that is none.
        """
        from ...neural.data import Normalisation
        from ...neural.learned_solver import inversion_loss
        from ...neural.train import adam, cosine, fit

        if not is_module(net) or not hasattr(net, "length"):
            raise TypeError(f"net must be a LearnedSolver, met {shown(net)}")
        check_between("rate", rate, 0, np.inf, open_low=True)
        check_between("error", error, 0, np.inf, open_low=False)
        x, y = windows_of("train", train, net.n)
        other = windows_of("validation", validation, net.n)
        tell_shared(x.reshape(len(x), -1), other[0].reshape(len(other[0]), -1))
        unit = Normalisation.fit(x)
        net.scaled(unit, error, x.shape[1])
        if hasattr(getattr(net, "prior", None), "scaled"):  # a model, in physical units
            net.prior.scaled(unit)
        parts = [inputs(net, *pair) for pair in ((x, y), other)]
        fit(
            net,
            *parts,
            loss=inversion_loss(steps),
            epochs=epochs,
            batch=batch,
            optimiser=adam(rate),
            schedule=cosine(epochs),
            clip=1.0,
            checkpoint=checkpoint,
            seed=seed,
            progress=progress,
        )
        return cls(net, steps=steps, **settings)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """One Cycle for each observation time, all from one window."""
        at = places(problem, self.every, "FourDVarNet")
        x = self.trajectory(problem)
        with no_grad(problem.like):
            mean = problem.prior.mean
            b = array_namespace(mean).broadcast_to(mean, (*problem.batch, problem.n))
        for k, i in enumerate(at):
            with no_grad(problem.like):
                b = problem.forecast(b[..., None, :], k)[..., 0, :]
                found = Point.unchecked(x[..., i, :])
            yield Cycle(Point.unchecked(b), found, {"smoothed": found})

    def trajectory(self, problem: ProblemLike) -> Array:
        """The states of the whole window, between the observations too.

        Args:
            problem: a validated Problem, or another ProblemLike.

        Returns:
            States `(..., L, n)`, `every` model steps apart.
        """
        import torch

        at = places(problem, self.every, "FourDVarNet")
        if problem.n != self.net.n:
            raise ValueError(f"net knows states of {self.net.n} numbers, wanted {problem.n}")
        y, error = components(problem, at, "FourDVarNet")
        self._watch(y, error)
        rows = y.reshape(-1, *y.shape[-2:])
        with torch.no_grad():
            first, data, seen = inputs(self.net, None, rows)
            x = self.net(first, data, seen, self.steps) * self.net.std + self.net.mean
        return convert(x.reshape(y.shape), problem.like)

    def _watch(self, y: np.ndarray, error: np.ndarray) -> None:
        """Warn of a window and of errors that the network does not know."""
        length, known = int(self.net.length), to_numpy(self.net.error)
        if y.shape[-2] > length:
            warn(
                f"the window has {y.shape[-2]} states, and the network was trained on {length}",
                OutOfRange,
            )
        off = (error > 0) & (abs(error - known) > 0.1 * error)
        if off.any():
            i = int(np.flatnonzero(off)[0])
            warn(
                f"the data of component {i} have errors of {error[i]:.3g}, and the network was "
                f"trained on {known[i]:.3g}: it takes R as it was there",
                OutOfRange,
            )


def windows_of(name: str, pair: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """States and data of windows as NumPy has them; an error for other shapes."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"{name} must be (states, data), met {shown(pair)}")
    x, y = (np.asarray(to_numpy(part)) for part in pair)
    if x.ndim != 3 or x.shape[2] != n or y.shape != x.shape:
        raise ValueError(
            f"{name} must be states and data (S, L, {n}), data NaN where nothing was seen; met "
            f"{x.shape} and {y.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{name} holds states with NaN or infinity; wanted the truth")
    return x, y


def inputs(net: Any, x: np.ndarray | None, y: np.ndarray) -> tuple[Any, ...]:
    """First guess, data and mask in units of the network, and the truth if it is given."""
    import torch

    mean, std = (to_numpy(part) for part in (net.mean, net.std))
    scaled = (y - mean) / std
    seen = np.isfinite(scaled)
    parts = [interpolated(scaled), np.where(seen, scaled, 0.0), seen]
    if x is not None:
        parts.append((x - mean) / std)
    return tuple(torch.as_tensor(np.ascontiguousarray(p)).to(net.mean) for p in parts)
