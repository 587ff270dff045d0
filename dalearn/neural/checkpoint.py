"""Checkpoints of a training run: all that its next step depends on, in a file that is whole.

A checkpoint holds the weights, the optimiser, the schedule, the random state and the best weights
so far, and the request that the run answers. It is read without unpickling objects, and sealed: a
file of which one bit has changed is refused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..files.fingerprint import describe, digest
from ..files.lock import one_writer
from ..files.sealed import Damaged, check_names, check_seal, seal
from ..files.whole import whole

if TYPE_CHECKING:
    from .train import Task, Training

# what a checkpoint holds, in the order of `save`
PARTS = ("request", "record", "epoch", "module", "best", "optimiser", "schedule", "random")


class Checkpoint:
    """The file of a run, for the request that it answers.

    Args:
        path: the file; its folder is made.
        request: what makes this run another one, as plain values (`request_of`).
        every: seconds between two writings.
    """

    def __init__(self, path: str | os.PathLike, request: dict[str, Any], every: float):
        self.path, self.request, self.every = Path(path), request, every
        self.saved = time.monotonic()

    @contextmanager
    def opened(self, run: Training) -> Iterator[None]:
        """Load the run, and be its only writer in the block; a run that has ended needs none."""
        self.load(run)
        if run.record.ended:
            yield
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with one_writer(self.path):
            self.load(run)  # whoever wrote until now may have gone further
            yield

    def load(self, run: Training) -> None:
        """Put the state of the file into the run; without a file, leave it at its start."""
        if not self.path.exists():
            return
        state = self._read(vars(run.record))
        run.module.load_state_dict(state["module"])
        run.optimiser.load_state_dict(state["optimiser"])
        if run.schedule is not None:
            run.schedule.load_state_dict(state["schedule"])
        run.draws.state = state["random"]
        vars(run.record).update(state["record"])
        run.epoch, run.best = state["epoch"], state["best"]

    def _read(self, record: dict[str, Any]) -> dict[str, Any]:
        advice = "wanted another path, or the file away"
        try:  # weights_only: numbers, texts and plain containers; no object is unpickled
            with open(self.path, "rb") as f:
                check_seal(f, self.path, advice)
                state = torch.load(f, map_location="cpu", weights_only=True)
            check_names(state, PARTS)
            check_names(state["record"], record)
            known = dict(state["request"])
        except (Damaged, OSError):
            raise
        except Exception as error:
            why = str(error) if type(error) is ValueError else type(error).__name__
            raise ValueError(
                f"{self.path} is not a checkpoint that fit wrote, or it is damaged ({why}); "
                f"{advice}"
            ) from error
        differ = [k for k in self.request if known.get(k) != self.request[k]]
        if differ:
            met = "; ".join(
                f"{k}: {known.get(k)!r} there, {self.request[k]!r} here" for k in differ[:4]
            )
            raise ValueError(f"{self.path} belongs to another run ({met}); {advice}")
        return state

    def save(self, run: Training) -> None:
        """Write the state of the run, if the run has ended or `every` seconds have passed."""
        if not run.record.ended and time.monotonic() - self.saved < self.every:
            return
        values = (
            self.request,
            dict(vars(run.record)),
            run.epoch,
            run.weights(),
            run.best,
            run.optimiser.state_dict(),
            None if run.schedule is None else run.schedule.state_dict(),
            run.draws.state,
        )
        with whole(self.path) as part:
            with open(part, "wb") as f:
                try:
                    torch.save(dict(zip(PARTS, values, strict=True)), f)
                except RuntimeError as error:  # torch's word for a full disk
                    raise OSError(f"{self.path} cannot be written ({error})") from error
            seal(part)
        self.saved = time.monotonic()


def request_of(run: Training, task: Task) -> dict[str, Any]:
    """What makes this run another one than that of a checkpoint, as plain values."""
    groups = [{k: v for k, v in g.items() if k != "params"} for g in run.optimiser.param_groups]
    groups = [{k: v for k, v in g.items() if k != "initial_lr"} for g in groups]
    schedule = {} if run.schedule is None else vars(run.schedule)
    about = {k: v for k, v in schedule.items() if k != "optimizer" and not k.startswith("_")}
    return {
        "module": repr(run.module),
        "code and attributes": describe(run.module, weights=False),
        "weights": [f"{k} {tuple(v.shape)} {v.dtype}" for k, v in run.module.state_dict().items()],
        "data": fingerprint(task.data),
        "validation": fingerprint(task.validation),
        "loss": describe(task.loss),
        "optimiser": f"{type(run.optimiser).__name__} {groups}",
        "schedule": f"{type(run.schedule).__name__} {describe(about)}",
        "epochs": task.epochs,
        "batch": task.batch,
        "patience": task.patience,
        "clip": task.clip,
        "seed": task.seed,
    }


def fingerprint(data: Sequence[Tensor] | None) -> str:
    """The fingerprint of data: types, shapes and bytes."""
    named = ((f"{v.dtype} {tuple(v.shape)}\n", v) for v in data or ())
    return digest(piece for pair in named for piece in pair)
