"""Where the states of `simulate` go: memory, or a file that is written piece by piece."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..array import Array, array_namespace, device, to_numpy
from ..files.whole import named
from .checksums import add
from .sidecar import Progress

BUFFER = 2**24  # bytes gathered before they are written: long runs on the disk, little memory

CHUNK = 2**20  # bytes of a zarr chunk, where one state has less


@dataclass(frozen=True)
class Layout:
    """The array of all saved states: `(*lead, times, *core)` of `dtype`."""

    lead: tuple[int, ...]
    times: int
    core: tuple[int, ...]
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.lead, self.times, *self.core)

    @property
    def bytes(self) -> int:
        """The size of one state."""
        return max(1, math.prod(self.core)) * self.dtype.itemsize


class MemoryTarget:
    """All states in one array, in the library and on the device of `like`."""

    def __init__(self, layout: Layout, like: Array):
        xp = array_namespace(like)
        shape = (math.prod(layout.lead), layout.times, *layout.core)
        dtype = getattr(xp, layout.dtype.name)
        self.layout, self.values = layout, xp.empty(shape, dtype=dtype, device=device(like))

    def put(self, start: int, t: int, values: Array) -> None:
        """The states `values (b, *core)` of the trajectories from `start`, at saved time t."""
        self.values[start : start + len(values), t] = values

    def result(self) -> Array:
        return array_namespace(self.values).reshape(self.values, self.layout.shape)


class Buffered:
    """A file, and the states gathered for it: `length` saved times of a block at most."""

    def __init__(self, file: NpyFile | ZarrFile, layout: Layout, at: Progress):
        self.file, self.layout, self.length, self.sums = file, layout, at.length, at.sums
        self.values, self.held = np.empty((0, 0)), 0

    def put(self, start: int, t: int, values: Array) -> None:
        """As MemoryTarget.put."""
        values, at = to_numpy(values), t % self.length
        if self.length == 1:
            self._write(start, t, values[:, None])
            return
        self._room(len(values))
        self.values[:, at] = values
        self.held = at + 1
        if self.held == self.length or t + 1 == self.layout.times:
            self._write(start, t - at, self.values[:, : self.held])
            self.held = 0

    def _write(self, start: int, t: int, values: np.ndarray) -> None:
        values = self.file.plain(values)
        with named(self.file.path):
            self.file.write(start, t, values)
        add(self.sums, self.layout, start, t, values)

    def _room(self, rows: int) -> None:
        shape = (rows, self.length, *self.layout.core)
        if self.values.shape != shape:
            self.values = np.empty(shape, self.layout.dtype)

    @property
    def pending(self) -> np.ndarray | None:
        """What has been put and is not in the file, `(b, times, *core)`."""
        return self.values[:, : self.held] if self.held else None

    def restore(self, pending: np.ndarray | None) -> None:
        """Take back what an interrupted run held."""
        self.held = 0 if pending is None else pending.shape[1]
        if pending is not None:
            self._room(len(pending))
            self.values[:, : self.held] = pending

    def result(self) -> Any:
        return self.file.result()


class NpyFile:
    """An .npy file, written at offsets: pages of a map would count as memory until written."""

    def __init__(self, path: Path, layout: Layout):
        self.path, self.layout = path, layout
        head = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(layout.dtype)
        about = {"descr": descr, "fortran_order": False, "shape": layout.shape}
        np.lib.format.write_array_header_1_0(head, about)
        self.header = head.getvalue()
        self.state = math.prod(layout.core) * layout.dtype.itemsize
        self.size = len(self.header) + math.prod(layout.lead) * layout.times * self.state

    def matches(self) -> bool:
        """Whether the file has the layout."""
        if not self.path.is_file() or self.path.stat().st_size != self.size:
            return False
        with open(self.path, "rb") as f:
            return f.read(len(self.header)) == self.header

    def create(self) -> None:
        """An empty file of full size (a hole, where the file system knows them)."""
        self.path.unlink(missing_ok=True)  # not emptied: a map of the old one may be in use
        with named(self.path), open(self.path, "wb") as f:
            f.write(self.header)
            f.truncate(self.size)

    def plain(self, values: np.ndarray) -> np.ndarray:
        """The states as they will be read again: these."""
        return values

    def read(self, start: int, stop: int, t: int, until: int) -> np.ndarray:
        """The states `(b, k, *core)` of trajectories from `start`, at saved times from t."""
        shape, whole = (until - t, *self.layout.core), until - t == self.layout.times
        values = np.empty((stop - start, *shape), self.layout.dtype)
        with open(self.path, "rb") as f:
            for i, run in enumerate([values] if whole else values):
                state = (start + i) * self.layout.times + t
                f.seek(len(self.header) + state * self.state)
                if run.size and f.readinto(run.data.cast("B")) != run.nbytes:
                    raise OSError("it is too short")
        return values

    def write(self, start: int, t: int, values: np.ndarray) -> None:
        """The states `values (b, k, *core)` of trajectories from `start`, at times from t."""
        whole = values.shape[1] == self.layout.times
        with open(self.path, "r+b") as f:
            for i, run in enumerate([values] if whole else values):
                state = (start + i) * self.layout.times + t
                f.seek(len(self.header) + state * self.state)
                f.write(np.ascontiguousarray(run).data)

    def sync(self) -> None:
        """Wait until what was written is on the disk: the sidecar must not know more than it."""
        with open(self.path, "r+b") as f:
            os.fsync(f.fileno())

    def result(self) -> np.memmap:
        return np.load(self.path, mmap_mode="r")


class ZarrFile:
    """A zarr (v3) array, one or a few saved states of one trajectory in a chunk."""

    def __init__(self, path: Path, layout: Layout, times: int):
        try:
            import zarr
        except ImportError as error:
            raise ImportError(
                f"{path} needs the package zarr: pip install dalearn[scale], or write an .npy file"
            ) from error
        self.zarr, self.path, self.layout = zarr, path, layout
        self.chunks = (*(1 for _ in layout.lead), times, *layout.core)

    def matches(self) -> bool:
        """As NpyFile.matches."""
        try:
            z = self.result()
        except Exception:  # zarr has many words for a damaged zarr.json
            return False
        return tuple(z.shape) == self.layout.shape and z.dtype == self.layout.dtype

    def plain(self, values: np.ndarray) -> np.ndarray:
        """As NpyFile.plain: a chunk of nothing but NaN is not stored, so all NaN are the same."""
        bad = np.isnan(values)
        return np.where(bad, values.dtype.type(math.nan), values) if bad.any() else values

    def read(self, start: int, stop: int, t: int, until: int) -> np.ndarray:
        """As NpyFile.read."""
        z, lead, when = self.result(), self.layout.lead, slice(t, until)
        if len(lead) == 1:
            return z[start:stop, when]
        where = (np.unravel_index(i, lead) if lead else () for i in range(start, stop))
        return np.stack([z[(*i, when)] for i in where])

    def create(self) -> None:
        """An array of NaN, over whatever zarr array is there."""
        self.zarr.create_array(
            store=str(self.path),
            shape=self.layout.shape,
            chunks=self.chunks,
            dtype=self.layout.dtype.name,
            fill_value=math.nan,
            zarr_format=3,
            overwrite=True,
        )

    def write(self, start: int, t: int, values: np.ndarray) -> None:
        """As NpyFile.write."""
        z = self.zarr.open_array(str(self.path), mode="r+")
        lead, when = self.layout.lead, slice(t, t + values.shape[1])
        if len(lead) == 1:
            z[start : start + len(values), when] = values
            return
        for i, run in enumerate(values, start):
            z[(*np.unravel_index(i, lead), when) if lead else when] = run

    def sync(self) -> None:
        """Nothing: chunks are replaced whole, so a killed run leaves none half written."""

    def result(self) -> Any:
        return self.zarr.open_array(str(self.path), mode="r")


def target_of(path: Path, layout: Layout, at: Progress) -> Buffered:
    """The file at `path`, and what is gathered for it, in the pieces that a run began with."""
    length = at.length or min(layout.times, max(1, BUFFER // (at.rows * layout.bytes)))
    chunk = min(length, max(1, CHUNK // layout.bytes))
    at.length = length if path.suffix == ".npy" else length // chunk * chunk
    file = NpyFile(path, layout) if path.suffix == ".npy" else ZarrFile(path, layout, chunk)
    return Buffered(file, layout, at)
