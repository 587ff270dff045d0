"""A family of runs of one model that differ by a parameter, for training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array import Array, Purpose, check_count, convert, generator, is_array, to_numpy, typed
from ..run.simulate import simulate

if TYPE_CHECKING:
    from ..neural.data import Split

CHECKPOINT = 30.0  # seconds between the moments from which a killed run can go on


@typed
@dataclass(frozen=True, eq=False)
class SetUp:
    """A family of runs of one model that differ by a parameter, and which states are kept.

    Kept are the states after `first`, first + every, ..., `steps` steps. Made by `kolmogorov` and
    `shallow_water`; `dataclasses.replace` makes smaller ones.

    Args:
        name: "kolmogorov" or "shallow-water".
        model: from parameters `(b, p)` to the model of b runs; from `(p,)` to that of one.
        start: from parameters `(..., p)` to initial states `(..., *shape)`.
        low: the least parameters `(p,)`.
        high: the largest `(p,)`.
        rms: root mean square of each component of the states kept, the unit of errors.
        runs: how many for training, validation and test.
        first: steps before the first state that is kept.
        every: steps between two states that are kept.
        steps: of a run.
        carried: the name of the parameter in a joint problem.
        periodic: whether the plane closes on itself.

    Raises:
        ValueError: for a box without inside, and steps that do not fit together.

    Source: P. Xiao, P. Si and P. Chen, LD-EnSF: Synergizing latent dynamics with ensemble score
    filters, 2024.
    """

    name: str
    model: Callable[[np.ndarray], Any]
    start: Callable[[np.ndarray], np.ndarray]
    low: tuple[float, ...]
    high: tuple[float, ...]
    rms: tuple[float, ...]
    runs: tuple[int, int, int]
    first: int
    every: int
    steps: int
    carried: str
    periodic: bool

    def __post_init__(self):
        for i, (a, b) in enumerate(zip(self.low, self.high, strict=True)):
            if not a < b:
                raise ValueError(f"low must lie below high, met {a} and {b} for parameter {i}")
        check_count("every", self.every)
        check_count("first", self.first, 0)
        if self.steps <= self.first or (self.steps - self.first) % self.every:
            raise ValueError(
                f"steps after the first {self.first} must be a multiple of every = {self.every}, "
                f"met steps = {self.steps}"
            )

    @property
    def p(self) -> int:
        """How many numbers the parameter is."""
        return len(self.low)

    @property
    def times(self) -> int:
        """How many states of a run are kept."""
        return (self.steps - self.first) // self.every + 1

    @property
    def seen(self) -> np.ndarray:
        """Which of the states kept are observed in a twin: all but the start of a run."""
        return np.flatnonzero(self.first + self.every * np.arange(self.times))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state, (components, rows, columns)."""
        return self.model(np.asarray(self.low)).shape

    def parameters(self) -> np.ndarray:
        """The parameters of all runs `(sum(runs), p)`: training, then validation, then test."""
        return self.uniform(generator(Purpose.CASE, *self.name.encode()), sum(self.runs))

    def uniform(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Parameters drawn from the box, `(count, p)`."""
        return rng.uniform(self.low, self.high, (count, self.p))

    def unit(self, u: Array) -> Array:
        """Parameters `(..., p)` in units where the box is (-1, 1): what networks take."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return _affine(u, 2 / (high - low), -(high + low) / (high - low))

    def natural(self, u: Array) -> Array:
        """Back from the units of `unit`."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return _affine(u, (high - low) / 2, (high + low) / 2)

    def split(self) -> Split:
        """Which runs are for training, validation and test."""
        from ..neural.data import Split

        cuts = np.cumsum(self.runs)[:-1]
        return Split(*np.split(np.arange(sum(self.runs)), cuts))

    def trajectories(
        self,
        u: np.ndarray | None = None,
        *,
        to: str | Path | None = None,
        device: str | None = None,
        dtype: str = "float32",
        progress: bool = False,
    ) -> Any:
        """The states kept of the runs with these parameters, computed and stored in one precision.

        Args:
            u: parameters `(b, p)`; those of `parameters` if None.
            to: a folder for the states, which may be larger than memory; called again after a
                kill, the runs go on where they were. None: in memory.
            device: of torch, such as "cuda"; None: NumPy.
            dtype: "float32" or "float64".
            progress: whether to show bars.

        Returns:
            `(b, times, *shape)`: an array of NumPy; with `to` a `numpy.memmap` of TO/states.npy,
            from which a training gathers points without reading whole states.
        """
        u = self.parameters() if u is None else np.asarray(u, float)
        model = self.model(u)
        x: Any = np.asarray(self.start(u), dtype)
        kept = {"dtype": dtype, "progress": progress, "checkpoint": CHECKPOINT}
        if to:
            Path(to).mkdir(parents=True, exist_ok=True)
        for name, count, every in (
            ("start", self.first, self.first),
            ("states", self.steps - self.first, self.every),
        ):
            if count:
                path = to and f"{to}/{name}.npy"
                x = simulate(model, on(device, x), count, every=every, to=path, **kept)
            if name == "start" and count:
                x = to_numpy(x[:, -1])
        return x if to else to_numpy(x)

    def squares(self, x: Array) -> Array:
        """Mean squares of states `(..., *shape)` in units of `rms`, `(...)`."""
        scale = np.asarray(self.rms, "float32")[:, None, None]
        return ((np.asarray(x) / scale) ** 2).mean((-3, -2, -1), dtype=float)

    def relative(self, estimate: Array, truth: Array, over: Any = None) -> Any:
        """The relative error, |estimate - truth| / |truth|, each component in units of its `rms`.

        Args:
            estimate: states `(..., T, *shape)`.
            truth: likewise.
            over: the axes of `(..., T)` over which squares are summed; None: all.

        Returns:
            A number, or one for each entry of the other axes.
        """
        wrong = self.squares(np.asarray(estimate) - np.asarray(truth))
        return (wrong.sum(over) / self.squares(truth).sum(over)) ** 0.5


def on(device: str | None, x: np.ndarray) -> Any:
    """`x` as a tensor on the device of torch, or as it is."""
    if device is None:
        return x
    import torch

    return torch.as_tensor(x, device=device)


def _affine(u: Any, scale: np.ndarray, shift: np.ndarray) -> Any:
    if not is_array(u):
        u = np.asarray(u, float)
    return u * convert(scale, u) + convert(shift, u)
