"""The contract of a method, and the checks that go with it; nothing else.

A method is a frozen dataclass of settings. `run(problem, rng)` yields one Cycle per observation
time; its algebra is a pure function beside the class, for readers who write their own loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..array import Array, array_namespace, eye, to_numpy
from ..belief import Belief
from ..gaussian import Covariance
from ..problem import Problem

Info = dict[str, Any]


class Cycle(NamedTuple):
    """One cycle: the belief before (`forecast`) and after (`analysis`) seeing the data.

    `info` carries scalars per experiment `(...)`, and beliefs under "start" (a window's beginning)
    or "smoothed".
    """

    forecast: Belief
    analysis: Belief
    info: Info = {}  # noqa: RUF012  (never written to)


class Method(Protocol):
    """Anything with `run(problem, rng) -> Iterator[Cycle]`, one Cycle per observation time.

    `problem` has been validated; `rng` is Streams (or TorchStreams) over the problem's batch.
    """

    def run(self, problem: Problem, rng: Any) -> Iterator[Cycle]:
        """The cycles of this method on this problem, lazily: the loop is yours to step."""
        ...


def solve(A: Array, B: Array) -> Array:
    """A^-1 B for an A that is at least the identity, even where round-off has made it singular.

    That happens where errors are 1e8 times smaller than the spread (1e4 in float32); such an A,
    and no other of the batch, gets a little more on its diagonal, of the size of the round-off.
    """
    xp = array_namespace(A, B)
    try:
        return xp.linalg.solve(A, B)
    except (np.linalg.LinAlgError, RuntimeError):  # torch's is a RuntimeError
        noise = float(xp.finfo(A.dtype).eps) * xp.max(xp.abs(A), axis=(-2, -1), keepdims=True)
        more = xp.where(noise > 1e-3, 8 * A.shape[-1] * noise, xp.zeros_like(noise))
        return xp.linalg.solve(A + more * eye(A.shape[-1], A), B)


def check_ensemble(members: int, inflation: Any) -> None:
    """Raise ValueError unless there are two members or more and inflation is positive."""
    if not isinstance(members, (int, np.integer)) or members < 2:
        raise ValueError(f"members must be an integer >= 2, met {members!r}")
    try:
        values = np.asarray(to_numpy(inflation), dtype=float)
    except (TypeError, ValueError):
        values = np.asarray(np.nan)
    if not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(f"inflation must be positive (1 is none), met {inflation!r}")


def check_update(E: Array, Y: Array, y: Array, R: Covariance) -> None:
    """Raise ValueError unless members, observed numbers and devices agree in all four."""
    m = R.n
    if E.ndim < 2 or E.shape[-2] < 2 or Y.shape[-2:] != (E.shape[-2], m) or y.shape[-1:] != (m,):
        raise ValueError(
            f"met E {tuple(E.shape)}, Y {tuple(Y.shape)}, y {tuple(y.shape)}, R of dimension "
            f"{m}; wanted E (..., N, n), Y (..., N, m), y (..., m), R of m, and N >= 2"
        )
    if not E.device == Y.device == y.device:
        raise ValueError(
            f"mixed devices, met E on {E.device}, Y on {Y.device}, y on {y.device}; wanted one"
        )
