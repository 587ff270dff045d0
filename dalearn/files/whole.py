"""Files that appear whole, or not at all: whoever is killed while writing leaves the old one."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def part_of(path: Path) -> Path:
    """A place for what belongs at `path` until it is whole: a name that nothing else has."""
    return path.with_name(f"{path.name}.{secrets.token_hex(6)}.part")


def remove_parts(path: Path) -> None:
    """Remove what writers that were killed have left of `path`.

    Only by somebody who holds its lock: the parts of a living writer look the same.
    """
    ours = re.compile(re.escape(path.name) + r"\.[0-9a-f]{12}\.part")
    for found in path.parent.iterdir() if path.parent.is_dir() else ():
        if ours.fullmatch(found.name):
            remove(found)


@contextmanager
def named(path: str | os.PathLike) -> Iterator[None]:
    """Errors of the system in the block, such as that of a full disk, name the file.

    Args:
        path: what is written or read.

    Returns:
        Iterator[None]: for `with`.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextmanager
def whole(path: str | os.PathLike, part: Path | None = None) -> Iterator[Path]:
    """Write a file or a folder that appears at `path` whole, or not at all.

        with whole("result.json") as part:
            part.write_text(text)

    The block writes to `part`, a name beside the target. At its end a file is brought to the
    disk, and what was written takes its place at `path`: a file replaces the one that is there, a
    folder wants the place free. After an error in the block the part is removed and the target is
    as it was.

    Args:
        path: where the file or the folder belongs; its parent must be there.
        part: another place to write, on the same file system.

    Returns:
        Iterator[Path]: the place to write to, for `with`.
    """
    path = Path(path)
    part = part_of(path) if part is None else part
    try:
        with named(path):
            yield part
            if part.is_file():  # if renamed before it is on the disk, a crash may empty it
                with open(part, "r+b") as f:
                    os.fsync(f.fileno())
            os.replace(part, path)
    except BaseException:
        remove(part)
        raise


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
