"""Folders of zarr that know when they are damaged.

The attributes of a sealed group hold `sealed`, what the group is and the SHA-256 of each file in
it, and `seal`, the SHA-256 of these and of all else that its zarr.json says. So a byte that has
changed, a file that is cut short, missing, added or moved, and a group in another's place, are
seen before anything is read.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .sealed import Damaged, sha256, text_seal

HEAD = "zarr.json"

_ZARR = re.compile(r"(.+/)?(zarr\.json|c(/\d+)*)")


def foreign(folder: Path) -> list[str]:
    """The files in a folder that are no pieces of zarr (version 3): somebody else's."""
    found = ((p, p.relative_to(folder).as_posix()) for p in sorted(folder.rglob("*")))
    return [name for p, name in found if p.is_symlink() or (p.is_file() and not _own(name))]


def _own(name: str) -> bool:
    return _ZARR.fullmatch(name) is not None


def seal_group(group: Path, about: dict[str, Any], files: bool = True) -> None:
    """Seal a group that has been written.

    Args:
        group: its folder.
        about: what it is, as plain values; `check_group` asks for the same.
        files: whether the seal is over all files below, or over zarr.json alone.
    """
    head = json.loads((group / HEAD).read_bytes())
    head["attributes"]["sealed"] = {"about": about, "files": _pieces(group) if files else {}}
    head["attributes"]["seal"] = text_seal(head)
    (group / HEAD).write_text(json.dumps(head), "utf8")


def check_group(group: Path, about: dict[str, Any], files: bool = True) -> None:
    """Raise Damaged, which says what has changed, unless a group is as it was sealed."""
    head = sealed_head(group)
    sealed = head["attributes"]["sealed"]
    if sealed["about"] != about:
        raise Damaged(f"it is that of {sealed['about']}, moved here")
    if not files:
        return
    try:
        known, met = sealed["files"], _pieces(group)
    except OSError as error:
        raise Damaged(f"it cannot be read ({error})") from error
    words = [("is missing", set(known) - set(met)), ("is none of its own", set(met) - set(known))]
    words.append(("is damaged", {k for k in set(known) & set(met) if known[k] != met[k]}))
    found = [f"{name} {word}" for word, names in words for name in sorted(names)]
    if found:
        raise Damaged("; ".join(found[:3]) + "; ..." * (len(found) > 3))


def sealed_head(group: Path) -> dict[str, Any]:
    """What a sealed group's zarr.json says; Damaged where it is not as it was sealed."""
    try:
        head = json.loads((group / HEAD).read_bytes())
        attributes = head["attributes"]
        seal = attributes.pop("seal")
        if seal == text_seal(head):
            return head
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{HEAD} cannot be read ({type(error).__name__}: {error})") from error
    raise Damaged(f"{HEAD} is damaged")


def _pieces(group: Path) -> dict[str, str]:
    files = (p for p in sorted(group.rglob("*")) if not p.is_dir() and p != group / HEAD)
    return {p.relative_to(group).as_posix(): sha256(p) for p in files}
