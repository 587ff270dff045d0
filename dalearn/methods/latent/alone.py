"""What an encoder of the data says without a filter, the simplest rival of latent filters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...array import array_namespace, no_grad, typed
from ...problem.belief import Point
from ..base import Cycle


@typed
@dataclass(frozen=True, eq=False)
class EncoderAlone:
    """The codes of the data as they come: no forecast, no spread. For LDEnSF(method=...).

    Args:
        rerun: take of each code only the parameter, and run the latent model with it from its
            start to the time of the data.
    """

    rerun: bool = False

    def run(self, problem: Any, rng: Any) -> Iterator[Cycle]:
        """One Cycle for each observation time; the forecast is the last analysis, carried on."""
        with no_grad(problem.like):
            z = array_namespace(problem.prior.mean).broadcast_to(
                problem.prior.mean, (*problem.batch, problem.n)
            )
        for k in range(len(problem)):
            with no_grad(problem.like):
                forecast = problem.forecast(z[..., None, :], k)[..., 0, :]
                observe, y = problem.at(k)
                seen, z = observe.noise.seen, y
                if self.rerun:
                    z = problem.dynamics.from_start(z, k)
                if seen is not None:  # a number of the code that is missing
                    z = array_namespace(z).where(seen, z, forecast)
            yield Cycle(Point.unchecked(forecast), Point.unchecked(z))
