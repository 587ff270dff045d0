"""One training loop: mini-batches, early stop, and checkpoints to go on from after a kill.

    w <- argmin_w  sum_i loss(f_w, data_i)

by an optimiser of torch. A run that was killed and is started again goes on to the same bits: the
order of the examples depends on the seed and the number of the epoch alone, and a checkpoint holds
everything else that the next step depends on (weights, optimiser, schedule, random state, the best
weights so far). Checkpoints are read without unpickling objects. The same bits mean the same
machine, number of threads and version of torch: sums are added in another order elsewhere.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Loss = Callable[..., Tensor]

Make = Callable[[Any], Any]


@dataclass
class Record:
    """What `fit` did: losses by epoch, the best epoch (from 0), and why it ended.

    `train` is the mean loss over the batches as they were trained on, `validation` that of the
    weights after the epoch; `ended` is "epochs", or "patience" after an early stop.
    """

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: int = -1
    ended: str = ""
    seconds: float = 0.0

    def __repr__(self) -> str:
        at = f", best {min(self.validation):.3g} at epoch {self.best}" if self.validation else ""
        last = f"{self.train[-1]:.3g}" if self.train else "none"
        return f"Record({len(self.train)} epochs, training loss {last}{at}, {self.seconds:.0f} s)"


def mean_square(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The mean square error of a regression, mean |f(inputs) - targets|^2."""
    outputs = module(inputs)
    if outputs.shape != targets.shape:
        raise ValueError(
            f"the module returned {tuple(outputs.shape)} for targets {tuple(targets.shape)}; "
            "wanted the same shape (broadcast, the loss would compare all with all)"
        )
    return ((outputs - targets) ** 2).mean()


def adam(rate: float = 1e-3) -> Make:
    """Adam (Kingma and Ba, 2015) with this learning rate, for `fit(optimiser=adam(3e-4))`."""
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


def cosine(epochs: int) -> Make:
    """A learning rate that falls to 0 over the epochs as a cosine, for `fit(schedule=...)`."""
    return lambda optimiser: torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)


def fit(
    module: nn.Module,
    data: Sequence[Tensor],
    validation: Sequence[Tensor] | None = None,
    *,
    loss: Loss = mean_square,
    epochs: int = 100,
    batch: int = 64,
    optimiser: Make | None = None,
    schedule: Make | None = None,
    patience: int | None = None,
    clip: float | None = None,
    seed: int = 0,
    device: Any = None,
    checkpoint: str | os.PathLike | None = None,
    every: float = 10.0,
    progress: bool = True,
) -> Record:
    """Train the module in place; returns the Record of the losses.

        net = seeded(0, MLP, 3, 3)
        record = fit(net, pairs(train), pairs(valid), epochs=200, patience=20)

    Arguments:
        module: its weights are the start; at the end it holds the best ones on the validation
            data (the last ones where there are none), in evaluation mode, on the CPU or `device`.
        data: tensors of equal length, such as (inputs, targets); rows of them are the examples.
        validation: the same for data that are not trained on: of other trajectories, see `split`.
        loss: `loss(module, *rows) -> ()`, a mean over the rows; by default the mean square error.
        epochs, batch: passes over the data, and rows in a step (of the last, what is left).
        optimiser: makes one from the parameters: Adam with rate 1e-3 unless given (`adam(rate)`).
        schedule: makes one from the optimiser, stepped after each epoch (`cosine(epochs)`).
        patience: stop after so many epochs without a better validation loss.
        clip: the largest norm that a step's gradient may have.
        seed: of the order of the rows and of whatever the module draws in training.
        device: where to train: the module and, batch by batch, the data move there.
        checkpoint: a file. Called again with the same arguments, `fit` goes on from there to the
            same bits, and returns at once when the run was done.
        every: seconds between two writings of it; 0: after each epoch.
        progress: a bar over the epochs.

    Raises ValueError for data that do not fit each other or a checkpoint of another run, naming
    what differs, and FloatingPointError where a loss is not finite; the last good checkpoint
    stays.
    """
    data, validation = _checked(data, validation, epochs, batch, patience)
    if device is not None:
        module.to(device)
    where = next(module.parameters()).device
    make = (optimiser or adam(), schedule or (lambda optimiser: None))
    run = _Run(module, *make)
    request = _request(run, data, validation, loss, epochs, batch, patience, clip, seed)
    path = None if checkpoint is None else Path(checkpoint)
    gpus = [where] if where.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        record, epoch, best = run.resume(path, request)
        start, saved = time.monotonic() - record.seconds, time.monotonic()
        bar = _bar(epoch, epochs, progress)
        while epoch < epochs and not record.ended:
            record.train.append(run.epoch(data, loss, batch, clip, seed, epoch, where))
            if validation is not None:
                record.validation.append(run.score(validation, loss, batch, epoch, where))
            if validation is None or record.validation[-1] < min(
                record.validation[:-1], default=math.inf
            ):
                best, record.best = run.weights(), epoch
            if run.schedule is not None:
                run.schedule.step()
            epoch += 1
            if patience is not None and epoch - 1 - record.best >= patience:
                record.ended = "patience"
            elif epoch == epochs:
                record.ended = "epochs"
            record.seconds = time.monotonic() - start
            bar.update()
            bar.set_postfix_str(f"loss {(record.validation or record.train)[-1]:.3g}")
            if path and (record.ended or time.monotonic() - saved >= every):
                run.save(path, request, record, epoch, best)
                saved = time.monotonic()
        bar.close()
    module.load_state_dict(best)
    module.eval()
    return record


class _Run:
    """The module with its optimiser and schedule: all that a step changes."""

    def __init__(self, module: nn.Module, optimiser: Make, schedule: Make):
        self.module = module
        self.learned = [p for p in module.parameters() if p.requires_grad]
        if not self.learned:
            raise ValueError("the module has no parameters to learn (requires_grad is False)")
        self.optimiser = optimiser(self.learned)
        self.schedule = schedule(self.optimiser)

    def epoch(self, data, loss, batch, clip, seed, epoch, where) -> float:
        """One pass over the data in the order that belongs to this epoch; the mean loss."""
        self.module.train()
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(data[0])))
        total = 0.0
        for rows in order.split(batch):
            part = [d[rows.to(d.device)].to(where) for d in data]

            def closure(part=part):
                self.optimiser.zero_grad()
                value = loss(self.module, *part)
                _check_finite(value, "training", epoch)
                value.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(self.learned, clip)
                return value.detach()

            with torch.enable_grad():
                total += float(self.optimiser.step(closure)) * len(rows)
        return total / len(order)

    def score(self, data, loss, batch, epoch, where) -> float:
        """The mean loss over the validation data."""
        self.module.eval()
        total = 0.0
        with torch.no_grad():
            for rows in torch.arange(len(data[0])).split(max(batch, 256)):
                part = [d[rows.to(d.device)].to(where) for d in data]
                value = loss(self.module, *part)
                _check_finite(value, "validation", epoch)
                total += float(value) * len(rows)
        return total / len(data[0])

    def weights(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.module.state_dict().items()}

    def save(self, path: Path, request: dict, record: Record, epoch: int, best: dict) -> None:
        """Write all of the run's state, whole or not at all."""
        where = self.learned[0].device
        state = {
            "request": request,
            "record": dict(vars(record)),
            "epoch": epoch,
            "module": self.weights(),
            "best": best,
            "optimiser": self.optimiser.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "gpu": torch.cuda.get_rng_state(where) if where.type == "cuda" else None,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with open(part, "wb") as f:
            torch.save(state, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(part, path)

    def resume(self, path: Path | None, request: dict) -> tuple[Record, int, dict]:
        """The run as the checkpoint has it, or from the start."""
        if path is None or not path.exists():
            return Record(), 0, self.weights()
        advice = "wanted another path, or the file away"
        try:  # weights_only: numbers, texts and plain containers; no object is unpickled
            state = torch.load(path, map_location="cpu", weights_only=True)
            known = state["request"]
        except Exception as error:
            raise ValueError(
                f"{path} is not a checkpoint that fit wrote, or it is damaged "
                f"({type(error).__name__}); {advice}"
            ) from error
        differ = [k for k in request if known.get(k) != request[k]]
        if differ:
            met = "; ".join(
                f"{k}: {known.get(k)!r} there, {request[k]!r} here" for k in differ[:4]
            )
            raise ValueError(f"{path} belongs to another run ({met}); {advice}")
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        if state["gpu"] is not None and self.learned[0].device.type == "cuda":
            torch.cuda.set_rng_state(state["gpu"], self.learned[0].device)
        return Record(**state["record"]), state["epoch"], state["best"]


def _checked(data, validation, epochs, batch, patience) -> tuple[list, list | None]:
    """The data as lists of tensors, of a positive and common length."""
    for name, value in (("epochs", epochs), ("batch", batch), ("patience", patience or 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"fit wants {name} an integer, at least 1, met {value!r}")
    if patience is not None and validation is None:
        raise ValueError("patience needs validation data: trajectories that are not trained on")
    checked = []
    for name, value in (("data", data), ("validation", validation)):
        if value is None:
            checked.append(None)
            continue
        parts = [value] if isinstance(value, (Tensor, np.ndarray)) else list(value)
        parts = [torch.from_numpy(v) if isinstance(v, np.ndarray) else v for v in parts]
        lengths = {len(v) for v in parts}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"{name} must be tensors of one length, at least 1: (inputs, targets); met shapes "
                f"{[tuple(v.shape) for v in parts]}"
            )
        checked.append(parts)
    return checked[0], checked[1]


def _request(run, data, validation, loss, epochs, batch, patience, clip, seed) -> dict[str, Any]:
    """What makes this run another one than that of a checkpoint, as plain values."""
    groups = [{k: v for k, v in g.items() if k != "params"} for g in run.optimiser.param_groups]
    groups = [{k: v for k, v in g.items() if k != "initial_lr"} for g in groups]
    return {
        "module": repr(run.module),
        "weights": [f"{k} {tuple(v.shape)} {v.dtype}" for k, v in run.module.state_dict().items()],
        "data": _digest(data),
        "validation": _digest(validation),
        "loss": getattr(loss, "__qualname__", type(loss).__qualname__),
        "optimiser": f"{type(run.optimiser).__name__} {groups}",
        "schedule": type(run.schedule).__name__,
        "epochs": epochs,
        "batch": batch,
        "patience": patience,
        "clip": clip,
        "seed": seed,
    }


def _digest(data: Sequence[Tensor] | None) -> str:
    total = hashlib.sha256()
    for value in data or ():
        total.update(f"{value.dtype} {tuple(value.shape)}\n".encode())
        total.update(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return total.hexdigest()[:16]


def _check_finite(value: Tensor, name: str, epoch: int) -> None:
    value = value.detach()
    if value.ndim or not bool(torch.isfinite(value)):
        if value.ndim:
            raise ValueError(f"the loss must be one number, met shape {tuple(value.shape)}")
        raise FloatingPointError(
            f"the {name} loss is {float(value)} in epoch {epoch}; look for NaN in the data, then "
            "try a lower rate (optimiser=adam(1e-4)), clip=1.0, or normalised data"
        )


def _bar(done: int, epochs: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=epochs, initial=done, desc="training", unit="epoch", disable=not progress)
