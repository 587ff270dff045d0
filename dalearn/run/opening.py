"""The opening of a file of trajectories: whose it is, how far it is, and whether it is whole."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

from ..files.lock import one_writer
from ..files.manifest import HEAD, foreign
from .checksums import check
from .sidecar import Progress, Sidecar
from .trajectories import Buffered, Layout, target_of


@contextmanager
def open_run(
    path: Path, layout: Layout, request: dict[str, str], rows: int | None, default: int, new: bool
) -> Iterator[tuple[Buffered, Progress, Sidecar]]:
    """The file at `path` for `request`, how far it is, and its sidecar, for one writer.

    `rows`, the trajectories of a block: those the file began with, or `default`, if None; `new`:
    start again, over whatever is there. What is there is compared with its checksums; a file that
    is complete may be opened by many. Raises ValueError rather than write over another file.
    """
    if path.suffix not in (".npy", ".zarr"):
        raise ValueError(f"wanted to= a path that ends in .npy or .zarr, met {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path.name}; make it first")
    side = Sidecar(path, request)
    at = None if new else side.load()
    complete = at is not None and at.done and path.exists()
    with nullcontext() if complete else one_writer(path):
        at = at if complete or new else side.load()  # somebody may have written until now
        target, at = _opened(path, layout, side, at, rows, default, new)
        yield target, at, side


def _opened(
    path: Path,
    layout: Layout,
    side: Sidecar,
    at: Progress | None,
    rows: int | None,
    default: int,
    new: bool,
) -> tuple[Buffered, Progress]:
    if at is None and path.exists() and not new:
        raise ValueError(
            f"{path} exists, without the sidecar {side.path.name} that would tell what it is; "
            "wanted another path, or overwrite=True"
        )
    if at is None or not path.exists():
        at = Progress(rows=rows or default)
    if rows not in (None, at.rows) and not at.done:
        raise ValueError(
            f"{path} was begun with rows={at.rows}, met rows={rows}; wanted the same, or None"
        )
    at.every = int(side.request["every"])
    target = target_of(path, layout, at)
    if at.fresh:
        check_place(path, side.path.exists())
        side.save(at)
        target.file.create()
    elif not target.file.matches():
        raise ValueError(
            f"{path} is not the file that {side.path.name} tells of: another size, shape or dtype "
            f"than {layout.dtype} {layout.shape}, or damaged; wanted another path, or "
            "overwrite=True"
        )
    else:
        check(target.file, layout, at, math.prod(layout.lead))
    target.restore(at.pending)
    return target, at


def check_place(path: Path, known: bool) -> None:
    """Refuse to make a file where there is one that `simulate` cannot have made.

    Args:
        path: where the file belongs.
        known: whether a sidecar stands beside it.
    """
    if not path.exists():
        return
    if path.suffix == ".zarr":
        others = foreign(path) if path.is_dir() else [path.name]
        ours = known or _is_array(path)
        what = f"it holds {', '.join(others[:3])}" if others else "it is no zarr array"
    else:
        with nullcontext() if path.is_dir() else open(path, "rb") as f:
            start = b"" if f is None else f.read(6)
        others, what = [path.name] * path.is_dir(), "it is no .npy file"
        ours = known or start == np.lib.format.MAGIC_PREFIX
    if others or not ours:
        raise ValueError(f"{path} is somebody else's: {what}; it was left as it is. Move it away")


def _is_array(path: Path) -> bool:
    try:
        return json.loads((path / HEAD).read_bytes())["node_type"] == "array"
    except (OSError, ValueError, KeyError, TypeError):
        return False
