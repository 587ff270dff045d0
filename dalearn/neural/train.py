"""One training loop: mini-batches, early stop, and checkpoints to go on from after a kill.

    w <- argmin_w  sum_i loss(f_w, data_i)

by an optimiser of torch. `Training.epochs` is the loop, an iterator of epochs; `fit` looks at each
one, stops early and saves. A run that was killed and is started again goes on to the same bits:
the order of the examples depends on the seed and the number of the epoch alone, and a checkpoint
holds everything else that the next step depends on. The same bits mean the same machine, number
of threads and version of torch: sums are added in another order elsewhere.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..array import Bound, Purpose, check_between, check_count, generator, torch_seed, typed
from ..files.progress import progress_bar
from .checkpoint import Checkpoint, request_of
from .checks import Make, known_device, made, settled
from .draws import Draws, draws
from .losses import Loss, check_finite, loss_of, mean_square


@dataclass
class Record:
    """What `fit` did: losses by epoch, the best epoch, and why it ended.

    Args:
        train: the mean loss over the batches as they were trained on, one an epoch.
        validation: the loss of the weights after each epoch, on the validation data.
        best: the best epoch, from 0; -1 before the first.
        ended: "epochs", or "patience" after an early stop.
        seconds: wall-clock time.
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


@typed
def adam(rate: float = 1e-3) -> Make:
    """Adam (Kingma and Ba, 2015) with this learning rate, for `fit(optimiser=adam(3e-4))`."""
    check_between("rate", rate, 0, math.inf, open_low=True)
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


@typed
def cosine(epochs: int) -> Make:
    """A learning rate that falls to 0 over the epochs as a cosine, for `fit(schedule=...)`."""
    check_count("epochs", epochs)
    return lambda optimiser: torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)


@typed
def fit(
    module: nn.Module,
    data: Any,
    validation: Any = None,
    *,
    loss: Loss = mean_square,
    epochs: int = 100,
    batch: int = 64,
    optimiser: Make | None = None,
    schedule: Make | None = None,
    patience: int | None = None,
    clip: Bound | None = None,
    seed: int = 0,
    device: Any = None,
    checkpoint: str | os.PathLike | None = None,
    every: Bound = 10.0,
    progress: bool = True,
) -> Record:
    """Train the module in place.

        net = seeded(0, MLP, 3, 3)
        record = fit(net, pairs(train), pairs(valid), epochs=200, patience=20)

    Args:
        module: its weights are the start; at the end it holds the best ones on the validation data
            (the last ones where there are none), in evaluation mode, on the CPU or `device`.
        data: tensors of equal length, such as (inputs, targets); rows of them are the examples.
        validation: the same for data that are not trained on: of other trajectories, see `split`.
        loss: `loss(module, *rows) -> ()`, a mean over the rows; by default the mean square error.
        epochs: passes over the data.
        batch: rows in a step.
        optimiser: makes one from the parameters: Adam with rate 1e-3 unless given (`adam(rate)`).
        schedule: makes one from the optimiser, stepped after each epoch (`cosine(epochs)`).
        patience: stop after so many epochs without a better validation loss.
        clip: the largest norm that a step's gradient may have.
        seed: of the order of the rows and of whatever the module draws in training.
        device: where to train: the module and, batch by batch, the data move there.
        checkpoint: a file. Called again with the same arguments, `fit` goes on from there to the
            same bits, and returns at once when the run was done. A damaged file is refused, and a
            second writer.
        every: seconds between two writings of it; 0: after each epoch.
        progress: a bar over the epochs.

    Returns:
        Record: the losses.

    Raises:
        ValueError: data that do not fit each other, or a checkpoint of another run; the message
            names what differs.
        FloatingPointError: a loss is not finite; the last good checkpoint stays.
    """
    data, validation = settled(data, validation, patience, loss is mean_square)
    check_count("epochs", epochs)
    check_count("batch", batch)
    check_count("seed", seed, 0, math.inf)
    check_between("every", every, 0, math.inf, open_low=False)
    if clip is not None:
        check_between("clip", clip, 0, math.inf, open_low=True)
    task = Task(data, validation, loss, epochs, batch, patience, clip, seed)
    if device is not None:
        module.to(known_device(device))
    if checkpoint is not None and not str(checkpoint):
        raise ValueError("checkpoint must name a file, met ''")
    hidden = torch_seed(Purpose.TRAINING, seed)
    run = Training(module, optimiser or adam(), schedule, hidden)
    file = None if checkpoint is None else Checkpoint(checkpoint, request_of(run, task), every)
    with nullcontext() if file is None else file.opened(run):
        settings = {"total": epochs, "initial": run.epoch, "desc": "training", "unit": "epoch"}
        start = time.monotonic() - run.record.seconds
        with progress_bar(progress=progress, **settings) as bar:
            for value in run.epochs(task):
                if patience is not None and run.epoch - 1 - run.record.best >= patience:
                    run.record.ended = "patience"
                elif run.epoch == epochs:
                    run.record.ended = "epochs"
                run.record.seconds = time.monotonic() - start
                bar.update()
                bar.set_postfix_str(f"loss {value:.3g}")
                if file is not None:
                    file.save(run)
    module.load_state_dict(run.best)
    module.eval()
    return run.record


@dataclass(frozen=True)
class Task:
    """What to minimise, on which data, and how: the arguments of `fit` that decide the bits."""

    data: Sequence[Tensor]
    validation: Sequence[Tensor] | None
    loss: Loss
    epochs: int
    batch: int
    patience: int | None
    clip: float | None
    seed: int


class Training:
    """A run of training: the module, its optimiser and schedule, and how far it is.

    Args:
        module: the network to train, in place.
        optimiser: makes one from the parameters.
        schedule: makes one from the optimiser, or None.
        seed: of the random numbers that the module and the loss draw.
    """

    def __init__(self, module: nn.Module, optimiser: Make, schedule: Make | None, seed: int):
        self.module = module
        self.where = next(module.parameters()).device
        self.learned = [p for p in module.parameters() if p.requires_grad]
        if not self.learned:
            raise ValueError("the module has no parameters to learn (requires_grad is False)")
        self.optimiser = made("optimiser", optimiser, self.learned, "zero_grad")
        self.schedule = schedule and made("schedule", schedule, self.optimiser, "step")
        self.record, self.epoch, self.best = Record(), 0, self.weights()
        self.draws = Draws(seed, [self.where] if self.where.type == "cuda" else [])

    def epochs(self, task: Task) -> Iterator[float]:
        """Train one epoch after another, until the record says that the run has ended.

        Yields the loss after each: that on the validation data, or the training loss.
        """
        record = self.record
        chance = draws(self.module) or task.loss is not mean_square
        while self.epoch < task.epochs and not record.ended:
            with self.draws.turn() if chance else nullcontext():
                record.train.append(self.train(task))
                losses = record.train
                if task.validation is not None:
                    losses = record.validation
                    losses.append(self.score(task))
            if task.validation is None or losses[-1] < min(losses[:-1], default=math.inf):
                self.best, record.best = self.weights(), self.epoch
            if self.schedule is not None:
                self.schedule.step()
            self.epoch += 1
            yield losses[-1]

    def train(self, task: Task) -> float:
        """One pass over the data in the order that belongs to this epoch; the mean loss."""
        self.module.train()
        rng = generator(Purpose.TRAINING, task.seed, self.epoch)
        order = torch.from_numpy(rng.permutation(len(task.data[0])))
        total = 0.0
        for rows in order.split(task.batch):
            part = [d[rows.to(d.device)].to(self.where) for d in task.data]

            def closure(part=part):
                self.optimiser.zero_grad()
                value = loss_of(task.loss, self.module, part)
                check_finite(value, "training", self.epoch)
                value.backward()
                if task.clip is not None:
                    nn.utils.clip_grad_norm_(self.learned, task.clip)
                return value.detach()

            with torch.enable_grad():
                total += float(self.optimiser.step(closure)) * len(rows)
        return total / len(order)

    def score(self, task: Task) -> float:
        """The mean loss over the validation data."""
        data = task.validation or []
        self.module.eval()
        total = 0.0
        with torch.no_grad():
            for rows in torch.arange(len(data[0])).split(max(task.batch, 256)):
                part = [d[rows.to(d.device)].to(self.where) for d in data]
                value = loss_of(task.loss, self.module, part)
                check_finite(value, "validation", self.epoch)
                total += float(value) * len(rows)
        return total / len(data[0])

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights as they are."""
        return {k: v.detach().clone() for k, v in self.module.state_dict().items()}
