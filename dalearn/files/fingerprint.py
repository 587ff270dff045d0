"""What was asked for, in words that are the same in another process, so that a file knows it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ..array import is_module, is_tensor, warn
from .walk import Walk

LARGE = 2**26  # bytes of an array of which a copy is no matter


def digest(pieces: Iterable[Any], length: int | None = 16) -> str:
    """A fingerprint of text and arrays, one after another: SHA-256 of their bytes.

    Args:
        pieces: texts, and arrays of any library and number type.
        length: how many hexadecimal digits; None for all 64.

    Returns:
        The digits.
    """
    h = hashlib.sha256()
    for p in pieces:
        for part in _parts(p):
            h.update(part.encode() if isinstance(part, str) else _bytes(part))
    return h.hexdigest()[:length]


def _parts(x: Any) -> Iterable[Any]:
    """`x`, or a large array piece by piece: its bytes may need a copy, and it may be in a file."""
    if isinstance(x, str) or np.ndim(x) == 0 or x.nbytes <= LARGE:
        return (x,)
    count = max(1, LARGE * len(x) // x.nbytes)
    return (x[i : i + count] for i in range(0, len(x), count))


def _bytes(x: Any) -> Any:
    if is_tensor(x):  # seen as bytes: NumPy does not have all of torch's types
        import torch

        x = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return np.ascontiguousarray(x).reshape(-1).view(np.uint8).data  # of any type, and no items


def describe(x: Any, weights: bool = True) -> str:
    """What `x` is, in words that are the same in another process; arrays by their fingerprint.

    A warning names what cannot be seen into: `files.walk`.

    Args:
        x: anything.
        weights: whether the numbers of a torch module, and its mode, are part of what it is.

    Returns:
        The words.
    """
    walk = Walk(digest, weights)
    try:
        text = walk(x)
    except RecursionError:
        text = f"{type(x).__qualname__} not seen"
        walk.unseen.add(f"a {type(x).__qualname__} whose parts are nested too deeply")
    _warn(walk)
    return text


def _warn(walk: Walk) -> None:
    if walk.unseen:
        warn(
            f"dalearn cannot see into {'; '.join(sorted(walk.unseen))}: where that changes, a "
            "stored result is taken for that of the same request. Give what holds it an attribute "
            "`fingerprint`, a text that changes with it",
            RuntimeWarning,
        )


def entries(name: str, x: Any) -> dict[str, str]:
    """`x` described under `name`; a dataclass with an entry for each of its fields.

    Args:
        name: of the entry, and before the dot in those of fields.
        x: anything.

    Returns:
        The words of each entry.
    """
    walk = Walk(digest)
    if not is_dataclass(x) or isinstance(x, type) or is_module(x) or hasattr(x, "fingerprint"):
        found = {name: walk(x)}
    else:
        found = {name: walk.kind(x)}
        found |= {f"{name}.{f.name}": walk(getattr(x, f.name)) for f in fields(x) if f.init}
    _warn(walk)
    return found


def differences(known: dict[str, str], asked: dict[str, str]) -> str:
    """What a call asks for that a file does not answer, in words; "" where they agree."""
    return "; ".join(
        f"{k} (the file has {known.get(k, 'none')}, this call {asked.get(k, 'none')})"
        for k in {**known, **asked}
        if known.get(k) != asked.get(k)
    )
