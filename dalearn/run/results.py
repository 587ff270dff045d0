"""Where the results of cases go: memory, or a zarr store that outlasts an interruption.

A store `sweep.zarr` holds a group for each case that is done, such as `case-000012`, and a group
`problem` with observations and truth. A group is written beside the store and moved into it
when it is whole. The store's attributes hold the request that it answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files.fingerprint import describe, differences, entries
from ..files.whole import part_of, remove, whole
from ..problem.problem import Problem
from .jobs import Case

if TYPE_CHECKING:
    import xarray as xr


CHUNK = 2**28  # bytes of a chunk: codecs do not take 2^31

FORMAT = 1  # of the store: what another version writes is not gone on with


def request_of(problem: Problem, cases: Sequence[Case], keep: Sequence[str]) -> dict[str, str]:
    """What decides the results, in words."""
    methods = {str(c.label): describe(c.method) for c in cases}
    return {
        "format": str(FORMAT),
        **entries("problem", problem),
        "methods": str(list(methods)),
        **{f"method {name}": text for name, text in methods.items()},
        "seeds": str([c.seeds for c in cases if c.label == cases[0].label]),
        "keep": str(sorted({"moments", *keep})),
    }


class MemoryStore:
    """Results in memory."""

    def __init__(self):
        self.results: dict[int, xr.Dataset] = {}

    def __contains__(self, index: int) -> bool:
        return index in self.results

    def put(self, case: Case, result: xr.Dataset) -> None:
        """Keep the result of a case."""
        self.results[case.index] = _bare(case, result)

    def get(self, case: Case) -> xr.Dataset:
        """The result of a case, with the dimension `seed`, without what all cases share."""
        return self.results[case.index]

    def shared(self, variables: Mapping[str, tuple]) -> Mapping[str, Any]:
        """Observations and truth."""
        return variables


class ZarrStore:
    """Results in the groups of a zarr store; what is there of an earlier call stays.

    Raises ValueError rather than write into a store that answers another request, or is none.
    """

    def __init__(self, path: Any, request: dict[str, str], shared: Mapping[str, tuple]):
        self.path = Path(path)
        self.part = part_of(self.path)
        try:
            import zarr
        except ImportError as error:
            raise ImportError(
                f"{path} needs the package zarr: pip install dalearn[scale]"
            ) from error
        self.zarr = zarr
        if self.path.suffix != ".zarr":
            raise ValueError(f"wanted to= a path that ends in .zarr, met {str(path)!r}")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"there is no folder {self.path.parent} for {self.path.name}; make it first"
            )
        remove(self.part)  # of a call that was killed
        if self.path.exists():
            self._check(request)
        else:
            self._create(request, shared)

    def _check(self, request: dict[str, str]) -> None:
        try:
            known = self.zarr.open_group(str(self.path), mode="r").attrs["request"]
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"{self.path} is not the file of a sweep; wanted another path"
            ) from error
        differ = differences(dict(known), request)  # pyright: ignore
        if differ:
            raise ValueError(
                f"{self.path} answers another request, which differs in {differ}. It was left as "
                "it is; wanted the same request, or another path"
            )

    def _create(self, request: dict[str, str], shared: Mapping[str, tuple]) -> None:
        import xarray as xr

        settings = {"mode": "w", "zarr_format": 3, "attributes": {"request": request}}
        with whole(self.path) as part:
            self.zarr.open_group(str(part), **settings)
            self._write(xr.Dataset({k: (*v,) for k, v in shared.items()}), part / "problem")

    def _write(self, data: xr.Dataset, group: Path) -> None:
        chunks = {name: {"chunks": _chunks(v)} for name, v in data.variables.items() if v.ndim}
        data.to_zarr(group, mode="w", zarr_format=3, consolidated=False, encoding=chunks)

    def _group(self, case: Case) -> Path:
        return self.path / f"case-{case.index:06d}"

    def __contains__(self, index: int) -> bool:
        return (self.path / f"case-{index:06d}").is_dir()

    def put(self, case: Case, result: xr.Dataset) -> None:
        """As MemoryStore.put: whole, or not at all."""
        data = _bare(case, result)
        # zarr has no settled form for text, and a clock would make two equal runs differ
        attrs = {**data.attrs, "stage": data["stage"].values.tolist(), "order": list(data)}
        data = data.assign(seconds=attrs.pop("seconds")).drop_vars("stage")
        with whole(self._group(case), self.part) as part:
            self._write(with_attrs(data, attrs), part)

    def get(self, case: Case) -> xr.Dataset:
        """As MemoryStore.get."""
        data = _opened(self._group(case))
        attrs = {**data.attrs, "seconds": float(data["seconds"])}
        attrs["shape"] = tuple(attrs["shape"])
        stage = attrs.pop("stage")
        return with_attrs(data[attrs.pop("order")].assign_coords(stage=stage), attrs)

    def shared(self, variables: Mapping[str, tuple]) -> Mapping[str, Any]:
        """As MemoryStore.shared."""
        data = _opened(self.path / "problem")
        return {k: data[k].variable for k in variables}


def _chunks(v: xr.Variable) -> tuple[int, ...]:
    """The whole array where it fits in a chunk, else fewer seeds, then fewer times."""
    shape = list(v.shape)
    for axis in range(len(shape)):
        rest = v.dtype.itemsize * math.prod(shape[:axis] + shape[axis + 1 :])
        shape[axis] = max(1, min(shape[axis], CHUNK // rest))
    return tuple(shape)


def _opened(group: Path) -> xr.Dataset:
    """A group; where dask is there to do it, arrays over x and y are read when they are used."""
    import xarray as xr

    lazy = find_spec("dask") is not None
    data = xr.open_zarr(group, consolidated=False, chunks=-1 if lazy else None).drop_encoding()
    small = [k for k, v in data.variables.items() if not lazy or not {"x", "y"} & set(v.dims)]
    return data.assign({k: data[k].load() for k in small})


def with_attrs(data: xr.Dataset, attrs: dict[str, Any]) -> xr.Dataset:
    data = data.copy(deep=False)
    data.attrs = attrs
    return data


def _bare(case: Case, result: xr.Dataset) -> xr.Dataset:
    """A result without what all cases share, its cases numbered by their seeds."""
    data = result.drop_vars(["observation", "truth"], errors="ignore")
    return data.rename(case="seed").assign_coords(seed=case.seeds)
