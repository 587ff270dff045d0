"""Where the results of cases go: memory, or a zarr store that outlasts an interruption.

A store `sweep.zarr` holds a group for each case that is done, such as `case-000012`, and a group
`problem` with observations and truth. A group is written beside the store and moved into it
when it is whole. The store's attributes hold the request that it answers. Store and groups are
sealed: see `files.manifest`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..array import warn
from ..files.fingerprint import describe, differences, entries
from ..files.lock import one_writer
from ..files.manifest import HEAD, check_group, foreign, seal_group, sealed_head
from ..files.sealed import Damaged, text_seal
from ..files.whole import part_of, remove, whole
from ..problem.problem import Problem
from .jobs import Case

if TYPE_CHECKING:
    import xarray as xr


CHUNK = 2**28  # bytes of a chunk: codecs do not take 2^31

FORMAT = 2  # of the store: what another version writes is not gone on with


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

    def writing(self) -> nullcontext[None]:
        """Nobody else writes here."""
        return nullcontext()

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

    Each group is sealed, and checked once, when the store is opened: what is read after that, at
    once or when it is used, is what was written. Raises ValueError rather than write into a store
    that answers another request, or is none.
    """

    def __init__(
        self,
        path: Any,
        request: dict[str, str],
        shared: Mapping[str, tuple],
        cases: Sequence[Case],
    ):
        self.path, self.request, self.given = Path(path), request, shared
        self.groups = {"problem": {"problem": text_seal(request)}}
        self.groups |= {_group(c.index): _about(c, request) for c in cases}
        self.good: set[str] = set()  # groups that are there, as they were sealed
        self.damaged: dict[str, Damaged] = {}
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
        if self.path.exists():
            self._look()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only one to write in the block; damaged groups are removed, and named.

        A store that lacks nothing is only read, by as many as like.
        """
        if len(self.good) == len(self.groups):
            yield
            return
        with one_writer(self.path):
            if self.path.exists():
                self._look()  # somebody may have written until now
                self._clear()
            else:
                self._create()
            yield

    def _look(self) -> None:
        """Check the request, and the groups that are not known to be good."""
        self._check()
        self.damaged = {}
        for name, about in self.groups.items():
            if name in self.good or not os.path.lexists(self.path / name):
                continue
            try:
                check_group(self.path / name, about)
                self.good.add(name)
            except Damaged as error:
                self.damaged[name] = error

    def _check(self) -> None:
        try:
            head = json.loads((self.path / HEAD).read_bytes())
            known = dict(head["attributes"]["request"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.path} is not the file of a sweep, or its {HEAD} is damaged; wanted "
                "another path"
            ) from error
        if "seal" not in head["attributes"]:
            raise ValueError(
                f"{self.path} is of an earlier version of dalearn, which wrote no checksums, or "
                f"its {HEAD} is damaged; wanted another path"
            )
        try:
            sealed_head(self.path)
        except Damaged as error:
            raise Damaged(f"{self.path} is damaged: {error}; wanted another path") from error
        differ = differences(known, self.request)
        if differ:
            raise ValueError(
                f"{self.path} answers another request, which differs in {differ}. It was left as "
                "it is; wanted the same request, or another path"
            )

    def _clear(self) -> None:
        """Remove damaged groups, so that they are made again, and say so."""
        for name, error in self.damaged.items():
            group = self.path / name
            others = foreign(group) if group.is_dir() and not group.is_symlink() else [name]
            if others:
                raise ValueError(
                    f"{group} holds what is not dalearn's, {', '.join(others[:3])}; wanted it "
                    "elsewhere"
                ) from error
            remove(group)
        if self.damaged:
            few = "; ".join(f"{self._named(k)}: {e}" for k, e in islice(self.damaged.items(), 5))
            warn(
                f"{self.path} is damaged, and what is not as it was written is made again: {few}"
                + "; ..." * (len(self.damaged) > 5),
                RuntimeWarning,
            )
        if "problem" in self.damaged or not (self.path / "problem").exists():
            self._problem()

    def _named(self, name: str) -> str:
        about = self.groups[name]
        return f"{name} of {about['case']}" if "case" in about else name

    def _create(self) -> None:
        settings = {"mode": "w", "zarr_format": 3, "attributes": {"request": self.request}}
        with whole(self.path) as part:
            self.zarr.open_group(str(part), **settings)
            seal_group(part, {}, files=False)
            self._problem(part)

    def _problem(self, store: Path | None = None) -> None:
        """Write what all cases share."""
        import xarray as xr

        data = xr.Dataset({k: (*v,) for k, v in self.given.items()})
        with whole((store or self.path) / "problem", part_of(self.path)) as part:
            self._write(data, part, self.groups["problem"])
        self.good.add("problem")

    def _write(self, data: xr.Dataset, group: Path, about: dict[str, Any]) -> None:
        chunks = {name: {"chunks": _chunks(v)} for name, v in data.variables.items() if v.ndim}
        data.to_zarr(group, mode="w", zarr_format=3, consolidated=False, encoding=chunks)
        seal_group(group, about)

    def __contains__(self, index: int) -> bool:
        return _group(index) in self.good

    def put(self, case: Case, result: xr.Dataset) -> None:
        """As MemoryStore.put: whole, or not at all."""
        data, name = _bare(case, result), _group(case.index)
        # zarr has no settled form for text, and a clock would make two equal runs differ
        attrs = {**data.attrs, "stage": data["stage"].values.tolist(), "order": list(data)}
        data = data.assign(seconds=attrs.pop("seconds")).drop_vars("stage")
        with whole(self.path / name, part_of(self.path)) as part:
            self._write(with_attrs(data, attrs), part, self.groups[name])
        self.good.add(name)

    def get(self, case: Case) -> xr.Dataset:
        """As MemoryStore.get."""
        data = _opened(self.path / _group(case.index))
        attrs = {**data.attrs, "seconds": float(data["seconds"])}
        attrs["shape"] = tuple(attrs["shape"])
        stage = attrs.pop("stage")
        return with_attrs(data[attrs.pop("order")].assign_coords(stage=stage), attrs)

    def shared(self, variables: Mapping[str, tuple]) -> Mapping[str, Any]:
        """As MemoryStore.shared."""
        data = _opened(self.path / "problem")
        return {k: data[k].variable for k in variables}


def _group(index: int) -> str:
    return f"case-{index:06d}"


def _about(case: Case, request: dict[str, str]) -> dict[str, Any]:
    """What a case is, for its seal: one of this request, in its place."""
    return {"case": str(case), "index": case.index, "request": text_seal(request)}


def _chunks(v: xr.Variable) -> tuple[int, ...]:
    """The whole array where it fits in a chunk, else fewer seeds, then fewer times."""
    shape = list(v.shape)
    for axis in range(len(shape)):
        rest = v.dtype.itemsize * math.prod(shape[:axis] + shape[axis + 1 :])
        shape[axis] = max(1, min(shape[axis], CHUNK // rest))
    return tuple(shape)


def _opened(group: Path) -> xr.Dataset:
    """A group; where dask is there to do it, arrays over x and y are read when they are used.

    What is read at once is read here: workers of a cluster may be gone, or have no such file.
    """
    import xarray as xr

    lazy = find_spec("dask") is not None
    data = xr.open_zarr(group, consolidated=False, chunks=None).drop_encoding()
    large = {k for k, v in data.variables.items() if lazy and {"x", "y"} & set(v.dims)}
    large -= set(data.coords)
    data = data.assign({k: v.chunk() if k in large else v.load() for k, v in data.items()})
    return with_attrs(data, {k: v for k, v in data.attrs.items() if k not in ("seal", "sealed")})


def with_attrs(data: xr.Dataset, attrs: dict[str, Any]) -> xr.Dataset:
    data = data.copy(deep=False)
    data.attrs = attrs
    return data


def _bare(case: Case, result: xr.Dataset) -> xr.Dataset:
    """A result without what all cases share, its cases numbered by their seeds."""
    data = result.drop_vars(["observation", "truth"], errors="ignore")
    return data.rename(case="seed").assign_coords(seed=case.seeds)
