"""How far a file of trajectories is: what stands beside it, so that a killed run goes on.

Beside `name.npy` or `name.zarr` stands `name.npy.resume.npz`: the request that the file answers,
the checksums of what is written, and all that is needed to go on from the last checkpoint to the
same bits. It is sealed.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..files.fingerprint import differences
from ..files.sealed import check_names, check_seal, seal
from ..files.whole import whole

ARRAYS = ("state", "pending")  # the fields of a Progress that are arrays, or None
UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, EOFError)


@dataclass
class Progress:
    """How far a run is: trajectories before `start` are complete."""

    start: int = 0  # the first trajectory of the block being run
    step: int = 0  # the steps that this block has taken
    rows: int = 1  # trajectories in a block
    every: int = 1  # steps between two saved times
    length: int = 0  # saved times in a piece that is written, at most
    sums: list = field(default_factory=list)  # checksums of what is written: `run.checksums`
    streams: list = field(default_factory=list)  # the states of its random generators
    diverged: dict[int, int] = field(default_factory=dict)  # trajectory -> step of its first NaN
    done: bool = False
    state: Any = None  # the block's states (rows, *shape) in full precision; None before step 0
    pending: Any = None  # its saved states that are not in the file yet

    @property
    def fresh(self) -> bool:
        """Whether nothing has been done."""
        return not (self.start or self.done) and self.state is None


class Sidecar:
    """The file beside the data: the request that they answer, and the progress."""

    def __init__(self, path: Path, request: dict[str, str]):
        self.data, self.request = path, request
        self.path = path.with_name(path.name + ".resume.npz")

    def load(self) -> Progress | None:
        """The progress, or None where there is no file.

        Raises ValueError where the file answers another request, naming what differs.
        """
        if not self.path.exists():
            return None
        try:
            with open(self.path, "rb") as raw:
                check_seal(raw, self.path, "see what follows")
                f = np.load(raw)
                known = json.loads(f["request"].tobytes())
                saved = json.loads(f["progress"].tobytes())
                arrays = {k: f[k] for k in ARRAYS if k in f}
            check_names(saved, {f.name for f in fields(Progress)} - set(ARRAYS))
            differ = differences(known, self.request)
        except (*UNREADABLE, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{self.path} cannot be read ({error}), so {self.data} cannot be gone on with; "
                "wanted another path, or overwrite=True"
            ) from error
        if differ:
            raise ValueError(
                f"{self.data} answers another request, which differs in {differ}. It "
                "was left as it is; wanted the same request, another path, or overwrite=True"
            )
        saved["diverged"] = {int(k): v for k, v in saved["diverged"].items()}
        return Progress(**saved, **arrays)

    def save(self, progress: Progress) -> None:
        """Write the progress, whole or not at all."""
        values = {f.name: getattr(progress, f.name) for f in fields(progress)}
        arrays = {k: v for k in ARRAYS if (v := values.pop(k)) is not None}
        texts = {"request": self.request, "progress": values}
        coded = {k: np.frombuffer(json.dumps(v).encode(), np.uint8) for k, v in texts.items()}
        with whole(self.path) as part:
            with open(part, "wb") as f:
                np.savez(f, **coded, **arrays)
            seal(part)
