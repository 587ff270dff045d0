"""A set-up of a paper: the problem that it poses, and the scores that methods reach on it.

A score is the time mean of the root-mean-square error of the analysis,

    (1 / K) sum_k |mean_k - truth_k| / sqrt(n) ,

over the cycles after the first `skip`. A paper gives it for one long run; here many seeds are run
as a batch, and their median is compared with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..diagnostics.scores import rmse
from ..methods.base import Method
from ..problem.problem import Problem

if TYPE_CHECKING:
    import xarray as xr


def analysis_rmse(result: xr.Dataset, skip: int) -> xr.DataArray:
    """The time mean of the RMSE of the analysis.

    Args:
        result: what `assimilate` returned for a problem with a truth.
        skip: how many cycles at the beginning are not scored.

    Returns:
        One number an experiment, `(case...,)`.
    """
    error = rmse(result).sel(stage="analysis")
    return error.isel(time=slice(skip, None)).mean("time", skipna=False)


@dataclass(frozen=True)
class Score:
    """A method with its settings, and the score that is documented for it.

    Args:
        name: the method in words.
        method: the method itself.
        documented: the score, as it was printed.
        note: where the score comes from, or what is known about it.
    """

    name: str
    method: Method
    documented: float
    note: str = ""


@dataclass(frozen=True, repr=False)
class Case:
    """A set-up of a paper, and the scores documented for it.

        problem = sakov2008.problem(cycles=1000, batch=20)
        result = assimilate(problem, sakov2008["ETKF N=28 x1.02 haar"].method)
        sakov2008.score(result).median()

    Args:
        name: the name to import it by, author and year.
        what: the set-up in a sentence.
        source: the paper, and where its scores are listed.
        make: `make(cycles, batch=, seed=, **settings) -> Problem`.
        cycles: number of observation times that scores are documented for.
        skip: how many of them, at the beginning, are not scored.
        scores: what is documented, a method each.
        measure: `measure(result, skip) -> (case...,)`, the number that is documented.
        unit: what that number is, in words.
    """

    name: str
    what: str
    source: str
    make: Callable[..., Problem]
    cycles: int
    skip: int
    scores: tuple[Score, ...]
    measure: Callable[[xr.Dataset, int], xr.DataArray] = analysis_rmse
    unit: str = "RMSE of the analysis"

    def problem(
        self,
        cycles: int | None = None,
        batch: int | tuple[int, ...] = (),
        seed: int = 0,
        **settings: Any,
    ) -> Problem:
        """The problem that the paper poses, with a truth.

        Args:
            cycles: number of observation times, None: as many as are documented.
            batch: axes of independent experiments, as in `twin`.
            seed: experiment b is the one that `seed + b` makes alone.
            settings: passed to `make`, where the set-up is to differ from the paper's.

        Returns:
            A Problem; the same arguments give the same bits.

        Raises:
            TypeError: `make` does not know a setting.
        """
        return self.make(cycles or self.cycles, batch=batch, seed=seed, **settings)

    def score(self, result: xr.Dataset) -> xr.DataArray:
        """The number that the table documents.

        Args:
            result: what `assimilate` returned for `self.problem(...)`.

        Returns:
            One number an experiment, `(case...,)`.
        """
        return self.measure(result, self.skip)

    @property
    def methods(self) -> dict[str, Method]:
        """All methods by name, as `compare` takes them."""
        return {s.name: s.method for s in self.scores}

    def __getitem__(self, name: str) -> Score:
        for s in self.scores:
            if s.name == name:
                return s
        raise KeyError(f"{self.name} documents {list(self.methods)}, met {name!r}")

    def __repr__(self) -> str:
        wide = max(len(s.name) for s in self.scores)
        rows = [f"{'method':{wide}}  documented", f"{'-' * wide}  ----------"]
        rows += [f"{s.name:{wide}}  {s.documented:<10}  {s.note}".rstrip() for s in self.scores]
        head = (
            f"{self.name}: {self.what}",
            f"{self.unit}; {self.cycles} cycles, the first {self.skip} not scored",
            self.source,
        )
        return "\n".join((*head, "", *rows))
