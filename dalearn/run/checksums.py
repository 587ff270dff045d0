"""Checksums of a file of trajectories, made as it is written and compared when it is opened.

States are written in pieces, in a settled order: block after block of trajectories, in each some
saved times after the others. Checksums are chained,

    s <- SHA-256(s, bytes of the piece),

and a new chain is begun with a block when the last one has more than GROUP bytes. So a few
numbers in the sidecar hold for any file, a killed run goes on with them, and what is damaged is
known to a few blocks.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ..files.sealed import Damaged

if TYPE_CHECKING:
    from .sidecar import Progress
    from .trajectories import Layout, NpyFile, ZarrFile

GROUP = 2**26  # bytes of a chain, at least, unless the file ends


def add(sums: list[list], layout: Layout, start: int, t: int, values: np.ndarray) -> None:
    """Take a piece, the states `(b, k, *core)` of the trajectories from `start` at times from t.

    Args:
        sums: the chains, each its first trajectory and its checksum; changed in place.
        layout: of the whole file.
        start: the first trajectory of the block.
        t: the first saved time of the piece.
        values: the states as they will be read again.
    """
    behind = (start - sums[-1][0]) * layout.times * layout.bytes if sums else GROUP
    if t == 0 and behind >= GROUP:
        sums.append([start, ""])
    sums[-1][1] = _chained(sums[-1][1], values)


def _chained(before: str, values: np.ndarray) -> str:
    h = hashlib.sha256(before.encode())
    h.update(np.ascontiguousarray(values).data.cast("B") if values.size else b"")
    return h.hexdigest()


def check(file: NpyFile | ZarrFile, layout: Layout, at: Progress, count: int) -> None:
    """Compare what a file holds with the checksums of a progress.

    Args:
        file: the file.
        layout: its layout.
        at: how far it is.
        count: how many trajectories there are in all.

    Raises:
        Damaged: they differ; the message names the file and the trajectories.
    """
    begun = at.start if at.state is None else min(at.start + at.rows, count)
    held = 0 if at.pending is None else at.pending.shape[1]
    ends = [*(start for start, _ in at.sums[1:]), begun][: len(at.sums)]
    for (start, wanted), end in zip(at.sums, ends, strict=True):
        met = ""
        for first in range(start, end, at.rows):
            last = min(first + at.rows, end)
            times = layout.times if first < at.start else at.step // at.every + 1 - held
            for t in range(0, times, at.length):
                try:
                    values = file.read(first, last, t, min(t + at.length, times))
                except Exception as error:  # zarr's own, and those of its codecs
                    raise _damaged(file, start, end, f"cannot be read: {error}") from error
                met = _chained(met, values)
        if met != wanted:
            raise _damaged(file, start, end, "do not have their checksum")


def _damaged(file: NpyFile | ZarrFile, start: int, end: int, words: str) -> Damaged:
    return Damaged(
        f"{file.path} is damaged: trajectories {start} to {end - 1} {words}; wanted the file "
        "whole, or overwrite=True, which makes it again"
    )
