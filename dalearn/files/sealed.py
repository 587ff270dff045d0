"""Files that know when they are damaged: a last line holds the SHA-256 of all before it.

    payload, newline, "dalearn sha256 ", 64 hexadecimal digits, newline

`seal` puts it there before a file is moved into its place, `unsealed` asks for it when the file is
read. NumPy and torch read such a file as if the line were not there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

WORDS = b"\ndalearn sha256 "

LENGTH = len(WORDS) + 64 + 1  # of the last line

ERRORS = (OSError, ValueError)  # what the user meets: with the file's name, in words


class Damaged(ValueError):
    """A file, or a piece of one, that is not as it was written."""


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def seal(path: Path) -> None:
    """Give a file its last line."""
    line = WORDS + sha256(path).encode() + b"\n"
    with open(path, "ab") as f:
        f.write(line)


def check_seal(f: BinaryIO, path: Path, advice: str) -> None:
    """Raise Damaged unless a file, open for reading, is as it was sealed; go to its start."""
    size = f.seek(0, 2)
    f.seek(max(0, size - LENGTH))
    line = f.read()
    f.seek(0)
    if not line.startswith(WORDS):
        raise Damaged(
            f"{path} has no checksum at its end: it is damaged (cut short), of an earlier "
            f"version of dalearn, which wrote none, or no file of dalearn's; {advice}"
        )
    h, left = hashlib.sha256(), size - LENGTH
    while left:
        piece = f.read(min(left, 2**20))
        h.update(piece)
        left -= len(piece)
    if line != WORDS + h.hexdigest().encode() + b"\n":
        raise Damaged(f"{path} is damaged: its bytes do not have its checksum; {advice}")
    f.seek(0)


def check_names(values: Any, names: Iterable[str]) -> None:
    """Raise ValueError unless a mapping from a file has just these entries, as this version's.

    Args:
        values: what was read.
        names: the entries that this version writes.

    Raises:
        ValueError: naming those it lacks, and those that are unknown.
    """
    met, wanted = set(values) if isinstance(values, Mapping) else set(), set(names)
    if met != wanted:
        raise ValueError(
            f"another version of dalearn wrote it: it lacks {sorted(wanted - met)[:3]} and has "
            f"{sorted(met - wanted)[:3]} beside"
        )


def text_seal(values: Mapping[str, Any]) -> str:
    """The SHA-256 of plain values, whatever the order of their names."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
